//! Names of body files, made from a template and what is known of the job. A name is a function of these alone, so that a run that is
//! resumed finds its files again.
//!
//! - Names never leave the folder, never begin with a dot (`.part` is ours), and have only characters that every file system takes:
//!   ASCII letters, digits and `-_.+@=,~`; all else is percent-encoded.
//! - Where the template holds `{id}`, jobs with different ids have different names. Without it two URLs may share a name, and on some
//!   file systems names that differ in capitals only are one: whoever writes the files reserves them.

mod extension;

use std::fmt::Write;
use std::path::PathBuf;

use url::Url;

use super::charset::end_within;
use crate::{FetchError, JobId};
use extension::{extension, is_extension};

/// Bytes of one segment. File systems take 255; the rest is for what is added (`-<id>`, temporary endings).
pub const SEGMENT_MAX: usize = 180;
/// Bytes of a whole name.
pub const NAME_MAX: usize = 1024;
/// Of the hash that stands for what was cut off: 128 bits in hex.
const HASH: usize = 32;

/// What a name is made of.
#[derive(Clone, Copy, Debug)]
pub struct NameParts<'a> {
    /// The URL of the job, before redirects.
    pub url: &'a Url,
    /// The job.
    pub id: &'a JobId,
    /// The type of the answer without parameters, if it has come.
    pub media_type: Option<&'a str>,
    /// Its place in the input.
    pub seq: Option<u64>,
    /// Links followed to get there.
    pub depth: u32,
}

/// A template that was read: `{host}/{id}{ext}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    /// Then `{name}` and `{path}` come without it.
    has_extension: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Slash,
    Text(String),
    Host,
    Path,
    Name,
    Query,
    Extension,
    Seq,
    Depth,
    Id(Beside),
}

/// What else of changing length stands in the segment of an id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beside {
    before: bool,
    after: bool,
}

impl Template {
    /// Reads a template. Holes: `{host} {path} {name} {query} {ext} {id} {seq} {depth}`; `{{` and `}}` are braces.
    ///
    /// # Errors
    /// [`FetchError::Usage`]: an unknown hole, an absolute name, `..`, or characters that no name may have.
    pub fn new(text: &str) -> Result<Template, FetchError> {
        let fault = |why: String| FetchError::usage(format!("`--name {text}`: {why}"));
        let mut pieces = read(text).map_err(&fault)?;
        if pieces.is_empty() || pieces.first() == Some(&Piece::Slash) || pieces.last() == Some(&Piece::Slash) {
            return Err(fault("expected a name inside the folder, with no `/` at its ends".into()));
        }
        if pieces.windows(2).any(|two| two == [Piece::Slash, Piece::Slash]) {
            return Err(fault("expected something between two `/`".into()));
        }
        let place = |at: usize, pieces: &[Piece]| Beside {
            before: pieces[..at]
                .iter()
                .rev()
                .take_while(|p| **p != Piece::Slash)
                .any(Piece::is_variable),
            after: pieces[at + 1..]
                .iter()
                .take_while(|p| **p != Piece::Slash)
                .any(|p| p.is_variable() && *p != Piece::Extension),
        };
        for at in 0..pieces.len() {
            if matches!(pieces[at], Piece::Id(_)) {
                pieces[at] = Piece::Id(place(at, &pieces));
            }
        }
        let has_extension = pieces.contains(&Piece::Extension);
        Ok(Template { pieces, has_extension })
    }

    /// Whether different jobs always have different names.
    pub fn has_id(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Id(_)))
    }

    /// Whether the name depends on the answer. Without that it is known before the request.
    pub fn needs_answer(&self) -> bool {
        self.has_extension
    }
}

/// The name of a job's file, relative to the folder.
pub fn render(template: &Template, parts: &NameParts<'_>) -> PathBuf {
    let extension = extension(parts.url, parts.media_type);
    let dropped = if template.has_extension { extension.as_str() } else { "" };
    let mut segments = vec![String::new()];
    for piece in &template.pieces {
        if *piece == Piece::Path {
            put_path(parts.url, dropped, &mut segments);
        } else if *piece == Piece::Slash {
            segments.push(String::new());
        } else if let Some(segment) = segments.last_mut() {
            put(piece, parts, &extension, dropped, segment);
        }
    }
    let segments: Vec<String> = segments.into_iter().map(|segment| shortened(safe(segment))).collect();
    bounded(segments)
}

impl Piece {
    fn is_variable(&self) -> bool {
        !matches!(self, Piece::Slash | Piece::Text(_))
    }
}

fn read(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '{' if !rest.starts_with('{') => {
                let end = rest.find('}').ok_or("expected `}` behind `{`, or `{{` for a brace")?;
                flush(&mut literal, &mut pieces)?;
                pieces.push(hole(&rest[..end])?);
                rest = &rest[end + 1..];
            }
            '/' => {
                flush(&mut literal, &mut pieces)?;
                pieces.push(Piece::Slash);
            }
            '{' | '}' => {
                rest = rest.strip_prefix(c).unwrap_or(rest);
                literal.push(c);
            }
            c => literal.push(c),
        }
    }
    flush(&mut literal, &mut pieces)?;
    Ok(pieces)
}

fn hole(name: &str) -> Result<Piece, String> {
    Ok(match name {
        "host" => Piece::Host,
        "path" => Piece::Path,
        "name" => Piece::Name,
        "query" => Piece::Query,
        "ext" => Piece::Extension,
        "seq" => Piece::Seq,
        "depth" => Piece::Depth,
        "id" => Piece::Id(Beside::default()),
        _ => {
            return Err(format!(
                "unknown hole `{{{name}}}`, expected one of `{{host}} {{path}} {{name}} {{query}} {{ext}} {{id}} {{seq}} {{depth}}`"
            ));
        }
    })
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) -> Result<(), String> {
    if let Some(c) = literal
        .chars()
        .find(|c| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '~' | '%'))
    {
        return Err(format!("`{c}` cannot stand in a name"));
    }
    if literal.as_str() == "."
        || literal.as_str() == ".."
        || (literal.starts_with('.') && matches!(pieces.last(), None | Some(Piece::Slash)))
    {
        return Err("no part of a name begins with a dot".into());
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal)));
    }
    Ok(())
}

fn put(piece: &Piece, parts: &NameParts<'_>, extension: &str, dropped: &str, out: &mut String) {
    match piece {
        Piece::Slash | Piece::Path => {}
        // Checked when it was read; letters beyond ASCII are the user's own wish.
        Piece::Text(text) => out.push_str(text),
        Piece::Host => {
            out.push_str(&encoded(parts.url.host_str().unwrap_or("_"), Percent::Keep));
            if let Some(port) = parts.url.port() {
                let _ = write!(out, "+{port}");
            }
        }
        Piece::Name => out.push_str(&last_segment(parts.url, dropped)),
        // `?` is no character for names; wget writes it like this, too.
        Piece::Query => {
            if let Some(query) = parts.url.query().filter(|query| !query.is_empty()) {
                out.push('@');
                out.push_str(&encoded(query, Percent::Keep));
            }
        }
        Piece::Extension => out.push_str(extension),
        Piece::Seq => match parts.seq {
            Some(seq) => drop(write!(out, "{seq}")),
            None => out.push('_'),
        },
        Piece::Depth => drop(write!(out, "{}", parts.depth)),
        Piece::Id(beside) => put_id(parts.id.as_str(), *beside, out),
    }
}

/// An id between values that change is put so that it can be told where it begins and ends: `~` is in nothing else. The 32 hex digits of
/// ids that we made need that only when there is something on both sides.
fn put_id(id: &str, beside: Beside, out: &mut String) {
    let is_ours = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_clear = match beside {
        Beside {
            before: false,
            after: false,
        } => true,
        Beside { before: true, after: true } => false,
        _ => is_ours,
    };
    if is_clear {
        out.push_str(&id_text(id));
    } else {
        let _ = write!(out, "~{}~", id_text(id));
    }
}

/// An id in safe characters. It never ends in what could be an extension: `a.html` and `a` with `.html` would be one file.
fn id_text(id: &str) -> String {
    if id.is_empty() {
        return "%".into();
    }
    let mut text = encoded(id, Percent::Encode);
    if let Some(dot) = text.rfind('.')
        && is_extension(&text[dot + 1..])
    {
        text.replace_range(dot..=dot, "%2E");
    }
    text
}

fn put_path(url: &Url, dropped: &str, segments: &mut Vec<String>) {
    let folders = url.path().trim_start_matches('/');
    let folders = folders.rfind('/').map_or("", |slash| &folders[..slash]);
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        if let Some(last) = segments.last_mut() {
            last.push_str(&encoded(folder, Percent::Keep));
        }
        segments.push(String::new());
    }
    if let Some(last) = segments.last_mut() {
        last.push_str(&last_segment(url, dropped));
    }
}

fn last_segment(url: &Url, dropped: &str) -> String {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    let last = last.strip_suffix(dropped).filter(|stem| !stem.is_empty()).unwrap_or(last);
    if last.is_empty() {
        "index".into()
    } else {
        encoded(last, Percent::Keep)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Percent {
    /// It is of a URL, where it is a code already.
    Keep,
    Encode,
}

fn encoded(text: &str, percent: Percent) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_safe = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'@' | b'=' | b',');
        if is_safe || (byte == b'%' && percent == Percent::Keep) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Without a dot or a space at its ends, and no name of a device of Windows.
fn safe(mut segment: String) -> String {
    if segment.ends_with(['.', ' ']) {
        let code = if segment.ends_with('.') { "%2E" } else { "%20" };
        segment.truncate(segment.len() - 1);
        segment.push_str(code);
    }
    if segment.starts_with('.') {
        segment.replace_range(..1, "%2E");
    }
    if segment.is_empty() {
        segment.push('_');
    }
    let stem = segment.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_numbered =
        stem.len() == 4 && (stem.starts_with("COM") || stem.starts_with("LPT")) && stem.ends_with(|c: char| c.is_ascii_digit());
    if is_numbered || matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") {
        let first = segment.as_bytes()[0];
        segment.replace_range(..1, &format!("%{first:02X}"));
    }
    segment
}

/// Cut to its length, with a hash of all of it and its extension.
fn shortened(segment: String) -> String {
    if segment.len() <= SEGMENT_MAX {
        return segment;
    }
    let extension = segment
        .rfind('.')
        .filter(|dot| is_extension(&segment[dot + 1..]))
        .map_or("", |dot| &segment[dot..]);
    let kept = end_within(&segment, SEGMENT_MAX - HASH - 1 - extension.len());
    format!("{}={}{extension}", &segment[..kept], hash(&segment))
}

fn bounded(segments: Vec<String>) -> PathBuf {
    let length: usize = segments.iter().map(|segment| segment.len() + 1).sum();
    if length <= NAME_MAX {
        return segments.iter().collect();
    }
    // Only paths of URLs have so many parts: the first and the last say the most.
    let middle = format!("={}", hash(&segments.join("/")));
    let first = segments.first().cloned().unwrap_or_default();
    let last = segments.last().cloned().unwrap_or_default();
    [first, middle, last].iter().collect()
}

fn hash(text: &str) -> String {
    let mut hex = blake3::hash(text.as_bytes()).to_hex().to_string();
    hex.truncate(HASH);
    hex
}

#[cfg(test)]
mod tests;
