//! Routes that are passed through: what their targets mean, and what cannot stand beside them.

use super::{faults, plan};

const SOURCES: &str = "sources:
  media: { url: http://media, retry: 3, first_byte: 9s, pass: [Authorization] }
  db: { postgres: postgres://app@db/shop }
routes:
";

#[test]
fn a_proxy_has_limits_of_idleness_and_no_deadline() {
    let plan = plan(&format!(
        "{SOURCES}  GET /a/*path: {{ proxy: media }}\n  PUT /b: {{ proxy: {{ to: media /c, max_body: 1G, body_idle: 5s }}, deadline: 1m }}\n"
    ));
    let route = &plan.routes[0];
    let proxy = route.proxy.as_ref().unwrap();
    assert!(!route.has_deadline() && route.calls.is_empty());
    assert_eq!((proxy.retry, proxy.max_body, proxy.rest), (3, None, Some(0)));
    assert_eq!((proxy.first_byte.as_secs(), proxy.body_idle.as_secs()), (9, 60));
    let route = &plan.routes[1];
    let proxy = route.proxy.as_ref().unwrap();
    assert_eq!((route.deadline.as_secs(), proxy.retry, proxy.body_idle.as_secs()), (60, 0, 5));
    assert_eq!(proxy.max_body, Some(1 << 30));
}

#[test]
fn what_a_client_sends_goes_along_as_far_as_it_may() {
    let plan = plan(&format!(
        "{SOURCES}  GET /a: {{ headers: [Authorization, Cookie, Accept, X-A, Host], proxy: {{ to: media /a, headers: {{ Range: none }} }} }}\n"
    ));
    let route = &plan.routes[0];
    let proxy = route.proxy.as_ref().unwrap();
    let passed: Vec<&str> = proxy.request.pass.iter().map(|index| route.headers[*index].as_str()).collect();
    assert_eq!(passed, ["authorization", "accept", "x-a"]);
    let always: Vec<&str> = proxy.always.iter().map(|name| name.as_str()).collect();
    assert!(
        always.contains(&"if-none-match") && !always.contains(&"accept") && !always.contains(&"range"),
        "{always:?}"
    );
}

#[test]
fn what_cannot_be_passed_through_is_a_fault() {
    let text = format!(
        "{SOURCES}  GET /a: {{ proxy: media /a, calls: {{ x: media /x }}, need: [x] }}
  GET /b: {{ proxy: meda /b }}
  GET /c: {{ proxy: db /c }}
  GET /d: {{ proxy: media /$id }}
  POST /e: {{ proxy: {{ to: media /e, retry: 1, forward: [Connection] }}, body: {{ schema: {{ type: object }} }} }}
  GET /f: {{ headers: [Cookie], proxy: {{ to: media /f, headers: {{ X: $header.cookie }} }} }}
  GET /g: {{ proxy: [media] }}
  GET /h: {{ proxy: {{ query: pass }} }}
  POST /i: {{ proxy: media /$body.id }}
  GET /j: {{ proxy: {{ to: media /j, query: all, timeout: 1s }} }}
  GET /k: {{ proxy: {{ to: media /k, cache: 1m }} }}
  PUT /l: {{ proxy: {{ to: media /l, cache: http }} }}
  GET /m: {{ proxy: {{ to: media /m, stale: 1h }} }}
"
    );
    let told: Vec<String> = faults(&text)
        .lines()
        .map(|line| line.split(" (").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        told,
        [
            "`calls`: `calls` and `proxy` in one route",
            "`need`: `need` and `proxy` in one route",
            "`meda`: unknown source `meda`",
            "`db`: `db` is a Postgres database",
            "`$id`: unknown name `$id`",
            "`1`: a request with a body is passed on once",
            "`Connection`: `Connection` belongs to the source's connection",
            "`{ type: object }`: a proxy cannot check a body against a schema",
            "`media /f`: `$header.cookie` is a credential that this source is not passed",
            "`[media]`: `proxy` cannot be a list",
            "`{ query: pass }`: `proxy` has no `to`",
            "`media /$body.id`: a body that is passed through is not read",
            "`all`: `query` of a proxy cannot be `all`",
            "`timeout`: unknown key `timeout` in `proxy`",
            "`1m`: a fixed time for what is passed through",
            "`http`: `cache` for PUT",
            "`1h`: `stale` without `cache`",
        ]
    );
}
