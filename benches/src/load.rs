//! The load: closed loop (each connection asks again when it has its answer) or open loop (requests start by a clock, and their
//! latency counts from when they should have started, so that a stall is not hidden by the loop that waits for it).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How to load.
pub struct Settings {
    pub connections: usize,
    pub seconds: f64,
    pub rate: Option<f64>,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    pub answers: u64,
    pub wrong: u64,
    latencies_us: Vec<u32>,
    pub seconds: f64,
}

impl Outcome {
    pub fn percentile_ms(&self, share: f64) -> f64 {
        if self.latencies_us.is_empty() {
            return f64::NAN;
        }
        let at = ((self.latencies_us.len() - 1) as f64 * share).round() as usize;
        f64::from(self.latencies_us[at]) / 1000.0
    }

    pub fn to_json(&self) -> Value {
        json!({
            "answers": self.answers, "wrong": self.wrong, "seconds": self.seconds,
            "p50_ms": self.percentile_ms(0.5), "p99_ms": self.percentile_ms(0.99), "p999_ms": self.percentile_ms(0.999),
        })
    }
}

/// Loads one URL, `http://127.0.0.1:PORT/path`.
pub fn run(url: &str, settings: &Settings) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let rest = url.strip_prefix("http://").expect("http://");
    let (host, path) = rest.split_once('/').expect("a path");
    let request: Arc<[u8]> = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes().into();
    let total = Arc::new(Mutex::new(Outcome::default()));
    let started = Instant::now();
    runtime.block_on(async {
        let end = started + Duration::from_secs_f64(settings.seconds);
        let mut tasks = Vec::new();
        for number in 0..settings.connections {
            let pace = settings.rate.map(|rate| {
                let every = Duration::from_secs_f64(settings.connections as f64 / rate);
                (started + every.mul_f64(number as f64 / settings.connections as f64), every)
            });
            tasks.push(tokio::spawn(connection(host.to_string(), request.clone(), end, pace, total.clone())));
        }
        for task in tasks {
            let _ = task.await;
        }
    });
    let mut outcome = std::mem::take(&mut *total.lock().expect("no panic"));
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome.latencies_us.sort_unstable();
    outcome
}

async fn connection(host: String, request: Arc<[u8]>, end: Instant, pace: Option<(Instant, Duration)>, total: Arc<Mutex<Outcome>>) {
    let mut mine = Outcome::default();
    let mut socket = None;
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut due = pace.map_or_else(Instant::now, |(first, _)| first);
    while Instant::now() < end && due < end {
        if let Some((_, every)) = pace {
            tokio::time::sleep_until(due.into()).await;
            due += every;
        }
        let began = pace.map_or_else(Instant::now, |(_, every)| due - every);
        if socket.is_none() {
            socket = TcpStream::connect(&host).await.ok();
            if let Some(socket) = &socket {
                let _ = socket.set_nodelay(true);
            }
        }
        let Some(stream) = socket.as_mut() else {
            mine.wrong += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        match ask(stream, &request, &mut buffer).await {
            Some(true) => {
                mine.answers += 1;
                mine.latencies_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Some(false) => mine.wrong += 1,
            None => {
                mine.wrong += 1;
                socket = None;
            }
        }
    }
    let mut total = total.lock().expect("no panic");
    total.answers += mine.answers;
    total.wrong += mine.wrong;
    total.latencies_us.extend(mine.latencies_us);
}

/// One exchange: whether the answer was a whole page. None when the connection broke.
async fn ask(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> Option<bool> {
    stream.write_all(request).await.ok()?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        if let Some(whole) = answer(buffer) {
            return Some(whole);
        }
    }
}

/// Whether a complete answer is a 200 with a page of twelve parts; None while it is not complete.
fn answer(bytes: &[u8]) -> Option<bool> {
    let head_end = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_end]).unwrap_or("").to_ascii_lowercase();
    let body = &bytes[head_end..];
    let complete = match head.split("content-length: ").nth(1) {
        Some(rest) => body.len() >= rest.split("\r\n").next()?.trim().parse::<usize>().ok()?,
        None => body.ends_with(b"0\r\n\r\n"),
    };
    let is_page = || {
        head.starts_with("http/1.1 200") && !head.contains("anabranch-parts") && body.len() > 11_000 && crate::upstream::PARTS.iter().all(|part| contains(body, part))
    };
    complete.then(is_page)
}

fn contains(body: &[u8], part: &str) -> bool {
    let needle = format!("\"part\":\"{part}\"");
    body.windows(needle.len()).any(|window| window == needle.as_bytes())
}
