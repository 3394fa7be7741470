//! The state machine with one of its rules broken. Unbroken it is `State::apply` and nothing else.

use std::sync::Arc;

use elacsym::error::Result;
use elacsym::lsm::entry::{ClaimKind, Id16};
use elacsym::lsm::{Applied, Entry, MergeInput, Segment, SegmentId, SlotHeader, State};
use elacsym::types::WalSeq;

use super::scenario::Mutation;

pub fn apply(
    state: &mut State,
    header: &SlotHeader,
    entry: &Entry,
    mutation: Option<Mutation>,
) -> Result<Applied> {
    let forced = match (mutation, entry) {
        (Some(Mutation::StaleGeneration), Entry::Compact { claim, .. }) => {
            state.merging.contains_key(claim)
        }
        (Some(Mutation::InputClaimedTwice), Entry::Compact { claim, .. }) => {
            state.claims.contains_key(claim)
        }
        _ => false,
    };
    match (mutation, entry) {
        (Some(Mutation::DeadClaimRevived), Entry::Flush { claim, .. }) => {
            revive(state, header, entry, (*claim, ClaimKind::Flush), Vec::new())
        }
        (Some(Mutation::DeadClaimRevived), Entry::Compact { claim, inputs, .. }) => {
            let inputs = inputs.iter().map(|input| input.segment).collect();
            revive(state, header, entry, (*claim, ClaimKind::Compact), inputs)
        }
        (Some(Mutation::InputClaimedTwice), Entry::Claim { inputs, .. })
            if inputs.iter().any(|id| state.is_merging(*id)) =>
        {
            // Of a kind that has no rules about inputs: the real ones hold that each is in one merge.
            pass(state, header)?;
            state.claims.insert(header.seq, ClaimKind::Write);
            Ok(Applied::Effective)
        }
        (
            _,
            Entry::Compact {
                claim,
                inputs,
                outputs,
            },
        ) if forced => {
            pass(state, header)?;
            force(state, *claim, inputs, outputs);
            Ok(Applied::Effective)
        }
        (Some(Mutation::RetainedAgain), Entry::Truncate { retained, .. }) => {
            pass(state, header)?;
            state.retained = retained.iter().copied().collect();
            Ok(Applied::Effective)
        }
        _ => state.apply(header, entry),
    }
}

/// Takes a slot without any effect.
fn pass(state: &mut State, header: &SlotHeader) -> Result<Applied> {
    let nobody = Entry::Unpin {
        id: Id16(u128::MAX),
    };
    state.apply(header, &nobody)
}

/// Applies a commit as if its claim still stood, where nothing else is in its way.
fn revive(
    state: &mut State,
    header: &SlotHeader,
    entry: &Entry,
    (claim, kind): (WalSeq, ClaimKind),
    inputs: Vec<SegmentId>,
) -> Result<Applied> {
    let free = |id: &SegmentId| state.segment(*id).is_some() && !state.is_merging(*id);
    if state.claims.contains_key(&claim) || !inputs.iter().all(free) {
        return state.apply(header, entry);
    }
    let mut trial = state.clone();
    trial.claims.insert(claim, kind);
    if kind == ClaimKind::Compact {
        trial.merging.insert(claim, inputs);
    }
    match trial.apply(header, entry)? {
        Applied::Effective => {
            *state = trial;
            Ok(Applied::Effective)
        }
        Applied::NoOp(_) => state.apply(header, entry),
    }
}

/// Puts outputs in the place of inputs, whatever became of these.
fn force(state: &mut State, claim: WalSeq, inputs: &[MergeInput], outputs: &[Segment]) {
    let taken = |id: SegmentId| inputs.iter().any(|input| input.segment == id);
    state.segments.retain(|segment| !taken(segment.id));
    state.segments.extend(outputs.iter().cloned().map(Arc::new));
    state.segments.sort_unstable_by_key(|segment| segment.id);
    state.claims.remove(&claim);
    state.merging.remove(&claim);
    // The other claim for the same inputs goes on, by a kind that has no rules about them.
    let others = state.merging.iter();
    let others = others.filter(|(_, ids)| ids.iter().any(|id| taken(*id)));
    let others: Vec<WalSeq> = others.map(|(other, _)| *other).collect();
    for other in others {
        state.merging.remove(&other);
        state.claims.insert(other, ClaimKind::Write);
    }
}
