//! The request of a kept call and the key of its answer: all that it sends of one client is in the key.

use std::sync::Arc;

use anabranch::client::Request;
use anabranch::policy::{CacheKey, KeyParts, Reader};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Answers;
use super::setup::KeepSetup;
use crate::connector::headers::SharedHeaders;
use crate::connector::http::{self as plain, CallSetup};
use crate::plan::{Action, CallPlan, HttpAction};
use crate::render::{self, RenderFault};
use crate::run::Known;

/// A request and the key of its answer.
#[derive(Debug)]
pub(crate) struct KeptRequest {
    pub(super) asked: Asked,
    /// Its key, but for the headers below.
    pub(super) base: KeyParts,
    /// Plain headers of the client that it is sent and of which the source says whether they count.
    passed: Vec<(HeaderName, HeaderValue)>,
    pub(super) reader: Reader,
    pub(super) setup: Arc<KeepSetup>,
}

/// What is sent.
#[derive(Debug)]
pub(super) enum Asked {
    Http(Request),
    #[cfg(feature = "postgres")]
    Sql(Vec<anabranch::postgres::Param>),
    #[cfg(feature = "redis")]
    Redis(Vec<Bytes>),
}

/// The request of a call, from the values known now, and its key. It is asked for whoever makes the same call, so it does not tell
/// of one client where it came from.
pub(in crate::connector) fn request(
    call: &CallPlan,
    setup: &CallSetup,
    keep: &Arc<KeepSetup>,
    known: &Known<'_>,
    shared: &SharedHeaders,
) -> Result<Box<KeptRequest>, RenderFault> {
    let mut parts = keep.base.clone();
    let mut passed = Vec::new();
    let mut reader = Reader::Anyone;
    for index in &setup.credentials {
        let name = known.header_name(*index).as_str();
        parts = match known.header(*index) {
            Some(credential) => {
                reader = Reader::OneIdentity;
                parts.value(name.as_bytes()).credential(credential.as_bytes())
            }
            None => parts.header(name, None),
        };
    }
    for index in &keep.vary {
        let (name, value) = (known.header_name(*index), known.header(*index));
        if !keep.by_source || keep.is_batch {
            parts = parts.header(name.as_str(), value.map(HeaderValue::as_bytes));
        } else if let Some(value) = value {
            passed.push((name.clone(), value.clone()));
        }
    }
    let asked = match &call.action {
        Action::Http(action) => {
            let request = plain::request(action, setup, known, None)?.span(shared.span.child());
            parts = own_headers(parts.url(request.path_and_query()), action, known)?;
            Asked::Http(request)
        }
        #[cfg(feature = "postgres")]
        Action::Sql(action) => {
            let params = crate::connector::sql::params(action, known)?;
            parts = crate::connector::sql::keyed(parts, &params);
            Asked::Sql(params)
        }
        #[cfg(feature = "redis")]
        Action::Redis(action) => {
            let words = crate::connector::redis::words(action, known)?;
            parts = words.iter().fold(parts, |parts, word| parts.value(word));
            Asked::Redis(words)
        }
        // Others are not kept, and what is not built in has no source.
        _ => return Err(RenderFault::Missing("source".to_string())),
    };
    Ok(Box::new(KeptRequest {
        asked,
        base: parts,
        passed,
        reader,
        setup: keep.clone(),
    }))
}

fn own_headers(mut parts: KeyParts, action: &HttpAction, known: &Known<'_>) -> Result<KeyParts, RenderFault> {
    for (name, template) in &action.headers {
        parts = parts.header(name.as_str(), Some(render::header(template, known)?.as_bytes()));
    }
    Ok(parts)
}

impl KeptRequest {
    /// The key to look it up under.
    pub(super) fn key(&self, answers: &Answers) -> CacheKey {
        match self.varies() {
            true => answers.varies.key(&self.base, &self.passed()),
            false => self.base.key(),
        }
    }

    /// Whether its source says which headers count.
    pub(super) fn varies(&self) -> bool {
        self.setup.by_source && !self.setup.is_batch
    }

    pub(super) fn passed(&self) -> Vec<(&str, &[u8])> {
        self.passed.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    /// The key of what a batch gives for the one key that this request asks for; `variables` are those by which it is reshaped.
    pub(crate) fn item_key(&self, item: &[u8], variables: &[Bytes]) -> CacheKey {
        // The request need not name it: one that asks for everything is a batch as well.
        let text = crate::json::scalar_text(item).unwrap_or_default();
        let parts = self.base.clone().value(b"item").value(text.as_bytes());
        variables.iter().fold(parts, |parts, value| parts.value(value)).key()
    }

    /// By what its answers can be purged: source and path, without the query; or statement; or command.
    pub(crate) fn label(&self, source: &str) -> String {
        match &self.asked {
            Asked::Http(request) => {
                let target = request.path_and_query();
                format!("{source} {}", target.split('?').next().unwrap_or_default())
            }
            #[cfg(feature = "postgres")]
            Asked::Sql(_) => match &self.setup.asking {
                super::setup::Way::Sql(statement) => format!("{source} {}", statement.start()),
                _ => source.to_string(),
            },
            #[cfg(feature = "redis")]
            Asked::Redis(words) => {
                let command = words.first().map(|word| String::from_utf8_lossy(word)).unwrap_or_default();
                format!("{source} {command}")
            }
        }
    }
}
