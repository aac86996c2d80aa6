//! Recursion without a tail.
//!
//! The interpreter runs a call at the end of a definition without growing its stack, which is as it should be: such a loop is cut by time.
//! But where the definition takes filters as arguments, each round wraps the filters of the round before, and the chain of them is
//! dropped link by link on the stack when the loop ends: a loop that is cut after a million rounds would take the process down. So such
//! definitions lose their tail: `def f(g): ... f(g)` becomes `def f(g): (... f(g)) | .`, whose rounds stand on the stack, where
//! they are counted.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::Part;

/// Changes the definitions in a program that need it.
pub(super) fn without_tails(term: &mut Term<&str>) {
    if let Term::Def(definitions, _) = term {
        for definition in definitions.iter_mut() {
            let takes_filters = definition.args.iter().any(|argument| !argument.starts_with('$'));
            let (name, arguments) = (definition.name, definition.args.len());
            if takes_filters && calls(&mut definition.body, name, arguments) {
                let body = std::mem::take(&mut definition.body);
                definition.body = Term::BinOp(Box::new(body), BinaryOp::Pipe(None), Box::new(Term::Id));
            }
        }
    }
    each_inner(term, &mut |inner| without_tails(inner));
}

/// Whether a filter of this name and number of arguments is called anywhere inside. Changes nothing, though the walk could.
fn calls(term: &mut Term<&str>, name: &str, arguments: usize) -> bool {
    if matches!(term, Term::Call(called, given) if *called == name && given.len() == arguments) {
        return true;
    }
    let mut found = false;
    each_inner(term, &mut |inner| found = found || calls(inner, name, arguments));
    found
}

/// Visits the terms that a term is made of.
fn each_inner<'s>(term: &mut Term<&'s str>, visit: &mut dyn FnMut(&mut Term<&'s str>)) {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Var(_) | Term::Break(_) | Term::Arr(None) => {}
        Term::Str(_, parts) => {
            for part in parts {
                if let StrPart::Term(inner) = part {
                    visit(inner);
                }
            }
        }
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => visit(inner),
        Term::Obj(entries) => {
            for (key, value) in entries {
                visit(key);
                value.iter_mut().for_each(&mut *visit);
            }
        }
        Term::BinOp(left, operator, right) => {
            visit(left);
            if let BinaryOp::Pipe(Some(pattern)) = operator {
                each_key(pattern, visit);
            }
            visit(right);
        }
        Term::Fold(_, source, pattern, arguments) => {
            visit(source);
            each_key(pattern, visit);
            arguments.iter_mut().for_each(visit);
        }
        Term::TryCatch(tried, caught) => {
            visit(tried);
            if let Some(caught) = caught {
                visit(caught);
            }
        }
        Term::IfThenElse(branches, otherwise) => {
            for (condition, then) in branches {
                visit(condition);
                visit(then);
            }
            if let Some(otherwise) = otherwise {
                visit(otherwise);
            }
        }
        Term::Def(definitions, rest) => {
            definitions
                .iter_mut()
                .for_each(|definition: &mut Def<&'s str>| visit(&mut definition.body));
            visit(rest);
        }
        Term::Call(_, arguments) => arguments.iter_mut().for_each(visit),
        Term::Path(start, path) => {
            visit(start);
            for (part, _) in &mut path.0 {
                match part {
                    Part::Index(index) => visit(index),
                    Part::Range(from, to) => from.iter_mut().chain(to).for_each(&mut *visit),
                }
            }
        }
    }
}

/// Visits the keys that a pattern computes.
fn each_key<'s>(pattern: &mut Pattern<&'s str>, visit: &mut dyn FnMut(&mut Term<&'s str>)) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(patterns) => patterns.iter_mut().for_each(|pattern| each_key(pattern, visit)),
        Pattern::Obj(entries) => {
            for (key, pattern) in entries {
                visit(key);
                each_key(pattern, visit);
            }
        }
    }
}
