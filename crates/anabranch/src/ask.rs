//! Asking a source from code: `shop.on(&client).get(["users", user]).query("lang", "en").send(deadline)`.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use crate::client::{Request, Response};
use crate::source::CallSettings;
use crate::{CallError, CallReport, Client, Deadline, Kind, Source};

/// A source as asked through one client.
#[derive(Clone, Copy, Debug)]
pub struct OnClient<'a> {
    source: &'a Source,
    client: &'a Client,
}

impl<'a> OnClient<'a> {
    pub(crate) fn new(source: &'a Source, client: &'a Client) -> Self {
        OnClient { source, client }
    }

    /// A GET of the path made of these segments.
    pub fn get<S: AsRef<str>>(&self, segments: impl IntoIterator<Item = S>) -> Ask<'a> {
        self.request(Method::GET, segments)
    }

    /// A POST to the path made of these segments.
    pub fn post<S: AsRef<str>>(&self, segments: impl IntoIterator<Item = S>) -> Ask<'a> {
        self.request(Method::POST, segments)
    }

    /// A request with any method. Each segment is encoded; one that could change the path's structure makes the call fail with
    /// [`Kind::Value`] before anything is sent.
    pub fn request<S: AsRef<str>>(&self, method: Method, segments: impl IntoIterator<Item = S>) -> Ask<'a> {
        let mut target = String::new();
        let mut fault = None;
        for segment in segments {
            target.push('/');
            if let Err(error) = push_segment(&mut target, segment.as_ref()) {
                fault.get_or_insert(error);
            }
        }
        if target.is_empty() {
            target.push('/');
        }
        Ask {
            on: *self,
            method,
            target,
            has_query: false,
            headers: Vec::new(),
            body: None,
            settings: *self.source.settings(),
            fault,
        }
    }
}

/// A request being put together.
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Ask<'a> {
    on: OnClient<'a>,
    method: Method,
    target: String,
    has_query: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<(Bytes, HeaderValue)>,
    settings: CallSettings,
    /// The first thing that cannot be sent; [`send`](Ask::send) gives it back.
    fault: Option<CallError>,
}

impl<'a> Ask<'a> {
    /// Adds a pair to the query, both encoded.
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.target.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        push_encoded(&mut self.target, name);
        self.target.push('=');
        push_encoded(&mut self.target, value.as_ref());
        self
    }

    /// Adds a header. A name or value that is none, with a line break for example, makes the call fail with [`Kind::Value`].
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value.as_ref())) {
            (Ok(name), Ok(value)) => self.headers.push((name, value)),
            _ => self.fail(format!("`{name}` is no header or has a value that is none")),
        }
        self
    }

    /// Sets the body and its content type.
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = Some((body.into(), HeaderValue::from_static(content_type)));
        self
    }

    /// Makes the call with these settings instead of its source's.
    pub fn settings(mut self, settings: CallSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Says that asking twice does what asking once does, so that this call may be retried whatever its method.
    pub fn idempotent(mut self) -> Self {
        self.settings.idempotent = true;
        self
    }

    /// Makes the call. An answer of any status is `Ok`; see [`Response::is_success`].
    ///
    /// Ends by the deadline at the latest; dropping the future cancels the call.
    ///
    /// # Errors
    /// Every way in which no whole answer came, and [`Kind::Value`] for a request that cannot be sent.
    pub async fn send(self, deadline: Deadline) -> Result<Response, CallError> {
        self.send_reported(deadline).await.0
    }

    /// The same, with what was done: attempts and the time that each phase took.
    pub async fn send_reported(self, deadline: Deadline) -> (Result<Response, CallError>, CallReport) {
        let OnClient { source, client } = self.on;
        let settings = self.settings;
        match self.into_request() {
            Ok(request) => source.call(client, &request, &settings, deadline).await,
            Err(error) => (Err(error), CallReport::default()),
        }
    }

    fn into_request(self) -> Result<Request, CallError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut request = Request::new(self.method, self.target)?;
        for (name, value) in self.headers {
            request = request.header(name, value)?;
        }
        Ok(match self.body {
            Some((body, content_type)) => request.body(body, content_type),
            None => request,
        })
    }

    fn fail(&mut self, detail: String) {
        self.fault.get_or_insert_with(|| CallError::new(Kind::Value, detail));
    }
}

/// Encoding keeps slashes and the like inside their segment, but many servers decode before they split, so what would be a dot segment
/// or hold a separator after one decoding is refused.
fn push_segment(target: &mut String, segment: &str) -> Result<(), CallError> {
    let decoded = segment
        .to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "\\");
    let refused = match decoded.as_str() {
        "" => Some("is empty"),
        "." | ".." => Some("is a dot segment"),
        other if other.contains(['/', '\\']) => Some("has a separator in it"),
        other if other.chars().any(char::is_control) => Some("has control characters in it"),
        _ => None,
    };
    if let Some(why) = refused {
        return Err(CallError::new(Kind::Value, format!("a path segment {why}")));
    }
    push_encoded(target, segment);
    Ok(())
}

/// Everything but the unreserved characters of RFC 3986 section 2.3 is encoded.
fn push_encoded(target: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.push(char::from(DIGITS[usize::from(byte >> 4)]));
            target.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(text: &str) -> Result<String, CallError> {
        let mut target = String::new();
        push_segment(&mut target, text).map(|()| target)
    }

    #[test]
    fn a_segment_stays_one_segment() {
        assert_eq!(segment("a b?c#d&e=ü").unwrap(), "a%20b%3Fc%23d%26e%3D%C3%BC");
        assert_eq!(segment("..x").unwrap(), "..x");
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "..\\admin",
            "%2e%2E",
            "%2e.",
            "a%2fb",
            "a%5Cb",
            "a\r\nb",
            "a\0b",
        ] {
            assert_eq!(segment(text).expect_err(text).kind(), Kind::Value, "{text:?}");
        }
    }
}
