//! What was typed becomes [`Options`]: lists are taken apart, files are read, what contradicts itself is refused.

use std::path::{Path, PathBuf};

use anabranch_fetch::options::{
    BodyInRecord, CrawlOptions, DownloadOptions, ExtractOptions, HttpOptions, HttpVersion, InputFormat, InputOptions, LimitOptions,
    MaxFailures, OnExists, Only, OutputOptions, RecordsTo, RetryOptions, StopOptions, TimeOptions,
};
use anabranch_fetch::Options;
use anabranch_gateway::Lookup;
use anyhow::anyhow;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::Method;
use url::Url;

use super::host_limits;
use super::lists;
use crate::cli::fetch::{
    BodyForm, CrawlArgs, DownloadArgs, Exists, ExtractArgs, FetchArgs, Format, HttpArgs, InputArgs, LimitArgs, OutputArgs, ResumeArgs,
    RetryArgs, RobotsRule, RunArgs, TimeArgs, Which,
};
use crate::cli::units::{Bound, Failures};
use crate::config_file;
use crate::exit::Failure;

/// Where netrc files are looked for, after `NETRC`.
const NETRC: &str = ".netrc";

/// All of it.
///
/// # Errors
/// Usage: flags contradict each other, or a value is not what its flag expects. Environment: a file cannot be read.
pub(crate) fn of(args: &FetchArgs, lookup: &dyn Lookup) -> Result<Options, Failure> {
    check_together(args)?;
    let bodies_to_files = args.output.output_dir.is_some();
    let mut http = http(&args.http, lookup)?;
    let input = input(&args.input, &mut http)?;
    Ok(Options {
        input,
        limits: limits(&args.limits)?,
        retry: retry(&args.retry)?,
        time: time(&args.time, bodies_to_files),
        http,
        output: output(&args.output, &args.resume)?,
        extract: extract(&args.extract)?,
        crawl: crawl(&args.crawl),
        download: download(&args.download)?,
        stop: stop(&args.run),
    })
}

/// A fault in the command line.
fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::usage(anyhow!("{message}"))
}

fn check_together(args: &FetchArgs) -> Result<(), Failure> {
    let is_to_stdout = args.output.output.as_deref().is_none_or(|file| file == Path::new("-"));
    let keeps_a_journal = args.resume.run.is_some() || !is_to_stdout;
    let flags = [
        ("--retry-failed", args.resume.retry_failed),
        ("--if-changed", args.resume.if_changed),
    ];
    if let Some((flag, _)) = flags.iter().find(|(_, is_on)| *is_on && !keeps_a_journal) {
        return Err(usage(format!(
            "`{flag}` needs the journal of an earlier run: name it with `--run DIR` or `-o FILE`"
        )));
    }
    if args.resume.new_only && !(args.output.output.is_some() && is_to_stdout && args.resume.run.is_some()) {
        return Err(usage(
            "`--new-only` is for records on stdout of a run that is kept: add `-o -` and `--run DIR`",
        ));
    }
    if args.input.urls.is_empty() && args.input.input.is_none() && args.run.explain.is_none() {
        return Err(usage("nothing to fetch: expected URLs, or `-i FILE` (`-i -` reads stdin)"));
    }
    if !args.input.urls.is_empty() && args.input.input.is_some() {
        return Err(usage("expected URLs or `-i FILE`, not both"));
    }
    let crawl = &args.crawl;
    let bounds_a_crawl = crawl.depth.is_some() || crawl.same_host || crawl.same_site || !crawl.allow.is_empty() || !crawl.deny.is_empty();
    if bounds_a_crawl && crawl.follow.is_empty() && !crawl.sitemap {
        return Err(usage(
            "`--depth`, `--same-host`, `--same-site`, `--allow` and `--deny` bound a crawl: add `--follow css:a@href`",
        ));
    }
    Ok(())
}

/// Jobs. Headers without holes, and those that a body brings, go to `http`.
fn input(args: &InputArgs, http: &mut HttpOptions) -> Result<InputOptions, Failure> {
    args.urls.iter().try_for_each(|url| check_scheme(url))?;
    let mut templates = Vec::new();
    for header in &args.headers {
        let (name, value) = lists::header(header).map_err(usage)?;
        if lists::has_holes(&value) {
            templates.push((name, value));
        } else {
            let plain = HeaderValue::from_str(&value).map_err(|_| usage(format!("`{header}` is no header, expected 'Name: value'")))?;
            http.headers.push((name, plain));
        }
    }
    let typed = args.json.as_deref().or(args.data.as_deref());
    let body = typed.map(text_or_file).transpose()?;
    if let Some(body) = &body {
        let is_json = args.json.is_some() || lists::is_json(body);
        let media_type = if is_json {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        default_header(http, &templates, CONTENT_TYPE, media_type);
        if args.json.is_some() {
            default_header(http, &templates, ACCEPT, "application/json");
        }
    }
    let method = args.method.as_deref().map(|text| {
        let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes());
        method.map_err(|_| usage(format!("`{text}` is no method, expected one such as `GET` or `POST`")))
    });
    Ok(InputOptions {
        urls: args.urls.clone(),
        file: args.input.clone(),
        format: args.format.map(|format| match format {
            Format::Lines => InputFormat::Lines,
            Format::Ndjson => InputFormat::Ndjson,
            Format::Csv => InputFormat::Csv,
            Format::Sitemap => InputFormat::Sitemap,
        }),
        url: args.url.clone(),
        id: args.id.clone(),
        body,
        headers: templates,
        method: method.transpose()?,
        strict: args.strict,
    })
}

/// So that a mistyped sub-command or flag is not taken for a host.
fn check_scheme(url: &str) -> Result<(), Failure> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => Ok(()),
        Some(other) => Err(usage(format!("cannot fetch `{other}:` URLs, expected http or https"))),
        None => Err(usage(format!("`{url}` has no scheme, expected a URL such as `https://{url}`"))),
    }
}

fn default_header(http: &mut HttpOptions, templates: &[(HeaderName, String)], name: HeaderName, value: &'static str) {
    let is_given = http.headers.iter().any(|(known, _)| *known == name) || templates.iter().any(|(known, _)| *known == name);
    if !is_given {
        http.headers.push((name, HeaderValue::from_static(value)));
    }
}

/// The text itself; `@FILE` and `@-` are read, as curl does.
fn text_or_file(text: &str) -> Result<String, Failure> {
    match text.strip_prefix('@') {
        Some(file) => config_file::read(Path::new(file)),
        None => Ok(text.to_string()),
    }
}

fn limits(args: &LimitArgs) -> Result<LimitOptions, Failure> {
    let hosts = args.limits.as_deref().map(host_limits::load).transpose()?.unwrap_or_default();
    Ok(LimitOptions {
        concurrency: args.concurrency.get(),
        per_host: args.per_host.get(),
        rate: args.rate,
        host_rate: args.host_rate,
        host_delay: args.host_delay.filter(|delay| !delay.is_zero()),
        adaptive: args.adaptive,
        hosts,
        bytes_per_second: args.limit_rate,
    })
}

fn retry(args: &RetryArgs) -> Result<RetryOptions, Failure> {
    let on = lists::retry_on(&args.retry_on).map_err(|error| usage(format!("--retry-on: {error}")))?;
    Ok(RetryOptions {
        retries: args.retries,
        statuses: on.statuses,
        broken: on.broken,
        backoff_base: args.backoff.0,
        backoff_cap: args.backoff.1,
        max_retry_after: args.max_retry_after,
        host_give_up: args.host_give_up,
        budget: args.retry_budget,
        unsafe_methods: args.retry_unsafe,
    })
}

/// Bodies that go to files may take as long as they keep coming.
fn time(args: &TimeArgs, bodies_to_files: bool) -> TimeOptions {
    let usual = TimeOptions::default().attempt.filter(|_| !bodies_to_files);
    TimeOptions {
        connect: args.connect_timeout,
        first_byte: args.first_byte_timeout.into_option(),
        idle: args.idle_timeout.into_option(),
        attempt: args.timeout.map_or(usual, Bound::into_option),
        job: args.job_timeout.and_then(Bound::into_option),
        pool: args.pool_timeout,
        min_speed: args.min_speed.map(|speed| (speed.bytes, speed.time)),
        drain: args.drain,
    }
}

fn http(args: &HttpArgs, lookup: &dyn Lookup) -> Result<HttpOptions, Failure> {
    if args.user_agent.trim().is_empty() {
        return Err(usage("`--user-agent` cannot be empty: servers refuse what does not say who it is"));
    }
    let version = match (args.http1, args.http2) {
        (true, _) => HttpVersion::Http1,
        (_, true) => HttpVersion::Http2,
        _ => HttpVersion::Auto,
    };
    let proxy = args.proxy.as_deref().map(proxy).transpose()?;
    for entry in &args.resolve {
        let is_complete = entry.splitn(3, ':').filter(|part| !part.is_empty()).count() == 3;
        if !is_complete {
            return Err(usage(format!("`{entry}` is no `--resolve`, expected `HOST:PORT:ADDRESS`")));
        }
    }
    let cookies = match args.cookies.as_deref() {
        Some("") => Some(String::new()),
        Some(path) => Some(config_file::read(Path::new(path))?),
        None => args.cookie_jar.as_ref().map(|_| String::new()),
    };
    let expect = args.expect.as_deref().map(lists::statuses).transpose();
    let ca = args.cacert.as_deref().map(pem).transpose()?;
    let certificate = args.cert.as_deref().map(pem).transpose()?;
    let key = args.key.as_deref().map(pem).transpose()?;
    Ok(HttpOptions {
        headers: Vec::new(),
        user_agent: args.user_agent.clone(),
        authorization: authorization(args, lookup)?,
        netrc: netrc(args, lookup)?,
        cookies,
        max_redirects: args.max_redirs,
        proxy,
        version,
        resolve: args.resolve.clone(),
        ca,
        certificate: certificate.map(|certificate| {
            let key = key.unwrap_or_else(|| certificate.clone());
            (certificate, key)
        }),
        insecure: args.insecure,
        deny_private: args.deny_private,
        expect: expect.map_err(|error| usage(format!("--expect: {error}")))?,
        raw: args.no_decode,
    })
}

fn pem(path: &Path) -> Result<Vec<u8>, Failure> {
    config_file::read(path).map(String::into_bytes)
}

fn proxy(text: &str) -> Result<Url, Failure> {
    // Not shown: it may hold a password.
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && url.has_host());
    url.ok_or_else(|| usage("`--proxy` is no proxy, expected `http://HOST:PORT`, `https://HOST:PORT` or `socks5://HOST:PORT`"))
}

fn authorization(args: &HttpArgs, lookup: &dyn Lookup) -> Result<Option<HeaderValue>, Failure> {
    let text = match (&args.user, &args.bearer_env) {
        (Some(user), _) if user.contains(':') => format!("Basic {}", BASE64.encode(user)),
        (Some(_), _) => return Err(usage("`--user` expects `NAME:PASSWORD`; write `NAME:` where there is no password")),
        (None, Some(variable)) => {
            let token = lookup.env(variable).filter(|token| !token.trim().is_empty());
            let token = token.ok_or_else(|| usage(format!("`--bearer-env`: the variable `{variable}` is not set")))?;
            format!("Bearer {}", token.trim())
        }
        (None, None) => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| usage("the credentials hold bytes that no header can have"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn netrc(args: &HttpArgs, lookup: &dyn Lookup) -> Result<Option<String>, Failure> {
    let path = match (&args.netrc_file, args.netrc) {
        (Some(path), _) => path.clone(),
        (None, false) => return Ok(None),
        (None, true) => {
            let named = lookup.env("NETRC").map(PathBuf::from);
            let at_home = || lookup.env("HOME").map(|home| Path::new(&home).join(NETRC));
            named
                .or_else(at_home)
                .ok_or_else(|| usage("`--netrc`: there is no HOME to look in; name the file with `--netrc-file`"))?
        }
    };
    config_file::read(&path).map(Some)
}

fn output(args: &OutputArgs, resume: &ResumeArgs) -> Result<OutputOptions, Failure> {
    let records = match args.output.as_deref() {
        Some(path) if path == Path::new("-") => RecordsTo::Stdout,
        Some(path) => RecordsTo::File(path.to_path_buf()),
        None if resume.run.is_some() => RecordsTo::Nowhere,
        None => RecordsTo::Stdout,
    };
    let headers: Result<Vec<HeaderName>, Failure> = args.record_headers.iter().map(|name| header_name(name)).collect();
    let usual = OutputOptions::default().max_body.filter(|_| args.output_dir.is_none());
    Ok(OutputOptions {
        records,
        run: resume.run.clone(),
        fresh: resume.fresh,
        retry_failed: resume.retry_failed,
        if_changed: resume.if_changed,
        new_only: resume.new_only,
        folder: args.output_dir.clone(),
        name: args.name.clone(),
        on_exists: match args.on_exists {
            Exists::Unique => OnExists::Unique,
            Exists::Fail => OnExists::Fail,
            Exists::Overwrite => OnExists::Overwrite,
            Exists::Skip => OnExists::Skip,
        },
        sinks: args.sinks.clone(),
        body: match args.body {
            BodyForm::None => BodyInRecord::None,
            BodyForm::Inline => BodyInRecord::Inline,
            BodyForm::Base64 => BodyInRecord::Base64,
        },
        max_body: args.max_body.map_or(usual, Bound::into_option),
        max_decoded: args.max_decoded.into_option(),
        fields: args.fields.iter().map(|field| field.trim().to_string()).collect(),
        only: args.only.map(|which| match which {
            Which::Ok => Only::Ok,
            Which::Failed => Only::Failed,
        }),
        headers: headers?,
    })
}

fn header_name(name: &str) -> Result<HeaderName, Failure> {
    name.trim().parse().map_err(|_| {
        usage(format!(
            "`--headers`: `{name}` is no header's name, expected a list such as `server,x-cache`"
        ))
    })
}

fn extract(args: &ExtractArgs) -> Result<ExtractOptions, Failure> {
    let mut select: Vec<(String, String)> = Vec::new();
    for text in &args.select {
        let (name, selector) = lists::selection(text).map_err(usage)?;
        if select.iter().any(|(known, _)| *known == name) {
            return Err(usage(format!("`--select` names `{name}` twice, expected each name once")));
        }
        select.push((name, selector));
    }
    Ok(ExtractOptions {
        select,
        jq: args.jq.clone(),
    })
}

fn crawl(args: &CrawlArgs) -> CrawlOptions {
    CrawlOptions {
        follow: args.follow.clone(),
        depth: args.depth,
        max_pages: args.max_pages,
        same_host: args.same_host,
        same_site: args.same_site,
        allow: args.allow.clone(),
        deny: args.deny.clone(),
        sitemap: args.sitemap,
        robots: args.robots.map(|rule| rule == RobotsRule::Obey),
    }
}

fn download(args: &DownloadArgs) -> Result<DownloadOptions, Failure> {
    Ok(DownloadOptions {
        segments: args.segments,
        segment_min: args.segment_min,
        checksums: args.checksums.as_deref().map(config_file::read).transpose()?,
    })
}

fn stop(args: &RunArgs) -> StopOptions {
    StopOptions {
        deadline: args.deadline,
        fail_fast: args.fail_fast,
        max_failures: args.max_failures.map(|failures| match failures {
            Failures::Count(count) => MaxFailures::Count(count),
            Failures::Share(share) => MaxFailures::Share(share),
        }),
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
