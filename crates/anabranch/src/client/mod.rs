//! The engine's HTTP client, bound to one tokio runtime: its pools and its background scope.
//!
//! An exchange is: a connection from the endpoint's pool, the request over it, the whole answer back, decoded. Retries,
//! limits, rates and deadlines stand above, in the call; here only phases are marked, so that whoever armed the one timer
//! can say what it interrupted.

mod endpoint;
mod request;
mod response;
mod timings;
mod pool;
mod dialing;
mod connection;
mod http1;
mod own;
mod hyper1;
mod rest;
mod http2;
mod wire;
mod body;
mod dial;
mod dns;
mod lookups;
mod tls;

pub use body::WireLimits;
pub use dial::{Dial, DialLimits, Dialled, Io, Stream, TcpDial};
pub use dns::Resolver;
pub use endpoint::{BadEndpoint, Codec, Endpoint, HttpVersion, WireSettings};
pub use request::{HeaderLines, Prototype, Request, Span};
pub use response::Response;
pub use timings::Timings;
pub use tls::{ClientCertificate, Roots, TlsSettings};

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header;
use tokio::time::Instant;

use self::body::Coding;
use self::connection::{Answer, Exchange};
use self::pool::Pool;
use self::response::Headers;
use crate::{Background, CallError, Deadline, Marks};

/// How often an exchange looks after the pools of all endpoints on its way.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Connections to endpoints and the tasks behind them. Clones are the same client. It belongs to the runtime that it is
/// used in: its connections are registered there, so a program with several runtimes has one client for each.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    dial: Arc<dyn Dial>,
    background: Arc<Background>,
    pools: Mutex<Pools>,
    /// Exchanges repeated because a kept connection had died.
    repeated: AtomicU64,
}

#[derive(Default)]
struct Pools {
    by_endpoint: HashMap<u64, Arc<Pool>>,
    swept: Option<Instant>,
    closed: bool,
}

/// What a client holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Endpoints with a pool.
    pub endpoints: usize,
    /// Connections at rest, and shared HTTP/2 connections.
    pub connections: usize,
    /// Dials under way.
    pub dials: usize,
    /// Exchanges repeated so far, since the client was made, because a kept connection had died before the answer.
    pub repeated: u64,
}

impl Client {
    /// A client over TCP with the system's resolver.
    pub fn new() -> Self {
        Client::builder().build()
    }

    /// Starts a client with a network or resolver of its own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            dial: None,
            resolver: None,
        }
    }

    /// The scope of its dials and connections, open to other work that outlives a call.
    pub fn background(&self) -> &Background {
        &self.0.background
    }

    /// Makes one exchange: no retries, no limits but those given here.
    ///
    /// It has no deadline of its own; it marks its phases for the one that the caller bounds it with. Dropping the future
    /// cancels the exchange: its HTTP/1.1 connection is closed, its HTTP/2 stream reset, and a dial that it started goes on
    /// for others. An exchange whose kept connection had died before a byte of the answer came is made once more over a new
    /// one, if the method is idempotent or nothing was sent.
    ///
    /// # Errors
    /// Kinds `dns`, `connect`, `tls`, `reset`, `truncated`, `protocol`, `too_large`, `decode`, `limit` (our descriptors or
    /// ports ran out), `cancelled` (the client is shutting down), and `timeout` from the resolver. Every status is an answer.
    pub async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        limits: &WireLimits,
        marks: &Marks,
        timings: &mut Timings,
    ) -> Result<Response, CallError> {
        self.exchange_at(Instant::now(), endpoint, request, limits, marks, timings).await
    }

    /// The same for a caller who has just read the clock.
    pub(crate) async fn exchange_at(
        &self,
        now: Instant,
        endpoint: &Endpoint,
        request: &Request,
        limits: &WireLimits,
        marks: &Marks,
        timings: &mut Timings,
    ) -> Result<Response, CallError> {
        let pool = self.pool(endpoint, now);
        let exchange = Exchange {
            endpoint,
            request,
            limits,
            marks,
            at: now,
        };
        let mut is_second = false;
        loop {
            let mut connection = pool.connection(is_second, now, marks, timings).await?;
            let is_reused = connection.is_reused();
            match connection.exchange(exchange, timings).await {
                Ok(answer) => {
                    pool.give_back(connection, answer.keep_alive, answer.ended_at);
                    return decoded(answer, limits).await;
                }
                Err(failure) if is_reused && !is_second && failure.may_repeat(request) => {
                    is_second = true;
                    self.0.repeated.fetch_add(1, Ordering::Relaxed);
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    /// What it holds now.
    pub fn counts(&self) -> ClientCounts {
        let pools: Vec<_> = self.0.lock().by_endpoint.values().cloned().collect();
        let mut counts = ClientCounts {
            endpoints: pools.len(),
            repeated: self.0.repeated.load(Ordering::Relaxed),
            ..ClientCounts::default()
        };
        for (connections, dials) in pools.iter().map(|pool| pool.counts()) {
            counts.connections += connections;
            counts.dials += dials;
        }
        counts
    }

    /// Closes connections that have rested too long, and forgets endpoints that nobody has any more. Exchanges do this on
    /// their way about once a second; a client that may fall silent for long can have it done by whoever keeps the time.
    pub fn sweep(&self) {
        self.0.sweep(Instant::now());
    }

    /// Closes what is idle, refuses new exchanges, waits for the background scope until the deadline and then ends what is
    /// left of it. Returns the names of what had to be ended. Exchanges under way are left to their callers.
    pub async fn drain(&self, deadline: Deadline) -> Vec<&'static str> {
        let pools: Vec<_> = {
            let mut pools = self.0.lock();
            pools.closed = true;
            pools.by_endpoint.drain().map(|(_, pool)| pool).collect()
        };
        pools.iter().for_each(|pool| pool.close());
        self.0.background.drain(deadline).await
    }

    fn pool(&self, endpoint: &Endpoint, now: Instant) -> Arc<Pool> {
        let mut pools = self.0.lock();
        let is_due = pools.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_EVERY);
        let pool = pools.by_endpoint.get(&endpoint.id()).cloned();
        let pool = pool.unwrap_or_else(|| {
            let pool = Pool::new(endpoint.clone(), self.0.dial.clone(), Arc::downgrade(&self.0.background));
            if pools.closed {
                pool.close();
            } else {
                pools.by_endpoint.insert(endpoint.id(), pool.clone());
            }
            pool
        });
        drop(pools);
        if is_due {
            self.0.sweep(now);
        }
        pool
    }
}

impl Default for Client {
    fn default() -> Self {
        Client::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.counts()).finish()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self, now: Instant) {
        let mut pools = self.lock();
        pools.swept = Some(now);
        let all: Vec<_> = pools.by_endpoint.iter().map(|(id, pool)| (*id, pool.clone())).collect();
        drop(pools);
        for (id, pool) in all {
            pool.sweep(now);
            if pool.is_orphan() {
                self.lock().by_endpoint.remove(&id);
            }
        }
    }
}

/// A [`Client`] being set up.
pub struct ClientBuilder {
    dial: Option<Arc<dyn Dial>>,
    resolver: Option<Resolver>,
}

impl ClientBuilder {
    /// Opens streams by this in place of TCP.
    pub fn dial(mut self, dial: Arc<dyn Dial>) -> Self {
        self.dial = Some(dial);
        self
    }

    /// Looks hosts up by this. Clients of one process should share one resolver. Without effect beside a [`dial`](Self::dial).
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Makes the client. Nothing is opened or started.
    pub fn build(self) -> Client {
        let tcp = || Arc::new(TcpDial::new(self.resolver.unwrap_or_else(Resolver::system)));
        let dial = self.dial.unwrap_or_else(|| tcp());
        Client(Arc::new(Inner {
            dial,
            background: Arc::new(Background::new()),
            pools: Mutex::default(),
            repeated: AtomicU64::new(0),
        }))
    }
}

/// Decodes the body where it is coded, after the connection was given back.
async fn decoded(answer: Answer, limits: &WireLimits) -> Result<Response, CallError> {
    let Answer {
        status,
        headers,
        coding,
        body,
        ..
    } = answer;
    if coding == Coding::Identity || body.is_empty() {
        return Ok(Response::from_wire(status, headers, body));
    }
    let body = Box::pin(body::decode(body, coding, limits)).await.map_err(CallError::after_send)?;
    let mut headers = headers.into_map();
    headers.remove(header::CONTENT_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_wire(status, Headers::Map(headers), body))
}
