//! `when:` as a yes or a no.

use std::borrow::Cow;

use super::{Given, Scope};
use crate::json::{compare, trim};
use crate::plan::model::{Comparison, Condition, Operand};

/// Whether the condition holds, by jq's truth: null, false and missing are no, all else is yes; what is missing compares as null.
/// Recurses as deep as the config was written.
pub fn holds(condition: &Condition, scope: &dyn Scope) -> bool {
    match condition {
        Condition::Truth(reference) => is_true(&scope.get(reference)),
        Condition::Compare(left, comparison, right) => {
            let order = compare(&operand(left, scope), &operand(right, scope));
            match comparison {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            }
        }
        Condition::And(left, right) => holds(left, scope) && holds(right, scope),
        Condition::Or(left, right) => holds(left, scope) || holds(right, scope),
        Condition::Not(inner) => !holds(inner, scope),
    }
}

fn is_true(given: &Given<'_>) -> bool {
    match given {
        Given::Missing => false,
        Given::Json(value) => !matches!(trim(value), b"null" | b"false"),
        Given::Text(_) | Given::Rest(_) | Given::Texts(_) | Given::Values(_) => true,
    }
}

fn operand<'a>(operand: &'a Operand, scope: &'a dyn Scope) -> Cow<'a, [u8]> {
    match operand {
        Operand::Ref(reference) => scope.get(reference).json(),
        Operand::Literal(value) => Cow::Borrowed(value),
    }
}
