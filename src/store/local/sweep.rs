//! Removing what crashes left behind: unfinished files that nobody will finish.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::key;

/// Age from which an unfinished file counts as left behind, by the file system's own clock: far longer than
/// any write takes. A live writer that is slower all the same loses nothing: its `link` or `rename` then
/// finds no file, and the operation is refused without having changed anything.
pub(super) const STALE: Duration = Duration::from_secs(60 * 60);
/// Directory entries looked at in one sweep.
pub(super) const ENTRIES_MAX: u64 = 10_000_000;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Unfinished files removed.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Unfinished files too young to be touched.
    pub young: u64,
    /// Files and directories that could not be read or removed.
    pub failed: u64,
    /// Directory entries looked at.
    pub entries: u64,
}

/// Directories still to visit, with how many levels may lie below each.
#[derive(Debug)]
pub(super) struct Sweep {
    now: SystemTime,
    todo: Vec<(PathBuf, usize)>,
    swept: Swept,
}

impl Sweep {
    /// Begins at `root`; `now` is the file system's clock.
    pub(super) fn new(root: &Path, now: SystemTime) -> Self {
        Self {
            now,
            todo: vec![(root.to_owned(), key::KEY_PARTS_MAX)],
            swept: Swept::default(),
        }
    }

    /// Visits one directory; gives the result once there is no more.
    pub(super) fn step(&mut self) -> Option<Swept> {
        let Some((dir, depth)) = self.todo.pop() else {
            return Some(self.swept);
        };
        let Ok(entries) = fs::read_dir(&dir) else {
            self.swept.failed += 1;
            return None;
        };
        for entry in entries {
            if self.swept.entries >= ENTRIES_MAX {
                return Some(self.swept);
            }
            self.swept.entries += 1;
            let Ok(entry) = entry else {
                self.swept.failed += 1;
                continue;
            };
            // Of the entry itself: links are not followed.
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let name = entry.file_name();
            let unfinished = name
                .to_str()
                .is_some_and(|name| name.starts_with(key::TEMP_PREFIX));
            if kind.is_dir() && !unfinished && depth > 1 {
                self.todo.push((entry.path(), depth - 1));
            } else if kind.is_file() && unfinished {
                self.remove_if_stale(&entry);
            }
        }
        None
    }

    fn remove_if_stale(&mut self, entry: &fs::DirEntry) {
        // Gone already: its writer has finished.
        let Ok(metadata) = entry.metadata() else {
            return;
        };
        let age = metadata
            .modified()
            .ok()
            .and_then(|then| self.now.duration_since(then).ok());
        if age.is_none_or(|age| age < STALE) {
            self.swept.young += 1;
        } else if fs::remove_file(entry.path()).is_ok() {
            self.swept.removed += 1;
            self.swept.bytes += metadata.len();
        } else {
            self.swept.failed += 1;
        }
    }
}
