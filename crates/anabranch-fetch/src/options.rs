//! What a run is to do, as plain data: the command line fills it, and so may a program.
//!
//! Durations and sizes are limits; None is no limit.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

/// All of it. [`Options::default`] is what `anabranch fetch URL` does.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where jobs come from.
    pub input: InputOptions,
    /// How much at once, and how fast.
    pub limits: LimitOptions,
    /// What is tried again.
    pub retry: RetryOptions,
    /// How long things may take.
    pub time: TimeOptions,
    /// What is sent, and over what.
    pub http: HttpOptions,
    /// Where records and bodies go.
    pub output: OutputOptions,
    /// What is taken from bodies.
    pub extract: ExtractOptions,
    /// What is followed.
    pub crawl: CrawlOptions,
    /// How large files are got.
    pub download: DownloadOptions,
    /// When to stop early.
    pub stop: StopOptions,
}

/// Where jobs come from.
#[derive(Clone, Debug, Default)]
pub struct InputOptions {
    /// URLs as arguments.
    pub urls: Vec<String>,
    /// A file, or `-` for stdin.
    pub file: Option<PathBuf>,
    /// How it is read; None: by the file's name (`.csv`, `.ndjson`, `.jsonl`, `.xml` for a sitemap), else lines.
    pub format: Option<InputFormat>,
    /// `--url`: the URL of each job, with `{name}` for columns.
    pub url: Option<String>,
    /// `--id`: its id.
    pub id: Option<String>,
    /// `-d`: its body.
    pub body: Option<String>,
    /// `-H` values with holes are filled as well.
    pub headers: Vec<(HeaderName, String)>,
    /// `-X`; POST where there is a body, else GET.
    pub method: Option<Method>,
    /// Refuses the whole input when one line is invalid, before the first request. Needs a file.
    pub strict: bool,
}

/// How the input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFormat {
    /// A URL, or a value for `{line}`, on each line. Blank lines and lines that begin with `#` are no jobs.
    Lines,
    /// An object on each line: `url method headers body id` are the job, all else is `meta`.
    Ndjson,
    /// A header line names the columns.
    Csv,
    /// A sitemap or an index of sitemaps.
    Sitemap,
}

/// How much at once, and how fast.
#[derive(Clone, Debug)]
pub struct LimitOptions {
    /// Requests in flight: 64.
    pub concurrency: usize,
    /// Requests in flight to one host: 16.
    pub per_host: usize,
    /// Request starts a second, over all hosts.
    pub rate: Option<f64>,
    /// Request starts a second, to one host.
    pub host_rate: Option<f64>,
    /// Between the starts of two requests to one host.
    pub host_delay: Option<Duration>,
    /// Finds each host's concurrency by itself, up to `per_host`.
    pub adaptive: bool,
    /// `--limits`: what holds for single hosts. The most exact pattern wins.
    pub hosts: Vec<HostLimit>,
    /// Bytes a second, over all bodies.
    pub bytes_per_second: Option<u64>,
}

/// What holds for hosts of one pattern: `example.com` or `*.example.com`.
#[derive(Clone, Debug, PartialEq)]
pub struct HostLimit {
    /// The pattern, in lower case.
    pub pattern: String,
    /// Requests in flight.
    pub in_flight: Option<usize>,
    /// Request starts a second.
    pub rate: Option<f64>,
    /// Between the starts of two requests.
    pub delay: Option<Duration>,
}

impl Default for LimitOptions {
    fn default() -> Self {
        LimitOptions {
            concurrency: 64,
            per_host: 16,
            rate: None,
            host_rate: None,
            host_delay: None,
            adaptive: false,
            hosts: Vec::new(),
            bytes_per_second: None,
        }
    }
}

/// What is tried again.
#[derive(Clone, Debug)]
pub struct RetryOptions {
    /// Attempts after the first: 3.
    pub retries: u32,
    /// Statuses that are tried again: 408, 425, 429, 500, 502, 503, 504.
    pub statuses: Vec<u16>,
    /// Whether `connect`, `reset`, `timeout` and their like are tried again: yes.
    pub broken: bool,
    /// The first wait is at most this: 250 ms.
    pub backoff_base: Duration,
    /// No wait is longer: 30 s. Full jitter between.
    pub backoff_cap: Duration,
    /// A host that asks for a longer `Retry-After` than this is a failure: 5 minutes.
    pub max_retry_after: Duration,
    /// A host that has failed for this long without one success is given up: 15 minutes.
    pub host_give_up: Duration,
    /// Retries as a share of all requests: 0.2, never below 3 at once.
    pub budget: f64,
    /// POST and PATCH are tried again as well.
    pub unsafe_methods: bool,
}

impl Default for RetryOptions {
    fn default() -> Self {
        RetryOptions {
            retries: 3,
            statuses: vec![408, 425, 429, 500, 502, 503, 504],
            broken: true,
            backoff_base: Duration::from_millis(250),
            backoff_cap: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(5 * 60),
            host_give_up: Duration::from_secs(15 * 60),
            budget: 0.2,
            unsafe_methods: false,
        }
    }
}

/// How long things may take.
#[derive(Clone, Debug)]
pub struct TimeOptions {
    /// To connect, TLS included: 5 s.
    pub connect: Duration,
    /// From the request to the head of the answer: 15 s.
    pub first_byte: Option<Duration>,
    /// Between two pieces of a body: 15 s.
    pub idle: Option<Duration>,
    /// One attempt: 60 s; none where bodies go to files, unless said.
    pub attempt: Option<Duration>,
    /// All attempts of a job, waits for the host not counted.
    pub job: Option<Duration>,
    /// For a place in the pool: 30 s.
    pub pool: Duration,
    /// `--min-speed 1k/30s`: bytes, and the time over which fewer are too slow.
    pub min_speed: Option<(u64, Duration)>,
    /// After Ctrl-C: what is in flight may end: 10 s.
    pub drain: Duration,
}

impl Default for TimeOptions {
    fn default() -> Self {
        TimeOptions {
            connect: Duration::from_secs(5),
            first_byte: Some(Duration::from_secs(15)),
            idle: Some(Duration::from_secs(15)),
            attempt: Some(Duration::from_secs(60)),
            job: None,
            pool: Duration::from_secs(30),
            min_speed: None,
            drain: Duration::from_secs(10),
        }
    }
}

/// What is sent, and over what.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Headers of every request. Credentials never cross origins.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who we say we are: `anabranch/VERSION`. Never empty.
    pub user_agent: String,
    /// `-u` and `--bearer-env`: the Authorization header, for the origins named by the input only.
    pub authorization: Option<HeaderValue>,
    /// The text of a netrc file.
    pub netrc: Option<String>,
    /// Cookies to begin with, in Netscape's format; None is no jar at all.
    pub cookies: Option<String>,
    /// Redirects that are followed: 10.
    pub max_redirects: u32,
    /// `http://`, `https://` or `socks5://`, with userinfo.
    pub proxy: Option<Url>,
    /// Which HTTP: by ALPN unless said.
    pub version: HttpVersion,
    /// `host:port:address`.
    pub resolve: Vec<String>,
    /// PEM of certificates to trust in place of the system's.
    pub ca: Option<Vec<u8>>,
    /// PEM of our certificate and its key.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// `-k`.
    pub insecure: bool,
    /// Refuses private, loopback and link-local addresses.
    pub deny_private: bool,
    /// Statuses that are `ok`: 200 to 299 unless said.
    pub expect: Option<Vec<std::ops::RangeInclusive<u16>>>,
    /// Bodies as sent: no `Accept-Encoding`.
    pub raw: bool,
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// What ALPN gives; HTTP/1.1 in the clear.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2, in the clear by prior knowledge.
    Http2,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            headers: Vec::new(),
            user_agent: concat!("anabranch/", env!("CARGO_PKG_VERSION")).into(),
            authorization: None,
            netrc: None,
            cookies: None,
            max_redirects: 10,
            proxy: None,
            version: HttpVersion::Auto,
            resolve: Vec::new(),
            ca: None,
            certificate: None,
            insecure: false,
            deny_private: false,
            expect: None,
            raw: false,
        }
    }
}

/// Where records and bodies go.
#[derive(Clone, Debug)]
pub struct OutputOptions {
    /// `-o`: the record file.
    pub records: RecordsTo,
    /// `--run`: the folder of the journal.
    pub run: Option<PathBuf>,
    /// Begins anew: an existing run and its records are dropped.
    pub fresh: bool,
    /// Fetches what failed once more.
    pub retry_failed: bool,
    /// A new pass over a finished run, with conditional requests.
    pub if_changed: bool,
    /// With records on stdout: what an earlier call committed is not said again.
    pub new_only: bool,
    /// `-O`: a folder for bodies.
    pub folder: Option<PathBuf>,
    /// `--name`: names in it; `{host}/{id}{ext}`.
    pub name: String,
    /// When a file of that name is there that is not ours.
    pub on_exists: OnExists,
    /// `--sink`: databases and files beside the records.
    pub sinks: Vec<String>,
    /// What of the body goes into the record.
    pub body: BodyInRecord,
    /// The largest body as sent: 32 MiB; none where bodies go to files, unless said.
    pub max_body: Option<u64>,
    /// The largest body as decoded: 256 MiB.
    pub max_decoded: Option<u64>,
    /// `--fields`: what of a record is written, as paths (`id`, `t_ms.ttfb`); all of it when empty.
    pub fields: Vec<String>,
    /// `--only`.
    pub only: Option<Only>,
    /// `--headers`: answer headers that go into the record.
    pub headers: Vec<HeaderName>,
}

/// Where records go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RecordsTo {
    /// Stdout.
    #[default]
    Stdout,
    /// A file.
    File(PathBuf),
    /// Only into the run's folder (`records.ndjson`) and to whoever asks in the program.
    Nowhere,
}

/// When a file that is not ours has the name of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExists {
    /// Ours gets `-<id>` before its extension.
    #[default]
    Unique,
    /// The job fails.
    Fail,
    /// Ours replaces it.
    Overwrite,
    /// The job is done without a request.
    Skip,
}

/// What of the body goes into the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyInRecord {
    /// Nothing.
    #[default]
    None,
    /// Text, base64 where it is none.
    Inline,
    /// Base64.
    Base64,
}

/// Which records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// Those of [`is_fine`](crate::Outcome::is_fine).
    Ok,
    /// The others.
    Failed,
}

impl Default for OutputOptions {
    fn default() -> Self {
        OutputOptions {
            records: RecordsTo::Stdout,
            run: None,
            fresh: false,
            retry_failed: false,
            if_changed: false,
            new_only: false,
            folder: None,
            name: "{host}/{id}{ext}".into(),
            on_exists: OnExists::Unique,
            sinks: Vec::new(),
            body: BodyInRecord::None,
            max_body: Some(32 << 20),
            max_decoded: Some(256 << 20),
            fields: Vec::new(),
            only: None,
            headers: Vec::new(),
        }
    }
}

/// What is taken from bodies into `data`.
#[derive(Clone, Debug, Default)]
pub struct ExtractOptions {
    /// `--select name=css:h1`, `name=css:a@href`, `name=json:$.items[*].price`: name and selector.
    pub select: Vec<(String, String)>,
    /// `--jq`: the program's text. It is run by whoever runs the [`Run`](crate::run::Run).
    pub jq: Option<String>,
}

/// What is followed.
#[derive(Clone, Debug, Default)]
pub struct CrawlOptions {
    /// `--follow css:a@href`.
    pub follow: Vec<String>,
    /// How many links away from the input: unbounded unless said.
    pub depth: Option<u32>,
    /// How many jobs a crawl may have.
    pub max_pages: Option<u64>,
    /// Only hosts of the input.
    pub same_host: bool,
    /// Only registrable domains of the input.
    pub same_site: bool,
    /// URLs must match one of these.
    pub allow: Vec<String>,
    /// and none of these.
    pub deny: Vec<String>,
    /// The sitemaps of the input's hosts are read too.
    pub sitemap: bool,
    /// Whether robots.txt is obeyed; None: when crawling.
    pub robots: Option<bool>,
}

/// How large files are got.
#[derive(Clone, Debug)]
pub struct DownloadOptions {
    /// Pieces of one file at once: 1.
    pub segments: usize,
    /// Files below this come in one: 32 MiB.
    pub segment_min: u64,
    /// The text of a `SHA256SUMS` file.
    pub checksums: Option<String>,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        DownloadOptions {
            segments: 1,
            segment_min: 32 << 20,
            checksums: None,
        }
    }
}

/// When to stop early: exit code 4, resumable.
#[derive(Clone, Debug, Default)]
pub struct StopOptions {
    /// The whole run.
    pub deadline: Option<Duration>,
    /// At the first failure.
    pub fail_fast: bool,
    /// At so many failures.
    pub max_failures: Option<MaxFailures>,
}

/// How many failures end a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxFailures {
    /// So many.
    Count(u64),
    /// A share of the jobs that ended, once 100 have.
    Share(f64),
}
