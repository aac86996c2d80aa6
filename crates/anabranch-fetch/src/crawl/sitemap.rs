//! Sitemaps (sitemaps.org) read from a stream: XML, an index of further ones, RSS and Atom feeds, or a URL on each line; plain or gzip.
//!
//! What cannot be read further ends with an error; what came before it stands.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use url::Url;

use crate::content::charset::end_within;

/// A sitemap after decompression (sitemaps.org: 50 MiB). A gzip bomb ends here.
pub const BYTES_MAX: u64 = 50 << 20;
/// Indexes within indexes. The protocol knows one level; a few are seen.
pub const INDEX_DEPTH_MAX: u32 = 3;
/// A longer text is no URL (sitemaps.org: 2,048 characters), and is not kept.
const TEXT_MAX: usize = 8_192;

/// What a sitemap names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A page.
    Page(Url),
    /// Another sitemap.
    Sitemap(Url),
    /// Something that is no URL, or none that we fetch.
    Invalid {
        /// As it stands there, up to 8 KiB of it.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A sitemap that is being read: an iterator, blocking like its reader. Its error is a fragment for a person.
pub struct Sitemap<'a> {
    form: Form<'a>,
    has_ended: bool,
}

type Input<'a> = Box<dyn BufRead + Send + 'a>;

enum Form<'a> {
    /// What failed before the first byte.
    Unread(Option<io::Error>),
    Lines(Input<'a>),
    Xml(Box<Xml<'a>>),
}

struct Xml<'a> {
    reader: Reader<Input<'a>>,
    buffer: Vec<u8>,
    /// The elements that matter around the place where we are.
    is_index: bool,
    is_in_entry: bool,
    /// The URL that is being read.
    text: Option<String>,
    has_root: bool,
}

impl<'a> Sitemap<'a> {
    /// Reads from `input` at most `limit` bytes after decompression; None is as many as there are, for a file of one's own.
    pub fn new(input: impl BufRead + Send + 'a, limit: Option<u64>) -> Sitemap<'a> {
        let form = Form::of(Box::new(input), limit).unwrap_or_else(|error| Form::Unread(Some(error)));
        Sitemap { form, has_ended: false }
    }

    /// Reads a sitemap that was fetched, up to [`BYTES_MAX`].
    pub fn of_body(body: &'a [u8]) -> Sitemap<'a> {
        Sitemap::new(body, Some(BYTES_MAX))
    }
}

impl Iterator for Sitemap<'_> {
    type Item = Result<Item, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let next = match &mut self.form {
            Form::Unread(error) => error.take().map(|error| Err(error.to_string())),
            Form::Lines(input) => next_line(input).transpose(),
            Form::Xml(xml) => xml.next().transpose(),
        };
        self.has_ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<'a> Form<'a> {
    fn of(input: Input<'a>, limit: Option<u64>) -> io::Result<Form<'a>> {
        let (start, input) = peeked(input, 2)?;
        let input: Input<'a> = match start == [0x1f, 0x8b] {
            true => Box::new(BufReader::new(MultiGzDecoder::new(input))),
            false => input,
        };
        let input: Input<'a> = match limit {
            Some(limit) => Box::new(BufReader::new(Limited { input, limit, left: limit })),
            None => input,
        };
        let (start, mut input) = peeked(input, 3)?;
        if start == b"\xef\xbb\xbf" {
            input.read_exact(&mut [0; 3])?;
        }
        skip_white_space(&mut input)?;
        let is_xml = input.fill_buf()?.first() == Some(&b'<');
        Ok(if is_xml {
            Form::Xml(Box::new(Xml::new(input)))
        } else {
            Form::Lines(input)
        })
    }
}

impl<'a> Xml<'a> {
    fn new(input: Input<'a>) -> Self {
        let mut reader = Reader::from_reader(input);
        let config = reader.config_mut();
        // Sitemaps are written by all sorts of programs; a URL with a bare `&` is still clear.
        config.allow_dangling_amp = true;
        config.allow_unmatched_ends = true;
        config.check_end_names = false;
        Xml {
            reader,
            buffer: Vec::new(),
            is_index: false,
            is_in_entry: false,
            text: None,
            has_root: false,
        }
    }

    fn next(&mut self) -> Result<Option<Item>, String> {
        loop {
            self.buffer.clear();
            // The event borrows the buffer, and we are changed while it is looked at.
            let mut buffer = std::mem::take(&mut self.buffer);
            let event = self.reader.read_event_into(&mut buffer).map_err(|error| self.broken(&error))?;
            let item = match event {
                Event::Start(tag) => self.open(&tag)?,
                Event::Empty(tag) => self.open(&tag)?.or_else(|| self.close(tag.local_name().as_ref())),
                Event::End(tag) => self.close(tag.local_name().as_ref()),
                Event::Text(text) => self.add(&text.into_inner()),
                Event::CData(text) => self.add(&text.into_inner()),
                Event::GeneralRef(reference) => self.add(&resolved(&reference)),
                Event::Eof => return Ok(None),
                _ => None,
            };
            self.buffer = buffer;
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    fn broken(&self, error: &quick_xml::Error) -> String {
        format!("the sitemap cannot be read beyond byte {}: {error}", self.reader.buffer_position())
    }

    fn open(&mut self, tag: &BytesStart<'_>) -> Result<Option<Item>, String> {
        let name = tag.local_name();
        let name: &str = name.as_ref();
        if !self.has_root {
            self.has_root = true;
            self.is_index = name == "sitemapindex";
            if !matches!(name, "urlset" | "sitemapindex" | "rss" | "feed" | "RDF") {
                return Err(format!("expected `urlset`, `sitemapindex` or a feed, found `{name}`"));
            }
            return Ok(None);
        }
        match name {
            "url" | "sitemap" | "item" | "entry" => self.is_in_entry = true,
            "loc" if self.is_in_entry && is_plain(tag) => self.text = Some(String::new()),
            "link" if self.is_in_entry => match attribute(tag, "href") {
                // Atom; what is not the page itself (`rel="edit"`) is left out.
                Some(href) if attribute(tag, "rel").is_none_or(|rel| rel == "alternate") && is_plain(tag) => {
                    return Ok(Some(self.item(&href)));
                }
                Some(_) => {}
                None => self.text = Some(String::new()),
            },
            _ => {}
        }
        Ok(None)
    }

    fn close(&mut self, name: &str) -> Option<Item> {
        match name {
            "url" | "sitemap" | "item" | "entry" => self.is_in_entry = false,
            "loc" | "link" => {
                let text = self.text.take()?;
                return Some(self.item(&text));
            }
            _ => {}
        }
        None
    }

    fn add(&mut self, text: &str) -> Option<Item> {
        if let Some(kept) = &mut self.text
            && kept.len() <= TEXT_MAX
        {
            kept.push_str(text);
        }
        None
    }

    fn item(&self, text: &str) -> Item {
        item(text, self.is_index)
    }
}

/// Extensions have a `loc` of their own: `image:loc`, `video:content_loc`.
fn is_plain(tag: &BytesStart<'_>) -> bool {
    let name = tag.name();
    let name: &str = name.as_ref();
    match name.split_once(':') {
        Some((prefix, _)) => !matches!(prefix, "image" | "video" | "news" | "xhtml" | "media"),
        None => true,
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(name).ok()??;
    let raw = attribute.value;
    let value = quick_xml::escape::unescape(&raw);
    Some(value.map_or_else(|_| raw.to_string(), |value| value.into_owned()))
}

fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(c)) = reference.resolve_char_ref() {
        return c.to_string();
    }
    let name: &str = reference;
    match name {
        "amp" => "&".into(),
        "lt" => "<".into(),
        "gt" => ">".into(),
        "quot" => "\"".into(),
        "apos" => "'".into(),
        other => format!("&{other};"),
    }
}

fn next_line(input: &mut Input<'_>) -> Result<Option<Item>, String> {
    loop {
        let mut line = Vec::new();
        // One byte more than is kept, so that what is too long is seen to be. A line without end costs no memory.
        let read = input
            .take(TEXT_MAX as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(None);
        }
        if read > TEXT_MAX && !line.ends_with(b"\n") {
            skip_line(input).map_err(|error| error.to_string())?;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            return Ok(Some(item(text, false)));
        }
    }
}

fn skip_line(input: &mut Input<'_>) -> io::Result<()> {
    loop {
        let available = input.fill_buf()?;
        let end = available.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(available.len(), |end| end + 1);
        input.consume(count);
        if end.is_some() || count == 0 {
            return Ok(());
        }
    }
}

fn item(text: &str, is_index: bool) -> Item {
    let text = text.trim();
    let why = match Url::parse(text) {
        _ if text.len() > TEXT_MAX => format!("longer than {TEXT_MAX} bytes"),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            return if is_index { Item::Sitemap(url) } else { Item::Page(url) };
        }
        Ok(url) => format!("expected http or https, found `{}`", url.scheme()),
        Err(error) => error.to_string(),
    };
    let end = end_within(text, TEXT_MAX);
    let text = text[..end].to_string();
    Item::Invalid { text, why }
}

/// The first bytes, and the same input with them still in it.
fn peeked(mut input: Input<'_>, count: u64) -> io::Result<(Vec<u8>, Input<'_>)> {
    let mut start = Vec::new();
    input.by_ref().take(count).read_to_end(&mut start)?;
    let again = Cursor::new(start.clone()).chain(input);
    Ok((start, Box::new(again)))
}

fn skip_white_space(input: &mut Input<'_>) -> io::Result<()> {
    loop {
        let available = input.fill_buf()?;
        let length = available.len();
        let count = available.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        input.consume(count);
        if count < length || length == 0 {
            return Ok(());
        }
    }
}

/// A reader that fails where `Take` would end, so that what was cut is not taken for whole.
struct Limited<'a> {
    input: Input<'a>,
    limit: u64,
    left: u64,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("the sitemap is larger than {} bytes", self.limit))),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
