//! nginx with limits that it enforces, slow bodies, ranges and TLS.

#![expect(clippy::disallowed_methods, reason = "rates and slow bodies take real time")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::setup::{Server, fetch, free_address, program, record, records, start};
use crate::support::Folder;

/// Starts nginx with these lines beside and in its `server` block; None where nginx is not to be tested with.
pub(super) fn nginx(http: &str, server: &str, prepare: impl FnOnce(&Path)) -> Option<Server> {
    let nginx = program("nginx")?;
    let folder = tempfile::tempdir().unwrap();
    // Its workers may run as another user, who must be able to read its files.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(folder.path().join("files")).unwrap();
    std::fs::write(folder.path().join("files/ok.html"), "ok").unwrap();
    prepare(&folder.path().join("files"));
    let address = free_address("127.0.0.4");
    std::fs::write(
        folder.path().join("nginx.conf"),
        config(folder.path(), &address.to_string(), http, server),
    )
    .unwrap();
    let mut command = Command::new(nginx);
    command.arg("-p").arg(folder.path()).args(["-e", "stderr", "-c", "nginx.conf"]);
    Some(Server::start(command, address, folder))
}

/// One process without workers, so that ending it ends all of it.
fn config(folder: &Path, address: &str, http: &str, server: &str) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\nevents {{ worker_connections 512; }}\nhttp {{\n{temporary}\
         \n  types {{ text/html html; application/octet-stream bin; }}\n  default_type text/plain;\n  log_format times '$msec $status $uri';\n  \
         access_log {folder}/access times;\n  {http}\n  server {{\n    listen {address};\n    root {folder}/files;\n    {server}\n  }}\n}}\n"
    )
}

/// When each request came, in seconds, by nginx's own log.
fn times(server: &Server) -> Vec<f64> {
    let log = std::fs::read_to_string(server.folder.path().join("access")).unwrap();
    let mut times: Vec<f64> = log.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The most requests within any second.
pub(super) fn most_in_a_second(times: &[f64]) -> usize {
    let in_the_second_from = |first: usize| times[first..].iter().take_while(|time| **time < times[first] + 1.0).count();
    (0..times.len()).map(in_the_second_from).max().unwrap_or_default()
}

#[test]
fn a_rate_limit_of_the_server_is_met_by_one_of_ours() {
    let limit = "limit_req_zone $server_addr zone=all:1m rate=50r/s; limit_req_status 429;";
    let Some(server) = nginx(
        limit,
        "location / { limit_req zone=all burst=5 nodelay; try_files /ok.html =404; }",
        |_| {},
    ) else {
        return;
    };
    let folder = Folder::new();
    let list: String = (0..100).map(|number| format!("{}\n", server.url(&format!("/{number}")))).collect();
    folder.write("urls.txt", &list);
    let started = Instant::now();
    let (ended, records) = records(&folder, &["-i", "urls.txt", "--host-rate", "40/s"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        records.all("attempts").into_iter().all(|attempts| *attempts == json!(1)),
        "nothing was refused"
    );
    assert!(started.elapsed() >= Duration::from_millis(2300), "{:?}", started.elapsed());
    assert!(most_in_a_second(&times(&server)) <= 44, "{}", most_in_a_second(&times(&server)));
}

#[test]
fn a_server_that_says_429_is_left_alone_for_as_long_as_it_says() {
    let limit = "limit_req_zone $server_addr zone=all:1m rate=20r/s; limit_req_status 429;";
    let lines = "add_header Retry-After 1 always; location / { limit_req zone=all burst=10 nodelay; try_files /ok.html =404; }";
    let Some(server) = nginx(limit, lines, |_| {}) else { return };
    let folder = Folder::new();
    let list: String = (0..60).map(|number| format!("{}\n", server.url(&format!("/{number}")))).collect();
    folder.write("urls.txt", &list);
    let (ended, records) = records(
        &folder,
        &["-i", "urls.txt", "--per-host", "8", "--retries", "20", "--retry-budget", "100%"],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(records.outcomes()["ok"], 60);
    let tries: Vec<_> = records.0.iter().filter_map(|record| record["tries"].as_array()).flatten().collect();
    assert!(
        !tries.is_empty() && tries.iter().all(|one| one["status"] == 429 && one["why"] == "retry-after"),
        "{tries:?}"
    );
    // Back off once, not once for each of the requests that were refused together.
    assert!(times(&server).len() < 60 + 60, "{} requests for 60 jobs", times(&server).len());
}

#[test]
fn connections_stay_within_what_the_server_allows() {
    let limit = "limit_conn_zone $server_addr zone=all:1m; limit_conn_status 503;";
    let lines = "location / { limit_conn all 3; limit_rate 100k; }";
    let Some(server) = nginx(limit, lines, |files| {
        std::fs::write(files.join("slow.bin"), vec![7; 200_000]).unwrap()
    }) else {
        return;
    };
    let folder = Folder::new();
    let list: String = (0..12)
        .map(|number| format!("{}\n", server.url(&format!("/slow.bin?{number}"))))
        .collect();
    folder.write("urls.txt", &list);
    let (ended, _) = records(&folder, &["-i", "urls.txt", "--per-host", "3", "--retries", "0"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (_, refused) = records(&folder, &["-i", "urls.txt", "--per-host", "12", "--retries", "0"]);
    assert!(refused.outcomes().contains_key("http_error"), "{:?}", refused.outcomes());
}

#[test]
fn a_slow_body_is_waited_for_unless_it_is_too_slow() {
    let Some(server) = nginx("", "location / { limit_rate 8k; }", |files| {
        std::fs::write(files.join("big.bin"), vec![7; 24_000]).unwrap()
    }) else {
        return;
    };
    let folder = Folder::new();
    let whole = record(&folder, &[&server.url("/big.bin"), "-O", "dl", "--name", "{name}{ext}"]);
    assert_eq!((&whole["outcome"], &whole["body_bytes"]), (&json!("ok"), &json!(24_000)));
    let slow = record(&folder, &[&server.url("/big.bin"), "--min-speed", "100k/500ms", "--retries", "0"]);
    assert_eq!(slow["outcome"], "too_slow", "{slow}");
}

#[test]
fn a_large_file_comes_in_pieces_and_is_checked() {
    let bytes: Vec<u8> = (0..20_000_000u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let Some(server) = nginx("", "location / { limit_rate 8m; }", |files| {
        std::fs::write(files.join("large.bin"), &bytes).unwrap()
    }) else {
        return;
    };
    let folder = Folder::new();
    let download = [
        "-O",
        "dl",
        "--name",
        "{name}{ext}",
        "--segments",
        "4",
        "--segment-min",
        "1M",
        "--on-exists",
        "overwrite",
    ];
    let url = server.url("/large.bin");
    let whole = record(&folder, &[&[url.as_str()][..], &download].concat());
    assert_eq!(whole["outcome"], "ok", "{whole}");
    assert_eq!(std::fs::read(folder.path().join("dl/large.bin")).unwrap(), bytes);
    let log = std::fs::read_to_string(server.folder.path().join("access")).unwrap();
    assert!(log.matches(" 206 ").count() >= 3, "{log}");
    let sha256 = whole["sha256"].as_str().unwrap();
    folder.write("SHA256SUMS", &format!("{sha256}  large.bin\n"));
    let right = record(&folder, &[&[url.as_str(), "--checksums", "SHA256SUMS"][..], &download].concat());
    assert_eq!(right["outcome"], "ok", "{right}");
    folder.write("SHA256SUMS", &format!("{}  large.bin\n", "0".repeat(64)));
    let wrong = record(&folder, &[&[url.as_str(), "--checksums", "SHA256SUMS"][..], &download].concat());
    assert_eq!(wrong["outcome"], "checksum", "{wrong}");
}

#[test]
fn a_download_that_was_killed_goes_on_in_the_middle() {
    let bytes: Vec<u8> = (0..24_000_000u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let Some(server) = nginx("", "location / { limit_rate 6m; }", |files| {
        std::fs::write(files.join("large.bin"), &bytes).unwrap()
    }) else {
        return;
    };
    let folder = Folder::new();
    let url = server.url("/large.bin");
    let run = [url.as_str(), "-O", "dl", "--name", "{name}{ext}", "--run", "r"];
    let mut child = start(&folder, &run);
    // Notes of how far it is are made every two seconds; the whole takes three.
    std::thread::sleep(Duration::from_millis(2600));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("dl/large.bin").exists(), "half a file has its name already");
    let ended = fetch(&folder, &run);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(std::fs::read(folder.path().join("dl/large.bin")).unwrap() == bytes);
    let log = std::fs::read_to_string(server.folder.path().join("access")).unwrap();
    assert!(log.contains(" 206 /large.bin"), "{log}");
}

#[test]
fn certificates_are_checked() {
    let mut pem = String::new();
    let address = free_address("127.0.0.5");
    let server = nginx(
        "",
        &format!("listen {address} ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem;"),
        |files| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
            pem = made.cert.pem();
            std::fs::write(files.join("../cert.pem"), &pem).unwrap();
            std::fs::write(files.join("../key.pem"), made.signing_key.serialize_pem()).unwrap();
            std::fs::write(files.join("a.html"), "hello").unwrap();
        },
    );
    let Some(_server) = server else { return };
    let folder = Folder::new();
    folder.write("ca.pem", &pem);
    let port = address.port();
    let (named, other) = (
        format!("https://localhost:{port}/a.html"),
        format!("https://other.test:{port}/a.html"),
    );
    let resolve = [format!("localhost:{port}:127.0.0.5"), format!("other.test:{port}:127.0.0.5")];
    let outcome = |url: &str, arguments: &[&str]| {
        let fixed = ["--retries", "0", "--resolve", &resolve[0], "--resolve", &resolve[1]];
        record(&folder, &[&[url][..], &fixed, arguments].concat())["outcome"]
            .as_str()
            .unwrap()
            .to_string()
    };
    assert_eq!(outcome(&named, &["--cacert", "ca.pem"]), "ok");
    assert_eq!(outcome(&named, &[]), "tls");
    assert_eq!(outcome(&named, &["-k"]), "ok");
    assert_eq!(outcome(&other, &["--cacert", "ca.pem"]), "tls");
    assert_eq!(outcome(&format!("http://localhost:{port}/a.html"), &[]), "http_error");
}
