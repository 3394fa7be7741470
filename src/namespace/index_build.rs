//! Building index files of segments that live: of one made before an attribute became filterable, and of one whose index
//! file is damaged or gone.
//!
//! Read the documents, claim, build, upload, commit, segment after segment. The commit applies only while its claim
//! stands and the segment has the index file that it was built to replace; until then queries read the documents
//! row by row. Rows never change, so that flushes go on beside it. Any number of nodes may be at it: the claim keeps
//! them from doing the same work, and where it does not, one of them has worked in vain. What is damaged is found in
//! `repair.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;

use super::claims::{Claimed, Claims};
use super::handle::{Namespace, View};
use super::read::{Gone, is_missing};
use super::repair::Suspects;
use super::rest::Chore;
use crate::error::{Error, ErrorKind, Result};
use crate::format::path;
use crate::format::segment::{self as codec, Reindexed};
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
    pub(super) suspects: Suspects,
}

/// A segment that wants an index file.
#[derive(Debug, Clone)]
pub(super) struct Wanting {
    pub(super) segment: Arc<Segment>,
    /// Whether its index file is suspected: it is replaced where it is damaged indeed.
    pub(super) is_suspect: bool,
}

impl Wanting {
    /// Whether a state still wants it.
    fn is_wanted(&self, state: &State) -> bool {
        let id = self.segment.id;
        let Some(now) = state.segment(id) else {
            return false;
        };
        let is_same = now.index.path == self.segment.index.path;
        (self.is_suspect && is_same) || indexing::lacking(state).any(|segment| segment.id == id)
    }
}

/// What came of building the index file of one segment.
pub(super) enum Built {
    /// It is committed; this is the state it made.
    Done(Arc<State>),
    /// The segment lacks nothing, or is gone.
    Nothing,
    /// Another node is at it.
    Busy,
}

impl Namespace {
    /// Sees to it that indexes which segments of a view lack are built, and those that are damaged built again, unless
    /// that is under way already.
    pub(super) fn consider_index_build(self: &Arc<Self>, view: &View) {
        let is_due = view.state.life == Life::Live && self.wants_index(view);
        if !is_due || self.shared.shutdown.is_triggered() {
            return;
        }
        self.take_up(
            |this| &this.builder.chore,
            |this| this.build_in_turn().boxed(),
        );
    }

    fn wants_index(&self, view: &View) -> bool {
        view.lacks_index() || self.builder.suspects.any()
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
        let is_over = gone || shutdown.is_triggered() || !self.wants_index(&self.view());
        self.builder.chore.end_step(!is_over)
    }

    /// Builds the index files of all segments that lack an index or have a damaged one, one after the other.
    ///
    /// Errors: of the first segment whose documents are damaged, after the others; any other at once. Documents
    /// are safe in either case.
    async fn build_indexes(self: &Arc<Self>) -> Result<()> {
        let mut tried: BTreeSet<SegmentId> = BTreeSet::new();
        let (mut newest, mut damage) = (None, None);
        if self.builder.suspects.any() {
            // Somebody else may have replaced them.
            self.current_view().await?;
        }
        while !self.shared.shutdown.is_triggered() {
            let view = self.view();
            let Some(wanting) = self.next_wanting(&view, &tried) else {
                break;
            };
            tried.insert(wanting.segment.id);
            match self.build_index(&wanting).await {
                Ok(Built::Done(state)) => newest = Some(state),
                Ok(Built::Nothing) => {}
                Ok(Built::Busy) => {
                    let now = self.shared.clock.monotonic_ms();
                    self.builder
                        .chore
                        .rest
                        .until(now.saturating_add(self.again_ms()));
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

    /// How long after another node was found at it the next look is, milliseconds.
    pub(super) fn again_ms(&self) -> u64 {
        self.shared.options.claim_patience_ms.max(LOOK_AGAIN_MS)
    }

    /// A segment of a view that was not tried: first those whose index file cannot be read.
    fn next_wanting(&self, view: &View, tried: &BTreeSet<SegmentId>) -> Option<Wanting> {
        let suspects = self.builder.suspects.of(&view.state);
        let mut suspects = suspects.into_iter().map(|segment| (segment, true));
        let mut lacking =
            indexing::lacking(&view.state).map(|segment| (Arc::clone(segment), false));
        let is_new = |(segment, _): &(Arc<Segment>, bool)| !tried.contains(&segment.id);
        let found = suspects.find(is_new).or_else(|| lacking.find(is_new));
        found.map(|(segment, is_suspect)| Wanting {
            segment,
            is_suspect,
        })
    }

    pub(super) async fn build_index(self: &Arc<Self>, wanting: &Wanting) -> Result<Built> {
        let began_ms = self.shared.clock.monotonic_ms();
        let segment = &wanting.segment;
        let id = segment.id;
        if wanting.is_suspect && !self.is_index_damaged(segment).await? {
            return Ok(Built::Nothing);
        }
        if self.is_claimed(ClaimKind::IndexBuild).await? {
            return Ok(Built::Busy);
        }
        // What cannot be read would fail after the claim, and cost the log two slots.
        let documents = match self.read_documents(segment).await {
            Err(error) if is_missing(&error) => match self.gone(error).await? {
                Gone::Lost(damage) => return Err(damage),
                Gone::Replaced(_) => return Ok(Built::Nothing),
            },
            read => read?,
        };
        let claimed = self.claim(ClaimKind::IndexBuild, |log| !wanting.is_wanted(&log.state));
        let (claim, view) = match claimed.await? {
            Claimed::Nothing(_) => return Ok(Built::Nothing),
            Claimed::Busy => return Ok(Built::Busy),
            Claimed::Ours(claim, view) => (claim, view),
        };
        let built = match view.state.segment(id) {
            Some(segment) => {
                self.build_under(claim, segment, &view.schema, documents)
                    .await
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
        if wanting.is_suspect {
            self.note_repaired(segment);
        }
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
        documents: Bytes,
    ) -> Result<Arc<State>> {
        let key = path::segment_index(self.id(), claim, 0);
        let work = {
            let (segment, schema) = (Arc::clone(segment), Arc::clone(schema));
            let key = key.clone();
            move || {
                let built = codec::reindex(&segment, &documents, &schema)?;
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

    /// Reads the whole of a segment's documents, which are proved by their hash.
    async fn read_documents(&self, segment: &Arc<Segment>) -> Result<Bytes> {
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
                Ok(()) => return Ok(bytes),
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
