//! Objects: entries in the order in which they came.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use indexmap::IndexMap;

use super::super::meter::{self, Charge, Cut};
use super::{DEPTH_MAX, Text, Value, depth_around};

/// Bytes of one entry, its place in the index included.
const ENTRY: usize = size_of::<(Key, Value)>() + 32;
/// What an object holds beside its entries.
const OVERHEAD: usize = 160;

/// The key of an entry; the text may be shared with others.
#[derive(Clone, Debug)]
pub(in crate::transform::jq) struct Key(pub(in crate::transform::jq) Rc<Text>);

impl Key {
    pub(in crate::transform::jq) fn of(name: &str) -> Self {
        Key(Rc::new(Text::new(name.to_owned())))
    }

    pub(in crate::transform::jq) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<Key> for Value {
    fn from(key: Key) -> Self {
        Value::Text(key.0)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
    }
}

impl Eq for Key {}

/// Hashed with a random seed, since the keys may be a stranger's.
pub(super) type Entries = IndexMap<Key, Value>;

/// An object, how deep it is and what it costs.
#[derive(Debug)]
pub(in crate::transform::jq) struct Object {
    entries: Entries,
    depth: u16,
    charge: Charge,
}

impl Object {
    /// Of equal keys the last counts, in the place of the first.
    pub(super) fn new(entries: impl IntoIterator<Item = (Key, Value)>) -> Self {
        let entries: Entries = entries.into_iter().collect();
        Object::holding(entries)
    }

    fn holding(entries: Entries) -> Self {
        meter::work(entries.len());
        let depth = depth_around(entries.values());
        let charge = Charge::new(entries.capacity() * ENTRY + OVERHEAD);
        Object { entries, depth, charge }
    }

    pub(super) fn depth(&self) -> u16 {
        self.depth
    }

    pub(in crate::transform::jq) fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(in crate::transform::jq) fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// The entries, copied only where somebody else holds the object.
    pub(super) fn into_entries(object: Rc<Object>) -> Entries {
        match Rc::try_unwrap(object) {
            Ok(object) => object.entries,
            Err(shared) => {
                meter::work(shared.entries.len());
                shared.entries.clone()
            }
        }
    }

    /// Changes the entries in place where nobody else holds the object, else those of a copy. `change` says how deep what it put in is.
    pub(super) fn change(mut object: Rc<Object>, change: impl FnOnce(&mut Entries) -> u16) -> Rc<Object> {
        if Rc::get_mut(&mut object).is_none() {
            object = Rc::new(Object::holding(Object::into_entries(object)));
        }
        let own = Rc::get_mut(&mut object).expect("made above, and nobody else has seen it");
        let inside = change(&mut own.entries);
        own.charge.set(own.entries.capacity() * ENTRY + OVERHEAD);
        own.depth = own.depth.max(inside + 1);
        if own.depth > DEPTH_MAX {
            meter::cut(Cut::Nesting);
        }
        object
    }

    /// The entries of both, those of the second where both have a key.
    pub(super) fn join(first: Rc<Object>, second: Rc<Object>) -> Rc<Object> {
        let depth = second.depth.saturating_sub(1);
        meter::work(second.entries.len());
        Object::change(first, |entries| {
            entries.extend(Object::into_entries(second));
            depth
        })
    }

    /// As [`join`](Object::join), but objects under the same key are merged as well.
    pub(super) fn merge(first: Rc<Object>, second: Rc<Object>) -> Rc<Object> {
        meter::work(second.entries.len());
        Object::change(first, |entries| {
            let mut depth = 0;
            for (key, theirs) in Object::into_entries(second) {
                let ours = entries.get_mut(key.as_str()).map(|ours| std::mem::replace(ours, Value::NULL));
                let merged = match (ours, theirs) {
                    (Some(Value::Object(ours)), Value::Object(theirs)) => Value::Object(Object::merge(ours, theirs)),
                    (_, theirs) => theirs,
                };
                depth = depth.max(merged.depth());
                entries.insert(key, merged);
            }
            depth
        })
    }
}
