//! From a task to a request under way.

use http::header::{self, HeaderName, HeaderValue};
use tokio::time::Instant;

use anabranch::{Deadline, Request};
use anabranch::client::Endpoint;

use super::attempt::{Attempt, no_time_left};
use super::drive::{Drive, Key, Output, Work};
use super::task::Task;
use crate::http::failure::Failed;
use crate::http::headers::Parts;
use crate::http::netrc::basic;
use crate::http::origin;
use crate::schedule::{Place, Verdict};
use crate::{Job, Outcome};

/// Lets a service that knows it see that a repeated request is the same one (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl Drive {
    /// Starts the next request of a task.
    pub(super) fn start(&mut self, task: Box<Task>, place: Place, now: Instant) {
        let prepared = self.prepare(&task, now);
        let attempt = match prepared {
            Ok(attempt) => attempt,
            Err(failed) => {
                self.give_back(place, Verdict::Unknown);
                self.end_without_answer(task, failed);
                return;
            }
        };
        let run = async move { Output::Attempt(Box::new(attempt.run().await)) };
        self.children.start(Key::Attempt(Work::Job(task), place), run);
    }

    fn prepare(&mut self, task: &Task, now: Instant) -> Result<Attempt, Failed> {
        let (deadline, whose) = self.deadline(task, now)?;
        let endpoint = self.endpoint(task)?;
        let request = self.request(task).map_err(|why| Failed::ours(Outcome::Invalid, "invalid", why))?;
        Ok(Attempt {
            plan: self.plan.clone(),
            endpoint,
            request,
            deadline,
            whose,
            part: self.plan.name.as_ref().and_then(|_| self.store.part_path(&task.job.id)),
            keeps_all: false,
        })
    }

    /// Of the attempt, or of what the job has left.
    fn deadline(&self, task: &Task, now: Instant) -> Result<(Deadline, &'static str), Failed> {
        let time = &self.plan.options.time;
        let of_attempt = time.attempt.map(|attempt| Deadline::at(now + attempt));
        let of_job = time.job.map(|job| job.saturating_sub(task.busy));
        if of_job.is_some_and(|left| left.is_zero()) {
            return Err(no_time_left("job_timeout"));
        }
        let of_job = of_job.map(|left| Deadline::at(now + left));
        Ok(match (of_attempt, of_job) {
            (Some(attempt), Some(job)) if job < attempt => (job, "job_timeout"),
            (Some(attempt), _) => (attempt, "timeout"),
            (None, Some(job)) => (job, "job_timeout"),
            (None, None) => (Deadline::never(), "timeout"),
        })
    }

    fn endpoint(&mut self, task: &Task) -> Result<Endpoint, Failed> {
        let endpoint = self.origins.endpoint(origin::origin(task.url()));
        endpoint.map_err(|why| Failed::ours(Outcome::Invalid, "invalid", why))
    }

    fn request(&mut self, task: &Task) -> Result<Request, String> {
        let url = task.url();
        let is_trusted = task.is_trusted() && self.is_of_input(&task.job);
        let mut added: Vec<(HeaderName, HeaderValue)> = Vec::new();
        if let Some(cookies) = self.jar.as_ref().and_then(|jar| jar.header(url, self.wall_clock())) {
            added.push((header::COOKIE, cookies));
        }
        if let Some(login) = task.login.as_ref().filter(|_| task.is_trusted()) {
            added.push((header::AUTHORIZATION, login.clone()));
        }
        if let Some(remembered) = &task.remembered {
            let mut condition = |name, value: &Option<String>| {
                let value = value.as_deref().and_then(|value| HeaderValue::try_from(value).ok());
                added.extend(value.map(|value| (name, value)));
            };
            condition(header::IF_NONE_MATCH, &remembered.etag);
            condition(header::IF_MODIFIED_SINCE, &remembered.last_modified);
        }
        let is_safe = task.method().is_idempotent();
        let has_key = self.headers.has(&IDEMPOTENCY_KEY) || task.job.headers.iter().any(|(name, _)| *name == IDEMPOTENCY_KEY);
        if self.plan.options.retry.unsafe_methods && !is_safe && !has_key {
            let key = HeaderValue::try_from(task.job.id.as_str()).ok();
            added.extend(key.map(|key| (IDEMPOTENCY_KEY, key)));
        }
        self.headers.request(Parts {
            method: task.method(),
            path: origin::path_and_query(url),
            is_trusted,
            headers: &task.job.headers,
            added,
            body: task.job.body.as_ref().filter(|_| task.keeps_body()),
        })
    }

    /// Whether the input named this job, or its origin.
    fn is_of_input(&self, job: &Job) -> bool {
        job.parent.is_none() || self.input_origins.contains(origin::origin(&job.url))
    }

    /// The login that a job's URL has, which is taken out of it, or that netrc has for its host.
    pub(super) fn login(&self, job: &mut Job) -> Option<HeaderValue> {
        let of_url = origin::take_userinfo(&mut job.url);
        let has_own = job.headers.iter().any(|(name, _)| *name == header::AUTHORIZATION);
        if has_own {
            return None;
        }
        // A page does not choose who we are.
        let of_url = of_url.filter(|_| job.parent.is_none());
        match of_url {
            Some((user, password)) => basic(&user, &password),
            None => self.plan.netrc.as_ref()?.authorization(job.url.host_str()?),
        }
    }
}
