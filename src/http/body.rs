//! Request bodies: bounded and paid for before they are held, decoded where compressed.

use std::io::{Cursor, Read};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;

use super::AppState;
use super::error::Problem;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Permit;
use crate::runtime::clock::within_ms;
use crate::types::limits;

/// Bodies up to this size are parsed where they arrive, bytes; larger ones would hold up other requests.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Memory reserved at a time for a body of unknown size, bytes.
const STEP_BYTES: u64 = 1 << 20;

/// Bytes decoded between two looks at the limits: first and largest.
const DECODE_BYTES_FIRST: u64 = 256 << 10;
const DECODE_BYTES_MAX: u64 = 8 << 20;

/// Longest silence in the middle of a body, milliseconds.
const IDLE_MS: u64 = 30_000;

/// A whole body, decoded, and the memory it was paid with: hold it until the request is done.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    _permits: Vec<Permit>,
}

/// Reads a body.
///
/// Errors: 413 over the limit, as sent or decoded; 415 for an unknown `Content-Encoding`; 400 for broken
/// gzip or a body that breaks off; 408 for one that stalls; 503 where there is no memory for it.
pub(super) async fn read(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
) -> std::result::Result<Payload, Problem> {
    let gzip = is_gzip(headers)?;
    let limit = state
        .settings
        .max_body_bytes
        .min(limits::REQUEST_BODY_BYTES_MAX as u64);
    let mut permits = Vec::new();
    let sent = receive(state, headers, body, limit, &mut permits).await?;
    if !gzip {
        return Ok(Payload {
            bytes: sent,
            _permits: permits,
        });
    }
    let mut decoded_permits = Vec::new();
    let bytes = gunzip(state, sent, limit, &mut decoded_permits).await?;
    Ok(Payload {
        bytes,
        _permits: decoded_permits,
    })
}

/// Runs `parse` over a body: on the compute pool if the body is large.
pub(super) async fn parse<T: Send + 'static>(
    state: &AppState,
    bytes: Bytes,
    parse: impl FnOnce(&[u8]) -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes.len() <= INLINE_BYTES_MAX {
        return parse(&bytes);
    }
    state.compute.run(move || parse(&bytes)).await?
}

fn is_gzip(headers: &HeaderMap) -> std::result::Result<bool, Problem> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let value = match (encodings.next(), encodings.next()) {
        (None, _) => return Ok(false),
        (Some(value), None) => value.to_str().unwrap_or("?").trim().to_ascii_lowercase(),
        (Some(_), Some(_)) => "several".to_owned(),
    };
    match value.as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        other => {
            let found: String = other.chars().take(100).collect();
            let message = format!(
                "unsupported `Content-Encoding`: expected gzip or identity, found `{found}`"
            );
            let error = Error::new(ErrorKind::InvalidRequest, "unsupported_encoding", message);
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error))
        }
    }
}

async fn receive(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    permits: &mut Vec<Permit>,
) -> std::result::Result<Bytes, Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut reserved = 0;
    if let Some(bytes) = announced {
        if bytes > limit {
            return Err(too_large("the body", limit, &bytes.to_string()).into());
        }
        permits.push(state.budget.reserve(bytes).await?);
        reserved = bytes;
    }
    let mut received = BytesMut::new();
    let mut frames = body.into_data_stream();
    loop {
        let frame = match within_ms(IDLE_MS, frames.next()).await {
            Some(None) => return Ok(received.freeze()),
            Some(Some(Ok(frame))) => frame,
            Some(Some(Err(error))) => {
                return Err(Error::invalid("the body broke off")
                    .with_source(error)
                    .into());
            }
            None => return Err(stalled()),
        };
        let bytes = (received.len() + frame.len()) as u64;
        if bytes > limit {
            return Err(too_large("the body", limit, &format!("at least {bytes}")).into());
        }
        while bytes > reserved {
            permits.push(state.budget.reserve(STEP_BYTES).await?);
            reserved += STEP_BYTES;
        }
        received.extend_from_slice(&frame);
    }
}

/// Decodes in steps, each paid for before it is made: a small body that grows without end meets the limit
/// or the end of the budget, not the end of the memory.
async fn gunzip(
    state: &AppState,
    sent: Bytes,
    limit: u64,
    permits: &mut Vec<Permit>,
) -> Result<Bytes> {
    let mut decoder = MultiGzDecoder::new(Cursor::new(sent));
    let mut decoded = Vec::new();
    let mut step = DECODE_BYTES_FIRST;
    loop {
        permits.push(state.budget.reserve(step).await?);
        let work = move || {
            let read = (&mut decoder).take(step).read_to_end(&mut decoded);
            (decoder, decoded, read)
        };
        let (decoder_back, decoded_back, read) = state.compute.run(work).await?;
        (decoder, decoded) = (decoder_back, decoded_back);
        let read = read.map_err(|error| {
            Error::new(
                ErrorKind::InvalidRequest,
                "bad_gzip",
                "the body is not gzip",
            )
            .with_source(error)
        })?;
        if decoded.len() as u64 > limit {
            let found = format!("at least {}", decoded.len());
            return Err(too_large("the decoded body", limit, &found));
        }
        if (read as u64) < step {
            return Ok(Bytes::from(decoded));
        }
        step = (step * 2).min(DECODE_BYTES_MAX);
    }
}

fn too_large(what: &str, limit: u64, found: &str) -> Error {
    let message = format!("{what} is too large: expected at most {limit} bytes, found {found}");
    Error::new(ErrorKind::TooLarge, "body_too_large", message)
        .with_detail("limit", limit)
        .with_detail("found", found)
}

fn stalled() -> Problem {
    let message = format!("the body stalled: nothing came for {IDLE_MS} ms");
    let error = Error::new(ErrorKind::Unavailable, "body_stalled", message);
    Problem::new(StatusCode::REQUEST_TIMEOUT, error)
}
