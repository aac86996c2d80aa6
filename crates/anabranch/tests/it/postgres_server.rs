//! A real Postgres server for tests: in a folder of its own, on a free port, stopped and removed when dropped.
//!
//! Needs the server's programs, from the PATH or where Debian puts them. They refuse to run as root, so root runs them as the
//! user `postgres`, whom Debian's package makes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to begin or to end. It takes a second; a loaded machine has been seen to need ten.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It trusts everybody but the user `guarded`, whose password is `guarded's password`, and offers TLS with a
/// certificate for `localhost`.
pub(crate) struct Server {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    certificate: String,
    process: Option<Child>,
}

impl Server {
    /// The one that tests share while any of them runs.
    pub(crate) fn shared() -> Arc<Server> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Server::start());
        *shared = Arc::downgrade(&server);
        server
    }

    /// One for a test that stops it.
    pub(crate) fn start() -> Server {
        let folder = TempDir::with_prefix("anabranch-postgres-").unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut server = Server {
            programs: programs(),
            folder,
            port: free_port(),
            certificate: made.cert.pem(),
            process: None,
        };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(server.folder.path()));
        }
        run(server
            .command("initdb")
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(server.data()));
        server.write("server.crt", &server.certificate);
        server.write("server.key", &made.signing_key.serialize_pem());
        server.write(
            "pg_hba.conf",
            "host all guarded all scram-sha-256\nlocal all all trust\nhost all all all trust\n",
        );
        server.resume();
        server
    }

    /// Where it listens: `postgres://postgres@localhost:port/postgres`, without TLS.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@localhost:{}/postgres?sslmode=disable", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its unix socket.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its certificate, which signs itself.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Stops it as `kill -QUIT` does: at once, ending all sessions.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        run(Command::new("kill").args(["-QUIT", &process.id().to_string()]));
        let started = Instant::now();
        while process.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "the server does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again, on the same port with the same data, and waits until it takes sessions.
    pub(crate) fn resume(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(["-h", "localhost", "-p", &self.port.to_string()]);
        for setting in [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=60",
            "shared_buffers=32MB",
            "ssl=on",
        ] {
            command.args(["-c", setting]);
        }
        self.process = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let started = Instant::now();
        while !self.takes_sessions() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "the server does not start: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn takes_sessions(&self) -> bool {
        let mut command = self.command("pg_isready");
        command
            .args(["-q", "-h", "localhost", "-p", &self.port.to_string()])
            .status()
            .unwrap()
            .success()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).unwrap();
        run(Command::new("chmod").arg("600").arg(&path));
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&path));
        }
    }

    /// One of the server's programs, as a user that they accept and with nothing of our environment that they listen to.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.folder.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Children of a server that is killed outright would live on for a moment and hold the folder.
            let _ = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }
}

/// The folder of `initdb` and `postgres`: the newest of Debian's, or one of the PATH.
fn programs() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<(u32, PathBuf)> = debian
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = folders
        .into_iter()
        .rev()
        .map(|(_version, folder)| folder)
        .chain(std::env::split_paths(&path));
    all.into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
        .expect("these tests need a Postgres server; on Debian and Ubuntu: apt-get install postgresql")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
