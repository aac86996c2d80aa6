//! A job for the load, what came of it, and the request it sends.

use serde::{Deserialize, Serialize};

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
pub struct Template {
    /// The request with marks in those places.
    pub bytes: Vec<u8>,
    ids: Vec<usize>,
    routes: Vec<usize>,
}

impl Template {
    /// With `{id}` and `{route}` where they go.
    pub fn new(text: &str) -> Template {
        let bytes = text.replace("{id}", "IIIIII").replace("{route}", "RRR").into_bytes();
        let places = |mark: &[u8]| memchr::memmem::find_iter(&bytes, mark).collect();
        Template {
            ids: places(b"IIIIII"),
            routes: places(b"RRR"),
            bytes,
        }
    }

    /// Writes digits into a copy of it.
    pub fn fill(&self, request: &mut [u8], id: u64, route: u64) {
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
