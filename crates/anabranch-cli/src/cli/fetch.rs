//! What may be typed after `anabranch fetch`: flags as text and as numbers with their units. What they mean together is decided in
//! `commands/fetch/options.rs`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::units::{self, Bound, Failures, Speed};

/// Fetches many URLs: bounded, polite, resumable after a crash, exactly one record for each.
///
/// A job is a URL, or a row of a file put into templates. Each ends as one line of JSON, in order of completion, whatever happened to it:
/// `outcome` says how, `error` says why. With --run, or with -o FILE, the same command goes on where it stopped, also after `kill -9`.
/// Records go to stdout or a file, words to stderr.
#[derive(Args, Debug)]
#[command(after_help = "\
Durations have a unit (250ms, 5s, 10m, 1h), sizes may (64k, 10M, 1G; powers of 1024), rates are 200/s or 30/m; `none` takes a limit away.
In URLs, headers, bodies and ids, {name} is a column: a CSV header, an NDJSON key, {line} and {seq}; {name:raw} is not encoded.

Examples:
  anabranch fetch https://example.com/ --select title=css:title
  anabranch fetch -i urls.txt -j 50 --per-host 5 --run r1 -o out.ndjson
  jq -r 'select(.outcome != \"ok\") | [.url, .error.kind] | @tsv' out.ndjson
  seq 1 200 | anabranch fetch -i - --url 'http://127.0.0.1:8000/page/{line}.html' --select title=css:title -o pages.ndjson
  anabranch fetch -i orders.csv --url https://api.example.com/orders -d @order.json.tpl --id '{order_no}' --retry-unsafe
  anabranch fetch -i urls.txt --run r1 --sink 'pg://localhost/db?table=pages'
  anabranch fetch https://docs.example.com/ --follow css:a@href --same-host --depth 5 -O mirror --run docs --if-changed
  anabranch fetch -i isos.txt -O dl --segments 4 --checksums SHA256SUMS
  anabranch fetch -i urls.txt --limits hosts.yaml --explain https://example.com/a

Exit codes: 0 every job ended well or was left out on purpose; 1 the run is complete and some jobs failed; 2 a fault in the command line
or the input, nothing was requested; 3 a file, a sink or the input failed; 4 stopped by --deadline, --fail-fast or --max-failures;
130 and 143 SIGINT and SIGTERM; 141 stdout was closed. After 3, 4, 130, 141 and 143 the same command goes on.")]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) resume: ResumeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) extract: ExtractArgs,
    #[command(flatten)]
    pub(crate) crawl: CrawlArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) download: DownloadArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Where jobs come from.
#[derive(Args, Debug)]
#[command(next_help_heading = "Jobs")]
pub(crate) struct InputArgs {
    /// URLs, with their scheme.
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// A file of jobs; `-` is stdin.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// How it is read: by its name (.csv, .ndjson, .jsonl, .xml) unless said, else as lines.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// The URL of each job, with {name} for columns.
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) url: Option<String>,
    /// The id of each job: what makes it the same one when the run is resumed. A hash of the request unless said.
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) id: Option<String>,
    /// The method: GET, and POST where there is a body.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// A header of every request: 'Name: value', with {name} for columns. May be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// The body of every request, with {name} for columns; @FILE reads a file.
    #[arg(short, long, value_name = "TEXT|@FILE", conflicts_with = "json")]
    pub(crate) data: Option<String>,
    /// The same, as JSON: sets Content-Type and Accept.
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) json: Option<String>,
    /// Refuses the whole file when one line of it is no job. Needs a file.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// How the input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A URL, or a value for {line}, on each line.
    Lines,
    /// An object on each line.
    Ndjson,
    /// With a header line.
    Csv,
    /// A sitemap of pages, plain or gzip.
    Sitemap,
}

/// How much at once, and how fast.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Requests in flight.
    #[arg(short = 'j', long, value_name = "N", default_value = "64", value_parser = places)]
    pub(crate) concurrency: NonZeroUsize,
    /// Requests in flight to one host.
    #[arg(long, value_name = "N", default_value = "16", value_parser = places)]
    pub(crate) per_host: NonZeroUsize,
    /// Requests begun in a second, or in a minute, over all hosts.
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) rate: Option<f64>,
    /// The same, to one host.
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) host_rate: Option<f64>,
    /// Between the beginnings of two requests to one host.
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) host_delay: Option<Duration>,
    /// Finds how many requests each host stands by itself, up to --per-host.
    #[arg(long)]
    pub(crate) adaptive: bool,
    /// A YAML file of limits for single hosts: '"*.example.com": { in_flight: 2, rate: 5/s, delay: 1s }'.
    #[arg(long, value_name = "FILE")]
    pub(crate) limits: Option<PathBuf>,
    /// Bytes a second, over all bodies.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes_per_second)]
    pub(crate) limit_rate: Option<u64>,
}

/// What is tried again.
#[derive(Args, Debug)]
#[command(next_help_heading = "Retries")]
pub(crate) struct RetryArgs {
    /// Attempts after the first.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) retries: u32,
    /// What is tried again: statuses, 5xx, and `broken` for no answer at all (connect, reset, timeout and their like).
    #[arg(long, value_name = "LIST", default_value = "408,425,429,500,502,503,504,broken")]
    pub(crate) retry_on: String,
    /// The first wait and the longest one; each is a random part of twice the one before.
    #[arg(long, value_name = "FROM..TO", default_value = "250ms..30s", value_parser = units::backoff)]
    pub(crate) backoff: (Duration, Duration),
    /// A host that asks for a longer wait (Retry-After) has failed.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = units::duration)]
    pub(crate) max_retry_after: Duration,
    /// A host that has failed for this long without one success is given up, and its jobs with it.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = units::duration)]
    pub(crate) host_give_up: Duration,
    /// Retries as a share of all requests, never below 3 at once.
    #[arg(long, value_name = "SHARE", default_value = "20%", value_parser = units::share)]
    pub(crate) retry_budget: f64,
    /// Tries POST and PATCH again as well: the server may see them twice.
    #[arg(long)]
    pub(crate) retry_unsafe: bool,
}

/// How long things may take.
#[derive(Args, Debug)]
#[command(next_help_heading = "Timeouts")]
pub(crate) struct TimeArgs {
    /// To connect, TLS included.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::some_time)]
    pub(crate) connect_timeout: Duration,
    /// From the request to the head of the answer.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = units::time_bound)]
    pub(crate) first_byte_timeout: Bound<Duration>,
    /// Between two pieces of a body.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = units::time_bound)]
    pub(crate) idle_timeout: Bound<Duration>,
    /// One attempt: 60s, and none with -O.
    #[arg(long, value_name = "TIME", value_parser = units::time_bound)]
    pub(crate) timeout: Option<Bound<Duration>>,
    /// All attempts of a job; waits for the host do not count.
    #[arg(long, value_name = "TIME", value_parser = units::time_bound)]
    pub(crate) job_timeout: Option<Bound<Duration>>,
    /// Waiting for a connection.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::some_time)]
    pub(crate) pool_timeout: Duration,
    /// The slowest body: so many bytes in so much time.
    #[arg(long, value_name = "SIZE/TIME", value_parser = units::speed)]
    pub(crate) min_speed: Option<Speed>,
    /// After Ctrl-C: time for what is in flight to end.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) drain: Duration,
}

/// Going on where an earlier call stopped.
#[derive(Args, Debug)]
#[command(next_help_heading = "Resume")]
pub(crate) struct ResumeArgs {
    /// The folder that holds the run's journal; the run goes on if it exists.
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Begins anew: drops an existing run and its records.
    #[arg(long, conflicts_with_all = ["retry_failed", "if_changed"])]
    pub(crate) fresh: bool,
    /// Fetches what failed once more; the records of those failures are replaced.
    #[arg(long)]
    pub(crate) retry_failed: bool,
    /// Another pass over a run that is done: asks with ETag and Last-Modified, and says what has changed.
    #[arg(long)]
    pub(crate) if_changed: bool,
    /// With -o -: does not say again what earlier calls have committed.
    #[arg(long)]
    pub(crate) new_only: bool,
}

/// Where records and bodies go.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// The file of the records; `-` is stdout. Without it stdout, with --run DIR/records.ndjson.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Writes bodies to files in this folder.
    #[arg(short = 'O', long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Their names: {host} {path} {name} {query} {ext} {id} {seq} {depth}.
    #[arg(long, value_name = "TEMPLATE", default_value = "{host}/{id}{ext}", requires = "output_dir")]
    pub(crate) name: String,
    /// When there is a file of that name that is not the run's.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Exists::Unique, requires = "output_dir")]
    pub(crate) on_exists: Exists,
    /// Also writes the records to: pg://HOST/DB?table=NAME, csv:FILE, warc:FILE, parquet:DIR. May be given several times.
    #[arg(long = "sink", value_name = "SINK")]
    pub(crate) sinks: Vec<String>,
    /// Puts the body into the record: as text where it is text, or always as base64.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = BodyForm::None)]
    pub(crate) body: BodyForm,
    /// The largest body as sent: 32M, and none with -O.
    #[arg(long, value_name = "SIZE", value_parser = units::size_bound)]
    pub(crate) max_body: Option<Bound<u64>>,
    /// The largest body once decompressed.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = units::size_bound)]
    pub(crate) max_decoded: Bound<u64>,
    /// Only these fields of a record: id,url,t_ms.ttfb,data.title.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) fields: Vec<String>,
    /// Only records of jobs that failed, or of those that did not.
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) only: Option<Which>,
    /// Headers of the answer that go into the record.
    #[arg(long = "headers", value_name = "LIST", value_delimiter = ',')]
    pub(crate) record_headers: Vec<String>,
}

/// When a file is there that is not the run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exists {
    /// The new one is named NAME-ID.
    Unique,
    /// The job fails.
    Fail,
    /// The old one is replaced.
    Overwrite,
    /// The job is done without a request.
    Skip,
}

/// The body in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BodyForm {
    /// It is not there.
    None,
    /// As text, base64 where it is none.
    Inline,
    /// As base64.
    Base64,
}

/// Which records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Of jobs that ended well.
    Ok,
    /// Of jobs that did not.
    Failed,
}

/// What is taken from bodies.
#[derive(Args, Debug)]
#[command(next_help_heading = "Extract")]
pub(crate) struct ExtractArgs {
    /// Puts a part of the body into data: title=css:h1, link=css:a@href, price=json:$.items[*].price. May be given several times.
    #[arg(long, value_name = "NAME=SELECTOR")]
    pub(crate) select: Vec<String>,
    /// Puts what a jq program makes of a JSON body into data.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "select")]
    pub(crate) jq: Option<String>,
}

/// What is followed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Crawl")]
pub(crate) struct CrawlArgs {
    /// Makes jobs of links: css:a@href. May be given several times.
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) follow: Vec<String>,
    /// How many links away from the input.
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<u32>,
    /// How many jobs there may be.
    #[arg(long, value_name = "N")]
    pub(crate) max_pages: Option<u64>,
    /// Stays on the hosts of the input.
    #[arg(long)]
    pub(crate) same_host: bool,
    /// Stays on the registered domains of the input.
    #[arg(long)]
    pub(crate) same_site: bool,
    /// Follows only URLs that match one of these regular expressions. May be given several times.
    #[arg(long, value_name = "RE")]
    pub(crate) allow: Vec<String>,
    /// and none that match one of these.
    #[arg(long, value_name = "RE")]
    pub(crate) deny: Vec<String>,
    /// Reads the sitemaps of the input's hosts too.
    #[arg(long)]
    pub(crate) sitemap: bool,
    /// Whether robots.txt is obeyed: with --follow or --sitemap unless said.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) robots: Option<RobotsRule>,
}

/// What is made of robots.txt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RobotsRule {
    /// It is read and obeyed.
    Obey,
    /// It is not read.
    Ignore,
}

/// What is sent, and over what.
#[derive(Args, Debug)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// Who we say we are.
    #[arg(short = 'A', long, value_name = "TEXT", default_value = concat!("anabranch/", env!("CARGO_PKG_VERSION")))]
    pub(crate) user_agent: String,
    /// Basic credentials, for the origins of the input only.
    #[arg(short, long, value_name = "NAME:PASSWORD", conflicts_with = "bearer_env")]
    pub(crate) user: Option<String>,
    /// The environment variable that holds a bearer token, for the origins of the input only.
    #[arg(long, value_name = "VAR")]
    pub(crate) bearer_env: Option<String>,
    /// Credentials by host from ~/.netrc, or the file that NETRC names.
    #[arg(long)]
    pub(crate) netrc: bool,
    /// The same, from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "netrc")]
    pub(crate) netrc_file: Option<PathBuf>,
    /// Keeps cookies, beginning with those of a file in Netscape's format; '' begins with none.
    #[arg(short = 'b', long, value_name = "FILE")]
    pub(crate) cookies: Option<String>,
    /// Writes the cookies to this file at the end, and keeps some.
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) cookie_jar: Option<PathBuf>,
    /// Redirects that are followed.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(..=50))]
    pub(crate) max_redirs: u32,
    /// For those who type it as for curl: redirects are followed anyway.
    #[arg(short = 'L', long, hide = true)]
    pub(crate) location: bool,
    /// A proxy: http://, https:// or socks5://, with name and password where it wants them.
    #[arg(short = 'x', long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// HTTP/1.1 only.
    #[arg(long = "http1.1", conflicts_with = "http2")]
    pub(crate) http1: bool,
    /// HTTP/2 only; without TLS by prior knowledge.
    #[arg(long)]
    pub(crate) http2: bool,
    /// Where a name leads to. May be given several times.
    #[arg(long, value_name = "HOST:PORT:ADDRESS")]
    pub(crate) resolve: Vec<String>,
    /// Certificates to trust in place of the system's (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Our certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key (PEM); in the file of --cert unless said.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Trusts any certificate.
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// Refuses private, loopback and link-local addresses, also where a redirect or a name leads to one.
    #[arg(long)]
    pub(crate) deny_private: bool,
    /// Statuses that are a success: 2xx unless said.
    #[arg(long, value_name = "LIST")]
    pub(crate) expect: Option<String>,
    /// Asks for bodies without compression, and leaves them as sent.
    #[arg(long)]
    pub(crate) no_decode: bool,
}

/// How large files are got.
#[derive(Args, Debug)]
#[command(next_help_heading = "Downloads")]
pub(crate) struct DownloadArgs {
    /// Pieces of one file at once.
    #[arg(long, value_name = "N", default_value = "1", value_parser = segments, requires = "output_dir")]
    pub(crate) segments: usize,
    /// Smaller files come in one piece.
    #[arg(long, value_name = "SIZE", default_value = "32M", value_parser = units::size)]
    pub(crate) segment_min: u64,
    /// A SHA256SUMS file: a body with another hash is a failure.
    #[arg(long, value_name = "FILE")]
    pub(crate) checksums: Option<PathBuf>,
}

/// The run as a whole.
#[derive(Args, Debug)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunArgs {
    /// Ends the run after this time.
    #[arg(long, value_name = "TIME", value_parser = units::some_time)]
    pub(crate) deadline: Option<Duration>,
    /// Ends the run at the first failure.
    #[arg(long, conflicts_with = "max_failures")]
    pub(crate) fail_fast: bool,
    /// Ends the run at so many failures, or at such a share of the jobs once 100 have ended: 50, 5%.
    #[arg(long, value_name = "N|SHARE", value_parser = units::failures)]
    pub(crate) max_failures: Option<Failures>,
    /// What is said meanwhile, on stderr: a bar on a terminal and lines elsewhere, JSON for programs.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ProgressForm::Auto)]
    pub(crate) progress: ProgressForm,
    /// Says nothing but errors.
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Says each job that fails, as it does.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Shows the first jobs and the limits, and requests nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Says which limits hold for a URL and what it would wait for, and requests nothing.
    #[arg(long, value_name = "URL", conflicts_with = "dry_run")]
    pub(crate) explain: Option<String>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressForm {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// A line now and then.
    Plain,
    /// An object now and then.
    Json,
    /// Nothing.
    None,
}

/// Places of a limit: file descriptors and ports end well below.
fn places(text: &str) -> Result<NonZeroUsize, String> {
    let number: Option<NonZeroUsize> = text.parse().ok();
    number
        .filter(|number| number.get() <= 100_000)
        .ok_or_else(|| "expected a number from 1 to 100000".to_string())
}

fn segments(text: &str) -> Result<usize, String> {
    let number: Option<usize> = text.parse().ok();
    number
        .filter(|number| (1..=64).contains(number))
        .ok_or_else(|| "expected a number from 1 to 64".to_string())
}

#[cfg(test)]
mod tests {
    use anabranch_fetch::Outcome;
    use clap::CommandFactory;

    const PAGE: &str = include_str!("../../../../docs/reference/fetch.md");

    #[test]
    fn the_reference_page_has_every_flag() {
        let cli = crate::cli::Cli::command();
        let fetch = cli.find_subcommand("fetch").unwrap();
        let flags = fetch.get_arguments().filter(|flag| !flag.is_hide_set() && !flag.is_global_set());
        for flag in flags.filter_map(|flag| flag.get_long()) {
            // Behind it comes the end of the name, or its value.
            let is_there = [" ", "`", "\\|"]
                .iter()
                .any(|end| PAGE.contains(&format!("`--{flag}{end}")) || PAGE.contains(&format!(", `--{flag}{end}")));
            assert!(is_there, "`--{flag}` is not in docs/reference/fetch.md");
        }
    }

    #[test]
    fn the_reference_page_has_every_outcome_and_says_which_are_fine() {
        for outcome in Outcome::ALL {
            let fine = if outcome.is_fine() { "yes" } else { "" };
            let row = format!("| `{outcome}` | {fine}", outcome = outcome.as_str());
            assert!(PAGE.contains(row.trim_end()), "{row}");
        }
    }
}
