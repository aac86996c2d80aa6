//! `run:` of a source: a program that does jobs, and the keys that have a meaning only beside it.

use super::model::WorkerConfig;
use super::read::{Reader, Section};
use super::units;
use super::yaml::{Node, NodeKind, Spanned};

/// With less memory no program gets as far as its first line.
const LEAST_MEMORY: u64 = 1 << 20;

/// Reads what a source says about its program; without a command where that is a fault.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node, section: &Section<'_>) -> WorkerConfig {
    WorkerConfig {
        command: command(reader, node),
        folder: reader.lookup.folder().map(ToOwned::to_owned),
        count: section.get("count").and_then(|node| reader.count(node, "`count`", 1..=1_024)),
        memory: section.get("memory").and_then(|node| memory(reader, node)),
        environment: section.get("env").map(|node| environment(reader, node)).unwrap_or_default(),
        start: section.get("start").and_then(|node| reader.duration(node, "`start`")),
        recycle: section
            .get("recycle")
            .and_then(|node| reader.count(node, "`recycle`", 1..=1_000_000_000)),
    }
}

fn command(reader: &mut Reader<'_>, node: &Node) -> Vec<Spanned<String>> {
    let words = match &node.kind {
        NodeKind::Text(text, _) => {
            let words = text.split_whitespace().collect::<Vec<_>>().join(", ");
            reader.wrong(
                node,
                "`run`",
                &format!("the program and its arguments as a list: write `[{words}]`"),
            );
            return Vec::new();
        }
        NodeKind::List(words) if !words.is_empty() => words,
        NodeKind::List(_) => {
            let expected = "expected the program and its arguments such as `[python3, score.py]`";
            reader.faults.add_with_help(node.span, "`run` is an empty list", expected);
            return Vec::new();
        }
        _ => {
            reader.wrong(
                node,
                "`run`",
                "a list of the program and its arguments such as `[python3, score.py]`",
            );
            return Vec::new();
        }
    };
    let read: Vec<Spanned<String>> = words
        .iter()
        .filter_map(|word| reader.final_text(word, "an item of `run`"))
        .collect();
    // One that has lost a word would be another command.
    if read.len() == words.len() { read } else { Vec::new() }
}

fn memory(reader: &mut Reader<'_>, node: &Node) -> Option<Spanned<u64>> {
    let memory = reader.unit(node, "`memory`", units::size)?;
    if memory.value < LEAST_MEMORY {
        reader.wrong(node, "`memory`", "at least `1M`");
        return None;
    }
    Some(memory)
}

/// `[NAME]`, what this process has under these names, or `{ NAME: value }`.
fn environment(reader: &mut Reader<'_>, node: &Node) -> Vec<(Spanned<String>, Spanned<String>)> {
    let variables = match &node.kind {
        NodeKind::Map(entries) => entries
            .iter()
            .filter_map(|(name, node)| Some((name.clone(), reader.final_text(node, &format!("variable `{}`", name.value))?)))
            .collect(),
        _ => passed_on(reader, node),
    };
    for (name, value) in &variables {
        let letters = name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !letters || name.value.is_empty() || name.value.starts_with(|first: char| first.is_ascii_digit()) {
            let message = format!("`{}` is no name of an environment variable", name.value);
            reader.faults.add_with_help(name.span, message, "expected `A-Z a-z 0-9 _`");
        }
        if value.value.contains('\0') {
            reader.faults.add(value.span, format!("variable `{}` cannot hold NUL", name.value));
        }
    }
    variables
}

fn passed_on(reader: &mut Reader<'_>, node: &Node) -> Vec<(Spanned<String>, Spanned<String>)> {
    let mut variables = Vec::new();
    for name in reader.names(node, "`env`") {
        match reader.lookup.env(&name.value) {
            Some(value) => {
                reader.faults.hide(&value, &format!("$env.{}", name.value));
                let place = name.span;
                variables.push((name, Spanned::new(value, place)));
            }
            None => reader
                .faults
                .add(name.span, format!("environment variable `{}` is not set", name.value)),
        }
    }
    variables
}
