//! A real server that stands still or works for too long.

use anabranch::redis::{Redis, RedisSettings};
use anabranch::{Client, Kind, Phase};
use tokio::time::Instant;

use super::{ask, ask_within, ms, recovers};
use crate::redis_server::RedisServer;

#[tokio::test]
async fn a_server_that_stands_still_costs_its_calls_their_deadline_and_others_nothing() {
    let (Some(server), Some(well)) = (RedisServer::start(), RedisServer::start()) else {
        return;
    };
    let (redis, other, client) = (
        Redis::new("hot", &server.url()).unwrap(),
        Redis::new("well", &well.url()).unwrap(),
        Client::new(),
    );
    ask(&redis, &client, "SET key old").await.unwrap();
    ask(&other, &client, "SET key well").await.unwrap();
    server.freeze();
    for _ in 0..3 {
        let started = Instant::now();
        let (late, fine) = tokio::join!(ask_within(&redis, &client, "GET key", ms(50)), async {
            let answer = ask(&other, &client, "GET key").await;
            (answer, started.elapsed())
        });
        let error = late.unwrap_err();
        assert_eq!(
            (error.kind(), error.phase(), error.was_sent()),
            (Kind::Timeout, Some(Phase::FirstByte), true)
        );
        assert!(
            started.elapsed() >= ms(50) && started.elapsed() < ms(150),
            "{:?}",
            started.elapsed()
        );
        assert!(fine.0.is_ok() && fine.1 < ms(50), "{fine:?}");
    }
    server.thaw();
    // The answers to those who left are not taken for answers to those who come.
    for number in 0..20 {
        ask(&redis, &client, &format!("SET key {number}")).await.unwrap();
        assert_eq!(ask(&redis, &client, "GET key").await.unwrap(), format!("\"{number}\""));
    }
    assert_eq!(redis.counts().dials, 1, "a short stall costs no connection");
}

#[tokio::test]
async fn a_server_that_stands_still_for_long_is_given_up_and_found_again() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    ask(&redis, &client, "SET key 1").await.unwrap();
    server.freeze();
    let started = Instant::now();
    let (mut slowest, mut told) = (ms(0), 0);
    while started.elapsed() < ms(4500) {
        let asked = Instant::now();
        let error = ask_within(&redis, &client, "GET key", ms(100)).await.unwrap_err();
        slowest = slowest.max(asked.elapsed());
        match error.kind() {
            Kind::Timeout => {}
            Kind::Connect | Kind::Reset => told += 1,
            other => panic!("{other}: {error}"),
        }
        tokio::time::sleep(ms(10)).await;
    }
    assert!(slowest < ms(200), "{slowest:?}");
    assert!(told > 20, "after two seconds callers are told at once, not only {told} times");
    assert!(redis.counts().dials <= 6, "{:?}", redis.counts());
    server.thaw();
    let took = recovers(&redis, &client, "GET key", ms(4000)).await;
    assert!(took < ms(2500), "{took:?}");
    assert_eq!(ask(&redis, &client, "GET key").await.unwrap(), r#""1""#);
    assert!(redis.counts().unanswered == 0 && server.connections() == 1);
}

#[tokio::test]
async fn a_slow_command_holds_the_others_no_longer_than_their_deadlines() {
    let Some(server) = RedisServer::start() else { return };
    let redis = Redis::builder("hot", &server.url()).allow("DEBUG").build().unwrap();
    let client = Client::new();
    ask(&redis, &client, "PING").await.unwrap();
    let started = Instant::now();
    let (slow, late, patient) = tokio::join!(
        async { (ask(&redis, &client, "DEBUG SLEEP 0.6").await, started.elapsed()) },
        async {
            tokio::time::sleep(ms(20)).await;
            (ask_within(&redis, &client, "PING", ms(100)).await, started.elapsed())
        },
        async {
            tokio::time::sleep(ms(20)).await;
            ask(&redis, &client, "PING").await
        },
    );
    assert!(
        slow.0.is_ok() && slow.1 >= ms(600),
        "the deadline is the limit, not a limit of the driver's: {slow:?}"
    );
    assert_eq!(late.0.unwrap_err().kind(), Kind::Timeout);
    assert!(late.1 < ms(250), "{:?}", late.1);
    assert!(patient.is_ok());
    assert_eq!(redis.counts().dials, 1);
}

#[tokio::test]
async fn a_command_that_takes_longer_than_the_silence_is_waited_for_while_its_caller_is() {
    let Some(server) = RedisServer::start() else { return };
    let redis = Redis::builder("hot", &server.url()).allow("DEBUG").build().unwrap();
    let client = Client::new();
    let answer = ask_within(&redis, &client, "DEBUG SLEEP 2.6", ms(8000)).await;
    assert_eq!(answer.unwrap(), r#""OK""#);
    assert_eq!(redis.counts().dials, 1);
}

#[tokio::test]
async fn an_attempt_timeout_is_each_attempts_own() {
    let Some(server) = RedisServer::start() else { return };
    let settings = RedisSettings {
        timeout: Some(ms(60)),
        ..RedisSettings::default()
    };
    let redis = Redis::builder("hot", &server.url()).settings(settings).build().unwrap();
    let client = Client::new();
    ask(&redis, &client, "PING").await.unwrap();
    server.freeze();
    let started = Instant::now();
    let read = ask(&redis, &client, "GET key").await.unwrap_err();
    let took = started.elapsed();
    let write = ask(&redis, &client, "INCR key").await.unwrap_err();
    server.thaw();
    assert_eq!((read.kind(), read.attempts()), (Kind::Timeout, 2), "a read is asked twice");
    assert!(took >= ms(120) && took < ms(400), "{took:?}");
    assert_eq!((write.kind(), write.attempts()), (Kind::Timeout, 1), "a write that was sent is not");
    assert_eq!(
        ask(&redis, &client, "GET key").await.unwrap(),
        r#""1""#,
        "the server carried it out once"
    );
}
