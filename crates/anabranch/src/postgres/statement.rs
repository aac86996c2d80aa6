//! Prepared statements of one session, kept by their text.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Statement;

use super::value::Columns;

/// Statements kept per session. A gateway has as many as its config; a program that writes values into its statements' text
/// would have one per call, and each costs memory in the server.
const MOST_KEPT: usize = 256;

/// A statement that the server has parsed.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    /// How its rows become JSON, or why they cannot.
    pub(super) columns: Result<Columns, String>,
    /// Whether the session is afterwards as it was before.
    pub(super) leaves_no_trace: bool,
}

impl Prepared {
    pub(super) fn new(text: &str, statement: Statement) -> Self {
        Prepared {
            columns: Columns::new(statement.columns()),
            leaves_no_trace: leaves_no_trace(text),
            statement,
        }
    }
}

/// The statements of one session.
#[derive(Debug, Default)]
pub(super) struct Statements {
    by_text: HashMap<Box<str>, Kept>,
    /// Counts uses, to know which was used last.
    uses: u64,
}

#[derive(Debug)]
struct Kept {
    prepared: Arc<Prepared>,
    used: u64,
}

impl Statements {
    pub(super) fn get(&mut self, text: &str) -> Option<Arc<Prepared>> {
        self.uses += 1;
        let kept = self.by_text.get_mut(text)?;
        kept.used = self.uses;
        Some(kept.prepared.clone())
    }

    /// Keeps a statement; the one unused for longest leaves when there are too many.
    pub(super) fn keep(&mut self, text: &str, prepared: &Arc<Prepared>) {
        if self.by_text.len() >= MOST_KEPT {
            let oldest = self.by_text.iter().min_by_key(|(_, kept)| kept.used).map(|(text, _)| text.clone());
            oldest.map(|text| self.by_text.remove(&text));
        }
        self.by_text.insert(
            text.into(),
            Kept {
                prepared: prepared.clone(),
                used: self.uses,
            },
        );
    }

    pub(super) fn forget(&mut self, text: &str) {
        self.by_text.remove(text);
    }
}

/// Statements after which a session is as before: what else begins with these words ends with its own transaction. All others
/// (`begin`, `set`, `listen`, `create temp table`, ...) make the session be reset before anybody else gets it.
const TRACELESS: [&str; 11] = [
    "select", "insert", "update", "delete", "merge", "with", "values", "table", "call", "explain", "show",
];

fn leaves_no_trace(text: &str) -> bool {
    let word = first_word(text);
    TRACELESS.iter().any(|traceless| word.eq_ignore_ascii_case(traceless))
}

/// The first word, behind blanks, comments and opening parentheses.
fn first_word(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|character: char| character.is_whitespace() || character == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("/*") {
            rest = behind_comment(rest);
        } else {
            let end = rest.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(rest.len());
            return &rest[..end];
        }
    }
}

/// These comments nest.
fn behind_comment(text: &str) -> &str {
    let (mut rest, mut depth) = (&text[2..], 1_usize);
    while depth > 0 {
        let Some(at) = rest.find(['/', '*']) else { return "" };
        let (step, change) = match rest.get(at..at + 2) {
            Some("/*") => (2, 1),
            Some("*/") => (2, -1),
            _ => (1, 0),
        };
        rest = &rest[at + step..];
        depth = depth.saturating_add_signed(change);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_leave_a_trace_is_known_by_its_first_word() {
        for text in [
            "select 1",
            "\n -- a comment\n  SELECT 1",
            "/* begin /* set */ */ (select 1)",
            "With x as (select 1) select 1",
            "insert into t values (1)",
        ] {
            assert!(leaves_no_trace(text), "{text}");
        }
        for text in [
            "begin",
            "set x = 1",
            "/* select */ set x = 1",
            "-- select 1",
            "",
            "selected",
            "/* select",
            "listen x",
            "création",
        ] {
            assert!(!leaves_no_trace(text), "{text}");
        }
    }
}
