//! The whole comparison: interleaved rounds, so that a machine that drifts drifts for all; the medians of each figure; ratios within
//! the run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{self, Settings};
use crate::measure;
use crate::peers::{self, LOAD_CORE, Peer};

const ROUNDS: usize = 3;
const SATURATED_SECONDS: f64 = 4.0;
const SATURATED_CONNECTIONS: usize = 32;
const PACED_RATE: f64 = 500.0;
const PACED_DELAY_MS: u64 = 20;
const IN_FLIGHT: usize = 1000;
const IN_FLIGHT_DELAY_MS: u64 = 2000;

/// One scene: how slow the services are and how the page is asked for.
struct Scene {
    name: &'static str,
    delay_ms: u64,
    load: fn() -> Settings,
}

const SCENES: [Scene; 3] = [
    Scene { name: "saturated", delay_ms: 0, load: || Settings { connections: SATURATED_CONNECTIONS, seconds: SATURATED_SECONDS, rate: None } },
    Scene { name: "500 requests/s, services of 20 ms", delay_ms: PACED_DELAY_MS, load: || Settings { connections: 64, seconds: SATURATED_SECONDS, rate: Some(PACED_RATE) } },
    Scene { name: "1,000 requests in flight, services of 2 s", delay_ms: IN_FLIGHT_DELAY_MS, load: || Settings { connections: IN_FLIGHT, seconds: 5.0, rate: None } },
];

/// Runs everything and prints it; writes the raw figures to `out`.
pub fn run(gateway: &str, out: Option<&str>) {
    raise_file_limit_hint();
    let folder = std::env::temp_dir().join(format!("anabranch-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let mut scenes = Vec::new();
    for scene in &SCENES {
        println!("\n## {}\n", scene.name);
        scenes.push(json!({ "scene": scene.name, "peers": one_scene(gateway, &folder, scene) }));
    }
    let _ = std::fs::remove_dir_all(&folder);
    let result = json!({ "machine": machine(), "rounds": ROUNDS, "scenes": scenes });
    if let Some(out) = out {
        std::fs::write(out, serde_json::to_string_pretty(&result).expect("json") + "\n").expect("a writable result");
        println!("\nwritten to {out}");
    }
}

fn one_scene(gateway: &str, folder: &Path, scene: &Scene) -> Vec<Value> {
    let upstream = free_ports(12);
    let _services = Services::start(upstream, scene.delay_ms);
    let mut rounds: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for _ in 0..ROUNDS {
        for start in 0..3 {
            let port = free_ports(1);
            let sub = folder.join(format!("{}-{port}", scene.delay_ms));
            std::fs::create_dir_all(&sub).expect("a folder");
            let peer = match start {
                0 => peers::anabranch(gateway, &sub, upstream, port),
                1 => peers::nginx_ssi(&sub, upstream, port),
                _ => peers::axum(upstream, port),
            };
            let Some(peer) = peer else { continue };
            if !wait_until_up(port) {
                println!("{} did not start: skipped", peer.name);
                continue;
            }
            let figures = one_peer(&peer, scene);
            match rounds.iter_mut().find(|(name, _)| *name == peer.name) {
                Some((_, list)) => list.push(figures),
                None => rounds.push((peer.name, vec![figures])),
            }
        }
    }
    let base = rounds.iter().find(|(name, _)| *name == "nginx SSI").map(|(_, list)| median(list, "cpu_us"));
    println!("| gateway | CPU µs / request | × nginx SSI | req/s | p50 ms | p99 ms | idle MB | KB / request in flight | wrong |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut peers = Vec::new();
    for (name, list) in &rounds {
        let field = |key| median(list, key);
        let ratio = base.map_or(f64::NAN, |base| field("cpu_us") / base);
        println!(
            "| {name} | {:.0} | {ratio:.2} | {:.0} | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} |",
            field("cpu_us"), field("per_second"), field("p50_ms"), field("p99_ms"), field("idle_mb"), field("kb_in_flight"), field("wrong")
        );
        peers.push(json!({ "name": name, "ratio_to_nginx_ssi": ratio, "rounds": list }));
    }
    peers
}

fn one_peer(peer: &Peer, scene: &Scene) -> Value {
    let settings = (scene.load)();
    if scene.delay_ms < 1000 {
        load::run(&peer.url, &Settings { connections: settings.connections, seconds: 0.7, rate: settings.rate });
    }
    // taskset has become the gateway by now: same process.
    let pids = measure::with_children(peer.pid());
    let idle = measure::resident_kib(&pids);
    let before = measure::cpu_ns(&pids);
    let outcome = load_elsewhere(&peer.url, &settings);
    let cpu = measure::cpu_ns(&pids) - before;
    let answers = outcome["answers"].as_f64().unwrap_or(0.0);
    let in_flight = settings.connections as f64;
    let grown = measure::peak_kib(&pids).saturating_sub(idle) as f64;
    json!({
        "cpu_us": cpu as f64 / 1000.0 / answers,
        "per_second": answers / outcome["seconds"].as_f64().unwrap_or(f64::NAN),
        "p50_ms": outcome["p50_ms"], "p99_ms": outcome["p99_ms"], "p999_ms": outcome["p999_ms"],
        "idle_mb": idle as f64 / 1024.0,
        "kb_in_flight": if scene.delay_ms >= 1000 { grown / in_flight } else { f64::NAN },
        "wrong": outcome["wrong"], "answers": answers,
    })
}

/// The load as a process of its own on the other core.
fn load_elsewhere(url: &str, settings: &Settings) -> Value {
    let mut command = this_on_load_core();
    command.args(["load", url, &settings.connections.to_string(), &settings.seconds.to_string()]);
    if let Some(rate) = settings.rate {
        command.arg(rate.to_string());
    }
    let output = command.output().expect("the load runs");
    serde_json::from_slice(&output.stdout).expect("the load prints json")
}

fn this_on_load_core() -> Command {
    let this: PathBuf = std::env::current_exe().expect("this binary");
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE]).arg(this);
    command
}

struct Services(Child);

impl Services {
    fn start(port: u16, delay_ms: u64) -> Services {
        let child = this_on_load_core().args(["upstream", &port.to_string(), &delay_ms.to_string()]).stdout(Stdio::null()).spawn().expect("the services start");
        assert!(wait_until_up(port + 11), "the services listen");
        Services(child)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until_up(port: u16) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
}

/// The first of so many free ports in a row.
fn free_ports(count: u16) -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(18_000);
    loop {
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        let free = (first..first + count).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
        if free {
            return first;
        }
    }
}

fn median(rounds: &[Value], key: &str) -> f64 {
    let mut values: Vec<f64> = rounds.iter().filter_map(|round| round[key].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn machine() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_string());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({ "cpu": model, "cores": std::thread::available_parallelism().map_or(0, usize::from), "kernel": kernel.trim() })
}

/// 1,000 requests with 12 calls each need 13,000 descriptors in the gateway.
fn raise_file_limit_hint() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    if open.is_some_and(|open| open < 15_000) {
        println!("note: only {} open files are allowed; run `ulimit -n 20000` first for the scene with 1,000 requests in flight", open.unwrap_or(0));
    }
}
