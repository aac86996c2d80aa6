//! `anabranch fetch`: what was typed becomes a run, and a person is kept informed of it.

mod options;
mod lists;
mod host_limits;
mod jq;
mod preview;
mod progress;
mod summary;
mod command_line;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anabranch_fetch::run::{Ended, Run, Stop, StopSignal, Summary, Transform};
use anabranch_fetch::{FetchError, Options};
use anyhow::{Context, anyhow};

use self::progress::Shown;
use super::runtime;
use crate::cli::fetch::FetchArgs;
use crate::exit::{Exit, Failure};
use crate::lookup::ProcessLookup;
use crate::signals::Signals;
use crate::terminal::{Tag, Terminal};

/// Runs it to its end, or shows what it would do.
pub(crate) fn run(args: &FetchArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let options = options::of(args, &ProcessLookup::new(""))?;
    let run = set_up(options.clone())?;
    if let Some(url) = &args.run.explain {
        return preview::explain(&options, url);
    }
    if args.run.dry_run {
        return preview::dry_run(&options);
    }
    hint(args, terminal);
    let shown = Shown::new(&args.run, terminal);
    let run = if args.run.verbose { run.on_record(shown.failures()) } else { run };
    let ended = runtime()?.block_on(drive(run, &shown, options.time.drain))?;
    shown.finish();
    let (summary, signal) = match ended {
        (Ok(summary), signal) => (summary, signal),
        (Err(FetchError::ClosedPipe), _) => return Ok(Exit::Closed),
        (Err(FetchError::Usage(message)), _) => return Err(Failure::usage(anyhow!("{message}"))),
        (Err(error), _) => {
            // Some say what is to be done instead, for the same command would meet the same.
            let is_to_begin_anew = error.to_string().contains("--fresh");
            if keeps_a_journal(&options) && !is_to_begin_anew {
                let again = command_line::again();
                return Err(Failure::environment(anyhow!(
                    "{error}\nnote: what is stored is whole; go on with: {again}"
                )));
            }
            return Err(Failure::environment(anyhow!("{error}")));
        }
    };
    let cookies = summary.cookies.as_deref().zip(args.http.cookie_jar.as_deref());
    if let Some((cookies, path)) = cookies {
        write_cookies(path, cookies)?;
    }
    shown.summary(&summary, signal);
    Ok(exit(&summary, signal))
}

/// The run, with what the library leaves to whoever runs it.
fn set_up(options: Options) -> Result<Run, Failure> {
    let program = options.extract.jq.as_deref().map(jq::JqTransform::compile).transpose()?;
    let run = Run::new(options).map_err(|error| Failure::usage(anyhow!("{error}")))?;
    Ok(match program {
        Some(program) => run.with_transform(Arc::new(program) as Arc<dyn Transform>),
        None => run,
    })
}

/// Runs it, shows how far it is, and passes signals on: the first drains, the second ends.
async fn drive(run: Run, shown: &Shown, drain: Duration) -> Result<(Result<Summary, FetchError>, Option<Signal>), Failure> {
    let mut signals = Signals::install().context("taking over signals").map_err(Failure::environment)?;
    let stop = StopSignal::new();
    let progress = run.progress();
    // Rates are counted from the first look.
    progress.snapshot();
    let mut driving = pin!(run.drive(stop.clone()));
    let mut first = None;
    loop {
        tokio::select! {
            biased;
            name = signals.next() => {
                let signal = if name == "SIGTERM" { Signal::Terminate } else { Signal::Interrupt };
                first.get_or_insert(signal);
                let in_flight = progress.snapshot().in_flight;
                if stop.more() == Stop::Drain {
                    shown.note(&format!("{name}: begins nothing new and waits up to {drain:?} for {in_flight} in flight; once more ends now"));
                }
            }
            ended = &mut driving => return Ok((ended, first)),
            () = shown.tick() => shown.show(&progress.snapshot()),
        }
    }
}

/// What a person or a supervisor ended the run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// The exit code is the whole run's, not this call's.
fn exit(summary: &Summary, signal: Option<Signal>) -> Exit {
    match (summary.ended, signal) {
        (Ended::Interrupted, Some(Signal::Terminate)) => Exit::Terminated,
        (Ended::Interrupted, _) => Exit::Interrupted,
        (Ended::Deadline | Ended::FailFast | Ended::MaxFailures, _) => Exit::Stopped,
        (Ended::Complete, _) if summary.failed() + summary.earlier_failed > 0 => Exit::Failed,
        (Ended::Complete, _) => Exit::Ok,
    }
}

fn keeps_a_journal(options: &Options) -> bool {
    let is_to_file = matches!(options.output.records, anabranch_fetch::options::RecordsTo::File(_));
    options.output.run.is_some() || is_to_file
}

fn write_cookies(path: &Path, cookies: &str) -> Result<(), Failure> {
    let written = std::fs::write(path, cookies);
    written
        .with_context(|| format!("writing `{}`", path.display()))
        .map_err(Failure::environment)
}

/// `-o` is the file of the records here, and of the body with curl.
fn hint(args: &FetchArgs, terminal: &Terminal) {
    let is_like_a_page = |file: &Path| {
        file.extension()
            .is_some_and(|extension| extension != "ndjson" && extension != "jsonl" && extension != "json")
    };
    let output = args.output.output.as_deref().filter(|file| is_like_a_page(file));
    let is_curl = output.is_some() && args.input.urls.len() == 1 && args.output.output_dir.is_none() && args.crawl.follow.is_empty();
    if is_curl && !args.run.quiet {
        terminal.tagged(Tag::Note, "`-o` names the file of the records; bodies go to files with `-O DIR`");
    }
}
