//! Conditions that need an interpreter: judged at once where that is short, else on the compute pool before the call starts.

use anabranch::{CallError, Deadline, Kind, Settled};
use bytes::Bytes;

use super::scope::Item;
use super::{Ended, Key, Run, late, not_needed};
use crate::connector::CallEnd;
use crate::gateway::Core;
use crate::plan::{ListKind, Program};
use crate::transform::{Judging, judge};

impl<'a> Run<'a> {
    /// Judges the condition of a call, then goes on with the call.
    pub(super) fn judge(&mut self, call: usize, program: &'a Program) {
        let list = self.route.calls[call].list.as_deref();
        let by_item = list.filter(|list| matches!(list.kind, ListKind::Each { when_by_item: true }));
        let all = match by_item {
            None => vec![self.known(Item::None).variables(program)],
            Some(list) => {
                // A list that is not there, or is too long, is nobody's to judge: it is not asked for.
                let items = self
                    .items_of(&list.over)
                    .filter(|items| items.len() <= list.max_items)
                    .unwrap_or_default();
                items.iter().map(|item| self.known(Item::It(item)).variables(program)).collect()
            }
        };
        let judging = judge(&program.jq, all);
        match judging.here() {
            Some(verdicts) => self.judged(call, verdicts),
            None => {
                let judged = on_pool(self.core, &self.route.pattern, judging, self.calls_until);
                let _started = self.under_way.start(Key::condition(call), judged);
            }
        }
    }

    /// Takes the end of a condition that was judged on the pool.
    pub(super) fn finish_condition(&mut self, call: usize, settled: Settled<CallEnd>) {
        let verdicts = match settled {
            Settled::Done(end) => end.result.map(|verdicts| verdicts.iter().map(|verdict| *verdict == 1).collect()),
            Settled::TimedOut => Err(late()),
            Settled::Cancelled(_) => Err(not_needed()),
            Settled::Panicked(message) => Err(CallError::new(Kind::Panic, message)),
        };
        self.judged(call, verdicts);
    }

    fn judged(&mut self, call: usize, verdicts: Result<Vec<bool>, CallError>) {
        match verdicts {
            Ok(verdicts) => {
                if self.verdicts.is_empty() {
                    self.verdicts.resize(self.route.calls.len(), None);
                }
                self.verdicts[call] = Some(verdicts);
                self.begin(call);
            }
            Err(error) => self.settle(call, Ended::failed(error, None, std::time::Duration::ZERO)),
        }
    }

    /// What the condition of a call said, where it needs an interpreter and has been judged.
    pub(super) fn verdicts(&self, call: usize) -> Option<&[bool]> {
        self.verdicts.get(call)?.as_deref()
    }
}

/// Verdicts travel like answers: a byte of 1 for each yes.
async fn on_pool(core: &Core, label: &str, judging: Judging, deadline: Deadline) -> CallEnd {
    let verdicts = judging.on_pool(core.compute(), label, deadline).await;
    let result = verdicts.map(|verdicts| verdicts.into_iter().map(u8::from).collect::<Bytes>());
    CallEnd::computed(result)
}
