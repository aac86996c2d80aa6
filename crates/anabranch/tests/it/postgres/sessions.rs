//! Sessions: how they are opened, shared, lent out, and cleaned.

use std::time::Duration;

use anabranch::client::{Roots, TlsSettings};
use anabranch::postgres::{CopyInto, Postgres, SqlSettings};
use anabranch::{Client, Deadline, Kind};

use super::{builder, database, database_with, ms, running, soon, until};
use crate::postgres_server::Server;

#[tokio::test]
async fn what_is_not_committed_is_gone_and_settings_do_not_stay() {
    let database = database_with(|builder| builder.pool(1));
    database.execute("create table undone (id int)").await;
    {
        let mut session = database.db.session(&database.client, soon()).await.unwrap();
        for text in [
            "begin isolation level serializable",
            "insert into undone values (1)",
            "set local work_mem = '1MB'",
            "set search_path = nowhere",
        ] {
            session.execute(text, &[], soon()).await.unwrap();
        }
        assert_eq!(
            session.query_one("select count(*) from public.undone", &[], soon()).await.unwrap(),
            r#"{"count":1}"#
        );
    }
    assert_eq!(database.value("select count(*) from undone", &[]).await, "0");
    assert_eq!(database.value("show search_path", &[]).await, r#""\"$user\", public""#);
    // The same holds for a statement that leaves something behind outside of a session of one's own.
    database.execute("begin isolation level serializable").await;
    assert_eq!(database.value("show transaction_isolation", &[]).await, "\"read committed\"");
    database.execute("set search_path = nowhere").await;
    assert_eq!(database.value("select count(*) from undone", &[]).await, "0");
    assert_eq!(database.db.counts().dials, 1);
}

#[tokio::test]
async fn a_transaction_that_is_committed_stays() {
    let database = database();
    database.execute("create table done (id int)").await;
    let mut session = database.db.session(&database.client, soon()).await.unwrap();
    session.execute("begin", &[], soon()).await.unwrap();
    session.execute("insert into done values ($1)", &[1.into()], soon()).await.unwrap();
    let into = CopyInto {
        table: "done",
        columns: &["id"],
    };
    session
        .copy_in(&into, [[anabranch::postgres::CopyValue::Int(2)]], soon())
        .await
        .unwrap();
    session.raw().batch_execute("insert into done values (3); commit").await.unwrap();
    drop(session);
    assert_eq!(
        database.query("select id from done order by id", &[]).await,
        r#"[{"id":1},{"id":2},{"id":3}]"#
    );
}

#[tokio::test]
async fn a_session_left_in_the_middle_of_a_statement_is_stopped_before_others_get_it() {
    let observer = database();
    let database = database_with(|builder| builder.pool(1));
    let mut session = database.db.session(&database.client, soon()).await.unwrap();
    session.execute("begin isolation level serializable", &[], soon()).await.unwrap();
    let late = session
        .query("select pg_sleep(60), 'of a session'", &[], Deadline::after(ms(200)))
        .await
        .unwrap_err();
    assert_eq!(late.kind(), Kind::Timeout);
    let busy = session.query("select 1", &[], soon()).await.unwrap_err();
    assert_eq!(busy.kind(), Kind::Cancelled, "{busy}");
    drop(session);
    assert_eq!(database.value("show transaction_isolation", &[]).await, "\"read committed\"");
    assert_eq!(running(&observer, "of a session").await, 0);
}

#[tokio::test]
async fn clients_share_the_number_of_sessions() {
    let database = database_with(|builder| builder.pool(1));
    let other = Client::new();
    let backend = async |client: &Client| {
        database
            .db
            .query_one(client, "select pg_backend_pid() as pid", &[], soon())
            .await
            .unwrap()
    };
    let first = backend(&database.client).await;
    assert_eq!(backend(&other).await, first);
    assert_eq!((database.db.counts().dials, database.db.counts().open), (1, 1));
    // The runtime that the session lives in goes away, and its sessions with it.
    database.client.drain(Deadline::after(ms(1))).await;
    until("the session is closed", async || {
        database.db.query_one(&other, "select 1", &[], soon()).await.is_ok()
    })
    .await;
    assert_eq!(database.db.counts().dials, 2);
}

#[tokio::test]
async fn a_client_whose_sessions_were_released_drains_at_once() {
    let database = database();
    database.query("select 1 as one", &[]).await;
    database.db.release(&database.client);
    let left = database.client.drain(soon()).await;
    assert_eq!(left, Vec::<&str>::new());
    let refused = database
        .db
        .query(&database.client, "select 1 as one", &[], soon())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Cancelled, "{refused}");
    database.db.close();
    assert_eq!(
        database.db.query(&Client::new(), "select 1", &[], soon()).await.unwrap_err().kind(),
        Kind::Cancelled
    );
}

#[tokio::test]
async fn a_schema_that_changes_under_a_kept_statement_is_noticed() {
    let database = database_with(|builder| builder.pool(1));
    database.execute("create table changed (id int4)").await;
    database.execute("insert into changed values (1)").await;
    assert_eq!(database.query("select * from changed", &[]).await, r#"[{"id":1}]"#);
    database.execute("alter table changed add column name text default 'x'").await;
    assert_eq!(database.query("select * from changed", &[]).await, r#"[{"id":1,"name":"x"}]"#);
    database.execute("alter table changed alter column id type text").await;
    assert_eq!(database.query("select * from changed", &[]).await, r#"[{"id":"1","name":"x"}]"#);
    assert_eq!(database.db.counts().dials, 1);
}

#[tokio::test]
async fn more_statements_than_are_kept_work_as_well() {
    let database = database_with(|builder| builder.pool(1));
    for number in 0..300 {
        assert_eq!(database.value(&format!("select {number} as value"), &[]).await, number.to_string());
    }
    let kept: u64 = database
        .value("select count(*) from pg_prepared_statements", &[])
        .await
        .parse()
        .unwrap();
    assert!((250..=257).contains(&kept), "{kept}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_ends_early_and_costs_no_memory() {
    let settings = SqlSettings {
        max_body: 10_000,
        ..SqlSettings::default()
    };
    let database = database_with(|builder| builder.settings(settings));
    let rows = database
        .db
        .query(
            &database.client,
            "select repeat('x', 100) as x from generate_series(1, 100000000)",
            &[],
            soon(),
        )
        .await;
    assert_eq!(rows.unwrap_err().kind(), Kind::TooLarge);
    let one = database
        .db
        .query(&database.client, "select repeat('x', 100000000) as x", &[], soon())
        .await;
    assert_eq!(one.unwrap_err().kind(), Kind::TooLarge);
    assert_eq!(database.value("select 1 as value", &[]).await, "1");
}

#[tokio::test]
async fn a_login_that_is_refused_says_so_without_the_password() {
    let server = Server::shared();
    let client = Client::new();
    let ask = async |url: String| {
        let db = builder(&url).build().unwrap();
        db.query_one(&client, "select current_user::text as who", &[], soon()).await
    };
    let url = |user: &str| format!("postgres://{user}@localhost:{}/postgres?sslmode=disable", server.port());
    ask(url("postgres")).await.unwrap();
    let database = database();
    let _ = database
        .db
        .execute(
            &database.client,
            "create role guarded login password 'guarded''s password'",
            &[],
            soon(),
        )
        .await;
    assert_eq!(ask(url("guarded:guarded's%20password")).await.unwrap(), r#"{"who":"guarded"}"#);
    for (wrong, code) in [
        (url("guarded:wrong-secret"), "28P01"),
        (url("postgres").replace("/postgres?", "/nowhere?"), "3D000"),
    ] {
        let error = ask(wrong).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (Kind::Status, 1), "{error}");
        assert!(error.detail().contains(code) && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn tls_is_verified() {
    let server = Server::shared();
    let client = Client::new();
    let url = format!("postgres://postgres@localhost:{}/postgres?sslmode=require", server.port());
    let ask = async |pem: &str, url: &str, text: &str, limit: Deadline| {
        let tls = TlsSettings {
            roots: Roots::Pem(pem.as_bytes().to_vec()),
            ..TlsSettings::default()
        };
        builder(url).tls(tls).build().unwrap().query_one(&client, text, &[], limit).await
    };
    let encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(ask(server.certificate(), &url, encrypted, soon()).await.unwrap(), r#"{"ssl":true}"#);
    // The request to stop a statement goes over TLS as well.
    let late = ask(
        server.certificate(),
        &url,
        "select pg_sleep(60), 'over tls'",
        Deadline::after(Duration::from_secs(2)),
    )
    .await;
    assert_eq!(late.unwrap_err().kind(), Kind::Timeout);
    let observer = database();
    until("the server has stopped", async || running(&observer, "over tls").await == 0).await;

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let untrusted = ask(&other, &url, encrypted, soon()).await.unwrap_err();
    assert_eq!((untrusted.kind(), untrusted.attempts()), (Kind::Tls, 1), "{untrusted}");
    let wrong_name = ask(server.certificate(), &url.replace("localhost", "127.0.0.1"), encrypted, soon())
        .await
        .unwrap_err();
    assert_eq!(wrong_name.kind(), Kind::Tls, "{wrong_name}");
}

#[tokio::test]
async fn a_unix_socket_is_spoken_to_as_well() {
    let server = Server::shared();
    let url = format!(
        "host={} port={} user=postgres dbname=postgres",
        server.socket_folder().display(),
        server.port()
    );
    let (db, client) = (Postgres::new("db", &url).unwrap(), Client::new());
    let peer = db
        .query_one(&client, "select inet_client_addr()::text as peer", &[], soon())
        .await
        .unwrap();
    assert_eq!(peer, r#"{"peer":null}"#);
}

#[tokio::test]
async fn the_second_host_is_asked_when_the_first_is_not_there() {
    let server = Server::shared();
    let hosts = format!("localhost:1,localhost:{}", server.port());
    let url = format!("postgres://postgres@{hosts}/postgres?sslmode=disable&target_session_attrs=read-write");
    let (db, client) = (builder(&url).build().unwrap(), Client::new());
    assert_eq!(db.query_one(&client, "select 1 as one", &[], soon()).await.unwrap(), r#"{"one":1}"#);
    let replica = url.replace("read-write", "read-only");
    let refused = builder(&replica)
        .build()
        .unwrap()
        .query(&client, "select 1", &[], soon())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Connect, "{refused}");
}

/// Calls are made from tasks that move between threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_from_many_threads_share_the_sessions() {
    let database = database_with(|builder| builder.pool(4).queue(200).queue_wait(Duration::from_secs(20)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200_i64 {
        let (db, client) = (database.db.clone(), database.client.clone());
        tasks.spawn(async move {
            let row = db
                .query_one(&client, "select $1::int8 as number", &[number.into()], soon())
                .await
                .unwrap();
            assert_eq!(row, format!(r#"{{"number":{number}}}"#));
            if number % 50 == 0 {
                let mut session = db.session(&client, soon()).await.unwrap();
                session.execute("begin", &[], soon()).await.unwrap();
                let into = CopyInto {
                    table: "nowhere",
                    columns: &["id"],
                };
                let rows: [[anabranch::postgres::CopyValue<'_>; 1]; 0] = [];
                assert!(session.copy_in(&into, rows, soon()).await.is_err());
                drop(session);
                assert!(db.describe(&client, "select 1", soon()).await.is_ok());
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert!(database.db.counts().open <= 4);
}
