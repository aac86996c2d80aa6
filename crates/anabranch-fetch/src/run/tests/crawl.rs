//! Pages that lead to pages: what becomes a job, what does not, and who may be asked. The frontier comes from the store's own thread, for
//! which a clock that stands still does not wait, so these run on the real one.

use std::time::Duration;

use anabranch_testkit::{Connecting, MemoryNetwork, Reply, Upstream};
use tokio::time::Instant;

use super::network::{kinds, options, outcomes, run};
use crate::{Options, Outcome, Record};

fn page(path: &str, links: &[&str]) -> Reply {
    let links: String = links.iter().map(|link| format!("<a href='{link}'>x</a>")).collect();
    Reply::get(path)
        .header("content-type", "text/html")
        .body(format!("<h1>{path}</h1>{links}"))
}

fn site(network: &MemoryNetwork, host: &str, replies: Vec<Reply>) -> std::sync::Arc<anabranch_testkit::Served> {
    network.host(host, replies.into_iter().fold(Upstream::new("site"), Upstream::reply))
}

fn crawl(urls: &[&str]) -> (Options, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(urls);
    options.crawl.follow = vec!["css:a@href".into()];
    options.crawl.same_host = true;
    options.output.run = Some(folder.path().join("run"));
    (options, folder)
}

fn urls(records: &[Record]) -> Vec<&str> {
    let mut urls: Vec<&str> = records.iter().map(|record| record.url.as_str()).collect();
    urls.sort_unstable();
    urls
}

#[tokio::test]
async fn links_are_followed_once_each_and_not_off_the_host() {
    let network = MemoryNetwork::new();
    let replies = vec![
        page("/", &["/a", "b#top", "http://elsewhere/", "mailto:x@y"]),
        page("/a", &["/", "/b", "/c"]),
        page("/b", &["/c"]),
        page("/c", &[]),
    ];
    let served = site(&network, "s:80", replies);
    let (options, _folder) = crawl(&["http://s/"]);
    let (summary, records) = run(&network, options).await;
    assert_eq!(
        urls(&records),
        ["http://s/", "http://s/a", "http://s/b", "http://s/c"],
        "{records:?}"
    );
    assert_eq!((summary.total, summary.failed()), (4, 0));
    let paths = served.seen();
    assert_eq!(paths.iter().filter(|seen| seen.path() == "/c").count(), 1);
    assert_eq!(paths[0].path(), "/robots.txt", "asked for before all else, once");
    let c = records.iter().find(|record| record.url.ends_with("/c")).unwrap();
    assert_eq!((c.depth, c.parent.is_some(), c.seq), (Some(2), true, None));
    assert_eq!(records[0].links, Some(2));
}

#[tokio::test]
async fn depth_and_number_of_pages_are_bounded() {
    let network = MemoryNetwork::new();
    let chain = (0..30).map(|n| page(&format!("/{n}"), &[&format!("/{}", n + 1)])).collect();
    site(&network, "s:80", chain);
    let (mut options, _folder) = crawl(&["http://s/0"]);
    options.crawl.depth = Some(3);
    let (_, records) = run(&network, options).await;
    assert_eq!(records.len(), 4);
    let (mut options, _folder) = crawl(&["http://s/0"]);
    options.crawl.max_pages = Some(6);
    let (summary, records) = run(&network, options).await;
    assert_eq!((records.len(), summary.ended), (6, crate::run::Ended::Complete));
}

#[tokio::test]
async fn robots_txt_is_obeyed_and_its_delay_kept() {
    let network = MemoryNetwork::new();
    let rules = Reply::get("/robots.txt").body("User-agent: *\nDisallow: /private\nCrawl-delay: 0.3\n");
    let served = site(
        &network,
        "s:80",
        vec![rules, page("/", &["/a", "/private/x", "/b"]), page("/a", &[]), page("/b", &[])],
    );
    let (options, _folder) = crawl(&["http://s/"]);
    let started = Instant::now();
    let (summary, records) = run(&network, options.clone()).await;
    assert_eq!(summary.of(Outcome::Robots), 1);
    assert_eq!(summary.of(Outcome::Ok), 3);
    assert!(started.elapsed() >= Duration::from_millis(600), "{:?}", started.elapsed());
    assert!(served.seen().iter().all(|seen| !seen.path().starts_with("/private")));
    assert_eq!(kinds(&records).iter().filter(|kind| **kind == "robots").count(), 1);

    let (mut ignoring, _folder) = crawl(&["http://s/"]);
    ignoring.crawl.robots = Some(false);
    let (summary, _) = run(&network, ignoring).await;
    assert_eq!(summary.of(Outcome::Robots), 0);
    assert_eq!(served.seen().iter().filter(|seen| seen.path() == "/robots.txt").count(), 1);
}

#[tokio::test]
async fn a_host_whose_rules_cannot_be_read_is_not_asked_and_that_is_a_failure() {
    let network = MemoryNetwork::new();
    let broken = site(&network, "s:80", vec![Reply::get("/robots.txt").status(500), page("/", &[])]);
    site(&network, "dead:80", vec![]);
    network.set_connecting("dead:80", Connecting::Refused);
    let (options, _folder) = crawl(&["http://s/", "http://dead/"]);
    let (summary, records) = run(&network, options).await;
    assert_eq!(outcomes(&records), [Outcome::HttpError, Outcome::Connect]);
    assert_eq!((kinds(&records)[0], summary.failed()), ("robots_unreachable", 2));
    assert!(broken.seen().iter().all(|seen| seen.path() == "/robots.txt"));
}

#[tokio::test]
async fn sitemaps_bring_pages() {
    let network = MemoryNetwork::new();
    let index = "<?xml version='1.0'?><sitemapindex><sitemap><loc>http://s/pages.xml</loc></sitemap></sitemapindex>";
    let pages = "<urlset><url><loc>http://s/p1</loc></url><url><loc>http://elsewhere/p2</loc></url></urlset>";
    let replies = vec![
        Reply::get("/robots.txt").body("Sitemap: http://s/index.xml\n"),
        Reply::get("/index.xml").header("content-type", "application/xml").body(index),
        Reply::get("/pages.xml").header("content-type", "application/xml").body(pages),
        page("/", &[]),
        page("/p1", &[]),
    ];
    site(&network, "s:80", replies);
    let (mut options, _folder) = crawl(&["http://s/"]);
    options.crawl.sitemap = true;
    let (summary, records) = run(&network, options).await;
    assert_eq!(
        urls(&records),
        ["http://s/", "http://s/index.xml", "http://s/p1", "http://s/pages.xml"]
    );
    assert_eq!(summary.failed(), 0);
}

#[tokio::test]
async fn no_sitemap_at_the_usual_place_is_no_failure() {
    let network = MemoryNetwork::new();
    site(&network, "s:80", vec![page("/", &[])]);
    let (mut options, _folder) = crawl(&["http://s/"]);
    options.crawl.sitemap = true;
    let (summary, records) = run(&network, options).await;
    assert_eq!((summary.failed(), records.len()), (0, 2));
    assert_eq!(records[1].outcome, Outcome::Filtered);
}

#[tokio::test]
async fn logins_are_for_the_origins_of_the_input() {
    let network = MemoryNetwork::new();
    let own = site(&network, "s:80", vec![page("/", &["/a", "http://s:81/"]), page("/a", &[])]);
    let other = site(&network, "s:81", vec![page("/", &[])]);
    let (mut options, _folder) = crawl(&["http://s/"]);
    options.crawl.same_host = false;
    options.http.authorization = Some(http::HeaderValue::from_static("Bearer secret"));
    let (_, records) = run(&network, options).await;
    assert_eq!(records.len(), 3);
    let sent = |served: &anabranch_testkit::Served, path: &str| {
        let seen = served.seen().into_iter().find(|seen| seen.path() == path).unwrap();
        seen.header("authorization").map(str::to_string)
    };
    assert_eq!(sent(&own, "/a").as_deref(), Some("Bearer secret"));
    assert_eq!(sent(&own, "/robots.txt"), None);
    assert_eq!(sent(&other, "/"), None);
}

#[tokio::test]
async fn selectors_fill_the_record_and_their_failure_is_one() {
    let network = MemoryNetwork::new();
    let json = Reply::get("/broken").header("content-type", "application/json").body("{");
    site(&network, "s:80", vec![page("/", &[]), json]);
    let mut options = options(&["http://s/", "http://s/broken"]);
    options.extract.select = vec![("title".into(), "css:h1".into()), ("n".into(), "json:$.n".into())];
    let (_, records) = run(&network, options).await;
    assert_eq!(records[1].outcome, Outcome::Extract);
    let _ = &records[0];
}
