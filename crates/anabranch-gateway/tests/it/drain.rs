//! The end of a server: what is under way ends well, what is idle ends at once, and nothing new comes in.

use anabranch::Client;
use anabranch_gateway::config::MapLookup;
use anabranch_gateway::server;
use anabranch_gateway::{compile, Core, CoreOptions, Gateway};
use anabranch_testkit::{Ended, Fault, Reply as Scripted, TcpUpstream, Upstream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::setup::{ms, soon, until, upstream, Peer, Running};

async fn shop() -> TcpUpstream {
    let slow = |reply: Scripted| reply.json("1").delay(ms(250));
    upstream(
        Upstream::new("shop")
            .reply(slow(Scripted::get("/slow")))
            .reply(slow(Scripted::post("/orders")))
            .reply(Scripted::get("/hang").fault(Fault::Hang))
            .reply(Scripted::get("/fast").json("1")),
    )
    .await
}

fn config(shop: &TcpUpstream) -> String {
    format!(
        "
sources:
  shop: {{ url: {}, in_flight: 200 }}
routes:
  GET /slow: {{ calls: {{ item: shop /slow }} }}
  GET /hang: {{ calls: {{ item: shop /hang }} }}
  GET /fast: {{ calls: {{ item: shop /fast }} }}
  POST /order: {{ calls: {{ order: {{ post: shop /orders, body: {{ n: 1 }} }} }} }}
",
        shop.url()
    )
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n")
}

#[tokio::test]
async fn requests_under_way_end_well_and_connections_at_rest_end_at_once() {
    let shop = shop().await;
    let running = Running::start(&config(&shop)).await;
    let mut idle = running.connect().await;
    idle.send(get("/fast")).await;
    assert!(!idle.reply().await.closes());
    let mut fresh = running.connect().await;
    let mut busy = Vec::new();
    for _ in 0..40 {
        let mut peer = running.connect().await;
        // The second one of each is not begun any more.
        peer.send(get("/slow").repeat(2)).await;
        busy.push(peer);
    }
    soon(shop.served().until(|counts| counts.requests == 41)).await;
    let stopped = Instant::now();
    running.request_stop();
    assert_eq!(soon(idle.rest()).await, b"");
    assert_eq!(soon(fresh.rest()).await, b"");
    assert!(
        stopped.elapsed() < ms(200),
        "idle connections do not wait for busy ones: {:?}",
        stopped.elapsed()
    );
    assert!(TcpStream::connect(running.address).await.is_err(), "the door is shut");
    assert!(!running.has_ended());
    for peer in &mut busy {
        let reply = peer.reply().await;
        assert_eq!((reply.status, reply.text()), (200, r#"{"item":1}"#));
        assert!(reply.closes(), "so that the client asks elsewhere next");
        assert_eq!(peer.rest().await, b"");
    }
    drop(busy);
    assert_eq!(running.stopped().await, 0, "none had to be cut");
    assert_eq!((shop.counts().requests, shop.counts().cancelled), (41, 0));
}

#[tokio::test]
async fn what_does_not_end_within_the_grace_is_cut_and_counted() {
    let shop = shop().await;
    let running = Running::with(&config(&shop), &MapLookup::new(), ms(150)).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = running.connect().await;
        peer.send(get("/hang")).await;
        peers.push(peer);
    }
    let mut half = running.connect().await;
    half.send("GET /fa").await;
    soon(shop.served().until(|counts| counts.requests == 3)).await;
    let stopped = Instant::now();
    assert_eq!(running.stopped().await, 4);
    assert!(
        stopped.elapsed() >= ms(150) && stopped.elapsed() < ms(1500),
        "{:?}",
        stopped.elapsed()
    );
    soon(shop.served().until(|counts| counts.cancelled == 3)).await;
    for peer in &mut peers {
        assert_eq!(peer.rest().await, b"");
    }
}

#[tokio::test]
async fn a_write_whose_client_has_left_is_waited_for() {
    let shop = shop().await;
    let running = Running::start(&config(&shop)).await;
    let mut peer = running.connect().await;
    peer.send("POST /order HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n")
        .await;
    soon(shop.served().until(|counts| counts.requests == 1)).await;
    peer.reset();
    assert_eq!(running.stopped().await, 0);
    assert!(matches!(shop.seen()[0].ended, Ended::Answered(_)), "{:?}", shop.seen()[0].ended);
}

#[tokio::test]
async fn whoever_had_connected_before_the_stop_is_answered() {
    let shop = shop().await;
    let running = Running::start(&config(&shop)).await;
    // Nothing here lets the server run, so all of these wait in the listener's queue.
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut stream = std::net::TcpStream::connect(running.address).unwrap();
        std::io::Write::write_all(&mut stream, get("/fast").as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        waiting.push(Peer::over(TcpStream::from_std(stream).unwrap()));
    }
    running.request_stop();
    for peer in &mut waiting {
        let reply = peer.reply().await;
        assert!(reply.status == 200 && reply.closes());
        assert_eq!(peer.rest().await, b"");
    }
    drop(waiting);
    assert_eq!(running.stopped().await, 0);
}

#[tokio::test]
async fn a_request_that_was_on_its_way_when_the_stop_came_is_answered() {
    let shop = shop().await;
    let running = Running::start(&config(&shop)).await;
    let (mut fresh, mut used) = (running.connect().await, running.connect().await);
    used.send(get("/fast")).await;
    assert_eq!(used.reply().await.status, 200);
    running.request_stop();
    tokio::time::sleep(ms(5)).await;
    for peer in [&mut fresh, &mut used] {
        peer.send(get("/fast")).await;
        let reply = peer.reply().await;
        assert!(reply.status == 200 && reply.closes());
    }
    drop((fresh, used));
    assert_eq!(running.stopped().await, 0);
}

#[tokio::test]
async fn one_listener_spreads_its_clients_over_the_cores_and_stops_with_them() {
    let shop = shop().await;
    let plan = compile("gateway.yaml", &config(&shop), &MapLookup::new()).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    let gateway = Gateway::build(plan).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = server::stop();
    let (mut handles, mut inboxes) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (handle, inbox) = server::core_inbox();
        handles.push(handle);
        inboxes.push(inbox);
    }
    let counters = handles.clone();
    let accepting = tokio::spawn(server::accept(listener, handles, stopped.clone()));
    // The last core has died: nobody is handed to it.
    inboxes.pop();
    let mut cores = Vec::new();
    for inbox in inboxes {
        let core = Core::new(gateway.clone(), Client::new(), CoreOptions::default());
        cores.push(tokio::spawn(server::run_core(core, inbox, stopped.clone(), ms(3000))));
    }
    let mut peers = Vec::new();
    for _ in 0..8 {
        let mut peer = Peer::connect(address).await;
        peer.send(get("/fast")).await;
        assert_eq!(peer.reply().await.status, 200);
        peers.push(peer);
    }
    let spread: Vec<usize> = counters.iter().map(|core| core.connections()).collect();
    assert_eq!(spread, [4, 4, 0]);
    peers.truncate(2);
    until("those that left are not counted", || {
        counters.iter().map(|core| core.connections()).sum::<usize>() == 2
    })
    .await;
    for peer in &mut peers {
        peer.send(get("/slow")).await;
    }
    soon(shop.served().until(|counts| counts.requests_pending == 2)).await;
    drop(counters);
    stop.request();
    soon(accepting).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    for peer in &mut peers {
        assert_eq!(peer.reply().await.status, 200);
    }
    drop(peers);
    for core in cores {
        assert_eq!(soon(core).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn health_says_alive_and_ready_until_the_stop_is_announced() {
    let shop = shop().await;
    let running = Running::start(&config(&shop)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = server::stop();
    let serving = tokio::spawn(server::serve_health(listener, running.gateway.clone(), stopped));
    let ask = async |path: &str| {
        let mut peer = Peer::connect(address).await;
        peer.send(get(path)).await;
        let reply = peer.reply().await;
        (reply.status, reply.text().to_string())
    };
    assert_eq!(ask("/livez").await, (200, "ok\n".to_string()));
    assert_eq!(ask("/readyz").await, (200, "ready\n".to_string()));
    assert_eq!(ask("/").await.0, 404);
    running.gateway.announce_stop();
    assert_eq!(ask("/livez").await.0, 200);
    assert_eq!(ask("/readyz").await, (503, "not ready: stopping\n".to_string()));
    assert_eq!(running.get("/fast").await.status, 200, "requests are still taken");
    stop.request();
    soon(serving).await.unwrap();
}
