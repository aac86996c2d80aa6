//! `bench`: runs the gateway beside its peers on one page of twelve calls and prints what each costs. `scripts/bench` builds and
//! calls it.
//!
//! ```text
//! bench compare [--quick] [--only ID,ID] [--rounds N] [--out FILE] GATEWAY   all gateways in all scenes, or those named
//! bench axes [--only ID,ID] [--rounds N] [--out FILE] GATEWAY                the gateway alone as the work grows
//! bench fetch [--only ID,ID] [--rounds N] [--out FILE] ANABRANCH             tools that fetch a list of URLs
//! bench burner [--only ID,ID] [--rounds N] [--out FILE] GATEWAY             light requests beside such that compute
//! bench hold ID DELAY_MS GATEWAY                                             services and one gateway, for a look by hand
//! bench services SETTINGS ROOT_FILE                                          (used by the others) the services
//! bench load JOB                                                             (used by the others) the load
//! ```

mod compare;
mod axes;
mod burner;
mod fetch;
mod fetchers;
mod scene;
mod peers;
mod trial;
mod process;
mod measure;
mod machine;
mod job;
mod load;
mod answer;
mod check;
mod service;
mod services;
mod services_tls;
mod page;
mod poll;
mod table;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::machine::Cores;
use crate::peers::Places;
use crate::service::{Settings, Wire};

const USAGE: &str = "usage: bench compare [--quick] [--only IDS] [--rounds N] [--out FILE] GATEWAY
       bench axes [--only IDS] [--rounds N] [--out FILE] GATEWAY
       bench fetch [--only IDS] [--rounds N] [--out FILE] ANABRANCH
       bench burner [--only IDS] [--rounds N] [--out FILE] GATEWAY
       bench hold ID DELAY_MS GATEWAY";
/// A thousand requests with twelve calls each, and as many connections of clients.
const OPEN_FILES_MIN: u64 = 20_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["compare", rest @ ..] => {
            let options = Options::parse(rest)?;
            options.write("compare", |places, cores| {
                let choice = compare::Choice {
                    quick: options.quick,
                    rounds: options.rounds,
                    only: options.only.clone(),
                };
                compare::run(&choice, places, cores)
            })
        }
        ["axes", rest @ ..] => {
            let options = Options::parse(rest)?;
            options.write("axes", |places, cores| axes::run(options.rounds, &options.only, places, cores))
        }
        ["fetch", rest @ ..] => {
            let options = Options::parse(rest)?;
            if let Some(unknown) = options.only.iter().find(|name| !fetch::knows(name)) {
                return Err(format!("unknown scene or tool `{unknown}`"));
            }
            options.write("fetch", |places, cores| fetch::run(options.rounds, &options.only, places, cores))
        }
        ["burner", rest @ ..] => {
            let options = Options::parse(rest)?;
            if let Some(unknown) = options.only.iter().find(|name| !burner::knows(name)) {
                return Err(format!("unknown scene or server `{unknown}`"));
            }
            options.write("burner", |places, cores| burner::run(options.rounds, &options.only, places, cores))
        }
        ["hold", id, delay_ms, gateway] => {
            let delay_ms: u64 = delay_ms.parse().map_err(|_| format!("expected milliseconds, got `{delay_ms}`"))?;
            in_a_folder(gateway, |places, cores| compare::hold(id, delay_ms * 1000, places, cores))?
        }
        ["services", settings, root_file] => {
            let settings: Settings = serde_json::from_str(settings).map_err(|error| error.to_string())?;
            match settings.wire {
                Wire::Http1 => services::serve(&settings),
                _ => services_tls::serve(&settings, Path::new(root_file)),
            }
            Ok(())
        }
        ["load", job] => {
            let job = serde_json::from_str(job).map_err(|error| error.to_string())?;
            println!("{}", serde_json::to_string(&load::run(&job)).map_err(|error| error.to_string())?);
            Ok(())
        }
        _ => Err(format!("expected a command\n{USAGE}")),
    }
}

struct Options {
    quick: bool,
    rounds: usize,
    only: Vec<String>,
    out: Option<PathBuf>,
    gateway: String,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Options, String> {
        let mut options = Options {
            quick: false,
            rounds: 3,
            only: Vec::new(),
            out: None,
            gateway: String::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value\n{USAGE}"));
            match *word {
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = value()?.parse().map_err(|_| "expected a number of rounds".to_owned())?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--out" => options.out = Some(PathBuf::from(value()?)),
                gateway if options.gateway.is_empty() && !gateway.starts_with('-') => options.gateway = gateway.to_owned(),
                _ => return Err(format!("unexpected `{word}`\n{USAGE}")),
            }
        }
        if options.gateway.is_empty() {
            return Err(format!("expected the gateway's binary\n{USAGE}"));
        }
        Ok(options)
    }

    /// Runs a command and writes its figures, with all that a reader needs to judge them.
    fn write(&self, command: &str, measure: impl FnOnce(&Places, &Cores) -> Value) -> Result<(), String> {
        let (load_before, figures) = in_a_folder(&self.gateway, |places, cores| {
            let load_before = machine::load_average();
            if load_before > 0.5 {
                println!("note: the machine is busy already (load average {load_before}); figures will drift, ratios less");
            }
            (load_before, measure(places, cores))
        })?;
        let mut result = json!({
            "command": std::env::var("BENCH_COMMAND").unwrap_or_else(|_| format!("bench {command}")),
            "commit": std::env::var("BENCH_COMMIT").ok(),
            "date": std::env::var("BENCH_DATE").ok(),
            "machine": machine::describe(),
            "load_average_before": load_before,
            "rounds": self.rounds,
        });
        if let (Some(result), Value::Object(figures)) = (result.as_object_mut(), figures) {
            result.extend(figures);
        }
        if let Some(out) = &self.out {
            let text = serde_json::to_string_pretty(&result).map_err(|error| error.to_string())?;
            std::fs::write(out, text + "\n").map_err(|error| format!("cannot write {}: {error}", out.display()))?;
            println!("\nwritten to {}", out.display());
        }
        Ok(())
    }
}

/// Does something with a folder of its own that is removed afterwards.
fn in_a_folder<T>(gateway: &str, then: impl FnOnce(&Places, &Cores) -> T) -> Result<T, String> {
    let cores = Cores::share_out()?;
    let _alone = alone()?;
    if machine::open_files_max().is_some_and(|most| most < OPEN_FILES_MIN) {
        println!("note: fewer than {OPEN_FILES_MIN} open files are allowed; run `ulimit -n {OPEN_FILES_MIN}` first, or large scenes fail");
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = std::env::temp_dir().join(format!("anabranch-bench-{}", std::process::id()));
    std::fs::create_dir_all(&run).map_err(|error| error.to_string())?;
    let gateway = std::fs::canonicalize(gateway).map_err(|error| format!("cannot find `{gateway}`: {error}"))?;
    let places = Places {
        gateway,
        peers: here.join("peers"),
        installed: here.join("target/peers"),
        run,
    };
    let done = then(&places, &cores);
    let _ = std::fs::remove_dir_all(&places.run);
    Ok(done)
}

/// Two benchmarks at once would measure each other; the second one waits. The lock ends with the file.
fn alone() -> Result<File, String> {
    let path = std::env::temp_dir().join("anabranch-bench.lock");
    let file = File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    if file.try_lock().is_err() {
        println!("another benchmark runs; waiting for its end");
        file.lock().map_err(|error| format!("cannot lock {}: {error}", path.display()))?;
    }
    Ok(file)
}
