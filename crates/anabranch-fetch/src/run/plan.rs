//! The options of a run, made ready once: what was typed is read, and what all jobs share is made.

use std::net::IpAddr;
use std::sync::Arc;

use anabranch::client::{
    AddressGuard, ClientCertificate, HttpVersion as WireVersion, Proxy, Resolver, Roots, TlsSettings, WireLimits, WireSettings,
};
use anabranch::{Client, Compute};
use tokio::time::Instant;

use super::Transform;
use super::sitemaps;
use super::throttle::Throttle;
use crate::content::checksums::Checksums;
use crate::content::names::Template;
use crate::content::select::Compiled;
use crate::content::charset;
use crate::crawl::Filter;
use crate::http::netrc::Netrc;
use crate::options::{BodyInRecord, HttpOptions, HttpVersion};
use crate::{FetchError, Options};

/// How many times larger a body may become by decoding.
const MAX_RATIO: u32 = 200;

/// Names that are looked up at once: more than the engine's own few, for a crawl has many hosts and no other use for threads.
const RESOLVER_THREADS: usize = 16;
/// Idle connections over all hosts.
const IDLE_CONNECTIONS: usize = 512;

/// What all jobs of a run share.
pub(super) struct Plan {
    pub(super) options: Options,
    pub(super) client: Client,
    pub(super) compute: Compute,
    pub(super) wire: WireLimits,
    pub(super) extract: Compiled,
    pub(super) follow: Compiled,
    pub(super) filter: Filter,
    pub(super) transform: Option<Arc<dyn Transform>>,
    pub(super) name: Option<Template>,
    pub(super) checksums: Checksums,
    pub(super) throttle: Option<Throttle>,
    pub(super) netrc: Option<Netrc>,
    /// The name of the run, for records.
    pub(super) run: Option<String>,
    /// Whether a sink wants exchanges as they were on the wire.
    pub(super) wants_archive: bool,
}

/// What was read of the options before anything is opened.
pub(super) struct Checked {
    pub(super) extract: Compiled,
    pub(super) follow: Compiled,
    pub(super) filter: Filter,
    pub(super) name: Option<Template>,
    pub(super) checksums: Checksums,
    pub(super) netrc: Option<Netrc>,
    pub(super) settings: WireSettings,
    resolved: Vec<Resolved>,
}

/// `--resolve`: a host and port, and where it is.
struct Resolved {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl Checked {
    /// Reads all that can be wrong.
    pub(super) fn new(options: &Options) -> Result<Checked, FetchError> {
        let output = &options.output;
        if options.extract.jq.is_some() && !options.extract.select.is_empty() {
            return Err(FetchError::usage("--select and --jq both fill `data`: give one of them"));
        }
        let name = match &output.folder {
            Some(_) => Some(Template::new(&output.name)?),
            None => None,
        };
        let checksums = options.download.checksums.as_deref().unwrap_or_default();
        Ok(Checked {
            extract: Compiled::extract(&options.extract)?,
            follow: Compiled::follow(&options.crawl)?,
            filter: Filter::new(&options.crawl)?,
            name,
            checksums: Checksums::parse(checksums)?,
            netrc: options.http.netrc.as_deref().map(Netrc::parse),
            settings: settings(options)?,
            resolved: options
                .http
                .resolve
                .iter()
                .map(|text| Resolved::read(text))
                .collect::<Result<_, _>>()?,
        })
    }

    /// A client with the system's resolver, and what the options know better.
    pub(super) fn client(&self) -> Client {
        let resolver = Resolver::system_with_threads(RESOLVER_THREADS);
        let mut builder = Client::builder().resolver(resolver).max_idle(IDLE_CONNECTIONS);
        for resolved in &self.resolved {
            builder = builder.resolve(&resolved.host, resolved.port, resolved.addresses.clone());
        }
        builder.build()
    }
}

impl Resolved {
    /// `host:port:address`, with several addresses between commas, as curl has it.
    fn read(text: &str) -> Result<Resolved, FetchError> {
        let fault = || {
            FetchError::usage(format!(
                "`--resolve {text}`: expected HOST:PORT:ADDRESS, such as example.com:443:127.0.0.1"
            ))
        };
        let (host, rest) = text.split_once(':').ok_or_else(fault)?;
        let (port, addresses) = rest.split_once(':').ok_or_else(fault)?;
        let address = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse();
        let addresses = addresses.split(',').map(address).collect::<Result<_, _>>();
        Ok(Resolved {
            host: host.to_ascii_lowercase(),
            port: port.parse().map_err(|_| fault())?,
            addresses: addresses.map_err(|_| fault())?,
        })
    }
}

impl Plan {
    /// Whether an answer of this status is what the job was for.
    pub(super) fn expects(&self, status: u16) -> bool {
        match &self.options.http.expect {
            Some(ranges) => ranges.iter().any(|range| range.contains(&status)),
            None => (200..300).contains(&status),
        }
    }

    /// Whether bodies of any type are looked through.
    pub(super) fn looks_at_all(&self) -> bool {
        self.transform.is_some() || self.extract.has_any() || self.follow.has_any() || self.options.crawl.sitemap
    }

    /// Whether a body of this type is looked through.
    pub(super) fn looks_into(&self, content_type: Option<&str>) -> bool {
        self.extracts_from(content_type) || sitemaps::may_be(self, content_type)
    }

    /// Whether something is to be taken from a body of this type.
    pub(super) fn extracts_from(&self, content_type: Option<&str>) -> bool {
        if self.transform.is_some() {
            return true;
        }
        let has_selectors = self.extract.has_any() || self.follow.has_any();
        has_selectors && content_type.is_none_or(|content_type| charset::is_text(Some(media_type(content_type)), &[]))
    }

    /// Whether bodies go into records, sinks or a comparison as a whole, whatever the answer.
    pub(super) fn keeps_bodies(&self) -> bool {
        self.options.output.body != BodyInRecord::None || self.wants_archive || self.checksums.has_any() || self.options.output.if_changed
    }

    /// Whether a page may bring more jobs.
    pub(super) fn is_crawl(&self) -> bool {
        is_crawl(&self.options)
    }

    /// Whether robots.txt is obeyed: when crawling, unless said.
    pub(super) fn obeys_robots(&self) -> bool {
        self.options.crawl.robots.unwrap_or(self.is_crawl())
    }
}

pub(super) fn is_crawl(options: &Options) -> bool {
    !options.crawl.follow.is_empty() || options.crawl.sitemap
}

/// The media type of a Content-Type, without its parameters.
pub(super) fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// The charset of a Content-Type.
pub(super) fn charset_of(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let charset = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charset
        .map(|(_, value)| value.trim().trim_matches('"'))
        .filter(|charset| !charset.is_empty())
}

pub(super) fn throttle(options: &Options) -> Option<Throttle> {
    options.limits.bytes_per_second.map(|bytes| Throttle::new(bytes, Instant::now()))
}

pub(super) fn wire_limits(options: &Options) -> WireLimits {
    WireLimits {
        max_body: options.output.max_body.unwrap_or(u64::MAX),
        max_ratio: MAX_RATIO,
        first_byte: options.time.first_byte,
        body_idle: options.time.idle,
    }
}

fn settings(options: &Options) -> Result<WireSettings, FetchError> {
    let http = &options.http;
    Ok(WireSettings {
        http: match http.version {
            HttpVersion::Auto => WireVersion::Auto,
            HttpVersion::Http1 => WireVersion::Http1,
            HttpVersion::Http2 => WireVersion::Http2,
        },
        tls: Some(tls(http)),
        pool_idle: options.limits.per_host.clamp(1, 256),
        connect_timeout: options.time.connect,
        dns_timeout: options.time.connect,
        pool_wait: options.time.pool,
        proxy: proxy(http)?,
        guard: http.deny_private.then(AddressGuard::public_only),
        ..WireSettings::default()
    })
}

fn proxy(http: &HttpOptions) -> Result<Option<Proxy>, FetchError> {
    let parsed = http.proxy.as_ref().map(|url| Proxy::parse(url.as_str())).transpose();
    parsed.map_err(|error| FetchError::usage(format!("--proxy: {error}")))
}

fn tls(http: &HttpOptions) -> TlsSettings {
    let certificate = http.certificate.clone();
    TlsSettings {
        roots: http.ca.clone().map_or(Roots::Os, Roots::Pem),
        client_certificate: certificate.map(|(chain, key)| ClientCertificate { chain, key }),
        dangerously_accept_any_certificate: http.insecure,
        ..TlsSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_falls_into_type_and_charset() {
        assert_eq!(media_type("text/html; charset=utf-8"), "text/html");
        assert_eq!(charset_of("text/html; Charset=\"UTF-8\""), Some("UTF-8"));
        assert_eq!(charset_of("text/html; a=b;charset=latin1; x"), Some("latin1"));
        assert_eq!(charset_of("text/html; charset="), None);
        assert_eq!(charset_of("text/html"), None);
    }
}
