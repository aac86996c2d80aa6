//! The input as the run reads it.

use std::path::Path;

use http::{HeaderName, Method};

use super::*;

/// What comes of a file of this name and content: for each entry its place and, for a job, its method and URL, or what it is instead.
fn entries(name: &str, content: &str, set: impl FnOnce(&mut InputOptions)) -> Result<Vec<Entry>, FetchError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let mut options = InputOptions {
        file: Some(path),
        ..InputOptions::default()
    };
    set(&mut options);
    let mut input = Input::open(&options)?;
    let mut all = Vec::new();
    while let Some(entry) = input.next()? {
        all.push(entry);
    }
    assert_eq!(input.known_total(), Some(all.len() as u64));
    Ok(all)
}

fn jobs(name: &str, content: &str, set: impl FnOnce(&mut InputOptions)) -> Vec<Job> {
    let job = |entry| match entry {
        Entry::Job(job) => job,
        other => panic!("{other:?}"),
    };
    entries(name, content, set).unwrap().into_iter().map(job).collect()
}

fn told(entry: &Entry) -> String {
    match entry {
        Entry::Job(job) => format!("{} {} {}", job.seq.unwrap(), job.method, job.url),
        Entry::Invalid { seq, text, why, .. } => format!("{seq} invalid {text}: {why}"),
        Entry::Duplicate { seq, first, id, .. } => format!("{seq} like {first} {id}"),
    }
}

fn usage(result: Result<Vec<Entry>, FetchError>) -> String {
    match result {
        Err(FetchError::Usage(text)) => text,
        other => panic!("expected a usage error, got {other:?}"),
    }
}

#[test]
fn each_line_is_one_entry_with_its_number() {
    let list = "http://h/a\n\n# a comment\n  https://H:443/b#c  \nftp://h/\nno url\nhttp://\nhttp://h/a";
    let entries = entries("list.txt", list, |_| {}).unwrap();
    let told: Vec<String> = entries.iter().map(told).collect();
    let expected = [
        "1 GET http://h/a",
        "4 GET https://h/b#c",
        "5 invalid ftp://h/: `ftp` is not fetched, expected http or https",
        "6 invalid no url: no URL: it has no scheme, expected http:// or https://",
        "7 invalid http://: no URL: empty host",
        "8 GET http://h/a",
    ];
    assert_eq!(told, expected);
}

#[test]
fn equal_lines_are_jobs_of_their_own_and_the_same_ones_each_time() {
    let ids = || {
        let entries = entries("list", "http://h/a\nhttp://h/a\nx\nx\nhttp://h/b\n", |_| {}).unwrap();
        let id = |entry: Entry| match entry {
            Entry::Job(job) => job.id,
            Entry::Invalid { id, .. } | Entry::Duplicate { id, .. } => id,
        };
        entries.into_iter().map(id).collect::<Vec<_>>()
    };
    let mut first = ids();
    assert_eq!(first, ids());
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 5);
}

#[test]
fn a_line_fills_the_templates() {
    let jobs = jobs("list", "7\na b\n", |options| {
        options.url = Some("http://h/{line}?n={seq}".to_owned());
        options.body = Some(r#"{"line": "{line}", "n": {seq}}"#.to_owned());
        options.id = Some("item-{line}".to_owned());
        options.headers = vec![(HeaderName::from_static("x-line"), "<{line}> {other}".to_owned())];
    });
    let job = &jobs[1];
    assert_eq!(job.url.as_str(), "http://h/a%20b?n=2");
    assert_eq!(job.body.as_deref(), Some(&br#"{"line": "a b", "n": 2}"#[..]));
    assert_eq!((job.method.as_str(), job.id.as_str()), ("POST", "item-a b"));
    let headers: Vec<_> = job
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    assert_eq!(headers, ["x-line: <a b> {other}", "content-type: application/json"]);
}

#[test]
fn a_json_line_is_a_job_and_what_else_it_says() {
    let lines = concat!(
        r#"{"url": "http://h/1", "method": "PUT", "headers": {"X-A": "1", "x-n": 2}, "body": {"a": 1}, "id": "one", "row": {"k": [1]}}"#,
        "\n\n",
        r#"{"url": "http://h/2", "body": "text \"x\"", "tag": "a\u0041", "none": null}"#,
        "\n[1]\n{\"a\": 1}\n{\"url\": 7}\n{\"url\": \"http://h/\", \"headers\": 1}\n",
    );
    let entries = entries("jobs.ndjson", lines, |_| {}).unwrap();
    let Entry::Job(job) = &entries[0] else { panic!() };
    assert_eq!((job.seq, job.id.as_str(), job.method.as_str()), (Some(1), "one", "PUT"));
    assert_eq!(job.body.as_deref(), Some(&br#"{"a": 1}"#[..]));
    assert_eq!(job.headers.len(), 3, "a body that is JSON says so: {:?}", job.headers);
    assert_eq!(job.meta.as_ref().unwrap().get(), r#"{"row":{"k": [1]}}"#);
    let Entry::Job(job) = &entries[1] else { panic!() };
    assert_eq!((job.seq, &job.method, job.headers.len()), (Some(3), &Method::POST, 0));
    assert_eq!(job.body.as_deref(), Some(&b"text \"x\""[..]));
    assert_eq!(job.meta.as_ref().unwrap().get(), r#"{"tag":"a\u0041"}"#);
    let faults: Vec<String> = entries[2..].iter().map(told).collect();
    assert!(faults[0].starts_with("4 invalid [1]: not a JSON object"), "{faults:?}");
    assert!(faults[1].ends_with("the row has no `url`, and there is no --url"), "{faults:?}");
    assert!(
        faults[2].contains("no URL") && faults[3].contains("`headers` is not an object"),
        "{faults:?}"
    );
}

#[test]
fn a_json_line_that_lacks_what_a_template_names_is_invalid() {
    let entries = entries("jobs.jsonl", "{\"n\": 1, \"deep\": \"x/y\"}\n{\"m\": 1}\n", |options| {
        options.url = Some("http://h/{n}/{deep}".to_owned());
    });
    let told: Vec<String> = entries.unwrap().iter().map(told).collect();
    assert_eq!(told[0], "1 GET http://h/1/x%2Fy");
    assert!(told[1].contains("the row has no `n`, which the URL needs"), "{told:?}");
}

#[test]
fn a_table_has_columns_for_templates_and_for_meta() {
    let table = "\u{feff}order no,name,url\n17,\"a, \"\"b\"\"\nc\",http://h/17\n18,x\n19,\u{e9},http://h/19\n";
    let entries = entries("orders.CSV", table, |options| {
        options.body = Some("no={order no}&name={name}".to_owned());
    });
    let entries = entries.unwrap();
    let Entry::Job(job) = &entries[0] else { panic!("{entries:?}") };
    assert_eq!(job.body.as_deref(), Some(&b"no=17&name=a%2C+%22b%22%0Ac"[..]));
    assert_eq!(job.meta.as_ref().unwrap().get(), r#"{"order no":"17","name":"a, \"b\"\nc"}"#);
    assert_eq!(job.headers[0].1, "application/x-www-form-urlencoded");
    assert_eq!(told(&entries[1]), "2 invalid 18,x: the row has 2 values, expected 3");
    assert_eq!(told(&entries[2]), "3 POST http://h/19");
}

#[test]
fn an_id_that_came_before_is_a_duplicate_with_an_id_of_its_own() {
    let table = "id,url\na,http://h/1\nb,http://h/2\na,http://h/3\na,http://h/4\n,http://h/5\n";
    let told: Vec<String> = entries("t.csv", table, |_| {}).unwrap().iter().map(told).collect();
    assert_eq!(told[2..], ["3 like 1 a~1", "4 like 1 a~2", "5 GET http://h/5"]);
}

#[test]
fn a_sitemap_gives_its_places() {
    let sitemap = "<?xml version='1.0'?><urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>
        <url><loc> http://h/?a=1&amp;b=&#50; </loc><lastmod>2026-01-01</lastmod></url><url><loc><![CDATA[http://h/c]]></loc></url></urlset>";
    let told: Vec<String> = entries("map.xml", sitemap, |_| {}).unwrap().iter().map(told).collect();
    assert_eq!(told, ["1 GET http://h/?a=1&b=2", "2 GET http://h/c"]);
    let index = entries(
        "map.xml",
        "<sitemapindex><sitemap><loc>http://h/1.xml</loc></sitemap></sitemapindex>",
        |_| {},
    );
    assert!(usage(index).contains("names other sitemaps"));
    assert!(usage(entries("map.xml", "<html><loc>http://h/</loc></html>", |_| {})).contains("`html`"));
    assert_eq!(entries("map.xml", "<urlset/>", |_| {}).unwrap().len(), 0);
}

#[test]
fn what_becomes_a_record_at_once_has_no_name_and_password() {
    let told_of = |name: &str, content: &str| -> Vec<String> {
        let shown = |entry: Entry| match entry {
            Entry::Job(_) => None,
            Entry::Invalid { text, why, .. } => Some(format!("{text} {why}")),
            Entry::Duplicate { url, .. } => Some(url),
        };
        entries(name, content, |_| {}).unwrap().into_iter().filter_map(shown).collect()
    };
    let invalid = told_of("list", "http://bob:word@host:99999/\nhttp://bob:word@[::1\nbob:word@host/\n");
    assert_eq!(invalid.len(), 3);
    let row = told_of("rows.ndjson", r#"{"url": "nope", "headers": {"Authorization": "Bearer word"}}"#);
    assert_eq!(row.len(), 1);
    assert!(invalid.iter().chain(&row).all(|text| !text.contains("word")), "{invalid:?} {row:?}");
    let again = told_of("t.csv", "id,url\n1,http://h/\n1,http://bob:word@h/a@b#c\n");
    assert_eq!(again, ["http://h/a@b"]);
}

#[test]
fn a_table_with_two_columns_of_one_name_is_refused() {
    let twice = usage(entries("t.csv", "url,a,b,a\nhttp://h/,1,2,3\n", |_| {}));
    assert!(twice.contains("two columns `a`"), "{twice}");
    assert_eq!(
        jobs("t.csv", "url,,\nhttp://h/,1,2\n", |_| {}).len(),
        1,
        "columns without a name are left alone"
    );
}

#[test]
fn arguments_come_first_and_count() {
    let entries = entries("list", "http://h/b\n", |options| options.urls = vec!["http://h/a".to_owned()]);
    let told: Vec<String> = entries.unwrap().iter().map(told).collect();
    assert_eq!(told, ["1 GET http://h/a", "2 GET http://h/b"]);
}

#[test]
fn what_can_be_known_before_the_first_job_is_a_usage_error() {
    assert!(matches!(Input::open(&InputOptions::default()), Err(FetchError::Usage(text)) if text.contains("nothing to fetch")));
    let missing = InputOptions {
        file: Some("/not/there".into()),
        ..InputOptions::default()
    };
    assert!(matches!(Input::open(&missing), Err(FetchError::Usage(text)) if text.contains("/not/there")));
    let scheme = usage(entries("list", "", |options| options.urls = vec!["example.com".to_owned()]));
    assert!(scheme.contains("`example.com`: no URL: it has no scheme"), "{scheme}");
    let hole = usage(entries("list", "x\n", |options| options.url = Some("http://h/{lin}".to_owned())));
    assert!(hole.contains("--url names `{lin}`") && hole.contains("`{line}`, `{seq}`"), "{hole}");
    let hole = usage(entries("t.csv", "a,b\n1,2\n", |options| options.id = Some("{c}".to_owned())));
    assert!(hole.contains("--id names `{c}`"), "{hole}");
    let folder = InputOptions {
        file: Some(std::env::temp_dir()),
        ..InputOptions::default()
    };
    assert!(matches!(Input::open(&folder), Err(FetchError::Usage(text)) if text.contains("folder")));
}

#[test]
fn a_strict_input_is_refused_with_its_faults() {
    let mut list: String = (1..=30).map(|number| format!("http://h/{number}\n")).collect();
    let strict = |options: &mut InputOptions| options.strict = true;
    assert_eq!(jobs("list", &list, strict).len(), 30);
    list.push_str(&"x\n".repeat(12));
    let faults = usage(entries("list", &list, strict));
    assert!(faults.contains("line 31: no URL") && faults.contains("and 2 more"), "{faults}");
    let stdin = InputOptions {
        file: Some(Path::new("-").into()),
        strict: true,
        ..InputOptions::default()
    };
    assert!(matches!(Input::open(&stdin), Err(FetchError::Usage(text)) if text.contains("--strict")));
}

#[test]
fn a_table_whose_quote_is_never_closed_does_not_fill_memory() {
    struct Endless(bool);
    impl std::io::Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            out.fill(b'x');
            if !std::mem::replace(&mut self.0, true) {
                out[..8].copy_from_slice(b"a,b\n1,\"x");
            }
            Ok(out.len())
        }
    }
    let mut table = Table::new(Box::new(BufReader::new(Endless(false)))).unwrap();
    assert!(table.next().unwrap_err().to_string().contains("quote"));
}

#[test]
fn values_cannot_become_headers_or_leave_the_path() {
    let entries = entries(
        "jobs.ndjson",
        "{\"v\": \"a\\r\\nx: y\"}\n{\"v\": \"..\"}\n{\"v\": \"@evil/\"}\n",
        |options| {
            options.url = Some("http://h{v}/x".to_owned());
            options.headers = vec![(HeaderName::from_static("x-v"), "{v}".to_owned())];
        },
    );
    let told: Vec<String> = entries.unwrap().iter().map(told).collect();
    assert!(
        told.iter().all(|entry| entry.contains("invalid") || entry.contains("http://h..")),
        "{told:?}"
    );
}
