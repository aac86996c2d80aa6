//! Where an answer ends: at the end of the connection, with its head, and before bytes that belong to nothing.

use anabranch::Kind::{Protocol, TooLarge, Truncated};

use super::{Case, case};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

fn head(status: &str, lines: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{lines}\r\n")
}

pub(super) fn cases() -> Vec<Case> {
    let behind = |bytes: &str| format!("{HELLO}{bytes}");
    let many_headers = |count: usize| head("200 OK", &"x: y\r\n".repeat(count));
    vec![
        // Until the end of the connection
        case("until the end", "HTTP/1.1 200 OK\r\n\r\nhello")
            .closes()
            .gives_once(200, "hello"),
        case("until an end that does not come", "HTTP/1.1 200 OK\r\n\r\nhello").waits(),
        case("nothing until the end", "HTTP/1.1 200 OK\r\n\r\n")
            .closes()
            .gives_once(200, ""),
        case("chunks that are not announced", head("200 OK", "") + CHUNKS)
            .closes()
            .gives_once(200, CHUNKS),
        case("100 KiB until the end", head("200 OK", "") + &"x".repeat(100 << 10))
            .closes()
            .gives_once(200, "x".repeat(100 << 10)),
        case("more than the cap until the end", head("200 OK", "") + &"x".repeat((8 << 20) + 1))
            .closes()
            .refused(TooLarge),
        case(
            "until the end with keep-alive",
            head("200 OK", "connection: keep-alive\r\n") + "hello",
        )
        .closes()
        .gives_once(200, "hello"),
        case("100 headers until the end", many_headers(100) + "hello")
            .closes()
            .gives_once(200, "hello"),
        case("an answer in an answer until the end", format!("HTTP/1.1 200 OK\r\n\r\n{HELLO}"))
            .closes()
            .gives_once(200, HELLO),
        case("a fault until the end", head("500 Oops", "") + "hello")
            .closes()
            .gives_once(500, "hello"),
        // With the end of the connection
        case("whole, and then the end", HELLO).closes().gives_once(200, "hello"),
        case(
            "100 KiB by its length",
            head("200 OK", "content-length: 102400\r\n") + &"x".repeat(100 << 10),
        )
        .gives(200, "x".repeat(100 << 10)),
        case(
            "100 KiB and a byte",
            head("200 OK", "content-length: 102400\r\n") + &"x".repeat((100 << 10) + 1),
        )
        .gives_once(200, "x".repeat(100 << 10)),
        case(
            "100 KiB less a byte",
            head("200 OK", "content-length: 102400\r\n") + &"x".repeat((100 << 10) - 1),
        )
        .closes()
        .refused(Truncated),
        case(
            "2 MiB by its length",
            head("200 OK", "content-length: 2097152\r\n") + &"x".repeat(2 << 20),
        )
        .gives(200, "x".repeat(2 << 20)),
        // No body whatever the head says
        case("HEAD with a length", head("200 OK", "content-length: 5\r\n"))
            .for_head()
            .gives(200, ""),
        case(
            "HEAD with a length above the cap",
            head("200 OK", "content-length: 99999999999\r\n"),
        )
        .for_head()
        .gives(200, ""),
        case("HEAD with a length that is none", head("200 OK", "content-length: x\r\n"))
            .for_head()
            .refused(Protocol),
        case("HEAD without a length", head("200 OK", "")).for_head().gives(200, ""),
        case("HEAD with chunks", head("200 OK", "transfer-encoding: chunked\r\n"))
            .for_head()
            .gives(200, ""),
        case("HEAD with a body", HELLO).for_head().gives_once(200, ""),
        case(
            "HEAD with a body in chunks",
            head("200 OK", "transfer-encoding: chunked\r\n") + CHUNKS,
        )
        .for_head()
        .gives_once(200, ""),
        case("HEAD and close", head("200 OK", "connection: close\r\ncontent-length: 5\r\n"))
            .for_head()
            .gives_once(200, ""),
        case("HEAD and the end", head("200 OK", "content-length: 5\r\n"))
            .for_head()
            .closes()
            .gives_once(200, ""),
        case(
            "HEAD with a coding",
            head("200 OK", "content-encoding: gzip\r\ncontent-length: 5\r\n"),
        )
        .for_head()
        .gives(200, ""),
        case("HEAD with 404", head("404 Not Found", "content-length: 5\r\n"))
            .for_head()
            .gives(404, ""),
        case("204", head("204 No Content", "")).gives(204, ""),
        case("204 with a length of 0", head("204 No Content", "content-length: 0\r\n")).gives(204, ""),
        case("204 with a length", head("204 No Content", "content-length: 5\r\n")).gives(204, ""),
        case("204 with a body", head("204 No Content", "content-length: 5\r\n") + "hello").gives_once(204, ""),
        case("204 with chunks", head("204 No Content", "transfer-encoding: chunked\r\n")).gives(204, ""),
        case(
            "204 with a body in chunks",
            head("204 No Content", "transfer-encoding: chunked\r\n") + CHUNKS,
        )
        .gives_once(204, ""),
        case(
            "204 with two lengths",
            head("204 No Content", "content-length: 5\r\ncontent-length: 6\r\n"),
        )
        .refused(Protocol),
        case("304", head("304 Not Modified", "etag: \"x\"\r\n")).gives(304, ""),
        case("304 with a length", head("304 Not Modified", "content-length: 5\r\n")).gives(304, ""),
        case("304 with a body", head("304 Not Modified", "content-length: 5\r\n") + "hello").gives_once(304, ""),
        case(
            "304 with an answer behind it",
            head("304 Not Modified", "content-length: 44\r\n") + HELLO,
        )
        .gives_once(304, ""),
        case(
            "304 with a body in chunks",
            head("304 Not Modified", "transfer-encoding: chunked\r\n") + CHUNKS,
        )
        .gives_once(304, ""),
        // Others have one
        case("205 with a length of 0", head("205 Reset Content", "content-length: 0\r\n")).gives(205, ""),
        case("205 with a body", head("205 Reset Content", "content-length: 5\r\n") + "hello").gives(205, "hello"),
        case("205 without a length", head("205 Reset Content", ""))
            .closes()
            .gives_once(205, ""),
        case("201 with a body", head("201 Created", "content-length: 5\r\n") + "hello").gives(201, "hello"),
        case(
            "302 with a body",
            head("302 Found", "location: /\r\ncontent-length: 5\r\n") + "hello",
        )
        .gives(302, "hello"),
        case(
            "206 with a range",
            head("206 Partial Content", "content-range: bytes 0-4/9\r\ncontent-length: 5\r\n") + "hello",
        )
        .gives(206, "hello"),
        // Behind the end
        case("a byte behind the end", behind("x")).gives_once(200, "hello"),
        case("a line behind the end", behind("\r\n")).gives_once(200, "hello"),
        case("NUL behind the end", behind("\0")).gives_once(200, "hello"),
        case("a second answer", behind(HELLO)).gives_once(200, "hello"),
        case("half a second answer", behind("HTTP/1.1 2")).gives_once(200, "hello"),
        case(
            "a second answer that differs",
            behind("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworse"),
        )
        .gives_once(200, "hello"),
        case(
            "a byte behind the end with keep-alive",
            head("200 OK", "connection: keep-alive\r\ncontent-length: 5\r\n") + "hellox",
        )
        .gives_once(200, "hello"),
        case(
            "a byte behind the end with close",
            head("200 OK", "connection: close\r\ncontent-length: 5\r\n") + "hellox",
        )
        .gives_once(200, "hello"),
        case("a byte behind the end, and the end", behind("x"))
            .closes()
            .gives_once(200, "hello"),
        case("a byte behind no body", head("200 OK", "content-length: 0\r\n") + "x").gives_once(200, ""),
        case("100 KiB behind the end", behind(&"x".repeat(100 << 10))).gives_once(200, "hello"),
    ]
}
