//! What can go wrong in a store, sorted by what it says about the object.

use crate::error::{Error, ErrorKind};

/// A failed store operation. Kept apart: certainly nothing happened, or nobody knows.
///
/// For the idempotent operations the same line decides about retries: a `Determinate` refusal would be
/// refused again, an `Indeterminate` failure may pass.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operation certainly changed nothing.
    #[error("store refused {operation} of `{key}`: {reason}")]
    Determinate {
        /// Which operation.
        operation: &'static str,
        /// On which key or prefix.
        key: String,
        /// What the store or the operating system said.
        reason: String,
    },
    /// The operation may have happened, or may still happen.
    #[error("store gave no clear answer to {operation} of `{key}`: {reason}")]
    Indeterminate {
        /// Which operation.
        operation: &'static str,
        /// On which key or prefix.
        key: String,
        /// What was seen.
        reason: String,
    },
}

impl StoreError {
    /// Certainly nothing happened.
    pub fn determinate(
        operation: &'static str,
        key: impl Into<String>,
        reason: impl ToString,
    ) -> Self {
        Self::Determinate {
            operation,
            key: key.into(),
            reason: reason.to_string(),
        }
    }

    /// It may have happened.
    pub fn indeterminate(
        operation: &'static str,
        key: impl Into<String>,
        reason: impl ToString,
    ) -> Self {
        Self::Indeterminate {
            operation,
            key: key.into(),
            reason: reason.to_string(),
        }
    }
}

impl StoreError {
    /// Whether asking an idempotent operation again may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Determinate { .. } => false,
            Self::Indeterminate { .. } => true,
        }
    }
}

impl From<StoreError> for Error {
    /// A store that fails is `Unavailable`; whoever wrote with it must have resolved the outcome before.
    /// Its text is the message: as the source too it would be told twice.
    fn from(error: StoreError) -> Self {
        Self::new(
            ErrorKind::Unavailable,
            "store_unavailable",
            error.to_string(),
        )
        .with_retry_after_ms(1_000)
    }
}
