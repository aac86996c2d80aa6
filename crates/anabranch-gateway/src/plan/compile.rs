//! The whole config: sources, routes, what holds for all, and remarks that are no faults.

use std::path::PathBuf;

use http::HeaderName;

use super::headers;
use super::keep;
use super::model::{Action, CallPlan, ListKind, Plan, Root, RoutePlan, SourcePlan};
use super::place::fault;
use super::program;
use super::route::{self, Around, Compiled};
use super::settings;
use super::source;
use super::worker;
use crate::config::faults::Faults;
use crate::config::model::{Config, SlashConfig};
use crate::config::yaml::Spanned;

/// Where the gateway listens unless said: this machine only.
const LISTEN: &str = "127.0.0.1:8080";
/// Bytes of the path of a unix socket: systems have room for 104 or 108 (unix(7)).
const SOCKET_PATH_MAX: usize = 100;

/// Compiles a config. None when anything is wrong, with all that is wrong in `faults`, which may hold some before.
pub fn compile(config: &Config, faults: &mut Faults) -> Option<Plan> {
    check_addresses(config, faults);
    let credentials = headers::credentials(&config.credentials, faults);
    let sources = source::compile(config, &credentials, faults);
    keep::check_inherited(config, faults);
    let ignore_slash = config.slash.as_ref().is_some_and(|slash| slash.value == SlashConfig::Ignore);
    let routes = routes(config, &credentials, ignore_slash, faults);
    if !faults.is_empty() {
        return None;
    }
    let warnings = warnings(&sources, &routes);
    Some(Plan {
        listen: config.listen.as_ref().map_or(LISTEN, |listen| listen.value.as_str()).to_owned(),
        health: config.health.as_ref().map(|health| health.value.clone()),
        admin: config.admin.as_ref().and_then(|admin| admin_socket(&admin.value)),
        credentials,
        ignore_slash,
        max_calls: config.max_calls.as_ref().map_or(settings::MAX_CALLS, |most| most.value) as usize,
        cache_size: config.cache_size.as_ref().map_or(settings::CACHE_SIZE, |size| size.value),
        sources,
        routes,
        warnings,
    })
}

fn routes(config: &Config, credentials: &[HeaderName], ignore_slash: bool, faults: &mut Faults) -> Vec<RoutePlan> {
    let mut shapes: Vec<String> = Vec::new();
    let mut plans: Vec<RoutePlan> = Vec::new();
    for (at, written) in config.routes.iter().enumerate() {
        let around = Around {
            config,
            credentials,
            ignore_slash,
            end: config.routes.get(at + 1).map_or(usize::MAX, |next| next.method.span.start),
        };
        let Compiled { plan, shape } = route::compile(written, &around, faults);
        if let Some(same) = shapes.iter().position(|other| *other == shape) {
            let other = &plans[same];
            let what = format!(
                "`{} {}` takes the same requests as `{} {}`",
                plan.method, plan.pattern, other.method, other.pattern
            );
            fault(
                faults,
                &written.path,
                what,
                "two routes of one method differ in a fixed segment; types of parameters do not tell them apart",
            );
        }
        shapes.push(shape);
        plans.push(plan);
    }
    plans
}

fn check_addresses(config: &Config, faults: &mut Faults) {
    check_address("listen", config.listen.as_ref(), faults);
    check_address("health", config.health.as_ref(), faults);
    if let Some(admin) = config.admin.as_ref().filter(|admin| admin_socket(&admin.value).is_none()) {
        fault(
            faults,
            admin,
            "`admin` is no unix socket",
            "`unix:` and a whole path of at most 100 bytes: `unix:/run/anabranch.sock`",
        );
    }
    let listen = config.listen.as_ref().map_or(LISTEN, |listen| listen.value.as_str());
    if let Some(health) = config
        .health
        .as_ref()
        .filter(|health| health.value == listen && !health.value.ends_with(":0"))
    {
        fault(
            faults,
            health,
            "`health` and `listen` are the same address",
            "another port for `health`",
        );
    }
}

/// The path of `unix:/run/anabranch.sock`; None where it is no whole one.
fn admin_socket(written: &str) -> Option<PathBuf> {
    let path = written.strip_prefix("unix:")?;
    (path.starts_with('/') && path.len() > 1 && path.len() <= SOCKET_PATH_MAX).then(|| path.into())
}

fn check_address(key: &str, address: Option<&Spanned<String>>, faults: &mut Faults) {
    let Some(address) = address else { return };
    let parts = address.value.rsplit_once(':');
    let sound = parts.is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let host_sound = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/') && (bracketed || !host.contains(':'));
        host_sound && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    if !sound {
        fault(
            faults,
            address,
            format!("`{key}` is no address to listen on"),
            "`host:port`: `0.0.0.0:8080`, `[::1]:8080`",
        );
    }
}

/// What works and is probably not meant.
fn warnings(sources: &[SourcePlan], routes: &[RoutePlan]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        if !routes.iter().any(|route| calls_source(route, index)) {
            warnings.push(format!("no call goes to the source `{}`", source.name));
        }
        warnings.extend(worker::warning(source));
    }
    for route in routes {
        warnings.extend(program::warnings(route));
        warnings.extend(keep::warnings(route));
        for call in route.calls.iter().filter(|call| is_blind_batch(call)) {
            warnings.push(format!(
                "`{} {}`: no request of `{}` names `$keys`, so that all of them ask for the same",
                route.method, route.pattern, call.name
            ));
        }
        let used = route::used(&route.calls, &route.reply, route.proxy.as_deref());
        for (index, param) in route.params.iter().enumerate() {
            if !used.contains(&Root::Param(index)) {
                warnings.push(format!(
                    "`{} {}`: nothing names the parameter `{}`",
                    route.method, route.pattern, param.name
                ));
            }
        }
        for (index, header) in route.headers.iter().enumerate() {
            let is_told = |call: &CallPlan| call.keep.as_ref().is_some_and(|keep| keep.left_out.contains(header));
            let by_proxy = route.proxy.as_ref().is_some_and(|proxy| proxy.request.pass.contains(&index));
            let used =
                by_proxy || used.contains(&Root::Header(index)) || route.calls.iter().any(|call| passes(call, index) || is_told(call));
            if !used {
                warnings.push(format!(
                    "`{} {}`: the header `{header}` is let in, and no call is sent it",
                    route.method, route.pattern
                ));
            }
        }
    }
    warnings
}

/// Whether it is asked for keys and does not send them.
fn is_blind_batch(call: &CallPlan) -> bool {
    let is_batch = call.list.as_ref().is_some_and(|list| matches!(list.kind, ListKind::Batch(_)));
    is_batch && !call.action.references().iter().any(|reference| reference.root == Root::Keys)
}

fn calls_source(route: &RoutePlan, source: usize) -> bool {
    let by_proxy = route.proxy.as_ref().is_some_and(|proxy| proxy.request.source == source);
    by_proxy || route.calls.iter().any(|call| call.action.source() == Some(source))
}

fn passes(call: &CallPlan, header: usize) -> bool {
    matches!(&call.action, Action::Http(http) if http.pass.contains(&header))
}
