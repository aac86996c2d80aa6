//! Command lines as they are typed, and what becomes of them.

use std::time::Duration;

use anabranch_gateway::config::MapLookup;
use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};
use crate::exit::Exit;

fn typed(line: &[&str]) -> FetchArgs {
    let cli = Cli::try_parse_from(["anabranch", "fetch"].iter().chain(line)).unwrap_or_else(|error| panic!("{error}"));
    match cli.command {
        Command::Fetch(args) => *args,
        other => panic!("{other:?}"),
    }
}

fn options(line: &[&str]) -> Options {
    of(&typed(line), &MapLookup::new()).unwrap_or_else(|failure| panic!("{:?}", failure.message().map(|text| text.to_string())))
}

/// What a line is refused with, after it was parsed.
fn refused(line: &[&str]) -> String {
    let failure = of(&typed(line), &MapLookup::new()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage, "{line:?}");
    failure.message().unwrap().to_string()
}

const URL: &str = "http://127.0.0.1:1/a";

#[test]
fn a_url_alone_is_the_library_s_default() {
    let ours = options(&[URL]);
    let mut default = Options::default();
    default.input.urls = vec![URL.into()];
    assert_eq!(format!("{ours:?}"), format!("{default:?}"));
}

#[test]
fn bodies_to_files_have_no_time_and_size_unless_said() {
    let files = options(&[URL, "-O", "dl"]);
    assert_eq!((files.time.attempt, files.output.max_body), (None, None));
    let said = options(&[URL, "-O", "dl", "--timeout", "9s", "--max-body", "1M"]);
    assert_eq!(
        (said.time.attempt, said.output.max_body),
        (Some(Duration::from_secs(9)), Some(1 << 20))
    );
    let none = options(&[URL, "--timeout", "none", "--max-decoded", "none", "--idle-timeout", "none"]);
    assert_eq!((none.time.attempt, none.output.max_decoded, none.time.idle), (None, None, None));
}

#[test]
fn records_go_where_they_are_sent() {
    assert_eq!(options(&[URL]).output.records, RecordsTo::Stdout);
    assert_eq!(options(&[URL, "--run", "r"]).output.records, RecordsTo::Nowhere);
    assert_eq!(options(&[URL, "--run", "r", "-o", "-"]).output.records, RecordsTo::Stdout);
    assert_eq!(options(&[URL, "-o", "x"]).output.records, RecordsTo::File("x".into()));
}

#[test]
fn limits_and_retries_are_passed_on() {
    let options = options(&[
        "-i",
        "urls.txt",
        "-j",
        "50",
        "--per-host",
        "5",
        "--rate",
        "200/s",
        "--host-rate",
        "30/m",
        "--host-delay",
        "250ms",
        "--adaptive",
        "--limit-rate",
        "20M",
        "--retries",
        "1",
        "--retry-on",
        "5xx",
        "--backoff",
        "1s..2s",
        "--retry-budget",
        "10%",
        "--retry-unsafe",
        "--min-speed",
        "1k/30s",
        "--deadline",
        "1h",
        "--max-failures",
        "5%",
        "--drain",
        "0",
    ]);
    let limits = &options.limits;
    assert_eq!((limits.concurrency, limits.per_host, limits.rate), (50, 5, Some(200.0)));
    assert_eq!((limits.host_rate, limits.host_delay), (Some(0.5), Some(Duration::from_millis(250))));
    assert_eq!((limits.adaptive, limits.bytes_per_second), (true, Some(20 << 20)));
    let retry = &options.retry;
    assert_eq!((retry.retries, retry.statuses.len(), retry.broken), (1, 100, false));
    assert_eq!(
        (retry.backoff_base, retry.backoff_cap),
        (Duration::from_secs(1), Duration::from_secs(2))
    );
    assert_eq!((retry.budget, retry.unsafe_methods), (0.1, true));
    assert_eq!(options.time.min_speed, Some((1024, Duration::from_secs(30))));
    assert_eq!(options.time.drain, Duration::ZERO);
    assert_eq!(options.stop.deadline, Some(Duration::from_secs(3600)));
    assert_eq!(options.stop.max_failures, Some(MaxFailures::Share(0.05)));
}

#[test]
fn bodies_bring_their_media_type_unless_it_is_given() {
    let media_type = |line: &[&str]| {
        let options = options(line);
        let header = options.http.headers.iter().find(|(name, _)| *name == CONTENT_TYPE);
        header.map(|(_, value)| value.to_str().unwrap().to_string())
    };
    assert_eq!(media_type(&[URL, "-d", r#"{"n": {line}}"#]).as_deref(), Some("application/json"));
    assert_eq!(
        media_type(&[URL, "-d", "n={line}"]).as_deref(),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        media_type(&[URL, "-d", "x", "-H", "content-type: text/csv"]).as_deref(),
        Some("text/csv")
    );
    assert_eq!(media_type(&[URL]), None);
    let json = options(&[URL, "--json", "[1]"]);
    assert!(
        json.http
            .headers
            .iter()
            .any(|(name, value)| *name == ACCEPT && value == "application/json")
    );
    assert_eq!(json.input.body.as_deref(), Some("[1]"));
}

#[test]
fn headers_with_holes_are_templates() {
    let options = options(&[URL, "-H", "X-Line: {line}", "-H", "X-Fixed: {}"]);
    assert_eq!(options.input.headers, [(HeaderName::from_static("x-line"), "{line}".to_string())]);
    assert_eq!(
        options.http.headers,
        [(HeaderName::from_static("x-fixed"), HeaderValue::from_static("{}"))]
    );
}

#[test]
fn credentials_become_headers_and_are_marked_as_secret() {
    let basic = options(&[URL, "-u", "ada:pässword"]).http.authorization.unwrap();
    assert!(basic.is_sensitive() && basic.to_str().unwrap().starts_with("Basic YWRhOn"));
    let args = typed(&[URL, "--bearer-env", "TOKEN"]);
    let bearer = of(&args, &MapLookup::new().with_env("TOKEN", "abc\n"))
        .unwrap_or_else(|_| panic!())
        .http
        .authorization;
    assert_eq!(bearer.unwrap(), "Bearer abc");
    assert!(refused(&[URL, "--bearer-env", "TOKEN"]).contains("`TOKEN` is not set"));
    assert!(refused(&[URL, "-u", "ada"]).contains("NAME:PASSWORD"));
}

#[test]
fn robots_is_decided_by_the_run_unless_said() {
    assert_eq!(options(&[URL, "--follow", "css:a@href"]).crawl.robots, None);
    assert_eq!(options(&[URL, "--robots", "ignore"]).crawl.robots, Some(false));
    assert_eq!(options(&[URL, "--robots", "obey"]).crawl.robots, Some(true));
}

#[test]
fn what_makes_no_sense_is_refused_with_what_was_expected() {
    for (line, part) in [
        (&["stauts"][..], "has no scheme"),
        (&["ftp://host/x"], "expected http or https"),
        (&[], "nothing to fetch"),
        (&[URL, "-i", "x"], "not both"),
        (&[URL, "--retry-failed"], "--run DIR"),
        (&[URL, "--if-changed", "-o", "-"], "--run DIR"),
        (&[URL, "--new-only"], "-o -"),
        (&[URL, "--depth", "2"], "--follow"),
        (&[URL, "-H", "nonsense"], "'Name: value'"),
        (&[URL, "-X", "G T"], "is no method"),
        (&[URL, "--expect", "twohundred"], "--expect"),
        (&[URL, "--retry-on", "connect"], "`broken`"),
        (&[URL, "--select", "title"], "NAME=css:SELECTOR"),
        (&[URL, "--select", "a=css:b", "--select", "a=css:c"], "twice"),
        (&[URL, "--user-agent", " "], "cannot be empty"),
        (&[URL, "-x", "ftp://p"], "socks5://"),
        (&[URL, "--resolve", "a:80"], "HOST:PORT:ADDRESS"),
        (&[URL, "--headers", "a b"], "header's name"),
    ] {
        let message = refused(line);
        assert!(message.contains(part), "{line:?}: {message}");
    }
}

#[test]
fn what_cannot_be_read_as_a_value_is_refused_by_its_flag() {
    for line in [
        &[URL, "-j", "0"][..],
        &[URL, "--rate", "200"],
        &[URL, "--timeout", "5"],
        &[URL, "--max-body", "big"],
        &[URL, "--on-exists", "skip"],
        &[URL, "--segments", "4"],
        &[URL, "--key", "x"],
        &[URL, "--http1.1", "--http2"],
        &[URL, "--fresh", "--retry-failed"],
        &[URL, "-d", "a", "--json", "b"],
        &[URL, "--only", "some"],
        &[URL, "--robots", "maybe"],
        &[URL, "-q", "-v"],
        &[URL, "--fail-fast", "--max-failures", "3"],
    ] {
        let error = Cli::try_parse_from(["anabranch", "fetch"].iter().chain(line)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line:?}");
    }
}
