//! One request and its whole answer, under the limits of time, size and speed.

use std::sync::Arc;
use std::time::Duration;

use anabranch::client::{Endpoint, StreamedResponse, Timings};
use anabranch::{CallError, Deadline, Expired, Marks, Phase, Request};
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::part::{Part, PartFile};
use super::plan::Plan;
use crate::Outcome;
use crate::http::failure::Failed;

/// What is read at the most before a body that is saved goes to its file.
pub(super) const IN_MEMORY: usize = 1 << 20;
/// The same for a body that is looked through: that takes all of it, so it is read into memory, up to this.
const LOOKED_AT: usize = 16 << 20;

/// One request, ready to be sent.
pub(super) struct Attempt {
    pub(super) plan: Arc<Plan>,
    pub(super) endpoint: Endpoint,
    pub(super) request: Request,
    pub(super) deadline: Deadline,
    /// The name of the limit that the deadline comes from.
    pub(super) whose: &'static str,
    /// Where a body that is saved goes if it is large.
    pub(super) part: Option<std::path::PathBuf>,
    /// Whether the body is wanted as it is, for ourselves.
    pub(super) keeps_all: bool,
}

/// How it went.
pub(super) struct Attempted {
    pub(super) result: Result<Answer, Failed>,
    pub(super) timings: Timings,
}

/// An answer that was read to its end.
pub(super) struct Answer {
    pub(super) head: StreamedResponse,
    pub(super) body: Body,
    /// Bytes of the body as decoded.
    pub(super) body_bytes: u64,
    /// Bytes of bodies as sent: of all answers that gave parts of it.
    pub(super) wire_bytes: u64,
}

/// What was kept of a body.
pub(super) enum Body {
    /// Nothing of it is wanted.
    Counted,
    Memory(Bytes),
    File(Part),
}

impl Attempt {
    /// Makes the request. Dropping the future ends it, and a file that was begun is deleted.
    pub(super) async fn run(self) -> Attempted {
        let marks = Marks::new();
        let mut timings = Timings::default();
        let exchange = self.exchange(&marks, &mut timings);
        let result = match self.deadline.bound_marked(&marks, exchange).await {
            Ok(result) => result,
            Err(expired) => Err(Failed::expired(expired, self.whose)),
        };
        if let Ok(answer) = &result {
            timings = answer.head.timings();
        }
        Attempted { result, timings }
    }

    async fn exchange(&self, marks: &Marks, timings: &mut Timings) -> Result<Answer, Failed> {
        let plan = &*self.plan;
        let resume = self.resume();
        let ranged = match &resume {
            Some(resume) => Some(self.ranged(&resume.ask())?),
            None => None,
        };
        let request = ranged.as_ref().unwrap_or(&self.request);
        let opened = plan.client.open(&self.endpoint, request, &plan.wire, marks, timings).await;
        let mut head = opened.map_err(|error| Failed::of(&error))?;
        // The limits of the body are its reader's own; that of the head must not go on.
        marks.enter(Phase::Body, None);
        if self.is_large(&head, resume.is_some()) {
            return Box::pin(self.get_large(head, resume)).await;
        }
        let is_coded = head.header_bytes("content-encoding").is_some();
        if is_coded && !plan.options.http.raw && head.length() != Some(0) {
            head = head
                .decoded(plan.options.output.max_decoded.unwrap_or(u64::MAX))
                .map_err(|error| Failed::of(&error))?;
        }
        let keep = self.keep(&head);
        let mut reading = Reading::new(plan, keep, head.length());
        while let Some(piece) = reading.next(&mut head).await? {
            reading.take(piece).await?;
        }
        let body_bytes = reading.length;
        Ok(Answer {
            body: reading.finish().await?,
            body_bytes,
            wire_bytes: head.facts().wire_bytes,
            head,
        })
    }

    fn keep(&self, head: &StreamedResponse) -> Keep {
        let plan = &*self.plan;
        let is_wanted = plan.expects(head.status());
        let is_looked_at = is_wanted && plan.looks_at_all() && plan.looks_into(head.header("content-type"));
        match &self.part {
            Some(path) if is_wanted => Keep::File {
                path: path.clone(),
                memory: if is_looked_at { LOOKED_AT } else { IN_MEMORY },
            },
            _ if is_looked_at || self.keeps_all || plan.keeps_bodies() => Keep::Memory,
            _ => Keep::Nothing,
        }
    }
}

/// What becomes of the pieces.
enum Keep {
    Nothing,
    Memory,
    /// In memory up to so many bytes, else in a file.
    File {
        path: std::path::PathBuf,
        memory: usize,
    },
}

/// A body being read.
struct Reading<'a> {
    plan: &'a Plan,
    keep: Keep,
    announced: Option<u64>,
    length: u64,
    first: Bytes,
    rest: BytesMut,
    file: Option<PartFile>,
    /// Since when, and how many bytes had come then: for the least speed.
    window: (Instant, u64),
}

impl<'a> Reading<'a> {
    fn new(plan: &'a Plan, keep: Keep, announced: Option<u64>) -> Self {
        Reading {
            plan,
            keep,
            announced,
            length: 0,
            first: Bytes::new(),
            rest: BytesMut::new(),
            file: None,
            window: (Instant::now(), 0),
        }
    }

    /// The next piece, if it comes fast enough.
    async fn next(&mut self, head: &mut StreamedResponse) -> Result<Option<Bytes>, Failed> {
        let failed = |error: CallError| Failed::of(&error);
        let Some((bytes, over)) = self.plan.options.time.min_speed else {
            return head.piece().await.map_err(failed);
        };
        loop {
            let end = Deadline::at(self.window.0 + over);
            let piece = end.bound(head.piece()).await;
            let read = head.facts().wire_bytes;
            if end.has_passed() {
                let came = read - self.window.1;
                if came < bytes && !matches!(piece, Ok(Ok(None))) {
                    return Err(too_slow(came, over));
                }
                self.window = (Instant::now(), read);
            }
            if let Ok(piece) = piece {
                return piece.map_err(failed);
            }
        }
    }

    async fn take(&mut self, piece: Bytes) -> Result<(), Failed> {
        let is_first = self.length == 0;
        self.length += piece.len() as u64;
        if let Some(throttle) = &self.plan.throttle
            && let Some(until) = throttle.count(piece.len(), Instant::now())
        {
            Deadline::at(until).wait().await;
            // Time spent here is not the peer's.
            self.window.0 = Instant::now();
        }
        if let Keep::Nothing = self.keep {
            return Ok(());
        }
        if is_first {
            self.first = piece;
            return Ok(());
        }
        if self.rest.is_empty() {
            let expected = self.announced.unwrap_or(0).min(IN_MEMORY as u64) as usize;
            self.rest.reserve(expected.max(self.first.len() + piece.len()));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&piece);
        let Keep::File { path, memory } = &self.keep else { return Ok(()) };
        let is_begun = self.file.is_some();
        let held = if is_begun { IN_MEMORY } else { *memory };
        if self.rest.len() >= held {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(PartFile::new(path.clone())),
            };
            file.write(&self.plan.compute, self.rest.split().freeze()).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Body, Failed> {
        let whole = if self.rest.is_empty() { self.first } else { self.rest.freeze() };
        match (self.keep, self.file.take()) {
            (Keep::Nothing, _) => Ok(Body::Counted),
            (_, None) => Ok(Body::Memory(whole)),
            (_, Some(mut file)) => {
                if !whole.is_empty() {
                    file.write(&self.plan.compute, whole).await?;
                }
                Ok(Body::File(file.finish()))
            }
        }
    }
}

fn too_slow(came: u64, over: Duration) -> Failed {
    let mut failed = Failed::ours(
        Outcome::TooSlow,
        "min_speed",
        format!("{came} bytes came in {over:?}, fewer than `--min-speed` asks for"),
    );
    failed.failure.phase = Some("body".into());
    failed.failure.retryable = true;
    failed.was_sent = true;
    failed.blames_host = true;
    failed
}

/// That no time was left when the attempt was to begin.
pub(super) fn no_time_left(whose: &'static str) -> Failed {
    let expired = Expired {
        phase: None,
        by_phase: false,
    };
    Failed::expired(expired, whose)
}
