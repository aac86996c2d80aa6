//! Statements of `sql:` calls, read by tokens as the server reads them (PostgreSQL manual, "Lexical Structure"): a reference outside of
//! quotes and comments becomes a bound parameter, and inside of quotes it is a fault, since it would be sent as text.
//!
//! What a statement does is known as far as its words tell: whether it reads only, and whether it gives rows.

use super::call::{is_safe, Around};
use super::model::{Reference, SqlAction, SqlWant};
use super::names::{Names, TAKEN};
use super::place::{fault, Text};
use super::reference::{read, Notation};
use super::target::find_source;
use super::tokens::{Token, Tokens};
use crate::config::faults::Faults;
use crate::config::model::{SqlVerb, Way};
use crate::config::yaml::Spanned;

/// What a call with `sql:` says.
pub(super) struct Written<'a> {
    /// The name of the source.
    pub(super) source: &'a Spanned<String>,
    /// `select` or `exec`.
    pub(super) verb: Spanned<SqlVerb>,
    /// The statement.
    pub(super) statement: &'a Spanned<String>,
    /// `one:`
    pub(super) one: Option<&'a Spanned<bool>>,
}

/// Compiles such a call; also gives its source, if there is one. What is wrong is reported and left out.
pub(super) fn compile(written: &Written<'_>, around: &Around<'_>, faults: &mut Faults) -> (Option<usize>, SqlAction) {
    let source = find_source(Text::of(written.source).trimmed(), Way::Sql, &around.config.sources, faults);
    let is_exec = written.verb.value == SqlVerb::Exec;
    if is_exec && is_safe(around.method) {
        let what = format!("`exec` in a {} route", around.method);
        fault(
            faults,
            &written.verb,
            what,
            "a POST, PUT, PATCH or DELETE route: others change nothing, and may be asked twice by anybody",
        );
    }
    let statement = Statement::read(Text::of(written.statement), written.verb.value, around.names, faults);
    let wants_one = written.one.filter(|one| one.value);
    if let (Some(one), false) = (wants_one, statement.gives_rows) {
        fault(
            faults,
            one,
            "`one` of a statement without rows",
            "`returning` in the statement, or no `one:`",
        );
    }
    let want = match (statement.gives_rows, wants_one) {
        (false, _) => SqlWant::Count,
        (true, None) => SqlWant::Rows,
        (true, Some(_)) => SqlWant::One,
    };
    let Statement { text, params, .. } = statement;
    let action = SqlAction {
        source: source.unwrap_or_default(),
        text: text.into(),
        params,
        want,
        is_exec,
        place: written.statement.span,
    };
    (source, action)
}

/// A statement as it is sent.
#[derive(Debug, Default)]
struct Statement {
    /// With `$1`, `$2` and so on for values.
    text: String,
    /// What stands for each of them. A reference that is written twice is one value.
    params: Vec<Reference>,
    /// Whether it gives rows, and not only their number.
    gives_rows: bool,
}

impl Statement {
    fn read(text: Text<'_>, verb: SqlVerb, names: &Names<'_>, faults: &mut Faults) -> Statement {
        let mut statement = Statement::default();
        let mut words = Words::default();
        let mut tokens = Tokens::of(text.text);
        let mut copied = 0;
        while let Some((token, range)) = tokens.next() {
            let place = text.slice(range.clone());
            words.see(token, place);
            match token {
                Token::Reference => {
                    let (written, end) = read(text, range.start, Notation::Text, faults);
                    tokens.go_on_at(end);
                    let Some(reference) = written.and_then(|written| names.resolve(&written, faults)) else {
                        continue;
                    };
                    statement.text.push_str(&text.text[copied..range.start]);
                    statement.push(reference);
                    copied = end;
                    // `${n}5` is not the value `$15`.
                    if text.text[end..].starts_with(|next: char| next.is_alphanumeric() || matches!(next, '_' | '$')) {
                        statement.text.push(' ');
                    }
                }
                Token::Position => {
                    let what = format!("`{}` is no reference", place.text);
                    fault(faults, place, what, "write `$name`: values are numbered by the gateway");
                }
                Token::Dollar => fault(faults, place, "`$` is not followed by a name", "write `$name` for a value"),
                Token::Quoted => refuse_references(place, names, faults),
                Token::Word => refuse_in_word(place, names, faults),
                Token::Unclosed(what) => fault(
                    faults,
                    first_line(place),
                    format!("{what} is never closed"),
                    "the same quote at its end, or `*/`",
                ),
                Token::Comment | Token::Number | Token::Sign(_) => {}
            }
        }
        statement.text.push_str(&text.text[copied..]);
        statement.gives_rows = words.give_rows();
        words.report(text, verb, faults);
        statement
    }

    fn push(&mut self, reference: Reference) {
        let known = self.params.iter().position(|other| *other == reference);
        let number = known.unwrap_or(self.params.len());
        if known.is_none() {
            self.params.push(reference);
        }
        self.text.push_str(&format!("${}", number + 1));
    }
}

/// A name in quotes would be sent as it is written. A dollar behind a letter or a digit is none of ours: `format('%1$s', ...)`.
fn refuse_references(quoted: Text<'_>, names: &Names<'_>, faults: &mut Faults) {
    for (at, _) in quoted.text.match_indices('$') {
        if quoted.text[..at].ends_with(is_word) {
            continue;
        }
        let rest = &quoted.text[at + 1..];
        let inside = rest.strip_prefix('{').unwrap_or(rest);
        let name = &inside[..inside.find(|character| !is_word(character)).unwrap_or(inside.len())];
        let is_position = name.starts_with(|first: char| first.is_ascii_digit());
        if is_position || is_known(name, names) {
            let start = at + 1 + rest.len() - inside.len();
            let place = quoted.slice(at..start + name.len());
            let what = format!("`{}` in quotes is text and no value", place.text);
            fault(
                faults,
                place,
                what,
                format!(
                    "a value stands outside of quotes: `'a' || ${name}`",
                    name = if is_position { "name" } else { name }
                ),
            );
        }
    }
}

/// For the server `posts$uid` is one word.
fn refuse_in_word(word: Text<'_>, names: &Names<'_>, faults: &mut Faults) {
    for (at, _) in word.text.match_indices('$') {
        let name = word.text[at + 1..].split('$').next().unwrap_or_default();
        if is_known(name, names) {
            let what = format!("`${name}` is a part of the word `{}` here", word.text);
            fault(faults, word, what, format!("a blank before `${name}`"));
        }
    }
}

fn first_line(text: Text<'_>) -> Text<'_> {
    text.slice(0..text.text.find('\n').unwrap_or(text.text.len()))
}

fn is_known(name: &str, names: &Names<'_>) -> bool {
    TAKEN.contains(&name) || names.params.iter().any(|param| param.name == name) || names.calls.contains(&name)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Statements that read, by their first word.
const READING: [&str; 4] = ["select", "with", "values", "table"];
/// Others that may give rows without `returning`.
const GIVING_ROWS: [&str; 4] = ["call", "explain", "fetch", "show"];

/// What the words of a statement tell.
#[derive(Default)]
struct Words<'a> {
    first: Option<Text<'a>>,
    returns: bool,
    /// A word that changes something.
    writes: Option<Text<'a>>,
    /// What stands behind the end of the statement.
    second: Option<Text<'a>>,
    is_over: bool,
    /// The two tokens before this one.
    before: [Seen<'a>; 2],
}

#[derive(Clone, Copy, Default)]
enum Seen<'a> {
    #[default]
    Other,
    Open,
    Word(Text<'a>),
}

impl<'a> Words<'a> {
    fn see(&mut self, token: Token, place: Text<'a>) {
        if matches!(token, Token::Comment) {
            return;
        }
        if self.is_over && !matches!(token, Token::Sign(';')) {
            self.second.get_or_insert(place);
        }
        let mut seen = Seen::Other;
        match token {
            Token::Sign(';') => self.is_over = true,
            Token::Sign('(') => seen = Seen::Open,
            Token::Word => {
                self.first.get_or_insert(place);
                self.returns |= place.text.eq_ignore_ascii_case("returning");
                seen = Seen::Word(place);
            }
            _ => {}
        }
        if self.writes.is_none() {
            self.writes = self.written_by(seen, matches!(token, Token::Quoted));
        }
        self.before = [self.before[1], seen];
    }

    /// `insert into`, `merge into`, `select into`, and in a `with`, `(update name` and `(delete from`.
    fn written_by(&self, seen: Seen<'a>, is_quoted: bool) -> Option<Text<'a>> {
        let is = |word: &Text<'_>, other: &str| word.text.eq_ignore_ascii_case(other);
        match (self.before, seen) {
            ([_, Seen::Word(verb)], Seen::Word(into)) if is(&into, "into") && (is(&verb, "insert") || is(&verb, "merge")) => Some(verb),
            (_, Seen::Word(into)) if is(&into, "into") => Some(into),
            ([Seen::Open, Seen::Word(verb)], Seen::Word(from)) if is(&verb, "delete") && is(&from, "from") => Some(verb),
            ([Seen::Open, Seen::Word(verb)], next) if is(&verb, "update") && (is_quoted || matches!(next, Seen::Word(_))) => Some(verb),
            _ => None,
        }
    }

    fn first_is(&self, words: &[&str]) -> bool {
        self.first
            .is_some_and(|first| words.iter().any(|word| first.text.eq_ignore_ascii_case(word)))
    }

    fn give_rows(&self) -> bool {
        self.returns || self.first_is(&READING) || self.first_is(&GIVING_ROWS)
    }

    fn report(&self, text: Text<'_>, verb: SqlVerb, faults: &mut Faults) {
        const EXPECTED: &str = "`exec:` for what changes something; a `select:` may be sent twice";
        if let Some(second) = self.second {
            fault(
                faults,
                second,
                "a second statement in one call",
                "one statement for each call; `with` joins several into one",
            );
        }
        let Some(first) = self.first else {
            return fault(
                faults,
                text,
                "no statement",
                "a statement such as `select id from posts where feed = $id`",
            );
        };
        if verb == SqlVerb::Exec {
            return;
        }
        if !self.first_is(&READING) {
            fault(faults, first, format!("`{}` does not read", first.text), EXPECTED);
        } else if let Some(writes) = self.writes {
            fault(faults, writes, format!("`{}` does not only read", writes.text), EXPECTED);
        }
    }
}
