//! The URL of a server, taken apart: where it is, whether over TLS, who we are to it, which of its databases.

use std::fmt;
use std::path::PathBuf;

/// The port of a server that names none, also over TLS ("Redis URI scheme", IANA provisional registration).
const DEFAULT_PORT: u16 = 6379;
const EXPECTED: &str = "expected `redis://user:password@host:6379/0`, `rediss://...` for TLS, `redis://host-1,host-2` for a cluster, or `unix:///path/to.sock?db=0`";

/// A server that cannot be, or settings that cannot be had. Its text never contains the URL, nor the password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRedis(pub(super) String);

impl fmt::Display for BadRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRedis {}

/// What a URL says.
#[derive(PartialEq, Eq)]
pub(super) struct Address {
    /// One, or those of a cluster's servers that are asked for the others.
    pub(super) places: Vec<Place>,
    pub(super) is_cluster: bool,
    pub(super) is_encrypted: bool,
    /// The user; with a password and no user it is the server's `default`.
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// Reads a URL. `valkey://` and `valkeys://` are other names for the same.
    pub(super) fn parse(url: &str) -> Result<Address, BadRedis> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("has no scheme"))?;
        match scheme {
            "redis" | "valkey" => tcp(rest, false),
            "rediss" | "valkeys" => tcp(rest, true),
            "unix" | "redis+unix" | "valkey+unix" => unix(rest),
            _ => Err(bad("has an unknown scheme")),
        }
    }
}

impl fmt::Debug for Address {
    /// Without the user and the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("places", &self.places)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

fn tcp(rest: &str, is_encrypted: bool) -> Result<Address, BadRedis> {
    let (rest, query) = split(rest, '?');
    let (authority, path) = split(rest, '/');
    // The last `@`: one inside a password should be encoded, but often is not.
    let (login, host) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(login, host)| (Some(login), host));
    let (user, password) = login.map_or(Ok((None, None)), login_of)?;
    let places = host.split(',').map(host_and_port).collect::<Result<Vec<_>, _>>()?;
    let mut address = Address {
        is_cluster: places.len() > 1,
        places,
        is_encrypted,
        user,
        password,
        database: 0,
    };
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        address.database = database(path)?;
    }
    read_query(&mut address, query)?;
    if address.is_cluster && address.database != 0 {
        return Err(bad("names a database, and a cluster has one only"));
    }
    Ok(address)
}

fn unix(rest: &str) -> Result<Address, BadRedis> {
    let (path, query) = split(rest, '?');
    if !path.starts_with('/') || path.len() < 2 {
        return Err(bad("has no path to a socket"));
    }
    let place = Place::Unix(PathBuf::from(decoded(path)?));
    let mut address = Address {
        places: vec![place],
        is_cluster: false,
        is_encrypted: false,
        user: None,
        password: None,
        database: 0,
    };
    read_query(&mut address, query)?;
    Ok(address)
}

fn login_of(login: &str) -> Result<(Option<String>, Option<String>), BadRedis> {
    let (user, password) = split(login, ':');
    let filled = |text: &str| decoded(text).map(|text| Some(text).filter(|text| !text.is_empty()));
    let user = filled(user)?;
    let password = password.map_or(Ok(None), filled)?;
    if user.is_some() && password.is_none() {
        return Err(bad("has a user without a password"));
    }
    Ok((user, password))
}

fn host_and_port(text: &str) -> Result<Place, BadRedis> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| bad("has an open bracket"))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(bad("has something behind the host's bracket")),
            }
        }
        None => split(text, ':'),
    };
    if host.is_empty() || host.contains(' ') {
        return Err(bad("names no host"));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| bad("has a port that is no number from 1 to 65535"))?,
    };
    Ok(Place::Tcp {
        host: host.to_owned(),
        port,
    })
}

fn read_query(address: &mut Address, query: Option<&str>) -> Result<(), BadRedis> {
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = split(pair, '=');
        let value = decoded(value.unwrap_or_default())?;
        match name {
            "db" => address.database = database(&value)?,
            "user" => address.user = Some(value),
            "pass" | "password" => address.password = Some(value),
            "cluster" if value == "true" && !matches!(address.places[..], [Place::Unix(_)]) => address.is_cluster = true,
            // Three is what is spoken anyway.
            "protocol" if matches!(value.as_str(), "3" | "resp3") => {}
            _ => {
                return Err(bad(
                    "has a setting that is none of `db`, `user`, `password`, `cluster=true`, `protocol=resp3`",
                ));
            }
        }
    }
    Ok(())
}

fn database(text: &str) -> Result<u32, BadRedis> {
    text.parse().map_err(|_| bad("has a database that is no number"))
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn decoded(text: &str) -> Result<String, BadRedis> {
    let broken = || bad("has a broken `%` or bytes that are no UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(broken());
        };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| broken())?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

fn bad(what: &str) -> BadRedis {
    BadRedis(format!("the server's URL {what}, {EXPECTED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn at(host: &str, port: u16) -> Place {
        Place::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read("redis://cache").places, [at("cache", 6379)]);
        assert_eq!(read("redis://cache:7000/").places, [at("cache", 7000)]);
        assert_eq!(
            read("valkey://[::1]:7000/3"),
            Address {
                database: 3,
                ..read("redis://[::1]:7000")
            }
        );
        assert_eq!(read("rediss://[::1]").places, [at("::1", 6379)]);
        assert!(read("rediss://cache/0?protocol=resp3").is_encrypted && !read("redis://cache").is_encrypted);
        let login = read("redis://app:p%40ss@w:rd@cache/2");
        assert_eq!(
            (login.user.as_deref(), login.password.as_deref(), login.database),
            (Some("app"), Some("p@ss@w:rd"), 2)
        );
        assert_eq!(read("redis://:pass@cache").user, None);
        let socket = read("unix:///run/redis%20a.sock?db=4&user=app&pass=x");
        assert_eq!(socket.places, [Place::Unix(PathBuf::from("/run/redis a.sock"))]);
        assert_eq!(
            (socket.database, socket.user.as_deref(), socket.password.as_deref()),
            (4, Some("app"), Some("x"))
        );
    }

    #[test]
    fn several_hosts_or_a_setting_make_a_cluster() {
        let cluster = read("redis://app:secret@a,b:7001,[::1]:7002");
        assert_eq!(cluster.places, [at("a", 6379), at("b", 7001), at("::1", 7002)]);
        assert!(cluster.is_cluster && read("rediss://a?cluster=true").is_cluster && !read("redis://a").is_cluster);
    }

    #[test]
    fn what_cannot_be_read_is_said_without_the_password() {
        let urls = [
            "app:secret@cache",
            "http://app:secret@cache",
            "redis://app:secret@",
            "redis://app:secret@cache:port",
            "redis://app:secret@cache:0",
            "redis://app:secret@a,",
            "redis://app:secret@a,b/1",
            "redis://app:secret@a?cluster=no",
            "unix:///secret?cluster=true",
            "redis://:secret@[::1",
            "redis://:secret@[::1]7",
            "redis://:secret@cache/x",
            "redis://:secret%zz@cache",
            "redis://:secret%f@cache",
            "redis://secret@cache",
            "redis://:secret@cache?x=1",
            "redis://:secret@cache?protocol=2",
            "unix://secret",
            "unix:///",
            "redis://:secret%ff@cache",
            "redis://:secret@cache/-1",
        ];
        for url in urls {
            let error = Address::parse(url).expect_err(url).to_string();
            assert!(!error.contains("secret") && error.contains("expected `redis://"), "{error}");
        }
        assert!(!format!("{:?}", read("redis://app:secret@cache")).contains("secret"));
    }
}
