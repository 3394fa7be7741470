//! What lies in the modelled store: files of rows, indexes and bitmaps, each under the claim that authorised it.

use std::collections::BTreeMap;
use std::sync::Arc;

use elacsym::lsm::{BitmapPlace, Deletions, Segment, SegmentId};
use elacsym::types::{Bound, FooterRef, ObjectRef, Stats, WalSeq};

/// A document's id, and the sequence that wrote it.
pub type Row = (u8, u8);

/// Row numbers of a segment, one bit each.
pub type Gone = u16;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum File {
    /// The rows of a segment, with its first index.
    Rows,
    /// A new index.
    Index,
    /// A bitmap of deletions.
    Gone,
}

/// The name of an object: `x/{claim}/...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub claim: u64,
    pub file: File,
    pub n: u32,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Content {
    Rows(Arc<[Row]>),
    Index,
    Gone(Gone),
}

pub type Objects = BTreeMap<Key, Content>;

impl Key {
    fn path(self) -> String {
        let file = match self.file {
            File::Rows => "rows",
            File::Index => "index",
            File::Gone => "gone",
        };
        format!("x/{}/{file}/{}", self.claim, self.n)
    }

    /// The key of a path that `path` made.
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("x/")?.split('/');
        let claim = parts.next()?.parse().ok()?;
        let file = match parts.next()? {
            "rows" => File::Rows,
            "index" => File::Index,
            _ => File::Gone,
        };
        let n = parts.next()?.parse().ok()?;
        Some(Self { claim, file, n })
    }
}

impl Content {
    /// Two contents have one hash only if they are the same.
    fn hash(&self) -> u128 {
        match self {
            Self::Rows(rows) => rows.iter().fold(1, |all, (id, seq)| {
                (all << 16) | (u128::from(*id) << 8) | u128::from(*seq)
            }),
            Self::Index => 0,
            Self::Gone(gone) => u128::from(*gone),
        }
    }
}

/// How an entry names an object.
pub fn reference(key: Key, content: &Content) -> ObjectRef {
    ObjectRef {
        path: key.path(),
        bytes: 1,
        hash: content.hash(),
    }
}

/// The object that a reference names, where it is there as it was.
pub fn read<'a>(objects: &'a Objects, named: &ObjectRef) -> Result<&'a Content, &'static str> {
    let key = Key::of(&named.path).ok_or("an object has a strange name")?;
    let found = objects
        .get(&key)
        .ok_or("S4 an object of a root is missing")?;
    match found.hash() == named.hash {
        true => Ok(found),
        false => Err("S4 an object of a root has another content"),
    }
}

/// Every object that a segment names.
pub fn named_by(segment: &Segment) -> impl Iterator<Item = Key> + use<> {
    let stored = match &segment.deletions.bitmap {
        BitmapPlace::Stored(object) => Key::of(&object.path),
        BitmapPlace::Empty | BitmapPlace::Inline(_) => None,
    };
    let files = [Key::of(&segment.parquet.path), Key::of(&segment.index.path)];
    files.into_iter().flatten().chain(stored)
}

/// The rows of a segment and which of them are gone.
pub fn rows_of(objects: &Objects, segment: &Segment) -> Result<(Arc<[Row]>, Gone), &'static str> {
    read(objects, &segment.index)?;
    let Content::Rows(rows) = read(objects, &segment.parquet)? else {
        return Err("S4 an object of a root has another content");
    };
    let gone = match &segment.deletions.bitmap {
        BitmapPlace::Stored(object) => match read(objects, object)? {
            Content::Gone(gone) => *gone,
            Content::Rows(_) | Content::Index => {
                return Err("S4 an object of a root has another content");
            }
        },
        BitmapPlace::Empty | BitmapPlace::Inline(_) => 0,
    };
    Ok((Arc::clone(rows), gone))
}

/// The rows whose bit is not set.
pub fn live(rows: &[Row], gone: Gone) -> impl Iterator<Item = Row> {
    let at = move |at: &usize| gone & (1 << at) == 0;
    (0..rows.len()).filter(at).map(|at| rows[at])
}

/// The segment of rows that are uploaded under a claim.
pub fn segment(claim: WalSeq, rows: &Arc<[Row]>) -> (Key, Segment) {
    let (n, file) = (0, File::Rows);
    let key = Key {
        claim: claim.0,
        file,
        n,
    };
    let parquet = reference(key, &Content::Rows(Arc::clone(rows)));
    let id = |row: Option<&Row>| Bound::Uint(row.map_or(0, |(id, _)| u64::from(*id)));
    let segment = Segment {
        id: SegmentId { claim, n },
        index: parquet.clone(),
        parquet,
        footer: FooterRef {
            offset: 0,
            bytes: 1,
            hash: 0,
        },
        rows: rows.len() as u64,
        logical_bytes: rows.len() as u64,
        stats: Stats {
            id_min: id(rows.first()),
            id_max: id(rows.last()),
            attributes: Vec::new(),
        },
        unindexed: Vec::new(),
        deletions: Deletions::default(),
    };
    (key, segment)
}
