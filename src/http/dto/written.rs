//! The answer to a write.

use serde::Serialize;

use super::reply::IdView;
use crate::error::Result;
use crate::types::document::WriteOutcome;

#[derive(Serialize)]
struct WriteReply<'a> {
    status: &'static str,
    message: String,
    rows_affected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_upserted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_patched: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_deleted: Option<u64>,
    /// Only said where it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rows_remaining: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upserted_ids: Vec<IdView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    patched_ids: Vec<IdView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted_ids: Vec<IdView<'a>>,
    seq: u64,
    billing: WriteBilling,
    performance: WritePerformance,
}

#[derive(Serialize)]
struct WriteBilling {
    billable_logical_bytes_written: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<NoQuery>,
}

#[derive(Serialize, Default)]
struct NoQuery {
    billable_logical_bytes_queried: u64,
    billable_logical_bytes_returned: u64,
}

#[derive(Serialize)]
struct WritePerformance {
    server_total_ms: u64,
}

/// Encodes the answer to a write. `conditional`: whether documents were asked for it, which counts as
/// a query.
///
/// Errors: `Internal` if JSON cannot hold it, which its types exclude.
pub(in crate::http) fn encode_write(
    outcome: &WriteOutcome,
    conditional: bool,
    elapsed_ms: u64,
) -> Result<Vec<u8>> {
    let counts = [
        outcome.rows_upserted,
        outcome.rows_patched,
        outcome.rows_deleted,
    ];
    super::reply::encode(&WriteReply {
        status: "OK",
        message: message(counts),
        rows_affected: counts.into_iter().flatten().sum(),
        rows_upserted: outcome.rows_upserted,
        rows_patched: outcome.rows_patched,
        rows_deleted: outcome.rows_deleted,
        rows_remaining: outcome.rows_remaining,
        upserted_ids: outcome.upserted_ids.iter().map(IdView).collect(),
        patched_ids: outcome.patched_ids.iter().map(IdView).collect(),
        deleted_ids: outcome.deleted_ids.iter().map(IdView).collect(),
        seq: outcome.seq.0,
        billing: WriteBilling {
            billable_logical_bytes_written: outcome.bytes_written,
            query: conditional.then(NoQuery::default),
        },
        performance: WritePerformance {
            server_total_ms: elapsed_ms.max(1),
        },
    })
}

/// Says what was done: `documents upserted, patched and deleted`.
fn message(counts: [Option<u64>; 3]) -> String {
    let done = counts.into_iter().zip(["upserted", "patched", "deleted"]);
    let done: Vec<&str> = done
        .filter_map(|(count, word)| count.and(Some(word)))
        .collect();
    match done.as_slice() {
        [] => "schema updated".to_owned(),
        [only] => format!("documents {only}"),
        [most @ .., last] => format!("documents {} and {last}", most.join(", ")),
    }
}
