//! Named rules of a state, checked after every apply and every load.

use super::entry::ClaimKind;
use super::segment::{Segment, SegmentId};
use super::state::{Block, Life, State};
use crate::types::AttrId;

/// One rule: its name and whether it holds.
struct Rule {
    name: &'static str,
    holds: fn(&State) -> bool,
}

/// A rule about a step from one state to the next.
struct StepRule {
    name: &'static str,
    holds: fn(&State, &State) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        name: "flushed_seq does not pass seq",
        holds: |state| state.flushed_seq <= state.seq,
    },
    Rule {
        name: "a block table exists exactly when a slot does",
        holds: |state| state.blocks.is_empty() == (state.seq.0 == 0),
    },
    Rule {
        name: "blocks are dense in number and sequence, and end at seq",
        holds: |state| {
            let dense = state.blocks.windows(2).all(|pair| {
                pair[0].number.checked_add(1) == Some(pair[1].number)
                    && end_of(&pair[0]) == Some(pair[1].first_seq.0)
            });
            let end = state
                .blocks
                .last()
                .is_none_or(|block| end_of(block) == state.seq.0.checked_add(1));
            dense && end && state.blocks.iter().all(|block| block.slots > 0)
        },
    },
    Rule {
        name: "the block table covers the tail",
        holds: |state| {
            state
                .blocks
                .first()
                .is_none_or(|block| block.first_seq <= state.flushed_seq.next())
        },
    },
    Rule {
        name: "no block of the table lies below the floor",
        holds: |state| {
            state
                .blocks
                .first()
                .is_none_or(|block| block.number >= state.floor)
        },
    },
    Rule {
        name: "segments are in order, each of a claim of the past and of rows that its deletions leave",
        holds: |state| {
            let in_order = state
                .segments
                .windows(2)
                .all(|pair| pair[0].id < pair[1].id);
            in_order
                && state.segments.iter().all(|segment| {
                    segment.id.claim <= state.seq
                        && segment.rows > 0
                        && segment.deletions.rows <= segment.rows
                })
        },
    },
    Rule {
        name: "attributes that a segment has no index of are in order",
        holds: |state| {
            let in_order = |attrs: &[AttrId]| attrs.windows(2).all(|pair| pair[0] < pair[1]);
            let mut segments = state.segments.iter();
            segments.all(|segment| in_order(&segment.unindexed))
        },
    },
    Rule {
        name: "claims to merge name live segments, each of them in one",
        holds: |state| {
            let of_merges = state
                .claims
                .iter()
                .filter(|(_, of)| **of == ClaimKind::Compact);
            let mut named: Vec<SegmentId> = state.merging.values().flatten().copied().collect();
            let n_named = named.len();
            named.sort_unstable();
            named.dedup();
            of_merges.map(|(claim, _)| claim).eq(state.merging.keys())
                && named.len() == n_named
                && named.iter().all(|id| state.segment(*id).is_some())
        },
    },
    Rule {
        name: "claims and pins name the past",
        holds: |state| {
            state.claims.keys().all(|claim| *claim <= state.seq)
                && state.pins.values().all(|pin| pin.at < state.seq)
        },
    },
];

const STEP_RULES: &[StepRule] = &[
    StepRule {
        name: "manifests that were given up are not retained again",
        holds: |before, after| {
            let newest = before.retained.last();
            let mut added = after.retained.difference(&before.retained);
            added.all(|seq| newest.is_none_or(|newest| seq > newest))
        },
    },
    StepRule {
        name: "seq rises by one",
        holds: |before, after| after.seq == before.seq.next(),
    },
    StepRule {
        name: "flushed_seq and floor never fall",
        holds: |before, after| {
            after.flushed_seq >= before.flushed_seq && after.floor >= before.floor
        },
    },
    StepRule {
        name: "a namespace that is gone stays gone",
        holds: |before, after| before.life != Life::Reaped || after.life == Life::Reaped,
    },
    StepRule {
        name: "a segment that stays keeps its rows, and rows that were gone",
        holds: |before, after| {
            before.segments.iter().all(|old| {
                after.segment(old.id).is_none_or(|new| {
                    let rows = |segment: &Segment| (segment.rows, segment.logical_bytes);
                    new.parquet == old.parquet
                        && rows(new) == rows(old)
                        && new.deletions.generation >= old.deletions.generation
                        && new.deletions.rows >= old.deletions.rows
                })
            })
        },
    },
    StepRule {
        name: "no live row comes or goes but by a flush, and none leaves with its segment in one",
        holds: |before, after| {
            let live = |state: &State| {
                let rows = state.segments.iter().map(|segment| segment.live_rows());
                rows.fold(0_u64, u64::saturating_add)
            };
            match after.flushed_seq == before.flushed_seq {
                true => live(after) == live(before),
                false => {
                    let mut old = before.segments.iter();
                    old.all(|segment| after.segment(segment.id).is_some())
                }
            }
        },
    },
    StepRule {
        name: "attribute numbers are never reused",
        holds: |before, after| after.schema.next_attr_id >= before.schema.next_attr_id,
    },
];

/// The sequence after a block's last slot; `None` where it cannot be one.
fn end_of(block: &Block) -> Option<u64> {
    block.first_seq.0.checked_add(u64::from(block.slots))
}

/// Checks every rule of a state and, where the one before is given, of the step to it.
///
/// Errors: the name of the first rule that does not hold.
pub fn check(state: &State, before: Option<&State>) -> Result<(), String> {
    if let Some(rule) = RULES.iter().find(|rule| !(rule.holds)(state)) {
        return Err(format!("state {} breaks a rule: {}", state.seq, rule.name));
    }
    let Some(before) = before else { return Ok(()) };
    match STEP_RULES.iter().find(|rule| !(rule.holds)(before, state)) {
        Some(rule) => Err(format!(
            "step to state {} breaks a rule: {}",
            state.seq, rule.name
        )),
        None => Ok(()),
    }
}
