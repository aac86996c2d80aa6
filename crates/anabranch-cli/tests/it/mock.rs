//! `anabranch mock`.

use std::time::{Duration, SystemTime};

use crate::support::{Folder, Mocks};

#[test]
fn upstreams_answer_as_their_file_says_until_ctrl_c() {
    let folder = Folder::new();
    let mocks = Mocks::start(
        &folder,
        2,
        "\
upstreams:
  shop:
    routes:
      GET /activities/*: { body: { id: $path.1, title: Autumn sale } }
      GET /slow: { latency: 150ms, status: 503, headers: { Retry-After: 2 } }
  user:
    routes:
      GET /me: { text: hello }
",
    );
    let reply = mocks.get("shop", "/activities/7");
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.ends_with("\r\n\r\n{\"id\":7,\"title\":\"Autumn sale\"}"),
        "{reply}"
    );
    assert!(reply.to_lowercase().contains("content-type: application/json"), "{reply}");
    let asked = SystemTime::now();
    let reply = mocks.get("shop", "/slow");
    assert!(asked.elapsed().unwrap() >= Duration::from_millis(150));
    assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("Retry-After: 2"), "{reply}");
    assert!(mocks.get("user", "/me").ends_with("hello"));
    assert!(mocks.get("user", "/you").starts_with("HTTP/1.1 404"));
    assert_eq!(mocks.interrupt(), Some(0));
}

#[test]
fn a_bad_mock_file_starts_nothing() {
    let folder = Folder::new();
    folder.write("mocks.yaml", "upstreams:\n  shop:\n    latency: 20\n    routes:\n      GET x: {}\n");
    let ended = folder.run(&["mock", "mocks.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    for expected in ["mocks.yaml:3:14", "mocks.yaml:5:7", "2 faults"] {
        assert!(ended.stderr.contains(expected), "no `{expected}` in:\n{}", ended.stderr);
    }
}

#[test]
fn a_taken_address_is_the_machines_refusal() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    folder.write(
        "mocks.yaml",
        &format!("upstreams: {{ shop: {{ listen: \"{address}\", routes: {{ GET /x: {{ body: 1 }} }} }} }}\n"),
    );
    let ended = folder.run(&["mock", "mocks.yaml"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains(&address.to_string()), "{}", ended.stderr);
}
