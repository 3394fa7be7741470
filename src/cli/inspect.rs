//! `elacsym inspect`: prints a stored object, or lists a prefix.

use serde_json::{Value as Json, json};

use super::wire;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{self, Genesis, Hint, NameRecord, StoreRecord};
use crate::format::{manifest, path, wal};
use crate::store;

/// Prints what lies under `key`.
pub(super) fn inspect(settings: &Settings, key: &str) -> Result<()> {
    wire::runtime()?.block_on(async {
        let url = &settings.storage.url;
        // Opening makes a missing directory: right for a server, wrong for a look at a mistyped one.
        if !store::open::exists(url).await? {
            let message = format!("directory `{url}` was not found");
            return Err(Error::new(ErrorKind::NotFound, "object_not_found", message));
        }
        let parts = wire::parts(settings).await?;
        if key.is_empty() || key.ends_with('/') {
            for listed in parts.bucket.list(key, None, None).await? {
                println!("{:>12}  {}", listed.size_bytes, listed.key);
            }
            return Ok(());
        }
        let found = parts.bucket.get(key).await?.found().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "object_not_found",
                format!("object `{key}` was not found in {}", parts.bucket.url()),
            )
        })?;
        let shown = describe(key, &found.bytes)?;
        let text = serde_json::to_string_pretty(&shown)
            .map_err(|error| Error::internal("the object does not print").with_source(error))?;
        println!("{text}");
        Ok(())
    })
}

fn describe(key: &str, bytes: &bytes::Bytes) -> Result<Json> {
    if key.contains("/wal/") {
        return slot(key, bytes);
    }
    if key.contains("/manifest/") || key.ends_with("/head") {
        return to_json(&manifest::decode(key, None, bytes)?);
    }
    if key == path::STORE {
        return to_json(&record::decode::<StoreRecord>(key, bytes)?);
    }
    if key.ends_with("/genesis") {
        return to_json(&record::decode::<Genesis>(key, bytes)?);
    }
    if key.ends_with("/~hint") {
        return to_json(&record::decode::<Hint>(key, bytes)?);
    }
    if key.starts_with(path::NAMES) {
        return to_json(&record::decode::<NameRecord>(key, bytes)?);
    }
    Err(Error::invalid(format!(
        "object `{key}` is of no kind this version knows"
    )))
}

fn slot(key: &str, bytes: &bytes::Bytes) -> Result<Json> {
    let slot = wal::decode(key, bytes)?;
    Ok(json!({
        "seq": slot.header.seq,
        "block": slot.header.slot.block,
        "idx": slot.header.slot.idx,
        "nonce": slot.header.nonce,
        "written_at": slot.header.written_at.to_rfc3339(),
        "body_bytes": slot.header.body_bytes,
        "entry": to_json(&slot.entry)?,
        "rows_upserted": slot.effects.n_upserts(),
        "ids_deleted": slot.effects.n_deletes(),
    }))
}

fn to_json(value: &impl serde::Serialize) -> Result<Json> {
    serde_json::to_value(value)
        .map_err(|error| Error::internal("the object does not print").with_source(error))
}
