//! A spec is run: its sources are put on a network in memory, its gateway is built, its requests are answered one after another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anabranch::client::Codec;
use anabranch::{Client, Deadline};
use anabranch_testkit::{MemoryNetwork, Served};
use bytes::Bytes;
use http::{HeaderName, Request, Uri};
use tokio::time::Instant;

use super::file::{Exchange, Spec};
use super::{MemoryDial, shown};
use crate::config::{MapLookup, compile};
use crate::gateway::{Answer, Core, CoreOptions, Gateway};
use crate::plan::{Plan, SourceKind};

/// The longest that one request may take, in virtual time: longer than any deadline that a spec has a reason to write.
const REQUEST_MAX: Duration = Duration::from_secs(600);
/// The longest that a run waits for calls that outlive their request, in virtual time.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// What came of a spec.
#[derive(Debug)]
pub struct Ran {
    /// Why no request was made: the faults of the config, or a gateway that could not be built.
    pub(super) faults: Option<String>,
    /// What came of each request; none where there are faults.
    pub(super) exchanges: Vec<RanExchange>,
}

/// What came of one request.
#[derive(Debug)]
pub(super) struct RanExchange {
    pub(super) reply: String,
    pub(super) took: String,
    /// What the sources were asked; only where the spec wants to know.
    pub(super) asked: Option<String>,
}

impl Spec {
    /// Runs it. Must be called in a current-thread runtime of its own whose clock is paused, or times are not exact.
    ///
    /// Never hangs: a request that is not answered within ten (virtual) minutes is told as such.
    pub async fn run(&self) -> Ran {
        self.run_on(None).await
    }

    /// The same with HTTP/1.1 spoken to all sources by one codec, whatever the config says.
    pub async fn run_on(&self, codec: Option<Codec>) -> Ran {
        // The runtime is this thread's alone, so that backoff and balancing take the same turns in every run.
        fastrand::seed(0);
        let lookup = self
            .environment
            .iter()
            .fold(MapLookup::new(), |lookup, (name, value)| lookup.with_env(name, value));
        let gateway = match compile("config.yaml", &self.config, &lookup) {
            Ok(plan) => Gateway::build_exact(on_the_network(spoken_by(codec, plan))).map_err(|error| error.to_string()),
            Err(faults) => Err(faults.render(false).trim_end().to_string()),
        };
        let network = MemoryNetwork::new();
        let served = gateway.and_then(|gateway| Ok((self.serve(gateway.plan(), &network)?, gateway)));
        let (served, gateway) = match served {
            Ok(ready) => ready,
            Err(faults) => {
                return Ran {
                    faults: Some(faults),
                    exchanges: Vec::new(),
                };
            }
        };
        let client = Client::builder().dial(Arc::new(MemoryDial::new(network))).build();
        let core = Core::new(gateway, client.clone(), CoreOptions::default());
        let mut watch = Watch::new(served);
        let mut exchanges = Vec::with_capacity(self.exchanges.len());
        for exchange in &self.exchanges {
            exchanges.push(ran(exchange, &core, &mut watch).await);
        }
        client.drain(Deadline::after(Duration::ZERO)).await;
        Ran { faults: None, exchanges }
    }

    /// Puts the sources on the network. Gives them by name.
    fn serve(&self, plan: &Plan, network: &MemoryNetwork) -> Result<BTreeMap<String, Arc<Served>>, String> {
        let mut all = BTreeMap::new();
        for mock in &self.sources {
            let name = &mock.script.name;
            let served = Served::new(mock.script.clone());
            for host in hosts(name, plan)? {
                network.host_served(host, served.clone());
            }
            all.insert(name.clone(), served);
        }
        for (host, connecting) in &self.network {
            if network.served(host).is_none() {
                return Err(format!("`## Network` names `{host}`, and no source is there"));
            }
            network.set_connecting(host, *connecting);
        }
        Ok(all)
    }
}

fn spoken_by(codec: Option<Codec>, mut plan: Plan) -> Plan {
    if let Some(codec) = codec {
        plan.sources.iter_mut().for_each(|source| source.wire = codec);
    }
    plan
}

/// Puts a service in the place of each program: a process would live on the clock of the machine.
fn on_the_network(mut plan: Plan) -> Plan {
    for source in &mut plan.sources {
        if matches!(source.kind, SourceKind::Run(_)) {
            source.kind = SourceKind::Http;
            source.urls = vec![format!("http://{}.program", source.name)];
        }
    }
    plan
}

/// Where a source of the spec is found: `host:port` as it stands, or the endpoints of the source with this name.
fn hosts(name: &str, plan: &Plan) -> Result<Vec<String>, String> {
    if name.contains(':') {
        return Ok(vec![name.to_string()]);
    }
    let source = plan.sources.iter().find(|source| *source.name == *name);
    let source = source.ok_or_else(|| format!("`## Sources` names `{name}`, which is no source of the config"))?;
    Ok(source.urls.iter().filter_map(|url| host_and_port(url)).collect())
}

fn host_and_port(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some(format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(default)))
}

async fn ran(exchange: &Exchange, core: &Core, watch: &mut Watch) -> RanExchange {
    let _time_passes = Deadline::after(exchange.after).bound(std::future::pending::<()>()).await;
    let started = Instant::now();
    let answer = Deadline::after(REQUEST_MAX).bound(core.answer(exchange.request.clone())).await;
    let took = shown::duration(started.elapsed());
    let reply = match answer {
        Ok(answer) => reply(exchange, &exchange.request, &answer),
        Err(_elapsed) => "no answer within 600 s".to_string(),
    };
    watch.next_request();
    let asked = match &exchange.asked {
        Some(expected) => Some(watch.asked(&expected.headers).await),
        None => None,
    };
    RanExchange { reply, took, asked }
}

fn reply(exchange: &Exchange, request: &Request<Bytes>, answer: &Answer) -> String {
    let asked_for = exchange.reply.as_ref().map(|reply| reply.headers.as_slice()).unwrap_or_default();
    shown::reply(request.method(), answer, asked_for)
}

/// What the sources saw, request by request.
struct Watch {
    served: BTreeMap<String, Arc<Served>>,
    /// For each source, how many requests it had seen when a reply left; one list per reply since the last look.
    marks: BTreeMap<String, Vec<usize>>,
    /// For each source, how many had been seen at the last look.
    looked: BTreeMap<String, usize>,
}

impl Watch {
    fn new(served: BTreeMap<String, Arc<Served>>) -> Self {
        Watch {
            served,
            marks: BTreeMap::new(),
            looked: BTreeMap::new(),
        }
    }

    /// What is seen from now on belongs to the next request.
    fn next_request(&mut self) {
        for (name, served) in &self.served {
            self.marks.entry(name.clone()).or_default().push(served.seen().len());
        }
    }

    /// What the sources saw since the last look: by source, then by request, then by time. Waits for calls that outlive their request.
    async fn asked(&mut self, headers: &[HeaderName]) -> String {
        let settled = async {
            for served in self.served.values() {
                served.until(|counts| counts.requests_pending == 0).await;
            }
        };
        // A source may be asked for as long as it likes by a call that nobody cancels; the line then says so.
        let _still_busy = Deadline::after(SETTLE_MAX).bound(settled).await;
        let mut lines = shown::AskedLines::new(headers);
        for (name, served) in &self.served {
            let marks = self.marks.remove(name).unwrap_or_default();
            let from = self.looked.get(name).copied().unwrap_or(0);
            let seen = served.seen();
            let mut ordered: Vec<_> = seen.iter().enumerate().skip(from).collect();
            // What arrives at the same instant has no order that means anything, so it is put into one by its text.
            ordered.sort_by_key(|(at, seen)| {
                let request = marks.iter().filter(|mark| *mark <= at).count();
                (request, seen.at, seen.method.to_string(), seen.path_and_query.clone())
            });
            for (_, seen) in ordered {
                lines.push(name, seen);
            }
            self.looked.insert(name.clone(), seen.len());
        }
        lines.into_text()
    }
}
