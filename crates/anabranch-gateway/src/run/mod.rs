//! One plan for one request: starts each call the moment what it names is there, and stops when the reply is certain.
//!
//! The state of a run is one [`Ended`] or one waiting place per call. All calls are children of one [`Gathering`], polled inside the
//! request's own task, so a request that is dropped leaves nothing behind.

mod condition;
mod ended;
mod list;
mod requests;
mod join;
mod kept;
mod matching;
mod renewal;
mod scope;
mod step;

use anabranch::{CallError, Deadline, Finished, Gathering, Kind, Settled};
use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

pub(crate) use ended::{Ended, Refusal};
pub(crate) use renewal::Renewals;
pub(crate) use scope::Known;

use crate::connector::{CallEnd, SharedHeaders};
use list::List;
use scope::Item;
use crate::gateway::{Answer, Asked, Core};
use crate::inputs::Inputs;
use crate::plan::{Need, Otherwise, Reply, RoutePlan};
use crate::respond::problem::Problem;
use crate::respond::reply::Joined;
use crate::route::Matched;

/// Answers one request of a route.
pub(crate) async fn answer(core: &Core, matched: Matched<'_>, asked: Asked<'_>) -> Answer {
    let arrived = Instant::now();
    let gateway = core.gateway();
    let index = matched.index;
    let route = &gateway.plan.routes[index];
    let deadline = Deadline::at(arrived + route.deadline);
    let (headers, peer) = (asked.headers, asked.peer);
    let inputs = match Inputs::read_on(core.compute(), deadline, route, &matched, asked).await {
        Ok(inputs) => inputs,
        Err(problem) => return problem.into_answer(),
    };
    if let Some(schema) = &route.body_schema {
        let Some(body) = &inputs.body else {
            return Problem::new(StatusCode::BAD_REQUEST, "the body must be sent").into_answer();
        };
        // In a box, so that other routes do not carry its size.
        if let Err(problem) = Box::pin(schema.check(body, core.compute(), &route.pattern, deadline)).await {
            return problem.into_answer();
        }
    }
    let shared = SharedHeaders::of(headers, peer);
    let mut run = Run::new(core, index, &inputs, &shared, arrived, deadline);
    run.drive().await;
    run.join();
    let Run { ended, lost, .. } = run;
    let mut joined = Joined {
        core,
        route,
        index,
        inputs: &inputs,
        ended,
        lost,
        arrived,
        made: None,
    };
    if let Reply::Jq(program) = &route.reply {
        // In a box, so that other replies do not carry its size.
        Box::pin(joined.make(program, deadline)).await;
    }
    joined.into_answer()
}

/// For each call, the calls that wait for it.
pub(crate) fn dependents(route: &RoutePlan) -> Vec<Vec<usize>> {
    let mut dependents = vec![Vec::new(); route.calls.len()];
    for (index, call) in route.calls.iter().enumerate() {
        for wait in &call.waits {
            dependents[*wait].push(index);
        }
    }
    dependents
}

/// Why a reply is certain to fail before every call has ended.
#[derive(Debug)]
pub(crate) enum Lost {
    /// A need has no value.
    Need,
    /// A value from the client cannot stand where the config puts it.
    Client(Box<Problem>),
}

/// A child of the gathering: a call, or one of the requests of a call that is made for a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    call: u32,
    /// Counted from 0; always 0 for a call that is made once.
    request: u32,
}

impl Key {
    /// A call, its first request or the one with this number. The config bounds both far below what fits.
    fn new(call: usize, request: usize) -> Key {
        Key {
            call: call as u32,
            request: request as u32,
        }
    }

    /// The condition of a call, judged on the compute pool.
    fn condition(call: usize) -> Key {
        Key {
            call: call as u32,
            request: u32::MAX,
        }
    }

    fn is_condition(self) -> bool {
        self.request == u32::MAX
    }

    fn call(self) -> usize {
        self.call as usize
    }
}

/// One request's way through its route's graph.
pub(crate) struct Run<'a> {
    core: &'a Core,
    /// Index of the route.
    index: usize,
    route: &'a RoutePlan,
    inputs: &'a Inputs,
    shared: &'a SharedHeaders,
    arrived: Instant,
    /// When the calls must have ended; the rest of the route's deadline is for joining.
    calls_until: Deadline,
    /// The calls under way.
    under_way: Gathering<'a, Key, CallEnd>,
    /// What ended, by call.
    ended: Vec<Option<Ended>>,
    /// What a call still waits for: calls, and for one that is named only in `else` also the wish for it.
    unmet: Vec<usize>,
    /// Calls named only in `else` that somebody asked for.
    wished: Vec<bool>,
    /// Calls that can start now.
    ready: Vec<usize>,
    /// Calls that failed and wait for what their `else` names.
    falling: Vec<(usize, Ended)>,
    /// What is known of calls that are made for lists; empty until the first of them begins.
    lists: Vec<Option<Box<List>>>,
    /// For calls with `into`, what they add to with that in its place, where some call refers to it; as `lists`.
    joined: Vec<Option<Bytes>>,
    /// What the conditions of calls said that need an interpreter, for each item or once; as `lists`.
    verdicts: Vec<Option<Vec<bool>>>,
    /// Calls and requests that were cut off, and for which what is kept is being reshaped.
    stood_in: Vec<Key>,
    /// When calls under way started.
    started: Vec<Option<Instant>>,
    /// How many calls were started.
    calls_made: usize,
    /// Needs that have not ended.
    needs_left: usize,
    /// Whether the grace after the last need has begun to run; once it is over nothing starts.
    is_cut: bool,
    /// Set once the reply is certain to fail.
    lost: Option<Lost>,
}

impl<'a> Run<'a> {
    fn new(core: &'a Core, index: usize, inputs: &'a Inputs, shared: &'a SharedHeaders, arrived: Instant, deadline: Deadline) -> Self {
        let route = &core.gateway().plan.routes[index];
        let calls_until = deadline.less_reserve();
        let unmet: Vec<usize> = route
            .calls
            .iter()
            .map(|call| call.waits.len() + usize::from(call.only_else))
            .collect();
        // The last comes off first, so that calls start in the order written.
        let ready = (0..unmet.len()).rev().filter(|call| unmet[*call] == 0).collect();
        Run {
            core,
            index,
            route,
            inputs,
            shared,
            arrived,
            calls_until,
            under_way: Gathering::new(calls_until),
            ended: route.calls.iter().map(|_| None).collect(),
            ready,
            falling: Vec::new(),
            lists: Vec::new(),
            joined: Vec::new(),
            verdicts: Vec::new(),
            stood_in: Vec::new(),
            started: vec![None; unmet.len()],
            wished: vec![false; unmet.len()],
            unmet,
            calls_made: 0,
            needs_left: (0..route.calls.len()).filter(|call| needs(route, *call)).count(),
            is_cut: false,
            lost: None,
        }
    }

    /// Runs until every call has ended, the reply is certain to fail, or time is up.
    async fn drive(&mut self) {
        loop {
            while self.lost.is_none()
                && let Some(call) = self.ready.pop()
            {
                self.begin(call);
            }
            if self.lost.is_some() {
                break;
            }
            if let Some(grace) = self.route.grace
                && !self.is_cut
                && self.needs_left == 0
            {
                self.under_way.cut(self.calls_until.within(grace));
                self.is_cut = true;
            }
            match self.under_way.next().await {
                Some(finished) => self.finish(finished),
                None => break,
            }
        }
        self.close_the_rest();
    }

    /// Takes the end of a call under way.
    fn finish(&mut self, finished: Finished<Key, CallEnd>) {
        let Finished { key, mut settled, took } = finished;
        let call = key.call();
        if key.is_condition() {
            return self.finish_condition(call, settled);
        }
        if kept::was_cut(&settled) {
            match self.cut_off(key, settled) {
                Some(stands_in) => settled = stands_in,
                None => return,
            }
        }
        if self.route.calls[call].list.is_some() {
            return self.finish_request(key, settled);
        }
        let started = self.started[call].map(|started| started.duration_since(self.arrived));
        let ended = match settled {
            Settled::Done(end) => Ended::of(end, started, took),
            Settled::TimedOut => Ended::failed(late(), started, took),
            Settled::Cancelled(_) => Ended::failed(not_needed(), started, took),
            Settled::Panicked(message) => Ended::failed(CallError::new(Kind::Panic, message), started, took),
        };
        self.settle(call, ended);
    }

    /// Takes the end of a call: what failed falls back on its `else`, at once or when that is there.
    fn settle(&mut self, call: usize, ended: Ended) {
        match &self.route.calls[call].otherwise {
            Some(otherwise) if ended.may_fall_back(self.route.calls[call].list.is_some()) => {
                self.falling.push((call, ended));
                if let Otherwise::Call(other) = otherwise {
                    self.wish_for(*other);
                }
                self.fall();
            }
            _ => self.close(call, ended),
        }
    }

    /// Starts a call that is named only in `else`, once, when it is first needed.
    fn wish_for(&mut self, other: usize) {
        if !self.route.calls[other].only_else || std::mem::replace(&mut self.wished[other], true) {
            return;
        }
        self.unmet[other] -= 1;
        if self.unmet[other] == 0 {
            self.ready.push(other);
        }
    }

    /// Closes every falling call whose `else` has what it names.
    fn fall(&mut self) {
        while let Some(at) = self.falling.iter().position(|(call, _)| self.else_is_there(*call)) {
            let (call, ended) = self.falling.swap_remove(at);
            let ended = if self.route.calls[call].list.is_some() {
                self.with_else_of_items(call, ended)
            } else {
                ended.or_else(self.else_value(call, Item::None))
            };
            self.close(call, ended);
        }
    }

    fn else_is_there(&self, call: usize) -> bool {
        match &self.route.calls[call].otherwise {
            Some(Otherwise::Value { waits, .. }) => waits.iter().all(|wait| self.ended[*wait].is_some()),
            Some(Otherwise::Call(other)) => self.ended[*other].is_some(),
            None => true,
        }
    }

    /// Puts the end of a call down and starts what waited for it.
    fn close(&mut self, call: usize, ended: Ended) {
        if needs(self.route, call) {
            self.needs_left -= 1;
            if !ended.satisfies() && self.lost.is_none() {
                self.lost = Some(Lost::Need);
            }
        }
        self.ended[call] = Some(ended);
        if self.route.calls[call].list.is_some() {
            self.join_for_others(call);
        }
        let dependents = &self.core.gateway().dependents[self.index][call];
        for dependent in dependents.iter().rev() {
            self.unmet[*dependent] -= 1;
            if self.unmet[*dependent] == 0 {
                self.ready.push(*dependent);
            }
        }
        if !self.falling.is_empty() {
            self.fall();
        }
    }

    /// What has not ended when the reply leaves is cancelled; nothing of it is alive afterwards.
    fn close_the_rest(&mut self) {
        for finished in self.under_way.cancel(anabranch::Why::FailFast) {
            let call = finished.key.call();
            let started = self.started[call];
            let error = if self.calls_until.has_passed() { late() } else { not_needed() };
            // Of a list the whole call ends here, however many of its requests were under way.
            let took = if self.route.calls[call].list.is_some() {
                started.map_or(finished.took, |started| started.elapsed())
            } else {
                finished.took
            };
            let started = started.map(|started| started.duration_since(self.arrived));
            self.ended[call] = Some(Ended::failed(error, started, took));
        }
        for (call, ended) in std::mem::take(&mut self.falling) {
            self.ended[call] = Some(ended);
        }
    }
}

fn late() -> CallError {
    CallError::new(Kind::Timeout, "still under way when the reply had to leave")
}

fn not_needed() -> CallError {
    CallError::new(Kind::Cancelled, "the reply no longer needed it")
}

/// Whether the reply fails without this call.
pub(crate) fn needs(route: &RoutePlan, call: usize) -> bool {
    matches!(&route.need, Need::All(needs) if needs.contains(&call))
}
