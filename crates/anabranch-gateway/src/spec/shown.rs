//! What a run saw, as the text that a spec expects.

use std::time::Duration;

use anabranch_testkit::{Ended, Seen};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::gateway::Answer;

/// A reply: status, headers by name, an empty line, the body. `asked_for` are headers that are left out otherwise.
pub(super) fn reply(method: &Method, answer: &Answer, asked_for: &[HeaderName]) -> String {
    let mut text = format!("{}\n", answer.status.as_u16());
    let mut names: Vec<&HeaderName> = answer.headers.keys().collect();
    names.sort_by_key(|name| name.as_str());
    for name in names
        .into_iter()
        .filter(|name| asked_for.contains(name) || !is_left_out(name, &answer.headers))
    {
        for value in answer.headers.get_all(name) {
            text.push_str(&format!("{name}: {}\n", lossy(value)));
        }
    }
    // The server leaves the body of a reply to HEAD away when it writes it.
    if !answer.body.is_empty() && method != Method::HEAD {
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&answer.body));
    }
    text.trim_end_matches('\n').to_string()
}

/// What says the same in nearly every reply.
fn is_left_out(name: &HeaderName, headers: &HeaderMap) -> bool {
    match *name {
        header::DATE | header::VARY | header::CONTENT_LENGTH => true,
        header::CONTENT_TYPE => headers.get(name).is_some_and(|value| value == "application/json"),
        _ => false,
    }
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// A time: `120 ms`, with what is below a millisecond where there is any.
pub(super) fn duration(took: Duration) -> String {
    let below = took.subsec_nanos() % 1_000_000;
    if below == 0 {
        format!("{} ms", took.as_millis())
    } else {
        format!("{}.{below:06} ms", took.as_millis())
    }
}

/// What sources were asked, line by line.
pub(super) struct AskedLines<'a> {
    headers: &'a [HeaderName],
    text: String,
    /// Random ids in the order in which they were met, so that equal ones are seen to be equal.
    traces: Vec<String>,
    spans: Vec<String>,
}

impl<'a> AskedLines<'a> {
    pub(super) fn new(headers: &'a [HeaderName]) -> Self {
        AskedLines {
            headers,
            text: String::new(),
            traces: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Adds a request: source, method, target, then the headers asked for and the body.
    pub(super) fn push(&mut self, source: &str, seen: &Seen) {
        let end = match seen.ended {
            Ended::Answered(_) => "",
            Ended::Cancelled(_) => " (cancelled)",
            Ended::Pending => " (still waiting)",
        };
        self.text
            .push_str(&format!("{source} {} {}{end}\n", seen.method, seen.path_and_query));
        let headers = self.headers;
        for name in headers {
            for value in seen.headers.get_all(name) {
                let value = self.without_chance(name, lossy(value));
                self.text.push_str(&format!("  {name}: {value}\n"));
            }
        }
        if !seen.body.is_empty() {
            for line in String::from_utf8_lossy(&seen.body).lines() {
                self.text.push_str(&format!("  {line}\n"));
            }
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text.trim_end_matches('\n').to_string()
    }

    /// Replaces what differs from run to run, or from version to version.
    fn without_chance(&mut self, name: &HeaderName, value: String) -> String {
        if *name == header::USER_AGENT {
            return value.replace(env!("CARGO_PKG_VERSION"), "{version}");
        }
        let fields: Vec<&str> = value.split('-').collect();
        let [version, trace, span, flags] = fields[..] else { return value };
        if name.as_str() != "traceparent" || trace.len() != 32 || span.len() != 16 {
            return value;
        }
        let (trace, span) = (number_of(&mut self.traces, trace), number_of(&mut self.spans, span));
        format!("{version}-{{trace {trace}}}-{{span {span}}}-{flags}")
    }
}

fn number_of(known: &mut Vec<String>, id: &str) -> usize {
    match known.iter().position(|other| other == id) {
        Some(at) => at + 1,
        None => {
            known.push(id.to_string());
            known.len()
        }
    }
}
