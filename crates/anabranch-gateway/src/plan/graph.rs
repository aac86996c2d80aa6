//! The graph of a route's calls: what each waits for, which stand in for others only, which are parts of the reply, cycles, and
//! calls that nobody would see.

use super::call::is_write;
use super::model::{CallPlan, IntoPlan, Need, Otherwise, Reply, Root, RoutePlan};
use super::place::fault;
use super::walk;
use crate::config::faults::Faults;
use crate::config::model::CallConfig;

/// What is known of a route once its calls are connected.
pub(super) struct Connected {
    /// The parts of the reply, ascending.
    pub(super) parts: Vec<usize>,
    /// Calls that add to others, those before them that are added to first.
    pub(super) joins: Vec<usize>,
}

/// Fills in what a call waits for, whether it starts only for an `else`, whether it is a part, and whether the account tells of it.
pub(super) fn connect(calls: &mut [CallPlan], reply: &Reply) -> Connected {
    for call in calls.iter_mut() {
        let mut waits = walk::calls(&call.references());
        waits.append(&mut call.waits);
        waits.sort_unstable();
        waits.dedup();
        call.waits = waits;
    }
    let named = named(calls, reply);
    let stands_in = stands_in(calls);
    for (index, call) in calls.iter_mut().enumerate() {
        call.only_else = stands_in[index] && !named[index] && into(call).is_none();
    }
    let parts = match reply {
        Reply::Object => (0..calls.len())
            .filter(|&index| !calls[index].only_else && into(&calls[index]).is_none())
            .collect(),
        Reply::Only(index) => vec![*index],
        Reply::Merge(indices) => sorted(indices.clone()),
        Reply::Value(_) => walk::calls(&reply.references()),
        // A program that looks at `.` may take any part.
        Reply::Jq(program) if program.jq.looks_at_input() => (0..calls.len())
            .filter(|&index| !calls[index].only_else && into(&calls[index]).is_none())
            .collect(),
        Reply::Jq(_) => walk::calls(&reply.references()),
    };
    for &part in &parts {
        calls[part].is_part = true;
    }
    for index in entered(calls) {
        if let Some(list) = &mut calls[index].list {
            list.is_entered = true;
        }
    }
    for index in 0..calls.len() {
        calls[index].is_told = calls[index].is_part || chain(calls, index).any(|target| calls[target].is_part);
    }
    let mut joins: Vec<usize> = (0..calls.len()).filter(|&index| into(&calls[index]).is_some()).collect();
    // The further in an answer is added, the sooner: what it is added to is itself added somewhere.
    joins.sort_by_key(|&index| std::cmp::Reverse(chain(calls, index).count()));
    Connected { parts, joins }
}

/// The call whose answer a call adds to, and where.
fn into(call: &CallPlan) -> Option<&IntoPlan> {
    call.list.as_ref()?.into.as_ref()
}

/// The calls that a call adds to, each to the next. Ends also where they wait for one another, which is reported as a cycle.
fn chain(calls: &[CallPlan], call: usize) -> impl Iterator<Item = usize> {
    let next = |index: &usize| into(&calls[*index]).map(|into| into.call);
    std::iter::successors(Some(call), next).take(calls.len() + 1).skip(1)
}

/// Calls to whose places some other call refers.
fn entered(calls: &[CallPlan]) -> Vec<usize> {
    let mut references: Vec<_> = calls.iter().flat_map(CallPlan::references).collect();
    references.extend(
        calls
            .iter()
            .filter_map(|call| call.otherwise.as_ref())
            .flat_map(|otherwise| match otherwise {
                Otherwise::Value { value, .. } => value.references(),
                Otherwise::Call(_) => Vec::new(),
            }),
    );
    let entered = references.into_iter().filter_map(|reference| match reference.root {
        Root::Joined(index) => Some(index),
        _ => None,
    });
    entered.collect()
}

/// Reports calls that wait for one another, with the whole cycle, and says whether there are any.
pub(super) fn report_cycles(written: &[CallConfig], calls: &[CallPlan], faults: &mut Faults) {
    for cycle in cycles(calls) {
        let mut names: Vec<&str> = cycle.iter().map(|&index| &*calls[index].name).collect();
        names.push(names[0]);
        let what = match cycle.len() {
            1 => format!("`{}` waits for itself", names[0]),
            _ => format!("calls wait for one another: {}", names.join(" -> ")),
        };
        fault(
            faults,
            &written[cycle[0]].name,
            what,
            "a call starts when every call that it names has ended; one of these names too much",
        );
    }
}

/// Reports calls whose end changes nothing: no part of the reply, named by nobody, safe to leave out.
pub(super) fn report_unseen(written: &[CallConfig], calls: &[CallPlan], reply: &Reply, need: &Need, faults: &mut Faults) {
    let named = named(calls, reply);
    for (index, call) in calls.iter().enumerate() {
        let needed = matches!(need, Need::All(needs) if needs.contains(&index));
        let seen = call.is_told || call.only_else || named[index] || needed || is_write(&call.action);
        if !seen {
            let what = format!("nobody would see the call `{}`", call.name);
            fault(
                faults,
                &written[index].name,
                what,
                "a call is in the reply, named by another call or `need`, or changes something (`post`)",
            );
        }
    }
}

impl RoutePlan {
    /// Tells for each call how many calls must have ended one after another before it starts; 0 starts at once. A call that only
    /// stands in comes after all calls that it stands in for.
    pub fn levels(&self) -> Vec<usize> {
        let mut levels = vec![0; self.calls.len()];
        // Without cycles, a level is settled after as many rounds as the longest way has calls.
        for _ in 0..self.calls.len() {
            let before = levels.clone();
            for (index, call) in self.calls.iter().enumerate() {
                let after = call.waits.iter().map(|&other| before[other] + 1).max().unwrap_or(0);
                levels[index] = levels[index].max(after);
                if let Some(Otherwise::Call(other)) = call.otherwise
                    && self.calls[other].only_else
                {
                    levels[other] = levels[other].max(before[index] + 1);
                }
            }
            if levels == before {
                break;
            }
        }
        levels
    }
}

/// Which calls are named by a request, a condition, `after`, a value of `else`, or the reply.
fn named(calls: &[CallPlan], reply: &Reply) -> Vec<bool> {
    let mut named = vec![false; calls.len()];
    let mut name = |index: usize| named[index] = true;
    for call in calls {
        call.waits.iter().copied().for_each(&mut name);
        if let Some(Otherwise::Value { waits, .. }) = &call.otherwise {
            waits.iter().copied().for_each(&mut name);
        }
    }
    match reply {
        Reply::Object => {}
        Reply::Only(index) => name(*index),
        Reply::Merge(indices) => indices.iter().copied().for_each(&mut name),
        Reply::Value(_) | Reply::Jq(_) => walk::calls(&reply.references()).into_iter().for_each(&mut name),
    }
    named
}

/// Which calls are the `else` of another.
fn stands_in(calls: &[CallPlan]) -> Vec<bool> {
    let mut stands_in = vec![false; calls.len()];
    for call in calls {
        if let Some(Otherwise::Call(index)) = call.otherwise {
            stands_in[index] = true;
        }
    }
    stands_in
}

/// Finds cycles, each once. An `else` counts: what stands in for a call cannot wait for it.
fn cycles(calls: &[CallPlan]) -> Vec<Vec<usize>> {
    let next: Vec<Vec<usize>> = calls
        .iter()
        .map(|call| [call.waits.as_slice(), call.else_calls()].concat())
        .collect();
    let mut state = vec![Visit::New; calls.len()];
    let mut cycles: Vec<Vec<usize>> = Vec::new();
    for start in 0..calls.len() {
        // A stack of our own: the depth is the number of calls, which the config decides.
        let mut way: Vec<(usize, usize)> = Vec::new();
        enter(start, &mut way, &mut state);
        while let Some((call, edge)) = way.last_mut() {
            let Some(&other) = next[*call].get(*edge) else {
                state[*call] = Visit::Done;
                way.pop();
                continue;
            };
            *edge += 1;
            if state[other] == Visit::OnTheWay {
                let from = way.iter().position(|(call, _)| *call == other).unwrap_or(0);
                cycles.push(way[from..].iter().map(|(call, _)| *call).collect());
            }
            enter(other, &mut way, &mut state);
        }
    }
    let mut seen: Vec<Vec<usize>> = Vec::new();
    cycles.retain(|cycle| {
        let members = sorted(cycle.clone());
        let new = !seen.contains(&members);
        seen.push(members);
        new
    });
    cycles
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    OnTheWay,
    Done,
}

fn enter(call: usize, way: &mut Vec<(usize, usize)>, state: &mut [Visit]) {
    if state[call] == Visit::New {
        state[call] = Visit::OnTheWay;
        way.push((call, 0));
    }
}

fn sorted(mut indices: Vec<usize>) -> Vec<usize> {
    indices.sort_unstable();
    indices
}
