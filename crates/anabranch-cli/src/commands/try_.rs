//! `try`: one request, answered in this process by the real sources, and where its time went.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anabranch::{Client, Compute, ComputeSettings, Deadline};
use anabranch_gateway::gateway::{Answer, CoreOptions, RequestTrace};
use anabranch_gateway::{Core, Gateway};
use anyhow::anyhow;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, Uri};

use super::runtime;
use super::serve::notes;
use crate::cli::TryArgs;
use crate::config_file;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::terminal::{self, paint, Tag, Terminal};
use crate::waterfall::{self, span_text};

/// What writes already sent may take after the reply before the process ends.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

/// A deadline of so long is none.
const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Answers the request and shows the reply and its waterfall.
pub(crate) fn run(args: &TryArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let request = request(args)?;
    let plan = match config_file::load(&args.config, terminal)?.or_exit() {
        Ok(plan) => plan,
        Err(exit) => return Ok(exit),
    };
    let gateway = Gateway::build_with_notes(plan, notes(terminal)).map_err(Failure::usage)?;
    runtime()?.block_on(async {
        let mut signals = Signals::install().map_err(Failure::environment)?;
        let signal = tokio::select! {
            biased;
            ended = answer(args, request, gateway.clone(), terminal) => return ended,
            signal = signals.next() => signal,
        };
        // Its programs have process groups of their own, so that Ctrl-C on a terminal does not reach them.
        gateway.kill();
        terminal.tagged(Tag::Note, format!("{signal}: the request was broken off"));
        Ok(if signal == "SIGTERM" { Exit::Terminated } else { Exit::Interrupted })
    })
}

/// Answers, shows, and waits for what goes on without the reply.
async fn answer(args: &TryArgs, request: Request<Bytes>, gateway: Arc<Gateway>, terminal: &Terminal) -> Result<Exit, Failure> {
    let options = CoreOptions { dev: true, trace: true };
    let core = Core::with_compute(gateway, Client::new(), options, Compute::new(ComputeSettings::default()));
    let answer = core.answer(request).await;
    let shown = show(args, &answer, terminal);
    // A write that was sent goes on without its reply; ending the process would cut it off.
    for name in core.drain(Deadline::after(LEFT_BEHIND)).await {
        terminal.tagged(Tag::Warning, format!("`{name}` was still running and has been cut off"));
    }
    shown.map(|()| if answer.status.as_u16() < 400 { Exit::Ok } else { Exit::Failed })
}

/// What was typed, as a request.
fn request(args: &TryArgs) -> Result<Request<Bytes>, Failure> {
    let (method, uri) = target(&args.request, args.data.is_some())?;
    let body = args.data.as_deref().map(body).transpose()?.unwrap_or_default();
    let mut headers = HeaderMap::new();
    for header in &args.headers {
        let (name, value) = parse_header(header)?;
        headers.append(name, value);
    }
    headers.entry(HOST).or_insert(HeaderValue::from_static("localhost"));
    if args.data.is_some() {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// `GET /activity/7`, or the path alone.
fn target(text: &str, has_data: bool) -> Result<(Method, Uri), Failure> {
    let text = text.trim();
    let (method, path) = match text.split_once(' ') {
        Some((method, path)) => {
            let unknown = || Failure::usage(anyhow!("`{method}` is no method, expected one such as `GET` or `POST`"));
            (
                Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|_| unknown())?,
                path.trim_start(),
            )
        }
        None if has_data => (Method::POST, text),
        None => (Method::GET, text),
    };
    if !path.starts_with('/') {
        return Err(Failure::usage(anyhow!(
            "`{path}` is no path, expected `METHOD /path`, for example 'GET /activity/7'"
        )));
    }
    let uri = path
        .parse::<Uri>()
        .map_err(|error| Failure::usage(anyhow!("`{path}` is no path ({error}), expected it encoded as in a URL")))?;
    Ok((method, uri))
}

/// `Name: value`.
fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let bad = || Failure::usage(anyhow!("`{text}` is no header, expected 'Name: value'"));
    let (name, value) = text.split_once(':').ok_or_else(bad)?;
    Ok((name.trim().parse().map_err(|_| bad())?, value.trim().parse().map_err(|_| bad())?))
}

/// The text itself; `@file` and `@-` are read, as curl does.
fn body(data: &str) -> Result<Bytes, Failure> {
    match data.strip_prefix('@') {
        Some(file) => config_file::read(Path::new(file)).map(Bytes::from),
        None => Ok(Bytes::from(data.to_string())),
    }
}

fn show(args: &TryArgs, answer: &Answer, terminal: &Terminal) -> Result<(), Failure> {
    let head = head(answer);
    if args.include {
        terminal::data(format!("{head}\n").as_bytes())?;
    } else if !args.silent {
        let code = if answer.status.is_success() { "32" } else { "31" };
        let (status, headers) = head.split_once('\n').unwrap_or((&head, ""));
        terminal.say(format!(
            "{}\n{}",
            paint(terminal.color, code, status),
            paint(terminal.color, "2", headers.trim_end())
        ));
    }
    terminal::data(&answer.body)?;
    let unfinished_line = !answer.body.is_empty() && !answer.body.ends_with(b"\n") && std::io::stdout().is_terminal();
    if unfinished_line {
        terminal::data(b"\n")?;
    }
    if let (Some(trace), false) = (&answer.trace, args.silent) {
        terminal.say(drawn(trace, terminal));
    }
    Ok(())
}

fn head(answer: &Answer) -> String {
    let reason = answer.status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\n", answer.status.as_u16());
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    head
}

fn drawn(trace: &RequestTrace, terminal: &Terminal) -> String {
    let waterfall = waterfall::of_trace(trace);
    // What is passed through has no deadline, or one that no person waits for.
    let limit = if trace.deadline < NO_LIMIT {
        format!(" of {}", span_text(trace.deadline))
    } else {
        String::new()
    };
    let title = format!("{} took {}{limit}", trace.route, span_text(trace.took));
    let bars = waterfall.render(terminal.width, terminal.color);
    format!("\n{}\n\n{bars}\n  {}", paint(terminal.color, "1", &title), waterfall.summary())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str, has_data: bool) -> Result<String, Exit> {
        target(text, has_data)
            .map(|(method, uri)| format!("{method} {uri}"))
            .map_err(|failure| failure.exit())
    }

    #[test]
    fn the_method_may_be_left_out() {
        assert_eq!(typed("GET /activity/7?lang=de", false), Ok("GET /activity/7?lang=de".into()));
        assert_eq!(typed("delete  /x", false), Ok("DELETE /x".into()));
        assert_eq!(typed("/x", false), Ok("GET /x".into()));
        assert_eq!(typed("/x", true), Ok("POST /x".into()));
    }

    #[test]
    fn what_is_no_request_is_a_usage_fault() {
        for bad in ["", "GET", "GET x", "http://host/x", "GET /a b", "G@T /x", "GET /\u{7f}"] {
            assert_eq!(typed(bad, false), Err(Exit::Usage), "{bad}");
        }
    }

    #[test]
    fn headers_are_typed_as_for_curl() {
        let (name, value) = parse_header("Authorization: Bearer a:b").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer a:b"));
        for bad in ["", "Name", ": x", "Na me: x", "Name: a\nb"] {
            assert!(parse_header(bad).is_err(), "{bad:?}");
        }
    }
}
