//! What an answer, or the want of one, means for its task: it goes on elsewhere, it is tried again, or it has ended.

use std::time::Duration;

use anabranch::client::Timings;
use anabranch::policy::Backoff;
use tokio::time::Instant;

use super::attempt::{Answer, Attempted};
use super::drive::{Drive, Work};
use super::report::{End, record};
use super::task::{Task, ms};
use crate::http::failure::Failed;
use crate::http::{hints, origin, redirect};
use crate::record::{Failure, Finished, Try};
use crate::schedule::{Place, Verdict};
use crate::{FetchError, Outcome};

/// What an answer says of when to ask again, and of cookies.
#[derive(Default)]
struct Hints {
    retry_after: Option<Duration>,
    pause: Option<Duration>,
}

/// An attempt that failed in a way that another may not.
struct Retry {
    outcome: Outcome,
    status: Option<u16>,
    was_sent: bool,
    wait: Option<Duration>,
}

impl Drive {
    /// A request of a task has ended.
    pub(super) fn attempted(&mut self, mut task: Box<Task>, place: Place, attempted: Attempted) {
        let now = Instant::now();
        task.busy += now.saturating_duration_since(place.started());
        match attempted.result {
            Ok(answer) => self.answered(task, place, answer, attempted.timings, now),
            Err(failed) if failed.is_store() => {
                self.give_back(place, Verdict::Unknown);
                self.fail(FetchError::store(failed.failure.message));
            }
            Err(failed) => {
                let verdict = if failed.blames_host { Verdict::Failed } else { Verdict::Unknown };
                self.give_back(place, verdict);
                self.failed(task, failed, attempted.timings, now);
            }
        }
    }

    fn failed(&mut self, task: Box<Task>, failed: Failed, timings: Timings, now: Instant) {
        let is_retryable = failed.failure.retryable && self.plan.options.retry.broken;
        let retry = Retry {
            outcome: failed.outcome,
            status: None,
            was_sent: failed.was_sent,
            wait: None,
        };
        match if is_retryable { self.retry(task, retry, now) } else { Err(task) } {
            Ok(()) => {}
            Err(mut task) => {
                self.measure(&task, now);
                let mut end = End::of(failed.outcome, failed.failure);
                end.timings = Some(timings);
                let record = record(&self.plan, &mut task, end, now);
                self.hand_over(Finished::new(record));
            }
        }
    }

    fn answered(&mut self, mut task: Box<Task>, place: Place, answer: Answer, timings: Timings, now: Instant) {
        let status = answer.head.status();
        let hints = self.read_hints(&task, &answer);
        if let Some(pause) = hints.pause {
            self.schedule.pause(&place, pause, now);
        }
        let verdict = match status {
            429 | 503 => Verdict::Overloaded(hints.retry_after),
            // What stands before it says that it does not answer; 52x are Cloudflare's words for that. 500 is about the request.
            502 | 504 | 520..=530 => Verdict::Failed,
            _ => Verdict::Answered,
        };
        self.give_back(place, verdict);
        let is_expected = self.plan.expects(status);
        if redirect::is_redirect(status) && !is_expected && self.plan.options.http.max_redirects > 0 {
            return self.redirected(task, answer, timings, now);
        }
        let has_not_changed = status == 304 && task.remembered.is_some();
        if is_expected || has_not_changed {
            let outcome = if has_not_changed { Outcome::NotModified } else { Outcome::Ok };
            return self.look(task, answer, timings, outcome, now);
        }
        let asks_too_much = hints.retry_after.is_some_and(|wait| wait > self.plan.options.retry.max_retry_after);
        let is_retryable = self.plan.options.retry.statuses.contains(&status);
        if is_retryable && !asks_too_much {
            let retry = Retry {
                outcome: Outcome::HttpError,
                status: Some(status),
                was_sent: true,
                wait: hints.retry_after,
            };
            match self.retry(task, retry, now) {
                Ok(()) => return,
                Err(back) => task = back,
            }
        }
        self.look(task, answer, timings, Outcome::HttpError, now);
    }

    /// One pass over the headers, for most answers have none of these.
    fn read_hints(&mut self, task: &Task, answer: &Answer) -> Hints {
        let mut hints = Hints::default();
        let mut has_limits = false;
        let now = self.wall_clock();
        for (name, value) in answer.head.headers() {
            match name {
                "set-cookie" => {
                    if let Some(jar) = &mut self.jar {
                        jar.set(task.url(), value, now);
                    }
                }
                "retry-after" => hints.retry_after = std::str::from_utf8(value).ok().and_then(|value| hints::retry_after(value, now)),
                _ => has_limits |= name.contains("ratelimit") || name.contains("rate-limit"),
            }
        }
        if has_limits {
            hints.pause = hints::pause(|name| answer.head.header(name), now);
        }
        hints
    }

    /// Has a task tried again, later.
    ///
    /// # Errors
    /// The task itself: it is not tried again.
    fn retry(&mut self, mut task: Box<Task>, retry: Retry, now: Instant) -> Result<(), Box<Task>> {
        let options = &self.plan.options.retry;
        let may_repeat = task.job.method.is_idempotent() || options.unsafe_methods || !retry.was_sent;
        let has_time = self.plan.options.time.job.is_none_or(|job| task.busy < job);
        if task.tries.len() >= options.retries as usize || !may_repeat || !has_time {
            return Err(task);
        }
        let number = task.tries.len() as u32 + 1;
        let backoff = Backoff::new(options.backoff_base, options.backoff_cap).wait(number);
        let wait = retry.wait.map_or(backoff, |asked| asked.max(backoff));
        task.tries.push(Try {
            outcome: retry.outcome,
            status: retry.status,
            total_ms: ms(task.attempt_took()),
            wait_ms: ms(wait),
            why: if retry.wait.is_some() { "retry-after" } else { "backoff" },
        });
        // From the start: what a redirect led to may have been for one time only.
        task.hop = None;
        let host = task.host().to_string();
        if let Err(refused) = self.schedule.push_again(&host, Work::Job(task), now + wait, now) {
            self.give_up(vec![refused]);
        }
        Ok(())
    }

    fn redirected(&mut self, mut task: Box<Task>, answer: Answer, timings: Timings, now: Instant) {
        let mut before = Vec::new();
        if let Some(hop) = &task.hop {
            before.push(origin::without_fragment(&task.job.url).to_string());
            before.extend(hop.through.iter().cloned());
        }
        let from = redirect::From {
            url: task.url(),
            method: task.method(),
            has_body: task.job.body.is_some() && task.keeps_body(),
            before: &before,
            max: self.plan.options.http.max_redirects,
        };
        let location = answer.head.header_bytes("location");
        let followed = match redirect::follow(&from, answer.head.status(), location) {
            Ok(followed) => followed,
            Err(refused) => return self.end_at(task, answer, timings, Outcome::Redirect, refused.kind(), refused.message(), now),
        };
        if let Err(refused) = self.plan.filter.admit_redirect(&task.job.url, task.job.depth, &followed.url) {
            let why = format!("a redirect to where the crawl does not go: {refused}");
            return self.end_at(task, answer, timings, Outcome::Filtered, "filtered", &why, now);
        }
        task.follow(followed.url, followed.method, followed.keeps_body);
        self.admit_first(task, now);
    }

    #[expect(clippy::too_many_arguments, reason = "an end has many sides, and this one is told in one place")]
    fn end_at(&mut self, mut task: Box<Task>, answer: Answer, timings: Timings, outcome: Outcome, kind: &str, why: &str, now: Instant) {
        self.measure(&task, now);
        let failure = Failure {
            kind: kind.into(),
            phase: None,
            message: why.into(),
            retryable: false,
        };
        let end = End {
            outcome,
            failure: Some(failure),
            answer: Some(&answer),
            timings: Some(timings),
        };
        let record = record(&self.plan, &mut task, end, now);
        self.hand_over(Finished::new(record));
    }
}
