//! Which rows of segments are gone for a view: committed deletions, and ids that the tail has touched since.
//!
//! Rows of a segment never change; an id that an entry after the last flush deleted or wrote again leaves a
//! dead row behind, wherever it lies. Those are looked up once, before the first query or flush that needs
//! them, and kept with the sequence that killed them, so that every view sees its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;
use tokio::sync::Mutex;

use super::handle::{Namespace, View};
use super::read::of_segment;
use crate::error::{Error, Result};
use crate::filter::RowMask;
use crate::format::{deletions, path};
use crate::lsm::{BitmapPlace, Segment, SegmentId};
use crate::rows;
use crate::segment::SegmentReader;
use crate::types::{DocId, WalSeq};

/// Ids looked up at once: bounds memory.
const IDS_AT_ONCE: usize = 65_536;

/// A row that died after the last flush, and when.
type Death = (u32, WalSeq);

/// What is known of deaths, for the newest flush seen.
#[derive(Debug, Default)]
pub(crate) struct Deaths(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The flush that the pending deaths are since.
    flushed: WalSeq,
    /// Entries up to here are resolved in each segment. A merge brings segments without a flush: in them all
    /// entries since that flush are still to be looked up.
    resolved: BTreeMap<SegmentId, WalSeq>,
    pending: BTreeMap<SegmentId, Vec<Death>>,
    committed: BTreeMap<SegmentId, (u32, Arc<RoaringBitmap>)>,
}

/// A segment that a flush must say something about: rows of it died.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    pub(super) segment: SegmentId,
    /// The generation its committed deletions have.
    pub(super) base: u32,
    /// All rows gone, committed and pending.
    pub(super) rows: RoaringBitmap,
}

impl Namespace {
    /// The rows of each segment that a view sees, in the order of its segments. Cancel safe.
    pub(crate) async fn live_rows(&self, view: &View) -> Result<Arc<[Arc<RowMask>]>> {
        let all = BTreeSet::new();
        let live = view
            .live_rows
            .get_or_try_init(|| self.with_deaths(view, |known| known.masks(view, &all)));
        live.await.cloned()
    }

    /// As `live_rows`, where some segments are left out: none of their rows is seen, and they are not read.
    ///
    /// No row of another segment comes back to life by it: what a segment lost is in bitmaps of its own, and
    /// what the tail touched is looked up in each by itself.
    pub(super) async fn live_rows_without(
        &self,
        view: &View,
        left_out: &BTreeSet<SegmentId>,
    ) -> Result<Arc<[Arc<RowMask>]>> {
        // Worked out for this query alone: what is kept must know every segment.
        let mut own = self.deaths.0.lock().await.since(view.state.flushed_seq);
        self.resolve(&mut own, view, left_out).await?;
        own.masks(view, left_out)
    }

    /// The rows of segments that a view sees, and about their logical bytes.
    pub(crate) async fn live_totals(&self, view: &View) -> Result<(u64, u64)> {
        let live = self.live_rows(view).await?;
        let totals = view.state.segments.iter().zip(live.iter());
        Ok(totals.fold((0, 0), |(rows, bytes), (segment, mask)| {
            let seen = mask.count() as u64;
            // Rows are not weighed one by one: the dead ones weigh as much as the others.
            let weight = u128::from(segment.logical_bytes) * u128::from(seen)
                / u128::from(segment.rows.max(1));
            (rows + seen, bytes + weight as u64)
        }))
    }

    /// The segments of a view that lost rows by entries after the last flush and up to `up_to`, itself no later than the view.
    pub(super) async fn changed_segments(
        &self,
        view: &View,
        up_to: WalSeq,
    ) -> Result<Vec<Changed>> {
        let changed = |known: &Known| {
            let changed = view.state.segments.iter().filter_map(|segment| {
                let pending = known.pending.get(&segment.id)?;
                if !pending.iter().any(|(_, seq)| *seq <= up_to) {
                    return None;
                }
                let rows = known.gone(segment, up_to);
                // An id may have been touched whose row was gone before.
                (rows.len() > segment.deletions.rows).then(|| Changed {
                    segment: segment.id,
                    base: segment.deletions.generation,
                    rows,
                })
            });
            Ok(changed.collect())
        };
        self.with_deaths(view, changed).await
    }

    /// Looks at everything that killed rows of a view's segments, resolved up to the view.
    async fn with_deaths<T>(
        &self,
        view: &View,
        look: impl FnOnce(&Known) -> Result<T>,
    ) -> Result<T> {
        let mut kept = self.deaths.0.lock().await;
        if kept.flushed > view.state.flushed_seq {
            // An older view that is still being read: worked out for it alone.
            let mut own = kept.since(view.state.flushed_seq);
            drop(kept);
            self.resolve(&mut own, view, &BTreeSet::new()).await?;
            return look(&own);
        }
        // Taken out: what fails or is dropped half way is worked out again, not half believed.
        let mut known = std::mem::take(&mut *kept);
        if known.flushed < view.state.flushed_seq {
            known = known.since(view.state.flushed_seq);
        }
        self.resolve(&mut known, view, &BTreeSet::new()).await?;
        let seen = look(&known);
        *kept = known;
        seen
    }

    async fn resolve(
        &self,
        known: &mut Known,
        view: &View,
        left_out: &BTreeSet<SegmentId>,
    ) -> Result<()> {
        let segments = view.state.segments.iter();
        for segment in segments.filter(|segment| !left_out.contains(&segment.id)) {
            let loaded = self.load_committed(known, segment).await;
            loaded.map_err(|error| of_segment(error, segment))?;
        }
        known.forget_all_but(&view.state.segments);
        // Segments by how far they are resolved: nearly always all alike.
        let mut behind: BTreeMap<WalSeq, Vec<&SegmentReader>> = BTreeMap::new();
        for reader in view.segments.iter() {
            let id = reader.segment().id;
            let resolved = known.resolved.get(&id).copied().unwrap_or(known.flushed);
            if resolved < view.seq && !left_out.contains(&id) {
                behind.entry(resolved).or_default().push(reader);
            }
        }
        for (resolved, segments) in behind {
            let touched = view.tail.touched.between(resolved, view.seq);
            // The first entry that touched an id killed its row.
            let mut first: BTreeMap<DocId, WalSeq> = BTreeMap::new();
            for (seq, ids) in &touched {
                for id in rows::ids_of(ids) {
                    first.entry(id).or_insert(*seq);
                }
                if first.len() >= IDS_AT_ONCE {
                    known.bury(std::mem::take(&mut first), &segments).await?;
                }
            }
            known.bury(first, &segments).await?;
            let ids = segments.iter().map(|reader| reader.segment().id);
            known.resolved.extend(ids.map(|id| (id, view.seq)));
        }
        Ok(())
    }

    async fn load_committed(&self, known: &mut Known, segment: &Segment) -> Result<()> {
        let generation = segment.deletions.generation;
        if let Some((kept, _)) = known.committed.get(&segment.id)
            && *kept == generation
        {
            return Ok(());
        }
        let gone = self.read_deletions(segment).await?;
        known
            .committed
            .insert(segment.id, (generation, Arc::new(gone)));
        Ok(())
    }

    /// Reads the committed deletions of a segment. Errors: `Corrupted`; `Unavailable` with code `object_missing`.
    pub(super) async fn read_deletions(&self, segment: &Segment) -> Result<RoaringBitmap> {
        let (n_rows, count) = (segment.rows, segment.deletions.rows);
        match &segment.deletions.bitmap {
            BitmapPlace::Empty => Ok(RoaringBitmap::new()),
            BitmapPlace::Inline(text) => {
                let name = path::segment_parquet(self.id(), segment.id.claim, segment.id.n);
                let bytes = deletions::from_text(&name, text)?;
                deletions::decode(&name, &bytes, n_rows, count)
            }
            BitmapPlace::Stored(file) => {
                let decode = |object: &[u8]| {
                    let bitmap = deletions::open(&file.path, object)?;
                    deletions::decode(&file.path, bitmap, n_rows, count)
                };
                self.shared.read_whole(file, decode).await
            }
        }
    }
}

impl Known {
    /// What stays true for another flush: the bitmaps of segments, but no pending death.
    fn since(&self, flushed: WalSeq) -> Self {
        Self {
            flushed,
            resolved: BTreeMap::new(),
            pending: BTreeMap::new(),
            committed: self.committed.clone(),
        }
    }

    fn forget_all_but(&mut self, live: &[Arc<Segment>]) {
        let alive = |id: &SegmentId| live.iter().any(|segment| segment.id == *id);
        self.committed.retain(|id, _| alive(id));
        self.pending.retain(|id, _| alive(id));
        self.resolved.retain(|id, _| alive(id));
    }

    /// Looks up ids in segments and notes the rows they had there.
    async fn bury(
        &mut self,
        first: BTreeMap<DocId, WalSeq>,
        segments: &[&SegmentReader],
    ) -> Result<()> {
        if first.is_empty() {
            return Ok(());
        }
        let (ids, seqs): (Vec<DocId>, Vec<WalSeq>) = first.into_iter().unzip();
        for reader in segments {
            let segment = reader.segment();
            let rows = reader.find(&ids).await;
            let rows = rows.map_err(|error| of_segment(error, segment))?;
            let found = rows
                .into_iter()
                .zip(&seqs)
                .filter_map(|(row, seq)| Some((row?, *seq)));
            // A row that is there already died earlier: the earlier sequence is what `gone` looks at.
            self.pending.entry(segment.id).or_default().extend(found);
        }
        Ok(())
    }

    /// The rows of each segment that a view sees; none of those left out.
    fn masks(&self, view: &View, left_out: &BTreeSet<SegmentId>) -> Result<Arc<[Arc<RowMask>]>> {
        let masks = view.state.segments.iter().map(|segment| {
            let rows = rows_of(segment)?;
            if left_out.contains(&segment.id) {
                return Ok(Arc::new(RowMask::none(rows)));
            }
            let mut mask = RowMask::all(rows);
            for row in self.gone(segment, view.seq) {
                mask.set(row as usize, false);
            }
            Ok(Arc::new(mask))
        });
        masks.collect::<Result<Vec<_>>>().map(Into::into)
    }

    /// The rows of a segment that a view at `seq` does not see.
    fn gone(&self, segment: &Segment, seq: WalSeq) -> RoaringBitmap {
        let committed = self.committed.get(&segment.id);
        let mut gone = committed.map_or_else(RoaringBitmap::new, |(_, rows)| (**rows).clone());
        let pending = self.pending.get(&segment.id).into_iter().flatten();
        gone.extend(
            pending
                .filter(|(_, died)| *died <= seq)
                .map(|(row, _)| *row),
        );
        gone
    }
}

/// The rows of a segment, to index memory with.
fn rows_of(segment: &Segment) -> Result<usize> {
    usize::try_from(segment.rows)
        .ok()
        .filter(|rows| u32::try_from(*rows).is_ok())
        .ok_or_else(|| {
            Error::corrupted(format!(
                "segment {}: expected fewer than 2^32 rows, found {}",
                segment.id, segment.rows
            ))
        })
}
