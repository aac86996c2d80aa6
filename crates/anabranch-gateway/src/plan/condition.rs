//! `when:`, the part of jq that needs no interpreter: references, comparisons, `and`, `or`, `| not`, parentheses. All else is a program.
//!
//! Precedence is jq's: a comparison binds closest, then `and`, then `or`, and `| not` takes all that stands before it.

use bytes::Bytes;

use super::model::{Comparison, Condition, Hop, Operand, Program, Reference, Root};
use super::names::Names;
use super::place::{fault, Text};
use super::program;
use super::reference::{read, Notation};
use crate::config::faults::Faults;

/// Parentheses inside one another; the parser calls itself for each.
const DEPTH_MAX: usize = 64;

const UNDERSTOOD: &str =
    "a condition compares with `==` `!=` `<` `<=` `>` `>=` and joins with `and`, `or`, `| not`; more is jq, with `$name` for values";

/// A compiled condition.
pub(super) enum When {
    /// Needs no interpreter.
    Small(Condition),
    /// Needs one.
    Program(Program),
    /// Is wrong, which has been reported.
    Broken,
}

/// Compiles a condition; what is wrong is reported. What is not of the small language is a jq program.
pub(super) fn compile(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> When {
    // What the small language says about names counts only if the text is of it: a program binds names of its own.
    let mut said = faults.clone();
    match small(text, names, &mut said) {
        Ok(condition) => {
            *faults = said;
            condition.map_or(When::Broken, When::Small)
        }
        Err(Wrong { place, what, is_jq: false }) => {
            fault(faults, place, what, UNDERSTOOD);
            When::Broken
        }
        Err(Wrong { .. }) => match program::compile(text, names, faults) {
            Some(program) if program.variables.is_empty() => {
                fault(faults, text, "this is always the same", "a condition that names something");
                When::Broken
            }
            Some(program) => When::Program(program),
            None => When::Broken,
        },
    }
}

/// Reads the small language; None where a name in it is wrong, which has been reported.
fn small<'a>(text: Text<'a>, names: &Names<'_>, faults: &mut Faults) -> Result<Option<Condition>, Wrong<'a>> {
    let before = faults.len();
    let tokens = tokens(text, names, faults)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        end: text,
    };
    let condition = parser.pipe()?;
    match parser.peek() {
        None => Ok((faults.len() == before).then_some(condition)),
        Some(_) => Err(parser.unexpected()),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Reference(Reference),
    Literal(Bytes),
    Compare(Comparison),
    And,
    Or,
    Not,
    Pipe,
    Open,
    Close,
}

struct Wrong<'a> {
    place: Text<'a>,
    what: String,
    /// Whether it may be jq beyond the small language. False where jq would take it, or say it worse, and nobody means it.
    is_jq: bool,
}

struct Parser<'a> {
    tokens: Vec<(Token, Text<'a>)>,
    at: usize,
    depth: usize,
    /// What to underline when the text ends too early.
    end: Text<'a>,
}

/// One side of a comparison, or a condition in parentheses.
enum Primary<'a> {
    Operand(Operand, Text<'a>),
    Condition(Condition),
}

impl<'a> Parser<'a> {
    fn pipe(&mut self) -> Result<Condition, Wrong<'a>> {
        let mut condition = self.any_of()?;
        while self.take(&Token::Pipe) {
            if !self.take(&Token::Not) {
                return Err(self.unexpected());
            }
            condition = Condition::Not(Box::new(condition));
        }
        Ok(condition)
    }

    fn any_of(&mut self) -> Result<Condition, Wrong<'a>> {
        let mut condition = self.all_of()?;
        while self.take(&Token::Or) {
            condition = Condition::Or(Box::new(condition), Box::new(self.all_of()?));
        }
        Ok(condition)
    }

    fn all_of(&mut self) -> Result<Condition, Wrong<'a>> {
        let mut condition = self.comparison()?;
        while self.take(&Token::And) {
            condition = Condition::And(Box::new(condition), Box::new(self.comparison()?));
        }
        Ok(condition)
    }

    fn comparison(&mut self) -> Result<Condition, Wrong<'a>> {
        let left = self.primary()?;
        let Some(&(Token::Compare(comparison), place)) = self.tokens.get(self.at) else {
            return match left {
                Primary::Condition(condition) => Ok(condition),
                Primary::Operand(Operand::Ref(reference), _) => Ok(Condition::Truth(reference)),
                Primary::Operand(Operand::Literal(_), place) => Err(Wrong {
                    place,
                    what: "this is always the same".to_owned(),
                    is_jq: false,
                }),
            };
        };
        self.at += 1;
        match (left, self.primary()?) {
            (Primary::Operand(left, _), Primary::Operand(right, _)) => Ok(Condition::Compare(left, comparison, right)),
            _ => Err(Wrong {
                place,
                what: "conditions in parentheses cannot be compared".to_owned(),
                is_jq: true,
            }),
        }
    }

    fn primary(&mut self) -> Result<Primary<'a>, Wrong<'a>> {
        let Some((token, place)) = self.tokens.get(self.at).cloned() else {
            return Err(self.unexpected());
        };
        match token {
            Token::Reference(reference) => self.operand(Operand::Ref(reference), place),
            Token::Literal(literal) => self.operand(Operand::Literal(literal), place),
            Token::Open if self.depth == DEPTH_MAX => Err(Wrong {
                place,
                what: format!("more than {DEPTH_MAX} parentheses"),
                is_jq: true,
            }),
            Token::Open => {
                self.at += 1;
                self.depth += 1;
                let condition = self.pipe()?;
                self.depth -= 1;
                if !self.take(&Token::Close) {
                    return Err(self.unexpected());
                }
                Ok(Primary::Condition(condition))
            }
            _ => Err(self.unexpected()),
        }
    }

    fn operand(&mut self, operand: Operand, place: Text<'a>) -> Result<Primary<'a>, Wrong<'a>> {
        self.at += 1;
        Ok(Primary::Operand(operand, place))
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn unexpected(&self) -> Wrong<'a> {
        match self.tokens.get(self.at) {
            Some((token, place)) => Wrong {
                place: *place,
                what: format!("`{}` is not understood here", place.text),
                // `1 < $a < 3` compares a yes or no with 3.
                is_jq: !matches!(token, Token::Compare(_)),
            },
            None => Wrong {
                place: self.end,
                what: "the condition ends too early".to_owned(),
                is_jq: !self.tokens.is_empty(),
            },
        }
    }
}

/// The words of a text; what is wrong with its references is reported.
fn tokens<'a>(text: Text<'a>, names: &Names<'_>, faults: &mut Faults) -> Result<Vec<(Token, Text<'a>)>, Wrong<'a>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text.text[at..].chars().next() {
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (token, end) = match first {
            '$' => {
                let (written, end) = read(text, at, Notation::Condition, faults);
                let reference = written.and_then(|written| names.resolve(&written, faults));
                let reference = reference.and_then(|reference| checked(reference, text.slice(at..end), faults));
                // One that is wrong has been reported; the rest is read on with something in its place.
                let nothing = Reference {
                    root: Root::Body,
                    path: Vec::new(),
                    text: String::new(),
                };
                (Token::Reference(reference.unwrap_or(nothing)), end)
            }
            _ => {
                let end = at + token_length(&text.text[at..]);
                let place = text.slice(at..end);
                let Some(token) = fixed_token(place.text) else {
                    // `=` would be an assignment, which no condition needs and many mistype.
                    let is_jq = place.text != "=";
                    return Err(Wrong {
                        place,
                        what: format!("`{}` is not understood here", place.text),
                        is_jq,
                    });
                };
                (token, end)
            }
        };
        tokens.push((token, text.slice(at..end)));
        at = end;
    }
    Ok(tokens)
}

fn checked(reference: Reference, place: Text<'_>, faults: &mut Faults) -> Option<Reference> {
    if reference.path.contains(&Hop::Each) {
        let what = format!("`{}` gives many values, and a condition takes one", place.text);
        fault(faults, place, what, "refer to the list, or to one item of it");
        return None;
    }
    Some(reference)
}

/// Length of the token that `rest` begins with; at least one character.
fn token_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let run = |member: fn(u8) -> bool| bytes.iter().take_while(|&&byte| member(byte)).count();
    match bytes[0] {
        b'"' => string_length(bytes),
        b'-' | b'0'..=b'9' => run(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)),
        byte if byte.is_ascii_alphabetic() || byte == b'_' => run(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
        b'=' | b'!' | b'<' | b'>' => 1 + usize::from(bytes.get(1) == Some(&b'=')),
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn fixed_token(word: &str) -> Option<Token> {
    Some(match word {
        "and" => Token::And,
        "or" => Token::Or,
        "not" => Token::Not,
        "|" => Token::Pipe,
        "(" => Token::Open,
        ")" => Token::Close,
        "==" => Token::Compare(Comparison::Equal),
        "!=" => Token::Compare(Comparison::NotEqual),
        "<" => Token::Compare(Comparison::Less),
        "<=" => Token::Compare(Comparison::LessOrEqual),
        ">" => Token::Compare(Comparison::Greater),
        ">=" => Token::Compare(Comparison::GreaterOrEqual),
        _ => match serde_json::from_str::<serde_json::Value>(word).ok()? {
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
            _ => Token::Literal(Bytes::copy_from_slice(word.as_bytes())),
        },
    })
}
