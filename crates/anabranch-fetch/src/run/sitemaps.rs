//! Sitemaps in a crawl: jobs like others, with a record of their own, whose bodies name pages and more sitemaps.

use http::Method;
use url::Url;

use super::plan::{Plan, media_type};
use crate::crawl::sitemap::{Item, Sitemap};
use crate::{Job, JobId};

/// How far a body is looked at to see whether it is one.
const LOOKED_AT: usize = 2 << 10;
/// What one sitemap may name: its own limit (sitemaps.org).
const NAMED: usize = 50_000;

/// Where most sites have it.
const GUESSED: &str = "/sitemap.xml";

/// What a sitemap names.
#[derive(Default)]
pub(super) struct Named {
    pub(super) jobs: Vec<Job>,
    /// Why it was not read to its end.
    pub(super) broken: Option<String>,
}

/// Whether an answer of this type may be one.
pub(super) fn may_be(plan: &Plan, content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type.filter(|_| plan.options.crawl.sitemap) else {
        return plan.options.crawl.sitemap;
    };
    let media_type = media_type(content_type).to_ascii_lowercase();
    ["xml", "gzip", "octet-stream"].iter().any(|word| media_type.contains(word))
}

/// Whether a body is one: XML whose root says so, alone or compressed.
pub(super) fn is_one(url: &Url, body: &[u8]) -> bool {
    if body.starts_with(&[0x1f, 0x8b]) {
        return url.path().ends_with(".xml.gz");
    }
    let start = &body[..body.len().min(LOOKED_AT)];
    let has = |root: &[u8]| start.windows(root.len()).any(|window| window == root);
    let is_markup = start.trim_ascii_start().starts_with(b"<") || start.starts_with("\u{feff}<".as_bytes());
    is_markup && (has(b"<urlset") || has(b"<sitemapindex"))
}

/// The jobs that a sitemap names. Pages are as near as the sitemap itself; those of other hosts are left out where the crawl stays on its
/// own.
pub(super) fn read(plan: &Plan, parent: &Job, body: &[u8]) -> Named {
    let mut named = Named::default();
    for item in Sitemap::of_body(body).take(NAMED) {
        let url = match item {
            Ok(Item::Page(url) | Item::Sitemap(url)) => url,
            Ok(Item::Invalid { .. }) => continue,
            Err(broken) => {
                named.broken = Some(format!("the sitemap is broken: {broken}"));
                break;
            }
        };
        // As from a page one step away, for the distance is not what counts here.
        if plan.filter.admit_redirect(&parent.url, 1, &url).is_ok() {
            named.jobs.push(job(parent, url));
        }
    }
    named
}

/// The jobs for sitemaps of an origin: those that its robots.txt names, else a guess.
pub(super) fn of_origin(job: &Job, named: &[Url]) -> Vec<Job> {
    let guess = if named.is_empty() { job.url.join(GUESSED).ok() } else { None };
    named.iter().cloned().chain(guess).map(|url| self::job(job, url)).collect()
}

/// Whether a job is a guess that may come to nothing: then there is no sitemap, and nothing has failed.
pub(super) fn is_guess(job: &Job) -> bool {
    job.parent.is_some() && job.url.path() == GUESSED
}

fn job(parent: &Job, mut url: Url) -> Job {
    url.set_fragment(None);
    Job {
        id: JobId::of(&Method::GET, &url, None, 0),
        depth: parent.depth,
        parent: Some(parent.id.clone()),
        ..Job::get(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sitemap_is_told_by_its_root() {
        let url = Url::parse("http://a/map.xml.gz").unwrap();
        assert!(is_one(&url, b"<?xml version='1.0'?>\n<urlset xmlns=''>"));
        assert!(is_one(&url, "\u{feff}<sitemapindex>".as_bytes()));
        assert!(is_one(&url, &[0x1f, 0x8b, 8]));
        assert!(!is_one(&url, b"<rss><item/></rss>"));
        assert!(!is_one(&url, b"a page about <urlset"));
        assert!(!is_one(&Url::parse("http://a/x.gz").unwrap(), &[0x1f, 0x8b, 8]));
    }

    #[test]
    fn where_robots_txt_names_none_the_usual_place_is_a_guess() {
        let job = Job::get(Url::parse("http://a/deep/page#x").unwrap());
        let guessed = of_origin(&job, &[]);
        assert_eq!(guessed[0].url.as_str(), "http://a/sitemap.xml");
        assert!(is_guess(&guessed[0]));
        let named = of_origin(&job, &[Url::parse("http://b/s.xml").unwrap()]);
        assert_eq!((named.len(), is_guess(&named[0])), (1, false));
    }
}
