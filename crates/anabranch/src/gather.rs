//! Many calls at once with a rule for when it is enough: the friendly face of [`Gathering`].

use std::mem;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::{Deadline, Finished, Gathering, Settled, Why};

/// Gathers named calls that run at the same time inside the current task, until the deadline.
///
/// Nothing runs before [`Gather::run`]; when that returns, or is dropped, no future of it is alive.
pub fn gather<'a, T, E>(deadline: Deadline) -> Gather<'a, T, E> {
    Gather {
        deadline,
        limit: usize::MAX,
        join: Join::All,
        children: Vec::new(),
        on_each: None,
    }
}

/// Names a future for a [`Gather`]. It is required and has no limit of its own unless said otherwise.
pub fn call<'a, T, E>(name: impl Into<String>, future: impl Future<Output = Result<T, E>> + Send + 'a) -> Child<'a, T, E> {
    Child {
        name: name.into(),
        future: Box::pin(future),
        timeout: None,
        optional: false,
    }
}

/// When it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// All have ended, or the deadline has passed.
    All,
    /// As [`All`](Join::All), or a required one has failed: the others are stopped at once.
    FailFast,
    /// This many have succeeded (0 counts as 1): the others are stopped at once.
    First(usize),
    /// The required ones have ended, well or badly, and after that this time is over. With no required ones, as
    /// [`All`](Join::All).
    Required {
        /// How long the optional ones may take after the last required one.
        grace: Duration,
    },
}

/// Calls to be made at once, and the rule by which to stop.
#[must_use = "nothing runs before `run`"]
pub struct Gather<'a, T, E> {
    deadline: Deadline,
    limit: usize,
    join: Join,
    children: Vec<Child<'a, T, E>>,
    on_each: Option<OnEach<'a, T, E>>,
}

type OnEach<'a, T, E> = Box<dyn FnMut(&str, &Settled<Result<T, E>>) + Send + 'a>;

/// A named future, before it runs.
#[must_use = "it runs only once it is added to a `Gather`"]
pub struct Child<'a, T, E> {
    name: String,
    future: BoxFuture<'a, Result<T, E>>,
    timeout: Option<Duration>,
    optional: bool,
}

impl<T, E> Child<'_, T, E> {
    /// Stops it this long after its start.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Marks it as one that can be missing: it does not fail the others under [`Join::FailFast`], and is waited for no longer
    /// than the grace under [`Join::Required`].
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

impl<'a, T: 'a, E: 'a> Gather<'a, T, E> {
    /// Runs at most this many at the same time (0 counts as 1); the others start, in order, as those before them end. A
    /// child's own timeout counts from its start.
    pub fn limit(mut self, at_once: usize) -> Self {
        self.limit = at_once.max(1);
        self
    }

    /// Sets when it is enough; [`Join::All`] unless said otherwise.
    pub fn join(mut self, join: Join) -> Self {
        self.join = join;
        self
    }

    /// Adds a call. The report keeps this order.
    #[expect(
        clippy::should_implement_trait,
        reason = "adding a call to a gather reads as what it is; nobody writes `+` here"
    )]
    pub fn add(mut self, child: Child<'a, T, E>) -> Self {
        self.children.push(child);
        self
    }

    /// Calls this once for each child as it ends, those that were stopped or never started included. It is not async, so that
    /// it cannot starve the others.
    pub fn on_each(mut self, callback: impl FnMut(&str, &Settled<Result<T, E>>) + Send + 'a) -> Self {
        self.on_each = Some(Box::new(callback));
        self
    }

    /// Runs them until it is enough or the deadline has passed; then whatever still runs is dropped, before this returns.
    pub async fn run(mut self) -> Report<T, E> {
        let mut tally = Tally::new(self.join, &self.children);
        let mut ledger = Ledger::new(&mut self.children, self.on_each);
        let mut waiting = self.children.into_iter().enumerate();
        let mut gathering = Gathering::new(self.deadline);
        loop {
            while gathering.len() < self.limit && !gathering.end().has_passed() {
                let Some((index, child)) = waiting.next() else { break };
                start(&mut gathering, (index, child.optional), child);
            }
            let Some(finished) = gathering.next().await else { break };
            let verdict = tally.record(finished.key.1, finished.settled.is_ok());
            ledger.enter(finished);
            match verdict {
                Verdict::GoOn => {}
                Verdict::Cut(grace) => gathering.cut(Deadline::after(grace)),
                Verdict::Stop(why) => {
                    gathering.cancel(why).into_iter().for_each(|stopped| ledger.enter(stopped));
                    break;
                }
            }
        }
        for (index, child) in waiting {
            let key = (index, child.optional);
            drop(child);
            ledger.enter(Finished {
                key,
                settled: Settled::Cancelled(Why::NotStarted),
                took: Duration::ZERO,
            });
        }
        ledger.close(&tally)
    }
}

/// The place of a child in the order of `add`, and whether it is optional.
type Key = (usize, bool);

fn start<'a, T: 'a, E: 'a>(gathering: &mut Gathering<'a, Key, Result<T, E>>, key: Key, child: Child<'a, T, E>) {
    // A timeout beyond the end can never ring; without it the child needs no timer of its own.
    let limit = child.timeout.map(Deadline::after).filter(|limit| *limit < gathering.end());
    match limit {
        None => gathering.start_boxed(key, child.future),
        Some(limit) => gathering.start_within(key, limit, child.future),
    }
}

/// The rule of a [`Join`] as a count: what each end of a child means for the others.
struct Tally {
    join: Join,
    required_left: usize,
    succeeded: usize,
    children: usize,
}

enum Verdict {
    GoOn,
    Cut(Duration),
    Stop(Why),
}

impl Tally {
    fn new<T, E>(join: Join, children: &[Child<'_, T, E>]) -> Self {
        let required_left = children.iter().filter(|child| !child.optional).count();
        Tally {
            join,
            required_left,
            succeeded: 0,
            children: children.len(),
        }
    }

    fn record(&mut self, optional: bool, ok: bool) -> Verdict {
        self.succeeded += usize::from(ok);
        self.required_left -= usize::from(!optional);
        match self.join {
            Join::FailFast if !ok && !optional => Verdict::Stop(Why::FailFast),
            Join::First(wanted) if ok && self.succeeded >= wanted.max(1) => Verdict::Stop(Why::Enough),
            Join::Required { grace } if !optional && self.required_left == 0 => Verdict::Cut(grace),
            Join::All | Join::FailFast | Join::First(_) | Join::Required { .. } => Verdict::GoOn,
        }
    }

    fn is_complete(&self) -> bool {
        match self.join {
            Join::First(wanted) => self.succeeded >= wanted.max(1),
            Join::All | Join::FailFast | Join::Required { .. } => self.succeeded == self.children,
        }
    }
}

/// The report while it is being filled. Each line says "not started" until its child has ended.
struct Ledger<'a, T, E> {
    lines: Vec<Line<T, E>>,
    on_each: Option<OnEach<'a, T, E>>,
}

impl<'a, T, E> Ledger<'a, T, E> {
    /// Takes the names of the children: they are of no more use there.
    fn new(children: &mut [Child<'_, T, E>], on_each: Option<OnEach<'a, T, E>>) -> Self {
        let not_started = |child: &mut Child<'_, T, E>| (mem::take(&mut child.name), Settled::Cancelled(Why::NotStarted), Duration::ZERO);
        Ledger {
            lines: children.iter_mut().map(not_started).collect(),
            on_each,
        }
    }

    fn enter(&mut self, finished: Finished<Key, Result<T, E>>) {
        let line = &mut self.lines[finished.key.0];
        (line.1, line.2) = (finished.settled, finished.took);
        if let Some(on_each) = &mut self.on_each {
            on_each(&line.0, &line.1);
        }
    }

    fn close(self, tally: &Tally) -> Report<T, E> {
        Report {
            outcomes: self.lines,
            complete: tally.is_complete(),
        }
    }
}

/// How each call of a [`Gather`] ended.
#[derive(Clone, Debug)]
pub struct Report<T, E> {
    /// Name, end, and time from start to end (zero if never started) of each, in the order in which they were added.
    pub outcomes: Vec<Line<T, E>>,
    /// Whether nothing is missing: all have succeeded, optional ones too, or as many as [`Join::First`] asked for.
    pub complete: bool,
}

type Line<T, E> = (String, Settled<Result<T, E>>, Duration);

impl<T, E> Report<T, E> {
    /// How the call of this name ended; the first of that name.
    pub fn get(&self, name: &str) -> Option<&Settled<Result<T, E>>> {
        self.outcomes
            .iter()
            .find(|(known, ..)| known == name)
            .map(|(_, settled, _)| settled)
    }

    /// Takes the call of this name out of the report; the first of that name.
    pub fn take(&mut self, name: &str) -> Option<Settled<Result<T, E>>> {
        let index = self.outcomes.iter().position(|(known, ..)| known == name)?;
        Some(self.outcomes.remove(index).1)
    }

    /// The value of the call of this name, if it succeeded.
    pub fn value(&self, name: &str) -> Option<&T> {
        match self.get(name)? {
            Settled::Done(result) => result.as_ref().ok(),
            Settled::TimedOut | Settled::Cancelled(_) | Settled::Panicked(_) => None,
        }
    }
}
