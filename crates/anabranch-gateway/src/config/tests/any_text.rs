//! Arbitrary texts: nothing panics, places are exact, secrets stay hidden.

use proptest::prelude::*;

use super::{lookup, ACTIVITY};
use crate::config::{compile, yaml, Faults, Node, NodeKind, Span, Style};

/// Every text without quotes and on one line stands in the file at its place, and children lie within their parents.
fn places_hold(node: &Node, text: &str) {
    let inside = |span: Span| node.span.start <= span.start && span.end <= node.span.end;
    match &node.kind {
        NodeKind::Text(value, Style::Plain) if !value.contains('\n') && !text[node.span.start..node.span.end].contains('\n') => {
            assert_eq!(&text[node.span.start..node.span.end], value);
        }
        NodeKind::List(items) => {
            for item in items {
                assert!(inside(item.span), "{item:?} of {node:?} in {text:?}");
                places_hold(item, text);
            }
        }
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                assert!(
                    inside(key.span) && inside(value.span),
                    "{key:?} {value:?} of {:?} in {text:?}",
                    node.span
                );
                places_hold(value, text);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = compile("f", &text, &lookup()).map_err(|faults| faults.render(true));
    }

    #[test]
    fn no_yaml_makes_the_reader_panic(text in "[ \\-:\\[\\]{},#&*!|>'\"%@`?~a0$.ä\n\t]{0,80}") {
        let mut faults = Faults::new("f", &text);
        if let (Some(root), true) = (yaml::parse(&text, &mut faults), faults.is_empty()) {
            places_hold(&root, &text);
        }
        faults.render(false);
    }

    #[test]
    fn no_config_with_pieces_cut_out_or_put_in_makes_the_compiler_panic(
        from in 0..ACTIVITY.len(), length in 0..40_usize, piece in "[ \\-:\\[\\]{},$a0|'\"\n]{0,6}|\\$env\\.(HOST|SECRET|NOPE)|\\$[a-z]{1,4}(\\[\\]|\\.0)?"
    ) {
        let mut text = ACTIVITY.to_owned();
        text.replace_range(from..(from + length).min(ACTIVITY.len()), &piece);
        if let Err(faults) = compile("f", &text, &lookup()) {
            prop_assert!(!faults.is_empty());
            let shown = faults.render(false);
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        }
    }
}
