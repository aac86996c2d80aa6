//! `anabranch check`.

use crate::support::Folder;

const SOUND: &str = "\
sources:
  shop: { url: http://shop.svc:8000 }
  user: { url: http://user.svc:8000 }
routes:
  GET /activity/{id:int}:
    calls:
      activity: shop /activities/$id
      profile:  user /me
  GET /me:
    calls:
      profile: user /me
";

#[test]
fn a_sound_config_is_counted() {
    let folder = Folder::new();
    folder.write("gateway.yaml", SOUND);
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(0), "", "gateway.yaml: ok: 2 routes, 3 calls, 2 sources\n")
    );
}

#[test]
fn all_faults_of_a_bad_config_are_printed_with_their_places() {
    let folder = Folder::new();
    folder.write(
        "gateway.yaml",
        "\
listn: 0.0.0.0:8080
sources:
  shop: { url: http://shop.svc:8000, in_flight: many }
routes:
  GET /activity/{id:int}:
    deadline: 2500
    need: [activty]
    calls:
      activity: shop /activities/$idd
      rank:     social /rank/$id
      late:     { get: shop /late, timeout: 9s, retry: -1 }
",
    );
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    for (place, names) in [
        ("gateway.yaml:1:1", "listn"),
        ("gateway.yaml:3:49", "many"),
        ("gateway.yaml:6:15", "2500"),
        ("gateway.yaml:7:12", "activty"),
        ("gateway.yaml:9:", "idd"),
        ("gateway.yaml:10:", "social"),
        ("gateway.yaml:11:", "retry"),
    ] {
        assert!(
            ended.stderr.contains(place) && ended.stderr.contains(names),
            "no fault at {place} about `{names}` in:\n{}",
            ended.stderr
        );
    }
    assert!(ended.stderr.contains("did you mean `listen`?"), "{}", ended.stderr);
    assert!(ended.stderr.trim_end().ends_with("faults"), "{}", ended.stderr);
}

#[test]
fn the_worst_file_decides_and_every_file_is_checked() {
    let folder = Folder::new();
    folder.write("good.yaml", SOUND);
    folder.write("bad.yaml", "routes: 7\n");
    let ended = folder.run(&["check", "none.yaml", "bad.yaml", "good.yaml"]);
    assert_eq!(ended.code, Some(3));
    for expected in ["error: reading `none.yaml`", "bad.yaml:1:9", "good.yaml: ok"] {
        assert!(ended.stderr.contains(expected), "no `{expected}` in:\n{}", ended.stderr);
    }
    assert_eq!(folder.run(&["check", "good.yaml", "bad.yaml"]).code, Some(2));
}

#[test]
fn files_are_looked_up_beside_the_config_and_secrets_are_not_shown() {
    let folder = Folder::new();
    folder.write("token", "hunter2hunter2\n");
    folder.write(
        "gateway.yaml",
        &SOUND.replace("shop.svc:8000 }", "shop.svc:8000, headers: { Authorization: $file.token } }"),
    );
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    folder.write(
        "gateway.yaml",
        &SOUND.replace("shop.svc:8000 }", "shop.svc:8000, headers: { Authorization: $file.tokem } }"),
    );
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("gateway.yaml:2:") && ended.stderr.contains("tokem"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_file_that_is_no_text_is_a_fault_of_the_file() {
    let folder = Folder::new();
    std::fs::write(folder.write("gateway.yaml", ""), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(folder.run(&["check", "gateway.yaml"]).code, Some(2));
}

const WITH_DATABASE: &str = "\
sources:
  db: { postgres: 'postgres://app:hunter2@127.0.0.1:1/shop' }
routes:
  GET /:
    calls:
      now: { sql: db, select: select now() }
";

#[cfg(feature = "postgres")]
#[test]
fn a_database_that_cannot_be_asked_is_a_warning() {
    let folder = Folder::new();
    folder.write("gateway.yaml", WITH_DATABASE);
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), "gateway.yaml: ok: 1 route, 1 call, 1 source\n")
    );
    let ended = folder.run(&["check", "--connect", "gateway.yaml"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .starts_with("warning: gateway.yaml: the statements of `db` were not checked: connect from `db`"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.ends_with("gateway.yaml: ok: 1 route, 1 call, 1 source\n") && !ended.stderr.contains("hunter2"),
        "{}",
        ended.stderr
    );
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_program_without_databases_says_so() {
    let folder = Folder::new();
    folder.write("gateway.yaml", WITH_DATABASE);
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(ended.code, Some(2));
    for expected in [
        "gateway.yaml:2:19",
        "this program was built without the feature `postgres`",
        "cargo build --release --features postgres",
        "1 fault",
    ] {
        assert!(ended.stderr.contains(expected), "no `{expected}` in:\n{}", ended.stderr);
    }
}

#[test]
fn faults_of_a_schema_in_a_file_say_where_in_it_and_quote_it() {
    let folder = Folder::new();
    folder.write(
        "order.json",
        "{\n  \"type\": \"object\",\n  \"requird\": [\"a\"],\n  \"properties\": { \"a\": { \"type\": \"strin\" } }\n}\n",
    );
    folder.write(
        "gateway.yaml",
        "\
sources: { shop: { url: http://shop.svc:8000 } }
routes:
  POST /a: { body: { schema: $file.order.json }, calls: { a: { post: shop /a } } }
  POST /b: { body: { schema: $file.none.json }, calls: { a: { post: shop /a } } }
",
    );
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for expected in [
        "unknown keyword `requird`, at `/requird` of the schema, line 3, column 3\n --> gateway.yaml:3:30",
        "did you mean `required`?",
        "`type` must be a type of JSON, or a list of several, at `/properties/a/type` of the schema, line 4, column 34",
        "did you mean `string`?",
        "there is no file `none.json`\n --> gateway.yaml:4:30",
        "3 faults",
    ] {
        assert!(ended.stderr.contains(expected), "no `{expected}` in:\n{}", ended.stderr);
    }
    // A schema is no secret.
    assert!(!ended.stderr.contains("chmod"), "{}", ended.stderr);
}
