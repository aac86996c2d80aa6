//! The work as it grows: the gateway alone, one axis at a time, everything else held. What a call costs should stay flat.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::job::{Job, Pace};
use crate::machine::Cores;
use crate::page::{BODY_BYTES, FIRST_SERVICE, GATEWAY};
use crate::peers::Places;
use crate::service::{Settings, Wire};
use crate::table::{self, Column};
use crate::trial::{self, Gateway, Trial};

/// The services; calls go round them.
const SERVICES: u16 = 12;
const CLOSED: Pace = Pace::Closed { seconds: 1.5 };
/// Requests a second on the axes where the rate must be the same at every point.
const RATE: f64 = 1_000.0;

/// One axis.
struct Axis {
    id: &'static str,
    title: &'static str,
    /// The point that the others are compared with.
    base: usize,
    points: Vec<Point>,
}

/// One point on it.
#[derive(Clone)]
struct Point {
    label: String,
    calls: u16,
    body_bytes: usize,
    wire: Wire,
    routes: u64,
    connections: usize,
    pace: Pace,
    warm_up: Pace,
    delay_us: u64,
    cores: u8,
}

/// The page of twelve parts, 32 connections that ask again at once, services of 0 ms, one core.
fn usual(label: &str) -> Point {
    Point {
        label: label.to_owned(),
        calls: 12,
        body_bytes: BODY_BYTES,
        wire: Wire::Http1,
        routes: 1,
        connections: 32,
        pace: CLOSED,
        warm_up: Pace::Closed { seconds: 0.4 },
        delay_us: 0,
        cores: 1,
    }
}

fn all() -> Vec<Axis> {
    let fan_out = [1, 3, 12, 50, 200].map(|calls| Point {
        calls,
        ..usual(&format!("{calls} calls"))
    });
    let bodies = [
        (200, "200 B", 32),
        (BODY_BYTES, "1 KB", 32),
        (100_000, "100 KB", 32),
        (5_000_000, "5 MB", 2),
    ]
    .map(|(body_bytes, label, connections)| Point {
        body_bytes,
        connections,
        ..usual(label)
    });
    let in_flight = [10, 100, 1_000, 1_500].map(at_one_rate);
    let by_the_clock = |cores, label: &str| {
        let pace = |seconds| Pace::Open { per_second: RATE, seconds };
        Point {
            cores,
            connections: 64,
            pace: pace(1.5),
            warm_up: pace(0.4),
            ..usual(label)
        }
    };
    let wires = [
        (Wire::Http1, "HTTP/1.1"),
        (Wire::Http2, "HTTP/2"),
        (Wire::Http1Tls, "HTTP/1.1 over TLS"),
        (Wire::Http2Tls, "HTTP/2 over TLS"),
    ];
    let wires = wires.map(|(wire, label)| Point { wire, ..usual(label) });
    let routes = [1, 1_000].map(|routes| Point {
        routes,
        ..usual(&format!("{routes} routes"))
    });
    vec![
        Axis {
            id: "fan-out",
            title: "Calls a request",
            base: 2,
            points: fan_out.to_vec(),
        },
        Axis {
            id: "bodies",
            title: "Size of each body",
            base: 1,
            points: bodies.to_vec(),
        },
        Axis {
            id: "in-flight",
            title: "Requests in flight, always 1,000 a second",
            base: 0,
            points: in_flight.to_vec(),
        },
        Axis {
            id: "cores",
            title: "Cores, 1,000 requests a second by the clock",
            base: 0,
            points: vec![by_the_clock(1, "1 core"), by_the_clock(2, "2 cores")],
        },
        Axis {
            id: "wire",
            title: "What the services speak",
            base: 0,
            points: wires.to_vec(),
        },
        Axis {
            id: "routes",
            title: "Routes in the config, asked in turn",
            base: 0,
            points: routes.to_vec(),
        },
    ]
}

/// So many requests in flight at a rate that is the same for any number of them: the services take longer.
fn at_one_rate(connections: usize) -> Point {
    let delay_seconds = connections as f64 / RATE;
    let counted = |seconds: f64| Pace::Counted {
        times: (seconds / delay_seconds).ceil() as u64,
        spread_seconds: delay_seconds,
    };
    Point {
        connections,
        delay_us: (delay_seconds * 1e6) as u64,
        pace: counted(3.0),
        warm_up: counted(0.5),
        ..usual(&format!("{connections} in flight"))
    }
}

/// Runs the axes, prints their tables, and gives the raw figures.
pub fn run(rounds: usize, only: &[String], places: &Places, cores: &Cores) -> Value {
    let axes = all();
    let named = axes.iter().any(|axis| only.iter().any(|only| only == axis.id));
    let chosen = axes.iter().filter(|axis| !named || only.iter().any(|only| only == axis.id));
    let results = chosen.map(|axis| json!({ "id": axis.id, "title": axis.title, "points": one_axis(axis, rounds, places, cores) }));
    json!({ "axes": results.collect::<Vec<_>>() })
}

fn one_axis(axis: &Axis, rounds: usize, places: &Places, cores: &Cores) -> Vec<Value> {
    let mut figures: Vec<Vec<Value>> = vec![Vec::new(); axis.points.len()];
    let mut faults: Vec<Vec<String>> = vec![Vec::new(); axis.points.len()];
    for _ in 0..rounds {
        for (at, point) in axis.points.iter().enumerate() {
            match one_point(point, places, cores) {
                Ok(round) => figures[at].push(round),
                Err(fault) => faults[at].push(fault),
            }
        }
    }
    println!("\n## {}\n", axis.title);
    let columns = columns(axis);
    table::print_head("", &columns);
    let base = table::medians(&figures[axis.base]).get("cpu_us_per_call").and_then(Value::as_f64);
    let mut results = Vec::new();
    for (at, point) in axis.points.iter().enumerate() {
        let mut medians = table::medians(&figures[at]);
        let ratio = medians
            .get("cpu_us_per_call")
            .and_then(Value::as_f64)
            .zip(base)
            .map(|(cpu, base)| cpu / base);
        medians.insert("per_call_to_base".to_owned(), ratio.into());
        table::print_row(&point.label, &columns, &medians);
        results.push(json!({ "label": point.label, "medians": medians, "rounds": figures[at], "faults": faults[at] }));
    }
    println!();
    for (at, point) in axis.points.iter().enumerate() {
        let said = figures[at].iter().filter_map(|round| round["first_fault"].as_str());
        for fault in faults[at].iter().map(String::as_str).chain(said) {
            println!("- {}: {fault}", point.label);
        }
    }
    results
}

fn columns(axis: &Axis) -> Vec<Column> {
    let column = |title, key, digits| Column { title, key, digits };
    let mut columns = vec![
        column("CPU µs / call", "cpu_us_per_call", 2),
        column("× base", "per_call_to_base", 2),
        column("CPU µs / request", "cpu_us", 0),
        column("req/s", "per_second", 0),
        column("p50 ms", "p50_ms", 2),
        column("p99 ms", "p99_ms", 2),
        column("peak MB", "peak_mb", 0),
    ];
    if axis.id == "bodies" {
        columns.insert(2, column("CPU µs / KB", "cpu_us_per_kb", 3));
    }
    if axis.id == "in-flight" {
        columns.push(column("KB / request in flight", "kb_in_flight", 0));
    }
    columns.push(column("gateway busy", "gateway_busy", 2));
    columns.push(column("load busy", "load_and_services_busy", 2));
    columns.push(column("calls / answer", "calls_per_answer", 2));
    columns.push(column("faults", "faults", 0));
    columns
}

fn one_point(point: &Point, places: &Places, cores: &Cores) -> Result<Value, String> {
    let folder = places.run.join("trial");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let services = Settings {
        first_port: FIRST_SERVICE,
        count: SERVICES,
        delay_us: point.delay_us,
        body_bytes: point.body_bytes,
        wire: point.wire,
    };
    let config = folder.join("gateway.yaml");
    fs::write(&config, config_of(point)).map_err(|error| error.to_string())?;
    let mut command = Command::new(&places.gateway);
    command.args(["serve", "--cores", &point.cores.to_string()]).arg(&config);
    let on = if point.cores == 1 { &cores.gateway } else { &cores.gateway_two };
    let trial = Trial {
        services,
        gateway: Some(Gateway { command, cores: on }),
        job: job(point),
        warm_up: Some(point.warm_up),
        folder: &folder,
        cores,
    };
    let mut figures = trial::run(trial)?;
    let per_call = figures["cpu_us"].as_f64().map(|cpu| cpu / f64::from(point.calls));
    figures["cpu_us_per_call"] = per_call.into();
    figures["cpu_us_per_kb"] = per_call.map(|cpu| cpu * 1000.0 / point.body_bytes as f64).into();
    Ok(figures)
}

fn job(point: &Point) -> Job {
    Job {
        address: format!("127.0.0.1:{GATEWAY}"),
        request: "GET /page{route}/{id} HTTP/1.1\r\nhost: 127.0.0.1:19200\r\n\r\n".to_owned(),
        parts: (0..point.calls).map(|call| format!("c{call}")).collect(),
        body_bytes: point.body_bytes,
        inside: None,
        routes: point.routes,
        connections: point.connections,
        pace: point.pace,
        drain_seconds: 20.0,
    }
}

/// The config: limits above the load, routes `/page000` and on, calls `c0` and on that go round the services.
fn config_of(point: &Point) -> String {
    let (scheme, http, tls) = match point.wire {
        Wire::Http1 => ("http", "1.1", ""),
        Wire::Http2 => ("http", "2", ""),
        Wire::Http1Tls => ("https", "1.1", ", tls: { ca: $file.root.pem, server_name: localhost }"),
        Wire::Http2Tls => ("https", "2", ", tls: { ca: $file.root.pem, server_name: localhost }"),
    };
    let mut text = format!("listen: 127.0.0.1:{GATEWAY}\ndefaults: {{ timeout: 10s, retry: 1 }}\nsources:\n");
    for service in 0..SERVICES {
        let port = FIRST_SERVICE + service;
        let _ = writeln!(
            text,
            "  s{service}: {{ url: \"{scheme}://127.0.0.1:{port}\", http: \"{http}\", in_flight: 20000, queue: 20000, pool: 20000{tls} }}"
        );
    }
    text.push_str("routes:\n");
    for route in 0..point.routes {
        let _ = write!(
            text,
            "  GET /page{route:03}/{{id:int}}:\n    deadline: 12s\n    need: [c0]\n    calls:\n"
        );
        for call in 0..point.calls {
            let _ = writeln!(text, "      c{call}: s{} /c{call}/$id", call % SERVICES);
        }
    }
    text
}
