//! How a child future ended, whichever way it was run: inside a [`Gathering`](crate::Gathering), in a task of a
//! [`scope`](crate::scope), or in the background.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use crate::Elapsed;

/// How a child ended. Its own failure is inside [`Done`](Settled::Done): this is about whether it came to an end at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled<T> {
    /// It ran to its end.
    Done(T),
    /// Its limit or the deadline of the whole passed first.
    TimedOut,
    /// It was stopped, or never started, for this reason.
    Cancelled(Why),
    /// It panicked; this is the message. The panic went no further.
    Panicked(String),
}

/// Why a child was stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// What was required is in, and the grace after it is over.
    Grace,
    /// Another one failed and all were wanted.
    FailFast,
    /// Enough others succeeded.
    Enough,
    /// There was no room or no time left to start it.
    NotStarted,
    /// What it belonged to ended first.
    Parent,
}

/// One child that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished<K, T> {
    /// The key it was started with.
    pub key: K,
    /// How it ended.
    pub settled: Settled<T>,
    /// The time from its start to its end.
    pub took: Duration,
}

impl<T> Settled<T> {
    /// What it returned, if it ran to its end.
    pub fn done(self) -> Option<T> {
        match self {
            Settled::Done(output) => Some(output),
            Settled::TimedOut | Settled::Cancelled(_) | Settled::Panicked(_) => None,
        }
    }

    /// The same end, with the output of a child that ran to it changed.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Settled<U> {
        match self {
            Settled::Done(output) => Settled::Done(change(output)),
            Settled::TimedOut => Settled::TimedOut,
            Settled::Cancelled(why) => Settled::Cancelled(why),
            Settled::Panicked(message) => Settled::Panicked(message),
        }
    }
}

impl<T, E> Settled<Result<T, E>> {
    /// Whether it ran to its end and succeeded.
    pub fn is_ok(&self) -> bool {
        matches!(self, Settled::Done(Ok(_)))
    }

    /// Its value, if it ran to its end and succeeded.
    pub fn ok(self) -> Option<T> {
        self.done().and_then(Result::ok)
    }
}

impl<T> Settled<Result<T, Elapsed>> {
    /// The end of a child that was bounded by a deadline of its own.
    pub(crate) fn within_limit(self) -> Settled<T> {
        match self.map(Settled::from) {
            Settled::Done(settled) => settled,
            Settled::TimedOut => Settled::TimedOut,
            Settled::Cancelled(why) => Settled::Cancelled(why),
            Settled::Panicked(message) => Settled::Panicked(message),
        }
    }
}

impl<T> From<Result<T, Elapsed>> for Settled<T> {
    fn from(result: Result<T, Elapsed>) -> Self {
        result.map_or(Settled::TimedOut, Settled::Done)
    }
}

impl Why {
    /// The reason as the account spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Grace => "grace",
            Why::FailFast => "fail_fast",
            Why::Enough => "enough",
            Why::NotStarted => "not_started",
            Why::Parent => "parent",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text of a caught panic.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload
            .downcast_ref::<&'static str>()
            .map_or("a panic without a message", |message| message)
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_named_by_its_message() {
        let caught = |f: fn()| panic_message(std::panic::catch_unwind(f).expect_err("it panics"));
        assert_eq!(caught(|| panic!("plain")), "plain");
        assert_eq!(caught(|| panic!("with {}", 1)), "with 1");
        assert_eq!(caught(|| std::panic::panic_any(7_u8)), "a panic without a message");
    }

    #[test]
    fn a_limit_that_passed_inside_is_a_time_out() {
        assert_eq!(Settled::Done(Err::<u8, _>(Elapsed)).within_limit(), Settled::TimedOut);
        assert_eq!(Settled::Done(Ok::<_, Elapsed>(1)).within_limit(), Settled::Done(1));
        assert_eq!(
            Settled::<Result<u8, Elapsed>>::Cancelled(Why::Parent).within_limit(),
            Settled::Cancelled(Why::Parent)
        );
    }
}
