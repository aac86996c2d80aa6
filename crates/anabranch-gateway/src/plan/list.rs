//! `each` and `batch`: the list, the way from answers to keys, and the place that the answers are added to.

use super::model::{Hop, IntoPlan, ListKind, ListPlan, Matching, Reference, Root};
use super::names::{Item, Names};
use super::place::{fault, Text};
use super::reference::{parse, read_place, Part};
use super::settings;
use crate::config::faults::Faults;
use crate::config::model::{CallConfig, ListConfig, ListKindConfig};

/// Compiles what a call says about a list; `into` is what [`intos`] made of its place.
pub(super) fn compile(list: &ListConfig, into: Option<&IntoPlan>, names: &Names<'_>, faults: &mut Faults) -> Option<ListPlan> {
    let over = over(list, names, faults);
    let kind = match &list.kind {
        // Whether `when` names `$it` is known once that is compiled.
        ListKindConfig::Each => Some(ListKind::Each { when_by_item: false }),
        ListKindConfig::Batch { matching } => matching_of(Text::of(matching), faults).map(ListKind::Batch),
    };
    let over = over?;
    if let (Some(into), Some(written)) = (into, &list.into)
        && !goes_with(&over, into, names)
    {
        let what = format!("`{}` has other items than `{}`", written.value, over.text);
        fault(
            faults,
            written,
            what,
            "a place in each item of the list that is asked for: `$posts[]` and `posts[].author`",
        );
    }
    Some(ListPlan {
        kind: kind?,
        over,
        into: into.cloned(),
        width: list.width.as_ref().map_or(settings::WIDTH, |width| width.value) as usize,
        max_items: list.max_items.as_ref().map_or(settings::MAX_ITEMS, |most| most.value) as usize,
        is_entered: false,
    })
}

/// The name for what a request of this call is made of.
pub(super) fn item(call: &CallConfig) -> Item {
    match call.list.as_ref().map(|list| &list.kind) {
        None => Item::None,
        Some(ListKindConfig::Each) => Item::It,
        Some(ListKindConfig::Batch { .. }) => Item::Keys,
    }
}

/// The places of all calls that add to others, by call.
pub(super) fn intos(calls: &[CallConfig], names: &Names<'_>, faults: &mut Faults) -> Vec<Option<IntoPlan>> {
    let mut intos: Vec<Option<IntoPlan>> = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let written = call.list.as_ref().and_then(|list| list.into.as_ref());
        let into = written.and_then(|written| {
            let into = into(Text::of(written), names, faults)?;
            if into.call == index {
                fault(
                    faults,
                    written,
                    format!("`{}` cannot add to itself", call.name.value),
                    "the call whose answer gets something added",
                );
                return None;
            }
            let clash = intos
                .iter()
                .position(|other| other.as_ref().is_some_and(|other| clash(&into, other)));
            if let Some(other) = clash {
                let other = &calls[other].name.value;
                let what = format!("`{other}` adds to the same place");
                fault(
                    faults,
                    written,
                    what,
                    format!("another key, or a place in the answers of `{other}`: `{other}[].key`"),
                );
                return None;
            }
            Some(into)
        });
        intos.push(into);
    }
    intos
}

impl IntoPlan {
    /// How many hops lead to what is added.
    pub(super) fn length(&self) -> usize {
        self.list.len() + self.inside.len() + 1
    }

    /// Whether a path into the answer goes to what is added or further in. An index stands for one item of `[]`.
    pub(super) fn is_entered_by(&self, path: &[Hop]) -> bool {
        let key = Hop::Field(self.key.clone());
        let own = self.list.iter().chain(&self.inside).chain([&key]);
        path.len() >= self.length() && own.zip(path).all(|(own, other)| is_same(own, other))
    }
}

fn is_same(one: &Hop, other: &Hop) -> bool {
    one == other || matches!((one, other), (Hop::Each, Hop::Index(_)) | (Hop::Index(_), Hop::Each))
}

/// Whether one of two places is inside the other, so that it would matter which call ends first.
fn clash(one: &IntoPlan, other: &IntoPlan) -> bool {
    let path = |into: &IntoPlan| [into.list.as_slice(), &into.inside, &[Hop::Field(into.key.clone())]].concat();
    one.call == other.call && (one.is_entered_by(&path(other)) || other.is_entered_by(&path(one)))
}

/// Whether each item of the list is an item of the place, so that answers find their places by number.
fn goes_with(over: &Reference, into: &IntoPlan, names: &Names<'_>) -> bool {
    let mut target = over.root.clone();
    while let Root::Joined(call) = target {
        let Some(Some(outer)) = names.here.intos.get(call) else {
            return false;
        };
        target = Root::Joined(outer.call);
        if names.here.intos.get(outer.call).is_none_or(Option::is_none) {
            target = Root::Call(outer.call);
        }
    }
    target == Root::Call(into.call) && list_of(&over.path) == into.list
}

/// The path up to and with its last `[]`.
fn list_of(path: &[Hop]) -> &[Hop] {
    let end = path.iter().rposition(|hop| *hop == Hop::Each).map_or(0, |last| last + 1);
    &path[..end]
}

fn over(list: &ListConfig, names: &Names<'_>, faults: &mut Faults) -> Option<Reference> {
    let text = Text::of(&list.over).trimmed();
    let key = if matches!(list.kind, ListKindConfig::Each) {
        "each"
    } else {
        "batch"
    };
    let before = faults.len();
    let reference = match parse(text, faults).as_slice() {
        [Part::Reference(written)] => Some(names.resolve(written, faults)?),
        _ => None,
    };
    let Some(reference) = reference else {
        // A broken reference has its own fault.
        if faults.len() == before {
            fault(
                faults,
                text,
                format!("`{key}` is not one reference"),
                "a reference to the items of one: `$posts[]`, `$posts[].author_id`",
            );
        }
        return None;
    };
    let repeats =
        matches!(reference.root, Root::Param(index) if names.params[index].repeats && !matches!(reference.path[..], [Hop::Index(_)]));
    if !repeats && !reference.path.contains(&Hop::Each) {
        let help = match reference.root {
            Root::Param(_) => "a parameter that takes repeats: `query: { id: [] }`, or the items of an answer: `$posts[]`".to_owned(),
            _ => format!("write `{}[]` for the items of a list", reference.text),
        };
        fault(faults, text, format!("`{}` is one value", reference.text), help);
        return None;
    }
    Some(reference)
}

fn into(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Option<IntoPlan> {
    const EXPECTED: &str = "a call, the way to its items, and a key of each: `posts[].author`";
    let text = text.trimmed();
    let place = read_place(text, faults);
    let Some((name, mut hops)) = place else {
        let help = if text.text.starts_with('$') {
            "write it without the dollar: `posts[].author`"
        } else {
            EXPECTED
        };
        fault(faults, text, format!("`{}` is no place in an answer", text.text), help);
        return None;
    };
    let call = names.call(name, faults)?;
    let list = list_of(&hops).to_vec();
    let mut inside = hops.split_off(list.len());
    let are_fields = inside.iter().all(|hop| matches!(hop, Hop::Field(_)));
    match inside.pop() {
        Some(Hop::Field(key)) if !list.is_empty() && are_fields => Some(IntoPlan { call, list, inside, key }),
        _ => {
            fault(faults, text, format!("`{}` is no key of the items of a list", text.text), EXPECTED);
            None
        }
    }
}

/// `id`, `users[].id`, `[].id`, `key` or `order`.
fn matching_of(text: Text<'_>, faults: &mut Faults) -> Option<Matching> {
    let text = text.trimmed();
    match text.text {
        "key" => return Some(Matching::Key),
        "order" => return Some(Matching::Order),
        _ => {}
    }
    let bare = text
        .text
        .strip_prefix("[].")
        .map_or(text, |inside| text.slice(text.text.len() - inside.len()..text.text.len()));
    let hops = read_place(bare, faults).map(|(name, mut hops)| {
        hops.insert(0, Hop::Field(name.text.to_owned()));
        hops
    });
    let hops = hops.unwrap_or_default();
    let lists = hops.iter().filter(|hop| **hop == Hop::Each).count();
    let found = match hops.iter().position(|hop| *hop == Hop::Each) {
        Some(at) if lists == 1 && bare.text == text.text => Some((hops[..at].to_vec(), hops[at + 1..].to_vec())),
        None => Some((Vec::new(), hops)),
        Some(_) => None,
    };
    match found {
        Some((list, key)) if !key.is_empty() => Some(Matching::Field { list, key }),
        _ => {
            fault(
                faults,
                text,
                format!("`{}` does not say where the key is", text.text),
                "`id`: a field of each answer; `users[].id`: of each in a list inside; `key`: an object by key; `order`: a list in the order \
                 of the keys",
            );
            None
        }
    }
}
