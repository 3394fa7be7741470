//! The laws that a namespace's history must keep, beside linearizability: one order of sequences, one
//! state a sequence, nothing invented, nothing staler than asked for.

use std::collections::BTreeMap;

use elacsym::types::WalSeq;

use crate::history::{Change, Heard, History, Seen, Written};
use crate::register::{self, Verdict};

/// Finds what a namespace's history breaks. `one_log`: the namespace was never dropped, so that a
/// sequence names one state.
pub(crate) fn violations(name: &str, history: &History, one_log: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (document, operations) in &history.operations {
        match register::check(operations) {
            Verdict::Linearizable => {}
            verdict => found.push(format!(
                "document {document} of `{name}` is not linearizable: {verdict:?} in {}",
                operations
                    .iter()
                    .map(|operation| format!("\n    {operation:?}"))
                    .collect::<String>()
            )),
        }
    }
    found.extend(phantoms(name, history));
    if one_log {
        found.extend(two_states_of_one_sequence(name, history));
        for seen in &history.seen {
            found.extend(out_of_order(name, history, seen));
            found.extend(too_old(name, history, seen));
        }
    }
    found
}

/// Values that nobody wrote to that document, in reads of any freshness.
fn phantoms(name: &str, history: &History) -> Vec<String> {
    let mut found = Vec::new();
    for seen in &history.seen {
        for (document, value) in &seen.rows {
            let changes = history.operations.get(document).into_iter().flatten();
            let written = changes
                .filter_map(|operation| match operation.heard {
                    Heard::Done { change, .. } | Heard::Unknown(change) => change.value(),
                    Heard::Read(_) => None,
                })
                .any(|written| written == *value);
            if !written {
                found.push(format!(
                    "document {document} of `{name}` shows {value} to {}, which nobody wrote or a request that was \
                     answered with an error did",
                    seen.by
                ));
            }
        }
    }
    found
}

/// Two reads of one sequence that differ.
fn two_states_of_one_sequence(name: &str, history: &History) -> Vec<String> {
    let mut states: BTreeMap<WalSeq, &Seen> = BTreeMap::new();
    let mut found = Vec::new();
    for seen in &history.seen {
        let first = *states.entry(seen.as_of).or_insert(seen);
        if first.rows != seen.rows {
            found.push(format!(
                "`{name}` has two states of sequence {}: {:?} to {}, {:?} to {}",
                seen.as_of, first.rows, first.by, seen.rows, seen.by
            ));
        }
    }
    found
}

/// A read of sequence n shows each document as the last write up to n left it: that of the newest
/// acknowledgement, or one whose outcome nobody knows.
fn out_of_order(name: &str, history: &History, seen: &Seen) -> Vec<String> {
    let mut newest: BTreeMap<u64, (WalSeq, Vec<Option<Written>>)> = BTreeMap::new();
    for ack in history.acks.iter().filter(|ack| ack.seq <= seen.as_of) {
        for (document, made) in &ack.made {
            let (seq, values) = newest.entry(*document).or_default();
            if ack.seq > *seq {
                (*seq, *values) = (ack.seq, vec![*made]);
            } else if ack.seq == *seq {
                values.push(*made);
            }
        }
    }
    let mut found = Vec::new();
    for document in history.operations.keys() {
        let shown = seen.rows.get(document).copied();
        let may_be = |change: Change| change.value() == shown;
        if history.unknown_changes(*document).any(may_be) {
            continue;
        }
        let (seq, values) = newest
            .get(document)
            .cloned()
            .unwrap_or((WalSeq(0), vec![None]));
        if !values.contains(&shown) {
            found.push(format!(
                "document {document} of `{name}` at sequence {} shows {shown:?} to {}, expected one of {values:?} of \
                 sequence {seq}",
                seen.as_of, seen.by
            ));
        }
    }
    found
}

/// A read that is older than it may be.
fn too_old(name: &str, history: &History, seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    if seen.as_of < seen.min_seq {
        found.push(format!(
            "`{name}` answered {} at sequence {}, asked for at least {}",
            seen.by, seen.as_of, seen.min_seq
        ));
    }
    if let Some(staleness_ms) = seen.staleness_ms {
        let before_ms = seen.sent_ms.saturating_sub(staleness_ms);
        let known = history
            .acks
            .iter()
            .filter(|ack| ack.answered_ms < before_ms)
            .map(|ack| ack.seq)
            .max();
        if let Some(seq) = known.filter(|seq| *seq > seen.as_of) {
            found.push(format!(
                "`{name}` answered {} at sequence {} at {} ms, though {seq} was acknowledged more than {staleness_ms} \
                 ms before",
                seen.by, seen.as_of, seen.sent_ms
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Ack, Operation};

    fn seen(as_of: u64, rows: &[(u64, Written)]) -> Seen {
        Seen {
            by: "a reader".to_owned(),
            sent_ms: 5_000,
            as_of: WalSeq(as_of),
            staleness_ms: None,
            min_seq: WalSeq(0),
            rows: rows.iter().copied().collect(),
        }
    }

    /// Document 0 was written twice, as sequences 1 and 2.
    fn history(reads: Vec<Seen>) -> History {
        let mut history = History::default();
        for at in 1..=2 {
            let heard = Heard::Done {
                change: Change::Put(at),
                applied: true,
            };
            let operation = Operation {
                sent: at * 10,
                answered: at * 10 + 1,
                heard,
            };
            history.add(0, operation);
            history.acks.push(Ack {
                seq: WalSeq(at),
                answered_ms: at * 1_000,
                made: vec![(0, Some(at))],
            });
        }
        history.seen = reads;
        history
    }

    #[test]
    fn laws_accept_old_states_where_they_were_asked_for() {
        let reads = vec![
            seen(0, &[]),
            seen(1, &[(0, 1)]),
            seen(2, &[(0, 2)]),
            Seen {
                staleness_ms: Some(3_500),
                ..seen(1, &[(0, 1)])
            },
        ];
        let found = violations("n", &history(reads), true);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn laws_refuse_each_wrong_read() {
        let wrong = [
            ("invented", vec![seen(2, &[(0, 9)])]),
            ("of another document", vec![seen(2, &[(0, 2), (1, 2)])]),
            ("lost", vec![seen(2, &[])]),
            ("older than its sequence", vec![seen(2, &[(0, 1)])]),
            ("newer than its sequence", vec![seen(1, &[(0, 2)])]),
            (
                "two states",
                vec![seen(3, &[(0, 2)]), seen(3, &[(0, 2), (1, 1)])],
            ),
            (
                "below what was asked for",
                vec![Seen {
                    min_seq: WalSeq(2),
                    ..seen(1, &[(0, 1)])
                }],
            ),
            (
                "too stale",
                vec![Seen {
                    staleness_ms: Some(2_500),
                    ..seen(1, &[(0, 1)])
                }],
            ),
        ];
        for (name, reads) in wrong {
            assert!(!violations("n", &history(reads), true).is_empty(), "{name}");
        }
    }
}
