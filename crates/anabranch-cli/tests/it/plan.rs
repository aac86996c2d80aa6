//! `anabranch plan`.

use crate::support::Folder;

const FEED: &str = "\
sources:
  shop: { url: http://shop.svc:8000, timeout: 200ms }
routes:
  GET /feed/{uid:int}:
    deadline: 900ms
    need: [posts]
    calls:
      posts: shop /posts?of=$uid
      media: { each: '$posts[]', when: $it.media_id, get: shop /assets/$it.media_id, max_items: 100, into: 'posts[].media' }
      score: { get: shop /score/$uid, else: $backup }
      backup: shop /backup/$uid
      shown: { value: { of: $score.x } }
  POST /orders:
    calls:
      order: { post: shop /orders, body: { sent: $body } }
";

const FEED_TABLE: &str = "\
GET /feed/{uid:int}, deadline 900ms

  call    does           requests              attempts   longest  remarks
level 1, at once
  posts   GET shop       1                     2 x 200ms  900ms    needed
  score   GET shop       1                     2 x 200ms  900ms    else backup
level 2, each when the calls before it have ended
  media   each GET shop  up to 100, 8 at once  2 x 200ms  900ms    after posts; when; into posts
  backup  GET shop       1                     2 x 200ms  900ms    only if score fails
  shown   value                                                    after score

critical path: posts, media
at the most: 103 requests, 206 attempts, 900ms (the deadline; without it 12.95s)
";

const ORDERS_TABLE: &str = "\
POST /orders, deadline 5s

  call   does       requests  attempts   longest  remarks
level 1, at once
  order  POST shop  1         1 x 200ms  450ms

critical path: order
at the most: 1 request, 1 attempt, 450ms
";

const ORDERS_CHART: &str = "\
flowchart LR
  subgraph r0[\"POST /orders, deadline 5s\"]
    r0c0[\"order<br/>POST shop<br/>1 x 200ms\"]
    r0reply([reply])
    r0c0 --> r0reply
  end
  class r0c0 critical
  classDef critical stroke-width:4px
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("gateway.yaml", FEED);
    folder
}

#[test]
fn every_route_is_a_table_of_levels_and_bounds() {
    let ended = folder().run(&["plan", "gateway.yaml"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, format!("{FEED_TABLE}\n{ORDERS_TABLE}"));
}

#[test]
fn one_route_is_named_as_written_or_by_a_request() {
    let folder = folder();
    for route in [
        "GET /feed/{uid:int}",
        "/feed/{uid:int}",
        "GET /feed/7?limit=3",
        "/feed/7",
        "head /feed/7",
    ] {
        assert_eq!(folder.run(&["plan", "gateway.yaml", route]).stdout, FEED_TABLE, "{route}");
    }
    assert_eq!(folder.run(&["plan", "gateway.yaml", "POST /orders"]).stdout, ORDERS_TABLE);
}

#[test]
fn a_route_that_is_none_is_said_with_those_there_are() {
    for route in ["/none", "DELETE /orders", "feed", ""] {
        let ended = folder().run(&["plan", "gateway.yaml", route]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{route}");
        let expected = format!("error: no route is `{route}` or answers it, expected one of `GET /feed/{{uid:int}}`, `POST /orders`\n");
        assert_eq!(ended.stderr, expected);
    }
}

#[test]
fn the_flowchart_has_an_arrow_for_each_wait() {
    let folder = folder();
    assert_eq!(
        folder.run(&["plan", "gateway.yaml", "POST /orders", "--mermaid"]).stdout,
        ORDERS_CHART
    );
    let chart = folder.run(&["plan", "gateway.yaml", "--mermaid"]).stdout;
    for line in [
        "    r0c1[\"media<br/>each GET shop<br/>up to 100, 8 at once<br/>2 x 200ms\"]",
        "    r0c0 ==> r0reply",
        "    r0c0 --> r0c1",
        "    r0c1 -->|into posts| r0reply",
        "    r0c2 -. fails .-> r0c3",
        "    r0c3 -.-> r0c4",
        "    r0c3 -.-> r0reply",
        "    r0c2 --> r0c4",
        "  class r0c0,r0c1 critical",
        "  class r1c0 critical",
    ] {
        assert!(chart.lines().any(|other| other == line), "no `{line}` in:\n{chart}");
    }
}

#[test]
fn a_faulty_config_has_no_plan() {
    let folder = Folder::new();
    folder.write("gateway.yaml", &FEED.replace("shop /posts", "shp /posts"));
    let ended = folder.run(&["plan", "gateway.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("gateway.yaml:8:"), "{}", ended.stderr);
    assert_eq!(folder.run(&["plan", "none.yaml"]).code, Some(3));
}

#[test]
fn a_route_that_is_passed_through_has_its_limits_in_place_of_calls() {
    let folder = Folder::new();
    let config = "\
sources:
  media: { url: http://media.svc:8000 }
routes:
  PUT /in/*path:
    body: { max: 10G }
    deadline: 1h
    proxy: { to: media /$path, max_body: 1500K, body_idle: 2m }
  GET /assets/*path: { proxy: { to: media /files/$path, cache: http } }
";
    folder.write("gateway.yaml", config);
    let ended = folder.run(&["plan", "gateway.yaml"]);
    let expected = "\
PUT /in/*path, deadline 1h

  passed to          media
  attempts           1
  request body       at the most 10G
  answer             at the most 1500K
  kept               no
  head within        1m
  each piece within  2m

GET /assets/*path, no deadline

  passed to          media
  attempts           2
  request body       none
  answer             any size
  kept               as it says
  head within        1m
  each piece within  1m
";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), expected));
    let chart = folder.run(&["plan", "gateway.yaml", "--mermaid"]).stdout;
    assert!(
        chart.contains("    r0proxy[\"passed to media\"]\n    r0proxy ==> r0reply\n"),
        "{chart}"
    );
}
