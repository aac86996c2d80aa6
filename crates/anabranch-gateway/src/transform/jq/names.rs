//! What a program refers to: its free variables, and whether it looks at its input.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Opt, Part};

use crate::plan::model::Hop;

/// A variable that the program does not bind itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Free<'s> {
    /// With its dollar, as it stands in the text.
    pub(super) name: &'s str,
    /// The way into it that stands behind it, as far as that is fixed: `[].author` of `$posts[].author`.
    pub(super) path: Vec<Hop>,
    /// Whether its items are taken, which fails where it is null.
    pub(super) takes_items: bool,
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
            Term::BinOp(left, operator, right) => {
                let before = self.free.len();
                self.term(left);
                // `$posts | .[]` takes the items as `$posts[]` does.
                if let (BinaryOp::Pipe(None), Term::Var(_) | Term::Path(..)) = (operator, &**left)
                    && begins_with_items(right)
                    && let Some(last) = self.free[before..].first_mut()
                {
                    last.takes_items = true;
                }
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
            Term::Var(name) => self.variable(name, &[]),
            Term::Path(start, path) => {
                match &**start {
                    Term::Var(name) => self.variable(name, &path.0),
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

    fn variable(&mut self, name: &'s str, path: &[(Part<Term<&'s str>>, Opt)]) {
        if self.bound.contains(&name) {
            return;
        }
        self.free.push(Free {
            name,
            path: path.iter().map_while(|(part, _)| hop(part)).collect(),
            takes_items: path
                .iter()
                .any(|(part, optional)| is_each(part) && matches!(optional, Opt::Essential)),
        });
    }

    fn definition(&mut self, definition: &Def<&'s str>) {
        let before = self.bound.len();
        self.bound
            .extend(definition.args.iter().filter(|argument| argument.starts_with('$')));
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

/// A fixed part of a path.
pub(super) fn hop(part: &Part<Term<&str>>) -> Option<Hop> {
    match part {
        Part::Index(Term::Num(digits)) => digits.parse().ok().map(Hop::Index),
        Part::Index(Term::Str(None, parts)) => match parts.as_slice() {
            [StrPart::Str(text)] => Some(Hop::Field((*text).to_owned())),
            _ => None,
        },
        part if is_each(part) => Some(Hop::Each),
        _ => None,
    }
}

fn is_each(part: &Part<Term<&str>>) -> bool {
    matches!(part, Part::Range(None, None))
}

/// Whether a program begins with the items of its input.
fn begins_with_items(term: &Term<&str>) -> bool {
    match term {
        Term::Path(start, path) => {
            matches!(**start, Term::Id)
                && path
                    .0
                    .first()
                    .is_some_and(|(part, optional)| is_each(part) && matches!(optional, Opt::Essential))
        }
        Term::Call(name, _) => matches!(
            *name,
            "map" | "map_values" | "add" | "sort_by" | "group_by" | "min_by" | "max_by" | "unique_by" | "to_entries"
        ),
        Term::BinOp(left, BinaryOp::Pipe(_), _) => begins_with_items(left),
        Term::Arr(Some(inner)) => begins_with_items(inner),
        _ => false,
    }
}

/// Whether the program may look at its input. Says yes where it is not sure.
pub(super) fn looks_at_input(term: &Term<&str>) -> bool {
    match term {
        Term::Var(_) | Term::Num(_) | Term::Break(_) | Term::Arr(None) => false,
        Term::Str(_, parts) => parts
            .iter()
            .any(|part| matches!(part, StrPart::Term(inner) if looks_at_input(inner))),
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
            otherwise
                || branches
                    .iter()
                    .any(|(condition, then)| looks_at_input(condition) || looks_at_input(then))
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

/// The keys of the input whose items are taken at once, as by `.posts[]`.
pub(super) fn items_of_input(term: &Term<&str>, found: &mut Vec<String>) {
    match term {
        Term::Path(start, path) if matches!(**start, Term::Id) => {
            let each = path
                .0
                .iter()
                .any(|(part, optional)| is_each(part) && matches!(optional, Opt::Essential));
            if let (Some(Hop::Field(name)), true) = (path.0.first().and_then(|(part, _)| hop(part)), each) {
                found.push(name);
            }
        }
        Term::Path(start, _) => items_of_input(start, found),
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => items_of_input(inner, found),
        Term::Obj(entries) => entries
            .iter()
            .filter_map(|(_, value)| value.as_ref())
            .for_each(|value| items_of_input(value, found)),
        Term::BinOp(left, BinaryOp::Pipe(None), right) => {
            if let (Term::Path(start, path), true) = (&**left, begins_with_items(right))
                && let (Term::Id, Some(Hop::Field(name))) = (&**start, path.0.first().and_then(|(part, _)| hop(part)))
            {
                found.push(name);
            }
            items_of_input(left, found);
        }
        Term::BinOp(left, _, right) => {
            items_of_input(left, found);
            items_of_input(right, found);
        }
        Term::Fold(_, source, _, _) => items_of_input(source, found),
        Term::IfThenElse(branches, otherwise) => {
            let branches = branches.iter().flat_map(|(condition, then)| [condition, then]);
            branches.chain(otherwise.as_deref()).for_each(|term| items_of_input(term, found));
        }
        Term::Def(_, rest) => items_of_input(rest, found),
        _ => {}
    }
}
