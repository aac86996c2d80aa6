//! TLS to a server: the same settings as for HTTP endpoints, verified the same way, without a protocol to choose.

use std::io;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use crate::client::{Roots, Stream, TlsSettings};
use crate::{CallError, Kind, Phase};

/// Whom we trust and who we are, prepared once for all servers of a source.
#[derive(Clone)]
pub(super) struct Trust {
    connector: TlsConnector,
    /// The name that every server has to have, where it is not its host.
    name: Option<ServerName<'static>>,
}

/// TLS to one host.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Trust {
    pub(super) fn new(settings: &TlsSettings) -> Result<Self, String> {
        let name = settings.server_name.as_deref().map(server_name).transpose()?;
        Ok(Trust {
            connector: TlsConnector::from(Arc::new(config(settings)?)),
            name,
        })
    }

    pub(super) fn host(&self, host: &str) -> Result<Tls, String> {
        let name = self.name.clone().map_or_else(|| server_name(host), Ok)?;
        Ok(Tls {
            connector: self.connector.clone(),
            name,
        })
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` cannot be a server name"))
}

impl Tls {
    /// Shakes hands. The caller bounds it.
    pub(super) async fn connect(&self, stream: Stream) -> Result<Stream, CallError> {
        match self.connector.connect(self.name.clone(), stream).await {
            Ok(stream) => Ok(Stream::Boxed(Box::new(stream))),
            Err(error) => Err(handshake_failed(error)),
        }
    }
}

/// A server that resets in the middle may be well a moment later; one whose certificate does not fit will not.
fn handshake_failed(error: io::Error) -> CallError {
    let is_tls = error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>());
    let kind = if is_tls { Kind::Tls } else { Kind::Connect };
    CallError::new(kind, format!("the TLS handshake failed: {error}"))
        .in_phase(Phase::Tls)
        .caused_by(error)
}

fn config(settings: &TlsSettings) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(&settings.roots)?);
    match &settings.client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(certificate) => {
            let chain = certificates(&certificate.chain, "client certificate")?;
            let key = PrivateKeyDer::from_pem_slice(&certificate.key).map_err(|error| format!("the client key cannot be read: {error}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("the client certificate cannot be used: {error}"))
        }
    }
}

fn roots(roots: &Roots) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Os => {
            let (added, _unreadable) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 {
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
        Roots::Pem(pem) => {
            for certificate in certificates(pem, "CA certificate")? {
                store
                    .add(certificate)
                    .map_err(|error| format!("a CA certificate cannot be used: {error}"))?;
            }
        }
    }
    Ok(store)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| format!("the {what} cannot be read: {error}"))?;
    if certificates.is_empty() {
        return Err(format!(
            "the {what} cannot be read: expected at least one `-----BEGIN CERTIFICATE-----`"
        ));
    }
    Ok(certificates)
}
