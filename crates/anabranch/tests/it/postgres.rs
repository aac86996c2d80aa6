//! Postgres as a source, against a real server: values, limits, time, and what happens when sessions break.

mod copy;
mod faults;
mod sessions;
mod values;

use std::sync::Arc;
use std::time::Duration;

use anabranch::postgres::{Param, Postgres, PostgresBuilder};
use anabranch::{Client, Deadline};
use tokio::time::Instant;

use crate::postgres_server::Server;

/// A source and the client that asks it, with the server that both need.
struct Database {
    server: Arc<Server>,
    client: Client,
    db: Postgres,
}

fn database() -> Database {
    database_with(|builder| builder)
}

fn database_with(settings: impl FnOnce(PostgresBuilder) -> PostgresBuilder) -> Database {
    let server = Server::shared();
    let db = settings(builder(&server.url())).build().unwrap();
    Database {
        server,
        client: Client::new(),
        db,
    }
}

/// Logging in takes its time in a build without optimisation.
fn builder(url: &str) -> PostgresBuilder {
    Postgres::builder("db", url).connect_timeout(Duration::from_secs(10))
}

impl Database {
    async fn query(&self, text: &str, params: &[Param]) -> String {
        let rows = self.db.query(&self.client, text, params, soon()).await;
        String::from_utf8(rows.unwrap_or_else(|error| panic!("{text}: {error}")).to_vec()).unwrap()
    }

    async fn execute(&self, text: &str) -> u64 {
        self.db
            .execute(&self.client, text, &[], soon())
            .await
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// One value of the first row, as JSON.
    async fn value(&self, text: &str, params: &[Param]) -> String {
        let row = self
            .db
            .query_one(&self.client, text, params, soon())
            .await
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let row = String::from_utf8(row.to_vec()).unwrap();
        let inside = row.strip_prefix('{').and_then(|row| row.strip_suffix('}'));
        let (_name, value) = inside
            .and_then(|pair| pair.split_once(':'))
            .unwrap_or_else(|| panic!("{text}: {row}"));
        value.to_owned()
    }
}

/// Enough for anything that should work.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Asks until the answer is the wanted one, for at most ten seconds.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(10), "still not so: {what}");
        tokio::time::sleep(ms(10)).await;
    }
}

/// How many statements with this text the server is running.
async fn running(observer: &Database, text: &str) -> u64 {
    let pattern = format!("%{text}%");
    let question = "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like $1";
    observer.value(question, &[pattern.into()]).await.parse().unwrap()
}
