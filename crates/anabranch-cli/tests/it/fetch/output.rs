//! What a run writes: records and their fields, bodies as files, values out of bodies, progress.

use anabranch_testkit::{Reply, Upstream};
use serde_json::{Value, json};

use super::setup::{Records, Site, fetch, list, record, records};
use crate::support::Folder;

const PAGE: &str = "<html><head><title>Au&szlig;en</title></head><body><h1>A <b>bold</b> word</h1><a href='/next'>on</a></body></html>";

fn site() -> Site {
    Site::start(
        Upstream::new("site")
            .reply(
                Reply::get("/page/*")
                    .header("content-type", "text/html; charset=utf-8")
                    .header("x-cache", "hit")
                    .body(PAGE),
            )
            .reply(Reply::get("/api/*").json(r#"{"items":[{"id":1,"price":2.50},{"id":2,"price":3}]}"#))
            .reply(Reply::get("/binary").body(&b"\xff\x00\x01"[..]))
            .reply(
                Reply::get("/tagged")
                    .header("etag", "\"v1\"")
                    .when_header("if-none-match", "\"v1\"")
                    .status(304),
            )
            .reply(Reply::get("/tagged").header("etag", "\"v1\"").body("content")),
    )
}

#[test]
fn values_are_taken_out_of_pages_and_answers() {
    let (folder, site) = (Folder::new(), site());
    let page = record(
        &folder,
        &[
            &site.url("/page/1"),
            "--select",
            "title=css:title",
            "--select",
            "next=css:a@href",
            "--select",
            "none=css:h6",
        ],
    );
    assert_eq!(page["data"]["title"], "Außen");
    assert_eq!((&page["data"]["next"], &page["data"]["none"]), (&json!("/next"), &Value::Null));
    assert_eq!((&page["type"], &page["charset"]), (&json!("text/html"), &json!("utf-8")));
    let prices = record(&folder, &[&site.url("/api/1"), "--select", "price=json:$.items[*].price"]);
    assert_eq!(prices["data"]["price"], json!([2.5, 3]));
    let jq = record(&folder, &[&site.url("/api/1"), "--jq", "[.items[].id]"]);
    assert_eq!(jq["data"], json!([1, 2]));
    let none = record(&folder, &[&site.url("/page/1"), "--jq", ".a"]);
    assert_eq!(none["outcome"], "extract");
}

#[test]
fn fields_and_bodies_are_what_was_asked_for() {
    let (folder, site) = (Folder::new(), site());
    let some = fetch(&folder, &[&site.url("/page/1"), "--fields", "status,url,t_ms.ttfb"]);
    let some: Value = serde_json::from_str(some.stdout.trim()).unwrap();
    let names: Vec<&String> = some.as_object().unwrap().keys().collect();
    assert_eq!((some["status"].as_u64(), names.len()), (Some(200), 3), "{some}");
    let text = record(&folder, &[&site.url("/page/1"), "--body", "inline", "--headers", "X-Cache"]);
    assert_eq!((text["body"].as_str(), &text["headers"]), (Some(PAGE), &json!({"x-cache": "hit"})));
    let bytes = record(&folder, &[&site.url("/binary"), "--body", "inline"]);
    assert_eq!((&bytes["body"], &bytes["body_base64"]), (&json!("/wAB"), &json!(true)));
}

#[test]
fn only_the_records_asked_for_are_written_and_the_exit_code_knows_all() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, ["/page/1", "/nothing", "/page/2"].map(String::from)));
    let (ended, failed) = records(&folder, &["-i", "urls.txt", "--only", "failed"]);
    assert_eq!((ended.code, failed.all("seq")), (Some(1), vec![&json!(2)]));
    let (_, ok) = records(&folder, &["-i", "urls.txt", "--only", "ok"]);
    assert_eq!(ok.len(), 2);
}

#[test]
fn bodies_become_files_that_never_collide() {
    let (folder, site) = (Folder::new(), site());
    folder.write(
        "urls.txt",
        &list(&site, (0..30).map(|number| format!("/page/index.html?n={number}"))),
    );
    let (ended, records) = records(&folder, &["-i", "urls.txt", "-O", "dl", "--name", "{host}/{name}{ext}"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let paths: std::collections::BTreeSet<&str> = records.texts("path").into_iter().collect();
    assert_eq!(paths.len(), 30);
    for record in &records.0 {
        let path = record["path"].as_str().unwrap();
        let path = if path.starts_with("dl/") {
            folder.path().join(path)
        } else {
            folder.path().join("dl").join(path)
        };
        assert_eq!(std::fs::read_to_string(path).unwrap(), PAGE);
        assert_eq!(record["sha256"].as_str().unwrap().len(), 64);
    }
    let left: Vec<_> = std::fs::read_dir(folder.path().join("dl/.part"))
        .map(|left| left.collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_second_pass_asks_what_has_changed() {
    let (folder, site) = (Folder::new(), site());
    let run = [&site.url("/tagged") as &str, "-o", "out.ndjson"];
    assert_eq!(fetch(&folder, &run).code, Some(0));
    let ended = fetch(&folder, &[&run[..], &["--if-changed"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let again = Records::read(&folder.path().join("out.ndjson.2"));
    assert_eq!(
        (again.texts("outcome"), again.all("changed")),
        (vec!["not_modified"], vec![&json!(false)])
    );
}

#[test]
fn a_second_pass_over_a_site_asks_for_all_of_its_pages() {
    let folder = Folder::new();
    let page = |links: &str| {
        Reply::get("/")
            .header("etag", "\"v1\"")
            .header("content-type", "text/html")
            .body(links.to_string())
    };
    let at = |path: &str, mut reply: Reply| {
        reply.when.path = Some(path.into());
        reply
    };
    let unchanged = Reply::get("/**").when_header("if-none-match", "\"v1\"").status(304);
    let site = Site::start(
        Upstream::new("site")
            .reply(unchanged)
            .reply(page("<a href=/a>a</a><a href=/b>b</a>"))
            .reply(at("/a", page("<a href=/c>c</a>")))
            .reply(at("/b", page("")))
            .reply(at("/c", page("<a href=/>back</a>"))),
    );
    let url = site.url("/");
    let run = [
        url.as_str(),
        "--follow",
        "css:a@href",
        "--same-host",
        "--robots",
        "ignore",
        "--run",
        "r",
    ];
    assert_eq!(fetch(&folder, &run).code, Some(0));
    for pass in [2, 3] {
        let ended = fetch(&folder, &[&run[..], &["--if-changed"]].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let records = Records::read(&folder.path().join(format!("r/records.ndjson.{pass}")));
        assert_eq!(
            (records.len(), records.outcomes()["not_modified"]),
            (4, 4),
            "pass {pass}: {:?}",
            records.outcomes()
        );
    }
}

#[test]
fn records_on_stdout_of_a_run_are_whole_each_time() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, (0..5).map(|number| format!("/page/{number}"))));
    let run = ["-i", "urls.txt", "--run", "r", "-o", "-"];
    for _ in 0..2 {
        let (ended, records) = records(&folder, &run);
        assert_eq!((ended.code, records.len()), (Some(0), 5));
    }
    let new = fetch(&folder, &[&run[..], &["--new-only"]].concat());
    assert_eq!((new.code, new.stdout.as_str()), (Some(0), ""));
    assert_eq!(site.seen().len(), 5);
}

#[test]
fn a_table_is_written_beside_the_records() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, (0..3).map(|number| format!("/page/{number}"))));
    let ended = fetch(
        &folder,
        &[
            "-i",
            "urls.txt",
            "--run",
            "r",
            "--sink",
            "csv:out.csv",
            "--fields",
            "seq,status,url",
        ],
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let table = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let mut lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines.remove(0), lines.len()), ("seq,status,url", 3), "{table}");
    lines.sort_unstable();
    assert!(lines[0].starts_with("1,200,http://"), "{table}");
}

#[test]
fn progress_is_said_to_people_and_to_programs() {
    let (folder, site) = (Folder::new(), site());
    folder.write("urls.txt", &list(&site, (0..40).map(|number| format!("/page/{number}"))));
    let arguments = ["-i", "urls.txt", "--rate", "20/s", "--run", "r"];
    let json = fetch(&folder, &[&arguments[..], &["--progress", "json", "--fresh"]].concat());
    let first: Value = serde_json::from_str(json.stderr.lines().next().unwrap()).unwrap_or_else(|_| panic!("{}", json.stderr));
    assert!(first["done"].is_u64() && first["in_flight"].is_u64(), "{first}");
    let last: Value = serde_json::from_str(json.stderr.lines().last().unwrap()).unwrap_or_else(|_| panic!("{}", json.stderr));
    assert_eq!(
        (last["ended"].as_str(), last["total"].as_u64()),
        (Some("complete"), Some(40)),
        "{last}"
    );
    let plain = fetch(&folder, &[&arguments[..], &["--fresh"]].concat());
    assert!(plain.stderr.contains("40 jobs") && !plain.stderr.contains('\r'), "{}", plain.stderr);
    let quiet = fetch(&folder, &[&arguments[..], &["--fresh", "-q"]].concat());
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}
