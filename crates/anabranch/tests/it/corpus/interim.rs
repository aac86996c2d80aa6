//! Interim answers (1xx): skipped, sixteen at most, and never a change of protocol.

use anabranch::Kind::{Protocol, Reset};

use super::{Case, case};

const FINAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn before_final(interim: &str) -> String {
    format!("{interim}{FINAL}")
}

pub(super) fn cases() -> Vec<Case> {
    let large = format!("HTTP/1.1 103 Early Hints\r\nx: {}\r\n\r\n", "y".repeat(60 << 10));
    let many_headers = |count| format!("HTTP/1.1 103 Early Hints\r\n{}\r\n", "x: y\r\n".repeat(count));
    vec![
        case("100", before_final("HTTP/1.1 100 Continue\r\n\r\n")).gives(200, "hello"),
        case("102", before_final("HTTP/1.1 102 Processing\r\n\r\n")).gives(200, "hello"),
        case(
            "103 with headers",
            before_final("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n"),
        )
        .gives(200, "hello"),
        case("199", before_final("HTTP/1.1 199 Odd\r\n\r\n")).gives(200, "hello"),
        case("100 without a reason", before_final("HTTP/1.1 100\r\n\r\n")).gives(200, "hello"),
        case("100 of HTTP/1.0", before_final("HTTP/1.0 100 Continue\r\n\r\n")).gives(200, "hello"),
        case("an empty line behind 100", before_final("HTTP/1.1 100 Continue\r\n\r\n\r\n")).gives(200, "hello"),
        case(
            "sixteen",
            before_final(&"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(16)),
        )
        .gives(200, "hello"),
        case(
            "seventeen",
            before_final(&"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(17)),
        )
        .refused(Protocol),
        case("a flood", "HTTP/1.1 100 Continue\r\n\r\n".repeat(2000)).refused(Protocol),
        case("a large one", before_final(&large)).gives(200, "hello"),
        case("three large ones", before_final(&large.repeat(3))).gives(200, "hello"),
        case(
            "one larger than a head may be",
            before_final(&format!("HTTP/1.1 103 Hints\r\nx: {}\r\n\r\n", "y".repeat(64 << 10))),
        )
        .refused(Protocol),
        case("100 headers in one", before_final(&many_headers(100))).gives(200, "hello"),
        case("101 headers in one", before_final(&many_headers(101))).refused(Protocol),
        case(
            "100 that says close",
            before_final("HTTP/1.1 100 Continue\r\nconnection: close\r\n\r\n"),
        )
        .gives(200, "hello"),
        case(
            "100 with a length of nothing",
            before_final("HTTP/1.1 100 Continue\r\ncontent-length: 0\r\n\r\n"),
        )
        .gives(200, "hello"),
        case(
            "100 with two lengths",
            before_final("HTTP/1.1 100 Continue\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
        )
        .gives(200, "hello"),
        case(
            "100 with a body",
            before_final("HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\nhello"),
        )
        .refused(Protocol),
        case(
            "100 with chunks",
            before_final("HTTP/1.1 100 Continue\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        )
        .refused(Protocol),
        case("100 with a broken header", before_final("HTTP/1.1 100 Continue\r\nx : y\r\n\r\n")).refused(Protocol),
        case(
            "100 with a folded header",
            before_final("HTTP/1.1 100 Continue\r\nx: y\r\n z\r\n\r\n"),
        )
        .refused(Protocol),
        case("100 with bare line feeds", before_final("HTTP/1.1 100 Continue\n\n"))
            .refused(Protocol)
            .ours_alone("readers differ on whether a line feed alone ends a line"),
        case(
            "100 before an answer without a body",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        )
        .gives(204, ""),
        case(
            "100 before an answer to HEAD",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        )
        .for_head()
        .gives(200, ""),
        case(
            "100 before a body until the end",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
        )
        .closes()
        .gives_once(200, "hello"),
        case("100 before garbage", "HTTP/1.1 100 Continue\r\n\r\ngarbage\r\n\r\n").refused(Protocol),
        case("100 and the end", "HTTP/1.1 100 Continue\r\n\r\n").closes().refused(Reset),
        case("100 and nothing more", "HTTP/1.1 100 Continue\r\n\r\n").waits(),
        case("100 behind the answer", format!("{FINAL}HTTP/1.1 100 Continue\r\n\r\n")).gives_once(200, "hello"),
        case(
            "101",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        )
        .refused(Protocol),
        case("101 without headers", "HTTP/1.1 101 Switching Protocols\r\n\r\n").refused(Protocol),
        case(
            "101 and an answer",
            before_final("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        )
        .refused(Protocol),
        case(
            "101 behind 100",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
        )
        .refused(Protocol),
        case("101 to HEAD", "HTTP/1.1 101 Switching Protocols\r\n\r\n")
            .for_head()
            .refused(Protocol),
    ]
}
