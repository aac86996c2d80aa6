//! `anabranch try`, against real sockets.

use std::io::Read;
use std::process::Stdio;

use crate::support::{anabranch, Ended, Folder, Mocks};

const MOCKS: &str = "\
upstreams:
  shop:
    routes:
      GET /activities/*: { latency: 30ms, body: { id: $path.1, owner: 12 } }
      GET /dead: { status: 500 }
      POST /orders: { echo: true }
  user:
    routes:
      GET /users/12: { latency: 20ms, body: { name: Ada } }
";

/// Mocks and a gateway's config in one folder.
fn stage() -> (Folder, Mocks) {
    let folder = Folder::new();
    let mocks = Mocks::start(&folder, 2, MOCKS);
    let config = format!(
        "\
sources:
  shop: {{ url: \"{}\", pass: [Authorization] }}
  user: {{ url: \"{}\" }}
defaults: {{ retry: 0 }}
routes:
  GET /activity/{{id:int}}:
    calls:
      activity: shop /activities/$id
      owner:    user /users/$activity.owner
      dead:     shop /dead
  GET /dead:
    need: [dead]
    calls:
      dead: shop /dead
  POST /orders:
    headers: [Authorization]
    calls:
      order: {{ post: shop /orders, body: {{ sku: $body.sku }} }}
",
        mocks.url("shop"),
        mocks.url("user"),
    );
    folder.write("gateway.yaml", &config);
    (folder, mocks)
}

fn has(ended: &Ended, expected: &[&str]) {
    for expected in expected {
        assert!(ended.stderr.contains(expected), "no `{expected}` in:\n{}", ended.stderr);
    }
}

#[test]
fn the_reply_goes_to_stdout_and_its_waterfall_to_stderr() {
    let (folder, _mocks) = stage();
    let ended = folder.run(&["try", "GET /activity/7"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), r#"{"activity":{"id":7,"owner":12},"owner":{"name":"Ada"},"dead":null}"#),
        "{}",
        ended.stderr
    );
    has(
        &ended,
        &[
            "HTTP/1.1 200 OK\n",
            "content-type: application/json\n",
            "anabranch-parts: dead=status",
            "GET /activity/{id:int} took",
            "waits for calls",
            "= first byte",
            "one after another",
        ],
    );
    let row = |name: &str| {
        ended
            .stderr
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap_or_else(|| panic!("no row {name}:\n{}", ended.stderr))
            .to_string()
    };
    assert!(row("owner ").contains("after activity"), "{}", ended.stderr);
    assert!(
        row("owner ").trim_end().ends_with("ok") && row("dead ").trim_end().ends_with("status"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_error_reply_exits_with_1() {
    let (folder, _mocks) = stage();
    let ended = folder.run(&["try", "/dead"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("\"status\":502"), "{}", ended.stdout);
    assert_eq!(folder.run(&["try", "/nothing/here"]).code, Some(1));
}

#[test]
fn body_and_headers_are_given_as_to_curl() {
    let (folder, _mocks) = stage();
    folder.write("order.json", "{\"sku\": \"X1\", \"price\": 0}");
    for data in ["{\"sku\": \"X1\"}", "@order.json"] {
        let ended = folder.run(&["try", "POST /orders", "-H", "authorization: Bearer abc", "-d", data, "--silent"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(
            ended.stdout.contains(r#""body":"{\"sku\":\"X1\"}""#) && ended.stdout.contains("Bearer abc"),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn with_include_the_head_stands_before_the_body() {
    let (folder, _mocks) = stage();
    let ended = folder.run(&["try", "-i", "/activity/7"]);
    assert!(
        ended.stdout.starts_with("HTTP/1.1 200 OK\n") && ended.stdout.contains("\n\n{\"activity\""),
        "{}",
        ended.stdout
    );
    assert!(!ended.stderr.contains("HTTP/1.1"), "{}", ended.stderr);
}

#[test]
fn what_is_no_request_is_refused_before_anything_is_asked() {
    let (folder, mocks) = stage();
    for arguments in [
        &["try", "activity/7"][..],
        &["try", "/x", "-H", "no header"],
        &["try", "/x", "-d", "@none.json"],
        &["try", "/x", "-c", "none.yaml"],
    ] {
        let ended = folder.run(arguments);
        assert!(
            matches!(ended.code, Some(2 | 3)) && ended.stderr.starts_with("error: "),
            "{ended:?}"
        );
    }
    drop(mocks);
}

#[test]
fn colour_is_asked_for_or_not_there() {
    let (folder, _mocks) = stage();
    assert!(!folder.run(&["try", "/activity/7"]).stderr.contains('\x1b'));
    assert!(
        folder
            .run(&["--color", "always", "try", "/activity/7"])
            .stderr
            .contains("\x1b[34m==")
    );
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let (folder, _mocks) = stage();
    let config = folder.write("unused", "").with_file_name("gateway.yaml");
    let mut child = anabranch(&["try", "/activity/7", "-s", "-c", config.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!((child.wait().unwrap().code(), words.as_str()), (Some(0), ""));
}

#[test]
fn a_request_may_be_passed_through_and_a_body_checked() {
    let folder = Folder::new();
    let mocks = Mocks::start(
        &folder,
        1,
        "upstreams:\n  media:\n    routes:\n      GET /files/a.txt: { text: hello }\n      POST /in: { echo: true }\n",
    );
    let config = format!(
        "sources:\n  media: {{ url: \"{}\" }}\nroutes:\n  GET /assets/*path: {{ proxy: media /files/$path }}\n  POST /in:\n    body: {{ schema: $file.in.schema.json }}\n    calls: {{ in: {{ post: media /in, body: $body }} }}\n",
        mocks.url("media")
    );
    folder.write("gateway.yaml", &config);
    folder.write("in.schema.json", "{\"type\": \"object\", \"required\": [\"id\"]}\n");
    let ended = folder.run(&["try", "GET /assets/a.txt"]);
    assert_eq!((ended.code, ended.stdout.trim_end()), (Some(0), "hello"));
    has(&ended, &["GET /assets/*path took", "proxy"]);
    assert!(!ended.stderr.contains(" of "), "it has no deadline: {}", ended.stderr);
    let ended = folder.run(&["try", "POST /in", "-d", "{}"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .stdout
            .contains("\"rule\":\"required\",\"detail\":\"must have the member `id`\""),
        "{}",
        ended.stdout
    );
    assert!(!ended.stderr.contains("warning"), "a schema is no secret: {}", ended.stderr);
}
