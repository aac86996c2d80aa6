//! Several servers that share the keys: which one to ask, and what to do when it says that another one should be.
//!
//! Which server has which slots is asked of one of them, in the background, one question at a time: at the first call, when a
//! server redirects, and when one cannot be reached. Calls go on with what is known meanwhile; a redirect is followed at once.

mod mapping;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::RedisCounts;
use super::address::{BadRedis, Place};
use super::command::Command;
use super::connect::{Connector, Server};
use super::fault::Redirect;
use super::node::{Node, Question};
use super::slots::Target;
use crate::client::Timings;
use crate::{CallError, Client, Gathering, Kind, Phase, Settled};

/// Redirects that one call follows. One is usual after a slot has moved, two while one moves (Jedis allows 5 as well).
const MOST_REDIRECTS: usize = 5;
/// The map is asked for at most so often.
const MAP_EVERY: Duration = Duration::from_secs(1);

/// The servers of a cluster.
pub(super) struct Cluster {
    connector: Arc<Connector>,
    seeds: Vec<Place>,
    by_name: bool,
    max_lifetime: Duration,
    dials: Arc<AtomicU64>,
    state: Mutex<State>,
    /// Told when asking for the map has ended.
    mapped: Notify,
    /// Changes with every call that may go anywhere.
    turn: AtomicUsize,
}

#[derive(Default)]
struct State {
    nodes: HashMap<Place, Arc<Node>>,
    /// None before it came the first time.
    map: Option<Map>,
    is_asking: bool,
    /// When the map was asked for last, and why it did not come.
    asked: Option<Instant>,
    failure: Option<CallError>,
    is_closed: bool,
}

/// Which server has which slots.
struct Map {
    /// The server of each slot, where one has it.
    slots: Vec<Option<Arc<Node>>>,
    masters: Vec<Arc<Node>>,
}

impl Cluster {
    pub(super) fn new(
        connector: Connector,
        seeds: Vec<Place>,
        max_lifetime: Duration,
        dials: Arc<AtomicU64>,
    ) -> Result<Arc<Self>, BadRedis> {
        let connector = Arc::new(connector);
        // Who cannot be a server's name is told when the source is made.
        for place in &seeds {
            Server::new(&connector, place.clone())?;
        }
        Ok(Arc::new(Cluster {
            by_name: connector.is_encrypted(),
            connector,
            seeds,
            max_lifetime,
            dials,
            state: Mutex::default(),
            mapped: Notify::new(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// Asks whoever has the keys.
    pub(super) async fn ask(self: &Arc<Self>, question: Question<'_>, words: &[Bytes], timings: &mut Timings) -> Result<Bytes, CallError> {
        match Target::of(words)? {
            Target::Slot(slot) => self.ask_slot(question, Some(slot), timings).await,
            Target::Any => self.ask_slot(question, None, timings).await,
            Target::Split => self.ask_each(question, &words[1..], timings).await,
        }
    }

    /// An MGET whose keys are apart, key by key.
    async fn ask_each(self: &Arc<Self>, question: Question<'_>, keys: &[Bytes], timings: &mut Timings) -> Result<Bytes, CallError> {
        let started = Instant::now();
        let commands: Vec<Command> = keys.iter().map(|key| Command::mget(std::slice::from_ref(key))).collect();
        let mut asked = Gathering::new(question.until);
        for (index, (key, command)) in keys.iter().zip(&commands).enumerate() {
            let question = Question { command, ..question };
            asked.start(index, async move {
                self.ask_slot(question, Some(super::slots::slot(key)), &mut Timings::default())
                    .await
            });
        }
        let mut values = vec![Bytes::new(); keys.len()];
        let mut size = 2;
        while let Some(finished) = asked.next().await {
            let answer = match finished.settled {
                Settled::Done(answer) => answer?,
                Settled::TimedOut => return Err(question.timed_out(true)),
                Settled::Cancelled(_) | Settled::Panicked(_) => {
                    return Err(CallError::new(Kind::Panic, "asking for one of the keys panicked"));
                }
            };
            size += answer.len();
            if size > question.limits.max_body {
                return Err(CallError::new(
                    Kind::TooLarge,
                    format!("the answer is larger than {} bytes", question.limits.max_body),
                )
                .after_send());
            }
            values[finished.key] = answer;
        }
        timings.first_byte = Some(started.elapsed());
        Ok(joined(&values, size))
    }

    /// Asks the server of a slot, or any, and whoever it points to.
    async fn ask_slot(self: &Arc<Self>, question: Question<'_>, slot: Option<u16>, timings: &mut Timings) -> Result<Bytes, CallError> {
        let mut node = self.node_of(slot, question, timings).await?;
        let mut is_asking = false;
        let mut redirects = 0;
        loop {
            let question = Question {
                is_alone: true,
                is_asking,
                ..question
            };
            let error = match node.ask(question, timings).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(redirect) = Redirect::of(&error) else {
                if is_doubtful(&error) {
                    self.ask_for_map(question.client);
                }
                return Err(error);
            };
            redirects += 1;
            if redirects > MOST_REDIRECTS {
                return Err(CallError::new(Kind::Status, format!("the key was not found within {MOST_REDIRECTS} redirects")).after_send());
            }
            is_asking = redirect.is_ask;
            node = self.follow(redirect, &node)?;
            if !is_asking {
                self.ask_for_map(question.client);
            }
        }
    }

    /// The server that a redirect leads to. One that is for good holds for later calls too.
    fn follow(&self, redirect: &Redirect, from: &Node) -> Result<Arc<Node>, CallError> {
        let host = redirect.host.clone().unwrap_or_else(|| host_of(from.server.place()));
        let mut state = self.lock();
        let node = self.node(&mut state, &Place::Tcp { host, port: redirect.port })?;
        if !redirect.is_ask
            && let Some(map) = &mut state.map
        {
            map.slots[usize::from(redirect.slot)] = Some(node.clone());
        }
        Ok(node)
    }

    /// The server of a slot, once it is known who that is; without a slot, one after the other.
    async fn node_of(self: &Arc<Self>, slot: Option<u16>, question: Question<'_>, timings: &mut Timings) -> Result<Arc<Node>, CallError> {
        let started = Instant::now();
        loop {
            // Made before the look: it hears of every map that comes after this line.
            let mapped = self.mapped.notified();
            let found = self.look_up(slot);
            if let Ok(Some(node)) = found {
                return Ok(node);
            }
            // A slot that nobody has may have found somebody by now.
            self.ask_for_map(question.client);
            found?;
            if question.until.bound(mapped).await.is_err() {
                return Err(question.timed_out(false));
            }
            timings.pool = Some(started.elapsed());
        }
    }

    /// None if the map has to be waited for.
    fn look_up(&self, slot: Option<u16>) -> Result<Option<Arc<Node>>, CallError> {
        let state = self.lock();
        if state.is_closed {
            return Err(CallError::new(Kind::Cancelled, "no connection: the source is shutting down"));
        }
        let Some(map) = &state.map else {
            let rests = state.asked.is_some_and(|asked| asked.elapsed() < MAP_EVERY);
            return match &state.failure {
                Some(failure) if rests || state.is_asking => Err(failure.clone()),
                _ => Ok(None),
            };
        };
        let found = match slot {
            Some(slot) => map.slots[usize::from(slot)].clone(),
            None => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                map.masters.get(turn % map.masters.len().max(1)).cloned()
            }
        };
        let nobody = || {
            CallError::new(Kind::Connect, "no server of the cluster has the key's slot")
                .in_phase(Phase::Connect)
                .retry_in(MAP_EVERY)
        };
        found.map(Some).ok_or_else(nobody)
    }

    /// The node at a place, made if need be.
    fn node(&self, state: &mut State, place: &Place) -> Result<Arc<Node>, CallError> {
        if let Some(node) = state.nodes.get(place) {
            return Ok(node.clone());
        }
        let no_server = |error: BadRedis| CallError::new(Kind::Connect, format!("the cluster names a server that cannot be: {error}"));
        let server = Server::new(&self.connector, place.clone()).map_err(no_server)?;
        let node = Arc::new(Node::new(server, self.max_lifetime, self.dials.clone()));
        if state.is_closed {
            node.close();
        }
        state.nodes.insert(place.clone(), node.clone());
        Ok(node)
    }

    pub(super) fn release(&self, client: &Client) {
        self.nodes().iter().for_each(|node| node.release(client));
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.nodes().iter().for_each(|node| node.close());
        self.mapped.notify_waiters();
    }

    pub(super) fn count(&self, counts: &mut RedisCounts) {
        self.nodes().iter().for_each(|node| node.count(counts));
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.lock().nodes.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error may mean that the slot is elsewhere by now.
fn is_doubtful(error: &CallError) -> bool {
    let is_answer = error.kind() == Kind::Status;
    let says_so = ["CLUSTERDOWN", "READONLY", "MASTERDOWN"]
        .iter()
        .any(|code| error.detail().starts_with(code));
    (is_answer && says_so) || matches!(error.kind(), Kind::Connect | Kind::Reset | Kind::Timeout | Kind::Dns | Kind::Tls)
}

fn host_of(place: &Place) -> String {
    match place {
        Place::Tcp { host, .. } => host.clone(),
        Place::Unix(_) => "localhost".to_owned(),
    }
}

/// One list of the elements of several lists with one element each.
fn joined(lists: &[Bytes], size: usize) -> Bytes {
    let mut json = Vec::with_capacity(size);
    for list in lists {
        json.push(if json.is_empty() { b'[' } else { b',' });
        json.extend_from_slice(list.get(1..list.len().saturating_sub(1)).unwrap_or_default());
    }
    json.push(b']');
    Bytes::from(json)
}
