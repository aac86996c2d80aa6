//! Files over a network in memory, on a clock that stands still: in pieces, broken, changed, gone on with.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anabranch::client::{Dial, DialLimits, Dialled, Endpoint, Stream, StreamedResponse, Timings, WireLimits, WireSettings};
use anabranch::{CallError, Client, Compute, Kind, Marks, Request};
use anabranch_testkit::{Fault, MemoryNetwork, Reply, Served, Upstream};
use bytes::Bytes;
use http::header;
use tokio::time::Instant;
use url::Url;

use super::getting::Got;
use super::range::Validator;
use super::*;
use crate::Outcome;
use crate::content::checksums::Checksum;
use crate::http::failure::Failed;

const MIB: usize = 1 << 20;

struct MemoryDial(MemoryNetwork);

impl Dial for MemoryDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        _limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>> {
        Box::pin(async move {
            let stream = self
                .0
                .connect(host, port)
                .await
                .map_err(|error| CallError::new(Kind::Connect, error.to_string()))?;
            Ok(Dialled {
                stream: Stream::Boxed(Box::new(stream)),
                dns: None,
                connect: None,
            })
        })
    }
}

/// A server, a way to ask it, and a folder for one file.
struct Scene {
    served: Arc<Served>,
    client: Client,
    endpoint: Endpoint,
    compute: Compute,
    folder: tempfile::TempDir,
    segments: usize,
    max: Option<u64>,
    min_speed: Option<(u64, Duration)>,
}

impl Ask for Scene {
    fn ask<'a>(&'a self, ranged: &'a Ranged) -> Pin<Box<dyn Future<Output = Result<StreamedResponse, Failed>> + Send + 'a>> {
        Box::pin(self.open(Some(ranged)))
    }
}

impl Scene {
    fn new(segments: usize, upstream: Upstream) -> Scene {
        let network = MemoryNetwork::new();
        let served = network.host("h:80", upstream);
        Scene {
            served,
            client: Client::builder().dial(Arc::new(MemoryDial(network))).build(),
            endpoint: Endpoint::new("http://h", WireSettings::default()).unwrap(),
            compute: Compute::inline(),
            folder: tempfile::tempdir().unwrap(),
            segments,
            max: None,
            min_speed: None,
        }
    }

    async fn open(&self, ranged: Option<&Ranged>) -> Result<StreamedResponse, Failed> {
        let mut request = Request::get("/file").unwrap();
        if let Some(ranged) = ranged {
            request = request.header(header::RANGE, ranged.range.clone()).unwrap();
            request = request.header(header::IF_RANGE, ranged.if_range.clone()).unwrap();
        }
        let limits = WireLimits {
            max_body: u64::MAX,
            ..WireLimits::default()
        };
        let opened = self
            .client
            .open(&self.endpoint, &request, &limits, &Marks::new(), &mut Timings::default())
            .await;
        opened.map_err(|error| Failed::of(&error))
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("part")
    }

    fn resume(&self) -> Option<Resume> {
        Resume::load(&self.part(), &url())
    }

    /// One attempt, as the run makes it.
    async fn attempt(&self) -> Result<Got, Failed> {
        self.attempt_throttled(None).await
    }

    async fn attempt_throttled(&self, throttle: Option<&(dyn Fn(usize) -> Option<Instant> + Sync)>) -> Result<Got, Failed> {
        let resume = self.resume();
        let ranged = resume.as_ref().map(Resume::ask);
        let first = self.open(ranged.as_ref()).await?;
        let part = self.part();
        let url = url();
        let getting = Getting {
            ask: self,
            compute: &self.compute,
            url: &url,
            part: &part,
            segments: self.segments,
            segment_min: MIB as u64,
            max: self.max,
            min_speed: self.min_speed,
            throttle,
        };
        getting.run(first, resume).await
    }

    fn ranges(&self) -> Vec<String> {
        self.served
            .seen()
            .iter()
            .map(|seen| seen.header("range").unwrap_or("-").to_string())
            .collect()
    }

    fn check(&self, got: &Got, expected: &Bytes) {
        let file = std::fs::read(self.part()).unwrap();
        assert!(file == *expected, "the file is another");
        assert_eq!((got.length, got.checksum), (expected.len() as u64, Checksum::of(expected)));
    }
}

fn url() -> Url {
    Url::parse("http://h/file").unwrap()
}

fn file(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes.into()
}

fn reply(body: &Bytes) -> Reply {
    Reply::get("/file").header("etag", "\"one\"").ranges(body.clone())
}

#[tokio::test(start_paused = true)]
async fn a_large_file_comes_in_pieces_at_once_and_each_byte_once() {
    let body = file(1, 24 * MIB + 7);
    let scene = Scene::new(4, Upstream::new("h").reply(reply(&body)));
    let got = scene.attempt().await.unwrap();
    scene.check(&got, &body);
    assert_eq!(got.head.status(), 200);
    let ranges = scene.ranges();
    assert!(ranges.len() >= 4, "{ranges:?}");
    assert_eq!(ranges[0], "-");
    assert!(
        scene.served.seen()[1..]
            .iter()
            .all(|seen| seen.header("if-range") == Some("\"one\""))
    );
    // The first answer is left where the second piece begins; not much more than the file is sent.
    assert!(got.wire_bytes < (body.len() + 4 * MIB) as u64, "{}", got.wire_bytes);
}

#[tokio::test(start_paused = true)]
async fn a_small_file_comes_in_one_piece_whatever_was_asked_for() {
    let body = file(2, MIB - 1);
    let scene = Scene::new(4, Upstream::new("h").reply(reply(&body)));
    scene.check(&scene.attempt().await.unwrap(), &body);
    assert_eq!(scene.ranges(), ["-"]);
    assert!(scene.resume().is_none(), "nothing was noted");
}

#[tokio::test(start_paused = true)]
async fn what_broke_is_gone_on_with_where_it_broke() {
    let body = file(3, 12 * MIB);
    let cut = reply(&body).times(1).fault(Fault::Reset { after: 5 * MIB });
    let scene = Scene::new(
        1,
        Upstream::new("h")
            .reply(cut)
            .reply(reply(&body).times(1).fault(Fault::CloseBefore))
            .reply(reply(&body)),
    );
    // It got some, so it asks again at once, and this time gets nothing: now the attempt has failed.
    let failed = scene.attempt().await.unwrap_err();
    assert!(failed.failure.retryable && failed.outcome != Outcome::Protocol, "{failed:?}");
    let got = scene.attempt().await.unwrap();
    scene.check(&got, &body);
    assert_eq!(got.head.status(), 206);
    let ranges = scene.ranges();
    assert_eq!((ranges.len(), &ranges[0]), (3, &"-".to_string()));
    let start: usize = ranges[2]
        .strip_prefix("bytes=")
        .unwrap()
        .strip_suffix('-')
        .unwrap()
        .parse()
        .unwrap();
    assert!((4 * MIB..=5 * MIB).contains(&start) && ranges[1] == ranges[2], "{ranges:?}");
    assert_eq!(got.wire_bytes, (body.len() - start) as u64);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_has_changed_comes_anew_and_never_as_a_mixture() {
    let (old, new) = (file(4, 8 * MIB), file(5, 8 * MIB));
    for segments in [1, 4] {
        let broken = |body: &Bytes, after| reply(body).fault(Fault::Truncate { after });
        let upstream = Upstream::new("h")
            .reply(broken(&old, 3 * MIB).times(1))
            .reply(broken(&old, 0).times(1 + segments));
        let changed = Reply::get("/file").header("etag", "\"two\"").ranges(new.clone());
        let scene = Scene::new(segments as usize, upstream);
        assert!(scene.attempt().await.is_err());
        assert!(scene.resume().is_some());
        scene.served.follow(Upstream::new("h").reply(changed));
        let got = scene.attempt().await.unwrap();
        scene.check(&got, &new);
        assert_eq!(got.head.status(), 200);
        assert_eq!(got.head.header("etag"), Some("\"two\""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_honours_no_ranges_gives_the_file_in_one_piece() {
    let body = file(6, 20 * MIB);
    let plain = Reply::get("/file").header("etag", "\"one\"").body(body.clone());
    let scene = Scene::new(4, Upstream::new("h").reply(plain));
    scene.check(&scene.attempt().await.unwrap(), &body);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_more_connections_is_asked_over_one() {
    let body = file(7, 20 * MIB);
    let busy = Reply::get("/file").when_header("range", "*").status(503);
    let scene = Scene::new(4, Upstream::new("h").reply(busy).reply(reply(&body)));
    scene.check(&scene.attempt().await.unwrap(), &body);
    assert_eq!(scene.ranges().len(), 4, "each reader asked once");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gives_less_than_it_is_asked_for_is_asked_more_often() {
    let body = file(13, 3 * MIB);
    let cut = reply(&body).times(1).fault(Fault::Truncate { after: 2 * MIB });
    let part = |from: usize, to: usize| {
        let range = format!("bytes {from}-{}/{}", to - 1, body.len());
        let rule = Reply::get("/file").when_header("range", format!("bytes={from}-")).status(206);
        rule.header("content-range", range)
            .header("etag", "\"one\"")
            .body(body.slice(from..to))
    };
    let (first, second) = (2 * MIB + 100_000, 2 * MIB + 200_000);
    let upstream = Upstream::new("h")
        .reply(cut)
        .reply(part(2 * MIB, first))
        .reply(part(first, second))
        .reply(part(second, second + 10))
        .reply(reply(&body));
    let scene = Scene::new(1, upstream);
    // Ten bytes are too few to be worth a request.
    assert_eq!(scene.attempt().await.unwrap_err().outcome, Outcome::Truncated);
    assert_eq!(scene.resume().unwrap().missing.count(), (body.len() - second - 10) as u64);
    scene.check(&scene.attempt().await.unwrap(), &body);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_the_part_is_refused_and_the_next_attempt_is_plain() {
    let body = file(8, 4 * MIB);
    let wrong_range = |text: &str| reply(&body).status(206).header("content-range", text).body(body.slice(..10));
    for (wrong, outcome) in [
        (wrong_range("bytes 0-9/4194304"), Outcome::Protocol),
        (wrong_range("bytes 2097152-2097161/9999999"), Outcome::Protocol),
        (wrong_range("nonsense"), Outcome::Protocol),
        (reply(&body).status(416).body(""), Outcome::Protocol),
        (
            reply(&body).status(206).header("content-encoding", "gzip").body("x"),
            Outcome::Protocol,
        ),
    ] {
        let scene = Scene::new(
            1,
            Upstream::new("h")
                .reply(reply(&body).times(1).fault(Fault::Truncate { after: 2 * MIB }))
                .reply(reply(&body).times(1).fault(Fault::CloseBefore)),
        );
        assert!(scene.attempt().await.is_err());
        assert!(scene.resume().is_some());
        scene.served.follow(Upstream::new("h").reply(wrong.times(1)).reply(reply(&body)));
        let failed = scene.attempt().await.unwrap_err();
        assert!(failed.outcome == outcome && failed.failure.retryable, "{failed:?}");
        assert!(scene.resume().is_none());
        scene.check(&scene.attempt().await.unwrap(), &body);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_half_way_goes_on_from_the_last_note() {
    let body = file(9, 12 * MIB);
    let scene = Scene::new(1, Upstream::new("h").reply(reply(&body)));
    let slow = |bytes: usize| Some(Instant::now() + Duration::from_secs_f64(bytes as f64 / MIB as f64));
    // A mebibyte a second, for seven seconds.
    let attempt = scene.attempt_throttled(Some(&slow));
    let cut = anabranch::Deadline::after(Duration::from_secs(7)).bound(attempt).await;
    assert!(cut.is_err(), "it was dropped");
    let resume = scene.resume().unwrap();
    let left = resume.missing.count();
    assert!((5 * MIB as u64..8 * MIB as u64).contains(&left), "{left}");
    let got = scene.attempt().await.unwrap();
    scene.check(&got, &body);
    assert_eq!(got.wire_bytes, left);
    // Complete and noted so: a process that is killed now asks for one byte, and has the file.
    let again = scene.attempt().await.unwrap();
    scene.check(&again, &body);
    assert_eq!(again.wire_bytes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_is_slow_is_shared_with_those_who_are_done() {
    let body = file(10, 18 * MIB);
    let last = Reply::get("/file")
        .when_header("range", "bytes=9437184-")
        .times(1)
        .header("etag", "\"one\"");
    let drip = last.ranges(body.clone()).fault(Fault::DripBody {
        interval: Duration::from_secs(1),
    });
    let scene = Scene::new(2, Upstream::new("h").reply(drip).reply(reply(&body)));
    let started = Instant::now();
    // The slow one keeps a part of its piece; it is too slow for that, and another gets it.
    let scene = Scene {
        min_speed: Some((1_000, Duration::from_secs(10))),
        ..scene
    };
    let result = scene.attempt().await;
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let got = match result {
        Ok(got) => got,
        Err(failed) => {
            assert_eq!(failed.outcome, Outcome::TooSlow);
            scene.attempt().await.unwrap()
        }
    };
    scene.check(&got, &body);
}

#[tokio::test(start_paused = true)]
async fn a_file_beyond_the_limit_is_refused_before_it_is_begun() {
    let body = file(11, 3 * MIB);
    let scene = Scene {
        max: Some(2 * MIB as u64),
        ..Scene::new(1, Upstream::new("h").reply(reply(&body)))
    };
    let failed = scene.attempt().await.unwrap_err();
    assert_eq!((failed.outcome, failed.failure.retryable), (Outcome::TooLarge, false));
    assert!(!scene.part().exists());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_ends_the_run_and_not_the_job() {
    let body = file(12, 3 * MIB);
    let scene = Scene::new(1, Upstream::new("h").reply(reply(&body)));
    std::fs::create_dir(scene.part()).unwrap();
    let failed = scene.attempt().await.unwrap_err();
    assert_eq!((failed.outcome, failed.failure.kind.as_str()), (Outcome::Cancelled, "store"));
}

#[tokio::test(start_paused = true)]
async fn only_a_whole_plain_body_with_a_strong_validator_is_resumable() {
    let resumable = async |reply: Reply| {
        let scene = Scene::new(1, Upstream::new("h").reply(reply));
        is_resumable(&scene.open(None).await.unwrap())
    };
    let plain = || Reply::get("/file").body("0123456789");
    assert!(resumable(plain().header("etag", "\"a\"")).await);
    assert!(!resumable(plain().header("etag", "W/\"a\"")).await);
    assert!(!resumable(plain()).await);
    assert!(!resumable(plain().header("etag", "\"a\"").header("accept-ranges", "none")).await);
    assert!(!resumable(plain().header("etag", "\"a\"").header("content-encoding", "gzip")).await);
    assert!(!resumable(plain().header("etag", "\"a\"").status(203)).await);
    let chunked = plain().header("etag", "\"a\"").framing(anabranch_testkit::Framing::Chunked);
    assert!(!resumable(chunked).await);
}

/// Whatever breaks wherever, the file is right in the end, and no attempt takes away what another got.
#[tokio::test(start_paused = true)]
async fn however_it_breaks_the_file_is_right_in_the_end() {
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let body = file(100 + seed, random.usize(MIB..10 * MIB));
        let mut upstream = Upstream::new("h");
        for _ in 0..random.usize(1..12) {
            let after = random.usize(0..body.len());
            let fault = match random.u8(0..4) {
                0 => Fault::Reset { after },
                1 => Fault::Truncate { after },
                2 => Fault::CloseBefore,
                _ => Fault::CloseAfterReply,
            };
            let rule = reply(&body).times(random.u64(1..3)).fault(fault);
            upstream = upstream.reply(if random.u8(0..6) == 0 {
                rule.status(200).body(body.clone())
            } else {
                rule
            });
        }
        let scene = Scene::new(random.usize(1..5), upstream.reply(reply(&body)));
        let mut left = body.len() as u64 + 1;
        let mut attempts = 0;
        let got = loop {
            attempts += 1;
            assert!(attempts < 60, "seed {seed} does not end");
            match scene.attempt().await {
                Ok(got) => break got,
                Err(failed) => assert!(failed.failure.retryable, "seed {seed}: {failed:?}"),
            }
            if let Some(resume) = scene.resume() {
                assert_eq!(resume.validator, Validator::read("\"one\"").unwrap());
                let now_left = resume.missing.count();
                // An answer with all of it begins again.
                let began_again = scene.ranges().len() > 1;
                assert!(now_left <= left || began_again, "seed {seed}");
                left = now_left;
            }
        };
        scene.check(&got, &body);
    }
}
