//! Listing a directory tree in key order, visiting only what can match.

use std::fs;
use std::io;
use std::path::Path;

use super::super::{Listed, key};
use super::{is_missing, modified};

/// Lists the keys under `root` that match, in byte order.
pub(super) fn list(
    root: &Path,
    prefix: &str,
    start_after: Option<&str>,
    limit: Option<usize>,
) -> io::Result<Vec<Listed>> {
    let (folder, _) = key::split_prefix(prefix);
    let mut walk = Walk {
        prefix,
        start_after,
        limit: limit.unwrap_or(usize::MAX),
        rows: Vec::new(),
    };
    let depth = key::KEY_PARTS_MAX.saturating_sub(folder.matches('/').count());
    walk.visit(&root.join(folder), folder, depth)?;
    Ok(walk.rows)
}

struct Walk<'a> {
    prefix: &'a str,
    start_after: Option<&'a str>,
    limit: usize,
    rows: Vec<Listed>,
}

impl Walk<'_> {
    /// Visits a directory whose keys start with `base`; sorted names, a directory's with its `/`,
    /// give keys in byte order, so that the walk may stop at the limit.
    fn visit(&mut self, dir: &Path, base: &str, depth: usize) -> io::Result<()> {
        if depth == 0 {
            return Ok(());
        }
        for key in self.matching(dir, base)? {
            if self.rows.len() >= self.limit {
                return Ok(());
            }
            // `dir` is the place of `base`, so what follows `base` is the name in it.
            let place = dir.join(key[base.len()..].trim_end_matches('/'));
            if key.ends_with('/') {
                self.visit(&place, &key, depth - 1)?;
                continue;
            }
            match fs::symlink_metadata(&place) {
                Ok(metadata) => self.rows.push(Listed {
                    key,
                    size_bytes: metadata.len(),
                    last_modified: modified(&metadata),
                }),
                // Deleted while we walked.
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The keys of files, and of directories with a final `/`, that can match; sorted.
    fn matching(&self, dir: &Path, base: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            // A name that is no text is none of ours.
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(key::TEMP_PREFIX) {
                continue;
            }
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error),
            };
            let mut key = format!("{base}{name}");
            if kind.is_dir() {
                key.push('/');
            } else if !kind.is_file() {
                continue;
            }
            if self.may_match(&key) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn may_match(&self, key: &str) -> bool {
        let is_dir = key.ends_with('/');
        let in_prefix = key.starts_with(self.prefix) || (is_dir && self.prefix.starts_with(key));
        // Keys under a directory sort as the directory does, unless the start lies inside it.
        let after = self
            .start_after
            .is_none_or(|start| key > start || (is_dir && start.starts_with(key)));
        in_prefix && after
    }
}
