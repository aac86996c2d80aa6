//! `examples/feed` as it stands: its config before a real Postgres with 10,000 posts, a real Redis, and its services as mocks.

use std::collections::BTreeSet;
use std::time::Duration;

use anabranch::postgres::Postgres;
use anabranch::{Client, Deadline};
use anabranch_gateway::config::MapLookup;
use anabranch_gateway::spec::mocks;
use anabranch_testkit::TcpUpstream;
use serde_json::Value;

use crate::postgres_server::Server;
use crate::redis_server::RedisServer;
use crate::setup::{is_quick, ms, Reply, Running};

/// The example, running.
struct Feed {
    running: Running,
    redis: RedisServer,
    users: TcpUpstream,
    media: TcpUpstream,
    /// Stops with the test.
    _postgres: std::sync::Arc<Server>,
}

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../examples/feed/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

async fn feed(database: &str) -> Option<Feed> {
    if is_quick("Postgres and Redis") {
        return None;
    }
    let redis = RedisServer::start()?;
    for line in file("load.redis").lines() {
        redis.ask(&line.split(' ').collect::<Vec<_>>());
    }
    let postgres = Server::shared();
    let url = postgres.url().replace("/postgres?", &format!("/{database}?"));
    load(&postgres.url(), &url, database).await;

    let mocks = mocks::parse("mocks.yaml", &file("mocks.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let mut upstreams = Vec::new();
    for mock in mocks.upstreams {
        upstreams.push((
            mock.script.name.clone(),
            TcpUpstream::start(mock.script, "127.0.0.1:0").await.unwrap(),
        ));
    }
    let [(first, users), (second, media)] = <[_; 2]>::try_from(upstreams).unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("users", "media"));
    // A build without optimisation logs in slowly, and this machine may be busy: the example's limits are for neither.
    let config = file("gateway.yaml")
        .replace("http://users.svc:8000", &users.url())
        .replace("http://media.svc:8000", &media.url())
        .replace("deadline: 900ms", "deadline: 20s")
        .replace("timeout: 30ms", "timeout: 5s")
        .replace("timeout: 250ms", "timeout: 5s")
        .replace("pool: 10 }", "pool: 10, connect_timeout: 10s }");
    let lookup = MapLookup::new().with_env("DATABASE_URL", &url).with_env("REDIS_URL", &redis.url());
    let running = Running::with(&config, &lookup, Duration::from_secs(4)).await;
    Some(Feed {
        running,
        redis,
        users,
        media,
        _postgres: postgres,
    })
}

/// A database of its own with the example's posts.
async fn load(server: &str, url: &str, database: &str) {
    let client = Client::new();
    let soon = Deadline::after(ms(60_000));
    let admin = Postgres::builder("admin", server).connect_timeout(ms(10_000)).build().unwrap();
    admin
        .execute(&client, &format!("create database {database}"), &[], soon)
        .await
        .unwrap();
    let db = Postgres::builder("load", url).connect_timeout(ms(10_000)).build().unwrap();
    let mut session = db.session(&client, soon).await.unwrap();
    session
        .raw()
        .batch_execute(&(file("schema.sql") + &file("load.sql")))
        .await
        .unwrap();
}

impl Feed {
    /// The feed of user 7: its reply, checked, and what it asked the users and media services for.
    async fn get(&self, query: &str) -> (Vec<Value>, Vec<String>, Vec<String>) {
        let before = (self.users.seen().len(), self.media.seen().len());
        let reply = self.running.get(&format!("/feed/7{query}")).await;
        assert_eq!((reply.status, reply.header("anabranch-parts")), (200, None), "{}", reply.text());
        let body = json(&reply);
        assert_eq!(body["user"], 7);
        let asked = |upstream: &TcpUpstream, from: usize| upstream.seen()[from..].iter().map(|seen| seen.path_and_query.clone()).collect();
        (
            body["fresh"].as_array().unwrap().clone(),
            asked(&self.users, before.0),
            asked(&self.media, before.1),
        )
    }
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

/// The author of a post, as `load.sql` has it.
fn author(post: i64) -> i64 {
    1 + 112 * (post / 100) * (post / 100) % 907 % 80
}

/// An author that nobody has written about: it is known for a second at the most that there is none.
const NOBODY: i64 = 13;

/// Every author of these posts is asked for once, fifty in one request; but for those that are kept from the page before.
fn check_authors(posts: impl Iterator<Item = i64>, kept: impl Iterator<Item = i64>, asked: &[String]) {
    let kept: BTreeSet<i64> = kept.map(author).collect();
    let mut authors: BTreeSet<i64> = posts.map(author).filter(|author| !kept.contains(author)).collect();
    let asks_for_nobody = |path: &String| path.replace("%2C", ",").split(['=', ',']).any(|key| key == NOBODY.to_string());
    if asked.iter().any(asks_for_nobody) {
        authors.insert(NOBODY);
    }
    assert_eq!(asked.len(), authors.len().div_ceil(50), "{asked:?}");
    let keys: Vec<i64> = asked
        .iter()
        .flat_map(|path| path.strip_prefix("/users?ids=").unwrap().split("%2C"))
        .flat_map(|keys| keys.split(','))
        .map(|key| key.parse().unwrap())
        .collect();
    assert!(
        keys.len() == authors.len() && keys.iter().copied().collect::<BTreeSet<_>>() == authors,
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_page_asks_once_for_fifty_authors_and_once_for_each_image() {
    let Some(feed) = feed("feed_pages").await else { return };
    let newest = |count: i64| (0..count).map(|n| 9_907 - 100 * n);

    let (fresh, users, media) = feed.get("").await;
    check_authors(newest(20), newest(0), &users);
    assert_eq!(users.len(), 1, "20 posts have 14 authors");
    let with_image = newest(20).filter(|post| post % 3 > 0).count();
    assert_eq!(media.len(), with_image);
    // What was seen is not shown.
    let ids: Vec<i64> = fresh.iter().map(|post| post["id"].as_i64().unwrap()).collect();
    assert_eq!(
        ids,
        newest(20).filter(|post| ![9_907, 9_707, 9_207].contains(post)).collect::<Vec<_>>()
    );
    for post in &fresh {
        let id = post["id"].as_i64().unwrap();
        assert_eq!(post["title"], format!("Post {id}"));
        assert_eq!(post["author"].is_null(), author(id) == 13, "{post}");
        let image = if id % 3 > 0 {
            Value::from(format!("/img/{id}.webp"))
        } else {
            Value::Null
        };
        assert_eq!(post["media"], image, "{post}");
    }

    let (fresh, users, media) = feed.get("?limit=100").await;
    check_authors(newest(100), newest(20), &users);
    assert_eq!(
        (users.len(), fresh.len(), media.len()),
        (2, 97, newest(100).filter(|post| post % 3 > 0).count())
    );

    let (none, users, media) = (
        feed.running.get("/feed/123456").await,
        feed.users.seen().len(),
        feed.media.seen().len(),
    );
    assert_eq!(none.text(), r#"{"user":123456,"fresh":[]}"#);
    assert_eq!((feed.users.seen().len(), feed.media.seen().len()), (users, media));
}

#[tokio::test]
async fn what_is_written_is_seen_by_the_next_page() {
    let Some(feed) = feed("feed_writes").await else { return };
    let send = async |line: &str, body: &str| {
        let mut peer = feed.running.connect().await;
        let length = body.len();
        peer.send(format!(
            "{line} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
        let reply = peer.reply().await;
        (reply.status, reply.text().to_owned())
    };
    let title = "'); drop table posts; --";
    let sent = format!(r#"{{"title":"{title}"}}"#);
    assert_eq!(
        send("PUT /posts/9807/title", &sent).await,
        (200, format!(r#"{{"id":9807,"title":"{title}"}}"#))
    );
    assert_eq!(send("PUT /posts/0/title", &sent).await, (200, "null".to_owned()));
    assert_eq!(send("POST /feed/7/seen", r#"{"id":9607}"#).await, (200, r#"{"seen":1}"#.to_owned()));
    let (fresh, ..) = feed.get("?limit=3").await;
    assert_eq!(fresh.len(), 1, "{fresh:?}");
    assert_eq!((fresh[0]["id"].as_i64(), fresh[0]["title"].as_str()), (Some(9_807), Some(title)));
}

#[tokio::test]
async fn without_its_cache_the_page_shows_everything() {
    let Some(mut feed) = feed("feed_without_cache").await else { return };
    feed.redis.kill();
    let reply = feed.running.get("/feed/7").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(json(&reply)["fresh"].as_array().unwrap().len(), 20);
    assert_eq!(reply.outcome("seen"), "fallback");
}
