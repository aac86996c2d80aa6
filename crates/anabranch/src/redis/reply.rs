//! From RESP3 on the wire to JSON, piece by piece as the bytes come, without a tree between.
//!
//! What is not wanted of a reply, because it is too large, too deep or has bytes that are no text, is passed over as it comes: the
//! call fails, the connection goes on. So a reply never holds more memory than its limit, whatever the server announces.
//!
//! | RESP3 | JSON |
//! |---|---|
//! | null | `null` |
//! | number, big number, double | a number with the server's digits; `"inf"`, `"-inf"`, `"nan"` as strings |
//! | boolean | `true`, `false` |
//! | simple, bulk and verbatim string | a string; for bytes that are no UTF-8 see [`Binary`] |
//! | array, set | a list |
//! | map | an object; keys that are numbers or booleans as strings |
//! | push, attribute | nothing |
//! | error | the call's error, also inside of a list |

use bytes::{Buf, BytesMut};

use super::fault;
use super::json;
use crate::{CallError, Kind};

/// As deep as any JSON that the gateway takes.
const MOST_LEVELS: usize = 64;
/// A line is a type and a number, or a short text.
const LONGEST_LINE: usize = 64 << 10;

/// What becomes of a string whose bytes are no UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binary {
    /// The call fails with kind `decode`.
    #[default]
    Refuse,
    /// It becomes an object with its bytes in base64: `{"base64":"/wA="}`. Strings that are UTF-8 stay strings, and keys of
    /// objects have to be UTF-8.
    Base64,
}

/// What a reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplyLimits {
    /// The largest JSON, and the largest string on the wire, in bytes.
    pub(super) max_body: usize,
    pub(super) binary: Binary,
    /// Note where the elements of the outermost list end.
    pub(super) with_ends: bool,
}

/// A whole reply.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) json: Vec<u8>,
    /// With [`with_ends`](ReplyLimits::with_ends): behind each element of the outermost list.
    pub(super) ends: Vec<usize>,
}

/// Reads one reply after the other.
pub(super) struct Decoder {
    limits: ReplyLimits,
    reply: Reply,
    levels: Vec<Level>,
    /// A string whose length is known and whose bytes are coming.
    string: Option<Coming>,
    /// Elements to pass over before going on; those they contain are added as they come.
    skip: u64,
    /// Why what is passed over is not wanted; None for pushes and attributes.
    fault: Option<CallError>,
    /// What an error reply means.
    refused: fn(&[u8]) -> CallError,
}

/// A list or an object that has begun.
struct Level {
    /// Elements that have not begun; keys count too.
    left: u64,
    is_map: bool,
    is_at_key: bool,
    is_empty: bool,
}

struct Coming {
    /// Bytes to come, the line's end included.
    left: usize,
    text: Text,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Plain,
    /// With its format and a colon ahead: `txt:`.
    Verbatim,
    Error,
    Skipped,
}

/// The bytes are no RESP3: nobody knows where the next reply begins.
type Broken = CallError;
/// The reply's end, if it has come.
type End = Option<Result<Reply, CallError>>;

impl Decoder {
    /// One that reads from where a reply begins; `refused` says what an error reply means.
    pub(super) fn new(refused: fn(&[u8]) -> CallError) -> Self {
        let limits = ReplyLimits {
            max_body: 0,
            binary: Binary::Refuse,
            with_ends: false,
        };
        Decoder {
            limits,
            reply: Reply::default(),
            levels: Vec::new(),
            string: None,
            skip: 0,
            fault: None,
            refused,
        }
    }

    /// Takes bytes from the input up to the end of a reply, or all that can be used now. The limits are those of the reply that is
    /// being read and must not change within it; with None no reply is expected, only pushes.
    pub(super) fn read(&mut self, input: &mut BytesMut, limits: Option<ReplyLimits>) -> Result<End, Broken> {
        self.limits = limits.unwrap_or(self.limits);
        loop {
            let end = if let Some(string) = self.string.take() {
                match self.string(string, input)? {
                    Some(end) => end,
                    None => return Ok(None),
                }
            } else {
                let Some(length) = line_length(input)? else { return Ok(None) };
                let line = &input[..length];
                let is_expected = limits.is_some() || self.skip > 0 || line.first() == Some(&b'>');
                if !is_expected {
                    return Err(fault::broken("came without a question"));
                }
                let end = self.line(line)?;
                input.advance(length + 2);
                end
            };
            if end.is_some() {
                return Ok(end);
            }
        }
    }

    /// Goes on with a string; None if more bytes have to come first.
    fn string(&mut self, mut string: Coming, input: &mut BytesMut) -> Result<Option<End>, Broken> {
        if string.text == Text::Skipped {
            let passed = string.left.min(input.len());
            input.advance(passed);
            string.left -= passed;
            if string.left > 0 {
                self.string = Some(string);
                return Ok(None);
            }
            return self.skipped(0).map(Some);
        }
        if input.len() < string.left {
            input.reserve(string.left - input.len());
            self.string = Some(string);
            return Ok(None);
        }
        let bytes = input[..string.left]
            .strip_suffix(b"\r\n")
            .ok_or_else(|| fault::broken("has a string that is longer than announced"))?;
        let end = match string.text {
            Text::Error => self.error(bytes),
            Text::Verbatim => {
                let text = bytes
                    .get(4..)
                    .ok_or_else(|| fault::broken("has a verbatim string without a format"))?;
                self.text(text)
            }
            Text::Plain | Text::Skipped => self.text(bytes),
        };
        input.advance(string.left);
        end.map(Some)
    }

    /// One line: a whole element, or the beginning of one.
    fn line(&mut self, line: &[u8]) -> Result<End, Broken> {
        let Some((sign, rest)) = line.split_first() else {
            return Err(fault::broken("has an empty line"));
        };
        match sign {
            // These two are no elements: what follows them is what it would have been without.
            b'|' => {
                self.skip = more(self.skip, pairs(count(rest)?)?)?;
                return Ok(None);
            }
            b'>' if self.levels.is_empty() && self.skip == 0 => {
                self.skip = count(rest)?;
                return Ok(None);
            }
            _ => {}
        }
        if self.skip == 0
            && let Some(level) = self.levels.last_mut()
        {
            level.left -= 1;
        }
        match sign {
            b'*' | b'~' | b'$' if rest == b"-1" => self.plain(b"null"),
            b'*' | b'~' => self.open(count(rest)?, false),
            b'%' => self.open(pairs(count(rest)?)?, true),
            b'$' => self.announced(count(rest)?, Text::Plain),
            b'=' => self.announced(count(rest)?, Text::Verbatim),
            b'!' => self.announced(count(rest)?, Text::Error),
            b'+' => self.text(rest),
            b'-' => self.error(rest),
            b':' | b'(' => self.number(rest),
            b',' => self.double(rest),
            b'_' => self.plain(b"null"),
            b'#' if rest == b"t" => self.plain(b"true"),
            b'#' if rest == b"f" => self.plain(b"false"),
            _ => Err(fault::broken("is no RESP3")),
        }
    }

    /// A list or an object of so many elements, keys included.
    fn open(&mut self, elements: u64, is_map: bool) -> Result<End, Broken> {
        if self.skip > 0 {
            return self.skipped(elements);
        }
        if self.is_at_key() {
            return self.fail(CallError::new(Kind::Decode, "a key of a map is a list or a map"), elements);
        }
        if self.levels.len() == MOST_LEVELS {
            return self.fail(
                CallError::new(Kind::Decode, format!("the answer is nested deeper than {MOST_LEVELS}")),
                elements,
            );
        }
        self.begin();
        self.reply.json.push(if is_map { b'{' } else { b'[' });
        self.levels.push(Level {
            left: elements,
            is_map,
            is_at_key: is_map,
            is_empty: true,
        });
        self.ended()
    }

    /// A string of so many bytes is about to come.
    fn announced(&mut self, length: u64, text: Text) -> Result<End, Broken> {
        let too_long = || fault::broken("announces a string longer than any can be");
        let left = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(2))
            .ok_or_else(too_long)?;
        let most = if text == Text::Error { LONGEST_LINE } else { self.limits.max_body };
        if self.skip == 0 && left - 2 <= most {
            self.string = Some(Coming { left, text });
            return Ok(None);
        }
        self.string = Some(Coming { left, text: Text::Skipped });
        if self.skip == 0 {
            // The string itself is passed over as well; it counts until it has.
            return self.fail(self.too_large(), 1);
        }
        Ok(None)
    }

    fn text(&mut self, bytes: &[u8]) -> Result<End, Broken> {
        if self.skip > 0 {
            return self.skipped(0);
        }
        let room = self.limits.max_body.saturating_sub(self.reply.json.len());
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                // Counting comes first only where escapes, six bytes for one at the most, could make it too long.
                let fits = bytes.len().saturating_mul(6).saturating_add(2) <= room || json::string_length(text) <= room;
                if !fits {
                    return self.fail(self.too_large(), 0);
                }
                self.begin();
                json::write_string(&mut self.reply.json, text);
            }
            Err(_) if self.limits.binary == Binary::Refuse || self.is_at_key() => {
                return self.fail(CallError::new(Kind::Decode, "the answer has bytes that are no UTF-8"), 0);
            }
            Err(_) if json::base64_length(bytes.len()).saturating_add(13) > room => return self.fail(self.too_large(), 0),
            Err(_) => {
                self.begin();
                self.reply.json.extend_from_slice(b"{\"base64\":\"");
                json::write_base64(&mut self.reply.json, bytes);
                self.reply.json.extend_from_slice(b"\"}");
            }
        }
        self.ended()
    }

    fn number(&mut self, digits: &[u8]) -> Result<End, Broken> {
        let digits = digits.strip_prefix(b"+").unwrap_or(digits);
        let is_whole = digits.strip_prefix(b"-").unwrap_or(digits).iter().all(u8::is_ascii_digit);
        if !is_whole || !json::is_number(digits) {
            return Err(fault::broken("has a number that is none"));
        }
        self.plain(digits)
    }

    fn double(&mut self, digits: &[u8]) -> Result<End, Broken> {
        if json::is_number(digits) {
            return self.plain(digits);
        }
        let value: Option<f64> = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        match value {
            Some(value) if value.is_nan() => self.plain(b"\"nan\""),
            Some(value) if value.is_infinite() => self.plain(if value > 0.0 { b"\"inf\"" } else { b"\"-inf\"" }),
            Some(value) => self.plain(value.to_string().as_bytes()),
            None => Err(fault::broken("has a number that is none")),
        }
    }

    /// An element whose JSON is short and at hand.
    fn plain(&mut self, json: &[u8]) -> Result<End, Broken> {
        if self.skip > 0 {
            return self.skipped(0);
        }
        let is_key = self.is_at_key();
        if is_key && json == b"null" {
            return self.fail(CallError::new(Kind::Decode, "a key of a map is null"), 0);
        }
        let quote: &[u8] = if is_key && !json.starts_with(b"\"") { b"\"" } else { b"" };
        self.begin();
        for part in [quote, json, quote] {
            self.reply.json.extend_from_slice(part);
        }
        self.ended()
    }

    fn error(&mut self, line: &[u8]) -> Result<End, Broken> {
        if self.skip > 0 {
            return self.skipped(0);
        }
        self.fail((self.refused)(line), 0)
    }

    fn is_at_key(&self) -> bool {
        self.levels.last().is_some_and(|level| level.is_at_key)
    }

    fn too_large(&self) -> CallError {
        CallError::new(Kind::TooLarge, format!("the answer is larger than {} bytes", self.limits.max_body))
    }

    /// Writes what stands between this element and the one before.
    fn begin(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        if level.is_map && !level.is_at_key {
            self.reply.json.push(b':');
        } else if !level.is_empty {
            self.reply.json.push(b',');
        }
        level.is_empty = false;
        level.is_at_key = level.is_map && !level.is_at_key;
    }

    /// An element has ended, and with it all that it was the last of.
    fn ended(&mut self) -> Result<End, Broken> {
        loop {
            let is_element = self.levels.len() == 1 && self.levels.last().is_some_and(|level| !level.is_empty);
            if self.limits.with_ends && is_element {
                self.reply.ends.push(self.reply.json.len());
            }
            match self.levels.last() {
                Some(level) if level.left == 0 => {
                    self.reply.json.push(if level.is_map { b'}' } else { b']' });
                    self.levels.pop();
                }
                _ => break,
            }
        }
        if self.reply.json.len() > self.limits.max_body {
            return self.fail(self.too_large(), 0);
        }
        Ok(self.levels.is_empty().then(|| Ok(std::mem::take(&mut self.reply))))
    }

    /// Gives the reply up, and passes over what is left of it: so many elements of the one at hand, and all that have not begun.
    fn fail(&mut self, error: CallError, elements: u64) -> Result<End, Broken> {
        self.reply = Reply::default();
        self.skip = elements;
        for level in self.levels.drain(..) {
            self.skip = more(self.skip, level.left)?;
        }
        self.fault = Some(error);
        Ok(self.given_up())
    }

    /// An element to be passed over has ended, or begun with so many others in it.
    fn skipped(&mut self, elements: u64) -> Result<End, Broken> {
        self.skip = more(self.skip - 1, elements)?;
        Ok(self.given_up())
    }

    /// The reply's end, if it was given up and nothing more has to be passed over.
    fn given_up(&mut self) -> End {
        if self.skip > 0 { None } else { self.fault.take().map(Err) }
    }
}

/// The length of the first line without its end, if that is there.
fn line_length(input: &[u8]) -> Result<Option<usize>, Broken> {
    let seen = &input[..input.len().min(LONGEST_LINE + 2)];
    match seen.iter().position(|byte| *byte == b'\n') {
        Some(at) if at > 0 && seen[at - 1] == b'\r' => Ok(Some(at - 1)),
        Some(_) => Err(fault::broken("has a line that does not end in CR LF")),
        None if seen.len() > LONGEST_LINE => Err(fault::broken("has a line without an end")),
        None => Ok(None),
    }
}

/// How many elements or bytes are announced. Lengths that are not known beforehand (`$?`) are in the specification, but no server
/// sends them.
fn count(digits: &[u8]) -> Result<u64, Broken> {
    let is_count = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_count);
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| fault::broken("has a length that is none"))
}

fn pairs(count: u64) -> Result<u64, Broken> {
    more(count, count)
}

fn more(count: u64, others: u64) -> Result<u64, Broken> {
    count
        .checked_add(others)
        .ok_or_else(|| fault::broken("announces more elements than can be counted"))
}

#[cfg(test)]
mod tests;
