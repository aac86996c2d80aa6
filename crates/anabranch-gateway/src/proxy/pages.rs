//! Answers of proxies that are kept as their sources say (RFC 9111): stored while they are passed on, served with their age, renewed by
//! asking whether they still hold.

mod storing;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anabranch::Kind;
use anabranch::client::{Request, StreamedResponse};
use anabranch::policy::{Asked, Cache, CacheKey, Freshness, Held, Item, Keep, KeyParts, Lookup, Reader, Ticket, Vary, VaryIndex};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

pub(crate) use storing::Storing;

use super::answer;
use super::conditions::{CONDITIONS, Validators, Wanted, wanted};
use crate::gateway::Answer;
use crate::respond::Problem;
use crate::respond::cache_status::{self, CacheStatus, Came};

/// The largest body that is kept; larger ones are passed on only.
const PAGE_MAX: usize = 8 << 20;
/// Addresses of which it is remembered on what their answers depend.
const ADDRESSES: usize = 16_384;
/// Counters of writes; addresses that share one cost each other an answer that is not kept, if both are busy at that moment.
const WRITE_COUNTERS: usize = 1_024;

/// The answers that are kept, of all proxies.
pub(crate) struct Pages {
    cache: Cache<Arc<Page>>,
    varies: VaryIndex,
    /// Bytes of answers that are on their way and may be kept.
    filling: AtomicU64,
    /// How many these may be.
    filling_max: u64,
    /// How often addresses were written to, for answers that are on their way meanwhile: of their address nothing may be known yet.
    writes: Box<[AtomicU64]>,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Page {
    status: StatusCode,
    /// As the source sent them, names in lower case.
    lines: Vec<(Box<str>, Box<[u8]>)>,
    body: Bytes,
}

impl Pages {
    /// Keeps answers in this cache; those on their way into it take as many bytes again at the most.
    pub(crate) fn new(cache: Cache<Arc<Page>>) -> Pages {
        Pages {
            filling: AtomicU64::new(0),
            filling_max: cache.counts().bytes_max,
            cache,
            varies: VaryIndex::new(ADDRESSES),
            writes: (0..WRITE_COUNTERS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Drops what is labelled like this, and says how many; for people.
    pub(crate) fn purge_where(&self, is_chosen: impl Fn(&str) -> bool) -> usize {
        self.cache.purge_where(is_chosen)
    }

    /// Forgets what is kept of an address that was written to (RFC 9111 section 4.4).
    pub(crate) fn written(&self, source: &str, request: &Request) {
        let address = base(source, request.path_and_query());
        // Before the purge: what comes in between is removed by whoever puts it there.
        self.counter(&address).fetch_add(1, Ordering::SeqCst);
        if self.varies.knows(&address) {
            let label = label(source, request.path_and_query());
            self.cache.purge_where(|other| other == label);
        }
    }

    /// What counts the writes to an address.
    fn counter(&self, address: &KeyParts) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        address.key().hash(&mut hasher);
        &self.writes[(hasher.finish() % WRITE_COUNTERS as u64) as usize]
    }
}

fn base(source: &str, path_and_query: &str) -> KeyParts {
    CacheKey::of_source(source).method("GET").url(path_and_query)
}

fn label(source: &str, path_and_query: &str) -> String {
    format!("{source} {path_and_query}")
}

/// One request for something that may be kept.
pub(crate) struct Looking<'a> {
    pages: &'a Pages,
    /// What the client asks of the answer.
    headers: &'a HeaderMap,
    forward: &'a [HeaderName],
    /// How long an answer may stand in beyond its time.
    stale: Duration,
    /// Whether an `Authorization` of ours goes along.
    is_authorized: bool,
    /// What all that is kept of the address has in common.
    address: KeyParts,
    /// The same with the headers that the proxy sets: two proxies that set others ask for other answers.
    base: KeyParts,
    label: String,
    /// The headers that the answer may depend on.
    passed: Vec<(String, Vec<u8>)>,
    key: CacheKey,
    ticket: Ticket,
    writes: u64,
    began: Instant,
    found: Lookup<Arc<Page>>,
}

/// On whose behalf something is looked up.
pub(super) struct Wish<'a> {
    /// The headers that the source is sent.
    pub(super) passed: Vec<(String, Vec<u8>)>,
    /// Those among them that the proxy sets.
    pub(super) own: Vec<(String, Vec<u8>)>,
    /// What the client asks of the answer.
    pub(super) headers: &'a HeaderMap,
    pub(super) forward: &'a [HeaderName],
    pub(super) stale: Duration,
    /// Whether an `Authorization` of ours goes along.
    pub(super) is_authorized: bool,
}

impl<'a> Looking<'a> {
    /// Looks an address up.
    pub(super) fn up(pages: &'a Pages, source: &str, path_and_query: &str, wish: Wish<'a>) -> Looking<'a> {
        let address = base(source, path_and_query);
        let own = borrowed(&wish.own).into_iter();
        let base = own.fold(address.clone(), |parts, (name, value)| parts.header(name, Some(value)));
        let mut passed = wish.passed;
        passed.sort();
        let key = pages.varies.key(&base, &borrowed(&passed));
        Looking {
            ticket: pages.cache.ticket(),
            writes: pages.counter(&address).load(Ordering::SeqCst),
            found: pages.cache.get(&key),
            label: label(source, path_and_query),
            began: Instant::now(),
            pages,
            headers: wish.headers,
            forward: wish.forward,
            stale: wish.stale,
            is_authorized: wish.is_authorized,
            address,
            base,
            passed,
            key,
        }
    }

    /// Keeps an answer, unless its address was purged or written to since it was looked up.
    fn put(&self, key: CacheKey, item: Item<Arc<Page>>) -> Held<Arc<Page>> {
        let held = self.pages.cache.put(self.ticket, self.key, item.under(key));
        // After the insertion: a write that came before is seen here, one that comes later finds the answer and drops it.
        if self.pages.counter(&self.address).load(Ordering::SeqCst) != self.writes {
            self.pages.cache.remove(&key);
        }
        held
    }

    /// The answer, where it is there and fresh.
    pub(super) fn fresh(&self, method: &Method) -> Option<Answer> {
        match &self.found {
            Lookup::Fresh(held) => Some(self.answer(held, method, Came::Stored { is_stale: false })),
            _ => None,
        }
    }

    /// The headers by which the source can be asked whether what is there still holds.
    pub(super) fn conditions(&self) -> Vec<(HeaderName, HeaderValue)> {
        let Lookup::Stale(held) = &self.found else {
            return Vec::new();
        };
        let named = |line: &str, name: HeaderName| Some((name, HeaderValue::from_bytes(held.value().line(line)?).ok()?));
        let conditions = [
            named("etag", header::IF_NONE_MATCH),
            named("last-modified", header::IF_MODIFIED_SINCE),
        ];
        conditions.into_iter().flatten().collect()
    }

    /// The answer that stands in where the source failed, if one may.
    pub(crate) fn stands_in(&self, method: &Method, kind: Kind) -> Option<Answer> {
        match &self.found {
            Lookup::Stale(held) if held.may_stand_in() => Some(self.answer(held, method, Came::StoodIn(kind))),
            _ => None,
        }
    }

    /// What the head of the source's answer means for what is kept.
    pub(crate) fn heard(self, response: &StreamedResponse, method: &Method) -> Heard<'a> {
        let status = response.status();
        if status == 304
            && let Lookup::Stale(held) = &self.found
            && !self.conditions().is_empty()
        {
            // Compared weakly, as `If-None-Match` is: whoever compresses on the way out tags the whole answer weakly and its 304 strongly.
            let strong = |tag: &'_ [u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
            let (own, tag) = (held.value().line("etag").map(strong), response.header_bytes("etag").map(strong));
            if own.is_none() || tag.is_none() || own == tag {
                return Heard::Kept(Box::new(self.renewed(held, response, method)));
            }
            // It is about another answer than the one that was asked about: the next request asks anew.
            self.pages.cache.remove(&self.key);
            let problem = Problem::new(StatusCode::BAD_GATEWAY, "the source gave no answer that could be passed on");
            return Heard::Kept(Box::new(problem.into_answer()));
        }
        if matches!(status, 500 | 502 | 503 | 504)
            && let Some(answer) = self.stands_in(method, Kind::Status)
        {
            return Heard::Kept(Box::new(answer));
        }
        let sent: Vec<(&str, &[u8])> = response.headers().collect();
        let had_stale = matches!(self.found, Lookup::Stale(_));
        let said = cache_status::header(&CacheStatus {
            came: Came::Asked {
                had_stale,
                with_others: false,
                status: Some(status),
            },
            age: Duration::ZERO,
            left: Duration::ZERO,
        });
        let storing = self.storing(status, &sent, response.length(), method);
        Heard::Passed { said, storing }
    }

    fn storing(self, status: u16, sent: &[(&str, &[u8])], length: Option<u64>, method: &Method) -> Option<Box<Storing<'a>>> {
        let status_code = StatusCode::from_u16(status).ok()?;
        if *method != Method::GET || length.is_some_and(|length| length > PAGE_MAX as u64) {
            return None;
        }
        // What the client asked of the answer went along and is not in the key: a refused range says nothing about the whole.
        let went_along = self.conditions().is_empty() && CONDITIONS.iter().any(|name| self.headers.contains_key(name));
        if went_along && status != 200 {
            return None;
        }
        let keep = self.keep(status, sent)?;
        let key = self
            .pages
            .varies
            .learn(&self.base, &Vary::of(sent.iter().copied()), &borrowed(&self.passed))?;
        if self.base.key() != self.address.key() {
            // A write knows the address and not who asks for it.
            self.pages.varies.learn(&self.address, &Vary::of([].into_iter()), &[]);
        }
        let page = Page {
            status: status_code,
            lines: lines(sent),
            body: Bytes::new(),
        };
        Some(Box::new(Storing::new(self, page, keep, key)))
    }

    /// How long an answer may be kept; None where it may not.
    fn keep(&self, status: u16, sent: &[(&str, &[u8])]) -> Option<Keep> {
        let asked = Asked {
            method: &Method::GET,
            // What carries a credential of the client is not looked up at all.
            authorized: self.is_authorized,
            reader: Reader::Anyone,
            delay: self.began.elapsed(),
        };
        let said = Freshness::of(asked, status, sent.iter().copied(), SystemTime::now()).ok()?;
        Some(said.keep_to_compare(self.stale)).filter(|keep| !keep.is_nothing())
    }

    /// The answer after the source has said that it holds: with what the 304 says in place of what was said before (RFC 9111 section 4.3.4).
    fn renewed(&self, held: &Held<Arc<Page>>, response: &StreamedResponse, method: &Method) -> Answer {
        let page = held.value();
        // The tag of what is kept stays as strong as it was said to be with it.
        let has_tag = page.line("etag").is_some();
        let stays_out = |name: &str| answer::is_of_connection(name) || has_tag && name == "etag";
        let sent: Vec<(&str, &[u8])> = response.headers().filter(|(name, _)| !stays_out(name)).collect();
        let is_new = |name: &str| sent.iter().any(|(other, _)| *other == name);
        // Of what was said of its age nothing holds any more.
        let old = page
            .lines
            .iter()
            .filter(|(name, _)| !matches!(&**name, "age" | "date") && !is_new(name));
        let mut all: Vec<(&str, &[u8])> = sent.clone();
        all.extend(old.map(|(name, value)| (&**name, &**value)));
        let page = Arc::new(Page {
            status: page.status,
            lines: lines(&all),
            body: page.body.clone(),
        });
        let keep = self.keep(page.status.as_u16(), &all).unwrap_or_default();
        if keep.is_nothing() {
            self.pages.cache.remove(&self.key);
        }
        let item = Item::new(page.clone(), page.weight(), keep).labelled(self.label.clone());
        let held = self.put(self.key, item);
        let came = Came::Asked {
            had_stale: true,
            with_others: false,
            status: Some(304),
        };
        self.answer(&held, method, came)
    }

    /// The stored answer, as far as the client wants it.
    fn answer(&self, held: &Held<Arc<Page>>, method: &Method, came: Came) -> Answer {
        let page = held.value();
        let sent: Vec<(&str, &[u8])> = page.lines.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut headers = answer::passed(&sent, self.forward);
        // The server writes the time at which it answers; how old the answer is stands beside it.
        headers.remove(header::DATE);
        headers.append(header::VIA, super::VIA);
        headers.insert(header::AGE, HeaderValue::from(held.age().as_secs()));
        let status = CacheStatus {
            came,
            age: held.age(),
            left: held.fresh_for(),
        };
        headers.append(cache_status::HEADER, cache_status::header(&status));
        let validators = Validators {
            etag: page.line("etag"),
            last_modified: page.line("last-modified"),
        };
        let wanted = if page.status == StatusCode::OK {
            wanted(self.headers, validators, page.body.len())
        } else {
            Wanted::Whole
        };
        let length = page.body.len();
        let (status, body) = match wanted {
            Wanted::Part(range) if *method == Method::GET => {
                let content_range = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                headers.insert(header::CONTENT_RANGE, text(&content_range));
                (StatusCode::PARTIAL_CONTENT, page.body.slice(range))
            }
            Wanted::NoSuchPart if *method == Method::GET => {
                headers.insert(header::CONTENT_RANGE, text(&format!("bytes */{length}")));
                (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
            }
            Wanted::Unchanged => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                (StatusCode::NOT_MODIFIED, Bytes::new())
            }
            _ => (page.status, page.body.clone()),
        };
        Answer {
            status,
            headers,
            body,
            trace: None,
        }
    }
}

/// What the head of an answer means.
pub(crate) enum Heard<'a> {
    /// What is kept is answered.
    Kept(Box<Answer>),
    /// It goes on to the client, and is kept where there is something to keep it with.
    Passed {
        /// What `Cache-Status` says.
        said: HeaderValue,
        storing: Option<Box<Storing<'a>>>,
    },
}

impl Page {
    fn line(&self, name: &str) -> Option<&[u8]> {
        self.lines.iter().find(|(other, _)| &**other == name).map(|(_, value)| &**value)
    }

    fn weight(&self) -> u64 {
        let lines: usize = self.lines.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        (self.body.len() + lines) as u64
    }
}

fn lines(sent: &[(&str, &[u8])]) -> Vec<(Box<str>, Box<[u8]>)> {
    sent.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn borrowed(passed: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    passed.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
