//! Plans without a config, for the tests of routing and of inputs.

use std::time::Duration;

use crate::plan::model::{Need, Param, ParamDefault, ParamKind, Plan, Reply, RoutePlan, Segment};

/// A plan of these routes, `GET /a/{x}` each, that calls nothing.
pub(crate) fn plan(routes: &[&str]) -> Plan {
    Plan {
        listen: "127.0.0.1:0".to_string(),
        health: None,
        admin: None,
        credentials: Vec::new(),
        ignore_slash: false,
        max_calls: 1000,
        cache_size: 0,
        sources: Vec::new(),
        routes: routes.iter().map(|route_text| route(route_text)).collect(),
        warnings: Vec::new(),
    }
}

/// A route whose path parameters are texts that no call puts into a path.
pub(crate) fn route(text: &str) -> RoutePlan {
    let (method, pattern) = text.split_once(' ').unwrap();
    let mut params = Vec::new();
    let mut segments = Vec::new();
    for segment in pattern[1..].split('/') {
        if let Some(name) = segment.strip_prefix('*') {
            segments.push(Segment::Rest(params.len()));
            params.push(Param {
                rest: true,
                ..param(name, ParamKind::Text, ParamDefault::Required)
            });
        } else if let Some(name) = segment.strip_prefix('{') {
            segments.push(Segment::Param(params.len()));
            params.push(param(name.trim_end_matches('}'), ParamKind::Text, ParamDefault::Required));
        } else {
            segments.push(Segment::Fixed(segment.to_string()));
        }
    }
    RoutePlan {
        method: method.parse().unwrap(),
        pattern: pattern.to_string(),
        segments,
        path_params: params.len(),
        params,
        headers: Vec::new(),
        reads_body: false,
        body_schema: None,
        body_max: 1 << 20,
        deadline: Duration::from_secs(5),
        grace: None,
        proxy: None,
        need: Need::OnePart,
        calls: Vec::new(),
        parts: Vec::new(),
        joins: Vec::new(),
        reply: Reply::Object,
        status_from: None,
        errors_pass: false,
        account_body: false,
        timing: None,
    }
}

/// A parameter that is sent once.
pub(crate) fn param(name: &str, kind: ParamKind, default: ParamDefault) -> Param {
    Param {
        name: name.to_string(),
        kind,
        default,
        repeats: false,
        in_path: false,
        rest: false,
        may_be_folder: false,
    }
}
