//! Directories as they are before a strike, and what a strike leaves in them.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::client::Client;
use crate::journal::{Ended, Journal};
use crate::random::Random;
use crate::server::Server;

pub(super) const NAMESPACE: &str = "struck";
pub(super) const WRITERS: u64 = 3;
const SEED: u64 = 20_260_102;
/// A log's third block opens at slot 513, and with it the second manifest is written.
const LONG_WRITES: u64 = 500;
const SMALL_WRITES: u64 = 5;

/// What there is before the armed server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// A store that has served, without a namespace.
    Nothing,
    /// A namespace of a few slots.
    Small,
    /// A namespace with one manifest, shortly before its second.
    Long,
}

/// A directory and what its writers were told.
#[derive(Debug)]
pub(super) struct Stage {
    directory: TempDir,
    pub(super) journals: Vec<Journal>,
}

impl Stage {
    fn new(directory: TempDir) -> Self {
        let mut random = Random::new(SEED);
        let journals = (0..WRITERS)
            .map(|writer| Journal::new(writer, random.next()))
            .collect();
        Self {
            directory,
            journals,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The bucket.
    pub(super) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn copy(&self) -> Self {
        let directory = TempDir::new().expect("a directory");
        copy_tree(&self.data(), &directory.path().join("data"));
        Self {
            directory,
            journals: self.journals.clone(),
        }
    }

    fn write(&mut self, writes: u64) {
        let server = Server::start(self.path());
        let client = Client::new(&server.url, NAMESPACE);
        let mut left = writes;
        for journal in &mut self.journals {
            let here = left.min(writes.div_ceil(WRITERS));
            left -= here;
            assert_eq!(journal.write_keyed(&client, here), Ended::Done);
        }
        assert_eq!(server.terminate().code(), Some(0));
    }
}

/// Each kind, made once and copied for each case.
#[derive(Debug)]
pub(super) struct Stages {
    nothing: Stage,
    small: Stage,
    long: Option<Stage>,
}

impl Stages {
    pub(super) fn set() -> Self {
        let mut stages = Self::set_bare();
        let mut long = stages.small.copy();
        long.write(LONG_WRITES);
        stages.long = Some(long);
        stages
    }

    /// Without the long one.
    pub(super) fn set_bare() -> Self {
        let nothing = Stage::new(TempDir::new().expect("a directory"));
        assert_eq!(Server::start(nothing.path()).terminate().code(), Some(0));
        let mut small = nothing.copy();
        small.write(SMALL_WRITES);
        Self {
            nothing,
            small,
            long: None,
        }
    }

    pub(super) fn copy(&self, before: Before) -> Stage {
        match before {
            Before::Nothing => self.nothing.copy(),
            Before::Small => self.small.copy(),
            Before::Long => self.long.as_ref().expect("it was set").copy(),
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let place = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy_tree(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).expect("a copy");
        }
    }
}

/// What the strike left behind: checked, and made worse where a machine's end would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Whatever,
    /// No second manifest; half of one is put there under an unfinished file's name.
    HalfManifest,
    /// Two manifests; `head` is the first.
    StaleHead,
    /// Two manifests; `head` is the second, the name's hint the first.
    StaleHint,
    /// A file without a name in the bucket.
    NamelessFile,
    /// As above; the newest slot's entry was never synced, and is taken away.
    WithoutNewestEntry,
}

impl Left {
    pub(super) fn check(self, data: &Path) {
        match self {
            Self::Whatever => {}
            Self::HalfManifest => {
                let manifests = named(data, "/manifest/");
                assert_eq!(manifests.len(), 1, "{manifests:?}");
                let bytes = fs::read(&manifests[0]).expect("a manifest");
                let half = manifests[0].with_file_name("~tmp-0000000000000000-0");
                fs::write(half, &bytes[..bytes.len() / 2]).expect("a file");
            }
            Self::StaleHead => check_heads(data, 1),
            Self::StaleHint => check_heads(data, 0),
            Self::NamelessFile => {
                assert_eq!(unfinished(data).len(), 1, "{:?}", unfinished(data));
            }
            Self::WithoutNewestEntry => {
                assert_eq!(unfinished(data).len(), 1, "{:?}", unfinished(data));
                fs::remove_file(newest_slot(data)).expect("a slot");
            }
        }
    }
}

/// `head` is the newest manifest but `behind`; the hint, never written with the second, is shorter.
fn check_heads(data: &Path, behind: usize) {
    let manifests = named(data, "/manifest/");
    assert_eq!(manifests.len(), 2, "{manifests:?}");
    let heads = named(data, "/head");
    assert_eq!(heads.len(), 1, "{heads:?}");
    let head = fs::read(&heads[0]).expect("a head");
    // Keys of manifests sort newest first.
    let manifest = fs::read(&manifests[behind]).expect("a manifest");
    assert!(head == manifest, "head is not manifest {behind}");
}

/// The slot of the highest sequence.
pub(super) fn newest_slot(data: &Path) -> PathBuf {
    let mut slots = named(data, "/wal/");
    slots.pop().expect("a slot")
}

/// Files whose path in the bucket contains this, without unfinished ones, sorted.
pub(super) fn named(data: &Path, part: &str) -> Vec<PathBuf> {
    let mut found = files(data);
    found.retain(|path| path.to_string_lossy().contains(part) && !is_unfinished(path));
    found
}

fn unfinished(data: &Path) -> Vec<PathBuf> {
    let mut found = files(data);
    found.retain(|path| is_unfinished(path));
    found
}

fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("~tmp-"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
