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
mod census;
mod dialing;
mod connection;
mod http1;
mod own;
mod hyper1;
mod rest;
mod http2;
mod wire;
mod body;
mod decoding;
mod upload;
mod watch;
mod streamed;
mod facts;
mod dial;
mod proxy;
mod tunnel;
mod guard;
mod dns;
mod lookups;
mod tls;

pub use body::WireLimits;
pub use dial::{Dial, DialLimits, Dialled, Io, Stream, TcpDial};
pub use dns::Resolver;
pub use endpoint::{BadEndpoint, Codec, Endpoint, HttpVersion, WireSettings};
pub use facts::Facts;
pub use guard::AddressGuard;
pub use proxy::{BadProxy, Proxy};
pub use request::{HeaderLines, Prototype, Request, Span};
pub use response::Response;
pub use streamed::StreamedResponse;
pub use timings::Timings;
pub use tls::{ClientCertificate, Roots, TlsSettings};
pub use upload::{Upload, UploadClosed, UploadWriter};

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header;
use tokio::time::Instant;

use self::body::Coding;
use self::census::Census;
use self::connection::{Answer, Exchange};
use self::facts::WireFacts;
use self::pool::Pool;
use self::response::Headers;
use crate::{Background, CallError, Deadline, Marks};

/// How often an exchange looks after the pools of all endpoints on its way.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Pools that one look takes in: about half a millisecond. The next look goes on where it ended.
const SWEPT_AT_ONCE: usize = 4096;
const GO_ON_AFTER: Duration = Duration::from_millis(20);
/// Connections kept over all endpoints unless the builder says otherwise.
const MAX_IDLE: usize = 4096;

/// Connections to endpoints and the tasks behind them. Clones are the same client. It belongs to the runtime that it is
/// used in: its connections are registered there, so a program with several runtimes has one client for each.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    dial: Arc<dyn Dial>,
    background: Arc<Background>,
    pools: Mutex<Pools>,
    census: Arc<Census>,
    /// Exchanges repeated because a kept connection had died.
    repeated: AtomicU64,
}

#[derive(Default)]
struct Pools {
    by_endpoint: BTreeMap<u64, Arc<Pool>>,
    /// When to look after them again, and from where on.
    sweep_at: Option<Instant>,
    sweep_from: u64,
    /// Not before this is it worth looking again for connections to close: most of them were in use.
    let_go_at: Option<Instant>,
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
            fixed: Vec::new(),
            max_idle: MAX_IDLE,
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
                    let remote = connection.opened().remote;
                    pool.give_back(connection, answer.keep_alive, answer.ended_at);
                    let facts = WireFacts {
                        remote,
                        wire_bytes: answer.body.len() as u64,
                        spoken: answer.spoken,
                        undone: Coding::Identity,
                        reused: is_reused,
                    };
                    return decoded(answer, facts, limits).await;
                }
                Err(failure) if is_reused && !is_second && failure.may_repeat(request) => {
                    is_second = true;
                    self.0.repeated.fetch_add(1, Ordering::Relaxed);
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    /// Like [`exchange`](Client::exchange), but returns when the head of the answer is there; its body is asked for piece by piece. Cancelled,
    /// repeated and bounded in the same way as far as the head.
    ///
    /// # Errors
    /// As [`exchange`](Client::exchange); those of the body come with its pieces.
    pub async fn open(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        limits: &WireLimits,
        marks: &Marks,
        timings: &mut Timings,
    ) -> Result<StreamedResponse, CallError> {
        self.open_from(endpoint, request, None, limits, marks, timings).await
    }

    /// The same for a request whose body comes piece by piece, in place of one of its own. It is never made again once a piece was taken.
    ///
    /// The wait for the answer begins when all is sent: until then a peer that takes nothing is given up after
    /// [`body_idle`](WireLimits::body_idle), and the source may take its time. A peer that answers early gets the rest while the answer
    /// is read; what is left when it ends is dropped, with the connection.
    ///
    /// # Errors
    /// As [`open`](Client::open), and the source's own.
    pub async fn open_with(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        upload: Upload,
        limits: &WireLimits,
        marks: &Marks,
        timings: &mut Timings,
    ) -> Result<StreamedResponse, CallError> {
        self.open_from(endpoint, request, Some(upload), limits, marks, timings).await
    }

    async fn open_from(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        mut upload: Option<Upload>,
        limits: &WireLimits,
        marks: &Marks,
        timings: &mut Timings,
    ) -> Result<StreamedResponse, CallError> {
        let now = Instant::now();
        let pool = self.pool(endpoint, now);
        let exchange = Exchange {
            endpoint,
            request,
            limits,
            marks,
            at: now,
        };
        let watch = upload.as_ref().map(|upload| upload.watch().clone());
        let mut is_second = false;
        loop {
            let mut connection = pool.connection(is_second, now, marks, timings).await?;
            let is_reused = connection.is_reused();
            match connection.open(exchange, &mut upload, timings).await {
                Ok(begun) => return Ok(StreamedResponse::new(begun, connection, pool, watch, limits, *timings)),
                Err(failure) => {
                    let is_whole = upload.is_some() == watch.is_some();
                    if !(is_reused && !is_second && is_whole && failure.may_repeat(request)) {
                        return Err(failure.error);
                    }
                    is_second = true;
                    self.0.repeated.fetch_add(1, Ordering::Relaxed);
                }
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
        self.0.sweep(Instant::now(), usize::MAX);
    }

    /// Closes what is idle, refuses new exchanges, waits for the background scope until the deadline and then ends what is
    /// left of it. Returns the names of what had to be ended. Exchanges under way are left to their callers.
    pub async fn drain(&self, deadline: Deadline) -> Vec<&'static str> {
        let pools: Vec<_> = {
            let mut pools = self.0.lock();
            pools.closed = true;
            std::mem::take(&mut pools.by_endpoint).into_values().collect()
        };
        pools.iter().for_each(|pool| pool.close());
        self.0.background.drain(deadline).await
    }

    fn pool(&self, endpoint: &Endpoint, now: Instant) -> Arc<Pool> {
        let mut pools = self.0.lock();
        let is_due = pools.sweep_at.is_none_or(|at| at <= now);
        let has_too_many = self.0.census.is_over() && pools.let_go_at.is_none_or(|at| at <= now);
        let pool = pools.by_endpoint.get(&endpoint.id()).cloned();
        let pool = pool.unwrap_or_else(|| {
            let pool = Pool::new(
                endpoint.clone(),
                self.0.dial.clone(),
                Arc::downgrade(&self.0.background),
                self.0.census.clone(),
            );
            if pools.closed {
                pool.close();
            } else {
                pools.by_endpoint.insert(endpoint.id(), pool.clone());
            }
            pool
        });
        drop(pools);
        if is_due {
            self.0.sweep(now, SWEPT_AT_ONCE);
        }
        if has_too_many {
            self.0.let_go(now);
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

    /// Looks after so many pools, those first that were looked after longest ago.
    fn sweep(&self, now: Instant, most: usize) {
        let mut pools = self.lock();
        let some: Vec<_> = pools
            .by_endpoint
            .range(pools.sweep_from..)
            .take(most)
            .map(|(id, pool)| (*id, pool.clone()))
            .collect();
        let goes_on = some.len() == most;
        pools.sweep_from = some.last().filter(|_| goes_on).map_or(0, |(id, _)| id + 1);
        pools.sweep_at = Some(now + if goes_on { GO_ON_AFTER } else { SWEEP_EVERY });
        drop(pools);
        for (id, pool) in some {
            pool.sweep(now);
            if pool.is_orphan() || pool.is_forgotten(now) {
                let mut pools = self.lock();
                // Handles are given out under this lock: one is the map's, one is here, and a third would be an exchange's.
                if Arc::strong_count(&pool) == 2 || pool.is_orphan() {
                    pools.by_endpoint.remove(&id);
                }
            }
        }
    }

    /// Closes what has rested longest, over all endpoints, until no more is kept than should be.
    fn let_go(&self, now: Instant) {
        let pools: Vec<_> = self.lock().by_endpoint.values().cloned().collect();
        let mut excess = self.census.excess();
        let mut resting = Vec::new();
        pools.iter().for_each(|pool| pool.resting(&mut resting));
        if let Some(last) = excess.min(resting.len()).checked_sub(1) {
            let by = *resting.select_nth_unstable(last).1;
            for pool in pools {
                excess -= pool.let_go(by, excess);
            }
        }
        self.lock().let_go_at = self.census.is_over().then(|| now + GO_ON_AFTER);
    }
}

/// A [`Client`] being set up.
pub struct ClientBuilder {
    dial: Option<Arc<dyn Dial>>,
    resolver: Option<Resolver>,
    fixed: Vec<(String, u16, Vec<IpAddr>)>,
    max_idle: usize,
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

    /// Connects to these addresses for one host and port, and looks nothing up. Without effect beside a [`dial`](Self::dial).
    pub fn resolve(mut self, host: &str, port: u16, addresses: Vec<IpAddr>) -> Self {
        self.fixed.push((host.to_string(), port, addresses));
        self
    }

    /// Keeps at most so many connections over all endpoints, shared HTTP/2 connections included; 4,096 unless said. When there are more,
    /// those go that have rested longest, at the start of the next exchange.
    pub fn max_idle(mut self, connections: usize) -> Self {
        self.max_idle = connections;
        self
    }

    /// Makes the client. Nothing is opened or started.
    pub fn build(self) -> Client {
        let tcp = || {
            let dial = TcpDial::new(self.resolver.unwrap_or_else(Resolver::system));
            let fixed = self.fixed.into_iter();
            Arc::new(fixed.fold(dial, |dial, (host, port, addresses)| dial.resolve(&host, port, addresses)))
        };
        let dial = self.dial.unwrap_or_else(|| tcp());
        Client(Arc::new(Inner {
            dial,
            background: Arc::new(Background::new()),
            pools: Mutex::default(),
            census: Arc::new(Census::new(self.max_idle)),
            repeated: AtomicU64::new(0),
        }))
    }
}

/// Decodes the body where it is coded, after the connection was given back.
async fn decoded(answer: Answer, mut facts: WireFacts, limits: &WireLimits) -> Result<Response, CallError> {
    let Answer {
        status,
        headers,
        coding,
        body,
        ..
    } = answer;
    if coding == Coding::Identity || body.is_empty() {
        return Ok(Response::from_wire(status, headers, body, facts));
    }
    let body = Box::pin(body::decode(body, coding, limits)).await.map_err(CallError::after_send)?;
    let mut headers = headers.into_map();
    headers.remove(header::CONTENT_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    facts.undone = coding;
    Ok(Response::from_wire(status, Headers::Map(Box::new(headers)), body, facts))
}
