//! What a crawl finds is in the journal with the record of the page that named it.

use super::*;

fn crawl() -> Run {
    let mut run = Run::new();
    run.options.crawl.follow = vec!["css:a@href".to_owned()];
    run
}

fn page(number: u64, links: impl IntoIterator<Item = u64>) -> Finished {
    let mut finished = Finished::new(numbered(number, Outcome::Ok));
    finished.record.seq = None;
    finished.found = links.into_iter().map(link).collect();
    finished
}

fn link(number: u64) -> Job {
    let mut job = job(number);
    (job.seq, job.depth) = (None, 1);
    job
}

async fn next(store: &Store, limit: usize) -> Vec<String> {
    let jobs = store.frontier(limit).await.unwrap();
    jobs.into_iter().map(|job| job.url.path().to_owned()).collect()
}

#[tokio::test]
async fn each_link_becomes_one_job_in_the_order_in_which_it_was_found() {
    let run = crawl();
    let (store, _) = run.open();
    assert!(!store.is_done(&job(1).id).unwrap());
    store.commit(page(1, [2, 3, 2, 1])).await.unwrap();
    store.commit(page(4, [3, 5])).await.unwrap();
    assert_eq!(next(&store, 2).await, ["/2", "/3"]);
    assert!(store.is_done(&job(5).id).unwrap(), "the crawl will bring it");
    assert_eq!(next(&store, 9).await, ["/5"]);
    assert_eq!(next(&store, 9).await, [""; 0]);
    assert_eq!(store.committed().waiting, 3);
    store.close(Ending::Stopped).await.unwrap();
    let text = std::fs::read_to_string(run.path("out.ndjson")).unwrap();
    let links: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["links"].clone())
        .collect();
    assert_eq!(links, [2, 1]);
}

#[tokio::test]
async fn what_was_found_and_not_done_comes_again_in_the_next_call() {
    let run = crawl();
    let (store, _) = run.open();
    store.is_done(&job(1).id).unwrap();
    store.commit(page(1, [2, 3, 4])).await.unwrap();
    assert_eq!(next(&store, 9).await.len(), 3);
    store.commit(page(3, [])).await.unwrap();
    store.close(Ending::Stopped).await.unwrap();
    let (store, opened) = run.open();
    assert_eq!((opened.earlier.total(), opened.waiting), (2, 2));
    assert!(store.is_done(&job(1).id).unwrap());
    assert_eq!(next(&store, 9).await, ["/2", "/4"]);
    store.commit(page(2, [1, 3, 5])).await.unwrap();
    assert_eq!(next(&store, 9).await, ["/5"]);
    drop(store);
}

#[tokio::test]
async fn a_crawl_stops_growing_at_its_most_pages() {
    let mut run = crawl();
    run.options.crawl.max_pages = Some(4);
    let (store, _) = run.open();
    store.is_done(&job(1).id).unwrap();
    store.commit(page(1, 2..100)).await.unwrap();
    assert_eq!(next(&store, 99).await, ["/2", "/3", "/4"]);
    store.close(Ending::Stopped).await.unwrap();
    let (store, _) = run.open();
    assert_eq!(next(&store, 1).await, ["/2"]);
    store.commit(page(2, 100..200)).await.unwrap();
    assert_eq!(next(&store, 99).await, ["/3", "/4"]);
    assert_eq!(next(&store, 99).await, [""; 0]);
}

#[tokio::test]
async fn failed_pages_of_a_crawl_are_done_again() {
    let mut run = crawl();
    let (store, _) = run.open();
    for number in [1, 9] {
        store.is_done(&job(number).id).unwrap();
    }
    store.commit(page(1, [2, 3])).await.unwrap();
    for number in [2, 9] {
        let mut failed = page(number, []);
        failed.record.outcome = Outcome::Reset;
        store.commit(failed).await.unwrap();
    }
    store.commit(page(3, [])).await.unwrap();
    store.close(Ending::Complete).await.unwrap();
    run.options.output.retry_failed = true;
    let (store, opened) = run.open();
    assert_eq!(opened.waiting, 1);
    assert!(store.is_done(&job(1).id).unwrap());
    assert!(
        !store.is_done(&job(9).id).unwrap(),
        "it came from the input and comes from there again"
    );
    assert_eq!(next(&store, 9).await, ["/2"]);
}

#[tokio::test]
async fn a_crawl_without_a_run_knows_its_links_too() {
    let mut options = Options::default();
    options.crawl.follow = vec!["css:a@href".to_owned()];
    let screen = Screen::default();
    let (store, _) = Store::open(&options, screen.setup()).unwrap();
    assert!(!store.is_done(&job(1).id).unwrap());
    store.commit(page(1, [1, 2, 2])).await.unwrap();
    assert_eq!(next(&store, 9).await, ["/2"]);
    store.commit(page(2, [1, 2])).await.unwrap();
    assert_eq!(next(&store, 9).await, [""; 0]);
    store.close(Ending::Complete).await.unwrap();
    assert_eq!(screen.lines(), 2);
}
