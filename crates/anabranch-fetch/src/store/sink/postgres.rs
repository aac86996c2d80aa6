//! Records as rows of a table in Postgres, in the transaction that says which jobs are done.
//!
//! `anabranch_done (run, id, key)` is in the same database: a job whose row is there already is not stored a second time, so a batch may
//! be sent again after a crash, or after a connection that broke before the answer to `commit`. The database comes first in a batch and
//! the journal last. What was stored here and is not in the journal is fetched again, put into the files, and found here to be done.

use std::collections::HashSet;
use std::time::Duration;

use anabranch::postgres::{CopyInto, Param, Postgres, Session};
use anabranch::{CallError, Client, Deadline};
use tokio::runtime::Runtime;

use super::table::{Cell, Column, DEFAULT_COLUMNS, Described};
use crate::store::Key;
use crate::{FetchError, Record};

/// A database that does not take a batch for this long ends the run.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries of a batch.
const REST: Duration = Duration::from_millis(500);
/// The lock under which tables are made: a number of ours among those that all programs of a database share.
const MAKING: i64 = i64::from_be_bytes(*b"anabranc");
/// Jobs that are forgotten in one statement.
const FORGOTTEN: usize = 5_000;

/// The database of a sink, and how its table is filled.
pub(in crate::store) struct Database {
    /// Its own: the writer's thread waits here and nowhere else. Taken out when dropped.
    runtime: Option<Runtime>,
    client: Client,
    source: Postgres,
    table: Table,
    /// What the run, or this pass of it, is called in `anabranch_done`; None where there is no journal, and so nothing to be done twice.
    run: Option<String>,
}

struct Table {
    /// As it was named.
    name: String,
    /// For statements.
    quoted: String,
    columns: Vec<Column>,
    /// The columns of a key by which a row replaces an older one.
    key: Vec<String>,
}

impl Database {
    /// Connects, makes the table if it is not there, and looks at its columns. Blocks; not for a thread that runs a runtime.
    ///
    /// # Errors
    /// `Usage` for a URL or table that cannot be used, `Store` where the database cannot be reached.
    pub(in crate::store) fn connect(url: &str, table: &str, run: Option<String>) -> Result<Database, FetchError> {
        let source = Postgres::builder("sink", url)
            .pool(2)
            .connect_timeout(Duration::from_secs(10))
            .build();
        let source = source.map_err(|error| FetchError::usage(format!("Postgres sink: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| FetchError::store(format!("no runtime for the Postgres sink: {error}")))?;
        let client = {
            let _inside = runtime.enter();
            Client::new()
        };
        let mut database = Database {
            runtime: Some(runtime),
            client,
            source,
            table: Table {
                name: table.to_owned(),
                quoted: quoted_table(table),
                columns: Vec::new(),
                key: Vec::new(),
            },
            run,
        };
        let runtime = database.runtime.take();
        let prepared = runtime.as_ref().map(|runtime| runtime.block_on(database.prepare()));
        database.runtime = runtime;
        prepared.unwrap_or(Ok(()))?;
        Ok(database)
    }

    /// Stores a batch: all of it, or nothing. How many of its jobs were there already.
    pub(in crate::store) fn store(&mut self, records: &[&Record]) -> Result<u64, FetchError> {
        if records.is_empty() {
            return Ok(0);
        }
        let values = records.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
        let values = values.map_err(|error| FetchError::store(format!("a record could not be written: {error}")))?;
        let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.store_patiently(&ids, &values)),
            None => Ok(0),
        }
    }

    /// Makes these jobs undone, and takes their rows out.
    pub(in crate::store) fn forget(&mut self, keys: &[Key]) -> Result<(), FetchError> {
        let (Some(runtime), Some(run)) = (&self.runtime, &self.run) else {
            return Ok(());
        };
        let forget = async {
            for keys in keys.chunks(FORGOTTEN) {
                let forgotten = self.forget_some(run, keys, Deadline::after(PATIENCE)).await;
                forgotten.map_err(|error| failed(&error))?;
            }
            Ok(())
        };
        // The caller's thread may run a runtime, and two of them cannot wait on one thread.
        let forgotten = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(forget)).join());
        forgotten.unwrap_or_else(|_| Err(FetchError::store("the Postgres sink's thread ended")))
    }

    /// Takes out what an earlier beginning of this run stored: its rows, and that it did so. `earlier` is the beginning of what the run was
    /// called in `anabranch_done`.
    pub(in crate::store) fn forget_run(&mut self, earlier: &str) -> Result<(), FetchError> {
        let Some(runtime) = &self.runtime else {
            return Ok(());
        };
        let forget = async {
            let deadline = Deadline::after(PATIENCE);
            let mut session = self.source.session(&self.client, deadline).await?;
            let delete = "delete from anabranch_done where starts_with(run, $1) returning id";
            let delete = match self.table.has("id") && self.table.has("run") {
                true => format!(
                    "with gone as ({delete}) delete from {} t using gone where t.id::text = gone.id and t.run::text = split_part($1, '#', 1)",
                    self.table.quoted
                ),
                // Rows that do not say whose they are may be another run's.
                false => format!("with gone as ({delete}) select count(*) from gone"),
            };
            session.query(&delete, &[Param::text(earlier)], deadline).await.map(|_| ())
        };
        let forgotten = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(forget)).join());
        match forgotten {
            Ok(forgotten) => forgotten.map_err(|error| failed(&error)),
            Err(_) => Err(FetchError::store("the Postgres sink's thread ended")),
        }
    }

    async fn prepare(&mut self) -> Result<(), FetchError> {
        let deadline = Deadline::after(PATIENCE);
        let Table { name, quoted, .. } = &self.table;
        let mut session = self.source.session(&self.client, deadline).await.map_err(|error| failed(&error))?;
        // `if not exists` fails where two runs find at once that the table is not there, so one waits for the other.
        let alone = format!("select count(*) from pg_advisory_xact_lock({MAKING})");
        session.execute("begin", &[], deadline).await.map_err(|error| failed(&error))?;
        session.query(&alone, &[], deadline).await.map_err(|error| failed(&error))?;
        if self.run.is_some() {
            let done =
                "create table if not exists anabranch_done (run text not null, id text not null, key text not null, primary key (run, id))";
            session.execute(done, &[], deadline).await.map_err(|error| failed(&error))?;
        }
        let quoted_param = [Param::text(quoted.as_str())];
        let is_there = "select to_regclass($1::text) is not null as yes";
        let is_there = session
            .query_one(is_there, &quoted_param, deadline)
            .await
            .map_err(|error| failed(&error))?;
        if &is_there[..] == br#"{"yes":false}"# {
            let make = format!("create table if not exists {quoted} ({DEFAULT_COLUMNS})");
            session.execute(&make, &[], deadline).await.map_err(|error| failed(&error))?;
        }
        session.execute("commit", &[], deadline).await.map_err(|error| failed(&error))?;
        let columns = "select a.attname::text as name, t.typname::text as kind, a.atthasdef or a.attidentity <> '' as has_default \
            from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = to_regclass($1::text) and a.attnum > 0 \
            and not a.attisdropped and a.attgenerated = '' order by a.attnum";
        let described = session
            .query(columns, &quoted_param, deadline)
            .await
            .map_err(|error| failed(&error))?;
        let described: Vec<Described> = read(&described)?;
        let columns: Vec<Column> = described.iter().filter_map(Column::of).collect();
        if columns.is_empty() {
            return Err(FetchError::usage(format!("table `{name}` has no column that a record could fill")));
        }
        let keys = "select (select json_agg(a.attname::text order by k.place) from unnest(i.indkey) with ordinality k (number, place) \
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number) as columns from pg_index i \
            where i.indrelid = to_regclass($1::text) and i.indisunique and i.indpred is null and i.indexprs is null \
            order by i.indisprimary desc, i.indexrelid";
        let keys = session.query(keys, &quoted_param, deadline).await.map_err(|error| failed(&error))?;
        let keys: Vec<Index> = read(&keys)?;
        let is_filled = |name: &String| columns.iter().any(|column| column.name == *name);
        let key = keys
            .into_iter()
            .map(|index| index.columns)
            .find(|names| names.iter().all(is_filled));
        drop(session);
        self.table.key = key.unwrap_or_default();
        self.table.columns = columns;
        Ok(())
    }

    /// A database that restarts is waited for. Only a run with a journal may try again: without one, a batch whose `commit` got no
    /// answer could be there twice.
    async fn store_patiently(&self, ids: &[&str], values: &[serde_json::Value]) -> Result<u64, FetchError> {
        let deadline = Deadline::after(PATIENCE);
        loop {
            let error = match self.store_once(ids, values, deadline).await {
                Ok(suppressed) => return Ok(suppressed),
                Err(error) => error,
            };
            let may_pass = matches!(
                error.kind(),
                anabranch::Kind::Connect | anabranch::Kind::Reset | anabranch::Kind::Dns
            );
            if !may_pass || self.run.is_none() || deadline.left() <= REST {
                return Err(failed(&error));
            }
            Deadline::after(REST).wait().await;
        }
    }

    async fn store_once(&self, ids: &[&str], values: &[serde_json::Value], deadline: Deadline) -> Result<u64, CallError> {
        let mut session = self.source.session(&self.client, deadline).await?;
        session.execute("begin", &[], deadline).await?;
        // The journal will say that this batch is stored: a server whose commits may be lost in a crash must not answer before they are
        // safe.
        let sure = "select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'";
        session.query(sure, &[], deadline).await?;
        let new = match &self.run {
            Some(run) => mark_done(&mut session, run, ids, deadline).await?,
            None => ids.iter().map(|&id| id.to_owned()).collect(),
        };
        let rows = ids.iter().zip(values).filter(|(id, _)| new.contains(**id));
        let rows: Vec<Vec<Cell>> = rows.map(|(_, value)| self.table.row(value)).collect();
        if !rows.is_empty() {
            self.table.insert(&mut session, &rows, deadline).await?;
        }
        session.execute("commit", &[], deadline).await?;
        Ok((ids.len() - rows.len()) as u64)
    }

    async fn forget_some(&self, run: &str, keys: &[Key], deadline: Deadline) -> Result<(), CallError> {
        let mut session = self.source.session(&self.client, deadline).await?;
        session.execute("begin", &[], deadline).await?;
        let keys = keys.iter().map(|key| Param::text(key.to_hex())).collect();
        let gone = "delete from anabranch_done where run = $1 and key = any($2) returning id";
        let gone = session.query(gone, &[Param::text(run), Param::List(keys)], deadline).await?;
        let gone: Vec<Id> = serde_json::from_slice(&gone).unwrap_or_default();
        let ids = Param::List(gone.into_iter().map(|row| Param::text(row.id)).collect());
        if self.table.has("id") && self.table.has("run") {
            let name = run.split('#').next().unwrap_or_default();
            let delete = format!("delete from {} where run::text = $1 and id::text = any($2)", self.table.quoted);
            session.execute(&delete, &[Param::text(name), ids], deadline).await?;
        } else if self.table.has("id") {
            let delete = format!("delete from {} where id::text = any($1)", self.table.quoted);
            session.execute(&delete, &[ids], deadline).await?;
        }
        session.execute("commit", &[], deadline).await?;
        Ok(())
    }
}

impl Drop for Database {
    /// A runtime that is dropped waits for its threads, which it may not where another runtime runs.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(serde::Deserialize)]
struct Index {
    columns: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Id {
    id: String,
}

/// The ids of this batch that were not there.
async fn mark_done(session: &mut Session<'_>, run: &str, ids: &[&str], deadline: Deadline) -> Result<HashSet<String>, CallError> {
    let mark = "insert into anabranch_done (run, id, key) select $1, id, key from unnest($2::text[], $3::text[]) as job (id, key) \
        on conflict do nothing returning id";
    let id_list = ids.iter().map(|&id| Param::text(id)).collect();
    let keys = ids.iter().map(|&id| Param::text(Key::of_text(id).to_hex())).collect();
    let marked = session
        .query(mark, &[Param::text(run), Param::List(id_list), Param::List(keys)], deadline)
        .await?;
    let marked: Vec<Id> = serde_json::from_slice(&marked).unwrap_or_default();
    Ok(marked.into_iter().map(|row| row.id).collect())
}

impl Table {
    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }

    fn row(&self, record: &serde_json::Value) -> Vec<Cell> {
        self.columns.iter().map(|column| column.cell(record)).collect()
    }

    /// By COPY; over a table of this transaction's own where rows may replace others.
    async fn insert(&self, session: &mut Session<'_>, rows: &[Vec<Cell>], deadline: Deadline) -> Result<(), CallError> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let list = quoted_list(&names);
        let target = match self.key.is_empty() {
            true => self.name.as_str(),
            false => {
                let make = format!(
                    "create temp table anabranch_rows on commit drop as select {list} from {} with no data",
                    self.quoted
                );
                session.execute(&make, &[], deadline).await?;
                "anabranch_rows"
            }
        };
        let into = CopyInto {
            table: target,
            columns: &names,
        };
        let copied = rows.iter().map(|row| row.iter().map(Cell::as_copy).collect::<Vec<_>>());
        session.copy_in(&into, copied, deadline).await?;
        if self.key.is_empty() {
            return Ok(());
        }
        let key: Vec<&str> = self.key.iter().map(String::as_str).collect();
        let key_list = quoted_list(&key);
        let others: Vec<String> = names.iter().filter(|name| !key.contains(name)).map(|name| quoted(name)).collect();
        let action = match others.is_empty() {
            true => "do nothing".to_owned(),
            false => {
                let sets: Vec<String> = others.iter().map(|name| format!("{name} = excluded.{name}")).collect();
                format!("do update set {}", sets.join(", "))
            }
        };
        // Two records of one batch may have one key where the table's key is not the job: the later one stays.
        let merge = format!(
            "insert into {} ({list}) select distinct on ({key_list}) {list} from anabranch_rows order by {key_list}, ctid desc \
                on conflict ({key_list}) {action}",
            self.quoted
        );
        session.execute(&merge, &[], deadline).await?;
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, FetchError> {
    serde_json::from_slice(json).map_err(|error| FetchError::store(format!("Postgres sink: its answer cannot be read: {error}")))
}

fn failed(error: &CallError) -> FetchError {
    FetchError::store(format!("Postgres sink: {error}"))
}

fn quoted_table(name: &str) -> String {
    name.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

fn quoted_list(names: &[&str]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
