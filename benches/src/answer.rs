//! One HTTP/1.1 answer as it comes in, with a length or in chunks.

use std::io::{self, ErrorKind, Read};

/// Reads one answer after another from a connection.
pub struct Reader {
    buffer: Vec<u8>,
    filled: usize,
    head: Option<Head>,
    /// The body put together, if it came in chunks.
    joined: Vec<u8>,
    /// Where the next chunk begins.
    chunk_at: usize,
}

/// What the head of an answer says.
pub struct Head {
    end: usize,
    pub status: u16,
    pub is_json: bool,
    pub parts_missing: bool,
    closes: bool,
    length: Option<usize>,
}

impl Reader {
    /// With a buffer that holds a usual answer.
    pub fn new() -> Reader {
        Reader {
            buffer: vec![0; 32 * 1024],
            filled: 0,
            head: None,
            joined: Vec::new(),
            chunk_at: 0,
        }
    }

    /// Makes ready for the next answer.
    pub fn reset(&mut self) {
        self.filled = 0;
        self.head = None;
        self.joined.clear();
        self.chunk_at = 0;
    }

    /// Takes what has come; says whether the answer is whole.
    pub fn read(&mut self, socket: &mut impl Read) -> io::Result<bool> {
        loop {
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            match socket.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.is_whole()? {
                return Ok(true);
            }
        }
    }

    /// The head of a whole answer.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The body of a whole answer.
    pub fn body(&self) -> &[u8] {
        match &self.head {
            Some(Head {
                end, length: Some(length), ..
            }) => &self.buffer[*end..*end + *length],
            _ => &self.joined,
        }
    }

    /// Whether the server will close the connection after this answer.
    pub fn closes(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.closes)
    }

    fn is_whole(&mut self) -> io::Result<bool> {
        if self.head.is_none() {
            let Some(end) = memchr::memmem::find(&self.buffer[..self.filled], b"\r\n\r\n") else {
                return Ok(false);
            };
            let head = Head::parse(&self.buffer[..end], end + 4)?;
            if let Some(length) = head.length
                && self.buffer.len() < head.end + length
            {
                self.buffer.resize(head.end + length, 0);
            }
            self.chunk_at = head.end;
            self.head = Some(head);
        }
        let Some(head) = &self.head else { return Ok(false) };
        let whole = match head.length {
            Some(length) => head.end + length,
            None => match join_chunks(&self.buffer[..self.filled], &mut self.chunk_at, &mut self.joined)? {
                true => self.chunk_at,
                false => return Ok(false),
            },
        };
        if self.filled > whole {
            return Err(io::Error::new(ErrorKind::InvalidData, "bytes after the answer"));
        }
        Ok(self.filled == whole)
    }
}

impl Head {
    fn parse(bytes: &[u8], end: usize) -> io::Result<Head> {
        let text = std::str::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData)?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
            .ok_or(ErrorKind::InvalidData)?;
        let mut head = Head {
            end,
            status,
            is_json: false,
            parts_missing: false,
            closes: false,
            length: None,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Some(value.parse().map_err(|_| ErrorKind::InvalidData)?);
            } else if name.eq_ignore_ascii_case("content-type") {
                head.is_json = value.starts_with("application/json") || value.starts_with("application/graphql-response+json");
            } else if name.eq_ignore_ascii_case("anabranch-parts") {
                head.parts_missing = true;
            } else if name.eq_ignore_ascii_case("x-krakend-completed") {
                head.parts_missing |= !value.eq_ignore_ascii_case("true");
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(head)
    }
}

/// Appends the chunks that are whole; true after the last one.
fn join_chunks(bytes: &[u8], at: &mut usize, joined: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let rest = &bytes[*at..];
        let Some(line) = memchr::memmem::find(rest, b"\r\n") else {
            return Ok(false);
        };
        let digits = rest[..line].split(|byte| *byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
        let size = size.ok_or(ErrorKind::InvalidData)?;
        let end = line + 2 + size + 2;
        if rest.len() < end {
            return Ok(false);
        }
        joined.extend_from_slice(&rest[line + 2..line + 2 + size]);
        *at += end;
        if size == 0 {
            return Ok(true);
        }
    }
}
