//! Redis and Valkey as a source: commands under the same policies as calls to a service, answers as JSON bytes.
//!
//! ```no_run
//! # async fn example(client: &anabranch::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use anabranch::Deadline;
//! use anabranch::redis::Redis;
//!
//! let hot = Redis::new("hot", "redis://cache.svc:6379/0")?;
//! let deadline = Deadline::after(Duration::from_millis(30));
//! let seen = hot.command(client, &["SMEMBERS".into(), "seen:7".into()], deadline).await?;
//! assert!(seen.starts_with(b"["));
//! # Ok(())
//! # }
//! ```
//!
//! **One connection** for each client carries all of its calls at once, in RESP3 (Redis 6 or later, Valkey). So commands that wait in
//! the server or change the connection are never sent, and of the others only [safe](is_safe) ones and those that the source
//! [allows](RedisBuilder::allow). Several callers' MGETs that are there at the same moment are asked as one.
//! **Values** are arguments of their own on the wire, whatever is in them. **Answers** become JSON as they come, see [`Binary`] for
//! bytes that are no text; what is larger or deeper than allowed fails its call and is passed over, without being held in memory.
//! **Failure.** A server that cannot be reached is dialled by the connection's own task, one try at a time with growing rests; calls
//! are told at once meanwhile. A server that is silent while calls give up on it is dialled anew. Nothing in here waits beyond the
//! deadline of its call.
//!
//! The protocol is spoken by this module: the common driver holds whatever the server announces in memory (a string may have
//! 512 MB), parses into trees, and could not give up one answer without the connection under all the others.

mod address;
mod builder;
mod command;
mod connect;
mod driver;
mod fault;
mod json;
mod link;
mod reply;
mod session;
mod tls;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use address::BadRedis;
pub use builder::RedisBuilder;
pub use command::{is_read, is_safe};
pub use reply::Binary;

use self::command::Command;
use self::connect::Connector;
use self::driver::Driver;
use self::link::{Link, Request};
use self::reply::ReplyLimits;
use crate::client::Timings;
use crate::policy::{AttemptEnd, Budget, Limiter, Next, Rate, Refused, RetrySettings};
use crate::{Attempt, CallError, CallReport, Client, Deadline, Kind, Phase};

/// A Redis or Valkey server that calls go to. Cheap to clone; all clones, on all threads, share its limits. Dropping the last one
/// closes its connections.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    /// Names the source in errors.
    name: Arc<str>,
    connector: Arc<Connector>,
    /// Commands, beyond the safe ones, that may be sent. In upper case.
    allowed: Vec<String>,
    in_flight: Limiter,
    queue_wait: Duration,
    rate: Option<Rate>,
    /// What retries may cost.
    budget: Budget,
    settings: RedisSettings,
    max_lifetime: Duration,
    dials: Arc<AtomicU64>,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    by_client: Vec<(usize, Arc<Link>)>,
    is_closed: bool,
}

/// How a command is sent. A source has one for all its calls; a call may carry its own.
#[derive(Clone, Copy, Debug)]
pub struct RedisSettings {
    /// The limit of each attempt; without one an attempt may take what is left of the deadline.
    pub timeout: Option<Duration>,
    /// Attempts after the first, for commands that may be sent twice, and for any that was not sent; but where there is no
    /// connection a call ends at once.
    pub retry: RetrySettings,
    /// Whether a command that writes may be sent twice; those that [read](is_read) always may.
    pub idempotent: bool,
    /// The largest answer, in bytes of JSON; and the largest command.
    pub max_body: u64,
    /// What becomes of strings that are no UTF-8.
    pub binary: Binary,
}

impl Default for RedisSettings {
    /// No attempt timeout, one retry after 25 to 250 ms, writes not to be sent twice, 8 MiB, bytes that are no text refused.
    fn default() -> Self {
        RedisSettings { timeout: None, retry: RetrySettings::ONCE_MORE, idempotent: false, max_body: 8 << 20, binary: Binary::Refuse }
    }
}

/// A command and how it is sent.
#[derive(Clone, Copy, Debug)]
pub struct RedisCall<'a> {
    /// The command's name and its arguments, one word each.
    pub words: &'a [Bytes],
    /// How it is sent.
    pub settings: &'a RedisSettings,
}

/// What a source holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisCounts {
    /// Connections that are up, one for each client at the most.
    pub connections: usize,
    /// How often the server was dialled so far.
    pub dials: u64,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls that wait for a place in flight.
    pub waiting: usize,
    /// Commands that were sent and have no answer yet, also those whose callers have left.
    pub unanswered: usize,
}

impl Redis {
    /// A source with the default limits: 256 calls in flight, as many waiting for up to 250 ms, one retry. Nothing is opened.
    ///
    /// # Errors
    /// The URL is none of Redis.
    pub fn new(name: &str, url: &str) -> Result<Redis, BadRedis> {
        Redis::builder(name, url).build()
    }

    /// Starts a source with settings of its own.
    pub fn builder(name: &str, url: &str) -> RedisBuilder {
        RedisBuilder::new(name, url)
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The settings that its calls have unless they carry their own.
    pub fn settings(&self) -> &RedisSettings {
        &self.0.settings
    }

    /// What it holds now.
    pub fn counts(&self) -> RedisCounts {
        let shared = &self.0;
        let mut counts = RedisCounts {
            dials: shared.dials.load(Ordering::Relaxed),
            in_flight: shared.in_flight.in_use(),
            waiting: shared.in_flight.waiting(),
            ..RedisCounts::default()
        };
        for (_, link) in &shared.links().by_client {
            counts.connections += usize::from(link.is_up());
            counts.unanswered += link.unanswered();
        }
        counts
    }

    /// Sends a command and gives its answer as JSON. Numbers keep the server's digits; strings stay strings, also where they hold
    /// digits or JSON; maps become objects, sets lists, null and missing keys `null`.
    ///
    /// Ends by the deadline at the latest. Dropping the future takes the command back if it was not sent yet; else the server
    /// carries it out, and its answer is dropped.
    ///
    /// # Errors
    /// `value`: the command may not be sent, or is too large. `status`: the server refused it; the text begins with the server's
    /// code (`WRONGTYPE`, `LOADING`, `OOM`) and never repeats a value. `decode`: a string is no UTF-8, or nested too deep. `limit`:
    /// all places in flight stayed taken. `connect`, `tls`, `dns`: no connection, told at once while the server is known to be
    /// down. `reset`: the connection was lost before the answer. `protocol`, `too_large`, `timeout`, `cancelled`.
    pub async fn command(&self, client: &Client, words: &[Bytes], deadline: Deadline) -> Result<Bytes, CallError> {
        self.call(client, &RedisCall { words, settings: &self.0.settings }, deadline).await.0
    }

    /// Makes one call and says what it did.
    ///
    /// # Errors
    /// As [`command`](Redis::command); the error names the source and the number of attempts.
    pub async fn call(&self, client: &Client, call: &RedisCall<'_>, deadline: Deadline) -> (Result<Bytes, CallError>, CallReport) {
        let started = Instant::now();
        let mut report = CallReport::default();
        let result = match Command::new(call.words, &self.0.allowed, call.settings.max_body) {
            Ok(command) => self.attempts(client, &command, call.settings, deadline, started, &mut report).await,
            Err(error) => Err(error),
        };
        report.took = started.elapsed();
        let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        (result.map_err(|error| error.of_call(&self.0.name, made, report.took)), report)
    }

    /// Closes the connection that belongs to this client, once it has its answers: to be done before the client is
    /// [drained](Client::drain), which otherwise waits for it until its deadline.
    pub fn release(&self, client: &Client) {
        let owner = owner(client);
        let released: Vec<_> = self.0.links().by_client.extract_if(.., |(other, _)| *other == owner).collect();
        released.iter().for_each(|(_, link)| link.close());
    }

    /// Refuses new calls, and closes the connections once they have their answers.
    pub fn close(&self) {
        self.0.close();
    }

    async fn attempts(
        &self,
        client: &Client,
        command: &Command,
        settings: &RedisSettings,
        deadline: Deadline,
        started: Instant,
        report: &mut CallReport,
    ) -> Result<Bytes, CallError> {
        let mut token = None;
        self.0.budget.record_call();
        loop {
            let (result, attempt) = self.one_attempt(client, command, settings, deadline, started).await;
            drop(token.take());
            report.attempts.push(attempt);
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // To find a connection again is the matter of its task; whoever has none hears so at once.
            let may_repeat = error.kind() != Kind::Connect && (settings.idempotent || command.is_read || !error.was_sent());
            let retry = if may_repeat { settings.retry } else { RetrySettings::NONE };
            let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
            let Next::Again(rest) = retry.next(made, AttemptEnd::Failed(&error), deadline.left(), 1) else { return Err(error) };
            token = self.0.budget.withdraw();
            if token.is_none() {
                return Err(error);
            }
            deadline.within(rest).wait().await;
            if deadline.has_passed() {
                return Err(error);
            }
        }
    }

    async fn one_attempt(
        &self,
        client: &Client,
        command: &Command,
        settings: &RedisSettings,
        deadline: Deadline,
        call_started: Instant,
    ) -> (Result<Bytes, CallError>, Attempt) {
        let started = Instant::now();
        let mut timings = Timings::default();
        let result = self.ask(client, command, settings, deadline, &mut timings).await;
        let kind = result.as_ref().err().map(CallError::kind);
        let attempt = Attempt { started: started.duration_since(call_started), took: started.elapsed(), endpoint: None, status: None, kind, timings };
        (result, attempt)
    }

    /// Rate, place in flight, connection, answer. As with HTTP, the attempt's own timeout starts behind our queues.
    async fn ask(&self, client: &Client, command: &Command, settings: &RedisSettings, deadline: Deadline, timings: &mut Timings) -> Result<Bytes, CallError> {
        if deadline.has_passed() {
            return Err(CallError::new(Kind::Timeout, "the deadline had passed before it could be sent"));
        }
        let shared = &self.0;
        let queued = Instant::now();
        let queue_until = deadline.within(shared.queue_wait.min(deadline.left() / 4));
        if let Some(rate) = &shared.rate {
            rate.acquire(queue_until).await.map_err(|refused| {
                CallError::new(Kind::Limit, "the rate of this source is used up").in_phase(Phase::Rate).retry_in(refused.wait)
            })?;
            timings.rate = Some(queued.elapsed());
        }
        let _slot = match shared.in_flight.try_acquire() {
            Some(slot) => slot,
            None => {
                let queued = Instant::now();
                let slot = shared.in_flight.acquire(queue_until).await.map_err(|refused| shared.no_place(refused))?;
                timings.queue = Some(queued.elapsed());
                slot
            }
        };
        let asked = Instant::now();
        let limit = settings.timeout.map_or(deadline, |timeout| deadline.within(timeout));
        let is_sent = Arc::new(AtomicBool::new(false));
        let (give, answer) = oneshot::channel();
        let max_body = usize::try_from(settings.max_body).unwrap_or(usize::MAX);
        let limits = ReplyLimits { max_body, binary: settings.binary, with_ends: false };
        let request = Request { command: command.clone(), limits, until: limit.instant(), is_alone: false, answer: give, is_sent: is_sent.clone() };
        timings.reused = self.link(client).push(request)?;
        let answer = match limit.bound(answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_task_ended)) => return Err(CallError::new(Kind::Cancelled, "the connection was ended from outside before the answer").after_send()),
            Err(_elapsed) => return Err(timed_out(is_sent.load(Ordering::Relaxed), settings.timeout, deadline)),
        };
        if let Some(sent) = answer.sent {
            timings.pool = (!timings.reused).then(|| sent.saturating_duration_since(asked));
            timings.first_byte = Some(sent.elapsed());
        }
        answer.result
    }

    /// The link of a client, with a task behind it.
    fn link(&self, client: &Client) -> Arc<Link> {
        let shared = &self.0;
        let owner = owner(client);
        let mut links = shared.links();
        let known = links.by_client.iter().find(|(other, link)| *other == owner && !link.is_closed());
        if let Some((_, link)) = known {
            return link.clone();
        }
        let link = Arc::new(Link::new(shared.dials.clone()));
        if links.is_closed {
            link.close();
            return link;
        }
        links.by_client.retain(|(_, link)| !link.is_closed());
        links.by_client.push((owner, link.clone()));
        drop(links);
        let driver = Driver { link: link.clone(), connector: shared.connector.clone(), max_lifetime: shared.max_lifetime };
        // A refused task is dropped, and so ends the link.
        client.background().spawn("redis connection", Deadline::never(), driver.run());
        link
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut links = self.links();
        links.is_closed = true;
        let closed = std::mem::take(&mut links.by_client);
        drop(links);
        closed.iter().for_each(|(_, link)| link.close());
    }

    fn no_place(&self, refused: Refused) -> CallError {
        let max = self.in_flight.max();
        let detail = match refused {
            Refused::QueueFull => format!("all {max} places in flight are taken and the queue is full"),
            Refused::TimedOut => format!("all {max} places in flight stayed taken"),
        };
        CallError::new(Kind::Limit, detail).in_phase(Phase::Queue).retry_in(Duration::from_secs(1))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("name", &self.0.name).field("counts", &self.counts()).finish_non_exhaustive()
    }
}

fn timed_out(is_sent: bool, timeout: Option<Duration>, deadline: Deadline) -> CallError {
    let detail = match timeout {
        Some(timeout) if !deadline.has_passed() => format!("no answer within the timeout of {timeout:?}"),
        _ => "no answer before the deadline".to_owned(),
    };
    let error = CallError::new(Kind::Timeout, detail);
    if is_sent { error.after_send().in_phase(Phase::FirstByte) } else { error.in_phase(Phase::Pool) }
}

/// Tells clients apart. An address may be used again after its client is gone; the link that was there is closed by then, because
/// its task has ended with the client.
fn owner(client: &Client) -> usize {
    std::ptr::from_ref(client.background()).addr()
}
