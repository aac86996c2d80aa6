use super::*;
use proptest::prelude::*;

fn admits(file: &str, agent: &str, path: &str) -> bool {
    let url = Url::parse("http://h.test").unwrap().join(path).unwrap();
    Robots::of_answer(200, file.as_bytes(), agent).admits(&url)
}

/// The examples of RFC 9309, section 5.1, with one more group between.
const SIMPLE: &str = "\
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot

EOF
";

#[test]
fn groups_are_those_of_the_standards_example() {
    let cases = [
        ("other", "/", true),
        ("other", "/a.gif", false),
        ("other", "/a.gif?x", true),
        ("other", "/example/x", false),
        ("other", "/publications/x.gif", true),
        ("foobot", "/x", false),
        ("foobot", "/example/page.html", true),
        ("foobot", "/example/allowed.gif", true),
        ("FooBot", "/example/other", false),
        ("foo", "/publications/x", true),
        ("foobot-images", "/publications/x", true),
        ("barbot", "/example/page.html", false),
        ("bazbot", "/example/page.html", false),
        ("bazbot", "/example/other", true),
        ("quxbot", "/example/page.html", true),
    ];
    for (agent, path, expected) in cases {
        assert_eq!(admits(SIMPLE, agent, path), expected, "{agent} {path}");
    }
}

/// RFC 9309, section 5.2.
#[test]
fn the_longest_match_wins() {
    let file = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n";
    assert!(!admits(file, "foobot", "/example/page/disallowed.gif"));
    assert!(admits(file, "foobot", "/example/page/other.gif"));
}

#[test]
fn rules_are_matched_as_the_standard_says() {
    let cases = [
        // Section 2.2.2: case, percent codes, and an allow wins where both are equally long.
        ("Disallow: /Path", "/path", true),
        (
            "Disallow: /foo/bar?baz=https://foo.bar",
            "/foo/bar?baz=https%3A%2F%2Ffoo.bar",
            false,
        ),
        ("Disallow: /foo/bar/\u{30c4}", "/foo/bar/%E3%83%84", false),
        ("Disallow: /foo/bar/%E3%83%84", "/foo/bar/\u{30c4}", false),
        ("Disallow: /foo/bar/%62%61%7A", "/foo/bar/baz", false),
        ("Disallow: /x\nAllow: /x", "/x", true),
        ("Allow: /x\nDisallow: /x", "/x", true),
        ("Disallow: /a*b", "/axxbyy", false),
        ("Disallow: /*.php$", "/a.php", false),
        ("Disallow: /*.php$", "/a.php?x", true),
        ("Disallow: /$", "/", false),
        ("Disallow: /$", "/a", true),
        ("Disallow:", "/a", true),
        ("Disallow: /", "/robots.txt", true),
        // Comments, white space, unknown lines, line ends.
        ("Disallow: /x # why\n", "/x", false),
        ("  disallow :  /x  ", "/x", false),
        ("Nonsense: /\nDisallow: /x", "/x", false),
        ("Disallow: /y\rDisallow: /x\r\n", "/x", false),
    ];
    for (rules, path, expected) in cases {
        assert_eq!(admits(&format!("User-agent: *\n{rules}"), "us", path), expected, "{rules} {path}");
    }
}

#[test]
fn groups_for_one_name_are_one_group() {
    // Section 2.2.1.
    let file = "User-agent: us\nDisallow: /a\n\nUser-agent: other\nDisallow: /c\n\nUser-agent: US\nDisallow: /b\n";
    assert!(!admits(file, "us", "/a") && !admits(file, "us", "/b") && admits(file, "us", "/c"));
    // Rules before the first group belong to nobody; a byte order mark is none of the file.
    assert!(admits("Disallow: /a\n", "us", "/a"));
    assert!(!admits("\u{feff}User-agent: *\nDisallow: /a\n", "us", "/a"));
}

#[test]
fn a_status_says_what_a_missing_file_means() {
    let url = Url::parse("http://h.test/x").unwrap();
    let admits = |status| Robots::of_answer(status, b"User-agent: *\nDisallow: /x", "us").admits(&url);
    assert!(!admits(200));
    for status in [301, 400, 401, 403, 404, 410, 451] {
        assert!(admits(status), "{status}");
    }
    for status in [429, 500, 503, 599, 999] {
        assert!(!admits(status), "{status}");
    }
}

#[test]
fn a_delay_and_sitemaps_are_read() {
    let file = b"Sitemap: http://h.test/1.xml\nUser-agent: *\nCrawl-delay: 2.5\nSitemap: http://other.test/2.xml\nSitemap: nonsense\n";
    let robots = Robots::of_answer(200, file, "us");
    assert_eq!(robots.delay(), Some(Duration::from_millis(2500)));
    let sitemaps: Vec<_> = robots.sitemaps().iter().map(Url::as_str).collect();
    assert_eq!(sitemaps, ["http://h.test/1.xml", "http://other.test/2.xml"]);
    for delay in ["1e300", "-1", "nan", "99999999999999999999"] {
        let file = format!("User-agent: *\nCrawl-delay: {delay}\n");
        let delay = Robots::of_answer(200, file.as_bytes(), "us").delay();
        assert!(delay.is_none_or(|delay| delay <= KEPT), "{delay:?}");
    }
}

#[test]
fn what_stands_beyond_500_kib_does_not_count() {
    let mut file = String::from("User-agent: *\nDisallow: /a\n");
    file.push_str(&"# filler\n".repeat(BYTES_MAX / 9));
    file.push_str("Disallow: /b\n");
    assert!(!admits(&file, "us", "/a") && admits(&file, "us", "/b"));
}

#[test]
fn the_product_is_what_robots_txt_calls_us() {
    assert_eq!(product("anabranch/1.0 (+https://example.com)"), "anabranch");
    assert_eq!(product("Mozilla/5.0 (compatible; Shop-Bot/2.1; +http://shop.test)"), "Shop-Bot");
    assert_eq!(product("x"), "x");
    assert_eq!(product("1"), "");
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_asks_and_the_others_wait() {
    let mut cache = RobotsCache::default();
    let now = Instant::now();
    let Known::Fetch(location) = cache.ask(&url("http://h.test/a"), now) else {
        panic!()
    };
    assert_eq!(location.as_str(), "http://h.test/robots.txt");
    assert!(matches!(cache.ask(&url("http://h.test/b"), now), Known::Wait));
    assert!(
        matches!(cache.ask(&url("https://h.test/b"), now), Known::Fetch(_)),
        "another scheme has its own"
    );
    assert!(
        matches!(cache.ask(&url("http://h.test:81/b"), now), Known::Fetch(_)),
        "another port has its own"
    );
    // The one who asked was cut off: another does it.
    cache.forget(&location);
    assert!(matches!(cache.ask(&url("http://h.test/b"), now), Known::Fetch(_)));
    cache.put(&location, Robots::of_answer(200, b"User-agent: *\nDisallow: /b", "us"), now);
    let Known::Rules(rules) = cache.ask(&url("http://h.test/b"), now) else {
        panic!()
    };
    assert!(!rules.admits(&url("http://h.test/b")));
    // What is known is not forgotten by one who comes late.
    cache.forget(&location);
    assert!(matches!(cache.ask(&url("http://h.test/b"), now), Known::Rules(_)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_for_a_day_and_none_for_ten_minutes() {
    for (robots, holds) in [(Robots::all_allowed(), KEPT), (Robots::unreachable(), UNREACHABLE_KEPT)] {
        let mut cache = RobotsCache::default();
        let now = Instant::now();
        cache.put(&url("http://h.test/robots.txt"), robots, now);
        let ask = |cache: &mut RobotsCache, after| cache.ask(&url("http://h.test/x"), now + after);
        assert!(matches!(ask(&mut cache, holds - Duration::from_secs(1)), Known::Rules(_)));
        assert!(matches!(ask(&mut cache, holds), Known::Fetch(_)));
        assert!(matches!(ask(&mut cache, holds), Known::Wait));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_first_is_forgotten_first() {
    let mut cache = RobotsCache::default();
    let now = Instant::now();
    let location = |n: usize| url(&format!("http://h{n}.test/robots.txt"));
    let large = format!("User-agent: *\n{}", "#".repeat(BYTES_MAX));
    let fit = RobotsCache::BYTES_MAX / BYTES_MAX;
    for n in 0..fit + 10 {
        cache.put(&location(n), Robots::of_answer(200, large.as_bytes(), "us"), now);
    }
    assert!(cache.bytes <= RobotsCache::BYTES_MAX && cache.hosts.len() == fit && cache.order.len() == fit);
    assert!(matches!(cache.ask(&location(0), now), Known::Fetch(_)));
    assert!(matches!(cache.ask(&location(fit + 9), now), Known::Rules(_)));
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(
        file in prop::collection::vec(prop_oneof!["(User-agent|Disallow|Allow|Crawl-delay|Sitemap)[: ]{0,2}[*/$%a-z0-9.]{0,10}", "\\PC{0,20}"], 0..20),
        raw in prop::collection::vec(any::<u8>(), 0..100),
        path in "[*/$%a-z0-9?.]{0,20}",
    ) {
        let url = url("http://h.test").join(&path).unwrap_or_else(|_| url("http://h.test"));
        for file in [file.join("\n").as_bytes(), &raw] {
            let robots = Robots::of_answer(200, file, "us");
            robots.admits(&url);
            robots.delay();
        }
    }
}
