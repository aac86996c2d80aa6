//! What the callers of one client and the task of their connection share: who waits to be sent, and how the connection stands.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::command::Command;
use super::reply::ReplyLimits;
use crate::{CallError, Kind, Phase};

/// Commands that may wait to be written, and their bytes. A source's own limit on calls in flight is met long before; this one
/// bounds what callers who left behind have left of themselves while a connection is being opened.
const MOST_WAITING: usize = 65_536;
const MOST_WAITING_BYTES: usize = 64 << 20;
/// A connection that was lost is opened anew unasked as long as somebody asked within this time.
const INTEREST: Duration = Duration::from_secs(60);

/// A connection as its callers see it.
pub(super) struct Link {
    state: Mutex<State>,
    /// The connection's task, woken when there is something to send or it should end.
    task: AtomicWaker,
    /// Commands that were written and have no answer yet, whether anybody waits for it or not.
    unanswered: AtomicUsize,
    /// How often the server was dialled, over all links of the source.
    dials: Arc<AtomicU64>,
}

struct State {
    stage: Stage,
    waiting: VecDeque<Request>,
    /// The bytes of those that wait.
    waiting_bytes: usize,
    /// When somebody asked last.
    asked: Option<Instant>,
}

enum Stage {
    /// Being opened, and nothing is known against it: callers wait.
    Opening,
    Up,
    /// The last try failed: callers are told at once.
    Failing {
        error: CallError,
        until: Instant,
    },
    Closed,
}

/// One call's command on its way.
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) limits: ReplyLimits,
    /// When its caller goes.
    pub(super) until: Instant,
    /// Whether it may not be joined with others.
    pub(super) is_alone: bool,
    /// Whether it is announced with `ASKING`.
    pub(super) is_asking: bool,
    pub(super) answer: oneshot::Sender<Answer>,
    /// Set before its first byte may leave.
    pub(super) is_sent: Arc<AtomicBool>,
}

/// What becomes of a request.
pub(super) struct Answer {
    pub(super) result: Result<Bytes, CallError>,
    /// When it was handed to the connection.
    pub(super) sent: Option<Instant>,
}

impl Request {
    /// Tells its caller, if that still waits, that it was not sent.
    fn refuse(self, error: CallError) {
        let _caller_left = self.answer.send(Answer {
            result: Err(error),
            sent: None,
        });
    }
}

impl Link {
    pub(super) fn new(dials: Arc<AtomicU64>) -> Self {
        let state = State {
            stage: Stage::Opening,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            asked: None,
        };
        Link {
            state: Mutex::new(state),
            task: AtomicWaker::new(),
            unanswered: AtomicUsize::new(0),
            dials,
        }
    }

    /// Hands a request over; whether the connection is up.
    pub(super) fn push(&self, request: Request) -> Result<bool, CallError> {
        let now = Instant::now();
        let mut state = self.lock();
        state.asked = Some(now);
        let is_up = match &state.stage {
            Stage::Up => true,
            Stage::Opening => false,
            Stage::Failing { error, until } => return Err(error.clone().retry_in(until.saturating_duration_since(now))),
            Stage::Closed => return Err(closed()),
        };
        if state.waiting.len() >= MOST_WAITING || state.waiting_bytes >= MOST_WAITING_BYTES {
            return Err(CallError::new(Kind::Limit, "too many commands wait to be sent").in_phase(Phase::Pool));
        }
        state.waiting_bytes += request.command.frame.len();
        state.waiting.push_back(request);
        drop(state);
        self.task.wake();
        Ok(is_up)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.lock().stage, Stage::Up)
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.lock().stage, Stage::Closed)
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Refuses all who come from now on. Those who wait are still served if the connection is up; then the task ends.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        let is_up = matches!(state.stage, Stage::Up);
        state.stage = Stage::Closed;
        drop(state);
        self.task.wake();
        if !is_up {
            self.end();
        }
    }

    /// Refuses all who come and all who wait: there is no task any more.
    pub(super) fn end(&self) {
        for request in self.enter(Stage::Closed) {
            request.refuse(closed());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the stage, unless it is the last; those who waited, if they should not go on waiting.
    fn enter(&self, stage: Stage) -> VecDeque<Request> {
        let keeps_waiting = matches!(stage, Stage::Opening | Stage::Up);
        let mut state = self.lock();
        if !matches!(state.stage, Stage::Closed) {
            state.stage = stage;
        }
        if keeps_waiting {
            return VecDeque::new();
        }
        state.waiting_bytes = 0;
        std::mem::take(&mut state.waiting)
    }
}

/// The side of the connection's task.
impl Link {
    /// Waits until a connection is wanted; `false` if none ever will be.
    pub(super) async fn wanted(&self) -> bool {
        poll_fn(|cx| {
            self.task.register(cx.waker());
            let mut state = self.lock();
            if matches!(state.stage, Stage::Closed) {
                return Poll::Ready(false);
            }
            let is_recent = state.asked.is_some_and(|asked| asked.elapsed() < INTEREST);
            if is_recent || !state.waiting.is_empty() {
                return Poll::Ready(true);
            }
            // Whoever asks next waits for a new try in place of being told how the last one went, long ago.
            state.stage = Stage::Opening;
            Poll::Pending
        })
        .await
    }

    pub(super) async fn until_closed(&self) {
        poll_fn(|cx| {
            self.task.register(cx.waker());
            if self.is_closed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Ready once there is something to take, or nothing ever will be; `may_take` says whether there is room for it.
    pub(super) fn poll_asked(&self, may_take: bool, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        let state = self.lock();
        let is_closed = matches!(state.stage, Stage::Closed);
        if may_take && (is_closed || !state.waiting.is_empty()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Takes the one who waited longest.
    pub(super) fn take(&self) -> Option<Request> {
        let mut state = self.lock();
        let request = state.waiting.pop_front()?;
        state.waiting_bytes -= request.command.frame.len();
        Some(request)
    }

    /// Whether there is nothing to take and never will be.
    pub(super) fn is_finished(&self) -> bool {
        let state = self.lock();
        matches!(state.stage, Stage::Closed) && state.waiting.is_empty()
    }

    pub(super) fn dialing(&self) {
        self.dials.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) {
        self.enter(Stage::Up);
    }

    /// The connection is gone, and the next one is opened at once.
    pub(super) fn lost(&self) {
        self.enter(Stage::Opening);
    }

    /// There is no connection, and the next try comes after a rest.
    pub(super) fn failed(&self, error: &CallError, rest: Duration) {
        let until = Instant::now() + rest;
        for request in self.enter(Stage::Failing {
            error: error.clone(),
            until,
        }) {
            request.refuse(error.clone().retry_in(rest));
        }
    }

    pub(super) fn count_unanswered(&self, count: usize) {
        self.unanswered.store(count, Ordering::Relaxed);
    }
}

fn closed() -> CallError {
    CallError::new(
        Kind::Cancelled,
        "no connection: the client or the source is shutting down, or has too many tasks",
    )
}
