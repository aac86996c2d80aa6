//! The names that mean something inside one route, and what each of them means.

use http::HeaderName;

use super::model::{Hop, IntoPlan, Param, Reference, Root};
use super::place::{fault, unknown, Text};
use super::reference::{is_name, Written};
use crate::config::faults::{nearest, one_of, Faults};

/// Names with a meaning of their own, which no parameter and no call may take.
pub(super) const TAKEN: [&str; 7] = ["it", "keys", "body", "header", "env", "file", "claims"];

/// What can be referred to in a route.
#[derive(Clone, Debug)]
pub(super) struct Names<'a> {
    /// Path parameters, then query parameters.
    pub(super) params: &'a [Param],
    /// Calls in the order written.
    pub(super) calls: Vec<&'a str>,
    /// Headers let in, lower case.
    pub(super) headers: &'a [HeaderName],
    /// Whether a request of this route has a body.
    pub(super) has_body: bool,
    /// What has a meaning only where a text stands.
    pub(super) here: Here<'a>,
}

/// What has a meaning only in one call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Here<'a> {
    /// The call's index; None outside of calls.
    pub(super) call: Option<usize>,
    /// What a call of this index adds to. Empty where every answer is seen with all that is added to it, as in a reply.
    pub(super) intos: &'a [Option<IntoPlan>],
    /// The name for what a request is made of.
    pub(super) item: Item,
}

/// The name for what a request of a list is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Item {
    /// There is no list.
    #[default]
    None,
    /// `$it`
    It,
    /// `$keys`
    Keys,
}

impl<'a> Names<'a> {
    /// The same names inside the call with this index.
    pub(super) fn inside(&self, call: usize, intos: &'a [Option<IntoPlan>]) -> Names<'a> {
        let here = Here {
            call: Some(call),
            intos,
            item: Item::None,
        };
        Names { here, ..self.clone() }
    }

    /// The same names for what is said once of a batch, and not of each of its requests.
    pub(super) fn without_keys(&self) -> Names<'a> {
        match self.here.item {
            Item::Keys => self.with(Item::None),
            item => self.with(item),
        }
    }

    /// The same names where a request of a list is made.
    pub(super) fn with(&self, item: Item) -> Names<'a> {
        let here = Here { item, ..self.here };
        Names { here, ..self.clone() }
    }

    /// Finds what a reference names; a fault where it names nothing.
    pub(super) fn resolve(&self, written: &Written<'_>, faults: &mut Faults) -> Option<Reference> {
        let name = written.name.text;
        let (root, path) = match name {
            "body" => (self.body(written, faults)?, written.hops.clone()),
            "header" => (self.header(written, faults)?, Vec::new()),
            "env" | "file" => {
                let help = "write `$env.NAME` or `$file.NAME`, which are read at load";
                fault(faults, written.whole, format!("`${name}` has no meaning here"), help);
                return None;
            }
            "it" if self.here.item == Item::It => (Root::It, written.hops.clone()),
            "keys" if self.here.item == Item::Keys => (self.keys(written, faults)?, Vec::new()),
            "it" | "keys" => {
                let help = "`$it` is an item, where a call says `each:`; `$keys` are the keys of a request, where it says `batch:`";
                fault(faults, written.whole, format!("`${name}` has no meaning here"), help);
                return None;
            }
            "claims" => {
                let help = format!("`{name}` is a name with a meaning of its own that nothing here gives it");
                fault(faults, written.whole, format!("`${name}` has no meaning here"), help);
                return None;
            }
            _ => self.param_or_call(written, faults)?,
        };
        Some(Reference {
            root,
            path,
            text: format!("${name}{}", written.tail.text),
        })
    }

    /// Finds a call by its name; a fault where there is none.
    pub(super) fn call(&self, name: Text<'_>, faults: &mut Faults) -> Option<usize> {
        let found = self.calls.iter().position(|call| *call == name.text);
        if found.is_none() {
            unknown(faults, name, "call", name.text, self.calls.iter().copied());
        }
        found
    }

    fn keys(&self, written: &Written<'_>, faults: &mut Faults) -> Option<Root> {
        if !matches!(written.hops.as_slice(), [] | [Hop::Each]) {
            let what = format!("`{}` goes into a key", written.whole.text);
            fault(faults, written.whole, what, "`$keys` are plain values, all at once");
            return None;
        }
        Some(Root::Keys)
    }

    fn body(&self, written: &Written<'_>, faults: &mut Faults) -> Option<Root> {
        if !self.has_body {
            fault(
                faults,
                written.whole,
                "a request of this route has no body",
                "`$body` is for POST, PUT, PATCH and DELETE routes",
            );
            return None;
        }
        Some(Root::Body)
    }

    fn header(&self, written: &Written<'_>, faults: &mut Faults) -> Option<Root> {
        let [Hop::Field(field)] = written.hops.as_slice() else {
            let what = format!("`{}` is not a header", written.whole.text);
            fault(faults, written.whole, what, "write `$header.x-request-id`");
            return None;
        };
        let found = self.headers.iter().position(|header| header.as_str().eq_ignore_ascii_case(field));
        if found.is_none() {
            let what = format!("the header `{field}` is not let in");
            fault(faults, written.whole, what, format!("add `headers: [{field}]` to the route"));
        }
        found.map(Root::Header)
    }

    fn param_or_call(&self, written: &Written<'_>, faults: &mut Faults) -> Option<(Root, Vec<Hop>)> {
        let name = written.name.text;
        if let Some(index) = self.params.iter().position(|param| param.name == name) {
            let into_list = self.params[index].repeats && matches!(written.hops.as_slice(), [Hop::Each | Hop::Index(_)]);
            if !written.hops.is_empty() && !into_list {
                let what = format!("`{name}` is a parameter and has no fields");
                let help = format!(
                    "write `${{{name}}}{}` if `{}` is text behind it",
                    written.tail.text, written.tail.text
                );
                fault(faults, written.whole, what, help);
                return None;
            }
            return Some((Root::Param(index), written.hops.clone()));
        }
        if let Some(index) = self.calls.iter().position(|call| *call == name) {
            let root = self.here.entered(index, &written.hops).map_or(Root::Call(index), Root::Joined);
            return Some((root, written.hops.clone()));
        }
        let known: Vec<&str> = self
            .params
            .iter()
            .map(|param| param.name.as_str())
            .chain(self.calls.iter().copied())
            .collect();
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `${near}`?"),
            None if known.is_empty() => "a parameter is let in by the path or by `query:`".to_owned(),
            None => format!("expected {}; a parameter is let in by the path or by `query:`", one_of(&known)),
        };
        fault(faults, written.whole, format!("unknown name `${name}`"), help);
        None
    }
}

impl Here<'_> {
    /// The call that adds something where this path into the answer of `call` leads, or to one of whose answers something is added
    /// there. A call's own place is for itself what was there before.
    fn entered(&self, call: usize, path: &[Hop]) -> Option<usize> {
        let mut intos = self
            .intos
            .iter()
            .enumerate()
            .filter_map(|(index, into)| Some((index, into.as_ref()?)));
        let (index, into) = intos.find(|(index, into)| Some(*index) != self.call && into.call == call && into.is_entered_by(path))?;
        let rest: Vec<Hop> = [Hop::Each].into_iter().chain(path[into.length()..].iter().cloned()).collect();
        Some(self.entered(index, &rest).unwrap_or(index))
    }
}

/// Checks the name of a parameter or a call.
pub(super) fn check(what: &str, name: Text<'_>, faults: &mut Faults) {
    let text = name.text;
    if !is_name(text) {
        fault(
            faults,
            name,
            format!("`{text}` cannot be the name of a {what}"),
            "letters, digits and `_`, not beginning with a digit",
        );
    } else if TAKEN.contains(&text) {
        let help = format!("another name; {} mean something of their own", one_of(&TAKEN));
        fault(faults, name, format!("the name `{text}` is taken"), help);
    }
}
