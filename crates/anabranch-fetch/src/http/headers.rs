//! What is sent with each request: the headers of the run, made into prototypes once, and those of the job.

use std::sync::Arc;

use anabranch::Request;
use anabranch::client::Prototype;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::Method;

use crate::FetchError;
use crate::options::HttpOptions;

/// The codings that the client undoes.
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");
/// What `-d` means where nothing else is said, as with curl.
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Methods for which prototypes are kept; a list with more makes them anew.
const MOST_METHODS: usize = 16;

/// The headers of the run.
pub(crate) struct Headers {
    public: Vec<(HeaderName, HeaderValue)>,
    /// Only for origins that the input names.
    private: Vec<(HeaderName, HeaderValue)>,
    prototypes: Vec<Kept>,
}

struct Kept {
    method: Method,
    is_trusted: bool,
    prototype: Arc<Prototype>,
}

/// What one request is made of.
pub(crate) struct Parts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    /// Whether it goes to the origin that the job names, or one of the input's, where the job was found in a page.
    pub(crate) is_trusted: bool,
    pub(crate) headers: &'a [(HeaderName, HeaderValue)],
    /// Headers that the run adds to this request: cookies, conditions, a login. They and the job's take the place of the run's.
    pub(crate) added: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<&'a Bytes>,
}

impl Headers {
    /// Makes them of the options.
    ///
    /// # Errors
    /// `Usage`: a header that frames the message (`content-length`, `connection`, ...), which belongs to the connection.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, FetchError> {
        let is_set = |name: &HeaderName| options.headers.iter().any(|(other, _)| other == name);
        let mut public = Vec::new();
        if !is_set(&header::USER_AGENT) {
            let agent = HeaderValue::try_from(&options.user_agent).ok().filter(|agent| !agent.is_empty());
            let agent =
                agent.ok_or_else(|| FetchError::usage("the user agent must not be empty, and be text that can stand in a header"))?;
            public.push((header::USER_AGENT, agent));
        }
        if !is_set(&header::ACCEPT) {
            public.push((header::ACCEPT, HeaderValue::from_static("*/*")));
        }
        if !options.raw && !is_set(&header::ACCEPT_ENCODING) {
            public.push((header::ACCEPT_ENCODING, ACCEPT_ENCODING));
        }
        let (private, others): (Vec<_>, Vec<_>) = options.headers.iter().cloned().partition(|(name, _)| is_private(name));
        public.extend(others);
        let mut headers = Headers {
            public,
            private,
            prototypes: Vec::new(),
        };
        if let Some(authorization) = &options.authorization {
            headers.private.retain(|(name, _)| *name != header::AUTHORIZATION);
            headers.private.push((header::AUTHORIZATION, authorization.clone()));
        }
        headers.make(&Method::GET, true).map_err(|error| {
            FetchError::usage(format!(
                "a header cannot be set: {error}; `host`, `content-length`, `connection` and their like belong to the connection"
            ))
        })?;
        Ok(headers)
    }

    /// Whether the run sends something that strangers must not see.
    pub(crate) fn has_private(&self) -> bool {
        !self.private.is_empty()
    }

    /// What everybody may see.
    pub(crate) fn public(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.public.iter()
    }

    /// Makes a request.
    ///
    /// # Errors
    /// What of it cannot be sent, as a fragment.
    pub(crate) fn request(&mut self, parts: Parts<'_>) -> Result<Request, String> {
        let own = || parts.headers.iter().chain(&parts.added);
        let sets = |name: &HeaderName| own().any(|(other, _)| other == name);
        let is_overridden = own().any(|(name, _)| self.has(name));
        let prototype = if is_overridden {
            self.make_without(parts.method, parts.is_trusted, &sets)
        } else {
            self.prototype(parts.method, parts.is_trusted)
        };
        let failed = |error: anabranch::CallError| error.detail().to_string();
        let mut request = Request::with_prototype(prototype.map_err(failed)?, parts.path.to_string()).map_err(failed)?;
        let mut content_type = None;
        for (name, value) in parts.headers {
            if !parts.is_trusted && is_private(name) {
                continue;
            }
            if *name == header::CONTENT_TYPE {
                content_type = Some(value.clone());
                continue;
            }
            request = request.header(name.clone(), value.clone()).map_err(failed)?;
        }
        for (name, value) in parts.added {
            request = request.header(name, value).map_err(failed)?;
        }
        if let Some(body) = parts.body {
            let of_run = self.public.iter().find(|(name, _)| *name == header::CONTENT_TYPE);
            let content_type = content_type.or_else(|| of_run.map(|(_, value)| value.clone()));
            request = request.body(body.clone(), content_type.unwrap_or_else(|| guessed(body)));
        }
        Ok(request)
    }

    /// Whether the run sets a header.
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.public.iter().chain(&self.private).any(|(other, _)| other == name)
    }

    fn prototype(&mut self, method: &Method, is_trusted: bool) -> Result<Arc<Prototype>, anabranch::CallError> {
        let kept = self
            .prototypes
            .iter()
            .find(|kept| kept.is_trusted == is_trusted && kept.method == *method);
        if let Some(kept) = kept {
            return Ok(kept.prototype.clone());
        }
        let prototype = self.make(method, is_trusted)?;
        if self.prototypes.len() < MOST_METHODS {
            self.prototypes.push(Kept {
                method: method.clone(),
                is_trusted,
                prototype: prototype.clone(),
            });
        }
        Ok(prototype)
    }

    fn make(&self, method: &Method, is_trusted: bool) -> Result<Arc<Prototype>, anabranch::CallError> {
        self.make_without(method, is_trusted, &|_| false)
    }

    fn make_without(
        &self,
        method: &Method,
        is_trusted: bool,
        is_left_out: &dyn Fn(&HeaderName) -> bool,
    ) -> Result<Arc<Prototype>, anabranch::CallError> {
        let private: &[_] = if is_trusted { &self.private } else { &[] };
        let mut prototype = Prototype::new(method.clone());
        for (name, value) in self.public.iter().chain(private).filter(|(name, _)| !is_left_out(name)) {
            prototype = prototype.header(name.clone(), value.clone())?;
        }
        Ok(Arc::new(prototype))
    }
}

/// Headers that say who we are: they never go to another origin.
pub(crate) fn is_private(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || *name == header::COOKIE || *name == header::PROXY_AUTHORIZATION
}

/// JSON where it is that, else a form, as `-d` means with curl.
fn guessed(body: &[u8]) -> HeaderValue {
    let looks_like = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    if looks_like && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        JSON
    } else {
        FORM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> Result<Headers, FetchError> {
        let headers = list
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        Headers::new(&HttpOptions {
            headers,
            ..HttpOptions::default()
        })
    }

    #[test]
    fn what_frames_a_message_is_refused_before_the_first_request() {
        for name in ["content-length", "transfer-encoding", "connection"] {
            assert!(matches!(headers(&[(name, "1")]), Err(FetchError::Usage(_))), "{name}");
        }
        let nobody = HttpOptions {
            user_agent: String::new(),
            ..HttpOptions::default()
        };
        assert!(Headers::new(&nobody).is_err());
    }

    #[test]
    fn a_body_that_is_json_says_so() {
        assert_eq!(guessed(b" {\"a\":1}"), JSON);
        assert_eq!(guessed(b"{a}"), FORM);
        assert_eq!(guessed(b"a=1&b=2"), FORM);
    }

    #[test]
    fn a_request_that_cannot_be_sent_says_why() {
        let mut headers = headers(&[]).unwrap();
        let bad = (header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        let parts = Parts {
            method: &Method::GET,
            path: "/",
            is_trusted: true,
            headers: &[bad],
            added: Vec::new(),
            body: None,
        };
        assert!(headers.request(parts).is_err());
    }
}
