use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;

fn read(body: &[u8]) -> (Vec<Item>, Option<String>) {
    let mut items = Vec::new();
    let mut error = None;
    for item in Sitemap::of_body(body) {
        match item {
            Ok(item) => items.push(item),
            Err(text) => error = Some(text),
        }
    }
    (items, error)
}

fn whole(body: &[u8]) -> Vec<Item> {
    let (items, error) = read(body);
    assert_eq!(error, None);
    items
}

fn page(url: &str) -> Item {
    Item::Page(Url::parse(url).unwrap())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

const PAGES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url><loc> http://h.test/?a=1&amp;b=2 </loc><lastmod>2026-01-01</lastmod>
    <image:image><image:loc>http://h.test/i.png</image:loc></image:image></url>
  <!-- <url><loc>http://h.test/no</loc></url> -->
  <url><loc><![CDATA[http://h.test/c?a&b]]></loc></url>
  <url><loc>http://h.test/caf&#xe9;</loc></url>
  <url><loc>/relative</loc></url>
</urlset>"#;

#[test]
fn pages_are_what_loc_says() {
    let items = whole(PAGES.as_bytes());
    let expected = [
        page("http://h.test/?a=1&b=2"),
        page("http://h.test/c?a&b"),
        page("http://h.test/caf%C3%A9"),
    ];
    assert_eq!(items[..3], expected);
    assert!(matches!(&items[3], Item::Invalid { text, .. } if text == "/relative"), "{items:?}");
    assert_eq!(items.len(), 4);
}

#[test]
fn gzip_and_a_byte_order_mark_are_seen_by_the_bytes() {
    let plain = whole(PAGES.as_bytes());
    assert_eq!(whole(&gzip(PAGES.as_bytes())), plain);
    assert_eq!(whole(format!("\u{feff}\n {PAGES}").as_bytes()), plain);
    let two = [gzip(b"http://h.test/1\n"), gzip(b"http://h.test/2\n")].concat();
    assert_eq!(whole(&two), [page("http://h.test/1"), page("http://h.test/2")]);
}

#[test]
fn an_index_names_further_sitemaps() {
    let index =
        "<sitemapindex><sitemap><loc>http://h.test/1.xml.gz</loc></sitemap><sitemap><loc>ftp://h.test/</loc></sitemap></sitemapindex>";
    let items = whole(index.as_bytes());
    assert_eq!(items[0], Item::Sitemap(Url::parse("http://h.test/1.xml.gz").unwrap()));
    assert!(matches!(&items[1], Item::Invalid { why, .. } if why.contains("ftp")));
}

#[test]
fn feeds_and_lines_are_sitemaps_too() {
    let rss = "<rss><channel><link>http://h.test/</link><item><link>http://h.test/1</link></item></channel></rss>";
    assert_eq!(whole(rss.as_bytes()), [page("http://h.test/1")]);
    let atom = "<feed><link href='http://h.test/'/><entry><link rel='edit' href='http://h.test/e'/><link href='http://h.test/1?a&amp;b'/></entry></feed>";
    assert_eq!(whole(atom.as_bytes()), [page("http://h.test/1?a&b")]);
    assert_eq!(
        whole(b"# mine\r\nhttp://h.test/1\r\n\nhttp://h.test/2"),
        [page("http://h.test/1"), page("http://h.test/2")]
    );
    assert_eq!(whole(b""), []);
}

#[test]
fn what_is_broken_half_way_gives_what_came_before_and_an_error() {
    let (items, error) = read(b"<urlset><url><loc>http://h.test/1</loc></url><url><loc>http://h.test/2</l");
    assert_eq!(items, [page("http://h.test/1")]);
    assert!(error.unwrap().contains("byte"));
    let whole = gzip(b"http://h.test/1\nhttp://h.test/2\n");
    let (_, error) = read(&whole[..whole.len() - 12]);
    assert!(error.is_some());
    let (items, error) = read(b"<html><body>not found</body></html>");
    assert!(items.is_empty() && error.unwrap().contains("`html`"));
}

#[test]
fn a_gzip_bomb_ends_at_the_limit_and_what_came_before_stands() {
    let lines = format!("http://h.test/1\n{}", "\n".repeat(2 << 20));
    let bomb = gzip(lines.as_bytes());
    let items: Vec<_> = Sitemap::new(&bomb[..], Some(1 << 20)).collect();
    assert_eq!(items[0], Ok(page("http://h.test/1")));
    assert!(items.len() == 2 && items[1].as_ref().unwrap_err().contains("1048576"), "{items:?}");
    // A file of one's own has no limit.
    let lines = format!("http://h.test/{}\n", "a".repeat(4_000)).repeat(500);
    assert_eq!(Sitemap::new(lines.as_bytes(), None).map(Result::unwrap).count(), 500);
}

#[test]
fn a_text_that_is_too_long_is_no_url() {
    let long = format!("http://h.test/{}", "a".repeat(100_000));
    for body in [format!("<urlset><url><loc>{long}</loc></url></urlset>"), long] {
        let items = whole(body.as_bytes());
        assert!(
            items
                .iter()
                .all(|item| matches!(item, Item::Invalid { text, .. } if text.len() <= TEXT_MAX))
        );
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        body in "(<\\?xml\\?>)?<(urlset|feed|rss)>(</?(url|loc|link|item|entry)( href=['\"]?[a&;:/]{0,4}['\"]?)?/?>|&[a-z#0-9]{0,4};?|<!\\[CDATA\\[|\\]\\]>|<!--|http://a|\\PC){0,20}",
        raw in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        for body in [body.as_bytes(), &raw, &[b"\x1f\x8b\x08\0", &raw[..]].concat()] {
            prop_assert!(Sitemap::of_body(body).take(1_000).count() < 1_000);
        }
    }
}
