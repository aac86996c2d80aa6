//! What becomes of answers: statuses, redirects, cookies, logins, retries.

use anabranch_testkit::{Fault, MemoryNetwork, Reply, Upstream};
use http::{HeaderValue, Method, header};

use super::network::{kinds, options, outcomes, run};
use crate::Outcome;
use crate::options::BodyInRecord;

fn network(host: &str, replies: impl IntoIterator<Item = Reply>) -> (MemoryNetwork, std::sync::Arc<anabranch_testkit::Served>) {
    let network = MemoryNetwork::new();
    let served = network.host(host, upstream(replies));
    (network, served)
}

fn upstream(replies: impl IntoIterator<Item = Reply>) -> Upstream {
    replies.into_iter().fold(Upstream::new("test"), Upstream::reply)
}

#[tokio::test(start_paused = true)]
async fn every_line_of_the_input_ends_as_one_record() {
    let (network, _) = network(
        "a:80",
        [
            Reply::get("/ok")
                .header("content-type", "text/html; charset=UTF-8")
                .header("etag", "\"1\"")
                .body("hello"),
            Reply::get("/broken").status(500),
        ],
    );
    let mut options = options(&["http://a/ok", "http://a/gone", "http://a/broken", "http://nowhere/", "http://a/ok"]);
    options.retry.retries = 0;
    let (summary, records) = run(&network, options).await;
    assert_eq!(
        outcomes(&records),
        [Outcome::Ok, Outcome::HttpError, Outcome::HttpError, Outcome::Connect, Outcome::Ok]
    );
    assert_eq!(kinds(&records), ["", "http_error", "http_error", "connect", ""]);
    assert_eq!((summary.total, summary.failed(), summary.retried), (5, 3, 0));
    let ok = &records[0];
    assert_eq!((ok.status, ok.body_bytes, ok.wire_bytes), (Some(200), Some(5), Some(5)));
    assert_eq!(
        (ok.media_type.as_deref(), ok.charset.as_deref(), ok.etag.as_deref()),
        (Some("text/html"), Some("utf-8"), Some("\"1\""))
    );
    assert_ne!(records[0].id, records[4].id, "the same URL twice is two jobs");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_and_every_try_is_told() {
    let (network, served) = network(
        "a:80",
        [
            Reply::get("/").fault(Fault::CloseBefore).times(1),
            Reply::get("/").status(503).times(1),
            Reply::get("/").body("at last"),
        ],
    );
    let (summary, records) = run(&network, options(&["http://a/"])).await;
    let record = &records[0];
    assert_eq!((record.outcome, record.attempts, summary.retried), (Outcome::Ok, 3, 1));
    let tries: Vec<_> = record.tries.iter().map(|one| (one.outcome, one.status, one.why)).collect();
    assert_eq!(
        tries,
        [(Outcome::Reset, None, "backoff"), (Outcome::HttpError, Some(503), "backoff")]
    );
    assert_eq!(served.seen().len(), 3);
    assert!(record.error.is_none() && record.t_ms.host_wait > 0.0);
}

#[tokio::test(start_paused = true)]
async fn retries_end_and_the_last_failure_is_the_records() {
    let (network, served) = network("a:80", [Reply::any().status(502)]);
    let (_, records) = run(&network, options(&["http://a/"])).await;
    assert_eq!((records[0].status, records[0].attempts, records[0].tries.len()), (Some(502), 4, 3));
    assert_eq!(served.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_change_is_not_tried_again() {
    let (network, served) = network(
        "a:80",
        [Reply::get("/forbidden").status(403), Reply::get("/").fault(Fault::BadChunks)],
    );
    let (_, records) = run(&network, options(&["http://a/forbidden", "http://a/"])).await;
    assert_eq!(outcomes(&records), [Outcome::HttpError, Outcome::Protocol]);
    assert_eq!(served.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_post_is_repeated_only_where_it_was_not_sent_or_that_is_allowed() {
    let (network, served) = network("a:80", [Reply::post("/").status(503).times(1), Reply::post("/").status(201)]);
    let mut of_post = options(&["http://a/"]);
    of_post.input.method = Some(Method::POST);
    of_post.input.body = Some("{\"a\":1}".into());
    let (_, records) = run(&network, of_post.clone()).await;
    assert_eq!((records[0].status, records[0].attempts), (Some(503), 1));
    let sent = &served.seen()[0];
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("idempotency-key"), None);

    served.follow(upstream([Reply::post("/").status(503).times(1), Reply::post("/").status(201)]));
    of_post.retry.unsafe_methods = true;
    let (_, records) = run(&network, of_post.clone()).await;
    assert_eq!((records[0].status, records[0].attempts), (Some(201), 2));
    let keys: Vec<_> = served
        .seen()
        .iter()
        .filter_map(|seen| seen.header("idempotency-key").map(str::to_string))
        .collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");

    let mut with_key = of_post.clone();
    with_key
        .http
        .headers
        .push(("idempotency-key".parse().unwrap(), HeaderValue::from_static("mine")));
    run(&network, with_key).await;
    assert_eq!(served.seen().last().unwrap().header("idempotency-key"), Some("mine"));

    of_post.retry.unsafe_methods = false;
    of_post.input.urls = vec!["http://nobody/".into()];
    let (_, records) = run(&network, of_post).await;
    assert_eq!((records[0].outcome, records[0].attempts), (Outcome::Connect, 4), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_kept_to_the_second() {
    let (network, _) = network("a:80", [Reply::any().status(429).header("retry-after", "7").times(1), Reply::any()]);
    let (_, records) = run(&network, options(&["http://a/"])).await;
    let record = &records[0];
    assert_eq!((record.outcome, record.tries[0].why), (Outcome::Ok, "retry-after"));
    assert!((7_000.0..7_300.0).contains(&record.total_ms), "{}", record.total_ms);
    assert!((7_000.0..7_300.0).contains(&record.tries[0].wait_ms));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_is_a_failure_at_once() {
    let (network, served) = network("a:80", [Reply::any().status(503).header("retry-after", "86400")]);
    let (_, records) = run(&network, options(&["http://a/"])).await;
    assert_eq!(
        (records[0].outcome, records[0].attempts, served.seen().len()),
        (Outcome::HttpError, 1, 1)
    );
    assert!(records[0].total_ms < 1_000.0, "{}", records[0].total_ms);
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_and_told() {
    let network = MemoryNetwork::new();
    network.host(
        "a:80",
        upstream([
            Reply::get("/1").status(301).header("location", "/2"),
            Reply::get("/2").status(302).header("location", "http://b/3#x"),
        ]),
    );
    network.host("b:80", upstream([Reply::get("/3").body("here")]));
    let (_, records) = run(&network, options(&["http://a/1"])).await;
    let record = &records[0];
    assert_eq!((record.outcome, record.attempts), (Outcome::Ok, 1));
    assert_eq!(
        (record.url.as_str(), record.final_url.as_deref()),
        ("http://a/1", Some("http://b/3"))
    );
    assert_eq!(record.redirects, ["http://a/2"]);
}

#[tokio::test(start_paused = true)]
async fn redirects_that_lead_nowhere_are_a_record() {
    let (network, served) = network(
        "a:80",
        [
            Reply::get("/loop").status(302).header("location", "/loop"),
            Reply::get("/file").status(302).header("location", "file:///etc/passwd"),
            Reply::get("/nothing").status(302),
            Reply::get("/*").status(302).header("location", "/x?more"),
        ],
    );
    let (_, records) = run(&network, options(&["http://a/loop", "http://a/file", "http://a/nothing"])).await;
    assert_eq!(outcomes(&records), [Outcome::Redirect; 3]);
    assert_eq!(kinds(&records), ["redirect_loop", "redirect_target", "redirect_target"]);
    assert!(served.seen().len() <= 5);

    let growing = Upstream::new("a").reply(Reply::any().status(302).header("location", "b"));
    network.host("c:80", growing);
    let mut options = options(&["http://c/a/"]);
    options.http.max_redirects = 0;
    let (_, records) = run(&network, options).await;
    assert_eq!(
        (records[0].outcome, records[0].status),
        (Outcome::HttpError, Some(302)),
        "`--max-redirs 0` takes the answer as it is"
    );
}

#[tokio::test(start_paused = true)]
async fn a_post_becomes_a_get_on_its_way() {
    let (network, served) = network(
        "a:80",
        [
            Reply::post("/form").status(303).header("location", "/done"),
            Reply::get("/done"),
            Reply::post("/same").status(307).header("location", "/form"),
        ],
    );
    let mut options = options(&["http://a/same"]);
    options.input.method = Some(Method::POST);
    options.input.body = Some("a=1".into());
    let (_, records) = run(&network, options).await;
    assert_eq!((records[0].outcome, records[0].method.as_str()), (Outcome::Ok, "POST"));
    let seen: Vec<_> = served.seen().iter().map(|seen| (seen.method.clone(), seen.body.len())).collect();
    assert_eq!(seen, [(Method::POST, 3), (Method::POST, 3), (Method::GET, 0)]);
}

#[tokio::test(start_paused = true)]
async fn logins_stay_at_the_origin_that_they_are_for() {
    let network = MemoryNetwork::new();
    let a = network.host("a:80", upstream([Reply::any().status(302).header("location", "http://b/")]));
    let b = network.host("b:80", upstream([Reply::any().status(302).header("location", "http://a:8080/")]));
    let other_port = network.host("a:8080", upstream([Reply::any()]));
    let mut options = options(&["http://a/"]);
    options.http.authorization = Some(HeaderValue::from_static("Bearer secret"));
    options.http.headers.push((header::COOKIE, HeaderValue::from_static("id=1")));
    let (_, records) = run(&network, options).await;
    assert_eq!(records[0].outcome, Outcome::Ok);
    let sent = a.seen().remove(0);
    assert_eq!(
        (sent.header("authorization"), sent.header("cookie")),
        (Some("Bearer secret"), Some("id=1"))
    );
    for elsewhere in [&b, &other_port] {
        let sent = elsewhere.seen().remove(0);
        for name in ["authorization", "cookie"] {
            assert_eq!(sent.header(name), None, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_in_the_url_is_sent_and_never_told() {
    let (network, served) = network("a:80", [Reply::any().status(401)]);
    let mut options = options(&["http://me:hunter2@a/x"]);
    options.http.netrc = Some("machine a login other password netrc".into());
    let (_, records) = run(&network, options.clone()).await;
    assert_eq!(served.seen()[0].header("authorization"), Some("Basic bWU6aHVudGVyMg=="));
    let text = serde_json::to_string(&records[0]).unwrap();
    assert!(!text.contains("hunter2") && text.contains("http://a/x"), "{text}");

    options.input.urls = vec!["http://a/y".into()];
    run(&network, options).await;
    assert_eq!(
        served.seen().last().unwrap().header("authorization"),
        Some("Basic b3RoZXI6bmV0cmM=")
    );
}

#[tokio::test(start_paused = true)]
async fn cookies_go_back_where_they_came_from() {
    let (network, served) = network(
        "a:80",
        [
            Reply::get("/login")
                .status(302)
                .header("location", "/home")
                .header("set-cookie", "session=7; Path=/"),
            Reply::get("/home").when_header("cookie", "old=1; session=7").body("welcome"),
            Reply::get("/home").status(403),
        ],
    );
    let mut with_jar = options(&["http://a/login"]);
    with_jar.http.cookies = Some("a\tFALSE\t/\tFALSE\t0\told\t1\n".into());
    let (summary, records) = run(&network, with_jar).await;
    assert_eq!(outcomes(&records), [Outcome::Ok]);
    assert!(summary.cookies.unwrap().contains("\tsession\t7"));
    let (summary, records) = run(&network, options(&["http://a/login"])).await;
    assert_eq!(
        (outcomes(&records), summary.cookies),
        (vec![Outcome::HttpError], None),
        "no jar, no cookies"
    );
    assert_eq!(served.seen().last().unwrap().header("cookie"), None);
}

#[tokio::test(start_paused = true)]
async fn what_counts_as_ok_may_be_said() {
    let (network, _) = network(
        "a:80",
        [
            Reply::get("/missing").status(404),
            Reply::get("/moved").status(302).header("location", "/"),
        ],
    );
    let mut options = options(&["http://a/missing", "http://a/moved"]);
    options.http.expect = Some(vec![404..=404, 302..=302]);
    let (_, records) = run(&network, options).await;
    assert_eq!(outcomes(&records), [Outcome::Ok, Outcome::Ok]);
}

#[tokio::test(start_paused = true)]
async fn bodies_and_headers_go_into_the_record_where_asked_for() {
    let (network, _) = network(
        "a:80",
        [
            Reply::get("/text")
                .header("content-type", "text/plain; charset=iso-8859-1")
                .header("x-a", "1")
                .header("x-a", "2")
                .body(&b"caf\xe9"[..]),
            Reply::get("/bytes").header("content-type", "image/png").body(&b"\x89PNG\0"[..]),
        ],
    );
    let mut options = options(&["http://a/text", "http://a/bytes"]);
    options.output.body = BodyInRecord::Inline;
    options.output.headers = vec!["x-a".parse().unwrap(), "x-b".parse().unwrap()];
    let (_, records) = run(&network, options).await;
    assert_eq!((records[0].body.as_deref(), records[0].body_base64), (Some("café"), None));
    assert_eq!((records[1].body.as_deref(), records[1].body_base64), (Some("iVBORwA="), Some(true)));
    assert_eq!(records[0].headers.as_ref().unwrap().get(), r#"{"x-a":"1, 2"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_used_up_is_waited_for() {
    let limited = Reply::get("/1").header("ratelimit-remaining", "0").header("ratelimit-reset", "30");
    let (network, served) = network("a:80", [limited, Reply::any()]);
    let mut options = options(&["http://a/1", "http://a/2"]);
    options.limits.per_host = 1;
    let (_, records) = run(&network, options).await;
    assert_eq!(outcomes(&records), [Outcome::Ok, Outcome::Ok]);
    let seen = served.seen();
    let between = seen[1].at.duration_since(seen[0].at).as_secs_f64();
    assert!((30.0..30.1).contains(&between), "{between} s between the two");
}

#[tokio::test(start_paused = true)]
async fn a_second_pass_asks_for_what_has_changed_only() {
    let same = Reply::get("/same").header("etag", "\"1\"");
    let not_modified = Reply::get("/same").when_header("if-none-match", "\"1\"").status(304);
    let (network, served) = network(
        "a:80",
        [not_modified.clone(), same.clone().body("one"), Reply::get("/news").body("old")],
    );
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&["http://a/same", "http://a/news"]);
    options.output.run = Some(folder.path().join("run"));
    options.output.if_changed = true;
    let (_, records) = run(&network, options.clone()).await;
    assert_eq!(outcomes(&records), [Outcome::Ok, Outcome::Ok]);
    served.follow(upstream([not_modified, same.body("one"), Reply::get("/news").body("new")]));
    let (summary, records) = run(&network, options).await;
    assert_eq!(outcomes(&records), [Outcome::NotModified, Outcome::Ok]);
    assert_eq!((records[0].changed, records[1].changed), (Some(false), Some(true)));
    assert_eq!((summary.failed(), records[0].cache), (0, Some("revalidated")));
    assert!(records[0].sha256.is_some(), "of what was there before");
}

#[tokio::test(start_paused = true)]
async fn a_try_takes_as_long_as_all_its_steps() {
    let slow = std::time::Duration::from_secs(1);
    let step = Reply::get("/1").status(302).header("location", "/2").delay(slow);
    let (network, _) = network("a:80", [step, Reply::get("/2").status(500).delay(slow).times(1), Reply::get("/2")]);
    let (_, records) = run(&network, options(&["http://a/1"])).await;
    assert_eq!((records[0].attempts, records[0].tries[0].total_ms), (2, 2_000.0));
}
