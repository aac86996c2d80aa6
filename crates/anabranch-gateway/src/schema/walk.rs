//! The places of a written schema where schemas stand: which keywords hold one, a list of them, or a mapping.

use crate::config::yaml::{Node, NodeKind, Spanned};

/// Keywords that hold a schema.
const ONE: &[&str] = &[
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that hold a list of schemas.
const LIST: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords that hold schemas under names.
const NAMED: &[&str] = &["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
/// All other keywords of draft 2020-12.
const PLAIN: &[&str] = &[
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];

/// One entry of a schema.
#[derive(Clone, Debug)]
pub(super) struct Entry<'n> {
    /// Its keyword.
    pub(super) key: &'n Spanned<String>,
    /// Its value.
    pub(super) node: &'n Node,
    /// Where it stands, a JSON Pointer that ends with the keyword.
    pub(super) pointer: String,
}

/// All keywords of draft 2020-12.
pub(super) fn keywords() -> impl Iterator<Item = &'static str> {
    [ONE, LIST, NAMED, PLAIN].into_iter().flatten().copied()
}

/// The entries of a schema and of all schemas in it. The tree's depth is bounded, and with it the recursion.
pub(super) fn entries(schema: &Node) -> Vec<Entry<'_>> {
    let mut found = Vec::new();
    collect(schema, "", &mut found);
    found
}

fn collect<'n>(schema: &'n Node, pointer: &str, found: &mut Vec<Entry<'n>>) {
    let NodeKind::Map(entries) = &schema.kind else {
        return;
    };
    for (key, node) in entries {
        let here = join(pointer, &key.value);
        let keyword = key.value.as_str();
        found.push(Entry {
            key,
            node,
            pointer: here.clone(),
        });
        match &node.kind {
            NodeKind::Map(_) if ONE.contains(&keyword) => collect(node, &here, found),
            NodeKind::List(items) if LIST.contains(&keyword) => {
                for (index, item) in items.iter().enumerate() {
                    collect(item, &join(&here, &index.to_string()), found);
                }
            }
            NodeKind::Map(named) if NAMED.contains(&keyword) => {
                for (name, schema) in named {
                    collect(schema, &join(&here, &name.value), found);
                }
            }
            _ => {}
        }
    }
}

/// The node at a JSON Pointer, or the last one on the way to it with false.
pub(super) fn at<'n>(root: &'n Node, pointer: &str) -> (&'n Node, bool) {
    let mut node = root;
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let inner = match &node.kind {
            NodeKind::Map(entries) => entries.iter().find(|(key, _)| key.value == name).map(|(_, node)| node),
            NodeKind::List(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        };
        let Some(inner) = inner else {
            return (node, false);
        };
        node = inner;
    }
    (node, true)
}

fn join(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
