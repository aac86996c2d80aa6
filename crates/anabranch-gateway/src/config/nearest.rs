//! Suggestions for names that do not exist.

/// The candidate that `name` most likely meant: at most a third of its letters differ (one in short names).
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LETTERS_MAX: usize = 64;
    let letters: Vec<char> = name.to_lowercase().chars().take(LETTERS_MAX).collect();
    let allowed = (letters.len() / 3).max(1);
    let scored = candidates.into_iter().map(|candidate| {
        let other: Vec<char> = candidate.to_lowercase().chars().take(LETTERS_MAX).collect();
        (edit_distance(&letters, &other), candidate)
    });
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    // One letter for another says nothing when there is only one letter.
    (distance <= allowed && distance < letters.len()).then_some(candidate)
}

/// `` `a`, `b` or `c` ``.
pub fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours between two words (optimal string alignment).
fn edit_distance(left: &[char], right: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other;
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["timeout", "retry", "max_body", "url"];
        for (name, expected) in [
            ("timout", Some("timeout")),
            ("timoeut", Some("timeout")),
            ("Retry", Some("retry")),
            ("maxbody", Some("max_body")),
            ("urls", Some("url")),
            ("cart", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, names), expected, "{name}");
        }
    }
}
