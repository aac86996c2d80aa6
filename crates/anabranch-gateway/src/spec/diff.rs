//! Two texts line by line, for people. Lines that hardly differ are shown one above the other, with a mark where they part.

/// Lines of each text that are compared; what is longer is shown as all different.
const LINES_MAX: usize = 2_000;
/// Characters of a line that are shown on each side of the first difference.
const AROUND: usize = 100;

/// The difference: `  same`, `- expected`, `+ found`.
pub(super) fn diff(expected: &str, found: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let mut text = String::new();
    let (mut row, mut column) = (0, 0);
    for (same_row, same_column) in common(&left, &right).into_iter().chain([(left.len(), right.len())]) {
        changed(&left[row..same_row], &right[column..same_column], &mut text);
        if let Some(line) = left.get(same_row) {
            text.push_str(&format!("  {}\n", shortened(line, 0)));
        }
        (row, column) = (same_row + 1, same_column + 1);
    }
    text
}

fn changed(left: &[&str], right: &[&str], text: &mut String) {
    for at in 0..left.len().max(right.len()) {
        let (old, new) = (left.get(at), right.get(at));
        let parting = match (old, new) {
            (Some(old), Some(new)) => old.chars().zip(new.chars()).take_while(|(old, new)| old == new).count(),
            _ => 0,
        };
        if let Some(old) = old {
            text.push_str(&format!("- {}\n", shortened(old, parting)));
        }
        if let Some(new) = new {
            text.push_str(&format!("+ {}\n", shortened(new, parting)));
        }
        if parting > 0 {
            text.push_str(&format!("  {}^\n", " ".repeat(parting.min(AROUND + usize::from(parting > AROUND)))));
        }
    }
}

/// The line around its character number `at`; `…` stands for what is left out.
fn shortened(line: &str, at: usize) -> String {
    let skipped = at.saturating_sub(AROUND);
    let shown: String = line.chars().skip(skipped).take(2 * AROUND).collect();
    let rest = line.chars().nth(skipped + 2 * AROUND).is_some();
    format!("{}{shown}{}", if skipped > 0 { "…" } else { "" }, if rest { "…" } else { "" })
}

/// The lines that both have, in order: a longest common subsequence.
fn common(left: &[&str], right: &[&str]) -> Vec<(usize, usize)> {
    if left.len() > LINES_MAX || right.len() > LINES_MAX {
        return Vec::new();
    }
    let width = right.len() + 1;
    let mut lengths = vec![0u32; (left.len() + 1) * width];
    for row in (0..left.len()).rev() {
        for column in (0..right.len()).rev() {
            lengths[row * width + column] = if left[row] == right[column] {
                lengths[(row + 1) * width + column + 1] + 1
            } else {
                lengths[(row + 1) * width + column].max(lengths[row * width + column + 1])
            };
        }
    }
    let mut pairs = Vec::new();
    let (mut row, mut column) = (0, 0);
    while row < left.len() && column < right.len() {
        if left[row] == right[column] {
            pairs.push((row, column));
            (row, column) = (row + 1, column + 1);
        } else if lengths[(row + 1) * width + column] >= lengths[row * width + column + 1] {
            row += 1;
        } else {
            column += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_stays_and_the_rest_is_marked() {
        let shown = diff("200\na: 1\nb: 2\n\n{}", "200\nb: 2\nc: 3\n\n{}");
        assert_eq!(shown, "  200\n- a: 1\n  b: 2\n+ c: 3\n  \n  {}\n");
    }

    #[test]
    fn lines_that_part_late_show_where() {
        assert_eq!(diff("abcX", "abcY"), "- abcX\n+ abcY\n     ^\n");
        let (left, right) = (format!("{}X", "a".repeat(300)), format!("{}Y", "a".repeat(300)));
        let shown = diff(&left, &right);
        let expected = format!("- …{0}X\n+ …{0}Y\n   {1}^\n", "a".repeat(100), " ".repeat(100));
        assert_eq!(shown, expected);
    }

    #[test]
    fn nothing_against_something_is_all_new() {
        assert_eq!(diff("", "a\nb"), "+ a\n+ b\n");
        assert_eq!(diff("a", ""), "- a\n");
    }
}
