//! The tree of a config's YAML: values that know where they were written. `tree` reads it from text.

use std::fmt;

pub use super::tree::{parse, DEPTH_MAX, TEXT_MAX};

/// A place in the text: byte offsets, the end not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

/// A value with the place that it was written at. `Debug` shows the place only, since the value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Joins a value and its place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T> fmt::Debug for Spanned<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Spanned({}..{})", self.span.start, self.span.end)
    }
}

/// One value of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it was written; quotes belong to it. A value left out (`key:`) has the place of its key.
    pub span: Span,
}

/// What a value is. `Debug` shows no texts, since they may be secrets.
#[derive(Clone, PartialEq)]
pub enum NodeKind {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`; `yes` and `no` are texts.
    Bool(bool),
    /// A valid JSON number with every digit as written.
    Number(String),
    /// Text, and how it was written.
    Text(String, Style),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order written; keys differ.
    Map(Vec<(Spanned<String>, Node)>),
}

/// How a text was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// As a block, `|` or `>`.
    Block,
}

impl NodeKind {
    /// What to call it in a message: `a list`.
    pub fn describe(&self) -> &'static str {
        match self {
            NodeKind::Null => "nothing",
            NodeKind::Bool(_) => "a boolean",
            NodeKind::Number(_) => "a number",
            NodeKind::Text(..) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
        }
    }
}

impl fmt::Debug for NodeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeKind::List(items) => formatter.debug_list().entries(items).finish(),
            NodeKind::Map(entries) => formatter
                .debug_map()
                .entries(entries.iter().map(|(key, node)| (key, node)))
                .finish(),
            _ => formatter.write_str(self.describe()),
        }
    }
}
