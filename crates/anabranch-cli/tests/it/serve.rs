//! `anabranch serve` as a process: what it says, what it answers, and how it ends.

#![expect(clippy::disallowed_methods, reason = "signals and processes take real time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{anabranch, get, Folder, Mocks};

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running gateway; killed when dropped.
struct Gateway {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: String,
    health: String,
}

/// How a gateway ended.
struct End {
    code: Option<i32>,
    stderr: String,
    took: Duration,
}

impl Gateway {
    fn start(folder: &Folder, mocks: &Mocks, arguments: &[&str]) -> Gateway {
        let file = folder.write("gateway.yaml", &config(mocks));
        let health = free_address();
        let text = std::fs::read_to_string(&file).unwrap().replace("HEALTH", &health);
        std::fs::write(&file, text).unwrap();
        let mut command = anabranch(&["serve", file.to_str().unwrap(), "--cores", "2"]);
        command.args(arguments);
        Gateway::spawn(command, health)
    }

    fn spawn(mut command: Command, health: String) -> Gateway {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.split_whitespace().next());
        let address = address.unwrap_or_else(|| panic!("{line}")).to_string();
        Gateway {
            child,
            stderr,
            address,
            health,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request over a connection of its own, without waiting for the reply.
    fn send(&self, path: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n").unwrap();
        stream
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Sends SIGTERM and waits until it has been heard.
    fn terminate(&mut self) {
        self.signal("TERM");
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        assert!(line.starts_with("note: SIGTERM: "), "{line}");
    }

    /// Waits for its end.
    fn end(mut self) -> End {
        let started = Instant::now();
        let code = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None => assert!(started.elapsed() < PATIENCE, "it does not end"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        let took = started.elapsed();
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        End { code, stderr, took }
    }

    fn ready(&self) -> String {
        get(&self.health, "/readyz").lines().next().unwrap_or_default().to_string()
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Processor time used so far, in ticks of 10 ms (`utime` and `stime`, proc(5)).
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let behind_name = stat.rsplit_once(") ").unwrap().1;
        behind_name
            .split(' ')
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On 127.0.0.3 nothing else takes ports, so one that was free a moment ago still is.
fn free_address() -> String {
    TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap().to_string()
}

fn mocks(folder: &Folder) -> Mocks {
    Mocks::start(
        folder,
        1,
        "\
upstreams:
  shop:
    routes:
      GET /fast: { body: 1 }
      GET /slow: { latency: 400ms, body: 1 }
      GET /hang: { fault: hang }
      GET /reset: { fault: { reset: 30 } }
",
    )
}

fn config(mocks: &Mocks) -> String {
    format!(
        "\
listen: 127.0.0.1:0
health: HEALTH
sources:
  shop: {{ url: '{}', pool: 2, in_flight: 200 }}
routes:
  GET /fast: {{ calls: {{ a: shop /fast }} }}
  GET /slow: {{ calls: {{ a: shop /slow }} }}
  GET /hang: {{ deadline: 20s, calls: {{ a: shop /hang }} }}
  GET /storm: {{ deadline: 150ms, calls: {{ a: shop /fast, b: shop /hang, c: shop /reset }} }}
",
        mocks.url("shop")
    )
}

/// The whole reply up to the end of the connection; what came before a reset counts.
fn rest(mut stream: TcpStream) -> String {
    let mut reply = Vec::new();
    let _reset = stream.read_to_end(&mut reply);
    String::from_utf8(reply).unwrap()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "not within 5 seconds: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_page_is_served_and_health_is_told() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let gateway = Gateway::start(&folder, &mocks, &[]);
    let reply = get(&gateway.address, "/fast");
    assert!(
        reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\n{\"a\":1}"),
        "{reply}"
    );
    assert!(!reply.contains("server-timing"), "{reply}");
    assert_eq!(gateway.ready(), "HTTP/1.1 200 OK");
    assert!(get(&gateway.health, "/livez").starts_with("HTTP/1.1 200 OK"));
    gateway.signal("INT");
    let end = gateway.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.starts_with("note: SIGINT: "), "{}", end.stderr);
}

#[test]
fn for_development_it_says_more() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let gateway = Gateway::start(&folder, &mocks, &["--dev"]);
    let reply = get(&gateway.address, "/fast");
    assert!(reply.contains("server-timing: "), "{reply}");
}

#[test]
fn requests_in_flight_end_well_after_sigterm() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let mut gateway = Gateway::start(&folder, &mocks, &[]);
    let idle = gateway.connect();
    let busy: Vec<TcpStream> = (0..30).map(|_| gateway.send("/slow")).collect();
    gateway.terminate();
    assert_eq!(gateway.ready(), "HTTP/1.1 503 Service Unavailable");
    assert!(get(&gateway.health, "/livez").starts_with("HTTP/1.1 200 OK"));
    wait_until("new connections are refused", || TcpStream::connect(&gateway.address).is_err());
    assert_eq!(rest(idle), "");
    for stream in busy {
        let reply = rest(stream);
        assert!(
            reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\n{\"a\":1}"),
            "{reply}"
        );
        assert!(reply.contains("\r\nconnection: close\r\n"), "{reply}");
    }
    let end = gateway.end();
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
}

#[test]
fn clients_that_keep_coming_lose_nothing_when_it_ends() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    // The kernel resets whoever it lets in between our last look at the door and its closing. That is a matter of microseconds,
    // unless this machine does something else meanwhile; it does not do so every time.
    let mut lost = Vec::new();
    while lost.len() < 3 {
        match lost_at_the_end(Gateway::start(&folder, &mocks, &[])) {
            0 => return,
            some => lost.push(some),
        }
    }
    panic!("{lost:?} clients were let in and not answered");
}

/// Ends a gateway while clients keep coming; gives how many of them were let in and not answered.
fn lost_at_the_end(mut gateway: Gateway) -> u32 {
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let address = gateway.address.clone();
            thread::spawn(move || asks_until_refused(&address))
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    gateway.terminate();
    let lost = clients.into_iter().map(|client| client.join().unwrap()).sum();
    let end = gateway.end();
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
    lost
}

/// Asks over a new connection each time; gives how many of them ended without an answer.
fn asks_until_refused(address: &str) -> u32 {
    let (mut answered, mut lost) = (0, 0);
    while let Ok(mut stream) = TcpStream::connect(address) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _reset = write!(stream, "GET /fast HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n");
        let reply = rest(stream);
        let is_whole = reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\n{\"a\":1}");
        assert!(is_whole || reply.is_empty(), "half a reply: {reply}");
        answered += u32::from(is_whole);
        lost += u32::from(!is_whole);
    }
    assert!(answered > 0, "it was not there at all");
    lost
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let mut gateway = Gateway::start(&folder, &mocks, &[]);
    let stuck = gateway.send("/hang");
    gateway.terminate();
    thread::sleep(Duration::from_millis(100));
    assert!(gateway.child.try_wait().unwrap().is_none(), "it waits for the request in flight");
    gateway.signal("TERM");
    let end = gateway.end();
    assert_eq!(end.code, Some(0));
    assert!(end.took < Duration::from_secs(1), "{:?}", end.took);
    assert_eq!(rest(stuck), "");
}

#[test]
fn what_is_stuck_is_cut_after_the_grace_and_named() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let mut gateway = Gateway::start(&folder, &mocks, &["--grace", "0.3"]);
    let stuck = gateway.send("/hang");
    gateway.terminate();
    let end = gateway.end();
    assert_eq!(end.code, Some(0));
    assert!(end.stderr.starts_with("warning: cut after 300ms: 1 connection"), "{}", end.stderr);
    assert_eq!(rest(stuck), "");
}

#[test]
fn while_it_settles_it_is_not_ready_and_answers_as_before() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let mut gateway = Gateway::start(&folder, &mocks, &["--settle", "0.7"]);
    let started = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.ready(), "HTTP/1.1 503 Service Unavailable");
    let reply = get(&gateway.address, "/fast");
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    wait_until("the door shuts", || TcpStream::connect(&gateway.address).is_err());
    assert!(started.elapsed() >= Duration::from_millis(700), "{:?}", started.elapsed());
    assert_eq!(gateway.end().code, Some(0));
}

#[test]
fn a_config_with_faults_listens_nowhere() {
    let folder = Folder::new();
    let (listen, health) = (free_address(), free_address());
    let config = format!(
        "listen: {listen}\nhealth: {health}\nsources:\n  shop: {{ url: http://shop }}\nroutes:\n  GET /a: {{ calls: {{ a: shop /a, b: shp /b }} }}\n"
    );
    folder.write("gateway.yaml", &config);
    let started = Instant::now();
    let ended = folder.run(&["serve", "gateway.yaml"]);
    assert!(started.elapsed() < PATIENCE);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(
        ended.stderr.contains("gateway.yaml:6:") && ended.stderr.contains("shp"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
    assert_eq!(folder.run(&["serve", "none.yaml"]).code, Some(3));
}

#[test]
fn an_address_that_is_taken_is_the_machines_fault() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.3:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    folder.write(
        "gateway.yaml",
        "sources:\n  shop: { url: http://shop }\nroutes:\n  GET /a: { calls: { a: shop /a } }\n",
    );
    let ended = folder.run(&["serve", "gateway.yaml", "--listen", &address]);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.starts_with("error: ") && ended.stderr.contains(&address),
        "{}",
        ended.stderr
    );
}

#[test]
fn nothing_is_left_open_after_a_storm() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let gateway = Gateway::start(&folder, &mocks, &[]);
    // Both cores have met the source, and keep two connections to it each.
    let warm: Vec<TcpStream> = (0..8).map(|_| gateway.send("/slow")).collect();
    warm.into_iter()
        .for_each(|mut stream| assert!(stream.read(&mut [0; 1024]).unwrap() > 0));
    thread::sleep(Duration::from_millis(50));
    let before = gateway.open_files();
    for round in 0..10 {
        let streams: Vec<TcpStream> = (0..20).map(|_| gateway.send("/storm")).collect();
        for (number, mut stream) in streams.into_iter().enumerate() {
            if (number + round) % 3 > 0 {
                let count = stream.read(&mut [0; 1024]).unwrap();
                assert!(count > 0);
            }
        }
    }
    wait_until("its files are closed", || gateway.open_files() <= before + 2);
    assert!(get(&gateway.address, "/fast").starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn without_file_descriptors_it_waits_and_recovers() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let text = config(&mocks).replace("health: HEALTH\n", "");
    let file = folder.write("gateway.yaml", &text);
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 48; exec \"$0\" serve \"$1\" --cores 1",
        env!("CARGO_BIN_EXE_anabranch"),
        file.to_str().unwrap(),
    ]);
    let gateway = Gateway::spawn(command, String::new());
    let mut kept = gateway.send("/fast");
    assert!(kept.read(&mut [0; 1024]).unwrap() > 0);
    let silent: Vec<TcpStream> = (0..80).map(|_| gateway.connect()).collect();
    wait_until("it has no descriptors left", || gateway.open_files() >= 48);
    let before = gateway.ticks();
    thread::sleep(Duration::from_millis(500));
    let used = gateway.ticks() - before;
    assert!(used <= 10, "{used} ticks of 10 ms in half a second: the accepting spins");
    // Who is in is still served.
    write!(kept, "GET /fast HTTP/1.1\r\nhost: gateway\r\n\r\n").unwrap();
    let mut reply = [0; 1024];
    assert!(kept.read(&mut reply).unwrap() > 0 && reply.starts_with(b"HTTP/1.1 200 OK"));
    drop(silent);
    wait_until("it has room again", || gateway.open_files() < 30);
    assert!(get(&gateway.address, "/fast").starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn a_taken_address_is_told_in_plain_words() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let config = "sources: { s: { url: http://s.svc:1 } }\nroutes: { GET /: { calls: { a: s / } } }\n";
    folder.write("gateway.yaml", config);
    let mocks = format!("upstreams: {{ s: {{ listen: '{address}', routes: {{ GET /: {{ body: 1 }} }} }} }}\n");
    folder.write("mocks.yaml", &mocks);
    for (arguments, told) in [
        (
            &["serve", "gateway.yaml", "--listen", &address][..],
            format!("error: cannot listen on `{address}`: another process listens there\n"),
        ),
        (
            &["mock", "mocks.yaml"][..],
            format!("error: cannot listen on `{address}` for `s`: another process listens there\n"),
        ),
    ] {
        let ended = folder.run(arguments);
        assert_eq!((ended.code, ended.stderr), (Some(3), told), "{arguments:?}");
    }
    let ended = folder.run(&["serve", "gateway.yaml", "--listen", "8080"]);
    let told = "error: `8080` is no address to listen on, expected `host:port` such as `127.0.0.1:8080`\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), told));
}
