//! `check`: every fault of every file, and nothing started.

use std::path::Path;

use anabranch_gateway::{Gateway, Plan};

use crate::cli::CheckArgs;
use crate::config_file;
use crate::exit::{Exit, Failure};
use crate::terminal::{paint, Tag, Terminal};

/// Checks the files one by one; the worst of them decides the exit code.
pub(crate) fn run(args: &CheckArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut worst = Exit::Ok;
    for file in &args.files {
        let exit = match check(file, terminal) {
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

fn check(file: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = match config_file::load(file, terminal)?.or_exit() {
        Ok(plan) => plan,
        Err(exit) => return Ok(exit),
    };
    let counts = counts(&plan);
    // Building opens no connection, but reads certificates and URLs as `serve` would.
    Gateway::build(plan).map_err(|error| Failure::usage(anyhow::Error::new(error).context(format!("building `{}`", file.display()))))?;
    terminal.say(format!("{}: {}: {counts}", file.display(), paint(terminal.color, "1;32", "ok")));
    Ok(Exit::Ok)
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
