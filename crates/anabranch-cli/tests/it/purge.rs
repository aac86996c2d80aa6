//! `anabranch purge` against a gateway that runs.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::support::{anabranch, get, interrupt, Folder, Mocks};

/// A running gateway; killed when dropped.
struct Gateway {
    child: Child,
    address: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    fn start(file: &str) -> Gateway {
        let mut command = anabranch(&["serve", file, "--cores", "1"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://").and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("{line}")).to_string();
        Gateway { child, address }
    }

    #[track_caller]
    fn check(&self, path: &str, expected: &str) {
        let reply = get(&self.address, path);
        assert!(reply.ends_with(&format!("\r\n\r\n{expected}")), "{path}: {reply}");
    }
}

fn mocks(folder: &Folder) -> Mocks {
    let answers = |path: &str| format!("      GET /{path}: [ {{ body: 1, times: 1 }}, {{ body: 2, times: 1 }}, {{ body: 3 }} ]\n");
    let text = format!(
        "upstreams:\n  shop:\n    routes:\n{}{}  user:\n    routes:\n{}",
        answers("a"),
        answers("b"),
        answers("c")
    );
    Mocks::start(folder, 2, &text)
}

/// The config, and where its socket is.
fn config(folder: &Folder, mocks: &Mocks) -> (String, PathBuf) {
    let socket = folder.path().join("admin.sock");
    let text = format!(
        "\
listen: 127.0.0.1:0
admin: 'unix:{}'
sources:
  shop: {{ url: '{}', cache: 1h }}
  user: {{ url: '{}', cache: 1h }}
routes:
  GET /a: {{ calls: {{ a: shop /a }} }}
  GET /b: {{ calls: {{ b: shop /b }} }}
  GET /c: {{ calls: {{ c: user /c }} }}
",
        socket.display(),
        mocks.url("shop"),
        mocks.url("user")
    );
    (folder.write("gateway.yaml", &text).to_str().unwrap().to_string(), socket)
}

#[test]
fn kept_answers_go_by_source_route_and_call_or_all_at_once() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let (file, socket) = config(&folder, &mocks);
    let gateway = Gateway::start(&file);
    for path in ["a", "b", "c"] {
        gateway.check(&format!("/{path}"), &format!("{{\"{path}\":1}}"));
        gateway.check(&format!("/{path}"), &format!("{{\"{path}\":1}}"));
    }
    let purge = |flags: &[&str], expected: &str| {
        let ended = folder.run(&[&["purge", &file], flags].concat());
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(0), expected),
            "{flags:?}: {}",
            ended.stderr
        );
    };
    purge(&["--source", "user"], "{\"purged\":1}\n");
    gateway.check("/a", "{\"a\":1}");
    gateway.check("/c", "{\"c\":2}");
    purge(&["--route", "GET /a"], "{\"purged\":1}\n");
    gateway.check("/a", "{\"a\":2}");
    gateway.check("/b", "{\"b\":1}");
    purge(&["--call", "b", "--source", "user"], "{\"purged\":0}\n");
    purge(&[], "{\"purged\":3}\n");
    gateway.check("/a", "{\"a\":3}");
    gateway.check("/b", "{\"b\":2}");
    let unknown = folder.run(&["purge", &file, "--source", "usr"]);
    assert_eq!(
        (unknown.code, unknown.stderr.as_str()),
        (Some(2), "error: no source is named `usr`\n")
    );
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may ask");
    interrupt(&gateway.child);
    drop(wait(gateway));
    assert!(!socket.exists(), "the socket goes with the gateway");
    let nobody = folder.run(&["purge", &file]);
    let told = format!("error: no gateway listens at `{}`: none runs with this `admin`\n", socket.display());
    assert_eq!((nobody.code, nobody.stderr), (Some(3), told));
}

fn wait(mut gateway: Gateway) -> Gateway {
    assert!(gateway.child.wait().unwrap().success());
    gateway
}

#[test]
fn what_a_dead_gateway_left_is_taken_over_and_nothing_else() {
    let folder = Folder::new();
    let mocks = mocks(&folder);
    let (file, socket) = config(&folder, &mocks);
    drop(UnixListener::bind(&socket).unwrap());
    let gateway = Gateway::start(&file);
    let second = folder.run(&["serve", &file]);
    assert_eq!(second.code, Some(3));
    assert!(second.stderr.contains("another process listens there"), "{}", second.stderr);
    gateway.check("/a", "{\"a\":1}");
    drop(gateway);
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "mine").unwrap();
    let third = folder.run(&["serve", &file]);
    assert!(third.code == Some(3) && third.stderr.contains("no socket"), "{}", third.stderr);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
}

#[test]
fn without_a_socket_in_the_config_it_says_what_to_write() {
    let folder = Folder::new();
    let text = "sources: { s: { url: http://s } }\nroutes: { GET /a: { calls: { a: s /a } } }\n";
    let file = folder.write("gateway.yaml", text);
    let ended = folder.run(&["purge", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("`admin: unix:/run/anabranch.sock`"), "{}", ended.stderr);
}
