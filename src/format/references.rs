//! What the states of a namespace refer to, and what it means for an object that none of them does.

use std::collections::{BTreeMap, BTreeSet};

use super::path;
use crate::error::{Error, Result};
use crate::lsm::{Deletions, Segment, SegmentId, State};
use crate::types::{NamespaceId, ObjectRef, WalSeq};

/// The committed deletions of a segment at one of its generations.
#[derive(Debug, Clone)]
pub struct Bitmap {
    /// Which rows, and how many.
    pub deletions: Deletions,
    /// Rows of the segment.
    pub rows: u64,
    /// The manifest or slot that says so.
    pub named_by: String,
}

/// All that some states refer to. Grows with the segments that live in any of them.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// By the key of the index file too: another may have been built.
    segments: BTreeMap<(SegmentId, String), (Segment, String)>,
    bitmaps: BTreeMap<(SegmentId, u32), Bitmap>,
    paths: BTreeSet<String>,
}

/// What an object below `seg/`, `dv/` or `wal/` is to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// A state refers to it, or the log runs through it.
    Referenced,
    /// Its claim is active: it may be committed yet.
    Pending(WalSeq),
    /// It is of a claim or a slot after the state that was asked.
    Newer,
    /// Nothing refers to it and nothing ever will: it costs space only.
    Orphan,
    /// Its key is none that this version makes.
    Strange,
}

impl References {
    /// Adds what a state refers to; `named_by` is the key of the manifest or slot that made it.
    ///
    /// Errors: `Corrupted` where it names a segment or its deletions otherwise than a state before.
    pub fn add_state(&mut self, named_by: &str, state: &State) -> Result<()> {
        for segment in &state.segments {
            self.add_segment(named_by, segment)?;
        }
        Ok(())
    }

    fn add_segment(&mut self, named_by: &str, segment: &Segment) -> Result<()> {
        let differs = |known_by: &str, what: &str| {
            Error::corrupted(format!(
                "object `{named_by}` names {what} of segment {} otherwise than `{known_by}`: expected the same",
                segment.id
            ))
        };
        let bare = Segment {
            deletions: Deletions::default(),
            ..segment.clone()
        };
        let of_segment = (segment.id, String::new())..;
        let mut others = self.segments.range(of_segment);
        if let Some(((id, _), (known, known_by))) = others.next()
            && *id == segment.id
            && rows_of(known) != rows_of(&bare)
        {
            return Err(differs(known_by, "the documents"));
        }
        let named = (segment.id, bare.index.path.clone());
        match self.segments.get(&named) {
            Some((known, _)) if *known == bare => {}
            Some((_, known_by)) => return Err(differs(known_by, "the files")),
            None => {
                self.paths.insert(bare.parquet.path.clone());
                self.paths.insert(bare.index.path.clone());
                self.segments.insert(named, (bare, named_by.to_owned()));
            }
        }
        let deletions = &segment.deletions;
        match self.bitmaps.get(&(segment.id, deletions.generation)) {
            Some(known) if known.deletions == *deletions => {}
            Some(known) => return Err(differs(&known.named_by, "the deletions")),
            None => {
                if let crate::lsm::BitmapPlace::Stored(object) = &deletions.bitmap {
                    self.paths.insert(object.path.clone());
                }
                let bitmap = Bitmap {
                    deletions: deletions.clone(),
                    rows: segment.rows,
                    named_by: named_by.to_owned(),
                };
                self.bitmaps
                    .insert((segment.id, deletions.generation), bitmap);
            }
        }
        Ok(())
    }

    /// All segments, deletions left out, each once for each of its index files, with the object that names it first
    /// so. Those of one segment follow each other.
    pub fn segments(&self) -> impl Iterator<Item = (&Segment, &str)> {
        self.segments
            .values()
            .map(|(segment, named_by)| (segment, named_by.as_str()))
    }

    /// All generations of deletions.
    pub fn bitmaps(&self) -> impl Iterator<Item = &Bitmap> {
        self.bitmaps.values()
    }

    /// Whether a state refers to an object.
    pub fn contains(&self, key: &str) -> bool {
        self.paths.contains(key)
    }

    /// Judges an object below `seg/`, `dv/` or `wal/`. `newest` is the newest state, read before the object
    /// was listed: a claim that has ended by then authorises nothing more.
    pub fn standing(&self, id: NamespaceId, newest: &State, key: &str) -> Standing {
        if self.contains(key) {
            return Standing::Referenced;
        }
        if key.starts_with(&path::wal_prefix(id)) {
            return match path::parse_slot(id, key) {
                Ok(slot) if slot.block < newest.floor => Standing::Orphan,
                Ok(slot) if slot >= newest.next_slot() => Standing::Newer,
                Ok(_) => Standing::Referenced,
                Err(_) => Standing::Strange,
            };
        }
        let segment = path::parse_segment_file(id, key).map(|(claim, ..)| claim);
        let Ok(claim) = segment.or_else(|_| path::parse_deletions(id, key).map(|(claim, _)| claim))
        else {
            return Standing::Strange;
        };
        if claim > newest.seq {
            Standing::Newer
        } else if newest.claims.contains_key(&claim) {
            Standing::Pending(claim)
        } else {
            Standing::Orphan
        }
    }
}

/// What an index file that is built later does not change.
fn rows_of(segment: &Segment) -> (&ObjectRef, u64, u64) {
    (&segment.parquet, segment.rows, segment.logical_bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::lsm::entry::ClaimKind;
    use crate::lsm::state::Block;
    use crate::lsm::{BitmapPlace, Rotation};
    use crate::types::{Bound, FooterRef, Nonce, SlotName, Stats};

    fn id() -> NamespaceId {
        NamespaceId(Uuid::from_u128(7))
    }

    fn object(path: String) -> ObjectRef {
        ObjectRef {
            path,
            bytes: 9,
            hash: 3,
        }
    }

    fn segment(claim: u64) -> Segment {
        let claim = WalSeq(claim);
        Segment {
            id: SegmentId { claim, n: 0 },
            parquet: object(path::segment_parquet(id(), claim, 0)),
            index: object(path::segment_index(id(), claim, 0)),
            footer: FooterRef {
                offset: 0,
                bytes: 9,
                hash: 3,
            },
            rows: 5,
            logical_bytes: 40,
            stats: Stats {
                id_min: Bound::Uint(1),
                id_max: Bound::Uint(5),
                attributes: Vec::new(),
            },
            unindexed: Vec::new(),
            deletions: Deletions::default(),
        }
    }

    /// At 20, slot 3 of block 4; claim 15 is active.
    fn state(segments: Vec<Segment>) -> State {
        State {
            seq: WalSeq(20),
            flushed_seq: WalSeq(18),
            floor: 4,
            blocks: vec![Block {
                number: 4,
                first_seq: WalSeq(18),
                head_nonce: Nonce(1),
                slots: 3,
                bytes: 9,
            }],
            claims: [(WalSeq(15), ClaimKind::Flush)].into(),
            segments: segments.into_iter().map(Arc::new).collect(),
            ..State::initial(Rotation::default())
        }
    }

    fn stored(claim: u64) -> Deletions {
        Deletions {
            generation: 1,
            rows: 2,
            bitmap: BitmapPlace::Stored(object(path::deletions(id(), WalSeq(claim), 0))),
        }
    }

    #[test]
    fn object_of_a_claim_is_referenced_pending_newer_or_an_orphan() {
        let newest = state(vec![Segment {
            deletions: stored(12),
            ..segment(10)
        }]);
        let mut references = References::default();
        references.add_state("m", &newest).expect("it agrees");
        let of = |claim: u64, want: Standing| {
            let claim = WalSeq(claim);
            for key in [
                path::segment_parquet(id(), claim, 1),
                path::segment_index(id(), claim, 1),
                path::deletions(id(), claim, 1),
            ] {
                assert_eq!(references.standing(id(), &newest, &key), want, "{key}");
            }
        };
        of(15, Standing::Pending(WalSeq(15)));
        of(21, Standing::Newer);
        // Aborted, and other uploads of claims that were committed.
        for claim in [11, 10, 12] {
            of(claim, Standing::Orphan);
        }
        for key in [
            path::segment_parquet(id(), WalSeq(10), 0),
            path::segment_index(id(), WalSeq(10), 0),
            path::deletions(id(), WalSeq(12), 0),
        ] {
            let found = references.standing(id(), &newest, &key);
            assert_eq!(found, Standing::Referenced, "{key}");
        }
        let strange = format!("{}x", path::segment_prefix(id()));
        let found = references.standing(id(), &newest, &strange);
        assert_eq!(found, Standing::Strange);
    }

    #[test]
    fn slot_below_the_floor_is_an_orphan_and_one_after_the_state_is_newer() {
        let (references, newest) = (References::default(), state(Vec::new()));
        for (block, idx, want) in [
            (3, 511, Standing::Orphan),
            (4, 0, Standing::Referenced),
            (4, 2, Standing::Referenced),
            (4, 3, Standing::Newer),
            (5, 0, Standing::Newer),
        ] {
            let key = path::slot(id(), SlotName { block, idx });
            assert_eq!(references.standing(id(), &newest, &key), want, "{key}");
        }
    }

    #[test]
    fn segment_is_kept_once_and_each_generation_of_its_deletions() {
        let mut references = References::default();
        let older = state(vec![segment(10)]);
        let newer = state(vec![Segment {
            deletions: stored(12),
            ..segment(10)
        }]);
        for state in [&older, &newer, &older] {
            references.add_state("m", state).expect("they agree");
        }
        assert_eq!(references.segments().count(), 1);
        assert_eq!(references.bitmaps().count(), 2);
    }

    #[test]
    fn segment_with_an_index_built_later_is_referenced_with_each_index_of_a_state() {
        let older = state(vec![segment(10)]);
        let built = path::segment_index(id(), WalSeq(12), 0);
        let rebuilt = || Segment {
            index: object(built.clone()),
            ..segment(10)
        };
        let newer = state(vec![rebuilt()]);
        let first = path::segment_index(id(), WalSeq(10), 0);
        let mut references = References::default();
        references.add_state("m2", &newer).expect("the first");
        let standing = |references: &References, key: &str| references.standing(id(), &newer, key);
        assert_eq!(standing(&references, &first), Standing::Orphan);
        references.add_state("m1", &older).expect("the same rows");
        for key in [&first, &built] {
            assert_eq!(standing(&references, key), Standing::Referenced);
        }
        assert_eq!(references.segments().count(), 2);
        // Other rows under the same number.
        let mut other = rebuilt();
        other.rows += 1;
        other.index.path = path::segment_index(id(), WalSeq(14), 0);
        let error = references.add_state("m3", &state(vec![other]));
        assert!(error.expect_err("other rows").message().contains("m3"));
    }

    #[test]
    fn states_that_disagree_about_a_segment_are_corrupted() {
        let mut references = References::default();
        let first = state(vec![segment(10)]);
        references.add_state("m1", &first).expect("the first");
        let mut other = segment(10);
        other.parquet.hash ^= 1;
        let error = references.add_state("m2", &state(vec![other]));
        let error = error.expect_err("other files");
        assert!(error.message().contains("m1") && error.message().contains("m2"));
        let mut deleted = segment(10);
        deleted.deletions = stored(12);
        deleted.deletions.generation = 0;
        assert!(references.add_state("m2", &state(vec![deleted])).is_err());
    }
}
