//! The gateway itself: a plan with its sources, shared by all cores, and one [`Core`] per runtime that answers requests.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anabranch::client::{Prototype, WireLimits};
use anabranch::policy::{Cache, RetrySettings, RetryStatuses};
use anabranch::{Attempt, Client, Compute, Deadline};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};

use crate::connector::{Answers, CallSetup};
use crate::plan::{Plan, SourcePlan};
use crate::proxy::{self, Pages, Passed, ProxySetup};
use crate::respond::problem::Problem;
use crate::route::{Find, Matched, Router};
use crate::run;
use crate::source::{GatewaySource, NoteListener};

/// Requests being answered at once over all cores; above it 503 with `Retry-After: 1`.
const MAX_REQUESTS: usize = 4096;

/// How often sessions of databases and processes are let go of while a core ends.
const RELEASE_EVERY: Duration = Duration::from_millis(20);

/// A plan with its sources. All cores share it; no request writes to it but for the limits and counters that sources share.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) plan: Plan,
    pub(crate) router: Router,
    pub(crate) sources: Vec<GatewaySource>,
    /// Per route and call: what is ready before any request comes.
    pub(crate) setups: Vec<Vec<CallSetup>>,
    /// Per route: what of a proxy is ready before any request comes.
    pub(crate) proxies: Vec<Option<ProxySetup>>,
    /// Per route and call: the calls that wait for it.
    pub(crate) dependents: Vec<Vec<Vec<usize>>>,
    /// Kept answers, where any call keeps some.
    pub(crate) answers: Option<Answers>,
    /// The same of proxies.
    pub(crate) pages: Option<Pages>,
    requests: AtomicUsize,
    stopping: AtomicBool,
}

/// A source that cannot be set up, although the plan compiled: its TLS files, for example, are not what they should be.
#[derive(Debug)]
pub struct BuildError {
    source: Arc<str>,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot set up source `{}`: {}", self.source, self.cause)
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

impl Gateway {
    /// Sets up the plan's sources. Opens no connection and starts no process.
    ///
    /// # Errors
    /// A source's endpoint or TLS settings cannot be used, or its program is not there.
    pub fn build(plan: Plan) -> Result<Arc<Gateway>, BuildError> {
        Gateway::over(plan, false, None)
    }

    /// The same with somebody who hears of the processes of its programs.
    ///
    /// # Errors
    /// As [`build`](Gateway::build).
    pub fn build_with_notes(plan: Plan, notes: NoteListener) -> Result<Arc<Gateway>, BuildError> {
        Gateway::over(plan, false, Some(&notes))
    }

    /// The same with answers that are fresh for exactly as long as the config says, and not up to a tenth more or less: for specs.
    pub(crate) fn build_exact(plan: Plan) -> Result<Arc<Gateway>, BuildError> {
        Gateway::over(plan, true, None)
    }

    fn over(plan: Plan, is_exact: bool, notes: Option<&NoteListener>) -> Result<Arc<Gateway>, BuildError> {
        let source = |plan: &SourcePlan| {
            GatewaySource::with_notes(plan, notes).map_err(|cause| BuildError {
                source: plan.name.clone(),
                cause,
            })
        };
        let sources = plan.sources.iter().map(source).collect::<Result<Vec<_>, _>>()?;
        let setups = plan
            .routes
            .iter()
            .map(|route| route.calls.iter().map(|call| CallSetup::new(&plan, route, call)).collect())
            .collect();
        let proxies = plan.routes.iter().map(|route| ProxySetup::new(&plan, route)).collect();
        let dependents = plan.routes.iter().map(run::dependents).collect();
        let keeps = plan.routes.iter().flat_map(|route| &route.calls).any(|call| call.keep.is_some());
        let by_source = |call: &crate::plan::CallPlan| call.keep.as_ref().is_some_and(|keep| keep.by_source);
        let by_source = plan.routes.iter().flat_map(|route| &route.calls).any(by_source);
        let answers = keeps.then(|| Answers::new(cache(plan.cache_size, is_exact), by_source));
        let keeps = plan.routes.iter().flat_map(|route| &route.proxy).any(|proxy| proxy.keep.is_some());
        let pages = keeps.then(|| Pages::new(cache(plan.cache_size, is_exact)));
        let router = Router::new(&plan);
        Ok(Arc::new(Gateway {
            plan,
            router,
            sources,
            setups,
            proxies,
            dependents,
            answers,
            pages,
            requests: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        }))
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its sources, in the order of the plan.
    pub fn sources(&self) -> &[GatewaySource] {
        &self.sources
    }

    /// How it is.
    pub fn health(&self) -> Health {
        Health {
            stopping: self.stopping.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    /// Ends the processes of its programs at once, for a process that ends without having drained its cores. Jobs are refused from then
    /// on.
    pub fn kill(&self) {
        self.sources.iter().for_each(GatewaySource::kill);
    }

    /// Makes it answer "not ready" from now on, so that a balancer looks elsewhere; requests are still taken.
    pub fn announce_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Counts a request for as long as the value lives; None when there are too many.
    fn admit(&self) -> Option<Admitted<'_>> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted(&self.requests);
        (before < MAX_REQUESTS).then_some(admitted)
    }
}

fn cache<V>(bytes: u64, is_exact: bool) -> Cache<V> {
    if is_exact {
        Cache::without_jitter(bytes)
    } else {
        Cache::new(bytes)
    }
}

/// One request being answered.
pub(crate) struct Admitted<'a>(&'a AtomicUsize);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a gateway is.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    stopping: bool,
    requests: usize,
}

impl Health {
    /// Why it should get no new requests; None when it should.
    pub fn not_ready(&self) -> Option<&'static str> {
        self.stopping.then_some("stopping")
    }

    /// Requests being answered now.
    pub fn requests(&self) -> usize {
        self.requests
    }
}

/// What a core does beyond answering.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreOptions {
    /// Adds Server-Timing to every answer and the details of failed calls to problems.
    pub dev: bool,
    /// Keeps [`Answer::trace`].
    pub trace: bool,
}

/// A gateway bound to one runtime. Cheap to clone; clones share the connections of that runtime.
#[derive(Clone)]
pub struct Core(Arc<CoreState>);

struct CoreState {
    gateway: Arc<Gateway>,
    client: Client,
    options: CoreOptions,
    compute: Compute,
}

/// What the client asked, once its route is found.
pub(crate) struct Asked<'a> {
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) peer: Option<IpAddr>,
}

/// A whole reply.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without content-length.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What was done for it, when asked for.
    pub trace: Option<Box<RequestTrace>>,
}

/// What was done for one request.
#[derive(Clone, Debug)]
pub struct RequestTrace {
    /// Method and pattern of the route.
    pub route: String,
    /// The route's deadline.
    pub deadline: Duration,
    /// From the request's arrival to its reply.
    pub took: Duration,
    /// The calls, in the order written.
    pub calls: Vec<CallTrace>,
}

/// What one call did.
#[derive(Clone, Debug)]
pub struct CallTrace {
    /// Its name.
    pub name: Arc<str>,
    /// The source that it asked.
    pub source: Option<Arc<str>>,
    /// The calls that it waited for.
    pub waits: Vec<Arc<str>>,
    /// When it started, from the request's arrival; None when it never did.
    pub started: Option<Duration>,
    /// How long it took.
    pub took: Duration,
    /// `ok`, `fallback`, `skipped` or the kind of its failure.
    pub outcome: String,
    /// What happened, for whoever runs the gateway; empty when all went well.
    pub detail: String,
    /// Its attempts.
    pub attempts: Vec<Attempt>,
}

impl Core {
    /// A core with its own connections, which computes in the task of each request: for tests and other places where nothing else waits.
    pub fn new(gateway: Arc<Gateway>, client: Client, options: CoreOptions) -> Core {
        Core::with_compute(gateway, client, options, Compute::inline())
    }

    /// A core with its own connections, and a pool for what computes too long for a loop. All cores of a process share one pool.
    pub fn with_compute(gateway: Arc<Gateway>, client: Client, options: CoreOptions, compute: Compute) -> Core {
        Core(Arc::new(CoreState {
            gateway,
            client,
            options,
            compute,
        }))
    }

    /// Where it computes what takes too long for its loop.
    pub fn compute(&self) -> &Compute {
        &self.0.compute
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    /// The client whose connections it uses.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Starts this core's share of the processes of all programs, where so many cores start theirs. Does not wait for them.
    pub fn start(&self, cores: usize) {
        self.gateway().sources.iter().for_each(|source| source.start(self.client(), cores));
    }

    /// Ends its client: lets go of what rests in its connections to services and databases, waits until the deadline for what still
    /// works, writes that outlived their request for example, and gives the names of what had to be cut off.
    pub async fn drain(&self, deadline: Deadline) -> Vec<&'static str> {
        let mut drained = pin!(self.client().drain(deadline));
        loop {
            self.gateway().sources.iter().for_each(|source| source.release(self.client()));
            // A session comes to rest when its statement ends, so it is let go of again and again.
            if let Ok(cut_off) = Deadline::after(RELEASE_EVERY).bound(drained.as_mut()).await {
                return cut_off;
            }
        }
    }

    /// What it was told to do beyond answering.
    pub fn options(&self) -> CoreOptions {
        self.0.options
    }

    /// Answers one request. Dropping the future cancels its calls, except writes once sent, which run to their own end.
    pub async fn answer(&self, request: Request<Bytes>) -> Answer {
        let (parts, body) = request.into_parts();
        let matched = match self.find(&parts.method, parts.uri.path()) {
            Ok(matched) => matched,
            Err(unrouted) => return unrouted.into_answer(),
        };
        if body.len() as u64 > self.body_max(&matched) {
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this route takes").into_answer();
        }
        let query = parts.uri.query().unwrap_or("");
        if self.is_proxy(&matched) {
            let _admitted = match self.admit() {
                Ok(admitted) => admitted,
                Err(problem) => return problem.into_answer(),
            };
            let passed = Passed {
                matched: &matched,
                method: &parts.method,
                query,
                headers: &parts.headers,
                peer: None,
            };
            return Box::pin(proxy::whole_answer(self, &passed, body)).await;
        }
        self.run(
            matched,
            Asked {
                query,
                headers: &parts.headers,
                body,
                peer: None,
            },
        )
        .await
    }

    /// The route of a method and path, or what is answered without one: 404, 405, or the methods of a path to OPTIONS.
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Result<Matched<'p>, Unrouted> {
        match self.0.gateway.router.find(method, path) {
            Find::Route(matched) => Ok(matched),
            Find::MethodNotAllowed(allow) if *method == Method::OPTIONS => Err(Unrouted::Options(allow)),
            Find::MethodNotAllowed(allow) => Err(Unrouted::Problem(Problem::method_not_allowed(allow))),
            Find::NotFound => Err(Unrouted::Problem(Problem::not_found())),
        }
    }

    /// The largest body that the route takes.
    pub(crate) fn body_max(&self, matched: &Matched<'_>) -> u64 {
        self.0.gateway.plan.routes[matched.index].body_max
    }

    /// Whether the route is passed through.
    pub(crate) fn is_proxy(&self, matched: &Matched<'_>) -> bool {
        self.0.gateway.plan.routes[matched.index].proxy.is_some()
    }

    /// How long the route may take.
    pub(crate) fn deadline(&self, matched: &Matched<'_>) -> Duration {
        self.0.gateway.plan.routes[matched.index].deadline
    }

    /// Counts a request for as long as the value lives, or says that there are too many.
    pub(crate) fn admit(&self) -> Result<Admitted<'_>, Problem> {
        self.0.gateway.admit().ok_or_else(|| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests are being answered").retry_in(Duration::from_secs(1))
        })
    }

    /// Runs the route's graph.
    pub(crate) async fn run(&self, matched: Matched<'_>, asked: Asked<'_>) -> Answer {
        let _admitted = match self.admit() {
            Ok(admitted) => admitted,
            Err(problem) => return problem.into_answer(),
        };
        run::answer(self, matched, asked).await
    }
}

/// A request that no route answers.
pub(crate) enum Unrouted {
    Problem(Problem),
    /// OPTIONS of a path whose routes have these methods (RFC 9110 section 9.3.7).
    Options(String),
}

impl Unrouted {
    pub(crate) fn into_answer(self) -> Answer {
        match self {
            Unrouted::Problem(problem) => problem.into_answer(),
            Unrouted::Options(allow) => {
                let mut headers = HeaderMap::new();
                if let Ok(allow) = allow.parse() {
                    headers.insert(http::header::ALLOW, allow);
                }
                headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
                Answer {
                    status: StatusCode::NO_CONTENT,
                    headers,
                    body: Bytes::new(),
                    trace: None,
                }
            }
        }
    }
}

/// How attempts of a call are made.
pub(crate) fn call_settings(call: &crate::plan::CallPlan) -> anabranch::CallSettings {
    let is_ok = |status: &u16| call.ok.find(*status).is_some();
    let statuses = [429, 502, 503, 504]
        .into_iter()
        .filter(is_ok)
        .fold(RetryStatuses::ALL, RetryStatuses::without);
    anabranch::CallSettings {
        timeout: call.timeout,
        retry: RetrySettings {
            retries: call.retry,
            statuses,
            ..RetrySettings::ONCE_MORE
        },
        idempotent: call.idempotent,
        limits: WireLimits {
            max_body: call.max_body,
            first_byte: call.first_byte,
            body_idle: Some(call.body_idle),
            ..WireLimits::default()
        },
    }
}

/// The prototype of a call's requests: what is the same in all of them.
pub(crate) type SharedPrototype = Arc<Prototype>;
