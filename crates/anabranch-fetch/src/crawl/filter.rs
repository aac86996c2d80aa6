//! What a crawl stays within: hosts, sites, depth, patterns, and a size beyond which a URL is a trap.

use std::fmt;

use regex::{RegexSet, RegexSetBuilder};
use url::{Host, Url};

use crate::job::normalised;
use crate::options::CrawlOptions;
use crate::FetchError;

/// Compiled patterns may take this much memory. They run in time linear in the URL, whatever they say.
const PATTERNS_MAX: usize = 4 << 20;
/// A path in which one folder stands more often than this is a loop of relative links. Heritrix refuses three in a row
/// (`PathologicalPathDecideRule`); ours need not be in a row, so a few more are allowed.
const REPEATS_MAX: usize = 4;
/// Folders of a path. Heritrix stops at 20 (`TooManyPathSegmentsDecideRule`), which some documentation exceeds.
const FOLDERS_MAX: usize = 32;

/// The rules of a crawl.
#[derive(Debug)]
pub struct Filter {
    same_host: bool,
    same_site: bool,
    depth: Option<u32>,
    allow: Option<RegexSet>,
    deny: RegexSet,
}

/// The page that a link was found in.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The URL of its job.
    pub asked: &'a Url,
    /// Where redirects led.
    pub reached: &'a Url,
    /// Links followed to get there.
    pub depth: u32,
}

/// Why a URL is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Another host than that of the input.
    Host,
    /// Another registrable domain than that of the input.
    Site,
    /// Further away from the input than `--depth`.
    Depth,
    /// It matches no `--allow`.
    Allow,
    /// It matches a `--deny`.
    Deny,
    /// A path that repeats itself or is too long to be one.
    Trap,
}

impl Filter {
    /// Reads the rules.
    ///
    /// # Errors
    /// [`FetchError::Usage`]: a pattern that is no regular expression or is too large.
    pub fn new(options: &CrawlOptions) -> Result<Filter, FetchError> {
        let allow = patterns("--allow", &options.allow)?;
        Ok(Filter {
            same_host: options.same_host,
            same_site: options.same_site,
            depth: options.depth,
            allow: (!options.allow.is_empty()).then_some(allow),
            deny: patterns("--deny", &options.deny)?,
        })
    }

    /// Whether a link that was found in a page becomes a job.
    ///
    /// Same host and same site are judged by the page: by where its job asked, and for a job of the input also by where redirects led, so
    /// that `http://example.com` may become `https://www.example.com`. A page further in that redirects elsewhere opens no new host.
    ///
    /// # Errors
    /// Why it does not.
    pub fn admit(&self, page: Page<'_>, link: &Url) -> Result<(), Refused> {
        if self.depth.is_some_and(|depth| page.depth >= depth) {
            return Err(Refused::Depth);
        }
        let is_near = |near: fn(&Url, &Url) -> bool| near(page.asked, link) || (page.depth == 0 && near(page.reached, link));
        if self.same_host && !is_near(is_same_host) {
            return Err(Refused::Host);
        }
        if self.same_site && !is_near(is_same_site) {
            return Err(Refused::Site);
        }
        if is_trap(link) {
            return Err(Refused::Trap);
        }
        self.admit_text(link)
    }

    /// Whether a redirect may be followed from `asked` to `target`, as seen from a job at `depth`. Jobs of the input may go anywhere;
    /// others stay on their host or site.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_redirect(&self, asked: &Url, depth: u32, target: &Url) -> Result<(), Refused> {
        if depth == 0 {
            return Ok(());
        }
        if self.same_host && !is_same_host(asked, target) {
            return Err(Refused::Host);
        }
        if self.same_site && !is_same_site(asked, target) {
            return Err(Refused::Site);
        }
        self.admit_text(target)
    }

    /// Whether the patterns let a URL through. They hold for jobs of the input as well.
    ///
    /// # Errors
    /// Why they do not.
    pub fn admit_text(&self, url: &Url) -> Result<(), Refused> {
        let text = normalised(url);
        if self.deny.is_match(text) {
            return Err(Refused::Deny);
        }
        match &self.allow {
            Some(allow) if !allow.is_match(text) => Err(Refused::Allow),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Host => "another host than that of the input (`--same-host`)",
            Refused::Site => "another site than that of the input (`--same-site`)",
            Refused::Depth => "further away than `--depth`",
            Refused::Allow => "it matches no `--allow`",
            Refused::Deny => "it matches a `--deny`",
            Refused::Trap => "its path repeats itself or has too many folders, as in a crawler trap",
        })
    }
}

fn patterns(flag: &str, texts: &[String]) -> Result<RegexSet, FetchError> {
    let built = RegexSetBuilder::new(texts)
        .size_limit(PATTERNS_MAX)
        .dfa_size_limit(PATTERNS_MAX)
        .build();
    built.map_err(|error| FetchError::usage(format!("`{flag}` needs regular expressions: {error}")))
}

/// The same name, and the same port unless both are the usual ones of their schemes.
pub fn is_same_host(one: &Url, other: &Url) -> bool {
    one.host() == other.host() && one.port() == other.port()
}

/// The same registrable domain: one label below a public suffix. An address or a name that is a suffix itself (`localhost`, `github.io`)
/// has none, and is a site of its own.
pub fn is_same_site(one: &Url, other: &Url) -> bool {
    match (site(one), site(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.host() == other.host(),
    }
}

/// The registrable domain of a URL's host.
pub fn site(url: &Url) -> Option<&str> {
    match url.host()? {
        Host::Domain(name) => psl::domain_str(name.strip_suffix('.').unwrap_or(name)),
        _ => None,
    }
}

/// Relative links that lead into themselves (`a/b/a/b/a/b/...`) and calendars that never end have no last page.
fn is_trap(url: &Url) -> bool {
    let folders: Vec<&str> = url
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|folder| !folder.is_empty())
        .collect();
    if folders.len() > FOLDERS_MAX {
        return true;
    }
    let repeats = |folder: &&str| folders.iter().filter(|other| *other == folder).count();
    folders.iter().any(|folder| repeats(folder) > REPEATS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn filter(change: impl FnOnce(&mut CrawlOptions)) -> Filter {
        let mut options = CrawlOptions::default();
        change(&mut options);
        Filter::new(&options).unwrap()
    }

    fn admits(filter: &Filter, page: &str, depth: u32, link: &str) -> Result<(), Refused> {
        let page = url(page);
        let page = Page {
            asked: &page,
            reached: &page,
            depth,
        };
        filter.admit(page, &url(link))
    }

    #[test]
    fn the_same_host_is_the_same_name_and_port() {
        let filter = filter(|options| options.same_host = true);
        for (link, expected) in [
            ("http://a.test/x", Ok(())),
            ("https://a.test/x", Ok(())),
            ("http://A.test:80/x", Ok(())),
            ("http://www.a.test/", Err(Refused::Host)),
            ("http://a.test:8080/", Err(Refused::Host)),
        ] {
            assert_eq!(admits(&filter, "http://a.test/", 0, link), expected, "{link}");
        }
        assert_eq!(admits(&filter, "http://127.0.0.1:1/", 0, "http://127.0.0.1:2/"), Err(Refused::Host));
    }

    #[test]
    fn the_same_site_is_one_label_below_a_public_suffix() {
        let filter = filter(|options| options.same_site = true);
        for (page, link, expected) in [
            ("http://shop.example.co.uk/", "https://www.example.co.uk:8443/", Ok(())),
            ("http://a.co.uk/", "http://b.co.uk/", Err(Refused::Site)),
            ("http://a.github.io/", "http://b.github.io/", Err(Refused::Site)),
            ("http://localhost/", "http://localhost:1/", Ok(())),
            ("http://127.0.0.1/", "http://127.0.0.2/", Err(Refused::Site)),
            ("http://example.com./", "http://www.example.com/", Ok(())),
        ] {
            assert_eq!(admits(&filter, page, 0, link), expected, "{page} {link}");
        }
    }

    #[test]
    fn a_redirect_of_the_input_moves_the_crawl_and_a_later_one_does_not() {
        let filter = filter(|options| options.same_host = true);
        let (asked, reached, link) = (url("http://a.test/"), url("https://www.a.test/"), url("https://www.a.test/x"));
        let page = |depth| Page {
            asked: &asked,
            reached: &reached,
            depth,
        };
        assert_eq!(filter.admit(page(0), &link), Ok(()));
        assert_eq!(filter.admit(page(1), &link), Err(Refused::Host));
        assert_eq!(filter.admit_redirect(&asked, 0, &reached), Ok(()));
        assert_eq!(filter.admit_redirect(&asked, 1, &reached), Err(Refused::Host));
        assert_eq!(filter.admit_redirect(&asked, 1, &url("https://a.test/y")), Ok(()));
    }

    #[test]
    fn depth_counts_links() {
        let filter = filter(|options| options.depth = Some(2));
        assert_eq!(admits(&filter, "http://a.test/", 1, "http://b.test/"), Ok(()));
        assert_eq!(admits(&filter, "http://a.test/", 2, "http://b.test/"), Err(Refused::Depth));
    }

    #[test]
    fn patterns_are_searched_in_the_whole_url_and_a_deny_wins() {
        let filter = filter(|options| {
            options.allow = vec!["/docs/".into(), r"\.pdf$".into()];
            options.deny = vec!["[?&]print=".into()];
        });
        let admits = |link| admits(&filter, "http://a.test/", 0, link);
        assert_eq!(admits("http://a.test/docs/x"), Ok(()));
        assert_eq!(admits("http://a.test/x.pdf"), Ok(()));
        assert_eq!(admits("http://a.test/x.pdf#page=2"), Ok(()));
        assert_eq!(admits("http://a.test/blog"), Err(Refused::Allow));
        assert_eq!(admits("http://a.test/docs/x?print=1"), Err(Refused::Deny));
    }

    #[test]
    fn a_pattern_that_is_none_or_too_large_is_refused() {
        for pattern in ["(", "(?=x)", "(\\w{1000}){1000}"] {
            let options = CrawlOptions {
                deny: vec![pattern.into()],
                ..CrawlOptions::default()
            };
            let error = Filter::new(&options).unwrap_err().to_string();
            assert!(error.contains("--deny"), "{error}");
        }
    }

    #[test]
    fn a_path_that_repeats_itself_is_a_trap() {
        let filter = filter(|_| {});
        let admits = |link: String| admits(&filter, "http://a.test/", 0, &link);
        assert_eq!(admits(format!("http://a.test/{}", "a/b/".repeat(4))), Ok(()));
        assert_eq!(admits(format!("http://a.test/{}", "a/b/".repeat(5))), Err(Refused::Trap));
        let deep: String = (0..FOLDERS_MAX + 1).map(|n| format!("/{n}")).collect();
        assert_eq!(admits(format!("http://a.test{deep}")), Err(Refused::Trap));
    }

    proptest! {
        #[test]
        fn no_url_makes_it_panic(link in "https?://[a-z.]{1,12}(:[0-9]{1,4})?(/[^ ]{0,8}){0,3}") {
            let filter = filter(|options| {
                options.same_host = true;
                options.same_site = true;
                options.deny = vec!["x+y".into()];
            });
            if let Ok(link) = Url::parse(&link) {
                let _ = admits(&filter, "http://a.test/", 0, link.as_str());
                prop_assert!(is_same_site(&link, &link) && is_same_host(&link, &link));
            }
        }
    }
}
