//! What is in a body: its charset, what selectors take from it, where it leads. Pure functions of bytes; they run on the compute pool.

pub mod charset;
pub mod html;
pub mod select;
pub mod links;
pub mod names;
pub mod checksums;

use std::borrow::Cow;

use serde_json::value::RawValue;
use url::Url;

use links::Links;
use select::Document;
pub use select::Compiled;

/// What was found in a body.
#[derive(Debug, Default)]
pub struct Looked {
    /// The charset in lower case, where the body is text.
    pub charset: Option<Cow<'static, str>>,
    /// What the selectors took: an object with a key for each, or why they could not. None where there are no selectors.
    pub data: Option<Result<Box<RawValue>, String>>,
    /// Where it leads: http or https, without fragment and userinfo, each once, in order of appearance.
    pub links: Vec<Url>,
    /// Links that were left out because there are more than [`links::LINKS_MAX`].
    pub links_left_out: u64,
    /// Why it could not be looked through for links. `links` is empty then.
    pub links_failed: Option<String>,
}

/// Looks through the body that `url` gave.
///
/// `media_type` is without parameters, `charset` is the one of `Content-Type`. Bounded in depth, nodes, values and time, see [`html`] and
/// [`select`]; the time it takes is never much more than [`html::TIME_MAX`].
pub fn look(url: &Url, media_type: Option<&str>, charset: Option<&str>, body: &[u8], extract: &Compiled, follow: &Compiled) -> Looked {
    if !charset::is_text(media_type, body) {
        return Looked {
            data: extract.has_any().then(|| extract.of_nothing()),
            ..Looked::default()
        };
    }
    let decoded = charset::decode(media_type, charset, body);
    let document = Document::new(media_type, &decoded.text);
    let mut looked = Looked {
        data: extract.has_any().then(|| extract.data(&document)),
        ..Looked::default()
    };
    if follow.has_any() {
        let mut links = Links::new(document.base(url));
        match follow.each_link(&document, &mut |text| links.push(text)) {
            Ok(()) => {
                looked.links_left_out = links.left_out();
                looked.links = links.into_urls();
            }
            Err(error) => looked.links_failed = Some(error),
        }
    }
    looked.charset = Some(decoded.charset);
    looked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{CrawlOptions, ExtractOptions};
    use proptest::prelude::*;

    fn compiled(select: &[(&str, &str)], follow: &[&str]) -> (Compiled, Compiled) {
        let extract = ExtractOptions {
            select: select
                .iter()
                .map(|(name, selector)| (name.to_string(), selector.to_string()))
                .collect(),
            jq: None,
        };
        let crawl = CrawlOptions {
            follow: follow.iter().map(|text| text.to_string()).collect(),
            ..CrawlOptions::default()
        };
        (Compiled::extract(&extract).unwrap(), Compiled::follow(&crawl).unwrap())
    }

    fn look_at(media_type: &str, body: &[u8], select: &[(&str, &str)], follow: &[&str]) -> Looked {
        let (extract, follow) = compiled(select, follow);
        let url = Url::parse("http://shop.test/a/b.html").unwrap();
        look(&url, Some(media_type), None, body, &extract, &follow)
    }

    #[test]
    fn one_look_gives_charset_data_and_links() {
        let body = b"<meta charset=latin1><base href='/x/'><title> Caf\xe9 </title><a href=y>1</a><a href='#top'>2</a>";
        let looked = look_at("text/html", body, &[("title", "css:title"), ("none", "css:h1")], &["css:a@href"]);
        assert_eq!(looked.charset.as_deref(), Some("windows-1252"));
        assert_eq!(looked.data.unwrap().unwrap().get(), r#"{"title":"Café","none":null}"#);
        let links: Vec<_> = looked.links.iter().map(Url::as_str).collect();
        assert_eq!(links, ["http://shop.test/x/y", "http://shop.test/x/"]);
    }

    #[test]
    fn what_is_no_text_has_no_data_and_no_links() {
        let looked = look_at(
            "image/png",
            b"<a href=x>",
            &[("title", "css:title"), ("all[]", "css:a")],
            &["css:a"],
        );
        assert_eq!(looked.charset, None);
        assert_eq!(looked.data.unwrap().unwrap().get(), r#"{"title":null,"all":[]}"#);
        assert!(looked.links.is_empty() && looked.links_failed.is_none());
    }

    #[test]
    fn json_leads_somewhere_too() {
        let body = br#"{"next": "/page?n=2", "items": [{"url": "http://b.test/1"}, {"url": null}]}"#;
        let looked = look_at("application/json", body, &[], &["json:$.next", "json:$.items[*].url"]);
        let links: Vec<_> = looked.links.iter().map(Url::as_str).collect();
        assert_eq!(links, ["http://shop.test/page?n=2", "http://b.test/1"]);
        assert!(looked.data.is_none());
    }

    #[test]
    fn what_says_json_and_is_none_is_a_failure_of_the_selectors() {
        let looked = look_at("application/json", b"<html>", &[("a", "json:$.a")], &["json:$.next"]);
        assert!(looked.data.unwrap().unwrap_err().contains("JSON"));
        assert!(looked.links_failed.unwrap().contains("JSON"));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(
            raw in prop::collection::vec(any::<u8>(), 0..120),
            page in "(</?(a|p|b|table|tr|td|svg|math|mi|style|script|template|select|option|form|title|li|body|html|frameset)( (href|id|class)=['\"]?[a-z:/.#]{0,6}['\"]?)*/?>|<!--|-->|&[a-z#0-9]{0,5};?|\\PC){0,40}",
        ) {
            let select = [
                ("a[]", "css:a@href"),
                ("b", "css:p:nth-child(2n+1) > a, td:last-of-type"),
                ("c[]", "css:p:has(b) ~ *:not(a)"),
                ("d[]", "css:[class~=x], :root, *|a, svg *"),
            ];
            for media_type in ["text/html", "application/xml", "text/plain", "application/json"] {
                for body in [&raw[..], page.as_bytes()] {
                    let looked = look_at(media_type, body, &select, &["css:a", "css:*@href"]);
                    prop_assert!(looked.data.unwrap().is_ok());
                    prop_assert!(looked.links_failed.is_none());
                }
            }
        }
    }
}
