//! Values of the interpreter: JSON as a tree.
//!
//! Every value knows what it costs. Texts, lists and objects hold a [`Charge`] for their memory and the depth of what is in them; what
//! would be nested deeper than [`DEPTH_MAX`] cuts the evaluation, so that whatever walks or drops a value may call itself for each level.
//! Lists and objects are shared until somebody changes them. Values never leave the evaluation that made them.

mod number;
mod text;
mod list;
mod object;
mod order;
mod access;
mod update;
mod arithmetic;
mod traits;
mod read;
mod write;

use std::fmt;
use std::rc::Rc;

use super::meter::{Cut, cut};

pub(super) use list::List;
pub(super) use number::Number;
pub(super) use object::{Key, Object};
pub(super) use read::{read, read_bytes};
pub(super) use text::Text;
pub(super) use update::without;
pub(super) use write::{Unwritable, write};

/// Levels of lists and objects inside one another that a program may make; a document has 64 at the most.
pub(super) const DEPTH_MAX: u16 = 256;
/// Steps into nothing, one after another: `null | .a | .a` and so on. Paths get longer by them without end, and the interpreter keeps
/// a path as a chain that is dropped link by link on the stack.
const NULLS_MAX: u16 = 2_000;

/// Errors as a program sees them.
pub(super) type Error = jaq_core::Error<Value>;
/// A value or an error.
pub(super) type ValueResult = Result<Value, Error>;

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Null, with the number of steps into nothing that led here.
    Null(u16),
    Bool(bool),
    Number(Number),
    Text(Rc<Text>),
    List(Rc<List>),
    Object(Rc<Object>),
}

impl Value {
    pub(super) const NULL: Value = Value::Null(0);

    pub(super) fn text(text: impl Into<String>) -> Self {
        Value::Text(Rc::new(Text::new(text.into())))
    }

    pub(super) fn list(items: Vec<Value>) -> Self {
        Value::List(Rc::new(List::new(items)))
    }

    pub(super) fn object(entries: impl IntoIterator<Item = (Key, Value)>) -> Self {
        Value::Object(Rc::new(Object::new(entries)))
    }

    pub(super) fn int(int: usize) -> Self {
        Value::Number(i64::try_from(int).map_or_else(|_| Number::of(int as f64), Number::Int))
    }

    /// What is one step into nothing.
    fn nothing(steps: u16) -> Self {
        if steps >= NULLS_MAX {
            cut(Cut::Nesting);
        }
        Value::Null(steps + 1)
    }

    /// Levels of lists and objects, itself included.
    fn depth(&self) -> u16 {
        match self {
            Value::List(list) => list.depth(),
            Value::Object(object) => object.depth(),
            _ => 0,
        }
    }

    /// jq's truth: null and false are no.
    pub(super) fn is_true(&self) -> bool {
        !matches!(self, Value::Null(_) | Value::Bool(false))
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Null(_) => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::Text(_) => "string",
            Value::List(_) => "array",
            Value::Object(_) => "object",
        }
    }

    /// The text of a text.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Its text, or an error that says what it is instead.
    pub(super) fn expect_text(&self) -> Result<&str, Error> {
        self.as_text().ok_or_else(|| Error::typ(self.clone(), "string"))
    }

    pub(super) fn as_number(&self) -> Option<&Number> {
        match self {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }
}

/// The depth of something that holds these.
fn depth_around<'a>(inside: impl Iterator<Item = &'a Value>) -> u16 {
    let depth = 1 + inside.map(Value::depth).max().unwrap_or(0);
    if depth > DEPTH_MAX {
        cut(Cut::Nesting);
    }
    depth
}

/// For messages: JSON, cut short.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write::shortened(self, f)
    }
}
