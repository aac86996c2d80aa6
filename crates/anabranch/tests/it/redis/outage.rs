//! Servers that go, come back, refuse, and talk nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use anabranch::redis::{Redis, RedisSettings};
use anabranch::{Client, Deadline, Kind};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::peer::{Does, Peer};
use super::{ask, ask_within, ms, recovers, words};
use crate::redis_server::RedisServer;

const ONE: Does = Does::Answer(":1\r\n");

#[tokio::test]
async fn a_server_that_is_killed_is_told_at_once_and_found_when_it_is_back() {
    let Some(mut server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    ask(&redis, &client, "SET key 1").await.unwrap();
    server.kill();
    let outage = Instant::now();
    let mut slowest = ms(0);
    while outage.elapsed() < ms(2000) {
        let started = Instant::now();
        let error = redis
            .command(&client, &words("SET key 2"), Deadline::after(ms(1000)))
            .await
            .unwrap_err();
        assert!(matches!(error.kind(), Kind::Connect | Kind::Reset), "{error}");
        slowest = slowest.max(started.elapsed());
        sleep(ms(2)).await;
    }
    assert!(slowest < ms(300), "{slowest:?}");
    let dials = redis.counts().dials;
    assert!((2..=9).contains(&dials), "{dials} dials in two seconds");
    server.resume();
    let took = recovers(&redis, &client, "PING", ms(3000)).await;
    assert!(took < ms(1500), "{took:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_ends_costs_a_read_nothing() {
    let Some(server) = RedisServer::start() else { return };
    let (redis, client) = (Redis::new("hot", &server.url()).unwrap(), Client::new());
    ask(&redis, &client, "SET key 1").await.unwrap();
    for _ in 0..3 {
        // Longer up than what counts as a failed try.
        sleep(ms(1100)).await;
        server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert_eq!(ask(&redis, &client, "GET key").await.unwrap(), r#""1""#);
    }
    assert!(redis.counts().dials <= 5, "{:?}", redis.counts());
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_minute_costs_about_a_dial_a_second_however_many_ask() {
    let (redis, peer) = Peer::new(|_| ONE)
        .refusing(1..1_000_000)
        .source_with(|builder| builder.in_flight(10_000));
    let client = Client::new();
    ask(&redis, &client, "GET key").await.unwrap();
    // The first connection ends when its client is drained; a new client knows nothing of the server.
    redis.release(&client);
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (redis, client) = (redis.clone(), client.clone());
        callers.spawn(async move {
            while started.elapsed() < ms(60_000) {
                let error = ask_within(&redis, &client, "GET key", ms(30)).await.unwrap_err();
                assert!(matches!(error.kind(), Kind::Connect), "{error}");
                sleep(ms(7)).await;
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    let dials = peer.dials() - 1;
    assert!((60..=130).contains(&dials), "{dials} dials in a minute");
}

#[tokio::test(start_paused = true)]
async fn nobody_dials_for_a_source_that_nobody_asks() {
    let (redis, peer) = Peer::new(|_| ONE).refusing(0..1_000_000).source();
    let client = Client::new();
    ask(&redis, &client, "GET key").await.unwrap_err();
    sleep(ms(70_000)).await;
    let dials = peer.dials();
    sleep(ms(3_600_000)).await;
    assert_eq!(peer.dials(), dials, "after a minute without a call it is left alone");
    // The next one is not told of a failure an hour ago: it waits for a try of its own.
    let error = ask(&redis, &client, "INCR key").await.unwrap_err();
    assert!(error.kind() == Kind::Connect && peer.dials() > dials, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_hangs_up_is_not_dialled_in_a_loop() {
    for peer in [
        Peer::new(|_| Does::HangUp),
        Peer::new(|_| ONE).greeting(Does::AnswerAndHangUp("%0\r\n")),
        Peer::new(|_| ONE).greeting(Does::HangUp),
    ] {
        let (redis, peer) = peer.source();
        let client = Client::new();
        let started = Instant::now();
        while started.elapsed() < ms(20_000) {
            // A greeting that is answered and followed by the end may let a call through in between; it fails then.
            let error = ask_within(&redis, &client, "GET key", ms(50)).await.unwrap_err();
            assert!(matches!(error.kind(), Kind::Connect | Kind::Reset), "{error}");
            sleep(ms(3)).await;
        }
        assert!(peer.dials() <= 50, "{} dials in 20 seconds", peer.dials());
    }
}

#[tokio::test(start_paused = true)]
async fn a_greeting_that_is_not_answered_costs_the_connect_timeout_once() {
    let (redis, peer) = Peer::new(|_| ONE).greeting(Does::Nothing).source();
    let client = Client::new();
    let started = Instant::now();
    let error = redis
        .command(&client, &words("INCR key"), Deadline::after(ms(30)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.was_sent(), started.elapsed().as_millis() / 10),
        (Kind::Timeout, false, 3),
        "{error}"
    );
    sleep(ms(1000)).await;
    let started = Instant::now();
    let error = ask_within(&redis, &client, "INCR key", ms(30)).await.unwrap_err();
    assert!(error.kind() == Kind::Connect && error.detail().contains("login"), "{error}");
    assert!(started.elapsed() <= ms(31) && peer.dials() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_loading_says_so_and_is_well_afterwards() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let loading = Does::Answer("-LOADING Redis is loading the dataset in memory\r\n");
    let (redis, peer) = Peer::new(move |_| if count.fetch_add(1, SeqCst) < 3 { loading.clone() } else { ONE }).source();
    let client = Client::new();
    for _ in 0..3 {
        let error = ask(&redis, &client, "GET key").await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (Kind::Status, 1), "it is not asked in a loop");
        assert_eq!(error.detail(), "LOADING: the server is still loading its data");
        assert!(error.retry_after().is_some());
    }
    assert_eq!(ask(&redis, &client, "GET key").await.unwrap(), "1");
    assert_eq!(peer.dials(), 1, "its connection is good");
}

#[tokio::test(start_paused = true)]
async fn a_login_while_loading_or_full_is_tried_again_and_a_wrong_protocol_is_named() {
    for (answer, kind, says) in [
        ("-LOADING Redis is loading the dataset in memory\r\n", Kind::Connect, "LOADING"),
        ("-ERR max number of clients reached\r\n", Kind::Connect, "refused the login"),
        (
            "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n",
            Kind::Protocol,
            "RESP3",
        ),
        ("HTTP/1.1 400 Bad Request\r\n", Kind::Protocol, "RESP3"),
    ] {
        let (redis, _peer) = Peer::new(|_| ONE).greeting(Does::Answer(answer)).source();
        let error = ask_within(&redis, &Client::new(), "INCR key", ms(20)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.was_sent(), error.detail().contains(says)),
            (kind, false, true),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_sent_again_only_if_it_reads() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    // Each connection ends at its first command.
    let (redis, _peer) = Peer::new(move |_| {
        count.fetch_add(1, SeqCst);
        Does::HangUp
    })
    .source();
    let client = Client::new();
    let error = ask(&redis, &client, "INCR key").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.attempts(), error.was_sent(), sent.swap(0, SeqCst)),
        (Kind::Reset, 1, true, 1)
    );
    sleep(ms(2000)).await;
    let error = ask(&redis, &client, "GET key").await.unwrap_err();
    assert_eq!((error.attempts(), sent.swap(0, SeqCst)), (2, 2), "{error}");
    sleep(ms(2000)).await;
    let settings = RedisSettings {
        idempotent: true,
        ..RedisSettings::default()
    };
    let call = anabranch::redis::RedisCall {
        words: &words("SET key 1"),
        settings: &settings,
    };
    let error = redis.call(&client, &call, Deadline::after(ms(5000))).await.0.unwrap_err();
    assert_eq!((error.attempts(), sent.swap(0, SeqCst)), (2, 2), "{error}");
}

#[tokio::test(start_paused = true)]
async fn nonsense_ends_the_connection_and_the_next_one_is_good() {
    for nonsense in ["hello\r\n", ":1\r\n:2\r\n", "$3\r\nabcdef\r\n", "*2\r\n+one\r\n>1\r\n+x\r\n"] {
        let (redis, peer) = Peer::new(move |asked| if asked.connection == 0 { Does::Answer(nonsense) } else { ONE }).source();
        let client = Client::new();
        let first = redis.command(&client, &words("INCR key"), Deadline::after(ms(5000))).await;
        // An answer too many is seen after the right one.
        assert!(
            first
                .as_ref()
                .map_or_else(|error| error.kind() == Kind::Protocol, |answer| answer == "1"),
            "{nonsense:?}: {first:?}"
        );
        sleep(ms(200)).await;
        assert_eq!(ask(&redis, &client, "INCR key").await.unwrap(), "1");
        assert_eq!(peer.dials(), 2, "{nonsense:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_before_it_is_sent_leaves_nothing_behind() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let (redis, _peer) = Peer::new(move |_| {
        count.fetch_add(1, SeqCst);
        ONE
    })
    .greeting(Does::Nothing)
    .source();
    let client = Client::new();
    for _ in 0..100 {
        let error = ask_within(&redis, &client, "INCR key", ms(1)).await.unwrap_err();
        assert!(
            matches!(error.kind(), Kind::Timeout | Kind::Connect) && !error.was_sent(),
            "{error}"
        );
    }
    sleep(ms(3000)).await;
    assert_eq!((sent.load(SeqCst), redis.counts().in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_became_a_replica_is_dialled_anew_but_not_each_time() {
    let (redis, peer) = Peer::new(|asked| match asked.name {
        "SET" => Does::Answer("-READONLY You can't write against a read only replica.\r\n"),
        _ => ONE,
    })
    .source();
    let client = Client::new();
    for _ in 0..3_000 {
        let error = ask(&redis, &client, "SET key 1").await.unwrap_err();
        assert!(error.kind() == Kind::Status && error.detail().starts_with("READONLY"), "{error}");
        assert_eq!(ask(&redis, &client, "GET key").await.unwrap(), "1", "others do not notice");
        sleep(ms(10)).await;
    }
    assert!((4..=8).contains(&peer.dials()), "{} dials in 30 seconds", peer.dials());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_in_the_middle_ends_its_calls() {
    let (redis, _peer) = Peer::new(|_| Does::Nothing).source();
    let (client, other) = (Client::new(), Client::new());
    let asked = async {
        redis
            .command(&client, &words("GET key"), Deadline::after(ms(5000)))
            .await
            .unwrap_err()
    };
    let drained = async {
        sleep(ms(10)).await;
        client.drain(Deadline::after(ms(20))).await
    };
    let (error, names) = tokio::join!(asked, drained);
    assert_eq!((error.kind(), names), (Kind::Cancelled, vec!["redis connection"]));
    assert_eq!(redis.counts().unanswered, 0);
    let error = ask_within(&redis, &other, "GET key", ms(10)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
}
