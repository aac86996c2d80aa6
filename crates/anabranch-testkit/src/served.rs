//! An upstream while it is served: its script, its dice, what it remembers and counts. Wires are left to `serve.rs`.

use crate::{
    Counts, Ended, Seen, Upstream,
    answer::{Answer, Choice},
};
use fastrand::Rng;
use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Notify, time::Instant};

/// The most requests that are remembered; the oldest are forgotten first.
const SEEN_MAX: usize = 100_000;

/// The most bytes of request bodies that are remembered.
const SEEN_BYTES_MAX: usize = 256 << 20;

/// An upstream that is being served, shared by all of its connections and by the test that looks at it.
#[derive(Debug)]
pub struct Served {
    /// Held for a few comparisons at a time, never across an await.
    state: Mutex<State>,
    /// Told of every change of the counters.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    upstream: Arc<Upstream>,
    /// How many requests each rule has answered.
    used: Vec<u64>,
    rng: Rng,
    counts: Counts,
    /// The requests remembered, oldest first; the first has the number `forgotten`.
    seen: VecDeque<Seen>,
    forgotten: u64,
    seen_bytes: usize,
}

impl Served {
    /// Readies an upstream to be served.
    pub fn new(upstream: Upstream) -> Arc<Self> {
        let state = State {
            used: vec![0; upstream.replies.len()],
            rng: Rng::with_seed(upstream.seed),
            upstream: Arc::new(upstream),
            counts: Counts::default(),
            seen: VecDeque::new(),
            forgotten: 0,
            seen_bytes: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Notify::new(),
        })
    }

    /// Returns the script that is followed now.
    pub fn upstream(&self) -> Arc<Upstream> {
        self.lock().upstream.clone()
    }

    /// Follows another script from the next request on: rules start to count anew, the seed starts again; what was seen stays.
    pub fn follow(&self, upstream: Upstream) {
        let mut state = self.lock();
        state.used = vec![0; upstream.replies.len()];
        state.rng = Rng::with_seed(upstream.seed);
        state.upstream = Arc::new(upstream);
    }

    /// Returns the requests seen so far, in the order of their arrival: the last 100,000 at most, and fewer where their bodies exceed
    /// 256 MiB.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.iter().cloned().collect()
    }

    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Waits until the counters satisfy the condition, without limit: give it a deadline. Cancelling it is safe.
    pub async fn until(&self, condition: impl Fn(&Counts) -> bool) -> Counts {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the look, so that a change between the look and the wait is not missed.
            changed.as_mut().enable();
            let counts = self.counts();
            if condition(&counts) {
                return counts;
            }
            changed.await;
        }
    }

    /// Counts a connection, until what is returned is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> OpenConnection {
        let number = self.count(|counts| {
            counts.connections += 1;
            counts.connections_open += 1;
            counts.connections_open_max = counts.connections_open_max.max(counts.connections_open);
            counts.connections
        });
        OpenConnection {
            served: self.clone(),
            number,
        }
    }

    /// Counts a request that was no proper HTTP.
    pub(crate) fn malformed(&self) {
        self.count(|counts| counts.malformed += 1);
    }

    /// Remembers a request and decides its answer. The request counts as pending until the exchange is answered or dropped.
    pub(crate) fn begin(self: &Arc<Self>, request: Seen) -> (Exchange, Answer) {
        let (upstream, choice, number) = {
            let mut state = self.lock();
            let State {
                upstream,
                used,
                rng,
                counts,
                ..
            } = &mut *state;
            let choice = Choice::make(upstream, used, rng, &request);
            counts.requests += 1;
            counts.requests_pending += 1;
            counts.requests_pending_max = counts.requests_pending_max.max(counts.requests_pending);
            let upstream = upstream.clone();
            (upstream, choice, state.remember(request.clone()))
        };
        self.changed.notify_waiters();
        let exchange = Exchange {
            served: self.clone(),
            number,
            answered: false,
        };
        // Made outside the lock: the body may be computed by a function of the test's.
        (exchange, Answer::new(&upstream, choice, &request))
    }

    fn count<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let result = change(&mut self.lock().counts);
        self.changed.notify_waiters();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Remembers a request and returns its number.
    fn remember(&mut self, request: Seen) -> u64 {
        self.seen_bytes += request.body.len();
        self.seen.push_back(request);
        while self.seen.len() > SEEN_MAX || self.seen_bytes > SEEN_BYTES_MAX {
            let Some(oldest) = self.seen.pop_front() else { break };
            self.seen_bytes -= oldest.body.len();
            self.forgotten += 1;
        }
        self.forgotten + self.seen.len() as u64 - 1
    }

    fn end(&mut self, number: u64, ended: Ended) {
        self.counts.requests_pending -= 1;
        if matches!(ended, Ended::Cancelled(_)) {
            self.counts.cancelled += 1;
        }
        let place = number.checked_sub(self.forgotten).and_then(|place| usize::try_from(place).ok());
        if let Some(seen) = place.and_then(|place| self.seen.get_mut(place)) {
            seen.ended = ended;
        }
    }
}

/// A connection that counts as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    served: Arc<Served>,
    /// Which connection of the upstream it is, counted from 1.
    pub(crate) number: u64,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.served.count(|counts| counts.connections_open -= 1);
    }
}

/// A request that counts as pending; dropped without an answer it was cancelled.
#[derive(Debug)]
pub(crate) struct Exchange {
    served: Arc<Served>,
    number: u64,
    answered: bool,
}

impl Exchange {
    /// Records that all the script says was done.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = Instant::now();
        let ended = if self.answered {
            Ended::Answered(now)
        } else {
            Ended::Cancelled(now)
        };
        self.served.lock().end(self.number, ended);
        self.served.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reply;
    use bytes::Bytes;
    use http::Method;

    #[tokio::test]
    async fn no_more_than_the_last_hundred_thousand_requests_are_remembered() {
        let served = Served::new(Upstream::new("x"));
        let mut first = None;
        for number in 0..SEEN_MAX + 2 {
            let (exchange, _) = served.begin(Seen::of(Method::GET, format!("/{number}")));
            first.get_or_insert(exchange);
        }
        let seen = served.seen();
        assert_eq!(seen.len(), SEEN_MAX);
        assert_eq!(seen[0].path_and_query, "/2");
        // The end of a request that has been forgotten is counted and changes no other.
        drop(first);
        assert_eq!(served.counts().cancelled, SEEN_MAX as u64 + 2);
        assert_eq!(served.counts().requests_pending, 0);
    }

    #[tokio::test]
    async fn large_bodies_push_out_older_requests() {
        let served = Served::new(Upstream::new("x"));
        let body = Bytes::from(vec![0; 100 << 20]);
        for number in 0..4 {
            let request = Seen {
                body: body.clone(),
                ..Seen::of(Method::PUT, format!("/{number}"))
            };
            served.begin(request).0.answered();
        }
        let seen = served.seen();
        assert_eq!(seen.iter().map(|seen| seen.path()).collect::<Vec<_>>(), ["/2", "/3"]);
        assert!(seen.iter().all(|seen| matches!(seen.ended, Ended::Answered(_))));
    }

    #[tokio::test]
    async fn another_script_starts_to_count_anew() {
        let once = || Upstream::new("x").reply(Reply::any().times(1));
        let served = Served::new(once());
        let status = || served.begin(Seen::of(Method::GET, "/")).1.status;
        assert_eq!((status(), status()), (200, 404));
        served.follow(once());
        assert_eq!((status(), status()), (200, 404));
        assert_eq!(served.counts().requests, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn until_sees_a_change_that_comes_later_and_one_that_came_before() {
        let served = Served::new(Upstream::new("x"));
        let waits = served.until(|counts| counts.requests == 1 && counts.requests_pending == 0);
        let changes = async {
            tokio::task::yield_now().await;
            served.begin(Seen::of(Method::GET, "/")).0.answered();
        };
        let (counts, ()) = tokio::join!(waits, changes);
        assert_eq!(counts.requests_pending_max, 1);
        assert_eq!(served.until(|counts| counts.requests == 1).await, counts);
    }
}
