//! The slowest path through the calls of a request: the chain of calls, each waiting for the one before, with the longest sum.

use std::collections::HashMap;
use std::time::Duration;

use super::Row;

/// Its time and its calls, first to last. Calls stand in any order; a plan has no cycles, and a wait that leads back is ignored.
pub(super) fn slowest(rows: &[Row]) -> (Duration, Vec<&str>) {
    let index = rows.iter().enumerate().map(|(at, row)| (row.name.as_str(), at)).collect();
    let mut search = Search {
        rows,
        index,
        known: vec![State::Unknown; rows.len()],
    };
    let sums: Vec<Duration> = (0..rows.len()).map(|at| search.longest_to(at)).collect();
    let Some((last, sum)) = sums.into_iter().enumerate().max_by_key(|(_, sum)| *sum) else {
        return (Duration::ZERO, Vec::new());
    };
    let mut names = vec![rows[last].name.as_str()];
    let mut at = last;
    while let State::Known { after: Some(before), .. } = search.known[at] {
        names.push(rows[before].name.as_str());
        at = before;
    }
    names.reverse();
    (sum, names)
}

struct Search<'a> {
    rows: &'a [Row],
    index: HashMap<&'a str, usize>,
    /// By call: the longest chain that ends with it.
    known: Vec<State>,
}

#[derive(Clone, Copy)]
enum State {
    Unknown,
    /// On the way there: a wait that leads here is a cycle.
    Open,
    Known {
        sum: Duration,
        after: Option<usize>,
    },
}

impl Search<'_> {
    fn longest_to(&mut self, at: usize) -> Duration {
        if let State::Known { sum, .. } = self.known[at] {
            return sum;
        }
        self.known[at] = State::Open;
        let mut longest = Duration::ZERO;
        let mut after = None;
        for name in &self.rows[at].waits {
            let Some(before) = self.index.get(name.as_str()).copied() else {
                continue;
            };
            if matches!(self.known[before], State::Open) {
                continue;
            }
            let sum = self.longest_to(before);
            if after.is_none() || sum > longest {
                (longest, after) = (sum, Some(before));
            }
        }
        let own = if self.rows[at].started.is_some() {
            self.rows[at].took
        } else {
            Duration::ZERO
        };
        self.known[at] = State::Known { sum: longest + own, after };
        longest + own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, took: u64, waits: &[&str]) -> Row {
        Row {
            name: name.to_string(),
            waits: waits.iter().map(ToString::to_string).collect(),
            started: Some(Duration::ZERO),
            took: Duration::from_millis(took),
            ..Row::default()
        }
    }

    #[test]
    fn the_longest_chain_wins_over_the_longest_call() {
        let rows = [
            row("late", 20, &["early", "short"]),
            row("long", 25, &[]),
            row("early", 10, &[]),
            row("short", 5, &[]),
        ];
        assert_eq!(slowest(&rows), (Duration::from_millis(30), vec!["early", "late"]));
    }

    #[test]
    fn no_calls_take_no_time() {
        assert_eq!(slowest(&[]), (Duration::ZERO, vec![]));
    }

    #[test]
    fn a_call_that_never_started_adds_nothing() {
        let rows = [
            row("a", 10, &[]),
            Row {
                started: None,
                ..row("b", 50, &["a"])
            },
        ];
        assert_eq!(slowest(&rows).0, Duration::from_millis(10));
    }

    #[test]
    fn a_broken_trace_with_a_cycle_ends() {
        let rows = [row("a", 10, &["b"]), row("b", 10, &["a"])];
        assert_eq!(slowest(&rows), (Duration::from_millis(20), vec!["b", "a"]));
    }
}
