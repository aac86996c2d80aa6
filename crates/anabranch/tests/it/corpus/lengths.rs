//! How long the body is: lengths, transfer codings, and what says both.

use anabranch::Kind::{Protocol, TooLarge, Truncated};

use super::{Case, case};

/// An answer with these lines alone, and these bytes behind its head.
fn with(lines: &[u8], body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n", lines, b"\r\n\r\n", body].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let refused = |name, lines: &[u8]| case(name, with(lines, b"hello")).closes().refused(Protocol);
    let refused_chunks = |name, lines: &[u8]| case(name, with(lines, b"5\r\nhello\r\n0\r\n\r\n")).closes().refused(Protocol);
    let chunks = |name, lines: &[u8]| case(name, with(lines, b"5\r\nhello\r\n0\r\n\r\n")).gives(200, "hello");
    vec![
        // One length
        case("a length of 0", with(b"content-length: 0", b"")).gives(200, ""),
        case("a length in capitals", with(b"CONTENT-LENGTH: 5", b"hello")).gives(200, "hello"),
        case("a length with zeros before it", with(b"content-length: 005", b"hello")).gives(200, "hello"),
        case(
            "a length with many zeros before it",
            with(b"content-length: 0000000000000000000000000000000000005", b"hello"),
        )
        .gives(200, "hello"),
        case("a length in blanks", with(b"content-length: \t 5 \t ", b"hello")).gives(200, "hello"),
        case("a length longer than what comes", with(b"content-length: 6", b"hello"))
            .closes()
            .refused(Truncated),
        case("a length longer than what has come", with(b"content-length: 6", b"hello")).waits(),
        case("a length shorter than what comes", with(b"content-length: 4", b"hello")).gives_once(200, "hell"),
        case("a length above the cap", with(b"content-length: 99999999999", b"hello")).refused(TooLarge),
        case("a length of a byte above the cap", with(b"content-length: 8388609", b"hello")).refused(TooLarge),
        case(
            "a length of all that 64 bits hold but two",
            with(b"content-length: 18446744073709551613", b"hello"),
        )
        .refused(TooLarge),
        case("a length above 64 bits", with(b"content-length: 18446744073709551616", b"hello")).refused(Protocol),
        case(
            "a length far above 64 bits",
            with(b"content-length: 99999999999999999999999999999999", b"hello"),
        )
        .refused(Protocol),
        refused("an empty length", b"content-length:"),
        refused("a length with plus", b"content-length: +5"),
        refused("a length with minus", b"content-length: -5"),
        refused("a length of minus zero", b"content-length: -0"),
        refused("a length with a fraction", b"content-length: 5.0"),
        refused("a length with an exponent", b"content-length: 5e0"),
        refused("a length in hexadecimal", b"content-length: 0x5"),
        refused("a length with a blank", b"content-length: 5 5"),
        refused("a length with an underscore", b"content-length: 1_0"),
        refused("a length in quotes", b"content-length: \"5\""),
        refused("a length with a parameter", b"content-length: 5;x=1"),
        refused("a length in other digits", b"content-length: \xef\xbc\x95"),
        refused("a length with high bytes", b"content-length: 5\xa0"),
        refused("a length with NUL", b"content-length: 5\0"),
        refused("a blank before the colon of a length", b"content-length : 5"),
        case("a length by another name", with(b"content_length: 3", b"hello"))
            .closes()
            .gives_once(200, "hello"),
        // Two lengths
        refused("two lengths", b"content-length: 5\r\ncontent-length: 6"),
        refused("two lengths in other order", b"content-length: 6\r\ncontent-length: 5"),
        refused("a length twice", b"content-length: 5\r\nContent-Length: 5"),
        refused("a length and an empty one", b"content-length: 5\r\ncontent-length:"),
        refused("a list of two lengths", b"content-length: 5, 6"),
        refused("a length twice in a list", b"content-length: 5, 5"),
        refused("a length in a list with nothing", b"content-length: 5,"),
        case("two lengths to HEAD", with(b"content-length: 5\r\ncontent-length: 6", b""))
            .for_head()
            .refused(Protocol),
        // A transfer coding
        chunks("chunked", b"transfer-encoding: chunked"),
        chunks("chunked in capitals", b"TRANSFER-ENCODING: CHUNKED"),
        chunks("chunked in blanks", b"transfer-encoding: \t chunked \t "),
        refused_chunks("chunked behind a vertical tab", b"transfer-encoding: \x0bchunked"),
        refused_chunks("chunked behind a form feed", b"transfer-encoding: \x0cchunked"),
        refused_chunks("chunked with NUL", b"transfer-encoding: chunked\0"),
        refused_chunks("chunked with high bytes", b"transfer-encoding: chunked\xff"),
        refused_chunks("chunked by half a name", b"transfer-encoding: chunk"),
        refused_chunks("chunked by a longer name", b"transfer-encoding: xchunked"),
        refused_chunks("chunked in quotes", b"transfer-encoding: \"chunked\""),
        refused_chunks("chunked with a parameter", b"transfer-encoding: chunked;q=1"),
        refused_chunks("chunked with a comma", b"transfer-encoding: chunked,"),
        refused_chunks("chunked behind a comma", b"transfer-encoding: ,chunked"),
        refused_chunks("chunked twice in a list", b"transfer-encoding: chunked, chunked"),
        refused_chunks("chunked twice", b"transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        refused_chunks("chunked folded", b"transfer-encoding:\r\n chunked"),
        refused_chunks("chunked with a blank before the colon", b"transfer-encoding : chunked"),
        refused_chunks("gzip, chunked", b"transfer-encoding: gzip, chunked"),
        refused_chunks(
            "gzip and chunked in two lines",
            b"transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        ),
        refused_chunks("chunked, gzip", b"transfer-encoding: chunked, gzip"),
        refused_chunks("chunked, identity", b"transfer-encoding: chunked, identity"),
        refused_chunks("identity, chunked", b"transfer-encoding: identity, chunked"),
        refused("gzip alone", b"transfer-encoding: gzip"),
        refused("identity alone", b"transfer-encoding: identity"),
        refused("an empty transfer coding", b"transfer-encoding:"),
        refused("a transfer coding to HEAD", b"transfer-encoding: gzip").for_head(),
        case("chunked by another name", with(b"transfer_encoding: chunked", b"5\r\n"))
            .closes()
            .gives_once(200, "5\r\n"),
        // A length and a transfer coding
        refused_chunks("a length and chunked", b"content-length: 5\r\ntransfer-encoding: chunked"),
        refused_chunks("chunked and a length", b"transfer-encoding: chunked\r\ncontent-length: 5"),
        refused_chunks(
            "chunked and a length that fits",
            b"transfer-encoding: chunked\r\ncontent-length: 15",
        ),
        refused_chunks("chunked and a length of 0", b"transfer-encoding: chunked\r\ncontent-length: 0"),
        refused("a length and identity", b"content-length: 5\r\ntransfer-encoding: identity"),
        case(
            "a length and chunked to HEAD",
            with(b"content-length: 5\r\ntransfer-encoding: chunked", b""),
        )
        .for_head()
        .refused(Protocol),
    ]
}
