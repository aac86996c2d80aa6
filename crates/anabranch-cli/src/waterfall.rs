//! One request as bars in a terminal: a row per call, with what it waited for and where its time went.
//!
//! Pure: times in, text out. How a trace becomes rows is left to `trace.rs`. Each kind of time has a letter or sign of its own, so
//! that nothing is lost without colour; the legend explains those that were drawn.

mod marks;
mod path;
mod trace;

use std::time::Duration;

use crate::terminal::paint;

pub(crate) use marks::Mark;
pub(crate) use trace::of_trace;

/// Columns that bars take at least, however narrow the terminal.
const BAR_MIN: usize = 24;
/// Columns of a call's name; longer names are cut.
const NAME_MAX: usize = 24;
/// One label of the axis needs about this many columns.
const TICK_COLUMNS: usize = 12;

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
    /// Where its time went, from the start of the request. What no piece covers is drawn as [`Mark::Between`].
    pub(crate) pieces: Vec<Piece>,
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
                text.push_str(&format!("  {:names$}   {}\n", "", paint(color, "2", &printable(&row.note))));
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

/// How time maps to columns.
#[derive(Clone, Copy)]
struct Scale {
    total: Duration,
    columns: usize,
}

impl Scale {
    fn column(self, at: Duration) -> usize {
        let column = at.as_secs_f64() / self.total.as_secs_f64() * self.columns as f64;
        (column as usize).min(self.columns - 1)
    }

    fn start_of(self, column: usize) -> Duration {
        self.total.mul_f64(column as f64 / self.columns as f64)
    }

    /// `|0        |1 s       |2 s`: each label begins at its instant.
    fn axis(self) -> String {
        let ticks = (self.columns / TICK_COLUMNS).max(1);
        let step = nice_step(self.total / u32::try_from(ticks).unwrap_or(1));
        let mut line = String::new();
        let mut at = Duration::ZERO;
        while at <= self.total {
            let column = (at.as_secs_f64() / self.total.as_secs_f64() * self.columns as f64).round() as usize;
            let label = format!("|{}", tick_text(at));
            let fits = letters(&line) <= column && column + letters(&label) <= self.columns + 10;
            if fits {
                line.push_str(&" ".repeat(column - letters(&line)));
                line.push_str(&label);
            }
            at += step;
        }
        line
    }
}

/// One column of a bar.
#[derive(Clone, Copy)]
struct Cell {
    sign: char,
    mark: Option<Mark>,
}

/// Each column shows the kind of time that most of it was spent in; what is too short for a column is not drawn, except the call itself.
fn bar(row: &Row, scale: Scale) -> Vec<Cell> {
    let mut cells = vec![Cell { sign: ' ', mark: None }; scale.columns];
    let Some(started) = row.started else { return cells };
    let mut pieces = Vec::with_capacity(row.pieces.len() + 2);
    if !row.waits.is_empty() {
        pieces.push(Piece {
            at: Duration::ZERO,
            length: started,
            mark: Mark::Calls,
        });
    }
    pieces.extend(&row.pieces);
    let own = Piece {
        at: started,
        length: row.took,
        mark: if row.pieces.is_empty() { Mark::Own } else { Mark::Between },
    };
    for (column, cell) in cells.iter_mut().enumerate() {
        let (from, to) = (scale.start_of(column), scale.start_of(column + 1));
        // Attempts that overlap nothing leave the call's own time; it loses against every piece that covers as much.
        let longest = pieces
            .iter()
            .map(|piece| (overlap(piece, from, to), piece.mark))
            .max_by_key(|(length, _)| *length);
        let longest = longest.filter(|(length, _)| !length.is_zero());
        let uncovered = overlap(&own, from, to).saturating_sub(pieces.iter().map(|piece| overlap(piece, from, to)).sum());
        cell.mark = match longest {
            Some((length, mark)) if length >= uncovered => Some(mark),
            _ if !uncovered.is_zero() => Some(own.mark),
            _ => None,
        };
    }
    show_at_least_once(row, started, own.mark, scale, &mut cells);
    for event in row.pieces.iter().filter(|piece| piece.length.is_zero()) {
        cells[scale.column(event.at.saturating_sub(Duration::from_nanos(1)))].mark = Some(event.mark);
    }
    for cell in &mut cells {
        cell.sign = cell.mark.map_or(' ', Mark::sign);
    }
    name_the_waits(row, &mut cells);
    cells
}

/// A call much shorter than a column still gets one, in the colour of its longest piece.
fn show_at_least_once(row: &Row, started: Duration, own: Mark, scale: Scale, cells: &mut [Cell]) {
    let seen = cells.iter().any(|cell| cell.mark.is_some_and(|mark| mark != Mark::Calls));
    if !seen {
        let longest = row.pieces.iter().max_by_key(|piece| piece.length).map_or(own, |piece| piece.mark);
        cells[scale.column(started)].mark = Some(longest);
    }
}

/// Writes ` after items ` into the dots if there is room.
fn name_the_waits(row: &Row, cells: &mut [Cell]) {
    let label = format!(" after {} ", row.waits.join(", "));
    let room = cells.iter().take_while(|cell| cell.mark == Some(Mark::Calls)).count();
    if row.waits.is_empty() || room < letters(&label) + 3 {
        return;
    }
    for (cell, letter) in cells[2..].iter_mut().zip(label.chars()) {
        cell.sign = letter;
    }
}

fn overlap(piece: &Piece, from: Duration, to: Duration) -> Duration {
    (piece.at + piece.length).min(to).saturating_sub(piece.at.max(from))
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
        "stale" | "fallback" | "skipped" => "33",
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
fn tick_text(at: Duration) -> String {
    let micros = at.as_micros();
    let (divisor, unit) = match micros {
        0 => return "0".to_string(),
        1_000_000.. => (1e6, "s"),
        1_000.. => (1e3, "ms"),
        _ => (1.0, "µs"),
    };
    format!("{} {unit}", (micros as f64 / divisor * 1000.0).round() / 1000.0)
}

/// The smallest of 1, 2 or 5 times a power of ten microseconds that is not below `least`.
fn nice_step(least: Duration) -> Duration {
    let mut step = Duration::from_micros(1);
    loop {
        for factor in [1, 2, 5] {
            if step * factor >= least {
                return step * factor;
            }
        }
        step *= 10;
    }
}

fn letters(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, most: usize) -> String {
    if letters(text) <= most {
        text.to_string()
    } else {
        text.chars().take(most.saturating_sub(1)).chain(['~']).collect()
    }
}

/// What came from elsewhere must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests;
