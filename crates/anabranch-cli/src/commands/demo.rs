//! `demo`: a page of twelve services, asked one after another, then through the gateway. Needs no config and no network.
//!
//! Both waterfalls show what the services saw, not what the asking side says of itself.

mod serial;
mod stage;

use std::time::Duration;

use anabranch::{Client, Deadline, Request, Source};
use anyhow::anyhow;
use serde_json::Value;
use tokio::time::Instant;

use super::runtime;
use crate::cli::DemoArgs;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::terminal::{paint, Terminal};
use crate::waterfall::{span_text, Waterfall};
use stage::Stage;

/// What the gateway may add to the slowest path, the connections to twelve services included.
const OVERHEAD_MAX: Duration = Duration::from_millis(50);
/// The page takes 4 s; this is for when something is broken.
const REPLY_LIMIT: Duration = Duration::from_secs(60);
/// The page that is asked for.
const PAGE: &str = "/activity/7";

/// Shows both runs, then stays up unless told otherwise.
pub(crate) fn run(args: &DemoArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    terminal.say("anabranch demo: a page made of twelve services that take 2 to 3 s each");
    runtime()?.block_on(async {
        let stage = Stage::set(args.scale).await?;
        let served = stage.serve();
        tokio::select! {
            biased;
            shown = shown_and_kept(args, &stage, terminal) => shown,
            () = served => Err(Failure::failed(anyhow!("the gateway stopped by itself"))),
        }
    })
}

async fn shown_and_kept(args: &DemoArgs, stage: &Stage, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut signals = Signals::install().map_err(Failure::environment)?;
    let exit = tokio::select! {
        biased;
        _ = signals.next() => {
            terminal.say_in_place("");
            return Ok(Exit::Interrupted);
        }
        exit = show(stage, terminal) => exit?,
    };
    if args.once {
        return Ok(exit);
    }
    terminal.say(format!(
        "\nIt stays up. Ask it yourself:\n\n  curl -i {}{PAGE}\n\nCtrl-C ends",
        stage.url()
    ));
    signals.next().await;
    Ok(Exit::Ok)
}

/// Both runs and what they say.
async fn show(stage: &Stage, terminal: &Terminal) -> Result<Exit, Failure> {
    if !terminal.in_place {
        terminal.say(format!(
            "asking them one after another, which takes about {:.0} s",
            stage.serial_estimate().as_secs_f64().ceil()
        ));
    }
    let serial = serial_run(stage, terminal).await?;
    let concurrent = gateway_run(stage).await?;
    draw("one after another", &serial.seen_apart(), terminal);
    draw(&format!("through the gateway: GET {PAGE}"), &concurrent.seen, terminal);
    if serial.page != concurrent.page {
        return Err(Failure::failed(anyhow!(
            "the two pages differ:\n{}\n{}",
            serial.page,
            concurrent.page
        )));
    }
    Ok(verdict(&serial.seen, &concurrent.seen, terminal))
}

/// One run: the page it made, and what the services saw of it.
struct Run {
    page: Value,
    seen: Waterfall,
}

impl Run {
    /// Without what waits for what: in a serial run each call waits for all before it.
    fn seen_apart(&self) -> Waterfall {
        let mut seen = self.seen.clone();
        seen.rows.iter_mut().for_each(|row| row.waits.clear());
        seen
    }
}

async fn serial_run(stage: &Stage, terminal: &Terminal) -> Result<Run, Failure> {
    let started = Instant::now();
    let page = serial::page(stage, |done, all, name| progress(terminal, started, done, all, name)).await?;
    let took = started.elapsed();
    terminal.say_in_place("");
    Ok(Run {
        page,
        seen: stage.seen(started, took).await,
    })
}

fn progress(terminal: &Terminal, started: Instant, done: usize, all: usize, name: &str) {
    let bar: String = (0..all).map(|at| if at < done { '#' } else { '-' }).collect();
    terminal.say_in_place(&format!(
        "one after another [{bar}] {done}/{all} {:>8}  {name}",
        span_text(started.elapsed())
    ));
}

/// One request over HTTP, from a client that has no connection yet.
async fn gateway_run(stage: &Stage) -> Result<Run, Failure> {
    let client = Client::new();
    let gateway = Source::http("gateway", &stage.url()).map_err(Failure::failed)?;
    let request = Request::get(PAGE).map_err(Failure::failed)?;
    let started = Instant::now();
    let (reply, _) = gateway
        .call(&client, &request, gateway.settings(), Deadline::after(REPLY_LIMIT))
        .await;
    let took = started.elapsed();
    let reply = reply.map_err(Failure::failed)?;
    let page = serde_json::from_slice(reply.body()).map_err(Failure::failed)?;
    if reply.status() != 200 || reply.header("anabranch-parts").is_some() {
        return Err(Failure::failed(anyhow!(
            "the page is not complete: status {}, {page}",
            reply.status()
        )));
    }
    Ok(Run {
        page,
        seen: stage.seen(started, took).await,
    })
}

fn draw(title: &str, seen: &Waterfall, terminal: &Terminal) {
    let title = format!("{title}, {}", span_text(seen.took));
    terminal.say(format!(
        "\n{}\n\n{}",
        paint(terminal.color, "1", &title),
        seen.render(terminal.width, terminal.color).trim_end()
    ));
}

/// The numbers, and whether the page was as fast as it can be.
fn verdict(serial: &Waterfall, concurrent: &Waterfall, terminal: &Terminal) -> Exit {
    let (slowest, path) = serial.slowest_path();
    let overhead = concurrent.took.saturating_sub(slowest);
    let times = serial.took.as_secs_f64() / concurrent.took.as_secs_f64().max(1e-6);
    let line = |what: &str, time: Duration, note: &str| terminal.say(format!("  {what:<12} {:>9}   {note}", span_text(time)));
    terminal.say("");
    line("serial", serial.took, "the twelve calls one after another");
    line("slowest path", slowest, &path.join(", then "));
    line(
        "concurrent",
        concurrent.took,
        &format!("the page from the gateway: {times:.1} times faster"),
    );
    line("overhead", overhead, "concurrent less slowest path");
    if overhead <= OVERHEAD_MAX {
        return Exit::Ok;
    }
    terminal.say(format!(
        "  the overhead is above {}: is this machine busy?",
        span_text(OVERHEAD_MAX)
    ));
    Exit::Failed
}
