//! A real Redis server for tests: in a folder of its own, on a free port and a unix socket, killed and removed when dropped.
//!
//! Needs `redis-server` (Debian: the package of that name), from the PATH. With `ANABRANCH_TEST_QUICK` set there is none, and the
//! tests that would use it say so and pass.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to begin. It takes 50 ms; a loaded machine may need seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Here no other test takes a port, so the one that was free a moment ago still is.
const HOST: &str = "127.0.0.3";

/// A running server.
pub(crate) struct RedisServer {
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// One without a password; None where it is not to be tested with.
    pub(crate) fn start() -> Option<RedisServer> {
        RedisServer::start_with(&[])
    }

    /// One with these options of its command line.
    pub(crate) fn start_with(settings: &[&str]) -> Option<RedisServer> {
        if std::env::var_os("ANABRANCH_TEST_QUICK").is_some() {
            println!("note: ANABRANCH_TEST_QUICK is set, not tested with redis-server");
            return None;
        }
        let folder = TempDir::with_prefix("anabranch-redis-").unwrap();
        let port = free_port();
        let mut server = RedisServer {
            folder,
            port,
            settings: settings.iter().map(ToString::to_string).collect(),
            process: None,
        };
        server.resume();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{HOST}:{}", self.port)
    }

    pub(crate) fn host(&self) -> &'static str {
        HOST
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _already_gone = process.kill();
            process.wait().unwrap();
        }
    }

    /// Starts it, the first time or after it was killed, on the same port.
    pub(crate) fn resume(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            HOST,
            "--port",
            &self.port.to_string(),
            "--unixsocket",
            "redis.sock",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command
            .args(["--enable-debug-command", "yes"])
            .args(&self.settings)
            .current_dir(self.folder.path());
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.process = Some(process.unwrap_or_else(|error| {
            panic!("this test needs `redis-server` ({error}); install it, or set ANABRANCH_TEST_QUICK=1 to go without")
        }));
        let started = Instant::now();
        while !self.answers() {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().unwrap());
            let said = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "redis-server does not start: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it in its tracks: its connections stay open and nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Asks it something beside the client under test; the answer as it comes on the wire.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect((HOST, self.port)).unwrap();
        let mut frame = format!("*{}\r\n", words.len());
        for word in words {
            frame.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(frame.as_bytes()).unwrap();
        stream.write_all(b"QUIT\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned()
    }

    /// The same for what has to succeed.
    pub(crate) fn must(&self, words: &[&str]) {
        let answer = self.ask(words);
        assert!(!answer.starts_with('-'), "{words:?}: {answer}");
    }

    /// What an option of its command line was set to.
    fn setting(&self, name: &str) -> &str {
        let at = self.settings.iter().position(|setting| setting == name);
        at.and_then(|at| self.settings.get(at + 1)).expect("it was set")
    }

    /// How many connections of ours it has.
    pub(crate) fn connections(&self) -> usize {
        self.ask(&["CLIENT", "LIST"])
            .lines()
            .filter(|line| line.contains("name=anabranch "))
            .count()
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((HOST, self.port)) else {
            return self.speaks_tls();
        };
        let mut answer = [0; 5];
        let is_asked = stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok();
        // A server with a password says so.
        is_asked && (answer == *b"+PONG" || answer == *b"-NOAU")
    }

    /// With TLS on the port, the socket tells whether it is up.
    fn speaks_tls(&self) -> bool {
        self.settings.iter().any(|setting| setting == "--tls-port") && self.socket().exists()
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("it runs");
        let done = Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap();
        assert!(done.success());
    }
}

/// Masters that share the slots evenly, without replicas.
pub(crate) struct RedisCluster {
    pub(crate) servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// So many masters; None where it is not to be tested with.
    pub(crate) fn start(count: u16) -> Option<RedisCluster> {
        let mut servers = Vec::new();
        for _ in 0..count {
            // Its port for the others; the usual one, 10,000 above, may be none.
            let bus = free_port().to_string();
            let clustered = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-port",
                &bus,
                "--cluster-announce-ip",
                HOST,
            ];
            servers.push(RedisServer::start_with(&clustered)?);
        }
        let cluster = RedisCluster { servers };
        let first = &cluster.servers[0];
        for (index, server) in (0..count).zip(&cluster.servers) {
            let (from, to) = (cluster.first_slot(index), cluster.first_slot(index + 1) - 1);
            server.must(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
            server.must(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            server.must(&["CLUSTER", "MEET", HOST, &first.port.to_string(), first.setting("--cluster-port")]);
        }
        cluster.wait_until_it_is_well();
        Some(cluster)
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.servers.iter().map(|server| format!("{HOST}:{}", server.port)).collect();
        format!("redis://{}", hosts.join(","))
    }

    /// Waits until every server knows every other and serves.
    pub(crate) fn wait_until_it_is_well(&self) {
        let started = Instant::now();
        let known = format!("cluster_known_nodes:{}\r", self.servers.len());
        let is_well = |server: &RedisServer| {
            let info = server.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains(&known)
        };
        while !self.servers.iter().all(is_well) {
            assert!(
                started.elapsed() < PATIENCE,
                "the cluster does not come up: {}",
                self.servers[0].ask(&["CLUSTER", "INFO"])
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Which server has a slot, as it was at the beginning.
    pub(crate) fn owner(&self, slot: u16) -> usize {
        let count = u16::try_from(self.servers.len()).unwrap();
        usize::from((0..count).rev().find(|index| self.first_slot(*index) <= slot).unwrap())
    }

    /// The slot of a key, as a server sees it.
    pub(crate) fn slot(&self, key: &str) -> u16 {
        self.servers[0]
            .ask(&["CLUSTER", "KEYSLOT", key])
            .trim_matches([':', '\r', '\n'])
            .parse()
            .unwrap()
    }

    fn first_slot(&self, index: u16) -> u16 {
        let count = u32::try_from(self.servers.len()).unwrap();
        u16::try_from(u32::from(index) * 16_384 / count).unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((HOST, 0)).unwrap().local_addr().unwrap().port()
}
