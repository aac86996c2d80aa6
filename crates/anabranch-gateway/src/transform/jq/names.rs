//! What a program refers to: its free variables, and whether it looks at its input.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::Part;

/// A variable that the program does not bind itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Free<'s> {
    /// With its dollar, as it stands in the text.
    pub(super) name: &'s str,
    /// The key that is asked of it at once: `x-thing` of `$header["x-thing"]`.
    pub(super) key: Option<&'s str>,
}

/// The free variables of a program, in the order written, with repeats.
pub(super) fn free<'s>(program: &Term<&'s str>) -> Vec<Free<'s>> {
    let mut names = Names {
        bound: Vec::new(),
        free: Vec::new(),
    };
    names.term(program);
    names.free
}

struct Names<'s> {
    /// Variables bound around the place that is looked at.
    bound: Vec<&'s str>,
    free: Vec<Free<'s>>,
}

impl<'s> Names<'s> {
    fn term(&mut self, term: &Term<&'s str>) {
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Arr(None) => {}
            Term::Str(_, parts) => {
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        self.term(inner);
                    }
                }
            }
            Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::Obj(entries) => {
                for (key, value) in entries {
                    self.term(key);
                    value.iter().for_each(|value| self.term(value));
                }
            }
            Term::BinOp(left, BinaryOp::Pipe(Some(pattern)), right) => {
                self.term(left);
                self.pattern_keys(pattern);
                self.binding(pattern, |names| names.term(right));
            }
            Term::BinOp(left, _, right) => {
                self.term(left);
                self.term(right);
            }
            Term::Fold(_, source, pattern, arguments) => {
                self.term(source);
                self.pattern_keys(pattern);
                let (start, rest) = arguments.split_at(arguments.len().min(1));
                start.iter().for_each(|start| self.term(start));
                self.binding(pattern, |names| rest.iter().for_each(|term| names.term(term)));
            }
            Term::TryCatch(tried, caught) => {
                self.term(tried);
                caught.iter().for_each(|caught| self.term(caught));
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition);
                    self.term(then);
                }
                otherwise.iter().for_each(|otherwise| self.term(otherwise));
            }
            Term::Def(definitions, rest) => {
                definitions.iter().for_each(|definition| self.definition(definition));
                self.term(rest);
            }
            Term::Call(_, arguments) => arguments.iter().for_each(|argument| self.term(argument)),
            Term::Var(name) => self.variable(name, None),
            Term::Path(start, path) => {
                match &**start {
                    Term::Var(name) => self.variable(name, path.0.first().and_then(|(part, _)| key(part))),
                    other => self.term(other),
                }
                for (part, _) in &path.0 {
                    match part {
                        Part::Index(index) => self.term(index),
                        Part::Range(from, to) => from.iter().chain(to).for_each(|bound| self.term(bound)),
                    }
                }
            }
        }
    }

    fn variable(&mut self, name: &'s str, key: Option<&'s str>) {
        if !self.bound.contains(&name) {
            self.free.push(Free { name, key });
        }
    }

    fn definition(&mut self, definition: &Def<&'s str>) {
        let before = self.bound.len();
        self.bound.extend(definition.args.iter().filter(|argument| argument.starts_with('$')));
        self.term(&definition.body);
        self.bound.truncate(before);
    }

    /// Looks at what stands where the variables of a pattern are bound.
    fn binding(&mut self, pattern: &Pattern<&'s str>, look: impl FnOnce(&mut Self)) {
        let before = self.bound.len();
        bind(pattern, &mut self.bound);
        look(self);
        self.bound.truncate(before);
    }

    /// A pattern may compute the keys that it takes apart by.
    fn pattern_keys(&mut self, pattern: &Pattern<&'s str>) {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(patterns) => patterns.iter().for_each(|pattern| self.pattern_keys(pattern)),
            Pattern::Obj(entries) => {
                for (key, pattern) in entries {
                    self.term(key);
                    self.pattern_keys(pattern);
                }
            }
        }
    }
}

fn bind<'s>(pattern: &Pattern<&'s str>, bound: &mut Vec<&'s str>) {
    match pattern {
        Pattern::Var(name) => bound.push(name),
        Pattern::Arr(patterns) => patterns.iter().for_each(|pattern| bind(pattern, bound)),
        Pattern::Obj(entries) => entries.iter().for_each(|(_, pattern)| bind(pattern, bound)),
    }
}

/// The fixed text of a key.
pub(super) fn key<'s>(part: &Part<Term<&'s str>>) -> Option<&'s str> {
    match part {
        Part::Index(Term::Str(None, parts)) => match parts.as_slice() {
            [StrPart::Str(text)] => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the program may look at its input. Says yes where it is not sure.
pub(super) fn looks_at_input(term: &Term<&str>) -> bool {
    match term {
        Term::Var(_) | Term::Num(_) | Term::Break(_) | Term::Arr(None) => false,
        Term::Str(_, parts) => parts.iter().any(|part| matches!(part, StrPart::Term(inner) if looks_at_input(inner))),
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => looks_at_input(inner),
        Term::Obj(entries) => entries.iter().any(|(key, value)| match value {
            Some(value) => looks_at_input(key) || looks_at_input(value),
            // `{a}` takes it from the input, `{$a}` from the variable.
            None => !matches!(key, Term::Var(_)),
        }),
        // What stands behind a pipe looks at what stands before it.
        Term::BinOp(left, BinaryOp::Pipe(None), _) => looks_at_input(left),
        Term::BinOp(left, _, right) => looks_at_input(left) || looks_at_input(right),
        Term::IfThenElse(branches, otherwise) => {
            let otherwise = otherwise.as_ref().is_none_or(|otherwise| looks_at_input(otherwise));
            otherwise || branches.iter().any(|(condition, then)| looks_at_input(condition) || looks_at_input(then))
        }
        Term::Path(start, path) => {
            looks_at_input(start)
                || path.0.iter().any(|(part, _)| match part {
                    Part::Index(index) => looks_at_input(index),
                    Part::Range(from, to) => from.iter().chain(to).any(looks_at_input),
                })
        }
        _ => true,
    }
}
