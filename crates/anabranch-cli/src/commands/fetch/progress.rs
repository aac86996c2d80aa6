//! What is said while a run goes on, on stderr: a bar on a terminal, a line now and then elsewhere, objects for programs.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anabranch::Deadline;
use anabranch_fetch::run::{Snapshot, Summary};
use anabranch_fetch::Record;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::summary::{self, bytes, counted};
use super::{Signal, command_line};
use crate::cli::fetch::{ProgressForm, RunArgs};
use crate::terminal::{Tag, Terminal};

/// Hosts that are named as waiting.
const HELD_SHOWN: usize = 3;

/// Who is told, and how.
pub(crate) struct Shown {
    form: Form,
    terminal: Terminal,
    is_quiet: bool,
}

enum Form {
    Bar(Arc<ProgressBar>),
    Plain,
    Json,
    None,
}

impl Shown {
    /// As the flags and the terminal say.
    pub(crate) fn new(args: &RunArgs, terminal: &Terminal) -> Shown {
        let form = match (args.progress, terminal.in_place) {
            _ if args.quiet => Form::None,
            (ProgressForm::None, _) => Form::None,
            (ProgressForm::Json, _) => Form::Json,
            (ProgressForm::Plain, _) => Form::Plain,
            (ProgressForm::Auto | ProgressForm::Bar, true) => Form::Bar(Arc::new(bar())),
            (ProgressForm::Auto | ProgressForm::Bar, false) => Form::Plain,
        };
        Shown {
            form,
            terminal: *terminal,
            is_quiet: args.quiet,
        }
    }

    /// Waits until it is time to show something again.
    pub(crate) async fn tick(&self) {
        let every = match &self.form {
            Form::Bar(_) => Duration::from_millis(200),
            Form::Json => Duration::from_secs(1),
            Form::Plain => Duration::from_secs(10),
            Form::None => return std::future::pending().await,
        };
        Deadline::after(every).wait().await;
    }

    /// Shows how far it is.
    pub(crate) fn show(&self, snapshot: &Snapshot) {
        match &self.form {
            Form::Bar(bar) => {
                match snapshot.known_total {
                    Some(total) => bar.set_length(total),
                    None => bar.unset_length(),
                }
                bar.set_position(snapshot.done);
                bar.set_message(words(snapshot));
                bar.set_prefix(held(snapshot));
                bar.tick();
            }
            Form::Plain => {
                let held = held(snapshot);
                let waits = if held.is_empty() { String::new() } else { format!("; {held}") };
                self.terminal.say(format!("{}: {}{waits}", position(snapshot), words(snapshot)));
            }
            Form::Json => self.terminal.say(object(snapshot).to_string()),
            Form::None => {}
        }
    }

    /// Says something beside the progress.
    pub(crate) fn note(&self, words: &str) {
        if self.is_quiet {
            return;
        }
        match &self.form {
            Form::Bar(bar) => bar.suspend(|| self.terminal.tagged(Tag::Note, words)),
            Form::Json => self.terminal.say(json!({ "note": words }).to_string()),
            Form::Plain | Form::None => self.terminal.tagged(Tag::Note, words),
        }
    }

    /// Says each job that failed, from whatever thread sees its record.
    pub(crate) fn failures(&self) -> impl FnMut(&Record) + Send + 'static {
        let bar = match &self.form {
            Form::Bar(bar) => Some(bar.clone()),
            _ => None,
        };
        move |record| {
            let Some(error) = record.error.as_ref().filter(|_| !record.outcome.is_fine()) else {
                return;
            };
            let attempts = if record.attempts == 1 {
                String::new()
            } else {
                format!(" after {} attempts", record.attempts)
            };
            let line = format!("{} {}{attempts}: {}", error.kind, record.url, error.message);
            let say = || {
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            };
            match &bar {
                Some(bar) => bar.suspend(say),
                None => say(),
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    /// Says what the run came to.
    pub(crate) fn summary(&self, ended: &Summary, signal: Option<Signal>) {
        if self.is_quiet {
            return;
        }
        let again = ended.resume.is_some().then(command_line::again);
        match &self.form {
            Form::Json => self.terminal.say(summary::object(ended, again).to_string()),
            _ => summary::lines(ended, signal, again).iter().for_each(|line| self.terminal.say(line)),
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    // A template of ours always parses; without a style the bar would be plainer, not wrong.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg}\n{prefix}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn position(snapshot: &Snapshot) -> String {
    match snapshot.known_total {
        Some(total) => format!("{} of {}", snapshot.done, counted(total, "job")),
        None => counted(snapshot.done, "job"),
    }
}

/// `312/s, 64 in flight, 3 failed (timeout 2, dns 1), 2 min left`.
fn words(snapshot: &Snapshot) -> String {
    let mut words = vec![format!("{:.0}/s", snapshot.rate), format!("{} in flight", snapshot.in_flight)];
    let failed: u64 = snapshot.failed.iter().map(|(_, count)| count).sum();
    if failed > 0 {
        words.push(format!("{failed} failed ({})", summary::by_outcome(&snapshot.failed)));
    }
    if snapshot.retries > 0 {
        words.push(format!("{} tried again", snapshot.retries));
    }
    words.push(bytes(snapshot.bytes));
    if let Some(left) = snapshot.eta {
        words.push(format!("{} left", summary::span(left)));
    }
    words.join(", ")
}

/// `waiting: a.example (retry-after, 12 s, 300 jobs)`; nothing where no host holds its jobs back.
fn held(snapshot: &Snapshot) -> String {
    let one = |held: &anabranch_fetch::schedule::Held| {
        // Shorter waits are over before they are read.
        let wait = held.wait.filter(|wait| *wait >= Duration::from_secs(1));
        let wait = wait.map_or_else(String::new, |wait| format!(", {}", summary::span(wait)));
        format!("{} ({}{wait}, {})", held.host, held.reason, counted(held.queued, "job"))
    };
    let hosts: Vec<String> = snapshot.held.iter().take(HELD_SHOWN).map(one).collect();
    if hosts.is_empty() {
        String::new()
    } else {
        format!("waiting: {}", hosts.join(", "))
    }
}

fn object(snapshot: &Snapshot) -> serde_json::Value {
    let failed: serde_json::Map<_, _> = snapshot
        .failed
        .iter()
        .map(|(outcome, count)| (outcome.as_str().to_string(), json!(count)))
        .collect();
    let held: Vec<_> = snapshot
        .held
        .iter()
        .map(|held| json!({"host": &*held.host, "reason": held.reason.as_str(), "wait_s": held.wait.map(|wait| wait.as_secs_f64()), "queued": held.queued}))
        .collect();
    json!({
        "done": snapshot.done,
        "earlier": snapshot.earlier,
        "total": snapshot.known_total,
        "in_flight": snapshot.in_flight,
        "queued": snapshot.queued,
        "rate": (snapshot.rate * 10.0).round() / 10.0,
        "failed": failed,
        "retries": snapshot.retries,
        "bytes": snapshot.bytes,
        "eta_s": snapshot.eta.map(|left| left.as_secs()),
        "held": held,
    })
}

#[cfg(test)]
mod tests {
    use anabranch_fetch::Outcome;
    use anabranch_fetch::schedule::{Held, Reason};

    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            done: 1200,
            known_total: Some(20_000),
            in_flight: 64,
            queued: 900,
            rate: 312.4,
            failed: vec![(Outcome::Timeout, 2), (Outcome::Dns, 1)],
            bytes: 12_345_678,
            eta: Some(Duration::from_secs(61)),
            held: vec![Held {
                host: "a.example".into(),
                reason: Reason::RetryAfter,
                wait: Some(Duration::from_secs(12)),
                queued: 300,
                in_flight: 0,
            }],
            ..Snapshot::default()
        }
    }

    #[test]
    fn progress_says_what_fails_and_who_waits() {
        assert_eq!(position(&snapshot()), "1200 of 20000 jobs");
        assert_eq!(
            words(&snapshot()),
            "312/s, 64 in flight, 3 failed (timeout 2, dns 1), 12.3 MB, 61 s left"
        );
        assert_eq!(held(&snapshot()), "waiting: a.example (retry-after, 12 s, 300 jobs)");
        assert_eq!(held(&Snapshot::default()), "");
    }

    #[test]
    fn programs_are_told_the_same_in_numbers() {
        let object = object(&snapshot());
        assert_eq!(
            (&object["done"], &object["total"], &object["failed"]["dns"]),
            (&json!(1200), &json!(20_000), &json!(1))
        );
        assert_eq!(
            (&object["held"][0]["reason"], &object["eta_s"]),
            (&json!("retry-after"), &json!(61))
        );
    }
}
