//! What a real server answers, as JSON.

use std::collections::BTreeSet;

use anabranch::redis::{Binary, Redis, RedisCall, RedisSettings};
use anabranch::{Client, Deadline, Kind, Phase};
use bytes::Bytes;

use super::{ask, ms, words};
use crate::redis_server::RedisServer;

#[tokio::test]
async fn every_type_of_the_server_becomes_json() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    for (command, json) in [
        ("PING", r#""PONG""#),
        ("SET name é\"\\", r#""OK""#),
        ("GET name", r#""é\"\\""#),
        ("GET none", "null"),
        ("INCRBY count 9007199254740993", "9007199254740993"),
        ("GET count", r#""9007199254740993""#),
        ("INCRBYFLOAT count 0.5", r#""9007199254740993.5""#),
        ("MGET name none count", r#"["é\"\\",null,"9007199254740993.5"]"#),
        ("HSET page title one views 2", "2"),
        ("HGETALL page", r#"{"title":"one","views":"2"}"#),
        ("HMGET page views none", r#"["2",null]"#),
        ("HGETALL none", "{}"),
        ("RPUSH list a b c", "3"),
        ("LRANGE list 0 -1", r#"["a","b","c"]"#),
        ("LRANGE none 0 -1", "[]"),
        ("SADD set x", "1"),
        ("SMEMBERS set", r#"["x"]"#),
        ("SMEMBERS none", "[]"),
        ("SMISMEMBER set x y", "[1,0]"),
        ("ZADD rank 1.5 a inf b -inf c 2 d", "4"),
        ("ZSCORE rank a", "1.5"),
        ("ZSCORE rank b", r#""inf""#),
        ("ZRANGE rank 0 -1 WITHSCORES", r#"[["c","-inf"],["a",1.5],["d",2],["b","inf"]]"#),
        ("EXISTS name none", "1"),
        ("TYPE page", r#""hash""#),
        ("OBJECT ENCODING count", r#""embstr""#),
        ("SCAN 0 MATCH nam*", r#"["0",["name"]]"#),
        ("XADD log 1-1 k v", r#""1-1""#),
        ("XRANGE log - +", r#"[["1-1",["k","v"]]]"#),
        ("XREAD STREAMS log 0", r#"{"log":[["1-1",["k","v"]]]}"#),
        ("GEOADD places 13.361389 38.115556 Palermo", "1"),
        ("GEODIST places Palermo Palermo km", r#""0.0000""#),
        ("DEL name none", "1"),
    ] {
        let answer = ask(&redis, &client, command)
            .await
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        assert_eq!(answer, json, "{command}");
    }
    assert_eq!((redis.counts().dials, server.connections()), (1, 1), "one connection for all");
}

#[tokio::test]
async fn a_set_and_a_map_come_whole() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    let members: Vec<String> = (0..5_000).map(|number| format!("member-{number}")).collect();
    let mut command = words("SADD seen");
    command.extend(members.iter().map(|member| Bytes::from(member.clone())));
    assert_eq!(redis.command(&client, &command, Deadline::after(ms(5000))).await.unwrap(), "5000");
    let answer = ask(&redis, &client, "SMEMBERS seen").await.unwrap();
    let answered: BTreeSet<&str> = answer
        .trim_matches(['[', ']'])
        .split(',')
        .map(|member| member.trim_matches('"'))
        .collect();
    assert_eq!(answered, members.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn a_value_is_one_argument_whatever_is_in_it() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    let value = "\r\n$3\r\nDEL\r\n \"'; FLUSHALL\r\n";
    let deadline = Deadline::after(ms(5000));
    let set = [
        Bytes::from_static(b"SET"),
        Bytes::from_static(b"a key\r\nFLUSHALL"),
        Bytes::from_static(value.as_bytes()),
    ];
    redis.command(&client, &set, deadline).await.unwrap();
    let get = [Bytes::from_static(b"GET"), set[1].clone()];
    let answer = redis.command(&client, &get, deadline).await.unwrap();
    assert_eq!(answer, r#""\r\n$3\r\nDEL\r\n \"'; FLUSHALL\r\n""#);
    assert_eq!(ask(&redis, &client, "DBSIZE").await.unwrap(), "1");
}

#[tokio::test]
async fn bytes_that_are_no_text_fail_the_call_or_come_as_base64() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    let deadline = Deadline::after(ms(5000));
    let every_byte: Vec<u8> = (0..=255).collect();
    redis
        .command(
            &client,
            &[Bytes::from_static(b"SET"), Bytes::from_static(b"blob"), Bytes::from(every_byte)],
            deadline,
        )
        .await
        .unwrap();
    let error = ask(&redis, &client, "GET blob").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.detail()),
        (Kind::Decode, "the answer has bytes that are no UTF-8")
    );
    let settings = RedisSettings {
        binary: Binary::Base64,
        ..*redis.settings()
    };
    let call = RedisCall {
        words: &words("MGET blob none"),
        settings: &settings,
    };
    let answer = redis.call(&client, &call, deadline).await.0.unwrap();
    assert!(
        answer.starts_with(b"[{\"base64\":\"AAECAwQFBgcICQoL") && answer.ends_with(b"+/w==\"},null]"),
        "{answer:?}"
    );
    assert_eq!(redis.counts().dials, 1, "the connection lives");
}

#[tokio::test]
async fn a_wrong_type_fails_its_call_and_no_other() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    ask(&redis, &client, "SET text secret").await.unwrap();
    let (wrong, right) = tokio::join!(ask(&redis, &client, "LRANGE text 0 -1"), ask(&redis, &client, "GET text"));
    let error = wrong.unwrap_err();
    assert_eq!(
        (error.kind(), error.attempts(), error.source_name(), error.was_sent()),
        (Kind::Status, 1, Some("hot"), true)
    );
    assert_eq!(error.detail(), "WRONGTYPE: the key holds another type than the command works on");
    assert_eq!(right.unwrap(), r#""secret""#);
    for command in [
        "INCR text",
        "GET",
        "SET text secret EX secret",
        "OBJECT secret text",
        "LSET text 9 secret",
    ] {
        let error = ask(&redis, &client, command).await.unwrap_err();
        assert!(
            error.kind() == Kind::Status && !error.to_string().contains("secret"),
            "{command}: {error}"
        );
    }
}

#[tokio::test]
async fn what_may_not_be_sent_never_leaves() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    for command in [
        "KEYS *",
        "FLUSHALL",
        "CONFIG GET *",
        "EVAL return 0",
        "BLPOP list 0",
        "SUBSCRIBE news",
        "MULTI",
        "XREAD BLOCK 0 STREAMS log $",
        "",
    ] {
        let error = ask(&redis, &client, command).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts(), error.was_sent()),
            (Kind::Value, 0, false),
            "{command}"
        );
    }
    assert_eq!(redis.counts().dials, 0);
    let allowing = Redis::builder("hot", &server.url()).allow("keys").build().unwrap();
    assert_eq!(ask(&allowing, &client, "KEYS *").await.unwrap(), "[]");
}

#[tokio::test]
async fn an_answer_that_is_too_large_fails_its_call_and_no_other() {
    let Some(server) = RedisServer::start() else { return };
    let redis = Redis::builder("hot", &server.url())
        .settings(RedisSettings {
            max_body: 1000,
            ..RedisSettings::default()
        })
        .build()
        .unwrap();
    let client = Client::new();
    server.ask(&["SETRANGE", "large", "67108864", "x"]);
    server.ask(&["SET", "small", "fits"]);
    let (large, small, both) = tokio::join!(
        ask(&redis, &client, "GET large"),
        ask(&redis, &client, "GET small"),
        ask(&redis, &client, "MGET small large")
    );
    assert_eq!(large.unwrap_err().kind(), Kind::TooLarge);
    assert_eq!(small.unwrap(), r#""fits""#);
    assert_eq!(both.unwrap_err().kind(), Kind::TooLarge);
    let command = [
        Bytes::from_static(b"SET"),
        Bytes::from_static(b"key"),
        Bytes::from(vec![b'x'; 1000]),
    ];
    let error = redis.command(&client, &command, Deadline::after(ms(5000))).await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (Kind::Value, false));
    assert_eq!(redis.counts().dials, 1);
}

#[tokio::test]
async fn a_call_says_what_it_did() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    let call = RedisCall {
        words: &words("PING"),
        settings: redis.settings(),
    };
    for is_reused in [false, true] {
        let (result, report) = redis.call(&client, &call, Deadline::after(ms(5000))).await;
        let timings = report.attempts[0].timings;
        assert!(result.is_ok() && report.attempts.len() == 1);
        assert_eq!((timings.reused, timings.pool.is_some()), (is_reused, !is_reused));
        let phases: Vec<Phase> = timings
            .iter()
            .map(|(phase, _)| phase)
            .filter(|phase| *phase != Phase::Pool)
            .collect();
        assert_eq!(phases, [Phase::FirstByte]);
    }
}
