//! Jobs whose hosts are busy and that do not fit into memory: put away on disk, by host, oldest first.
//!
//! A thread of its own does it, so that neither a slow sync of the journal nor a slow reader of stdout holds the run up.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::code;
use crate::{FetchError, Job};

/// Requests that may wait.
const ROOM: usize = 64;

/// Jobs on disk.
#[derive(Default)]
pub(super) struct Spill {
    /// To the thread, which begins with the first request.
    door: Mutex<Option<mpsc::Sender<Request>>>,
}

enum Request {
    Put {
        host: String,
        jobs: Vec<Job>,
        reply: oneshot::Sender<Result<(), FetchError>>,
    },
    Take {
        host: String,
        limit: usize,
        reply: oneshot::Sender<Result<Vec<Job>, FetchError>>,
    },
}

impl Spill {
    pub(super) async fn put(&self, host: &str, jobs: Vec<Job>) -> Result<(), FetchError> {
        let (reply, answer) = oneshot::channel();
        let host = host.to_owned();
        self.ask(Request::Put { host, jobs, reply }).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    pub(super) async fn take(&self, host: &str, limit: usize) -> Result<Vec<Job>, FetchError> {
        let (reply, answer) = oneshot::channel();
        let host = host.to_owned();
        self.ask(Request::Take { host, limit, reply }).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn ask(&self, request: Request) -> Result<(), FetchError> {
        let door = self.door()?;
        door.send(request).await.map_err(|_| gone())
    }

    fn door(&self) -> Result<mpsc::Sender<Request>, FetchError> {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = &*door {
            return Ok(door.clone());
        }
        let (sender, receiver) = mpsc::channel(ROOM);
        let thread = std::thread::Builder::new().name("fetch-spill".to_owned());
        let started = thread.spawn(move || serve(receiver));
        started.map_err(|error| FetchError::store(format!("no thread for jobs that wait: {error}")))?;
        *door = Some(sender.clone());
        Ok(sender)
    }
}

fn gone() -> FetchError {
    FetchError::store("the thread that keeps waiting jobs has ended")
}

/// Ends when the store is dropped.
fn serve(mut requests: mpsc::Receiver<Request>) {
    let shelf = Shelf::new();
    while let Some(request) = requests.blocking_recv() {
        match request {
            Request::Put { host, jobs, reply } => {
                let result = shelf.as_ref().map_err(Clone::clone).and_then(|shelf| shelf.put(&host, &jobs));
                let _gone = reply.send(result);
            }
            Request::Take { host, limit, reply } => {
                let result = shelf.as_ref().map_err(Clone::clone).and_then(|shelf| shelf.take(&host, limit));
                let _gone = reply.send(result);
            }
        }
    }
}

struct Shelf(Connection);

impl Shelf {
    fn new() -> Result<Shelf, FetchError> {
        let connection = Connection::open("").map_err(broken)?;
        let setup = "pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -4096; pragma locking_mode = exclusive;
            create table job (host text not null, n integer not null, job blob not null, primary key (host, n)) without rowid;
            create table last (n integer not null); insert into last values (0); begin";
        connection.execute_batch(setup).map_err(broken)?;
        Ok(Shelf(connection))
    }

    fn put(&self, host: &str, jobs: &[Job]) -> Result<(), FetchError> {
        let mut number = self.0.prepare_cached("update last set n = n + 1 returning n").map_err(broken)?;
        let mut insert = self.0.prepare_cached("insert into job values (?1, ?2, ?3)").map_err(broken)?;
        for job in jobs {
            let number: i64 = number.query_row((), |row| row.get(0)).map_err(broken)?;
            insert.execute((host, number, code::encode(job))).map_err(broken)?;
        }
        Ok(())
    }

    fn take(&self, host: &str, limit: usize) -> Result<Vec<Job>, FetchError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let text = "select n, job from job where host = ?1 order by n limit ?2";
        let mut select = self.0.prepare_cached(text).map_err(broken)?;
        let mut rows = select.query((host, limit)).map_err(broken)?;
        let (mut jobs, mut last) = (Vec::new(), 0_i64);
        while let Some(row) = rows.next().map_err(broken)? {
            last = row.get(0).map_err(broken)?;
            let bytes: Vec<u8> = row.get(1).map_err(broken)?;
            jobs.push(code::decode(&bytes).ok_or_else(|| FetchError::store("a job that was put away cannot be read"))?);
        }
        let mut delete = self
            .0
            .prepare_cached("delete from job where host = ?1 and n <= ?2")
            .map_err(broken)?;
        delete.execute((host, last)).map_err(broken)?;
        Ok(jobs)
    }
}

fn broken(error: rusqlite::Error) -> FetchError {
    FetchError::store(format!("jobs that wait could not be put away: {error}"))
}
