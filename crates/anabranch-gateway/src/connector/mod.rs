//! How a call asks its source: its request out of the templates, its value out of the answer.

mod headers;
mod http;

pub(crate) use headers::SharedHeaders;
pub(crate) use http::{CallEnd, CallSetup, exchange, request};
