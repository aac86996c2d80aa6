//! A real site: the Python documentation, as Debian packages it (`python3-doc`), served by nginx.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::nginx::nginx;
use super::setup::{Records, fetch, is_quick};
use crate::support::Folder;

/// Where the package puts its pages; the folder bears the version's number.
fn tree() -> PathBuf {
    let folders = std::fs::read_dir("/usr/share/doc").unwrap().filter_map(Result::ok);
    let mut trees: Vec<PathBuf> = folders
        .filter(|folder| folder.file_name().to_string_lossy().starts_with("python3."))
        .map(|folder| folder.path().join("html"))
        .filter(|html| html.join("index.html").is_file())
        .collect();
    trees.sort();
    trees
        .pop()
        .expect("python3-doc is not here: install it, or run `scripts/test quick`")
}

/// The pages that can be reached, found by reading the files: the same question asked in another way.
fn reachable(tree: &Path) -> BTreeSet<String> {
    let mut reached = BTreeSet::from(["/index.html".to_string()]);
    let mut waiting = vec!["/index.html".to_string()];
    while let Some(page) = waiting.pop() {
        let text = std::fs::read_to_string(tree.join(&page[1..])).unwrap();
        let base = url::Url::parse("http://site/").unwrap().join(&page).unwrap();
        for link in links(&text) {
            let Ok(url) = base.join(&link) else { continue };
            let is_page = url.host_str() == Some("site") && url.path().ends_with(".html") && tree.join(&url.path()[1..]).is_file();
            if is_page && reached.insert(url.path().to_string()) {
                waiting.push(url.path().to_string());
            }
        }
    }
    reached
}

/// What stands in `href="..."` of `<a`; the pages are made by a program, which writes no other form.
fn links(text: &str) -> Vec<String> {
    let anchors = text.split("<a ").skip(1).filter_map(|rest| rest.split('>').next());
    anchors
        .filter_map(|tag| tag.split("href=\"").nth(1)?.split('"').next())
        .map(|link| link.replace("&amp;", "&"))
        .collect()
}

#[test]
fn each_page_of_a_site_is_fetched_once() {
    if is_quick() {
        return;
    }
    let tree = tree();
    let lines = format!(
        "location / {{ root {}; }} location = /robots.txt {{ return 200 'User-agent: *\\nDisallow: /whatsnew/\\n'; }}",
        tree.display()
    );
    let Some(site) = nginx("", &lines, |_| {}) else { return };
    let folder = Folder::new();
    let start = site.url("/index.html");
    let run = [
        start.as_str(),
        "--follow",
        "css:a@href",
        "--same-host",
        "--allow",
        r"\.html($|[?#])",
        "--select",
        "title=css:title",
        "--run",
        "docs",
    ];
    let ended = fetch(&folder, &run);
    assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.stderr);
    let records = Records::read(&folder.path().join("docs/records.ndjson"));
    assert_eq!(records.distinct_ids(), records.len());
    let of = |outcome: &str| -> BTreeSet<String> {
        let such = records.0.iter().filter(|record| record["outcome"] == outcome);
        such.map(|record| url::Url::parse(record["url"].as_str().unwrap()).unwrap().path().to_string())
            .collect()
    };
    let (allowed, _forbidden): (BTreeSet<String>, BTreeSet<String>) =
        reachable(&tree).into_iter().partition(|page| !page.starts_with("/whatsnew/"));
    let ok = of("ok");
    // What only pages behind the forbidden ones link to cannot be found.
    let missing: Vec<&String> = allowed.difference(&ok).collect();
    assert!(missing.len() <= allowed.len() / 50, "not found: {missing:?}");
    assert!(ok.is_subset(&allowed), "{:?}", ok.difference(&allowed).collect::<Vec<_>>());
    assert!(!of("robots").is_empty() && of("robots").iter().all(|page| page.starts_with("/whatsnew/")));
    let log = std::fs::read_to_string(site.folder.path().join("access")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains(" /whatsnew/")).count(), 0);
    assert_eq!(log.lines().filter(|line| line.ends_with(" 200 /library/asyncio.html")).count(), 1);
    let with_title = records
        .0
        .iter()
        .filter(|record| record["outcome"] == "ok" && record["data"]["title"].is_string())
        .count();
    assert_eq!(with_title, ok.len());
    assert!(
        records.0.iter().any(|record| record["depth"] == json!(0)) && records.0.iter().any(|record| record["depth"].as_u64() > Some(1))
    );
}

#[test]
fn a_crawl_stays_within_its_bounds() {
    if is_quick() {
        return;
    }
    let Some(site) = nginx("", &format!("location / {{ root {}; }}", tree().display()), |_| {}) else {
        return;
    };
    let folder = Folder::new();
    let start = site.url("/index.html");
    let run = [start.as_str(), "--follow", "css:a@href", "--same-host", "--robots", "ignore"];
    let depth = Records::of(&fetch(&folder, &[&run[..], &["--depth", "1"]].concat()).stdout);
    assert!(depth.len() > 20 && depth.0.iter().all(|record| record["depth"].as_u64() <= Some(1)));
    let few = Records::of(&fetch(&folder, &[&run[..], &["--max-pages", "30"]].concat()).stdout);
    assert_eq!(
        few.0.iter().filter(|record| record["outcome"] == "ok").count(),
        30,
        "{:?}",
        few.outcomes()
    );
    let denied = Records::of(&fetch(&folder, &[&run[..], &["--depth", "2", "--deny", "/library/"]].concat()).stdout);
    assert!(
        denied
            .0
            .iter()
            .all(|record| record["outcome"] != "ok" || !record["url"].as_str().unwrap().contains("/library/"))
    );
}
