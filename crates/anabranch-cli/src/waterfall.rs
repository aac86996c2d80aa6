//! One request as bars in a terminal: a row per call, with what it waited for and where its time went.
//!
//! Pure: times in, text out. How a trace becomes rows is left to `trace.rs`. Each kind of time has a letter or sign of its own, so
//! that nothing is lost without colour; the legend explains those that were drawn.

mod marks;
mod bar;
mod text;
mod path;
mod trace;

use std::time::Duration;

use crate::terminal::paint;
use bar::{Cell, Scale, bar};
use text::{cut, letters, printable, wrapped};

pub(crate) use marks::Mark;
pub(crate) use text::span_text;
pub(crate) use trace::of_trace;

/// Columns that bars take at least, however narrow the terminal.
const BAR_MIN: usize = 24;
/// Columns of a call's name; longer names are cut.
const NAME_MAX: usize = 24;

/// The calls of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waterfall {
    /// From the start of the request to its end.
    pub(crate) took: Duration,
    /// The calls, in the order written.
    pub(crate) rows: Vec<Row>,
}

/// One call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// The calls that it waited for.
    pub(crate) waits: Vec<String>,
    /// When it started, from the start of the request; None: it never did.
    pub(crate) started: Option<Duration>,
    /// From its start to its end.
    pub(crate) took: Duration,
    /// How it ended, in a word.
    pub(crate) outcome: String,
    /// What else is worth a line; empty for most.
    pub(crate) note: String,
    /// Where its time went, in order, from the start of the request.
    pub(crate) pieces: Vec<Piece>,
}

impl Row {
    fn mark_before(&self, at: Duration) -> Mark {
        let before = self.pieces.iter().rev().find(|piece| piece.at <= at && !piece.length.is_zero());
        before.or(self.pieces.first()).map_or(Mark::Own, |piece| piece.mark)
    }
}

/// A stretch of one kind of time; one of no length is an event and always drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its start, from the start of the request.
    pub(crate) at: Duration,
    /// Its length.
    pub(crate) length: Duration,
    /// Its kind.
    pub(crate) mark: Mark,
}

impl Waterfall {
    /// Draws axis, bars and legend.
    pub(crate) fn render(&self, width: usize, color: bool) -> String {
        let names = self.rows.iter().map(|row| letters(&row.name)).max().unwrap_or(0).min(NAME_MAX);
        let outcomes = self.rows.iter().map(|row| letters(&row.outcome)).max().unwrap_or(0);
        // Two blanks, name, blank, |bar|, time, two blanks, outcome.
        let columns = width.saturating_sub(names + outcomes + 16).max(BAR_MIN);
        let scale = Scale {
            total: self.end().max(Duration::from_micros(1)),
            columns,
        };
        let mut text = format!("  {:names$} {}\n", "", scale.axis());
        let mut drawn = Vec::new();
        for row in &self.rows {
            let bar = bar(row, scale);
            drawn.extend(bar.iter().filter_map(|cell| cell.mark));
            let took = if row.started.is_some() {
                span_text(row.took)
            } else {
                String::new()
            };
            let name = cut(&row.name, names);
            text.push_str(&format!(
                "  {name:names$} |{}| {took:>8}  {}\n",
                colored(&bar, color),
                outcome(row, color)
            ));
            if !row.note.is_empty() {
                for line in wrapped(&printable(&row.note), width.saturating_sub(names + 5).max(BAR_MIN)) {
                    text.push_str(&format!("  {:names$}   {}\n", "", paint(color, "2", &line)));
                }
            }
        }
        text.push_str(&legend(&drawn, color));
        text
    }

    /// The calls' times added up: what asking one after another would have taken.
    pub(crate) fn serial(&self) -> Duration {
        self.rows.iter().filter(|row| row.started.is_some()).map(|row| row.took).sum()
    }

    /// The chain of calls, each waiting for the one before, that takes longest: nothing can be faster than that.
    pub(crate) fn slowest_path(&self) -> (Duration, Vec<&str>) {
        path::slowest(&self.rows)
    }

    /// The last line: serial time against actual.
    pub(crate) fn summary(&self) -> String {
        let serial = self.serial();
        let times = serial.as_secs_f64() / self.took.as_secs_f64().max(1e-6);
        let verdict = if times >= 1.05 {
            format!(", {times:.1} times faster")
        } else {
            String::new()
        };
        format!("one after another {}, at once {}{verdict}", span_text(serial), span_text(self.took))
    }

    fn end(&self) -> Duration {
        let ends = self.rows.iter().filter_map(|row| Some(row.started? + row.took));
        ends.chain([self.took]).max().unwrap_or_default()
    }
}

/// The cells as text, one colour sequence per run.
fn colored(cells: &[Cell], color: bool) -> String {
    let runs = cells.chunk_by(|left, right| left.mark == right.mark);
    runs.map(|run| {
        let text: String = run.iter().map(|cell| cell.sign).collect();
        run[0].mark.map_or_else(|| text.clone(), |mark| paint(color, mark.color(), &text))
    })
    .collect()
}

fn outcome(row: &Row, color: bool) -> String {
    let code = match row.outcome.as_str() {
        "ok" => "32",
        "stale" | "fallback" | "skipped" | "not asked" => "33",
        _ => "31",
    };
    paint(color, code, &printable(&row.outcome))
}

fn legend(drawn: &[Mark], color: bool) -> String {
    let entries: Vec<String> = Mark::ALL
        .into_iter()
        .filter(|mark| drawn.contains(mark))
        .map(|mark| format!("{} {}", paint(color, mark.color(), &mark.sign().to_string()), mark.meaning()))
        .collect();
    if entries.is_empty() {
        String::new()
    } else {
        format!("\n  {}\n", entries.join("   "))
    }
}

#[cfg(test)]
mod tests;
