//! What is taken from the body of an answer that was expected: its hash, what selectors or a program find, its links, its text. All of it
//! is computing, and goes to the threads for that unless there is next to nothing to do.

use std::sync::Arc;
use std::time::Duration;

use anabranch::{ComputeError, Deadline};
use bytes::Bytes;
use serde_json::value::RawValue;
use url::Url;

use super::plan::{Plan, charset_of, media_type};
use super::sitemaps::{self, Named};
use crate::Job;
use crate::content::charset;
use crate::content::checksums::Checksum;
use crate::content::{self, Looked};
use crate::http::netrc::base64;
use crate::options::BodyInRecord;

/// What is hashed or put into a record at once, without another thread: some 50 µs.
const AT_ONCE: usize = 32 << 10;
/// How long to wait for a place on the threads that compute, and for the work itself.
const WITHIN: Duration = Duration::from_secs(120);
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// What a body is looked through for, and as what.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) url: Url,
    pub(super) content_type: Option<String>,
    pub(super) body: Bytes,
    /// Selectors, links, the program: not for answers that were not expected.
    pub(super) looks: bool,
    /// The job, where the body may be a sitemap.
    pub(super) sitemap_of: Option<Box<Job>>,
    pub(super) hashes: bool,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) looked: Looked,
    pub(super) checksum: Option<Checksum>,
    /// The body for the record, and whether it is base64.
    pub(super) text: Option<(String, bool)>,
    /// What it names as a sitemap.
    pub(super) named: Option<Named>,
    /// Why nothing was found, where that is the fault of the body or of our own threads.
    pub(super) failed: Option<String>,
}

impl Question {
    /// Whether it can be answered at once.
    pub(super) fn is_small(&self) -> bool {
        !self.looks && self.body.len() <= AT_ONCE
    }

    /// Computes the answer, here.
    pub(super) fn answer(&self, plan: &Plan) -> Found {
        let content_type = self.content_type.as_deref();
        let media_type = content_type.map(media_type).map(str::to_ascii_lowercase);
        let charset = content_type.and_then(charset_of);
        let mut found = Found::default();
        if let Some(job) = self.sitemap_of.as_deref().filter(|_| sitemaps::is_one(&self.url, &self.body)) {
            found.named = Some(sitemaps::read(plan, job, &self.body));
        } else if self.looks {
            found.looked = content::look(&self.url, media_type.as_deref(), charset, &self.body, &plan.extract, &plan.follow);
            if let Some(transform) = &plan.transform {
                found.looked.data = Some(transform.apply(&self.body));
            }
        }
        if self.hashes {
            found.checksum = Some(Checksum::of(&self.body));
        }
        found.text = match plan.options.output.body {
            BodyInRecord::None => None,
            BodyInRecord::Inline if charset::is_text(media_type.as_deref(), &self.body) => {
                let decoded = charset::decode(media_type.as_deref(), charset, &self.body);
                found.looked.charset.get_or_insert(decoded.charset.clone());
                Some((decoded.text.into_owned(), false))
            }
            BodyInRecord::Inline | BodyInRecord::Base64 => Some((base64(&self.body), true)),
        };
        found
    }

    /// Computes the answer on the threads for that, and waits for a place there.
    pub(super) async fn answer_elsewhere(self, plan: Arc<Plan>, label: String) -> Found {
        let deadline = Deadline::after(WITHIN);
        loop {
            let (question, inside) = (self.clone(), plan.clone());
            let answer = plan.compute.run(&label, deadline, move |_context| question.answer(&inside));
            match answer.await {
                Ok(found) => return found,
                Err(ComputeError::Busy) if !deadline.has_passed() => deadline.within(ASK_AGAIN).wait().await,
                Err(error) => {
                    return Found {
                        failed: Some(format!("the body could not be looked through: {error}")),
                        ..Found::default()
                    };
                }
            }
        }
    }
}

impl Found {
    /// What goes into `data`, or why nothing does.
    pub(super) fn data(&mut self) -> Result<Option<Box<RawValue>>, String> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        self.looked.data.take().transpose()
    }
}
