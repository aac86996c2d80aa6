//! What came against what was expected: the differences, and the file as it would have to be.

use std::fmt;
use std::ops::Range;

use super::diff::diff;
use super::file::{Expected, Spec};
use super::run::Ran;

/// A section whose expectation was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The line of the section's heading, from 1.
    pub line: usize,
    /// The section: `Reply`.
    pub section: &'static str,
    /// What the file says.
    pub expected: String,
    /// What came.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: `## {}` is not what came (- expected, + came)\n{}",
            self.line,
            self.section,
            diff(&self.expected, &self.found)
        )
    }
}

/// One section: what it expects, where that stands, and what came.
struct Pair<'a> {
    section: &'static str,
    expected: Option<&'a Expected>,
    /// The line to blame, and the place for a section that is not there.
    line: usize,
    end: usize,
    found: &'a str,
}

impl Pair<'_> {
    fn differs(&self) -> bool {
        self.expected
            .is_none_or(|expected| expected.text.trim_end() != self.found.trim_end())
    }
}

impl Ran {
    /// The expectations of the spec that were not met; none when all is well.
    pub fn compare(&self, spec: &Spec) -> Vec<Mismatch> {
        let mismatch = |pair: Pair<'_>| Mismatch {
            line: pair.line,
            section: pair.section,
            expected: pair.expected.map(|expected| expected.text.clone()).unwrap_or_default(),
            found: pair.found.to_string(),
        };
        self.pairs(spec).into_iter().filter(Pair::differs).map(mismatch).collect()
    }

    /// The spec's file with what came in place of what was expected otherwise. A request without a reply gets one. All else stays, byte for
    /// byte; so does the whole file when requests were expected and the config has faults.
    pub fn rewrite(&self, spec: &Spec) -> String {
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        for pair in self.pairs(spec).into_iter().filter(Pair::differs) {
            let body = if pair.found.is_empty() {
                String::new()
            } else {
                format!("{}\n", pair.found.trim_end_matches('\n'))
            };
            match pair.expected {
                Some(expected) => edits.push((expected.bytes.clone(), body)),
                None if pair.section == "Reply" => edits.push((pair.end..pair.end, format!("\n## Reply\n```http\n{body}```\n"))),
                None => {}
            }
        }
        let mut text = spec.text.clone();
        // From the end, so that the places before stay what they are.
        edits.sort_by_key(|(bytes, _)| std::cmp::Reverse(bytes.start));
        for (bytes, body) in edits {
            text.replace_range(bytes, &body);
        }
        text
    }

    fn pairs<'a>(&'a self, spec: &'a Spec) -> Vec<Pair<'a>> {
        let faults = self.faults.as_deref();
        if spec.faults.is_some() || faults.is_some() {
            let expected = spec.faults.as_ref();
            let line = expected.map_or(1, |expected| expected.line);
            return vec![Pair {
                section: "Faults",
                expected,
                line,
                end: spec.text.len(),
                found: faults.unwrap_or_default(),
            }];
        }
        let mut pairs = Vec::new();
        for (exchange, ran) in spec.exchanges.iter().zip(&self.exchanges) {
            let mut add = |section, expected: Option<&'a Expected>, found: &'a str| {
                let line = expected.map_or(exchange.line, |expected| expected.line);
                pairs.push(Pair {
                    section,
                    expected,
                    line,
                    end: exchange.end,
                    found,
                });
            };
            add("Reply", exchange.reply.as_ref(), &ran.reply);
            if exchange.took.is_some() {
                add("Took", exchange.took.as_ref(), &ran.took);
            }
            if let Some(asked) = &ran.asked {
                add("Asked", exchange.asked.as_ref(), asked);
            }
        }
        pairs
    }
}
