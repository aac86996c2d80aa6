//! Where and how a value does not fit a schema, in words that hold nothing of the value.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use crate::json::write_string;

/// Bytes of a pointer that are told: it holds keys of whoever sent the value.
const POINTER_MAX: usize = 256;

/// One misfit. Their order is that of places, then of rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Misfit {
    /// The place in the value, a JSON Pointer (RFC 6901); empty is the whole of it.
    pub(super) pointer: String,
    /// The keyword of the schema.
    pub(super) rule: String,
    /// What it asks for, with the values of the schema where they are short.
    pub(super) detail: String,
}

impl Misfit {
    pub(super) fn of(error: &ValidationError<'_>) -> Misfit {
        let mut pointer = error.instance_path().as_str().to_owned();
        if pointer.len() > POINTER_MAX {
            let end = (0..=POINTER_MAX).rev().find(|end| pointer.is_char_boundary(*end)).unwrap_or(0);
            pointer.truncate(end);
            pointer.push_str("...");
        }
        let rule = match error.kind() {
            Kind::FalseSchema => "false",
            kind => kind.keyword(),
        };
        Misfit {
            pointer,
            rule: rule.to_owned(),
            detail: must(error.kind()),
        }
    }
}

/// Misfits as a JSON list.
pub(super) fn json(misfits: &[Misfit]) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for (at, misfit) in misfits.iter().enumerate() {
        let members = [("pointer", &misfit.pointer), ("rule", &misfit.rule), ("detail", &misfit.detail)];
        for (index, (name, text)) in members.into_iter().enumerate() {
            let before = match (at, index) {
                (0, 0) => "{",
                (_, 0) => ",{",
                _ => ",",
            };
            out.extend_from_slice(format!("{before}\"{name}\":").as_bytes());
            write_string(&mut out, text);
        }
        out.push(b'}');
    }
    out.push(b']');
    out
}

/// What a rule asks for: `must be an integer`.
pub(super) fn must(kind: &Kind) -> String {
    let fixed = match kind {
        Kind::Type { kind } => return format!("must be {}", types(kind)),
        Kind::Required { property } => return format!("must have the member `{}`", property.as_str().unwrap_or("?")),
        Kind::Minimum { limit } => return format!("must be at least {}", short(limit)),
        Kind::Maximum { limit } => return format!("must be at most {}", short(limit)),
        Kind::ExclusiveMinimum { limit } => return format!("must be more than {}", short(limit)),
        Kind::ExclusiveMaximum { limit } => return format!("must be less than {}", short(limit)),
        Kind::MultipleOf { multiple_of } => return format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => return counted("at least", *limit, "character"),
        Kind::MaxLength { limit } => return counted("at most", *limit, "character"),
        Kind::MinItems { limit } => return counted("at least", *limit, "item"),
        Kind::MaxItems { limit } => return counted("at most", *limit, "item"),
        Kind::AdditionalItems { limit } => return counted("at most", *limit as u64, "item"),
        Kind::MinProperties { limit } => return counted("at least", *limit, "member"),
        Kind::MaxProperties { limit } => return counted("at most", *limit, "member"),
        Kind::Format { format } => return format!("must have the format `{format}`"),
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } => "must have no members but those that are named",
        Kind::UnevaluatedItems { .. } => "must have no items but those that are described",
        Kind::UniqueItems => "must not hold an item twice",
        Kind::Contains => "must hold as many items of one form as are asked for",
        Kind::Constant { .. } => "must be the one value that is allowed",
        Kind::Enum { .. } => "must be one of the values that are allowed",
        Kind::Pattern { .. } => "must match the pattern",
        Kind::PropertyNames { .. } => "must have no member with such a name",
        Kind::AnyOf { .. } => "must have at least one of the forms",
        Kind::OneOfNotValid { .. } => "must have one of the forms",
        Kind::OneOfMultipleValid { .. } => "must have one of the forms, and has several",
        Kind::Not { .. } => "must not have the form that is ruled out",
        Kind::FalseSchema => "must not be there",
        _ => "must be as the schema says",
    };
    fixed.to_owned()
}

fn counted(bound: &str, limit: u64, what: &str) -> String {
    format!("must have {bound} {limit} {what}{}", if limit == 1 { "" } else { "s" })
}

fn types(kind: &TypeKind) -> String {
    let names: Vec<String> = match kind {
        TypeKind::Single(kind) => vec![kind.to_string()],
        TypeKind::Multiple(kinds) => kinds.iter().map(|kind| kind.to_string()).collect(),
    };
    let with_article = |name: &String| match name.as_str() {
        "null" => "null".to_owned(),
        "array" | "integer" | "object" => format!("an {name}"),
        _ => format!("a {name}"),
    };
    names.iter().map(with_article).collect::<Vec<_>>().join(" or ")
}

/// A limit of the schema.
fn short(limit: &Value) -> String {
    limit.to_string()
}
