//! A network in memory for a run, and the run's records.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use anabranch::client::{Dial, DialLimits, Dialled, Stream};
use anabranch::{CallError, Client, Compute, Deadline, Kind, Phase};
use anabranch_testkit::MemoryNetwork;

use crate::options::{Options, RecordsTo};
use crate::run::{Run, StopSignal, Summary};
use crate::{FetchError, Outcome, Record};

struct MemoryDial(MemoryNetwork);

impl MemoryDial {
    async fn open(&self, host: &str, port: u16, limits: DialLimits) -> Result<Dialled, CallError> {
        limits.enter(Phase::Connect);
        let failed = |detail: String| CallError::new(Kind::Connect, detail).in_phase(Phase::Connect);
        match Deadline::after(limits.connect).bound(self.0.connect(host, port)).await {
            Ok(Ok(stream)) => Ok(Dialled {
                stream: Stream::Boxed(Box::new(stream)),
                dns: None,
                connect: None,
            }),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Err(failed(format!("{host}:{port} refused"))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_elapsed) => Err(failed(format!("no connection to {host}:{port} in time"))),
        }
    }
}

impl Dial for MemoryDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        limits: DialLimits,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, CallError>> + Send + 'a>> {
        Box::pin(self.open(host, port, limits))
    }
}

/// Options for these URLs, without files.
pub(super) fn options(urls: &[&str]) -> Options {
    let mut options = Options::default();
    options.input.urls = urls.iter().map(|url| url.to_string()).collect();
    options.output.records = RecordsTo::Nowhere;
    options
}

/// A run that is set up and has not begun, and where its records will be.
pub(super) fn set_up(network: &MemoryNetwork, options: Options) -> (Run, Arc<Mutex<Vec<Record>>>) {
    let records = Arc::new(Mutex::new(Vec::new()));
    let seen = records.clone();
    let run = Run::new(options).unwrap();
    let run = run
        .with_client(Client::builder().dial(Arc::new(MemoryDial(network.clone()))).build())
        .with_compute(Compute::inline())
        .with_stdout(std::io::sink())
        .on_record(move |record| seen.lock().unwrap().push(record.clone()));
    (run, records)
}

/// Runs to the end: the summary, and the records by their place in the input.
pub(super) async fn run(network: &MemoryNetwork, options: Options) -> (Summary, Vec<Record>) {
    let (summary, records) = try_run(network, options).await;
    (summary.unwrap(), records)
}

pub(super) async fn try_run(network: &MemoryNetwork, options: Options) -> (Result<Summary, FetchError>, Vec<Record>) {
    let (run, records) = set_up(network, options);
    let summary = run.drive(StopSignal::new()).await;
    let mut records = std::mem::take(&mut *records.lock().unwrap());
    records.sort_by(|one, other| (one.seq.is_none(), one.seq, &one.url).cmp(&(other.seq.is_none(), other.seq, &other.url)));
    (summary, records)
}

pub(super) fn outcomes(records: &[Record]) -> Vec<Outcome> {
    records.iter().map(|record| record.outcome).collect()
}

/// The kind of each failure, empty where nothing failed.
pub(super) fn kinds(records: &[Record]) -> Vec<&str> {
    let kind = |record: &Record| record.error.as_ref().map_or("", |error| error.kind.as_str()).to_string();
    let kinds: Vec<String> = records.iter().map(kind).collect();
    kinds.into_iter().map(|kind| &*kind.leak()).collect()
}
