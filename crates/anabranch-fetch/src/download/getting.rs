//! A file on its way: the readers of its stretches, what they do when something breaks, and when the note is written.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anabranch::client::StreamedResponse;
use anabranch::{Compute, Deadline};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use url::Url;

use super::file::Target;
use super::missing::{Missing, Taken};
use super::note::Resume;
use super::range::{NotThePart, Ranged, Validator, end_of_part};
use super::speed::Speed;
use crate::Outcome;
use crate::content::checksums::Checksum;
use crate::http::failure::Failed;

/// Written at once.
const WRITE: usize = 1 << 20;
/// What a crash may cost: so many bytes, or so much time of a slow peer.
const NOTE_BYTES: u64 = 64 << 20;
const NOTE_AFTER: Duration = Duration::from_secs(2);
/// A reader whose connection broke asks again at once if it got this much since it last asked; else it is the attempt that is repeated.
const PROGRESS: u64 = 1 << 20;
/// An answer with fewer bytes than it was asked for has at least so many, or is taken for broken: a file must not cost a request a byte.
const ANSWER_LEAST: u64 = 64 << 10;
/// Readers of one file at once.
const READERS_MAX: usize = 32;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Asks for a part of the file: the request of the job, at the place where its redirects led, with two more headers.
pub(crate) trait Ask: Sync {
    /// Returns when the head of the answer is there.
    fn ask<'a>(&'a self, ranged: &'a Ranged) -> Boxed<'a, Result<StreamedResponse, Failed>>;
}

/// How a file is got. It has no limit of time of its own.
pub(crate) struct Getting<'a> {
    pub(crate) ask: &'a dyn Ask,
    pub(crate) compute: &'a Compute,
    /// Where the first answer came from.
    pub(crate) url: &'a Url,
    /// The `.part` of the job.
    pub(crate) part: &'a Path,
    /// Pieces at once, for files of at least `segment_min` bytes.
    pub(crate) segments: usize,
    pub(crate) segment_min: u64,
    /// Bytes of the whole file.
    pub(crate) max: Option<u64>,
    /// Bytes, and the time over which fewer are too slow, for each connection.
    pub(crate) min_speed: Option<(u64, Duration)>,
    /// Counts bytes that were read, and says until when to wait before more are.
    pub(crate) throttle: Option<&'a (dyn Fn(usize) -> Option<Instant> + Sync)>,
}

/// A file that is complete in its `.part`, not synced. The note beside it stays until the run's end.
#[derive(Debug)]
pub(crate) struct Got {
    /// The answer to the first request, without its body.
    pub(crate) head: StreamedResponse,
    pub(crate) length: u64,
    pub(crate) checksum: Checksum,
    /// Bytes of bodies that came in this attempt.
    pub(crate) wire_bytes: u64,
}

/// What the readers share.
struct Shared {
    missing: Missing,
    noted: Noted,
    wire_bytes: u64,
    /// What the last reader that gave up met.
    broke: Option<Failed>,
}

struct Noted {
    at: Instant,
    /// Written since.
    bytes: u64,
    /// One at a time.
    is_being_written: bool,
    has_note: bool,
}

/// An answer and up to which byte of the file it goes.
struct Part {
    body: StreamedResponse,
    end: u64,
}

impl Getting<'_> {
    /// Gets the file. `first` is the answer to the request of the job: with what [`Resume::ask`] says if there is a `resume`, else for
    /// all of it, and [resumable](super::is_resumable). Dropping the future keeps what was noted.
    ///
    /// # Errors
    /// What the last reader met when none is left; what is there is noted then, and the next attempt goes on with it.
    pub(crate) async fn run(&self, first: StreamedResponse, resume: Option<Resume>) -> Result<Got, Failed> {
        let (mut missing, validator, is_resumed) = match begin(&first, resume) {
            Ok(begun) => begun,
            Err(why) => {
                Target::forget(self.compute, self.part).await?;
                return Err(broken(why));
            }
        };
        let total = missing.total();
        if self.max.is_some_and(|max| total > max) {
            let message = format!("the file has {total} bytes, more than `--max-body`");
            return Err(Failed::ours(Outcome::TooLarge, "too_large", message));
        }
        let target = match is_resumed {
            true => Target::open(self.compute, self.part).await?,
            false => Target::create(self.compute, self.part, total).await?,
        };
        let readers = if total >= self.segment_min {
            self.segments.clamp(1, READERS_MAX)
        } else {
            1
        };
        if readers > 1 {
            missing.split(readers);
        }
        // The lowest that is missing: the one that the first request was for.
        let taken = missing.take().ok_or_else(|| broken(NotThePart::Wrong))?;
        let wanted = missing.wanted(taken);
        missing.begin(taken, wanted.start);
        let end = match is_resumed {
            true => end_of_part(&first, &(wanted.start..total), total, &validator).map_err(broken)?,
            false => total,
        };
        let work = Work {
            getting: self,
            target,
            validator,
            shared: Mutex::new(Shared {
                missing,
                noted: Noted {
                    at: Instant::now(),
                    bytes: 0,
                    is_being_written: false,
                    has_note: is_resumed,
                },
                wire_bytes: 0,
                broke: None,
            }),
        };
        let head = work.read_all(Part { body: first, end }, taken, readers).await?;
        work.finish(head).await
    }
}

/// What is missing, by which validator, and whether it goes on with a file that is there.
fn begin(first: &StreamedResponse, resume: Option<Resume>) -> Result<(Missing, Validator, bool), NotThePart> {
    if let Some(Resume { validator, missing }) = resume
        && first.status() != 200
    {
        let total = missing.total();
        let start = missing.ranges().first().map_or(0, |range| range.0);
        end_of_part(first, &(start..total), total, &validator)?;
        return Ok((missing, validator, true));
    }
    // It came as a whole: for the first time, or because it has changed since.
    let length = first.length().filter(|_| super::is_resumable(first));
    match (length, Validator::of(first)) {
        (Some(total), Some(validator)) => Ok((Missing::whole(total), validator, false)),
        _ => Err(NotThePart::Whole),
    }
}

/// A file being got by several readers, all of them in one future.
struct Work<'a> {
    getting: &'a Getting<'a>,
    target: Target,
    validator: Validator,
    shared: Mutex<Shared>,
}

/// How a reader ended. The first one has the head of the answer that it began with.
struct Ended {
    head: Option<StreamedResponse>,
    result: Result<(), Failed>,
}

impl Work<'_> {
    /// Runs the readers until there is nothing left for any of them.
    async fn read_all(&self, first: Part, taken: Taken, count: usize) -> Result<StreamedResponse, Failed> {
        let mut readers: FuturesUnordered<Boxed<'_, Ended>> = FuturesUnordered::new();
        readers.push(Box::pin(self.reader(Some((taken, first)))));
        for _ in 1..count {
            readers.push(Box::pin(self.reader(None)));
        }
        let mut head = None;
        while let Some(ended) = readers.next().await {
            head = head.or(ended.head);
            match ended.result {
                Ok(()) => {}
                Err(failed) if is_store(&failed) => return Err(failed),
                Err(failed) => self.lock().broke = Some(failed),
            }
        }
        let broke = {
            let mut shared = self.lock();
            if shared.missing.is_complete() {
                None
            } else {
                Some(shared.broke.take().unwrap_or_else(|| broken(NotThePart::Wrong)))
            }
        };
        match (broke, head) {
            (None, Some(head)) => Ok(head),
            (broke, _) => {
                self.note().await?;
                Err(broke.unwrap_or_else(|| broken(NotThePart::Wrong)))
            }
        }
    }

    async fn finish(&self, head: StreamedResponse) -> Result<Got, Failed> {
        let (length, wire_bytes, has_note) = {
            let shared = self.lock();
            (shared.missing.total(), shared.wire_bytes, shared.noted.has_note)
        };
        if has_note {
            self.note().await?;
        }
        Ok(Got {
            head,
            length,
            checksum: self.target.checksum(length).await?,
            wire_bytes,
        })
    }

    /// Gets one stretch after the other, until there is none that is worth a request.
    async fn reader(&self, mut first: Option<(Taken, Part)>) -> Ended {
        let mut keeps_head = first.is_some();
        let mut head = None;
        loop {
            let (taken, mut part) = match first.take() {
                Some(first) => first,
                None => match self.next().await {
                    Ok(Some(next)) => next,
                    Ok(None) => return Ended { head, result: Ok(()) },
                    Err(failed) => return Ended { head, result: Err(failed) },
                },
            };
            let (bytes, result) = self.read(taken, &mut part).await;
            part.body.close();
            {
                let mut shared = self.lock();
                shared.wire_bytes += part.body.facts().wire_bytes;
                shared.missing.give_back(taken);
            }
            if std::mem::take(&mut keeps_head) {
                head = Some(part.body);
            }
            match result {
                Err(failed) if bytes < PROGRESS || !is_cut(&failed) => return Ended { head, result: Err(failed) },
                _ => {}
            }
        }
    }

    /// Takes a stretch and asks for it.
    async fn next(&self) -> Result<Option<(Taken, Part)>, Failed> {
        loop {
            let (taken, wanted, total) = {
                let mut shared = self.lock();
                let Some(taken) = shared.missing.take() else { return Ok(None) };
                (taken, shared.missing.wanted(taken), shared.missing.total())
            };
            let asked = self.getting.ask.ask(&self.validator.ask_for(&wanted, total)).await;
            let part = asked.and_then(|body| {
                let end = end_of_part(&body, &wanted, total, &self.validator).map_err(broken)?;
                Ok(Part { body, end })
            });
            let mut shared = self.lock();
            match part {
                Ok(part) if shared.missing.begin(taken, wanted.start) => return Ok(Some((taken, part))),
                Ok(_too_late) => shared.missing.give_back(taken),
                Err(failed) => {
                    shared.missing.give_back(taken);
                    return Err(failed);
                }
            }
        }
    }

    /// Reads an answer into its stretch, and into what follows it while nobody else reads that. Says how many bytes it wrote.
    async fn read(&self, taken: Taken, part: &mut Part) -> (u64, Result<(), Failed>) {
        let mut buffer = BytesMut::new();
        let mut at = self.lock().missing.wanted(taken).start;
        let begun = at;
        let mut written_at = Instant::now();
        let mut speed = Speed::new(self.getting.min_speed);
        loop {
            let piece = self.piece(&mut part.body, &mut speed).await;
            if let Ok(Some(piece)) = &piece {
                buffer.extend_from_slice(piece);
            }
            let has_ended = !matches!(piece, Ok(Some(_)));
            let mut left = self.left(taken);
            if has_ended || left <= buffer.len() as u64 || buffer.len() >= WRITE || written_at.elapsed() >= NOTE_AFTER {
                // What is beyond the stretch stays: it may go on there.
                let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if let Err(failed) = self.write(taken, at, buffer.split_to(count).freeze()).await {
                    return (at - begun, Err(failed));
                }
                at += count as u64;
                written_at = Instant::now();
                left = self.left(taken);
            }
            if left == 0 {
                let has_more = !has_ended || !buffer.is_empty();
                if has_more && self.lock().missing.go_on(taken, at, part.end) {
                    continue;
                }
                if at == part.end && !has_ended {
                    // At the clean end the connection goes back to the pool. What goes wrong now takes nothing away.
                    drop(part.body.piece().await);
                }
                return (at - begun, Ok(()));
            }
            match piece {
                Ok(Some(_)) => {}
                // Some servers give less at once than they are asked for.
                Ok(None) if at == part.end && at - begun >= ANSWER_LEAST => return (at - begun, Ok(())),
                Ok(None) => return (at - begun, Err(truncated())),
                Err(failed) => return (at - begun, Err(failed)),
            }
        }
    }

    /// The next piece of a body, if it comes fast enough, and not before it may.
    async fn piece(&self, body: &mut StreamedResponse, speed: &mut Speed) -> Result<Option<Bytes>, Failed> {
        let piece = speed.piece(body).await?;
        if let (Some(piece), Some(throttle)) = (&piece, self.getting.throttle)
            && let Some(until) = throttle(piece.len())
        {
            Deadline::at(until).wait().await;
            speed.begin_again(body);
        }
        Ok(piece)
    }

    /// Writes what was read of a stretch, and the note when it is time for that. Its end may be given to another reader meanwhile: then
    /// both write the same.
    async fn write(&self, taken: Taken, at: u64, bytes: Bytes) -> Result<(), Failed> {
        let count = bytes.len() as u64;
        if count == 0 {
            return Ok(());
        }
        self.target.write(at, bytes).await?;
        let is_due = {
            let mut shared = self.lock();
            shared.missing.written(taken, count);
            let noted = &mut shared.noted;
            noted.bytes += count;
            !noted.is_being_written && (noted.bytes >= NOTE_BYTES || noted.at.elapsed() >= NOTE_AFTER)
        };
        if is_due { self.note().await } else { Ok(()) }
    }

    /// Notes what is missing now. What is written while it syncs is noted the next time.
    async fn note(&self) -> Result<(), Failed> {
        let missing = {
            let mut shared = self.lock();
            shared.noted.is_being_written = true;
            shared.noted.bytes = 0;
            Missing::read(shared.missing.total(), &shared.missing.ranges())
        };
        let result = match missing {
            Some(missing) => self.target.note(self.getting.url, &self.validator, missing).await,
            None => Ok(()),
        };
        let mut shared = self.lock();
        shared.noted.is_being_written = false;
        shared.noted.has_note = true;
        shared.noted.at = Instant::now();
        result
    }

    fn left(&self, taken: Taken) -> u64 {
        let wanted = self.lock().missing.wanted(taken);
        wanted.end.saturating_sub(wanted.start)
    }

    /// Never held over an `await`.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our own disk failed, which ends the run.
fn is_store(failed: &Failed) -> bool {
    failed.failure.kind == "store"
}

/// The connection broke, and another may not.
fn is_cut(failed: &Failed) -> bool {
    matches!(failed.outcome, Outcome::Reset | Outcome::Truncated | Outcome::Timeout)
}

fn broken(why: NotThePart) -> Failed {
    let outcome = match why {
        NotThePart::Status(_) => Outcome::HttpError,
        _ => Outcome::Protocol,
    };
    in_body(Failed::ours(outcome, "range", why.to_string()))
}

fn truncated() -> Failed {
    in_body(Failed::ours(
        Outcome::Truncated,
        "truncated",
        "a part of the file ended before its end",
    ))
}

/// What another attempt may change.
pub(super) fn in_body(mut failed: Failed) -> Failed {
    failed.failure.phase = Some("body".into());
    failed.failure.retryable = true;
    failed.was_sent = true;
    failed
}
