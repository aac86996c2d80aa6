//! Lists.

use std::rc::Rc;

use super::super::meter::{self, Charge};
use super::{Value, depth_around};

/// Bytes of one item.
const ITEM: usize = size_of::<Value>();
/// What a list holds beside its items.
const OVERHEAD: usize = 64;
/// Items gathered between two looks at the memory.
const ITEMS_PER_LOOK: usize = 256;

/// A list, how deep it is and what it costs.
#[derive(Debug)]
pub(in crate::transform::jq) struct List {
    items: Vec<Value>,
    depth: u16,
    charge: Charge,
}

impl List {
    pub(super) fn new(items: Vec<Value>) -> Self {
        meter::work(items.len());
        let depth = depth_around(items.iter());
        let charge = Charge::new(items.capacity() * ITEM + OVERHEAD);
        List { items, depth, charge }
    }

    pub(super) fn depth(&self) -> u16 {
        self.depth
    }

    pub(in crate::transform::jq) fn items(&self) -> &[Value] {
        &self.items
    }

    /// The items, copied only where somebody else holds the list.
    pub(in crate::transform::jq) fn into_items(list: Rc<List>) -> Vec<Value> {
        match Rc::try_unwrap(list) {
            Ok(list) => list.items,
            Err(shared) => {
                meter::work(shared.items.len());
                shared.items.clone()
            }
        }
    }

    /// Changes the items in place where nobody else holds the list, else those of a copy.
    pub(super) fn change<T>(mut list: Rc<List>, change: impl FnOnce(&mut Vec<Value>) -> T) -> (Rc<List>, T) {
        if Rc::get_mut(&mut list).is_none() {
            list = Rc::new(List::new(List::into_items(list)));
        }
        let own = Rc::get_mut(&mut list).expect("made above, and nobody else has seen it");
        let result = change(&mut own.items);
        own.charge.set(own.items.capacity() * ITEM + OVERHEAD);
        own.depth = own.depth.max(1);
        (list, result)
    }

    /// Notes that an item of this depth was put in.
    pub(super) fn holds(list: &mut Rc<List>, item_depth: u16) {
        if let Some(own) = Rc::get_mut(list)
            && item_depth >= own.depth
        {
            own.depth = item_depth + 1;
            if own.depth > super::DEPTH_MAX {
                meter::cut(meter::Cut::Nesting);
            }
        }
    }

    /// The items of both; in place where nobody else holds the first.
    pub(super) fn join(first: Rc<List>, second: Rc<List>) -> Rc<List> {
        let more = second.items.len();
        meter::work(more);
        let (mut list, ()) = List::change(first, |items| {
            if items.capacity() - items.len() < more {
                Charge::reserve((items.len() + more) * ITEM);
            }
            items.extend_from_slice(&second.items);
        });
        List::holds(&mut list, second.depth.saturating_sub(1));
        list
    }
}

impl FromIterator<Value> for Value {
    /// Gathers what a program makes, which may have no end: counted while it grows.
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        let mut items = Vec::new();
        let mut charge = Charge::default();
        for value in values {
            if items.len() % ITEMS_PER_LOOK == 0 {
                meter::work(ITEMS_PER_LOOK / 8);
                charge.set((items.len() + ITEMS_PER_LOOK) * ITEM);
            }
            items.push(value);
        }
        drop(charge);
        Value::list(items)
    }
}
