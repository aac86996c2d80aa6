//! A schema of the config: read, checked against the schema of schemas, compiled. What is wrong is a fault at its line and column.

use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationOptions};
use serde_json::{Map, Number, Value, json};

use super::metered::Metered;
use super::walk::{self, Entry};
use super::{Schema, misfit};
use crate::config::faults::{Faults, nearest, one_of};
use crate::config::model::SchemaConfig;
use crate::config::yaml::{Node, NodeKind, Span};

/// The only draft that is read.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Faults of one schema that are told; a schema of another draft has hundreds.
const FAULTS_TOLD: usize = 20;
/// The largest compiled pattern, and the most that matching it may keep; 1 MiB each.
const PATTERN_MAX: usize = 1 << 20;
/// What `type` may say (JSON Schema Validation, 6.1.1).
const TYPES: &[&str] = &["array", "boolean", "integer", "null", "number", "object", "string"];
/// Formats that are checked.
const FORMATS: &[&str] = &[
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

/// Compiles a schema. None when something is wrong with it, which is then in `faults`.
pub(crate) fn compile(written: &SchemaConfig, faults: &mut Faults) -> Option<Arc<Schema>> {
    let outside = written.outside.as_ref();
    let mut report = Report {
        faults,
        outside: outside.map(|outside| (outside.place, Faults::new("schema", &outside.text))),
        told: 0,
    };
    let root = &written.node;
    let value = value_of(root, "", &mut report);
    let entries = walk::entries(root);
    check_entries(root, &entries, &mut report);
    check_shape(root, &value, &mut report);
    if report.told > 0 {
        return None;
    }
    match options().build(&value) {
        Ok(validator) => Some(Arc::new(Schema { validator })),
        Err(error) => {
            report.add(root.span, "", format!("the schema cannot be used: {}", error.masked()), "");
            None
        }
    }
}

/// How schemas are compiled: nothing is fetched, every match takes linear time, `format` is a rule and no remark.
fn options() -> ValidationOptions<'static, Arc<dyn jsonschema::Retrieve>, Metered> {
    jsonschema::options_for::<Metered>()
        .with_draft(jsonschema::Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX))
}

/// Where faults of a schema go.
struct Report<'f> {
    faults: &'f mut Faults,
    /// Where the schema stands in a file of its own: the place of the reference to it, and its lines.
    outside: Option<(Span, Faults)>,
    told: usize,
}

impl Report<'_> {
    fn add(&mut self, span: Span, pointer: &str, message: impl Into<String>, help: impl Into<String>) {
        self.told += 1;
        if self.told > FAULTS_TOLD {
            return;
        }
        let (message, help) = (message.into(), help.into());
        let (span, message) = match &self.outside {
            Some((place, _)) if pointer.is_empty() => (*place, message),
            Some((place, lines)) => {
                let (line, column) = lines.line_column(span.start);
                (
                    *place,
                    format!("{message}, at `{pointer}` of the schema, line {line}, column {column}"),
                )
            }
            None => (span, message),
        };
        if help.is_empty() {
            self.faults.add(span, message);
        } else {
            self.faults.add_with_help(span, message, help);
        }
    }
}

/// The schema as JSON. The tree's depth is bounded, and with it the recursion.
fn value_of(node: &Node, pointer: &str, report: &mut Report<'_>) -> Value {
    match &node.kind {
        NodeKind::Null => Value::Null,
        NodeKind::Bool(value) => Value::Bool(*value),
        NodeKind::Text(text, _) => Value::String(text.clone()),
        NodeKind::Number(digits) => digits.parse::<Number>().map_or_else(
            |_| {
                report.add(node.span, pointer, "a number out of range", "expected a number up to 1e308");
                Value::Null
            },
            Value::Number,
        ),
        NodeKind::List(items) => {
            let item = |(index, item): (usize, &Node)| value_of(item, &format!("{pointer}/{index}"), report);
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        NodeKind::Map(entries) => {
            let mut object = Map::new();
            for (key, node) in entries {
                let value = value_of(node, &format!("{pointer}/{}", key.value), report);
                object.insert(key.value.clone(), value);
            }
            Value::Object(object)
        }
    }
}

/// What the schema of schemas does not say, or says without a place: keywords, patterns, formats, references.
fn check_entries(root: &Node, entries: &[Entry<'_>], report: &mut Report<'_>) {
    for entry in entries {
        let text = match &entry.node.kind {
            NodeKind::Text(text, _) => Some(text.as_str()),
            _ => None,
        };
        match (entry.key.value.as_str(), text) {
            ("$schema", Some(text)) if text.trim_end_matches('#') != DRAFT => {
                let help = format!("expected `{DRAFT}`, or no `$schema`");
                report.add(entry.node.span, &entry.pointer, "a schema of another draft", help);
            }
            ("pattern", Some(text)) => check_pattern(text, entry.node.span, &entry.pointer, report),
            ("format", Some(text)) if !FORMATS.contains(&text) => {
                let help = match nearest(text, FORMATS.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("expected {}", one_of(FORMATS)),
                };
                report.add(entry.node.span, &entry.pointer, format!("unknown format `{text}`"), help);
            }
            ("$ref" | "$dynamicRef", Some(text)) => check_reference(text, root, entries, entry, report),
            ("patternProperties", _) => {
                if let NodeKind::Map(patterns) = &entry.node.kind {
                    for (pattern, _) in patterns {
                        check_pattern(&pattern.value, pattern.span, &entry.pointer, report);
                    }
                }
            }
            (keyword, _) => check_keyword(keyword, entry, report),
        }
    }
}

/// Unknown keywords are remarks to JSON Schema. One that is nearly a keyword is a rule that would hold nobody.
fn check_keyword(keyword: &str, entry: &Entry<'_>, report: &mut Report<'_>) {
    if walk::keywords().any(|known| known == keyword) {
        return;
    }
    if let Some(near) = nearest(keyword, walk::keywords()) {
        let help = format!("did you mean `{near}`?");
        report.add(entry.key.span, &entry.pointer, format!("unknown keyword `{keyword}`"), help);
    }
}

fn check_pattern(pattern: &str, span: Span, pointer: &str, report: &mut Report<'_>) {
    if options().build(&json!({ "pattern": pattern })).is_err() {
        let help = "expected a regular expression without look-around and back-references, so that a match takes linear time";
        report.add(span, pointer, "a pattern that cannot be used", help);
    }
}

/// A reference stays inside its schema.
fn check_reference(text: &str, root: &Node, entries: &[Entry<'_>], entry: &Entry<'_>, report: &mut Report<'_>) {
    let named = |keyword: &str, name: &str| {
        let is = |other: &Entry<'_>| matches!(&other.node.kind, NodeKind::Text(text, _) if text.trim_end_matches('#').ends_with(name));
        entries.iter().any(|other| other.key.value == keyword && is(other))
    };
    let (document, fragment) = text.split_once('#').unwrap_or((text, ""));
    let has_ids = entries.iter().any(|other| other.key.value == "$id");
    let help = "expected a place in this schema such as `#/$defs/item`; other documents are not fetched";
    if !document.is_empty() && !named("$id", document) {
        report.add(entry.node.span, &entry.pointer, "a reference to another document", help);
        return;
    }
    // With documents inside of the document, only the compiler knows what a fragment is relative to.
    let found = has_ids
        || fragment.is_empty()
        || fragment.contains('%')
        || if fragment.starts_with('/') {
            walk::at(root, fragment).1
        } else {
            named("$anchor", fragment) || named("$dynamicAnchor", fragment)
        };
    if !found {
        report.add(entry.node.span, &entry.pointer, format!("reference `{text}` leads nowhere"), help);
    }
}

/// The schema of schemas.
fn check_shape(root: &Node, value: &Value, report: &mut Report<'_>) {
    let meta = jsonschema::draft202012::meta::validator();
    let mut seen = Vec::new();
    for error in meta.iter_errors(value) {
        let pointer = error.instance_path().as_str();
        // Its vocabularies describe a schema several times.
        if seen.contains(&pointer.to_owned()) {
            continue;
        }
        seen.push(pointer.to_owned());
        let what = match pointer.rsplit('/').next().unwrap_or_default() {
            "" => "the schema".to_owned(),
            name => format!("`{name}`"),
        };
        let (node, _) = walk::at(root, pointer);
        // The only choice in the schema of schemas is that of types.
        if let ValidationErrorKind::AnyOf { .. } = error.kind() {
            report.add(
                node.span,
                pointer,
                format!("{what} must be a type of JSON, or a list of several"),
                types(node),
            );
            continue;
        }
        report.add(node.span, pointer, format!("{what} {}", misfit::must(error.kind())), "");
    }
}

/// What to write for a `type` that is none.
fn types(node: &Node) -> String {
    let near = match &node.kind {
        NodeKind::Text(text, _) => nearest(text, TYPES.iter().copied()),
        _ => None,
    };
    near.map_or_else(|| format!("expected {}", one_of(TYPES)), |near| format!("did you mean `{near}`?"))
}
