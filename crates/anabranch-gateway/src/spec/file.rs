//! One spec file: what is set up, what is asked, and what is expected, each with its place in the file.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use anabranch_testkit::Connecting;
use bytes::Bytes;
use http::{HeaderName, Request};

use super::document::{Block, Document, Section};
use super::mocks::{self, Mock};
use super::{repeat, request};
use crate::config::units;

/// A behaviour of the gateway: a config, its sources, and what comes of some requests. The format is described at [`super`].
#[derive(Debug)]
pub struct Spec {
    /// The file's name, for messages.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) prose: String,
    /// The whole file.
    pub(super) text: String,
    pub(super) config: String,
    pub(super) environment: Vec<(String, String)>,
    pub(super) sources: Vec<Mock>,
    pub(super) network: Vec<(String, Connecting)>,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) faults: Option<Expected>,
}

/// A request and what is expected of it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Request<Bytes>,
    /// How long after the reply before it is sent.
    pub(super) after: Duration,
    /// The line of its heading, from 1.
    pub(super) line: usize,
    /// Where a reply is put when the file has none.
    pub(super) end: usize,
    pub(super) reply: Option<Expected>,
    pub(super) took: Option<Expected>,
    pub(super) asked: Option<Expected>,
}

/// What a section expects, and where in the file that stands.
#[derive(Debug)]
pub(super) struct Expected {
    /// Repeats are put in.
    pub(super) text: String,
    pub(super) bytes: Range<usize>,
    /// The line of its heading, from 1.
    pub(super) line: usize,
    /// The headers that its heading asks for.
    pub(super) headers: Vec<HeaderName>,
}

/// A file that is no spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSpec {
    /// The line of the file, from 1.
    pub line: usize,
    /// What is wrong there, a lower-case fragment.
    pub message: String,
}

impl BadSpec {
    pub(super) fn new(line: usize, message: impl Into<String>) -> BadSpec {
        BadSpec {
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for BadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl Error for BadSpec {}

impl Spec {
    /// Reads a spec. `name` is the file's, for messages.
    ///
    /// # Errors
    /// The first thing that is not as the format wants it. Faults of the config are none: a spec may be about them.
    pub fn parse(name: &str, text: &str) -> Result<Spec, BadSpec> {
        let document = Document::parse(text)?;
        if document.prose.is_empty() {
            return Err(BadSpec::new(
                1,
                "no paragraph below the title that says what the reader should learn",
            ));
        }
        let mut spec = Spec {
            name: name.to_string(),
            title: document.title,
            prose: document.prose,
            text: text.to_string(),
            config: String::new(),
            environment: Vec::new(),
            sources: Vec::new(),
            network: Vec::new(),
            exchanges: Vec::new(),
            faults: None,
        };
        let mut seen = Vec::new();
        for section in &document.sections {
            spec.read(section)?;
            let heading = section.heading.as_str();
            if matches!(heading, "Config" | "Environment" | "Sources" | "Network" | "Faults") {
                if seen.contains(&heading) {
                    return Err(BadSpec::new(section.line, format!("a second `## {heading}`")));
                }
                seen.push(heading);
            }
        }
        if !seen.contains(&"Config") {
            return Err(BadSpec::new(1, "no `## Config`"));
        }
        match (spec.exchanges.is_empty(), &spec.faults) {
            (true, None) => Err(BadSpec::new(1, "neither a `## Request` nor `## Faults`")),
            (false, Some(faults)) => Err(BadSpec::new(
                faults.line,
                "`## Faults` beside a request; a faulty config answers none",
            )),
            _ => Ok(spec),
        }
    }

    /// The title of the file: what happens, in a sentence.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The text below the title: what the reader should learn.
    pub fn prose(&self) -> &str {
        &self.prose
    }

    fn read(&mut self, section: &Section) -> Result<(), BadSpec> {
        let (heading, headers) = heading(section)?;
        let block = &section.block;
        if !headers.is_empty() && !matches!(heading, "Reply" | "Asked") {
            return Err(BadSpec::new(
                section.line,
                format!("`{heading}` has no headers, expected them at `Reply` or `Asked`"),
            ));
        }
        match heading {
            "Config" => self.config = repeat::expand(&block.text, block.line)?,
            "Environment" => self.environment = environment(block)?,
            "Sources" => self.sources = sources(&self.name, block)?,
            "Network" => self.network = network(block)?,
            "Faults" => self.faults = Some(expected(section, headers)?),
            "Request" => self.exchanges.push(exchange(section, Duration::ZERO)?),
            "Reply" | "Took" | "Asked" => {
                let Some(last) = self.exchanges.last_mut() else {
                    return Err(BadSpec::new(section.line, format!("`## {heading}` before the first `## Request`")));
                };
                let place = match heading {
                    "Reply" => &mut last.reply,
                    "Took" => &mut last.took,
                    _ => &mut last.asked,
                };
                if place.replace(expected(section, headers)?).is_some() {
                    return Err(BadSpec::new(section.line, format!("a second `## {heading}` for one request")));
                }
            }
            _ => match heading.strip_prefix("Request after ") {
                Some(wait) => {
                    let wait = units::duration(wait).map_err(|expected| BadSpec::new(section.line, expected))?;
                    self.exchanges.push(exchange(section, wait)?);
                }
                None => return Err(BadSpec::new(section.line, format!("unknown section `{heading}`"))),
            },
        }
        Ok(())
    }
}

/// The section's name, and the headers that it asks for: `Asked with headers: authorization, x-request-id`.
fn heading(section: &Section) -> Result<(&str, Vec<HeaderName>), BadSpec> {
    let Some((heading, names)) = section.heading.split_once(" with headers:") else {
        return Ok((&section.heading, Vec::new()));
    };
    let names = names.split(',').map(|name| {
        let name = name.trim();
        name.parse()
            .map_err(|_| BadSpec::new(section.line, format!("`{name}` is no name of a header")))
    });
    Ok((heading, names.collect::<Result<_, _>>()?))
}

fn exchange(section: &Section, after: Duration) -> Result<Exchange, BadSpec> {
    Ok(Exchange {
        request: request::parse(&section.block)?,
        after,
        line: section.line,
        end: section.block.end,
        reply: None,
        took: None,
        asked: None,
    })
}

fn expected(section: &Section, headers: Vec<HeaderName>) -> Result<Expected, BadSpec> {
    let text = repeat::expand(&section.block.text, section.block.line)?;
    Ok(Expected {
        text,
        bytes: section.block.bytes.clone(),
        line: section.line,
        headers,
    })
}

fn environment(block: &Block) -> Result<Vec<(String, String)>, BadSpec> {
    let pairs = lines(block).map(|(number, line)| {
        let (name, value) = line.split_once('=').ok_or(BadSpec::new(number, "expected `NAME=value`"))?;
        Ok((name.trim().to_string(), value.to_string()))
    });
    pairs.collect()
}

fn network(block: &Block) -> Result<Vec<(String, Connecting)>, BadSpec> {
    let hosts = lines(block).map(|(number, line)| {
        let bad = || {
            BadSpec::new(
                number,
                format!("expected `host:port: never`, `refused` or a duration such as `500ms`, found `{line}`"),
            )
        };
        let (host, connecting) = line.rsplit_once(": ").ok_or_else(bad)?;
        let connecting = match connecting.trim() {
            "never" => Connecting::Never,
            "refused" => Connecting::Refused,
            delay => Connecting::After(units::duration(delay).map_err(|_| bad())?),
        };
        Ok((host.trim().to_string(), connecting))
    });
    hosts.collect()
}

fn lines(block: &Block) -> impl Iterator<Item = (usize, &str)> {
    let numbered = block.text.lines().enumerate().map(|(at, line)| (block.line + at, line));
    numbered.filter(|(_, line)| !line.trim().is_empty())
}

/// Reads the sources as a mock file whose lines are those of the spec, so that a fault tells where it is.
fn sources(name: &str, block: &Block) -> Result<Vec<Mock>, BadSpec> {
    let mut file = "\n".repeat(block.line - 2);
    file.push_str("upstreams:\n");
    for line in repeat::expand(&block.text, block.line)?.lines() {
        file.push_str(&format!("  {line}\n"));
    }
    let mocks = mocks::parse(name, &file).map_err(|faults| BadSpec::new(block.line, format!("the sources have faults\n{faults}")))?;
    Ok(mocks.upstreams)
}
