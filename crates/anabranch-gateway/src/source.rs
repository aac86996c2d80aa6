//! A source of the plan, set up: the engine's service or database that calls go to.

use std::error::Error;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use anabranch::postgres::Postgres;
#[cfg(feature = "redis")]
use anabranch::redis::Redis;
use anabranch::client::WireSettings;
use anabranch::{Client, Source};
#[cfg(unix)]
use anabranch::{WorkerNote, Workers};

use crate::plan::{SourceKind, SourcePlan, WorkerPlan};

/// Hears, line by line, what becomes of the processes of programs, and what these write to their error output. It is called on the
/// loops and should be quick; each process is heard at the most 100 times a second.
pub type NoteListener = Arc<dyn Fn(&str) + Send + Sync>;

/// What calls go to. Cheap to clone; clones share limits and sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GatewaySource {
    /// A service, by HTTP.
    Http(Source),
    /// A Postgres database.
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
    /// A Redis or Valkey server.
    #[cfg(feature = "redis")]
    Redis(Redis),
    /// A program, in processes of its own.
    #[cfg(unix)]
    Workers(Workers),
}

impl GatewaySource {
    /// Sets a source up that nobody hears of.
    ///
    /// # Errors
    /// As [`with_notes`](GatewaySource::with_notes).
    pub(crate) fn build(plan: &SourcePlan) -> Result<GatewaySource, Box<dyn Error + Send + Sync>> {
        GatewaySource::with_notes(plan, None)
    }

    /// Sets a source up. Opens no connection and starts no process.
    ///
    /// # Errors
    /// An endpoint, a URL or TLS settings cannot be used, a program is not there, or the kind of source is not built in.
    pub(crate) fn with_notes(plan: &SourcePlan, notes: Option<&NoteListener>) -> Result<GatewaySource, Box<dyn Error + Send + Sync>> {
        match &plan.kind {
            SourceKind::Run(worker) => workers(plan, worker, notes),
            SourceKind::Http => Ok(GatewaySource::Http(http(plan)?)),
            #[cfg(feature = "postgres")]
            SourceKind::Postgres(url) => Ok(GatewaySource::Postgres(postgres(plan, &url.0)?)),
            #[cfg(not(feature = "postgres"))]
            SourceKind::Postgres(_) => Err("this program was built without the feature `postgres`".into()),
            #[cfg(feature = "redis")]
            SourceKind::Redis { url, allow } => Ok(GatewaySource::Redis(redis(plan, &url.0, allow)?)),
            #[cfg(not(feature = "redis"))]
            SourceKind::Redis { .. } => Err("this program was built without the feature `redis`".into()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            GatewaySource::Http(source) => source.name(),
            #[cfg(feature = "postgres")]
            GatewaySource::Postgres(db) => db.name(),
            #[cfg(feature = "redis")]
            GatewaySource::Redis(hot) => hot.name(),
            #[cfg(unix)]
            GatewaySource::Workers(workers) => workers.name(),
        }
    }

    /// Calls that have a place now: attempts at a service, statements, commands, jobs.
    pub fn in_flight(&self) -> usize {
        match self {
            GatewaySource::Http(source) => source.in_flight(),
            #[cfg(feature = "postgres")]
            GatewaySource::Postgres(db) => db.counts().in_use,
            #[cfg(feature = "redis")]
            GatewaySource::Redis(hot) => hot.counts().in_flight,
            #[cfg(unix)]
            GatewaySource::Workers(workers) => workers.counts().busy,
        }
    }

    /// Calls that wait for a place now.
    pub fn waiting(&self) -> usize {
        match self {
            GatewaySource::Http(source) => source.waiting(),
            #[cfg(feature = "postgres")]
            GatewaySource::Postgres(db) => db.counts().waiting,
            #[cfg(feature = "redis")]
            GatewaySource::Redis(hot) => hot.counts().waiting,
            #[cfg(unix)]
            GatewaySource::Workers(workers) => workers.counts().waiting,
        }
    }

    /// The service, where it is one.
    pub fn http(&self) -> Option<&Source> {
        match self {
            GatewaySource::Http(source) => Some(source),
            #[cfg(any(unix, feature = "postgres", feature = "redis"))]
            _ => None,
        }
    }

    /// Lets go of what belongs to this client and would keep it from being drained: sessions at rest of a database, processes
    /// without a job.
    pub(crate) fn release(&self, client: &Client) {
        match self {
            // Its connections end with the client.
            GatewaySource::Http(_) => {
                let _ = client;
            }
            #[cfg(feature = "postgres")]
            GatewaySource::Postgres(db) => db.release(client),
            #[cfg(feature = "redis")]
            GatewaySource::Redis(hot) => hot.release(client),
            #[cfg(unix)]
            GatewaySource::Workers(workers) => workers.release(client),
        }
    }

    /// Ends its processes at once, whatever they are at.
    pub(crate) fn kill(&self) {
        #[cfg(unix)]
        if let GatewaySource::Workers(workers) = self {
            workers.close();
            workers.kill();
        }
    }

    /// Starts processes ahead of the first job, tended by this client: of those that are missing, one core's share of all.
    pub(crate) fn start(&self, client: &Client, cores: usize) {
        #[cfg(unix)]
        if let GatewaySource::Workers(workers) = self {
            workers.start_some(client, workers.count().div_ceil(cores.max(1)));
        }
        #[cfg(not(unix))]
        let _ = (client, cores);
    }
}

fn http(plan: &SourcePlan) -> Result<Source, anabranch::client::BadEndpoint> {
    let wire = WireSettings {
        http: plan.http,
        codec: plan.wire,
        tls: plan.tls.clone(),
        pool_idle: plan.pool,
        connect_timeout: plan.connect_timeout,
        ..WireSettings::default()
    };
    let mut builder = Source::builder(&plan.name)
        .in_flight(plan.in_flight)
        .queue(plan.queue)
        .queue_wait(plan.queue_wait)
        .wire(wire);
    for url in &plan.urls {
        builder = builder.endpoint(url);
    }
    if let Some(rate) = plan.rate {
        builder = builder.rate(rate);
    }
    builder.build()
}

#[cfg(unix)]
fn workers(plan: &SourcePlan, worker: &WorkerPlan, notes: Option<&NoteListener>) -> Result<GatewaySource, Box<dyn Error + Send + Sync>> {
    let mut builder = Workers::builder(&plan.name, &worker.command)
        .count(worker.count)
        .queue(plan.queue)
        .queue_wait(plan.queue_wait)
        .start(worker.start)
        .recycle(worker.recycle);
    for (name, value) in &worker.environment {
        builder = builder.env(name, value);
    }
    if let Some(folder) = &worker.folder {
        builder = builder.directory(folder);
    }
    if let Some(memory) = worker.memory {
        builder = builder.memory(memory);
    }
    if let Some(notes) = notes.cloned() {
        builder = builder.listener(move |source, note| {
            // Processes come and go; what ends one that should not is worth a line.
            if !matches!(note, WorkerNote::Started { .. }) {
                notes(&format!("source `{source}`: {note}"));
            }
        });
    }
    Ok(GatewaySource::Workers(builder.build()?))
}

#[cfg(not(unix))]
fn workers(_: &SourcePlan, _: &WorkerPlan, _: Option<&NoteListener>) -> Result<GatewaySource, Box<dyn Error + Send + Sync>> {
    Err("programs are run on Unix only".into())
}

#[cfg(feature = "postgres")]
fn postgres(plan: &SourcePlan, url: &str) -> Result<Postgres, anabranch::postgres::BadDatabase> {
    Postgres::builder(&plan.name, url)
        .pool(plan.pool)
        .queue(plan.queue)
        .queue_wait(plan.queue_wait)
        .connect_timeout(plan.connect_timeout)
        .tls(plan.tls.clone().unwrap_or_default())
        .build()
}

#[cfg(feature = "redis")]
fn redis(plan: &SourcePlan, url: &str, allow: &[String]) -> Result<Redis, anabranch::redis::BadRedis> {
    let mut builder = Redis::builder(&plan.name, url)
        .in_flight(plan.in_flight)
        .queue(plan.queue)
        .queue_wait(plan.queue_wait)
        .connect_timeout(plan.connect_timeout)
        .tls(plan.tls.clone().unwrap_or_default());
    for command in allow {
        builder = builder.allow(command);
    }
    if let Some(rate) = plan.rate {
        builder = builder.rate(rate);
    }
    builder.build()
}
