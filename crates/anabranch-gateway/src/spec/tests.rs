//! The runner itself: what it reads, what it finds, what it writes.

use super::*;

const TICKS: &str = "```";

fn good() -> String {
    "# A part

Comes.

## Config
```yaml
sources:
  shop: { url: http://shop:8000 }
routes:
  GET /x:
    calls:
      a: shop /a?k=1
```

## Sources
```yaml
shop:
  latency: 20ms
  routes:
    GET /a: { body: { id: 1 } }
```

## Request
```http
GET /x
```

## Reply
```http
200
cache-control: no-cache

{\"a\":{\"id\":1}}
```

## Took
```
20 ms
```

## Asked with headers: traceparent, accept
```
shop GET /a?k=1
  traceparent: 00-{trace 1}-{span 1}-00
  accept: application/json
```
"
    .to_string()
}

async fn mismatches(text: &str) -> Vec<String> {
    let spec = Spec::parse("x.md", text).unwrap();
    spec.run().await.compare(&spec).iter().map(Mismatch::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn what_comes_as_expected_is_no_mismatch() {
    assert_eq!(mismatches(&good()).await, Vec::<String>::new());
    let spec = Spec::parse("x.md", &good()).unwrap();
    assert_eq!((spec.title(), spec.prose()), ("A part", "Comes."));
    assert_eq!(spec.run().await.rewrite(&spec), good());
}

#[tokio::test(start_paused = true)]
async fn what_comes_otherwise_is_shown_with_its_line_and_written_in_its_place() {
    let bad = good()
        .replace("{\"a\":{\"id\":1}}", "{\"a\":{\"id\":2}}")
        .replace("20 ms", "21 ms")
        .replace("?k=1\n  trace", "\n  trace");
    let shown = mismatches(&bad).await;
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown[0].starts_with("line 28: `## Reply`"), "{}", shown[0]);
    assert!(shown[0].contains("- {\"a\":{\"id\":2}}\n+ {\"a\":{\"id\":1}}\n"), "{}", shown[0]);
    assert!(shown[1].contains("- 21 ms\n+ 20 ms"), "{}", shown[1]);
    let spec = Spec::parse("x.md", &bad).unwrap();
    assert_eq!(spec.run().await.rewrite(&spec), good());
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_reply_gets_one() {
    let from = good().find("## Reply").unwrap();
    let bare = good()[..from].trim_end().to_string() + "\n";
    assert_eq!(mismatches(&bare).await.len(), 1);
    let spec = Spec::parse("x.md", &bare).unwrap();
    let written = spec.run().await.rewrite(&spec);
    assert!(good().starts_with(&written), "{written}");
    assert_eq!(mismatches(&written).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn faults_of_a_config_are_expected_or_a_mismatch() {
    let broken = good().replace("url:", "ulr:");
    let shown = mismatches(&broken).await.join("\n");
    assert!(
        shown.contains("+ error: unknown key `ulr`") && shown.contains("config.yaml:2:11"),
        "{shown}"
    );
    let spec = Spec::parse("x.md", &broken).unwrap();
    assert_eq!(spec.run().await.rewrite(&spec), broken);

    let to = broken.find("## Sources").unwrap();
    let about_faults = format!("{}## Faults\n{TICKS}text\n{TICKS}\n", &broken[..to]);
    let spec = Spec::parse("x.md", &about_faults).unwrap();
    let written = spec.run().await.rewrite(&spec);
    assert!(written.contains("error: unknown key `ulr`"), "{written}");
    assert_eq!(mismatches(&written).await, Vec::<String>::new());
    let repaired = written.replace("ulr: http", "url: http");
    assert_eq!(mismatches(&repaired).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_the_config_has_not_is_told() {
    let shown = mismatches(&good().replace("\nshop:\n", "\nship:\n")).await.join("\n");
    assert!(shown.contains("`## Sources` names `ship`"), "{shown}");
}

#[test]
fn what_is_no_spec_says_where() {
    let check = |text: String, line: usize, message: &str| {
        let bad = Spec::parse("x.md", &text).expect_err(message);
        assert!(bad.line == line && bad.message.contains(message), "{bad}");
    };
    check("".into(), 1, "no title");
    check("# A\n".into(), 1, "no paragraph");
    check("# A\n\nb\n".into(), 1, "no `## Config`");
    check("# A\n\nb\n\n## Config\n".into(), 5, "no fenced block");
    check(format!("# A\n\nb\n\n## Config\n{TICKS}\n"), 6, "without its end");
    check(format!("# A\n\nb\n{TICKS}\n{TICKS}\n"), 4, "before the first section");
    check(
        format!("# A\n\nb\n\n## Config\n{TICKS}\n{TICKS}\n{TICKS}\n{TICKS}\n"),
        8,
        "second fenced block",
    );
    check(format!("# A\n\nb\n\n## Config\n{TICKS}\n{TICKS}\n"), 1, "neither");
    check(good().replace("## Took", "## Tock"), 36, "unknown section `Tock`");
    check(good().replace("## Took", "## Reply"), 36, "second `## Reply`");
    check(good().replace("## Took", "## Config"), 36, "second `## Config`");
    check(good().replace("## Took", "## Took with headers: a"), 36, "no headers");
    check(good().replace("GET /x\n```", "GET\n```"), 25, "expected a method");
    check(good().replace("GET /x\n```", "GET /x\nno\n```"), 26, "expected a header");
    check(good().replace("## Request", "## Took"), 23, "before the first");
    check(good().replace("latency: 20ms", "latency: 20"), 17, "x.md:18:");
}
