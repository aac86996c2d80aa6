//! Cookies: the jar of RFC 6265bis as far as a client without pages needs it. No third-party rules, for there is no first party, and
//! `SameSite` is not looked at.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use url::Url;

/// Cookies of one domain, and of all; the oldest go first (RFC 6265bis section 5.7 asks for at least 50 and 3,000).
const MOST_OF_DOMAIN: usize = 180;
const MOST: usize = 10_000;
/// Name and value together (section 5.6).
const LONGEST: usize = 4_096;
/// No cookie lives longer from its last setting on (section 5.5).
const LONGEST_LIFE: Duration = Duration::from_secs(400 * 86_400);

/// Cookies by domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jar {
    by_domain: HashMap<Box<str>, Vec<Cookie>>,
    count: usize,
    created: u64,
}

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    is_host_only: bool,
    is_secure: bool,
    is_http_only: bool,
    /// None: until the run ends.
    expires: Option<SystemTime>,
    /// Order of creation: of two with paths of one length, the older is sent first.
    created: u64,
}

impl Jar {
    /// Reads Netscape's format: seven fields between tabs on a line. Lines that are none are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut jar = Jar::default();
        for line in text.lines() {
            let (line, is_http_only) = match line.strip_prefix("#HttpOnly_") {
                Some(line) => (line, true),
                None => (line, false),
            };
            let fields: Vec<&str> = line.split('\t').collect();
            let [domain, includes_below, path, secure, expires, name, value] = fields[..] else {
                continue;
            };
            if line.starts_with('#') {
                continue;
            }
            let seconds: u64 = expires.parse().unwrap_or(0);
            let cookie = Cookie {
                name: name.into(),
                value: value.into(),
                path: path.into(),
                is_host_only: !includes_below.eq_ignore_ascii_case("true"),
                is_secure: secure.eq_ignore_ascii_case("true"),
                is_http_only,
                expires: (seconds > 0)
                    .then(|| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
                    .flatten(),
                created: 0,
            };
            jar.put(&domain.trim_start_matches('.').to_ascii_lowercase(), cookie);
        }
        jar
    }

    /// The same format again, without what has expired.
    pub(crate) fn to_netscape(&self, now: SystemTime) -> String {
        let mut domains: Vec<_> = self.by_domain.iter().collect();
        domains.sort_by_key(|(domain, _)| *domain);
        let mut text = String::from("# Netscape HTTP Cookie File\n");
        for (domain, cookies) in domains {
            for cookie in cookies.iter().filter(|cookie| !cookie.has_expired(now)) {
                let expires = cookie.expires.and_then(|expires| expires.duration_since(UNIX_EPOCH).ok());
                let flag = |yes: bool| if yes { "TRUE" } else { "FALSE" };
                let _ = writeln!(
                    text,
                    "{}{}{domain}\t{}\t{}\t{}\t{}\t{}\t{}",
                    if cookie.is_http_only { "#HttpOnly_" } else { "" },
                    if cookie.is_host_only { "" } else { "." },
                    flag(!cookie.is_host_only),
                    cookie.path,
                    flag(cookie.is_secure),
                    expires.map_or(0, |expires| expires.as_secs()),
                    cookie.name,
                    cookie.value
                );
            }
        }
        text
    }

    /// The Cookie header for a URL, where there are any.
    pub(crate) fn header(&self, url: &Url, now: SystemTime) -> Option<HeaderValue> {
        if self.count == 0 {
            return None;
        }
        let host = url.host_str()?;
        let mut found: Vec<&Cookie> = Vec::new();
        let mut domain = host;
        loop {
            for cookie in self.by_domain.get(domain).into_iter().flatten() {
                let is_for_host = !cookie.is_host_only || domain.len() == host.len();
                let is_safe = !cookie.is_secure || is_trustworthy(url);
                if is_for_host && is_safe && path_matches(url.path(), &cookie.path) && !cookie.has_expired(now) {
                    found.push(cookie);
                }
            }
            match domain.split_once('.') {
                // An address has no parents.
                Some((_, parent)) if url.domain().is_some() => domain = parent,
                _ => break,
            }
        }
        if found.is_empty() {
            return None;
        }
        found.sort_by_key(|cookie| (std::cmp::Reverse(cookie.path.len()), cookie.created));
        let mut text = String::new();
        for cookie in found {
            let separator = if text.is_empty() { "" } else { "; " };
            let equals = if cookie.name.is_empty() { "" } else { "=" };
            let _ = write!(text, "{separator}{}{equals}{}", cookie.name, cookie.value);
        }
        HeaderValue::try_from(text).ok()
    }

    /// Takes a Set-Cookie header of an answer from this URL (section 5.7). What breaks the rules is left out.
    pub(crate) fn set(&mut self, url: &Url, header: &[u8], now: SystemTime) {
        let Ok(header) = std::str::from_utf8(header) else { return };
        if let Some((domain, cookie)) = read(url, header, now) {
            self.put(&domain, cookie);
        }
    }

    fn put(&mut self, domain: &str, mut cookie: Cookie) {
        let cookies = self.by_domain.entry(domain.into()).or_default();
        let before = cookies
            .iter()
            .position(|other| other.name == cookie.name && other.path == cookie.path && other.is_host_only == cookie.is_host_only);
        self.created += 1;
        cookie.created = match before {
            Some(at) => {
                self.count -= 1;
                cookies.remove(at).created
            }
            None => self.created,
        };
        let is_gone = cookie.expires.is_some_and(|expires| expires == UNIX_EPOCH);
        if !is_gone {
            if cookies.len() >= MOST_OF_DOMAIN {
                cookies.remove(0);
                self.count -= 1;
            }
            cookies.push(cookie);
            self.count += 1;
        }
        if cookies.is_empty() {
            self.by_domain.remove(domain);
        }
        if self.count > MOST {
            self.forget_one(domain);
        }
    }

    /// Of the domain with the most, the oldest; not of the one that was just set unless it is that one.
    fn forget_one(&mut self, but_of: &str) {
        let largest = self
            .by_domain
            .iter()
            .max_by_key(|(domain, cookies)| (cookies.len(), domain.as_ref() != but_of));
        let Some(domain) = largest.map(|(domain, _)| domain.clone()) else {
            return;
        };
        if let Some(cookies) = self.by_domain.get_mut(&domain) {
            cookies.remove(0);
            self.count -= 1;
            if cookies.is_empty() {
                self.by_domain.remove(&domain);
            }
        }
    }
}

impl Cookie {
    fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

fn read(url: &Url, header: &str, now: SystemTime) -> Option<(String, Cookie)> {
    if header.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return None;
    }
    let mut parts = header.split(';');
    let pair = parts.next()?;
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    let (name, value) = (name.trim(), value.trim());
    if (name.is_empty() && value.is_empty()) || name.len() + value.len() > LONGEST {
        return None;
    }
    let host = url.host_str()?;
    let mut cookie = Cookie {
        name: name.into(),
        value: value.into(),
        path: default_path(url.path()).into(),
        is_host_only: true,
        is_secure: false,
        is_http_only: false,
        expires: None,
        created: 0,
    };
    let mut domain = host.to_string();
    let (mut has_path, mut max_age, mut expires) = (false, None, None);
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "expires" => expires = cookie_date(value).or(expires),
            "max-age" => max_age = parse_max_age(value).or(max_age),
            "domain" => {
                let asked = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase();
                if !asked.is_empty() {
                    (domain, cookie.is_host_only) = of_domain(url, &asked)?;
                }
            }
            "path" => {
                has_path = value.starts_with('/');
                cookie.path = if has_path { value.into() } else { default_path(url.path()).into() };
            }
            "secure" => cookie.is_secure = true,
            "httponly" => cookie.is_http_only = true,
            _ => {}
        }
    }
    if cookie.is_secure && !is_trustworthy(url) {
        return None;
    }
    // Names that promise something (section 4.1.3), in any case.
    let promises = |prefix: &str| {
        cookie
            .name
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let breaks_host = promises("__Host-") && !(cookie.is_secure && cookie.is_host_only && has_path && cookie.path == "/");
    if breaks_host || (promises("__Secure-") && !cookie.is_secure) {
        return None;
    }
    let latest = now + LONGEST_LIFE;
    cookie.expires = match (max_age, expires) {
        (Some(None), _) => Some(UNIX_EPOCH),
        (Some(Some(age)), _) => Some(now.checked_add(age).map_or(latest, |expires| expires.min(latest))),
        (None, Some(expires)) if expires <= now => Some(UNIX_EPOCH),
        (None, expires) => expires.map(|expires| expires.min(latest)),
    };
    Some((domain, cookie))
}

/// The domain that a cookie is for: one that the host belongs to, and none under which strangers register. None: the cookie is refused.
fn of_domain(url: &Url, asked: &str) -> Option<(String, bool)> {
    let host = url.host_str()?;
    if host == asked {
        // Asked for by name it holds for hosts below as well, unless it is an address or a public suffix.
        let is_alone = url.domain().is_none() || is_public_suffix(asked);
        return Some((host.to_string(), is_alone));
    }
    let is_below = url.domain().is_some() && host.strip_suffix(asked).is_some_and(|rest| rest.ends_with('.'));
    (is_below && !is_public_suffix(asked)).then(|| (asked.to_string(), false))
}

fn is_public_suffix(domain: &str) -> bool {
    psl::suffix_str(domain).is_some_and(|suffix| suffix == domain)
}

/// Whether nobody listens in on the way: https, and our own machine.
fn is_trustworthy(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || is_local
}

fn path_matches(path: &str, cookie: &str) -> bool {
    match path.strip_prefix(cookie) {
        Some(rest) => rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// Up to the last slash (section 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        Some(at) if at > 0 => &path[..at],
        _ => "/",
    }
}

/// Seconds; None inside: it ends now. Nonsense counts as nothing said.
fn parse_max_age(value: &str) -> Option<Option<Duration>> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if value.starts_with('-') || digits.bytes().all(|byte| byte == b'0') {
        return Some(None);
    }
    let seconds = digits.parse().unwrap_or(LONGEST_LIFE.as_secs());
    Some(Some(Duration::from_secs(seconds).min(LONGEST_LIFE)))
}

/// A date as cookies write it (section 5.1.1): the parts in any order, with any separators.
fn cookie_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let is_separator = |char: char| !(char.is_ascii_alphanumeric() || char == ':');
    for token in text.split(is_separator).filter(|token| !token.is_empty()) {
        let lower = token.to_ascii_lowercase();
        let by_name = MONTHS.iter().position(|name| lower.starts_with(name));
        if time.is_none() && token.contains(':') {
            let parts: Vec<u64> = token.split(':').filter_map(|part| part.parse().ok()).collect();
            let [hours, minutes, seconds] = parts[..] else { return None };
            time = (hours < 24 && minutes < 60 && seconds < 60).then_some((hours, minutes, seconds));
        } else if day.is_none() && token.len() <= 2 && token.parse::<u64>().is_ok() {
            day = token.parse().ok();
        } else if month.is_none() && by_name.is_some() {
            month = by_name;
        } else if year.is_none() && matches!(token.len(), 2 | 4) {
            year = token.parse::<i64>().ok();
        }
    }
    let (hours, minutes, seconds) = time?;
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let (day, month): (u64, usize) = (day?, month?);
    if year < 1601 || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month as i64 + 1, day as i64);
    match u64::try_from(days) {
        Ok(days) => UNIX_EPOCH.checked_add(Duration::from_secs(days * 86_400 + hours * 3_600 + minutes * 60 + seconds)),
        Err(_before) => Some(UNIX_EPOCH),
    }
}

/// Howard Hinnant, "chrono-compatible low-level date algorithms": `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn jar(cookies: &[(&str, &str)]) -> Jar {
        let mut jar = Jar::default();
        for (url, header) in cookies {
            jar.set(&Url::parse(url).unwrap(), header.as_bytes(), now());
        }
        jar
    }

    fn sent(jar: &Jar, url: &str) -> String {
        let header = jar.header(&Url::parse(url).unwrap(), now());
        header.map_or_else(String::new, |value| value.to_str().unwrap().to_string())
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_and_path_only() {
        let jar = jar(&[("http://a.example.com/shop/cart", "id=7")]);
        assert_eq!(sent(&jar, "http://a.example.com/shop"), "id=7");
        assert_eq!(sent(&jar, "http://a.example.com/shop/x"), "id=7");
        assert_eq!(sent(&jar, "http://a.example.com/shopping"), "");
        assert_eq!(sent(&jar, "http://b.example.com/shop"), "");
        assert_eq!(sent(&jar, "http://x.a.example.com/shop"), "");
    }

    #[test]
    fn a_domain_holds_below_but_not_for_strangers() {
        let jar = jar(&[
            ("http://a.example.com/", "ok=1; Domain=.example.com"),
            ("http://a.example.com/", "other=1; Domain=other.com"),
            ("http://a.example.com/", "tail=1; Domain=ample.com"),
            ("http://a.example.com/", "all=1; Domain=com"),
            ("http://a.example.co.uk/", "suffix=1; Domain=co.uk"),
            ("http://127.0.0.1/", "ip=1; Domain=0.0.1"),
        ]);
        assert_eq!(sent(&jar, "http://b.example.com/"), "ok=1");
        assert_eq!(sent(&jar, "http://example.com/"), "ok=1");
        for url in [
            "http://other.com/",
            "http://x.com/",
            "http://b.co.uk/",
            "http://0.0.1.1/",
            "http://127.0.0.1/",
        ] {
            assert_eq!(sent(&jar, url), "", "{url}");
        }
    }

    #[test]
    fn secure_cookies_stay_off_the_clear_wire_and_prefixes_are_kept() {
        let jar = jar(&[
            ("https://a.com/", "s=1; Secure"),
            ("http://a.com/", "stolen=1; Secure"),
            ("https://a.com/", "__Host-a=1; Secure; Path=/"),
            ("https://a.com/", "__Host-b=1; Secure; Path=/; Domain=a.com"),
            ("https://a.com/", "__secure-c=1"),
        ]);
        assert_eq!(sent(&jar, "https://a.com/"), "s=1; __Host-a=1");
        assert_eq!(sent(&jar, "http://a.com/"), "");
    }

    #[test]
    fn age_beats_date_and_what_is_over_is_gone() {
        let jar = jar(&[
            ("http://a/", "a=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            ("http://a/", "b=1; Expires=Wed, 21-Oct-2037 07:28:00 GMT"),
            ("http://a/", "c=1; Max-Age=0"),
            ("http://a/", "d=1"),
            ("http://a/", "d=2; Max-Age=-5"),
            ("http://a/", "e=1; Max-Age=soon"),
        ]);
        assert_eq!(sent(&jar, "http://a/"), "a=1; b=1; e=1");
        let later = now() + Duration::from_secs(11);
        let url = Url::parse("http://a/").unwrap();
        assert_eq!(jar.header(&url, later).unwrap(), "b=1; e=1");
    }

    #[test]
    fn the_longest_path_goes_first_and_a_new_value_keeps_its_place() {
        let jar = jar(&[
            ("http://a/", "x=1; Path=/"),
            ("http://a/", "y=1; Path=/"),
            ("http://a/", "z=1; Path=/deep"),
            ("http://a/", "x=2; Path=/"),
        ]);
        assert_eq!(sent(&jar, "http://a/deep/er"), "z=1; x=2; y=1");
    }

    #[test]
    fn the_jar_is_bounded_and_nonsense_is_left_out() {
        let url = Url::parse("http://a.com/").unwrap();
        let mut jar = Jar::default();
        for number in 0..1_000 {
            jar.set(&url, format!("n{number}=1").as_bytes(), now());
        }
        assert_eq!(jar.count, MOST_OF_DOMAIN);
        assert!(sent(&jar, "http://a.com/").starts_with("n820=1"));
        let long = format!("long={}", "x".repeat(LONGEST));
        for bad in ["", "=", "a=\u{1}b", long.as_str()] {
            jar.set(&url, bad.as_bytes(), now());
        }
        jar.set(&url, b"\xff=1", now());
        assert_eq!(jar.count, MOST_OF_DOMAIN);
    }

    #[test]
    fn netscapes_format_goes_both_ways() {
        let jar = jar(&[
            ("https://a.com/x/y", "in=1; Secure; HttpOnly; Max-Age=100"),
            ("https://a.com/", "below=2; Domain=a.com"),
        ]);
        let text = jar.to_netscape(now());
        assert!(text.contains("#HttpOnly_a.com\tFALSE\t/x\tTRUE\t1800000100\tin\t1\n"), "{text}");
        assert!(text.contains("\n.a.com\tTRUE\t/\tFALSE\t0\tbelow\t2\n"), "{text}");
        assert_eq!(Jar::parse(&text).to_netscape(now()), text);
    }

    #[test]
    fn dates_are_read_as_servers_write_them() {
        let day = |text| cookie_date(text).map(|date| date.duration_since(UNIX_EPOCH).unwrap().as_secs());
        let right = Some(1_445_412_480);
        for text in [
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Wed, 21-Oct-2015 07:28:00 GMT",
            "Wednesday, 21-Oct-15 07:28:00 GMT",
            "Wed Oct 21 07:28:00 2015",
        ] {
            assert_eq!(day(text), right, "{text}");
        }
        for text in ["", "tomorrow", "Wed, 21 Oct 2015", "99 Oct 2015 07:28:00", "21 Oct 2015 25:28:00"] {
            assert_eq!(day(text), None, "{text}");
        }
    }
}
