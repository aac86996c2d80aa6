//! Light requests beside such that compute: how late the light ones become with no burner, with one, and with as many as there are
//! cores. Each burner is a client that asks for another computation as soon as it has the last one.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::job::{Job, Pace};
use crate::machine::Cores;
use crate::page::{BODY_BYTES, FIRST_SERVICE, GATEWAY};
use crate::peers::Places;
use crate::service::{Settings, Wire};
use crate::table::{self, Column};
use crate::trial::{self, Gateway, Trial};

/// What a light request waits for.
const DELAY_US: u64 = 20_000;
/// Connections of the light requests.
const LIGHT: usize = 99;
const PER_SECOND: f64 = 500.0;
const SECONDS: f64 = 5.0;
/// What one computation takes of a core, where it may take that.
const BURN_SECONDS: u64 = 5;

/// A server and what its burners do.
struct Server {
    id: &'static str,
    title: &'static str,
    burn: Burn,
}

#[derive(Clone, Copy, PartialEq)]
enum Burn {
    /// A jq program that never ends: it is stopped at its limit of 250 ms, and asked for again.
    Jq,
    /// A job of 5 s for a program in Python.
    Program,
    /// asyncio: 5 s in an executor of this kind.
    Executor(&'static str),
}

const SERVERS: [Server; 4] = [
    Server {
        id: "anabranch-jq",
        title: "anabranch, jq on its compute pool",
        burn: Burn::Jq,
    },
    Server {
        id: "anabranch-run",
        title: "anabranch, a Python program by `run`",
        burn: Burn::Program,
    },
    Server {
        id: "asyncio-threads",
        title: "aiohttp + uvloop, ThreadPoolExecutor",
        burn: Burn::Executor("threads"),
    },
    Server {
        id: "asyncio-processes",
        title: "aiohttp + uvloop, ProcessPoolExecutor",
        burn: Burn::Executor("processes"),
    },
];

/// How many cores the server has.
const SCENES: [(&str, usize); 2] = [("two-cores", 2), ("one-core", 1)];

/// Whether an id names a server or a scene of this command.
pub fn knows(id: &str) -> bool {
    SERVERS.iter().any(|server| server.id == id) || SCENES.iter().any(|(scene, _)| *scene == id)
}

/// Runs it, prints the tables, and gives the raw figures.
pub fn run(rounds: usize, only: &[String], places: &Places, cores: &Cores) -> Value {
    let is_named = |id: &str| only.iter().any(|only| only == id);
    let no_scene = !SCENES.iter().any(|(id, _)| is_named(id));
    let no_server = !SERVERS.iter().any(|server| is_named(server.id));
    let mut scenes = Vec::new();
    for (id, count) in SCENES.iter().filter(|(id, _)| no_scene || is_named(id)) {
        let title = format!(
            "Light requests of 20 ms beside burners, {count} core{}",
            if *count == 1 { "" } else { "s" }
        );
        println!("\n## {title}\n");
        table::print_head("server", &columns());
        let chosen = SERVERS.iter().filter(|server| no_server || is_named(server.id));
        let servers: Vec<Value> = chosen.map(|server| one_server(server, *count, rounds, places, cores)).collect();
        scenes.push(json!({ "id": id, "title": title, "servers": servers }));
    }
    json!({ "burner": scenes })
}

fn columns() -> [Column; 7] {
    let column = |title, key, digits| Column { title, key, digits };
    [
        column("burners", "burners", 0),
        column("p50 ms", "p50_ms", 2),
        column("p99 ms", "p99_ms", 2),
        column("p99 × without", "p99_to_none", 2),
        column("p99.9 ms", "p999_ms", 2),
        column("computations", "burns", 0),
        column("faults", "faults", 0),
    ]
}

/// All numbers of burners, round by round; ratios are taken within a round.
fn one_server(server: &Server, count: usize, rounds: usize, places: &Places, cores: &Cores) -> Value {
    let mut numbers = vec![0, 1, count];
    numbers.dedup();
    let mut figures: Vec<Vec<Value>> = vec![Vec::new(); numbers.len()];
    let mut faults: Vec<String> = Vec::new();
    for _ in 0..rounds {
        let mut without = None;
        for (at, burners) in numbers.iter().enumerate() {
            match one(server, *burners, count, places, cores) {
                Ok(mut round) => {
                    let p99 = round["p99_ms"].as_f64();
                    without = without.or(p99);
                    round["p99_to_none"] = p99.zip(without).map(|(p99, without)| p99 / without).into();
                    figures[at].push(round);
                }
                Err(fault) => faults.push(format!("{burners} burners: {fault}")),
            }
        }
    }
    let mut points = Vec::new();
    for (burners, rounds) in numbers.iter().zip(figures) {
        let medians = table::medians(&rounds);
        table::print_row(server.title, &columns(), &medians);
        points.push(json!({ "burners": burners, "medians": medians, "rounds": rounds }));
    }
    let said = points.iter().flat_map(|point| point["rounds"].as_array()).flatten();
    faults.extend(said.filter_map(|round| round["first_fault"].as_str()).map(str::to_owned));
    for fault in &faults {
        println!("- {}: {fault}", server.id);
    }
    json!({ "id": server.id, "title": server.title, "points": points, "faults": faults })
}

fn one(server: &Server, burners: usize, count: usize, places: &Places, cores: &Cores) -> Result<Value, String> {
    let folder = places.run.join("trial");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let services = Settings {
        first_port: FIRST_SERVICE,
        count: 1,
        delay_us: DELAY_US,
        body_bytes: BODY_BYTES,
        wire: Wire::Http1,
    };
    let gateway = Gateway {
        command: command(server, count, places, &folder)?,
        cores: if count == 1 { &cores.gateway } else { &cores.gateway_two },
    };
    let pace = |seconds| Pace::Open {
        per_second: PER_SECOND,
        seconds,
    };
    let job = Job {
        address: format!("127.0.0.1:{GATEWAY}"),
        request: "GET /light/{id} HTTP/1.1\r\nhost: 127.0.0.1:19200\r\n\r\n".to_owned(),
        parts: vec!["c0".to_owned()],
        body_bytes: BODY_BYTES,
        inside: None,
        routes: 1,
        connections: LIGHT,
        pace: pace(SECONDS),
        drain_seconds: 20.0,
    };
    let burning = Burners::start(burners);
    let mut figures = trial::run(Trial {
        services,
        gateway: Some(gateway),
        job,
        warm_up: Some(pace(1.0)),
        folder: &folder,
        cores,
    })?;
    figures["burners"] = burners.into();
    figures["burns"] = burning.stop().into();
    Ok(figures)
}

fn command(server: &Server, count: usize, places: &Places, folder: &Path) -> Result<Command, String> {
    let programs = places.peers.join("burner");
    if let Burn::Executor(kind) = server.burn {
        let python = places.installed.join("python-aiohttp/venv/bin/python");
        if !python.exists() {
            return Err("aiohttp is not installed; scripts/bench installs it".to_owned());
        }
        let mut command = Command::new(python);
        command.arg(programs.join("server.py")).arg(kind);
        command.args([count.to_string(), BURN_SECONDS.to_string()]);
        return Ok(command);
    }
    let config = folder.join("gateway.yaml");
    fs::write(&config, config_of(server.burn, count, &programs)).map_err(|error| error.to_string())?;
    let mut command = Command::new(&places.gateway);
    command.args(["serve", "--cores", &count.to_string()]).arg(&config);
    Ok(command)
}

/// The same limits as in the other scenes, above the load.
fn config_of(burn: Burn, count: usize, programs: &Path) -> String {
    let call = match burn {
        Burn::Jq => "value: 0, jq: \"last(range(1; infinite))\", else: null".to_owned(),
        _ => format!("run: burn, body: {BURN_SECONDS}, timeout: 60s"),
    };
    let program = match burn {
        Burn::Jq => String::new(),
        _ => format!(
            "  burn: {{ run: [python3, '{}'], count: {count} }}\n",
            programs.join("burn.py").display()
        ),
    };
    format!(
        "listen: 127.0.0.1:{GATEWAY}
defaults: {{ timeout: 10s, retry: 1 }}
sources:
  s0: {{ url: \"http://127.0.0.1:{FIRST_SERVICE}\", in_flight: 2000, queue: 2000, pool: 2000 }}
{program}routes:
  GET /light/{{id:int}}: {{ deadline: 12s, need: [c0], calls: {{ c0: s0 /c0/$id }} }}
  GET /burn: {{ deadline: 60s, calls: {{ burnt: {{ {call} }} }} }}
"
    )
}

/// Clients that have something computed, one computation after the other.
struct Burners {
    done: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    fn start(count: usize) -> Burners {
        let (done, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let threads = (0..count).map(|_| {
            let (done, is_over) = (done.clone(), is_over.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    match burn() {
                        Some(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                        // The server is not there yet, or not any more.
                        None => thread::sleep(Duration::from_millis(20)),
                    }
                }
            })
        });
        Burners {
            threads: threads.collect(),
            done,
            is_over,
        }
    }

    /// Ends them; the server has ended, and with it what they wait for. Gives how many computations were answered.
    fn stop(mut self) -> u64 {
        self.end();
        self.done.load(Ordering::Relaxed)
    }

    fn end(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.end();
    }
}

/// Has something computed; None where that was not answered.
fn burn() -> Option<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", GATEWAY)).ok()?;
    socket
        .write_all(b"GET /burn HTTP/1.1\r\nhost: 127.0.0.1:19200\r\nconnection: close\r\n\r\n")
        .ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 200").then_some(())
}
