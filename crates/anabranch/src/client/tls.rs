//! TLS to endpoints: what peers are trusted, who we are, and one shared rustls configuration for equal settings.
//!
//! The provider is aws-lc-rs, named explicitly so that no other crate's choice of a process default matters. Peers are verified, unless
//! somebody asks in so many words that they are not.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::ClientConfig;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

use super::dial::Stream;
use super::endpoint::HttpVersion;
use crate::{CallError, Deadline, Kind, Phase};

/// Which certificate authorities are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those of the system; where it has none (an empty image), those of Mozilla as compiled in.
    #[default]
    Os,
    /// Only these, as PEM text.
    Pem(Vec<u8>),
}

/// Who we are, where a peer asks.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate and the ones between it and the root, as PEM text.
    pub chain: Vec<u8>,
    /// Its private key, as PEM text.
    pub key: Vec<u8>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(..)")
    }
}

/// How a peer is verified. The default trusts the system's roots and expects the URL's host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Which certificate authorities are trusted.
    pub roots: Roots,
    /// Our own certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// The name that the peer's certificate must have, and that is sent as SNI; the URL's host unless said.
    pub server_name: Option<String>,
    /// Speaks to whoever answers, with any certificate, of anybody, expired or not: everybody between here and there can read and change
    /// all that is sent. For a look at a broken peer, by somebody who typed that they want it; never from a config.
    pub dangerously_accept_any_certificate: bool,
}

/// TLS for one endpoint.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// What the peer chose to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Tls {
    pub(super) fn new(settings: &TlsSettings, http: HttpVersion, host: &str) -> Result<Self, String> {
        let name = settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_string()).map_err(|_| format!("`{name}` cannot be a server name"))?;
        Ok(Tls {
            connector: TlsConnector::from(shared_config(settings, http)?),
            name,
        })
    }

    /// Shakes hands within the limit.
    pub(super) async fn connect(&self, stream: Stream, limit: Deadline) -> Result<(TlsStream<Stream>, Protocol), CallError> {
        let handshake = limit.bound(self.connector.connect(self.name.clone(), stream)).await;
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(handshake_failed(error)),
            Err(_elapsed) => {
                return Err(CallError::new(Kind::Connect, "the TLS handshake did not end within the connect timeout").in_phase(Phase::Tls));
            }
        };
        let protocol = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Protocol::Http2
        } else {
            Protocol::Http1
        };
        Ok((stream, protocol))
    }
}

/// A peer that resets in the middle may be well a moment later; one whose certificate does not fit will not.
fn handshake_failed(error: io::Error) -> CallError {
    let kind = if is_tls(&error) { Kind::Tls } else { Kind::Connect };
    CallError::new(kind, format!("the TLS handshake failed: {error}"))
        .in_phase(Phase::Tls)
        .caused_by(error)
}

/// Whether an error of a stream is TLS's own, for example an alert, rather than the socket's.
pub(super) fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>())
}

type ConfigKey = (Roots, Option<ClientCertificate>, bool, HttpVersion);

/// Equal settings share one configuration: reading the system's roots takes tens of milliseconds, and sessions resume only
/// within one configuration.
fn shared_config(settings: &TlsSettings, http: HttpVersion) -> Result<Arc<ClientConfig>, String> {
    static CONFIGS: Mutex<Vec<(ConfigKey, Weak<ClientConfig>)>> = Mutex::new(Vec::new());
    let key = (
        settings.roots.clone(),
        settings.client_certificate.clone(),
        settings.dangerously_accept_any_certificate,
        http,
    );
    let mut configs = CONFIGS.lock().unwrap_or_else(PoisonError::into_inner);
    configs.retain(|(_, config)| config.strong_count() > 0);
    if let Some(config) = configs
        .iter()
        .find(|(other, _)| *other == key)
        .and_then(|(_, config)| config.upgrade())
    {
        return Ok(config);
    }
    let config = Arc::new(config(settings, http)?);
    configs.push((key, Arc::downgrade(&config)));
    Ok(config)
}

fn config(settings: &TlsSettings, http: HttpVersion) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match (settings.dangerously_accept_any_certificate, &settings.roots) {
        (true, _) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptsAnything(provider))),
        (false, Roots::Os) => builder.with_root_certificates(os_roots()),
        (false, Roots::Pem(pem)) => builder.with_root_certificates(pem_roots(pem)?),
    };
    let mut config = match &settings.client_certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = certificates(&certificate.chain).map_err(|error| format!("the client certificate cannot be read: {error}"))?;
            let key = PrivateKeyDer::from_pem_slice(&certificate.key).map_err(|error| format!("the client key cannot be read: {error}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("the client certificate cannot be used: {error}"))?
        }
    };
    config.alpn_protocols = match http {
        HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
    };
    Ok(config)
}

/// Takes every certificate for good. Signatures of the handshake are still checked: whoever answers has the certificate's key.
#[derive(Debug)]
struct AcceptsAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptsAnything {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn os_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        let (added, _ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    };
    ROOTS.get_or_init(load).clone()
}

fn pem_roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(|error| format!("the CA certificates cannot be read: {error}"))? {
        roots
            .add(certificate)
            .map_err(|error| format!("a CA certificate cannot be used: {error}"))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("expected at least one `-----BEGIN CERTIFICATE-----`".to_string());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> ClientCertificate {
        let made = rcgen::generate_simple_self_signed(["shop.test".to_string()]).unwrap();
        ClientCertificate {
            chain: made.cert.pem().into_bytes(),
            key: made.signing_key.serialize_pem().into_bytes(),
        }
    }

    #[test]
    fn equal_settings_share_one_configuration() {
        let settings = TlsSettings {
            roots: Roots::Pem(certificate().chain),
            ..TlsSettings::default()
        };
        let one = shared_config(&settings, HttpVersion::Auto).unwrap();
        let named = TlsSettings {
            server_name: Some("other.test".to_string()),
            ..settings.clone()
        };
        assert!(Arc::ptr_eq(&one, &shared_config(&named, HttpVersion::Auto).unwrap()));
        assert!(!Arc::ptr_eq(&one, &shared_config(&settings, HttpVersion::Http1).unwrap()));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_keys_are_not_shown() {
        let empty = TlsSettings {
            roots: Roots::Pem(b"nothing".to_vec()),
            ..TlsSettings::default()
        };
        assert!(config(&empty, HttpVersion::Auto).unwrap_err().contains("CERTIFICATE"));
        let (one, other) = (certificate(), certificate());
        let mismatched = ClientCertificate {
            chain: one.chain.clone(),
            key: other.key,
        };
        let settings = TlsSettings {
            client_certificate: Some(mismatched),
            ..TlsSettings::default()
        };
        assert!(config(&settings, HttpVersion::Auto).is_err());
        assert!(!format!("{one:?}").contains("KEY"));
        let name = TlsSettings {
            server_name: Some("not a name".to_string()),
            ..TlsSettings::default()
        };
        assert!(Tls::new(&name, HttpVersion::Auto, "shop").is_err());
    }
}
