//! How long an HTTP answer is fresh, by what the source says about it (RFC 9111 sections 3 and 4.2, RFC 5861).
//!
//! Nothing is guessed: without `max-age`, `s-maxage` or `Expires` an answer is never fresh (the heuristics of section 4.2.2 are
//! left out). It may still stand in when the source fails, if the call says `stale`.
//!
//! Ours rather than the crate http-cache-semantics: that one counts on the wall clock, which tests cannot hold still, keeps copies of
//! both header maps per entry, and does not know `stale-if-error`.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::Method;

use super::directives::{delta_seconds, Directives};
use super::{Jitter, Keep, Vary};

/// An answer that can be compared with what the source has now is kept this long for that.
const COMPARED_FOR: Duration = Duration::from_secs(86_400);

/// What matters of the call that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Whether it carried `Authorization`.
    pub authorized: bool,
    /// Who may be handed the answer.
    pub reader: Reader,
    /// The time from sending it to the head of the answer; counts as age, since nobody knows when in it the answer was made.
    pub delay: Duration,
}

/// Who may be handed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Whoever makes the same call: we are a shared cache.
    Anyone,
    /// Only who showed the same credential, because that is part of the key: we are a private cache for each.
    OneIdentity,
}

/// Why an answer must not be kept, whatever the call sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Only answers to `GET` are kept here (RFC 9111 section 3 allows that).
    Method,
    /// A part of an answer (206), a note that it has not changed (304), or not a final one.
    Status,
    /// `no-store`, or a `Cache-Control` so broken that it may have said so.
    NoStore,
    /// `private`, and we are a shared cache.
    Private,
    /// The call carried `Authorization`, and nothing says that others may see the answer (section 3.5).
    Authorized,
    /// The answer sets a cookie. That is somebody's; the standard allows keeping it, accidents advise against.
    SetsCookie,
    /// `Vary` names what no later call can be compared with.
    Varies,
}

/// What a source says about the freshness of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How old it was when it came (section 4.2.3).
    pub age: Duration,
    /// The age up to which it is fresh (section 4.2.1); zero where none is given.
    pub lifetime: Duration,
    /// How long after that it may be served while it is renewed (RFC 5861 section 3).
    pub while_revalidated: Duration,
    /// How long after that it may be served when the source fails (RFC 5861 section 4).
    pub if_error: Duration,
    /// Whether the source forbids serving it stale (section 4.2.4); both times above are zero then.
    pub never_stale: bool,
    /// Whether the source can be asked if it has changed: it has an `ETag` or a `Last-Modified`.
    pub has_validator: bool,
}

impl Freshness {
    /// Reads the headers of an answer, names in lower case; `received` is the wall clock when its head came.
    ///
    /// # Errors
    /// The answer must not be kept.
    pub fn of<'a>(
        asked: Asked<'_>,
        status: u16,
        headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
        received: SystemTime,
    ) -> Result<Freshness, NotStored> {
        let fields = Fields::read(headers.clone());
        refuse(asked, status, &fields, &Vary::of(headers))?;
        let said = &fields.directives;
        let shared = asked.reader == Reader::Anyone;
        let lifetime = fields.lifetime(shared, received);
        // Section 5.2.2.10: `s-maxage` implies `proxy-revalidate`. A source that writes `stale-while-revalidate` or
        // `stale-if-error` beside it has said in its own words what may be served stale, and is taken at those.
        let implied = said.s_maxage.is_some() && said.stale_while_revalidate.is_none() && said.stale_if_error.is_none();
        let never_stale = said.no_cache || said.must_revalidate || (shared && (said.proxy_revalidate || implied));
        let permitted = |stale: Option<Duration>| if never_stale { Duration::ZERO } else { stale.unwrap_or_default() };
        Ok(Freshness {
            age: fields.age(asked.delay, received),
            lifetime: if said.no_cache { Duration::ZERO } else { lifetime },
            while_revalidated: permitted(said.stale_while_revalidate),
            if_error: permitted(said.stale_if_error),
            never_stale,
            has_validator: fields.has_validator,
        })
    }

    /// How long to keep the answer. `stale` is what the call sets: it prolongs what the source permits when it fails, and gives way
    /// where the source forbids.
    pub fn keep(&self, stale: Duration) -> Keep {
        let overdue = self.age.saturating_sub(self.lifetime);
        let stale = if self.never_stale { Duration::ZERO } else { stale };
        Keep {
            age: self.age,
            fresh: self.lifetime.saturating_sub(self.age),
            while_renewed: self.while_revalidated.saturating_sub(overdue),
            if_failed: self.if_error.max(stale).saturating_sub(overdue),
            to_compare: Duration::ZERO,
            jitter: Jitter::Below,
        }
    }

    /// The same for a caller that can make a conditional request: what has a validator is kept for a day after all else.
    pub fn keep_to_compare(&self, stale: Duration) -> Keep {
        let to_compare = if self.has_validator { COMPARED_FOR } else { Duration::ZERO };
        Keep {
            to_compare,
            ..self.keep(stale)
        }
    }
}

/// RFC 9111 section 3, and what we add to it.
fn refuse(asked: Asked<'_>, status: u16, fields: &Fields, vary: &Vary) -> Result<(), NotStored> {
    let said = &fields.directives;
    let shared = asked.reader == Reader::Anyone;
    let for_others = said.public || said.must_revalidate || said.s_maxage.is_some();
    let reasons = [
        (*asked.method != Method::GET, NotStored::Method),
        (!(200..600).contains(&status) || matches!(status, 206 | 304), NotStored::Status),
        (said.no_store, NotStored::NoStore),
        (shared && said.private, NotStored::Private),
        (shared && asked.authorized && !for_others, NotStored::Authorized),
        (fields.sets_cookie, NotStored::SetsCookie),
        (*vary == Vary::OnMore, NotStored::Varies),
    ];
    reasons
        .iter()
        .find(|(applies, _)| *applies)
        .map_or(Ok(()), |(_, reason)| Err(*reason))
}

/// The headers that matter, read in one go.
#[derive(Default)]
struct Fields {
    directives: Directives,
    /// `None` inside: there is one and it is no date, which counts as long ago (section 5.3).
    expires: Option<Option<SystemTime>>,
    date: Option<SystemTime>,
    age: Option<Duration>,
    has_validator: bool,
    sets_cookie: bool,
}

impl Fields {
    fn read<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in headers {
            match name {
                "cache-control" => fields.directives.read(value),
                "expires" => {
                    let expires = http_date(value);
                    // Two that differ contradict each other (section 4.2.1).
                    let contradicts = fields.expires.is_some_and(|other| other != expires);
                    fields.expires = Some(if contradicts { None } else { expires });
                }
                "date" => fields.date = fields.date.or(http_date(value)),
                // Section 5.1: of several values the first counts, one that is no number is ignored.
                "age" if fields.age.is_none() => {
                    fields.age = value
                        .split(|byte| *byte == b',')
                        .next()
                        .and_then(|first| delta_seconds(first.trim_ascii()))
                }
                "etag" | "last-modified" => fields.has_validator = true,
                "set-cookie" => fields.sets_cookie = true,
                _ => {}
            }
        }
        fields
    }

    /// Section 4.2.1: the first of `s-maxage` (shared caches only), `max-age` and `Expires` that is there.
    fn lifetime(&self, shared: bool, received: SystemTime) -> Duration {
        let of_directives = self.directives.s_maxage.filter(|_| shared).or(self.directives.max_age);
        of_directives.unwrap_or_else(|| {
            // An answer without `Date` counts as made when it came (RFC 9110 section 6.6.1).
            let made = self.date.unwrap_or(received);
            self.expires
                .flatten()
                .and_then(|expires| expires.duration_since(made).ok())
                .unwrap_or_default()
        })
    }

    /// Section 4.2.3: the larger of what the clocks say and what the caches in between say.
    fn age(&self, delay: Duration, received: SystemTime) -> Duration {
        let apparent = self.date.and_then(|made| received.duration_since(made).ok()).unwrap_or_default();
        apparent.max(self.age.unwrap_or_default() + delay)
    }
}

fn http_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotStored::Method => "the method is not GET",
            NotStored::Status => "an answer of this status is not whole",
            NotStored::NoStore => "the source says `no-store`",
            NotStored::Private => "the source says `private`",
            NotStored::Authorized => "the call was authorized and the source does not say `public`",
            NotStored::SetsCookie => "the answer sets a cookie",
            NotStored::Varies => "`vary` names more than headers of the call",
        })
    }
}

impl std::error::Error for NotStored {}

#[cfg(test)]
mod tests;
