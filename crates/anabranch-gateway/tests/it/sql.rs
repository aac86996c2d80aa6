//! SQL calls against a real Postgres server: values stay values, rows become parts, and what fails fails its part only.

use std::sync::Arc;
use std::time::Duration;

use anabranch::postgres::Postgres;
use anabranch::{Client, Deadline};
use anabranch_gateway::config::MapLookup;
use anabranch_gateway::statements::Remark;
use anabranch_gateway::{compile, Answer, Core, CoreOptions, Gateway};
use anabranch_testkit::TcpUpstream;
use bytes::Bytes;
use http::Request;
use tokio::time::Instant;

use crate::postgres_server::Server;
use crate::setup::{good, is_quick, ms, within, Reply, Running};

/// A gateway before a database and a service that always answers.
struct Page {
    running: Running,
    database: Database,
    _good: TcpUpstream,
}

/// The database, for what the test itself asks.
struct Database {
    server: Arc<Server>,
    client: Client,
    db: Postgres,
}

impl Database {
    /// The one that tests share; None where no other programs are to be tested with.
    fn shared() -> Option<Database> {
        (!is_quick("a Postgres server")).then(|| Database::of(Server::shared()))
    }

    fn of(server: Arc<Server>) -> Database {
        let db = Postgres::builder("test", &server.url())
            .pool(3)
            .connect_timeout(ms(10_000))
            .build()
            .unwrap();
        Database {
            server,
            client: Client::new(),
            db,
        }
    }

    async fn execute(&self, statement: &str) {
        self.db
            .execute(&self.client, statement, &[], Deadline::after(ms(30_000)))
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    async fn rows(&self, statement: &str) -> String {
        let rows = self.db.query(&self.client, statement, &[], Deadline::after(ms(30_000))).await;
        String::from_utf8(rows.unwrap_or_else(|error| panic!("{statement}: {error}")).to_vec()).unwrap()
    }

    fn lookup(&self) -> MapLookup {
        MapLookup::new().with_env("PG_URL", &self.server.url())
    }
}

/// A page with these more keys of the source `db`, and these routes.
async fn page(database: Database, source: &str, routes: &str) -> Page {
    let good = good().await;
    let running = Running::with(&config(source, &good.url(), routes), &database.lookup(), Duration::from_secs(4)).await;
    Page {
        running,
        database,
        _good: good,
    }
}

/// Logging in takes its time in a build without optimisation.
fn config(source: &str, good: &str, routes: &str) -> String {
    format!("sources:\n  db: {{ postgres: $env.PG_URL, connect_timeout: 10s{source} }}\n  good: {{ url: '{good}' }}\nroutes:\n{routes}")
}

/// One call `c` in a route with these parameters.
fn route(query: &str, call: &str) -> String {
    format!("  GET /x:\n    query: {{ {query} }}\n    calls:\n      c: {{ sql: db, {call} }}\n")
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

    async fn outcome(&self, path: &str) -> String {
        let reply = self.running.get(path).await;
        reply.outcome("c").to_owned()
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        let mut peer = self.running.connect().await;
        let length = body.len();
        peer.send(format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
        peer.reply().await
    }
}

#[tokio::test]
async fn rows_become_a_part_without_loss() {
    let Some(database) = Database::shared() else { return };
    let select = "select 9007199254740993::int8 as big, 12.500::numeric as price, true as yes, null::text as nothing, 'a\"ü' as text, \
                  '2026-11-20 10:00:00+02'::timestamptz as at, array[1,null,3] as list, '{\"a\": [1.0]}'::json as json";
    let call = format!("select: {}", serde_json::to_string(select).unwrap());
    let page = page(database, "", &route("", &call)).await;
    let row = r#"{"big":9007199254740993,"price":12.500,"yes":true,"nothing":null,"text":"a\"ü","at":"2026-11-20T08:00:00Z","list":[1,null,3],"json":{"a": [1.0]}}"#;
    let reply = page.running.get("/x").await;
    check(&reply, 200, &format!(r#"{{"c":[{row}]}}"#));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
}

#[tokio::test]
async fn a_value_is_never_a_part_of_the_statement() {
    let Some(database) = Database::shared() else { return };
    database.execute("create table injected (id int4 primary key, name text)").await;
    database.execute("insert into injected values (1, 'a'), (2, 'b')").await;
    let routes = "  GET /x:
    query: { s: '', n: 1 }
    calls:
      c: { sql: db, select: \"select $s as s, count(*) as n from injected where name = $s or id = $n -- $s\" }
  GET /y:
    query: { s: '' }
    need: []
    calls:
      c: { sql: db, select: select name from injected where id = $s }
";
    let page = page(database, "", routes).await;
    for (sent, came) in [
        ("'%20or%201=1%20--", "' or 1=1 --"),
        ("';drop%20table%20injected;--", "';drop table injected;--"),
        ("$1", "$1"),
        ("%5C'", "\\\\'"),
        ("$$%20or%20true", "$$ or true"),
    ] {
        page.check(&format!("/x?s={sent}"), &format!(r#"{{"c":[{{"s":"{came}","n":1}}]}}"#))
            .await;
    }
    page.check("/y?s=2", r#"{"c":[{"name":"b"}]}"#).await;
    // What is no number never gets to the server.
    assert_eq!(page.outcome("/y?s=2%20or%201=1").await, "value");
    assert_eq!(page.database.rows("select count(*) as n from injected").await, r#"[{"n":2}]"#);
}

#[tokio::test]
async fn parameters_have_the_type_of_their_place() {
    let Some(database) = Database::shared() else { return };
    let select = "select $n + 1 as n, $d::date + 1 as d, $u::uuid as u, $b as b, 7 = any($ids) as has, array_length($ids::int[], 1) as many, \
                  $body as body, $body.tags as tags where $b = true";
    let routes = format!(
        "  POST /x:
    query: {{ n: 1, d: {{ type: date, required: true }}, u: uuid!, b: true, ids: [] }}
    calls:
      c: {{ sql: db, select: {} }}
",
        serde_json::to_string(
            &select
                .replace("$body as", "$body::jsonb as")
                .replace("$body.tags as", "$body.tags::text[] as")
                .replace("$b as", "$b::bool as")
        )
        .unwrap()
    );
    let page = page(database, "", &routes).await;
    let path = "/x?n=41&d=2026-12-31&u=A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11&ids=7&ids=8";
    let reply = page.post(path, r#"{"tags":["a,b","}"],"n":1.50}"#).await;
    let row = r#"{"n":42,"d":"2027-01-01","u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","b":true,"has":true,"many":2,"body":{"n": 1.50, "tags": ["a,b", "}"]},"tags":["a,b","}"]}"#;
    check(&reply, 200, &format!(r#"{{"c":[{row}]}}"#));
    // NUL is in no text of the database, and the client is told so.
    let reply = page.post(path, r#"{"tags":"a\u0000b"}"#).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
}

#[tokio::test]
async fn what_is_missing_skips_the_call() {
    let Some(database) = Database::shared() else { return };
    let routes = route("s: 'string?', ids: []", "select: 'select $s as s, $ids::int[] as ids', else: []");
    let page = page(database, "", &routes).await;
    let reply = page.running.get("/x?ids=1").await;
    check(&reply, 200, r#"{"c":[]}"#);
    assert!(
        reply.header("anabranch-parts").is_some_and(|account| account.contains("fallback")),
        "{:?}",
        reply.headers
    );
    page.check("/x?s=a&ids=1", r#"{"c":[{"s":"a","ids":[1]}]}"#).await;
}

#[tokio::test]
async fn one_gives_the_row_or_null_and_no_rows_are_a_list() {
    let Some(database) = Database::shared() else { return };
    let routes = "  GET /one:
    query: { n: 1 }
    need: []
    calls: { c: { sql: db, select: 'select g from generate_series(1, $n) as g', one: true } }
  GET /all:
    query: { n: 1 }
    calls: { c: { sql: db, select: 'select g from generate_series(1, $n) as g' } }
";
    let page = page(database, "", routes).await;
    page.check("/one", r#"{"c":{"g":1}}"#).await;
    page.check("/one?n=0", r#"{"c":null}"#).await;
    page.check("/all?n=0", r#"{"c":[]}"#).await;
    assert_eq!(page.outcome("/one?n=2").await, "too_many");
}

#[tokio::test]
async fn exec_writes_once_and_says_how_many() {
    let Some(database) = Database::shared() else { return };
    database
        .execute("create table written (id int4 generated always as identity, title text unique)")
        .await;
    let routes = "  POST /written:
    need: [row]
    calls:
      row: { sql: db, exec: \"insert into written (title) values ($body.title) returning id, title\", one: true }
      log: { post: good /value, after: [row ok], body: { id: $row.id } }
    reply: { only: row }
  DELETE /written/{title}:
    calls: { gone: { sql: db, exec: delete from written where title = $title } }
";
    let page = page(database, "", routes).await;
    check(
        &page.post("/written", r#"{"title":"it's"}"#).await,
        200,
        r#"{"id":1,"title":"it's"}"#,
    );
    let again = page.post("/written", r#"{"title":"it's"}"#).await;
    assert_eq!(again.status, 502, "{}", again.text());
    assert!(
        !again.text().contains("it's") && !again.text().contains("written_title_key"),
        "{}",
        again.text()
    );
    let mut peer = page.running.connect().await;
    peer.send("DELETE /written/it's HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
    check(&peer.reply().await, 200, r#"{"gone":{"rows":1}}"#);
    assert_eq!(page.database.rows("select count(*) as n from written").await, r#"[{"n":0}]"#);
}

#[tokio::test]
async fn a_write_once_sent_runs_to_its_end_without_its_client() {
    let Some(database) = Database::shared() else { return };
    database.execute("create table outlived (id int4)").await;
    let routes = "  POST /x:
    calls: { c: { sql: db, exec: 'with slept as (select pg_sleep(0.3)) insert into outlived select 1 from slept' } }
  GET /y:
    calls: { c: { sql: db, select: 'select pg_sleep(30)' } }
";
    let page = page(database, "", routes).await;
    let mut peer = page.running.connect().await;
    peer.send("POST /x HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n").await;
    page.until_running("insert into outlived", 1).await;
    peer.reset();
    until("the row is there", async || {
        page.database.rows("select id from outlived").await == r#"[{"id":1}]"#
    })
    .await;
    // A read is stopped, also in the server.
    let mut peer = page.running.connect().await;
    peer.send("GET /y HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
    page.until_running("select pg_sleep(30)", 1).await;
    peer.reset();
    page.until_running("select pg_sleep(30)", 0).await;
}

impl Page {
    async fn until_running(&self, statement: &str, wanted: u32) {
        let question = format!(
            "select count(*) as n from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like '%{statement}%'"
        );
        until(statement, async || {
            self.database.rows(&question).await == format!(r#"[{{"n":{wanted}}}]"#)
        })
        .await;
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < ms(10_000), "not within 10 seconds: {what}");
        tokio::time::sleep(ms(10)).await;
    }
}

/// The answer of a gateway for development, which explains.
async fn explained(database: &Database, routes: &str, path: &str) -> Answer {
    let text = config("", "http://good.invalid", routes);
    let plan = compile("gateway.yaml", &text, &database.lookup()).unwrap_or_else(|faults| panic!("{faults}"));
    let core = Core::new(Gateway::build(plan).unwrap(), Client::new(), CoreOptions { dev: true, trace: true });
    core.answer(Request::get(path).body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn a_fault_names_the_call_and_not_its_values() {
    let Some(database) = Database::shared() else { return };
    for (statement, sqlstate) in [
        ("select * from no_such_table where name = $s", "42P01"),
        ("select 1 / (length($s) - 6)", "22012"),
        ("select $s::int", "value is not one of its type"),
        ("select cast($s || 'x' as int)", "22P02"),
    ] {
        let routes = format!(
            "  GET /x:\n    query: {{ s: '' }}\n    need: [broken]\n    calls:\n      broken: {{ sql: db, select: \"{statement}\" }}\n"
        );
        let answer = explained(&database, &routes, "/x?s=secret").await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        let trace = format!("{:?}", answer.trace);
        assert!(!body.contains("secret") && !trace.contains("secret"), "{statement}: {body} {trace}");
        assert_eq!(answer.status, 502, "{body}");
        assert!(body.contains("`broken`") && trace.contains("\"broken\""), "{body}");
        assert!(
            trace.contains(sqlstate) || trace.contains("expected a whole number"),
            "{statement}: {trace}"
        );
        let trace = answer.trace.unwrap();
        assert_eq!((trace.calls[0].source.as_deref(), trace.calls[0].attempts.len()), (Some("db"), 1));
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_an_outcome_in_time() {
    let Some(database) = Database::shared() else { return };
    let routes = "  GET /x:
    deadline: 2s
    calls:
      good: good /value
      c: { sql: db, select: 'select pg_sleep(60)', timeout: 100ms, retry: 0 }
  GET /y:
    calls: { c: { sql: db, select: select 1 as n } }
";
    let page = page(database, ", pool: 1", routes).await;
    page.check("/y", r#"{"c":[{"n":1}]}"#).await;
    within(ms(400), "the page beside a slow statement", async || {
        let started = Instant::now();
        let reply = page.running.get("/x").await;
        check(&reply, 200, r#"{"good":{"id":1},"c":null}"#);
        assert_eq!(reply.outcome("c"), "timeout");
        started.elapsed()
    })
    .await;
    // The only session is free again.
    page.check("/y", r#"{"c":[{"n":1}]}"#).await;
}

#[tokio::test]
async fn calls_beyond_the_pool_are_refused() {
    let Some(database) = Database::shared() else { return };
    let routes = "  GET /x:
    calls:
      a: { sql: db, select: 'select pg_sleep(0.4), 1 as n' }
      c: { sql: db, select: 'select pg_sleep(0.4), 1 as n', retry: 0 }
";
    let page = page(database, ", pool: 1, queue: 0", routes).await;
    let reply = page.running.get("/x").await;
    assert_eq!((reply.outcome("a"), reply.outcome("c")), ("ok", "limit"), "{}", reply.text());
}

#[tokio::test]
async fn a_database_that_is_down_costs_its_part_only_and_comes_back() {
    if is_quick("a Postgres server") {
        return;
    }
    let mut server = Server::start();
    let url = server.url();
    let good = good().await;
    let routes = "  GET /x:
    deadline: 1s
    calls:
      good: good /value
      c: { sql: db, select: select 1 as n }
";
    let lookup = MapLookup::new().with_env("PG_URL", &url);
    let running = Running::with(&config("", &good.url(), routes), &lookup, Duration::from_secs(4)).await;
    let comes = async || running.get("/x").await.text() == r#"{"good":{"id":1},"c":[{"n":1}]}"#;
    until("the database answers", comes).await;
    server.stop();
    for _ in 0..5 {
        within(ms(1_050), "the page without its database", async || {
            let started = Instant::now();
            let reply = running.get("/x").await;
            check(&reply, 200, r#"{"good":{"id":1},"c":null}"#);
            assert!(["connect", "reset"].contains(&reply.outcome("c")), "{}", reply.outcome("c"));
            assert!(!String::from_utf8_lossy(&reply.raw).contains("localhost"));
            started.elapsed()
        })
        .await;
    }
    server.resume();
    until("the database answers again", comes).await;
}

#[tokio::test]
async fn one_statement_asks_for_all_the_keys_of_a_list() {
    let Some(database) = Database::shared() else { return };
    let routes = "  GET /x:
    calls:
      posts: { sql: db, select: 'select g as id, 1 + g % 2 as author_id from generate_series(1, 3) as g' }
      authors:
        batch: $posts[].author_id
        sql: db
        select: select id, 'author ' || id as name, cardinality($keys::int[]) as asked from generate_series(1, 9) as id where id = any($keys)
        match: id
        into: posts[].author
      media: { each: '$posts[]', sql: db, select: 'select $it.id * 10 as n', one: true, into: 'posts[].media' }
";
    let page = page(database, "", routes).await;
    let author = |id: u32| format!(r#"{{"id":{id},"name":"author {id}","asked":2}}"#);
    let post = |id: u32| {
        format!(
            r#"{{"id":{id},"author_id":{},"author":{},"media":{{"n":{}}}}}"#,
            1 + id % 2,
            author(1 + id % 2),
            id * 10
        )
    };
    page.check("/x", &format!(r#"{{"posts":[{},{},{}]}}"#, post(1), post(2), post(3)))
        .await;
}

#[tokio::test]
async fn sessions_at_rest_do_not_hold_up_the_end() {
    let Some(database) = Database::shared() else { return };
    let page = page(database, "", &route("", "select: select 1 as n")).await;
    page.check("/x", r#"{"c":[{"n":1}]}"#).await;
    let started = Instant::now();
    assert_eq!(page.running.stopped().await, 0);
    assert!(started.elapsed() < ms(2_000), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_write_that_outlives_its_client_is_waited_for_and_no_longer() {
    let Some(database) = Database::shared() else { return };
    database.execute("create table drained (id int4)").await;
    let routes = "  POST /x:
    calls: { c: { sql: db, exec: 'with slept as (select pg_sleep(0.5)) insert into drained select 1 from slept' } }
";
    let page = page(database, "", routes).await;
    let mut peer = page.running.connect().await;
    peer.send("POST /x HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n").await;
    page.until_running("insert into drained", 1).await;
    peer.reset();
    let started = Instant::now();
    page.running.stopped().await;
    assert!(started.elapsed() < ms(2_500), "{:?}", started.elapsed());
    assert_eq!(page.database.rows("select id from drained").await, r#"[{"id":1}]"#);
}

#[tokio::test]
async fn statements_are_described_without_being_run() {
    let Some(database) = Database::shared() else { return };
    let routes = "  POST /x:
    query: { s: '' }
    calls:
      good: { sql: db, select: 'select 1 as n where $s = any($body.tags)' }
      write: { sql: db, exec: 'create table described (id int4)' }
      wrong:
        sql: db
        select: |
          select titel
          from pg_class where relname = $s
";
    let text = config("", "http://good.invalid", routes);
    let remarks = async |lookup: &MapLookup| {
        let plan = compile("gateway.yaml", &text, lookup).unwrap_or_else(|faults| panic!("{faults}"));
        Gateway::build(plan).unwrap().describe_statements(&Client::new(), ms(10_000)).await
    };
    let found = remarks(&database.lookup()).await;
    let [Remark::Fault { place, message }] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(text[place.start..place.end].contains("select titel"), "{place:?}");
    assert!(
        message.starts_with("the database refuses the statement of `wrong`: SQLSTATE 42703: column \"titel\" does not exist"),
        "{message}"
    );
    assert_eq!(
        database.rows("select relname from pg_class where relname = 'described'").await,
        "[]"
    );
    let nobody = MapLookup::new().with_env("PG_URL", "postgres://nobody@127.0.0.1:1/none");
    let found = remarks(&nobody).await;
    let [Remark::NotAsked(why)] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(why.starts_with("the statements of `db` were not checked: connect"), "{why}");
}

#[tokio::test]
async fn what_is_read_may_be_kept_by_its_values() {
    let Some(database) = Database::shared() else { return };
    database.execute("create table kept_by_values (id int, name text)").await;
    database.execute("create sequence kept_by_values_asked").await;
    database.execute("insert into kept_by_values values (1, 'a'), (2, 'b')").await;
    let select = "select: \"select id, name, nextval('kept_by_values_asked') as asked from kept_by_values where id";
    let routes = format!(
        "  GET /x:
    query: {{ id: int! }}
    calls:
      c: {{ sql: db, {select} = $id\", one: true, cache: 1m }}
      d: {{ sql: db, {select} = $id\", one: true, cache: 1m }}
  GET /many:
    query: {{ id: [] }}
    calls:
      c: {{ batch: $id, sql: db, {select} = any($keys)\", match: id, pick: [name, id], cache: 1m }}
"
    );
    let page = page(database, "", &routes).await;
    let one = r#"{"id":1,"name":"a","asked":1}"#;
    page.check("/x?id=1", &format!("{{\"c\":{one},\"d\":{one}}}")).await;
    page.check("/many?id=1", r#"{"c":[{"id":1,"name":"a"}]}"#).await;
    page.database.execute("update kept_by_values set name = name || '!'").await;
    page.check("/x?id=1", &format!("{{\"c\":{one},\"d\":{one}}}")).await;
    page.check("/many?id=2&id=1&id=3", r#"{"c":[{"id":2,"name":"b!"},{"id":1,"name":"a"},null]}"#)
        .await;
    assert_eq!(
        page.database.rows("select last_value from kept_by_values_asked").await,
        r#"[{"last_value":3}]"#
    );
    let two = r#"{"id":2,"name":"b!","asked":4}"#;
    page.check("/x?id=2", &format!("{{\"c\":{two},\"d\":{two}}}")).await;
}
