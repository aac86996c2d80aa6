//! A jq program outside of a config: compiled once, run on bodies, with the bounds that programs of a config have.

use bytes::Bytes;

use crate::config::{Faults, Span};
use crate::json;
use crate::transform::jq::{Input, Jq, Room, why_missing};

/// A compiled program. It is given one JSON document and makes exactly one of it.
#[derive(Debug)]
pub struct Program {
    jq: Jq,
}

impl Program {
    /// Compiles a program; `name` stands in faults where a file's name would. Takes about a millisecond and a thread.
    ///
    /// # Errors
    /// All faults of the text at once, each with its place. Variables that nobody gives are faults: there are none here.
    ///
    /// # Example
    /// ```
    /// let program = anabranch_gateway::jq::Program::compile("--jq", "[.items[].id]")?;
    /// let ids = program.apply(br#"{"items":[{"id":1},{"id":2}]}"#, 1 << 20);
    /// assert_eq!(ids.unwrap(), "[1,2]");
    /// # Ok::<(), anabranch_gateway::Faults>(())
    /// ```
    pub fn compile(name: &str, text: &str) -> Result<Program, Faults> {
        let mut faults = Faults::new(name, text);
        let (jq, variables) = match Jq::compile(text) {
            Ok(jq) => {
                let variables = jq.variables().to_vec();
                (Some(jq), variables)
            }
            Err(broken) => {
                for fault in broken.faults {
                    let span = Span {
                        start: fault.at.start,
                        end: fault.at.end,
                    };
                    faults.add_with_help(span, fault.message, fault.help);
                }
                (None, broken.variables)
            }
        };
        for variable in &variables {
            let at = variable.uses.first().map_or(0..0, |first| first.at.clone());
            let name = format!("${}", variable.name);
            let help = why_missing(&name).unwrap_or("a program has one input, which is `.`");
            let span = Span {
                start: at.start,
                end: at.end,
            };
            faults.add_with_help(span, format!("unknown variable `{name}`"), help);
        }
        match jq {
            Some(jq) if faults.is_empty() => Ok(Program { jq }),
            _ => Err(faults),
        }
    }

    /// Runs it on a body, on this thread, for at most 250 ms; `most` bounds the bytes of what it makes. Needs 1 MiB of stack.
    ///
    /// # Errors
    /// The body is no JSON; the program failed, gave no output or several, or reached a limit of time or memory. A fragment for a person.
    pub fn apply(&self, body: &[u8], most: usize) -> Result<Bytes, String> {
        let shape = json::validate(body, &json::Limits::default()).map_err(|fault| format!("the body is no JSON: {fault}"))?;
        let document = Bytes::copy_from_slice(&body[shape.start..shape.end]);
        let made = self.jq.run(&Input::Value(document), &[], &Room::elsewhere(most));
        made.map_err(|failure| failure.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(program: &str, body: &str) -> Result<String, String> {
        let program = Program::compile("--jq", program).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        let made = program.apply(body.as_bytes(), 1000)?;
        Ok(String::from_utf8(made.to_vec()).unwrap())
    }

    #[test]
    fn a_program_makes_one_document_of_one() {
        assert_eq!(made(".a.b", " {\"a\":{\"b\":[1, 2]}}\n").as_deref(), Ok("[1, 2]"));
        assert_eq!(made("[.[] | . * 2]", "[1,2]").as_deref(), Ok("[2,4]"));
        assert!(made(".", "<html>").unwrap_err().contains("no JSON"));
        assert!(made(".[]", "[1,2]").unwrap_err().contains("several outputs"));
        assert!(made("error(\"no\")", "1").unwrap_err().contains("no"));
    }

    #[test]
    fn a_program_is_cut_when_it_takes_too_much() {
        assert!(made("[range(1e9)] | length", "0").unwrap_err().contains("cut"));
        assert!(made("def f: [f]; f", "0").unwrap_err().contains("cut"));
        assert!(made("\"x\" * 5000", "0").unwrap_err().contains("longer than 1000 bytes"));
    }

    #[test]
    fn faults_come_with_their_places() {
        let shown = |text: &str| Program::compile("--jq", text).unwrap_err().render(false);
        assert!(shown(".a | nope").contains("nope"), "{}", shown(".a | nope"));
        assert!(shown("$ENV.HOME").contains("do not see the environment"));
        assert!(shown("$x").contains("unknown variable `$x`"));
        assert!(shown(".a |").contains("--jq:1:"));
    }
}
