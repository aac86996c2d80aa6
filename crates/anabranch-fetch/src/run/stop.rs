//! Telling a run to end early, from outside: a signal of the terminal, or a program that has had enough.

use std::future::Future;
use std::time::Duration;

use anabranch::Deadline;
use tokio::sync::watch;

/// What may still be written when a run is to stop at once: a batch is a matter of milliseconds, a database that does not answer is not
/// waited for.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Tells a run to stop. Clones are the same signal; it may be given from any thread.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Sender<Word>);

/// What was said last, and how often something was.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    stop: Stop,
    said: u32,
}

/// How urgently a run is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    #[default]
    No,
    /// Nothing new is started; what is in flight may end within `time.drain`.
    Drain,
    /// What is in flight is dropped. What has ended is committed all the same.
    Now,
}

impl StopSignal {
    /// A signal that nobody has given yet.
    pub fn new() -> Self {
        StopSignal(watch::Sender::new(Word::default()))
    }

    /// Asks to stop; never takes back a more urgent word.
    pub fn stop(&self, urgency: Stop) {
        self.0.send_modify(|word| {
            word.stop = urgency.max(word.stop);
            word.said = word.said.wrapping_add(1);
        });
    }

    /// The first time asks for [`Stop::Drain`], every later one for [`Stop::Now`]: what Ctrl-C does.
    pub fn more(&self) -> Stop {
        let next = match self.now() {
            Stop::No => Stop::Drain,
            Stop::Drain | Stop::Now => Stop::Now,
        };
        self.stop(next);
        next
    }

    /// What was asked for so far.
    pub fn now(&self) -> Stop {
        self.0.borrow().stop
    }

    /// Waits for what is left to be written; not for long once [`Stop::Now`] is said, or said again, meanwhile. None: it was not waited
    /// for any more.
    pub(super) async fn unless_at_once<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut receiver = self.0.subscribe();
        let before = receiver.borrow().said;
        let enough = async {
            let said = receiver.wait_for(|word| word.stop == Stop::Now && word.said != before).await;
            if said.is_err() {
                std::future::pending::<()>().await;
            }
            drop(said);
            Deadline::after(AT_ONCE).wait().await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = enough => None,
        }
    }

    /// Waits until more is asked for than that.
    pub(super) async fn beyond(&self, known: Stop) -> Stop {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`, so the channel stays open.
        match receiver.wait_for(|word| word.stop > known).await {
            Ok(word) => word.stop,
            Err(_closed) => std::future::pending().await,
        }
    }
}

impl Default for StopSignal {
    fn default() -> Self {
        StopSignal::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_word_is_more_urgent_and_none_is_taken_back() {
        let signal = StopSignal::new();
        let heard = signal.clone();
        assert_eq!(signal.more(), Stop::Drain);
        assert_eq!(heard.beyond(Stop::No).await, Stop::Drain);
        assert_eq!(signal.more(), Stop::Now);
        assert_eq!(heard.beyond(Stop::Drain).await, Stop::Now);
        signal.stop(Stop::Drain);
        assert_eq!(heard.now(), Stop::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_holds_nobody_who_wants_to_leave_at_once() {
        let signal = StopSignal::new();
        signal.more();
        let writing = signal.unless_at_once(std::future::pending::<()>());
        let second = async {
            Deadline::after(Duration::from_secs(60)).wait().await;
            signal.more();
        };
        let (written, ()) = tokio::join!(writing, second);
        assert_eq!(written, None);
        assert_eq!(signal.unless_at_once(async { 7 }).await, Some(7));
    }
}
