//! httpbin under gunicorn, from PyPI: Python's idea of HTTP.
//!
//! It is installed once into `target/tmp/httpbin`. Where PyPI cannot be reached these tests say so and do nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::setup::{Server, free_address, is_quick, program, record, records};
use crate::support::Folder;

/// What is installed. Newer ones may be had; these are the ones that the tests were written against.
const PACKAGES: [&str; 2] = ["httpbin==0.10.4", "gunicorn==27.0.1"];

fn httpbin() -> Option<&'static Server> {
    // One for all tests: it takes a second to start. It ends with the process that started it, by its own watch on it.
    static HTTPBIN: OnceLock<Option<Server>> = OnceLock::new();
    HTTPBIN.get_or_init(start).as_ref()
}

fn start() -> Option<Server> {
    if is_quick() {
        return None;
    }
    let gunicorn = install()?;
    let address = free_address("127.0.0.3");
    let folder = tempfile::tempdir().unwrap();
    // gunicorn ends when whoever started it has ended: its own master watches nothing, so a small shell does.
    let script = format!(
        "\"$1\" --bind {address} --workers 1 --threads 8 --graceful-timeout 1 httpbin:app & server=$!\n\
         trap 'kill $server' TERM\n\
         while kill -0 \"$2\" 2>/dev/null && kill -0 $server 2>/dev/null; do sleep 0.2; done\n\
         kill $server 2>/dev/null; wait"
    );
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(script)
        .arg("sh")
        .arg(gunicorn)
        .arg(std::process::id().to_string());
    Some(Server::start(command, address, folder))
}

/// The program `gunicorn` in a virtual environment; None, said loudly, where PyPI cannot be reached.
fn install() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("httpbin");
    let gunicorn = venv.join("bin/gunicorn");
    let stamp = venv.join("stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == PACKAGES.join(" ")) {
        return Some(gunicorn);
    }
    let python = program("python3")?;
    let made = Command::new(python).args(["-m", "venv"]).arg(&venv).output().unwrap();
    assert!(made.status.success(), "python3 -m venv: {}", String::from_utf8_lossy(&made.stderr));
    let pip = Command::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "--retries", "1"])
        .args(PACKAGES)
        .output()
        .unwrap();
    if !pip.status.success() {
        let said = String::from_utf8_lossy(&pip.stderr).into_owned();
        let unreachable = [
            "Connection",
            "connection",
            "Temporary failure",
            "timed out",
            "No matching distribution",
            "Could not find",
        ];
        assert!(unreachable.iter().any(|word| said.contains(word)), "pip install: {said}");
        eprintln!(
            "SKIPPED: PyPI cannot be reached, so nothing was tested against httpbin: {}",
            said.lines().last().unwrap_or_default()
        );
        return None;
    }
    std::fs::write(stamp, PACKAGES.join(" ")).unwrap();
    Some(gunicorn)
}

#[test]
fn statuses_are_outcomes() {
    let Some(httpbin) = httpbin() else { return };
    let folder = Folder::new();
    let urls: Vec<String> = [200, 204, 418, 500, 304]
        .iter()
        .map(|status| httpbin.url(&format!("/status/{status}")))
        .collect();
    let arguments: Vec<&str> = urls
        .iter()
        .map(String::as_str)
        .chain(["--retries", "0", "--expect", "2xx,418"])
        .collect();
    let (ended, records) = records(&folder, &arguments);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(records.texts("outcome"), ["ok", "ok", "ok", "http_error", "http_error"]);
}

#[test]
fn compression_is_undone() {
    let Some(httpbin) = httpbin() else { return };
    let folder = Folder::new();
    for (path, encoding, flag) in [
        ("/gzip", "gzip", "gzipped"),
        ("/deflate", "deflate", "deflated"),
        ("/brotli", "br", "brotli"),
    ] {
        let record = record(&folder, &[&httpbin.url(path), "--select", &format!("{flag}=json:$.{flag}")]);
        assert_eq!(
            (&record["outcome"], &record["encoding"]),
            (&json!("ok"), &json!(encoding)),
            "{record}"
        );
        assert_eq!(record["data"][flag], json!(true), "{record}");
        assert!(
            record["wire_bytes"].as_u64() < record["body_bytes"].as_u64() || path == "/brotli",
            "{record}"
        );
    }
    let raw = record(&folder, &[&httpbin.url("/headers"), "--no-decode", "--body", "inline"]);
    let body: Value = serde_json::from_str(raw["body"].as_str().unwrap()).unwrap();
    assert!(
        matches!(body["headers"]["Accept-Encoding"].as_str(), None | Some("identity")),
        "{body}"
    );
}

#[test]
fn redirects_are_followed_and_bounded() {
    let Some(httpbin) = httpbin() else { return };
    let folder = Folder::new();
    for path in ["/redirect/3", "/absolute-redirect/3", "/relative-redirect/3"] {
        let record = record(&folder, &[&httpbin.url(path)]);
        assert_eq!(
            (&record["outcome"], &record["final_url"]),
            (&json!("ok"), &json!(httpbin.url("/get"))),
            "{record}"
        );
        assert_eq!(record["redirects"].as_array().map(Vec::len), Some(2), "{record}");
        assert_eq!(record["attempts"], 1);
    }
    let endless = record(&folder, &[&httpbin.url("/redirect/12"), "--retries", "0"]);
    assert_eq!(endless["outcome"], "redirect");
}

#[test]
fn the_method_after_a_redirect_is_what_the_rfc_says() {
    let Some(httpbin) = httpbin() else { return };
    let folder = Folder::new();
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let url = httpbin.url(&format!("/redirect-to?url=/anything&status_code={status}"));
        let record = record(&folder, &[&url, "-d", "a=1", "--body", "inline"]);
        let body: Value = serde_json::from_str(record["body"].as_str().unwrap_or_default()).unwrap_or_else(|_| panic!("{record}"));
        assert_eq!(body["method"], method, "{status}: {body}");
        assert_eq!(
            body["form"]["a"],
            if method == "POST" { json!("1") } else { Value::Null },
            "{status}: {body}"
        );
    }
}

#[test]
fn cookies_are_kept_where_there_is_a_jar() {
    let Some(httpbin) = httpbin() else { return };
    let folder = Folder::new();
    let url = httpbin.url("/cookies/set?a=1&b=2");
    let kept = record(&folder, &[&url, "-b", "", "--select", "a=json:$.cookies.a"]);
    assert_eq!(kept["data"]["a"], "1", "{kept}");
    let none = record(&folder, &[&url, "--body", "inline"]);
    assert!(!none["body"].as_str().unwrap().contains("\"a\""), "{none}");
    let host = httpbin.address.ip().to_string();
    folder.write(
        "jar",
        &format!("# Netscape HTTP Cookie File\n{host}\tFALSE\t/\tFALSE\t0\tfrom\tfile\n"),
    );
    let read = record(
        &folder,
        &[&httpbin.url("/cookies"), "-b", "jar", "--select", "from=json:$.cookies.from"],
    );
    assert_eq!(read["data"]["from"], "file", "{read}");
}

#[test]
fn credentials_are_understood() {
    let Some(httpbin) = httpbin() else { return };
    let folder = Folder::new();
    let url = httpbin.url("/basic-auth/ada/secret");
    assert_eq!(record(&folder, &[&url, "-u", "ada:secret"])["outcome"], "ok");
    let wrong = record(&folder, &[&url, "-u", "ada:wrong"]);
    assert_eq!((&wrong["outcome"], &wrong["status"]), (&json!("http_error"), &json!(401)));
    let host = httpbin.address.ip();
    folder.write("netrc", &format!("machine {host} login ada password secret\n"));
    assert_eq!(record(&folder, &[&url, "--netrc-file", "netrc"])["outcome"], "ok");
}

#[test]
fn bodies_of_all_kinds_arrive_whole() {
    let Some(httpbin) = httpbin() else { return };
    let folder = Folder::new();
    // One after another: it seeds one generator for all of its threads.
    let urls = [
        "/bytes/100000?seed=1",
        "/stream-bytes/100000?seed=1&chunk_size=777",
        "/drip?numbytes=20&duration=0.4&delay=0",
        "/encoding/utf8",
    ];
    let urls: Vec<String> = urls.iter().map(|path| httpbin.url(path)).collect();
    let arguments: Vec<&str> = urls
        .iter()
        .map(String::as_str)
        .chain(["-O", "dl", "--name", "{seq}", "-j", "1"])
        .collect();
    let (ended, records) = records(&folder, &arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let sizes: Vec<u64> = records.all("body_bytes").into_iter().map(|size| size.as_u64().unwrap()).collect();
    assert_eq!(sizes[..3], [100_000, 100_000, 20]);
    assert_eq!(
        records.0[0]["sha256"], records.0[1]["sha256"],
        "the same bytes, with a length and in chunks"
    );
}

#[test]
fn an_answer_that_is_late_is_a_timeout_and_ranges_and_etags_are_understood() {
    let Some(httpbin) = httpbin() else { return };
    let folder = Folder::new();
    let late = record(
        &folder,
        &[&httpbin.url("/delay/3"), "--retries", "0", "--first-byte-timeout", "300ms"],
    );
    assert_eq!(late["outcome"], "timeout");
    let tagged = httpbin.url("/etag/v1");
    let run = [tagged.as_str(), "-o", "tagged.ndjson"];
    assert_eq!(super::setup::fetch(&folder, &run).code, Some(0));
    assert_eq!(super::setup::fetch(&folder, &[&run[..], &["--if-changed"]].concat()).code, Some(0));
    let second = super::setup::Records::read(&folder.path().join("tagged.ndjson.2"));
    assert_eq!(second.texts("outcome"), ["not_modified"]);
}
