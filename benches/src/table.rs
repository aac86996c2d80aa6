//! Figures of several rounds: their medians, and rows of a Markdown table.

use serde_json::{Map, Value};

/// A column of a table.
pub struct Column {
    pub title: &'static str,
    /// The figure it shows.
    pub key: &'static str,
    /// Digits behind the point.
    pub digits: usize,
}

/// Prints the head of a table.
pub fn print_head(first: &str, columns: &[Column]) {
    let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
    println!("| {first} | {} |", titles.join(" | "));
    println!("|---|{}", "---|".repeat(columns.len()));
}

/// Prints a row; a figure that is not there is a dash.
pub fn print_row(name: &str, columns: &[Column], figures: &Map<String, Value>) {
    let cells = columns.iter().map(|column| match figures.get(column.key).and_then(Value::as_f64) {
        Some(figure) => format!("{figure:.*}", column.digits),
        None => "–".to_owned(),
    });
    println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

/// The median of every number in these rounds.
pub fn medians(rounds: &[Value]) -> Map<String, Value> {
    let keys = rounds
        .first()
        .and_then(Value::as_object)
        .map(|round| round.keys().cloned().collect::<Vec<_>>())
        .unwrap_or_default();
    let median_of = |key: &String| median(rounds.iter().filter_map(|round| round[key.as_str()].as_f64()).collect());
    keys.iter()
        .filter_map(|key| Some((key.clone(), Value::from(median_of(key)?))))
        .collect()
}

/// The middle one; of an even number the upper of the two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
