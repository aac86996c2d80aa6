//! From the links of a page to jobs.

use http::Method;
use url::Url;

use super::filter::{Filter, Page};
use crate::{Job, JobId};

/// What became of the links of a page.
#[derive(Debug, Default)]
pub struct Followed {
    /// Those that become jobs, unless they are known already: the journal tells by their ids.
    pub jobs: Vec<Job>,
    /// Those that the rules of the crawl leave out.
    pub refused: u32,
}

/// Makes jobs of links, as [`look`](crate::content::look) found them, of the page of `parent` that was at `reached` in the end.
pub fn follow(parent: &Job, reached: &Url, links: Vec<Url>, filter: &Filter) -> Followed {
    let page = Page {
        asked: &parent.url,
        reached,
        depth: parent.depth,
    };
    let mut followed = Followed::default();
    for link in links {
        match filter.admit(page, &link) {
            Ok(()) => followed.jobs.push(job(parent, link)),
            Err(_) => followed.refused += 1,
        }
    }
    followed
}

/// Headers, body and `meta` are the parent's own and do not pass to what it links to.
fn job(parent: &Job, url: Url) -> Job {
    Job {
        id: JobId::of(&Method::GET, &url, None, 0),
        depth: parent.depth + 1,
        parent: Some(parent.id.clone()),
        ..Job::get(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::CrawlOptions;

    #[test]
    fn links_become_jobs_one_deeper_with_ids_of_their_own() {
        let options = CrawlOptions {
            same_host: true,
            ..CrawlOptions::default()
        };
        let parent = Job {
            depth: 3,
            ..Job::get(Url::parse("http://a.test/").unwrap())
        };
        let links = ["http://a.test/x", "http://b.test/"].map(|text| Url::parse(text).unwrap());
        let followed = follow(&parent, &parent.url, links.to_vec(), &Filter::new(&options).unwrap());
        assert_eq!(followed.refused, 1);
        let [job] = followed.jobs.as_slice() else { panic!("{followed:?}") };
        assert_eq!((job.depth, job.seq, job.parent.as_ref()), (4, None, Some(&parent.id)));
        assert_eq!(job.id, Job::get(job.url.clone()).id);
    }
}
