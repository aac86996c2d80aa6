//! Fetches the URLs of a file, at most 8 at once to each host, and prints what failed. Run it again and it goes on where it stopped.
//!
//! `cargo run --example list -p anabranch-fetch -- urls.txt`

use std::path::PathBuf;

use anabranch_fetch::options::{InputOptions, LimitOptions, Options, OutputOptions, RecordsTo};
use anabranch_fetch::run::{Run, StopSignal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), anabranch_fetch::FetchError> {
    let list = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "urls.txt".into()));
    let options = Options {
        limits: LimitOptions {
            per_host: 8,
            ..LimitOptions::default()
        },
        output: OutputOptions {
            records: RecordsTo::File(list.with_extension("ndjson")),
            ..OutputOptions::default()
        },
        input: InputOptions {
            file: Some(list),
            ..InputOptions::default()
        },
        ..Options::default()
    };
    let run = Run::new(options)?.on_record(|record| {
        if let Some(error) = &record.error {
            println!("{}: {}", record.url, error.message);
        }
    });
    let summary = run.drive(StopSignal::new()).await?;
    println!("{} fetched in {:.1} s, {} failed", summary.total, summary.seconds, summary.failed());
    Ok(())
}
