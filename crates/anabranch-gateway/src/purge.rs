//! Kept answers dropped by hand: of a source, of a route, of a call, or all; those of proxies as well.
//!
//! Answers are kept for a request and not for a call: equal requests of two routes share one. So what a call may have kept is known by
//! how its requests begin: its source and its path up to the first value. A purge may take more than was meant, and never less.

use std::error::Error;
use std::fmt;

use crate::gateway::Gateway;
use crate::plan::{Action, CallPlan, HttpAction, Piece, RoutePlan, Template};

/// Which kept answers are dropped: those to which all applies that is said. By default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purge {
    /// Of the source with this name.
    pub source: Option<String>,
    /// Of the calls of this route, as it is written in the config: `GET /rules/{id:int}`.
    pub route: Option<String>,
    /// Of the calls with this name.
    pub call: Option<String>,
}

/// A purge that names what is not there, so that nothing was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPurge(String);

impl fmt::Display for BadPurge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadPurge {}

impl Gateway {
    /// Drops kept answers on all cores and says how many; remembered failures go with them, and what is on its way is served to those who
    /// wait for it and not kept. Looks at every kept answer: for people, not for every request.
    ///
    /// # Errors
    /// The config has no such source, route or call.
    pub fn purge(&self, what: &Purge) -> Result<usize, BadPurge> {
        let starts = self.starts(what)?;
        let is_chosen = |label: &str| starts.iter().any(|start| label.starts_with(start.as_str()));
        let of_calls = self
            .answers
            .as_ref()
            .map_or(0, |answers| answers.store.cache().purge_where(is_chosen));
        let of_proxies = self.pages.as_ref().map_or(0, |pages| pages.purge_where(is_chosen));
        Ok(of_calls + of_proxies)
    }

    /// How the labels of what is dropped begin.
    fn starts(&self, what: &Purge) -> Result<Vec<String>, BadPurge> {
        if let Some(name) = &what.source
            && !self.plan.sources.iter().any(|source| *source.name == **name)
        {
            return Err(BadPurge(format!("no source is named `{name}`")));
        }
        if what.route.is_none() && what.call.is_none() {
            return Ok(vec![what.source.as_ref().map_or_else(String::new, |name| format!("{name} "))]);
        }
        let is_route = |route: &&RoutePlan| {
            what.route
                .as_ref()
                .is_none_or(|name| *name == format!("{} {}", route.method, route.pattern))
        };
        let is_call = |call: &&CallPlan| what.call.as_ref().is_none_or(|name| **name == *call.name);
        let routes: Vec<&RoutePlan> = self.plan.routes.iter().filter(is_route).collect();
        let calls: Vec<&CallPlan> = routes.iter().flat_map(|route| &route.calls).filter(is_call).collect();
        let proxies: Vec<&HttpAction> = match what.call {
            None => routes.iter().filter_map(|route| Some(&route.proxy.as_ref()?.request)).collect(),
            Some(_) => Vec::new(),
        };
        if calls.is_empty() && proxies.is_empty() {
            return Err(BadPurge(match (&what.route, &what.call) {
                (Some(route), None) => {
                    format!("there is no route `{route}`, expected one as the config writes it, such as `GET /users/{{id:int}}`")
                }
                (Some(route), Some(call)) => format!("no route `{route}` has a call `{call}`"),
                (None, call) => format!("no call is named `{}`", call.as_deref().unwrap_or_default()),
            }));
        }
        let kept = calls.into_iter().filter(|call| call.keep.is_some());
        let of_calls = kept.filter_map(|call| Some((call.action.source()?, self.start(call)?)));
        let of_proxies = proxies.into_iter().map(|request| (request.source, self.start_of_request(request)));
        let of_source = |(source, _): &(usize, String)| what.source.as_ref().is_none_or(|name| **name == *self.plan.sources[*source].name);
        Ok(of_calls.chain(of_proxies).filter(of_source).map(|(_, start)| start).collect())
    }

    fn start_of_request(&self, request: &HttpAction) -> String {
        format!("{} {}", self.plan.sources[request.source].name, fixed_start(&request.path))
    }

    fn start(&self, call: &CallPlan) -> Option<String> {
        let source = &self.plan.sources[call.action.source()?].name;
        Some(match &call.action {
            Action::Http(http) => self.start_of_request(http),
            #[cfg(feature = "postgres")]
            Action::Sql(sql) => format!("{source} {}", crate::connector::statement_start(&sql.text)),
            Action::Redis(redis) => format!("{source} {}", redis.words.first().map(fixed_start).unwrap_or_default()),
            _ => return None,
        })
    }
}

/// The text of a template before its first reference.
fn fixed_start(template: &Template) -> &str {
    match template.0.first() {
        Some(Piece::Text(text)) => text,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use anabranch::policy::{CacheKey, Item, Times};
    use bytes::Bytes;

    use super::*;
    use crate::config::{self, MapLookup};
    use crate::connector::Answer;

    const CONFIG: &str = "
sources:
  shop:  { url: http://shop.svc:8000, cache: 1m }
  shop2: { url: http://promo.svc:8000, cache: 1m }
routes:
  GET /rules/{id:int}: { calls: { rules: shop /rules/$id/de, other: shop2 /x } }
  GET /users/{id:int}: { calls: { user: shop /users/$id, now: { get: shop /rules/now, cache: 0s } } }
";

    /// What is left of these after a purge.
    #[track_caller]
    fn check(what: Purge, expected: &[&str]) {
        let plan = config::compile("gateway.yaml", CONFIG, &MapLookup::new()).unwrap();
        let gateway = Gateway::build(plan).unwrap();
        let cache = gateway.answers.as_ref().unwrap().store.cache();
        let labels = ["shop /rules/1/de", "shop /rules/now", "shop /users/1", "shop2 /x"];
        let key = |label: &str| CacheKey::of_source(label).key();
        let times = Times {
            fresh: Duration::from_secs(60),
            ..Times::default()
        };
        for label in labels {
            let answer = Answer::item(Some(Bytes::from_static(b"1")), Default::default(), times.into());
            cache.put(cache.ticket(), key(label), Item::new(Arc::new(answer), 1, times).labelled(label));
        }
        let dropped = gateway.purge(&what).unwrap();
        let left: Vec<&str> = labels.into_iter().filter(|label| cache.remove(&key(label))).collect();
        assert_eq!(left, expected, "{what:?}");
        assert_eq!(dropped, labels.len() - left.len());
    }

    fn purge(source: &str, route: &str, call: &str) -> Purge {
        let [source, route, call] = [source, route, call].map(|name| (!name.is_empty()).then(|| name.to_string()));
        Purge { source, route, call }
    }

    #[tokio::test(start_paused = true)]
    async fn a_purge_takes_what_all_of_its_words_allow() {
        check(purge("", "", ""), &[]);
        check(purge("shop", "", ""), &["shop2 /x"]);
        check(
            purge("", "GET /users/{id:int}", ""),
            &["shop /rules/1/de", "shop /rules/now", "shop2 /x"],
        );
        check(purge("", "GET /rules/{id:int}", ""), &["shop /users/1"]);
        check(purge("", "", "rules"), &["shop /users/1", "shop2 /x"]);
        check(
            purge("shop2", "GET /rules/{id:int}", ""),
            &["shop /rules/1/de", "shop /rules/now", "shop /users/1"],
        );
        check(
            purge("shop2", "", "rules"),
            &["shop /rules/1/de", "shop /rules/now", "shop /users/1", "shop2 /x"],
        );
    }

    #[test]
    fn a_name_that_is_not_there_is_told() {
        let plan = config::compile("gateway.yaml", CONFIG, &MapLookup::new()).unwrap();
        let gateway = Gateway::build(plan).unwrap();
        let says = |what: Purge| gateway.purge(&what).unwrap_err().to_string();
        assert_eq!(says(purge("sho", "", "")), "no source is named `sho`");
        assert_eq!(says(purge("sho", "GET /users/{id:int}", "")), "no source is named `sho`");
        assert_eq!(
            says(purge("", "GET /x", "")),
            "there is no route `GET /x`, expected one as the config writes it, such as `GET /users/{id:int}`"
        );
        assert_eq!(says(purge("", "", "x")), "no call is named `x`");
        assert_eq!(
            says(purge("", "GET /users/{id:int}", "rules")),
            "no route `GET /users/{id:int}` has a call `rules`"
        );
    }
}
