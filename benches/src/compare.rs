//! The comparison: every gateway in every scene, in rounds that interleave them, so that a machine that drifts drifts for all; the
//! medians of each figure, and ratios within each round.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::job::{Job, Pace};
use crate::machine::Cores;
use crate::page::{BODY_BYTES, FIRST_SERVICE, GATEWAY, PARTS};
use crate::peers::{self, NGINX_LUA, NGINX_SSI, Peer, Places};
use crate::scene::{self, Scene};
use crate::service::{Settings, Wire};
use crate::table::{self, Column};
use crate::trial::{self, Gateway, Trial};

/// The services asked without a gateway: what the harness itself takes.
const ALONE: &str = "services-alone";

/// What to compare.
pub struct Choice {
    pub quick: bool,
    pub rounds: usize,
    /// Only these gateways and scenes, by id; all if empty.
    pub only: Vec<String>,
}

/// Runs all of it, prints the tables, and gives the raw figures.
pub fn run(choice: &Choice, places: &Places, cores: &Cores) -> Value {
    let scenes = scene::all(choice.quick);
    let is_peer_chosen = is_chosen(&choice.only, peers::ALL.iter().map(|peer| peer.id).collect());
    let is_scene_chosen = is_chosen(&choice.only, scenes.iter().map(|scene| scene.id).collect());
    let mut here = Vec::new();
    let mut described = Vec::new();
    for peer in peers::ALL
        .iter()
        .filter(|peer| peer.quick || !choice.quick)
        .filter(|peer| is_peer_chosen(peer.id))
    {
        match peer.version(places) {
            Ok(version) => {
                println!("{}: {version}", peer.title);
                described.push(json!({ "id": peer.id, "title": peer.title, "version": version }));
                here.push(peer);
            }
            Err(reason) => {
                println!("{}: skipped: {reason}", peer.title);
                described.push(json!({ "id": peer.id, "title": peer.title, "skipped": reason }));
            }
        }
    }
    let mut results = Vec::new();
    for scene in scenes.iter().filter(|scene| is_scene_chosen(scene.id)) {
        println!("\n## {}\n", scene.title);
        let rounds = all_rounds(scene, &here, choice.rounds, places, cores);
        results.push(json!({ "id": scene.id, "title": scene.title, "gateways": report(scene, &here, &rounds) }));
    }
    json!({ "peers": described, "scenes": results })
}

/// Whether an id is among those named; all are if none of this kind is named.
fn is_chosen(only: &[String], kind: Vec<&'static str>) -> impl Fn(&str) -> bool {
    let named: Vec<String> = only.iter().filter(|only| kind.contains(&only.as_str())).cloned().collect();
    move |id| named.is_empty() || named.iter().any(|named| named == id)
}

/// The figures of one gateway in each round that went well, with the round's number.
struct Rounds {
    id: &'static str,
    figures: Vec<(usize, Value)>,
    faults: Vec<String>,
}

fn all_rounds(scene: &Scene, peers: &[&'static Peer], count: usize, places: &Places, cores: &Cores) -> Vec<Rounds> {
    let mut ids: Vec<&'static str> = peers.iter().map(|peer| peer.id).collect();
    if scene.delay_us > 0 {
        ids.insert(0, ALONE);
    }
    let mut all: Vec<Rounds> = ids
        .iter()
        .map(|id| Rounds {
            id,
            figures: Vec::new(),
            faults: Vec::new(),
        })
        .collect();
    for round in 0..count {
        // There and back, so that nobody is always next to the same one.
        let mut order: Vec<usize> = (0..all.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let peer = peers.iter().find(|peer| peer.id == all[at].id).copied();
            match one(scene, peer, places, cores) {
                Ok(figures) => all[at].figures.push((round, figures)),
                Err(fault) => all[at].faults.push(format!("round {}: {fault}", round + 1)),
            }
        }
    }
    all
}

fn one(scene: &Scene, peer: Option<&Peer>, places: &Places, cores: &Cores) -> Result<Value, String> {
    let folder = places.run.join("trial");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let gateway = match peer {
        Some(peer) => Some(Gateway {
            command: peer.command(places, &folder)?,
            cores: &cores.gateway,
        }),
        None => None,
    };
    let services = Settings {
        first_port: FIRST_SERVICE,
        count: 12,
        delay_us: scene.delay_us,
        body_bytes: BODY_BYTES,
        wire: Wire::Http1,
    };
    let job = job(scene, peer, places)?;
    trial::run(Trial {
        services,
        gateway,
        job,
        warm_up: scene.warm_up,
        folder: &folder,
        cores,
    })
}

fn job(scene: &Scene, peer: Option<&Peer>, places: &Places) -> Result<Job, String> {
    let whole_page = Job {
        address: format!("127.0.0.1:{GATEWAY}"),
        request: String::new(),
        parts: PARTS.map(str::to_owned).to_vec(),
        body_bytes: BODY_BYTES,
        inside: None,
        routes: 1,
        connections: scene.connections,
        pace: scene.pace,
        drain_seconds: 20.0,
    };
    let Some(peer) = peer else {
        let part = PARTS[0].to_owned();
        let request = format!("GET /{part}/{{id}} HTTP/1.1\r\nhost: service\r\n\r\n");
        let address = format!("127.0.0.1:{FIRST_SERVICE}");
        return Ok(Job {
            address,
            request,
            parts: vec![part],
            inside: Some(String::new()),
            ..whole_page
        });
    };
    Ok(Job {
        request: peer.request(places)?,
        inside: peer.inside().map(str::to_owned),
        ..whole_page
    })
}

fn report(scene: &Scene, peers: &[&'static Peer], all: &[Rounds]) -> Vec<Value> {
    let columns = columns(scene);
    table::print_head("gateway", &columns);
    let mut results = Vec::new();
    for rounds in all {
        let title = peers
            .iter()
            .find(|peer| peer.id == rounds.id)
            .map_or("(services alone)", |peer| peer.title);
        let with_ratios: Vec<Value> = rounds
            .figures
            .iter()
            .map(|(round, figures)| compared(*round, figures, all))
            .collect();
        let mut medians = table::medians(&with_ratios);
        if rounds.id == ALONE {
            blank_gateway(&mut medians);
        }
        table::print_row(title, &columns, &medians);
        results.push(json!({ "id": rounds.id, "medians": medians, "rounds": with_ratios, "faults": rounds.faults }));
    }
    println!();
    for rounds in all {
        for remark in remarks(scene, rounds) {
            println!("- {}: {remark}", rounds.id);
        }
    }
    results
}

fn columns(scene: &Scene) -> Vec<Column> {
    let column = |title, key, digits| Column { title, key, digits };
    let cpu = [
        column("CPU µs / request", "cpu_us", 0),
        column("× nginx + Lua", "cpu_us_to_nginx_lua", 2),
        column("× nginx SSI", "cpu_us_to_nginx_ssi", 2),
    ];
    let latency = [
        column("p50 ms", "p50_ms", 2),
        column("p99 ms", "p99_ms", 2),
        column("p99.9 ms", "p999_ms", 2),
    ];
    let added = column("added p50 ms", "added_p50_ms", 2);
    let memory = [
        column("peak MB", "peak_mb", 0),
        column("KB / request in flight", "kb_in_flight", 0),
        column("memory × nginx + Lua", "kb_in_flight_to_nginx_lua", 2),
        column("memory × nginx SSI", "kb_in_flight_to_nginx_ssi", 2),
    ];
    let checks = [column("calls / answer", "calls_per_answer", 2), column("faults", "faults", 0)];
    let mut columns = Vec::new();
    if scene.counts_memory {
        columns.extend(memory);
        columns.extend(cpu);
        columns.extend(latency);
    } else {
        columns.extend(cpu);
        columns.push(column("req/s", "per_second", 0));
        columns.extend(latency);
        if scene.delay_us > 0 {
            columns.push(added);
        }
        columns.push(column("peak MB", "peak_mb", 0));
    }
    columns.extend(checks);
    columns
}

/// The figures of one round with their ratios to others of the same round.
fn compared(round: usize, figures: &Value, all: &[Rounds]) -> Value {
    let other = |id: &str| {
        let rounds = all.iter().find(|rounds| rounds.id == id)?;
        rounds
            .figures
            .iter()
            .find(|(number, _)| *number == round)
            .map(|(_, figures)| figures)
    };
    let ratio = |id: &str, key: &str| Some(figures[key].as_f64()? / other(id)?[key].as_f64().filter(|base| *base > 0.0)?);
    let added = || Some(figures["p50_ms"].as_f64()? - other(ALONE)?["p50_ms"].as_f64()?);
    let mut with_ratios = figures.as_object().cloned().unwrap_or_default();
    for (name, id) in [("nginx_lua", NGINX_LUA), ("nginx_ssi", NGINX_SSI)] {
        for key in ["cpu_us", "kb_in_flight"] {
            with_ratios.insert(format!("{key}_to_{name}"), ratio(id, key).into());
        }
    }
    with_ratios.insert("added_p50_ms".to_owned(), added().into());
    with_ratios.into()
}

/// Takes the figures away that mean nothing without a gateway.
fn blank_gateway(medians: &mut Map<String, Value>) {
    medians.retain(|key, _| !key.starts_with("cpu_us") && !key.starts_with("kb_in_flight") && !key.ends_with("_mb"));
    medians.remove("added_p50_ms");
}

/// What a reader must know before believing a row.
fn remarks(scene: &Scene, rounds: &Rounds) -> Vec<String> {
    let mut remarks = rounds.faults.clone();
    for (round, figures) in &rounds.figures {
        let number = |key: &str| figures[key].as_f64().unwrap_or(0.0);
        let mut say = |remark: String| remarks.push(format!("round {}: {remark}", round + 1));
        if number("faults") > 0.0 {
            let (wrong, broken, unfinished) = (number("wrong"), number("broken"), number("unfinished"));
            say(format!(
                "{wrong} wrong, {broken} broken, {unfinished} unfinished; the first: {}",
                figures["first_fault"]
            ));
        }
        if let Pace::Open { per_second, .. } = scene.pace
            && number("per_second") < per_second * 0.97
        {
            say(format!(
                "did not keep up: {:.0} of {per_second} requests a second",
                number("per_second")
            ));
        }
        let calls = if rounds.id == ALONE { 1.0 } else { PARTS.len() as f64 };
        if number("faults") == 0.0 && number("calls_per_answer") != calls || number("odd_calls") > 0.0 {
            say(format!("{:.3} calls an answer instead of {calls}", number("calls_per_answer")));
        }
        let calls_made = number("answers") * calls;
        if rounds.id != ALONE && !scene.counts_memory && number("connections_opened_to_services") > calls_made / 20.0 {
            say(format!(
                "{} connections for {calls_made} calls: not kept alive",
                number("connections_opened_to_services")
            ));
        }
        if number("connections_opened_to_gateway") > number("answers") / 4.0 && !scene.counts_memory {
            say(format!(
                "{} connections of clients: not kept alive",
                number("connections_opened_to_gateway")
            ));
        }
        if number("services_late_p99_us") > 2_000.0 && number("faults") == 0.0 {
            say(format!(
                "answers of services left late (99 of 100 within {} µs): the machine was busy",
                number("services_late_p99_us")
            ));
        }
        if number("load_and_services_busy") > 0.97 {
            say("the core of load and services was full: requests a second are theirs, not the gateway's".to_owned());
        }
        if rounds.id != ALONE && (number("cpu_us_by_ticks") / number("cpu_us") - 1.0).abs() > 0.15 && number("gateway_busy") > 0.2 {
            say(format!(
                "the two counts of CPU time differ: {:.0} and {:.0} µs",
                number("cpu_us"),
                number("cpu_us_by_ticks")
            ));
        }
    }
    remarks
}

/// Starts the services and one gateway and leaves them running until this process ends, for a look by hand.
pub fn hold(id: &str, delay_us: u64, places: &Places, cores: &Cores) -> Result<(), String> {
    let peer = peers::ALL
        .iter()
        .find(|peer| peer.id == id)
        .ok_or_else(|| format!("unknown gateway `{id}`"))?;
    let folder: &Path = &places.run;
    let command = peer.command(places, folder)?;
    let services = Settings {
        first_port: FIRST_SERVICE,
        count: 12,
        delay_us,
        body_bytes: BODY_BYTES,
        wire: Wire::Http1,
    };
    trial::hold(&services, &command, folder, cores)
}
