//! Random documents for the properties of this module and its users.

use proptest::prelude::*;
use serde_json::{Map, Number, Value};

/// Any tree: small, with odd strings, keys that escape, and numbers of every size.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Number(number.into())),
        // Eighths have few digits: serde_json reads longer ones a bit off unless built for exact round trips.
        any::<i32>()
            .prop_filter_map("finite", |eighths| Number::from_f64(f64::from(eighths) / 8.0))
            .prop_map(Value::Number),
        odd_text().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((odd_text(), inner), 0..6).prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Text with quotes, backslashes, control characters and brackets more often than chance would have it.
pub(crate) fn odd_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        4 => proptest::char::range('a', 'e'),
        2 => prop::sample::select(vec!['"', '\\', '\n', '\u{0}', '\u{1f}', '\u{7f}', '/', '.', '%', '{', ']', ',', ':', ' ']),
        1 => any::<char>(),
    ];
    prop::collection::vec(character, 0..20).prop_map(|characters| characters.into_iter().collect())
}
