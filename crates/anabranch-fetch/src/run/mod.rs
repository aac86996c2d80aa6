//! The run: jobs in, requests, records out, on one thread that waits and computes as little as it can.
//!
//! ```no_run
//! use anabranch_fetch::options::{InputOptions, Options};
//! use anabranch_fetch::run::{Run, StopSignal};
//!
//! # async fn fetch() -> Result<(), anabranch_fetch::FetchError> {
//! let options = Options {
//!     input: InputOptions {
//!         urls: vec!["https://example.com/".into()],
//!         ..InputOptions::default()
//!     },
//!     ..Options::default()
//! };
//! let summary = Run::new(options)?.drive(StopSignal::new()).await?;
//! assert_eq!(summary.failed(), 0);
//! # Ok(())
//! # }
//! ```

mod drive;
mod incoming;
mod aside;
mod send;
mod attempt;
mod large;
mod part;
mod judge;
mod finish;
mod look;
mod report;
mod ends;
mod rules;
mod sitemaps;
mod feed;
mod task;
mod plan;
mod throttle;
mod latency;
mod progress;
mod stop;
mod summary;

pub use progress::{Progress, Snapshot};
pub use stop::{Stop, StopSignal};
pub use summary::{Ended, Summary};

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use anabranch::client::WireSettings;
use anabranch::{Client, Compute, ComputeSettings, Deadline};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::drive::{Drive, Parts};
use self::feed::Feed;
use self::plan::{Checked, Plan};
use crate::http::cookies::Jar;
use crate::http::headers::Headers;
use crate::http::origins::Origins;
use crate::input::Input;
use crate::schedule::{Rules, Schedule};
use crate::store::{Ending, Opened, Setup, Store};
use crate::{FetchError, Options, Record};

/// How long one body may be looked through, or one piece of it be written.
const COMPUTE_LIMIT: Duration = Duration::from_secs(60);
/// How many hosts the summary names.
const SLOWEST: usize = 3;

/// Reshapes the JSON of a body: `--jq`, given by whoever runs the run.
pub trait Transform: Send + Sync {
    /// What of this body goes into `data`. Runs on the threads that compute.
    ///
    /// # Errors
    /// What went wrong, as a lower-case fragment: the job ends as `extract`.
    fn apply(&self, body: &[u8]) -> Result<Box<RawValue>, String>;
}

/// A run that was set up and has not begun.
pub struct Run {
    options: Options,
    checked: Checked,
    headers: Headers,
    transform: Option<Arc<dyn Transform>>,
    client: Option<Client>,
    compute: Option<Compute>,
    setup: Setup,
    progress: Progress,
}

impl Run {
    /// Checks what can be checked without opening anything.
    ///
    /// # Errors
    /// `Usage`: the options contradict each other or contain what cannot be used.
    pub fn new(options: Options) -> Result<Run, FetchError> {
        Ok(Run {
            checked: Checked::new(&options)?,
            headers: Headers::new(&options.http)?,
            options,
            transform: None,
            client: None,
            compute: None,
            setup: Setup::default(),
            progress: Progress::new(),
        })
    }

    /// The same with what `extract.jq` stands for.
    pub fn with_transform(mut self, transform: Arc<dyn Transform>) -> Run {
        self.transform = Some(transform);
        self
    }

    /// The same over a client of the caller's, with its network and resolver. It must belong to the runtime that [`drive`](Run::drive) is
    /// called in, and is not drained.
    pub fn with_client(mut self, client: Client) -> Run {
        self.client = Some(client);
        self
    }

    /// The same with threads of the caller's for what computes.
    pub fn with_compute(mut self, compute: Compute) -> Run {
        self.compute = Some(compute);
        self
    }

    /// The same with records going here where they would go to stdout.
    pub fn with_stdout(mut self, stdout: impl Write + Send + 'static) -> Run {
        self.setup.stdout = Some(Box::new(stdout));
        self
    }

    /// Shows each record to this function once it is committed, on the writer's thread. One that is slow holds the run up.
    pub fn on_record(mut self, see: impl FnMut(&Record) + Send + 'static) -> Run {
        self.setup.observer = Some(Box::new(see));
        self
    }

    /// A handle to how far it is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Runs it: opens the store and the input, fetches until all jobs have ended or something ends the run, and commits what has ended.
    ///
    /// Runs in any tokio runtime with time and I/O, in the task that awaits it; two threads of its own read the input and write the
    /// output. Dropping the future ends the requests at once; what had ended is committed in the background.
    ///
    /// # Errors
    /// `Usage` before the first request; `Store` where the input, the store or a sink fails. What was committed before stays, and a run
    /// with a journal may be resumed.
    pub async fn drive(self, stop: StopSignal) -> Result<Summary, FetchError> {
        let started = Instant::now();
        let (options, setup) = (self.options.clone(), self.setup);
        let opening = on_a_thread("fetch-open", move || {
            let input = Input::open(&options.input)?;
            let (store, opened) = Store::open(&options, setup)?;
            Ok((input, store, opened))
        });
        let (input, store, opened) = opening.await?;
        let counters = self.progress.counters();
        counters.earlier.store(opened.earlier.total(), Relaxed);
        let is_own_client = self.client.is_none();
        let client = self.client.unwrap_or_else(|| self.checked.client());
        let compute = self.compute.unwrap_or_else(|| {
            Compute::new(ComputeSettings {
                limit: COMPUTE_LIMIT,
                ..ComputeSettings::default()
            })
        });
        let options = self.options;
        let checked = self.checked;
        let feed = Feed {
            input,
            store: store.clone(),
            run: opened.run.clone(),
            skips: feed::skips(&options, checked.name.as_ref()),
        };
        let progress = self.progress.clone();
        let is_crawl = plan::is_crawl(&options);
        let tell = move |total| {
            if !is_crawl {
                progress.counters().known_total.store(total, Relaxed);
            }
        };
        let now = Instant::now();
        let schedule = Schedule::new(Rules::new(&options.limits, &options.retry), now);
        let settings: WireSettings = checked.settings;
        let jar = options.http.cookies.as_deref().map(Jar::parse);
        let plan = Arc::new(Plan {
            wire: plan::wire_limits(&options),
            throttle: plan::throttle(&options),
            client: client.clone(),
            compute,
            extract: checked.extract,
            follow: checked.follow,
            filter: checked.filter,
            transform: self.transform,
            name: checked.name,
            checksums: checked.checksums,
            netrc: checked.netrc,
            run: opened.run.clone(),
            wants_archive: store.wants_archive(),
            options,
        });
        let mut drive = Drive::new(Parts {
            plan,
            store: store.clone(),
            schedule,
            headers: self.headers,
            origins: Origins::new(settings),
            jar,
            progress: self.progress,
            feed: feed.start(Arc::new(tell))?,
        });
        let ended = drive.run(&stop).await;
        let outlook = drive.into_outlook();
        let ending = if ended == Ok(Ended::Complete) {
            Ending::Complete
        } else {
            Ending::Stopped
        };
        let so_far = store.committed();
        let closed = stop.unless_at_once(store.close(ending)).await.unwrap_or(Ok(so_far));
        if is_own_client {
            // Only what is idle is left.
            let _names = client.drain(Deadline::after(Duration::ZERO)).await;
        }
        let (ended, committed) = (ended?, closed?);
        Ok(outlook.summary(ended, &committed, &opened, started))
    }
}

/// What is left of a drive when it has ended.
struct Outlook {
    latencies: latency::Latencies,
    by_host: Vec<(String, f64, u64)>,
    cookies: Option<String>,
}

impl Drive {
    fn into_outlook(self) -> Outlook {
        let means = self
            .by_host
            .into_iter()
            .map(|(host, (sum, count))| (host.into_string(), task::ms(sum) / count as f64, count));
        let mut by_host: Vec<_> = means.collect();
        by_host.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        by_host.truncate(SLOWEST);
        Outlook {
            latencies: self.latencies,
            by_host,
            cookies: self.jar.map(|jar| jar.to_netscape(SystemTime::now())),
        }
    }
}

impl Outlook {
    fn summary(self, ended: Ended, committed: &crate::store::Committed, opened: &Opened, started: Instant) -> Summary {
        let counts = crate::Outcome::ALL.iter().map(|outcome| (*outcome, committed.of(*outcome)));
        let is_left = ended != Ended::Complete && opened.is_resumable;
        Summary {
            total: committed.total(),
            by_outcome: counts.filter(|(_, count)| *count > 0).collect(),
            earlier: opened.earlier.total(),
            earlier_failed: opened.earlier.failed(),
            retried: committed.retried,
            bytes: committed.wire_bytes,
            p50_ms: self.latencies.quantile_ms(0.5),
            p99_ms: self.latencies.quantile_ms(0.99),
            slowest_hosts: self.by_host,
            ended,
            resume: opened.run.clone().filter(|_| is_left),
            cookies: self.cookies,
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}

/// Runs what blocks, once, on a thread of its own.
async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.into());
    let started = thread.spawn(move || sender.send(work()).is_ok());
    started.map_err(|error| FetchError::store(format!("no thread for `{name}`: {error}")))?;
    receiver
        .await
        .map_err(|_gone| FetchError::store(format!("the thread `{name}` broke off")))?
}

#[cfg(test)]
mod tests;
