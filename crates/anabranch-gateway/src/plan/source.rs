//! Sources: their endpoints, limits and fixed headers.

use anabranch::client::{ClientCertificate, Codec, Endpoint, HttpVersion, Roots, TlsSettings, WireSettings};
use http::HeaderName;

use super::headers;
use super::model::{DatabaseUrl, SourceKind, SourcePlan};
use super::place::{fault, Text};
use super::settings;
use super::worker;
use crate::config::faults::Faults;
use crate::config::model::{CallSettings, Config, HttpConfig, SourceConfig, TlsConfig, WireConfig};
use crate::config::yaml::Spanned;
use crate::source::GatewaySource;

/// Compiles all sources.
pub(super) fn compile(config: &Config, credentials: &[HeaderName], faults: &mut Faults) -> Vec<SourcePlan> {
    let routes = config.routes.first().map(|route| route.method.span.start);
    let mut plans = Vec::with_capacity(config.sources.len());
    for (at, source) in config.sources.iter().enumerate() {
        let next = config.sources.get(at + 1).map(|next| next.name.span.start).or(routes);
        let end = next.filter(|next| *next > source.name.span.start).unwrap_or(usize::MAX);
        plans.push(one(source, end, &config.defaults, credentials, faults));
    }
    plans
}

/// Compiles one, which is written before the byte `end`.
fn one(source: &SourceConfig, end: usize, defaults: &CallSettings, credentials: &[HeaderName], faults: &mut Faults) -> SourcePlan {
    check_name(source, faults);
    let kind = kind(source);
    let (in_flight, pool) = match kind {
        SourceKind::Http => (settings::IN_FLIGHT, settings::POOL),
        SourceKind::Postgres(_) => (settings::IN_FLIGHT, settings::SESSIONS),
        SourceKind::Redis { .. } => (settings::REDIS_IN_FLIGHT, settings::POOL),
        SourceKind::Run(ref worker) => (u32::try_from(worker.count).unwrap_or(u32::MAX), settings::POOL),
    };
    let in_flight = source.in_flight.as_ref().map_or(in_flight, |limit| limit.value);
    let pool = source.pool.as_ref().map_or(pool, |pool| pool.value);
    let may_wait = match kind {
        SourceKind::Http | SourceKind::Redis { .. } => in_flight,
        SourceKind::Postgres(_) => pool,
        SourceKind::Run(_) => in_flight.saturating_mul(settings::QUEUE_PER_PROCESS),
    };
    let connect = source.settings.connect_timeout.as_ref().or(defaults.connect_timeout.as_ref());
    let plan = SourcePlan {
        name: source.name.value.as_str().into(),
        kind,
        urls: source.url.iter().map(|url| url.value.clone()).collect(),
        in_flight: in_flight as usize,
        queue: source.queue.as_ref().map_or(may_wait, |queue| queue.value) as usize,
        queue_wait: source.queue_wait.as_ref().map_or(settings::QUEUE_WAIT, |wait| wait.value),
        rate: source.rate.as_ref().map(|rate| rate.value),
        pool: pool as usize,
        pass: pass(&source.pass, credentials, faults),
        headers: headers::fixed(&source.headers, faults),
        http: match source.http.as_ref().map(|http| http.value) {
            None | Some(HttpConfig::Auto) => HttpVersion::Auto,
            Some(HttpConfig::Http1) => HttpVersion::Http1,
            Some(HttpConfig::Http2) => HttpVersion::Http2,
        },
        wire: match source.wire.as_ref().map(|wire| wire.value) {
            None | Some(WireConfig::Own) => Codec::Own,
            Some(WireConfig::Hyper) => Codec::Hyper,
        },
        tls: source.tls.as_ref().map(tls_settings),
        connect_timeout: connect.map_or(settings::CONNECT_TIMEOUT, |limit| limit.value),
    };
    check_endpoints(source, &plan, faults);
    check_database(source, &plan, faults);
    worker::check(source, &plan, end, faults);
    plan
}

fn kind(source: &SourceConfig) -> SourceKind {
    match (&source.postgres, &source.redis, &source.worker) {
        (Some(url), ..) => SourceKind::Postgres(DatabaseUrl(url.value.clone())),
        (None, None, Some(worker)) => SourceKind::Run(worker::compile(worker)),
        (None, Some(url), _) => {
            let allow = source.allow.iter().map(|command| command.value.clone()).collect();
            SourceKind::Redis {
                url: DatabaseUrl(url.value.clone()),
                allow,
            }
        }
        (None, None, None) => SourceKind::Http,
    }
}

/// Asks the engine whether it could be reached like this. A program may be built without databases.
fn check_database(source: &SourceConfig, plan: &SourcePlan, faults: &mut Faults) {
    let (url, feature) = match (&source.postgres, &source.redis) {
        (Some(url), _) => (url, "postgres"),
        (None, Some(url)) => (url, "redis"),
        (None, None) => return,
    };
    let is_built = match feature {
        "postgres" => cfg!(feature = "postgres"),
        _ => cfg!(feature = "redis"),
    };
    if !is_built {
        let what = format!("this program was built without the feature `{feature}`");
        fault(
            faults,
            url,
            what,
            format!("a program built with it: `cargo build --release --features {feature}`"),
        );
        return;
    }
    if let Some(pool) = source.pool.as_ref().filter(|pool| pool.value == 0 && feature == "postgres") {
        fault(faults, pool, "a pool of no sessions", "`pool:` of at least 1");
    }
    // The reader put this one in place of what it has reported.
    let is_placeholder = url.span == source.name.span;
    if let (false, Err(bad)) = (is_placeholder, GatewaySource::build(plan)) {
        // What was expected stands in the engine's own words.
        faults.add(url.span, bad.to_string());
    }
}

fn check_name(source: &SourceConfig, faults: &mut Faults) {
    let name = Text::of(&source.name);
    let sound = !name.text.is_empty() && name.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !sound {
        fault(
            faults,
            name,
            format!("`{}` cannot be the name of a source", name.text),
            "letters, digits, `_` and `-`",
        );
    }
}

/// Asks the engine, which knows what it can reach.
fn check_endpoints(source: &SourceConfig, plan: &SourcePlan, faults: &mut Faults) {
    for (at, url) in source.url.iter().enumerate() {
        // The reader put this one in place of a missing URL, which it has reported.
        if url.span == source.name.span {
            continue;
        }
        let wire = WireSettings {
            http: plan.http,
            tls: plan.tls.clone(),
            pool_idle: plan.pool,
            ..WireSettings::default()
        };
        if has_bad_port(&url.value) {
            fault(faults, url, "the port of this endpoint is no port", "a port from 1 to 65535");
        } else if let Err(bad) = Endpoint::new(&url.value, wire) {
            fault(
                faults,
                url,
                bad.to_string(),
                "`http://host:port` or `https://host`, with a path in front of every call's if need be",
            );
        }
        if source.url[..at].iter().any(|other| other.value == url.value) {
            fault(faults, url, "this endpoint stands here twice", "each endpoint once");
        }
    }
}

fn pass(written: &[Spanned<String>], credentials: &[HeaderName], faults: &mut Faults) -> Vec<HeaderName> {
    let names = headers::names(written, faults);
    for written in written {
        let is_credential = credentials.iter().any(|name| name.as_str().eq_ignore_ascii_case(&written.value));
        if !is_credential && HeaderName::from_bytes(written.value.as_bytes()).is_ok() {
            let what = format!("`{}` is no credential, and every source is passed it", written.value);
            fault(faults, written, what, "leave it out, or add it to the top-level `credentials:`");
        }
    }
    names
}

fn tls_settings(tls: &TlsConfig) -> TlsSettings {
    let bytes = |text: &Spanned<String>| text.value.as_bytes().to_vec();
    TlsSettings {
        roots: tls.ca.as_ref().map_or(Roots::Os, |ca| Roots::Pem(bytes(ca))),
        client_certificate: tls.cert.as_ref().zip(tls.key.as_ref()).map(|(chain, key)| ClientCertificate {
            chain: bytes(chain),
            key: bytes(key),
        }),
        server_name: tls.server_name.as_ref().map(|name| name.value.clone()),
        dangerously_accept_any_certificate: false,
    }
}

/// `http::Uri` gives a port above 65535 as none at all, and the scheme's own would be called in its place.
fn has_bad_port(url: &str) -> bool {
    let authority = url
        .split_once("://")
        .map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_err())
}
