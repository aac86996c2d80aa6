//! Header lines: what a name and a value may have, how many and how large, and what they say about the connection.

use anabranch::Kind::Protocol;

use super::{Case, case};

/// An answer with these lines before its length, and the body `hello`.
fn with(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n", lines.as_ref(), b"\r\ncontent-length: 5\r\n\r\nhello"].concat()
}

/// An answer whose head has so many bytes.
fn of_size(size: usize) -> Vec<u8> {
    let value = size - with("x: ").len() + "hello".len();
    with(format!("x: {}", "y".repeat(value)))
}

const BARE_FEED: &str = "readers differ on whether a line feed alone ends a line";

pub(super) fn cases() -> Vec<Case> {
    let many = |count: usize| with("x: y\r\n".repeat(count - 1).trim_end());
    let alike = |name, lines: &[u8]| case(name, with(lines)).gives(200, "hello");
    let refused = |name, lines: &[u8]| case(name, with(lines)).refused(Protocol);
    let once = |name, lines: &[u8]| case(name, with(lines)).gives_once(200, "hello");
    let mut cases = vec![
        // Names
        alike("names in any case", b"X-UPPER: 1\r\nx-lower: 2\r\nX-mIxEd: 3"),
        alike("a name of all that a name may have", b"!#$%&'*+-.^_`|~09azAZ: x"),
        alike("a name of one byte", b"x: y"),
        alike("a name repeated", b"x: 1\r\ny: 2\r\nX: 3\r\ny: 4\r\nx: 5"),
        alike("a name that starts with a digit", b"0: y"),
        refused("an empty name", b": y"),
        refused("a blank before the colon", b"x : y"),
        refused("a tab before the colon", b"x\t: y"),
        refused("a blank in a name", b"x y: z"),
        refused("a parenthesis in a name", b"x(y): z"),
        refused("a quote in a name", b"x\"y\": z"),
        refused("a slash in a name", b"x/y: z"),
        refused("NUL in a name", b"x\0y: z"),
        refused("DEL in a name", b"x\x7fy: z"),
        refused("high bytes in a name", b"x\xc3\xa4: z"),
        refused("no colon", b"nothing to say"),
        refused("a line of blanks", b"   "),
        // Values
        alike("an empty value", b"x:"),
        alike("a value of blanks", b"x:  \t "),
        alike("blanks around a value", b"x: \t y z \t "),
        alike("no blank before a value", b"x:y"),
        alike("colons in a value", b"x: :a:b::"),
        alike("a tab in a value", b"x: a\tb"),
        alike("high bytes in a value", b"x: \xc3\xa4 \x80\xff\xa0"),
        alike("a header's line in a value", b"x: content-length: 7"),
        refused("NUL in a value", b"x: a\0b"),
        refused("NUL at the end of a value", b"x: a\0"),
        refused("SOH in a value", b"x: a\x01b"),
        refused("ESC in a value", b"x: a\x1b[0m"),
        refused("DEL in a value", b"x: a\x7fb"),
        refused("a vertical tab in a value", b"x: a\x0bb"),
        refused("a form feed before a value", b"x:\x0cy"),
        // Lines
        refused("a value folded by a blank", b"x: a\r\n b"),
        refused("a value folded by a tab", b"x: a\r\n\tb"),
        refused("a value folded into nothing", b"x: a\r\n "),
        refused("a value folded from nothing", b"x:\r\n a"),
        refused("a blank before the first name", b" x: a"),
        refused("a return alone in a value", b"x: a\rb"),
        refused("a return alone between lines", b"x: a\ry: b"),
        refused("a return alone behind a name", b"x\r: a"),
        refused("two returns at the end of a line", b"x: a\r"),
        refused("a line feed alone between lines", b"x: a\ny: b").ours_alone(BARE_FEED),
        refused("a line feed alone behind an empty value", b"x:\ny: b").ours_alone(BARE_FEED),
        refused("a line feed alone behind a value of blanks", b"x: \ny: b").ours_alone(BARE_FEED),
        case("an empty line before the length", with("x: y\r\n"))
            .closes()
            .gives_once(200, "content-length: 5\r\n\r\nhello"),
        case("no header at all", b"HTTP/1.1 200 OK\r\n\r\nhello")
            .closes()
            .gives_once(200, "hello"),
        // The connection
        once("connection close", b"connection: close"),
        once("connection close in capitals", b"Connection: CLOSE"),
        once("connection close in a list", b"connection: keep-alive, Close"),
        once("connection close in a second line", b"connection: keep-alive\r\nconnection: close"),
        once("connection close before keep-alive", b"connection: close\r\nconnection: keep-alive"),
        alike("connection keep-alive", b"connection: keep-alive"),
        alike("connection upgrade", b"connection: upgrade\r\nupgrade: h2c"),
        alike("connection of something close", b"connection: closed"),
        alike("connection of a quoted close", b"connection: \"close\""),
        alike("an empty connection", b"connection:"),
        alike("a proxy's connection", b"proxy-connection: close"),
        once("connection close in no text", b"connection: close, \xff").ours_alone("hyper does not look into a value that is no text"),
        alike("keep-alive with a timeout", b"keep-alive: timeout=60, max=3"),
        alike("keep-alive that is no timeout", b"keep-alive: yes"),
        alike("keep-alive with a negative timeout", b"keep-alive: timeout=-5"),
        alike(
            "keep-alive for longer than there is time",
            b"keep-alive: timeout=18446744073709551615",
        ),
        alike(
            "keep-alive for longer than a number holds",
            b"keep-alive: timeout=99999999999999999999999",
        ),
        once("keep-alive for no time", b"keep-alive: timeout=0"),
        once("keep-alive for one second", b"keep-alive: timeout=1"),
        once(
            "keep-alive twice, none of them long",
            b"keep-alive: timeout=60\r\nkeep-alive: timeout=1",
        ),
        // Sizes
        case("100 headers", many(100)).gives(200, "hello"),
        case("101 headers", many(101)).refused(Protocol),
        case("1,000 headers", many(1000)).refused(Protocol),
        case("a head of 64 KiB", of_size(64 << 10)).gives(200, "hello"),
        case("a head of a byte more", of_size((64 << 10) + 1)).refused(Protocol),
        case("a head of 200 KiB", of_size(200 << 10)).refused(Protocol),
        case(
            "a head without end",
            [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 64 << 10]].concat(),
        )
        .refused(Protocol),
        case(
            "a name without end",
            [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'y'; 64 << 10]].concat(),
        )
        .refused(Protocol),
        case("empty lines without end", b"\r\n".repeat(32 << 10)).refused(Protocol),
    ];
    cases.push(case("a name of 60 KiB", with(format!("{}: x", "n".repeat(60 << 10)))).gives(200, "hello"));
    cases
}
