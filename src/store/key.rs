//! Which strings are keys: one rule for every backend, so that a key legal here is legal there.

use super::StoreError;

/// Longest key, bytes (S3's own limit).
pub const KEY_BYTES_MAX: usize = 1_024;
/// Most parts of a key: bounds the depth of a walk over a local directory.
pub const KEY_PARTS_MAX: usize = 32;
/// Start of the names of unfinished local files; no part of a key may start with it.
pub const TEMP_PREFIX: &str = "~tmp-";

/// Checks a key: relative, `/` between parts, no empty, `.` or `..` part, no control characters.
///
/// Errors: `Determinate`, the operation was not tried.
pub fn check(operation: &'static str, key: &str) -> Result<(), StoreError> {
    let refuse = |why: &str| {
        let shown: String = key.chars().take(200).collect();
        Err(StoreError::determinate(
            operation,
            shown,
            format!("invalid key: {why}"),
        ))
    };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return refuse("expected 1 to 1024 bytes");
    }
    if key.split('/').count() > KEY_PARTS_MAX {
        return refuse("expected at most 32 parts");
    }
    match key.split('/').find_map(fault_of_part) {
        Some(why) => refuse(why),
        None => Ok(()),
    }
}

/// Checks a listing prefix: like a key, but it may be empty and its last part may be unfinished.
pub fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    let (folder, _) = split_prefix(prefix);
    if folder.is_empty() {
        if prefix.starts_with('/') {
            return check("list", prefix);
        }
        return Ok(());
    }
    check("list", folder.trim_end_matches('/')).and_then(|()| {
        let one_slash = !folder.ends_with("//");
        one_slash.then_some(()).ok_or_else(|| {
            StoreError::determinate("list", prefix, "invalid prefix: it has an empty part")
        })
    })
}

/// Splits a prefix into the folder with its final `/` (or nothing) and the start of a name in it.
pub fn split_prefix(prefix: &str) -> (&str, &str) {
    match prefix.rfind('/') {
        Some(slash) => prefix.split_at(slash + 1),
        None => ("", prefix),
    }
}

fn fault_of_part(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        return Some("it has an empty part");
    }
    if part == "." || part == ".." {
        return Some("`.` and `..` are no parts");
    }
    if part.starts_with(TEMP_PREFIX) {
        return Some("names that start with `~tmp-` belong to the store");
    }
    let illegal = |byte: u8| byte.is_ascii_control() || byte == b'\\';
    part.bytes()
        .any(illegal)
        .then_some("it has a control character or a backslash")
}
