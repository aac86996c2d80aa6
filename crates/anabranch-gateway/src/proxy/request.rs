//! The request of a proxy: the path and query that the config says, the headers that may go along.

use anabranch::client::Request;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Passed;
use super::conditions::CONDITIONS;
use crate::connector::SharedHeaders;
use crate::gateway::SharedPrototype;
use crate::inputs::{self, Inputs};
use crate::plan::model::{Reference, Root};
use crate::plan::{ProxyPlan, RoutePlan};
use crate::render::percent::{self, Broken};
use crate::render::{self, Given, RenderFault, Scope};
use crate::respond::Problem;

/// A request but for what depends on what is kept.
pub(super) struct Draft {
    /// Path and query.
    pub(super) target: String,
    /// The client's headers that go along, and those that the proxy sets.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// How many of them are the client's; these come first.
    pub(super) clients: usize,
    /// Whether a credential is among them.
    pub(super) has_credential: bool,
}

impl Draft {
    /// Collects what is sent.
    ///
    /// # Errors
    /// The 400 of what cannot be passed on.
    pub(super) fn of(
        route: &RoutePlan,
        proxy: &ProxyPlan,
        credentials: &[HeaderName],
        inputs: &Inputs,
        passed: &Passed<'_>,
    ) -> Result<Draft, Problem> {
        let scope = OfRequest {
            route,
            inputs,
            rest: proxy.rest,
        };
        let mut headers = Vec::new();
        for index in &proxy.request.pass {
            if let Some(value) = &inputs.headers[*index] {
                headers.push((route.headers[*index].clone(), value.clone()));
            }
        }
        for name in &proxy.always {
            if let Some(value) = always(name, passed.headers)? {
                headers.push((name.clone(), value));
            }
        }
        let clients = headers.len();
        let mut has_credential = headers.iter().any(|(name, _)| credentials.contains(name));
        for (name, template) in &proxy.request.headers {
            let named =
                |reference: &&Reference| matches!(reference.root, Root::Header(index) if credentials.contains(&route.headers[index]));
            match render::header(template, &scope) {
                Ok(value) => {
                    has_credential |= template.references().iter().any(named);
                    headers.push((name.clone(), value));
                }
                // A header that needs what the client did not send is left out.
                Err(RenderFault::Missing(_)) => {}
                Err(fault) => return Err(bad(fault)),
            }
        }
        Ok(Draft {
            target: target(proxy, &scope, passed.query)?,
            headers,
            clients,
            has_credential,
        })
    }

    /// The request, without its body. `shared` says where it came from; with `asking` it asks whether what is kept still holds, and
    /// nothing that the client would ask of it.
    pub(super) fn request(
        self,
        prototype: SharedPrototype,
        shared: Option<&SharedHeaders>,
        asking: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Request, Problem> {
        let refused = |_| Problem::new(http::StatusCode::BAD_REQUEST, "the request cannot be passed on as it is");
        let mut request = Request::with_prototype(prototype, self.target).map_err(refused)?;
        if let Some(shared) = shared {
            request = request.shared(shared.forwarded.clone()).span(shared.span.child());
        }
        let is_ours = !asking.is_empty();
        let theirs = self.headers.into_iter().filter(|(name, _)| !(is_ours && CONDITIONS.contains(name)));
        for (name, value) in theirs.chain(asking) {
            request = request.header(name, value).map_err(refused)?;
        }
        Ok(request)
    }
}

fn always(name: &HeaderName, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    if headers.contains_key(name) {
        inputs::header(name, headers)
    } else {
        Ok(None)
    }
}

fn target(proxy: &ProxyPlan, scope: &OfRequest<'_>, sent: &str) -> Result<String, Problem> {
    let mut out = Vec::with_capacity(96);
    render::path(&proxy.request.path, scope, &mut out).map_err(bad)?;
    if scope.ends_with_slash() {
        out.push(b'/');
    }
    out.push(b'?');
    let without_query = out.len();
    render::query(&proxy.request.query, scope, &mut out).map_err(bad)?;
    if proxy.pass_query {
        for pair in sent.split('&').filter(|pair| !pair.is_empty() && !is_ours(proxy, pair)) {
            if out.len() > without_query {
                out.push(b'&');
            }
            out.extend_from_slice(pair.as_bytes());
        }
    }
    if out.len() == without_query {
        out.pop();
    }
    // A query that is passed as it came may hold anything; what is no URL is refused where the request is made.
    String::from_utf8(out).map_err(|_| Problem::new(http::StatusCode::BAD_REQUEST, "the query must be ASCII"))
}

/// Whether the config has a pair of this name. Of two pairs with one name many services take the last, so the client's stays behind.
fn is_ours(proxy: &ProxyPlan, pair: &str) -> bool {
    let plain = |name: &str| percent::decode(name.replace('+', " ").as_bytes(), Broken::Keep);
    let name = plain(pair.split('=').next().unwrap_or(pair));
    proxy.request.query.iter().any(|(ours, _)| plain(ours) == name)
}

fn bad(fault: RenderFault) -> Problem {
    match fault {
        RenderFault::Missing(reference) => Problem::bad_param(reference.trim_start_matches('$'), "must be sent"),
        RenderFault::BadValue { reference, why, .. } => Problem::bad_param(reference.trim_start_matches('$'), why),
    }
}

/// The references of a proxy, which are all to the request.
struct OfRequest<'a> {
    route: &'a RoutePlan,
    inputs: &'a Inputs,
    /// The parameter that may end with a slash; the slash is put behind the path.
    rest: Option<usize>,
}

impl OfRequest<'_> {
    fn ends_with_slash(&self) -> bool {
        let given = self.rest.map(|index| Reference {
            root: Root::Param(index),
            path: Vec::new(),
            text: String::new(),
        });
        given.is_some_and(|reference| matches!(self.inputs.get(self.route, &reference), Given::Rest(rest) if rest.ends_with('/')))
    }
}

impl Scope for OfRequest<'_> {
    fn get(&self, reference: &Reference) -> Given<'_> {
        match self.inputs.get(self.route, reference) {
            Given::Rest(rest) if self.rest.is_some_and(|index| reference.root == Root::Param(index)) => {
                Given::Rest(rest.strip_suffix('/').unwrap_or(rest))
            }
            given => given,
        }
    }
}
