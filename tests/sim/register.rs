//! Is one document's history that of a register where each operation takes effect at one instant?
//!
//! The search of Wing and Gong with memory of the places seen (Lowe): choose an operation that no
//! unanswered one must precede, apply it, go on; a change nobody knows about may be left out. Reads that fit
//! are taken at once: they change nothing, so taking them early never spoils a solution.

use std::collections::HashSet;

use crate::history::{Heard, Operation, Written};

/// Most operations of one document's history.
pub(crate) const OPERATIONS_MAX: usize = 128;
/// Places looked at before the search gives up.
const PLACES_MAX: usize = 2_000_000;

/// What the search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Linearizable,
    /// No order explains it; the best order found explains this many answered operations of so many.
    Anomaly {
        explained: u32,
        of: u32,
    },
    /// The history is too long to decide.
    Undecided,
}

struct Search<'a> {
    operations: &'a [Operation],
    seen: HashSet<(u128, Option<Written>)>,
    explained: u32,
}

/// Decides. The document is absent at first.
pub(crate) fn check(operations: &[Operation]) -> Verdict {
    if operations.len() > OPERATIONS_MAX {
        return Verdict::Undecided;
    }
    // These must all be explained.
    let answered = (0..operations.len())
        .filter(|at| !matches!(operations[*at].heard, Heard::Unknown(_)))
        .fold(0, |mask, at| mask | bit(at));
    let mut search = Search {
        operations,
        seen: HashSet::new(),
        explained: 0,
    };
    let mut places = vec![(0_u128, None)];
    while let Some((taken, value)) = places.pop() {
        let taken = search.take_what_changes_nothing(taken, value);
        if taken & answered == answered {
            return Verdict::Linearizable;
        }
        if !search.seen.insert((taken, value)) {
            continue;
        }
        if search.seen.len() > PLACES_MAX {
            return Verdict::Undecided;
        }
        search.explained = search.explained.max((taken & answered).count_ones());
        search.branch(taken, value, &mut places);
    }
    Verdict::Anomaly {
        explained: search.explained,
        of: answered.count_ones(),
    }
}

fn bit(at: usize) -> u128 {
    1 << at
}

impl Search<'_> {
    /// The first answer among the operations not taken yet: what was sent after it must wait.
    fn horizon(&self, taken: u128) -> u64 {
        self.left(taken)
            .map(|at| self.operations[at].answered)
            .min()
            .unwrap_or(u64::MAX)
    }

    fn left(&self, taken: u128) -> impl Iterator<Item = usize> + '_ {
        (0..self.operations.len()).filter(move |at| taken & bit(*at) == 0)
    }

    fn take_what_changes_nothing(&self, mut taken: u128, value: Option<Written>) -> u128 {
        loop {
            let horizon = self.horizon(taken);
            let before = taken;
            for at in 0..self.operations.len() {
                let operation = &self.operations[at];
                let idle = match operation.heard {
                    Heard::Read(found) => found == value,
                    Heard::Done { change, applied } => !applied && change.of(value).is_none(),
                    Heard::Unknown(_) => false,
                };
                if taken & bit(at) == 0 && operation.sent < horizon && idle {
                    taken |= bit(at);
                }
            }
            if taken == before {
                return taken;
            }
        }
    }

    fn branch(
        &self,
        taken: u128,
        value: Option<Written>,
        places: &mut Vec<(u128, Option<Written>)>,
    ) {
        let horizon = self.horizon(taken);
        for at in self.left(taken) {
            let operation = &self.operations[at];
            if operation.sent >= horizon {
                continue;
            }
            let made = match operation.heard {
                Heard::Read(_) | Heard::Done { applied: false, .. } => continue,
                Heard::Done { change, .. } => change.of(value),
                // One that would change nothing is as good as left out.
                Heard::Unknown(change) => change.of(value).filter(|made| *made != value),
            };
            if let Some(made) = made {
                places.push((taken | bit(at), made));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Change;

    fn operation(sent: u64, answered: u64, heard: Heard) -> Operation {
        Operation {
            sent,
            answered,
            heard,
        }
    }

    fn done(change: Change) -> Heard {
        Heard::Done {
            change,
            applied: true,
        }
    }

    fn refused(change: Change) -> Heard {
        Heard::Done {
            change,
            applied: false,
        }
    }

    fn is_linearizable(operations: &[Operation]) -> bool {
        check(operations) == Verdict::Linearizable
    }

    #[test]
    fn register_accepts_overlapping_operations_in_either_order() {
        let write = operation(1, 10, done(Change::Put(1)));
        for found in [None, Some(1)] {
            assert!(is_linearizable(&[
                write,
                operation(2, 9, Heard::Read(found))
            ]));
        }
    }

    #[test]
    fn register_refuses_lost_stale_and_invented_values() {
        let write = |at: u64, value| operation(at, at + 1, done(Change::Put(value)));
        let read = |at: u64, found| operation(at, at + 1, Heard::Read(found));
        let wrong = [
            ("lost", vec![write(1, 1), read(3, None)]),
            ("stale", vec![write(1, 1), write(3, 2), read(5, Some(1))]),
            ("invented", vec![write(1, 1), read(3, Some(9))]),
            (
                "goes back",
                vec![
                    write(1, 1),
                    operation(3, 20, done(Change::Put(2))),
                    read(5, Some(2)),
                    read(7, Some(1)),
                ],
            ),
            (
                "deleted twice by one delete",
                vec![
                    write(1, 1),
                    operation(3, 40, done(Change::Delete)),
                    read(5, None),
                    write(7, 2),
                    read(9, None),
                ],
            ),
        ];
        for (name, operations) in wrong {
            assert!(!is_linearizable(&operations), "{name}");
        }
    }

    #[test]
    fn register_takes_an_unknown_change_late_once_or_never() {
        let unknown = operation(1, u64::MAX, Heard::Unknown(Change::Put(1)));
        let read = |at: u64, found| operation(at, at + 1, Heard::Read(found));
        let write = |at: u64, value| operation(at, at + 1, done(Change::Put(value)));
        assert!(is_linearizable(&[unknown, read(3, None)]), "never");
        assert!(
            is_linearizable(&[unknown, read(3, None), read(5, Some(1))]),
            "late"
        );
        let twice = [unknown, read(3, Some(1)), write(5, 2), read(7, Some(1))];
        assert!(!is_linearizable(&twice), "twice");
    }

    #[test]
    fn register_holds_conditions_to_what_they_answered() {
        let put = operation(1, 2, done(Change::Put(5)));
        assert!(is_linearizable(&[
            put,
            operation(3, 4, refused(Change::Insert(6)))
        ]));
        assert!(!is_linearizable(&[
            put,
            operation(3, 4, done(Change::Insert(6)))
        ]));
        assert!(is_linearizable(&[
            put,
            operation(3, 4, done(Change::PutFor(6, 5)))
        ]));
        assert!(!is_linearizable(&[
            put,
            operation(3, 4, refused(Change::PutFor(6, 5)))
        ]));
        let both_win = [
            put,
            operation(3, 9, done(Change::PutFor(6, 5))),
            operation(4, 8, done(Change::PutFor(7, 5))),
        ];
        assert!(!is_linearizable(&both_win));
    }
}
