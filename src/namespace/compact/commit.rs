//! The commit of a merge, made again for as long as flushes move the deletions of its inputs.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::merge::{Input, Output};
use super::{Namespace, in_vain};
use crate::error::Result;
use crate::lsm::{Deletions, Entry, MergeInput, Segment, State};
use crate::namespace::read::of_segment;
use crate::types::WalSeq;

/// How often a flush may come first: each costs the log a slot, and no other work is done again.
const TRIES_MAX: u32 = 8;

impl Namespace {
    /// Puts outputs in the place of inputs; gives the state that this made.
    ///
    /// Rows of inputs that died since they were read, by the committed deletions of the state it commits on, are deletions of
    /// the outputs. What the tail has killed beyond that is looked up in the outputs as in any segment.
    pub(super) async fn commit_merge(
        self: &Arc<Self>,
        claim: WalSeq,
        inputs: Vec<Input>,
        outputs: &[Output],
    ) -> Result<Arc<State>> {
        let mut known: Vec<(u32, RoaringBitmap)> = inputs
            .into_iter()
            .map(|input| (input.segment.deletions.generation, input.gone))
            .collect();
        let (mut moved, mut attempt, mut last) = (false, 0, "it was not tried");
        let taken = self.view().state.merging.get(&claim).cloned();
        let taken = taken.ok_or_else(|| in_vain(self, "its claim was taken back"))?;
        for _ in 0..TRIES_MAX {
            let state = Arc::clone(&self.view().state);
            for (id, known) in taken.iter().zip(&mut known) {
                let live = state.segment(*id);
                let live = live.ok_or_else(|| in_vain(self, "an input is gone"))?;
                if live.deletions.generation != known.0 {
                    let gone = self.read_deletions(live).await;
                    let gone = gone.map_err(|error| of_segment(error, live))?;
                    *known = (live.deletions.generation, gone);
                    moved = true;
                }
            }
            let gone: Vec<RoaringBitmap> = match moved {
                true => known.iter().map(|(_, gone)| gone.clone()).collect(),
                false => Vec::new(),
            };
            let inputs = taken.iter().zip(&known).map(|(id, known)| MergeInput {
                segment: *id,
                generation: known.0,
            });
            let mut committed = Vec::with_capacity(outputs.len());
            for output in outputs {
                let died = output.part.gone(&gone);
                if died.len() < output.segment.rows {
                    let deletions = self.deletions_of_output(claim, &mut attempt, died).await?;
                    committed.push(Segment {
                        deletions,
                        ..output.segment.clone()
                    });
                }
            }
            let entry = Entry::Compact {
                claim,
                inputs: inputs.collect(),
                outputs: committed,
            };
            match self.commit_claimed(claim, entry).await? {
                Ok(state) => return Ok(state),
                Err(reason) => last = reason,
            }
            if !self.view().state.claims.contains_key(&claim) {
                return Err(in_vain(self, "its claim was taken back"));
            }
        }
        Err(in_vain(self, last))
    }

    async fn deletions_of_output(
        &self,
        claim: WalSeq,
        attempt: &mut u32,
        died: RoaringBitmap,
    ) -> Result<Deletions> {
        if died.is_empty() {
            return Ok(Deletions::default());
        }
        // No name is ever written with two contents.
        let bitmap = self.place_bitmap(claim, *attempt, &died).await?;
        *attempt += 1;
        Ok(Deletions {
            generation: 1,
            rows: died.len(),
            bitmap,
        })
    }
}
