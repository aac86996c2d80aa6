//! Bodies in chunks: sizes, extensions, ends and trailers.

use anabranch::Kind::{Protocol, TooLarge, Truncated};

use super::{Case, case};

/// An answer with this for its chunks.
fn with(chunks: impl AsRef<[u8]>) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunks.as_ref()].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let hello = |name, chunks: &[u8]| case(name, with(chunks)).gives(200, "hello");
    let refused = |name, chunks: &[u8]| case(name, with(chunks)).closes().refused(Protocol);
    let cut = |name, chunks: &[u8]| case(name, with(chunks)).closes().refused(Truncated);
    let extension = |length: usize| with(format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(length)));
    let extensions = |count: usize| with(format!("{}0\r\n\r\n", format!("1;{}\r\nh\r\n", "x".repeat(1000)).repeat(count)));
    let trailers = |count: usize| with(format!("5\r\nhello\r\n0\r\n{}\r\n", "x: y\r\n".repeat(count)));
    let trailer = |length: usize| with(format!("5\r\nhello\r\n0\r\nx: {}\r\n\r\n", "y".repeat(length)));
    vec![
        // Sizes
        hello("one chunk", b"5\r\nhello\r\n0\r\n\r\n"),
        hello("some chunks", b"1\r\nh\r\n3\r\nell\r\n1\r\no\r\n0\r\n\r\n"),
        case("no chunk", with("0\r\n\r\n")).gives(200, ""),
        case("many chunks of one byte", with(format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(300)))).gives(200, "a".repeat(300)),
        case(
            "sizes in either case",
            with(format!("a\r\n{0}\r\nA\r\n{0}\r\n0\r\n\r\n", "0123456789")),
        )
        .gives(200, "01234567890123456789"),
        case("data that looks like chunks", with("a\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n")).gives(200, "0\r\n\r\n0\r\n\r\n"),
        hello("zeros before a size", b"0005\r\nhello\r\n0000\r\n\r\n"),
        case(
            "more zeros before a size than a number has",
            with(format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(20))),
        )
        .refused(Protocol)
        .ours_alone("a size has 16 digits, zeros among them"),
        refused("a size above 64 bits", b"10000000000000000\r\nhello\r\n0\r\n\r\n"),
        refused("a size that wraps to 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        case("a size of all that 64 bits hold", with("ffffffffffffffff\r\nhello\r\n0\r\n\r\n")).refused(TooLarge),
        case("a size above the cap", with("800001\r\nhello")).refused(TooLarge),
        refused("a size with plus", b"+5\r\nhello\r\n0\r\n\r\n"),
        refused("a size with minus", b"-5\r\nhello\r\n0\r\n\r\n"),
        refused("a size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        refused("a size with h", b"5h\r\nhello\r\n0\r\n\r\n"),
        refused("a size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
        refused("a size with a comma", b"5,5\r\nhello\r\n0\r\n\r\n"),
        refused("a size in quotes", b"\"5\"\r\nhello\r\n0\r\n\r\n"),
        refused("a size with NUL", b"5\0\r\nhello\r\n0\r\n\r\n"),
        refused("a size with high bytes", b"5\xa0\r\nhello\r\n0\r\n\r\n"),
        refused("no size", b"\r\nhello\r\n0\r\n\r\n"),
        refused("no chunks", b"hello"),
        refused("a blank before a size", b" 5\r\nhello\r\n0\r\n\r\n"),
        refused("a tab before a size", b"\t5\r\nhello\r\n0\r\n\r\n"),
        refused("an empty line before a size", b"\r\n5\r\nhello\r\n0\r\n\r\n"),
        hello("blanks behind a size", b"5 \t \r\nhello\r\n0 \r\n\r\n"),
        refused("a digit behind the blanks", b"5 0\r\nhello\r\n0\r\n\r\n"),
        refused("text behind the blanks", b"5 x\r\nhello\r\n0\r\n\r\n"),
        case(
            "blanks without end",
            with(format!("5{}\r\nhello\r\n0\r\n\r\n", " ".repeat(20 << 10))),
        )
        .refused(Protocol)
        .ours_alone("blanks count like an extension"),
        // Extensions
        hello("an extension", b"5;x=y\r\nhello\r\n0;z\r\n\r\n"),
        hello("an extension in blanks", b"5 ; x = y \r\nhello\r\n0\r\n\r\n"),
        hello("a quoted extension", b"5;x=\"a b; \\\"c\\\" 7\"\r\nhello\r\n0\r\n\r\n"),
        hello("an empty extension", b"5;\r\nhello\r\n0;\r\n\r\n"),
        hello("many extensions", b"5;a;b=c;d=\"e\";;;f\r\nhello\r\n0\r\n\r\n"),
        hello("an extension with high bytes and NUL", b"5;\xff\x00\x01\r\nhello\r\n0\r\n\r\n"),
        refused("a return alone in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
        refused("a line feed alone in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
        refused("a line feed in a quoted extension", b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
        refused("a line in a quoted extension", b"5;a=\"\r\n0\r\n\r\n\"\r\nhello\r\n0\r\n\r\n"),
        case("an extension of 10 KiB", extension(10 << 10)).gives(200, "hello"),
        case("an extension of a byte below 16 KiB", extension((16 << 10) - 1)).gives(200, "hello"),
        case("an extension of 16 KiB", extension(16 << 10)).refused(Protocol),
        case("an extension of 100 KiB", extension(100 << 10)).refused(Protocol),
        case("extensions of 16 KiB together", extensions(17)).refused(Protocol),
        case("extensions of 15 KiB together", extensions(15)).gives(200, "h".repeat(15)),
        // Ends of lines
        refused("a line feed alone behind a size", b"5\nhello\r\n0\r\n\r\n"),
        refused("a return alone behind a size", b"5\rhello\r\n0\r\n\r\n"),
        refused("two returns behind a size", b"5\r\r\nhello\r\n0\r\n\r\n"),
        refused("a line feed alone behind the data", b"5\r\nhello\n0\r\n\r\n"),
        refused("a return alone behind the data", b"5\r\nhello\r0\r\n\r\n"),
        refused("nothing behind the data", b"5\r\nhello0\r\n\r\n"),
        refused("data longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
        refused("data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
        refused("a line feed alone at the end", b"5\r\nhello\r\n0\r\n\n").closes(),
        refused("a line feed alone behind the last size", b"5\r\nhello\r\n0\n\r\n"),
        refused("a return and text at the end", b"5\r\nhello\r\n0\r\n\rx"),
        // The end
        cut("the end in a size", b"5"),
        cut("the end behind a size", b"5\r\n"),
        cut("the end in the data", b"5\r\nhel"),
        cut("the end behind the data", b"5\r\nhello"),
        cut("the end before the last chunk", b"5\r\nhello\r\n"),
        cut("the end in the last size", b"5\r\nhello\r\n0"),
        cut("the end behind the last size", b"5\r\nhello\r\n0\r\n"),
        cut("the end in the last line", b"5\r\nhello\r\n0\r\n\r"),
        cut("the end in a trailer", b"5\r\nhello\r\n0\r\nx: "),
        cut("the end behind a trailer", b"5\r\nhello\r\n0\r\nx: y\r\n"),
        cut("the end before any chunk", b""),
        case("no last chunk yet", with("5\r\nhello\r\n")).waits(),
        case("no last line yet", with("5\r\nhello\r\n0\r\n")).waits(),
        case("whole, and the end", with("5\r\nhello\r\n0\r\n\r\n"))
            .closes()
            .gives_once(200, "hello"),
        case(
            "whole, and close",
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .gives_once(200, "hello"),
        case("bytes behind the chunks", with("5\r\nhello\r\n0\r\n\r\nx")).gives_once(200, "hello"),
        case("an empty line behind the chunks", with("5\r\nhello\r\n0\r\n\r\n\r\n")).gives_once(200, "hello"),
        case("a chunk behind the chunks", with("5\r\nhello\r\n0\r\n\r\n5\r\nhello\r\n0\r\n\r\n")).gives_once(200, "hello"),
        // Trailers
        hello("a trailer", b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"),
        hello("trailers", b"5\r\nhello\r\n0\r\nX-Sum: \t1 \xff \r\ny:\r\n\r\n"),
        hello("a trailer that is a length", b"5\r\nhello\r\n0\r\ncontent-length: 3\r\n\r\n"),
        hello("a trailer that closes", b"5\r\nhello\r\n0\r\nconnection: close\r\n\r\n"),
        case("100 trailers", trailers(100)).gives(200, "hello"),
        case("101 trailers", trailers(101)).refused(Protocol),
        case("a trailer of 10 KiB", trailer(10 << 10)).gives(200, "hello"),
        case("a trailer of 20 KiB", trailer(20 << 10))
            .refused(Protocol)
            .ours_alone("trailers count like extensions, 16 KiB together"),
        case("a trailer of 70 KiB", trailer(70 << 10)).refused(Protocol),
        refused("a trailer without a colon", b"5\r\nhello\r\n0\r\nx\r\n\r\n"),
        refused("a trailer without a name", b"5\r\nhello\r\n0\r\n: y\r\n\r\n"),
        refused("a trailer with a blank before its colon", b"5\r\nhello\r\n0\r\nx : y\r\n\r\n"),
        refused("a trailer with a blank before its name", b"5\r\nhello\r\n0\r\n x: y\r\n\r\n"),
        refused("a trailer that is folded", b"5\r\nhello\r\n0\r\nx: y\r\n z\r\n\r\n"),
        refused("a trailer with NUL", b"5\r\nhello\r\n0\r\nx: \0\r\n\r\n"),
        refused("a trailer with high bytes in its name", b"5\r\nhello\r\n0\r\n\xc3\xa4: y\r\n\r\n"),
        refused("a trailer with a return alone", b"5\r\nhello\r\n0\r\nx: y\rz\r\n\r\n"),
        case(
            "a trailer that ends with a line feed alone",
            with("5\r\nhello\r\n0\r\nx: y\nz: a\r\n\r\n"),
        )
        .refused(Protocol),
        case("a line feed alone before the trailers", with("5\r\nhello\r\n0\r\n\nx: y\r\n\r\n"))
            .refused(Protocol)
            .ours_alone("readers differ on whether a line feed alone ends a line"),
        refused("an answer for a trailer", b"5\r\nhello\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ]
}
