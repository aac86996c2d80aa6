//! What a run would do, without doing it: `--dry-run` shows the first jobs, `--explain` the limits of a URL. Data goes to stdout.

use std::fmt::Write;

use anabranch_fetch::input::{Entry, Input};
use anabranch_fetch::schedule::{Rules, Schedule};
use anabranch_fetch::{FetchError, Job, Options};
use anyhow::anyhow;
use tokio::time::Instant;
use url::Url;

use crate::exit::{Exit, Failure};
use crate::terminal;

/// Jobs that are shown.
const SHOWN: usize = 10;
/// Bytes of a body that are shown.
const BODY_SHOWN: usize = 200;

/// The first jobs as they would be sent, and the limits of their hosts.
pub(crate) fn dry_run(options: &Options) -> Result<Exit, Failure> {
    let mut input = Input::open(&options.input).map_err(failure)?;
    let mut text = String::new();
    let mut shown = 0;
    let mut first_url = None;
    while shown < SHOWN
        && let Some(entry) = input.next().map_err(failure)?
    {
        match entry {
            Entry::Job(entry) => {
                first_url.get_or_insert_with(|| entry.url.clone());
                job(&mut text, &entry, options);
            }
            Entry::Invalid { seq, text: line, why, .. } => {
                let _ = writeln!(text, "invalid, line {seq}: {why}: {line}");
            }
            Entry::Duplicate { seq, first, url, .. } => {
                let _ = writeln!(text, "duplicate of {first}, line {seq}: {url}");
            }
        }
        shown += 1;
    }
    let rest = match input.known_total() {
        Some(1) => "1 job in all".to_string(),
        Some(total) if total <= shown as u64 => format!("{total} jobs in all"),
        Some(total) => format!("... and {} more jobs", total - shown as u64),
        None if shown < SHOWN => format!("{shown} jobs in all"),
        None => "... and what follows".to_string(),
    };
    let _ = writeln!(text, "{rest}");
    if let Some(url) = first_url {
        let _ = write!(text, "\n{}", limits(options, &url));
    }
    terminal::data(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// Which limits hold for a URL, and what a job of it would wait for in a run that begins now.
pub(crate) fn explain(options: &Options, url: &str) -> Result<Exit, Failure> {
    let parsed = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let parsed = parsed.ok_or_else(|| Failure::usage(anyhow!("`{url}` is no URL, expected one such as `https://example.com/a`")))?;
    let mut text = limits(options, &parsed);
    let retry = &options.retry;
    let statuses: Vec<String> = retry.statuses.iter().map(u16::to_string).collect();
    let broken = if retry.broken { ", and what breaks off" } else { "" };
    let _ = writeln!(text, "retries");
    let _ = writeln!(text, "  up to {} after statuses {}{broken}", retry.retries, statuses.join(","));
    let _ = writeln!(
        text,
        "  waits from {:?} to {:?}; Retry-After up to {:?}",
        retry.backoff_base, retry.backoff_cap, retry.max_retry_after
    );
    let _ = writeln!(text, "  given up after {:?} without an answer", retry.host_give_up);
    let is_crawl = !options.crawl.follow.is_empty() || options.crawl.sitemap;
    let robots = if options.crawl.robots.unwrap_or(is_crawl) {
        "obeyed: its rules and its Crawl-delay come on top, and are read when the run does"
    } else {
        "not read"
    };
    let _ = writeln!(text, "robots.txt\n  {robots}");
    terminal::data(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn failure(error: FetchError) -> Failure {
    match error {
        FetchError::Usage(message) => Failure::usage(anyhow!("{message}")),
        error => Failure::environment(anyhow!("{error}")),
    }
}

fn limits(options: &Options, url: &Url) -> String {
    let now = Instant::now();
    let schedule: Schedule<()> = Schedule::new(Rules::new(&options.limits, &options.retry), now);
    schedule.explain(&host(url), now).to_string()
}

/// As limits name it: with its port, where it is not the scheme's own.
fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_string(), |port| format!("{name}:{port}"))
}

fn job(text: &mut String, job: &Job, options: &Options) {
    let _ = writeln!(text, "{} {}", job.method, without_login(&job.url));
    let _ = writeln!(text, "  id {}", job.id);
    for (name, value) in options.http.headers.iter().chain(&job.headers) {
        let value = if is_secret(name) {
            "***".into()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let _ = writeln!(text, "  {name}: {value}");
    }
    if let Some(body) = &job.body {
        let start = String::from_utf8_lossy(&body[..body.len().min(BODY_SHOWN)]);
        let more = if body.len() > BODY_SHOWN {
            format!("... ({} bytes)", body.len())
        } else {
            String::new()
        };
        let _ = writeln!(text, "  body {}{more}", start.replace('\n', "\n       "));
    }
}

/// With `***` for the name and the password.
fn without_login(url: &Url) -> Url {
    let mut url = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        // They fail only for URLs without a host, which are no jobs.
        let _ = url.set_password(None);
        let _ = url.set_username("***");
    }
    url
}

/// What is not shown on a screen that others may see.
fn is_secret(name: &http::HeaderName) -> bool {
    [http::header::AUTHORIZATION, http::header::COOKIE, http::header::PROXY_AUTHORIZATION].contains(name)
}
