//! Building indexes later: a segment that was made before an attribute became filterable gets a new index file.
//!
//! Read the documents, claim, build, upload, commit, segment after segment. The commit applies only while its claim
//! stands and the segment has the index file that it was built to replace; until then queries read the documents
//! row by row. Rows never change, so that flushes go on beside it. Any number of nodes may be at it: the claim keeps
//! them from doing the same work, and where it does not, one of them has worked in vain.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;

use super::claims::{Claimed, Claims};
use super::handle::{Namespace, View};
use super::rest::Chore;
use crate::error::{Error, ErrorKind, Result};
use crate::format::path;
use crate::format::segment::{self as codec, Footer, Reindexed};
use crate::lsm::entry::ClaimKind;
use crate::lsm::state::Life;
use crate::lsm::{Entry, IndexUpdate, Segment, SegmentId, State, indexing};
use crate::segment::missing;
use crate::types::{NamespaceSchema, WalSeq};

/// How long what another node has claimed is left to it before the next look, milliseconds.
const LOOK_AGAIN_MS: u64 = 1_000;
/// How often documents are read: what is damaged may have been damaged on the way.
const READS_MAX: u32 = 2;

/// What this node does about building indexes of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    chore: Chore,
    pub(super) claims: Mutex<Claims>,
}

/// What came of building the index file of one segment.
enum Built {
    /// It is committed; this is the state it made.
    Done(Arc<State>),
    /// The segment lacks nothing any more, or is gone.
    Nothing,
    /// Another node is at it.
    Busy,
}

impl Namespace {
    /// Sees to it that indexes which segments of a view lack are built, unless that is under way already.
    pub(super) fn consider_index_build(self: &Arc<Self>, view: &View) {
        let is_due = view.state.life == Life::Live && view.lacks_index();
        if !is_due || self.shared.shutdown.is_triggered() {
            return;
        }
        self.take_up(
            |this| &this.builder.chore,
            |this| this.build_in_turn().boxed(),
        );
    }

    /// Builds what is lacking, after other namespaces of this node; `true` where some is lacking still.
    async fn build_in_turn(self: &Arc<Self>) -> bool {
        let shutdown = &self.shared.shutdown;
        let built = tokio::select! {
            // One at a time on a node: each takes a few times a segment's memory.
            turn = self.shared.index_builds.acquire() => match turn {
                Ok(_turn) => self.build_indexes().await,
                Err(_) => return false,
            },
            () = shutdown.triggered() => return false,
        };
        let gone = matches!(&built, Err(error) if error.code() == "namespace_not_found");
        if let Err(error) = &built
            && !gone
        {
            let now = self.shared.clock.monotonic_ms();
            self.builder.chore.rest.note_failure(now);
            self.shared.metrics.index_build.failures_total.inc();
            self.shared.note_damage(error);
            tracing::warn!(namespace = %self.name, error = %error.chain(), "index was not built");
        }
        // What became lacking meanwhile, and what failed, is for the same task.
        let is_over = gone || shutdown.is_triggered() || !self.view().lacks_index();
        self.builder.chore.end_step(!is_over)
    }

    /// Builds the index files of all segments that lack an index, one after the other.
    ///
    /// Errors: of the first segment whose documents are damaged, after the others; any other at once. Documents
    /// are safe in either case.
    async fn build_indexes(self: &Arc<Self>) -> Result<()> {
        let mut tried: BTreeSet<SegmentId> = BTreeSet::new();
        let (mut newest, mut damage) = (None, None);
        while !self.shared.shutdown.is_triggered() {
            let view = self.view();
            let mut lacking = indexing::lacking(&view.state);
            let Some(segment) = lacking.find(|segment| !tried.contains(&segment.id)) else {
                break;
            };
            tried.insert(segment.id);
            match self.build_index(segment).await {
                Ok(Built::Done(state)) => newest = Some(state),
                Ok(Built::Nothing) => {}
                Ok(Built::Busy) => {
                    let now = self.shared.clock.monotonic_ms();
                    let again_ms = self.shared.options.claim_patience_ms.max(LOOK_AGAIN_MS);
                    self.builder.chore.rest.until(now.saturating_add(again_ms));
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Corrupted => {
                    damage.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(state) = newest {
            self.put_manifest(&state).await;
            self.consider_collection();
        }
        match damage {
            Some(damage) => Err(damage),
            None => {
                self.builder.chore.rest.note_success();
                Ok(())
            }
        }
    }

    async fn build_index(self: &Arc<Self>, segment: &Arc<Segment>) -> Result<Built> {
        let began_ms = self.shared.clock.monotonic_ms();
        if self.is_claimed(ClaimKind::IndexBuild).await? {
            return Ok(Built::Busy);
        }
        // What cannot be read would fail after the claim, and cost the log two slots.
        let (footer, documents) = self.read_documents(segment).await?;
        let id = segment.id;
        let is_done = |state: &State| !indexing::lacking(state).any(|segment| segment.id == id);
        let claimed = self.claim(ClaimKind::IndexBuild, |log| is_done(&log.state));
        let (claim, view) = match claimed.await? {
            Claimed::Nothing(_) => return Ok(Built::Nothing),
            Claimed::Busy => return Ok(Built::Busy),
            Claimed::Ours(claim, view) => (claim, view),
        };
        let built = match view.state.segment(id) {
            Some(segment) => {
                let found = (footer, documents);
                self.build_under(claim, segment, &view.schema, found).await
            }
            None => Err(self.in_vain("its segment is gone")),
        };
        if built.is_err() {
            self.abort(ClaimKind::IndexBuild, claim).await;
            // Merged meanwhile: what took its rows has all indexes that were wanted then.
            if self.view().state.segment(id).is_none() {
                return Ok(Built::Nothing);
            }
        }
        let state = built?;
        let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
        let metrics = &self.shared.metrics.index_build;
        metrics.seconds.observe(elapsed_ms as f64 / 1_000.0);
        metrics.rows_total.inc_by(segment.rows);
        tracing::debug!(namespace = %self.name, segment = %id, "index built");
        Ok(Built::Done(state))
    }

    /// Builds, uploads and commits an index file under a claim.
    async fn build_under(
        self: &Arc<Self>,
        claim: WalSeq,
        segment: &Arc<Segment>,
        schema: &Arc<NamespaceSchema>,
        (footer, documents): (Arc<Footer>, Bytes),
    ) -> Result<Arc<State>> {
        let key = path::segment_index(self.id(), claim, 0);
        let work = {
            let (segment, schema) = (Arc::clone(segment), Arc::clone(schema));
            let key = key.clone();
            move || {
                let built = codec::reindex(&segment.parquet, &documents, &footer, &schema)?;
                let index = codec::object_ref(key, &built.index);
                Ok::<_, Error>((built, index))
            }
        };
        let (built, index) = self.shared.compute.run_background(work).await??;
        let Reindexed {
            index: file,
            footer,
            stats,
            unindexed,
        } = built;
        self.put_new(&key, file).await?;
        let built = Box::new(IndexUpdate {
            segment: segment.id,
            base: segment.index.path.clone(),
            index,
            footer,
            stats,
            unindexed,
        });
        let entry = Entry::IndexBuild { claim, built };
        let committed = self.commit_claimed(claim, entry).await?;
        committed.map_err(|reason| self.in_vain(reason))
    }

    /// Reads a segment's footer and the whole of its documents, which are proved by their hash.
    async fn read_documents(&self, segment: &Arc<Segment>) -> Result<(Arc<Footer>, Bytes)> {
        let footer = self.shared.reader(segment).footer().await?;
        let file = &segment.parquet;
        let mut reads = 0;
        loop {
            let found = self.shared.bucket.get(&file.path).await?.into_bytes();
            let bytes = found.ok_or_else(|| missing(&file.path))?;
            let (proved, expected) = (bytes.clone(), file.clone());
            let prove = move || codec::prove_whole(&expected, &proved);
            let proved = self.shared.compute.run_background(prove).await?;
            reads += 1;
            match proved {
                Ok(()) => return Ok((footer, bytes)),
                Err(error) if reads == READS_MAX => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn in_vain(&self, reason: &str) -> Error {
        Error::unavailable(format!(
            "an index of namespace `{}` was built in vain: {reason}",
            self.name
        ))
    }
}
