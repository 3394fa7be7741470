//! The one error type that crosses floors.
//!
//! The *kind* tells a caller what to do next, the *code* is a stable name for machines, the *message*
//! tells a human what happened (lower case, no full stop, names the thing, gives expected and found),
//! the *source* tells a developer why. `Display` never repeats the source.

use std::fmt;

/// What the caller should do next. Closed: a fifteenth kind needs a decision record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The request has the wrong shape (422): fix the program that sent it.
    Malformed,
    /// The request is well formed but makes no sense here (400): fix the values.
    InvalidRequest,
    /// The named thing does not exist (404).
    NotFound,
    /// The state asked for is no longer kept (410).
    Gone,
    /// Something already exists, or changed underneath (409).
    Conflict,
    /// A condition of the request did not hold (412).
    PreconditionFailed,
    /// No valid key was sent (401).
    Unauthenticated,
    /// The key is valid but not for this (403).
    PermissionDenied,
    /// A rate or size quota is used up (429): wait.
    QuotaExceeded,
    /// The request is larger than a hard limit (413): split it.
    TooLarge,
    /// A fault that may pass; nothing was changed (503): retry.
    Unavailable,
    /// The write may or may not have happened (503): retry with the same `Idempotency-Key`.
    OutcomeUnknown,
    /// Stored bytes are wrong; data needs a human (500).
    Corrupted,
    /// A bug in Elacsym (500): report it.
    Internal,
}

/// An error with its kind, stable code, message, details and cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    details: Vec<(&'static str, String)>,
    retry_after_ms: Option<u64>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The code of errors about an operation that a later version serves: HTTP says 501.
pub const NOT_SUPPORTED: &str = "not_supported";

/// The result of everything that may fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error; `code` is a stable snake_case name, `message` follows the rules of this page.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            details: Vec::new(),
            retry_after_ms: None,
            source: None,
        }
    }

    /// 422, code `malformed`.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, "malformed", message)
    }

    /// 400, code `invalid_request`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, "invalid_request", message)
    }

    /// Code `not_supported`: an operation that a later version serves.
    pub fn not_supported(feature: &str) -> Self {
        let message = format!("`{feature}` is not supported by this version");
        Self::new(ErrorKind::InvalidRequest, NOT_SUPPORTED, message).with_detail("feature", feature)
    }

    /// 503, code `unavailable`: nothing changed.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, "unavailable", message)
    }

    /// 503, code `outcome_unknown`.
    pub fn outcome_unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::OutcomeUnknown, "outcome_unknown", message)
    }

    /// 500, code `data_corrupt`.
    pub fn corrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupted, "data_corrupt", message)
    }

    /// 500, code `internal`.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "internal", message)
    }

    /// Adds one named detail.
    #[must_use]
    pub fn with_detail(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.details.push((key, value.to_string()));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says how long waiting may help, milliseconds.
    #[must_use]
    pub fn with_retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// Says where in a request it is, before the message.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same error for another of the requests that shared its cause; the chain becomes its source's text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            kind: self.kind,
            code: self.code,
            message: self.message.clone(),
            details: self.details.clone(),
            retry_after_ms: self.retry_after_ms,
            source: self.source.as_ref().map(|source| source.to_string().into()),
        }
    }

    /// What the caller should do next.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stable machine-readable name.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The human sentence, without the cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Named facts.
    pub fn details(&self) -> &[(&'static str, String)] {
        &self.details
    }

    /// One of the facts, by its name.
    pub fn detail(&self, name: &str) -> Option<&str> {
        let mut details = self.details().iter();
        let (_, fact) = details.find(|(key, _)| *key == name)?;
        Some(fact)
    }

    /// How long waiting may help, milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }

    /// The whole chain of causes on one line, for the one place that logs it.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
