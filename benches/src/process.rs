//! A process of the benchmark: pinned to its cores, its words kept in a file, ended with all that it started.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::measure;

/// How long a process has to end by itself before it is killed.
const END_WAIT: Duration = Duration::from_secs(3);

/// A running process; ended when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program on these cores. It ends when this process does. What it says goes to `log`.
    ///
    /// # Errors
    /// It could not be started, in words.
    pub fn start(program: &Command, cores: &str, log: &Path) -> Result<Process, String> {
        let mut command = pinned(program, cores);
        let file = File::create(log).map_err(|error| error.to_string())?;
        let copy = file.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let child = command.spawn().map_err(|error| format!("cannot start: {error}"))?;
        Ok(Process {
            child,
            log: log.to_owned(),
        })
    }

    /// The process and all that it started.
    pub fn pids(&self) -> Vec<u32> {
        measure::with_children(self.child.id())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until a port takes connections.
    ///
    /// # Errors
    /// It ended or took too long; with the last words it said.
    pub fn wait_for_port(&mut self, port: u16, most: Duration) -> Result<(), String> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if self.has_ended() || began.elapsed() > most {
                return Err(format!("does not listen on {port}: {}", self.last_words()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        let words = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = words.lines().rev().filter(|line| !line.trim().is_empty()).take(2).collect();
        last.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pids = self.pids();
        // nginx's master ends its workers when it is asked to end, not when it is killed.
        signal(self.child.id(), Signal::TERM);
        let began = Instant::now();
        while !self.has_ended() && began.elapsed() < END_WAIT {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.has_ended() {
            for pid in pids {
                signal(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// The same command on these cores, ended with this process.
pub fn pinned(program: &Command, cores: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "taskset", "-c", cores])
        .arg(program.get_program())
        .args(program.get_args());
    for (key, value) in program.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
