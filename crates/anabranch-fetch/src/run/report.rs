//! From a task that ended to its record.

use std::time::Duration;

use anabranch::client::{StreamedResponse, Timings};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::feed::ended;
use super::attempt::Answer;
use super::plan::{Plan, charset_of, media_type};
use super::task::{Task, ms};
use crate::http::origin::without_fragment;
use crate::record::{Failure, Record, Times};
use crate::{JobId, Outcome};

/// How a task ended.
pub(super) struct End<'a> {
    pub(super) outcome: Outcome,
    pub(super) failure: Option<Failure>,
    /// The head of the last answer, and the bytes of its body as decoded.
    pub(super) answer: Option<&'a Answer>,
    /// Of the last request.
    pub(super) timings: Option<Timings>,
}

impl End<'_> {
    /// Without an answer.
    pub(super) fn of(outcome: Outcome, failure: Failure) -> Self {
        End {
            outcome,
            failure: Some(failure),
            answer: None,
            timings: None,
        }
    }
}

/// The record of a task. It takes what the task has, for nothing of it is needed afterwards but the job.
pub(super) fn record(plan: &Plan, task: &mut Task, end: End<'_>, now: Instant) -> Record {
    let job = &mut task.job;
    let url = without_fragment(&job.url).to_string();
    let mut record = ended(plan.run.clone(), job.seq, job.id.clone(), url, end.outcome, end.failure);
    record.method = job.method.as_str().to_string();
    record.meta = job.meta.take();
    record.attempts = task.attempts;
    record.tries = std::mem::take(&mut task.tries);
    record.total_ms = ms(task
        .first_started
        .map_or(Duration::ZERO, |started| now.saturating_duration_since(started)));
    record.t_ms = times(end.timings.as_ref());
    record.t_ms.queue = ms(task.waited.queue);
    record.t_ms.host_wait = ms(task.waited.host);
    if job.depth > 0 || job.parent.is_some() || plan.is_crawl() {
        record.depth = Some(job.depth);
    }
    record.parent = job.parent.as_ref().map(JobId::to_string);
    if let Some(hop) = task.hop.take() {
        record.final_url = Some(without_fragment(&hop.url).to_string());
        record.redirects = hop.through;
    }
    if let Some(answer) = end.answer {
        put_answer(&mut record, plan, answer);
    }
    record
}

fn put_answer(record: &mut Record, plan: &Plan, answer: &Answer) {
    let head = &answer.head;
    let facts = head.facts();
    record.status = Some(head.status());
    record.http = Some(facts.version).filter(|version| !version.is_empty());
    record.remote = facts.remote.map(|remote| remote.to_string());
    record.reused = Some(facts.reused);
    record.wire_bytes = Some(answer.wire_bytes);
    record.body_bytes = Some(answer.body_bytes);
    record.encoding = facts.coding.map(str::to_string);
    // In one pass: each look for a name would be another.
    for (name, value) in head.headers() {
        match name {
            "content-type" if record.media_type.is_none() => {
                let Ok(content_type) = std::str::from_utf8(value) else { continue };
                record.media_type = Some(media_type(content_type).to_ascii_lowercase()).filter(|media_type| !media_type.is_empty());
                record.charset = charset_of(content_type).map(str::to_ascii_lowercase);
            }
            "etag" => record.etag = text(value),
            "last-modified" => record.last_modified = text(value),
            _ => {}
        }
    }
    let wanted = &plan.options.output.headers;
    if !wanted.is_empty() {
        record.headers = headers(wanted.iter().map(|name| name.as_str()), head);
    }
}

fn text(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().map(str::to_string)
}

/// An object of the headers that were asked for; several of one name are joined with `, `.
fn headers<'n>(names: impl Iterator<Item = &'n str>, head: &StreamedResponse) -> Option<Box<RawValue>> {
    let mut object = serde_json::Map::new();
    for name in names {
        let values = head.headers().filter(|(other, _)| *other == name);
        let values: Vec<_> = values.map(|(_, value)| String::from_utf8_lossy(value)).collect();
        if !values.is_empty() {
            object.insert(name.to_string(), values.join(", ").into());
        }
    }
    serde_json::value::to_raw_value(&object).ok()
}

fn times(timings: Option<&Timings>) -> Times {
    let Some(timings) = timings else { return Times::default() };
    Times {
        queue: 0.0,
        host_wait: 0.0,
        pool: timings.pool.map(ms),
        dns: timings.dns.map(ms),
        connect: timings.connect.map(ms),
        tls: timings.tls.map(ms),
        ttfb: timings.first_byte.map(ms),
        body: timings.body.map(ms),
    }
}
