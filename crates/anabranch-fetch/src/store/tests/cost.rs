//! What the store and the input cost, for whoever changes them: `cargo test --release -p anabranch-fetch --lib cost -- --ignored --nocapture`.

use super::*;
use crate::input::{Entry, Input};

/// CPU time of this process, all threads, in microseconds.
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own: u64 = stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let of_task = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.map(of_task).sum::<u64>().max(own) / 1_000
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn typical(number: u64) -> Record {
    Record {
        status: Some(200),
        http: Some("1.1"),
        remote: Some("127.0.0.1:18110".to_owned()),
        reused: Some(true),
        wire_bytes: Some(1_024),
        body_bytes: Some(1_024),
        media_type: Some("text/html".to_owned()),
        etag: Some("\"65f0c2a1-400\"".to_owned()),
        last_modified: Some("Tue, 12 Mar 2024 21:04:17 GMT".to_owned()),
        ..numbered(number, Outcome::Ok)
    }
}

#[tokio::test]
#[ignore = "measures"]
async fn cost_of_commits() {
    const JOBS: u64 = 200_000;
    for has_journal in [false, true] {
        let mut run = Run::new();
        if !has_journal {
            run.options.output.records = RecordsTo::File("/dev/null".into());
        }
        let (store, _) = run.open();
        let before = cpu_micros();
        for number in 0..JOBS {
            store.commit(Finished::new(typical(number))).await.unwrap();
        }
        let spent = || (cpu_micros() - before) as f64 / JOBS as f64;
        let mut all = 0.0;
        while store.committed().total() < JOBS {
            all = spent();
            anabranch::Deadline::after(std::time::Duration::from_millis(1)).wait().await;
        }
        let made = cpu_micros();
        (0..JOBS).for_each(|number| drop(std::hint::black_box(typical(number))));
        let made = (cpu_micros() - made) as f64 / JOBS as f64;
        println!("journal {has_journal}: {all:.2} us a job, of which making records {made:.2} us");
        store.close(Ending::Complete).await.unwrap();
    }
}

#[test]
#[ignore = "measures"]
fn cost_of_a_list_of_ten_million_lines() {
    const LINES: u64 = 10_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    (0..LINES).for_each(|number| writeln!(file, "http://host{}.example/page/{number}.html", number % 1_000).unwrap());
    file.flush().unwrap();
    let mut options = Options::default();
    options.input.file = Some(path);
    let mut input = Input::open(&options.input).unwrap();
    let (before, mut repeats) = (cpu_micros(), 0_u64);
    while let Some(entry) = input.next().unwrap() {
        let Entry::Job(job) = entry else { panic!() };
        let id = JobId::of(&job.method, &job.url, None, 0);
        repeats += u64::from(id != job.id);
    }
    let spent = (cpu_micros() - before) as f64 / LINES as f64;
    println!(
        "{spent:.2} us a line (with one more hash), {} MiB at most, {repeats} lines taken for repeats",
        resident_kib() >> 10
    );
    assert!(resident_kib() < 100 << 10);
    assert!(repeats < LINES / 5_000);
}
