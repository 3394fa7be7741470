//! The tail: committed rows that are in no segment yet, in memory, always searched.
//!
//! Rows lie in immutable chunks. A commit adds a small chunk; neighbours are merged while the left one is
//! small and no larger than the right one, so a row is copied O(log n) times and chunks stay few. Each row carries
//! the sequence that bore it and, once superseded, the one that killed it: a view at sequence s sees the
//! rows with born <= s < dead. Chunks that a view holds are never changed but for later deaths, which it
//! does not see, so readers take no lock.
//!
//! Ids that entries of the tail touched may also lie in segments, where their rows are gone then: the tail
//! remembers which, in the order of the log.
//!
//! Its bytes in memory are those of the rows and of all that is kept for each of them: when it was born and
//! died, its place in the index of ids, its id as one that was touched (`weight.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch};
use parking_lot::RwLock;

use super::weight;
use crate::error::{Error, Result};
use crate::rows;
use crate::types::{DocId, NamespaceSchema, RowMap, WalSeq, limits};

/// Chunks of so many rows are left alone: a scan gains nothing from larger ones, and a commit of many rows is
/// not copied.
const CHUNK_ROWS_ENOUGH: usize = limits::CHUNK_ROWS_MAX / 8;

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

    fn memory_bytes(&self) -> u64 {
        let each = size_of::<u64>() + size_of::<AtomicU64>();
        (rows::memory_bytes(&self.rows) + self.len() * each + size_of::<Self>()) as u64
    }

    /// Whether a view at `seq` sees the row.
    pub fn is_visible(&self, row: usize, seq: WalSeq) -> bool {
        self.born.get(row).is_some_and(|born| *born <= seq.0)
            && self.dead[row].load(Ordering::Acquire) > seq.0
    }

    /// The rows that a view at `seq` sees.
    fn visible_rows(&self, seq: WalSeq) -> Vec<u32> {
        let rows = (0..self.len()).filter(|row| self.is_visible(*row, seq));
        rows.map(|row| row as u32).collect()
    }

    /// The rows born after `seq` that still live, as a chunk that begins at `first_ordinal`; `None` if there
    /// are none.
    fn born_after(&self, seq: WalSeq, first_ordinal: u64) -> Result<Option<Self>> {
        let later = |row: &u32| {
            let row = *row as usize;
            self.born[row] > seq.0 && self.dead[row].load(Ordering::Acquire) == ALIVE
        };
        let rows: Vec<u32> = (0..self.len() as u32).filter(later).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            first_ordinal,
            rows: rows::take_rows(&self.rows, &rows)?,
            born: rows.iter().map(|row| self.born[*row as usize]).collect(),
            dead: rows.iter().map(|_| AtomicU64::new(ALIVE)).collect(),
        }))
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

/// Ids that entries of the tail touched, in the order of the log. Grows while views hold it.
#[derive(Debug, Default)]
pub struct Touched(RwLock<Vec<(WalSeq, ArrayRef)>>);

impl Touched {
    /// Lists what entries with `after < seq <= up_to` touched: the entry, its ids as an id column.
    pub fn between(&self, after: WalSeq, up_to: WalSeq) -> Vec<(WalSeq, ArrayRef)> {
        let all = self.0.read();
        let from = all.partition_point(|(seq, _)| *seq <= after);
        let to = all.partition_point(|(seq, _)| *seq <= up_to);
        all.get(from..to).unwrap_or_default().to_vec()
    }

    fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// Remembers ids, and gives the memory that takes.
    fn push(&self, seq: WalSeq, ids: &ArrayRef) -> Result<u64> {
        let ids = rows::detached(ids)?;
        let bytes = weight::ids(&ids);
        self.0.write().push((seq, ids));
        Ok(bytes)
    }
}

/// What the tail knows of an id.
#[derive(Debug, Clone)]
pub enum Latest {
    /// Its document, as a batch of one row.
    Document(RecordBatch),
    /// It is deleted.
    Deleted,
    /// Nothing: segments may have it.
    Unknown,
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
    /// Ids touched after the last flush.
    pub touched: Arc<Touched>,
}

impl TailView {
    /// Whether entries after the last flush touched any document.
    pub fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The rows that this view sees, in commit order. Errors: `Internal` if they cannot be copied.
    pub fn visible(&self) -> Result<Vec<RecordBatch>> {
        let chunks = self.chunks.iter().map(|chunk| {
            let rows = chunk.visible_rows(self.seq);
            match rows.len() {
                0 => Ok(None),
                n if n == chunk.len() => Ok(Some(chunk.rows.clone())),
                _ => rows::take_rows(&chunk.rows, &rows).map(Some),
            }
        });
        chunks.filter_map(Result::transpose).collect()
    }
}

/// Where the tail has an id.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Its row.
    Row(u64),
    /// Deleted by this entry.
    Gone(WalSeq),
}

/// The writer's side: chunks, and where each id lives.
#[derive(Debug, Default)]
pub struct Tail {
    chunks: Vec<Arc<Chunk>>,
    index: RowMap<DocId, Place>,
    touched: Arc<Touched>,
    live_rows: u64,
    next_ordinal: u64,
    live_bytes: u64,
    chunk_bytes: u64,
    touched_bytes: u64,
    /// What the ids in the index hold beside the table.
    index_id_bytes: u64,
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
            self.touched_bytes += self.touched.push(seq, ids)?;
            for row in 0..ids.len() {
                let before = self.place(rows::id_at(ids, row), Place::Gone(seq));
                self.supersede(before, seq);
            }
        }
        let Some(batch) = upserts else { return Ok(()) };
        let mut start = 0;
        while start < batch.num_rows() {
            let n = (batch.num_rows() - start).min(limits::CHUNK_ROWS_MAX);
            self.push(seq, rows::align(&batch.slice(start, n), schema)?)?;
            start += n;
        }
        self.merge_small(schema)
    }

    fn push(&mut self, seq: WalSeq, batch: RecordBatch) -> Result<()> {
        let first_ordinal = self.next_ordinal;
        self.next_ordinal += batch.num_rows() as u64;
        self.live_bytes += rows::logical_bytes(&batch);
        self.live_rows += batch.num_rows() as u64;
        let ids = Arc::clone(rows::id_column(&batch));
        self.touched_bytes += self.touched.push(seq, &ids)?;
        let chunk = Chunk::new(first_ordinal, batch, seq);
        self.chunk_bytes += chunk.memory_bytes();
        self.chunks.push(Arc::new(chunk));
        for row in 0..ids.len() {
            let place = Place::Row(first_ordinal + row as u64);
            let before = self.place(rows::id_at(&ids, row), place);
            self.supersede(before, seq);
        }
        Ok(())
    }

    /// Notes where an id lives; gives where it did.
    fn place(&mut self, id: DocId, place: Place) -> Option<Place> {
        let bytes = weight::id(&id);
        let before = self.index.insert(id, place);
        if before.is_none() {
            self.index_id_bytes += bytes;
        }
        before
    }

    fn supersede(&mut self, before: Option<Place>, seq: WalSeq) {
        let Some(Place::Row(ordinal)) = before else {
            return;
        };
        let Some((chunk, row)) = self.locate(ordinal) else {
            return;
        };
        let bytes = rows::row_bytes(&chunk.rows, row);
        chunk.dead[row].store(seq.0, Ordering::Release);
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
        self.live_rows = self.live_rows.saturating_sub(1);
    }

    /// Lets go of what a flush has moved into segments: all that entries up to `up_to` did. Views that hold
    /// it keep it.
    ///
    /// Errors: `Internal` if rows cannot be copied; the tail must be discarded then.
    pub fn forget(&mut self, up_to: WalSeq, schema: &NamespaceSchema) -> Result<()> {
        let old = std::mem::take(self);
        let rest = old.touched.between(up_to, WalSeq(u64::MAX));
        self.touched_bytes = rest.iter().map(|(_, ids)| weight::ids(ids)).sum();
        self.touched = Arc::new(Touched(RwLock::new(rest)));
        let gone = old.index.into_iter().filter(|(_, place)| match place {
            Place::Row(_) => false,
            Place::Gone(seq) => *seq > up_to,
        });
        for (id, place) in gone {
            self.place(id, place);
        }
        for chunk in &old.chunks {
            if let Some(chunk) = chunk.born_after(up_to, self.next_ordinal)? {
                self.adopt_chunk(chunk);
                self.merge_small(schema)?;
            }
        }
        Ok(())
    }

    fn adopt_chunk(&mut self, chunk: Chunk) {
        self.next_ordinal += chunk.len() as u64;
        self.chunk_bytes += chunk.memory_bytes();
        self.live_rows += chunk.len() as u64;
        self.live_bytes += rows::logical_bytes(&chunk.rows);
        let ids = rows::id_column(&chunk.rows);
        for row in 0..ids.len() {
            let place = Place::Row(chunk.first_ordinal + row as u64);
            self.place(rows::id_at(ids, row), place);
        }
        self.chunks.push(Arc::new(chunk));
    }

    fn merge_small(&mut self, schema: &NamespaceSchema) -> Result<()> {
        while let [.., left, right] = self.chunks.as_slice() {
            let fits = left.len() + right.len() <= limits::CHUNK_ROWS_MAX;
            if left.len() > right.len() || left.len() >= CHUNK_ROWS_ENOUGH || !fits {
                break;
            }
            let merged = Chunk::merge(left, right, schema)?;
            let before = left.memory_bytes() + right.memory_bytes();
            self.chunk_bytes = (self.chunk_bytes + merged.memory_bytes()).saturating_sub(before);
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

    /// What the tail knows of an id.
    ///
    /// Errors: `Internal` if the row cannot be copied.
    pub fn get(&self, id: &DocId) -> Result<Latest> {
        match self.index.get(id) {
            None => Ok(Latest::Unknown),
            Some(Place::Gone(_)) => Ok(Latest::Deleted),
            Some(Place::Row(ordinal)) => match self.locate(*ordinal) {
                Some((chunk, row)) => {
                    rows::take_rows(&chunk.rows, &[row as u32]).map(Latest::Document)
                }
                None => Err(Error::internal("a row of the tail is not in its chunk")),
            },
        }
    }

    /// What a reader at `seq`, the newest sequence applied, sees.
    pub fn view(&self, seq: WalSeq) -> TailView {
        TailView {
            seq,
            chunks: self.chunks.clone().into(),
            live_rows: self.live_rows,
            live_bytes: self.live_bytes,
            memory_bytes: self.memory_bytes(),
            touched: Arc::clone(&self.touched),
        }
    }

    /// Whether entries after the last flush touched any document.
    pub fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Memory held, bytes: rows, what is kept of each, and the index of ids.
    pub fn memory_bytes(&self) -> u64 {
        let table = weight::table::<DocId, Place>(self.index.capacity());
        self.chunk_bytes + self.touched_bytes + self.index_id_bytes + table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::RowsBuilder;
    use crate::types::IdKind;

    fn schema() -> NamespaceSchema {
        NamespaceSchema {
            id_kind: Some(IdKind::String),
            ..NamespaceSchema::default()
        }
    }

    fn id(n: u64) -> DocId {
        DocId::String(format!("a document of the name {n}").into())
    }

    /// Every structure weighed again, one by one.
    fn walked(tail: &Tail) -> u64 {
        let chunks = tail.chunks.iter().map(|chunk| chunk.memory_bytes());
        let touched = tail.touched.between(WalSeq(0), WalSeq(u64::MAX));
        let touched = touched.iter().map(|(_, ids)| weight::ids(ids));
        let mut total = chunks.sum::<u64>() + touched.sum::<u64>();
        for n in 0..2_000 {
            if tail.index.contains_key(&id(n)) {
                total += weight::id(&id(n));
            }
        }
        total + weight::table::<DocId, Place>(tail.index.capacity())
    }

    #[test]
    fn memory_of_a_tail_is_that_of_all_it_holds_whatever_was_done_to_it() {
        let (schema, mut tail) = (schema(), Tail::default());
        for seq in 1..=300_u64 {
            let some = (0..1 + seq % 7).map(|n| (seq * 31 + n * 7) % 2_000);
            if seq % 5 == 0 {
                let gone: Vec<DocId> = some.map(id).collect();
                let gone = rows::id_array(IdKind::String, &gone).expect("ids");
                let applied = tail.apply(WalSeq(seq), None, Some(&gone), &schema);
                applied.expect("applied");
            } else {
                let mut builder = RowsBuilder::new(&schema, 8);
                some.for_each(|n| builder.end_row(id(n)));
                let rows = builder.finish().expect("rows").1;
                let applied = tail.apply(WalSeq(seq), Some(&rows), None, &schema);
                applied.expect("applied");
            }
            if seq % 97 == 0 {
                tail.forget(WalSeq(seq - 20), &schema).expect("forgotten");
            }
            assert_eq!(tail.memory_bytes(), walked(&tail), "after {seq}");
        }
        // The id of a row lies in its chunk, in the list of touched ones and in the index.
        let least = tail.live_rows * (3 * 24 + size_of::<(DocId, Place)>() as u64 + 16);
        assert!(tail.memory_bytes() > least, "{}", tail.memory_bytes());
        tail.forget(WalSeq(300), &schema).expect("forgotten");
        assert_eq!(tail.memory_bytes(), 0);
    }
}
