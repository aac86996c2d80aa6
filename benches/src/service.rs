//! What a service is told, what it is asked, and what it counts; the plain services and those for HTTP/2 and TLS agree on it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Asks for the counts instead of a part; is not counted.
pub const COUNTS_PATH: &str = "/-/counts";
/// Connections that the kernel holds until they are accepted: a thousand requests with twelve calls begin within a second.
pub const BACKLOG: i32 = 4096;

/// How to serve.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Settings {
    /// The port of the first service.
    pub first_port: u16,
    /// How many services.
    pub count: u16,
    /// From the request's last byte to the answer's first.
    pub delay_us: u64,
    /// The size of each answer's body.
    pub body_bytes: usize,
    /// How they speak; all but `Http1` is `services_tls`.
    pub wire: Wire,
}

/// How services speak.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Wire {
    /// HTTP/1.1 in the clear.
    Http1,
    /// HTTP/2 in the clear.
    Http2,
    /// HTTP/1.1 over TLS.
    Http1Tls,
    /// HTTP/2 over TLS.
    Http2Tls,
}

/// What they were asked so far.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Counts {
    /// Requests that were answered with a part.
    pub requests: u64,
    /// Requests that were not `GET /name/id`, and were answered with 404.
    pub odd: u64,
    /// Connections accepted.
    pub connections: u64,
    /// How late the answers began that were due since the last look, in µs: half of them, and 99 of 100.
    pub late_p50_us: u32,
    pub late_p99_us: u32,
}

/// The path of `GET /name/id`, without its first slash.
pub fn path_of(head: &[u8]) -> Option<&[u8]> {
    let target = head.strip_prefix(b"GET /")?;
    let path = &target[..memchr::memchr(b' ', target)?];
    let slash = memchr::memchr(b'/', path)?;
    let id = &path[slash + 1..];
    let is_part = slash > 0 && id.len() == 6 && id.iter().all(u8::is_ascii_digit) && path.len() <= 24;
    (is_part || path == &COUNTS_PATH.as_bytes()[1..]).then_some(path)
}

/// Asks the services on this port and the following for their counts.
pub fn counts(first_port: u16) -> Result<Counts, String> {
    let asked = || -> io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", first_port))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(socket, "GET {COUNTS_PATH} HTTP/1.1\r\nhost: services\r\n\r\n")?;
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        // The services keep the connection; the answer ends with its object.
        while !answer.ends_with(b"}") {
            match socket.read(&mut piece)? {
                0 => break,
                count => answer.extend_from_slice(&piece[..count]),
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = asked().map_err(|error| format!("the services do not say their counts: {error}"))?;
    let json = answer.split("\r\n\r\n").nth(1).unwrap_or("");
    serde_json::from_str(json).map_err(|error| format!("the counts of the services are not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_part_has_a_path() {
        assert_eq!(path_of(b"GET /cart/100007 HTTP/1.1\r\nhost: x"), Some(&b"cart/100007"[..]));
        for odd in [
            "POST /cart/100007 HTTP/1.1",
            "GET /cart/7 HTTP/1.1",
            "GET /cart HTTP/1.1",
            "GET //100007 HTTP/1.1",
            "GET /cart/1000x7 ",
        ] {
            assert_eq!(path_of(odd.as_bytes()), None, "{odd}");
        }
    }
}
