//! What a request brings along, checked and in canonical form: parameters, headers let in, the JSON body.
//!
//! Everything of the client that a call may refer to passes here, once. What is refused is a 400 that names the parameter and what was
//! expected, never what was sent.

use std::borrow::Cow;
use std::time::Duration;

use anabranch::{Compute, Deadline, Kind};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::gateway::Asked;
use crate::json::{self, JsonFault, Limits};
use crate::plan::model::{Hop, Param, ParamDefault, ParamKind, Reference, Root, RoutePlan};
use crate::render::percent::{decode, Broken};
use crate::render::segment::{check_segment, has_control};
use crate::render::Given;
use crate::respond::Problem;
use crate::route::Matched;
use crate::transform::check;

/// The checked inputs of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// By the index of [`RoutePlan::params`]; None is missing.
    pub params: Vec<Option<ParamValue>>,
    /// By the index of [`RoutePlan::headers`].
    pub headers: Vec<Option<HeaderValue>>,
    /// Validated JSON; only where a call refers to the body.
    pub body: Option<Bytes>,
}

/// The value of a parameter, as text in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamValue {
    /// Of a parameter that is sent once.
    One(String),
    /// Of a parameter that takes repeats, in the order sent.
    List(Vec<String>),
}

impl ParamValue {
    /// The value as references see it; numbers and booleans are JSON as they stand.
    pub fn given<'a>(&'a self, param: &Param) -> Given<'a> {
        let plain = matches!(param.kind, ParamKind::Int { .. } | ParamKind::Number | ParamKind::Bool);
        match self {
            ParamValue::One(text) if plain => Given::Json(text.as_bytes()),
            ParamValue::One(text) if param.rest => Given::Rest(text),
            ParamValue::One(text) => Given::Text(text),
            ParamValue::List(texts) if plain => Given::Values(texts.iter().map(|text| text.as_bytes()).collect()),
            ParamValue::List(texts) => Given::Texts(texts.iter().map(String::as_str).collect()),
        }
    }

    /// The value as JSON.
    pub fn as_json<'a>(&'a self, param: &Param) -> Cow<'a, [u8]> {
        self.given(param).json()
    }
}

impl Inputs {
    /// Checks what a request sent against what its route lets in; all else is dropped. `query` is as sent, without the `?`; `body` is
    /// whole, and None or empty when there is none.
    ///
    /// # Errors
    /// 400 for a parameter, header or body that is not as it must be, 413 for a body larger than the route allows, 415 for one that is
    /// not sent as JSON, or compressed, where a call needs JSON.
    pub fn read(route: &RoutePlan, matched: &Matched<'_>, query: &str, headers: &HeaderMap, body: Option<Bytes>) -> Result<Self, Problem> {
        let inputs = Self::unchecked(route, matched, query, headers, body)?;
        match inputs.body.as_deref().map(|body| json::validate(body, &Limits::default())) {
            Some(Err(fault)) => Err(not_json(fault)),
            _ => Ok(inputs),
        }
    }

    /// The same with a large body checked on the compute pool.
    ///
    /// # Errors
    /// Also 503 where the pool is full, and 504 where the deadline passes before the body is checked.
    pub(crate) async fn read_on(
        compute: &Compute,
        deadline: Deadline,
        route: &RoutePlan,
        matched: &Matched<'_>,
        asked: Asked<'_>,
    ) -> Result<Self, Problem> {
        let inputs = Self::unchecked(route, matched, asked.query, asked.headers, Some(asked.body))?;
        if let Some(body) = &inputs.body {
            match check(body, compute, &route.pattern, deadline).await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => return Err(not_json(fault)),
                Err(error) if error.kind() == Kind::Busy => {
                    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too much is being computed to look at the body");
                    return Err(problem.retry_in(Duration::from_secs(1)));
                }
                Err(_too_late) => {
                    let detail = "the body could not be looked at in time";
                    return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail));
                }
            }
        }
        Ok(inputs)
    }

    /// All of it but for whether the body is JSON.
    fn unchecked(route: &RoutePlan, matched: &Matched<'_>, query: &str, headers: &HeaderMap, body: Option<Bytes>) -> Result<Self, Problem> {
        let (in_path, in_query) = route.params.split_at(route.path_params);
        let mut params = Vec::with_capacity(route.params.len());
        for (index, param) in in_path.iter().enumerate() {
            let capture = matched.captures.get(index).copied().unwrap_or_default();
            params.push(Some(ParamValue::One(path_value(param, capture)?)));
        }
        params.extend(query_values(in_query, query)?);
        let headers_in = route.headers.iter().map(|name| header(name, headers)).collect::<Result<_, _>>()?;
        Ok(Inputs {
            params,
            headers: headers_in,
            body: json_body(route, headers, body)?,
        })
    }

    /// What a reference to the request stands for; missing for a reference to a call, which is not of the request.
    pub fn get<'a>(&'a self, route: &RoutePlan, reference: &Reference) -> Given<'a> {
        match reference.root {
            Root::Param(index) => match (self.params.get(index), route.params.get(index)) {
                (Some(Some(value)), Some(param)) => follow(value.given(param), &reference.path),
                _ => Given::Missing,
            },
            Root::Header(index) => {
                let value = self.headers.get(index).and_then(Option::as_ref);
                let text = value.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
                text.map_or(Given::Missing, Given::Text)
            }
            Root::Body => self
                .body
                .as_deref()
                .map_or(Given::Missing, |body| json::find(body, &reference.path).into()),
            Root::Call(_) | Root::Joined(_) | Root::It | Root::Keys => Given::Missing,
        }
    }
}

/// Follows a path into a parameter that takes repeats; a plain one has no inside.
fn follow<'a>(given: Given<'a>, path: &[Hop]) -> Given<'a> {
    match (given, path) {
        (given, []) => given,
        (given @ (Given::Texts(_) | Given::Values(_)), [Hop::Each]) => given,
        (Given::Texts(texts), [Hop::Index(index)]) => texts.get(*index).map_or(Given::Missing, |text| Given::Text(text)),
        (Given::Values(values), [Hop::Index(index)]) => values.get(*index).map_or(Given::Missing, |value| Given::Json(value)),
        _ => Given::Missing,
    }
}

fn path_value(param: &Param, capture: &str) -> Result<String, Problem> {
    let end = capture
        .strip_suffix('/')
        .filter(|_| param.may_be_folder)
        .map_or(capture.len(), str::len);
    let segments = capture[..end].split('/').map(|segment| {
        let text = decoded(param, segment)?;
        if param.in_path {
            check_segment(&text).map_err(|why| Problem::bad_param(&param.name, why))?;
        }
        Ok(text)
    });
    let text = segments.collect::<Result<Vec<_>, Problem>>()?.join("/") + &capture[end..];
    canonical(param, &text)
}

/// The values of the parameters that a query may hold, in their order. Names that no parameter has are dropped, whatever they hold.
fn query_values(params: &[Param], query: &str) -> Result<Vec<Option<ParamValue>>, Problem> {
    let mut values: Vec<Option<ParamValue>> = vec![None; params.len()];
    for pair in query.split('&') {
        let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(index) = params.iter().position(|param| is_name(name, &param.name)) else {
            continue;
        };
        let param = &params[index];
        let text = decoded(param, &raw.replace('+', " "))?;
        if param.in_path {
            check_segment(&text).map_err(|why| Problem::bad_param(&param.name, why))?;
        }
        let value = canonical(param, &text)?;
        match &mut values[index] {
            Some(ParamValue::List(texts)) => texts.push(value),
            Some(ParamValue::One(_)) => return Err(Problem::bad_param(&param.name, "must be sent once")),
            empty if param.repeats => *empty = Some(ParamValue::List(vec![value])),
            empty => *empty = Some(ParamValue::One(value)),
        }
    }
    for (value, param) in values.iter_mut().zip(params).filter(|(value, _)| value.is_none()) {
        *value = match &param.default {
            ParamDefault::Required => return Err(Problem::bad_param(&param.name, "must be sent")),
            ParamDefault::Missing => None,
            ParamDefault::Value(text) if param.repeats => Some(ParamValue::List(vec![text.clone()])),
            ParamDefault::Value(text) => Some(ParamValue::One(text.clone())),
        };
    }
    Ok(values)
}

/// Whether `sent`, perhaps encoded, is the name of a parameter.
fn is_name(sent: &str, name: &str) -> bool {
    sent == name || sent.contains('%') && decode(sent.as_bytes(), Broken::Keep).is_some_and(|decoded| decoded == name.as_bytes())
}

fn decoded(param: &Param, raw: &str) -> Result<String, Problem> {
    let bytes = decode(raw.as_bytes(), Broken::Refuse)
        .ok_or_else(|| Problem::bad_param(&param.name, "must be percent-encoded, `%25` for a percent sign"))?;
    String::from_utf8(bytes).map_err(|_| Problem::bad_param(&param.name, "must be UTF-8"))
}

fn canonical(param: &Param, text: &str) -> Result<String, Problem> {
    param
        .kind
        .canonical(text)
        .map_err(|expected| Problem::bad_param(&param.name, &format!("must be {expected}")))
}

/// The value of a header let in. Repeats of a list are one list (RFC 9110, 5.3), of cookies one cookie string (RFC 9113, 8.2.3).
pub(crate) fn header(name: &HeaderName, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    for value in &values {
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Problem::bad_header(name.as_str(), "must be UTF-8"))?;
        // A tab may stand between words of any header (RFC 9110, 5.5).
        if has_control(&text.replace('\t', " ")) {
            return Err(Problem::bad_header(name.as_str(), "must not hold control characters"));
        }
    }
    match values.as_slice() {
        [] => Ok(None),
        [value] => Ok(Some((*value).clone())),
        _ if is_single(name) => Err(Problem::bad_header(name.as_str(), "must be sent once")),
        several => {
            let separator: &[u8] = if *name == COOKIE { b"; " } else { b", " };
            let joined = several.iter().map(|value| value.as_bytes()).collect::<Vec<_>>().join(separator);
            HeaderValue::from_bytes(&joined)
                .map(Some)
                .map_err(|_| Problem::bad_header(name.as_str(), "must be text"))
        }
    }
}

/// Headers that are no lists, where two values mean that somebody between us disagrees about which counts.
fn is_single(name: &HeaderName) -> bool {
    [AUTHORIZATION, PROXY_AUTHORIZATION, CONTENT_TYPE, CONTENT_LENGTH, HOST].contains(name)
}

fn json_body(route: &RoutePlan, headers: &HeaderMap, body: Option<Bytes>) -> Result<Option<Bytes>, Problem> {
    let Some(body) = body.filter(|body| !body.is_empty()) else {
        return Ok(None);
    };
    if body.len() as u64 > route.body_max {
        let detail = format!("the body must not be larger than {} bytes", route.body_max);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    if !route.reads_body {
        return Ok(None);
    }
    let plain = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !plain {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must not be compressed"));
    }
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be sent as `application/json`",
        ));
    }
    Ok(Some(body))
}

fn not_json(fault: JsonFault) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("the body must be JSON: {fault}"))
}

/// `application/json`, or a type built on it such as `application/merge-patch+json`.
fn is_json(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

#[cfg(test)]
mod tests;
