//! What flushers, compactors and builders do under their claims, as `namespace::flush`, `namespace::compact` and
//! `namespace::index_build` do it. None of them looks whether its claim still stands before it commits: the worst there is.

use std::collections::BTreeSet;
use std::sync::Arc;

use elacsym::lsm::entry::ClaimKind;
use elacsym::lsm::{
    Applied, BitmapPlace, DeletionUpdate, Deletions, Entry, IndexUpdate, MergeInput, Policy,
    Segment, SegmentId, State, pick,
};
use elacsym::types::WalSeq;

use super::actor::{Actor, Input, Work};
use super::files::{
    Content, File, Gone, Key, Row, live, reference, rows_of, segment as segment_of,
};
use super::scenario::Mutation;
use super::system::System;
use super::world::World;

/// Two segments of any size are merged.
const POLICY: Policy = Policy {
    fan_in: 2,
    max_segments: 1,
    target_bytes: 1 << 20,
    target_rows: 1 << 20,
    dead_percent: 20,
    dead_rows: 1,
};

/// How often a commit is made again.
const TRIES_MAX: u32 = 3;
/// More bitmaps than one try of a commit uploads.
const NAMES_OF_ATTEMPT: u32 = 8;

impl System {
    pub fn flush(&self, world: &mut World, actor: &mut Actor, dies: bool) {
        match actor.work.clone() {
            Work::Claimed(claim) => self.upload_rows(world, actor, claim, dies),
            Work::Rows {
                claim,
                base,
                up_to,
                segments,
                attempt,
            } => {
                let placed = self.place_deletions(world, actor, (claim, base, up_to), attempt);
                let Some(deletions) = placed else {
                    // What it knows is gone: somebody else came first, or gave it up.
                    return self.restart(world, actor, claim);
                };
                actor.work = Work::Flush {
                    claim,
                    base,
                    up_to,
                    segments,
                    deletions,
                    attempt,
                };
            }
            Work::Flush {
                claim,
                base,
                up_to,
                segments,
                deletions,
                attempt,
            } => {
                let entry = Entry::Flush {
                    claim,
                    base,
                    up_to,
                    segments: segments.clone(),
                    deletions: deletions.clone(),
                };
                let Some(applied) = self.commit(world, actor, &entry, dies) else {
                    return;
                };
                let stands = actor.state.claims.contains_key(&claim);
                let again = applied != Applied::Effective && stands && attempt < TRIES_MAX;
                if !again || actor.state.flushed_seq != base {
                    return actor.finish();
                }
                let attempt = attempt + 1;
                actor.work = if self.is(Mutation::FlushNotRebased) {
                    let mut deletions = deletions;
                    deletions.retain(|update| {
                        let live = actor.state.segment(update.segment);
                        live.is_some_and(|live| live.deletions.generation == update.base)
                    });
                    Work::Flush {
                        claim,
                        base,
                        up_to,
                        segments,
                        deletions,
                        attempt,
                    }
                } else {
                    Work::Rows {
                        claim,
                        base,
                        up_to,
                        segments,
                        attempt,
                    }
                };
            }
            _ if is_flushed(world, &actor.state) => actor.finish(),
            _ => self.claim(world, actor, ClaimKind::Flush, Vec::new(), dies),
        }
    }

    /// Appends a claim at the end of the log.
    fn claim(
        &self,
        world: &mut World,
        actor: &mut Actor,
        claim: ClaimKind,
        inputs: Vec<SegmentId>,
        dies: bool,
    ) {
        let entry = Entry::Claim { claim, inputs };
        if self.commit(world, actor, &entry, dies) == Some(Applied::Effective) {
            actor.work = Work::Claimed(actor.state.seq);
        } else if !dies {
            actor.finish();
        }
    }

    /// Uploads the rows of the tail; those that it deletes or puts again are left out.
    fn upload_rows(&self, world: &mut World, actor: &mut Actor, claim: WalSeq, dies: bool) {
        let (base, up_to) = (actor.state.flushed_seq, actor.state.seq);
        let tail = world.documents(base.0, up_to.0).into_iter();
        let rows: Arc<[Row]> = tail.filter_map(|(id, seq)| Some((id, seq?))).collect();
        let mut segments = Vec::new();
        if !rows.is_empty() {
            let (key, segment) = segment_of(claim, &rows);
            segments.push(segment);
            if !self.put(world, actor, key, Content::Rows(rows), dies) {
                return;
            }
        }
        actor.work = Work::Rows {
            claim,
            base,
            up_to,
            segments,
            attempt: 0,
        };
    }

    /// Uploads the deletions that a flush makes in the segments it knows; `None` where these cannot be read.
    fn place_deletions(
        &self,
        world: &mut World,
        actor: &Actor,
        (claim, base, up_to): (WalSeq, WalSeq, WalSeq),
        attempt: u32,
    ) -> Option<Vec<DeletionUpdate>> {
        let touched = world.documents(base.0, up_to.0);
        // All is read before the first of them is uploaded.
        let mut changed = Vec::new();
        for segment in &actor.state.segments {
            let (rows, gone) = rows_of(&world.objects, segment).ok()?;
            let now = gone | bits(&rows, |(id, _)| touched.contains_key(&id));
            if now != gone {
                changed.push((segment.id, segment.deletions.generation, now));
            }
        }
        // Two of one attempt differ by their segment.
        let numbered = (attempt * NAMES_OF_ATTEMPT..).zip(changed);
        let update = |(n, (segment, base, now)): (u32, (SegmentId, u32, Gone))| DeletionUpdate {
            segment,
            base,
            rows: u64::from(now.count_ones()),
            bitmap: self.place(world, claim, n, now),
        };
        Some(numbered.map(update).collect())
    }

    /// Uploads a bitmap under a name that was never used.
    fn place(&self, world: &mut World, claim: WalSeq, n: u32, gone: Gone) -> BitmapPlace {
        let n = if self.is(Mutation::DeletionsRewritten) {
            n % NAMES_OF_ATTEMPT
        } else {
            n
        };
        let key = Key {
            claim: claim.0,
            file: File::Gone,
            n,
        };
        let content = Content::Gone(gone);
        // An object that is there already is a fault that the node tells of; the mutation takes it for its own.
        if !world.put(key, content.clone()) && !self.is(Mutation::DeletionsRewritten) {
            world.fail("S12 a name is written with two contents");
        }
        BitmapPlace::Stored(reference(key, &content))
    }

    pub fn merge(&self, world: &mut World, actor: &mut Actor, dies: bool) {
        match actor.work.clone() {
            Work::Claimed(claim) => self.upload_output(world, actor, claim, dies),
            Work::Merged {
                claim,
                mut inputs,
                output,
                attempt,
            } => {
                if self.learn_deaths(world, actor, &mut inputs).is_none() {
                    return self.restart(world, actor, claim);
                }
                let known = inputs
                    .iter()
                    .flat_map(|input| live(&input.rows, input.gone));
                let known: BTreeSet<Row> = known.collect();
                let died = bits(&output, |row| !known.contains(&row));
                let segment = self.output(world, claim, &output, died, attempt);
                actor.work = Work::Compact {
                    claim,
                    inputs,
                    output,
                    attempt,
                    segment,
                };
            }
            Work::Compact {
                claim,
                inputs,
                output,
                attempt,
                segment,
            } => {
                let named = inputs.iter().map(|input| MergeInput {
                    segment: input.segment,
                    generation: input.generation,
                });
                let entry = Entry::Compact {
                    claim,
                    inputs: named.collect(),
                    outputs: segment.into_iter().collect(),
                };
                let Some(applied) = self.commit(world, actor, &entry, dies) else {
                    return;
                };
                let stands = actor.state.claims.contains_key(&claim);
                if applied == Applied::Effective || !stands || attempt >= TRIES_MAX {
                    return actor.finish();
                }
                actor.work = Work::Merged {
                    claim,
                    inputs,
                    output,
                    attempt: attempt + 1,
                };
            }
            _ => {
                let mut seen = actor.state.copy();
                if self.is(Mutation::InputClaimedTwice) {
                    seen.merging.clear();
                }
                match pick::pick(&seen, &POLICY, &BTreeSet::new()) {
                    Some(job) => self.claim(world, actor, ClaimKind::Compact, job.inputs, dies),
                    None => actor.finish(),
                }
            }
        }
    }

    /// Reads the inputs of a claim and uploads their live rows.
    fn upload_output(&self, world: &mut World, actor: &mut Actor, claim: WalSeq, dies: bool) {
        let taken = actor.state.merging.get(&claim).cloned();
        // A mutation's claim says nothing of its inputs: they are all there are.
        let all = || actor.state.segments.iter().map(|segment| segment.id);
        let taken = taken.unwrap_or_else(|| all().collect());
        let mut inputs = Vec::with_capacity(taken.len());
        for id in taken {
            let known = actor.state.segment(id);
            let read = known.and_then(|known| Some((known, rows_of(&world.objects, known).ok()?)));
            let Some((known, (rows, gone))) = read else {
                return self.restart(world, actor, claim);
            };
            inputs.push(Input {
                segment: id,
                generation: known.deletions.generation,
                gone,
                rows,
            });
        }
        let rows = inputs
            .iter()
            .flat_map(|input| live(&input.rows, input.gone));
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_unstable();
        let output: Arc<[Row]> = rows.into();
        if !output.is_empty() {
            let (key, _) = segment_of(claim, &output);
            let content = Content::Rows(Arc::clone(&output));
            if !self.put(world, actor, key, content, dies) {
                return;
            }
        }
        actor.work = Work::Merged {
            claim,
            inputs,
            output,
            attempt: 0,
        };
    }

    /// Brings what is known of the inputs' deletions up to the state that the actor knows.
    fn learn_deaths(&self, world: &World, actor: &Actor, inputs: &mut [Input]) -> Option<()> {
        for input in inputs {
            let known = actor.state.segment(input.segment)?;
            let generation = known.deletions.generation;
            if input.generation != generation {
                // A bitmap that says less than was known would bring rows back.
                let (_, gone) = rows_of(&world.objects, known).ok()?;
                (input.generation, input.gone) = (generation, gone);
            }
        }
        Some(())
    }

    fn output(
        &self,
        world: &mut World,
        claim: WalSeq,
        rows: &Arc<[Row]>,
        died: Gone,
        attempt: u32,
    ) -> Option<Segment> {
        if died.count_ones() as usize == rows.len() {
            return None;
        }
        let (_, mut segment) = segment_of(claim, rows);
        if died != 0 {
            segment.deletions = Deletions {
                generation: 1,
                rows: u64::from(died.count_ones()),
                bitmap: self.place(world, claim, attempt * NAMES_OF_ATTEMPT, died),
            };
        }
        Some(segment)
    }

    pub fn build(&self, world: &mut World, actor: &mut Actor, dies: bool) {
        match actor.work.clone() {
            Work::Claimed(claim) => {
                let Some(first) = actor.state.segments.first() else {
                    return actor.finish();
                };
                let (id, key) = (first.id, index_key(claim));
                if self.put(world, actor, key, Content::Index, dies) {
                    actor.work = Work::Built(claim, id);
                }
            }
            Work::Built(claim, segment) => {
                let Some(old) = actor.state.segment(segment) else {
                    return actor.finish();
                };
                let built = IndexUpdate {
                    segment,
                    base: old.index.path.clone(),
                    index: reference(index_key(claim), &Content::Index),
                    footer: old.footer,
                    stats: old.stats.clone(),
                    unindexed: Vec::new(),
                };
                let built = Box::new(built);
                let entry = Entry::IndexBuild { claim, built };
                if self.commit(world, actor, &entry, dies).is_some() {
                    actor.finish();
                }
            }
            _ => self.claim(world, actor, ClaimKind::IndexBuild, Vec::new(), dies),
        }
    }

    /// Uploads an object; `false` where the worker dies of it, and the upload may execute later.
    fn put(
        &self,
        world: &mut World,
        actor: &mut Actor,
        key: Key,
        content: Content,
        dies: bool,
    ) -> bool {
        if dies {
            self.dies_of_put(world, actor, key, content);
            return false;
        }
        if !world.put(key, content) {
            world.fail("S12 a name is written with two contents");
        }
        true
    }

    /// After an object that it knew is gone: an operation whose claim stands goes on with what it learns.
    fn restart(&self, world: &mut World, actor: &mut Actor, claim: WalSeq) {
        let knew = actor.state.clone();
        world.catch_up(actor, self.mutation);
        if !actor.state.claims.contains_key(&claim) || actor.state == knew {
            actor.finish();
        }
    }
}

/// Whether the tail says nothing of any document.
fn is_flushed(world: &World, state: &State) -> bool {
    world.documents(state.flushed_seq.0, state.seq.0).is_empty()
}

fn index_key(claim: WalSeq) -> Key {
    Key {
        claim: claim.0,
        file: File::Index,
        n: 0,
    }
}

/// The bits of the rows that something holds of.
fn bits(rows: &[Row], holds: impl Fn(Row) -> bool) -> Gone {
    let rows = rows.iter().enumerate().filter(|(_, row)| holds(**row));
    rows.fold(0, |all, (at, _)| all | (1 << at))
}
