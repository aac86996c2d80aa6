//! What the demo plays on: twelve mocks and the gateway before them, on free ports of 127.0.0.1.

use std::sync::Arc;
use std::time::Duration;

use anabranch::{Client, Compute, ComputeSettings, Deadline};
use anabranch_gateway::config::MapLookup;
use anabranch_gateway::gateway::CoreOptions;
use anabranch_gateway::plan::{Action, CallPlan, RoutePlan};
use anabranch_gateway::spec::mocks;
use anabranch_gateway::{compile, server, Core, Gateway};
use anabranch_testkit::{Ended, Latency, Seen, TcpUpstream};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::commands::mock;
use crate::exit::Failure;
use crate::waterfall::{Mark, Piece, Row, Waterfall};

const GATEWAY: &str = include_str!("gateway.yaml");
const MOCKS: &str = include_str!("mocks.yaml");

/// Replies under way when the demo ends are not worth waiting for.
const GRACE: Duration = Duration::ZERO;

/// Mocks and gateway. Dropping it ends the mocks.
pub(super) struct Stage {
    gateway: Arc<Gateway>,
    core: Core,
    listener: std::net::TcpListener,
    url: String,
    mocks: Vec<(String, TcpUpstream)>,
    serial_estimate: Duration,
}

impl Stage {
    /// Starts the mocks and sets up the gateway; `scale` multiplies the mocks' latencies.
    ///
    /// # Errors
    /// No port of 127.0.0.1 can be listened on.
    pub(super) async fn set(scale: f64) -> Result<Stage, Failure> {
        let file = mocks::parse("mocks.yaml", MOCKS).map_err(Failure::failed)?.scaled(scale);
        let serial_estimate = file
            .upstreams
            .iter()
            .flat_map(|mock| &mock.script.replies)
            .map(|reply| fixed(reply.latency))
            .sum();
        let mut mocks = Vec::new();
        let mut lookup = MapLookup::new();
        for mock in file.upstreams {
            let (name, upstream) = mock::start(mock).await?;
            lookup = lookup.with_env(&format!("{}_URL", name.to_uppercase()), &upstream.url());
            mocks.push((name, upstream));
        }
        let plan = compile("gateway.yaml", GATEWAY, &lookup).map_err(Failure::failed)?;
        let gateway = Gateway::build(plan).map_err(Failure::failed)?;
        let options = CoreOptions { dev: true, trace: false };
        let core = Core::with_compute(gateway.clone(), Client::new(), options, Compute::new(ComputeSettings::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(Failure::environment)?;
        listener.set_nonblocking(true).map_err(Failure::environment)?;
        let url = format!("http://{}", listener.local_addr().map_err(Failure::environment)?);
        Ok(Stage {
            gateway,
            core,
            listener,
            url,
            mocks,
            serial_estimate,
        })
    }

    /// Serves the gateway; ends only if listening fails.
    pub(super) async fn serve(&self) {
        let (_keep, stop) = server::stop();
        let listener = self.listener.try_clone().and_then(TcpListener::from_std);
        if let Ok(listener) = listener {
            server::serve_on(self.core.clone(), listener, stop, GRACE).await;
        }
    }

    /// Where the gateway answers.
    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// What the mocks' latencies add up to.
    pub(super) fn serial_estimate(&self) -> Duration {
        self.serial_estimate
    }

    /// The page's route.
    pub(super) fn route(&self) -> &RoutePlan {
        &self.gateway.plan().routes[0]
    }

    /// The name of the source that a call asks, and where that mock listens.
    pub(super) fn mock_of(&self, call: &CallPlan) -> Option<&(String, TcpUpstream)> {
        let Action::Http(http) = &call.action else { return None };
        let name = &self.gateway.plan().sources[http.source].name;
        self.mocks.iter().find(|(mock, _)| mock.as_str() == name.as_ref())
    }

    /// The last request that each mock got, as a row per call.
    pub(super) async fn seen(&self, run_started: Instant, took: Duration) -> Waterfall {
        let route = self.route();
        let mut rows = Vec::with_capacity(route.calls.len());
        for call in &route.calls {
            let Some((_, mock)) = self.mock_of(call) else { continue };
            let Some((seen, ended)) = last_answered(mock).await else { continue };
            let (started, took) = (
                seen.at.saturating_duration_since(run_started),
                ended.saturating_duration_since(seen.at),
            );
            rows.push(Row {
                name: call.name.to_string(),
                waits: call.waits.iter().map(|at| route.calls[*at].name.to_string()).collect(),
                started: Some(started),
                took,
                outcome: "ok".to_string(),
                pieces: vec![Piece {
                    at: started,
                    length: took,
                    mark: Mark::FirstByte,
                }],
                ..Row::default()
            });
        }
        Waterfall { took, rows }
    }
}

/// A mock notes the end of a reply just after its last byte has left, so the asking side may be here first.
async fn last_answered(mock: &TcpUpstream) -> Option<(Seen, Instant)> {
    for _ in 0..100 {
        match mock.seen().pop() {
            Some(seen) => {
                if let Ended::Answered(at) = seen.ended {
                    return Some((seen, at));
                }
            }
            None => return None,
        }
        Deadline::after(Duration::from_millis(1)).wait().await;
    }
    None
}

fn fixed(latency: Latency) -> Duration {
    match latency {
        Latency::Fixed(delay) => delay,
        Latency::Uniform { from, .. } => from,
        Latency::LogNormal { median, .. } => median,
    }
}
