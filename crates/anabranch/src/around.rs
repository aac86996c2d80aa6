//! Retry and timing around any async function, for work that is no call to a [`Source`](crate::Source): a database, a queue, a file
//! on a network. Calls to a source have both already, and a budget for their retries besides.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::policy::RetrySettings;
use crate::Deadline;

/// Makes attempts until one succeeds, the settings allow no more, or the deadline has passed. Every error is worth another attempt;
/// [`retry_if`] lets the caller choose.
///
/// The first attempt starts at once, each further one after a rest drawn from the settings' backoff. An attempt under way when the
/// deadline passes is dropped; bound it with [`Deadline::within`] inside to give each a limit of its own. Nobody counts these
/// attempts but the settings: there is no budget shared with other callers. Dropping the future drops the attempt under way.
///
/// # Errors
/// [`RetryError::Failed`] with the last error when there is no attempt left or no time to rest before it,
/// [`RetryError::TimedOut`] when the deadline passed during an attempt.
pub async fn retry<T, E, F>(settings: RetrySettings, deadline: Deadline, attempt: impl FnMut() -> F) -> Result<T, RetryError<E>>
where
    F: Future<Output = Result<T, E>>,
{
    retry_if(settings, deadline, |_| true, attempt).await
}

/// The same, for errors that are worth another attempt: `retry_if(settings, deadline, CallError::is_retryable, ...)`. Any other error
/// ends it at once.
///
/// # Errors
/// As [`retry`].
pub async fn retry_if<T, E, F>(
    settings: RetrySettings,
    deadline: Deadline,
    is_worth_it: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, RetryError<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut made = 0;
    let mut last = None;
    loop {
        made += 1;
        let error = match deadline.bound(attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(RetryError::TimedOut { last, attempts: made }),
        };
        let rest = settings.backoff.wait(made);
        if made > settings.retries || !is_worth_it(&error) || rest >= deadline.left() {
            return Err(RetryError::Failed { error, attempts: made });
        }
        last = Some(error);
        deadline.within(rest).wait().await;
    }
}

/// Why no attempt of a [`retry`] succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryError<E> {
    /// The last attempt failed, and another was not allowed, not worth it, or would have come too late.
    Failed {
        /// How it failed.
        error: E,
        /// How many were made, 1 and more.
        attempts: u32,
    },
    /// The deadline passed during an attempt.
    TimedOut {
        /// How the attempt before it failed; None when it was the first.
        last: Option<E>,
        /// How many were started, the one that was dropped included.
        attempts: u32,
    },
}

impl<E> RetryError<E> {
    /// How many attempts were started.
    pub fn attempts(&self) -> u32 {
        match self {
            RetryError::Failed { attempts, .. } | RetryError::TimedOut { attempts, .. } => *attempts,
        }
    }

    /// The error of the last attempt that came to its end.
    pub fn last(self) -> Option<E> {
        match self {
            RetryError::Failed { error, .. } => Some(error),
            RetryError::TimedOut { last, .. } => last,
        }
    }
}

impl<E: fmt::Display> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetryError::Failed { error, attempts: 1 } => write!(f, "{error}"),
            RetryError::Failed { error, attempts } => write!(f, "{error}, after {attempts} attempts"),
            RetryError::TimedOut { last: None, .. } => f.write_str("the deadline passed"),
            RetryError::TimedOut {
                last: Some(error),
                attempts,
            } => write!(f, "the deadline passed in attempt {attempts}; the one before: {error}"),
        }
    }
}

impl<E: Error + 'static> Error for RetryError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RetryError::Failed { error, .. } | RetryError::TimedOut { last: Some(error), .. } => Some(error),
            RetryError::TimedOut { last: None, .. } => None,
        }
    }
}

/// Runs the future and says how long it took, from the first poll to the last, by tokio's clock.
pub async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let started = Instant::now();
    let output = future.await;
    (output, started.elapsed())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::Backoff;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Retries at once, so that times are exact.
    fn no_rest(retries: u32) -> RetrySettings {
        times(retries, Backoff::new(Duration::ZERO, Duration::ZERO))
    }

    fn times(retries: u32, backoff: Backoff) -> RetrySettings {
        RetrySettings {
            retries,
            backoff,
            ..RetrySettings::NONE
        }
    }

    async fn after(delay: Duration) {
        Deadline::after(delay).wait().await;
    }

    /// Work that fails so many times, with the number of the attempt for an error, and then succeeds with it. Each takes 10 ms.
    async fn failing(first: u32, made: &Cell<u32>) -> Result<u32, u32> {
        made.set(made.get() + 1);
        let number = made.get();
        after(ms(10)).await;
        if number <= first { Err(number) } else { Ok(number) }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_first_success() {
        let made = Cell::new(0);
        let (result, took) = timed(retry(no_rest(5), Deadline::after(ms(1_000)), || failing(2, &made))).await;
        assert_eq!((result, made.get(), took), (Ok(3), 3, ms(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_given_when_no_attempt_is_left() {
        for (retries, error) in [(0, 1), (2, 3)] {
            let made = Cell::new(0);
            let result = retry(no_rest(retries), Deadline::after(ms(1_000)), || failing(9, &made)).await;
            assert_eq!(result, Err(RetryError::Failed { error, attempts: error }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_worth_it_is_not_tried_again() {
        let made = Cell::new(0);
        let result = retry_if(no_rest(5), Deadline::after(ms(1_000)), |error| *error < 2, || failing(9, &made)).await;
        assert_eq!(result, Err(RetryError::Failed { error: 2, attempts: 2 }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_dropped_at_the_deadline() {
        let made = Cell::new(0);
        let hangs_second = || async {
            if made.get() == 1 {
                made.set(2);
                std::future::pending::<()>().await;
            }
            failing(9, &made).await
        };
        let (result, took) = timed(retry(no_rest(5), Deadline::after(ms(100)), hangs_second)).await;
        assert_eq!(
            (result, took),
            (
                Err(RetryError::TimedOut {
                    last: Some(1),
                    attempts: 2
                }),
                ms(100)
            )
        );
        let (result, took) = timed(retry(no_rest(5), Deadline::after(ms(100)), std::future::pending::<Result<(), ()>>)).await;
        assert_eq!((result, took), (Err(RetryError::TimedOut { last: None, attempts: 1 }), ms(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_that_does_not_fit_is_not_waited_for() {
        // Drawn from 0 to 200 ms each time: some rests fit into what is left of 60 ms and some do not.
        let slow = Backoff::new(ms(200), ms(200));
        for seed in 0..50 {
            fastrand::seed(seed);
            let made = Cell::new(0);
            let (result, took) = timed(retry(times(9, slow), Deadline::after(ms(60)), || failing(99, &made))).await;
            assert!(took <= ms(60) && result.is_err(), "{took:?}");
            assert_eq!(result.map_err(|error| error.attempts()), Err(made.get()));
        }
    }

    #[test]
    fn an_error_says_how_often_it_was_tried() {
        let failed = |attempts| RetryError::Failed {
            error: "refused",
            attempts,
        };
        assert_eq!(failed(1).to_string(), "refused");
        assert_eq!(failed(3).to_string(), "refused, after 3 attempts");
        assert_eq!(
            RetryError::TimedOut {
                last: None::<&str>,
                attempts: 1
            }
            .to_string(),
            "the deadline passed"
        );
        let late = RetryError::TimedOut {
            last: Some("refused"),
            attempts: 2,
        };
        assert_eq!(late.to_string(), "the deadline passed in attempt 2; the one before: refused");
        assert_eq!(late.last(), Some("refused"));
    }

    proptest! {
        #[test]
        fn never_more_attempts_than_allowed_and_never_later_than_the_deadline(
            retries in 0_u32..20, fails in 0_u32..25, limit in 0_u64..400, base in 0_u64..50,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let made = Cell::new(0);
                let settings = times(retries, Backoff::new(ms(base), ms(base * 4)));
                let (result, took) = timed(retry(settings, Deadline::after(ms(limit)), || failing(fails, &made))).await;
                prop_assert!(made.get() <= retries + 1);
                // Tokio's timers count whole milliseconds.
                prop_assert!(took <= ms(limit + 1), "{took:?} of {limit} ms");
                if let Ok(number) = result {
                    prop_assert_eq!(number, fails + 1);
                }
                Ok(())
            })?;
        }
    }
}
