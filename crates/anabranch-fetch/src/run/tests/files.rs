//! Large files through a whole run: broken, in pieces, checked, and gone on with by the next call.

use std::path::Path;
use std::time::Duration;

use anabranch::Deadline;
use anabranch_testkit::{Fault, MemoryNetwork, Reply, Upstream};
use bytes::Bytes;

use super::network::{kinds, options, outcomes, run, set_up};
use crate::content::checksums::Checksum;
use crate::run::{Ended, StopSignal};
use crate::{Options, Outcome};

const MIB: usize = 1 << 20;

fn file(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
    bytes.into()
}

fn reply(body: &Bytes) -> Reply {
    Reply::get("/big.iso").header("etag", "\"one\"").ranges(body.clone())
}

fn saving(folder: &Path) -> Options {
    let mut options = options(&["http://a/big.iso"]);
    options.output.folder = Some(folder.join("files"));
    options.output.run = Some(folder.join("run"));
    options.output.name = "{name}".into();
    options.time.attempt = None;
    options.output.max_body = None;
    options
}

#[tokio::test(start_paused = true)]
async fn the_next_try_goes_on_where_the_last_one_broke() {
    let body = file(5 * MIB);
    let network = MemoryNetwork::new();
    let cut = reply(&body).times(1).fault(Fault::Truncate { after: 3 * MIB });
    let refused = reply(&body).times(1).fault(Fault::CloseBefore);
    let served = network.host("a:80", Upstream::new("a").reply(cut).reply(refused).reply(reply(&body)));
    let folder = tempfile::tempdir().unwrap();
    let (_, records) = run(&network, saving(folder.path())).await;
    let record = &records[0];
    assert_eq!(
        (record.outcome, record.status, record.attempts),
        (Outcome::Ok, Some(206), 2),
        "{record:?}"
    );
    assert_eq!((record.body_bytes, record.wire_bytes), (Some(5 * MIB as u64), Some(2 * MIB as u64)));
    assert_eq!(record.sha256.as_deref(), Some(Checksum::of(&body).to_string().as_str()));
    assert!(std::fs::read(record.path.as_ref().unwrap()).unwrap() == body);
    assert_eq!(served.seen().last().unwrap().header("range"), Some("bytes=3145728-"));
    assert!(!folder.path().join("files/.part").exists(), "nothing is left beside");
}

#[tokio::test(start_paused = true)]
async fn a_file_in_pieces_is_checked_as_a_whole() {
    let body = file(9 * MIB);
    let network = MemoryNetwork::new();
    let served = network.host("a:80", Upstream::new("a").reply(reply(&body)));
    for (sum, outcome) in [(Checksum::of(&body), Outcome::Ok), (Checksum::of(b""), Outcome::Checksum)] {
        let folder = tempfile::tempdir().unwrap();
        let mut options = saving(folder.path());
        options.download.segments = 2;
        options.download.segment_min = MIB as u64;
        options.download.checksums = Some(format!("{sum}  big.iso\n"));
        let (_, records) = run(&network, options).await;
        assert_eq!(outcomes(&records), [outcome], "{:?}", kinds(&records));
        assert_eq!(folder.path().join("files/big.iso").exists(), outcome == Outcome::Ok);
    }
    assert!(served.seen().iter().any(|seen| seen.header("range").is_some()));
}

#[tokio::test(start_paused = true)]
async fn the_next_call_goes_on_with_a_file_that_was_cut() {
    let body = file(8 * MIB);
    let network = MemoryNetwork::new();
    let served = network.host("a:80", Upstream::new("a").reply(reply(&body)));
    let folder = tempfile::tempdir().unwrap();
    let mut options = saving(folder.path());
    options.limits.bytes_per_second = Some(MIB as u64);
    let (first, records) = set_up(&network, options.clone());
    let stop = StopSignal::new();
    let signals = async {
        served.until(|counts| counts.requests == 1).await;
        Deadline::after(Duration::from_secs(5)).wait().await;
        stop.more();
        stop.more();
    };
    let (summary, ()) = tokio::join!(first.drive(stop.clone()), signals);
    assert_eq!((summary.unwrap().ended, records.lock().unwrap().len()), (Ended::Interrupted, 0));
    options.limits.bytes_per_second = None;
    let (_, records) = run(&network, options).await;
    assert_eq!(outcomes(&records), [Outcome::Ok]);
    let came = records[0].wire_bytes.unwrap();
    assert!(came < 7 * MIB as u64, "{came} bytes came again");
    assert!(std::fs::read(folder.path().join("files/big.iso")).unwrap() == body);
}

#[tokio::test(start_paused = true)]
async fn a_file_without_a_validator_begins_again() {
    let body = file(3 * MIB);
    let network = MemoryNetwork::new();
    let plain = Reply::get("/big.iso").body(body.clone());
    let cut = plain.clone().times(1).fault(Fault::Truncate { after: 2 * MIB });
    let served = network.host("a:80", Upstream::new("a").reply(cut).reply(plain));
    let folder = tempfile::tempdir().unwrap();
    let (_, records) = run(&network, saving(folder.path())).await;
    assert_eq!((records[0].outcome, records[0].status), (Outcome::Ok, Some(200)));
    assert!(served.seen().iter().all(|seen| seen.header("range").is_none()));
    assert!(std::fs::read(records[0].path.as_ref().unwrap()).unwrap() == body);
}
