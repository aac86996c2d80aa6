//! Asking a cluster which server has which slots: in the background, of one server after the other, over connections of its own,
//! so that a server that hangs holds up nothing else.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::{Cluster, MAP_EVERY, Map, host_of};
use crate::redis::address::Place;
use crate::redis::connect::Server;
use crate::redis::node::Node;
use crate::redis::reply::{Binary, ReplyLimits};
use crate::redis::slots::{SLOTS, Share, shares};
use crate::{CallError, Client, Deadline, Kind, Phase};

/// How long one server may take to tell it.
const MAP_TIMEOUT: Duration = Duration::from_secs(1);
/// How many servers are asked for it, one after the other.
const MOST_ASKED: usize = 8;
/// A thousand servers' lines, and some.
const MAP_LIMITS: ReplyLimits = ReplyLimits {
    max_body: 1 << 20,
    binary: Binary::Refuse,
    with_ends: false,
};

impl Cluster {
    /// Has the map asked for, unless that is being done or was a moment ago.
    pub(super) fn ask_for_map(self: &Arc<Self>, client: &Client) {
        let mut state = self.lock();
        let is_due = state.asked.is_none_or(|asked| asked.elapsed() >= MAP_EVERY);
        if state.is_asking || !is_due || state.is_closed {
            return;
        }
        state.is_asking = true;
        state.asked = Some(Instant::now());
        drop(state);
        let mapping = Mapping {
            cluster: Arc::downgrade(self),
            is_told: false,
        };
        let limit = MAP_TIMEOUT * u32::try_from(MOST_ASKED + 1).unwrap_or(1);
        // A refused or aborted task is dropped, and says so.
        client
            .background()
            .spawn("redis cluster map", Deadline::after(limit), mapping.run());
    }

    /// The servers to ask for the map: those that are known, then those of the URL.
    fn to_ask(&self) -> Vec<Server> {
        let state = self.lock();
        let mut places: Vec<Place> = state
            .map
            .iter()
            .flat_map(|map| &map.masters)
            .map(|node| node.server.place().clone())
            .collect();
        drop(state);
        // Not always the same one, which may be the one that is down.
        fastrand::shuffle(&mut places);
        places.truncate(MOST_ASKED / 2);
        let seeds: Vec<Place> = self.seeds.iter().filter(|seed| !places.contains(seed)).cloned().collect();
        places.extend(seeds);
        places.truncate(MOST_ASKED);
        places
            .into_iter()
            .filter_map(|place| Server::new(&self.connector, place).ok())
            .collect()
    }

    /// Takes over what a server told; servers without slots are given up once they have answered.
    fn take_map(&self, shares: Vec<Share>) {
        let mut state = self.lock();
        let mut slots = vec![None; usize::from(SLOTS)];
        let mut masters = Vec::new();
        for share in shares {
            // One that cannot be leaves its slots without a server.
            let Ok(node) = self.node(&mut state, &share.place) else { continue };
            for (first, last) in share.ranges {
                slots[usize::from(first)..=usize::from(last)].fill(Some(node.clone()));
            }
            masters.push(node);
        }
        let kept: HashMap<Place, Arc<Node>> = masters.iter().map(|node| (node.server.place().clone(), node.clone())).collect();
        let before = std::mem::replace(&mut state.nodes, kept);
        let map_before = state.map.replace(Map { slots, masters });
        state.failure = None;
        // Closing wakes tasks: not under the lock.
        drop(state);
        drop((before, map_before));
    }

    fn asked_for_map(&self, failure: Option<CallError>) {
        let mut state = self.lock();
        state.is_asking = false;
        state.failure = failure;
        drop(state);
        self.mapped.notify_waiters();
    }

    /// The answer is a JSON string, in which only the ends of lines are escaped.
    fn read_map(&self, answer: &[u8], from: &Place) -> Result<(), CallError> {
        let text = String::from_utf8_lossy(answer);
        let lines = text.trim_matches('"').replace("\\n", "\n");
        let shares = shares(&lines, &host_of(from), self.by_name);
        if shares.is_empty() {
            return Err(CallError::new(Kind::Connect, "a server of the cluster knows of no slots").in_phase(Phase::Connect));
        }
        self.take_map(shares);
        Ok(())
    }
}

/// Asking for the map. Dropped before its end, it says that too.
struct Mapping {
    cluster: Weak<Cluster>,
    is_told: bool,
}

impl Mapping {
    async fn run(mut self) {
        let Some(servers) = self.cluster.upgrade().map(|cluster| cluster.to_ask()) else {
            return;
        };
        let mut failure = CallError::new(Kind::Connect, "no server of the cluster could be asked for its slots").in_phase(Phase::Connect);
        for server in servers {
            if let Some(cluster) = self.cluster.upgrade() {
                cluster.dials.fetch_add(1, Ordering::Relaxed);
            }
            let late =
                |_elapsed| CallError::new(Kind::Connect, "a server of the cluster did not tell its slots in time").in_phase(Phase::Connect);
            let told = Deadline::after(MAP_TIMEOUT)
                .bound(server.ask_once(&["CLUSTER", "NODES"], MAP_LIMITS))
                .await;
            let Some(cluster) = self.cluster.upgrade() else { return };
            let taken = told
                .map_err(late)
                .flatten()
                .and_then(|answer| cluster.read_map(&answer, server.place()));
            match taken {
                Ok(()) => return self.tell(None),
                Err(error) => failure = error,
            }
        }
        self.tell(Some(failure));
    }

    fn tell(&mut self, failure: Option<CallError>) {
        self.is_told = true;
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.asked_for_map(failure.map(|error| error.retry_in(MAP_EVERY)));
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Some(CallError::new(
                Kind::Cancelled,
                "asking the cluster for its slots was ended from outside",
            )));
        }
    }
}
