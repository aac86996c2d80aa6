//! Runs the binary, and keeps one running while a test talks to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A folder for one test's files; gone with the value.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs the binary in this folder to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(anabranch(arguments).current_dir(self.0.path()).output().unwrap())
    }
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: Output) -> Ended {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// The binary with a calm environment: no colours, 100 columns.
pub(crate) fn anabranch(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anabranch"));
    command
        .args(arguments)
        .env("COLUMNS", "100")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// A running `anabranch mock`; killed when dropped.
pub(crate) struct Mocks {
    child: Child,
    urls: Vec<(String, String)>,
}

impl Mocks {
    /// Starts it and waits for the addresses that it prints.
    pub(crate) fn start(folder: &Folder, upstreams: usize, text: &str) -> Mocks {
        let file = folder.write("mocks.yaml", text);
        let mut child = anabranch(&["mock", file.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(upstreams);
        let urls = lines
            .map(|line| {
                line.unwrap()
                    .split_once(' ')
                    .map(|(name, url)| (name.to_string(), url.to_string()))
                    .unwrap()
            })
            .collect();
        Mocks { child, urls }
    }

    pub(crate) fn url(&self, name: &str) -> &str {
        &self.urls.iter().find(|(known, _)| known == name).unwrap().1
    }

    /// Asks an upstream for a path; gives the whole reply.
    pub(crate) fn get(&self, name: &str, path: &str) -> String {
        get(self.url(name).strip_prefix("http://").unwrap(), path)
    }

    /// Sends it Ctrl-C and gives its exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        interrupt(&self.child);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Mocks {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal sends to the child on Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// Asks for a path with HTTP written by hand; gives the whole reply.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}
