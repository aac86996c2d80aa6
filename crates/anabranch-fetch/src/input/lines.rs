//! Lines of any input, one at a time, never more of one than fits.

use std::io::{self, BufRead};

/// A longer line is no job. What was read of it is dropped.
pub(super) const LONGEST: usize = 16 << 20;

/// Reads lines.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    /// Lines read so far.
    pub(super) number: u64,
}

/// A line without its end.
pub(super) enum Line<'a> {
    /// As it stands there.
    Text(&'a str),
    /// Not UTF-8, or too long: why, and the beginning of it.
    Unreadable(&'static str, String),
}

impl Lines {
    pub(super) fn new(reader: Box<dyn BufRead + Send>) -> Self {
        Lines {
            reader,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line, without `\n`, `\r\n`, or a byte order mark at the input's beginning. None at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let is_whole = self.read_until_newline()?;
        if self.line.is_empty() && is_whole.is_none() {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let mut bytes = &self.line[..];
        if self.number == 1 {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        if is_whole == Some(false) {
            let beginning = String::from_utf8_lossy(&bytes[..1_000]).into_owned();
            return Ok(Some(Line::Unreadable("the line is longer than 16 MiB", beginning)));
        }
        Ok(Some(match std::str::from_utf8(bytes) {
            Ok(text) => Line::Text(text),
            Err(_) => Line::Unreadable("the line is not UTF-8", String::from_utf8_lossy(bytes).into_owned()),
        }))
    }

    /// Whether the line is all there; None where the input ended without a newline.
    fn read_until_newline(&mut self) -> io::Result<Option<bool>> {
        let mut is_whole = true;
        loop {
            let filled = match self.reader.fill_buf() {
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if filled.is_empty() {
                return Ok(if is_whole { None } else { Some(false) });
            }
            let newline = filled.iter().position(|&byte| byte == b'\n');
            let piece = &filled[..newline.unwrap_or(filled.len())];
            if self.line.len() + piece.len() <= LONGEST {
                self.line.extend_from_slice(piece);
            } else {
                is_whole = false;
                self.line.truncate(LONGEST);
                if self.line.is_empty() {
                    self.line.extend_from_slice(&piece[..LONGEST.min(piece.len())]);
                }
            }
            let used = newline.map_or(filled.len(), |at| at + 1);
            self.reader.consume(used);
            if newline.is_some() {
                return Ok(Some(is_whole));
            }
        }
    }
}

/// Whether a line of a list is no job: blank, or a comment.
pub(super) fn is_no_job(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(bytes: &'static [u8]) -> Vec<String> {
        let mut lines = Lines::new(Box::new(Cursor::new(bytes)));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(match line {
                Line::Text(text) => text.to_owned(),
                Line::Unreadable(why, _) => format!("({why})"),
            });
        }
        all
    }

    #[test]
    fn ends_of_lines_and_a_mark_at_the_beginning_are_no_part_of_them() {
        assert_eq!(read(b"\xef\xbb\xbfa\r\nb\n\n\xef\xbb\xbfc"), ["a", "b", "", "\u{feff}c"]);
        assert_eq!(read(b""), Vec::<String>::new());
        assert_eq!(read(b"\n"), [""]);
        assert_eq!(read(b"a\n\xff\nb"), ["a", "(the line is not UTF-8)", "b"]);
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_longest() {
        let endless = io::Read::chain(io::Read::take(io::repeat(b'x'), 3 * LONGEST as u64), &b"\nafter"[..]);
        let mut lines = Lines::new(Box::new(io::BufReader::new(endless)));
        assert!(matches!(lines.next().unwrap(), Some(Line::Unreadable("the line is longer than 16 MiB", text)) if text.len() == 1_000));
        assert!(lines.line.capacity() <= 2 * LONGEST);
        assert!(matches!(lines.next().unwrap(), Some(Line::Text("after"))));
        assert!(lines.next().unwrap().is_none());
    }
}
