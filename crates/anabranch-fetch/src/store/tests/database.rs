//! Records in a table of a real Postgres server: each once, whatever happens between it and the journal.

use std::time::Duration;

use anabranch::postgres::Postgres;
use anabranch::{Client, Deadline};

use super::postgres_server::Server;
use super::*;

/// Asks on a thread of its own: the caller's runs a runtime.
fn ask(server: &Server, text: &str) -> serde_json::Value {
    let (url, text) = (server.url(), text.to_owned());
    let answer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = Postgres::builder("test", &url)
                .connect_timeout(Duration::from_secs(10))
                .build()
                .unwrap();
            let deadline = Deadline::after(Duration::from_secs(30));
            let rows = database.query(&Client::new(), &text, &[], deadline).await;
            rows.unwrap_or_else(|error| panic!("{text}: {error}"))
        })
    });
    serde_json::from_slice(&answer.join().unwrap()).unwrap()
}

pub(super) fn count(server: &Server, table: &str) -> serde_json::Value {
    let rows = ask(
        server,
        &format!("select count(*)::int as n, count(distinct id)::int as ids from {table}"),
    );
    assert_eq!(rows[0]["n"], rows[0]["ids"], "{table}");
    rows[0]["n"].clone()
}

/// A run whose sink is a table of its own.
fn into(server: &Server, table: &str) -> Run {
    let mut run = Run::new();
    run.options.output.sinks = vec![format!("{}&table={table}", server.url())];
    run
}

#[tokio::test]
async fn a_table_that_is_not_there_is_made_and_has_each_record_once() {
    let server = Server::shared();
    let mut run = into(&server, "made");
    let outcome = |number: u64| if number.is_multiple_of(5) { Outcome::Dns } else { Outcome::Ok };
    run.call((0..1_000).map(|number| (number, outcome(number))), Ending::Complete).await;
    assert_eq!(count(&server, "made"), 1_000);
    let rows = ask(
        &server,
        "select run, url, outcome, attempts, ts::text, error from made where seq = 5",
    );
    assert_eq!((&rows[0]["outcome"], &rows[0]["run"]), (&"dns".into(), &"out.ndjson".into()));
    assert_eq!(rows[0]["url"], "http://h/5");
    assert_eq!(rows[0]["ts"], "2026-01-02 03:04:05.006+00");
    run.options.output.retry_failed = true;
    run.call([], Ending::Stopped).await;
    assert_eq!(count(&server, "made"), 800);
    run.call((0..1_000).step_by(5).map(|number| (number, Outcome::Ok)), Ending::Complete)
        .await;
    assert_eq!(count(&server, "made"), 1_000);
    assert_eq!(ask(&server, "select 1 as x from made where outcome <> 'ok'"), serde_json::json!([]));
    assert_eq!(run.records("out.ndjson").len(), 1_000);
}

#[tokio::test]
async fn a_run_that_begins_anew_takes_its_rows_out_and_leaves_those_of_others() {
    let server = Server::shared();
    let (mut run, other) = (into(&server, "anew"), into(&server, "anew"));
    run.options.output.run = Some(run.path("first"));
    run.call(all_ok(0..10), Ending::Complete).await;
    other.call(all_ok(0..10), Ending::Complete).await;
    run.options.output.fresh = true;
    run.call(all_ok(5..7), Ending::Complete).await;
    let rows = ask(&server, "select run, count(*)::int as n from anew group by run order by run");
    assert_eq!(rows, serde_json::json!([{"run": "first", "n": 2}, {"run": "out.ndjson", "n": 10}]));
}

#[tokio::test]
async fn what_the_database_has_and_the_journal_has_not_is_not_stored_twice() {
    let server = Server::shared();
    let run = into(&server, "behind");
    run.call(all_ok(0..10), Ending::Stopped).await;
    let files = ["out.ndjson", "out.ndjson.run/journal.db"];
    let before = files.map(|name| std::fs::read(run.path(name)).unwrap());
    run.call(all_ok(10..20), Ending::Stopped).await;
    // As if the process had ended after the database's commit and before anything else.
    for (name, bytes) in files.iter().zip(before) {
        std::fs::write(run.path(name), bytes).unwrap();
    }
    let (store, opened) = run.open();
    assert_eq!(opened.earlier.total(), 10);
    for (number, outcome) in all_ok(10..25) {
        store.commit(Finished::new(numbered(number, outcome))).await.unwrap();
    }
    let committed = store.close(Ending::Complete).await.unwrap();
    assert_eq!((committed.total(), committed.suppressed), (15, 10));
    assert_eq!(count(&server, "behind"), 25);
    assert_eq!(run.records("out.ndjson").len(), 25);
}

#[tokio::test]
async fn a_table_of_ones_own_gets_the_columns_that_it_has() {
    let server = Server::shared();
    ask(
        &server,
        "create table mine (id bigserial primary key, url text unique, status smallint, title text, \"row no\" int, record jsonb, at timestamptz default now())",
    );
    let run = into(&server, "mine");
    let (store, _) = run.open();
    for (number, title) in [(1, "one"), (2, "two"), (1, "one again\u{0}")] {
        let mut record = numbered(number, Outcome::Ok);
        record.id = JobId::given(format!("{number} {}", title.len()));
        record.status = Some(200);
        let raw = |value: serde_json::Value| Some(serde_json::value::to_raw_value(&value).unwrap());
        record.data = raw(serde_json::json!({"title": title}));
        record.meta = raw(serde_json::json!({"row no": "7"}));
        store.commit(Finished::new(record)).await.unwrap();
    }
    store.close(Ending::Complete).await.unwrap();
    let rows = ask(
        &server,
        "select url, status, title, \"row no\", record->>'method' as method, at is not null as has_at from mine order by url",
    );
    let row = |url: &str, title: &str| serde_json::json!({"url": url, "status": 200, "title": title, "row no": 7, "method": "GET", "has_at": true});
    // Within one batch the later of two rows with one key stays.
    assert_eq!(
        rows,
        serde_json::json!([row("http://h/1", "one again\u{fffd}"), row("http://h/2", "two")])
    );
}

#[tokio::test]
async fn without_a_run_rows_are_copied_and_nothing_is_marked() {
    let server = Server::shared();
    let mut options = Options::default();
    options.output.records = RecordsTo::Nowhere;
    options.output.sinks = vec![format!("{}&table=plain.rows", server.url())];
    ask(&server, "create schema plain");
    let (store, _) = Store::open(&options, Setup::default()).unwrap();
    store.commit(Finished::new(numbered(1, Outcome::Ok))).await.unwrap();
    store.close(Ending::Complete).await.unwrap();
    assert_eq!(count(&server, "plain.rows"), 1);
}

#[tokio::test]
async fn a_database_that_restarts_is_waited_for_and_one_that_is_gone_ends_the_run() {
    let mut server = Server::start();
    let run = into(&server, "restarted");
    let (store, _) = run.open();
    store.commit(Finished::new(numbered(1, Outcome::Ok))).await.unwrap();
    store.frontier(1).await.unwrap();
    server.stop();
    store.commit(Finished::new(numbered(2, Outcome::Ok))).await.unwrap();
    Deadline::after(Duration::from_millis(700)).wait().await;
    server.resume();
    assert_eq!(store.close(Ending::Stopped).await.unwrap().total(), 2);
    assert_eq!(count(&server, "restarted"), 2);
    server.stop();
    assert!(matches!(run.try_open(), Err(FetchError::Store(text)) if text.contains("Postgres sink")));
    assert_eq!(run.records("out.ndjson").len(), 2);
}

#[tokio::test]
async fn a_table_that_takes_nothing_of_a_record_is_refused() {
    let server = Server::shared();
    ask(&server, "create table points (p point)");
    let run = into(&server, "points");
    assert!(matches!(run.try_open(), Err(FetchError::Usage(text)) if text.contains("`points`")));
}
