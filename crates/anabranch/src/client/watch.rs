//! How an upload stands, between who sends it and who waits for the answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;

use super::body::WireLimits;
use crate::{CallError, Marks, Phase};

/// What an upload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The peer has to take what there is.
    Peer = 0,
    /// The source has nothing at the moment.
    Source = 1,
    /// Nothing; all was taken.
    Over = 2,
}

/// How an upload stands, for the exchange that it belongs to: over HTTP/2 it is sent by another task.
#[derive(Debug)]
pub(super) struct Watch {
    /// The stage in the lower two bits; above them how often it moved.
    stamp: AtomicU64,
    was_taken: AtomicBool,
    fault: Mutex<Option<CallError>>,
    is_aborted: AtomicBool,
    /// Whoever sent it is done with it, well or not.
    is_gone: AtomicBool,
    /// Who waits for the answer.
    exchange: AtomicWaker,
    /// Who sends the body.
    sender: AtomicWaker,
}

impl Watch {
    pub(super) fn new(is_over: bool) -> Self {
        Watch {
            stamp: AtomicU64::new(if is_over { Stage::Over } else { Stage::Peer } as u64),
            was_taken: AtomicBool::new(false),
            fault: Mutex::new(None),
            is_aborted: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            exchange: AtomicWaker::new(),
            sender: AtomicWaker::new(),
        }
    }

    /// Enters a stage, again with each piece that was taken.
    pub(super) fn set(&self, stage: Stage, was_taken: bool) {
        let old = self.stamp.load(Ordering::Relaxed);
        if was_taken {
            self.was_taken.store(true, Ordering::Release);
        } else if old & 3 == stage as u64 {
            return;
        }
        self.stamp.store(((old >> 2) + 1) << 2 | stage as u64, Ordering::Release);
        self.exchange.wake();
    }

    /// The source failed.
    pub(super) fn fail(&self, error: CallError) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.after_send());
        self.set(Stage::Over, true);
    }

    /// Whether anything of it is gone, so that it cannot be sent again.
    pub(super) fn was_taken(&self) -> bool {
        self.was_taken.load(Ordering::Acquire)
    }

    /// Why the source failed; told once.
    pub(super) fn take_fault(&self) -> Option<CallError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A number that changes with each piece and each wait.
    pub(super) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Acquire)
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stamp() & 3 {
            0 => Stage::Peer,
            1 => Stage::Source,
            _ => Stage::Over,
        }
    }

    /// Keeps the limit of the wait for an answer: while the peer has something to take, as long as between two pieces; while the source
    /// is waited for, none; when all is sent, that to the first byte.
    pub(super) fn mark(&self, marks: &Marks, limits: &WireLimits, seen: &mut Option<u64>) {
        let stamp = self.stamp();
        if *seen != Some(stamp) {
            *seen = Some(stamp);
            let limit = match self.stage() {
                Stage::Peer => limits.body_idle,
                Stage::Source => None,
                Stage::Over => limits.first_byte,
            };
            marks.enter(Phase::FirstByte, limit);
        }
    }

    /// The same for an upload that somebody else polls: the task is woken at each move, and learns why the source failed.
    pub(super) fn follow(&self, cx: &Context<'_>, marks: &Marks, limits: &WireLimits, seen: &mut Option<u64>) -> Option<CallError> {
        self.register(cx);
        self.mark(marks, limits, seen);
        self.take_fault()
    }

    /// Wakes this task at each move.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.exchange.register(cx.waker());
    }

    /// Whether it lies with a peer that does not take it.
    pub(super) fn is_stuck(&self) -> bool {
        !self.is_gone.load(Ordering::Acquire) && self.stage() != Stage::Source
    }

    /// Whoever sends it is done with it.
    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Ordering::Release);
    }

    /// Whether its exchange has ended; wakes who sends it when it does.
    pub(super) fn is_aborted(&self, cx: &Context<'_>) -> bool {
        self.sender.register(cx.waker());
        self.is_aborted.load(Ordering::Acquire)
    }

    /// Makes whoever sends it stop.
    fn abort(&self) {
        self.is_aborted.store(true, Ordering::Release);
        self.sender.wake();
    }
}

/// Stops an upload when its exchange ends, however it ends.
#[derive(Debug)]
pub(super) struct EndUpload(pub(super) Arc<Watch>);

impl Drop for EndUpload {
    fn drop(&mut self) {
        self.0.abort();
    }
}
