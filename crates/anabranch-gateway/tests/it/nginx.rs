//! nginx, whose HTTP is not ours, as a source and as what stands before the gateway.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use anabranch_testkit::{Reply as Scripted, Upstream};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::setup::{ms, program, upstream, within, Peer, Running};

/// A running nginx with a folder of its own; killed with the value.
struct Nginx {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    /// Starts it with these lines in its `server` block; None where nginx is not to be tested with.
    async fn start(server: &str) -> Option<Nginx> {
        let folder = TempDir::new().unwrap();
        // The system may run nginx as another user, who must be able to read its files.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // On 127.0.0.2 no other test takes a port, so the one that was free a moment ago still is.
        let address = TcpListener::bind("127.0.0.2:0").await.unwrap().local_addr().unwrap();
        Nginx::at(address, folder, server).await
    }

    async fn at(address: SocketAddr, folder: TempDir, server: &str) -> Option<Nginx> {
        let nginx = program("nginx")?;
        let path = folder.path();
        std::fs::create_dir_all(path.join("files")).unwrap();
        std::fs::write(path.join("nginx.conf"), config(path, address, server)).unwrap();
        let errors = std::fs::File::create(path.join("stderr")).unwrap();
        let mut command = Command::new(nginx);
        command.arg("-p").arg(path).args(["-e", "stderr", "-c", "nginx.conf"]);
        let process = command.stdin(Stdio::null()).stderr(errors).kill_on_drop(true).spawn().unwrap();
        let mut nginx = Nginx { process, address, folder };
        nginx.wait_until_it_listens().await;
        Some(nginx)
    }

    async fn wait_until_it_listens(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.process.try_wait().unwrap();
            let said = || std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
            assert!(ended.is_none() && started.elapsed() < ms(4000), "nginx does not start: {}", said());
            tokio::time::sleep(ms(10)).await;
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("files").join(name), text).unwrap();
    }

    /// Kills it with all its connections; gives where it was.
    async fn killed(mut self) -> (SocketAddr, TempDir) {
        self.process.kill().await.unwrap();
        (self.address, self.folder)
    }
}

/// One process without workers, so that killing it ends all of it.
fn config(folder: &Path, address: SocketAddr, server: &str) -> String {
    let folder = folder.display();
    format!(
        "
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off;
  default_type application/json;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  gzip on;
  gzip_types application/json;
  gzip_min_length 20;
  gzip_proxied any;
  server {{
    listen {address};
    root {folder}/files;
    {server}
  }}
}}
"
    )
}

#[tokio::test]
async fn what_nginx_answers_is_understood() {
    let server = "
    location = /empty { return 204; }
    location = /unchanged { return 304; }
    location = /moved { return 302 http://127.0.0.1:1/else; }
    location = /mute { return 444; }
    location = /wrong { return 200 'no json'; }";
    let Some(nginx) = Nginx::start(server).await else { return };
    let items: Vec<String> = (0..3000)
        .map(|id| format!("{{\"id\":{id},\"name\":\"item {} of the list\"}}", id * 7919 % 3001))
        .collect();
    let items = format!("[{}]", items.join(","));
    nginx.file("items", &items);
    nginx.file("small", "{\"id\":1}");
    let config = format!(
        "
sources:
  nginx: {{ url: {}, retry: 0 }}
routes:
  GET /page:
    calls:
      items: nginx /items
      small: nginx /small
      empty: nginx /empty
      unchanged: nginx /unchanged
      moved: nginx /moved
      mute: nginx /mute
      wrong: nginx /wrong
      missing: nginx /missing
",
        nginx.url()
    );
    let running = Running::start(&config).await;
    for _ in 0..3 {
        let reply = running.get("/page").await;
        let expected = format!(
            r#"{{"items":{items},"small":{{"id":1}},"empty":null,"unchanged":null,"moved":null,"mute":null,"wrong":null,"missing":null}}"#
        );
        assert!(
            reply.status == 200 && reply.text() == expected,
            "{:?}: {:.200}",
            reply.header("anabranch-parts"),
            reply.text()
        );
        let outcomes = ["items", "small", "empty", "unchanged", "moved", "mute", "wrong", "missing"].map(|part| reply.outcome(part));
        assert_eq!(outcomes, ["ok", "ok", "ok", "status", "status", "reset", "decode", "status"]);
    }
}

#[tokio::test]
async fn connections_that_nginx_closes_when_idle_cost_nothing() {
    let Some(nginx) = Nginx::start("keepalive_timeout 1s; location = /one { return 200 '1'; }").await else {
        return;
    };
    let config = format!(
        "
sources:
  nginx: {{ url: {}, retry: 0 }}
routes:
  GET /page:
    need: [a, b]
    calls: {{ a: nginx /one, b: nginx /one }}
",
        nginx.url()
    );
    let running = Running::start(&config).await;
    // Each client asks again at its own moment around the one at which nginx closes.
    let mut clients = JoinSet::new();
    for client in 0..30u64 {
        let address = running.address;
        clients.spawn(async move {
            let mut peer = Peer::connect(address).await;
            for _ in 0..3 {
                peer.send("GET /page HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
                let reply = peer.reply().await;
                assert_eq!((reply.status, reply.text()), (200, r#"{"a":1,"b":1}"#), "client {client}");
                tokio::time::sleep(ms(970 + 2 * client)).await;
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

#[tokio::test]
async fn connections_that_nginx_ends_after_a_few_requests_cost_nothing() {
    let Some(nginx) = Nginx::start("keepalive_requests 3; keepalive_timeout 5s 5s; location = /one { return 200 '1'; }").await else {
        return;
    };
    let config = format!(
        "sources:\n  nginx: {{ url: {}, retry: 0 }}\nroutes:\n  GET /page: {{ calls: {{ a: nginx /one }} }}\n",
        nginx.url()
    );
    let running = Running::start(&config).await;
    let mut peer = running.connect().await;
    for _ in 0..50 {
        peer.send("GET /page HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
        assert_eq!(peer.reply().await.text(), r#"{"a":1}"#);
    }
}

#[tokio::test]
async fn a_source_killed_under_load_is_an_outcome_and_comes_back() {
    const ONE: &str = "location = /one { return 200 '1'; } location = /drip { gzip off; limit_rate 2k; }";
    let Some(nginx) = Nginx::start(ONE).await else { return };
    nginx.file("drip", &format!("\"{}\"", "x".repeat(100_000)));
    let own = upstream(Upstream::new("own").reply(Scripted::any().json("0"))).await;
    let config = format!(
        "
sources:
  nginx: {{ url: {} }}
  own: {{ url: {} }}
routes:
  GET /page:
    deadline: 400ms
    calls: {{ own: own /x, one: nginx /one, drip: nginx /drip }}
",
        nginx.url(),
        own.url()
    );
    let running = Running::start(&config).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (address, stop) = (running.address, stop.clone());
        clients.spawn(async move {
            let mut outcomes = BTreeSet::new();
            let mut peer = Peer::connect(address).await;
            while !stop.load(Ordering::Relaxed) {
                peer.send("GET /page HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
                let reply = peer.reply().await;
                assert!(reply.status == 200 && reply.text().starts_with("{\"own\":0,"), "{}", reply.text());
                outcomes.extend(["one", "drip"].map(|part| reply.outcome(part).to_string()));
            }
            outcomes
        });
    }
    tokio::time::sleep(ms(600)).await;
    let (address, folder) = nginx.killed().await;
    tokio::time::sleep(ms(600)).await;
    stop.store(true, Ordering::Relaxed);
    let outcomes: BTreeSet<String> = clients.join_all().await.into_iter().flatten().collect();
    assert!(
        ["ok", "timeout", "connect"].iter().all(|outcome| outcomes.contains(*outcome)),
        "{outcomes:?}"
    );
    let known = ["ok", "timeout", "connect", "reset", "truncated"];
    assert!(outcomes.iter().all(|outcome| known.contains(&outcome.as_str())), "{outcomes:?}");

    let _nginx = Nginx::at(address, folder, ONE).await;
    within(ms(400), "the page once nginx is back", async || {
        let started = Instant::now();
        assert_eq!(running.get("/page").await.outcome("one"), "ok");
        started.elapsed()
    })
    .await;
}

#[tokio::test]
async fn nginx_can_stand_before_the_gateway() {
    let shop = upstream(
        Upstream::new("shop")
            .reply(Scripted::post("/orders").json("2"))
            .reply(Scripted::get("/a").json("1")),
    )
    .await;
    let config = format!(
        "
sources:
  shop: {{ url: {} }}
routes:
  GET /page: {{ calls: {{ a: shop /a, b: shop /b }} }}
  POST /order: {{ body: {{ max: 1M }}, calls: {{ order: {{ post: shop /orders, body: $body }} }} }}
",
        shop.url()
    );
    let running = Running::start(&config).await;
    let server = format!(
        "
    location / {{ proxy_pass http://{0}; }}
    location /kept/ {{ proxy_pass http://{0}/; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_request_buffering off; }}",
        running.address
    );
    let Some(nginx) = Nginx::start(&server).await else { return };
    // nginx speaks HTTP/1.0 to what it proxies to unless told otherwise.
    for prefix in ["", "/kept"] {
        let mut peer = Peer::connect(nginx.address).await;
        for _ in 0..3 {
            peer.send(format!("GET {prefix}/page HTTP/1.1\r\nhost: shop.example\r\n\r\n")).await;
            let reply = peer.reply().await;
            assert_eq!((reply.status, reply.text()), (200, r#"{"a":1,"b":null}"#), "{prefix}");
            assert_eq!(reply.outcome("b"), "status", "{prefix}: the account comes through");
            let body = format!("\"{}\"", "x".repeat(100_000));
            peer.send(format!(
                "POST {prefix}/order HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
            assert_eq!(peer.reply().await.text(), r#"{"order":2}"#, "{prefix}");
            peer.send(format!("GET {prefix}/nowhere HTTP/1.1\r\nhost: shop.example\r\n\r\n"))
                .await;
            assert_eq!(peer.reply().await.status, 404, "{prefix}");
        }
    }
}

#[tokio::test]
async fn what_nginx_serves_goes_through_with_ranges_and_conditions() {
    let Some(nginx) = Nginx::start("gzip_vary on; location = /files/old { return 301 /files/new; }").await else {
        return;
    };
    let text: String = (0..5_000).map(|line| format!("line {line} of the file\n")).collect();
    nginx.file("site.json", &text);
    let config = format!(
        "sources: {{ media: {{ url: {} }} }}\nroutes:\n  GET /assets/*path: {{ proxy: media /$path }}\n",
        nginx.url()
    );
    let running = Running::start(&config).await;
    let mut peer = running.connect().await;
    let ask = async |peer: &mut Peer, method: &str, path: &str, headers: &str| {
        peer.send(format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\n{headers}\r\n"))
            .await;
        let is_bare = method == "HEAD" || headers.starts_with("if-none-match");
        peer.next(is_bare).await.unwrap()
    };
    let whole = ask(&mut peer, "GET", "/assets/site.json", "").await;
    assert_eq!((whole.status, whole.text() == text), (200, true));
    let tag = whole.header("etag").unwrap().to_owned();
    assert_eq!((whole.header("accept-ranges"), whole.header("server")), (Some("bytes"), None));
    let part = ask(&mut peer, "GET", "/assets/site.json", "range: bytes=100-199\r\n").await;
    assert_eq!((part.status, part.text()), (206, &text[100..200]));
    assert_eq!(part.header("content-range"), Some(format!("bytes 100-199/{}", text.len()).as_str()));
    let same = ask(&mut peer, "GET", "/assets/site.json", &format!("if-none-match: {tag}\r\n")).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let range = format!("range: bytes=0-9\r\nif-range: {tag}\r\n");
    assert_eq!(ask(&mut peer, "GET", "/assets/site.json", &range).await.status, 206);
    let beyond = ask(&mut peer, "GET", "/assets/site.json", "range: bytes=9999999-\r\n").await;
    assert_eq!(beyond.status, 416);
    let head = ask(&mut peer, "HEAD", "/assets/site.json", "").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some(text.len().to_string().as_str()))
    );
    let missing = ask(&mut peer, "GET", "/assets/no/such/file", "").await;
    assert_eq!(missing.status, 404);
    // Compressed by nginx for the client, passed on as it is, in chunks.
    let mut packed = running.connect().await;
    packed
        .send("GET /assets/site.json HTTP/1.1\r\nhost: gateway\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n")
        .await;
    let bytes = packed.rest().await;
    let head = String::from_utf8_lossy(&bytes[..600]).to_ascii_lowercase();
    assert!(
        head.contains("content-encoding: gzip") && head.contains("transfer-encoding: chunked"),
        "{head}"
    );
    assert!(
        head.contains("vary: accept-encoding") && bytes.ends_with(b"\r\n0\r\n\r\n"),
        "{head}"
    );
}
