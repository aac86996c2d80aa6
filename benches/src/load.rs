//! The load: closed loop (each connection asks again when it has its answer) or open loop (requests begin by a clock, and their
//! latency counts from when they should have begun, so that a stall is not hidden by a loop that waits for it).
//!
//! All connections are open before the first request; requests that are under way at the end are waited for and count.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::answer::Reader;
use crate::check::Checker;
use crate::job::{Job, Outcome, Pace, Template};
use crate::measure;
use crate::page::{FIRST_ID, IDS};
use crate::poll::Poll;

/// Does a job.
pub fn run(job: &Job) -> Outcome {
    let mut load = match Load::open(job) {
        Ok(load) => load,
        Err(error) => {
            return Outcome {
                broken: 1,
                first_fault: Some(format!("cannot connect: {error}")),
                ..Outcome::default()
            };
        }
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
            connections.push(Connection {
                socket,
                reader: Reader::new(),
                request: template.bytes.clone(),
                asked: None,
                times: 0,
            });
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
            Pace::Counted { spread_seconds, .. } => (
                spread_seconds * self.issued as f64 / self.job.connections as f64,
                self.job.connections as u64,
            ),
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
                self.latencies_us
                    .push(u32::try_from((now - asked.since).as_micros()).unwrap_or(u32::MAX));
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

fn connect(address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{self, Settings, Wire};
    use crate::services;

    /// One service; real sockets, since they are what is measured with.
    fn service(port: u16, delay_ms: u64, body_bytes: usize) {
        let settings = Settings {
            first_port: port,
            count: 1,
            delay_us: delay_ms * 1000,
            body_bytes,
            wire: Wire::Http1,
        };
        std::thread::spawn(move || services::serve(&settings));
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
    }

    fn job(port: u16, pace: Pace, connections: usize, body_bytes: usize) -> Job {
        Job {
            address: format!("127.0.0.1:{port}"),
            request: "GET /cart/{id} HTTP/1.1\r\nhost: service\r\n\r\n".to_owned(),
            parts: vec!["cart".to_owned()],
            body_bytes,
            inside: Some(String::new()),
            routes: 1,
            connections,
            pace,
            drain_seconds: 10.0,
        }
    }

    #[test]
    fn every_request_is_answered_and_counted_on_both_sides() {
        service(19_300, 0, 1_000);
        let before = service::counts(19_300).unwrap();
        for (pace, wanted) in [
            (Pace::Closed { seconds: 0.1 }, None),
            (
                Pace::Counted {
                    times: 3,
                    spread_seconds: 0.05,
                },
                Some(12),
            ),
            (
                Pace::Open {
                    per_second: 500.0,
                    seconds: 0.1,
                },
                Some(50),
            ),
        ] {
            let asked = service::counts(19_300).unwrap().requests;
            let outcome = run(&job(19_300, pace, 4, 1_000));
            assert_eq!(outcome.faults(), 0, "{pace:?}: {:?}", outcome.first_fault);
            assert!(
                outcome.answers > 0 && wanted.is_none_or(|wanted| outcome.answers == wanted),
                "{pace:?}: {}",
                outcome.answers
            );
            assert_eq!(service::counts(19_300).unwrap().requests - asked, outcome.answers, "{pace:?}");
        }
        let after = service::counts(19_300).unwrap();
        assert_eq!(
            (after.odd, after.connections - before.connections),
            (0, 12),
            "each connection is kept"
        );
    }

    #[test]
    fn answers_larger_than_a_socket_takes_come_whole() {
        service(19_310, 0, 5_000_000);
        let outcome = run(&job(
            19_310,
            Pace::Counted {
                times: 3,
                spread_seconds: 0.0,
            },
            2,
            5_000_000,
        ));
        assert_eq!((outcome.answers, outcome.first_fault), (6, None));
    }

    #[test]
    fn a_stall_is_not_hidden_by_the_loop_that_waits_for_it() {
        // One connection and answers of 20 ms take 50 a second; asked for 200, the last of 40 waits for all before it.
        service(19_320, 20, 1_000);
        let outcome = run(&job(
            19_320,
            Pace::Open {
                per_second: 200.0,
                seconds: 0.2,
            },
            1,
            1_000,
        ));
        assert_eq!((outcome.answers, outcome.faults()), (40, 0));
        assert!(outcome.max_ms > 550.0, "the last one waited {} ms", outcome.max_ms);
        assert!(outcome.p50_ms > 250.0, "half of them waited {} ms", outcome.p50_ms);
    }

    #[test]
    fn what_has_no_answer_at_the_end_is_said() {
        service(19_330, 60_000, 1_000);
        let outcome = run(&Job {
            drain_seconds: 0.1,
            ..job(
                19_330,
                Pace::Counted {
                    times: 1,
                    spread_seconds: 0.0,
                },
                3,
                1_000,
            )
        });
        assert_eq!((outcome.answers, outcome.unfinished, outcome.faults()), (0, 3, 3));
    }
}
