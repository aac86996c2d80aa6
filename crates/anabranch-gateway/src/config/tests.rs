//! Whole files: what is read, and what their faults say.

use std::fmt::Write;
use std::time::Duration;

use proptest::prelude::*;

use super::model::{ActionConfig, Config, HttpConfig, ReplyConfig, SlashConfig};
use super::*;

fn lookup() -> MapLookup {
    MapLookup::new()
        .with_env("HOST", "shop.svc")
        .with_env("SECRET", "hunter2$id")
        .with_file("certs/ca.pem", "PEM\n")
}

/// Each fault as `line:column message (help)`.
fn listed(faults: &Faults) -> String {
    let mut shown = String::new();
    for fault in faults.sorted() {
        let (line, column) = faults.line_column(fault.span.start);
        let help = fault.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        writeln!(shown, "{line}:{column} {}{help}", fault.message).unwrap();
    }
    shown
}

fn check(text: &str, expected: &str) {
    let mut faults = Faults::new("gateway.yaml", text);
    super::read(text, &lookup(), &mut faults);
    let expected: String = expected.lines().map(|line| format!("{}\n", line.trim())).collect();
    let start: String = text.chars().take(2_000).collect();
    assert_eq!(listed(&faults), expected, "\n{start}\n{faults}");
}

fn read_clean(text: &str) -> Config {
    let mut faults = Faults::new("gateway.yaml", text);
    let config = super::read(text, &lookup(), &mut faults);
    assert!(faults.is_empty(), "{faults}");
    config.unwrap()
}

/// One call `c` in a file that is right but for it.
fn check_call(call: &str, expected: &str) {
    check(&format!("routes:\n  GET /:\n    calls:\n      c: {call}\n"), expected);
}

#[test]
fn a_file_that_is_no_config_has_one_fault() {
    const HINT: &str = "quote a text that holds `: ` or ` #`, or that begins with one of ``{ } [ ] , & * # ? | - < > = ! % @ ` ``";
    check("", "1:1 the file is empty (expected at least `routes:`)");
    check("# a comment\n", "1:1 the file is empty (expected at least `routes:`)");
    check(
        "---\n",
        "2:1 the file has no value (expected a mapping of keys such as `sources:` and `routes:`)",
    );
    check(
        "just text",
        "1:1 the file cannot be `just text` (expected a mapping of keys such as `sources:` and `routes:`)",
    );
    check(
        "[a, b]",
        "1:1 the file cannot be a list (expected a mapping of keys such as `sources:` and `routes:`)",
    );
    check(
        "a: b: c",
        &format!("1:5 not valid YAML: mapping values are not allowed in this context ({HINT})"),
    );
    check("a: @b", &format!("1:4 not valid YAML: unexpected character: `@' ({HINT})"));
    check(
        "a: \"b",
        "1:4 not valid YAML: while scanning a quoted scalar, found unexpected end of stream (the closing quote is missing)",
    );
    check(
        "routes:\n  a:\n\tb: {}\n",
        "3:2 not valid YAML: tabs disallowed within this context (block indentation) (use blanks, not tabs)",
    );
    check(
        "---\na: 1\n---\nb: 2\n",
        "3:1 a second document begins (expected one document in the file)",
    );
    check(
        "a: \0 b",
        "1:4 found the control character U+0000 (in double quotes write `\\r` or `\\u0000`)",
    );
    check(
        "ä: x\ry",
        "1:5 found a carriage return without a line feed (in double quotes write `\\r` or `\\u0000`)",
    );
    check(&"x".repeat(yaml::TEXT_MAX + 1), "1:1 the file is too large (at most 8 MiB)");
}

#[test]
fn brackets_in_brackets_are_told_to_be_quoted() {
    let text = "routes:\n  GET /a: { calls: { x: { get: shop /x?y=${a.b}z } } }\n";
    let hint = "in the `{` of line 2; inside of it quote a text that holds `{`, `}`, `[`, `]`, `,` or `: `";
    check(
        text,
        &format!("2:43 not valid YAML: while parsing a flow mapping, did not find expected ',' or '}}' ({hint})"),
    );
}

#[test]
fn anchors_and_bombs_made_of_them_have_one_fault() {
    const FAULT: &str = "anchors and aliases are not supported";
    const HELP: &str = "write the value out where it is needed; quote a text that begins with `&` or `*`";
    check("a: &x 1\nb: *x\n", &format!("1:4 {FAULT} ({HELP})"));
    check(
        "a: *x\n",
        &format!("1:4 not valid YAML: while parsing node, found unknown anchor ({FAULT}; quote a text that begins with `*` or `&`)"),
    );
    let mut bomb = "a0: &a0 [x, x, x]\n".to_owned();
    for level in 1..20 {
        let alias = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", [alias.as_str(); 9].join(", ")).unwrap();
    }
    check(&bomb, &format!("1:5 {FAULT} ({HELP})"));
}

#[test]
fn deep_nesting_has_one_fault_however_deep() {
    for open in ["[", "{a: ", "- ", "[a, ", "? ", "[[[[["] {
        for levels in [65, 300, 100_000] {
            let text = open.repeat(levels);
            let mut faults = Faults::new("f", &text);
            assert!(yaml::parse(&text, &mut faults).is_none());
            let messages: Vec<&str> = faults.sorted().iter().map(|fault| fault.message.as_str()).collect();
            assert_eq!(messages, ["more than 64 levels inside one another"], "{open}");
        }
    }
    let deepest = format!("{}x{}", "[".repeat(64), "]".repeat(64));
    assert!(yaml::parse(&deepest, &mut Faults::new("f", &deepest)).is_some());
}

#[test]
fn what_yaml_allows_and_people_trip_over_is_a_fault() {
    let text = "\
defaults: { retry: 017 }
defaults: { retry: 1 }
sources:
  <<: { a: 1 }
  shop: !!map { url: http://x }
  [a]: { url: http://x }
  : { url: http://x }
routes: { GET /: { calls: { c: shop / } } }
";
    check(
        text,
        "1:20 number `017` with leading zeros (leave the zeros out, or quote it if it is a text; octal numbers begin with `0o`)
         1:20 `retry` cannot be `17` (expected a whole number from 0 to 10)
         2:1 duplicate key `defaults` (it stands in line 1 already)
         4:3 merge keys are not supported (write the keys out, or use `defaults`)
         5:9 tags are not supported (quote a text that begins with `!`)
         6:3 a list or mapping stands as a key (quote a text that begins with `{` or `[`)
         7:3 a key is missing",
    );
}

#[test]
fn a_file_says_of_each_top_level_key_what_it_expected() {
    let text = "\
listen:
health: [a]
credentials: Cookie
slash: maybe
max_calls: 0
tls: {}
listne: x
sources: [shop]
";
    check(
        text,
        "1:1 the file has no `routes` (expected `routes:` with entries such as `GET /activity/{id:int}:`)
         1:1 `listen` has no value (expected text)
         2:9 `health` cannot be a list (expected text: quote it, or use `|`)
         3:14 `credentials` cannot be `Cookie` (expected a list: write `[Cookie]`)
         4:8 `slash` cannot be `maybe` (expected `strict` or `ignore`)
         5:12 `max_calls` cannot be `0` (expected a whole number from 1 to 1000000)
         6:1 unknown key `tls` in the file (it belongs to a source)
         7:1 unknown key `listne` (did you mean `listen`?)
         8:10 `sources` cannot be a list (expected a mapping of names such as `shop: { url: http://shop.svc:8000 }`)",
    );
}

#[test]
fn a_source_says_of_each_key_what_it_expected() {
    let text = "\
routes: { GET /: { calls: { c: shop / } } }
sources:
  shop: http://x
  user: { url: [], in_flight: auto, rate: 5, pool: -1, http: 3, breaker: on }
  none: { queue: 1.5, queue_wait: 1 }
  some: { url: [http://x, 5], tls: { cert: x, kye: y }, headers: { X: 5, Z: $id }, timeout: 0s }
  db: { postgres: $env.PG }
";
    check(
        text,
        "3:9 source `shop` cannot be `http://x` (expected a mapping: write `{ url: http://x }`)
         4:16 `url` is an empty list (expected at least one `http://host:port`)
         4:31 `in_flight` cannot be `auto` (expected a whole number from 1 to 1000000)
         4:43 `rate` cannot be `5` (expected a rate `N/s` or `N/m`: write `5/s` or `5/m`)
         4:52 `pool` cannot be `-1` (expected a whole number from 0 to 100000)
         4:62 `http` cannot be `3` (expected `auto`, `1.1` or `2`)
         4:65 unknown key `breaker`: not built yet (this version does not know it)
         5:3 source `none` has no `url` (expected `url: http://host:port`, or a list of them)
         5:18 `queue` cannot be `1.5` (expected a whole number from 0 to 1000000)
         5:35 `queue_wait` cannot be `1` (expected a duration with its unit `ms`, `s`, `m`, `h` or `d`: write `1s` or `1ms`)
         6:27 an item of `url` cannot be `5` (expected text: quote it, or use `|`)
         6:38 `cert` without `key` (a client certificate needs both)
         6:47 unknown key `kye` (did you mean `key`?)
         6:71 header `X` cannot be `5` (expected text: quote it, or use `|`)
         6:77 a `$` that begins no reference to read at load (expected `$env.NAME` or `$file.PATH`; a dollar is `$$`)
         6:93 `timeout` cannot be `0s` (expected a duration above 0)
         7:9 unknown key `postgres`: not built yet (this version does not know it)",
    );
}

#[test]
fn a_route_says_of_each_key_what_it_expected() {
    let text = "\
routes:
  /x: { calls: { a: shop / } }
  get /y: { calls: {} }
  GET z: {}
  FETCH /w: null
  GET: { proxy: shop }
  GET /activity/{id:int}:
    query: { lang: $env.LANG, page: [1] }
    headers: Authorization
    need: [a, a, [b]]
    deadline: 1
    grace: 0
    body: { mx: 8M }
    status: {}
    errors: keep
    account: bdy
    timing: yes
    reply: { only: a, merge: [b], jq: . }
    stream: false
    timeout: 1s
    calls: [a]
  GET /r1: { reply: {}, calls: { a: shop / } }
  GET /r2: { reply: { merge: a }, calls: { a: shop / } }
  GET /r3: { reply: { jq: . }, calls: { a: shop / } }
";
    check(
        text,
        "2:3 route `/x` has no method (expected a method and a path such as `GET /activity/{id:int}`: write `GET /x`)
         3:3 unknown method `get` (write `GET`)
         3:20 `calls` is empty (expected a mapping of calls such as `user: shop /users/$id`)
         4:3 route `GET z` has no `calls` (expected a mapping of calls such as `user: shop /users/$id`)
         4:7 path `z` does not begin with `/` (expected a method and a path such as `GET /activity/{id:int}`)
         5:3 unknown method `FETCH` (expected `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`)
         5:13 route `FETCH /w` has no value (expected a mapping with keys such as `query:`)
         6:3 route `GET` has no path (expected a method and a path such as `GET /activity/{id:int}`)
         6:10 unknown key `proxy`: not built yet (this version does not know it)
         8:20 `$env.LANG` cannot stand in a parameter
         9:14 `headers` cannot be `Authorization` (expected a list: write `[Authorization]`)
         10:15 `a` stands twice in `need`
         10:18 an item of `need` cannot be a list (expected text: quote it, or use `|`)
         11:15 `deadline` cannot be `1` (expected a duration with its unit `ms`, `s`, `m`, `h` or `d`: write `1s` or `1ms`)
         12:12 `grace` cannot be `0` (expected a duration with its unit `ms`, `s`, `m`, `h` or `d`: write `0s` or `0ms`)
         13:13 unknown key `mx` (did you mean `max`?)
         14:5 `status` has no `from` (expected `status: { from: CALL }`)
         15:13 `errors` cannot be `keep` (expected `pass`)
         16:14 `account` cannot be `bdy` (expected `header` or `body`)
         17:13 `timing` cannot be `yes` (expected `true` or `false`)
         18:23 `only` and `merge` in one `reply` (expected exactly one of `only`, `value` or `merge`)
         18:35 unknown key `jq`: not built yet (this version does not know it)
         19:5 unknown key `stream`: not built yet (this version does not know it)
         20:5 unknown key `timeout` in a route (it belongs to `defaults` or a source or a call)
         21:12 `calls` cannot be a list (expected a mapping of calls such as `user: shop /users/$id`)
         22:21 `reply` says nothing (expected one of `only`, `value` or `merge`)
         23:30 `merge` cannot be `a` (expected a list: write `[a]`)
         24:23 unknown key `jq`: not built yet (this version does not know it)",
    );
}

#[test]
fn a_call_says_of_each_key_what_it_expected() {
    const ONE: &str = "expected exactly one of `get`, `head`, `post`, `put`, `patch`, `delete` or `value`";
    const FORMS: &str = "expected a text `source /path`, or a mapping with a key such as `get:`";
    check_call("[shop, /x]", &format!("4:10 call `c` cannot be a list ({FORMS})"));
    check_call("", &format!("4:7 call `c` has no value ({FORMS})"));
    check_call(
        "{ get: shop /x, post: shop /y, value: 1 }",
        &format!("4:26 `get` and `post` in one call ({ONE})\n4:41 `get` and `value` in one call ({ONE})"),
    );
    check_call("{ timeout: 1s }", &format!("4:7 call `c` does nothing ({ONE})"));
    check_call(
        "{ sql: db, select: x }",
        "4:12 unknown key `sql`: not built yet (this version does not know it)\n4:21 unknown key `select`: not built yet (this version does not know it)",
    );
    check_call(
        "{ value: 1, timeout: 1s }",
        "4:22 `timeout` has no meaning beside `value` (a value sends no request)",
    );
    check_call(
        "{ get: { a: b } }",
        "4:17 `get` cannot be a mapping (expected text: quote it, or use `|`)",
    );
    check_call(
        "{ get: shop /x, connect_timeout: 1s }",
        "4:26 unknown key `connect_timeout` in a call (it belongs to `defaults` or a source)",
    );
    check_call(
        "{ get: shop /x, after: x ok }",
        "4:33 `after` cannot be `x ok` (expected a list: write `[x ok]`)",
    );
    check_call(
        "{ get: shop /x, idempotent: no }",
        "4:38 `idempotent` cannot be `no` (expected `true` or `false`)",
    );
    check_call(
        "{ get: shop /x, headers: [A] }",
        "4:35 `headers` cannot be a list (expected a mapping of names and values)",
    );
    check_call(
        "{ get: shop /x, headers: { A: 1 } }",
        "4:40 header `A` cannot be `1` (expected text: quote it, or use `|`)",
    );
    check_call(
        "{ get: shop /x, ok: [2xx, {404: $env.HOST}] }",
        "4:42 `$env.HOST` cannot stand in `ok`",
    );
    check_call(
        "{ get: shop /x, when: true }",
        "4:32 `when` cannot be `true` (expected text: quote it, or use `|`)",
    );
    check_call(
        "{ get: shop /x, max_body: 8MB }",
        "4:36 `max_body` cannot be `8MB` (expected a size with its unit `K`, `M` or `G` (1024 each), found `MB`)",
    );
    check_call("shop /x?key=$env.NOPE", "4:22 environment variable `NOPE` is not set");
    check_call("shop /x?key=${file.no}", "4:22 cannot read file `no`: no such file");
    check_call(
        "{ get: shop /x, body: { a: [\"${env.NOPE}\"] } }",
        "4:39 environment variable `NOPE` is not set",
    );
}

/// Ten faults of ten kinds, with tabs and letters of several bytes before some of them.
#[test]
fn ten_faults_are_printed_at_once_each_with_its_place() {
    let text = "\
defaults:
  timeout: 5
sources:
  größe: { ur: http://x,\turl: $env.NOPE }
  shop:  { url: http://shop, \"rate\": \t200 }
routes:
  GET /äöü/{id:int}:
    deadline: 2.5
    need: activity
    calls:
      activity: { get: größe /x, cache: 1m }
      prices:   { gte: shop /y }
      über:
  POST /x: { calls: { \"日本\": { post: shop /x, retry: -1 } } }
";
    let faults = compile("gateway.yaml", text, &lookup()).unwrap_err();
    let shown = faults.render(false);
    let expected = [
        (2, 12, "`timeout` cannot be `5`"),
        (4, 12, "unknown key `ur`"),
        (4, 31, "environment variable `NOPE` is not set"),
        (5, 39, "`rate` cannot be `200`"),
        (8, 15, "`deadline` cannot be `2.5`"),
        (9, 11, "`need` cannot be `activity`"),
        (11, 34, "unknown key `cache`: not built yet"),
        (12, 7, "call `prices` does nothing"),
        (12, 19, "unknown key `gte`"),
        (13, 7, "call `über` has no value"),
        (14, 53, "`retry` cannot be `-1`"),
    ];
    let mut rest = shown.as_str();
    for (line, column, message) in expected {
        let header = rest
            .find(&format!("error: {message}\n"))
            .unwrap_or_else(|| panic!("{message} in\n{shown}"));
        rest = &rest[header..];
        let place = rest.lines().nth(1).unwrap().trim();
        assert_eq!(place, format!("--> gateway.yaml:{line}:{column}"), "{message}");
    }
    assert!(
        shown.contains("4 |   größe: { ur: http://x,    url: $env.NOPE }\n  |                                  ^^^^^^^^^\n"),
        "{shown}"
    );
}

#[test]
fn faults_of_the_graph_come_together_with_those_of_the_text() {
    let text = "sources:\n  shop: { url: http://x, rat: 1/s }\nroutes:\n  GET /:\n    calls: { a: shop /$nope }\n";
    let shown = compile("f", text, &lookup()).unwrap_err().render(false);
    assert!(
        shown.contains("f:2:26") && shown.contains("f:5:23") && shown.contains("2 faults"),
        "{shown}"
    );
}

#[test]
fn secrets_are_in_no_fault() {
    let text = "\
listen: $env.SECRET
sources:
  shop: { url: $env.SECRET, headers: { \"bad name\": $env.SECRET } }
routes:
  GET /:
    calls:
      a: { get: $env.SECRET /x, when: $env.SECRET ==, headers: { X: $env.SECRET $nope } }
      b: { value: [\"$env.SECRET $nope\"] }
";
    let faults = compile("f", text, &lookup()).unwrap_err();
    let shown = format!("{} {faults:?}", faults.render(true));
    assert!(!shown.contains("hunter2"), "{shown}");
}

const ACTIVITY: &str = r#"
listen: 0.0.0.0:8080
defaults:                      # for every call, unless it says otherwise
  timeout: 1s                  # of one attempt
  retry: 1                     # idempotent calls only; jittered; never past the deadline
sources:
  shop:   { url: http://shop.svc:8000, in_flight: 40 }
  user:   { url: ["http://user-1:8000", "http://user-2:8000"], pass: [Authorization] }
  promo:  { url: http://promo.svc:8000, rate: 200/s }
routes:
  GET /activity/{id:int}:
    query: { lang: en, page: 1 }             # the parameters let in, with their defaults
    headers: [Authorization, X-Request-Id]   # let in; credentials go only to sources that pass them
    deadline: 2.5s
    need: [activity, items]                  # without these an error; without others 200 and an account
    calls:
      activity:  shop /activities/$id?lang=$lang
      items:     shop /activities/$id/items?page=$page
      prices:    shop /prices?activity=$id
      coupons:   { get: "promo /coupons?activity=$id",   else: [] }
      profile:   { get: "user /me",                      else: { vip: false } }
      cart:      { get: "user /me/cart",                 timeout: 400ms }
"#;

#[test]
fn the_activity_page_is_read() {
    let config = read_clean(ACTIVITY);
    assert_eq!(config.listen.unwrap().value, "0.0.0.0:8080");
    assert_eq!(config.defaults.timeout.unwrap().value, Duration::from_secs(1));
    let urls: Vec<&str> = config.sources[1].url.iter().map(|url| url.value.as_str()).collect();
    assert_eq!(urls, ["http://user-1:8000", "http://user-2:8000"]);
    assert_eq!(config.sources[2].rate.as_ref().unwrap().value, 200.0);
    let route = &config.routes[0];
    assert_eq!(
        (route.method.value.as_str(), route.path.value.as_str()),
        ("GET", "/activity/{id:int}")
    );
    assert_eq!(&ACTIVITY[route.path.span.start..route.path.span.end], "/activity/{id:int}");
    assert_eq!(route.need.as_ref().unwrap().len(), 2);
    assert_eq!(route.query[1].1.kind, NodeKind::Number("1".into()));
    let names: Vec<&str> = route.calls.iter().map(|call| call.name.value.as_str()).collect();
    assert_eq!(names, ["activity", "items", "prices", "coupons", "profile", "cart"]);
    let ActionConfig::Http { method, target } = &route.calls[0].action else {
        panic!("no request")
    };
    assert_eq!(
        (method.value.as_str(), target.value.as_str()),
        ("GET", "shop /activities/$id?lang=$lang")
    );
    assert_eq!(route.calls[3].otherwise.as_ref().unwrap().kind, NodeKind::List(Vec::new()));
    assert_eq!(route.calls[5].settings.timeout.as_ref().unwrap().value, Duration::from_millis(400));
    let plan = compile("gateway.yaml", ACTIVITY, &lookup()).unwrap();
    assert_eq!(plan.routes.len(), 1);
}

/// Every key that exists, once.
#[test]
fn every_key_is_read() {
    let text = r#"
listen: "$env.HOST:80"
health: 0.0.0.0:8081
credentials: [X-Api-Key]
slash: ignore
max_calls: 50
defaults: { timeout: 1s, retry: 2, max_body: 4M, connect_timeout: 500ms, first_byte: 2s, body_idle: 3s }
sources:
  shop:
    url: http://$env.HOST:8000
    in_flight: 40
    queue: 10
    queue_wait: 0ms
    rate: 30/m
    pool: 4
    pass: [Cookie]
    headers: { X-Key: "k-${env.SECRET}", X-Price: "5 $$" }
    http: 1.1
    tls: { ca: $file.certs/ca.pem, cert: $file.certs/ca.pem, key: $file.certs/ca.pem, server_name: shop }
    timeout: 2s
routes:
  POST /orders:
    query: { tag: [] }
    headers: [Cookie]
    body: { max: 64K }
    deadline: 1m
    grace: 50ms
    need: []
    reply: { value: { all: "$order", key: $env.SECRET } }
    status: { from: order }
    errors: pass
    account: body
    timing: false
    calls:
      order:
        post: shop /orders?k=$env.SECRET
        query: { n: 5, q: "$tag" }
        headers: { X-A: a $env.SECRET }
        body: { b: $body, secret: "$env.SECRET" }
        when: $tag == $env.SECRET
        after: [user ok]
        ok: [2xx, {404: null}]
        else: $backup
        idempotent: true
        forward: [Set-Cookie]
        max_body: 1M
      user: { value: null }
      backup: { delete: shop /x, else: null }
"#;
    let config = read_clean(text);
    assert_eq!(config.listen.unwrap().value, "shop.svc:80");
    assert_eq!(
        (config.slash.unwrap().value, config.max_calls.unwrap().value),
        (SlashConfig::Ignore, 50)
    );
    assert_eq!(config.defaults.max_body.unwrap().value, 4 << 20);
    let source = &config.sources[0];
    assert_eq!(source.url[0].value, "http://shop.svc:8000");
    assert_eq!(source.headers[0].1.value, "k-hunter2$id");
    assert_eq!(source.headers[1].1.value, "5 $");
    assert_eq!(
        (source.rate.as_ref().unwrap().value, source.http.as_ref().unwrap().value),
        (0.5, HttpConfig::Http1)
    );
    assert_eq!(source.tls.as_ref().unwrap().ca.as_ref().unwrap().value, "PEM");
    assert_eq!(source.settings.timeout.as_ref().unwrap().value, Duration::from_secs(2));
    let route = &config.routes[0];
    assert_eq!(
        (route.account_body, route.timing, route.errors_pass.as_ref().unwrap().value),
        (true, Some(false), true)
    );
    assert_eq!(route.need.as_ref().unwrap().len(), 0);
    let ReplyConfig::Value(Node {
        kind: NodeKind::Map(entries),
        ..
    }) = &route.reply.as_ref().unwrap().value
    else {
        panic!("no value")
    };
    assert_eq!(entries[0].1.kind, NodeKind::Text("$order".into(), Style::Quoted));
    assert_eq!(entries[1].1.kind, NodeKind::Text("hunter2$$id".into(), Style::Plain));
    let call = &route.calls[0];
    let ActionConfig::Http { method, target } = &call.action else {
        panic!("no request")
    };
    assert_eq!(
        (method.value.as_str(), target.value.as_str()),
        ("POST", "shop /orders?k=hunter2$$id")
    );
    assert_eq!(call.headers[0].1.value, "a hunter2$$id");
    assert_eq!(call.when.as_ref().unwrap().value, r#"$tag == "hunter2$id""#);
    assert_eq!(call.after[0].value, "user ok");
    assert_eq!(route.calls[2].otherwise.as_ref().unwrap().kind, NodeKind::Null);
    assert!(!format!("{config:?}", config = config.routes).contains("hunter2"));
}

#[test]
fn planned_keys_of_published_examples_are_named_as_such() {
    let text = r#"
sources:
  users: { url: http://users.svc.local:8000, hedge: p95 }
  hot:   { redis: redis://cache:6379/0 }
routes:
  GET /feed/{uid:int}:
    query: { limit: 20..100 }
    calls:
      seen:    { redis: "hot SMEMBERS seen:$uid", timeout: 30ms, else: [] }
      authors: { batch: "$posts[].author_id", get: users /users?ids=$keys, match: id, into: "posts[].author", cache: 5m }
    reply: { jq: . }
"#;
    let mut faults = Faults::new("f", text);
    super::read(text, &lookup(), &mut faults);
    assert_eq!(faults.len(), 8, "{faults}");
    assert!(listed(&faults).lines().all(|line| line.contains("not built yet")), "{faults}");
}

#[test]
fn json_is_read_as_well_and_so_are_windows_files() {
    let json =
        r#"{"sources": {"shop": {"url": "http:\/\/x"}}, "routes": {"GET /": {"calls": {"a": "shop \u002Fx", "b": {"value": "\t"}}}}}"#;
    let config = read_clean(json);
    assert_eq!(config.sources[0].url[0].value, "http://x");
    let windows = format!("\u{feff}{}", ACTIVITY.replace('\n', "\r\n"));
    let config = read_clean(&windows);
    let path = &config.routes[0].path;
    assert_eq!(&windows[path.span.start..path.span.end], "/activity/{id:int}");
}

/// Every text without quotes and on one line stands in the file at its place, and children lie within their parents.
fn places_hold(node: &Node, text: &str) {
    let inside = |span: Span| node.span.start <= span.start && span.end <= node.span.end;
    match &node.kind {
        NodeKind::Text(value, Style::Plain) if !value.contains('\n') && !text[node.span.start..node.span.end].contains('\n') => {
            assert_eq!(&text[node.span.start..node.span.end], value);
        }
        NodeKind::List(items) => {
            for item in items {
                assert!(inside(item.span), "{item:?} of {node:?} in {text:?}");
                places_hold(item, text);
            }
        }
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                assert!(
                    inside(key.span) && inside(value.span),
                    "{key:?} {value:?} of {:?} in {text:?}",
                    node.span
                );
                places_hold(value, text);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = compile("f", &text, &lookup()).map_err(|faults| faults.render(true));
    }

    #[test]
    fn no_yaml_makes_the_reader_panic(text in "[ \\-:\\[\\]{},#&*!|>'\"%@`?~a0$.ä\n\t]{0,80}") {
        let mut faults = Faults::new("f", &text);
        if let (Some(root), true) = (yaml::parse(&text, &mut faults), faults.is_empty()) {
            places_hold(&root, &text);
        }
        faults.render(false);
    }

    #[test]
    fn no_config_with_pieces_cut_out_or_put_in_makes_the_compiler_panic(
        from in 0..ACTIVITY.len(), length in 0..40_usize, piece in "[ \\-:\\[\\]{},$a0|'\"\n]{0,6}|\\$env\\.(HOST|SECRET|NOPE)|\\$[a-z]{1,4}(\\[\\]|\\.0)?"
    ) {
        let mut text = ACTIVITY.to_owned();
        text.replace_range(from..(from + length).min(ACTIVITY.len()), &piece);
        if let Err(faults) = compile("f", &text, &lookup()) {
            prop_assert!(!faults.is_empty());
            let shown = faults.render(false);
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        }
    }
}
