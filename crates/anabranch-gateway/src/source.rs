//! A source of the plan, set up: the engine's service or database that calls go to.

use std::error::Error;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use anabranch::postgres::Postgres;
#[cfg(feature = "redis")]
use anabranch::redis::Redis;
use anabranch::client::WireSettings;
use anabranch::{Client, Source};

use crate::plan::{SourceKind, SourcePlan};

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
}

impl GatewaySource {
    /// Sets a source up. Opens no connection.
    ///
    /// # Errors
    /// An endpoint, a URL or TLS settings cannot be used, or the kind of source is not built in.
    pub(crate) fn build(plan: &SourcePlan) -> Result<GatewaySource, Box<dyn Error + Send + Sync>> {
        match &plan.kind {
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
        }
    }

    /// Calls that have a place now: attempts at a service, statements, commands.
    pub fn in_flight(&self) -> usize {
        match self {
            GatewaySource::Http(source) => source.in_flight(),
            #[cfg(feature = "postgres")]
            GatewaySource::Postgres(db) => db.counts().in_use,
            #[cfg(feature = "redis")]
            GatewaySource::Redis(hot) => hot.counts().in_flight,
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
        }
    }

    /// The service, where it is one.
    pub fn http(&self) -> Option<&Source> {
        match self {
            GatewaySource::Http(source) => Some(source),
            #[cfg(any(feature = "postgres", feature = "redis"))]
            _ => None,
        }
    }

    /// Lets go of what belongs to this client and would keep it from being drained: sessions at rest of a database.
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
        }
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
