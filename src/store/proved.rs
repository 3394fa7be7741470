//! Small objects that prove themselves: what does not decode is read once more.

use bytes::Bytes;

use super::{GetOutcome, StoreError};
use crate::error::{ErrorKind, Result};
use crate::types::Timestamp;

/// What reading and decoding found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proved<T> {
    /// The object, decoded.
    Found(T),
    /// There is none.
    Missing {
        /// The store's clock when it said so, where it tells one.
        store_date: Option<Timestamp>,
    },
}

impl<T> Proved<T> {
    /// The object, for callers to whom the date of its absence means nothing.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Missing { .. } => None,
        }
    }
}

/// Reads an object and decodes it. Bytes that turn out to be damaged are read once more, past nothing: the
/// fault may have been on the way.
///
/// Errors: of the store; what `decode` says of the second read. Cancel safe.
pub async fn read_proved<T, F>(
    key: &str,
    read: impl Fn() -> F,
    decode: impl Fn(Bytes) -> Result<T>,
) -> Result<Proved<T>>
where
    F: Future<Output = Result<GetOutcome, StoreError>>,
{
    let mut damage = None;
    loop {
        let bytes = match (read().await?, damage.take()) {
            // It was there, damaged: that it is gone now must not pass for its never having been.
            (GetOutcome::Missing { .. }, Some(damage)) => return Err(damage),
            (GetOutcome::Missing { store_date }, None) => {
                return Ok(Proved::Missing { store_date });
            }
            (GetOutcome::Found(found), Some(_)) => return decode(found.bytes).map(Proved::Found),
            (GetOutcome::Found(found), None) => found.bytes,
        };
        match decode(bytes) {
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                tracing::warn!(
                    object_key = %key,
                    error = %error.chain(),
                    "object does not prove itself, it is read once more"
                );
                damage = Some(error);
            }
            decoded => return decoded.map(Proved::Found),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Error;
    use crate::store::Bucket;
    use crate::store::fault::{FaultRates, Faulty, ReadFault};
    use crate::store::object::ObjectBucket;

    fn decode(bytes: Bytes) -> Result<Bytes> {
        match bytes.as_ref() {
            b"whole" => Ok(bytes),
            other => Err(Error::corrupted(format!("found {other:?}"))),
        }
    }

    #[tokio::test]
    async fn read_of_bytes_that_arrive_wrong_once_is_right_and_twice_is_corrupted() {
        let inner: Arc<dyn Bucket> = Arc::new(ObjectBucket::memory());
        inner
            .put("k", Bytes::from_static(b"whole"))
            .await
            .expect("a put");
        let faulty = Faulty::new(inner, FaultRates::default(), 0);
        let read = async || read_proved("k", || faulty.get("k"), decode).await;
        faulty.script_reads([(1, ReadFault::Flip(0))]);
        let found = read().await.expect("the second read").found();
        assert_eq!(found.as_deref(), Some(b"whole".as_slice()));
        faulty.script_reads([(3, ReadFault::Flip(0)), (4, ReadFault::Truncate(2))]);
        let error = read().await.expect_err("wrong twice");
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        // No more than two: the fifth read is the next caller's.
        faulty.script_reads([(5, ReadFault::Refuse)]);
        assert_eq!(
            read().await.expect_err("refused").code(),
            "store_unavailable"
        );
        let missing = read_proved("none", || faulty.get("none"), decode).await;
        assert_eq!(missing.expect("an answer").found(), None);
    }

    #[tokio::test]
    async fn read_of_damaged_bytes_that_are_gone_the_next_time_is_corrupted_not_missing() {
        let reads = std::cell::Cell::new(0);
        let read = async || {
            reads.set(reads.get() + 1);
            Ok(match reads.get() {
                1 => GetOutcome::Found(crate::store::Fetched {
                    bytes: Bytes::from_static(b"bad"),
                    store_date: None,
                }),
                _ => GetOutcome::Missing { store_date: None },
            })
        };
        let error = read_proved("k", read, decode).await.expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert_eq!(reads.get(), 2);
    }
}
