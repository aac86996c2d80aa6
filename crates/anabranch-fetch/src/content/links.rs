//! From what stands in an attribute to where it leads.

use std::collections::HashSet;

use url::Url;

/// Links of one page; more are counted and left out.
pub const LINKS_MAX: usize = 10_000;
/// Longer URLs are no links that anybody wrote (RFC 9110, section 4.1, recommends that 8,000 octets be supported).
pub const URL_MAX: usize = 8_000;
/// A page whose links are all repetitions is read to its end, but not for ever.
const TEXTS_MAX: usize = 200_000;

/// The links of one page, each once, in order of appearance.
#[derive(Debug)]
pub(crate) struct Links {
    base: Url,
    urls: Vec<Url>,
    seen: HashSet<Url>,
    texts: usize,
    left_out: u64,
}

impl Links {
    pub(crate) fn new(base: Url) -> Self {
        Links {
            base,
            urls: Vec::new(),
            seen: HashSet::new(),
            texts: 0,
            left_out: 0,
        }
    }

    /// Takes what stands in a page. Says whether it takes more.
    pub(crate) fn push(&mut self, text: &str) -> bool {
        self.texts += 1;
        if let Some(url) = resolve(&self.base, text)
            && !self.seen.contains(&url)
        {
            if self.urls.len() < LINKS_MAX {
                self.seen.insert(url.clone());
                self.urls.push(url);
            } else {
                self.left_out += 1;
            }
        }
        self.texts < TEXTS_MAX
    }

    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(crate) fn into_urls(self) -> Vec<Url> {
        self.urls
    }
}

/// Where a link leads: http or https with a host, without fragment and userinfo. None for what leads elsewhere (`mailto:`), nowhere, or
/// is longer than [`URL_MAX`].
pub fn resolve(base: &Url, text: &str) -> Option<Url> {
    // The URL Standard strips these itself; here they must not count against the length.
    let text = text.trim_matches(|c: char| c <= ' ');
    if text.len() > URL_MAX {
        return None;
    }
    let mut url = base.join(text).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.as_str().len() > URL_MAX {
        return None;
    }
    url.set_fragment(None);
    // What a page says of credentials is not ours to send, and would make two jobs of one.
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(url)
}

/// The URLs of a `srcset`: `a.png 1x, b.png 2x`. A comma in a URL must not be its end, but one behind it ends the candidate.
pub(crate) fn in_srcset(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (url, after) = rest.split_at(end);
        let bare = url.trim_end_matches(',');
        rest = if bare.len() < url.len() {
            after
        } else {
            after.find(',').map_or("", |comma| &after[comma + 1..])
        };
        Some(bare)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolved(text: &str) -> Option<String> {
        let base = Url::parse("http://user:secret@a.test/dir/page?q#f").unwrap();
        resolve(&base, text).map(String::from)
    }

    #[test]
    fn a_link_is_where_a_browser_would_go() {
        assert_eq!(resolved(" next.html\n").as_deref(), Some("http://a.test/dir/next.html"));
        assert_eq!(resolved("//b.test/x").as_deref(), Some("http://b.test/x"));
        assert_eq!(resolved("?p=2#top").as_deref(), Some("http://a.test/dir/page?p=2"));
        assert_eq!(resolved("../../../x").as_deref(), Some("http://a.test/x"));
        assert_eq!(resolved("").as_deref(), Some("http://a.test/dir/page?q"));
        assert_eq!(resolved("https://me:pw@b.test/").as_deref(), Some("https://b.test/"));
        assert_eq!(resolved("HTTP://B.test:80/%7Ea").as_deref(), Some("http://b.test/%7Ea"));
    }

    #[test]
    fn what_is_no_web_page_is_no_link() {
        for text in [
            "mailto:a@b.test",
            "javascript:void(0)",
            "data:text/html,x",
            "tel:1",
            "ftp://a.test/",
            "http://",
            "http://[::1",
            "http://a b/",
        ] {
            assert_eq!(resolved(text), None, "{text}");
        }
        assert_eq!(resolved(&"a".repeat(URL_MAX + 1)), None);
    }

    #[test]
    fn each_link_comes_once_and_no_page_has_too_many() {
        let mut links = Links::new(Url::parse("http://a.test/").unwrap());
        for n in 0..LINKS_MAX + 5 {
            assert!(links.push(&format!("/{n}")));
            assert!(links.push(&format!("/{n}#again")));
        }
        // Those that were left out are counted as often as they stand there.
        assert_eq!(links.left_out(), 10);
        let urls = links.into_urls();
        assert_eq!(urls.len(), LINKS_MAX);
        assert_eq!(urls[1].as_str(), "http://a.test/1");
    }

    #[test]
    fn a_srcset_has_many() {
        let urls = |text| in_srcset(text).map(str::to_string).collect::<Vec<_>>();
        assert_eq!(urls("a.png 1x, b.png 2x"), ["a.png", "b.png"]);
        assert_eq!(urls(" a,b.png, c.png 100w,d.png"), ["a,b.png", "c.png", "d.png"]);
        assert_eq!(urls(", ,"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}", ascii in "[a-z:/?#@\\[\\]., \t\r\n-]{0,40}") {
            for text in [&text, &ascii] {
                if let Some(url) = resolved(text) {
                    prop_assert!(!url.contains("secret") && !url.contains('#'), "{}", url);
                }
                in_srcset(text).for_each(drop);
            }
        }
    }
}
