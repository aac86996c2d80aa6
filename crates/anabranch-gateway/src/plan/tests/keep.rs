//! What is kept of a call, and what it is not sent then.

use super::*;

fn keep(text: &str) -> KeepPlan {
    *call(text).keep.unwrap_or_else(|| panic!("`{text}` is not kept"))
}

/// A route that lets these in: 0 Authorization, 1 X-Beta, 2 Cookie.
#[test]
fn without_vary_all_that_is_passed_on_counts_and_with_it_what_it_names() {
    assert_eq!(keep("{ get: shop /x, cache: 1m }").vary, [1]);
    assert_eq!(http("{ get: shop /x, cache: 1m }").pass, [1]);
    let none = keep("{ get: shop /x, cache: 1m, vary: [] }");
    assert!(none.vary.is_empty() && none.left_out == ["x-beta"]);
    assert!(http("{ get: shop /x, cache: 1m, vary: [] }").pass.is_empty());
    assert_eq!(http("{ get: shop /x }").pass, [1], "only kept calls leave something out");
}

#[test]
fn what_is_of_one_request_is_not_sent_with_a_kept_call() {
    let text = "sources:\n  shop: { url: http://shop.svc:8000, cache: 1m, vary: [X-Request-Id] }\nroutes:\n  GET /x:\n    \
        headers: [X-Request-Id, If-None-Match, X-Tenant]\n    calls:\n      \
        c: { get: shop /x, headers: { X-Correlation-Id: $header.x-request-id, X-Trace-Id: fixed } }\n      \
        d: { get: shop /y, cache: 0s }\n";
    let plan = plan(text);
    let calls = &plan.routes[0].calls;
    let passed = |call: usize| match &calls[call].action {
        Action::Http(http) => (http.pass.clone(), http.headers.len()),
        _ => panic!("no request"),
    };
    assert_eq!(passed(0), (vec![], 1));
    assert_eq!(passed(1), (vec![0, 1, 2], 0));
    assert_eq!(calls[0].keep.as_ref().unwrap().left_out, ["x-tenant", "x-correlation-id"]);
    assert_eq!(
        plan.warnings,
        [
            "`GET /x`: the kept call `c` is not sent the header `x-tenant`, which its `vary` does not name",
            "`GET /x`: the kept call `c` is not sent the header `x-correlation-id`, which differs from one request to the next",
        ]
    );
    check_says(
        &with_call("{ get: shop /x, cache: 1m, vary: [X-Request-Id] }"),
        "`X-Request-Id` differs from one request to the next, so no answer would be served twice",
    );
}

#[test]
fn the_source_may_say_how_long_where_its_answers_have_headers() {
    let http = keep("{ get: shop /x, cache: http, stale: 1m }");
    assert!(http.by_source && http.times.fresh.is_zero() && !http.times.stale.is_zero());
    check_says(&with_call("{ head: shop /x, cache: http }"), "`cache: http` for a HEAD request");
    let inherited = "defaults: { cache: http, stale: 1m }\nsources:\n  shop: { url: http://shop.svc:8000 }\nroutes:\n  GET /x:\n    \
        calls: { a: shop /a, b: { head: shop /b } }\n";
    let plan = plan(inherited);
    let by_source = |call: usize| plan.routes[0].calls[call].keep.as_ref().map(|keep| keep.by_source);
    assert_eq!((by_source(0), by_source(1)), (Some(true), Some(false)));
}

#[cfg(all(feature = "postgres", feature = "redis"))]
#[test]
fn what_only_reads_a_database_may_be_kept_for_a_fixed_time() {
    const HEAD: &str =
        "defaults: { cache: http }\nsources:\n  db: { postgres: 'postgres://h/d', cache: 1m }\n  hot: { redis: 'redis://h', stale: 1m }\n";
    let with = |route: &str, calls: &str| format!("{HEAD}routes:\n  {route} /x:\n    calls:\n{calls}");
    let calls = "      a: { sql: db, select: select 1 }\n      b: { redis: hot GET x }\n      c: { redis: hot SET x 1 }\n";
    let plan = plan(&with("GET", calls));
    let kept = |call: usize| plan.routes[0].calls[call].keep.as_ref().map(|keep| (keep.by_source, keep.times));
    let minute = std::time::Duration::from_secs(60);
    let times = |fresh: bool| anabranch::policy::Times {
        fresh: if fresh { minute } else { Default::default() },
        stale: if fresh { Default::default() } else { minute },
    };
    assert_eq!(
        (kept(0), kept(1), kept(2)),
        (Some((false, times(true))), Some((false, times(false))), None)
    );
    let unkept = self::plan(&with("POST", "      a: { sql: db, select: select 1 }\n"));
    assert!(unkept.routes[0].calls[0].keep.is_none());
    let says = |route: &str, call: &str, what: &str| check_says(&with(route, &format!("      a: {call}\n")), what);
    says(
        "POST",
        "{ sql: db, select: select 1, cache: 1m }",
        "`cache` for a statement in a POST route",
    );
    says(
        "POST",
        "{ sql: db, exec: delete from x, stale: 1m }",
        "`stale` for what may change something",
    );
    says(
        "GET",
        "{ redis: hot INCR x, cache: 1m }",
        "`cache` for a command that does more than read",
    );
    says(
        "GET",
        "{ redis: hot GET x, cache: http }",
        "`cache: http` for answers without headers",
    );
    says("GET", "{ redis: hot GET x, vary: [A] }", "`vary` has no meaning beside `redis`");
    let source =
        "sources:\n  db: { postgres: 'postgres://h/d', cache: http }\nroutes:\n  GET /x: { calls: { a: { sql: db, select: select 1 } } }\n";
    check_says(source, "`cache: http` for answers without headers");
}
