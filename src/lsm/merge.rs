//! Merging segments: what a claim to merge takes, and what its commit changes.
//!
//! A merge leaves out the rows that are gone by the *committed* deletions of its inputs, at generations that its
//! commit names, and no other. Committed deletions are those of the log up to `flushed_seq`, and a generation moves with
//! every change of them, so that while all generations stand the live rows of the outputs are those of the inputs: at this state, at every
//! later one, and for a reader of an older `seq` that is no older than `flushed_seq`. A row that only the tail has killed
//! stays: whoever looks at a sequence before that death, or pins this state without its tail, still sees it. Where a flush
//! moves a generation the commit means nothing and its claim stays: the same outputs are committed again with the rows that
//! died meanwhile in deletions of their own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::ClaimKind;
use super::segment::{Segment, SegmentId};
use super::state::{Applied, State};
use crate::types::WalSeq;

/// A segment that a merge takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeInput {
    /// Which.
    pub segment: SegmentId,
    /// The generation of its deletions that the outputs know.
    pub generation: u32,
}

impl State {
    /// Whether an active claim to merge takes a segment.
    pub fn is_merging(&self, id: SegmentId) -> bool {
        self.merging.values().flatten().any(|taken| *taken == id)
    }

    /// A segment is in one merge at most: a second claim for it authorises nothing.
    pub(super) fn apply_claim(
        &mut self,
        seq: WalSeq,
        kind: ClaimKind,
        inputs: &[SegmentId],
    ) -> Applied {
        if kind != ClaimKind::Compact {
            if !inputs.is_empty() {
                return Applied::NoOp("only a merge takes segments");
            }
            self.claims.insert(seq, kind);
            return Applied::Effective;
        }
        if inputs.is_empty() || !inputs.is_sorted_by(|a, b| a < b) {
            return Applied::NoOp("the segments of a merge are not in order");
        }
        if inputs.iter().any(|id| self.segment(*id).is_none()) {
            return Applied::NoOp("a segment does not live");
        }
        if inputs.iter().any(|id| self.is_merging(*id)) {
            return Applied::NoOp("a segment is being merged");
        }
        self.claims.insert(seq, kind);
        self.merging.insert(seq, inputs.to_vec());
        Applied::Effective
    }

    /// Inputs leave and outputs come, where nothing has changed that the outputs do not know. Else the claim stays
    /// active, so that deletions may be brought up to date and the same outputs be committed again.
    pub(super) fn apply_compact(
        &mut self,
        claim: WalSeq,
        inputs: &[MergeInput],
        outputs: &[Segment],
    ) -> Applied {
        if self.claims.get(&claim) != Some(&ClaimKind::Compact) {
            return Applied::NoOp("the claim is not active");
        }
        let taken = self.merging.get(&claim).into_iter().flatten();
        if !inputs.iter().map(|input| &input.segment).eq(taken) {
            return Applied::NoOp("the inputs are not those of the claim");
        }
        let in_order = outputs.is_sorted_by(|a, b| a.id < b.id);
        if !in_order || outputs.iter().any(|output| output.id.claim != claim) {
            return Applied::NoOp("the outputs are not the claim's own");
        }
        let (mut rows_in, mut rows_out) = (0_u64, 0_u64);
        for input in inputs {
            match self.segment(input.segment) {
                Some(live) if live.deletions.generation == input.generation => {
                    rows_in = rows_in.saturating_add(live.live_rows());
                }
                _ => return Applied::NoOp("the deletions of an input have changed"),
            }
        }
        for output in outputs {
            if output.rows == 0 || output.deletions.rows > output.rows {
                return Applied::NoOp("an output has fewer rows than it lost");
            }
            rows_out = rows_out.saturating_add(output.live_rows());
        }
        if rows_in != rows_out {
            return Applied::NoOp("the outputs do not have the rows of the inputs");
        }
        let stays = |id: SegmentId| inputs.iter().all(|input| input.segment != id);
        self.segments.retain(|segment| stays(segment.id));
        self.segments.extend(outputs.iter().cloned().map(Arc::new));
        self.segments.sort_unstable_by_key(|segment| segment.id);
        self.end_claim(claim);
        Applied::Effective
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::tests::{deletion, flush, segment, step};
    use crate::lsm::{BitmapPlace, Deletions, Entry, Rotation};

    fn id(claim: u64, n: u32) -> SegmentId {
        segment(claim, n).id
    }

    fn claim(kind: ClaimKind, inputs: &[SegmentId]) -> Entry {
        Entry::Claim {
            claim: kind,
            inputs: inputs.to_vec(),
        }
    }

    fn inputs(inputs: &[(SegmentId, u32)]) -> Vec<MergeInput> {
        let input = |(segment, generation): &(SegmentId, u32)| MergeInput {
            segment: *segment,
            generation: *generation,
        };
        inputs.iter().map(input).collect()
    }

    fn compact(of: u64, taken: &[(SegmentId, u32)], outputs: &[Segment]) -> Entry {
        Entry::Compact {
            claim: WalSeq(of),
            inputs: inputs(taken),
            outputs: outputs.to_vec(),
        }
    }

    fn of_rows(claim: u64, n: u32, rows: u64) -> Segment {
        Segment {
            rows,
            ..segment(claim, n)
        }
    }

    /// Segments 2/0 (which lost a row), 2/1 and 3/0 of ten rows each; 6 claims to merge the first two.
    fn merging() -> State {
        let mut state = State::initial(Rotation::default());
        let init = Entry::Init {
            created_at_ms: 0,
            rotation: None,
        };
        for entry in [
            init,
            claim(ClaimKind::Flush, &[]),
            claim(ClaimKind::Flush, &[]),
            flush(2, 0, vec![segment(2, 0), segment(2, 1)], vec![]),
            flush(3, 2, vec![segment(3, 0)], vec![deletion(2, 0)]),
            claim(ClaimKind::Compact, &[id(2, 0), id(2, 1)]),
            claim(ClaimKind::Flush, &[]),
        ] {
            assert_eq!(step(&mut state, &entry), Applied::Effective, "{entry:?}");
        }
        state
    }

    const TAKEN: [(u64, u32, u32); 2] = [(2, 0, 1), (2, 1, 0)];

    fn taken() -> Vec<(SegmentId, u32)> {
        let taken = TAKEN.iter();
        taken
            .map(|(claim, n, gen_of)| (id(*claim, *n), *gen_of))
            .collect()
    }

    #[test]
    fn merge_puts_its_outputs_in_the_place_of_its_inputs() {
        let mut state = merging();
        let outputs = [of_rows(6, 0, 12), of_rows(6, 1, 7)];
        let applied = step(&mut state, &compact(6, &taken(), &outputs));
        assert_eq!(applied, Applied::Effective);
        let ids: Vec<SegmentId> = state.segments.iter().map(|segment| segment.id).collect();
        assert_eq!(ids, [id(3, 0), id(6, 0), id(6, 1)]);
        assert!(state.merging.is_empty() && !state.claims.contains_key(&WalSeq(6)));
        // A late second commit of the same work.
        let again = step(&mut state, &compact(6, &taken(), &outputs));
        assert_eq!(again, Applied::NoOp("the claim is not active"));
    }

    #[test]
    fn merge_of_segments_without_a_live_row_has_no_output() {
        let mut state = merging();
        let all = Deletions {
            generation: 1,
            rows: 10,
            bitmap: BitmapPlace::Empty,
        };
        for at in [0, 1] {
            Arc::make_mut(&mut state.segments[at]).deletions = all.clone();
        }
        let dead = [(id(2, 0), 1), (id(2, 1), 1)];
        let applied = step(&mut state, &compact(6, &dead, &[]));
        assert_eq!(applied, Applied::Effective);
        assert_eq!(state.segments.len(), 1);
    }

    #[test]
    fn merge_that_does_not_fit_means_nothing_and_its_claim_stays() {
        let whole = || [of_rows(6, 0, 19)];
        let half_gone = Segment {
            deletions: Deletions {
                generation: 1,
                rows: 20,
                bitmap: BitmapPlace::Empty,
            },
            ..of_rows(6, 0, 19)
        };
        let swapped: Vec<_> = taken().into_iter().rev().collect();
        let cases = [
            ("of no claim", compact(5, &taken(), &whole())),
            (
                "of a flush's claim",
                compact(7, &taken(), &[of_rows(7, 0, 19)]),
            ),
            (
                "a stale generation",
                compact(6, &[(id(2, 0), 0), (id(2, 1), 0)], &[of_rows(6, 0, 20)]),
            ),
            (
                "a future generation",
                compact(6, &[(id(2, 0), 1), (id(2, 1), 1)], &whole()),
            ),
            (
                "fewer inputs",
                compact(6, &taken()[..1], &[of_rows(6, 0, 9)]),
            ),
            (
                "other inputs",
                compact(6, &[(id(2, 0), 1), (id(3, 0), 0)], &whole()),
            ),
            ("out of order", compact(6, &swapped, &whole())),
            ("a row lost", compact(6, &taken(), &[of_rows(6, 0, 18)])),
            ("a row too many", compact(6, &taken(), &[of_rows(6, 0, 20)])),
            ("all rows lost", compact(6, &taken(), &[])),
            (
                "outputs of another",
                compact(6, &taken(), &[of_rows(5, 0, 19)]),
            ),
            (
                "outputs twice",
                compact(6, &taken(), &[of_rows(6, 0, 10), of_rows(6, 0, 9)]),
            ),
            (
                "an output without rows",
                compact(6, &taken(), &[of_rows(6, 0, 19), of_rows(6, 1, 0)]),
            ),
            (
                "more gone than there are",
                compact(6, &taken(), &[half_gone]),
            ),
        ];
        for (what, entry) in cases {
            let mut state = merging();
            let before = state.clone();
            let applied = step(&mut state, &entry);
            assert!(matches!(applied, Applied::NoOp(_)), "{what}");
            assert_eq!(state.segments, before.segments, "{what}");
            assert_eq!(
                (state.claims, state.merging),
                (before.claims, before.merging),
                "{what}"
            );
        }
    }

    #[test]
    fn merge_that_a_flush_overtook_applies_once_it_knows_what_died() {
        let mut state = merging();
        let flushed = Entry::Flush {
            claim: WalSeq(7),
            base: WalSeq(3),
            up_to: WalSeq(7),
            segments: vec![],
            deletions: vec![deletion(2, 0)],
        };
        let flushed = match flushed {
            Entry::Flush {
                mut deletions,
                claim,
                base,
                up_to,
                segments,
            } => {
                (deletions[0].base, deletions[0].rows) = (1, 3);
                Entry::Flush {
                    claim,
                    base,
                    up_to,
                    segments,
                    deletions,
                }
            }
            other => other,
        };
        assert_eq!(step(&mut state, &flushed), Applied::Effective);
        let stale = step(&mut state, &compact(6, &taken(), &[of_rows(6, 0, 19)]));
        assert_eq!(
            stale,
            Applied::NoOp("the deletions of an input have changed")
        );
        let moved = [(id(2, 0), 2), (id(2, 1), 0)];
        let known = Segment {
            deletions: Deletions {
                generation: 1,
                rows: 2,
                bitmap: BitmapPlace::Inline("x".to_owned()),
            },
            ..of_rows(6, 0, 19)
        };
        let applied = step(&mut state, &compact(6, &moved, &[known]));
        assert_eq!(applied, Applied::Effective);
    }

    #[test]
    fn flush_that_names_a_segment_which_was_merged_means_nothing_and_its_claim_stays() {
        let mut state = merging();
        step(&mut state, &compact(6, &taken(), &[of_rows(6, 0, 19)]));
        let mut late = deletion(2, 0);
        late.base = 1;
        let entry = flush(7, 3, vec![segment(7, 0)], vec![late]);
        assert!(matches!(step(&mut state, &entry), Applied::NoOp(_)));
        assert!(state.claims.contains_key(&WalSeq(7)));
        let again = flush(7, 3, vec![segment(7, 0)], vec![deletion(6, 0)]);
        assert_eq!(step(&mut state, &again), Applied::Effective);
    }

    #[test]
    fn segment_is_claimed_by_one_merge_until_that_is_given_up() {
        let mut state = merging();
        for (what, entry) in [
            ("taken", claim(ClaimKind::Compact, &[id(2, 1), id(3, 0)])),
            ("gone", claim(ClaimKind::Compact, &[id(3, 0), id(4, 0)])),
            ("none", claim(ClaimKind::Compact, &[])),
            ("twice", claim(ClaimKind::Compact, &[id(3, 0), id(3, 0)])),
            ("of a flush", claim(ClaimKind::Flush, &[id(3, 0)])),
        ] {
            let before = (state.claims.clone(), state.merging.clone());
            assert!(
                matches!(step(&mut state, &entry), Applied::NoOp(_)),
                "{what}"
            );
            assert_eq!(
                (state.claims.clone(), state.merging.clone()),
                before,
                "{what}"
            );
        }
        let other = claim(ClaimKind::Compact, &[id(3, 0)]);
        assert_eq!(step(&mut state, &other), Applied::Effective);
        let abort = Entry::Abort { claim: WalSeq(6) };
        assert_eq!(step(&mut state, &abort), Applied::Effective);
        assert!(!state.is_merging(id(2, 0)) && state.is_merging(id(3, 0)));
        let late = step(&mut state, &compact(6, &taken(), &[of_rows(6, 0, 19)]));
        assert_eq!(late, Applied::NoOp("the claim is not active"));
    }
}
