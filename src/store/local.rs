//! A local directory as a bucket.
//!
//! A create is: a temporary file beside the final name, fsync, `link(2)` to the final name, fsync of the
//! directory, unlink of the temporary name. `link` is the put-if-absent; the two fsyncs make it durable.
//! Directories are made durable before they are used, also those another process may just have made:
//! a directory counts as durable only once this process has synced its parent. Directories are never
//! removed, so that none disappears under a create. A directory that could not be synced after a link is
//! in doubt: nothing in it is read until a sync of it succeeds, so that no create is called ours by an
//! entry that a power loss may still take. Temporary files that a crash left are removed by `sweep` an
//! hour later. Everything runs on the blocking pool, one task an
//! operation, and a dropped future does not stop it half-way.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind as IoKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Bucket, CreateOutcome, Fetched, GetOutcome, Listed, StoreError, StoreKind, key};
use crate::error::{Error, Result};
use crate::runtime::FailPoint;
use crate::runtime::failpoint::{self, Arrival};
use crate::types::Timestamp;

mod sweep;
mod walk;

use sweep::Sweep;
pub use sweep::Swept;

/// Directories remembered as durable; beyond it all are forgotten, which costs fsyncs and no more.
const DURABLE_DIRS_MAX: usize = 65_536;
/// Tries to find a free temporary name.
const TEMP_TRIES_MAX: u32 = 1_000;

/// A bucket in a local directory.
#[derive(Debug)]
pub struct LocalBucket {
    disk: Arc<Disk>,
    url: String,
}

impl LocalBucket {
    /// Opens a directory, making it where it is missing.
    ///
    /// Errors: `Unavailable` with the reason of the operating system.
    #[allow(
        clippy::disallowed_methods,
        reason = "a tag that differs between processes; nothing durable has it"
    )]
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let shown = path.display().to_string();
        #[allow(clippy::disallowed_methods)] // waits for the disk, does not compute
        let opened = tokio::task::spawn_blocking(move || open_root(&path)).await;
        let failed = |reason: String| {
            Error::unavailable(format!("cannot use directory `{shown}`: {reason}"))
        };
        let root = match opened {
            Ok(Ok(root)) => root,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(error) => return Err(failed(error.to_string())),
        };
        let url = format!("file://{}", root.display());
        // Two processes, even two containers with one process number, must not share a temporary name.
        let tag = std::hash::RandomState::new().build_hasher().finish();
        let disk = Arc::new(Disk {
            root,
            tag,
            temps: AtomicU64::new(0),
            durable: Mutex::new(HashSet::new()),
            in_doubt: Mutex::new(HashSet::new()),
        });
        Ok(Self { disk, url })
    }

    /// Whether there is such a directory; one that cannot be looked at counts as there, so that opening it
    /// tells why.
    pub async fn exists(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref().to_owned();
        #[allow(clippy::disallowed_methods)] // waits for the disk, does not compute
        let looked = tokio::task::spawn_blocking(move || path.try_exists()).await;
        !matches!(looked, Ok(Ok(false)))
    }

    /// Removes temporary files that a crash left behind, an hour and more ago by the file system's clock.
    ///
    /// Visits the whole tree, one directory at a time, at most ten million entries; what cannot be read or
    /// removed is counted and passed over. Errors: `Unavailable` where the directory takes no file, whose
    /// time would tell the clock. Cancel safe: it stops after the directory it is in.
    pub async fn sweep(&self) -> Result<Swept> {
        let url = self.url.clone();
        let begin = move |disk: &Disk| {
            let now = disk.now().map_err(|error| sort("sweep", &url, &error))?;
            Ok(Sweep::new(&disk.root, now))
        };
        let mut sweep = self.run("sweep", &self.url, begin).await?;
        loop {
            let step = move |_: &Disk| {
                let ended = sweep.step();
                Ok((sweep, ended))
            };
            let (back, ended) = self.run("sweep", &self.url, step).await?;
            if let Some(swept) = ended {
                return Ok(swept);
            }
            sweep = back;
        }
    }

    /// Runs one operation on the blocking pool.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let disk = self.disk.clone();
        #[allow(clippy::disallowed_methods)] // waits for the disk, does not compute
        let worked = tokio::task::spawn_blocking(move || work(&disk)).await;
        match worked {
            Ok(outcome) => outcome,
            Err(error) => Err(StoreError::indeterminate(operation, key, error)),
        }
    }
}

#[async_trait]
impl Bucket for LocalBucket {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        key::check("create", key)?;
        let name = key.to_owned();
        let outcome = self
            .run("create", key, move |disk| disk.create(&name, &bytes))
            .await;
        match outcome {
            // The task died: nobody knows how far it came.
            Err(error @ StoreError::Indeterminate { .. }) => Ok(CreateOutcome::Unknown(error)),
            other => other,
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        key::check("put", key)?;
        let name = key.to_owned();
        self.run("put", key, move |disk| disk.put(&name, &bytes))
            .await
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        key::check("get", key)?;
        let name = key.to_owned();
        self.run("get", key, move |disk| disk.read("get", &name, 0..u64::MAX))
            .await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        key::check("get_range", key)?;
        let name = key.to_owned();
        self.run("get_range", key, move |disk| {
            disk.read("get_range", &name, range)
        })
        .await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        key::check_prefix(prefix)?;
        let prefix = prefix.to_owned();
        let start_after = start_after.map(str::to_owned);
        let shown = prefix.clone();
        self.run("list", &shown, move |disk| {
            walk::list(&disk.root, &prefix, start_after.as_deref(), limit)
                .map_err(|error| sort("list", &prefix, &error))
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        key::check("delete", key)?;
        let name = key.to_owned();
        self.run("delete", key, move |disk| disk.delete(&name))
            .await
    }

    async fn let_go(&self, key: &str) {
        let name = key.to_owned();
        let _ = self
            .run("let_go", key, move |disk| {
                disk.let_go(&name);
                Ok(())
            })
            .await;
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Local
    }

    fn url(&self) -> &str {
        &self.url
    }
}

/// The blocking side.
#[derive(Debug)]
struct Disk {
    root: PathBuf,
    tag: u64,
    temps: AtomicU64,
    /// Directories whose entry in their parent this process has synced.
    durable: Mutex<HashSet<PathBuf>>,
    /// Directories with an entry of this process that may not be durable.
    in_doubt: Mutex<HashSet<PathBuf>>,
}

impl Disk {
    fn create(&self, key: &str, bytes: &[u8]) -> Result<CreateOutcome, StoreError> {
        let refused = |error: io::Error| StoreError::determinate("create", key, error);
        let unknown = |error: io::Error| {
            Ok(CreateOutcome::Unknown(StoreError::indeterminate(
                "create", key, error,
            )))
        };
        let (path, folder) = self.place(key);
        let temp = self.write_temp(&folder, bytes).map_err(refused)?;
        let linking = failpoint::reach(FailPoint::L1);
        let linked = match linking.before_blocking() {
            Some(_) => Err(io::Error::other("failpoint l1")),
            None => fs::hard_link(&temp, &path),
        };
        let synced = match &linked {
            Ok(()) => self.sync_entries(&folder, linking),
            // Whoever made it may have died before syncing: what we say exists must stay.
            Err(error) if error.kind() == IoKind::AlreadyExists => {
                self.sync_entries(&folder, linking)
            }
            Err(_) => Ok(()),
        };
        // A temporary name left behind is never listed, so failing to remove it harms nobody.
        let _ = fs::remove_file(&temp);
        match (linked, synced) {
            (Ok(()), Ok(())) => Ok(CreateOutcome::Created { store_date: None }),
            (Ok(()), Err(error)) => unknown(error),
            (Err(error), Ok(())) if error.kind() == IoKind::AlreadyExists => {
                Ok(CreateOutcome::Exists)
            }
            (Err(error), Ok(())) if certainly_refused(&error) => Err(refused(error)),
            (Err(error), Ok(())) | (Err(_), Err(error)) => unknown(error),
        }
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (path, folder) = self.place(key);
        let temp = self
            .write_temp(&folder, bytes)
            .map_err(|error| sort("put", key, &error))?;
        let renamed = fs::rename(&temp, &path);
        if renamed.is_err() {
            let _ = fs::remove_file(&temp);
        }
        renamed
            .and_then(|()| sync_dir(&folder))
            .map_err(|error| sort("put", key, &error))
    }

    fn read(
        &self,
        operation: &'static str,
        key: &str,
        range: Range<u64>,
    ) -> Result<GetOutcome, StoreError> {
        let failed = |error: io::Error| sort(operation, key, &error);
        let (path, folder) = self.place(key);
        if self.in_doubt.lock().contains(&folder) {
            let retrying = failpoint::reach(FailPoint::L1);
            self.sync_entries(&folder, retrying).map_err(failed)?;
        }
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => {
                return Ok(GetOutcome::Missing { store_date: None });
            }
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        // A directory holds keys; it is none.
        if metadata.is_dir() {
            return Ok(GetOutcome::Missing { store_date: None });
        }
        let end = range.end.min(metadata.len());
        let wanted = end.saturating_sub(range.start);
        let mut bytes = Vec::with_capacity(wanted as usize);
        if wanted > 0 {
            file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
            file.take(wanted).read_to_end(&mut bytes).map_err(failed)?;
        }
        Ok(GetOutcome::Found(Fetched {
            bytes: bytes.into(),
            store_date: None,
        }))
    }

    /// Gives up the memory that caches a file, for others to use: writing into memory that is in use already is
    /// several times as fast as having more of it.
    fn let_go(&self, key: &str) {
        #[cfg(target_os = "linux")]
        if let Ok(file) = File::open(self.place(key).0) {
            use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
            let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = key;
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (path, folder) = self.place(key);
        match fs::remove_file(path) {
            Ok(()) => {}
            // Another process may have removed it without syncing yet: done must stay done.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(sort("delete", key, &error)),
        }
        match sync_dir(&folder) {
            Err(error) if !is_missing(&error) => Err(sort("delete", key, &error)),
            _ => Ok(()),
        }
    }

    /// Makes the entries of a directory durable, or puts it in doubt.
    fn sync_entries(&self, folder: &Path, linking: Arrival) -> io::Result<()> {
        let synced = match linking.after_blocking() {
            Some(_) => Err(io::Error::other("failpoint l1")),
            None => sync_dir(folder),
        };
        let mut in_doubt = self.in_doubt.lock();
        match &synced {
            Ok(()) => in_doubt.remove(folder),
            Err(_) => in_doubt.insert(folder.to_owned()),
        };
        synced
    }

    /// The path of a checked key, and the directory it lies in.
    fn place(&self, key: &str) -> (PathBuf, PathBuf) {
        let path = self.root.join(key);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        (path, folder)
    }

    /// Writes and syncs a temporary file in a durable directory; leaves none behind on failure.
    fn write_temp(&self, folder: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        self.make_durable(folder)?;
        let (temp, mut file) = match self.open_temp(folder) {
            // Somebody removed the tree by hand: what we remembered is no longer true.
            Err(error) if error.kind() == IoKind::NotFound => {
                self.durable.lock().clear();
                self.make_durable(folder)?;
                self.open_temp(folder)?
            }
            opened => opened?,
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&temp);
            return Err(error);
        }
        Ok(temp)
    }

    /// The time by the file system's own clock, which may be another machine's.
    fn now(&self) -> io::Result<SystemTime> {
        let (temp, file) = self.open_temp(&self.root)?;
        let now = file.metadata().and_then(|metadata| metadata.modified());
        let _ = fs::remove_file(temp);
        now
    }

    fn open_temp(&self, folder: &Path) -> io::Result<(PathBuf, File)> {
        for _ in 0..TEMP_TRIES_MAX {
            let n = self.temps.fetch_add(1, Ordering::Relaxed);
            let temp = folder.join(format!("{}{:016x}-{n}", key::TEMP_PREFIX, self.tag));
            match OpenOptions::new().write(true).create_new(true).open(&temp) {
                Ok(file) => return Ok((temp, file)),
                Err(error) if error.kind() == IoKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free temporary name"))
    }

    /// Makes a directory under the root and everything above it, each entry synced.
    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root || self.durable.lock().contains(folder) {
            return Ok(());
        }
        let mut above: Vec<&Path> = folder
            .ancestors()
            .take_while(|ancestor| *ancestor != self.root)
            .collect();
        above.reverse();
        for dir in above {
            if self.durable.lock().contains(dir) {
                continue;
            }
            make_dir(dir)?;
            sync_dir(dir.parent().unwrap_or(&self.root))?;
            let mut durable = self.durable.lock();
            if durable.len() >= DURABLE_DIRS_MAX {
                durable.clear();
            }
            durable.insert(dir.to_owned());
        }
        Ok(())
    }
}

/// Makes the root with everything above it, and syncs the entries on the way where that is allowed.
fn open_root(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    fs::create_dir_all(&absolute)?;
    let root = absolute.canonicalize()?;
    // Any of these may have been made a moment ago, by us or by another process. Those we may not
    // open we cannot have made.
    for above in root.ancestors().skip(1) {
        match sync_dir(above) {
            Err(error) if !certainly_refused(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(root)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == IoKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// No such file, or a file where a directory would have to be.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory)
}

/// The system said no before it did anything.
fn certainly_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        IoKind::NotFound
            | IoKind::NotADirectory
            | IoKind::IsADirectory
            | IoKind::PermissionDenied
            | IoKind::ReadOnlyFilesystem
            | IoKind::StorageFull
            | IoKind::QuotaExceeded
            | IoKind::FileTooLarge
            | IoKind::InvalidFilename
            | IoKind::InvalidInput
            | IoKind::TooManyLinks
            | IoKind::CrossesDevices
            | IoKind::Unsupported
    )
}

fn sort(operation: &'static str, key: &str, error: &io::Error) -> StoreError {
    if certainly_refused(error) {
        StoreError::determinate(operation, key, error)
    } else {
        StoreError::indeterminate(operation, key, error)
    }
}

/// The file's modification time, milliseconds; 0 where the system keeps none.
fn modified(metadata: &fs::Metadata) -> Timestamp {
    let since = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let ms = since.map_or(0, |since| since.as_millis());
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}
