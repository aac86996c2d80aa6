//! robots.txt (RFC 9309): what a host lets us fetch, and what is remembered of it. Who asks for the file and when is the run's business.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

/// How long an answer holds (RFC 9309, section 2.4).
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a host that gave no answer is left alone before its file is asked for again. The RFC names no time for this.
pub const UNREACHABLE_KEPT: Duration = Duration::from_secs(10 * 60);
/// What is read of a file (RFC 9309, section 2.5: at least 500 KiB). More than this need not be fetched.
pub const BYTES_MAX: usize = robotxt::BYTE_LIMIT;
/// Redirects to follow for the file (RFC 9309, section 2.3.1.2: at least five), across hosts, too.
pub const REDIRECTS_MAX: u32 = 5;

/// The rules of one host for us.
#[derive(Clone, Debug)]
pub struct Robots {
    rules: robotxt::Robots,
    holds: Duration,
    /// Bytes of the file.
    size: usize,
}

impl Robots {
    /// What an answer means, after redirects. `agent` is the product token, see [`product`].
    ///
    /// A file is read up to [`BYTES_MAX`]; 400 to 499 and a redirect that leads nowhere mean that all is allowed, all else that nothing is.
    /// 429 is read as "not now", as large crawlers do, and not as the RFC's "there is none".
    pub fn of_answer(status: u16, body: &[u8], agent: &str) -> Robots {
        match status {
            200..=299 => Robots {
                rules: robotxt::Robots::parse(body, robotxt::Agent::Exact(agent)),
                holds: KEPT,
                size: body.len().min(BYTES_MAX),
            },
            300..=428 | 430..=499 => Robots::all_allowed(),
            _ => Robots::unreachable(),
        }
    }

    /// There is no file: all is allowed.
    pub fn all_allowed() -> Robots {
        Robots {
            rules: robotxt::Robots::allow_all(),
            holds: KEPT,
            size: 0,
        }
    }

    /// There was no answer: nothing is allowed until the file is read again.
    pub fn unreachable() -> Robots {
        Robots {
            rules: robotxt::Robots::disallow_all(),
            holds: UNREACHABLE_KEPT,
            size: 0,
        }
    }

    /// Whether we may fetch a URL of this host.
    pub fn admits(&self, url: &Url) -> bool {
        // RFC 9309 compares reserved characters in one form (section 2.2.2), the parser in the two that they may have. Of the two answers
        // the stricter one holds.
        self.rules.is_url_allowed(url) && with_reserved(url).is_none_or(|path| self.rules.is_allowed(&path))
    }

    /// The pause that the host wants between two requests: `Crawl-delay`, at most a day.
    pub fn delay(&self) -> Option<Duration> {
        self.rules.crawl_delay().map(|delay| delay.min(KEPT))
    }

    /// The sitemaps that the file names, of whatever host.
    pub fn sitemaps(&self) -> &[Url] {
        self.rules.sitemaps()
    }
}

/// Path and query with the codes of reserved characters as the characters, if there are any.
fn with_reserved(url: &Url) -> Option<String> {
    const RESERVED: [(&str, char); 16] = [
        ("%3A", ':'),
        ("%2F", '/'),
        ("%3F", '?'),
        ("%5B", '['),
        ("%5D", ']'),
        ("%40", '@'),
        ("%21", '!'),
        ("%24", '$'),
        ("%26", '&'),
        ("%27", '\''),
        ("%28", '('),
        ("%29", ')'),
        ("%2B", '+'),
        ("%2C", ','),
        ("%3B", ';'),
        ("%3D", '='),
    ];
    let mut rest = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut out = String::new();
    while let Some(at) = rest.find('%') {
        let code = rest.get(at..at + 3).unwrap_or("%").to_ascii_uppercase();
        out.push_str(&rest[..at]);
        match RESERVED.iter().find(|(reserved, _)| *reserved == code) {
            Some((_, c)) => out.push(*c),
            None => out.push_str(&rest[at..at + code.len()]),
        }
        rest = &rest[at + code.len()..];
    }
    out.push_str(rest);
    (out != url[url::Position::BeforePath..url::Position::AfterQuery]).then_some(out)
}

/// The product token of a `User-Agent`, by which robots.txt names us: `anabranch` of `anabranch/1.0 (+https://...)`, and what stands
/// behind `compatible;` of one that begins like a browser's. Letters, `_` and `-` only (RFC 9309, section 2.2.1).
pub fn product(user_agent: &str) -> &str {
    let named = user_agent.split_once("compatible;").map_or(user_agent, |(_, named)| named);
    let named = named.trim_start();
    let end = named.find(|c: char| !(c.is_ascii_alphabetic() || matches!(c, '_' | '-')));
    &named[..end.unwrap_or(named.len())]
}

/// Where the file of a URL's host is. Each scheme and port has its own.
pub fn location(url: &Url) -> Option<Url> {
    robotxt::robots_url(url).ok()
}

/// What is known of hosts. Bounded: beyond [`RobotsCache::HOSTS_MAX`] hosts or [`RobotsCache::BYTES_MAX`] bytes of files, what was read
/// first is forgotten and asked for again when it is needed.
#[derive(Debug, Default)]
pub struct RobotsCache {
    hosts: HashMap<Url, Entry>,
    /// Those that are known, in the order in which they were read.
    order: VecDeque<Url>,
    bytes: usize,
}

#[derive(Debug)]
enum Entry {
    /// Somebody fetches it.
    Asked,
    Read {
        robots: Arc<Robots>,
        until: Instant,
    },
}

/// What is known of the host of a URL.
#[derive(Clone, Debug)]
pub enum Known {
    /// Nothing: the caller fetches this file, then calls [`RobotsCache::put`], or [`RobotsCache::forget`] if it cannot.
    Fetch(Url),
    /// Somebody else fetches it.
    Wait,
    /// Its rules.
    Rules(Arc<Robots>),
}

impl RobotsCache {
    /// Hosts that are remembered.
    pub const HOSTS_MAX: usize = 50_000;
    /// Bytes of their files.
    pub const BYTES_MAX: usize = 32 << 20;

    /// What is known of the host of `url`. For what has no robots.txt (no http, no host) all is allowed.
    pub fn ask(&mut self, url: &Url, now: Instant) -> Known {
        let Some(location) = location(url) else {
            return Known::Rules(Arc::new(Robots::all_allowed()));
        };
        match self.hosts.get(&location) {
            Some(Entry::Asked) => return Known::Wait,
            Some(Entry::Read { robots, until }) if *until > now => return Known::Rules(robots.clone()),
            Some(Entry::Read { .. }) => self.remove(&location),
            None => {}
        }
        self.hosts.insert(location.clone(), Entry::Asked);
        Known::Fetch(location)
    }

    /// Remembers the rules that are at `location`, for all who ask from now on.
    pub fn put(&mut self, location: &Url, robots: Robots, now: Instant) -> Arc<Robots> {
        self.remove(location);
        let robots = Arc::new(robots);
        self.bytes += robots.size;
        let until = now + robots.holds;
        self.order.push_back(location.clone());
        let entry = Entry::Read {
            robots: robots.clone(),
            until,
        };
        self.hosts.insert(location.clone(), entry);
        while self.order.len() > Self::HOSTS_MAX || (self.bytes > Self::BYTES_MAX && self.order.len() > 1) {
            let Some(oldest) = self.order.front().cloned() else { break };
            self.remove(&oldest);
        }
        robots
    }

    /// Lets the next one who asks fetch the file: the last one was cut off.
    pub fn forget(&mut self, location: &Url) {
        if matches!(self.hosts.get(location), Some(Entry::Asked)) {
            self.hosts.remove(location);
        }
    }

    fn remove(&mut self, location: &Url) {
        if let Some(Entry::Read { robots, .. }) = self.hosts.remove(location) {
            self.bytes -= robots.size;
            // Mostly the front; else one that ran out, of which there are few.
            if let Some(at) = self.order.iter().position(|other| other == location) {
                self.order.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
