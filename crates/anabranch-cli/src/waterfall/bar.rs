//! One row as cells: which kind of time each column shows.

use std::time::Duration;

use super::text::{letters, tick_text};
use super::{Mark, Piece, Row};

/// One label of the axis needs about this many columns.
const TICK_COLUMNS: usize = 12;

/// How time maps to columns.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) total: Duration,
    pub(super) columns: usize,
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
    pub(super) fn axis(self) -> String {
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
pub(super) struct Cell {
    pub(super) sign: char,
    pub(super) mark: Option<Mark>,
}

/// Each column shows the kind of time that most of it was spent in; what is too short for a column is not drawn, except the call itself.
pub(super) fn bar(row: &Row, scale: Scale) -> Vec<Cell> {
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
        mark: Mark::Own,
    };
    for (column, cell) in cells.iter_mut().enumerate() {
        let (from, to) = (scale.start_of(column), scale.start_of(column + 1));
        let longest = pieces
            .iter()
            .map(|piece| (overlap(piece, from, to), piece.mark))
            .max_by_key(|(length, _)| *length);
        cell.mark = match longest {
            Some((length, mark)) if !length.is_zero() => Some(mark),
            // No phase covers the time in which an answer is looked at: it belongs to the one before.
            _ if !overlap(&own, from, to).is_zero() => Some(row.mark_before(from)),
            _ => None,
        };
    }
    show_at_least_once(row, started, scale, &mut cells);
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
fn show_at_least_once(row: &Row, started: Duration, scale: Scale, cells: &mut [Cell]) {
    let seen = cells.iter().any(|cell| cell.mark.is_some_and(|mark| mark != Mark::Calls));
    if !seen {
        let longest = row
            .pieces
            .iter()
            .max_by_key(|piece| piece.length)
            .map_or(Mark::Own, |piece| piece.mark);
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

/// The smallest of 1, 2 or 5 times a power of ten microseconds that is not below `least`.
pub(super) fn nice_step(least: Duration) -> Duration {
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
