//! What a worker writes to its standard output, line by line, and none longer than allowed.
//!
//! A line is an answer, one JSON value; or it begins with `!`, as no JSON does, and is a word of the protocol: `!ready` and
//! `!failed REASON`. Nothing is lost when a future in here is dropped: what was read stays in the buffer.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::json::Check;

/// As much as a pipe of Linux holds, so that one read can empty it.
const READ_BYTES: usize = 64 << 10;
/// A word of the protocol with its reason.
const WORD_BYTES: usize = 1 << 10;
/// As much of a reason as is worth keeping, in letters.
const REASON_LETTERS: usize = 100;

/// A line of a worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// One JSON value, without blanks around it.
    Answer(Bytes),
    /// `!ready`: it has started.
    Ready,
    /// `!failed REASON`: it did the job and has no answer. The reason is short and printable.
    Failed(String),
}

/// Why there is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// The output has ended, before a line or in it.
    Ended {
        /// Whether some of a line was there.
        is_partial: bool,
    },
    /// It is no answer and no word of the protocol.
    Garbage(&'static str),
    /// It has more bytes than this.
    TooLong(usize),
}

/// The lines of one process.
pub(super) struct Lines<R> {
    reader: R,
    /// Read and not handed out.
    buffer: BytesMut,
    /// How many bytes of the buffer are known to be without a newline.
    searched: usize,
    /// About the line at the front of the buffer.
    check: Check,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Lines {
            reader,
            buffer: BytesMut::new(),
            searched: 0,
            check: Check::new(),
        }
    }

    /// The next line, of at most `max` bytes. After an error there is nothing more to be had.
    pub(super) async fn next(&mut self, max: usize) -> Result<Line, NoLine> {
        loop {
            if let Some(line) = self.take(max)? {
                return Ok(line);
            }
            if self.read().await == 0 {
                return Err(NoLine::Ended {
                    is_partial: !self.buffer.is_empty(),
                });
            }
        }
    }

    /// Waits until there is something, or the end.
    pub(super) async fn stirs(&mut self) {
        if self.buffer.is_empty() {
            self.read().await;
        }
    }

    /// Whether something was read that is no line yet, or a line that nobody took.
    pub(super) fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// A broken pipe is an end like another: the process is gone or wants to be.
    async fn read(&mut self) -> usize {
        self.buffer.reserve(READ_BYTES);
        let read: io::Result<usize> = self.reader.read_buf(&mut self.buffer).await;
        read.unwrap_or(0)
    }

    /// The line at the front of the buffer, if it is whole.
    fn take(&mut self, max: usize) -> Result<Option<Line>, NoLine> {
        let newline = self.buffer[self.searched..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map(|at| self.searched + at);
        let length = newline.unwrap_or(self.buffer.len());
        let line = &self.buffer[..length];
        let is_word = line.first() == Some(&b'!');
        if length > if is_word { WORD_BYTES } else { max } {
            return Err(NoLine::TooLong(max));
        }
        if !is_word {
            self.check.follow(line).map_err(NoLine::Garbage)?;
        }
        self.searched = length;
        if newline.is_none() {
            return Ok(None);
        }
        let line = if is_word { word(line)? } else { self.answer(length)? };
        drop(self.buffer.split_to(if is_word { length + 1 } else { 1 }));
        (self.searched, self.check) = (0, Check::new());
        Ok(Some(line))
    }

    /// The value at the front, taken out of the buffer up to its newline.
    fn answer(&mut self, length: usize) -> Result<Line, NoLine> {
        self.check.finish(&self.buffer[..length]).map_err(NoLine::Garbage)?;
        let line = self.buffer.split_to(length).freeze();
        let value = line.trim_ascii();
        Ok(Line::Answer(line.slice_ref(value)))
    }
}

fn word(line: &[u8]) -> Result<Line, NoLine> {
    let text = String::from_utf8_lossy(&line[1..]);
    let (word, reason) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
    match word {
        "ready" => Ok(Line::Ready),
        "failed" => Ok(Line::Failed(
            reason.chars().filter(|letter| !letter.is_control()).take(REASON_LETTERS).collect(),
        )),
        _ => Err(NoLine::Garbage("a word of the protocol other than `!ready` and `!failed`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    const MAX: usize = 100;

    /// The lines of an output that comes in these pieces.
    async fn lines(pieces: &[&[u8]]) -> Vec<Result<Line, NoLine>> {
        let (mut worker, ours) = tokio::io::duplex(7);
        let write = async {
            for piece in pieces {
                worker.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(worker);
        };
        let read = async {
            let mut lines = Lines::new(ours);
            let mut all = Vec::new();
            loop {
                let line = lines.next(MAX).await;
                let is_over = line.is_err();
                all.push(line);
                if is_over {
                    // What is not read any more must not hold up the one who writes.
                    return all;
                }
            }
        };
        tokio::select! { biased; lines = read => lines, () = async { write.await; std::future::pending().await } => unreachable!() }
    }

    fn answer(text: &'static str) -> Result<Line, NoLine> {
        Ok(Line::Answer(Bytes::from_static(text.as_bytes())))
    }

    fn end(is_partial: bool) -> Result<Line, NoLine> {
        Err(NoLine::Ended { is_partial })
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut() {
        let expected = [Ok(Line::Ready), answer("{\"a\":1}"), answer("2"), end(false)];
        assert_eq!(lines(&[b"!ready\n{\"a\":1}\n 2\r\n"]).await, expected);
        let bytes: Vec<&[u8]> = b"!ready\n{\"a\":1}\n 2\r\n".chunks(1).collect();
        assert_eq!(lines(&bytes).await, expected);
    }

    #[tokio::test]
    async fn an_output_that_ends_in_a_line_is_cut_off() {
        assert_eq!(lines(&[b"{\"a\":"]).await, [end(true)]);
        assert_eq!(lines(&[b"7"]).await, [end(true)]);
    }

    #[tokio::test]
    async fn garbage_is_refused_before_its_line_ends() {
        assert!(matches!(lines(&[b"hello"]).await[..], [Err(NoLine::Garbage(_))]));
        assert!(matches!(lines(&[b"!bye\n"]).await[..], [Err(NoLine::Garbage(_))]));
        assert!(matches!(lines(&[b"\n"]).await[..], [Err(NoLine::Garbage(_))]));
    }

    #[tokio::test]
    async fn a_long_line_is_refused_before_it_ends() {
        let longest = format!("\"{}\"", "x".repeat(MAX - 2));
        assert!(lines(&[longest.as_bytes(), b"\n"]).await[0].is_ok());
        let longer = format!("\"{}", "x".repeat(MAX));
        assert_eq!(lines(&[longer.as_bytes()]).await, [Err(NoLine::TooLong(MAX))]);
        assert_eq!(lines(&[b"!", "x".repeat(2 << 10).as_bytes()]).await, [Err(NoLine::TooLong(MAX))]);
    }

    #[tokio::test]
    async fn a_reason_is_short_and_printable() {
        assert_eq!(
            lines(&[b"!failed ValueError\n"]).await[0],
            Ok(Line::Failed("ValueError".to_owned()))
        );
        assert_eq!(lines(&[b"!failed\n"]).await[0], Ok(Line::Failed(String::new())));
        let long = format!("!failed a\u{7}{}\n", "b".repeat(500));
        let Ok(Line::Failed(reason)) = &lines(&[long.as_bytes()]).await[0] else {
            panic!("a reason")
        };
        assert_eq!(*reason, format!("a{}", "b".repeat(99)));
    }
}
