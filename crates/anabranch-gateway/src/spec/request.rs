//! The request of a spec: `GET /feed/7?x=1`, headers, an empty line, the body.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::BadSpec;
use super::document::Block;
use super::repeat;

/// Reads a request.
pub(super) fn parse(block: &Block) -> Result<Request<Bytes>, BadSpec> {
    let (head, body) = block.text.split_once("\n\n").unwrap_or((&block.text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let (method, target) = first
        .split_once(' ')
        .ok_or(BadSpec::new(block.line, "expected a method and a target such as `GET /feed/7?x=1`"))?;
    let method: Method = method
        .parse()
        .map_err(|_| BadSpec::new(block.line, format!("`{method}` is no method")))?;
    let target = repeat::expand(target.trim(), block.line)?;
    let target: Uri = target
        .parse()
        .map_err(|error| BadSpec::new(block.line, format!("the target cannot be sent: {error}")))?;
    let mut request = Request::new(Bytes::from(repeat::expand(body, block.line)?));
    *request.method_mut() = method;
    *request.uri_mut() = target;
    for (at, line) in lines.enumerate() {
        let bad = || {
            BadSpec::new(
                block.line + 1 + at,
                format!("expected a header such as `Accept: */*`, found `{line}`"),
            )
        };
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        let name: HeaderName = name.trim().parse().map_err(|_| bad())?;
        let value = HeaderValue::from_str(repeat::expand(value, block.line)?.trim()).map_err(|_| bad())?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}
