//! The objects of a store in a directory, as a test copies, damages and compares them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Objects by key.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

/// The kinds of objects, by a part of their keys.
pub(crate) const KINDS: [(&str, &str); 9] = [
    ("/wal/", "slot"),
    ("/manifest/", "manifest"),
    (".parquet", "parquet"),
    (".idx", "idx"),
    (".dvs", "dvs"),
    ("/head", "head"),
    ("~hint", "hint"),
    ("/genesis", "genesis"),
    ("names/", "name"),
];

/// What a key names.
pub(crate) fn kind_of(key: &str) -> &'static str {
    let found = KINDS.iter().find(|(part, _)| key.contains(part));
    found.map_or("record", |(_, kind)| kind)
}

pub(crate) fn read_all(root: &Path) -> Objects {
    let mut objects = Objects::new();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(root).expect("below the root");
            let key = key.to_str().expect("keys are text").to_owned();
            objects.insert(key, std::fs::read(&path).expect("a file"));
        }
    }
    objects
}

pub(crate) fn write_all(root: &Path, objects: &Objects) {
    for (key, bytes) in objects {
        let path = root.join(key);
        let folder = path.parent().expect("below the root");
        std::fs::create_dir_all(folder).expect("folders");
        std::fs::write(path, bytes).expect("the object can be written");
    }
}
