//! The tree becomes a [`Config`]: the file itself, and the small readers that every section uses.
//!
//! A reader that finds a fault adds it and goes on with nothing in its place, so that all faults come at once.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::faults::{Faults, one_of};
use super::keys::{self, Keys};
use super::lookup::Lookup;
use super::model::{CacheConfig, CallSettings, Config, SlashConfig};
use super::resolve::{first_outside, resolve, Purpose};
use super::units;
use super::yaml::{Node, NodeKind, Span, Spanned, Style};
use super::{routes, sources};

/// Reads a whole file's tree. Faults are added; what has none is in the config.
pub(super) fn file(root: &Node, lookup: &dyn Lookup, faults: &mut Faults) -> Config {
    let mut reader = Reader { faults, lookup };
    let mut config = Config::default();
    let NodeKind::Map(_) = &root.kind else {
        reader.wrong(root, "the file", "a mapping of keys such as `sources:` and `routes:`");
        return config;
    };
    let Some(section) = reader.section(root, "the file", &keys::FILE) else {
        return config;
    };
    config.listen = section.get("listen").and_then(|node| reader.final_text(node, "`listen`"));
    config.health = section.get("health").and_then(|node| reader.final_text(node, "`health`"));
    config.admin = section.get("admin").and_then(|node| reader.final_text(node, "`admin`"));
    config.credentials = section
        .get("credentials")
        .map(|node| reader.names(node, "`credentials`"))
        .unwrap_or_default();
    config.slash = section
        .get("slash")
        .and_then(|node| reader.choice(node, "`slash`", &[("strict", SlashConfig::Strict), ("ignore", SlashConfig::Ignore)]));
    config.max_calls = section
        .get("max_calls")
        .and_then(|node| reader.count(node, "`max_calls`", 1..=1_000_000));
    config.cache_size = section
        .get("cache_size")
        .and_then(|node| reader.unit(node, "`cache_size`", units::size));
    if let Some(defaults) = section
        .get("defaults")
        .and_then(|node| reader.section(node, "`defaults`", &keys::DEFAULTS))
    {
        config.defaults = reader.settings(&defaults);
    }
    config.sources = section
        .get("sources")
        .map(|node| sources::read(&mut reader, node))
        .unwrap_or_default();
    match section.get("routes") {
        Some(node) => config.routes = routes::read(&mut reader, node),
        None => {
            let place = Span {
                start: root.span.start,
                end: root.span.start,
            };
            reader.faults.add_with_help(
                place,
                "the file has no `routes`",
                "expected `routes:` with entries such as `GET /activity/{id:int}:`",
            );
        }
    }
    config
}

/// What every section's reader needs.
pub(super) struct Reader<'a> {
    pub(super) faults: &'a mut Faults,
    pub(super) lookup: &'a dyn Lookup,
}

/// A mapping whose keys have been checked.
#[derive(Clone, Copy)]
pub(super) struct Section<'n> {
    entries: &'n [(Spanned<String>, Node)],
}

impl<'n> Section<'n> {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// A key with its place, and its value.
    pub(super) fn entry(&self, key: &str) -> Option<(&'n Spanned<String>, &'n Node)> {
        self.entries
            .iter()
            .find(|(name, _)| name.value == key)
            .map(|(name, node)| (name, node))
    }

    /// Those of `names` that are there, in the order written.
    pub(super) fn present(&self, names: &[&str]) -> Vec<(&'n Spanned<String>, &'n Node)> {
        self.entries
            .iter()
            .filter(|(name, _)| names.contains(&name.value.as_str()))
            .map(|(name, node)| (name, node))
            .collect()
    }
}

impl Reader<'_> {
    /// Opens a mapping with fixed keys; unknown ones are faults.
    pub(super) fn section<'n>(&mut self, node: &'n Node, what: &str, keys: &Keys) -> Option<Section<'n>> {
        let entries = self.entries(node, what, &format!("a mapping with keys such as `{}:`", keys.known[0]))?;
        for (key, _) in entries {
            if !keys.known.contains(&key.value.as_str()) {
                self.unknown_key(key, keys);
            }
        }
        Some(Section { entries })
    }

    /// Opens a mapping with free names.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str, expected: &str) -> Option<&'n [(Spanned<String>, Node)]> {
        match &node.kind {
            NodeKind::Map(entries) => Some(entries),
            _ => {
                self.wrong(node, what, expected);
                None
            }
        }
    }

    /// The items of a list.
    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str, expected: &str) -> Option<&'n [Node]> {
        match &node.kind {
            NodeKind::List(items) => Some(items),
            _ => {
                self.wrong(node, what, expected);
                None
            }
        }
    }

    /// Text as it stands, without references to the outside.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        match &node.kind {
            NodeKind::Text(text, _) => Some(Spanned::new(text.clone(), node.span)),
            NodeKind::Null => {
                self.wrong(node, what, "text");
                None
            }
            _ => {
                self.wrong(node, what, "text: quote it, or use `|`");
                None
            }
        }
    }

    /// Text in which `$env.NAME` and `$file.PATH` are replaced and nothing else may stand for something.
    pub(super) fn final_text(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        self.resolved(node, what, Purpose::Text)
    }

    /// Text with references, of which those to the outside are replaced.
    pub(super) fn template(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        self.resolved(node, what, Purpose::Template)
    }

    /// A condition, the same way.
    pub(super) fn condition(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        self.resolved(node, what, Purpose::Condition)
    }

    fn resolved(&mut self, node: &Node, what: &str, purpose: Purpose) -> Option<Spanned<String>> {
        let text = self.text(node, what)?;
        let value = resolve(&text.value, text.span, purpose, self.lookup, self.faults)?;
        Some(Spanned::new(value, text.span))
    }

    /// A value of any kind in which every text is a template. Depth is bounded by the tree's.
    pub(super) fn template_tree(&mut self, node: &Node) -> Node {
        let kind = match &node.kind {
            NodeKind::Text(text, style) => {
                let value = resolve(text, node.span, Purpose::Template, self.lookup, self.faults);
                NodeKind::Text(value.unwrap_or_default(), *style)
            }
            NodeKind::List(items) => NodeKind::List(items.iter().map(|item| self.template_tree(item)).collect()),
            NodeKind::Map(entries) => NodeKind::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), self.template_tree(value)))
                    .collect(),
            ),
            other => other.clone(),
        };
        Node { kind, span: node.span }
    }

    /// A value that must not hold references to the outside, since nothing would read them.
    pub(super) fn literal_tree(&mut self, node: &Node, what: &str) -> Node {
        self.refuse_outside(node, what);
        node.clone()
    }

    fn refuse_outside(&mut self, node: &Node, what: &str) {
        match &node.kind {
            NodeKind::Text(text, style) => {
                if let Some(range) = first_outside(text) {
                    let place = if *style == Style::Block {
                        node.span
                    } else {
                        self.faults.within(node.span, text, range.start, range.end)
                    };
                    self.faults.add(place, format!("`{}` cannot stand in {what}", &text[range]));
                }
            }
            NodeKind::List(items) => items.iter().for_each(|item| self.refuse_outside(item, what)),
            NodeKind::Map(entries) => entries.iter().for_each(|(_, value)| self.refuse_outside(value, what)),
            _ => {}
        }
    }

    /// A list of names: `[a, b]`.
    pub(super) fn names(&mut self, node: &Node, what: &str) -> Vec<Spanned<String>> {
        let expected = match &node.kind {
            NodeKind::Text(text, _) => format!("a list: write `[{text}]`"),
            _ => "a list of names such as `[a, b]`".to_owned(),
        };
        let items = self.items(node, what, &expected).unwrap_or_default();
        let mut names: Vec<Spanned<String>> = Vec::with_capacity(items.len());
        for item in items {
            let Some(name) = self.text(item, &format!("an item of {what}")) else {
                continue;
            };
            if names.iter().any(|earlier| earlier.value == name.value) {
                self.faults.add(name.span, format!("`{}` stands twice in {what}", name.value));
            } else {
                names.push(name);
            }
        }
        names
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, node: &Node, what: &str) -> Option<Spanned<bool>> {
        match &node.kind {
            NodeKind::Bool(value) => Some(Spanned::new(*value, node.span)),
            _ => {
                self.wrong(node, what, "`true` or `false`");
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn count(&mut self, node: &Node, what: &str, bounds: RangeInclusive<u32>) -> Option<Spanned<u32>> {
        let number = match &node.kind {
            NodeKind::Number(digits) => digits.parse::<u32>().ok().filter(|number| bounds.contains(number)),
            _ => None,
        };
        if number.is_none() {
            self.wrong(node, what, &format!("a whole number from {} to {}", bounds.start(), bounds.end()));
        }
        number.map(|number| Spanned::new(number, node.span))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, what: &str, choices: &[(&str, T)]) -> Option<Spanned<T>> {
        let word = match &node.kind {
            NodeKind::Text(word, _) | NodeKind::Number(word) => word.as_str(),
            _ => "",
        };
        let chosen = choices.iter().find(|(name, _)| *name == word);
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.wrong(node, what, &one_of(&names));
        }
        chosen.map(|(_, value)| Spanned::new(*value, node.span))
    }

    /// A duration above zero.
    pub(super) fn duration(&mut self, node: &Node, what: &str) -> Option<Spanned<Duration>> {
        let duration = self.unit(node, what, units::duration)?;
        if duration.value.is_zero() {
            self.wrong(node, what, "a duration above 0");
            return None;
        }
        Some(duration)
    }

    /// A text that one of the readers of `units` understands.
    pub(super) fn unit<T>(&mut self, node: &Node, what: &str, read: fn(&str) -> Result<T, String>) -> Option<Spanned<T>> {
        let text = match &node.kind {
            NodeKind::Text(text, _) | NodeKind::Number(text) => text.as_str(),
            _ => "",
        };
        match read(text) {
            Ok(value) => Some(Spanned::new(value, node.span)),
            Err(expected) => {
                self.wrong(node, what, expected.strip_prefix("expected ").unwrap_or(&expected));
                None
            }
        }
    }

    /// The settings that a call, a source and `defaults` share, as far as the section has their keys.
    pub(super) fn settings(&mut self, section: &Section<'_>) -> CallSettings {
        CallSettings {
            timeout: section.get("timeout").and_then(|node| self.duration(node, "`timeout`")),
            // More attempts than this are a storm, not a retry.
            retry: section.get("retry").and_then(|node| self.count(node, "`retry`", 0..=10)),
            max_body: section.get("max_body").and_then(|node| self.unit(node, "`max_body`", units::size)),
            connect_timeout: section
                .get("connect_timeout")
                .and_then(|node| self.duration(node, "`connect_timeout`")),
            first_byte: section.get("first_byte").and_then(|node| self.duration(node, "`first_byte`")),
            body_idle: section.get("body_idle").and_then(|node| self.duration(node, "`body_idle`")),
            cache: section.get("cache").and_then(|node| self.cache(node)),
            stale: section.get("stale").and_then(|node| self.unit(node, "`stale`", units::duration)),
            vary: section.get("vary").map(|node| self.names(node, "`vary`")),
        }
    }

    /// `cache:` a fixed time, or `http`.
    fn cache(&mut self, node: &Node) -> Option<Spanned<CacheConfig>> {
        self.unit(node, "`cache`", |text| match text {
            "http" => Ok(CacheConfig::Http),
            time => units::duration(time)
                .map(CacheConfig::For)
                .map_err(|expected| format!("{expected}; or `http`")),
        })
    }

    /// Adds the fault that `what` is something else than expected.
    pub(super) fn wrong(&mut self, node: &Node, what: &str, expected: &str) {
        let message = match &node.kind {
            NodeKind::Null => format!("{what} has no value"),
            NodeKind::Bool(value) => format!("{what} cannot be `{value}`"),
            NodeKind::Number(text) => format!("{what} cannot be `{text}`"),
            NodeKind::Text(text, Style::Plain | Style::Quoted) if text.chars().count() <= 60 && !text.contains('\n') => {
                format!("{what} cannot be `{text}`")
            }
            other => format!("{what} cannot be {}", other.describe()),
        };
        self.faults.add_with_help(node.span, message, format!("expected {expected}"));
    }

    fn unknown_key(&mut self, key: &Spanned<String>, keys: &Keys) {
        let name = key.value.as_str();
        if keys.plans(name) {
            self.faults.add_with_help(
                key.span,
                format!("unknown key `{name}`: not built yet"),
                "this version does not know it",
            );
        } else if let Some(places) = keys.belongs_elsewhere(name) {
            self.faults.add_with_help(
                key.span,
                format!("unknown key `{name}` in {}", keys.of),
                format!("it belongs to {places}"),
            );
        } else {
            self.faults.add_unknown(key.span, "key", name, keys.known.iter().copied());
        }
    }
}
