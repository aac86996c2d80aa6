//! Commands of `redis:` calls: `hot SMEMBERS seen:$uid`, split into words at blanks before any value is filled in, so that a value is
//! always one argument, or one for each of a list.

use super::call::Around;
use super::model::{Hop, Piece, RedisAction, Reference, Root, Template};
use super::names::Names;
use super::place::{fault, Text};
use super::reference::{parse, Part};
use super::target::find_source;
use crate::config::faults::{nearest, Faults};
use crate::config::model::Way;
use crate::config::yaml::Spanned;

/// Compiles a call with `redis:`; also gives its source, if there is one. What is wrong is reported and left out.
pub(super) fn compile(written: &Spanned<String>, around: &Around<'_>, faults: &mut Faults) -> (Option<usize>, RedisAction) {
    let mut action = RedisAction {
        source: 0,
        words: Vec::new(),
        is_read: true,
    };
    let Some(command) = Command::read(written, faults) else {
        return (None, action);
    };
    let source = find_source(command.source, Way::Redis, &around.config.sources, faults);
    if let Some(name) = command.name(faults) {
        if let Some(source) = source {
            command.check_name(&name, &around.config.sources[source].allow, faults);
        }
        action.is_read = is_read(&name);
    }
    action.words = command.words(around.names, faults);
    action.source = source.unwrap_or_default();
    (source, action)
}

/// A command as written, taken apart.
struct Command<'a> {
    /// The name of the source.
    source: Text<'a>,
    /// The words behind it.
    words: Vec<Word<'a>>,
}

/// The pieces of a word, without the quotes around some of them.
type Word<'a> = Vec<Text<'a>>;

impl<'a> Command<'a> {
    /// Splits a command. None where nothing stands behind the source, which is a fault.
    fn read(written: &'a Spanned<String>, faults: &mut Faults) -> Option<Self> {
        let text = Text::of(written).trimmed();
        let Some((source, rest)) = text
            .text
            .find(char::is_whitespace)
            .map(|at| (text.slice(0..at), text.slice(at..text.text.len())))
        else {
            let what = format!("`{}` is no command", text.text);
            fault(faults, text, what, "a source and a command: `hot GET user:$id`");
            return None;
        };
        Some(Command {
            source,
            words: split(rest, faults),
        })
    }

    /// The command's name in upper case; None where it is no fixed word, which is a fault.
    fn name(&self, faults: &mut Faults) -> Option<String> {
        let name = self.words.first()?;
        match name.as_slice() {
            [word] if !word.text.contains('$') => Some(word.text.to_ascii_uppercase()),
            pieces => {
                let place = pieces.first().copied().unwrap_or(self.source);
                fault(
                    faults,
                    place,
                    "the name of a command is one fixed word",
                    "values are arguments: `GET user:$id`",
                );
                None
            }
        }
    }

    /// Reports a command that may not be sent: `allowed` are those that the source lets through beside the safe ones.
    fn check_name(&self, name: &str, allowed: &[Spanned<String>], faults: &mut Faults) {
        if is_safe(name) || allowed.iter().any(|other| other.value.eq_ignore_ascii_case(name)) {
            return;
        }
        let Some(place) = self.words.first().and_then(|word| word.first()) else {
            return;
        };
        let help = match nearest(name, SUGGESTED.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one that reads or writes the keys it names; `allow: [{name}]` on the source lets this one through"),
        };
        fault(faults, *place, format!("`{name}` is not among the commands that are safe"), help);
    }

    /// The words as templates.
    fn words(&self, names: &Names<'_>, faults: &mut Faults) -> Vec<Template> {
        self.words.iter().map(|word| template(word, names, faults)).collect()
    }
}

/// Splits at blanks; quotes, single or double, group and are left out.
fn split<'a>(text: Text<'a>, faults: &mut Faults) -> Vec<Word<'a>> {
    let mut words = Vec::new();
    let mut word: Option<Word<'a>> = None;
    let mut at = 0;
    while let Some(first) = text.text[at..].chars().next() {
        let rest = &text.text[at..];
        match first {
            '\'' | '"' => {
                let inside = at + 1;
                let Some(length) = text.text[inside..].find(first) else {
                    fault(
                        faults,
                        text.slice(at..text.text.len()),
                        "a quote is never closed",
                        "the same quote behind the text",
                    );
                    return words;
                };
                word.get_or_insert_default().push(text.slice(inside..inside + length));
                at = inside + length + 1;
            }
            _ if first.is_whitespace() => {
                words.extend(word.take());
                at += first.len_utf8();
            }
            _ => {
                let length = rest
                    .find(|character: char| character.is_whitespace() || matches!(character, '\'' | '"'))
                    .unwrap_or(rest.len());
                word.get_or_insert_default().push(text.slice(at..at + length));
                at += length;
            }
        }
    }
    words.extend(word);
    words
}

fn template(word: &[Text<'_>], names: &Names<'_>, faults: &mut Faults) -> Template {
    let mut pieces: Vec<Piece> = Vec::new();
    for part in word.iter().flat_map(|piece| parse(*piece, faults)).collect::<Vec<_>>() {
        match (part, pieces.last_mut()) {
            (Part::Text(text, _), Some(Piece::Text(last))) => last.push_str(&text),
            (Part::Text(text, _), _) => pieces.push(Piece::Text(text)),
            (Part::Reference(written), _) => pieces.extend(names.resolve(&written, faults).map(Piece::Ref)),
        }
    }
    if pieces.is_empty() {
        pieces.push(Piece::Text(String::new()));
    }
    let template = Template(pieces);
    if template.whole().is_none() {
        for reference in template.references().into_iter().filter(|reference| is_list(reference, names)) {
            let what = format!("`{}` is a list, and a part of a word takes one value", reference.text);
            fault(
                faults,
                word[0],
                what,
                "a word of its own, which becomes one argument for each of its values",
            );
        }
    }
    template
}

fn is_list(reference: &Reference, names: &Names<'_>) -> bool {
    let repeats = matches!(reference.root, Root::Param(index) if names.params[index].repeats) && reference.path.is_empty();
    repeats || reference.root == Root::Keys || reference.path.contains(&Hop::Each)
}

/// Common commands, for the hint where a name is mistyped.
const SUGGESTED: [&str; 24] = [
    "DECR",
    "DEL",
    "EXISTS",
    "EXPIRE",
    "GET",
    "GETDEL",
    "HDEL",
    "HGET",
    "HGETALL",
    "HMGET",
    "HSET",
    "INCR",
    "LPUSH",
    "LRANGE",
    "MGET",
    "SADD",
    "SET",
    "SETEX",
    "SISMEMBER",
    "SMEMBERS",
    "SREM",
    "ZADD",
    "ZRANGE",
    "ZSCORE",
];

/// Whether a command, in upper case, may be sent without being allowed by name.
#[cfg(feature = "redis")]
fn is_safe(name: &str) -> bool {
    anabranch::redis::is_safe(name)
}

/// Without the feature no source takes a command, which is a fault already.
#[cfg(not(feature = "redis"))]
fn is_safe(_name: &str) -> bool {
    true
}

/// Whether a command, in upper case, only reads, so that it may be sent twice.
#[cfg(feature = "redis")]
fn is_read(name: &str) -> bool {
    anabranch::redis::is_read(name)
}

/// Nothing is sent without the feature.
#[cfg(not(feature = "redis"))]
fn is_read(_name: &str) -> bool {
    true
}
