//! A real cluster of three masters.

use std::time::Duration;

use anabranch::redis::{Redis, RedisSettings};
use anabranch::{Client, Kind};
use tokio::time::{Instant, sleep};

use super::{ask, ask_within, ms, recovers};
use crate::redis_server::{RedisCluster, RedisServer};

#[tokio::test]
async fn keys_are_found_wherever_they_are() {
    let Some(cluster) = RedisCluster::start(3) else { return };
    let (redis, client) = (Redis::new("hot", &cluster.url()).unwrap(), Client::new());
    for number in 0..200 {
        assert_eq!(
            ask(&redis, &client, &format!("SET key:{number} {number}")).await.unwrap(),
            r#""OK""#
        );
    }
    for number in 0..200 {
        assert_eq!(
            ask(&redis, &client, &format!("GET key:{number}")).await.unwrap(),
            format!("\"{number}\"")
        );
    }
    let counts = redis.counts();
    assert_eq!(
        (counts.connections, counts.dials),
        (3, 4),
        "one for each master, and one that asked for the map"
    );
    for server in &cluster.servers {
        assert!(!server.ask(&["DBSIZE"]).starts_with(":0"));
    }
    assert_eq!(ask(&redis, &client, "PING").await.unwrap(), r#""PONG""#);
}

#[tokio::test]
async fn an_mget_over_all_servers_keeps_its_order() {
    let Some(cluster) = RedisCluster::start(3) else { return };
    let (redis, client) = (Redis::new("hot", &cluster.url()).unwrap(), Client::new());
    for number in 0..60 {
        ask(&redis, &client, &format!("SET key:{number} {number}")).await.unwrap();
    }
    let keys: Vec<String> = (0..60).rev().map(|number| format!("key:{number} none:{number}")).collect();
    let values: Vec<String> = (0..60).rev().map(|number| format!("\"{number}\",null")).collect();
    let answer = ask(&redis, &client, &format!("MGET {}", keys.join(" "))).await.unwrap();
    assert_eq!(answer, format!("[{}]", values.join(",")));
    // Keys that are kept together are asked for together.
    ask(&redis, &client, "MSET {user:1}:a 1 {user:1}:b 2").await.unwrap();
    assert_eq!(
        ask(&redis, &client, "MGET {user:1}:a {user:1}:b {user:1}:c").await.unwrap(),
        r#"["1","2",null]"#
    );
    let settings = RedisSettings {
        max_body: 300,
        ..RedisSettings::default()
    };
    let small = Redis::builder("hot", &cluster.url()).settings(settings).build().unwrap();
    ask(&redis, &client, &format!("SET key:1 {}", "x".repeat(150))).await.unwrap();
    ask(&redis, &client, &format!("SET key:2 {}", "x".repeat(160))).await.unwrap();
    assert_eq!(ask(&small, &client, "MGET key:1 key:2").await.unwrap_err().kind(), Kind::TooLarge);
    assert!(ask(&small, &client, "MGET key:1 key:3").await.is_ok());
}

#[tokio::test]
async fn what_needs_one_server_for_all_keys_is_refused() {
    let Some(cluster) = RedisCluster::start(3) else { return };
    let (redis, client) = (Redis::new("hot", &cluster.url()).unwrap(), Client::new());
    let error = ask(&redis, &client, "DEL key:1 key:2 key:3 key:4").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.detail()),
        (Kind::Status, "CROSSSLOT: the keys are in different slots of the cluster")
    );
    let error = ask(&redis, &client, "SCAN 0").await.unwrap_err();
    assert!(
        error.kind() == Kind::Value && !error.was_sent() && error.detail().contains("one server only"),
        "{error}"
    );
    let alone = Redis::new("hot", &cluster.servers[cluster.owner(cluster.slot("a"))].url()).unwrap();
    let far = (0..100)
        .map(|number| format!("b{number}"))
        .find(|key| cluster.owner(cluster.slot(key)) != cluster.owner(cluster.slot("a")))
        .unwrap();
    assert_eq!(ask(&alone, &client, "GET a").await.unwrap(), "null");
    let error = ask(&alone, &client, &format!("GET {far}")).await.unwrap_err();
    assert!(error.kind() == Kind::Status && error.detail().starts_with("MOVED"), "{error}");
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let Some(cluster) = RedisCluster::start(3) else { return };
    let (redis, client) = (Redis::new("hot", &cluster.url()).unwrap(), Client::new());
    let slot = cluster.slot("{moving}");
    let from = &cluster.servers[cluster.owner(slot)];
    let to = &cluster.servers[(cluster.owner(slot) + 1) % 3];
    let (from_id, to_id) = (id(from), id(to));
    let slot = slot.to_string();
    ask(&redis, &client, "SET {moving}:old 1").await.unwrap();

    // Half-way: keys that are still there are served there, the others by the new server, if it is told.
    to.must(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.must(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    for _ in 0..3 {
        assert_eq!(ask(&redis, &client, "GET {moving}:old").await.unwrap(), r#""1""#);
        assert_eq!(ask(&redis, &client, "SET {moving}:new 2").await.unwrap(), r#""OK""#);
        assert_eq!(ask(&redis, &client, "GET {moving}:new").await.unwrap(), r#""2""#);
    }
    let error = ask(&redis, &client, "MGET {moving}:old {moving}:new").await.unwrap_err();
    assert!(
        error.kind() == Kind::Status && error.detail().starts_with("TRYAGAIN") && error.retry_after().is_some(),
        "{error}"
    );

    from.must(&["MIGRATE", to.host(), &to.port().to_string(), "{moving}:old", "0", "1000"]);
    to.must(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    from.must(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    for _ in 0..3 {
        assert_eq!(
            ask(&redis, &client, "MGET {moving}:old {moving}:new").await.unwrap(),
            r#"["1","2"]"#
        );
        sleep(ms(20)).await;
    }
    assert!(redis.counts().dials <= 7, "{:?}", redis.counts());
}

fn id(server: &RedisServer) -> String {
    server.ask(&["CLUSTER", "MYID"]).lines().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_server_that_is_gone_costs_its_keys_only_and_is_found_again() {
    let Some(mut cluster) = RedisCluster::start(3) else { return };
    let (redis, client) = (Redis::new("hot", &cluster.url()).unwrap(), Client::new());
    let gone = cluster.owner(cluster.slot("a"));
    let other = (0..100)
        .map(|number| format!("b{number}"))
        .find(|key| cluster.owner(cluster.slot(key)) != gone)
        .unwrap();
    // The others go on without it only if they are told to.
    for server in &cluster.servers {
        server.must(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    ask(&redis, &client, "SET a 1").await.unwrap();
    ask(&redis, &client, &format!("SET {other} 1")).await.unwrap();
    cluster.servers[gone].kill();
    let started = Instant::now();
    let mut slowest = ms(0);
    while started.elapsed() < ms(2000) {
        let asked = Instant::now();
        let error = ask_within(&redis, &client, "INCR a", ms(300)).await.unwrap_err();
        slowest = slowest.max(asked.elapsed());
        assert!(matches!(error.kind(), Kind::Connect | Kind::Reset | Kind::Status), "{error}");
        assert_eq!(ask(&redis, &client, &format!("GET {other}")).await.unwrap(), r#""1""#);
        sleep(ms(5)).await;
    }
    assert!(slowest < ms(200), "{slowest:?}");
    assert!(redis.counts().dials <= 20, "{:?}", redis.counts());
    cluster.servers[gone].resume();
    recovers(&redis, &client, "SET a 2", Duration::from_secs(10)).await;
    assert_eq!(ask(&redis, &client, "GET a").await.unwrap(), r#""2""#);
}

#[tokio::test]
async fn one_server_that_answers_is_enough_to_begin() {
    let Some(cluster) = RedisCluster::start(3) else { return };
    let client = Client::new();
    let gone = crate::redis_server::free_port();
    let last = cluster.servers[2].port();
    let redis = Redis::new("hot", &format!("redis://127.0.0.3:{gone},127.0.0.3:{last}")).unwrap();
    assert_eq!(ask(&redis, &client, "SET a 1").await.unwrap(), r#""OK""#);
    let redis = Redis::new("hot", &format!("redis://127.0.0.3:{last}?cluster=true")).unwrap();
    assert_eq!(ask(&redis, &client, "GET a").await.unwrap(), r#""1""#);
    redis.release(&client);
    redis.close();
    assert_eq!(ask(&redis, &client, "GET a").await.unwrap_err().kind(), Kind::Cancelled);

    let nobody = Redis::new("hot", &format!("redis://127.0.0.3:{gone}?cluster=true")).unwrap();
    for _ in 0..50 {
        let error = ask(&nobody, &client, "GET a").await.unwrap_err();
        assert_eq!((error.kind(), error.was_sent()), (Kind::Connect, false), "{error}");
    }
    assert!(nobody.counts().dials <= 2, "{:?}", nobody.counts());
    let Some(single) = RedisServer::start() else { return };
    let none = Redis::new("hot", &format!("{}?cluster=true", single.url())).unwrap();
    let error = ask(&none, &client, "GET a").await.unwrap_err();
    assert!(error.kind() == Kind::Status && error.detail().contains("ERR"), "{error}");
}
