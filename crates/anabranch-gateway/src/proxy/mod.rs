//! Routes that are passed through: the request that goes to the source, and what of its answer comes back. Bodies are streamed by the
//! server, which has the socket; without one, for `try` and specs, they are gathered.

mod request;
mod answer;
mod conditions;
mod pages;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use anabranch::client::{Prototype, Request, WireLimits};
use anabranch::policy::RetrySettings;
use anabranch::{CallError, CallSettings, Kind, Source};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::connector::SharedHeaders;
use crate::gateway::{Answer, Core, SharedPrototype};
use crate::inputs::Inputs;
use crate::plan::{Plan, ProxyPlan, RoutePlan};
use crate::respond::Problem;
use crate::route::Matched;

use pages::Wish;
use request::Draft;

pub(crate) use answer::{Body, PassedHead};
pub(crate) use pages::{Heard, Looking, Pages, Storing};
pub(crate) use whole::answer as whole_answer;

/// Our name in `Via`, and the protocol that messages come in by (RFC 9110 section 7.6.3).
const VIA: HeaderValue = HeaderValue::from_static("1.1 anabranch");
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("anabranch/", env!("CARGO_PKG_VERSION")));

/// What of a proxy is ready before any request comes.
#[derive(Debug)]
pub(crate) struct ProxySetup {
    /// For the route's own method.
    prototype: SharedPrototype,
    /// For HEAD, which a GET route answers too.
    head: SharedPrototype,
    settings: CallSettings,
    /// Whether an `Authorization` of ours goes out, whoever the client is.
    is_authorized: bool,
}

impl ProxySetup {
    /// The setup of a route that is a proxy.
    pub(crate) fn new(plan: &Plan, route: &RoutePlan) -> Option<ProxySetup> {
        let proxy = route.proxy.as_deref()?;
        let limits = WireLimits {
            max_body: proxy.max_body.unwrap_or(u64::MAX),
            first_byte: Some(proxy.first_byte),
            body_idle: Some(proxy.body_idle),
            ..WireLimits::default()
        };
        let of_source = plan.sources[proxy.request.source].headers.iter().map(|(name, _)| name);
        let own = proxy.request.headers.iter().map(|(name, _)| name);
        Some(ProxySetup {
            is_authorized: of_source.chain(own).any(|name| *name == header::AUTHORIZATION),
            prototype: Arc::new(prototype(plan, route, proxy, &route.method)),
            head: Arc::new(prototype(plan, route, proxy, &Method::HEAD)),
            settings: CallSettings {
                timeout: None,
                retry: RetrySettings {
                    retries: proxy.retry,
                    ..RetrySettings::ONCE_MORE
                },
                idempotent: false,
                limits,
            },
        })
    }
}

/// What every request of a proxy says. What describes body and answer is the client's to say.
fn prototype(plan: &Plan, route: &RoutePlan, proxy: &ProxyPlan, method: &Method) -> Prototype {
    let theirs = &plan.sources[proxy.request.source].headers;
    let set_by_source = theirs.iter().any(|(name, _)| *name == header::USER_AGENT);
    let let_in = proxy.request.pass.iter().any(|index| route.headers[*index] == header::USER_AGENT);
    let set_by_proxy = |name: &HeaderName| proxy.request.headers.iter().any(|(other, _)| other == name);
    let ours = [(header::VIA, VIA), (header::USER_AGENT, USER_AGENT)].into_iter();
    ours.filter(|(name, _)| *name != header::USER_AGENT || !set_by_source && !let_in)
        .chain(theirs.iter().cloned())
        .filter(|(name, _)| !set_by_proxy(name))
        .fold(Prototype::new(method.clone()), |prototype, (name, value)| {
            prototype.clone().header(name, value).unwrap_or(prototype)
        })
}

/// What a client asks of a proxy, but for its body.
pub(crate) struct Passed<'a> {
    pub(crate) matched: &'a Matched<'a>,
    pub(crate) method: &'a Method,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: Option<std::net::IpAddr>,
}

/// What becomes of a request.
pub(crate) enum Ready<'a> {
    /// It is passed on.
    Ask(Box<Outgoing<'a>>, Option<Box<Looking<'a>>>),
    /// What is kept answers it.
    Answer(Box<Answer>),
}

/// A request that is ready to be passed on.
pub(crate) struct Outgoing<'a> {
    pub(crate) source: &'a Source,
    pub(crate) request: Request,
    pub(crate) settings: &'a CallSettings,
    pub(crate) proxy: &'a ProxyPlan,
}

impl<'a> Outgoing<'a> {
    /// Makes the request, or finds its answer.
    ///
    /// # Errors
    /// The 400 of an input that is not as it must be.
    pub(crate) fn of(core: &'a Core, passed: &Passed<'a>) -> Result<Ready<'a>, Problem> {
        let gateway = core.gateway();
        let route = &gateway.plan.routes[passed.matched.index];
        let parts = route.proxy.as_deref().zip(gateway.proxies[passed.matched.index].as_ref());
        let source = parts.and_then(|(proxy, _)| gateway.sources[proxy.request.source].http());
        let (Some((proxy, setup)), Some(source)) = (parts, source) else {
            // The plan gives every proxy a service.
            return Err(Problem::new(StatusCode::BAD_GATEWAY, "the source is no service"));
        };
        let inputs = Inputs::read(route, passed.matched, passed.query, passed.headers, None)?;
        let draft = Draft::of(route, proxy, &gateway.plan.credentials, &inputs, passed)?;
        let prototype = if *passed.method == Method::HEAD {
            &setup.head
        } else {
            &setup.prototype
        };
        let looking = match (proxy.keep, &gateway.pages) {
            (Some(stale), Some(pages)) => look_up(pages, source, &draft, (proxy, setup), passed, stale),
            _ => None,
        };
        if let Some(answer) = looking.as_ref().and_then(|looking| looking.fresh(passed.method)) {
            return Ok(Ready::Answer(Box::new(answer)));
        }
        // Answers to HEAD are not kept, and tell nothing of what is.
        let asking = looking
            .as_ref()
            .filter(|_| *passed.method == Method::GET)
            .map(|looking| looking.conditions());
        // What is kept for many is asked for on behalf of none of them.
        let shared = looking.is_none().then(|| SharedHeaders::of(passed.headers, passed.peer));
        let request = draft.request(prototype.clone(), shared.as_ref(), asking.unwrap_or_default())?;
        let outgoing = Outgoing {
            source,
            request,
            settings: &setup.settings,
            proxy,
        };
        Ok(Ready::Ask(Box::new(outgoing), looking.filter(|_| *passed.method == Method::GET)))
    }

    /// Forgets what is kept of an address when it was written to.
    pub(crate) fn note_write(&self, core: &Core, status: u16) {
        let is_safe = matches!(*self.request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if let (false, 200..400, Some(pages)) = (is_safe, status, &core.gateway().pages) {
            pages.written(self.source.name(), &self.request);
        }
    }
}

/// Looks for what is kept; None where only the source may answer.
fn look_up<'a>(
    pages: &'a Pages,
    source: &Source,
    draft: &Draft,
    (proxy, setup): (&'a ProxyPlan, &ProxySetup),
    passed: &Passed<'a>,
    stale: Duration,
) -> Option<Box<Looking<'a>>> {
    if draft.has_credential || conditions::is_for_source(passed.headers) {
        return None;
    }
    let counts = |name: &HeaderName| !conditions::CONDITIONS.contains(name) && *name != header::CACHE_CONTROL;
    let text = |(name, value): &(HeaderName, HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    let wish = Wish {
        passed: draft.headers.iter().filter(|(name, _)| counts(name)).map(text).collect(),
        own: draft.headers[draft.clients..].iter().map(text).collect(),
        headers: passed.headers,
        forward: &proxy.forward,
        stale,
        is_authorized: setup.is_authorized,
    };
    Some(Box::new(Looking::up(pages, source.name(), &draft.target, wish)))
}

/// Why nothing of an answer was passed on.
pub(crate) fn problem(error: &CallError, core: &Core) -> Problem {
    let mut detail = match error.kind() {
        Kind::Timeout => "the source did not answer in time",
        kind if kind.is_local() => "the source is asked too much",
        _ => "the source gave no answer that could be passed on",
    }
    .to_owned();
    if core.options().dev {
        detail.push_str(&format!(": {error}"));
    }
    if error.kind().is_local() {
        let wait = error.retry_after().unwrap_or(Duration::from_secs(1));
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_in(wait)
    } else if error.kind() == Kind::Timeout {
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
    } else {
        Problem::new(StatusCode::BAD_GATEWAY, detail)
    }
}
