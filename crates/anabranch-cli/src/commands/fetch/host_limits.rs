//! `--limits`: a YAML file of limits for single hosts.
//!
//! ```yaml
//! "*.example.com": { in_flight: 2, rate: 5/s, delay: 1s }
//! api.example.com: { in_flight: 8 }
//! ```

use std::path::Path;
use std::time::Duration;

use anabranch_fetch::options::HostLimit;
use anabranch_gateway::config::{Faults, Node, NodeKind, Span, Spanned, units, yaml};
use anyhow::anyhow;

use crate::config_file;
use crate::exit::Failure;

/// What the file should be.
const EXPECTED: &str = "expected hosts, such as `api.example.com: { in_flight: 2, rate: 5/s, delay: 1s }`";
const KEYS: [&str; 3] = ["in_flight", "rate", "delay"];

/// Reads and checks the file.
///
/// # Errors
/// Usage: it has faults; the message shows all of them with their places. Environment: it cannot be read.
pub(crate) fn load(path: &Path) -> Result<Vec<HostLimit>, Failure> {
    let text = config_file::read(path)?;
    parse(&path.display().to_string(), &text).map_err(|faults| {
        let rendered = faults.render(false);
        let shown = rendered.trim_end();
        Failure::usage(anyhow!("{}", shown.strip_prefix("error: ").unwrap_or(shown)))
    })
}

fn parse(file: &str, text: &str) -> Result<Vec<HostLimit>, Faults> {
    let mut faults = Faults::new(file, text);
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        faults.add_with_help(Span::default(), "the file is empty", EXPECTED);
        return Err(faults);
    }
    let root = yaml::parse(text, &mut faults);
    let limits = root.map(|root| hosts(&root, &mut faults)).unwrap_or_default();
    if faults.is_empty() { Ok(limits) } else { Err(faults) }
}

fn hosts(root: &Node, faults: &mut Faults) -> Vec<HostLimit> {
    let NodeKind::Map(entries) = &root.kind else {
        faults.add_with_help(root.span, format!("the file is {}", root.kind.describe()), EXPECTED);
        return Vec::new();
    };
    entries.iter().map(|(pattern, node)| host(pattern, node, faults)).collect()
}

fn host(pattern: &Spanned<String>, node: &Node, faults: &mut Faults) -> HostLimit {
    let mut limit = HostLimit {
        pattern: pattern.value.to_ascii_lowercase(),
        in_flight: None,
        rate: None,
        delay: None,
    };
    if !is_pattern(&limit.pattern) {
        let help = "expected a host such as `api.example.com` or `localhost:8080`, or `*.example.com` for all below it; no scheme, no path";
        faults.add_with_help(pattern.span, format!("`{}` is no host", pattern.value), help);
    }
    let NodeKind::Map(entries) = &node.kind else {
        let help = "expected limits, such as `{ in_flight: 2, rate: 5/s, delay: 1s }`";
        faults.add_with_help(node.span, format!("`{}` is {}", pattern.value, node.kind.describe()), help);
        return limit;
    };
    for (key, value) in entries {
        match key.value.as_str() {
            "in_flight" => limit.in_flight = read(key, value, faults, in_flight),
            "rate" => limit.rate = read(key, value, faults, units::rate),
            "delay" => limit.delay = read(key, value, faults, delay),
            _ => faults.add_unknown(key.span, "key", &key.value, KEYS),
        }
    }
    limit
}

/// A host with or without its port, or `*.` and a domain.
fn is_pattern(text: &str) -> bool {
    let (host, may_have_port) = text.strip_prefix("*.").map_or((text, true), |domain| (domain, false));
    let is_host = |text: &str| url::Host::parse(text).is_ok();
    let with_port = || {
        host.rsplit_once(':')
            .is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
    };
    is_host(host) || (may_have_port && with_port())
}

fn read<T>(key: &Spanned<String>, node: &Node, faults: &mut Faults, of: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    let text = match &node.kind {
        NodeKind::Text(text, _) | NodeKind::Number(text) => text.as_str(),
        other => {
            faults.add(node.span, format!("`{}` cannot be {}", key.value, other.describe()));
            return None;
        }
    };
    match of(text) {
        Ok(value) => Some(value),
        Err(expected) => {
            faults.add_with_help(node.span, format!("`{}` cannot be `{text}`", key.value), expected);
            None
        }
    }
}

fn in_flight(text: &str) -> Result<usize, String> {
    let number: Option<usize> = text.parse().ok();
    number
        .filter(|number| (1..=100_000).contains(number))
        .ok_or_else(|| "expected a number from 1 to 100000".to_string())
}

fn delay(text: &str) -> Result<Duration, String> {
    units::duration(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let text = "\"*.Example.com\": { in_flight: 2, rate: 30/m, delay: 1s }\napi.example.com: { in_flight: 8 }\n\"127.0.0.1:8080\": { rate: 5/s }\n";
        let limits = parse("hosts.yaml", text).unwrap();
        assert_eq!(
            limits[0],
            HostLimit {
                pattern: "*.example.com".into(),
                in_flight: Some(2),
                rate: Some(0.5),
                delay: Some(Duration::from_secs(1)),
            }
        );
        assert_eq!((limits[1].in_flight, limits[1].rate), (Some(8), None));
        assert_eq!(limits.len(), 3);
    }

    #[test]
    fn all_faults_come_at_once_with_their_places() {
        let text = "http://a/: { in_flight: 2 }\nb: { in_flihgt: 2, rate: fast, delay: 5 }\nc: 3\n";
        let faults = parse("hosts.yaml", text).unwrap_err();
        let shown = faults.render(false);
        assert_eq!(faults.len(), 5, "{shown}");
        for part in [
            "`http://a/` is no host",
            "did you mean `in_flight`?",
            "hosts.yaml:2:",
            "`5s`",
            "`c` is a number",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        assert!(parse("hosts.yaml", "- a\n").is_err());
        assert!(parse("hosts.yaml", "# a\n").unwrap_err().render(false).contains("expected hosts"));
    }
}
