//! One fetch for all who want a block at the same time.
//!
//! A flight is a future that its readers share: whichever of them is polled drives it, so it goes on when
//! the reader that began it is dropped, and ends with the last one. While it is under way its blocks are
//! in the table; they are in memory before they leave it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

use super::coalesce::{Piece, PieceLimits, coalesce};
use super::{Admission, BlockKey, CachedFile, Inner, fetch};
use crate::error::Error;
use crate::store::count::RequestCounter;

/// The wanted blocks of one piece, proved; or why there are none.
pub(super) type Landed = Result<Arc<[(u32, Bytes)]>, Arc<Error>>;

/// A flight that somebody waits for.
pub(super) type Wait = Shared<BoxFuture<'static, Landed>>;

/// A block and the object it is read from: a file that is missing under one name may be there under
/// another.
type FlightKey = (BlockKey, Arc<str>);

/// The flights under way, by block.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    n_begun: u64,
    by_block: BTreeMap<FlightKey, Flight>,
}

#[cfg(test)]
impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().by_block.is_empty()
    }
}

#[derive(Clone)]
struct Flight {
    id: u64,
    wait: WeakShared<BoxFuture<'static, Landed>>,
    keep: Arc<AtomicBool>,
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Takes the blocks of a flight out of the table when it ends, also when it is dropped before.
struct Landing {
    inner: Arc<Inner>,
    id: u64,
    keys: Vec<FlightKey>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut table = self.inner.flights.0.lock();
        for key in self.keys.drain(..) {
            // Another flight may have begun after the last reader of this one went away.
            if let Entry::Occupied(entry) = table.by_block.entry(key)
                && entry.get().id == self.id
            {
                entry.remove();
            }
        }
    }
}

/// Returns the flights to wait for `absent` blocks (ascending) of a file: those under way, and new ones
/// for the rest. Blocks that came into memory meanwhile are put into `found`.
///
/// The table's lock is held throughout, and nothing shared is dropped under it: the last reader's drop
/// takes the same lock.
pub(super) fn join_or_start(
    inner: &Arc<Inner>,
    file: &CachedFile,
    absent: &[u32],
    admission: Admission,
    found: &mut BTreeMap<u32, Bytes>,
) -> Vec<Wait> {
    let mut joined: BTreeMap<u64, Wait> = BTreeMap::new();
    let mut alone = Vec::new();
    let mut n_joined = 0;
    let mut table = inner.flights.0.lock();
    for &block in absent {
        let key = (file.key(block), Arc::clone(&file.path));
        if let Some(flight) = table.by_block.get(&key)
            && join(&mut joined, flight)
        {
            n_joined += 1;
            if admission == Admission::Keep {
                flight.keep.store(true, Ordering::Relaxed);
            }
        } else if let Some(bytes) = inner.memory.get(&key.0) {
            found.insert(block, bytes);
        } else {
            alone.push(block);
        }
    }
    let mut waits: Vec<Wait> = joined.into_values().collect();
    for piece in coalesce(&alone, PieceLimits::CACHE) {
        waits.push(start(inner, &mut table, file, piece, admission));
    }
    drop(table);
    inner
        .metrics
        .observe_read(found.len(), n_joined, alone.len());
    waits
}

/// Joins a flight once; false where its last reader has just gone away.
fn join(joined: &mut BTreeMap<u64, Wait>, flight: &Flight) -> bool {
    match joined.entry(flight.id) {
        Entry::Occupied(_) => true,
        Entry::Vacant(entry) => match flight.wait.upgrade() {
            Some(wait) => {
                entry.insert(wait);
                true
            }
            None => false,
        },
    }
}

fn start(
    inner: &Arc<Inner>,
    table: &mut Table,
    file: &CachedFile,
    piece: Piece,
    admission: Admission,
) -> Wait {
    table.n_begun += 1;
    let id = table.n_begun;
    let keys: Vec<FlightKey> = piece
        .wanted
        .iter()
        .map(|block| (file.key(*block), Arc::clone(&file.path)))
        .collect();
    let keep = Arc::new(AtomicBool::new(admission == Admission::Keep));
    let landing = Landing {
        inner: Arc::clone(inner),
        id,
        keys: keys.clone(),
    };
    let wait = counted(fly(landing, file.clone(), piece, Arc::clone(&keep))).shared();
    let Some(weak) = wait.downgrade() else {
        // Only a future that has ended cannot be watched, and this one was never polled.
        return wait;
    };
    for key in keys {
        let flight = Flight {
            id,
            wait: weak.clone(),
            keep: Arc::clone(&keep),
        };
        table.by_block.insert(key, flight);
    }
    wait
}

async fn fly(landing: Landing, file: CachedFile, piece: Piece, keep: Arc<AtomicBool>) -> Landed {
    let inner = &landing.inner;
    let blocks = fetch::fetch(inner, &file, &piece).await.map_err(Arc::new)?;
    if keep.load(Ordering::Relaxed) {
        for (block, bytes) in &blocks {
            inner.memory.insert(file.key(*block), bytes.clone());
        }
        inner
            .metrics
            .used_bytes
            .set(inner.memory.used_bytes() as i64);
    }
    // Only now does the landing take the blocks out of the table: nobody finds them in neither place.
    drop(landing);
    Ok(blocks.into())
}

/// Whoever drives the flight, its requests are counted for the one who began it.
fn counted(flight: impl Future<Output = Landed> + Send + 'static) -> BoxFuture<'static, Landed> {
    match RequestCounter::current() {
        Some(counter) => async move { counter.scope(flight).await }.boxed(),
        None => flight.boxed(),
    }
}
