//! `elacsym inspect`: prints a stored object, or lists a prefix.

use serde_json::{Value as Json, json};

use super::wire;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{self, Genesis, Hint, Marker, NameRecord, StoreRecord};
use crate::format::segment::Footer;
use crate::format::{deletions, dirty, manifest, path, wal};
use crate::store::Bucket;

/// Bytes of the end of an index file that are read first.
const END_BYTES: u64 = 256 << 10;

/// Prints what lies under `key`.
pub(super) fn inspect(settings: &Settings, key: &str) -> Result<()> {
    wire::runtime()?.block_on(async {
        let url = &settings.storage.url;
        wire::must_exist(url).await?;
        let parts = wire::parts(settings).await?;
        if key.is_empty() || key.ends_with('/') {
            for listed in parts.bucket.list(key, None, None).await? {
                println!("{:>12}  {}", listed.size_bytes, listed.key);
            }
            return Ok(());
        }
        let shown = match key.rsplit_once('.') {
            Some((_, "idx")) => footer(&*parts.bucket, key).await?,
            // What is known of the documents stands in the footer beside them.
            Some((stem, "parquet")) => footer(&*parts.bucket, &format!("{stem}.idx")).await?,
            _ => {
                let found = parts.bucket.get(key).await?.found();
                let found = found.ok_or_else(|| not_found(&*parts.bucket, key))?;
                describe(key, &found.bytes)?
            }
        };
        let text = serde_json::to_string_pretty(&shown)
            .map_err(|error| Error::internal("the object does not print").with_source(error))?;
        println!("{text}");
        Ok(())
    })
}

fn not_found(bucket: &dyn Bucket, key: &str) -> Error {
    let message = format!("object `{key}` was not found in {}", bucket.url());
    Error::new(ErrorKind::NotFound, "object_not_found", message)
}

/// Reads the footer at the end of an index file, in ever larger pieces from its end: nothing else is read.
async fn footer(bucket: &dyn Bucket, key: &str) -> Result<Json> {
    let listed = bucket.list(key, None, Some(1)).await?;
    let listed = listed.into_iter().find(|listed| listed.key == key);
    let size = listed.ok_or_else(|| not_found(bucket, key))?.size_bytes;
    let mut piece = END_BYTES;
    loop {
        let range = size.saturating_sub(piece)..size;
        let found = bucket.get_range(key, range).await?.found();
        let end = found.ok_or_else(|| not_found(bucket, key))?.bytes;
        if let Some(footer) = Footer::find(key, &end)? {
            return segment(key, size, &footer);
        }
        if piece >= size {
            return Err(Error::corrupted(format!(
                "object `{key}` is damaged: end: expected a footer, found none"
            )));
        }
        piece = piece.saturating_mul(8);
    }
}

fn segment(key: &str, size: u64, footer: &Footer) -> Result<Json> {
    let columns = footer.columns().iter().map(
        |column| json!({"attribute": column.attr, "type": column.kind, "nulls": column.nulls}),
    );
    Ok(json!({
        "index": {"key": key, "bytes": size, "footer_at": footer.index_sums().bytes()},
        "documents": {
            "key": key.replace(".idx", ".parquet"),
            "bytes": footer.parquet_sums().bytes(),
        },
        "rows": footer.rows(),
        "row_order": footer.row_order(),
        "logical_bytes": footer.logical_bytes(),
        "id_kind": footer.id_kind(),
        "columns": columns.collect::<Vec<_>>(),
        "stats": to_json(footer.stats())?,
        "sections": to_json(footer.sections())?,
    }))
}

fn bitmap(key: &str, bytes: &[u8]) -> Result<Json> {
    let rows = deletions::parse(key, deletions::open(key, bytes)?)?;
    Ok(json!({
        "rows_deleted": rows.len(),
        "first": rows.min(),
        "last": rows.max(),
        "bytes": bytes.len(),
    }))
}

fn describe(key: &str, bytes: &bytes::Bytes) -> Result<Json> {
    if key.ends_with(".dvs") {
        return bitmap(key, bytes);
    }
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
    if key.starts_with(path::DIRTY) {
        return to_json(&dirty::decode(key, bytes)?);
    }
    if key.starts_with(path::QUARANTINE) {
        return to_json(&record::decode::<Marker>(key, bytes)?);
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
