//! What a flush, a merge or a build puts into the bucket before its commit: under its claim's number, which nobody else ever has.

use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringBitmap;

use super::deaths::Changed;
use super::handle::{Namespace, View};
use crate::error::{Error, Result};
use crate::format::segment::{self as codec, SealedSegment};
use crate::format::{deletions, path};
use crate::lsm::{BitmapPlace, DeletionUpdate, Deletions, Segment, SegmentId};
use crate::runtime::{FailPoint, failpoint};
use crate::store::{Resolved, create_once};
use crate::types::{ObjectRef, WalSeq};

impl Namespace {
    /// Seals the rows of a view's tail; `None` if no row lives.
    pub(super) async fn seal(&self, view: &Arc<View>) -> Result<Option<SealedSegment>> {
        let view = Arc::clone(view);
        let work = move || {
            let rows = view.tail.visible()?;
            let n_rows: usize = rows.iter().map(|batch| batch.num_rows()).sum();
            match n_rows {
                0 => Ok(None),
                _ => codec::seal(&rows, &view.schema).map(Some),
            }
        };
        self.shared.compute.run_background(work).await?
    }

    /// Uploads a segment; `point` encloses the second of its files.
    pub(super) async fn upload(
        &self,
        claim: WalSeq,
        n: u32,
        sealed: SealedSegment,
        point: FailPoint,
    ) -> Result<Segment> {
        let parquet = path::segment_parquet(self.id(), claim, n);
        let index = path::segment_index(self.id(), claim, n);
        let references = {
            let (parquet, index) = (parquet.clone(), index.clone());
            let (documents, derived) = (sealed.parquet.clone(), sealed.index.clone());
            let work = move || {
                (
                    codec::object_ref(parquet, &documents),
                    codec::object_ref(index, &derived),
                )
            };
            self.shared.compute.run_background(work).await?
        };
        self.put_new(&parquet, sealed.parquet).await?;
        let uploading = failpoint::reach(point);
        if uploading.before().await.is_some() {
            return Err(Error::unavailable("failpoint of an upload"));
        }
        self.put_new(&index, sealed.index).await?;
        if uploading.after().await.is_some() {
            return Err(Error::outcome_unknown("failpoint of an upload"));
        }
        Ok(Segment {
            id: SegmentId { claim, n },
            parquet: references.0,
            index: references.1,
            footer: sealed.footer,
            rows: sealed.rows,
            logical_bytes: sealed.logical_bytes,
            stats: sealed.stats,
            unindexed: sealed.unindexed,
            deletions: Deletions::default(),
        })
    }

    pub(super) async fn place_deletions(
        &self,
        claim: WalSeq,
        attempt: u32,
        changed: Changed,
    ) -> Result<DeletionUpdate> {
        let bitmap = self.place_bitmap(claim, attempt, &changed.rows).await?;
        Ok(DeletionUpdate {
            segment: changed.segment,
            base: changed.base,
            rows: changed.rows.len(),
            bitmap,
        })
    }

    /// Puts a bitmap where it belongs by its size: into the log, or into an object of a claim's number `attempt`.
    pub(super) async fn place_bitmap(
        &self,
        claim: WalSeq,
        attempt: u32,
        rows: &RoaringBitmap,
    ) -> Result<BitmapPlace> {
        let bitmap = deletions::encode(rows);
        if bitmap.len() <= deletions::INLINE_BYTES_MAX {
            return Ok(BitmapPlace::Inline(deletions::to_text(&bitmap)));
        }
        let key = path::deletions(self.id(), claim, attempt);
        let object = Bytes::from(deletions::seal(&bitmap));
        let reference: ObjectRef = codec::object_ref(key.clone(), &object);
        self.put_new(&key, object).await?;
        Ok(BitmapPlace::Stored(reference))
    }

    /// Uploads an object that only this claim may write.
    pub(super) async fn put_new(&self, key: &str, bytes: Bytes) -> Result<()> {
        let uploaded = create_once(&*self.shared.bucket, key, bytes).await?;
        match uploaded {
            Resolved::Ours => Ok(()),
            Resolved::Other(_) => Err(Error::corrupted(format!(
                "object `{key}` exists already: expected that only its claim writes it"
            ))),
        }
    }
}
