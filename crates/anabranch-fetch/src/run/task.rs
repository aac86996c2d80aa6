//! A job under way: what has happened to it so far.

use std::time::Duration;

use http::{HeaderValue, Method};
use tokio::time::Instant;
use url::Url;

use crate::Job;
use crate::http::origin;
use crate::record::Try;
use crate::schedule::Waited;
use crate::store::Remembered;

/// A job under way.
pub(super) struct Task {
    pub(super) job: Job,
    /// Where redirects have led; None while it is at its own URL.
    pub(super) hop: Option<Box<Hop>>,
    /// Attempts that ended and were followed by another.
    pub(super) tries: Vec<Try>,
    /// Attempts begun, redirects not counted.
    pub(super) attempts: u32,
    pub(super) waited: Waited,
    pub(super) first_started: Option<Instant>,
    /// What its requests took so far, waits left out; and what they had when this attempt began.
    pub(super) busy: Duration,
    busy_before: Duration,
    /// The login that its URL had, or that netrc has.
    pub(super) login: Option<HeaderValue>,
    /// What an earlier pass saw.
    pub(super) remembered: Option<Remembered>,
}

/// A step of redirects.
pub(super) struct Hop {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) keeps_body: bool,
    /// Whether every step so far stayed at the job's origin.
    pub(super) is_trusted: bool,
    /// The URLs before this one, the job's own left out.
    pub(super) through: Vec<String>,
}

impl Task {
    pub(super) fn new(job: Job, login: Option<HeaderValue>, remembered: Option<Remembered>) -> Box<Self> {
        Box::new(Task {
            job,
            hop: None,
            tries: Vec::new(),
            attempts: 0,
            waited: Waited::default(),
            first_started: None,
            busy: Duration::ZERO,
            busy_before: Duration::ZERO,
            login,
            remembered,
        })
    }

    /// Where the next request goes.
    pub(super) fn url(&self) -> &Url {
        self.hop.as_ref().map_or(&self.job.url, |hop| &hop.url)
    }

    pub(super) fn method(&self) -> &Method {
        self.hop.as_ref().map_or(&self.job.method, |hop| &hop.method)
    }

    /// For limits.
    pub(super) fn host(&self) -> &str {
        origin::host(self.url())
    }

    pub(super) fn keeps_body(&self) -> bool {
        self.hop.as_ref().is_none_or(|hop| hop.keeps_body)
    }

    /// Whether the next request goes where the job's own headers were meant to go.
    pub(super) fn is_trusted(&self) -> bool {
        self.hop.as_ref().is_none_or(|hop| hop.is_trusted)
    }

    /// Whether nothing has happened to it yet, so that the job is all there is.
    pub(super) fn is_pristine(&self) -> bool {
        self.hop.is_none() && self.attempts == 0 && self.login.is_none() && self.remembered.is_none()
    }

    /// Begins an attempt, or goes on with one after a redirect.
    pub(super) fn start(&mut self, waited: Waited, now: Instant) {
        self.waited.queue += waited.queue;
        self.waited.host += waited.host;
        self.first_started.get_or_insert(now);
        if self.hop.is_none() {
            if let Some(last) = self.tries.last_mut() {
                last.wait_ms = ms(waited.queue + waited.host);
            }
            self.attempts += 1;
            self.busy_before = self.busy;
        }
    }

    /// What the requests of this attempt took: more than one where redirects were followed.
    pub(super) fn attempt_took(&self) -> Duration {
        self.busy.saturating_sub(self.busy_before)
    }

    /// Moves on by a redirect.
    pub(super) fn follow(&mut self, url: Url, method: Method, keeps_body: bool) {
        let mut through = Vec::new();
        let mut is_trusted = origin::is_same_origin(&self.job.url, &url);
        let mut kept_body = true;
        if let Some(hop) = self.hop.take() {
            is_trusted &= hop.is_trusted;
            kept_body = hop.keeps_body;
            through = hop.through;
            through.push(origin::without_fragment(&hop.url).to_string());
        }
        self.hop = Some(Box::new(Hop {
            url,
            method,
            keeps_body: keeps_body && kept_body,
            is_trusted,
            through,
        }));
    }
}

/// As records write times, to the microsecond.
pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(url: &str) -> Box<Task> {
        Task::new(Job::get(Url::parse(url).unwrap()), None, None)
    }

    #[test]
    fn trust_ends_with_the_first_step_to_another_origin_and_does_not_come_back() {
        let mut task = task("https://a/1");
        let mut follow = |url| {
            task.follow(Url::parse(url).unwrap(), Method::GET, true);
            task.is_trusted()
        };
        assert!(follow("https://a/2"));
        assert!(!follow("https://b/3"));
        assert!(!follow("https://a/4"));
        assert_eq!(task.hop.unwrap().through, ["https://a/2", "https://b/3"]);
    }

    #[test]
    fn a_redirect_is_no_attempt_and_the_wait_belongs_to_the_try_before() {
        let now = Instant::now();
        let mut task = task("http://a/");
        task.start(Waited::default(), now);
        task.follow(Url::parse("http://a/2").unwrap(), Method::GET, true);
        task.start(Waited::default(), now);
        assert_eq!(task.attempts, 1);
        task.hop = None;
        task.tries.push(Try {
            outcome: crate::Outcome::Reset,
            status: None,
            total_ms: 1.0,
            wait_ms: 0.0,
            why: "backoff",
        });
        let waited = Waited {
            queue: Duration::from_millis(1),
            host: Duration::from_millis(20),
        };
        task.start(waited, now);
        assert_eq!((task.attempts, task.tries[0].wait_ms), (2, 21.0));
    }
}
