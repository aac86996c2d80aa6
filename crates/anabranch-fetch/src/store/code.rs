//! A job as bytes: how jobs stand in the journal and in the spill.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde_json::value::RawValue;
use url::Url;

use crate::{Job, JobId};

/// The first byte. Another one is a job of a later version, which this one cannot read.
const VERSION: u8 = 1;

/// Writes a job.
pub(super) fn encode(job: &Job) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + job.url.as_str().len() + job.body.as_ref().map_or(0, Bytes::len));
    out.push(VERSION);
    number(&mut out, job.seq.map_or(0, |seq| seq + 1));
    piece(&mut out, job.id.as_str().as_bytes());
    piece(&mut out, job.method.as_str().as_bytes());
    piece(&mut out, job.url.as_str().as_bytes());
    number(&mut out, job.headers.len() as u64);
    for (name, value) in &job.headers {
        piece(&mut out, name.as_str().as_bytes());
        piece(&mut out, value.as_bytes());
    }
    perhaps(&mut out, job.body.as_deref());
    perhaps(&mut out, job.meta.as_deref().map(|meta| meta.get().as_bytes()));
    number(&mut out, u64::from(job.depth));
    perhaps(&mut out, job.parent.as_ref().map(|parent| parent.as_str().as_bytes()));
    out
}

/// Reads what [`encode`] wrote; None if it is anything else.
pub(super) fn decode(bytes: &[u8]) -> Option<Job> {
    let mut rest = bytes;
    if take(&mut rest, 1)? != [VERSION] {
        return None;
    }
    let seq = read_number(&mut rest)?.checked_sub(1);
    let id = JobId::given(text(&mut rest)?);
    let method = Method::from_bytes(read_piece(&mut rest)?).ok()?;
    let url = Url::parse(text(&mut rest)?).ok()?;
    let count = read_number(&mut rest)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(read_piece(&mut rest)?).ok()?;
        headers.push((name, HeaderValue::from_bytes(read_piece(&mut rest)?).ok()?));
    }
    let body = read_perhaps(&mut rest)?.map(Bytes::copy_from_slice);
    let meta = match read_perhaps(&mut rest)? {
        Some(meta) => Some(RawValue::from_string(std::str::from_utf8(meta).ok()?.to_owned()).ok()?),
        None => None,
    };
    let depth = u32::try_from(read_number(&mut rest)?).ok()?;
    let parent = match read_perhaps(&mut rest)? {
        Some(parent) => Some(JobId::given(std::str::from_utf8(parent).ok()?)),
        None => None,
    };
    let job = Job {
        seq,
        id,
        method,
        url,
        headers,
        body,
        meta,
        depth,
        parent,
    };
    rest.is_empty().then_some(job)
}

/// Seven bits a byte, the low ones first.
fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn piece(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn perhaps(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        piece(out, bytes);
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn read_piece<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_number(rest)?;
    take(rest, usize::try_from(length).ok()?)
}

fn read_perhaps<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take(rest, 1)? {
        [0] => Some(None),
        [1] => read_piece(rest).map(Some),
        _ => None,
    }
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(read_piece(rest)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let mut job = Job::get(Url::parse("http://h.example/a?b#c").unwrap());
        job.seq = Some(u64::MAX - 1);
        job.method = Method::POST;
        job.headers = vec![(http::header::ACCEPT, HeaderValue::from_bytes(b"\xff").unwrap())];
        job.body = Some(Bytes::from_static(b""));
        job.meta = Some(RawValue::from_string("{\"a\":1}".to_owned()).unwrap());
        job.depth = 300;
        job.parent = Some(JobId::given("parent"));
        job
    }

    #[test]
    fn a_job_comes_back_as_it_was() {
        for job in [job(), Job::get(Url::parse("https://h/").unwrap())] {
            let back = decode(&encode(&job)).unwrap();
            assert_eq!(format!("{back:?}"), format!("{job:?}"));
        }
    }

    #[test]
    fn a_job_that_is_cut_anywhere_is_none() {
        let bytes = encode(&job());
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_none(), "{cut}");
        }
        assert!(decode(&[&bytes[..], b"x"].concat()).is_none());
    }
}
