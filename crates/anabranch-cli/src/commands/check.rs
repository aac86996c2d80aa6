//! `check`: every fault of every file, and nothing started.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anabranch::Client;
use anabranch_gateway::statements::Remark;
use anabranch_gateway::{Faults, Gateway, Plan};

use crate::cli::CheckArgs;
use crate::config_file;
use crate::exit::{Exit, Failure};
use crate::terminal::{paint, Tag, Terminal};

/// How long each database may take to look at all of its statements.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Checks the files one by one; the worst of them decides the exit code.
pub(crate) fn run(args: &CheckArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut worst = Exit::Ok;
    for file in &args.files {
        let exit = match check(file, args.connect, terminal) {
            Ok(exit) => exit,
            Err(failure) => {
                if let Some(message) = failure.message() {
                    terminal.tagged(Tag::Error, message.to_string());
                }
                failure.exit()
            }
        };
        worst = worst.max(exit);
    }
    Ok(worst)
}

fn check(file: &Path, connect: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let text = config_file::read(file)?;
    let plan = match config_file::compile_text(file, &text, terminal).or_exit() {
        Ok(plan) => plan,
        Err(exit) => return Ok(exit),
    };
    let counts = counts(&plan);
    // Building opens no connection, but reads certificates and URLs as `serve` would.
    let gateway = Gateway::build(plan)
        .map_err(|error| Failure::usage(anyhow::Error::new(error).context(format!("building `{}`", file.display()))))?;
    if connect {
        let faults = ask_databases(&gateway, Faults::new(&file.display().to_string(), &text), terminal)?;
        if !faults.is_empty() {
            return Ok(config_file::print_faults(&faults, terminal));
        }
    }
    terminal.say(format!("{}: {}: {counts}", file.display(), paint(terminal.color, "1;32", "ok")));
    Ok(Exit::Ok)
}

/// Adds what the databases say of their statements; what could not be asked is a warning.
fn ask_databases(gateway: &Arc<Gateway>, mut faults: Faults, terminal: &Terminal) -> Result<Faults, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::environment)?;
    for remark in runtime.block_on(gateway.describe_statements(&Client::new(), CONNECT_MAX)) {
        match remark {
            Remark::Fault { place, message } => faults.add(place, message),
            Remark::NotAsked(why) => terminal.tagged(Tag::Warning, format!("{}: {why}", faults.file())),
        }
    }
    Ok(faults)
}

fn counts(plan: &Plan) -> String {
    let calls = plan.routes.iter().map(|route| route.calls.len()).sum();
    format!(
        "{}, {}, {}",
        counted(plan.routes.len(), "route"),
        counted(calls, "call"),
        counted(plan.sources.len(), "source")
    )
}

pub(super) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_singular() {
        assert_eq!(
            [counted(0, "route"), counted(1, "route"), counted(2, "route")].join(", "),
            "0 routes, 1 route, 2 routes"
        );
    }
}
