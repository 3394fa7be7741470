//! What a namespace is made of, for whoever looks after it.

use super::describe::{SegmentStats, Stats};
use super::handle::View;
use super::options::Compaction;
use super::read::Answer;
use super::{Engine, TRIES_MAX, counted, restless};
use crate::error::Result;
use crate::lsm::entry::ClaimKind;
use crate::lsm::{Policy, State, pick};
use crate::types::{AttributeType, NamespaceName};

impl Engine {
    /// Tells what a namespace is made of, strongly consistent. Errors: `NotFound`, `Unavailable`. Cancel safe.
    pub async fn stats(&self, name: &NamespaceName) -> Result<Stats> {
        for _ in 0..TRIES_MAX {
            let namespace = self.find(name).await?;
            let counted = counted(&namespace).await;
            match self.shared.noted(counted)? {
                Answer::Is((view, rows, _)) => {
                    let merging = view.state.settings().merging;
                    let compaction = self.shared.options.compaction.of(&merging);
                    return Ok(of(&view, rows, compaction));
                }
                Answer::Dropped => self.registry.forget(&namespace),
            }
        }
        Err(restless(name))
    }
}

/// `rows`: those that live in segments.
fn of(view: &View, rows: u64, compaction: Compaction) -> Stats {
    let state = &view.state;
    let vectors = state.schema.attributes.iter();
    let dimensions = vectors.filter_map(|(name, attribute)| match attribute.kind {
        AttributeType::Vector { dims, .. } => Some((name.clone(), dims)),
        _ => None,
    });
    let blocks = state.blocks.iter();
    let claims = state.claims.iter();
    Stats {
        seq: state.seq,
        flushed_seq: state.flushed_seq,
        dimensions: dimensions.collect(),
        segments: of_segments(state, rows, &compaction.policy),
        tail_rows: view.tail.live_rows,
        tail_bytes: view.tail.live_bytes,
        tail_memory_bytes: view.tail.memory_bytes,
        wal_blocks: (
            state.blocks.len() as u64,
            blocks.map(|block| block.bytes).sum(),
        ),
        floor: state.floor,
        claims: claims.map(|(seq, of)| (*seq, named(*of))).collect(),
        debt_bytes: pick::debt(state, &compaction.policy),
        compaction,
    }
}

fn of_segments(state: &State, rows: u64, policy: &Policy) -> SegmentStats {
    let mut stats = SegmentStats {
        count: state.segments.len() as u64,
        rows,
        ..SegmentStats::default()
    };
    let mut all_rows = 0;
    for segment in &state.segments {
        all_rows += segment.rows;
        stats.document_bytes += segment.parquet.bytes;
        stats.index_bytes += segment.index.bytes;
        stats.logical_bytes += segment.logical_bytes;
        let level = stats.levels.entry(policy.level(segment)).or_default();
        level.segments += 1;
        level.rows += segment.live_rows();
        level.logical_bytes += segment.live_bytes();
    }
    stats.deleted_rows = all_rows.saturating_sub(rows);
    stats
}

fn named(claim: ClaimKind) -> &'static str {
    match claim {
        ClaimKind::Flush => "flush",
        ClaimKind::Write => "write",
        ClaimKind::IndexBuild => "index_build",
        ClaimKind::Compact => "compact",
    }
}
