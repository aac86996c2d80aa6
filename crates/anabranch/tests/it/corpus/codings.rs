//! Content codings: undone, one layer of them, or refused.

use anabranch::Kind::{Decode, TooLarge};

use super::{Case, case};

const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xcbH\xcd\xc9\xc9\x07\x00\x86\xa6\x106\x05\x00\x00\x00";
const ZLIB: &[u8] = b"x\x9c\xcbH\xcd\xc9\xc9\x07\x00\x06,\x02\x15";
const DEFLATE: &[u8] = b"\xcbH\xcd\xc9\xc9\x07\x00";
const BROTLI: &[u8] = b"\x0b\x02\x80hello\x03";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello";

/// An answer with this coding and the length of its body.
fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer with these lines and what stands behind its head.
fn with(lines: &str, body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n", lines.as_bytes(), b"\r\n\r\n", body].concat()
}

/// A megabyte of zeros, about 1 KiB of gzip.
fn bomb() -> Vec<u8> {
    use async_compression::tokio::bufread::GzipEncoder;
    use tokio::io::AsyncReadExt;
    let zeros = vec![0; 1 << 20];
    let mut coded = Vec::new();
    crate::gather::paused(async { GzipEncoder::new(&zeros[..]).read_to_end(&mut coded).await.unwrap() });
    coded
}

pub(super) fn cases() -> Vec<Case> {
    let hello = |name, coding, body| case(name, coded(coding, body)).gives(200, "hello");
    let broken = |name, coding, body| case(name, coded(coding, body)).refused(Decode);
    let in_chunks = [b"d\r\n", &GZIP[..13], b"\r\nc\r\n", &GZIP[13..], b"\r\n0\r\n\r\n"].concat();
    vec![
        hello("gzip", "gzip", GZIP),
        hello("GZIP", "GZIP", GZIP),
        hello("x-gzip", "x-gzip", GZIP),
        hello("gzip in blanks", " \t gzip  ", GZIP),
        hello("deflate", "deflate", ZLIB),
        hello("deflate without zlib", "deflate", DEFLATE),
        hello("brotli", "br", BROTLI),
        hello("zstd", "zstd", ZSTD),
        hello("identity", "identity", b"hello"),
        hello("an empty coding", "", b"hello"),
        case("two members of gzip", coded("gzip", &GZIP.repeat(2))).gives(200, "hellohello"),
        case("an empty body of gzip", coded("gzip", b"")).gives(200, ""),
        case(
            "gzip in chunks",
            with("content-encoding: gzip\r\ntransfer-encoding: chunked", &in_chunks),
        )
        .gives(200, "hello"),
        case("gzip until the end", with("content-encoding: gzip", GZIP))
            .closes()
            .gives_once(200, "hello"),
        case(
            "gzip in the way of identity",
            with("content-encoding: gzip\r\ncontent-encoding: identity\r\ncontent-length: 25", GZIP),
        )
        .gives(200, "hello"),
        case("a gzip body that nobody called so", with("content-length: 25", GZIP)).gives(200, GZIP),
        // More than one layer
        broken("gzip twice in a list", "gzip, gzip", GZIP),
        broken("gzip, br", "gzip, br", GZIP),
        broken("gzip, identity", "gzip, identity", GZIP),
        case(
            "gzip twice",
            with("content-encoding: gzip\r\ncontent-encoding: gzip\r\ncontent-length: 25", GZIP),
        )
        .refused(Decode),
        case(
            "gzip and br",
            with("content-encoding: gzip\r\ncontent-encoding: br\r\ncontent-length: 25", GZIP),
        )
        .refused(Decode),
        // None that was asked for
        broken("compress", "compress", b"hello"),
        broken("aws-chunked", "aws-chunked", b"hello"),
        broken("chunked as a content coding", "chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        broken("gzip with a parameter", "gzip;q=1", GZIP),
        broken("gzip in quotes", "\"gzip\"", GZIP),
        // Broken
        broken("gzip that is none", "gzip", b"hello"),
        broken("gzip cut off", "gzip", &GZIP[..20]),
        broken("gzip cut off in its head", "gzip", &GZIP[..4]),
        broken("gzip with text behind it", "gzip", &[GZIP, b"hello"].concat()),
        broken(
            "gzip with another sum",
            "gzip",
            &[&GZIP[..GZIP.len() - 8], &[0; 4], &GZIP[GZIP.len() - 4..]].concat(),
        ),
        broken("brotli that is none", "br", b"\xff\xff\xff\xff"),
        broken("brotli cut off", "br", &BROTLI[..5]),
        broken("zstd that is none", "zstd", b"hello"),
        broken("zstd cut off", "zstd", &ZSTD[..10]),
        broken("deflate that is none", "deflate", b"hello"),
        broken("br that is gzip", "br", GZIP),
        case("a bomb", coded("gzip", &bomb())).refused(TooLarge),
    ]
}
