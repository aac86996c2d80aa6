//! The thread that reads the input: it blocks on files and pipes, and asks the journal what is done already, so that the run's own thread
//! does neither.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;

use crate::moment::rfc3339;
use crate::content::names::{self, NameParts, Template};
use crate::input::{Entry, Input, for_records};
use crate::options::OnExists;
use crate::record::{Failure, Finished, Times};
use crate::store::Store;
use crate::{FetchError, Job, JobId, Options, Outcome, Record};

/// What may be read ahead of the run.
pub(super) const AHEAD: usize = 1_024;

/// What the input brings.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are jobs, which are moved into their tasks"
)]
pub(super) enum Fed {
    /// A job that is to be done.
    Job(Job),
    /// Something that is no job, or needs no request: it has ended.
    Ended(Box<Finished>),
    /// The input ended, and brought so many entries in this call that an earlier one had not done.
    End,
    /// The input or the journal broke.
    Failed(FetchError),
}

/// What the thread needs to know.
pub(super) struct Feed {
    pub(super) input: Input,
    pub(super) store: Store,
    pub(super) run: Option<String>,
    /// Where names are known before the request and files that exist make it needless.
    pub(super) skips: Option<Template>,
}

/// Which names of bodies are known before the request and make it needless.
pub(super) fn skips(options: &Options, name: Option<&Template>) -> Option<Template> {
    let is_asked = options.output.on_exists == OnExists::Skip;
    name.filter(|name| is_asked && !name.needs_answer()).cloned()
}

impl Feed {
    /// Starts the thread. It ends with the input, or when nobody listens any more and the input brings something.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(self, known_total: Arc<dyn Fn(u64) + Send + Sync>) -> Result<mpsc::Receiver<Fed>, FetchError> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let thread = std::thread::Builder::new().name("fetch-input".into());
        let started = thread.spawn(move || self.read(&sender, &*known_total));
        started.map_err(|error| FetchError::store(format!("no thread for the input: {error}")))?;
        Ok(receiver)
    }

    fn read(mut self, sender: &mpsc::Sender<Fed>, known_total: &dyn Fn(u64)) {
        let mut done_before = 0;
        loop {
            if let Some(total) = self.input.known_total() {
                known_total(total.saturating_sub(done_before));
            }
            let fed = match self.input.next() {
                Ok(Some(entry)) => match self.fed(entry) {
                    Ok(Some(fed)) => fed,
                    Ok(None) => {
                        done_before += 1;
                        continue;
                    }
                    Err(error) => Fed::Failed(error),
                },
                Ok(None) => {
                    if let Some(total) = self.input.known_total() {
                        known_total(total.saturating_sub(done_before));
                    }
                    Fed::End
                }
                Err(error) => Fed::Failed(error),
            };
            let is_last = matches!(fed, Fed::End | Fed::Failed(_));
            if sender.blocking_send(fed).is_err() || is_last {
                return;
            }
        }
    }

    /// What an entry comes to; None where it was done in an earlier call.
    fn fed(&self, entry: Entry) -> Result<Option<Fed>, FetchError> {
        let id = match &entry {
            Entry::Job(job) => &job.id,
            Entry::Invalid { id, .. } | Entry::Duplicate { id, .. } => id,
        };
        if self.store.is_done(id)? {
            return Ok(None);
        }
        Ok(Some(match entry {
            Entry::Job(job) => match self.existing(&job) {
                Some(path) => Fed::Ended(Box::new(Finished::new(Record {
                    path: Some(path),
                    cache: Some("hit"),
                    meta: job.meta.clone(),
                    method: job.method.to_string(),
                    ..ended(self.run.clone(), job.seq, job.id.clone(), for_records(&job.url), Outcome::Ok, None)
                }))),
                None => Fed::Job(job),
            },
            Entry::Invalid { seq, id, text, why } => {
                let error = failure("invalid", why);
                Fed::Ended(Box::new(Finished::new(ended(
                    self.run.clone(),
                    Some(seq),
                    id,
                    text,
                    Outcome::Invalid,
                    Some(error),
                ))))
            }
            Entry::Duplicate { seq, id, first, url } => {
                let error = failure(
                    "duplicate",
                    format!("the id stood in the input before: it is that of entry {first}"),
                );
                Fed::Ended(Box::new(Finished::new(ended(
                    self.run.clone(),
                    Some(seq),
                    id,
                    url,
                    Outcome::Duplicate,
                    Some(error),
                ))))
            }
        }))
    }

    /// The file that makes a request needless.
    fn existing(&self, job: &Job) -> Option<String> {
        let parts = NameParts {
            url: &job.url,
            id: &job.id,
            media_type: None,
            seq: job.seq,
            depth: job.depth,
        };
        let name = names::render(self.skips.as_ref()?, &parts);
        self.store.existing_body(&name)
    }
}

fn failure(kind: &str, message: String) -> Failure {
    Failure {
        kind: kind.into(),
        phase: None,
        message,
        retryable: false,
    }
}

/// The record of what ended without a request.
pub(super) fn ended(run: Option<String>, seq: Option<u64>, id: JobId, url: String, outcome: Outcome, error: Option<Failure>) -> Record {
    Record {
        v: 1,
        run,
        seq,
        id,
        url,
        method: "GET".into(),
        outcome,
        status: None,
        final_url: None,
        attempts: 0,
        tries: Vec::new(),
        total_ms: 0.0,
        t_ms: Times::default(),
        http: None,
        remote: None,
        reused: None,
        wire_bytes: None,
        body_bytes: None,
        encoding: None,
        media_type: None,
        charset: None,
        etag: None,
        last_modified: None,
        cache: None,
        changed: None,
        sha256: None,
        path: None,
        data: None,
        headers: None,
        body: None,
        body_base64: None,
        redirects: Vec::new(),
        links: None,
        depth: None,
        parent: None,
        error,
        meta: None,
        ts: rfc3339(SystemTime::now()),
    }
}
