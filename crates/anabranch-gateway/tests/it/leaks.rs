//! After a storm of failing sources and leaving clients nothing is left: no place taken, no task, no connection beyond the pools, no
//! file descriptor.

use std::time::Duration;

use anabranch_testkit::{closed_port, BlackHole, Fault, Framing, Reply as Scripted, TcpUpstream, Upstream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::setup::{alone, ms, soon, until, upstream, within, Peer, Running};

/// Clients at once.
const CLIENTS: u64 = 50;
/// Requests of each.
const EACH: u64 = 10;
/// Idle connections that a source's pool keeps.
const POOL: u64 = 8;

/// A source that answers each path in its own bad way.
async fn bad() -> TcpUpstream {
    let value = |path: &str| Scripted::get(path).json("{\"id\":1}");
    upstream(
        Upstream::new("bad")
            .seed(7)
            .reply(value("/fast"))
            .reply(value("/slow").delay(ms(30)))
            .reply(value("/hang").fault(Fault::Hang))
            .reply(value("/reset").fault(Fault::Reset { after: 40 }))
            .reply(value("/cut").fault(Fault::Truncate { after: 4 }))
            .reply(value("/chunks").fault(Fault::BadChunks))
            .reply(value("/closes").fault(Fault::CloseAfterReply))
            .reply(value("/drip").fault(Fault::DripBody { interval: ms(50) }))
            .reply(value("/big").fault(Fault::EndlessChunks))
            .reply(
                value("/bomb")
                    .fault(Fault::GzipBomb { decoded: 64 << 20 })
                    .framing(Framing::Chunked),
            )
            .reply(value("/errors").errors(0.5, 503))
            .reply(Scripted::post("/write").json("1").delay(ms(60))),
    )
    .await
}

fn config(bad: &TcpUpstream, refused: &str, hole: &str) -> String {
    let url = bad.url();
    format!(
        "
defaults: {{ max_body: 64k }}
sources:
  bad:     {{ url: {url}, pool: {POOL}, in_flight: 1000 }}
  calm:    {{ url: {url}, pool: {POOL}, in_flight: 1000 }}
  narrow:  {{ url: {url}, pool: {POOL}, in_flight: 3, queue: 10, queue_wait: 40ms }}
  refused: {{ url: 'http://{refused}' }}
  hole:    {{ url: 'http://{hole}', connect_timeout: 80ms }}
routes:
  GET /page/{{n:int}}:
    deadline: 250ms
    need: []
    calls:
      fast: calm /fast
      slow: bad /slow
      hang: {{ get: bad /hang, timeout: 60ms }}
      reset: bad /reset
      cut: bad /cut
      chunks: bad /chunks
      closes: bad /closes
      drip: bad /drip
      big: bad /big
      bomb: bad /bomb
      errors: bad /errors
      narrow: narrow /slow
      refused: refused /x
      hole: hole /x
      write: {{ post: bad /write, body: {{ n: $n }} }}
      ids: {{ value: [1, 2, 3, 4, 5, 6] }}
      items: {{ each: '$ids[]', get: 'bad /slow?id=$it', width: 2 }}
      hangs: {{ each: '$ids[]', get: 'bad /hang?id=$it', timeout: 60ms }}
"
    )
}

/// One client: most wait for their reply, others leave early, in all the ways there are.
async fn client(address: std::net::SocketAddr, number: u64) -> u64 {
    let mut replies = 0;
    let mut peer = Peer::connect(address).await;
    for n in number..number + EACH {
        peer.send(format!("GET /page/{n} HTTP/1.1\r\nhost: gateway\r\n\r\n")).await;
        match n % 5 {
            0 => {
                drop(peer);
                peer = Peer::connect(address).await;
            }
            1 => {
                tokio::time::sleep(ms(n % 90)).await;
                peer.reset();
                peer = Peer::connect(address).await;
            }
            _ => {
                let reply = peer.reply().await;
                assert!(reply.status == 200 && reply.text().starts_with(r#"{"fast":"#), "{}", reply.text());
                replies += 1;
            }
        }
    }
    replies
}

async fn storm(running: &Running) -> u64 {
    let mut clients = JoinSet::new();
    (0..CLIENTS).for_each(|number| _ = clients.spawn(client(running.address, number)));
    clients.join_all().await.into_iter().sum()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn nothing_is_left_of_a_storm() {
    if !alone("leaks::nothing_is_left_of_a_storm").await {
        return;
    }
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let (files_before, tasks_before) = (open_files(), tasks());
    let bad = bad().await;
    let (refused, hole) = (closed_port().await.unwrap(), BlackHole::start().await.unwrap());
    let running = Running::start(&config(&bad, &refused.to_string(), &hole.addr().to_string())).await;

    let replies = storm(&running).await;
    assert_eq!(replies, CLIENTS * EACH * 3 / 5);

    let sources = running.gateway.sources();
    until("every place is given back", || {
        sources
            .iter()
            .filter_map(|source| source.http())
            .all(|source| source.in_flight() == 0 && source.waiting() == 0)
    })
    .await;
    until("no request is under way", || running.gateway.health().requests() == 0).await;
    until("no task is left", || running.core.client().background().count() == 0).await;
    until("nobody is asked any more", || bad.counts().requests_pending == 0).await;
    until("only the pools' connections are left", || bad.counts().connections_open <= 3 * POOL).await;

    // It is as good as new: what can be well is well within its quarter of a second.
    within(ms(260), "a page after the storm, with all that can be well", async || {
        let started = Instant::now();
        let reply = running.get("/page/1").await;
        let is_well = ["fast", "slow", "closes", "narrow", "write"]
            .iter()
            .all(|part| reply.outcome(part) == "ok");
        if is_well { started.elapsed() } else { Duration::MAX }
    })
    .await;
    assert_eq!(running.stopped().await, 0);
    soon(bad.shutdown()).await;
    drop(hole);
    until("every task has ended", || tasks() <= tasks_before).await;
    until("every file is closed", || open_files() <= files_before + 2).await;
}

#[tokio::test]
async fn a_source_that_is_well_again_is_well_at_once() {
    let page = |shop: &TcpUpstream| {
        format!(
            "sources:\n  shop: {{ url: {} }}\nroutes:\n  GET /page: {{ deadline: 400ms, need: [], calls: {{ a: shop /a }} }}\n",
            shop.url()
        )
    };
    let well = || Upstream::new("shop").reply(Scripted::any().json("1"));
    let shop = upstream(Upstream::new("shop").reply(Scripted::any().fault(Fault::Hang))).await;
    let running = Running::start(&page(&shop)).await;
    let mut peers = Vec::new();
    for _ in 0..100 {
        let mut peer = running.connect().await;
        peer.send("GET /page HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
        peers.push(peer);
    }
    for peer in &mut peers {
        let reply = peer.reply().await;
        // 64 are in flight, the others have waited for a place in vain.
        assert!(
            ["timeout", "limit"].contains(&reply.outcome("a")),
            "{:?}",
            reply.header("anabranch-parts")
        );
    }
    shop.served().follow(well());
    for peer in &mut peers {
        peer.send("GET /page HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
        let reply = peer.reply().await;
        assert_eq!((reply.text(), reply.outcome("a")), (r#"{"a":1}"#, "ok"));
    }
}
