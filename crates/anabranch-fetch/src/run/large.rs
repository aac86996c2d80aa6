//! An attempt at a large file: it goes on where another broke, and may get several pieces at once.

use std::future::Future;
use std::pin::Pin;

use anabranch::client::{StreamedResponse, Timings};
use anabranch::{Deadline, Marks, Request};
use http::{Method, header};
use tokio::time::Instant;
use url::Url;

use super::attempt::{Answer, Attempt, Body, IN_MEMORY};
use super::part::Part;
use crate::Outcome;
use crate::download::{Ask, Getting, Ranged, Resume, is_resumable};
use crate::http::failure::Failed;

impl Attempt {
    /// What another attempt, perhaps of a process that was killed, left of this file.
    pub(super) fn resume(&self) -> Option<Resume> {
        let part = self.part.as_ref()?;
        // An answer with a part must not be a failure, and only a GET has parts.
        if self.request.method() != Method::GET || !self.plan.expects(206) {
            return None;
        }
        Resume::load(part, &self.url()?)
    }

    /// The request for a part of the file.
    pub(super) fn ranged(&self, ranged: &Ranged) -> Result<Request, Failed> {
        let with_both = |request: Request| {
            let request = request.header(header::RANGE, ranged.range.clone())?;
            request.header(header::IF_RANGE, ranged.if_range.clone())
        };
        with_both(self.request.clone()).map_err(|error| Failed::ours(Outcome::Invalid, "invalid", error.to_string()))
    }

    /// Whether the body of this answer is got as a file that can be gone on with. It is saved then, and not looked through.
    pub(super) fn is_large(&self, head: &StreamedResponse, is_resumed: bool) -> bool {
        let plan = &*self.plan;
        let is_wanted = self.part.is_some() && self.request.method() == Method::GET && !self.keeps_all;
        match head.status() {
            206 | 416 => is_wanted && is_resumed,
            200 => {
                let is_looked_at = plan.looks_into(head.header("content-type"));
                let is_long = head.length().is_some_and(|length| length > IN_MEMORY as u64);
                is_wanted && is_long && !is_looked_at && plan.expects(200) && is_resumable(head)
            }
            _ => false,
        }
    }

    /// Gets the file that this answer began.
    pub(super) async fn get_large(&self, head: StreamedResponse, resume: Option<Resume>) -> Result<Answer, Failed> {
        let plan = &*self.plan;
        let (Some(part), Some(url)) = (&self.part, self.url()) else {
            return Err(Failed::ours(Outcome::Invalid, "invalid", "the file has no place"));
        };
        let count = |bytes: usize| plan.throttle.as_ref().and_then(|throttle| throttle.count(bytes, Instant::now()));
        let getting = Getting {
            ask: self,
            compute: &plan.compute,
            url: &url,
            part,
            segments: plan.options.download.segments,
            segment_min: plan.options.download.segment_min,
            max: plan.options.output.max_body,
            min_speed: plan.options.time.min_speed,
            throttle: plan.throttle.as_ref().map(|_| &count as &(dyn Fn(usize) -> Option<Instant> + Sync)),
        };
        let got = getting.run(head, resume).await?;
        Ok(Answer {
            head: got.head,
            body: Body::File(Part::new(part.clone(), got.checksum)),
            body_bytes: got.length,
            wire_bytes: got.wire_bytes,
        })
    }

    /// Where the request goes.
    fn url(&self) -> Option<Url> {
        Url::parse(self.endpoint.url()).ok()?.join(self.request.path_and_query()).ok()
    }
}

impl Ask for Attempt {
    fn ask<'a>(&'a self, ranged: &'a Ranged) -> Pin<Box<dyn Future<Output = Result<StreamedResponse, Failed>> + Send + 'a>> {
        Box::pin(async move {
            let plan = &*self.plan;
            let request = self.ranged(ranged)?;
            let (marks, mut timings) = (Marks::new(), Timings::default());
            let opened = plan.client.open(&self.endpoint, &request, &plan.wire, &marks, &mut timings);
            // The attempt's own deadline is around all of this.
            match Deadline::never().bound_marked(&marks, opened).await {
                Ok(opened) => opened.map_err(|error| Failed::of(&error)),
                Err(expired) => Err(Failed::expired(expired, self.whose)),
            }
        })
    }
}
