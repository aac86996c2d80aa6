//! Which bytes of a file are missing, and who is getting which of them. A pure structure; several readers share one behind a lock.

use std::ops::Range;

/// Stretches are not made smaller than this: a request costs more than it saves.
const LEAST: u64 = 4 << 20;

/// The stretches of a file that are missing.
#[derive(Debug)]
pub(crate) struct Missing {
    /// In order, disjoint; those that are complete are empty.
    stretches: Vec<Stretch>,
    total: u64,
}

#[derive(Debug)]
struct Stretch {
    /// The first byte that is not there.
    next: u64,
    end: u64,
    held: Held,
}

/// Whose a stretch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Free,
    /// Somebody has asked for it and has no answer yet.
    Asked,
    /// Somebody reads it.
    Read,
}

/// One stretch, as its reader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken(usize);

impl Missing {
    /// All of a file.
    pub(crate) fn whole(total: u64) -> Self {
        Missing::read(total, &[(0, total)]).unwrap_or(Missing {
            stretches: Vec::new(),
            total,
        })
    }

    /// What a note says. None where it cannot be so.
    pub(crate) fn read(total: u64, ranges: &[(u64, u64)]) -> Option<Self> {
        let mut at = 0;
        let mut stretches = Vec::new();
        for (next, end) in ranges.iter().copied() {
            if next < at || next >= end || end > total {
                return None;
            }
            stretches.push(Stretch {
                next,
                end,
                held: Held::Free,
            });
            at = end;
        }
        Some(Missing { stretches, total })
    }

    /// For a note.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<_> = self
            .stretches
            .iter()
            .filter(|stretch| stretch.next < stretch.end)
            .map(|stretch| (stretch.next, stretch.end))
            .collect();
        ranges.sort_unstable();
        ranges
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.stretches.iter().all(|stretch| stretch.next >= stretch.end)
    }

    /// Bytes that are missing.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.stretches.iter().map(Stretch::left).sum()
    }

    /// Makes at least `count` stretches of it if they are large enough, before anybody reads.
    pub(crate) fn split(&mut self, count: usize) {
        while self.stretches.len() < count && self.halve_the_largest(|_| true) {}
    }

    /// The first stretch that nobody gets; else the second half of the largest that somebody gets. None when there is nothing worth it.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        let is_free = |stretch: &Stretch| stretch.held == Held::Free && stretch.left() > 0;
        let free = (0..self.stretches.len())
            .filter(|at| is_free(&self.stretches[*at]))
            .min_by_key(|at| self.stretches[*at].next);
        let at = match free {
            Some(at) => at,
            None if self.halve_the_largest(|stretch| stretch.held == Held::Read) => self.stretches.len() - 1,
            None => return None,
        };
        self.stretches[at].held = Held::Asked;
        Some(Taken(at))
    }

    /// The answer for a stretch is there and begins at `from`. False if that is not where it begins any more: another reader came that
    /// far meanwhile.
    pub(crate) fn begin(&mut self, taken: Taken, from: u64) -> bool {
        let stretch = &mut self.stretches[taken.0];
        let is_whole = stretch.next == from && stretch.left() > 0;
        if is_whole {
            stretch.held = Held::Read;
        }
        is_whole
    }

    /// What is still to be read of a stretch.
    pub(crate) fn wanted(&self, taken: Taken) -> Range<u64> {
        let stretch = &self.stretches[taken.0];
        stretch.next..stretch.end
    }

    /// Puts down bytes that are in the file now. More than the stretch has do not count: its end may have been given to another.
    pub(crate) fn written(&mut self, taken: Taken, bytes: u64) {
        let stretch = &mut self.stretches[taken.0];
        stretch.next = (stretch.next + bytes).min(stretch.end);
    }

    /// Lets the reader of a complete stretch go on with the next one, if nobody reads that: from `here`, where the reader is, up to
    /// `end`, where its answer ends. Whoever only asks for that one may wait for ever, as with a server that honours no ranges.
    pub(crate) fn go_on(&mut self, taken: Taken, here: u64, end: u64) -> bool {
        let own = &self.stretches[taken.0];
        if own.left() > 0 || own.end != here || end <= here {
            return false;
        }
        let follows = |stretch: &Stretch| stretch.next == here && stretch.left() > 0 && stretch.held != Held::Read;
        let Some(at) = self.stretches.iter().position(follows) else {
            return false;
        };
        let next = &mut self.stretches[at];
        let last = next.end.min(end);
        next.next = last;
        let own = &mut self.stretches[taken.0];
        (own.next, own.end) = (here, last);
        true
    }

    /// The reader of this stretch has ended; what is left of it is anybody's.
    pub(crate) fn give_back(&mut self, taken: Taken) {
        self.stretches[taken.0].held = Held::Free;
    }

    /// Halves at a multiple of what is written at once, so that writes stay aligned.
    fn halve_the_largest(&mut self, may: impl Fn(&Stretch) -> bool) -> bool {
        let candidates = (0..self.stretches.len()).filter(|at| may(&self.stretches[*at]));
        let Some(largest) = candidates.max_by_key(|at| self.stretches[*at].left()) else {
            return false;
        };
        let Stretch { next, end, .. } = self.stretches[largest];
        if end.saturating_sub(next) < 2 * LEAST {
            return false;
        }
        let middle = (next + (end - next) / 2) & !((1 << 20) - 1);
        self.stretches[largest].end = middle;
        self.stretches.push(Stretch {
            next: middle,
            end,
            held: Held::Free,
        });
        true
    }
}

impl Stretch {
    fn left(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_file_is_split_into_as_many_stretches_as_are_worth_it() {
        let ranges = |total, count| {
            let mut missing = Missing::whole(total);
            missing.split(count);
            missing.ranges()
        };
        assert_eq!(
            ranges(32 * MIB, 4),
            [(0, 8 * MIB), (8 * MIB, 16 * MIB), (16 * MIB, 24 * MIB), (24 * MIB, 32 * MIB)]
        );
        assert_eq!(ranges(7 * MIB, 4), [(0, 7 * MIB)]);
        assert_eq!(ranges(20 * MIB, 100).len(), 4);
    }

    #[test]
    fn whoever_is_done_takes_half_of_what_another_has_left() {
        let mut missing = Missing::whole(40 * MIB);
        let slow = missing.take().unwrap();
        assert!(missing.begin(slow, 0));
        missing.written(slow, 8 * MIB);
        let fast = missing.take().unwrap();
        assert_eq!(
            (missing.wanted(slow), missing.wanted(fast)),
            (8 * MIB..24 * MIB, 24 * MIB..40 * MIB)
        );
        // What the slow one has in hand beyond its new end does not count.
        missing.written(slow, 20 * MIB);
        assert!(missing.wanted(slow).is_empty());
        assert_eq!(missing.count(), 16 * MIB);
    }

    #[test]
    fn what_a_reader_gives_back_is_taken_first() {
        let mut missing = Missing::whole(40 * MIB);
        missing.split(2);
        let (one, two) = (missing.take().unwrap(), missing.take().unwrap());
        missing.written(one, MIB);
        missing.give_back(one);
        let again = missing.take().unwrap();
        assert_eq!(missing.wanted(again), MIB..20 * MIB);
        missing.give_back(two);
    }

    #[test]
    fn a_reader_goes_on_into_what_nobody_gets_as_far_as_its_answer_goes() {
        let mut missing = Missing::whole(32 * MIB);
        missing.split(2);
        let first = missing.take().unwrap();
        assert!(missing.begin(first, 0));
        assert!(!missing.go_on(first, 16 * MIB, 20 * MIB), "its own is not complete");
        missing.written(first, 16 * MIB);
        assert!(!missing.go_on(first, 16 * MIB, 16 * MIB), "its answer ends here");
        assert!(!missing.go_on(first, 17 * MIB, 20 * MIB), "it is further already");
        assert!(missing.go_on(first, 16 * MIB, 20 * MIB));
        assert_eq!(missing.wanted(first), 16 * MIB..20 * MIB);
        missing.written(first, 4 * MIB);
        let second = missing.take().unwrap();
        assert_eq!(missing.wanted(second), 20 * MIB..32 * MIB);
        assert!(missing.begin(second, 20 * MIB));
        assert!(!missing.go_on(first, 20 * MIB, 32 * MIB), "somebody reads it");
    }

    #[test]
    fn who_only_asks_is_passed_by() {
        let mut missing = Missing::whole(32 * MIB);
        missing.split(2);
        let (first, second) = (missing.take().unwrap(), missing.take().unwrap());
        assert!(missing.begin(first, 0));
        missing.written(first, 16 * MIB);
        assert!(missing.go_on(first, 16 * MIB, 32 * MIB));
        assert!(!missing.begin(second, 16 * MIB), "its answer comes too late");
        missing.give_back(second);
        missing.written(first, 16 * MIB);
        assert!(missing.is_complete());
    }

    #[test]
    fn a_note_that_cannot_be_is_no_note() {
        for ranges in [&[(5, 5)][..], &[(0, 101)], &[(0, 10), (5, 20)], &[(20, 30), (0, 10)], &[(9, 3)]] {
            assert!(Missing::read(100, ranges).is_none(), "{ranges:?}");
        }
        assert!(Missing::read(100, &[]).unwrap().is_complete());
        assert!(Missing::whole(0).is_complete());
    }

    proptest! {
        /// Whatever readers do in whatever order, in the end each byte was written, and no stretch was lost.
        #[test]
        fn every_byte_comes(total in 0_u64..100 * MIB, count in 1_usize..9, steps in prop::collection::vec((0_usize..4, 0_u64..12 * MIB, 0_u8..4), 0..200)) {
            let mut missing = Missing::whole(total);
            missing.split(count);
            let mut readers: [Option<Taken>; 4] = [None; 4];
            let mut written: Vec<(u64, u64)> = Vec::new();
            let endless = (0..4).cycle().map(|reader| (reader, 16 * MIB, 1));
            for (reader, bytes, what) in steps.into_iter().chain(endless) {
                if missing.is_complete() {
                    break;
                }
                let Some(taken) = readers[reader] else {
                    readers[reader] = missing.take().filter(|taken| missing.begin(*taken, missing.wanted(*taken).start));
                    continue;
                };
                let wanted = missing.wanted(taken);
                if what == 0 || wanted.is_empty() {
                    if !missing.go_on(taken, wanted.end, total) {
                        missing.give_back(taken);
                        readers[reader] = None;
                    }
                    continue;
                }
                let bytes = bytes.min(wanted.end - wanted.start);
                written.push((wanted.start, wanted.start + bytes));
                missing.written(taken, bytes);
                let read = Missing::read(total, &missing.ranges());
                prop_assert_eq!(read.map(|again| again.count()), Some(missing.count()));
            }
            written.sort_unstable();
            let mut at = 0;
            for (start, end) in written {
                prop_assert!(start <= at);
                at = at.max(end);
            }
            prop_assert_eq!(at, total);
        }
    }
}
