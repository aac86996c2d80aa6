//! A loop that waits for many must not compute for one: large documents are checked elsewhere, and what waits behind them does not.

use std::cell::RefCell;
use std::sync::mpsc;
use std::time::Duration;

use anabranch::{Client, Compute, ComputeSettings, Deadline};
use anabranch_gateway::config::MapLookup;
use anabranch_gateway::gateway::Answer;
use anabranch_gateway::{Core, CoreOptions, Gateway, compile};
use anabranch_testkit::{Reply, TcpUpstream, Upstream};
use bytes::Bytes;
use http::Request;

use crate::setup::{soon, until, upstream};

const KIB: usize = 1 << 10;

/// A text of so many bytes.
fn document(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

struct Page {
    core: Core,
    compute: Compute,
    shop: TcpUpstream,
}

/// A gateway whose compute pool has one thread and room for so many jobs behind it.
async fn page(queue: usize) -> Page {
    let shop = upstream(
        Upstream::new("shop")
            .reply(Reply::get("/small").json(document(64 * KIB)))
            .reply(Reply::get("/large").json(document(64 * KIB + 1)))
            .reply(Reply::get("/huge").json(document(3 << 20)))
            .reply(Reply::get("/broken").json(format!("[{}", "1,".repeat(64 * KIB))))
            .reply(Reply::post("/echo").json("1")),
    )
    .await;
    let config = format!(
        "sources: {{ shop: {{ url: '{}' }} }}
routes:
  GET /get/{{what}}: {{ calls: {{ part: shop /$what }} }}
  GET /kept/{{what}}: {{ calls: {{ part: {{ get: shop /$what, cache: 10m }} }} }}
  GET /needed/{{what}}: {{ need: [part], calls: {{ part: shop /$what }} }}
  POST /post: {{ body: {{ max: 8M }}, calls: {{ part: {{ post: shop /echo, body: $body }} }} }}
",
        shop.url()
    );
    let plan = compile("gateway.yaml", &config, &MapLookup::new()).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    let compute = Compute::new(ComputeSettings {
        threads: 1,
        queue_per_thread: queue,
        limit: Duration::from_secs(60),
    });
    let gateway = Gateway::build(plan).unwrap();
    let core = Core::with_compute(gateway, Client::new(), CoreOptions::default(), compute.clone());
    Page { core, compute, shop }
}

impl Page {
    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", "gateway").body(Bytes::new()).unwrap();
        soon(self.core.answer(request)).await
    }

    async fn post(&self, body: String) -> Answer {
        let request = Request::post("/post")
            .header("host", "gateway")
            .header("content-type", "application/json");
        soon(self.core.answer(request.body(Bytes::from(body)).unwrap())).await
    }

    fn jobs(&self) -> u64 {
        self.compute.counts().submitted
    }

    /// Holds the only thread while the other future runs.
    async fn while_the_thread_is_held<T>(&self, meanwhile: impl Future<Output = T>) -> T {
        let (open, gate) = mpsc::sync_channel::<()>(0);
        let held = self
            .compute
            .run("another route", Deadline::after(Duration::from_secs(30)), move |_job| gate.recv());
        let meanwhile = async {
            until("the thread is held", || self.compute.counts().running == 1).await;
            let output = meanwhile.await;
            drop(open);
            output
        };
        let (held, output) = tokio::join!(held, meanwhile);
        assert!(held.is_ok());
        output
    }
}

fn is_missing(answer: &Answer) -> String {
    let account = answer.headers.get("anabranch-parts");
    account.map_or_else(String::new, |account| {
        account.to_str().unwrap().split(';').next().unwrap().to_owned()
    })
}

#[tokio::test]
async fn answers_and_bodies_above_64_kib_are_checked_on_the_compute_pool() {
    let page = page(8).await;
    for (path, jobs) in [
        ("/get/small", 0),
        ("/kept/small", 0),
        ("/get/large", 1),
        ("/kept/large", 2),
        ("/kept/large", 2),
    ] {
        let answer = page.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), is_missing(&answer).as_str(), page.jobs()),
            (200, "", jobs),
            "{path}"
        );
        let length = "{\"part\":}".len() + 64 * KIB + usize::from(path.ends_with("large"));
        assert_eq!(answer.body.len(), length);
    }
    let broken = page.get("/needed/broken").await;
    assert_eq!((broken.status.as_u16(), page.jobs()), (502, 3));
    for (bytes, jobs) in [(64 * KIB, 3), (64 * KIB + 1, 4)] {
        assert_eq!((page.post(document(bytes)).await.status.as_u16(), page.jobs()), (200, jobs));
    }
    let refused = page.post(document(100 * KIB).replace("\"", "'")).await;
    assert_eq!((refused.status.as_u16(), page.jobs()), (400, 5));
    assert_eq!(page.shop.counts().requests, 4 + 1 + 2);
}

/// One route's documents wait for a thread; nobody else does.
#[tokio::test]
async fn a_light_request_does_not_wait_for_large_documents() {
    let page = page(8).await;
    page.get("/get/small").await;
    let large = async { tokio::join!(page.get("/get/huge"), page.get("/get/huge"), page.post(document(2 << 20))) };
    let mut large = Box::pin(large);
    let light = async {
        tokio::select! {
            biased;
            _ = &mut large => panic!("the thread is held"),
            () = until("they wait for the thread", || page.compute.counts().waiting == 3) => {}
        }
        // On this very loop, with three large documents under way.
        for _ in 0..20 {
            assert_eq!(page.get("/get/small").await.status.as_u16(), 200);
        }
        assert_eq!(page.compute.counts().waiting, 3);
    };
    page.while_the_thread_is_held(light).await;
    let (one, other, posted) = large.await;
    for answer in [one, other, posted] {
        assert_eq!((answer.status.as_u16(), is_missing(&answer).as_str()), (200, ""));
    }
}

#[tokio::test]
async fn with_a_full_pool_what_is_short_is_checked_at_once_and_the_rest_is_busy() {
    let page = page(1).await;
    let mut waits = Box::pin(page.get("/get/huge"));
    let full = async {
        tokio::select! {
            biased;
            _ = &mut waits => panic!("the thread is held"),
            () = until("the queue is full", || page.compute.counts().waiting == 1) => {}
        }
        let short = page.get("/get/large").await;
        assert_eq!((short.status.as_u16(), is_missing(&short).as_str()), (200, ""));
        let long = page.get("/needed/huge").await;
        assert_eq!((long.status.as_u16(), long.headers.contains_key("retry-after")), (503, true));
        let posted = page.post(document(2 << 20)).await;
        assert_eq!(
            (posted.status.as_u16(), &posted.headers["retry-after"]),
            (503, &"1".parse().unwrap())
        );
    };
    page.while_the_thread_is_held(full).await;
    assert_eq!(waits.await.status.as_u16(), 200);
}

/// Jobs wait by route: one that brings many delays itself.
#[tokio::test]
async fn a_busy_route_does_not_delay_the_jobs_of_another() {
    let page = page(64).await;
    let ended = RefCell::new(Vec::new());
    let ask = async |path: &str| {
        let answer = page.get(path).await;
        assert_eq!(answer.status.as_u16(), 200);
        ended.borrow_mut().push(path.to_owned());
    };
    let mut busy = Box::pin(join_all_of((0..12).map(|_| ask("/get/huge"))));
    let mut other = Box::pin(ask("/needed/huge"));
    let wait = async {
        tokio::select! {
            biased;
            _ = &mut busy => panic!("the thread is held"),
            () = until("they wait for the thread", || page.compute.counts().waiting == 12) => {}
        }
        tokio::select! {
            biased;
            () = &mut other => panic!("the thread is held"),
            _ = &mut busy => panic!("the thread is held"),
            () = until("it waits behind them", || page.compute.counts().waiting == 13) => {}
        }
    };
    page.while_the_thread_is_held(wait).await;
    tokio::join!(busy, other);
    let place = ended.borrow().iter().position(|path| path == "/needed/huge").unwrap();
    assert!(place < 4, "{place}. of 13, and it came last: {ended:?}");
}

/// All of them in this task.
async fn join_all_of(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: futures_util::stream::FuturesUnordered<_> = futures.collect();
    while futures_util::StreamExt::next(&mut all).await.is_some() {}
}
