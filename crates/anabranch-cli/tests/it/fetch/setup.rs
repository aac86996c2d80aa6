//! Servers for runs, and the records that runs leave.

#![expect(clippy::disallowed_methods, reason = "processes take real time")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anabranch_testkit::{Seen, TcpUpstream, Upstream};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::{anabranch, Ended, Folder};

/// The longest that a test waits for a server or for the end of a process.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A scripted upstream on a thread of its own; gone with the value.
pub(super) struct Site {
    upstream: Option<TcpUpstream>,
    runtime: Runtime,
}

impl Site {
    pub(super) fn start(script: Upstream) -> Site {
        Site::start_at(script, "127.0.0.1:0")
    }

    pub(super) fn start_at(script: Upstream, address: &str) -> Site {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let upstream = runtime.block_on(TcpUpstream::start(script, address)).unwrap();
        Site {
            upstream: Some(upstream),
            runtime,
        }
    }

    fn upstream(&self) -> &TcpUpstream {
        self.upstream.as_ref().unwrap()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.upstream().addr()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.upstream().url())
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.upstream().seen()
    }

    /// The paths that were asked for, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.path_and_query.clone()).collect()
    }

    /// Closes the port and all connections for a while; what it saw is kept.
    pub(super) fn restart(&mut self, down: Duration) {
        let upstream = self.upstream.take().unwrap();
        let (address, served) = (upstream.addr(), upstream.served().clone());
        self.runtime.block_on(upstream.shutdown());
        thread::sleep(down);
        let again = self.runtime.block_on(TcpUpstream::start_served(served, &address.to_string()));
        self.upstream = Some(again.unwrap());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(upstream) = self.upstream.take() {
            self.runtime.block_on(upstream.shutdown());
        }
    }
}

/// A port of a loopback address on which nothing else of these tests listens.
pub(super) fn free_address(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// A server of another make; ended with the value.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) folder: tempfile::TempDir,
}

impl Server {
    /// Starts a command that listens on the address, and waits until it does. Its output is in `log` in the folder.
    pub(super) fn start(mut command: Command, address: SocketAddr, folder: tempfile::TempDir) -> Server {
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let said = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(child.try_wait().unwrap().is_none(), "the server ended: {}", said());
            assert!(started.elapsed() < PATIENCE, "the server does not start: {}", said());
            thread::sleep(Duration::from_millis(20));
        }
        Server { child, address, folder }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Servers with workers end them when they are told so, and not when they are killed.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let started = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && started.elapsed() < Duration::from_secs(3) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether tests are to do without programs that are not built here.
pub(super) fn is_quick() -> bool {
    std::env::var_os("ANABRANCH_TEST_QUICK").is_some()
}

/// A program of the system; None in a quick run. Elsewhere it has to be there: `scripts/test` installs it.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    if is_quick() {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    Some(found.unwrap_or_else(|| panic!("`{name}` is not here: install it, or run `scripts/test quick`")))
}

/// Records, in the order in which they were written.
pub(super) struct Records(pub(super) Vec<Value>);

impl Records {
    /// Of NDJSON; each line must be one.
    pub(super) fn of(text: &str) -> Records {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is not whole: {text:?}");
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Records(text.lines().map(parse).collect())
    }

    pub(super) fn read(path: &Path) -> Records {
        Records::of(&std::fs::read_to_string(path).unwrap())
    }

    /// The records in the order of the input.
    pub(super) fn by_seq(mut self) -> Records {
        self.0.sort_by_key(|record| record["seq"].as_u64());
        self
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// One field of each.
    pub(super) fn all(&self, field: &str) -> Vec<&Value> {
        self.0.iter().map(|record| &record[field]).collect()
    }

    /// One field of each that is text.
    pub(super) fn texts(&self, field: &str) -> Vec<&str> {
        self.0.iter().map(|record| record[field].as_str().unwrap_or_default()).collect()
    }

    /// How many there are of each outcome.
    pub(super) fn outcomes(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for outcome in self.texts("outcome") {
            *counts.entry(outcome).or_default() += 1;
        }
        counts
    }

    /// How many jobs they are of.
    pub(super) fn distinct_ids(&self) -> usize {
        self.texts("id").into_iter().collect::<std::collections::HashSet<_>>().len()
    }
}

/// Runs `anabranch fetch` to its end.
pub(super) fn fetch(folder: &Folder, arguments: &[&str]) -> Ended {
    folder.run(&[&["fetch"], arguments].concat())
}

/// The same, with records on stdout, which are read.
pub(super) fn records(folder: &Folder, arguments: &[&str]) -> (Ended, Records) {
    let ended = fetch(folder, arguments);
    let records = Records::of(&ended.stdout).by_seq();
    (ended, records)
}

/// The only record of a run of one job.
pub(super) fn record(folder: &Folder, arguments: &[&str]) -> Value {
    let (ended, mut records) = records(folder, arguments);
    assert_eq!(records.len(), 1, "{ended:?}");
    records.0.remove(0)
}

/// Starts `anabranch fetch` in a folder.
pub(super) fn start(folder: &Folder, arguments: &[&str]) -> Child {
    let mut command = anabranch(&["fetch"]);
    command.args(arguments).current_dir(folder.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until something holds.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what} has not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The lines of a list of URLs below one.
pub(super) fn list(site: &Site, paths: impl IntoIterator<Item = String>) -> String {
    paths.into_iter().map(|path| format!("{}\n", site.url(&path))).collect()
}
