//! What of a kept call is ready before any request comes: how its source is asked, and the part of its key that never changes.

use std::sync::Arc;
use std::time::Duration;

use anabranch::CallSettings;
use anabranch::policy::{CacheKey, KeyParts, Times};
use http::{HeaderName, header};

use crate::plan::{Action, CallPlan, KeepPlan, ListKind, OkSet, Plan, RoutePlan};

/// What of such a call is ready before any request comes.
#[derive(Debug)]
pub(in crate::connector) struct KeepSetup {
    /// The part of the key that is the same for all its requests.
    pub(super) base: KeyParts,
    pub(super) times: Times,
    pub(super) by_source: bool,
    /// Whether its answers are kept item by item, and not as they come.
    pub(super) is_batch: bool,
    pub(super) vary: Vec<usize>,
    pub(super) asking: Way,
    /// Whose turn it is where its answers take long to check.
    pub(super) label: Arc<str>,
    /// No less than any route's deadline, since whoever waits for a shared call is bound by its own.
    pub(super) flight_limit: Duration,
}

/// How its source is asked.
#[derive(Debug)]
pub(super) enum Way {
    Http(HttpAsking),
    #[cfg(feature = "postgres")]
    Sql(crate::connector::sql::Statement),
    #[cfg(feature = "redis")]
    Redis(anabranch::redis::RedisSettings),
}

/// How a service is asked.
#[derive(Debug)]
pub(super) struct HttpAsking {
    pub(super) settings: CallSettings,
    pub(super) ok: OkSet,
    pub(super) forward: Vec<HeaderName>,
    /// Whether a credential of our own goes out with it, whoever the client is.
    pub(super) is_authorized: bool,
}

impl KeepSetup {
    /// The setup of a call; None where it keeps nothing.
    pub(in crate::connector) fn new(plan: &Plan, route: &RoutePlan, call: &CallPlan, settings: CallSettings) -> Option<KeepSetup> {
        let keep = call.keep.as_deref()?;
        let source = &plan.sources[call.action.source()?];
        let label: Arc<str> = route.pattern.as_str().into();
        let asking = asking(plan, call, settings, &label)?;
        // What equal answers are made into is part of the key too: two calls may read the same answer differently.
        let reading = format!("{:?} {:?} {} {}", call.ok.entries, call.forward, call.max_body, keep.by_source);
        let base = CacheKey::of_source(&format!("{} {:?}", source.name, source.urls));
        let base = match &call.action {
            Action::Http(action) => base.method(action.method.as_str()),
            Action::Sql(action) => base.method("sql").url(&action.text).body(format!("{:?}", action.want).as_bytes()),
            _ => base.method("redis"),
        };
        let base = base.times(keep.times).value(reading.as_bytes());
        // Items are kept as they are found in a reshaped answer.
        let batch = call.list.as_ref().filter(|list| matches!(list.kind, ListKind::Batch(_)));
        let base = match batch {
            Some(list) => base.value(format!("{:?} {:?}", list.kind, call.edit).as_bytes()),
            None => base,
        };
        Some(KeepSetup {
            base,
            times: keep.times,
            by_source: keep.by_source,
            is_batch: batch.is_some(),
            vary: vary(keep, route),
            asking,
            label,
            flight_limit: plan.routes.iter().map(|route| route.deadline).max().unwrap_or_default(),
        })
    }
}

/// In the order of their names, so that routes that let them in in another order make equal keys.
fn vary(keep: &KeepPlan, route: &RoutePlan) -> Vec<usize> {
    let mut vary = keep.vary.clone();
    vary.sort_by_key(|header| route.headers[*header].as_str());
    vary.dedup();
    vary
}

fn asking(plan: &Plan, call: &CallPlan, settings: CallSettings, label: &Arc<str>) -> Option<Way> {
    // Only databases have a use for it here.
    let _ = label;
    match &call.action {
        Action::Http(action) => {
            let of_source = plan.sources[action.source].headers.iter().map(|(name, _)| name);
            let own = action.headers.iter().map(|(name, _)| name);
            Some(Way::Http(HttpAsking {
                settings,
                ok: call.ok.clone(),
                forward: call.forward.clone(),
                is_authorized: of_source.chain(own).any(|name| *name == header::AUTHORIZATION),
            }))
        }
        #[cfg(feature = "postgres")]
        Action::Sql(action) => Some(Way::Sql(crate::connector::sql::Statement::of(action, call, label.clone()))),
        #[cfg(feature = "redis")]
        Action::Redis(_) => Some(Way::Redis(crate::connector::redis::settings(call))),
        _ => None,
    }
}
