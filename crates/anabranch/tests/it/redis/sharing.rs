//! Many calls over one connection, and whose connection it is.

use std::sync::Arc;

use anabranch::redis::{Binary, Redis, RedisCall, RedisSettings};
use anabranch::{Client, Deadline, Kind};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{ask, ask_within, ms, words};
use crate::redis_server::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_at_once_share_a_connection_and_each_gets_its_own_answer() {
    let Some(server) = RedisServer::start() else { return };
    let redis = Redis::builder("hot", &server.url()).in_flight(1_000).build().unwrap();
    let client = Client::new();
    let mut calls = JoinSet::new();
    for number in 0..1_000 {
        let (redis, client) = (redis.clone(), client.clone());
        calls.spawn(async move {
            // Of different kinds and lengths, so that an answer to another would show.
            let value = "v".repeat(number % 97) + &number.to_string();
            assert_eq!(ask(&redis, &client, &format!("SET key:{number} {value}")).await.unwrap(), r#""OK""#);
            assert_eq!(
                ask(&redis, &client, &format!("GET key:{number}")).await.unwrap(),
                format!("\"{value}\"")
            );
            assert_eq!(
                ask(&redis, &client, &format!("STRLEN key:{number}")).await.unwrap(),
                value.len().to_string()
            );
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    assert_eq!((redis.counts().dials, server.connections()), (1, 1));
    let counts = redis.counts();
    assert_eq!((counts.in_flight, counts.waiting, counts.unanswered), (0, 0, 0));
}

fn times_called(server: &RedisServer, command: &str) -> u64 {
    let stats = server.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:calls=")));
    let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn what_several_ask_with_mget_is_asked_once() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    for number in 0..50 {
        ask(&redis, &client, &format!("SET key:{number} {number}")).await.unwrap();
    }
    ask(&redis, &client, "RPUSH list x").await.unwrap();
    let before = times_called(&server, "mget");
    let mut calls = JoinSet::new();
    for number in 0..50 {
        let (redis, client) = (redis.clone(), client.clone());
        calls.spawn(async move {
            let asked = format!("MGET key:{number} none list key:{}", (number + 1) % 50);
            assert_eq!(
                ask(&redis, &client, &asked).await.unwrap(),
                format!("[\"{number}\",null,null,\"{}\"]", (number + 1) % 50)
            );
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    let asked = times_called(&server, "mget") - before;
    assert!((1..=5).contains(&asked), "50 callers asked {asked} times");
}

#[tokio::test]
async fn an_mget_that_wants_bytes_otherwise_is_not_joined_with_one_that_does_not() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    let deadline = Deadline::after(ms(5000));
    let blob = [
        Bytes::from_static(b"SET"),
        Bytes::from_static(b"blob"),
        Bytes::from_static(b"\xff\x00"),
    ];
    redis.command(&client, &blob, deadline).await.unwrap();
    let base64 = RedisSettings {
        binary: Binary::Base64,
        ..RedisSettings::default()
    };
    let mget = words("MGET blob none");
    let coded = RedisCall {
        words: &mget,
        settings: &base64,
    };
    let (refused, coded, none) = tokio::join!(
        redis.command(&client, &mget, deadline),
        async { redis.call(&client, &coded, deadline).await.0 },
        ask(&redis, &client, "MGET none none"),
    );
    assert_eq!(refused.unwrap_err().kind(), Kind::Decode);
    assert_eq!(coded.unwrap(), r#"[{"base64":"/wA="},null]"#);
    assert_eq!(none.unwrap(), "[null,null]");
}

#[tokio::test]
async fn of_a_joined_mget_only_the_one_fails_that_would_have_failed_alone() {
    let Some(server) = RedisServer::start() else { return };
    let settings = RedisSettings {
        max_body: 200,
        ..RedisSettings::default()
    };
    let redis = Redis::builder("hot", &server.url()).settings(settings).build().unwrap();
    let client = Client::new();
    server.ask(&["SET", "small", "fits"]);
    server.ask(&["SETRANGE", "large", "1000", "x"]);
    server.ask(&["SET", "medium", &"m".repeat(190)]);
    // Two of them fit alone but not together.
    let asked = [
        "MGET small",
        "MGET large",
        "MGET medium",
        "MGET medium none",
        "MGET medium medium",
        "MGET small small",
    ];
    let answers = asked.map(|command| ask(&redis, &client, command));
    let kinds: Vec<Option<Kind>> = futures_util::future::join_all(answers)
        .await
        .iter()
        .map(|answer| answer.as_ref().err().map(|error| error.kind()))
        .collect();
    let too_large = Some(Kind::TooLarge);
    assert_eq!(kinds, [None, too_large, None, None, too_large, None]);
    assert_eq!(redis.counts().dials, 1);
}

#[tokio::test]
async fn every_client_has_its_own_connection_and_gives_it_up_when_asked() {
    let Some(server) = RedisServer::start() else { return };
    let redis = Redis::new("hot", &server.url()).unwrap();
    let (one, other) = (Client::new(), Client::new());
    ask(&redis, &one, "PING").await.unwrap();
    ask(&redis, &other, "PING").await.unwrap();
    assert_eq!((redis.counts().connections, server.connections()), (2, 2));
    let (answer, ()) = tokio::join!(ask(&redis, &one, "PING"), async { redis.release(&one) });
    assert!(answer.is_ok(), "what was sent is answered: {answer:?}");
    let started = tokio::time::Instant::now();
    assert!(one.drain(Deadline::after(ms(5000))).await.is_empty());
    assert!(started.elapsed() < ms(1000));
    assert_eq!(redis.counts().connections, 1);
    // After the drain nothing is opened any more.
    let error = ask(&redis, &one, "PING").await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (Kind::Cancelled, false));
    assert!(ask(&redis, &other, "PING").await.is_ok());
    drop(other);
    settle(|| server.connections() == 0).await;
}

#[tokio::test]
async fn a_source_that_is_closed_or_dropped_leaves_nothing_behind() {
    let Some(server) = RedisServer::start() else { return };
    let client = Client::new();
    let redis = Redis::new("hot", &server.url()).unwrap();
    ask(&redis, &client, "PING").await.unwrap();
    redis.close();
    assert_eq!(ask(&redis, &client, "PING").await.unwrap_err().kind(), Kind::Cancelled);
    settle(|| server.connections() == 0 && client.background().count() == 0).await;
    let redis = Redis::new("hot", &server.url()).unwrap();
    ask(&redis, &client, "PING").await.unwrap();
    drop(redis);
    settle(|| server.connections() == 0 && client.background().count() == 0).await;
}

#[tokio::test]
async fn a_connection_that_is_old_is_replaced_without_a_failure() {
    let Some(server) = RedisServer::start() else { return };
    let redis = Redis::builder("hot", &server.url())
        .max_lifetime(ms(50))
        .in_flight(1_000)
        .build()
        .unwrap();
    let client = Arc::new(Client::new());
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (redis, client) = (redis.clone(), client.clone());
        calls.spawn(async move {
            for _ in 0..60 {
                ask(&redis, &client, "INCR count").await.unwrap();
                tokio::time::sleep(ms(5)).await;
            }
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    assert_eq!(ask(&redis, &client, "GET count").await.unwrap(), r#""1200""#);
    assert!(redis.counts().dials > 2, "{:?}", redis.counts());
    assert!(server.connections() <= 1);
}

#[tokio::test]
async fn the_limit_in_flight_holds_and_says_so() {
    let Some(server) = RedisServer::start() else { return };
    let redis = Redis::builder("hot", &server.url())
        .in_flight(2)
        .queue(1)
        .queue_wait(ms(30))
        .build()
        .unwrap();
    let client = Client::new();
    ask(&redis, &client, "PING").await.unwrap();
    server.freeze();
    let held = ms(400);
    let (one, other, queued, refused) = tokio::join!(
        ask_within(&redis, &client, "GET a", held),
        ask_within(&redis, &client, "GET b", held),
        ask_within(&redis, &client, "GET c", held),
        async {
            tokio::task::yield_now().await;
            ask_within(&redis, &client, "GET d", held).await
        },
    );
    server.thaw();
    assert_eq!((one.unwrap_err().kind(), other.unwrap_err().kind()), (Kind::Timeout, Kind::Timeout));
    for error in [queued.unwrap_err(), refused.unwrap_err()] {
        assert_eq!((error.kind(), error.was_sent()), (Kind::Limit, false), "{error}");
    }
    let limited = Redis::builder("hot", &server.url()).rate(1.0).build().unwrap();
    let deadline = Deadline::after(ms(5000));
    limited.command(&client, &words("PING"), deadline).await.unwrap();
    assert_eq!(
        limited.command(&client, &words("PING"), deadline).await.unwrap_err().kind(),
        Kind::Limit
    );
}

async fn settle(condition: impl Fn() -> bool) {
    let started = tokio::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < ms(5000), "it does not settle");
        tokio::time::sleep(ms(5)).await;
    }
}
