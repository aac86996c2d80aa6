//! Setting workers up.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::log::{Listener, WorkerNote};
use super::pool::{Pool, PoolLimits};
use super::process::Recipe;
use super::{Owner, WorkerSettings, Workers};

/// More processes than this are a mistake, not a plan.
const MOST_PROCESSES: usize = 1_024;
/// With less no program gets as far as its first line.
const LEAST_MEMORY: u64 = 1 << 20;
/// As many jobs may wait for each process as for each thread of a compute pool.
const QUEUE_PER_PROCESS: usize = 64;

/// A [`Workers`] being set up.
#[derive(Clone)]
pub struct WorkersBuilder {
    name: Arc<str>,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
    memory: Option<u64>,
    queue: Option<usize>,
    limits: PoolLimits,
    settings: WorkerSettings,
    listener: Option<Listener>,
}

/// Why workers cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadWorkers(String);

impl WorkersBuilder {
    pub(super) fn new(name: &str, command: &[impl AsRef<str>]) -> Self {
        WorkersBuilder {
            name: Arc::from(name),
            command: command.iter().map(|part| part.as_ref().to_owned()).collect(),
            environment: Vec::new(),
            directory: None,
            memory: None,
            queue: None,
            limits: PoolLimits {
                count: 1,
                queue: 0,
                queue_wait: Duration::from_millis(250),
                start: Duration::from_secs(5),
                recycle: 1_000,
                stop: Duration::from_secs(1),
            },
            settings: WorkerSettings::default(),
            listener: None,
        }
    }

    /// Processes, over all threads; 1 unless said, at the most 1,024. Each does one job at a time.
    pub fn count(mut self, processes: usize) -> Self {
        self.limits.count = processes;
        self
    }

    /// Jobs that may wait for a process; 64 for each process unless said.
    pub fn queue(mut self, max: usize) -> Self {
        self.queue = Some(max);
        self
    }

    /// The longest wait for a process; 250 ms unless said, and never more than a quarter of what is left.
    pub fn queue_wait(mut self, limit: Duration) -> Self {
        self.limits.queue_wait = limit;
        self
    }

    /// How long a process may take to say its first line, be it that it is ready or the answer to its first job; 5 s unless said.
    /// Until then a job that is given up does not cost it its life.
    pub fn start(mut self, limit: Duration) -> Self {
        self.limits.start = limit;
        self
    }

    /// Jobs after which a process is replaced, so that what it leaks is bounded; 1,000 unless said, at least 1.
    pub fn recycle(mut self, jobs: u64) -> Self {
        self.limits.recycle = jobs.max(1);
        self
    }

    /// How long a process may take to end by itself once its input is closed, and once more after SIGTERM; 1 s unless said.
    pub fn stop(mut self, limit: Duration) -> Self {
        self.limits.stop = limit;
        self
    }

    /// The address space of each process, in bytes, and of each that it starts; at least 1 MiB. On Linux only. What asks for more is
    /// refused it: Python raises `MemoryError`, other programs mostly die.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Adds a variable to the environment, which is empty but for these. `PATH` is also where the program is looked for; without it
    /// that is `/usr/local/bin:/usr/bin:/bin`.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The working directory; unless said, that of this process.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// How jobs are done unless they say otherwise.
    pub fn settings(mut self, settings: WorkerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The limit of each job, from when a process is given it.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = Some(limit);
        self
    }

    /// Hears the name of the source and what happens to its processes: their error output, when they start, why they end. It is
    /// called on the loop and should be quick; a process is reported at the most 100 lines a second.
    pub fn listener(mut self, listener: impl Fn(&str, &WorkerNote<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Makes the source. The program is looked up, nothing is started.
    ///
    /// # Errors
    /// There is no such program or directory; a name or number makes no sense; a limit of memory on a system other than Linux.
    pub fn build(self) -> Result<Workers, BadWorkers> {
        if !(1..=MOST_PROCESSES).contains(&self.limits.count) {
            return Err(BadWorkers(format!(
                "{} processes are not possible: expected 1 to {MOST_PROCESSES}",
                self.limits.count
            )));
        }
        if self.memory.is_some_and(|memory| memory < LEAST_MEMORY) {
            return Err(BadWorkers("less than 1 MiB of memory is too little for any program".to_owned()));
        }
        if self.memory.is_some() && cfg!(not(target_os = "linux")) {
            return Err(BadWorkers("memory can be limited on Linux only".to_owned()));
        }
        let queue = self.queue.unwrap_or(QUEUE_PER_PROCESS * self.limits.count);
        let recipe = Recipe::new(&self.command, self.environment, self.directory.as_deref(), self.memory).map_err(BadWorkers)?;
        let pool = Pool::new(self.name, recipe, PoolLimits { queue, ..self.limits }, self.listener);
        Ok(Workers(Arc::new(Owner {
            pool,
            settings: self.settings,
        })))
    }
}

impl fmt::Debug for WorkersBuilder {
    /// Without the environment, which may have secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.environment.iter().map(|(name, _)| name).collect();
        let mut debug = f.debug_struct("WorkersBuilder");
        debug
            .field("name", &self.name)
            .field("command", &self.command)
            .field("environment", &names);
        debug
            .field("limits", &self.limits)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for BadWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadWorkers {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_said() {
        let builder = Workers::builder("score", &["sh"]);
        for (builder, why) in [
            (builder.clone().count(0), "0 processes"),
            (builder.clone().count(1_025), "expected 1 to 1024"),
            (builder.clone().memory(1_000), "1 MiB"),
            (
                Workers::builder("score", &["no-such-program-anywhere"]),
                "no program `no-such-program-anywhere`",
            ),
        ] {
            let error = builder.build().expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(builder.build().is_ok());
    }

    #[test]
    fn nothing_shows_the_environment() {
        let builder = Workers::builder("score", &["sh"]).env("TOKEN", "hunter2");
        assert!(format!("{builder:?}").contains("TOKEN") && !format!("{builder:?}").contains("hunter2"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("hunter2"));
    }
}
