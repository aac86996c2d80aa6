//! One trial: services, a gateway and a load that ask for each other, and what the gateway cost meanwhile.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::job::{Job, Outcome, Pace};
use crate::load;
use crate::machine::Cores;
use crate::measure;
use crate::page::GATEWAY;
use crate::process::{self, Process};
use crate::service::{self, Counts, Settings, Wire};

/// The longest wait for a gateway's first right answer.
const START_WAIT: Duration = Duration::from_secs(20);

/// What is tried.
pub struct Trial<'trial> {
    pub services: Settings,
    /// None: the services are asked without a gateway.
    pub gateway: Option<Gateway<'trial>>,
    /// What is measured.
    pub job: Job,
    /// What goes before it and is not measured.
    pub warm_up: Option<Pace>,
    /// A folder of its own.
    pub folder: &'trial Path,
    pub cores: &'trial Cores,
}

/// How the gateway is started.
pub struct Gateway<'trial> {
    pub command: Command,
    pub cores: &'trial str,
}

/// What a process or several had used at one moment.
struct Used {
    cpu_ns: u64,
    cpu_ticks_ns: u64,
    services_cpu_ns: u64,
    counts: Counts,
}

/// Does it all and gives the figures.
///
/// # Errors
/// Something did not start or never gave a right answer.
pub fn run(trial: Trial) -> Result<Value, String> {
    must_be_free(GATEWAY)?;
    let mut services = services_process(&trial.services, trial.folder, trial.cores)?;
    // Declared after the services, so that it ends before them: they then drop its connections without leaving their ports in use.
    let mut gateway = None;
    if let Some(start) = &trial.gateway {
        let mut process = Process::start(&start.command, start.cores, &trial.folder.join("gateway.log"))?;
        process.wait_for_port(GATEWAY, START_WAIT)?;
        gateway = Some(process);
    }
    wait_until_right(&trial.job).map_err(|fault| {
        let words = gateway.as_ref().map(Process::last_words).unwrap_or_default();
        format!("no right answer: {fault}. {words}")
    })?;
    let pids = gateway.as_ref().map(Process::pids).unwrap_or_default();
    let idle_kib = measure::resident_kib(&pids);
    if let Some(pace) = trial.warm_up {
        load_elsewhere(&Job { pace, ..trial.job.clone() }, trial.cores)?;
    }

    let counts_port = counts_port(&trial.services);
    let before = used(&pids, &services, counts_port)?;
    let outcome = load_elsewhere(&trial.job, trial.cores)?;
    let after = used(&pids, &services, counts_port)?;

    if services.has_ended() || gateway.as_mut().is_some_and(Process::has_ended) {
        return Err("a process ended while it was measured".to_owned());
    }
    Ok(figures(&trial.job, &outcome, &before, &after, idle_kib, measure::peak_kib(&pids)))
}

fn figures(job: &Job, outcome: &Outcome, before: &Used, after: &Used, idle_kib: u64, peak_kib: u64) -> Value {
    let answers = outcome.answers as f64;
    let per_answer_us = |ns: u64| ns as f64 / 1000.0 / answers;
    let cpu_ns = after.cpu_ns - before.cpu_ns;
    let busy = |ns: u64| ns as f64 / 1e9 / outcome.seconds;
    let calls = (after.counts.requests - before.counts.requests) as f64;
    json!({
        "cpu_us": per_answer_us(cpu_ns),
        "cpu_us_by_ticks": per_answer_us(after.cpu_ticks_ns - before.cpu_ticks_ns),
        "per_second": answers / outcome.seconds,
        "p50_ms": outcome.p50_ms, "p99_ms": outcome.p99_ms, "p999_ms": outcome.p999_ms, "max_ms": outcome.max_ms,
        "idle_mb": idle_kib as f64 / 1024.0,
        "peak_mb": peak_kib as f64 / 1024.0,
        "kb_in_flight": peak_kib.saturating_sub(idle_kib) as f64 / job.connections as f64,
        "answers": outcome.answers, "faults": outcome.faults(), "wrong": outcome.wrong, "broken": outcome.broken,
        "unfinished": outcome.unfinished, "first_fault": outcome.first_fault,
        "calls_per_answer": calls / answers,
        "odd_calls": after.counts.odd - before.counts.odd,
        "connections_to_services_before": before.counts.connections,
        "connections_opened_to_services": after.counts.connections - before.counts.connections,
        "connections_opened_to_gateway": job.connections as u64 + outcome.reconnects + outcome.broken,
        "gateway_busy": busy(cpu_ns),
        "load_and_services_busy": busy(after.services_cpu_ns - before.services_cpu_ns + outcome.load_cpu_us * 1000),
        "services_late_p50_us": after.counts.late_p50_us, "services_late_p99_us": after.counts.late_p99_us,
    })
}

/// What another process listens on would be measured instead of ours.
fn must_be_free(port: u16) -> Result<(), String> {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("port {port} is not free: {error}")),
    }
}

/// Starts services on their core; they end with the value.
///
/// # Errors
/// They do not listen in time.
pub fn services_process(settings: &Settings, folder: &Path, cores: &Cores) -> Result<Process, String> {
    let mut command = this();
    command
        .arg("services")
        .arg(serde_json::to_string(settings).map_err(|error| error.to_string())?)
        .arg(folder.join("root.pem"));
    let mut process = Process::start(&command, &cores.services, &folder.join("services.log"))?;
    process.wait_for_port(counts_port(settings), START_WAIT)?;
    Ok(process)
}

/// Where the services say their counts.
fn counts_port(services: &Settings) -> u16 {
    let is_plain = services.wire == Wire::Http1;
    if is_plain {
        services.first_port
    } else {
        services.first_port + services.count
    }
}

fn used(pids: &[u32], services: &Process, counts_port: u16) -> Result<Used, String> {
    Ok(Used {
        cpu_ns: measure::cpu_ns(pids),
        cpu_ticks_ns: measure::cpu_ticks_ns(pids),
        services_cpu_ns: measure::cpu_ns(&services.pids()),
        counts: service::counts(counts_port)?,
    })
}

fn wait_until_right(job: &Job) -> Result<(), String> {
    let once = Job {
        connections: 1,
        pace: Pace::Counted {
            times: 1,
            spread_seconds: 0.0,
        },
        ..job.clone()
    };
    let began = Instant::now();
    loop {
        let outcome = load::run(&once);
        if outcome.answers == 1 {
            return Ok(());
        }
        // A gateway that answers wrongly will go on to do so.
        if began.elapsed() > START_WAIT || outcome.wrong > 0 && began.elapsed() > Duration::from_secs(3) {
            return Err(outcome.first_fault.unwrap_or_else(|| "no answer".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The load as a process of its own on its own core.
fn load_elsewhere(job: &Job, cores: &Cores) -> Result<Outcome, String> {
    let mut command = this();
    command
        .arg("load")
        .arg(serde_json::to_string(job).map_err(|error| error.to_string())?);
    let output = process::pinned(&command, &cores.load).output().map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| format!("the load failed: {}", String::from_utf8_lossy(&output.stderr)))
}

fn this() -> Command {
    Command::new(std::env::current_exe().expect("this binary has a path"))
}

/// Starts the services and a gateway and leaves them running until this process is ended.
///
/// # Errors
/// One did not start.
pub fn hold(services: &Settings, command: &Command, folder: &Path, cores: &Cores) -> Result<(), String> {
    must_be_free(GATEWAY)?;
    let mut running = services_process(services, folder, cores)?;
    let mut gateway = Process::start(command, &cores.gateway, &folder.join("gateway.log"))?;
    gateway.wait_for_port(GATEWAY, START_WAIT)?;
    println!(
        "services from port {}, gateway on port {GATEWAY}; Ctrl-C ends them",
        services.first_port
    );
    while !running.has_ended() && !gateway.has_ended() {
        std::thread::sleep(Duration::from_millis(200));
    }
    Err(format!("ended: {} {}", running.last_words(), gateway.last_words()))
}
