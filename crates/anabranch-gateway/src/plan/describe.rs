//! What a route may do at the most: how many requests, for how long, and along which calls. Nothing is measured and nobody is asked;
//! these are the bounds that the config sets.

use std::cmp::Reverse;
use std::time::Duration;

use anabranch::policy::Backoff;

use super::model::{Action, CallPlan, ListKind, ListPlan, Otherwise, Plan, RoutePlan};

/// Keys that one request of a batch asks for.
pub(crate) const KEYS_PER_REQUEST: usize = 50;

/// The bounds of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteBounds {
    /// Its calls by level, in the order written. Those of the first start at once, others when what they name has ended.
    pub levels: Vec<Vec<usize>>,
    /// The bounds of each call.
    pub calls: Vec<CallBounds>,
    /// The calls that decide when the last one ends if all of them take as long as they may, first to last.
    pub critical_path: Vec<usize>,
    /// How many other calls may end as late as the last of these.
    pub as_late: usize,
    /// Requests that one request of a client may cause: those of all calls, or `max_calls`.
    pub requests: usize,
    /// Attempts for them, retries included.
    pub attempts: usize,
    /// From the start to the end of the last call, if there were no deadline. A call without a limit counts as the deadline.
    pub longest: Duration,
}

/// The bounds of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallBounds {
    /// How many calls must have ended one after another before it starts.
    pub level: usize,
    /// Requests: 1; for a list as many as `max_items` allows; 0 for a value.
    pub requests: usize,
    /// Of these, so many at once.
    pub at_once: usize,
    /// Attempts of each request.
    pub attempts: usize,
    /// From its start to its end, if there were no deadline: for each request, the waits for a place, the attempts and the longest rests
    /// between them. A source may ask for longer rests (`Retry-After`). None if an attempt may take what is left of the deadline.
    pub longest: Option<Duration>,
}

impl Plan {
    /// Works out the bounds of one of its routes.
    pub fn bounds(&self, route: &RoutePlan) -> RouteBounds {
        let levels = route.levels();
        let bounds = |(call, level): (&CallPlan, &usize)| self.bounds_of_call(call, *level);
        let calls: Vec<CallBounds> = route.calls.iter().zip(&levels).map(bounds).collect();
        let mut by_level = vec![Vec::new(); levels.iter().max().map_or(0, |last| last + 1)];
        for (call, level) in levels.into_iter().enumerate() {
            by_level[level].push(call);
        }
        let ends = Ends::of(route, &calls);
        let (critical_path, longest) = ends.last();
        let as_late = ends.own.iter().filter(|end| end.after == longest).count().saturating_sub(1);
        let (requests, attempts) = most(&calls, self.max_calls);
        RouteBounds {
            levels: by_level,
            calls,
            critical_path,
            as_late,
            requests,
            attempts,
            longest,
        }
    }

    fn bounds_of_call(&self, call: &CallPlan, level: usize) -> CallBounds {
        let Some(source) = call.action.source() else {
            return CallBounds {
                level,
                requests: 0,
                at_once: 0,
                attempts: 0,
                longest: Some(Duration::ZERO),
            };
        };
        let (requests, at_once) = call
            .list
            .as_ref()
            .map_or((1, 1), |list| (list.most_requests(), list.width.min(list.most_requests())));
        let rounds = u32::try_from(requests.div_ceil(at_once.max(1))).unwrap_or(u32::MAX);
        let one_request = call.timeout.map(|timeout| {
            let attempt = timeout.saturating_add(self.sources[source].queue_wait);
            let rests: Duration = (1..=call.retry).map(|retry| Backoff::default().longest(retry)).sum();
            attempt.saturating_mul(call.retry.saturating_add(1)).saturating_add(rests)
        });
        CallBounds {
            level,
            requests,
            at_once,
            attempts: call.retry as usize + 1,
            longest: one_request.map(|longest| longest.saturating_mul(rounds)),
        }
    }

    /// Says in a few words what a call does: `GET shop`, `each GET media`, `batch GET users`, `sql db`, `redis hot`, `run score`,
    /// `value`.
    pub fn does(&self, call: &CallPlan) -> String {
        let verb = match &call.action {
            Action::Http(http) => http.method.as_str(),
            Action::Sql(_) => "sql",
            Action::Redis(_) => "redis",
            Action::Run(_) => "run",
            Action::Value(_) => return "value".to_owned(),
        };
        let list = call.list.as_ref().map_or("", |list| match list.kind {
            ListKind::Each { .. } => "each ",
            ListKind::Batch(_) => "batch ",
        });
        let source = call.action.source().map_or("", |source| &*self.sources[source].name);
        format!("{list}{verb} {source}")
    }
}

impl ListPlan {
    /// How many requests it may take, with as many items as it may have.
    fn most_requests(&self) -> usize {
        match self.kind {
            ListKind::Each { .. } => self.max_items,
            ListKind::Batch(_) => self.max_items.div_ceil(KEYS_PER_REQUEST),
        }
    }
}

/// Requests and attempts of all calls, where no more than `max` requests are made: those with the most attempts.
fn most(calls: &[CallBounds], max: usize) -> (usize, usize) {
    let mut by_attempts: Vec<&CallBounds> = calls.iter().collect();
    by_attempts.sort_by_key(|call| Reverse(call.attempts));
    let (mut requests, mut attempts) = (0, 0_usize);
    for call in by_attempts {
        let made = call.requests.min(max - requests);
        requests += made;
        attempts = attempts.saturating_add(made.saturating_mul(call.attempts));
    }
    (requests, attempts)
}

/// When each call ends at the latest, and because of which other.
struct Ends {
    /// The call alone.
    own: Vec<End>,
    /// With its `else`.
    with_else: Vec<End>,
    /// The call whose own end lets it start.
    before: Vec<Option<usize>>,
}

/// The end of a call at the latest. Of two at the same time the later is the one that took more calls, then the one written first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    after: Duration,
    calls: usize,
    /// The call that ended last: itself or its `else`.
    last: Reverse<usize>,
}

impl Ends {
    fn of(route: &RoutePlan, calls: &[CallBounds]) -> Ends {
        let count = calls.len();
        let mut ends = Ends {
            own: vec![End::default(); count],
            with_else: vec![End::default(); count],
            before: vec![None; count],
        };
        // Without cycles each end is settled after as many rounds as the longest way has calls, with an `else` at each of them.
        for _ in 0..=2 * count {
            if !ends.settle(route, calls) {
                break;
            }
        }
        ends
    }

    /// Looks at every call once more; whether anything changed.
    fn settle(&mut self, route: &RoutePlan, calls: &[CallBounds]) -> bool {
        let mut has_changed = false;
        for (index, call) in route.calls.iter().enumerate() {
            let start = self.start(route, index);
            let takes = calls[index].longest.unwrap_or(route.deadline);
            let from = start.unwrap_or_default();
            let own = End {
                after: from.after.saturating_add(takes),
                calls: from.calls + 1,
                last: Reverse(index),
            };
            let with_else = match &call.otherwise {
                Some(Otherwise::Call(other)) => own.max(self.with_else[*other]),
                Some(Otherwise::Value { waits, .. }) => waits.iter().map(|other| self.with_else[*other]).fold(own, End::max),
                None => own,
            };
            has_changed |= (own, with_else) != (self.own[index], self.with_else[index]);
            (self.own[index], self.with_else[index], self.before[index]) = (own, with_else, start.map(|end| end.last.0));
        }
        has_changed
    }

    /// The last of what a call waits for. One that only stands in waits for those that it stands in for, as well.
    fn start(&self, route: &RoutePlan, index: usize) -> Option<End> {
        let call = &route.calls[index];
        let waits = call.waits.iter().map(|other| self.with_else[*other]);
        let stands_in_for = route.calls.iter().enumerate().filter(|(_, other)| {
            let is_else = matches!(other.otherwise, Some(Otherwise::Call(other)) if other == index);
            call.only_else && is_else
        });
        waits.chain(stands_in_for.map(|(other, _)| self.own[other])).max()
    }

    /// The way to the last end of all, and when that is.
    fn last(&self) -> (Vec<usize>, Duration) {
        let Some(last) = self.own.iter().max() else {
            return (Vec::new(), Duration::ZERO);
        };
        let mut path: Vec<usize> = std::iter::successors(Some(last.last.0), |call| self.before[*call])
            .take(self.own.len())
            .collect();
        path.reverse();
        (path, last.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, MapLookup};

    const SOURCES: &str = "sources:\n  shop: { url: http://shop:8000, timeout: 100ms, retry: 0 }\n  slow: { url: http://slow:8000 }\n";

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn bounds(calls: &str) -> (Plan, RouteBounds) {
        bounds_with("", calls)
    }

    fn bounds_with(settings: &str, calls: &str) -> (Plan, RouteBounds) {
        let text = format!("{settings}{SOURCES}routes:\n  GET /x/{{id:int}}:\n    deadline: 2s\n    calls:\n{calls}");
        let plan = config::compile("gateway.yaml", &text, &MapLookup::new()).unwrap_or_else(|faults| panic!("{faults}"));
        let bounds = plan.bounds(&plan.routes[0]);
        (plan, bounds)
    }

    fn path(plan: &Plan, bounds: &RouteBounds) -> String {
        let names: Vec<&str> = bounds.critical_path.iter().map(|&call| &*plan.routes[0].calls[call].name).collect();
        names.join(" ")
    }

    #[test]
    fn calls_that_name_none_are_one_level() {
        let (plan, bounds) = bounds("      a: shop /a/$id\n      b: shop /b\n      c: { value: { x: 1 } }\n");
        assert_eq!(bounds.levels, [vec![0, 1, 2]]);
        assert_eq!((bounds.requests, bounds.attempts, bounds.longest), (2, 2, ms(350)));
        assert_eq!((path(&plan, &bounds).as_str(), bounds.as_late), ("a", 1));
        let does: Vec<String> = plan.routes[0].calls.iter().map(|call| plan.does(call)).collect();
        assert_eq!(does, ["GET shop", "GET shop", "value"]);
    }

    #[test]
    fn the_critical_path_takes_the_longest_and_not_the_most_calls() {
        let calls = "      a: shop /a\n      b: shop /b/$a.id\n      c: { get: shop /c, timeout: 900ms }\n      d: shop /d/$b.id/$c.id\n";
        let (plan, bounds) = bounds(calls);
        assert_eq!(bounds.levels, [vec![0, 2], vec![1], vec![3]]);
        assert_eq!((path(&plan, &bounds).as_str(), bounds.longest), ("c d", ms(900 + 250 + 350)));
    }

    #[test]
    fn attempts_and_rests_count_and_no_limit_is_the_deadline() {
        let (plan, bounds) = bounds("      a: { get: shop /a, retry: 2 }\n      b: slow /b\n      c: slow /c/$b.id\n");
        assert_eq!(bounds.calls[0].longest, Some(3 * ms(350) + ms(25 + 50)));
        assert_eq!((bounds.calls[1].longest, bounds.calls[1].attempts), (None, 2));
        assert_eq!((path(&plan, &bounds).as_str(), bounds.longest), ("b c", 2 * ms(2_000)));
        assert_eq!((bounds.requests, bounds.attempts), (3, 3 + 2 + 2));
    }

    #[test]
    fn what_stands_in_comes_after_what_it_stands_in_for() {
        let calls = "      a: { get: shop /a, else: $b }\n      b: shop /b\n      c: shop /c/$a.id\n";
        let (plan, bounds) = bounds(calls);
        assert_eq!((path(&plan, &bounds).as_str(), bounds.longest), ("a b c", 3 * ms(350)));
        let (plan, bounds) =
            self::bounds("      a: shop /a\n      b: { get: shop /b, timeout: 10ms, else: { of: $a.id } }\n      c: shop /c/$b.id\n");
        assert_eq!((path(&plan, &bounds).as_str(), bounds.longest), ("a c", 2 * ms(350)));
    }

    #[test]
    fn lists_make_as_many_requests_as_they_may_have_items() {
        let calls = "      posts: shop /posts/$id
      media: { each: '$posts[]', get: shop /media/$it.id, width: 4, max_items: 10, into: 'posts[].media' }
      users: { batch: '$posts[].author', get: 'shop /users?ids=$keys', match: id, max_items: 120 }
";
        let (plan, bounds) = bounds(calls);
        let [_, media, users] = bounds.calls[..] else {
            panic!("three calls")
        };
        assert_eq!((media.requests, media.at_once, media.longest), (10, 4, Some(3 * ms(350))));
        assert_eq!((users.requests, users.at_once, users.longest), (3, 3, Some(ms(350))));
        assert_eq!((path(&plan, &bounds).as_str(), bounds.requests), ("posts media", 14));
        assert_eq!(plan.does(&plan.routes[0].calls[1]), "each GET shop");
        assert_eq!(plan.does(&plan.routes[0].calls[2]), "batch GET shop");
    }

    #[test]
    fn one_request_makes_no_more_calls_than_it_may() {
        let calls = "      posts: shop /posts/$id
      media: { each: '$posts[]', get: shop /media/$it.id, retry: 2 }
";
        let (_, bounds) = bounds_with("max_calls: 100\n", calls);
        assert_eq!((bounds.calls[1].requests, bounds.requests, bounds.attempts), (1_000, 100, 300));
    }
}
