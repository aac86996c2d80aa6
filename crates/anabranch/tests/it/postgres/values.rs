//! What goes in comes out: every type, both ways.

use anabranch::Kind;
use anabranch::postgres::Param;

use super::{database, soon};

/// Type, text of a value as a parameter, and its JSON in the answer.
const CASES: &[(&str, &str, &str)] = &[
    ("bool", "true", "true"),
    ("bool", "f", "false"),
    ("int2", "-32768", "-32768"),
    ("int4", "2147483647", "2147483647"),
    ("int8", "9223372036854775807", "9223372036854775807"),
    ("int8", "-9223372036854775808", "-9223372036854775808"),
    ("oid", "4294967295", "4294967295"),
    ("float4", "0.1", "0.1"),
    ("float8", "0.1", "0.1"),
    ("float8", "1e300", "1e300"),
    ("float8", "NaN", "\"NaN\""),
    ("float8", "-Infinity", "\"-Infinity\""),
    (
        "numeric(40,10)",
        "123456789012345678901234567890.0123456789",
        "123456789012345678901234567890.0123456789",
    ),
    ("numeric(40,10)", "-1.5", "-1.5000000000"),
    ("numeric", "0.00000000000000000001", "0.00000000000000000001"),
    ("numeric", "10000000000000000", "10000000000000000"),
    ("numeric", "0", "0"),
    ("numeric", "NaN", "\"NaN\""),
    ("numeric", "Infinity", "\"Infinity\""),
    ("text", "", "\"\""),
    ("text", "a\"b\\c\nd\te é 😀", "\"a\\\"b\\\\c\\nd\\te é 😀\""),
    ("varchar(3)", "abc", "\"abc\""),
    ("char(3)", "a", "\"a  \""),
    ("name", "posts", "\"posts\""),
    ("json", "plain", "\"plain\""),
    (
        "uuid",
        "F81D4FAE-7dec-11d0-a765-00a0c91e6bf6",
        "\"f81d4fae-7dec-11d0-a765-00a0c91e6bf6\"",
    ),
    ("date", "2024-02-29", "\"2024-02-29\""),
    ("date", "-infinity", "\"-infinity\""),
    ("date", "0044-03-15 BC", "\"-000043-03-15\""),
    ("time", "13:04:05.5", "\"13:04:05.5\""),
    ("time", "24:00", "\"24:00:00\""),
    ("timetz", "13:04:05+05:30", "\"13:04:05+05:30\""),
    ("timestamp", "2024-02-29 13:04:05.123456", "\"2024-02-29T13:04:05.123456\""),
    ("timestamptz", "2024-02-29T13:04:05.120+02:00", "\"2024-02-29T11:04:05.12Z\""),
    ("timestamptz", "1969-12-31T23:59:59.999999Z", "\"1969-12-31T23:59:59.999999Z\""),
    ("timestamptz", "infinity", "\"infinity\""),
    ("bytea", "AP/+", "\"AP/+\""),
    ("bytea", "", "\"\""),
];

#[tokio::test]
async fn every_type_comes_back_as_it_was_sent() {
    let database = database();
    for (kind, sent, json) in CASES {
        let text = format!("select $1::{kind} as value");
        assert_eq!(database.value(&text, &[(*sent).into()]).await, *json, "{kind} {sent}");
        assert_eq!(database.value(&text, &[Param::Null]).await, "null", "{kind}");
        let list = format!("select $1::{kind}[] as value");
        let pair = Param::List(vec![(*sent).into(), Param::Null]);
        assert_eq!(database.value(&list, &[pair]).await, format!("[{json},null]"), "{kind}[] {sent}");
    }
}

#[tokio::test]
async fn what_comes_out_goes_in_again() {
    let database = database();
    for (kind, sent, json) in CASES {
        let is_other_spelling = json.contains("-000043") || *kind == "json";
        if is_other_spelling {
            continue;
        }
        let text = format!("select $1::{kind} as value");
        let first = database.value(&text, &[(*sent).into()]).await;
        assert_eq!(database.value(&text, &[Param::json(first.clone())]).await, first, "{kind} {sent}");
    }
}

#[tokio::test]
async fn lists_keep_their_dimensions_and_json_its_text() {
    let database = database();
    let nested = Param::json("[[1,2,null],[4,5,6]]");
    assert_eq!(
        database.value("select $1::int8[] as value", &[nested]).await,
        "[[1,2,null],[4,5,6]]"
    );
    assert_eq!(database.value("select '{}'::text[] as value", &[]).await, "[]");
    assert_eq!(database.value("select '[5:6]={1,2}'::int4[] as value", &[]).await, "[1,2]");
    let odd = vec!["a,b", "{}", "\"", "\\", "NULL", "null", ""];
    assert_eq!(
        database.value("select $1::text[] as value", &[odd.into()]).await,
        r#"["a,b","{}","\"","\\","NULL","null",""]"#
    );
    assert_eq!(
        database.value("select 3 = any($1) as value", &[Param::json("[1,\"2\",3]")]).await,
        "true"
    );

    let object = r#"{"b": [1, 2.50], "a": "é\u0000"}"#;
    assert_eq!(database.value("select $1::json as value", &[Param::json(object)]).await, object);
    assert_eq!(
        database.value("select $1::jsonb as value", &[Param::json(r#"{"b":1.50}"#)]).await,
        r#"{"b": 1.50}"#
    );
    assert_eq!(
        database
            .value("select $1::jsonb[] as value", &[Param::json(r#"[[1],{"a":null}]"#)])
            .await,
        r#"[[1],{"a": null}]"#
    );
}

#[tokio::test]
async fn types_of_the_databases_own_are_written_as_what_they_are_made_of() {
    let database = database();
    database.execute("create type mood_of_values as enum ('sad', 'it''s \"ok\"')").await;
    database.execute("create domain small_of_values as int4 check (value < 10)").await;
    let mood = "select $1::mood_of_values as value";
    assert_eq!(database.value(mood, &["it's \"ok\"".into()]).await, r#""it's \"ok\"""#);
    assert_eq!(
        database
            .value("select $1::mood_of_values[] as value", &[vec!["sad", "sad"].into()])
            .await,
        r#"["sad","sad"]"#
    );
    assert_eq!(database.value("select $1::small_of_values as value", &["7".into()]).await, "7");
    let refused = database
        .db
        .query(&database.client, mood, &["angry".into()], soon())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Value, "{refused}");
    assert_eq!(database.value("select pg_sleep(0) as value", &[]).await, "null");
}

#[tokio::test]
async fn rows_are_objects_with_their_columns_in_order() {
    let database = database();
    let rows = database
        .query(
            "select n as z, n * 2 as \"a \"\"b\" from generate_series(1, 3) n where n <> $1 order by n",
            &["2".into()],
        )
        .await;
    assert_eq!(rows, r#"[{"z":1,"a \"b":2},{"z":3,"a \"b":6}]"#);
    assert_eq!(database.query("select 1 as one where false", &[]).await, "[]");
    assert_eq!(database.query("select", &[]).await, "[{}]");
    let one = async |text: &str| database.db.query_one(&database.client, text, &[], soon()).await;
    assert_eq!(one("select 1 as one").await.unwrap(), r#"{"one":1}"#);
    assert_eq!(one("select 1 as one where false").await.unwrap(), "null");
    assert_eq!(
        one("select * from generate_series(1, 100000) n").await.unwrap_err().kind(),
        Kind::TooMany
    );
    // The rest of those rows was still coming when the next one asks.
    assert_eq!(one("select 2 as two").await.unwrap(), r#"{"two":2}"#);
}

#[tokio::test]
async fn what_has_no_json_form_is_named_with_what_to_do() {
    let database = database();
    for (text, words) in [
        ("select point(1, 2) as place", ["`place`", "`point`", "place::text"]),
        ("select array[point(1, 2)] as places", ["`places`", "`_point`", "places::text"]),
        ("select interval '1 day' as wait", ["`wait`", "`interval`", "wait::text"]),
        ("select 1 as id, 2 as id", ["two columns", "`id`", "alias"]),
    ] {
        let error = database.db.query(&database.client, text, &[], soon()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Decode, "{error}");
        assert!(words.iter().all(|word| error.detail().contains(word)), "{error}");
    }
    assert_eq!(database.value("select point(1, 2)::text as place", &[]).await, "\"(1,2)\"");
    assert_eq!(database.db.counts().dials, 1, "a fault of a statement costs no session");
}

#[tokio::test]
async fn a_value_is_never_part_of_the_statement() {
    let database = database();
    database.execute("create table kept_apart (id int, name text)").await;
    for attack in [
        "'; drop table kept_apart; --",
        "$1",
        "\\'; select 1; --",
        "' or '1' = '1",
        "\u{2019} or true --",
        "{\"a\":1}",
    ] {
        let found = database.query("select id from kept_apart where name = $1", &[attack.into()]).await;
        assert_eq!(found, "[]", "{attack}");
        assert_eq!(
            database
                .value("select $1::text = any($2) as value", &[attack.into(), vec![attack].into()])
                .await,
            "true",
            "{attack}"
        );
        let refused = database
            .db
            .query(&database.client, "select $1::int4 as value", &[attack.into()], soon())
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), Kind::Value);
    }
    assert_eq!(database.value("select count(*) from kept_apart", &[]).await, "0");
}

#[tokio::test]
async fn a_value_outside_of_its_type_is_refused_and_not_repeated() {
    let database = database();
    for (kind, value) in [
        ("int2", "32768"),
        ("int4", "1.0"),
        ("int8", "9223372036854775808"),
        ("numeric(3,1)", "1234.5"),
        ("numeric", "12secret"),
        ("float4", "1e39"),
        ("bool", "yes please"),
        ("uuid", "secret-1234"),
        ("date", "2023-02-29"),
        ("timestamptz", "secret o'clock"),
        ("time", "25:00"),
        ("bytea", "???"),
        ("text", "a\0b"),
        ("int4[]", "{1,2}"),
        ("inet::text", "secret.example"),
    ] {
        let text = format!("select $1::{kind} as value");
        let error = database
            .db
            .query(&database.client, &text, &[value.into()], soon())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Value, "{kind} {value}: {error}");
        let said = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(!said.contains(value) && !said.contains("secret"), "{said}");
    }
    assert_eq!(database.db.counts().dials, 1, "a refused value costs no session");
}

#[tokio::test]
async fn a_wrong_statement_is_said_in_the_servers_words_and_a_broken_rule_without_values() {
    let database = database();
    let wrong = database
        .db
        .query(&database.client, "select nope from pg_class", &[], soon())
        .await
        .unwrap_err();
    assert_eq!(wrong.kind(), Kind::Status);
    for word in ["42703", "nope", "character 8"] {
        assert!(wrong.detail().contains(word), "{wrong}");
    }
    database
        .execute("create table ruled (id int primary key, name text not null)")
        .await;
    let insert = "insert into ruled values ($1, $2)";
    let write = async |id: &str, name: Param| database.db.execute(&database.client, insert, &[id.into(), name], soon()).await;
    assert_eq!(write("1", "secret".into()).await.unwrap(), 1);
    let twice = write("1", "secret".into()).await.unwrap_err();
    assert_eq!(twice.kind(), Kind::Status);
    assert!(
        twice.detail().contains("23505") && twice.detail().contains("ruled_pkey") && !twice.detail().contains("secret"),
        "{twice}"
    );
    let null = write("2", Param::Null).await.unwrap_err();
    assert!(null.detail().contains("23502") && null.detail().contains("`name`"), "{null}");
}

#[tokio::test]
async fn a_statement_is_described_without_being_run() {
    let database = database();
    database.execute("create table described (id int8, tags text[])").await;
    let describe = async |text: &str| database.db.describe(&database.client, text, soon()).await;
    let described = describe("insert into described values ($1, $2) returning id, tags").await.unwrap();
    assert_eq!(described.params, ["int8", "_text"]);
    assert_eq!(
        described.columns,
        [("id".to_owned(), "int8".to_owned()), ("tags".to_owned(), "_text".to_owned())]
    );
    assert_eq!(database.value("select count(*) from described", &[]).await, "0");
    assert_eq!(describe("selec 1").await.unwrap_err().kind(), Kind::Status);
    assert_eq!(describe("select point(1, 2) as place").await.unwrap_err().kind(), Kind::Decode);
}
