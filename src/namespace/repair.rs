//! Index files that could not be read: suspected by whoever met the damage, proved to be damaged, and built again.
//!
//! A suspicion costs nothing but a look: the file is read whole once more, and only what is not what the state names
//! is replaced, by a new file and an entry of the log, never by other bytes under the same key. The build itself is
//! that of `index_build.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::handle::Namespace;
use super::index_build::{Built, Wanting};
use super::read::{Gone, is_missing};
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::{self as codec, Footer};
use crate::lsm::{Segment, SegmentId, State};
use crate::runtime::clock::sleep_ms;
use crate::segment::missing;

/// How long an index file that was found whole is not suspected again, milliseconds.
const WHOLE_MS: u64 = 60 * 1_000;
/// How often a file is read before it is called damaged: the fault may be on the way.
const READS_MAX: u32 = 2;
/// How often one that asks for a repair looks whether another node, which is at it, has ended.
const ASKED_LOOKS_MAX: u32 = 3;

/// Index files of live segments that somebody could not read.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The index file that each segment had then.
    open: BTreeMap<SegmentId, String>,
    /// Those that were found whole, and until when they are left alone, monotonic milliseconds.
    whole: BTreeMap<SegmentId, (String, u64)>,
}

impl Suspects {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.0.lock().open.is_empty()
    }

    /// Adds one, unless it was found whole lately. Whether it is there now.
    fn add(&self, segment: &Segment, now_ms: u64) -> bool {
        let mut known = self.0.lock();
        known.whole.retain(|_, (_, until_ms)| *until_ms > now_ms);
        let path = &segment.index.path;
        if known
            .whole
            .get(&segment.id)
            .is_some_and(|(whole, _)| whole == path)
        {
            return false;
        }
        known.open.insert(segment.id, path.clone());
        true
    }

    /// The segments of a state that have a suspected file; others are forgotten: they were merged, or have another.
    pub(super) fn of(&self, state: &State) -> Vec<Arc<Segment>> {
        let mut known = self.0.lock();
        let mut found = Vec::new();
        known.open.retain(|id, path| match state.segment(*id) {
            Some(segment) if segment.index.path == *path => {
                found.push(Arc::clone(segment));
                true
            }
            _ => false,
        });
        found
    }

    fn clear(&self, segment: &Segment) {
        self.0.lock().open.remove(&segment.id);
    }

    fn clear_for(&self, segment: &Segment, until_ms: u64) {
        let mut known = self.0.lock();
        known.open.remove(&segment.id);
        let whole = (segment.index.path.clone(), until_ms);
        known.whole.insert(segment.id, whole);
    }
}

/// What came of a request to build one index file again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rebuilt {
    /// There is a new one.
    Done,
    /// It is whole, or the newest state does not refer to it.
    Nothing,
}

impl Namespace {
    /// Has the index file built again that an error says cannot be read, if a live segment has it. Returns at once.
    pub(super) fn consider_repair(self: &Arc<Self>, error: &Error) {
        if error.kind() != ErrorKind::Corrupted && !is_missing(error) {
            return;
        }
        let Some(object) = error.detail("object") else {
            return;
        };
        let view = self.view();
        let mut segments = view.state.segments.iter();
        let Some(segment) = segments.find(|segment| segment.index.path == object) else {
            return;
        };
        let now = self.shared.clock.monotonic_ms();
        if self.builder.suspects.add(segment, now) {
            self.consider_index_build(&view);
        }
    }

    /// Whether a suspected index file is damaged or gone: then it is told and marked. Errors: `Unavailable` of the store.
    pub(super) async fn is_index_damaged(&self, segment: &Arc<Segment>) -> Result<bool> {
        let found = self.damage_of_index(segment).await?;
        match &found {
            Some(damage) => self.shared.note_damage(damage),
            None => {
                let now = self.shared.clock.monotonic_ms();
                let until_ms = now.saturating_add(WHOLE_MS);
                self.builder.suspects.clear_for(segment, until_ms);
            }
        }
        Ok(found.is_some())
    }

    async fn damage_of_index(&self, segment: &Arc<Segment>) -> Result<Option<Error>> {
        let file = &segment.index;
        let mut reads = 0;
        loop {
            let found = self.shared.bucket.get(&file.path).await?.into_bytes();
            reads += 1;
            let Some(bytes) = found else {
                return Ok(match self.gone(missing(&file.path)).await? {
                    Gone::Lost(damage) => Some(damage),
                    Gone::Replaced(_) => None,
                });
            };
            let segment = Arc::clone(segment);
            let prove = move || {
                let file = &segment.index;
                codec::prove_whole(file, &bytes)?;
                let start = usize::try_from(segment.footer.offset).unwrap_or(usize::MAX);
                let footer = bytes.get(start..).unwrap_or_default();
                Footer::open(&file.path, &segment.footer, footer).map(drop)
            };
            match self.shared.compute.run_background(prove).await? {
                Ok(()) => return Ok(None),
                Err(error) if reads < READS_MAX => {
                    tracing::debug!(namespace = %self.name, error = %error.chain(), "index is read once more");
                }
                Err(error) if error.kind() == ErrorKind::Corrupted => return Ok(Some(error)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes that a segment has another index file in place of the damaged one.
    pub(super) fn note_repaired(&self, damaged: &Segment) {
        self.builder.suspects.clear(damaged);
        self.compactor.forget_damaged(damaged.id);
        self.shared.metrics.index_build.repairs_total.inc();
        tracing::warn!(
            namespace = %self.name,
            segment = %damaged.id,
            object_key = %damaged.index.path,
            "index could not be read, it was built again from the documents"
        );
    }

    /// Builds one index file again, where it is damaged, and waits for it.
    ///
    /// Errors: `Corrupted` naming documents that are damaged too; `Unavailable`, also where another node is at it.
    pub(super) async fn rebuild_index(self: &Arc<Self>, index: &str) -> Result<Rebuilt> {
        let turn = self.shared.index_builds.acquire().await;
        let _turn = turn.map_err(|_| Error::unavailable("the server is shutting down"))?;
        for looks in 0..ASKED_LOOKS_MAX {
            if looks > 0 {
                sleep_ms(self.again_ms()).await;
            }
            let view = self.current_view().await?;
            let mut segments = view.state.segments.iter();
            let Some(segment) = segments.find(|segment| segment.index.path == index) else {
                return Ok(Rebuilt::Nothing);
            };
            let wanting = Wanting {
                segment: Arc::clone(segment),
                is_suspect: true,
            };
            match self.build_index(&wanting).await? {
                Built::Done(state) => {
                    self.put_manifest(&state).await;
                    return Ok(Rebuilt::Done);
                }
                Built::Nothing => return Ok(Rebuilt::Nothing),
                Built::Busy => {}
            }
        }
        Err(Error::unavailable(format!(
            "an index of namespace `{}` is being built by another node",
            self.name
        )))
    }
}
