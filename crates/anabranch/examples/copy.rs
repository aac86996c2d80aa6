//! Many rows into a table by binary COPY: `cargo run --release --features postgres --example copy -- URL TABLE ROWS`.
//!
//! The table has the columns `id int, name text, share float8, total bigint`. Prints how long it took and what it cost; `scripts/bench copy`
//! runs it beside the other ways.

use std::error::Error;
use std::time::Duration;

use anabranch::postgres::{CopyInto, CopyValue, Postgres};
use anabranch::{Client, Deadline};
use tokio::time::Instant;

struct Row {
    id: i64,
    name: String,
    share: f64,
    total: i64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, table, count] = args.as_slice() else {
        return Err("expected: copy URL TABLE ROWS".into());
    };
    let rows: Vec<Row> = (0..count.parse::<i64>()?).map(row).collect();

    let db = Postgres::new("target", url)?;
    let client = Client::new();
    // The session is opened before the clock starts.
    db.query(&client, "select 1", &[], soon()).await?;

    let (started, cpu) = (Instant::now(), cpu_seconds());
    let into = CopyInto {
        table,
        columns: &["id", "name", "share", "total"],
    };
    let values = rows.iter().map(|row| {
        [
            CopyValue::Int(row.id),
            CopyValue::Text(&row.name),
            CopyValue::Float(row.share),
            CopyValue::Int(row.total),
        ]
    });
    let copied = db.copy_in(&client, &into, values, soon()).await?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(r#"{{"rows":{copied},"seconds":{seconds:.6},"cpu_seconds":{cpu:.6}}}"#);
    Ok(())
}

fn row(id: i64) -> Row {
    Row {
        id,
        name: format!("name of row {id}"),
        share: id as f64 * 0.25,
        total: id * 1_000_003,
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// What this process has cost so far.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
