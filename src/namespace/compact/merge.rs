//! Reading inputs, sealing outputs, uploading them: one output at a time.
//!
//! Inputs are read in windows, each block proved by its checksum in the footer, and the footer by the hash that the log
//! keeps of it. The hash of a whole file is not looked at: that would take as much memory as the inputs, which may be larger than an output.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use futures::stream::TryStreamExt;
use roaring::RoaringBitmap;

use super::{Namespace, in_vain};
use crate::error::{Error, Result};
use crate::format::segment::{self as codec, MergePart, MergeSource, SealedSegment};
use crate::lsm::{Job, Segment, State};
use crate::namespace::handle::View;
use crate::namespace::read::of_segment;
use crate::rows;
use crate::runtime::FailPoint;
use crate::runtime::clock::sleep_ms;
use crate::segment::SegmentReader;
use crate::store::cache::{Purpose, ScanShare};
use crate::types::{AttrId, NamespaceSchema, WalSeq};

/// A segment that is being merged, as the claim found it.
pub(super) struct Input {
    pub(super) segment: Arc<Segment>,
    /// Rows gone at the generation of its deletions.
    pub(super) gone: RoaringBitmap,
    reader: SegmentReader,
}

/// An output that is uploaded.
pub(super) struct Output {
    pub(super) segment: Segment,
    /// Where its rows come from.
    pub(super) part: MergePart,
}

impl Namespace {
    /// Makes a merge that is claimed; gives the number of rows that left with it.
    pub(super) async fn merge_under(
        self: &Arc<Self>,
        claim: WalSeq,
        view: &Arc<View>,
        job: &Job,
    ) -> Result<u64> {
        let mut inputs = Vec::with_capacity(job.inputs.len());
        for id in &job.inputs {
            let segment = view.state.segment(*id);
            let segment = segment.ok_or_else(|| in_vain(self, "an input is gone"))?;
            inputs.push(self.input(segment).await?);
        }
        let mut outputs: Vec<Output> = Vec::new();
        let began_ms = self.shared.clock.monotonic_ms();
        let read: u64 = inputs.iter().map(|input| input.segment.parquet.bytes).sum();
        let mut moved = 0;
        let planned = self.plan(&inputs).await?;
        let read_a_part = read / (planned.len() as u64).max(1);
        for part in planned {
            self.goes_on(claim)?;
            let sealed = self.merge_part(&inputs, &part, &view.schema).await?;
            let n = outputs.len() as u32;
            let segment = self.upload(claim, n, sealed, FailPoint::K2).await?;
            moved += read_a_part + segment.parquet.bytes + segment.index.bytes;
            self.pace(began_ms, moved).await?;
            outputs.push(Output { segment, part });
        }
        let removed: u64 = inputs.iter().map(|input| input.gone.len()).sum();
        let metrics = &self.shared.metrics.compaction;
        let read = inputs.iter().filter(|input| input.segment.live_rows() > 0);
        metrics
            .read_bytes_total
            .inc_by(read.map(|input| input.segment.parquet.bytes).sum());
        let files = |output: &Output| output.segment.parquet.bytes + output.segment.index.bytes;
        metrics
            .written_bytes_total
            .inc_by(outputs.iter().map(files).sum());
        let state = self.commit_merge(claim, inputs, &outputs).await?;
        // Its manifest keeps what it made for states of the past, once another merge has replaced that.
        self.put_manifest(&state).await;
        self.clean_log().await;
        self.consider_collection();
        Ok(removed)
    }

    /// Waits until so many bytes may have been moved since then. Errors: `Unavailable` once the node drains.
    async fn pace(&self, began_ms: u64, moved: u64) -> Result<()> {
        let rate = self.shared.options.compaction.bytes_per_second;
        let now = self.shared.clock.monotonic_ms();
        let wait_ms = wait_ms(moved, rate, now.saturating_sub(began_ms));
        tokio::select! {
            () = sleep_ms(wait_ms), if wait_ms > 0 => Ok(()),
            () = self.shared.shutdown.triggered(), if wait_ms > 0 => {
                Err(in_vain(self, "the server is shutting down"))
            }
            else => Ok(()),
        }
    }

    async fn input(&self, segment: &Arc<Segment>) -> Result<Input> {
        let gone = self.read_deletions(segment).await;
        Ok(Input {
            gone: gone.map_err(|error| of_segment(error, segment))?,
            reader: self.shared.reader(segment).in_background(),
            segment: Arc::clone(segment),
        })
    }

    /// Fails where nobody wants the merge any more: it may take minutes.
    fn goes_on(&self, claim: WalSeq) -> Result<()> {
        if self.shared.shutdown.is_triggered() {
            return Err(in_vain(self, "the server is shutting down"));
        }
        let state: &State = &self.view().state;
        match state.claims.contains_key(&claim) {
            true => Ok(()),
            false => Err(in_vain(self, "its claim was taken back")),
        }
    }

    /// Reads all ids and decides which row comes where.
    async fn plan(&self, inputs: &[Input]) -> Result<Vec<MergePart>> {
        let policy = self.shared.options.compaction.policy;
        let mut sources = Vec::with_capacity(inputs.len());
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        for input in inputs {
            let segment = &input.segment;
            (rows, bytes) = (rows + segment.live_rows(), bytes + segment.live_bytes());
            let ids = match segment.live_rows() {
                0 => Ok(Vec::new()),
                _ => ids_of(&input.reader).await,
            };
            sources.push(MergeSource {
                name: segment.id.to_string(),
                ids: ids.map_err(|error| of_segment(error, segment))?,
                gone: input.gone.clone(),
                weight: policy.weight(segment),
            });
        }
        let parts = policy.parts(rows, bytes);
        let planned = self
            .shared
            .compute
            .run_background(move || codec::plan_merge(&sources, parts))
            .await??;
        let found: u64 = planned.iter().map(MergePart::rows).sum();
        match found == rows {
            true => Ok(planned),
            false => Err(Error::internal(format!(
                "a merge of namespace `{}`: expected {rows} live rows, found {found}",
                self.name
            ))),
        }
    }

    /// Reads the rows of one output and seals them.
    async fn merge_part(
        &self,
        inputs: &[Input],
        part: &MergePart,
        schema: &Arc<NamespaceSchema>,
    ) -> Result<SealedSegment> {
        let attributes = schema.attributes.values();
        let attrs: Vec<AttrId> = attributes.map(|attribute| attribute.id).collect();
        let mut batches = Vec::new();
        for (input, taken) in inputs.iter().zip(part.taken(inputs.len())) {
            if taken.is_empty() {
                continue;
            }
            let read = batches_of(&input.reader, &attrs, taken.into()).await;
            batches.extend(read.map_err(|error| of_segment(error, &input.segment))?);
        }
        let (schema, rows) = (Arc::clone(schema), part.rows());
        let seal = move || codec::seal(&batches, &schema);
        let sealed = self.shared.compute.run_background(seal).await??;
        match sealed.rows == rows {
            true => Ok(sealed),
            false => Err(Error::internal(format!(
                "a merge of namespace `{}`: expected {rows} rows in an output, found {}",
                self.name, sealed.rows
            ))),
        }
    }
}

/// How long whoever moved so many bytes in so long a time waits, milliseconds, for a rate of bytes a second; 0 for
/// no rate.
fn wait_ms(moved: u64, rate: u64, elapsed_ms: u64) -> u64 {
    let due_ms = u128::from(moved) * 1_000 / u128::from(rate.max(1));
    match rate {
        0 => 0,
        _ => u64::try_from(due_ms)
            .unwrap_or(u64::MAX)
            .saturating_sub(elapsed_ms),
    }
}

/// What merges read stays out of the cache: queries want the outputs.
fn passing_by() -> Purpose {
    Purpose::Scan(ScanShare::new(0))
}

async fn ids_of(reader: &SegmentReader) -> Result<Vec<ArrayRef>> {
    let ids = |batch: RecordBatch| rows::detached(rows::id_column(&batch));
    let purpose = passing_by();
    let read = reader.columns(&[], true, None, &purpose, move |found| ids(found.batch));
    read.await?.try_collect().await
}

async fn batches_of(
    reader: &SegmentReader,
    attrs: &[AttrId],
    taken: Arc<[u32]>,
) -> Result<Vec<RecordBatch>> {
    let purpose = passing_by();
    let read = reader.columns(attrs, true, Some(taken), &purpose, |found| Ok(found.batch));
    read.await?.try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_makes_up_for_what_was_moved_faster_than_the_rate() {
        for (moved, rate, elapsed_ms, expected) in [
            (1_000, 0, 0, 0),
            (1_000, 1_000, 0, 1_000),
            (1_000, 1_000, 400, 600),
            (1_000, 1_000, 1_001, 0),
            (u64::MAX, 1, 0, u64::MAX),
        ] {
            assert_eq!(
                wait_ms(moved, rate, elapsed_ms),
                expected,
                "{moved} at {rate}"
            );
        }
    }
}
