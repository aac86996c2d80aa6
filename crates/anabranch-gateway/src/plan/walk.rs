//! Every reference of a template, a value, a condition or a call, in the order written.

use super::model::{
    Action, CallPlan, Condition, HttpAction, Operand, Otherwise, Piece, Program, Reference, Reply, Root, Template, Value, Variable,
};

impl Template {
    /// Lists the references in it.
    pub fn references(&self) -> Vec<&Reference> {
        let mut all = Vec::new();
        for piece in &self.0 {
            if let Piece::Ref(reference) = piece {
                all.push(reference);
            }
        }
        all
    }
}

impl Value {
    /// Lists the references in it, however deep.
    pub fn references(&self) -> Vec<&Reference> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Ref(reference) => vec![reference],
            Self::Text(template) => template.references(),
            Self::List(items) => items.iter().flat_map(Self::references).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, value)| value.references()).collect(),
        }
    }
}

impl Condition {
    /// Lists the references in it.
    pub fn references(&self) -> Vec<&Reference> {
        match self {
            Self::Truth(reference) => vec![reference],
            Self::Compare(left, _, right) => [left, right].into_iter().filter_map(Operand::reference).collect(),
            Self::And(left, right) | Self::Or(left, right) => [left, right].into_iter().flat_map(|side| side.references()).collect(),
            Self::Not(inner) => inner.references(),
        }
    }
}

impl Operand {
    fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Ref(reference) => Some(reference),
            Self::Literal(_) => None,
        }
    }
}

impl Program {
    /// Lists what its variables stand for.
    pub fn references(&self) -> Vec<&Reference> {
        self.variables.iter().flat_map(Variable::references).collect()
    }
}

impl Variable {
    fn references(&self) -> Vec<&Reference> {
        match self {
            Self::Value(reference) => vec![reference],
            Self::Headers(headers) => headers.iter().map(|(_, reference)| reference).collect(),
        }
    }
}

impl Reply {
    /// Lists the references in it; the parts that it takes whole are not among them.
    pub fn references(&self) -> Vec<&Reference> {
        match self {
            Self::Value(value) => value.references(),
            Self::Jq(program) => program.references(),
            Self::Object | Self::Only(_) | Self::Merge(_) => Vec::new(),
        }
    }
}

impl HttpAction {
    /// Lists the references of its request.
    pub fn references(&self) -> Vec<&Reference> {
        let mut all = self.path.references();
        all.extend(self.query.iter().flat_map(|(_, template)| template.references()));
        all.extend(self.headers.iter().flat_map(|(_, template)| template.references()));
        all.extend(self.body.iter().flat_map(Value::references));
        all
    }
}

impl Action {
    /// Lists the references of its request or value.
    pub fn references(&self) -> Vec<&Reference> {
        match self {
            Action::Http(action) => action.references(),
            Action::Sql(action) => action.params.iter().collect(),
            Action::Redis(action) => action.words.iter().flat_map(Template::references).collect(),
            Action::Run(action) => action.job.references(),
            Action::Value(value) => value.references(),
        }
    }
}

impl CallPlan {
    /// Lists the references that must be there before it starts: those of its request or value, of `when`, and its list.
    pub fn references(&self) -> Vec<&Reference> {
        let mut all = self.action.references();
        all.extend(self.when.iter().flat_map(Condition::references));
        all.extend(self.when_program.iter().flat_map(|program| program.references()));
        let edit = self.edit.as_ref().and_then(|edit| edit.program.as_ref());
        all.extend(edit.into_iter().flat_map(Program::references));
        all.extend(self.list.iter().map(|list| &list.over));
        all
    }

    /// Lists the calls that its `else` needs: those that a value names, or the call that stands in.
    pub fn else_calls(&self) -> &[usize] {
        match &self.otherwise {
            Some(Otherwise::Value { waits, .. }) => waits,
            Some(Otherwise::Call(index)) => std::slice::from_ref(index),
            None => &[],
        }
    }
}

/// The calls among these references, each once, ascending.
pub(super) fn calls(references: &[&Reference]) -> Vec<usize> {
    let call = |reference: &&Reference| {
        if let Root::Call(index) | Root::Joined(index) = reference.root {
            Some(index)
        } else {
            None
        }
    };
    let mut calls: Vec<usize> = references.iter().filter_map(call).collect();
    calls.sort_unstable();
    calls.dedup();
    calls
}
