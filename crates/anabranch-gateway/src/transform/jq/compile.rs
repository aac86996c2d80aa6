//! The text of a program becomes something that runs, or faults with their places in the text.
//!
//! The interpreter's reader and compiler call themselves for each level of a program, and a program of nothing but parentheses would
//! overflow the stack. So programs are bounded in length, brackets and words, and compiled on a thread with room for the deepest one
//! within these bounds, which ends before this returns.

use std::ops::Range;
use std::thread;

use jaq_core::Compiler;
use jaq_core::compile::Filter;
use jaq_core::load::lex::{Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::path::Opt;

use super::engine::{self, Engine};
use super::faults::{self, ProgramFault};
use super::names::{self, looks_at_input};
use super::recursion::without_tails;
use crate::plan::model::Hop;

/// Bytes of a program.
const TEXT_MAX: usize = 32 << 10;
/// Brackets inside one another.
const BRACKETS_MAX: usize = 250;
/// Words, numbers, texts and signs of a program.
const TOKENS_MAX: usize = 5_000;
/// Deepest programs within these bounds took less than half of it without optimisation.
const STACK: usize = 64 << 20;
/// The name under which a program stands beside the definitions; no program has a reason to call it.
const MAIN: &str = "__program__";

/// A program that can be run.
pub(super) struct Program {
    /// Terms and the place to begin.
    pub(super) filter: Filter<jaq_core::Native<Engine>>,
}

/// What was found in the text of a program.
pub(super) struct Compiled {
    /// What runs.
    pub(super) program: Program,
    /// What it is where it only picks something out, so that nothing has to run.
    pub(super) path: Option<Path>,
    /// Its free variables in the order written, each once, without the dollar.
    pub(super) variables: Vec<FreeVariable>,
    /// Whether it may look at its input.
    pub(super) looks_at_input: bool,
    /// The keys of its input whose items it takes.
    pub(super) items_of_input: Vec<String>,
}

/// `.a[0].b` or `$name.a[0].b`.
pub(super) struct Path {
    /// None for the input.
    pub(super) variable: Option<String>,
    pub(super) hops: Vec<Hop>,
}

/// What is known of a program that does not compile.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// What is wrong with it; never nothing.
    pub(crate) faults: Vec<ProgramFault>,
    /// Its free variables, as far as it could be read.
    pub(crate) variables: Vec<FreeVariable>,
}

impl From<Vec<ProgramFault>> for Broken {
    fn from(faults: Vec<ProgramFault>) -> Self {
        Broken {
            faults,
            variables: Vec::new(),
        }
    }
}

/// A variable that somebody else must bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FreeVariable {
    /// Its name without the dollar.
    pub(crate) name: String,
    /// Its uses, first to last; at least one.
    pub(crate) uses: Vec<Use>,
}

/// One use of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Where it stands in the text.
    pub(crate) at: Range<usize>,
    /// The way into it that stands behind it, as far as that is fixed.
    pub(crate) path: Vec<Hop>,
    /// Whether its items are taken, which fails where it is null.
    pub(crate) takes_items: bool,
}

/// Compiles a program.
///
/// # Errors
/// All faults that could be found at once; never none.
pub(super) fn compile(text: &str) -> Result<Compiled, Broken> {
    check_size(text).map_err(|fault| Broken::from(vec![fault]))?;
    let compiled = thread::scope(|scope| {
        let thread = thread::Builder::new().name("jq-compile".to_owned()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, || compile_here(text)).ok()?;
        thread.join().ok()
    });
    compiled.unwrap_or_else(|| Err(Broken::from(vec![faults::of_whole(text)])))
}

fn check_size(text: &str) -> Result<(), ProgramFault> {
    let fault = |at: Range<usize>, message: String| ProgramFault {
        at,
        message,
        help: "a program in a config reshapes answers; what computes more belongs into a service".to_owned(),
    };
    if text.len() > TEXT_MAX {
        return Err(fault(0..text.len(), format!("the program is longer than {TEXT_MAX} bytes")));
    }
    // Brackets inside of texts count as well, which is no loss: so many in a row mean nothing good there either.
    let mut open = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > BRACKETS_MAX {
            return Err(fault(at..at + 1, format!("more than {BRACKETS_MAX} brackets inside one another")));
        }
    }
    Ok(())
}

fn compile_here(text: &str) -> Result<Compiled, Broken> {
    let place = |part: &str| faults::place(text, part);
    let tokens = Lexer::new(text)
        .lex()
        .map_err(|errors| errors.into_iter().map(|error| faults::of_lexer(text, error)).collect::<Vec<_>>())?;
    if count(&tokens) > TOKENS_MAX {
        return Err(Broken::from(vec![ProgramFault {
            at: 0..text.len(),
            message: format!("the program has more than {TOKENS_MAX} words and signs"),
            help: "a program in a config reshapes answers; what computes more belongs into a service".to_owned(),
        }]));
    }
    if let Some(Token(word @ ("import" | "include" | "module"), _)) = tokens.first() {
        let message = format!("`{word}` is not known");
        return Err(Broken::from(vec![ProgramFault {
            at: place(word),
            message,
            help: "there are no modules".to_owned(),
        }]));
    }
    let term = Parser::new(&tokens).parse(|parser| parser.term());
    let mut term = term.map_err(|errors| errors.into_iter().map(|error| faults::of_parser(text, error)).collect::<Vec<_>>())?;
    let free = names::free(&term);
    let path = path(&term);
    let looks_at_input = looks_at_input(&term);
    let mut items_of_input = Vec::new();
    names::items_of_input(&term, &mut items_of_input);
    without_tails(&mut term);
    let names: Vec<&str> = distinct(free.iter().map(|free| free.name));
    let variables = names.iter().map(|name| {
        let uses = free.iter().filter(|free| free.name == *name).map(|free| Use {
            at: place(free.name),
            path: free.path.clone(),
            takes_items: free.takes_items,
        });
        FreeVariable {
            name: name.trim_start_matches('$').to_owned(),
            uses: uses.collect(),
        }
    });
    let variables: Vec<FreeVariable> = variables.collect();
    let filter = match build(text, term, &names) {
        Ok(filter) => filter,
        Err(faults) => return Err(Broken { faults, variables }),
    };
    Ok(Compiled {
        program: Program { filter },
        path,
        variables,
        looks_at_input,
        items_of_input,
    })
}

/// Puts a program beside the definitions that it may use.
fn build<'s>(text: &'s str, term: Term<&'s str>, variables: &[&'s str]) -> Result<Filter<jaq_core::Native<Engine>>, Vec<ProgramFault>> {
    let main = Def {
        name: MAIN,
        args: Vec::new(),
        body: term,
    };
    let arena = Arena::default();
    let loader = Loader::new(engine::definitions().into_iter().chain([main]));
    let modules = loader.load(&arena, File { code: MAIN, path: () });
    let modules = modules.map_err(|_| vec![faults::of_whole(text)])?;
    let compiler = Compiler::default()
        .with_funs(engine::natives())
        .with_global_vars(variables.iter().copied());
    compiler.compile(modules).map_err(|errors| {
        let undefined = errors.into_iter().flat_map(|(_, undefined)| undefined);
        undefined.map(|(name, what)| faults::of_name(text, name, &what)).collect()
    })
}

fn distinct<'s>(names: impl Iterator<Item = &'s str>) -> Vec<&'s str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

/// A program that only picks something out by fixed keys.
fn path(term: &Term<&str>) -> Option<Path> {
    let start = |term: &Term<&str>| match term {
        Term::Id => Some(None),
        Term::Var(name) => Some(Some(name.trim_start_matches('$').to_owned())),
        _ => None,
    };
    let Term::Path(first, parts) = term else {
        let variable = start(term)?;
        return Some(Path {
            variable,
            hops: Vec::new(),
        });
    };
    let hops = parts.0.iter().map(|(part, optional)| match (part, optional) {
        (part, Opt::Essential) => names::hop(part).filter(|hop| *hop != Hop::Each),
        _ => None,
    });
    Some(Path {
        variable: start(first)?,
        hops: hops.collect::<Option<_>>()?,
    })
}

fn count(tokens: &[Token<&str>]) -> usize {
    let inside = |token: &Token<&str>| match &token.1 {
        Tok::Block(tokens) => count(tokens),
        Tok::Str(parts) => parts
            .iter()
            .map(|part| {
                if let StrPart::Term(token) = part {
                    count(std::slice::from_ref(token))
                } else {
                    1
                }
            })
            .sum(),
        _ => 0,
    };
    tokens.iter().map(|token| 1 + inside(token)).sum()
}
