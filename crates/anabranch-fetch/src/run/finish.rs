//! The end of a task that got an answer: its body is looked through, and all that was found goes into its record.

use std::path::PathBuf;

use anabranch::client::Timings;
use bytes::Bytes;
use tokio::time::Instant;

use super::attempt::{Answer, Body};
use super::drive::{Drive, Key, Output};
use super::look::{Found, Question};
use super::plan::media_type;
use super::report::{End, record};
use super::sitemaps;
use super::task::Task;
use crate::Outcome;
use crate::content::names::{self, NameParts};
use crate::crawl::follow;
use crate::http::headers::is_private;
use crate::http::origin;
use crate::record::{Archive, Failure, Finished, Record, SavedBody};
use crate::store::Remembered;

/// An answer that is complete while its body is looked through.
pub(super) struct Looking {
    answer: Answer,
    timings: Timings,
    outcome: Outcome,
    ended: Instant,
}

impl Drive {
    /// Looks through the body of an answer that is the last of its task, elsewhere if that takes long.
    pub(super) fn look(&mut self, task: Box<Task>, answer: Answer, timings: Timings, outcome: Outcome, now: Instant) {
        let question = self.question(&task, &answer, outcome);
        let looking = Looking {
            answer,
            timings,
            outcome,
            ended: now,
        };
        match question {
            None => self.looked(task, looking, Found::default()),
            Some(question) if question.is_small() => {
                let found = question.answer(&self.plan);
                self.looked(task, looking, found);
            }
            Some(question) => self.start_look(task, looking, question),
        }
    }

    /// What is wanted of a body; None where that is nothing, as in most runs.
    fn question(&self, task: &Task, answer: &Answer, outcome: Outcome) -> Option<Question> {
        let plan = &self.plan;
        let Body::Memory(body) = &answer.body else { return None };
        let content_type = answer.head.header("content-type");
        let is_ok = outcome == Outcome::Ok;
        let is_compared = plan.options.output.if_changed || plan.checksums.expected(&task.job.url).is_some();
        let question = Question {
            url: task.url().clone(),
            looks: is_ok && plan.looks_into(content_type),
            sitemap_of: (is_ok && sitemaps::may_be(plan, content_type)).then(|| Box::new(task.job.clone())),
            hashes: is_ok && (plan.name.is_some() || is_compared),
            content_type: content_type.map(str::to_string),
            body: body.clone(),
        };
        Some(question)
    }

    /// Starts the search through a body, and keeps the task until it is done.
    fn start_look(&mut self, task: Box<Task>, looking: Looking, question: Question) {
        self.looks += 1;
        let label = origin::host(&task.job.url).to_string();
        let plan = self.plan.clone();
        let look = async move { Output::Look(Box::new(question.answer_elsewhere(plan, label).await)) };
        self.children.start(Key::Look(task, Box::new(looking)), look);
    }

    /// Ends a task with what was found in its body.
    pub(super) fn looked(&mut self, mut task: Box<Task>, looking: Looking, mut found: Found) {
        let Looking {
            answer,
            timings,
            mut outcome,
            ended,
        } = looking;
        self.measure(&task, ended);
        let plan = self.plan.clone();
        let checksum = match &answer.body {
            Body::File(part) => Some(part.checksum),
            _ => found.checksum,
        };
        let is_too_large = matches!(answer.body, Body::File(_)) && plan.extracts_from(answer.head.header("content-type"));
        let mut failure = failure_of(outcome, &answer);
        let data = match found.data() {
            _ if is_too_large => Err("the body is too large to be looked through".to_string()),
            data => data,
        };
        let is_mismatch = plan
            .checksums
            .expected(&task.job.url)
            .is_some_and(|expected| checksum != Some(expected));
        if outcome == Outcome::Ok && is_mismatch {
            (outcome, failure) = failing(Outcome::Checksum, "the body's SHA-256 is not the one that was given");
        } else if let (Outcome::Ok, Err(why)) = (outcome, &data) {
            (outcome, failure) = failing(Outcome::Extract, why);
        } else if let (Outcome::Ok, Some(why)) = (outcome, &found.looked.links_failed) {
            (outcome, failure) = failing(Outcome::Extract, why);
        } else if let (Outcome::Ok, Some(why)) = (outcome, found.named.as_ref().and_then(|named| named.broken.as_ref())) {
            (outcome, failure) = failing(Outcome::Extract, why);
        } else if matches!(answer.head.status(), 404 | 410) && sitemaps::is_guess(&task.job) {
            (outcome, failure) = failing(Outcome::Filtered, "there is no sitemap at the usual place");
        }
        let mut links = std::mem::take(&mut found.looked.links);
        let followed = (outcome == Outcome::Ok && plan.follow.has_any())
            .then(|| follow::follow(&task.job, task.url(), std::mem::take(&mut links), &plan.filter));
        let end = End {
            outcome,
            failure,
            answer: Some(&answer),
            timings: Some(timings),
        };
        let name = self.name_of(&task, &answer, outcome);
        let archive = self.archive_of(&task, &answer);
        let remembered = task.remembered.take();
        let mut record = record(&plan, &mut task, end, ended);
        record.data = data.ok().flatten();
        record.sha256 = checksum.map(|checksum| checksum.to_string());
        if record.charset.is_none() {
            record.charset = found.looked.charset.take().map(|charset| charset.into_owned());
        }
        if let Some((text, is_base64)) = found.text.take() {
            record.body = Some(text);
            record.body_base64 = is_base64.then_some(true);
        }
        if let Some(remembered) = remembered {
            compare(&mut record, &remembered);
        }
        let mut finished = Finished::new(record);
        if let Some(followed) = followed {
            finished.found = followed.jobs;
        }
        if let Some(named) = found.named {
            finished.found = named.jobs;
        }
        if plan.is_crawl() {
            finished.record.links = Some(finished.found.len() as u32);
            finished.found.extend(self.sitemaps_of(&task.job));
        }
        finished.name = name;
        finished.archive = archive;
        if outcome == Outcome::Ok && plan.name.is_some() {
            finished.body = match answer.body {
                Body::Memory(body) => SavedBody::Bytes(body),
                Body::File(part) => SavedBody::Part(part.keep()),
                Body::Counted => SavedBody::None,
            };
        }
        self.hand_over(finished);
    }

    fn name_of(&self, task: &Task, answer: &Answer, outcome: Outcome) -> Option<PathBuf> {
        let template = self.plan.name.as_ref().filter(|_| outcome == Outcome::Ok)?;
        let media_type = answer.head.header("content-type").map(media_type);
        let parts = NameParts {
            url: &task.job.url,
            id: &task.job.id,
            media_type: media_type.filter(|media_type| !media_type.is_empty()),
            seq: task.job.seq,
            depth: task.job.depth,
        };
        Some(names::render(template, &parts))
    }

    /// The exchange as it was, for a web archive: what is known of it, and no logins.
    fn archive_of(&self, task: &Task, answer: &Answer) -> Option<Box<Archive>> {
        if !self.plan.wants_archive {
            return None;
        }
        let url = task.url();
        let mut request = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            task.method(),
            origin::path_and_query(url),
            origin::host(url)
        )
        .into_bytes();
        for (name, value) in self.headers.public().chain(task.job.headers.iter()) {
            if !is_private(name) {
                request.extend_from_slice(name.as_str().as_bytes());
                request.extend_from_slice(b": ");
                request.extend_from_slice(value.as_bytes());
                request.extend_from_slice(b"\r\n");
            }
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(task.job.body.as_deref().filter(|_| task.keeps_body()).unwrap_or_default());
        let mut head = format!("HTTP/1.1 {} \r\n", answer.head.status()).into_bytes();
        for (name, value) in answer.head.headers() {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        let body = match &answer.body {
            Body::Memory(body) => body.clone(),
            Body::Counted | Body::File(_) => Bytes::new(),
        };
        Some(Box::new(Archive {
            request: request.into(),
            head: head.into(),
            body,
        }))
    }
}

fn failing(outcome: Outcome, why: &str) -> (Outcome, Option<Failure>) {
    let failure = Failure {
        kind: outcome.as_str().into(),
        phase: None,
        message: why.into(),
        retryable: false,
    };
    (outcome, Some(failure))
}

/// What a status means that is none of those expected.
fn failure_of(outcome: Outcome, answer: &Answer) -> Option<Failure> {
    let status = answer.head.status();
    (outcome == Outcome::HttpError).then(|| Failure {
        kind: "http_error".into(),
        phase: None,
        message: match http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()) {
            Some(reason) => format!("the answer has status {status} ({reason})"),
            None => format!("the answer has status {status}"),
        },
        retryable: matches!(status, 408 | 425 | 429 | 500 | 502..=504),
    })
}

/// Whether an answer differs from what an earlier pass saw. One that was not sent anew is where it was.
fn compare(record: &mut Record, before: &Remembered) {
    match record.outcome {
        Outcome::NotModified => {
            record.changed = Some(false);
            record.cache = Some("revalidated");
            record.sha256 = record.sha256.take().or_else(|| before.sha256.clone());
            record.path = before.path.clone();
            record.etag = record.etag.take().or_else(|| before.etag.clone());
            record.last_modified = record.last_modified.take().or_else(|| before.last_modified.clone());
        }
        Outcome::Ok => {
            record.cache = Some("miss");
            // Without a hash from before, an ETag that is still the same says it.
            let is_same = match (&before.sha256, &record.sha256) {
                (Some(before), Some(now)) => before == now,
                _ => before.etag.is_some() && before.etag == record.etag,
            };
            record.changed = Some(!is_same);
        }
        _ => {}
    }
}
