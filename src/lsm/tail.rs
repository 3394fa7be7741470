//! The tail: committed rows that are in no segment yet, in memory, always searched.
//!
//! Rows lie in immutable chunks. A commit adds a small chunk; neighbours are merged while the left one is
//! no larger than the right one, so a row is copied O(log n) times and chunks stay few. Each row carries
//! the sequence that bore it and, once superseded, the one that killed it: a view at sequence s sees the
//! rows with born <= s < dead. Chunks that a view holds are never changed but for later deaths, which it
//! does not see, so readers take no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch};

use crate::error::Result;
use crate::rows;
use crate::types::{DocId, NamespaceSchema, WalSeq, limits};

/// The `dead` of a row that lives.
const ALIVE: u64 = u64::MAX;

/// Some rows of the tail, in commit order.
#[derive(Debug)]
pub struct Chunk {
    first_ordinal: u64,
    rows: RecordBatch,
    born: Box<[u64]>,
    dead: Box<[AtomicU64]>,
}

impl Chunk {
    fn new(first_ordinal: u64, rows: RecordBatch, born: WalSeq) -> Self {
        let n = rows.num_rows();
        Self {
            first_ordinal,
            rows,
            born: vec![born.0; n].into(),
            dead: (0..n).map(|_| AtomicU64::new(ALIVE)).collect(),
        }
    }

    /// The documents, in the layout of the schema when they were written.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Rows, live or not.
    pub fn len(&self) -> usize {
        self.born.len()
    }

    /// Whether there are none; never in a tail.
    pub fn is_empty(&self) -> bool {
        self.born.is_empty()
    }

    /// Whether a view at `seq` sees the row.
    pub fn is_visible(&self, row: usize, seq: WalSeq) -> bool {
        self.born.get(row).is_some_and(|born| *born <= seq.0)
            && self.dead[row].load(Ordering::Acquire) > seq.0
    }

    fn merge(left: &Self, right: &Self, schema: &NamespaceSchema) -> Result<Self> {
        let rows = rows::concat(&[left.rows.clone(), right.rows.clone()], schema)?;
        let deaths = left.dead.iter().chain(&right.dead);
        Ok(Self {
            first_ordinal: left.first_ordinal,
            rows,
            born: left.born.iter().chain(&right.born).copied().collect(),
            dead: deaths
                .map(|dead| AtomicU64::new(dead.load(Ordering::Acquire)))
                .collect(),
        })
    }
}

/// What a reader sees of the tail: chunks and totals at one sequence.
#[derive(Debug, Clone, Default)]
pub struct TailView {
    /// The state seen.
    pub seq: WalSeq,
    /// All chunks, in commit order.
    pub chunks: Arc<[Arc<Chunk>]>,
    /// Live rows.
    pub live_rows: u64,
    /// Logical bytes of the live rows.
    pub live_bytes: u64,
    /// Memory held, bytes.
    pub memory_bytes: u64,
}

/// The writer's side: chunks, and where each id lives.
#[derive(Debug, Default)]
pub struct Tail {
    chunks: Vec<Arc<Chunk>>,
    index: HashMap<DocId, u64>,
    next_ordinal: u64,
    live_bytes: u64,
    memory_bytes: u64,
}

impl Tail {
    /// Applies the rows of the write entry at `seq`; `schema` is the one after it.
    ///
    /// Errors: `Corrupted` if the rows do not fit the schema; the tail must be discarded then.
    pub fn apply(
        &mut self,
        seq: WalSeq,
        upserts: Option<&RecordBatch>,
        deletes: Option<&ArrayRef>,
        schema: &NamespaceSchema,
    ) -> Result<()> {
        if let Some(ids) = deletes {
            for row in 0..ids.len() {
                if let Some(ordinal) = self.index.remove(&rows::id_at(ids, row)) {
                    self.kill(ordinal, seq);
                }
            }
        }
        let Some(batch) = upserts else { return Ok(()) };
        let mut start = 0;
        while start < batch.num_rows() {
            let n = (batch.num_rows() - start).min(limits::CHUNK_ROWS_MAX);
            self.push(seq, rows::align(&batch.slice(start, n), schema)?);
            start += n;
        }
        self.merge_small(schema)
    }

    fn push(&mut self, seq: WalSeq, batch: RecordBatch) {
        let first_ordinal = self.next_ordinal;
        self.next_ordinal += batch.num_rows() as u64;
        self.live_bytes += rows::logical_bytes(&batch);
        self.memory_bytes += rows::memory_bytes(&batch) as u64;
        let ids = Arc::clone(rows::id_column(&batch));
        self.chunks
            .push(Arc::new(Chunk::new(first_ordinal, batch, seq)));
        for row in 0..ids.len() {
            let ordinal = first_ordinal + row as u64;
            if let Some(old) = self.index.insert(rows::id_at(&ids, row), ordinal) {
                self.kill(old, seq);
            }
        }
    }

    fn kill(&mut self, ordinal: u64, seq: WalSeq) {
        let Some((chunk, row)) = self.locate(ordinal) else {
            return;
        };
        let bytes = rows::row_bytes(&chunk.rows, row);
        chunk.dead[row].store(seq.0, Ordering::Release);
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
    }

    fn merge_small(&mut self, schema: &NamespaceSchema) -> Result<()> {
        while let [.., left, right] = self.chunks.as_slice() {
            let fits = left.len() + right.len() <= limits::CHUNK_ROWS_MAX;
            if left.len() > right.len() || !fits {
                break;
            }
            let merged = Chunk::merge(left, right, schema)?;
            let before = rows::memory_bytes(&left.rows) + rows::memory_bytes(&right.rows);
            let after = rows::memory_bytes(&merged.rows) as u64;
            self.memory_bytes = (self.memory_bytes + after).saturating_sub(before as u64);
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(Arc::new(merged));
        }
        Ok(())
    }

    fn locate(&self, ordinal: u64) -> Option<(&Arc<Chunk>, usize)> {
        let after = self
            .chunks
            .partition_point(|chunk| chunk.first_ordinal <= ordinal);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        let row = usize::try_from(ordinal - chunk.first_ordinal).ok()?;
        (row < chunk.len()).then_some((chunk, row))
    }

    /// The current document of an id, as a batch of one row; `None` where there is none.
    ///
    /// Errors: `Internal` if the row cannot be copied.
    pub fn get(&self, id: &DocId) -> Result<Option<RecordBatch>> {
        let located = self.index.get(id).and_then(|ordinal| self.locate(*ordinal));
        located
            .map(|(chunk, row)| rows::take_rows(&chunk.rows, &[row as u32]))
            .transpose()
    }

    /// What a reader at `seq`, the newest sequence applied, sees.
    pub fn view(&self, seq: WalSeq) -> TailView {
        TailView {
            seq,
            chunks: self.chunks.clone().into(),
            live_rows: self.index.len() as u64,
            live_bytes: self.live_bytes,
            memory_bytes: self.memory_bytes,
        }
    }

    /// Memory held, bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}
