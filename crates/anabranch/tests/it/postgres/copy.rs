//! Many rows at once.

use std::cell::Cell;

use anabranch::postgres::{CopyInto, CopyValue};
use anabranch::{CallError, Deadline, Kind};
use futures_util::{StreamExt, stream};

use super::{database, ms, soon, until};

#[tokio::test]
async fn a_hundred_thousand_rows_arrive_as_they_are() {
    let database = database();
    database
        .execute("create table many (id int4, name text, score float8, big int8)")
        .await;
    let names: Vec<String> = (0..100_000).map(|number| format!("name {number} é")).collect();
    let rows = names.iter().zip(0_i64..).map(|(name, number)| {
        let score = if number % 10 == 0 {
            CopyValue::Null
        } else {
            CopyValue::Float(number as f64 / 8.0)
        };
        [
            CopyValue::Int(number),
            CopyValue::Text(name),
            score,
            CopyValue::Int(i64::MAX - number),
        ]
    });
    let into = CopyInto {
        table: "public.many",
        columns: &["id", "name", "score", "big"],
    };
    assert_eq!(database.db.copy_in(&database.client, &into, rows, soon()).await.unwrap(), 100_000);
    let question = "select count(*) as rows, count(score) as scores, count(distinct name) as names, sum(id) as ids, sum(score) as score, \
        min(big) as low, max(big) as high, bool_and(name = 'name ' || id || ' é' and big = 9223372036854775807 - id) as is_so from many";
    let expected = r#"[{"rows":100000,"scores":90000,"names":100000,"ids":4999950000,"score":562500000,"low":9223372036854675808,"high":9223372036854775807,"is_so":true}]"#;
    assert_eq!(database.query(question, &[]).await, expected);
}

#[tokio::test]
async fn every_type_can_be_copied() {
    let database = database();
    database.execute("create type mood_of_copy as enum ('ok')").await;
    let columns = [
        ("a", "bool", CopyValue::Bool(true), "true"),
        ("b", "int2", CopyValue::Int(-3), "-3"),
        (
            "c",
            "numeric(40,10)",
            CopyValue::Text("-12345678901234567890.5"),
            "-12345678901234567890.5000000000",
        ),
        ("d", "numeric", CopyValue::Int(100_000), "100000"),
        ("e", "float4", CopyValue::Float(0.5), "0.5"),
        ("f", "varchar(5)", CopyValue::Text("a\"\\"), "\"a\\\"\\\\\""),
        ("g", "json", CopyValue::Text("{\"a\": 1}"), "{\"a\": 1}"),
        ("h", "jsonb", CopyValue::Text("[1.50]"), "[1.50]"),
        (
            "i",
            "uuid",
            CopyValue::Text("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
            "\"f81d4fae-7dec-11d0-a765-00a0c91e6bf6\"",
        ),
        ("j", "bytea", CopyValue::Bytes(&[0, 255]), "\"AP8=\""),
        ("k", "date", CopyValue::Days(0), "\"1970-01-01\""),
        ("l", "timestamptz", CopyValue::Micros(1_500_000), "\"1970-01-01T00:00:01.5Z\""),
        ("m", "mood_of_copy", CopyValue::Text("ok"), "\"ok\""),
        ("n o", "text", CopyValue::Null, "null"),
    ];
    let definitions: Vec<String> = columns.iter().map(|(name, kind, ..)| format!("\"{name}\" {kind}")).collect();
    database
        .execute(&format!("create table \"Odd \"\"name\" ({})", definitions.join(", ")))
        .await;
    let names: Vec<&str> = columns.iter().map(|(name, ..)| *name).collect();
    let row: Vec<CopyValue<'_>> = columns.iter().map(|(_, _, value, _)| *value).collect();
    let into = CopyInto {
        table: "Odd \"name",
        columns: &names,
    };
    assert_eq!(database.db.copy_in(&database.client, &into, [row], soon()).await.unwrap(), 1);
    let expected: Vec<String> = columns.iter().map(|(name, _, _, json)| format!("\"{name}\":{json}")).collect();
    assert_eq!(
        database.query("select * from \"Odd \"\"name\"", &[]).await,
        format!("[{{{}}}]", expected.join(","))
    );
}

#[tokio::test]
async fn a_row_that_fails_leaves_none_behind() {
    let database = database();
    database
        .execute("create table all_or_none (id int4 primary key, name varchar(3))")
        .await;
    let into = CopyInto {
        table: "all_or_none",
        columns: &["id", "name"],
    };
    let row = |number: i64| [CopyValue::Int(number), CopyValue::Text("abc")];

    // Found here, by the server at the end, and by the source of the rows.
    let misfit = (0..50_000).map(|number| {
        if number == 40_000 {
            [CopyValue::Int(1 << 40), CopyValue::Null]
        } else {
            row(number)
        }
    });
    let error = database.db.copy_in(&database.client, &into, misfit, soon()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Value);
    assert!(
        error.detail().contains("row 40001") && error.detail().contains("`id`") && error.detail().contains("int4"),
        "{error}"
    );

    let twice = (0..50_000).map(|number| row(number % 49_999));
    let error = database.db.copy_in(&database.client, &into, twice, soon()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Status);
    assert!(
        error.detail().contains("23505") && error.detail().contains("all_or_none_pkey"),
        "{error}"
    );

    let ends = stream::iter((0..50_000).map(|number| {
        if number == 49_999 {
            Err(CallError::new(Kind::Truncated, "upstream"))
        } else {
            Ok(row(number))
        }
    }));
    let error = database.db.copy_in_stream(&database.client, &into, ends, soon()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Truncated);

    assert_eq!(database.value("select count(*) from all_or_none", &[]).await, "0");
    assert_eq!(database.db.copy_in(&database.client, &into, [row(1)], soon()).await.unwrap(), 1);
    let nowhere = CopyInto {
        table: "nowhere",
        columns: &["id"],
    };
    let error = database
        .db
        .copy_in(&database.client, &nowhere, [[CopyValue::Int(1)]], soon())
        .await
        .unwrap_err();
    assert!(error.kind() == Kind::Status && error.detail().contains("42P01"), "{error}");
    until("all places are free", async || database.db.counts().in_use == 0).await;
}

#[tokio::test]
async fn rows_that_never_end_are_taken_no_faster_than_the_server_takes_them() {
    let database = database();
    database.execute("create table endless (text text)").await;
    // A lock makes the server take nothing at all.
    let mut holder = database.db.session(&database.client, soon()).await.unwrap();
    holder.execute("begin", &[], soon()).await.unwrap();
    holder
        .execute("lock table endless in access exclusive mode", &[], soon())
        .await
        .unwrap();
    let (taken, text) = (Cell::new(0_u64), "x".repeat(1000));
    let rows = stream::repeat(()).map(|()| {
        taken.set(taken.get() + 1);
        Ok([CopyValue::Text(&text)])
    });
    let into = CopyInto {
        table: "endless",
        columns: &["text"],
    };
    let error = database
        .db
        .copy_in_stream(&database.client, &into, rows, Deadline::after(ms(700)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    // What the sockets between take is counted in megabytes, not in what a loop could make in that time.
    assert!(taken.get() < 20_000, "{} KB taken", taken.get());
    drop(holder);
    until("all places are free", async || database.db.counts().in_use == 0).await;
    assert_eq!(database.value("select count(*) from endless", &[]).await, "0");
}
