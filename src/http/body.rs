//! Request bodies: bounded and paid for before they are held, decoded where compressed.

use std::io::{Cursor, Read};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::StreamExt;

use super::AppState;
use super::error::Problem;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::clock::within_ms;
use crate::runtime::{Meter, Permit};
use crate::types::limits;

/// Bodies up to this size are parsed where they arrive, bytes; larger ones would hold up other requests.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// First room of a body whose size is not known before, bytes; then it doubles.
const GROW_BYTES_MIN: u64 = 64 << 10;

/// Longest silence in the middle of a body, milliseconds.
const IDLE_MS: u64 = 30_000;

/// Most memory that a body may become once parsed: this many times its bytes, and a part for small bodies.
/// Vectors and texts take one to four times their bytes; only bodies of tiny values come near.
const PARSED_TIMES_MAX: u64 = 8;
const PARSED_BYTES_BASE: u64 = 64 << 20;

/// A whole body, decoded, and the memory it was paid with.
#[derive(Debug)]
pub(super) struct Payload {
    bytes: Bytes,
    permits: Vec<Permit>,
}

/// The memory that a request was paid with, its body's and that of what was parsed: hold it until the request
/// is done.
#[derive(Debug)]
#[must_use = "the memory is given back when this is dropped"]
pub(super) struct Paid {
    _permits: Vec<Permit>,
}

impl FromRequest<AppState> for Payload {
    type Rejection = Problem;

    /// Reads the body.
    ///
    /// Errors: 413 over the limit, as sent or decoded; 415 for an unknown `Content-Encoding`; 400 for broken
    /// gzip or a body that breaks off; 408 for one that stalls; 503 where there is no memory for it.
    async fn from_request(
        request: Request,
        state: &AppState,
    ) -> std::result::Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let gzip = is_gzip(&parts.headers)?;
        let limit = state
            .settings
            .max_body_bytes
            .min(limits::REQUEST_BODY_BYTES_MAX as u64);
        let sent = receive(state, &parts.headers, body, limit).await?;
        if !gzip {
            return Ok(sent);
        }
        Ok(gunzip(state, sent, limit).await?)
    }
}

impl Payload {
    /// Runs `parse` over the body: on the compute pool if it is large.
    ///
    /// What it allocates is counted by the meter. Cancel safe: a parse that has begun goes on and pays until its
    /// end.
    pub(super) async fn parse<T: Send + 'static>(
        self,
        state: &AppState,
        parse: impl FnOnce(&[u8], &Meter) -> Result<T> + Send + 'static,
    ) -> Result<(T, Paid)> {
        let held = self.permits.iter().map(Permit::bytes).sum();
        let limit = PARSED_BYTES_BASE + PARSED_TIMES_MAX * self.bytes.len() as u64;
        let meter = Meter::new(state.budget.clone(), held, limit);
        let inline = self.bytes.len() <= INLINE_BYTES_MAX;
        let work = move || {
            let Self { bytes, mut permits } = self;
            let parsed = parse(&bytes, &meter)?;
            permits.extend(meter.into_permits());
            Ok((parsed, Paid { _permits: permits }))
        };
        if inline {
            return work();
        }
        state.compute.run(work).await?
    }
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
) -> std::result::Result<Payload, Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut buffer = Buffer::default();
    if let Some(bytes) = announced {
        if bytes > limit {
            return Err(too_large("the body", limit, &bytes.to_string()).into());
        }
        buffer.make_room(state, bytes).await?;
    }
    let mut frames = body.into_data_stream();
    loop {
        let frame = match within_ms(IDLE_MS, frames.next()).await {
            Some(None) => return Ok(buffer.finish()),
            Some(Some(Ok(frame))) => frame,
            Some(Some(Err(error))) => {
                return Err(Error::invalid("the body broke off")
                    .with_source(error)
                    .into());
            }
            None => return Err(stalled()),
        };
        let bytes = (buffer.bytes.len() + frame.len()) as u64;
        if bytes > limit {
            return Err(too_large("the body", limit, &format!("at least {bytes}")).into());
        }
        if bytes > buffer.bytes.capacity() as u64 {
            buffer.grow(state, bytes, limit).await?;
        }
        buffer.bytes.extend_from_slice(&frame);
    }
}

/// Bytes that come in, and the permit for all the room they have.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    permits: Vec<Permit>,
}

impl Buffer {
    /// Makes room for `bytes` at least: twice what there was, within `limit`.
    async fn grow(&mut self, state: &AppState, bytes: u64, limit: u64) -> Result<()> {
        let twice = (self.bytes.capacity() as u64).saturating_mul(2);
        let room = twice.max(GROW_BYTES_MIN).min(limit).max(bytes);
        self.make_room(state, room).await
    }

    /// Old and new room both exist while the bytes move, and are paid for.
    async fn make_room(&mut self, state: &AppState, room: u64) -> Result<()> {
        let permit = state.budget.reserve(room).await?;
        // Both limits are far below the largest usize.
        let more = (room as usize).saturating_sub(self.bytes.len());
        self.bytes.reserve_exact(more);
        self.permits = vec![permit];
        Ok(())
    }

    fn finish(self) -> Payload {
        Payload {
            bytes: Bytes::from(self.bytes),
            permits: self.permits,
        }
    }
}

/// Decodes in steps, each paid for before it is made: a small body that grows without end meets the limit
/// or the end of the budget, not the end of the memory.
async fn gunzip(state: &AppState, sent: Payload, limit: u64) -> Result<Payload> {
    let mut decoder = MultiGzDecoder::new(Cursor::new(sent.bytes));
    let mut decoded = Buffer::default();
    loop {
        // One byte more than allowed tells a body over the limit from one that just meets it.
        let wanted = decoded.bytes.len() as u64 + 1;
        decoded.grow(state, wanted, limit + 1).await?;
        let free = decoded.bytes.capacity() - decoded.bytes.len();
        let work = move || {
            let step = free as u64;
            let read = (&mut decoder).take(step).read_to_end(&mut decoded.bytes);
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
        if decoded.bytes.len() as u64 > limit {
            let found = format!("at least {}", decoded.bytes.len());
            return Err(too_large("the decoded body", limit, &found));
        }
        if read < free {
            return Ok(decoded.finish());
        }
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
