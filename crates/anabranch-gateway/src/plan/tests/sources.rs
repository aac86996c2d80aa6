//! Sources, addresses, limits and warnings.

use super::*;

#[test]
fn a_written_limit_above_the_deadline_is_a_fault() {
    check_says(
        &with_call("{ get: shop /, timeout: 3s }"),
        "`3s`: `timeout` of 3s can never pass: the route ends after 2s",
    );
    check_says(&with_call("{ get: shop /, first_byte: 3s }"), "`first_byte` of 3s can never pass");
    assert_eq!(call("{ get: shop /, timeout: 2s }").timeout, Some(Duration::from_secs(2)));
    check_says(
        &format!("max_calls: 1\n{}", with_calls("      a: shop /a\n      b: shop /b\n")),
        "2 calls, and one request may start 1",
    );
}

#[test]
fn sources_are_reachable_in_principle() {
    let says = |source: &str, expected: &str| {
        check_says(
            &format!("sources:\n  shop: {{ {source} }}\nroutes:\n  GET /:\n    calls: {{ c: shop / }}\n"),
            expected,
        );
    };
    for url in ["ftp://shop", "shop:8000", "http://", "http://shop/?a=1"] {
        says(&format!("url: \"{url}\""), "cannot be an endpoint");
    }
    says("url: \"http://shop:99999\"", "the port of this endpoint is no port");
    says("url: \"http://user:pw@shop\"", "user or password");
    says("url: [\"http://a\", \"http://a\"]", "this endpoint stands here twice");
    says("url: http://shop, tls: { server_name: x }", "TLS settings");
    check_says(
        "sources:\n  a b: { url: http://a }\nroutes:\n  GET /:\n    calls: { c: a / }\n",
        "`a b` cannot be the name of a source",
    );
    let missing = faults("sources:\n  shop: { in_flight: 1 }\nroutes:\n  GET /:\n    calls: { c: shop / }\n");
    assert_eq!(missing.lines().count(), 1, "{missing}");
}

#[test]
fn addresses_are_host_and_port() {
    let text = routes("  GET /:\n    calls: { c: shop / }");
    for wrong in [
        "8080x",
        ":8080",
        "localhost",
        "host:99999",
        "::1:80",
        "http://x:80",
        "a b:80",
        "h:+80",
    ] {
        check_says(&format!("listen: \"{wrong}\"\n{text}"), "`listen` is no address to listen on");
    }
    for right in ["[::1]:8080", "localhost:0", "0.0.0.0:80"] {
        assert_eq!(plan(&format!("listen: \"{right}\"\n{text}")).listen, right);
    }
    check_says(
        &format!("health: 127.0.0.1:8080\n{text}"),
        "`health` and `listen` are the same address",
    );
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let text = routes("  GET /{id}:\n    query: { page: 1 }\n    calls: { c: shop /$id }");
    let warnings = plan(&text).warnings;
    assert_eq!(
        warnings,
        [
            "no call goes to the source `auth`",
            "`GET /{id}`: nothing names the parameter `page`"
        ]
    );
    let text = routes("  GET /:\n    headers: [Accept, X-A, Authorization]\n    calls: { c: shop /?a=$header.authorization, d: auth / }");
    let warnings = plan(&text.replace("shop /?a", "auth /?a").replace("d: auth", "d: shop")).warnings;
    assert_eq!(warnings, ["`GET /`: the header `accept` is let in, and no call is sent it"]);
}

#[test]
fn a_broken_call_makes_no_second_fault_elsewhere() {
    let broken = "      a: shop /a\n      b: { gett: shop /b?x=$a, timeout: 1s }\n";
    let text = graph("    reply: { value: { b: $b } }\n", broken);
    let faults = faults(&text);
    assert!(!faults.contains("nobody would see"), "{faults}");
}

#[cfg(not(any(feature = "postgres", feature = "redis")))]
#[test]
fn a_program_without_databases_says_so() {
    for (kind, url, call) in [
        ("postgres", "postgres://app:pw@h/d", "{ sql: x, select: select 1 }"),
        ("redis", "redis://h", "{ redis: x GET a }"),
    ] {
        check_fault(
            &format!("sources:\n  x: {{ {kind}: '{url}' }}\nroutes:\n  GET /:\n    calls:\n      c: {call}\n"),
            &format!(
                "`'{url}'`: this program was built without the feature `{kind}` (a program built with it: `cargo build --release --features {kind}`)"
            ),
        );
    }
}
