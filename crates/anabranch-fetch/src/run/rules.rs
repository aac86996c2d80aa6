//! robots.txt in the run: who wants to go to a host that is not known yet waits aside until its file was read, once for all of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anabranch::Deadline;
use http::Method;
use tokio::time::Instant;
use url::Url;

use super::attempt::{Answer, Attempt, Attempted, Body};
use super::drive::{Drive, Key, Output, Work};
use super::plan::Plan;
use super::sitemaps;
use super::task::Task;
use crate::crawl::robots::{self, Known, REDIRECTS_MAX, Robots, RobotsCache};
use crate::http::failure::Failed;
use crate::http::headers::Parts;
use crate::http::{origin, redirect};
use crate::schedule::{Place, Verdict};
use crate::{Job, Outcome};

/// How often a file is asked for whose host gives no answer, or one that it is broken.
const ATTEMPTS: u32 = 3;
/// Between two of these.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The whole of one request for it.
const WITHIN: Duration = Duration::from_secs(30);
/// Hosts whose failure is remembered, so that later jobs end with it and not as if they had been forbidden.
const FAILURES: usize = 10_000;

/// Origins whose sitemaps are read; those of further ones are left out.
const ANNOUNCED: usize = 100_000;

/// What is known of the rules of hosts.
pub(super) struct Rules {
    obeys: bool,
    /// Whether files are read at all: for their rules, or for the sitemaps that they name.
    reads: bool,
    agent: String,
    cache: RobotsCache,
    parked: HashMap<Url, Vec<Parked>>,
    parked_count: usize,
    failures: HashMap<Url, Failed>,
    /// Origins whose sitemaps have become jobs.
    announced: HashSet<Box<str>>,
}

struct Parked {
    task: Box<Task>,
    goes_first: bool,
}

/// A file that is being asked for.
pub(super) struct Asking {
    /// Where it belongs.
    location: Url,
    /// Where redirects have led.
    at: Url,
    redirects: u32,
    attempts: u32,
}

impl Rules {
    pub(super) fn new(plan: &Plan) -> Self {
        let obeys = plan.obeys_robots();
        Rules {
            obeys,
            reads: obeys || plan.options.crawl.sitemap,
            agent: robots::product(&plan.options.http.user_agent).to_string(),
            cache: RobotsCache::default(),
            parked: HashMap::new(),
            parked_count: 0,
            failures: HashMap::new(),
            announced: HashSet::new(),
        }
    }

    /// Jobs that wait for a file.
    pub(super) fn parked(&self) -> usize {
        self.parked_count
    }
}

impl Drive {
    /// Gives a task to the schedule if the rules of the run and of its host let it.
    pub(super) fn admit(&mut self, task: Box<Task>, now: Instant) {
        if task.job.parent.is_none()
            && let Err(refused) = self.plan.filter.admit_text(&task.job.url)
        {
            let failed = Failed::ours(
                Outcome::Filtered,
                "filtered",
                format!("the rules of the crawl leave it out: {refused}"),
            );
            return self.end_without_answer(task, failed);
        }
        self.admit_at(Parked { task, goes_first: false }, now);
    }

    /// The same for a task that goes on by a redirect.
    pub(super) fn admit_first(&mut self, task: Box<Task>, now: Instant) {
        self.admit_at(Parked { task, goes_first: true }, now);
    }

    fn admit_at(&mut self, parked: Parked, now: Instant) {
        if !self.rules.reads {
            return self.enter(parked, now);
        }
        match self.rules.cache.ask(parked.task.url(), now) {
            Known::Rules(rules) => self.admit_by(parked, &rules, now),
            Known::Wait => self.park(parked),
            Known::Fetch(location) => {
                self.park(parked);
                let asking = Box::new(Asking {
                    at: location.clone(),
                    location,
                    redirects: 0,
                    attempts: 0,
                });
                self.queue_asking(asking, now);
            }
        }
    }

    fn park(&mut self, parked: Parked) {
        let Some(location) = robots::location(parked.task.url()) else {
            return self.enter(parked, Instant::now());
        };
        self.rules.parked.entry(location).or_default().push(parked);
        self.rules.parked_count += 1;
    }

    fn admit_by(&mut self, parked: Parked, rules: &Robots, now: Instant) {
        if self.rules.obeys && !rules.admits(parked.task.url()) {
            let known = robots::location(parked.task.url()).and_then(|location| self.rules.failures.get(&location));
            let forbidden = || Failed::ours(Outcome::Robots, "robots", "robots.txt does not allow it");
            let failed = known.cloned().unwrap_or_else(forbidden);
            return self.end_without_answer(parked.task, failed);
        }
        if let Some(delay) = rules.delay().filter(|_| self.rules.obeys) {
            let host = parked.task.host().to_string();
            self.schedule.crawl_delay(&host, delay, now);
        }
        self.enter(parked, now);
    }

    fn enter(&mut self, parked: Parked, now: Instant) {
        if !parked.goes_first {
            return self.push(parked.task, now);
        }
        let host = parked.task.host().to_string();
        if let Err(refused) = self.schedule.push_first(&host, Work::Job(parked.task), now) {
            self.give_up(vec![refused]);
        }
    }

    fn queue_asking(&mut self, asking: Box<Asking>, now: Instant) {
        let host = origin::host(&asking.at).to_string();
        if let Err(refused) = self.schedule.push_first(&host, Work::Rules(asking), now) {
            self.give_up(vec![refused]);
        }
    }

    /// Asks for a file.
    pub(super) fn start_asking(&mut self, mut asking: Box<Asking>, place: Place, now: Instant) {
        asking.attempts += 1;
        let endpoint = self.origins.endpoint(origin::origin(&asking.at));
        let request = self.headers.request(Parts {
            method: &Method::GET,
            path: origin::path_and_query(&asking.at),
            is_trusted: false,
            headers: &[],
            added: Vec::new(),
            body: None,
        });
        let (endpoint, request) = match (endpoint, request) {
            (Ok(endpoint), Ok(request)) => (endpoint, request),
            (Err(why), _) | (_, Err(why)) => {
                self.give_back(place, Verdict::Unknown);
                return self.know(
                    &asking.location,
                    Robots::unreachable(),
                    Some(Failed::ours(Outcome::Invalid, "invalid", why)),
                );
            }
        };
        let attempt = Attempt {
            plan: self.plan.clone(),
            endpoint,
            request,
            deadline: Deadline::at(now + WITHIN),
            whose: "timeout",
            part: None,
            keeps_all: true,
        };
        let run = async move { Output::Attempt(Box::new(attempt.run().await)) };
        self.children.start(Key::Attempt(Work::Rules(asking), place), run);
    }

    /// A request for a file has ended.
    pub(super) fn asked(&mut self, mut asking: Box<Asking>, place: Place, attempted: Attempted) {
        let now = Instant::now();
        let is_last = asking.attempts >= ATTEMPTS;
        let answer = match attempted.result {
            Ok(answer) => answer,
            Err(failed) => {
                self.give_back(place, if failed.blames_host { Verdict::Failed } else { Verdict::Unknown });
                return if failed.failure.retryable && !is_last {
                    self.ask_again(asking, now);
                } else {
                    self.know(&asking.location, Robots::unreachable(), Some(of_robots(failed)));
                };
            }
        };
        let status = answer.head.status();
        let is_broken = status == 429 || status >= 500;
        self.give_back(place, if is_broken { Verdict::Failed } else { Verdict::Answered });
        if is_broken && !is_last {
            return self.ask_again(asking, now);
        }
        if redirect::is_redirect(status) && asking.redirects < REDIRECTS_MAX {
            let from = redirect::From {
                url: &asking.at,
                method: &Method::GET,
                has_body: false,
                before: &[],
                max: REDIRECTS_MAX,
            };
            if let Ok(followed) = redirect::follow(&from, status, answer.head.header_bytes("location")) {
                asking.at = followed.url;
                asking.redirects += 1;
                asking.attempts = 0;
                return self.queue_asking(asking, now);
            }
        }
        let failed = is_broken.then(|| {
            let why = format!("robots.txt was answered with status {status}, so the host may not be asked for anything else");
            Failed::ours(Outcome::HttpError, "robots_unreachable", why)
        });
        let rules = Robots::of_answer(status, body_of(&answer), &self.rules.agent);
        self.know(&asking.location, rules, failed);
    }

    fn ask_again(&mut self, asking: Box<Asking>, now: Instant) {
        let host = origin::host(&asking.at).to_string();
        if let Err(refused) = self.schedule.push_again(&host, Work::Rules(asking), now + ASK_AGAIN, now) {
            self.give_up(vec![refused]);
        }
    }

    /// A file cannot be had, for its host was given up.
    pub(super) fn rules_failed(&mut self, asking: Asking) {
        let failed = Failed::ours(
            Outcome::HostGaveUp,
            "host_gave_up",
            "the host has not answered one request for too long",
        );
        self.know(&asking.location, Robots::unreachable(), Some(failed));
    }

    /// A file was read, or cannot be: who waited for it goes on.
    fn know(&mut self, location: &Url, rules: Robots, failed: Option<Failed>) {
        let now = Instant::now();
        match failed {
            Some(failed) if self.rules.failures.len() < FAILURES => {
                self.rules.failures.insert(location.clone(), failed);
            }
            _ => {
                self.rules.failures.remove(location);
            }
        }
        let rules = self.rules.cache.put(location, rules, now);
        let parked = self.rules.parked.remove(location).unwrap_or_default();
        self.rules.parked_count -= parked.len();
        for parked in parked {
            self.admit_by(parked, &rules, now);
        }
    }

    /// Jobs for the sitemaps of an origin that the input names, once: those that its robots.txt names, else the place where most are.
    pub(super) fn sitemaps_of(&mut self, job: &Job) -> Vec<Job> {
        let is_wanted = self.plan.options.crawl.sitemap && job.parent.is_none();
        if !is_wanted || self.rules.announced.len() >= ANNOUNCED || !self.rules.announced.insert(origin::origin(&job.url).into()) {
            return Vec::new();
        }
        let Known::Rules(rules) = self.rules.cache.ask(&job.url, Instant::now()) else {
            return Vec::new();
        };
        sitemaps::of_origin(job, rules.sitemaps())
    }
}

fn body_of(answer: &Answer) -> &[u8] {
    match &answer.body {
        Body::Memory(body) => &body[..body.len().min(robots::BYTES_MAX)],
        Body::Counted | Body::File(_) => &[],
    }
}

/// The same failure, said of the file that it was met at.
fn of_robots(mut failed: Failed) -> Failed {
    failed.failure.message = format!("robots.txt could not be read: {}", failed.failure.message);
    failed
}
