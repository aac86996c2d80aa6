//! Small readers of a mock file's tree. What is wrong becomes a fault and the reading goes on.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::{units, Faults, Node, NodeKind, Span, Spanned, Style};

/// Reads nodes and collects their faults.
pub(super) struct Reader<'a> {
    faults: &'a mut Faults,
}

/// The entries of a mapping with fixed keys.
pub(super) struct Section<'n> {
    pub(super) entries: &'n [(Spanned<String>, Node)],
}

impl<'n> Section<'n> {
    /// The value of a key.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.value == name).map(|(_, node)| node)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(faults: &'a mut Faults) -> Self {
        Reader { faults }
    }

    /// Adds a fault with what was expected.
    pub(super) fn fault(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.faults.add_with_help(span, message, help);
    }

    /// Adds the fault of a value of the wrong kind.
    pub(super) fn wrong(&mut self, node: &Node, what: &str, expected: &str) {
        let found = match &node.kind {
            NodeKind::Null => format!("{what} has no value"),
            NodeKind::Bool(value) => format!("{what} cannot be `{value}`"),
            NodeKind::Number(text) | NodeKind::Text(text, Style::Plain | Style::Quoted) => format!("{what} cannot be `{text}`"),
            other => format!("{what} cannot be {}", other.describe()),
        };
        self.faults.add_with_help(node.span, found, format!("expected {expected}"));
    }

    /// A mapping with these keys only.
    pub(super) fn section<'n>(&mut self, node: &'n Node, what: &str, keys: &[&str]) -> Section<'n> {
        let entries = self.entries(node, what);
        for (key, _) in entries {
            if !keys.contains(&key.value.as_str()) {
                self.faults.add_unknown(key.span, "key", &key.value, keys.iter().copied());
            }
        }
        Section { entries }
    }

    /// A mapping with any keys.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Spanned<String>, Node)] {
        match &node.kind {
            NodeKind::Map(entries) => entries,
            _ => {
                self.wrong(node, what, "a mapping `{ key: value }`");
                &[]
            }
        }
    }

    /// A mapping of names to texts; numbers and booleans are taken as written.
    pub(super) fn pairs(&mut self, node: &Node, what: &str) -> Vec<(String, String)> {
        let entries = self.entries(node, what);
        entries
            .iter()
            .filter_map(|(key, node)| Some((key.value.clone(), self.text(node, &format!("`{}`", key.value))?)))
            .collect()
    }

    /// A text; a number or boolean is taken as written.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            NodeKind::Text(text, _) | NodeKind::Number(text) => Some(text.clone()),
            NodeKind::Bool(value) => Some(value.to_string()),
            _ => {
                self.wrong(node, what, "text: quote it, or use `|`");
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, node: &Node, what: &str) -> bool {
        let NodeKind::Bool(value) = node.kind else {
            self.wrong(node, what, "`true` or `false`");
            return false;
        };
        value
    }

    /// A whole number within a range.
    pub(super) fn whole(&mut self, node: &Node, what: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match &node.kind {
            NodeKind::Number(text) => text.parse().ok().filter(|number| range.contains(number)),
            _ => None,
        };
        if number.is_none() {
            self.wrong(node, what, &format!("a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A share such as `5%`, as a fraction of 1.
    pub(super) fn percent(&mut self, node: &Node, what: &str) -> Option<f64> {
        let share = match &node.kind {
            NodeKind::Text(text, _) => text
                .strip_suffix('%')
                .and_then(|number| number.trim().parse::<f64>().ok())
                .filter(|share| (0.0..=100.0).contains(share)),
            _ => None,
        };
        if share.is_none() {
            self.wrong(node, what, "a share from `0%` to `100%`");
        }
        share.map(|share| share / 100.0)
    }

    /// A duration with its unit, at most an hour.
    pub(super) fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let text = self.text(node, what)?;
        self.duration_text(node, what, &text)
    }

    /// The same, of a part of a node's text.
    pub(super) fn duration_text(&mut self, node: &Node, what: &str, text: &str) -> Option<Duration> {
        match units::duration(text) {
            Ok(duration) if duration <= super::LATENCY_MAX => Some(duration),
            Ok(_) => {
                self.wrong(node, what, "at most `1h`");
                None
            }
            Err(expected) => {
                self.wrong(node, what, expected.strip_prefix("expected ").unwrap_or(&expected));
                None
            }
        }
    }

    /// A size with its unit, or a number of bytes.
    pub(super) fn size(&mut self, node: &Node, what: &str, most: u64) -> Option<u64> {
        if let NodeKind::Number(_) = node.kind {
            return self.whole(node, what, 0..=most);
        }
        let text = self.text(node, what)?;
        match units::size(&text) {
            Ok(size) if size <= most => Some(size),
            Ok(_) => {
                self.wrong(node, what, &format!("at most {most} bytes"));
                None
            }
            Err(expected) => {
                self.wrong(node, what, expected.strip_prefix("expected ").unwrap_or(&expected));
                None
            }
        }
    }
}
