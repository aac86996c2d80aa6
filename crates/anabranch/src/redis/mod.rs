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
//! **A cluster** is a URL with several hosts (`redis://a:7000,b:7000`), or with `?cluster=true`. Its map of slots is asked for in the
//! background and redirects are followed; an MGET over several slots is asked key by key. Masters are asked, never replicas.
//! **Failure.** A server that cannot be reached is dialled by the connection's own task, one try at a time with growing rests; calls
//! are told at once meanwhile. A server that is silent while calls give up on it is dialled anew. Nothing in here waits beyond the
//! deadline of its call.
//!
//! The protocol is spoken by this module: the common driver holds whatever the server announces in memory (a string may have
//! 512 MB), parses into trees, and could not give up one answer without the connection under all the others.

mod address;
mod builder;
mod calls;
mod cluster;
mod command;
mod connect;
mod driver;
mod fault;
mod json;
mod link;
mod node;
mod reply;
mod session;
mod slots;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

pub use address::BadRedis;
pub use builder::RedisBuilder;
pub use command::{is_read, is_safe};
pub use reply::Binary;

use self::calls::Sending;
use self::cluster::Cluster;
use self::command::Command;
use self::node::Node;
use crate::policy::{Budget, Limiter, Rate, RetrySettings};
use crate::{CallError, CallReport, Client, Deadline};

/// A Redis or Valkey server, or a cluster of them, that calls go to. Cheap to clone; all clones, on all threads, share its limits. Dropping the last one
/// closes its connections.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    /// Names the source in errors.
    name: Arc<str>,
    servers: Servers,
    /// Commands, beyond the safe ones, that may be sent. In upper case.
    allowed: Vec<String>,
    in_flight: Limiter,
    queue_wait: Duration,
    rate: Option<Rate>,
    /// What retries may cost.
    budget: Budget,
    settings: RedisSettings,
    dials: Arc<AtomicU64>,
}

/// Where commands go.
enum Servers {
    One(Node),
    Cluster(Arc<Cluster>),
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
        RedisSettings {
            timeout: None,
            retry: RetrySettings::ONCE_MORE,
            idempotent: false,
            max_body: 8 << 20,
            binary: Binary::Refuse,
        }
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
    /// Connections that are up, one for each client and server at the most.
    pub connections: usize,
    /// How often servers were dialled so far.
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
        match &shared.servers {
            Servers::One(node) => node.count(&mut counts),
            Servers::Cluster(cluster) => cluster.count(&mut counts),
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
    /// code (`WRONGTYPE`, `LOADING`, `OOM`), and never repeats a value. `decode`: a string is no UTF-8, or nested too deep. `limit`:
    /// all places in flight stayed taken. `connect`, `tls`, `dns`: no connection, told at once while the server is known to be
    /// down. `reset`: the connection was lost before the answer. `protocol`, `too_large`, `timeout`, `cancelled`.
    pub async fn command(&self, client: &Client, words: &[Bytes], deadline: Deadline) -> Result<Bytes, CallError> {
        let settings = &self.0.settings;
        self.call(client, &RedisCall { words, settings }, deadline).await.0
    }

    /// Makes one call and says what it did.
    ///
    /// # Errors
    /// As [`command`](Redis::command); the error names the source and the number of attempts.
    pub async fn call(&self, client: &Client, call: &RedisCall<'_>, deadline: Deadline) -> (Result<Bytes, CallError>, CallReport) {
        let started = Instant::now();
        let mut report = CallReport::default();
        let result = match Command::new(call.words, &self.0.allowed, call.settings.max_body) {
            Ok(command) => {
                let sending = Sending {
                    client,
                    words: call.words,
                    command: &command,
                    settings: call.settings,
                    deadline,
                    started,
                };
                self.0.attempts(sending, &mut report).await
            }
            Err(error) => Err(error),
        };
        report.took = started.elapsed();
        let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        (result.map_err(|error| error.of_call(&self.0.name, made, report.took)), report)
    }

    /// Closes the connection that belongs to this client, once it has its answers: to be done before the client is
    /// [drained](Client::drain), which otherwise waits for it until its deadline.
    pub fn release(&self, client: &Client) {
        match &self.0.servers {
            Servers::One(node) => node.release(client),
            Servers::Cluster(cluster) => cluster.release(client),
        }
    }

    /// Refuses new calls, and closes the connections once they have their answers.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Shared {
    fn close(&self) {
        match &self.servers {
            Servers::One(node) => node.close(),
            Servers::Cluster(cluster) => cluster.close(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("name", &self.0.name)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
