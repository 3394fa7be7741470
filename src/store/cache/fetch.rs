//! One request for one piece: bounded in memory, proved block by block, repeated once for what is wrong.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::coalesce::Piece;
use super::{CachedFile, Inner};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::clock::within_ms;
use crate::runtime::{FailPoint, failpoint};

/// Fetches a piece and returns its wanted blocks, each proved and each an allocation of its own.
///
/// Errors: as `BlockCache::read` says. Cancel safe: turn and memory are given back.
pub(super) async fn fetch(
    inner: &Inner,
    file: &CachedFile,
    piece: &Piece,
) -> Result<Vec<(u32, Bytes)>> {
    let _turn = turn(inner).await?;
    let range = file.range_of(&piece.blocks);
    // The body, and beside it the blocks that are copied out of it.
    let _memory = inner.budget.reserve(2 * (range.end - range.start)).await?;

    let mut proved = Vec::with_capacity(piece.wanted.len());
    let wrong = get(inner, file, &piece.blocks, &piece.wanted, &mut proved).await?;
    let (Some(first), Some(last)) = (wrong.first(), wrong.last()) else {
        return Ok(proved);
    };
    let span = first.number..last.number + 1;
    let numbers: Vec<u32> = wrong.iter().map(|block| block.number).collect();
    tracing::warn!(
        object = %file.path,
        first_block = span.start,
        n_blocks = numbers.len(),
        "fetched blocks do not match their checksums, they are fetched once more"
    );
    inner
        .metrics
        .refetched_blocks_total
        .inc_by(numbers.len() as u64);
    let wrong = get(inner, file, &span, &numbers, &mut proved).await?;
    if let Some(block) = wrong.first() {
        inner
            .metrics
            .corrupt_blocks_total
            .inc_by(wrong.len() as u64);
        return Err(corrupted(file, block));
    }
    Ok(proved)
}

async fn turn(inner: &Inner) -> Result<OwnedSemaphorePermit> {
    let turn = Arc::clone(&inner.gets).acquire_owned();
    match within_ms(inner.wait_ms, turn).await {
        Some(Ok(turn)) => Ok(turn),
        Some(Err(_)) => Err(Error::internal("the turns for block reads are closed")),
        None => Err(Error::unavailable(format!(
            "block reads are busy: no turn came free within {} ms",
            inner.wait_ms
        ))
        .with_retry_after_ms(1_000)),
    }
}

/// A block that is not what its checksum says.
struct Wrong {
    number: u32,
    found: Found,
}

enum Found {
    Sum(u32),
    Bytes(usize),
}

/// Reads a run of blocks; puts the wanted ones that are right into `proved` and returns the others.
async fn get(
    inner: &Inner,
    file: &CachedFile,
    run: &Range<u32>,
    wanted: &[u32],
    proved: &mut Vec<(u32, Bytes)>,
) -> Result<Vec<Wrong>> {
    let range = file.range_of(run);
    let fetching = failpoint::reach(FailPoint::M1);
    let mut spoilt = fetching.before().await.is_some();
    let outcome = inner.bucket.get_range(&file.path, range.clone()).await?;
    let mut body = outcome.into_bytes().ok_or_else(|| missing(file))?;
    spoilt |= fetching.after().await.is_some();
    if spoilt {
        body = flipped(&body);
    }
    inner.metrics.fetched_bytes_total.inc_by(body.len() as u64);
    let mut wrong = Vec::new();
    for &number in wanted {
        match prove(file, number, &body, range.start) {
            Ok(bytes) => proved.push((number, Bytes::copy_from_slice(bytes))),
            Err(found) => wrong.push(Wrong { number, found }),
        }
    }
    Ok(wrong)
}

/// What a fault on the way, or in memory, leaves of bytes: one bit is another.
fn flipped(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    bytes.into()
}

/// The bytes of a block in a body that begins at `body_start`, if they match its checksum.
fn prove<'a>(
    file: &CachedFile,
    number: u32,
    body: &'a Bytes,
    body_start: u64,
) -> Result<&'a [u8], Found> {
    let range = file.range_of(&(number..number + 1));
    let within = (range.start - body_start) as usize..(range.end - body_start) as usize;
    let Some(bytes) = body.get(within.clone()) else {
        return Err(Found::Bytes(body.len().saturating_sub(within.start)));
    };
    let sum = crc32c::crc32c(bytes);
    // The reader has checked that there is a checksum for each block.
    if file.sums.get(number as usize) == Some(&sum) {
        Ok(bytes)
    } else {
        Err(Found::Sum(sum))
    }
}

fn missing(file: &CachedFile) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "object_missing",
        format!(
            "object `{}` is not there: it may have been replaced",
            file.path
        ),
    )
    .with_detail("object", &file.path)
    .with_retry_after_ms(1_000)
}

fn corrupted(file: &CachedFile, block: &Wrong) -> Error {
    let range = file.range_of(&(block.number..block.number + 1));
    let (expected, found) = match block.found {
        Found::Sum(found) => {
            let expected = file.sums.get(block.number as usize).copied();
            (
                format!("crc32c {:08x}", expected.unwrap_or_default()),
                format!("crc32c {found:08x}"),
            )
        }
        Found::Bytes(found) => (
            format!("{} bytes", range.end - range.start),
            format!("{found} bytes"),
        ),
    };
    Error::corrupted(format!(
        "object `{}` is damaged at offset {}: expected {expected}, found {found}",
        file.path, range.start
    ))
    .with_detail("object", &file.path)
    .with_detail("offset", range.start)
    .with_detail("expected", expected)
    .with_detail("found", found)
}
