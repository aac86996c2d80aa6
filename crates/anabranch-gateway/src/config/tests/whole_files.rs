//! Files without faults, and what is read from them.

use std::time::Duration;

use super::{listed, lookup, read_clean, ACTIVITY};
use crate::config::model::{ActionConfig, HttpConfig, ReplyConfig, SlashConfig, WireConfig};
use crate::config::{compile, keys, read, Faults, MapLookup, Node, NodeKind, Style};

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
    wire: hyper
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
    assert_eq!(source.wire.as_ref().unwrap().value, WireConfig::Hyper);
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
    reply: { merge: [seen], deep: true }
"#;
    let mut faults = Faults::new("f", text);
    read(text, &lookup(), &mut faults);
    assert_eq!(faults.len(), 2, "{faults}");
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

/// The reference page lies beside the crates, not in this one, so it is read when the test runs.
fn reference_page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/config.md")).unwrap()
}

#[test]
fn every_file_on_the_reference_page_and_in_the_guides_to_what_calls_may_say_compiles() {
    let guide = |name: &str| std::fs::read_to_string(format!("{}/../../docs/guide/{name}.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let page = reference_page() + &guide("lists") + &guide("caching") + &guide("stores") + &guide("proxy") + &guide("compute");
    let files: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(files.len() >= 4);
    let lookup = MapLookup::new()
        .with_env("PORT", "8080")
        .with_env("SHOP_HOST", "shop.svc")
        .with_env("SHOP_KEY", "k")
        .with_env("PG_URL", "postgres://app@db/shop")
        .with_env("REDIS_URL", "redis://cache")
        .with_file("shop.token", "t\n")
        .with_file("certs/ca.pem", &certificate());
    let has_databases = cfg!(all(feature = "postgres", feature = "redis"));
    for file in files {
        if !has_databases && (file.contains("postgres:") || file.contains("redis:")) {
            continue;
        }
        compile("docs", file, &lookup).unwrap_or_else(|faults| panic!("{file}\n{faults}"));
    }
}

fn certificate() -> String {
    rcgen::generate_simple_self_signed(["shop.svc".to_owned()]).unwrap().cert.pem()
}

#[test]
fn the_reference_page_has_every_key() {
    let page = reference_page();
    for section in keys::ALL {
        for key in section.known.iter().chain(section.planned) {
            assert!(page.contains(&format!("`{key}`")), "`{key}` of {}", section.of);
        }
    }
}
