//! What the socket tests share: a gateway on a loopback port, a client that sees bytes, and limits that keep a test from hanging.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anabranch::client::Codec;
use anabranch_gateway::config::MapLookup;
use anabranch_gateway::server::{self, StopHandle};
use anabranch_gateway::{compile, Core, CoreOptions, Gateway};
use anabranch_testkit::{TcpUpstream, Upstream};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a reply may take beyond its deadline.
const SLACK: Duration = Duration::from_millis(50);

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Waits for what should come at once; fails the test if it does not.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came within 5 seconds")
}

/// Waits until the condition holds; fails the test if it does not soon.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "not within 5 seconds: {what}");
        tokio::time::sleep(ms(2)).await;
    }
}

/// Measures up to three times until a time is within the limit: a busy machine makes a time longer now and then, a fault does always.
pub(crate) async fn within(limit: Duration, what: &str, mut measure: impl AsyncFnMut() -> Duration) {
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(measure().await);
        if times.iter().any(|time| *time <= limit) {
            return;
        }
    }
    panic!("{what} took {times:?}, expected at most {limit:?}");
}

/// Starts an upstream on a free port.
pub(crate) async fn upstream(upstream: Upstream) -> TcpUpstream {
    TcpUpstream::start(upstream, "127.0.0.1:0").await.unwrap()
}

/// Runs this test in a process of its own, where no other test opens files or takes memory: true in that process; in the first
/// one, once the other has ended well, false.
pub(crate) async fn alone(test: &str) -> bool {
    const INSIDE: &str = "ANABRANCH_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut inside = tokio::process::Command::new(std::env::current_exe().unwrap());
    let inside = inside
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .kill_on_drop(true);
    let output = tokio::time::timeout(ms(60_000), inside.output())
        .await
        .expect("a test alone takes at most a minute")
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Finds a program that a test needs; None, with a note, where only quick tests are wanted.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    if is_quick(name) {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    Some(found.unwrap_or_else(|| panic!("this test needs {name}; install it, or set ANABRANCH_TEST_QUICK=1 to go without")))
}

/// Whether only quick tests are wanted, and so none with another program; says so.
pub(crate) fn is_quick(name: &str) -> bool {
    let is_quick = std::env::var_os("ANABRANCH_TEST_QUICK").is_some();
    if is_quick {
        println!("note: ANABRANCH_TEST_QUICK is set, not tested with {name}");
    }
    is_quick
}

/// Runs a program to its end; gives its exit code and what it wrote to stdout.
pub(crate) async fn run(program: &PathBuf, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(program);
    let output = soon(command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output())
        .await
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A gateway that listens on a free port of loopback, in the runtime of the test.
pub(crate) struct Running {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) core: Core,
    pub(crate) address: SocketAddr,
    stop: StopHandle,
    serving: JoinHandle<usize>,
}

impl Running {
    pub(crate) async fn start(config: &str) -> Running {
        Running::with(config, &MapLookup::new(), Duration::from_secs(4)).await
    }

    /// `grace` is how long requests under way may take once it is stopped.
    pub(crate) async fn with(config: &str, lookup: &MapLookup, grace: Duration) -> Running {
        let mut plan = compile("gateway.yaml", config, lookup).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        // All of these tests hold with either codec towards the sources: scripts/test runs them with both.
        if std::env::var_os("ANABRANCH_TEST_WIRE").is_some_and(|wire| wire == "hyper") {
            plan.sources.iter_mut().for_each(|source| source.wire = Codec::Hyper);
        }
        let gateway = Gateway::build(plan).unwrap();
        let core = Core::new(gateway.clone(), anabranch::Client::new(), CoreOptions::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = server::stop();
        let serving = tokio::spawn(server::serve_on(core.clone(), listener, stopped, grace));
        Running {
            gateway,
            core,
            address,
            stop,
            serving,
        }
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer::connect(self.address).await
    }

    /// Asks for a path over a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        let mut peer = self.connect().await;
        peer.send(format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n"))
            .await;
        peer.reply().await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Tells it to stop, without waiting.
    pub(crate) fn request_stop(&self) {
        self.stop.request();
    }

    /// Stops it; gives the number of connections that had to be cut.
    pub(crate) async fn stopped(self) -> usize {
        self.stop.request();
        soon(self.serving).await.unwrap()
    }

    /// Whether the server has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.serving.is_finished()
    }
}

/// A client's connection.
pub(crate) struct Peer {
    stream: TcpStream,
    /// What was read and not used yet.
    buffer: Vec<u8>,
    /// Whether reads and writes have no limit of their own. Where the clock stands still, a limit of 5 seconds passes at once.
    pub(crate) is_patient: bool,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Peer {
        Peer::over(soon(TcpStream::connect(address)).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).unwrap();
        Peer {
            stream,
            buffer: Vec::new(),
            is_patient: false,
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.expect("the connection is open");
    }

    /// Sends as much as the other side takes; that it closes in the middle is fine.
    pub(crate) async fn send_if_taken(&mut self, bytes: &[u8]) {
        let _closed = soon(self.stream.write_all(bytes)).await;
    }

    /// The next reply.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.next(false).await.expect("the connection ended where a reply was expected")
    }

    /// The next reply, which is to a HEAD request and has no body.
    pub(crate) async fn reply_to_head(&mut self) -> Reply {
        self.next(true).await.expect("the connection ended where a reply was expected")
    }

    /// The next reply, or None where the connection ends before its first byte.
    pub(crate) async fn next(&mut self, is_bare: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                assert!(self.buffer.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
        };
        let mut reply = Reply::parse(&self.buffer[..end]);
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        let length = if is_bare { 0 } else { length };
        while self.buffer.len() < end + length {
            assert!(self.more().await, "the connection ended in the middle of a body");
        }
        reply.raw = self.buffer.drain(..end + length).collect();
        reply.body = reply.raw.split_off(end);
        Some(reply)
    }

    /// Everything up to the end of the connection; a reset is an end too.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Leaves by a reset (SO_LINGER 0) in place of an orderly end.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    async fn more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = if self.is_patient { read.await } else { soon(read).await };
        matches!(read, Ok(1..))
    }
}

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The head's bytes.
    pub(crate) raw: Vec<u8>,
}

impl Reply {
    fn parse(head: &[u8]) -> Reply {
        let text = std::str::from_utf8(head).expect("a head of our gateway is ASCII");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap();
        let status = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect(status);
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect(line);
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        Reply {
            status: status.parse().unwrap(),
            headers,
            body: Vec::new(),
            raw: Vec::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The account's word for a part; `ok` for one that it does not name.
    pub(crate) fn outcome(&self, part: &str) -> &str {
        let members = self.header("anabranch-parts").unwrap_or_default().split(", ");
        let found = members.filter_map(|member| member.split_once('=')).find(|(key, _)| *key == part);
        found.map_or("ok", |(_, value)| value.split(';').next().unwrap_or_default())
    }

    /// Whether the connection ends after it.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// A page of a good part and a part under test, which is null in the reply and named in the account.
pub(crate) struct BadPart {
    pub(crate) running: Running,
    pub(crate) deadline: Duration,
}

impl BadPart {
    /// `source` is how the bad part's source is reached: the inside of a YAML mapping.
    pub(crate) async fn start(good: &TcpUpstream, source: &str, deadline: Duration, lookup: &MapLookup) -> BadPart {
        let config = format!(
            "
sources:
  good: {{ url: {} }}
  bad: {{ {source} }}
routes:
  GET /page:
    deadline: {}ms
    calls:
      good: good /value
      bad: bad /value
",
            good.url(),
            deadline.as_millis()
        );
        BadPart {
            running: Running::with(&config, lookup, Duration::from_secs(4)).await,
            deadline,
        }
    }

    /// Asks for the page: it must come in time, with the good part, and say nothing of where its parts come from. Gives the outcome
    /// of the bad part.
    pub(crate) async fn outcome(&self, what: &str) -> String {
        let mut outcome = String::new();
        within(self.deadline + SLACK, what, async || {
            let started = Instant::now();
            let reply = self.running.get("/page").await;
            let took = started.elapsed();
            assert_eq!(reply.status, 200, "{what}: {}", reply.text());
            assert!(reply.text().starts_with(r#"{"good":{"id":1},"bad":"#), "{what}: {}", reply.text());
            outcome = reply.outcome("bad").to_string();
            let is_null = reply.text().ends_with(r#","bad":null}"#);
            assert_eq!(is_null, outcome != "ok", "{what}: {outcome}, {}", reply.text());
            assert_eq!(
                reply.header("cache-control"),
                Some(if is_null { "no-store" } else { "no-cache" }),
                "{what}"
            );
            self.tells_nothing(&reply, what);
            took
        })
        .await;
        outcome
    }

    fn tells_nothing(&self, reply: &Reply, what: &str) {
        let whole = [&reply.raw[..], &reply.body[..]].concat();
        let whole = String::from_utf8_lossy(&whole);
        for source in self.running.gateway.sources() {
            for url in source.http().into_iter().flat_map(|source| source.endpoints()) {
                let address = url.split_once("://").map_or(&*url, |(_, address)| address);
                let port = address.rsplit_once(':').map_or(address, |(_, port)| port);
                assert!(
                    !whole.contains(address) && !whole.contains(&format!(":{port}")),
                    "{what}: the reply names {address}: {whole}"
                );
            }
        }
        assert!(!whole.contains("127.0.0.1") && !whole.contains("http://"), "{what}: {whole}");
    }
}

/// The upstream of good parts.
pub(crate) async fn good() -> TcpUpstream {
    upstream(Upstream::new("good").reply(anabranch_testkit::Reply::get("/value").json(r#"{"id":1}"#))).await
}
