//! What a worker writes to its error output, and what becomes of workers, for whoever operates them.
//!
//! A worker that writes without end can neither fill a log nor take a core: only so many lines a second are handed on, each cut, and
//! beyond a number of bytes a second its output is not read at all, until it has to wait itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::Deadline;

/// A longer line is cut; it is the default length of a line in systemd's journal and more than a traceback's lines have.
const LINE_BYTES: usize = 4 << 10;
const LINES_A_SECOND: usize = 100;
const BYTES_A_SECOND: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// Something worth a line in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerNote<'a> {
    /// A process was started.
    Started {
        /// Its number in the system.
        process: u32,
    },
    /// It wrote a line to its error output.
    Said {
        /// Its number in the system.
        process: u32,
        /// The line, cut at 4 KiB; what is no UTF-8 is replaced.
        line: &'a str,
    },
    /// It wrote more lines than the 100 a second that are handed on.
    LeftOut {
        /// Its number in the system.
        process: u32,
        /// How many lines.
        lines: u64,
    },
    /// It ended and another takes its place.
    Ended {
        /// Its number in the system.
        process: u32,
        /// Why, as a fragment.
        why: &'a str,
        /// How long until the next one is started.
        rest: Duration,
    },
    /// A process could not be started, and another try is made.
    NotStarted {
        /// Why, as a fragment.
        why: &'a str,
        /// How long until the next try.
        rest: Duration,
    },
}

impl fmt::Display for WorkerNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerNote::Started { process } => write!(f, "process {process} was started"),
            WorkerNote::Said { process, line } => write!(f, "process {process}: {line}"),
            WorkerNote::LeftOut { process, lines } => write!(f, "process {process}: {lines} more lines were left out"),
            WorkerNote::Ended { process, why, rest } => {
                write!(f, "process {process} {why}; the next one starts in {} ms", rest.as_millis())
            }
            WorkerNote::NotStarted { why, rest } => write!(f, "no process was started: {why}; the next try is in {} ms", rest.as_millis()),
        }
    }
}

/// Is called with the name of the source and the note.
pub(super) type Listener = Arc<dyn Fn(&str, &WorkerNote<'_>) + Send + Sync>;

/// Hands on the error output of one process until it ends.
pub(super) async fn hand_on(mut output: impl AsyncRead + Unpin, process: u32, tell: impl Fn(&WorkerNote<'_>)) {
    let mut buffer = vec![0; LINE_BYTES];
    let mut line = Vec::new();
    let mut second = Second::new();
    loop {
        let read = output.read(&mut buffer).await.unwrap_or(0);
        if second.began.elapsed() >= SECOND {
            second.end(process, &tell);
        }
        for &byte in &buffer[..read] {
            if byte == b'\n' {
                second.line(process, &mut line, &tell);
            } else if line.len() < LINE_BYTES {
                line.push(byte);
            }
        }
        if read == 0 {
            if !line.is_empty() {
                second.line(process, &mut line, &tell);
            }
            second.end(process, &tell);
            return;
        }
        second.bytes += read;
        if second.bytes >= BYTES_A_SECOND {
            Deadline::at(second.began + SECOND).wait().await;
        }
    }
}

/// What was written within a second.
struct Second {
    began: Instant,
    lines: usize,
    left_out: u64,
    bytes: usize,
}

impl Second {
    fn new() -> Self {
        Second {
            began: Instant::now(),
            lines: 0,
            left_out: 0,
            bytes: 0,
        }
    }

    fn line(&mut self, process: u32, line: &mut Vec<u8>, tell: &impl Fn(&WorkerNote<'_>)) {
        self.lines += 1;
        if self.lines <= LINES_A_SECOND {
            let text = String::from_utf8_lossy(line);
            tell(&WorkerNote::Said {
                process,
                line: text.trim_end(),
            });
        } else {
            self.left_out += 1;
        }
        line.clear();
    }

    fn end(&mut self, process: u32, tell: &impl Fn(&WorkerNote<'_>)) {
        if self.left_out > 0 {
            tell(&WorkerNote::LeftOut {
                process,
                lines: self.left_out,
            });
        }
        *self = Second::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::io::AsyncWriteExt;

    /// What is handed on of this output, and how long it took to be read.
    async fn handed_on(output: Vec<u8>) -> (Vec<String>, Duration) {
        let (mut worker, ours) = tokio::io::duplex(64 << 10);
        let notes = Mutex::new(Vec::new());
        let began = Instant::now();
        let write = async move {
            worker.write_all(&output).await.unwrap();
            drop(worker);
        };
        tokio::join!(write, hand_on(ours, 7, |note| notes.lock().unwrap().push(note.to_string())));
        (notes.into_inner().unwrap(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_handed_on_and_the_last_needs_no_end() {
        let (notes, _) = handed_on(b"one\r\n\xffwo\nthree".to_vec()).await;
        assert_eq!(notes, ["process 7: one", "process 7: \u{fffd}wo", "process 7: three"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_line_is_cut() {
        let (notes, _) = handed_on(vec![b'x'; 100_000]).await;
        assert_eq!(notes, [format!("process 7: {}", "x".repeat(LINE_BYTES))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_made_to_wait() {
        let (notes, took) = handed_on(b"x\n".repeat(3 << 20)).await;
        assert!(took >= 5 * SECOND, "{took:?}");
        assert_eq!(notes.iter().filter(|note| note.ends_with(": x")).count(), 600);
        assert_eq!(notes.iter().filter(|note| note.contains("left out")).count(), 6);
    }
}
