//! The examples of `examples/fetch`, as a reader would run them.

use std::path::Path;
use std::process::{Command, Stdio};

use super::setup::{is_quick, program};

fn run(name: &str) -> (String, String) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fetch").join(name);
    let output = Command::new("bash")
        .arg(example)
        .env("ANABRANCH", env!("CARGO_BIN_EXE_anabranch"))
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{name}: {}\n{stdout}\n{stderr}", output.status);
    (stdout, stderr)
}

#[test]
fn the_shop_is_crawled_although_it_is_killed() {
    let (_, said) = run("shop");
    // 200 pages, and one that robots.txt forbids.
    assert!(said.ends_with("records: 201\n"), "{said}");
}

#[test]
fn the_orders_are_all_taken() {
    let (acks, said) = run("orders");
    assert!(said.contains("100 jobs in") && said.contains("100 ok"), "{said}");
    assert!(acks.contains(r#""id":"A"#) && acks.contains(r#"say \\\"hello\\\""#), "{acks}");
}

#[test]
fn the_mirror_asks_once_more_for_all_pages() {
    let (_, said) = run("mirror");
    assert!(said.contains("files: 200") && said.contains("200 not_modified"), "{said}");
}

#[test]
fn the_table_holds_each_product_once() {
    // It starts a Postgres of its own.
    if is_quick() || program("psql").is_none() {
        return;
    }
    let (table, said) = run("load");
    assert!(table.contains("190 |  190") && said.contains("190 ok"), "{table}\n{said}");
}
