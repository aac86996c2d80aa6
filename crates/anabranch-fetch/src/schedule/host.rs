//! One host: what waits for it, how busy it is, and the clocks that say when it may be asked again.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::adaptive::Adaptive;
use super::bucket::Bucket;
use super::rules::{HostRules, Rules};
use super::{Reason, Waited};

/// Retries of one host that are always allowed at once (Envoy's `min_retry_concurrency`).
const RETRIES_ALWAYS: usize = 3;
/// Retries are compared with the starts of about this time.
const SHARE_WINDOW: Duration = Duration::from_secs(10);
/// After so many failures without an answer in between, a host holds at most [`TROUBLED_AT_ONCE`] places.
const TROUBLED: u32 = 8;
const TROUBLED_AT_ONCE: usize = 3;
/// A host that says how long to wait is left alone for at most so many times that, however often it refuses.
const GUESS_BEYOND: u32 = 4;
/// Bounds of the pace that is learned from a host that refuses requests.
const PACE_LEAST: Duration = Duration::from_millis(2);
const PACE_MOST: Duration = Duration::from_secs(10);
/// Refused again after fewer answers than this, a host is asked half as often: its rate is not found yet. Refused later, a third less often:
/// it is near.
const PACE_IS_FAR: u32 = 4;
const PACE_NEAR: f64 = 1.5;
const PACE_FAR: f64 = 2.0;
/// With each answer the pace becomes quicker by this.
const PACE_RECOVERS: f64 = 0.97;

pub(super) struct Host<T> {
    pub(super) name: Arc<str>,
    pub(super) rules: HostRules,
    /// What was not tried yet, first come first served.
    pub(super) fresh: VecDeque<Waiting<T>>,
    /// What is tried again, by the time from which on it may be.
    pub(super) again: BinaryHeap<Later<T>>,
    /// Jobs of this host that lie outside of the schedule.
    pub(super) spilled: u64,
    pub(super) in_flight: usize,
    pub(super) retries_in_flight: usize,
    pub(super) standing: Standing,
    pub(super) is_given_up: bool,
    /// Whether it stands in the list of hosts without work.
    pub(super) is_resting: bool,
    /// Whether it stands in the list of hosts that want their spilled jobs.
    pub(super) is_hungry: bool,
    /// Grows while only places that all hosts share are waited for.
    ready_total: Duration,
    bucket: Option<Bucket>,
    /// What robots.txt asks for.
    pub(super) crawl_delay: Duration,
    /// First clock: no start before this, because of the last one.
    next_start: Option<Instant>,
    last_start: Option<Instant>,
    /// Second clock.
    backoff: Backoff,
    /// The mean time between two starts of late, and between two starts as learned from refusals.
    gap: Option<Duration>,
    pace: Duration,
    /// Answers since the pace was last made slower.
    answers: u32,
    has_answered: bool,
    adaptive: Option<Box<Adaptive>>,
    failing: Option<Failing>,
    /// Starts of late, all and retries, and when they were counted last.
    starts: f64,
    restarts: f64,
    counted: Instant,
}

pub(super) struct Waiting<T> {
    pub(super) item: T,
    since: Instant,
    /// What `ready_total` was then.
    ready_before: Duration,
}

pub(super) struct Later<T> {
    not_before: Instant,
    number: u64,
    waiting: Waiting<T>,
}

/// Where the host stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing waits for it.
    Idle,
    /// It waits for an event: an end, a release.
    Blocked,
    /// It waits for this instant.
    Waiting(Instant),
    /// It may start something now. Its place in the order: what it has in flight, then its turn.
    Ready { in_flight: usize, turn: u64, since: Instant },
}

#[derive(Clone, Copy, Debug, Default)]
struct Backoff {
    until: Option<Instant>,
    /// When the last one began: what was started before cannot know of it.
    began: Option<Instant>,
    step: u32,
    /// Whether it was asked for, by `Retry-After` or the like.
    is_asked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    count: u32,
}

/// When a host may start something: at that instant, or not until something happens.
pub(super) enum Outlook {
    From(Instant, Reason),
    After(Reason),
    Nothing,
}

impl<T> Host<T> {
    pub(super) fn new(name: Arc<str>, rules: &Rules, now: Instant) -> Self {
        let of_host = rules.of(&name);
        Host {
            bucket: of_host.rate.map(|rate| Bucket::per_second(rate, now)),
            adaptive: rules.is_adaptive.then(|| Box::new(Adaptive::new(of_host.in_flight))),
            name,
            rules: of_host,
            fresh: VecDeque::new(),
            again: BinaryHeap::new(),
            spilled: 0,
            in_flight: 0,
            retries_in_flight: 0,
            standing: Standing::Idle,
            is_given_up: false,
            is_resting: false,
            is_hungry: false,
            ready_total: Duration::ZERO,
            crawl_delay: Duration::ZERO,
            next_start: None,
            last_start: None,
            backoff: Backoff::default(),
            gap: None,
            pace: Duration::ZERO,
            answers: 0,
            has_answered: false,
            failing: None,
            starts: 0.0,
            restarts: 0.0,
            counted: now,
        }
    }

    /// Wraps what begins to wait now.
    pub(super) fn waiting(&self, item: T, now: Instant) -> Waiting<T> {
        Waiting {
            item,
            since: now,
            ready_before: self.ready_so_far(now),
        }
    }

    pub(super) fn push_again(&mut self, item: T, not_before: Instant, number: u64, now: Instant) {
        let waiting = self.waiting(item, now);
        self.again.push(Later {
            not_before,
            number,
            waiting,
        });
    }

    pub(super) fn queued(&self) -> usize {
        self.fresh.len() + self.again.len()
    }

    /// How many may be in flight now.
    pub(super) fn limit(&self) -> usize {
        let mut limit = self.rules.in_flight;
        if let Some(adaptive) = &self.adaptive {
            limit = limit.min(adaptive.limit());
        }
        if self.failing.is_some_and(|failing| failing.count >= TROUBLED) {
            limit = limit.min(TROUBLED_AT_ONCE);
        }
        // After a back-off one request finds out whether it is over.
        if self.backoff.step > 0 { 1 } else { limit.max(1) }
    }

    /// When something may start, and what that follows from.
    pub(super) fn outlook(&self, now: Instant, rules: &Rules) -> Outlook {
        if self.queued() == 0 {
            return Outlook::Nothing;
        }
        if self.in_flight >= self.limit() {
            return Outlook::After(Reason::Places);
        }
        let mut from = (now, Reason::None);
        if self.fresh.is_empty() {
            if !self.may_retry(now, rules) {
                return Outlook::After(Reason::RetryBudget);
            }
            from = later(from, self.again.peek().map(|later| later.not_before), Reason::Retry);
        }
        from = later(from, self.bucket.as_ref().map(Bucket::ready_at), Reason::Rate);
        from = later(from, self.next_start, Reason::Delay);
        let asked = if self.backoff.is_asked {
            Reason::RetryAfter
        } else {
            Reason::Backoff
        };
        from = later(from, self.backoff.until, asked);
        Outlook::From(from.0, from.1)
    }

    /// Takes the next item out and counts its start. Call it only where [`outlook`](Host::outlook) says now.
    pub(super) fn start(&mut self, now: Instant, rules: &Rules) -> Option<(T, Waited, bool)> {
        let is_retry_due = self.again.peek().is_some_and(|later| later.not_before <= now);
        // A request that finds out whether the host is back is best one that has all its attempts left.
        let is_probe = self.backoff.step > 0 && !self.fresh.is_empty();
        let takes_retry = is_retry_due && !is_probe && self.may_retry(now, rules);
        let waiting = match () {
            () if takes_retry => self.again.pop().map(|later| later.waiting),
            () => self.fresh.pop_front(),
        }?;
        let all = now.saturating_duration_since(waiting.since);
        let queue = self.ready_so_far(now).saturating_sub(waiting.ready_before).min(all);
        self.count_start(takes_retry, now);
        let waited = Waited {
            queue,
            host: all.saturating_sub(queue),
        };
        Some((waiting.item, waited, takes_retry))
    }

    fn count_start(&mut self, is_retry: bool, now: Instant) {
        self.in_flight += 1;
        self.age_shares(now);
        self.starts += 1.0;
        if is_retry {
            self.retries_in_flight += 1;
            self.restarts += 1.0;
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        if let Some(last) = self.last_start {
            let gap = now.saturating_duration_since(last);
            self.gap = Some(self.gap.map_or(gap, |mean| mean.mul_f64(0.9) + gap.mul_f64(0.1)));
        }
        self.last_start = Some(now);
        let delay = self.delay();
        self.next_start = (!delay.is_zero()).then(|| now + delay);
    }

    /// Between two starts, for whichever reason.
    pub(super) fn delay(&self) -> Duration {
        self.rules.delay.max(self.crawl_delay).max(self.pace)
    }

    /// A changed delay holds from the last start on.
    pub(super) fn set_crawl_delay(&mut self, delay: Duration) {
        self.crawl_delay = delay;
        let delay = self.delay();
        self.next_start = self.last_start.filter(|_| !delay.is_zero()).map(|last| last + delay);
    }

    fn may_retry(&self, now: Instant, rules: &Rules) -> bool {
        let left = share_left(now.saturating_duration_since(self.counted));
        self.retries_in_flight < RETRIES_ALWAYS || self.restarts * left + 1.0 <= self.starts * left * rules.retry_share
    }

    fn age_shares(&mut self, now: Instant) {
        let left = share_left(now.saturating_duration_since(self.counted));
        self.starts *= left;
        self.restarts *= left;
        self.counted = now;
    }

    /// An answer to what was started then: whatever it says of the job, the host works.
    pub(super) fn answered(&mut self, started: Instant, took: Duration, now: Instant) {
        self.failing = None;
        self.has_answered = true;
        if self.backoff.began.is_none_or(|began| started >= began) {
            self.backoff.step = 0;
            self.answers = self.answers.saturating_add(1);
            self.pace = self.pace.mul_f64(PACE_RECOVERS);
            if self.pace < PACE_LEAST {
                self.pace = Duration::ZERO;
            }
        }
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.answered(started, took, now);
        }
    }

    /// The host asks for less, in answer to what was started then. Only what was started after the last back-off began moves it on; a
    /// longer wait that it asks for always counts. Returns whether it has to be given up.
    pub(super) fn overloaded(
        &mut self,
        started: Instant,
        wait: Option<Duration>,
        now: Instant,
        rules: &Rules,
        rng: &mut fastrand::Rng,
    ) -> bool {
        if self.is_news(started) {
            // A host that says how long knows better than a guess; 0 seconds says nothing.
            let at_most = wait
                .filter(|wait| !wait.is_zero())
                .map_or(Duration::MAX, |wait| wait * GUESS_BEYOND);
            self.back_off(at_most, now, rules, rng);
            self.slow_down();
            let most = self.rules.in_flight;
            let adaptive = self.adaptive.get_or_insert_with(|| Box::new(Adaptive::full(most)));
            adaptive.overloaded(started, now);
        }
        if let Some(wait) = wait {
            self.pause(now + wait.min(rules.longest_pause), true);
        }
        self.count_failure(now, rules)
    }

    /// No answer to what was started then, or one that says that the host does not work. Returns whether it has to be given up.
    ///
    /// A host that has answered before is taken to come back: after some failures in a row it is left alone for longer and longer, so that
    /// a restart costs a few jobs an attempt and not all jobs all of theirs. One that never has is not waited for: its jobs fail as fast
    /// as their own retries let them.
    pub(super) fn failed(&mut self, started: Instant, now: Instant, rules: &Rules, rng: &mut fastrand::Rng) -> bool {
        let gives_up = self.count_failure(now, rules);
        let is_troubled = self.failing.is_some_and(|failing| failing.count >= TROUBLED);
        if self.has_answered && is_troubled && self.is_news(started) {
            self.back_off(Duration::MAX, now, rules, rng);
        }
        gives_up
    }

    /// Whether what was started then can know of the last back-off.
    fn is_news(&self, started: Instant) -> bool {
        self.backoff.began.is_none_or(|began| started >= began)
    }

    fn back_off(&mut self, at_most: Duration, now: Instant, rules: &Rules, rng: &mut fastrand::Rng) {
        self.backoff.step = self.backoff.step.saturating_add(1);
        self.backoff.began = Some(now);
        self.backoff.is_asked = false;
        let wait = jittered(self.backoff.step, at_most, rules, rng);
        self.pause(now + wait, false);
    }

    /// Refused after answers: its rate is what was too much. Refused again without one, the back-off is what was too short.
    fn slow_down(&mut self) {
        if self.answers == 0 && !self.pace.is_zero() {
            return;
        }
        let slower = if self.answers < PACE_IS_FAR { PACE_FAR } else { PACE_NEAR };
        let pace = if self.pace.is_zero() {
            self.gap.unwrap_or_default()
        } else {
            self.pace
        };
        self.pace = pace.mul_f64(slower).clamp(PACE_LEAST, PACE_MOST);
        self.answers = 0;
    }

    fn count_failure(&mut self, now: Instant, rules: &Rules) -> bool {
        let failing = self.failing.get_or_insert(Failing { since: now, count: 0 });
        failing.count = failing.count.saturating_add(1);
        now.saturating_duration_since(failing.since) >= rules.give_up
    }

    /// No start before that instant.
    pub(super) fn pause(&mut self, until: Instant, is_asked: bool) {
        if self.backoff.until.is_none_or(|before| before < until) {
            self.backoff.until = Some(until);
            self.backoff.is_asked = is_asked;
        }
    }

    /// Keeps the count of time in which only shared places were missing.
    pub(super) fn stand(&mut self, standing: Standing, now: Instant) {
        self.ready_total = self.ready_so_far(now);
        self.standing = standing;
    }

    fn ready_so_far(&self, now: Instant) -> Duration {
        match self.standing {
            Standing::Ready { since, .. } => self.ready_total + now.saturating_duration_since(since),
            _ => self.ready_total,
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_idle(&self) -> bool {
        self.queued() == 0 && self.in_flight == 0 && self.spilled == 0
    }

    /// Whether a host made anew would behave alike.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        let has_passed = |clock: Option<Instant>| clock.is_none_or(|clock| clock <= now);
        has_passed(self.next_start)
            && has_passed(self.backoff.until)
            && self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
            && self.failing.is_none()
            && self.backoff.step == 0
            && self.pace.is_zero()
            && !self.is_given_up
    }

    /// For how long it has failed without an answer.
    pub(super) fn failing_for(&self, now: Instant) -> Option<Duration> {
        self.failing.map(|failing| now.saturating_duration_since(failing.since))
    }
}

fn later(from: (Instant, Reason), clock: Option<Instant>, reason: Reason) -> (Instant, Reason) {
    match clock {
        Some(clock) if clock > from.0 => (clock, reason),
        _ => from,
    }
}

fn share_left(age: Duration) -> f64 {
    (-age.as_secs_f64() / SHARE_WINDOW.as_secs_f64()).exp()
}

/// Full jitter under a bound that doubles with each step (Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog 2015).
fn jittered(step: u32, at_most: Duration, rules: &Rules, rng: &mut fastrand::Rng) -> Duration {
    let factor = 1_u32.checked_shl(step.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = rules.backoff_base.saturating_mul(factor).min(rules.backoff_cap).min(at_most);
    longest.mul_f64(rng.f64())
}

impl<T> Later<T> {
    fn order(&self) -> (Instant, u64) {
        (self.not_before, self.number)
    }

    pub(super) fn into_item(self) -> T {
        self.waiting.item
    }
}

/// The earliest is the greatest, for the heap gives out the greatest.
impl<T> Ord for Later<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.order().cmp(&self.order())
    }
}

impl<T> PartialOrd for Later<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Later<T> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<T> Eq for Later<T> {}
