//! What calls to one service share: its endpoints, limits, rate and retry budget.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::ask::OnClient;
use crate::client::{BadEndpoint, Endpoint, WireLimits, WireSettings};
use crate::policy::{Balance, Budget, Limiter, Rate, RetrySettings};
use crate::Client;

/// An HTTP service that calls go to. Cheap to clone; all clones, on all threads, share its limits.
#[derive(Clone)]
pub struct Source(Arc<Shared>);

/// The state behind a [`Source`].
pub(crate) struct Shared {
    /// Names the source in errors.
    pub(crate) name: Arc<str>,
    /// The endpoints and who is picked among them; swapped as one.
    pub(crate) replicas: ArcSwap<Replicas>,
    /// Attempts at once.
    pub(crate) in_flight: Limiter,
    /// The longest wait for a place in flight or for a token of the rate.
    pub(crate) queue_wait: Duration,
    /// Attempts a second.
    pub(crate) rate: Option<Rate>,
    /// What retries may cost.
    pub(crate) budget: Budget,
    /// What a call does unless it says otherwise.
    pub(crate) settings: CallSettings,
    /// How endpoints are reached; kept for endpoints that come later.
    wire: WireSettings,
}

/// The endpoints of a source at one moment.
pub(crate) struct Replicas {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) balance: Balance,
}

/// How a call is made. A source has one for all its calls; a call may carry its own.
#[derive(Clone, Copy, Debug)]
pub struct CallSettings {
    /// The limit of each attempt, the last one too; without one an attempt may take what is left of the deadline.
    pub timeout: Option<Duration>,
    /// Attempts after the first, for calls that may be sent twice.
    pub retry: RetrySettings,
    /// Whether any method may be sent twice; GET, HEAD and OPTIONS always may.
    pub idempotent: bool,
    /// Sizes and limits of phases.
    pub limits: WireLimits,
}

impl Default for CallSettings {
    /// One retry after 25 to 250 ms, no attempt timeout.
    fn default() -> Self {
        CallSettings {
            timeout: None,
            retry: RetrySettings::ONCE_MORE,
            idempotent: false,
            limits: WireLimits::default(),
        }
    }
}

impl Source {
    /// A source with one endpoint and the default limits: 64 in flight, as many waiting for up to 250 ms, one retry.
    ///
    /// # Errors
    /// The URL is not `http` or `https`, has no host, or carries a query, fragment or user.
    pub fn http(name: &str, url: &str) -> Result<Source, BadEndpoint> {
        Source::builder(name).endpoint(url).build()
    }

    /// Starts a source with settings of its own.
    pub fn builder(name: &str) -> SourceBuilder {
        SourceBuilder {
            name: Arc::from(name),
            urls: Vec::new(),
            in_flight: 64,
            queue: None,
            queue_wait: Duration::from_millis(250),
            rate: None,
            wire: WireSettings::default(),
            settings: CallSettings::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// This source as asked through that client: `shop.on(&client).get(["users", user])`.
    pub fn on<'a>(&'a self, client: &'a Client) -> OnClient<'a> {
        OnClient::new(self, client)
    }

    /// Attempts under way now, over all threads.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.in_use()
    }

    /// Calls that wait for a place in flight now.
    pub fn waiting(&self) -> usize {
        self.0.in_flight.waiting()
    }

    /// The settings that its calls have unless they carry their own.
    pub fn settings(&self) -> &CallSettings {
        &self.0.settings
    }

    /// The endpoints' URLs, without user names, in order; [`Attempt::endpoint`](crate::Attempt) is an index here.
    pub fn endpoints(&self) -> Vec<String> {
        self.0
            .replicas
            .load()
            .endpoints
            .iter()
            .map(|endpoint| endpoint.url().to_string())
            .collect()
    }

    /// Replaces the endpoints for calls that start from now on; attempts under way keep theirs.
    ///
    /// # Errors
    /// As [`http`](Source::http); the old list stays then.
    pub fn set_endpoints(&self, urls: &[&str]) -> Result<(), BadEndpoint> {
        let replicas = Replicas::new(urls, &self.0.wire)?;
        self.0.replicas.store(Arc::new(replicas));
        Ok(())
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.0.name)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Replicas {
    fn new<U: AsRef<str>>(urls: &[U], wire: &WireSettings) -> Result<Replicas, BadEndpoint> {
        if urls.is_empty() {
            return Err(BadEndpoint::missing());
        }
        let endpoints = urls
            .iter()
            .map(|url| Endpoint::new(url.as_ref(), wire.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let balance = Balance::new(endpoints.len());
        Ok(Replicas { endpoints, balance })
    }
}

/// A [`Source`] being set up.
#[derive(Clone, Debug)]
pub struct SourceBuilder {
    name: Arc<str>,
    urls: Vec<String>,
    in_flight: usize,
    queue: Option<usize>,
    queue_wait: Duration,
    rate: Option<(f64, Option<u32>)>,
    wire: WireSettings,
    settings: CallSettings,
}

impl SourceBuilder {
    /// Adds an endpoint: `http://shop.svc:8000/base`.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Attempts at once, over all threads; at least 1. Connections in use never exceed it.
    pub fn in_flight(mut self, max: usize) -> Self {
        self.in_flight = max.max(1);
        self
    }

    /// Calls that may wait for a place; as many as may be in flight unless said.
    pub fn queue(mut self, max: usize) -> Self {
        self.queue = Some(max);
        self
    }

    /// The longest wait for a place in flight or a token; 250 ms unless said, and never more than a quarter of what is left.
    pub fn queue_wait(mut self, limit: Duration) -> Self {
        self.queue_wait = limit;
        self
    }

    /// Attempts a second, over all threads, with room for a burst of a tenth of a second.
    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = Some((per_second, None));
        self
    }

    /// How endpoints are reached: protocol, TLS, pool, connection timeouts.
    pub fn wire(mut self, wire: WireSettings) -> Self {
        self.wire = wire;
        self
    }

    /// How calls are made unless they say otherwise.
    pub fn settings(mut self, settings: CallSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The limit of each attempt.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = Some(limit);
        self
    }

    /// Attempts after the first.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retry.retries = retries;
        self
    }

    /// The largest body of an answer, decoded, in bytes.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.settings.limits.max_body = bytes;
        self
    }

    /// Makes the source. No connection is opened.
    ///
    /// # Errors
    /// There is no endpoint, or a URL cannot be one.
    pub fn build(self) -> Result<Source, BadEndpoint> {
        let replicas = Replicas::new(&self.urls, &self.wire)?;
        Ok(Source(Arc::new(Shared {
            name: self.name,
            replicas: ArcSwap::from_pointee(replicas),
            in_flight: Limiter::new(self.in_flight, self.queue.unwrap_or(self.in_flight)),
            queue_wait: self.queue_wait,
            rate: self.rate.map(|(per_second, burst)| Rate::per_second(per_second, burst)),
            budget: Budget::new(),
            settings: self.settings,
            wire: self.wire,
        })))
    }
}
