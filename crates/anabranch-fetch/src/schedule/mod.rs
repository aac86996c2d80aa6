//! Which job may start when: a state machine over the instants that it is given, without tasks, timers or sockets.
//!
//! Jobs wait at their host. A host is ready when its own places, its rate, its delay and its back-off let it start something; only then is
//! it looked at, so a host that is slow, held or dead stands in nobody's way and takes no place while it waits. Of the hosts that are
//! ready, the one with the least in flight goes first: a slow host keeps its fair share of the places and no more. Host, token and place
//! are taken in one step or not at all.

mod rules;
mod bucket;
mod adaptive;
mod host;
mod explain;

pub use explain::{Explanation, Held, Reason};
pub use rules::{HostRules, Rules};

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::bucket::Bucket;
use self::host::{Host, Outlook, Standing};

/// Hosts without work that are looked through in one go, to forget those that a new one would replace, and how often that is done.
const FORGET_AT_ONCE: usize = 1_000;
const FORGET_EVERY: Duration = Duration::from_millis(100);
/// Hosts without work that are remembered for their clocks and what was learned of them; the oldest are forgotten beyond.
const REMEMBERED: usize = 20_000;
/// A host with fewer jobs than this at hand wants its spilled ones.
const HUNGRY_BELOW: usize = 16;

/// Jobs (`T`), at their hosts. Every method that takes an instant must be given one that is not earlier than the one before.
pub struct Schedule<T> {
    rules: Rules,
    rate: Option<Bucket>,
    by_name: HashMap<Arc<str>, usize>,
    /// None where a host was forgotten; its number is used again.
    hosts: Vec<Option<Host<T>>>,
    free: Vec<usize>,
    /// Hosts that may start something now: in flight, turn, number.
    ready: BTreeSet<(usize, u64, usize)>,
    /// Hosts that wait for an instant. An entry that is not what its host says is old.
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Hosts without work, oldest first.
    resting: VecDeque<usize>,
    /// Hosts that have spilled jobs and little else.
    hungry: VecDeque<usize>,
    forgot: Instant,
    turn: u64,
    queued: usize,
    in_flight: usize,
    rng: fastrand::Rng,
}

/// What may be done now.
#[derive(Debug)]
pub enum Next<T> {
    /// Start this; the place has to come back through [`Schedule::ended`].
    Start(T, Place, Waited),
    /// Nothing before that instant, unless something ends or comes in.
    Wait(Instant),
    /// Nothing until something ends or comes in.
    Blocked,
}

/// A place among the requests in flight.
#[derive(Debug)]
#[must_use = "a place that is not given back is lost"]
pub struct Place {
    host: usize,
    started: Instant,
    is_retry: bool,
}

impl Place {
    /// When it was taken.
    pub fn started(&self) -> Instant {
        self.started
    }
}

/// How long a job waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// For a place or a token among all jobs, while its host was ready.
    pub queue: Duration,
    /// For its host: places, rate, delay, back-off, and its own wait before another attempt.
    pub host: Duration,
}

/// What a request that ended says of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works, whatever it said of this job.
    Answered,
    /// It asks for less (429, 503), and for this long, where it said so.
    Overloaded(Option<Duration>),
    /// It does not work: no connection, no answer, a gateway that says so.
    Failed,
    /// Nothing: the request was not made, or was cut off by ourselves.
    Unknown,
}

impl<T> Schedule<T> {
    /// An empty schedule.
    pub fn new(rules: Rules, now: Instant) -> Self {
        Schedule {
            rate: rules.rate.map(|rate| Bucket::per_second(rate, now)),
            rules,
            by_name: HashMap::new(),
            hosts: Vec::new(),
            free: Vec::new(),
            ready: BTreeSet::new(),
            waiting: BinaryHeap::new(),
            resting: VecDeque::new(),
            hungry: VecDeque::new(),
            forgot: now,
            turn: 0,
            queued: 0,
            in_flight: 0,
            rng: fastrand::Rng::new(),
        }
    }

    /// Queues a job behind the others of its host.
    ///
    /// # Errors
    /// The job itself: its host was given up.
    pub fn push(&mut self, host: &str, item: T, now: Instant) -> Result<(), T> {
        self.insert(host, item, now, |host, item| host.fresh.push_back(host.waiting(item, now)))
    }

    /// Queues a job before the others of its host: a redirect, which is the rest of a job that had its turn.
    ///
    /// # Errors
    /// The job itself: its host was given up.
    pub fn push_first(&mut self, host: &str, item: T, now: Instant) -> Result<(), T> {
        self.insert(host, item, now, |host, item| host.fresh.push_front(host.waiting(item, now)))
    }

    /// Queues a job once more, to start not before that instant and within the budget of retries.
    ///
    /// # Errors
    /// The job itself: its host was given up.
    pub fn push_again(&mut self, host: &str, item: T, not_before: Instant, now: Instant) -> Result<(), T> {
        self.turn += 1;
        let number = self.turn;
        self.insert(host, item, now, |host, item| host.push_again(item, not_before, number, now))
    }

    fn insert(&mut self, name: &str, item: T, now: Instant, put: impl FnOnce(&mut Host<T>, T)) -> Result<(), T> {
        let number = self.find_or_add(name, now);
        let Some(host) = &mut self.hosts[number] else { return Err(item) };
        if host.is_given_up {
            return Err(item);
        }
        put(host, item);
        self.queued += 1;
        self.refresh(number, now);
        Ok(())
    }

    /// What may be done now. Host, token and place are taken together.
    pub fn next(&mut self, now: Instant) -> Next<T> {
        self.forget_some(now);
        self.wake(now);
        if self.in_flight >= self.rules.concurrency {
            return Next::Blocked;
        }
        let Some(&(_, _, number)) = self.ready.first() else {
            return match self.waiting.peek() {
                Some(&Reverse((until, _))) => Next::Wait(until),
                None => Next::Blocked,
            };
        };
        let ready_at = self.rate.as_ref().map(Bucket::ready_at).filter(|ready_at| *ready_at > now);
        if let Some(ready_at) = ready_at {
            return Next::Wait(ready_at);
        }
        let started = self.hosts[number].as_mut().and_then(|host| host.start(now, &self.rules));
        let Some((item, waited, is_retry)) = started else {
            // A host that is ready has something to start; if it ever had not, this takes it out of the way.
            self.refresh(number, now);
            return Next::Wait(now);
        };
        if let Some(rate) = &mut self.rate {
            rate.take(now);
        }
        self.queued -= 1;
        self.in_flight += 1;
        self.refresh(number, now);
        let place = Place {
            host: number,
            started: now,
            is_retry,
        };
        Next::Start(item, place, waited)
    }

    /// Gives a place back and says what was learned of the host. Returns the jobs of a host that has to be given up by that: all that are
    /// at hand. Those that are [spilled](Schedule::hungry), and those that come later, are refused when they are pushed.
    #[must_use = "these jobs are in no queue any more"]
    pub fn ended(&mut self, place: Place, verdict: Verdict, now: Instant) -> Vec<T> {
        self.in_flight -= 1;
        let number = place.host;
        let Some(host) = &mut self.hosts[number] else { return Vec::new() };
        host.in_flight -= 1;
        host.retries_in_flight -= usize::from(place.is_retry);
        let gives_up = match verdict {
            Verdict::Answered => {
                host.answered(place.started, now.saturating_duration_since(place.started), now);
                false
            }
            Verdict::Overloaded(wait) => host.overloaded(place.started, wait, now, &self.rules, &mut self.rng),
            Verdict::Failed => host.failed(place.started, now, &self.rules, &mut self.rng),
            Verdict::Unknown => false,
        };
        let mut left = Vec::new();
        if gives_up && !host.is_given_up {
            host.is_given_up = true;
            left.extend(host.fresh.drain(..).map(|waiting| waiting.item));
            left.extend(host.again.drain().map(host::Later::into_item));
            self.queued -= left.len();
        }
        self.refresh(number, now);
        left
    }

    /// Starts nothing at a host before that instant: it said how many requests it has left, and that it is none.
    pub fn pause(&mut self, place: &Place, wait: Duration, now: Instant) {
        if let Some(host) = &mut self.hosts[place.host] {
            host.pause(now + wait.min(self.rules.longest_pause), true);
            self.refresh(place.host, now);
        }
    }

    /// Sets the delay that a host's robots.txt asks for.
    pub fn crawl_delay(&mut self, host: &str, delay: Duration, now: Instant) {
        let number = self.find_or_add(host, now);
        if let Some(host) = &mut self.hosts[number] {
            host.set_crawl_delay(delay.min(self.rules.longest_pause));
            self.refresh(number, now);
        }
    }

    /// Jobs that wait, at hand.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Places that nobody has.
    pub fn free_places(&self) -> usize {
        self.rules.concurrency.saturating_sub(self.in_flight)
    }

    /// Whether a host could start something now, but for what all hosts share.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Hosts known now.
    pub fn hosts(&self) -> usize {
        self.by_name.len()
    }

    /// Takes fresh jobs out of the host that has the most, all but the first `keep`, to be put aside until it is
    /// [hungry](Schedule::hungry). None where no host has more.
    pub fn spill(&mut self, keep: usize) -> Option<(Arc<str>, Vec<T>)> {
        let longest = self.hosts.iter_mut().flatten().max_by_key(|host| host.fresh.len())?;
        if longest.fresh.len() <= keep {
            return None;
        }
        let items: Vec<T> = longest.fresh.drain(keep..).map(|waiting| waiting.item).collect();
        longest.spilled += items.len() as u64;
        self.queued -= items.len();
        Some((longest.name.clone(), items))
    }

    /// A host that has little at hand and jobs aside. Push some of them, then say how many with [`restored`](Schedule::restored).
    pub fn hungry(&mut self) -> Option<Arc<str>> {
        while let Some(number) = self.hungry.pop_front() {
            let Some(host) = &mut self.hosts[number] else { continue };
            host.is_hungry = false;
            if host.spilled > 0 {
                return Some(host.name.clone());
            }
        }
        None
    }

    /// Counts jobs that came back from aside; `None` where nothing is left there.
    pub fn restored(&mut self, host: &str, count: Option<u64>, now: Instant) {
        let number = self.find_or_add(host, now);
        if let Some(host) = &mut self.hosts[number] {
            host.spilled = count.map_or(0, |count| host.spilled.saturating_sub(count));
            self.refresh(number, now);
        }
    }

    fn find_or_add(&mut self, name: &str, now: Instant) -> usize {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let name: Arc<str> = name.into();
        let host = Host::new(name.clone(), &self.rules, now);
        let number = self.free.pop().unwrap_or_else(|| {
            self.hosts.push(None);
            self.hosts.len() - 1
        });
        self.hosts[number] = Some(host);
        self.by_name.insert(name, number);
        number
    }

    /// Puts a host where it belongs after something about it has changed.
    fn refresh(&mut self, number: usize, now: Instant) {
        let Some(host) = &mut self.hosts[number] else { return };
        let before = host.standing;
        let standing = match host.outlook(now, &self.rules) {
            Outlook::Nothing => Standing::Idle,
            Outlook::After(_) => Standing::Blocked,
            Outlook::From(from, _) if from > now => Standing::Waiting(from),
            Outlook::From(..) => match before {
                Standing::Ready { in_flight, .. } if in_flight == host.in_flight => before,
                _ => {
                    self.turn += 1;
                    Standing::Ready {
                        in_flight: host.in_flight,
                        turn: self.turn,
                        since: now,
                    }
                }
            },
        };
        if standing != before {
            host.stand(standing, now);
            if let Standing::Ready { in_flight, turn, .. } = before {
                self.ready.remove(&(in_flight, turn, number));
            }
            match standing {
                Standing::Ready { in_flight, turn, .. } => {
                    self.ready.insert((in_flight, turn, number));
                }
                Standing::Waiting(until) => self.waiting.push(Reverse((until, number))),
                Standing::Idle | Standing::Blocked => {}
            }
        }
        if host.spilled > 0 && host.fresh.len() < HUNGRY_BELOW && !host.is_hungry {
            host.is_hungry = true;
            self.hungry.push_back(number);
        }
        if host.is_idle() && !host.is_resting {
            host.is_resting = true;
            self.resting.push_back(number);
        }
        self.drop_old_entries();
    }

    /// Hosts whose instant has come.
    fn wake(&mut self, now: Instant) {
        while let Some(&Reverse((until, number))) = self.waiting.peek() {
            let is_current = self.hosts[number]
                .as_ref()
                .is_some_and(|host| host.standing == Standing::Waiting(until));
            if is_current && until > now {
                return;
            }
            self.waiting.pop();
            if is_current {
                self.refresh(number, now);
            }
        }
    }

    /// Instants that were moved leave their old entries behind; they may not outnumber the hosts for long.
    fn drop_old_entries(&mut self) {
        if self.waiting.len() > 2 * self.by_name.len() + 64 {
            let hosts = &self.hosts;
            self.waiting.retain(|Reverse((until, number))| {
                hosts[*number]
                    .as_ref()
                    .is_some_and(|host| host.standing == Standing::Waiting(*until))
            });
        }
    }

    /// Forgets hosts without work that a new one would replace, and the oldest beyond [`REMEMBERED`].
    fn forget_some(&mut self, now: Instant) {
        if self.resting.is_empty() || now.saturating_duration_since(self.forgot) < FORGET_EVERY {
            return;
        }
        self.forgot = now;
        for _ in 0..self.resting.len().min(FORGET_AT_ONCE) {
            let is_crowded = self.resting.len() > REMEMBERED;
            let Some(number) = self.resting.pop_front() else { return };
            let Some(host) = &mut self.hosts[number] else { continue };
            if !host.is_idle() {
                host.is_resting = false;
            } else if host.is_forgettable(now) || (is_crowded && !host.is_given_up) {
                self.by_name.remove(&host.name);
                self.hosts[number] = None;
                self.free.push(number);
            } else {
                self.resting.push_back(number);
            }
        }
    }
}

#[cfg(test)]
mod tests;
