//! Times and foreign words as text of a bounded width.

use std::time::Duration;

/// `2.41 s`, `412 ms`, `1.2 ms`, `80 µs`.
pub(crate) fn span_text(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        _ if seconds >= 100.0 => format!("{seconds:.0} s"),
        _ if seconds >= 0.9995 => format!("{seconds:.2} s"),
        _ if seconds >= 0.00995 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds >= 0.0009995 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.0} µs", seconds * 1e6),
    }
}

/// As [`span_text`] without zeros that say nothing: `500 ms`, `1.5 s`, `0`.
pub(super) fn tick_text(at: Duration) -> String {
    let micros = at.as_micros();
    let (divisor, unit) = match micros {
        0 => return "0".to_string(),
        1_000_000.. => (1e6, "s"),
        1_000.. => (1e3, "ms"),
        _ => (1.0, "µs"),
    };
    format!("{} {unit}", (micros as f64 / divisor * 1000.0).round() / 1000.0)
}

/// Columns that a text takes; names are ASCII, so letters are columns.
pub(super) fn letters(text: &str) -> usize {
    text.chars().count()
}

/// At most so many letters, with `~` where something was cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    if letters(text) <= most {
        text.to_string()
    } else {
        text.chars().take(most.saturating_sub(1)).chain(['~']).collect()
    }
}

/// Lines of at most so many letters, broken at blanks; a longer word stands alone.
pub(super) fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if letters(line) + 1 + letters(word) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// What came from elsewhere must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
