//! Exchanges as a web archive: WARC 1.1 (ISO 28500:2017), one `request` and one `response` record for each answer, and one `warcinfo`.
//!
//! Bodies are archived decoded, as the other sinks keep them. Headers that spoke of the coding are renamed to `X-Archive-Orig-...`, and
//! `Content-Length` is that of what stands there, so that a reader which follows the headers reads it right. A file whose name ends in
//! `.gz` has one gzip member for each record.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::record::{Archive, Finished};

/// Writes records.
#[derive(Debug)]
pub(in crate::store) struct Warc {
    is_gzip: bool,
}

impl Warc {
    pub(in crate::store) fn new(path: &Path) -> Warc {
        let is_gzip = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
        Warc { is_gzip }
    }

    /// The record that opens the file; `moment` as in RFC 3339.
    pub(in crate::store) fn header(&self, moment: &str) -> io::Result<Vec<u8>> {
        let block = concat!(
            "software: anabranch/",
            env!("CARGO_PKG_VERSION"),
            "\r\nformat: WARC File Format 1.1\r\nconformsTo: http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n"
        );
        let head = Head {
            kind: "warcinfo",
            content_type: "application/warc-fields",
            moment,
            more: String::new(),
        };
        let mut out = Vec::new();
        self.record(&mut out, &head, &mut block.as_bytes(), block.len() as u64)?;
        Ok(out)
    }

    /// The exchange of a job, where there was one. `body` is the file of the body, where it went to one.
    pub(in crate::store) fn write(&self, finished: &Finished, body: Option<&Path>, out: &mut impl Write) -> io::Result<()> {
        let Some(archive) = &finished.archive else {
            return Ok(());
        };
        let record = &finished.record;
        let url = one_line(record.final_url.as_deref().unwrap_or(&record.url));
        let response_id = new_id();
        let mut head = Head {
            kind: "response",
            content_type: "application/http;msgtype=response",
            moment: &record.ts,
            more: format!("WARC-Record-ID: {response_id}\r\nWARC-Target-URI: {url}\r\n"),
        };
        if let Some(remote) = &record.remote {
            head.more.push_str(&format!("WARC-IP-Address: {}\r\n", address(remote)));
        }
        if let Some(sha256) = &record.sha256 {
            head.more.push_str(&format!("WARC-Payload-Digest: sha256:{sha256}\r\n"));
        }
        self.response(archive, body, &head, out)?;
        let head = Head {
            kind: "request",
            content_type: "application/http;msgtype=request",
            moment: &record.ts,
            more: format!(
                "WARC-Record-ID: {}\r\nWARC-Target-URI: {url}\r\nWARC-Concurrent-To: {response_id}\r\n",
                new_id()
            ),
        };
        self.record(out, &head, &mut &archive.request[..], archive.request.len() as u64)
    }

    fn response(&self, archive: &Archive, body: Option<&Path>, head: &Head<'_>, out: &mut impl Write) -> io::Result<()> {
        match body.filter(|_| archive.body.is_empty()) {
            Some(path) => {
                let file = File::open(path)?;
                let length = file.metadata()?.len();
                let http = http_head(&archive.head, length);
                let mut block = http.as_slice().chain(file.take(length));
                self.record(out, head, &mut block, http.len() as u64 + length)
            }
            None => {
                let length = archive.body.len() as u64;
                let http = http_head(&archive.head, length);
                let mut block = http.as_slice().chain(&archive.body[..]);
                self.record(out, head, &mut block, http.len() as u64 + length)
            }
        }
    }

    fn record(&self, out: &mut impl Write, head: &Head<'_>, block: &mut impl Read, length: u64) -> io::Result<()> {
        if !self.is_gzip {
            return plain(out, head, block, length);
        }
        let mut member = GzEncoder::new(out, Compression::default());
        plain(&mut member, head, block, length)?;
        member.finish().map(|_| ())
    }
}

/// What stands above a block.
struct Head<'a> {
    kind: &'static str,
    content_type: &'static str,
    moment: &'a str,
    /// Further lines, each with its end.
    more: String,
}

fn plain(out: &mut impl Write, head: &Head<'_>, block: &mut impl Read, length: u64) -> io::Result<()> {
    let Head {
        kind,
        content_type,
        moment,
        more,
    } = head;
    let id = match more.contains("WARC-Record-ID:") {
        true => String::new(),
        false => format!("WARC-Record-ID: {}\r\n", new_id()),
    };
    write!(
        out,
        "WARC/1.1\r\nWARC-Type: {kind}\r\n{id}{more}WARC-Date: {moment}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    )?;
    let copied = io::copy(block, out)?;
    if copied != length {
        return Err(io::Error::other("the body changed while it was archived"));
    }
    out.write_all(b"\r\n\r\n")
}

/// The head of an answer whose body is `length` bytes, not coded in any way: as it was, where it says no more than that.
fn http_head(head: &[u8], length: u64) -> Vec<u8> {
    let lines = || {
        head.split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    };
    let is = |line: &[u8], name: &str| {
        let own = line.split(|&byte| byte == b':').next().unwrap_or_default();
        own.eq_ignore_ascii_case(name.as_bytes())
    };
    let is_coded = lines().any(|line| is(line, "content-encoding") || is(line, "transfer-encoding"));
    let said = lines().find(|line| is(line, "content-length"));
    let is_right = !is_coded && said.is_some_and(|line| line.ends_with(format!(" {length}").as_bytes()));
    let mut out = Vec::with_capacity(head.len() + 64);
    for line in lines().filter(|line| !line.is_empty()) {
        let is_wrong = ["content-encoding", "transfer-encoding", "content-length"]
            .iter()
            .any(|name| is(line, name));
        if is_wrong && !is_right {
            out.extend_from_slice(b"X-Archive-Orig-");
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    if !is_right {
        out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// A random UUID (RFC 9562, version 4) as a URI.
fn new_id() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "<urn:uuid:{}-{}-{}-{}-{}>",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// The address without its port.
fn address(remote: &str) -> &str {
    let host = remote.rsplit_once(':').map_or(remote, |(host, _port)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n', ' '], "")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::super::tests::record;
    use super::*;

    fn finished() -> Finished {
        let mut finished = Finished::new(record("http://h/a"));
        finished.record.remote = Some("[::1]:8080".to_owned());
        finished.archive = Some(Box::new(Archive {
            request: Bytes::from_static(b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n"),
            head: Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\ncontent-length: 3\r\nx: y"),
            body: Bytes::from_static(b"hello, world"),
        }));
        finished
    }

    /// Reads records as the standard says: head lines, an empty line, as many bytes as said, two line ends.
    fn read(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            assert!(head.starts_with("WARC/1.1\r\n"), "{head}");
            let length = head.split("\r\nContent-Length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            let block = bytes[end + 4..end + 4 + length].to_vec();
            bytes = bytes[end + 4 + length..].strip_prefix(b"\r\n\r\n").unwrap();
            records.push((head, block));
        }
        records
    }

    #[test]
    fn an_exchange_is_two_records_whose_lengths_are_right() {
        let warc = Warc::new(Path::new("x.warc"));
        let mut out = warc.header("2026-01-02T03:04:05Z").unwrap();
        warc.write(&finished(), None, &mut out).unwrap();
        let records = read(&out);
        let kinds: Vec<_> = records.iter().map(|(head, _)| head.split("\r\n").nth(1).unwrap()).collect();
        assert_eq!(kinds, ["WARC-Type: warcinfo", "WARC-Type: response", "WARC-Type: request"]);
        let block = String::from_utf8(records[1].1.clone()).unwrap();
        let expected = "HTTP/1.1 200 OK\r\nX-Archive-Orig-Content-Encoding: gzip\r\nX-Archive-Orig-content-length: 3\r\nx: y\r\n\
            Content-Length: 12\r\n\r\nhello, world";
        assert_eq!(block, expected);
        assert!(records[1].0.contains("WARC-IP-Address: ::1\r\n"));
        assert!(
            records
                .iter()
                .all(|(head, _)| head.matches("WARC-Record-ID: <urn:uuid:").count() == 1)
        );
    }

    #[test]
    fn a_head_that_says_how_long_its_body_is_stays_as_it_was() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y\r\n";
        assert_eq!(http_head(head.as_bytes(), 12), format!("{head}\r\n").into_bytes());
        let wrong = String::from_utf8(http_head(head.as_bytes(), 2)).unwrap();
        assert!(wrong.contains("X-Archive-Orig-Content-Length: 12\r\n") && wrong.ends_with("Content-Length: 2\r\n\r\n"));
    }

    #[test]
    fn a_body_in_a_file_is_read_from_there_and_gzip_has_a_member_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body");
        std::fs::write(&path, b"from the file").unwrap();
        let mut finished = finished();
        finished.archive.as_mut().unwrap().body = Bytes::new();
        let warc = Warc::new(Path::new("x.warc.GZ"));
        let mut out = Vec::new();
        warc.write(&finished, Some(&path), &mut out).unwrap();
        let mut one = flate2::bufread::GzDecoder::new(&out[..]);
        let mut first = Vec::new();
        one.read_to_end(&mut first).unwrap();
        assert!(first.ends_with(b"Content-Length: 13\r\n\r\nfrom the file\r\n\r\n"));
        assert_eq!(read(&first).len(), 1);
        let mut all = Vec::new();
        flate2::bufread::MultiGzDecoder::new(&out[..]).read_to_end(&mut all).unwrap();
        assert_eq!(read(&all).len(), 2);
    }
}
