//! Redis calls against a real server: a value is an argument, an answer is a part, and what fails fails its part only.

use std::time::Duration;

use anabranch_gateway::config::MapLookup;
use anabranch_testkit::TcpUpstream;
use tokio::time::Instant;

use crate::redis_server::RedisServer;
use crate::setup::{good, ms, until, within, Reply, Running};

/// A gateway before a server and a service that always answers.
struct Page {
    running: Running,
    server: RedisServer,
    _good: TcpUpstream,
}

/// A page with these more keys of the source `hot`, and these routes. None where no other programs are to be tested with.
async fn page(source: &str, routes: &str) -> Option<Page> {
    let server = RedisServer::start()?;
    let good = good().await;
    let config = format!(
        "sources:\n  hot: {{ redis: '{}'{source} }}\n  good: {{ url: '{}' }}\nroutes:\n{routes}",
        server.url(),
        good.url()
    );
    let running = Running::with(&config, &MapLookup::new(), Duration::from_secs(4)).await;
    Some(Page {
        running,
        server,
        _good: good,
    })
}

#[track_caller]
fn check(reply: &Reply, status: u16, body: &str) {
    assert_eq!((reply.status, reply.text()), (status, body), "{:?}", reply.headers);
}

impl Page {
    async fn check(&self, path: &str, body: &str) {
        let reply = self.running.get(path).await;
        check(&reply, 200, body);
        assert_eq!(reply.header("anabranch-parts"), None, "{path}");
    }
}

#[tokio::test]
async fn answers_become_parts() {
    let routes = "  GET /x/{id:int}:
    calls:
      seen:  redis: hot SMEMBERS seen:$id
      user:  { redis: hot HGETALL user:$id }
      name:  { redis: hot GET name:$id }
      count: { redis: hot INCR count:$id }
";
    let routes = routes.replace("seen:  redis: hot SMEMBERS seen:$id", "seen:  { redis: hot SMEMBERS seen:$id }");
    let Some(page) = page("", &routes).await else { return };
    page.server.ask(&["SADD", "seen:7", "42"]);
    page.server.ask(&["HSET", "user:7", "name", "A\"da", "age", "36"]);
    page.check(
        "/x/7",
        r#"{"seen":["42"],"user":{"name":"A\"da","age":"36"},"name":null,"count":1}"#,
    )
    .await;
    page.check("/x/8", r#"{"seen":[],"user":{},"name":null,"count":1}"#).await;
    let reply = page.running.get("/x/7").await;
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
}

#[tokio::test]
async fn a_value_is_one_argument_whatever_is_in_it() {
    let routes = "  GET /set:
    query: { s: '' }
    calls: { c: { redis: \"hot SET 'a key' 'x $s'\" } }
  GET /get:
    query: { s: '' }
    calls: { c: { redis: \"hot GET $s\" } }
";
    let Some(page) = page("", routes).await else { return };
    page.check("/set?s=1%20EX%201%20'%22%20$1", r#"{"c":"OK"}"#).await;
    page.check("/get?s=a%20key", r#"{"c":"x 1 EX 1 '\" $1"}"#).await;
    // Line ends are refused at the door, before any command is made of them.
    assert_eq!(page.running.get("/get?s=a%0D%0AFLUSHALL").await.status, 400);
    assert_eq!(page.server.ask(&["TTL", "a key"]), ":-1\r\n");
}

#[tokio::test]
async fn a_list_is_one_argument_for_each_value() {
    let routes = "  GET /x:
    query: { ids: [] }
    calls:
      seen: { redis: hot SMEMBERS seen }
      c: { redis: hot MGET $ids }
      d: { redis: 'hot MGET $seen[]', when: $seen.0 }
";
    let Some(page) = page("", routes).await else { return };
    page.server.ask(&["MSET", "a", "1", "b b", "2"]);
    page.server.ask(&["SADD", "seen", "b b"]);
    page.check("/x?ids=b%20b&ids=none&ids=a", r#"{"seen":["b b"],"c":["2",null,"1"],"d":["2"]}"#)
        .await;
    let reply = page.running.get("/x").await;
    check(&reply, 200, r#"{"seen":["b b"],"c":null,"d":["2"]}"#);
    assert_eq!(reply.outcome("c"), "skipped");
}

#[tokio::test]
async fn a_command_of_the_wrong_type_fails_its_part_only() {
    let routes = "  GET /x:
    calls:
      good: good /value
      c: { redis: hot SMEMBERS text }
      d: { redis: hot SMEMBERS text, else: [] }
";
    let Some(page) = page("", routes).await else { return };
    page.server.ask(&["SET", "text", "secret"]);
    let reply = page.running.get("/x").await;
    check(&reply, 200, r#"{"good":{"id":1},"c":null,"d":[]}"#);
    assert_eq!((reply.outcome("c"), reply.outcome("d")), ("status", "fallback"));
}

const BESIDE: &str = "  GET /x:
    deadline: 1s
    calls:
      good: good /value
      c: { redis: hot GET a, timeout: 50ms, retry: 0 }
";

#[tokio::test]
async fn a_server_that_is_gone_costs_its_part_only_and_comes_back() {
    let Some(mut page) = page("", BESIDE).await else { return };
    page.check("/x", r#"{"good":{"id":1},"c":null}"#).await;
    page.server.kill();
    for _ in 0..5 {
        within(ms(300), "the page without its cache", async || {
            let started = Instant::now();
            let reply = page.running.get("/x").await;
            check(&reply, 200, r#"{"good":{"id":1},"c":null}"#);
            assert!(
                ["connect", "reset", "timeout"].contains(&reply.outcome("c")),
                "{}",
                reply.outcome("c")
            );
            started.elapsed()
        })
        .await;
    }
    page.server.resume();
    page.server.ask(&["SET", "a", "1"]);
    let started = Instant::now();
    while page.running.get("/x").await.text() != r#"{"good":{"id":1},"c":"1"}"# {
        assert!(started.elapsed() < ms(10_000), "it does not come back");
        tokio::time::sleep(ms(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up_in_time() {
    let Some(page) = page("", BESIDE).await else { return };
    page.check("/x", r#"{"good":{"id":1},"c":null}"#).await;
    page.server.freeze();
    within(ms(300), "the page beside a server that stands still", async || {
        let started = Instant::now();
        let reply = page.running.get("/x").await;
        check(&reply, 200, r#"{"good":{"id":1},"c":null}"#);
        assert!(["timeout", "connect"].contains(&reply.outcome("c")), "{}", reply.outcome("c"));
        started.elapsed()
    })
    .await;
    page.server.thaw();
}

#[tokio::test]
async fn the_connection_does_not_hold_up_the_end() {
    let Some(page) = page("", BESIDE).await else { return };
    page.check("/x", r#"{"good":{"id":1},"c":null}"#).await;
    let server = page.server;
    let started = Instant::now();
    assert_eq!(page.running.stopped().await, 0);
    assert!(started.elapsed() < ms(2_000), "{:?}", started.elapsed());
    until("the connection is gone", || server.connections() == 0).await;
}

#[tokio::test]
async fn what_is_read_may_be_kept_by_its_words() {
    let routes = "  GET /x:
    query: { k: '' }
    calls:
      c: { redis: hot GET $k, cache: 1m, stale: 1m }
      d: { redis: hot GET $k, cache: 1m, stale: 1m }
  GET /many:
    query: { k: [] }
    calls:
      c: { batch: $k, redis: hot MGET $keys, match: order, cache: 1m }
";
    let Some(mut page) = page("", routes).await else { return };
    page.server.ask(&["MSET", "a", "1", "b", "2"]);
    page.check("/x?k=a", r#"{"c":"1","d":"1"}"#).await;
    page.check("/many?k=a", r#"{"c":["1"]}"#).await;
    page.server.ask(&["MSET", "a", "10", "b", "20"]);
    page.check("/x?k=a", r#"{"c":"1","d":"1"}"#).await;
    page.check("/x?k=b", r#"{"c":"20","d":"20"}"#).await;
    let of_parts = page.running.get("/x?k=b").await;
    assert_eq!((of_parts.header("cache-status"), of_parts.header("age")), (None, None));
    page.check("/many?k=b&k=a&k=none", r#"{"c":["20","1",null]}"#).await;
    let calls = page.server.ask(&["INFO", "commandstats"]);
    assert!(calls.contains("cmdstat_get:calls=2,"), "equal calls are made once: {calls}");
    page.server.kill();
    page.check("/x?k=a", r#"{"c":"1","d":"1"}"#).await;
    page.check("/many?k=a&k=b", r#"{"c":["1","20"]}"#).await;
}
