//! When time runs out, sessions break or the server is gone: every call ends in time, and nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anabranch::postgres::SqlSettings;
use anabranch::policy::RetrySettings;
use anabranch::{Client, Deadline, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{builder, database, database_with, ms, running, soon, until};
use crate::postgres_server::Server;

fn never_twice() -> SqlSettings {
    SqlSettings {
        retry: RetrySettings {
            retries: 0,
            ..SqlSettings::default().retry
        },
        ..SqlSettings::default()
    }
}

#[tokio::test]
async fn a_deadline_ends_the_call_in_time_and_the_statement_in_the_server() {
    let (database, observer) = (database(), database());
    database.query("select 1 as warm", &[]).await;
    let started = Instant::now();
    let error = database
        .db
        .query(
            &database.client,
            "select pg_sleep(60), 'of a deadline'",
            &[],
            Deadline::after(ms(300)),
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(started.elapsed() < ms(1000), "{:?}", started.elapsed());
    until("the server has stopped", async || running(&observer, "of a deadline").await == 0).await;
    // Stopped and free again, the session is used again.
    until("the session is at rest", async || database.db.counts().idle == 1).await;
    assert_eq!(database.value("select 1 as value", &[]).await, "1");
    assert_eq!(database.db.counts().dials, 1);
}

#[tokio::test]
async fn a_dropped_call_stops_the_statement_in_the_server() {
    let (database, observer) = (database(), database());
    let call = database.db.query(&database.client, "select pg_sleep(60), 'of a drop'", &[], soon());
    tokio::select! {
        _ = call => panic!("it sleeps for a minute"),
        () = until("the server is at it", async || running(&observer, "of a drop").await == 1) => {}
    }
    until("the server has stopped", async || running(&observer, "of a drop").await == 0).await;
    until("the place is free", async || database.db.counts().in_use == 0).await;
    assert_eq!(database.value("select 1 as value", &[]).await, "1");
}

#[tokio::test]
async fn the_server_stops_by_itself_when_nobody_can_tell_it_to() {
    let observer = database();
    let database = database();
    let told = database.value("select current_setting('statement_timeout') as value", &[]).await;
    let milliseconds = told.trim_matches('"').trim_end_matches("ms").parse::<u64>();
    assert!(milliseconds.is_ok_and(|told| (30_000..=45_000).contains(&told)), "{told}");
    // A process that is gone sends no request to stop: here, a runtime that is dropped in the middle.
    let url = database.server.url();
    let gone = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (db, client) = (builder(&url).build().unwrap(), Client::new());
            let call = db.query(
                &client,
                "select pg_sleep(60), 'of one that is gone'",
                &[],
                Deadline::after(ms(1500)),
            );
            let _still_running = tokio::time::timeout(ms(700), call).await;
        });
        runtime.shutdown_background();
    });
    gone.join().unwrap();
    assert_eq!(running(&observer, "of one that is gone").await, 1, "or there is nothing to stop");
    until("the server has stopped", async || {
        running(&observer, "of one that is gone").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_ended_is_a_reset_and_the_next_call_gets_another() {
    let observer = database();
    let database = database_with(|builder| builder.settings(never_twice()));
    let end = async |text: &str| {
        until("the server is at it", async || running(&observer, text).await == 1).await;
        let pattern = format!("%{text}%");
        observer
            .value(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() and query like $1",
                &[pattern.into()],
            )
            .await
    };
    let (result, ended) = tokio::join!(
        database
            .db
            .query(&database.client, "select pg_sleep(60), 'to be ended'", &[], soon()),
        end("to be ended")
    );
    let error = result.unwrap_err();
    assert_eq!((error.kind(), ended.as_str()), (Kind::Reset, "1"), "{error}");
    assert_eq!(database.value("select 1 as value", &[]).await, "1");
    assert_eq!(database.db.counts().dials, 2);
}

#[tokio::test]
async fn a_session_that_was_ended_at_rest_is_not_used() {
    let observer = database();
    let database = database_with(|builder| builder.settings(never_twice()));
    database.query("select 'at rest' as value", &[]).await;
    observer
        .query(
            "select pg_terminate_backend(pid)::text from pg_stat_activity where pid <> pg_backend_pid() and query like '%at rest%'",
            &[],
        )
        .await;
    tokio::time::sleep(ms(100)).await;
    assert_eq!(database.value("select 1 as value", &[]).await, "1");
}

#[tokio::test]
async fn a_pool_in_use_refuses_in_time() {
    let database = database_with(|builder| builder.pool(2).queue(1).queue_wait(ms(200)));
    let sleep = || database.db.query(&database.client, "select pg_sleep(3)", &[], soon());
    let (mut first, mut second) = (Box::pin(sleep()), Box::pin(sleep()));
    tokio::select! {
        _ = &mut first => panic!("too soon"),
        _ = &mut second => panic!("too soon"),
        () = until("both are in use", async || database.db.counts().in_use == 2) => {}
    }
    let started = Instant::now();
    let ask = async || {
        database
            .db
            .query(&database.client, "select 1 as one", &[], soon())
            .await
            .unwrap_err()
    };
    let (waited, refused, sleepers) = tokio::join!(ask(), ask(), async {
        tokio::select! { _ = &mut first => false, _ = &mut second => false, () = tokio::time::sleep(ms(400)) => true }
    });
    assert!(sleepers);
    assert_eq!((waited.kind(), refused.kind()), (Kind::Limit, Kind::Limit));
    assert!(
        waited.detail().contains("stayed in use") && refused.detail().contains("queue is full"),
        "{waited}; {refused}"
    );
    assert!(started.elapsed() < ms(1500), "{:?}", started.elapsed());
    assert!(database.db.counts().open <= 2);
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(database.value("select 1 as value", &[]).await, "1");
}

#[tokio::test]
async fn sessions_never_exceed_the_pool_whatever_happens_to_the_calls() {
    let observer = database();
    let database = database_with(|builder| builder.pool(3).queue(100).queue_wait(Duration::from_secs(20)));
    let calls = (0..60_u64).map(|number| {
        let (db, client) = (&database.db, &database.client);
        async move {
            let limit = if number % 3 == 0 {
                ms(40 + number * 3)
            } else {
                Duration::from_secs(60)
            };
            let text = "select pg_sleep(0.02), application_name from pg_stat_activity where pid = pg_backend_pid()";
            db.query(client, text, &[], Deadline::after(limit)).await.is_ok()
        }
    });
    let counted = async {
        let mut most = 0;
        for _ in 0..20 {
            let open = observer
                .value(
                    "select count(*) from pg_stat_activity where query like 'select pg_sleep(0.02)%'",
                    &[],
                )
                .await;
            most = most.max(open.parse::<u64>().unwrap());
            assert!(database.db.counts().open <= 3, "{:?}", database.db.counts());
            tokio::time::sleep(ms(10)).await;
        }
        most
    };
    let (ended, most) = tokio::join!(futures_util::future::join_all(calls), counted);
    assert!(ended.iter().filter(|ok| **ok).count() >= 40, "only those with little time may fail");
    // A session that was given up may still be closing in the server while its successor is open.
    assert!(most <= 6, "{most}");
    until("all places are free", async || database.db.counts().in_use == 0).await;
    assert!(database.db.counts().open <= 3);
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_is_found_without_a_storm() {
    let mut server = Server::start();
    let (client, db) = (Client::new(), builder(&server.url()).settings(never_twice()).build().unwrap());
    let ask = async || {
        db.query(&client, "select 1 as one", &[], Deadline::after(Duration::from_secs(2)))
            .await
    };
    ask().await.unwrap();
    server.stop();
    let dials = db.counts().dials;
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    while started.elapsed() < ms(2000) {
        let asked = Instant::now();
        let errors = futures_util::future::join_all((0..10).map(|_| ask())).await;
        slowest = slowest.max(asked.elapsed());
        assert!(errors.iter().all(Result::is_err));
        tokio::time::sleep(ms(5)).await;
    }
    let made = db.counts().dials - dials;
    assert!((2..=12).contains(&made), "{made} dials in two seconds");
    assert!(slowest < ms(500), "{slowest:?}");
    let error = ask().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error}");
    server.resume();
    let back = Instant::now();
    until("the server is found", async || ask().await.is_ok()).await;
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
}

/// Passes bytes on until it is told to swallow them: a network that fails without a word.
struct Network {
    port: u16,
    is_swallowing: Arc<AtomicBool>,
}

impl Network {
    async fn to(port: u16) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = Network {
            port: listener.local_addr().unwrap().port(),
            is_swallowing: Arc::default(),
        };
        let is_swallowing = network.is_swallowing.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(("localhost", port)).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pass(near_in, far_out, is_swallowing.clone()));
                tokio::spawn(pass(far_in, near_out, is_swallowing.clone()));
            }
        });
        network
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_swallowing: Arc<AtomicBool>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let is_through = is_swallowing.load(Ordering::Relaxed) || to.write_all(&bytes[..count]).await.is_ok();
        if !is_through {
            return;
        }
    }
    if is_swallowing.load(Ordering::Relaxed) {
        // The other side hears nothing of the end either.
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_network_that_swallows_everything_costs_each_call_its_deadline_and_no_more() {
    let server = Server::shared();
    let network = Network::to(server.port()).await;
    let url = server.url().replace(&server.port().to_string(), &network.port.to_string());
    let db = builder(&url)
        .pool(2)
        .connect_timeout(ms(500))
        .settings(never_twice())
        .build()
        .unwrap();
    let client = Client::new();
    let ask = async |limit: Duration| db.query(&client, "select 1 as one", &[], Deadline::after(limit)).await;
    until("a session is open", async || ask(Duration::from_secs(5)).await.is_ok()).await;

    network.is_swallowing.store(true, Ordering::Relaxed);
    let started = Instant::now();
    let mut asked = 0;
    while started.elapsed() < ms(4000) {
        let call = Instant::now();
        let error = ask(ms(200)).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Timeout | Kind::Limit | Kind::Connect), "{error}");
        assert!(call.elapsed() < ms(500), "{:?}: {error}", call.elapsed());
        assert!(db.counts().open <= 2, "{:?}", db.counts());
        asked += 1;
        tokio::time::sleep(ms(5)).await;
    }
    assert!(asked > 10 && db.counts().dials < 12, "{asked} calls, {:?}", db.counts());

    network.is_swallowing.store(false, Ordering::Relaxed);
    until("it works again", async || ask(Duration::from_secs(2)).await.is_ok()).await;
    until("all places are free", async || db.counts().in_use == 0).await;
}
