//! How the interpreter is set up: its values, its data, and the filters that programs may call.

use anabranch::JobContext;
use jaq_core::data::HasLut;
use jaq_core::load::parse::Def;
use jaq_core::native::Fun;
use jaq_core::{DataT, Lut};

use super::value::Value;
use super::{meter, natives};

/// The types that the interpreter is used with.
pub(super) struct Engine;

impl DataT for Engine {
    type V<'a> = Value;
    type Data<'a> = Data<'a>;
}

/// What the interpreter carries along: the program's terms, and the job that runs it.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    pub(super) terms: &'a Lut<Engine>,
    pub(super) job: Option<&'a JobContext>,
}

impl<'a> HasLut<'a, Engine> for Data<'a> {
    /// Asked for with every term that runs, which makes it the place to stop a program.
    fn lut(&self) -> &'a Lut<Engine> {
        meter::term(self.job);
        self.terms
    }
}

/// Definitions written in jq that come on top of the library's.
const PRELUDE: &str = include_str!("prelude.jq");

/// Filters of the library that no program of a config has: they reach outside of it, or ours stand in their place.
const LEFT_OUT: &[&str] = &[
    // The environment, the process, its output, the zone of the machine.
    "env",
    "halt",
    "halt_error",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    // Regular expressions are bounded here.
    "matches",
    "split_matches",
    "split_",
    "capture_of_match",
    "scan_",
    "test",
    "match",
    "capture",
    "scan",
    "splits",
    "sub",
    "gsub",
    // Written in jq there, and slower than they need to be, or not as jq has them.
    "nan",
    "infinite",
    "isnan",
    "isinfinite",
    "isnormal",
    "type",
    "ltrimstr",
    "rtrimstr",
    "join",
    "delpaths",
    "abs",
    // They take time in proportion to a number, and cannot be cut meanwhile.
    "jn",
    "yn",
];

/// Whether a filter of the library is left out.
fn is_left_out(name: &str, arguments: usize) -> bool {
    LEFT_OUT.contains(&name) || (name, arguments) == ("split", 2)
}

/// The definitions that a program may use; of two with the same name and number of arguments the last counts.
pub(super) fn definitions() -> Vec<Def<&'static str>> {
    let library = jaq_core::defs().chain(jaq_std::defs());
    let library = library.filter(|definition| !is_left_out(definition.name, definition.args.len()));
    let ours = jaq_core::load::parse(PRELUDE, |parser| parser.defs()).expect("the prelude is jq, as its tests show");
    library.chain(ours).collect()
}

/// The filters that are not written in jq; of two with the same name and number of arguments the first counts.
pub(super) fn natives() -> Vec<Fun<Engine>> {
    let library = jaq_core::funs().chain(jaq_std::funs());
    let library = library.filter(|(name, arguments, _)| !is_left_out(name, arguments.len()));
    natives::all().into_iter().chain(library).collect()
}

/// What of jq is known and not here, with the reason.
pub(crate) fn why_missing(name: &str) -> Option<&'static str> {
    Some(match name {
        "$ENV" | "env" => "programs do not see the environment",
        "input" | "inputs" | "input_filename" | "input_line_number" => "a program has one input, which is `.`",
        "halt" | "halt_error" => "a program cannot end the gateway; `error(...)` fails it",
        "debug" | "stderr" => "programs write nothing but their output",
        "localtime" | "strflocaltime" => "the zone of the machine is not known here; `gmtime` and `strftime` are in UTC",
        "import" | "include" | "get_search_list" | "modulemeta" => "there are no modules",
        "$__loc__" | "$__prog_args" => "not built",
        _ => return None,
    })
}

/// The names of all filters, for suggestions.
pub(super) fn names() -> Vec<&'static str> {
    let definitions = definitions().into_iter().map(|definition| definition.name);
    let natives = natives().into_iter().map(|(name, _, _)| name);
    definitions.chain(natives).filter(|name| !name.starts_with('_')).collect()
}
