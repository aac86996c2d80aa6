//! `each:` and `batch:` of a call, and the keys that have a meaning only beside them.

use super::model::{ListConfig, ListKindConfig};
use super::read::{Reader, Section};
use super::yaml::Spanned;

/// Keys that say something about a list.
const BESIDE: &[&str] = &["match", "into", "width", "max_items"];

/// Reads what a call says about a list. None where it is made once, or where what is written is not sound.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<ListConfig> {
    let over = section.present(&["each", "batch"]);
    let Some((key, node)) = over.first() else {
        for (useless, _) in section.present(BESIDE) {
            let message = format!("`{}` has no meaning without a list", useless.value);
            reader
                .faults
                .add_with_help(useless.span, message, "expected `each:` or `batch:` beside it");
        }
        return None;
    };
    if let Some((second, _)) = over.get(1) {
        let message = format!("`{}` and `{}` in one call", key.value, second.value);
        let help = "expected `each:` for one request per item, or `batch:` for one request for many";
        reader.faults.add_with_help(second.span, message, help);
    }
    let list = reader.template(node, &format!("`{}`", key.value));
    let kind = kind(reader, section, key);
    let into = section.get("into").and_then(|node| reader.text(node, "`into`"));
    let width = section.get("width").and_then(|node| reader.count(node, "`width`", 1..=1_000));
    let max_items = section
        .get("max_items")
        .and_then(|node| reader.count(node, "`max_items`", 1..=100_000));
    Some(ListConfig {
        kind,
        over: list?,
        into,
        width,
        max_items,
    })
}

/// What is not sound is reported, and something stands in for it, so that `$it` and `$keys` keep their meaning.
fn kind(reader: &mut Reader<'_>, section: &Section<'_>, key: &Spanned<String>) -> ListKindConfig {
    const EXPECTED: &str = "expected `match: id` for a list of answers, `match: users[].id` for a wrapped one, `match: key` for an object by \
                            key, or `match: order` for answers in the order of the keys";
    let matching = section.entry("match");
    if key.value == "each" {
        if let Some((useless, _)) = matching {
            reader.faults.add_with_help(
                useless.span,
                "`match` has no meaning beside `each`",
                "each item has an answer of its own",
            );
        }
        return ListKindConfig::Each;
    }
    if matching.is_none() {
        reader.faults.add_with_help(key.span, "`batch` without `match`", EXPECTED);
    }
    let matching = matching.and_then(|(_, node)| reader.text(node, "`match`"));
    ListKindConfig::Batch {
        matching: matching.unwrap_or(Spanned::new("key".to_owned(), key.span)),
    }
}
