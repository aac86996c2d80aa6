//! What may be typed: commands and flags, as text. What they mean is decided in `commands/`.

pub(crate) mod fetch;
pub(crate) mod units;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{styling::AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it ran and the result is bad; 2 a fault in the command line or a file, nothing started;
3 the machine refused (file, address, output); 130 interrupted before it was done. `fetch --help` has those of fetch.";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold());

/// Turns slow, serial calls into one reply in the time of the slowest path: an API aggregation gateway. And fetches lists of URLs,
/// losing none.
#[derive(Debug, Parser)]
#[command(name = "anabranch", version, styles = STYLES, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Colour in words to stderr: `always`, `never`, or `auto`, on a terminal unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorWhen::Auto, hide_possible_values = true)]
    pub(crate) color: ColorWhen,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When words are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always, also into a pipe.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(ServeArgs),
    Check(CheckArgs),
    Plan(PlanArgs),
    Try(TryArgs),
    Purge(PurgeArgs),
    Mock(MockArgs),
    Demo(DemoArgs),
    Fetch(Box<fetch::FetchArgs>),
    Completions(CompletionsArgs),
}

/// Runs the gateway.
///
/// Reads the config, checks all of it, listens, and answers until SIGTERM or Ctrl-C; then it takes no new requests, ends
/// those in flight and exits. A second signal ends it at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anabranch serve gateway.yaml
  anabranch serve gateway.yaml --dev --listen 127.0.0.1:3000
  anabranch serve gateway.yaml --cores 4 --settle 5 --grace 25     # behind a load balancer")]
pub(crate) struct ServeArgs {
    /// The config.
    pub(crate) file: PathBuf,
    /// For development: Server-Timing on every reply, errors explained.
    #[arg(long)]
    pub(crate) dev: bool,
    /// Cores to answer on; all that this process may use unless said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) cores: Option<u16>,
    /// After SIGTERM, seconds of answering as before, not ready, so that load balancers look elsewhere first.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    pub(crate) settle: Duration,
    /// Then, seconds for the requests in flight to end.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "25")]
    pub(crate) grace: Duration,
    /// Listens here instead of at the config's `listen`.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
}

/// Checks configs and prints every fault with its place.
///
/// Nothing is started, and without --connect nobody is asked. Exits with 2 if a file has a fault, 3 if one cannot be read.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anabranch check gateway.yaml
  anabranch check --connect gateway.yaml
  anabranch check routes/*.yaml
  generate-config | anabranch check -")]
pub(crate) struct CheckArgs {
    /// The configs; `-` is stdin.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Asks the databases of the config what they make of its statements, without running any. One that cannot be reached is a warning.
    #[arg(long)]
    pub(crate) connect: bool,
}

/// Shows what each route does: which calls run at once, the critical path, how much it may be at the most.
///
/// Nothing is started and nobody is asked. The numbers are the bounds that the config sets, not measurements: every request is
/// made, every attempt fails as late as it may. Goes to stdout.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anabranch plan gateway.yaml
  anabranch plan gateway.yaml 'GET /activity/{id:int}'
  anabranch plan gateway.yaml /activity/7                      # the route that answers this request
  anabranch plan gateway.yaml --mermaid > docs/routes.mmd      # a flowchart")]
pub(crate) struct PlanArgs {
    /// The config; `-` is stdin.
    pub(crate) file: PathBuf,
    /// One route only: as written in the config, or a request that it answers. Without a method GET.
    pub(crate) route: Option<String>,
    /// A Mermaid flowchart in place of tables.
    #[arg(long)]
    pub(crate) mermaid: bool,
}

/// Answers one request with the real sources, and draws where the time went.
///
/// The gateway runs inside this process and listens nowhere. The body of the reply goes to stdout; its status line, its
/// headers and the waterfall go to stderr. Exits with 1 if the reply is an error (status 400 and above).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anabranch try 'GET /activity/7'
  anabranch try /activity/7 -c shop.yaml -H 'Authorization: Bearer abc' | jq .items
  anabranch try 'POST /orders' -d '{\"sku\": \"X1\"}'
  anabranch try 'POST /orders' -d @order.json")]
pub(crate) struct TryArgs {
    /// Method and path: 'GET /activity/7?lang=de'. Without a method GET, with --data POST.
    pub(crate) request: String,
    /// The config; `-` is stdin.
    #[arg(short, long, value_name = "FILE", default_value = "gateway.yaml")]
    pub(crate) config: PathBuf,
    /// A header of the request: 'Name: value'. May be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// The request's body; @FILE reads a file, @- stdin. Content-Type is application/json unless -H says otherwise.
    #[arg(short, long, value_name = "BODY")]
    pub(crate) data: Option<String>,
    /// Writes the status line and the headers to stdout, before the body.
    #[arg(short, long)]
    pub(crate) include: bool,
    /// The reply only: no status line, no headers, no waterfall on stderr.
    #[arg(short, long)]
    pub(crate) silent: bool,
}

/// Drops kept answers of a gateway that runs, over the unix socket that its config names as `admin`.
///
/// Without a flag all of them; with several those to which all flags apply. What a route or a call has kept is known by how its
/// requests begin, so that more may go than was meant, and never less. Prints how many to stdout: {"purged":12}.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anabranch purge gateway.yaml
  anabranch purge gateway.yaml --source users
  anabranch purge gateway.yaml --route 'GET /rules/{id:int}' --call rules")]
pub(crate) struct PurgeArgs {
    /// The config of the gateway.
    pub(crate) file: PathBuf,
    /// What this source answered.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// What calls of this route are served, as the config writes it.
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Option<String>,
    /// What calls of this name are served.
    #[arg(long, value_name = "NAME")]
    pub(crate) call: Option<String>,
}

/// Runs upstreams that answer as a file says: bodies, latencies, error rates, faults.
///
/// Prints one line `NAME URL` per upstream to stdout once all of them listen, and answers until Ctrl-C.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anabranch mock mocks.yaml

mocks.yaml:
  upstreams:
    shop:
      listen: 127.0.0.1:8000          # without it a free port
      latency: 10ms..40ms             # or 20ms, or { median: 20ms, p99: 200ms }
      routes:
        GET /activities/*: { body: { id: 7, title: Autumn } }
        GET /slow:         { latency: 2s, errors: 5%, body: [] }
        GET /dead:         { fault: hang }")]
pub(crate) struct MockArgs {
    /// The mock file; `-` is stdin.
    pub(crate) file: PathBuf,
}

/// Shows what it is for: a page of twelve services of 2 to 3 s each, asked one after another, then through the gateway.
///
/// Needs no config and no network: twelve mocks on free loopback ports. Afterwards it stays up, so that you can ask it
/// yourself, until Ctrl-C.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anabranch demo
  anabranch demo --once     # exits with 0 if the page took at most the slowest path + 50 ms, else with 1")]
pub(crate) struct DemoArgs {
    /// Ends after the two runs.
    #[arg(long)]
    pub(crate) once: bool,
    /// Multiplies the mocks' latencies; for tests.
    #[arg(long, hide = true, value_name = "FACTOR", value_parser = factor, default_value = "1")]
    pub(crate) scale: f64,
}

/// Prints the completion script of a shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anabranch completions bash > /etc/bash_completion.d/anabranch
  anabranch completions fish > ~/.config/fish/completions/anabranch.fish
  anabranch completions zsh  > \"${fpath[1]}/_anabranch\"")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Seconds with or without a fraction, up to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || "expected seconds from 0 to 86400, for example `5` or `2.5`".to_string();
    let number: f64 = text.parse().map_err(|_| expected())?;
    if (0.0..=86_400.0).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err(expected())
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number, for example `0.05`".to_string())?;
    if (0.001..=10.0).contains(&number) {
        Ok(number)
    } else {
        Err("expected a number from 0.001 to 10".to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("anabranch {}", command.get_name())),
                "{} has no example",
                command.get_name()
            );
        }
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        for bad in ["", "5s", "-1", "nan", "inf", "86401"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
