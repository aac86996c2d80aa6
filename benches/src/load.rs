//! The load: closed loop (each connection asks again when it has its answer) or open loop (requests begin by a clock, and their
//! latency counts from when they should have begun, so that a stall is not hidden by a loop that waits for it).
//!
//! All connections are open before the first request; requests that are under way at the end are waited for and count.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::answer::{Checker, Reader};
use crate::measure;
use crate::page::{FIRST_ID, IDS};
use crate::poll::Poll;

/// What to ask for, how often, and what is right.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Job {
    /// `127.0.0.1:19200`.
    pub address: String,
    /// The request, with `{id}` and `{route}` where the six digits of an id and the three of a route's number go.
    pub request: String,
    /// The names of the parts that make up a right answer.
    pub parts: Vec<String>,
    /// The size of each part.
    pub body_bytes: usize,
    /// Where the parts stand in the answer: a member's name; the top unless said; `""` when the answer is one bare part.
    pub inside: Option<String>,
    /// How many routes to go round.
    pub routes: u64,
    /// Connections to the gateway; closed loop: requests in flight.
    pub connections: usize,
    /// When requests begin.
    pub pace: Pace,
    /// The longest wait for answers that are under way after the last request began.
    pub drain_seconds: f64,
}

/// When requests begin.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub enum Pace {
    /// When the connection's last answer has come, for so long.
    Closed { seconds: f64 },
    /// When the connection's last answer has come, so many times; the first ones spread over a time, so that the connections behind
    /// the gateway are not all opened in one moment.
    Counted { times: u64, spread_seconds: f64 },
    /// At equal distances, whatever the answers do.
    Open { per_second: f64, seconds: f64 },
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Outcome {
    /// Right answers.
    pub answers: u64,
    /// Whole answers that were not the right ones.
    pub wrong: u64,
    /// Requests whose connection broke.
    pub broken: u64,
    /// Requests that began, or should have begun, and had no answer at the end of the wait.
    pub unfinished: u64,
    /// Connections opened again because the server closed one.
    pub reconnects: u64,
    /// The first thing that was wrong.
    pub first_fault: Option<String>,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// What the load itself cost.
    pub load_cpu_us: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Outcome {
    /// Requests without a right answer.
    pub fn faults(&self) -> u64 {
        self.wrong + self.broken + self.unfinished
    }
}

/// Does a job.
pub fn run(job: &Job) -> Outcome {
    let mut load = match Load::open(job) {
        Ok(load) => load,
        Err(error) => return Outcome { broken: 1, first_fault: Some(format!("cannot connect: {error}")), ..Outcome::default() },
    };
    load.run();
    load.outcome()
}

struct Load<'job> {
    job: &'job Job,
    template: Template,
    checker: Checker,
    poll: Poll,
    connections: Vec<Connection>,
    /// Connections without a request, the one that rested longest first.
    idle: VecDeque<usize>,
    /// Requests that are due and have no connection yet, by when they should have begun.
    waiting: VecDeque<Instant>,
    under_way: usize,
    started: Instant,
    /// How many requests were made due so far.
    issued: u64,
    next_id: u64,
    last_answer: Instant,
    latencies_us: Vec<u32>,
    outcome: Outcome,
}

struct Connection {
    socket: TcpStream,
    reader: Reader,
    request: Vec<u8>,
    asked: Option<Asked>,
    times: u64,
}

#[derive(Clone, Copy)]
struct Asked {
    id: u64,
    since: Instant,
}

impl<'job> Load<'job> {
    fn open(job: &'job Job) -> std::io::Result<Load<'job>> {
        let template = Template::new(&job.request);
        let poll = Poll::new();
        let mut connections = Vec::with_capacity(job.connections);
        for place in 0..job.connections {
            let socket = connect(&job.address)?;
            poll.watch(&socket, place as u64);
            connections.push(Connection { socket, reader: Reader::new(), request: template.bytes.clone(), asked: None, times: 0 });
        }
        let now = Instant::now();
        Ok(Load {
            job,
            template,
            checker: Checker::new(&job.parts, job.body_bytes, job.inside.as_deref()),
            poll,
            idle: (0..connections.len()).collect(),
            connections,
            waiting: VecDeque::new(),
            under_way: 0,
            started: now,
            issued: 0,
            next_id: 0,
            last_answer: now,
            latencies_us: Vec::new(),
            outcome: Outcome::default(),
        })
    }

    fn run(&mut self) {
        let mut ready = Vec::new();
        self.started = Instant::now();
        let latest = self.started + Duration::from_secs_f64(self.job.pace.seconds() + self.job.drain_seconds);
        loop {
            self.make_due();
            while let Some(since) = self.waiting.front().copied() {
                let Some(place) = self.idle.pop_front() else { break };
                self.waiting.pop_front();
                self.ask(place, since);
            }
            let now = Instant::now();
            let next = self.next_due();
            let finished = next.is_none() && self.waiting.is_empty() && self.under_way == 0;
            if finished || now >= latest {
                return;
            }
            self.poll.wait(Some(next.unwrap_or(latest).min(latest)), &mut ready);
            for token in &ready {
                self.on_ready(usize::try_from(*token).unwrap_or(0));
            }
        }
    }

    /// When the next request is due that no answer triggers.
    fn next_due(&self) -> Option<Instant> {
        let (at, until) = match self.job.pace {
            Pace::Closed { .. } => (0.0, self.job.connections as u64),
            Pace::Counted { spread_seconds, .. } => {
                (spread_seconds * self.issued as f64 / self.job.connections as f64, self.job.connections as u64)
            }
            Pace::Open { per_second, seconds } => (self.issued as f64 / per_second, (per_second * seconds) as u64),
        };
        (self.issued < until).then(|| self.started + Duration::from_secs_f64(at))
    }

    fn make_due(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            self.issued += 1;
            self.waiting.push_back(due);
        }
    }

    fn ask(&mut self, place: usize, since: Instant) {
        let id = FIRST_ID + self.next_id % IDS;
        let connection = &mut self.connections[place];
        self.template.fill(&mut connection.request, id, self.next_id % self.job.routes);
        self.next_id += 1;
        connection.reader.reset();
        connection.times += 1;
        connection.asked = Some(Asked { id, since });
        self.under_way += 1;
        // A request is far smaller than an empty socket's buffer.
        if let Err(error) = connection.socket.write_all(&connection.request) {
            self.broke(place, &format!("cannot send: {error}"));
        }
    }

    fn on_ready(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        match connection.reader.read(&mut connection.socket) {
            Ok(false) => {}
            Ok(true) => self.answered(place),
            Err(error) => self.broke(place, &format!("the connection ended: {error}")),
        }
    }

    fn answered(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        let Some(asked) = connection.asked.take() else {
            return self.broke(place, "an answer without a request");
        };
        let now = Instant::now();
        self.under_way -= 1;
        self.last_answer = now;
        match self.checker.check(&connection.reader, asked.id) {
            Ok(()) => {
                self.outcome.answers += 1;
                self.latencies_us.push(u32::try_from((now - asked.since).as_micros()).unwrap_or(u32::MAX));
            }
            Err(fault) => {
                self.outcome.wrong += 1;
                self.outcome.first_fault.get_or_insert(fault);
            }
        }
        if connection.reader.closes() {
            self.outcome.reconnects += 1;
            self.reconnect(place);
        }
        self.go_on(place, now);
    }

    /// Asks again on this connection, or lets it rest.
    fn go_on(&mut self, place: usize, now: Instant) {
        let again = match self.job.pace {
            Pace::Closed { seconds } => now < self.started + Duration::from_secs_f64(seconds),
            Pace::Counted { times, .. } => self.connections[place].times < times,
            Pace::Open { .. } => false,
        };
        match again {
            true => self.ask(place, now),
            false => self.idle.push_back(place),
        }
    }

    /// A connection ended; with a request under way that is a fault, without one a server that closes what rests.
    fn broke(&mut self, place: usize, fault: &str) {
        let asked = self.connections[place].asked.take();
        self.reconnect(place);
        if asked.is_none() {
            self.outcome.reconnects += 1;
            return;
        }
        self.under_way -= 1;
        self.outcome.broken += 1;
        self.outcome.first_fault.get_or_insert_with(|| fault.to_owned());
        self.idle.push_back(place);
        let is_over = matches!(self.job.pace, Pace::Closed { seconds } if self.started.elapsed().as_secs_f64() > seconds);
        let is_enough = self.outcome.broken > 10_000;
        if !is_over && !is_enough && !matches!(self.job.pace, Pace::Open { .. }) {
            self.waiting.push_back(Instant::now());
        }
    }

    fn reconnect(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        connection.reader.reset();
        if let Ok(socket) = connect(&self.job.address) {
            connection.socket = socket;
            self.poll.watch(&connection.socket, place as u64);
        }
    }

    fn outcome(mut self) -> Outcome {
        self.latencies_us.sort_unstable();
        let at = |share: f64| {
            let last = self.latencies_us.len().checked_sub(1)?;
            Some(f64::from(self.latencies_us[(last as f64 * share).round() as usize]) / 1000.0)
        };
        let ms = |share| at(share).unwrap_or(0.0);
        (self.outcome.p50_ms, self.outcome.p99_ms) = (ms(0.5), ms(0.99));
        (self.outcome.p999_ms, self.outcome.max_ms) = (ms(0.999), ms(1.0));
        self.outcome.unfinished = (self.under_way + self.waiting.len()) as u64;
        self.outcome.seconds = (self.last_answer - self.started).as_secs_f64();
        self.outcome.load_cpu_us = measure::cpu_ns(&[std::process::id()]) / 1000;
        self.outcome
    }
}

impl Pace {
    /// How long requests begin, as far as that is known beforehand.
    pub fn seconds(&self) -> f64 {
        match self {
            Pace::Closed { seconds } | Pace::Open { seconds, .. } => *seconds,
            Pace::Counted { spread_seconds, .. } => *spread_seconds,
        }
    }
}

/// A request with places for digits.
struct Template {
    bytes: Vec<u8>,
    ids: Vec<usize>,
    routes: Vec<usize>,
}

impl Template {
    fn new(text: &str) -> Template {
        let bytes = text.replace("{id}", "IIIIII").replace("{route}", "RRR").into_bytes();
        let places = |mark: &[u8]| memchr::memmem::find_iter(&bytes, mark).collect();
        Template { ids: places(b"IIIIII"), routes: places(b"RRR"), bytes }
    }

    fn fill(&self, request: &mut [u8], id: u64, route: u64) {
        for at in &self.ids {
            write_digits(&mut request[*at..at + 6], id);
        }
        for at in &self.routes {
            write_digits(&mut request[*at..at + 3], route);
        }
    }
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn connect(address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
