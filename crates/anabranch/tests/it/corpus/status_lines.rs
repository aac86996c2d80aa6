//! Status lines, and what stands before them.

use anabranch::Kind::{Protocol, Reset};

use super::{Case, case};

const BARE_FEED: &str = "readers differ on whether a line feed alone ends a line";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("a usual answer", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").gives(200, "hello"),
        case(
            "a usual fault",
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\ndown",
        )
        .gives(503, "down"),
        // The reason
        case("an empty reason", b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n").gives(200, ""),
        case("no reason and no blank before it", b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n").gives(200, ""),
        case("a reason of blanks", b"HTTP/1.1 200     \r\ncontent-length: 0\r\n\r\n").gives(200, ""),
        case("an odd reason", b"HTTP/1.1 200 ~!@# 100 HTTP/1.1 :\r\ncontent-length: 0\r\n\r\n").gives(200, ""),
        case(
            "high bytes in the reason",
            b"HTTP/1.1 200 D\xe4cc\xf6rd \xff\r\ncontent-length: 0\r\n\r\n",
        )
        .gives(200, ""),
        case("a tab in the reason", b"HTTP/1.1 200 O\tK\r\ncontent-length: 0\r\n\r\n").gives(200, ""),
        case("NUL in the reason", b"HTTP/1.1 200 O\0K\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("DEL in the reason", b"HTTP/1.1 200 O\x7fK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("ESC in the reason", b"HTTP/1.1 200 \x1b[31m\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a return alone in the reason", b"HTTP/1.1 200 O\rK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case(
            "a reason of 20 KiB",
            [
                b"HTTP/1.1 200 ".to_vec(),
                vec![b'x'; 20 << 10],
                b"\r\ncontent-length: 0\r\n\r\n".to_vec(),
            ]
            .concat(),
        )
        .gives(200, ""),
        // The version
        case("HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello").gives_once(200, "hello"),
        case(
            "HTTP/1.0 that keeps alive",
            b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\ncontent-length: 5\r\n\r\nhello",
        )
        .gives(200, "hello"),
        case(
            "HTTP/1.0 that keeps alive by a list",
            b"HTTP/1.0 200 OK\r\nconnection: x, keep-alive\r\ncontent-length: 5\r\n\r\nhello",
        )
        .gives(200, "hello"),
        case(
            "HTTP/1.0 that keeps alive and closes",
            b"HTTP/1.0 200 OK\r\nconnection: keep-alive, close\r\ncontent-length: 5\r\n\r\nhello",
        )
        .gives_once(200, "hello"),
        case(
            "HTTP/1.0 that keeps alive in no text",
            b"HTTP/1.0 200 OK\r\nconnection: keep-alive, \xff\r\ncontent-length: 5\r\n\r\nhello",
        )
        .gives_once(200, "hello"),
        case(
            "HTTP/1.0 that keeps alive without a length",
            b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\nhello",
        )
        .closes()
        .gives(200, "hello")
        .gives_once(200, "hello"),
        case("HTTP/1.0 until the end", b"HTTP/1.0 200 OK\r\n\r\nhello")
            .closes()
            .gives_once(200, "hello"),
        case(
            "HTTP/1.0 with chunks",
            b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        )
        .closes()
        .refused(Protocol),
        case(
            "HTTP/1.0 with chunks, to HEAD",
            b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .for_head()
        .refused(Protocol)
        .ours_alone("a head with two meanings is refused whatever was asked"),
        case("HTTP/1.2", b"HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("HTTP/1.10", b"HTTP/1.10 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("HTTP/0.9", b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("HTTP/2.0", b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("HTTP/2", b"HTTP/2 200\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("HTTP/3", b"HTTP/3 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a version in lower case", b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a version of another protocol", b"ICY 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a body alone, as HTTP/0.9 has it", b"<html><body>hello</body></html>\r\n\r\n")
            .closes()
            .refused(Protocol),
        // The status
        case("two blanks before the status", b"HTTP/1.1  200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a tab before the status", b"HTTP/1.1\t200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("no blank behind the status", b"HTTP/1.1 200OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("no status", b"HTTP/1.1 \r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("no status and no blank", b"HTTP/1.1\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("status 000", b"HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("status 099", b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("status 99", b"HTTP/1.1 99 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("status 600", b"HTTP/1.1 600 Odd\r\ncontent-length: 2\r\n\r\nok").gives(600, "ok"),
        case("status 999", b"HTTP/1.1 999 Denied\r\ncontent-length: 2\r\n\r\nno").gives(999, "no"),
        case("status 1000", b"HTTP/1.1 1000 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a status with a sign", b"HTTP/1.1 +20 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a negative status", b"HTTP/1.1 -200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a status in hexadecimal", b"HTTP/1.1 2a0 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a status with a dot", b"HTTP/1.1 404.17 No\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        // Before the status line
        case("an empty line first", b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").gives(200, "hello"),
        case(
            "many empty lines first",
            [&b"\r\n".repeat(50)[..], b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"].concat(),
        )
        .gives(200, "hello"),
        case("a line feed alone first", b"\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            .refused(Protocol)
            .ours_alone(BARE_FEED),
        case("a return alone first", b"\rHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a blank first", b" HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("NUL first", b"\0HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case(
            "a byte order mark first",
            b"\xef\xbb\xbfHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        )
        .refused(Protocol),
        case(
            "garbage in the line before",
            b"garbage\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        )
        .refused(Protocol),
        case("the body of an answer before", b"helloHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        case("a greeting of SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n").refused(Protocol),
        case("a greeting of SMTP", b"220 mail.test ESMTP\r\n").closes().refused(Protocol),
        case("an alert of TLS", b"\x15\x03\x01\x00\x02\x02\x0a").closes().refused(Protocol),
        case("a frame of HTTP/2", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            .closes()
            .refused(Protocol),
        case("the request come back", b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").refused(Protocol),
        // Ends of lines
        case(
            "a line feed alone ends the status line",
            b"HTTP/1.1 200 OK\ncontent-length: 5\r\n\r\nhello",
        )
        .refused(Protocol)
        .ours_alone(BARE_FEED),
        case(
            "a line feed alone ends a line without reason",
            b"HTTP/1.1 200\ncontent-length: 5\r\n\r\nhello",
        )
        .refused(Protocol)
        .ours_alone(BARE_FEED),
        case("line feeds alone end all lines", b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello")
            .refused(Protocol)
            .ours_alone(BARE_FEED),
        case(
            "a line feed alone ends the head",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\nhello",
        )
        .refused(Protocol)
        .ours_alone(BARE_FEED),
        case("a return alone ends the status line", b"HTTP/1.1 200 OK\rcontent-length: 0\r\n\r\n").refused(Protocol),
        case("two returns end the status line", b"HTTP/1.1 200 OK\r\r\ncontent-length: 0\r\n\r\n").refused(Protocol),
        // Ends of the connection
        case("no byte at all", b"").closes().refused(Reset),
        case("empty lines only", b"\r\n\r\n\r\n").closes().refused(Reset),
        case("one byte", b"H").closes().refused(Reset),
        case("a status line only", b"HTTP/1.1 200 OK\r\n").closes().refused(Reset),
        case("half a head that could not become one", b"HTTP/1.1 200 OK\r\nx : y\r\n")
            .closes()
            .refused(Protocol),
        case("half a head and no end", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n").waits(),
    ]
}
