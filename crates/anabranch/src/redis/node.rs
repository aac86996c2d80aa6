//! One server as its callers see it: a link for each client, and one question over it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::RedisCounts;
use super::command::Command;
use super::connect::Server;
use super::driver::Driver;
use super::link::{Link, Request};
use super::reply::ReplyLimits;
use crate::client::Timings;
use crate::{CallError, Client, Deadline, Kind, Phase};

/// One server.
pub(super) struct Node {
    pub(super) server: Arc<Server>,
    max_lifetime: Duration,
    dials: Arc<AtomicU64>,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    by_client: Vec<(usize, Arc<Link>)>,
    is_closed: bool,
}

/// An attempt's question.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) client: &'a Client,
    pub(super) command: &'a Command,
    pub(super) limits: ReplyLimits,
    pub(super) deadline: Deadline,
    /// The limit of the attempt, where it has one.
    pub(super) timeout: Option<Duration>,
    /// The earlier of the two.
    pub(super) until: Deadline,
    /// Whether it may not be joined with others.
    pub(super) is_alone: bool,
    /// Whether it is announced with `ASKING`.
    pub(super) is_asking: bool,
}

impl Node {
    pub(super) fn new(server: Server, max_lifetime: Duration, dials: Arc<AtomicU64>) -> Self {
        Node {
            server: Arc::new(server),
            max_lifetime,
            dials,
            links: Mutex::default(),
        }
    }

    /// Asks. Dropping the future takes the question back, if it was not sent.
    pub(super) async fn ask(&self, question: Question<'_>, timings: &mut Timings) -> Result<Bytes, CallError> {
        let asked = Instant::now();
        let is_sent = Arc::new(AtomicBool::new(false));
        let (give, answer) = oneshot::channel();
        let request = Request {
            command: question.command.clone(),
            limits: question.limits,
            until: question.until.instant(),
            is_alone: question.is_alone,
            is_asking: question.is_asking,
            answer: give,
            is_sent: is_sent.clone(),
        };
        timings.reused = self.link(question.client).push(request)?;
        let answer = match question.until.bound(answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_task_ended)) => {
                return Err(CallError::new(Kind::Cancelled, "the connection was ended from outside before the answer").after_send());
            }
            Err(_elapsed) => return Err(question.timed_out(is_sent.load(Ordering::Relaxed))),
        };
        if let Some(sent) = answer.sent {
            timings.pool = (!timings.reused).then(|| sent.saturating_duration_since(asked));
            timings.first_byte = Some(sent.elapsed());
        }
        answer.result
    }

    /// The link of a client, with a task behind it.
    fn link(&self, client: &Client) -> Arc<Link> {
        let owner = owner(client);
        let mut links = self.lock();
        let known = links.by_client.iter().find(|(other, link)| *other == owner && !link.is_closed());
        if let Some((_, link)) = known {
            return link.clone();
        }
        let link = Arc::new(Link::new(self.dials.clone()));
        if links.is_closed {
            link.close();
            return link;
        }
        links.by_client.retain(|(_, link)| !link.is_closed());
        links.by_client.push((owner, link.clone()));
        drop(links);
        let driver = Driver {
            link: link.clone(),
            server: self.server.clone(),
            max_lifetime: self.max_lifetime,
        };
        // A refused task is dropped, and so ends the link.
        client.background().spawn("redis connection", Deadline::never(), driver.run());
        link
    }

    /// Closes the link of a client once it has its answers.
    pub(super) fn release(&self, client: &Client) {
        let owner = owner(client);
        let released: Vec<_> = self.lock().by_client.extract_if(.., |(other, _)| *other == owner).collect();
        released.iter().for_each(|(_, link)| link.close());
    }

    /// Refuses new calls, and closes the links once they have their answers.
    pub(super) fn close(&self) {
        let mut links = self.lock();
        links.is_closed = true;
        let closed = std::mem::take(&mut links.by_client);
        drop(links);
        closed.iter().for_each(|(_, link)| link.close());
    }

    pub(super) fn count(&self, counts: &mut RedisCounts) {
        for (_, link) in &self.lock().by_client {
            counts.connections += usize::from(link.is_up());
            counts.unanswered += link.unanswered();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.close();
    }
}

impl Question<'_> {
    pub(super) fn timed_out(&self, is_sent: bool) -> CallError {
        let detail = match self.timeout {
            Some(timeout) if !self.deadline.has_passed() => format!("no answer within the timeout of {timeout:?}"),
            _ => "no answer before the deadline".to_owned(),
        };
        let error = CallError::new(Kind::Timeout, detail);
        if is_sent {
            error.after_send().in_phase(Phase::FirstByte)
        } else {
            error.in_phase(Phase::Pool)
        }
    }
}

/// Tells clients apart. An address may be used again after its client is gone; the link that was there is closed by then, because
/// its task has ended with the client.
fn owner(client: &Client) -> usize {
    std::ptr::from_ref(client.background()).addr()
}
