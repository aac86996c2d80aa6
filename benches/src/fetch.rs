//! Tools that fetch a list of URLs, one after another on one core each: how long, how much CPU, how much memory, and whether all came.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::fetchers::{self, ALL, ANABRANCH, Fetcher, Work};
use crate::machine::Cores;
use crate::measure;
use crate::page::{FIRST_ID, FIRST_SERVICE};
use crate::peers::Places;
use crate::process;
use crate::service::{self, Settings, Wire};
use crate::table::{Column, medians, print_head, print_row};
use crate::trial::services_process;

/// The longest that a tool may take.
const LONGEST: Duration = Duration::from_secs(300);
/// Between two looks at the memory of a tool. It costs the cores of the services.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A list of URLs and what answers them.
struct Scene {
    id: &'static str,
    title: &'static str,
    urls: u64,
    delay_us: u64,
    body_bytes: usize,
    concurrency: usize,
    /// The least time that it can take: rounds of requests that wait for the delay.
    least_seconds: f64,
}

const SCENES: [Scene; 2] = [
    Scene {
        id: "small",
        title: "20,000 URLs of 1 KB, 100 at once",
        urls: 20_000,
        delay_us: 0,
        body_bytes: 1_000,
        concurrency: 100,
        least_seconds: 0.0,
    },
    Scene {
        id: "pages",
        title: "200 pages of 100 KB that take 1 s, 50 at once",
        urls: 200,
        delay_us: 1_000_000,
        body_bytes: 100_000,
        concurrency: 50,
        least_seconds: 4.0,
    },
];

const COLUMNS: [Column; 6] = [
    Column {
        title: "wall s",
        key: "wall_s",
        digits: 2,
    },
    Column {
        title: "requests/s",
        key: "per_second",
        digits: 0,
    },
    Column {
        title: "CPU s",
        key: "cpu_s",
        digits: 2,
    },
    Column {
        title: "CPU µs/request",
        key: "cpu_us",
        digits: 0,
    },
    Column {
        title: "peak MB",
        key: "peak_mb",
        digits: 1,
    },
    Column {
        title: "x anabranch's CPU",
        key: "cpu_ratio",
        digits: 1,
    },
];

/// Runs the tools, or those named, in the scenes, or those named, and prints a table for each scene.
pub fn run(rounds: usize, only: &[String], places: &Places, cores: &Cores) -> Value {
    let scenes: Vec<&Scene> = SCENES
        .iter()
        .filter(|scene| is_chosen(only, scene.id, &SCENES.map(|scene| scene.id)))
        .collect();
    let named = ALL.each_ref().map(|fetcher| fetcher.id);
    let mut versions = Map::new();
    let mut tools: Vec<&Fetcher> = Vec::new();
    for fetcher in ALL.iter().filter(|fetcher| is_chosen(only, fetcher.id, &named)) {
        match fetcher.version(places) {
            Ok(version) => {
                println!("{:26} {version}", fetcher.title);
                versions.insert(fetcher.id.to_owned(), json!(version));
                tools.push(fetcher);
            }
            Err(reason) => {
                println!("{:26} skipped: {reason}", fetcher.title);
                versions.insert(fetcher.id.to_owned(), json!({ "skipped": reason }));
            }
        }
    }
    let mut results = Map::new();
    for scene in scenes {
        results.insert(scene.id.to_owned(), one_scene(scene, &tools, rounds, places, cores));
    }
    json!({ "tools": versions, "scenes": results })
}

/// Without names all; else those named, and all where no name is of this kind.
fn is_chosen(only: &[String], id: &str, kind: &[&str]) -> bool {
    let mut of_kind = only.iter().filter(|name| kind.contains(&name.as_str())).peekable();
    of_kind.peek().is_none() || of_kind.any(|name| name == id)
}

fn one_scene(scene: &Scene, tools: &[&Fetcher], rounds: usize, places: &Places, cores: &Cores) -> Value {
    println!("\n{}", scene.title);
    let mut rows: Map<String, Value> = Map::new();
    for round in 0..rounds {
        for fetcher in tools {
            let figures = trial(scene, fetcher, places, cores).unwrap_or_else(|fault| json!({ "fault": fault }));
            println!("  round {}: {}: {}", round + 1, fetcher.title, said(&figures));
            let row = rows.entry(fetcher.id.to_owned()).or_insert_with(|| json!([]));
            row.as_array_mut().into_iter().for_each(|row| row.push(figures.clone()));
        }
    }
    let medians_of = |id: &str| {
        rows.get(id)
            .and_then(Value::as_array)
            .map(|rounds| medians(rounds))
            .unwrap_or_default()
    };
    let ours = medians_of(ANABRANCH).get("cpu_us").and_then(Value::as_f64);
    println!();
    print_head("tool", &COLUMNS);
    let mut figures = Map::new();
    for fetcher in tools {
        let mut median = medians_of(fetcher.id);
        let cpu = median.get("cpu_us").and_then(Value::as_f64);
        if let Some((ours, cpu)) = ours.zip(cpu) {
            median.insert("cpu_ratio".to_owned(), json!(cpu / ours));
        }
        print_row(&format!("{} ({})", fetcher.title, fetcher.writes), &COLUMNS, &median);
        figures.insert(
            fetcher.id.to_owned(),
            json!({ "median": median, "rounds": rows.get(fetcher.id), "writes": fetcher.writes }),
        );
    }
    json!({ "title": scene.title, "urls": scene.urls, "concurrency": scene.concurrency, "least_seconds": scene.least_seconds, "tools": figures })
}

fn said(figures: &Value) -> String {
    match figures["fault"].as_str() {
        Some(fault) => format!("fault: {fault}"),
        None => {
            let figure = |key: &str| figures[key].as_f64().unwrap_or_default();
            format!(
                "{:.2} s, {:.2} s CPU, {:.1} MB",
                figure("wall_s"),
                figure("cpu_s"),
                figure("peak_mb")
            )
        }
    }
}

/// One run of one tool, with services of its own.
fn trial(scene: &Scene, fetcher: &Fetcher, places: &Places, cores: &Cores) -> Result<Value, String> {
    let folder = places.run.join(format!("{}-{}", scene.id, fetcher.id));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let settings = Settings {
        first_port: FIRST_SERVICE,
        count: 1,
        delay_us: scene.delay_us,
        body_bytes: scene.body_bytes,
        wire: Wire::Http1,
    };
    let services = services_process(&settings, &folder, cores)?;
    let every = if scene.urls > 1_000 { fetcher.every } else { 1 };
    let ids = (FIRST_ID..FIRST_ID + scene.urls).step_by(every);
    let urls: Vec<String> = ids.map(|id| format!("http://127.0.0.1:{FIRST_SERVICE}/page/{id}")).collect();
    let work = Work {
        urls: &urls,
        concurrency: scene.concurrency,
        folder: &folder,
    };
    let command = fetcher.command(places, &work)?;
    let cost = cost(&process::pinned(&command, &cores.gateway), &folder)?;
    let counts = service::counts(FIRST_SERVICE)?;
    drop(services);
    let asked = urls.len() as u64;
    // oha sends what it likes in the end, and one that tries again has asked more often.
    if counts.requests < asked {
        return Err(format!("{} of {asked} URLs were asked for: {}", counts.requests, cost.last_words));
    }
    if !cost.is_success && fetcher.id != "oha" {
        return Err(format!("it failed: {}", cost.last_words));
    }
    let _ = fs::remove_dir_all(&folder);
    let urls = urls.len() as f64;
    Ok(json!({
        "wall_s": cost.wall.as_secs_f64(),
        "cpu_s": cost.cpu_s,
        "peak_mb": cost.peak_kib as f64 / 1024.0,
        "cpu_us": cost.cpu_s * 1e6 / urls,
        "per_second": urls / cost.wall.as_secs_f64(),
        "urls": urls,
        "requests": counts.requests,
        "connections": counts.connections,
        "over_least": if scene.least_seconds > 0.0 { json!(cost.wall.as_secs_f64() / scene.least_seconds) } else { Value::Null },
    }))
}

struct Cost {
    wall: Duration,
    cpu_s: f64,
    peak_kib: u64,
    is_success: bool,
    last_words: String,
}

/// Runs a command to its end. Its output goes to a file, as that of a run that is kept would.
fn cost(command: &Command, folder: &Path) -> Result<Cost, String> {
    let mut command = rebuilt(command);
    let file = |name: &str| File::create(folder.join(name)).map_err(|error| error.to_string());
    command.stdin(Stdio::null()).stdout(file("stdout")?).stderr(file("stderr")?);
    let before = measure::children_cpu_s();
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("cannot start: {error}"))?;
    let mut peak_kib = 0;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if began.elapsed() > LONGEST {
            end(&mut child);
            return Err(format!("not done after {LONGEST:?}"));
        }
        peak_kib = peak_kib.max(measure::peak_kib(&measure::with_children(child.id())));
        std::thread::sleep(LOOK_EVERY);
    };
    let wall = began.elapsed();
    let words = fs::read_to_string(folder.join("stderr")).unwrap_or_default();
    Ok(Cost {
        wall,
        cpu_s: measure::children_cpu_s() - before,
        peak_kib,
        is_success: status.success(),
        last_words: words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned(),
    })
}

/// A command is not to be cloned; this one has what `pinned` gave it.
fn rebuilt(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        copy.current_dir(folder);
    }
    copy
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Whether a word of `--only` is known here.
pub fn knows(name: &str) -> bool {
    SCENES.iter().any(|scene| scene.id == name) || fetchers::ALL.iter().any(|fetcher| fetcher.id == name)
}
