//! Buckets reached through `object_store`: over HTTP, and in memory.
//!
//! Creates go through a client that never repeats a request, so that `Exists` is never our own first
//! attempt; everything else through one that repeats what is safe to repeat.

use std::error::Error as _;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Error as ObjectError, Extensions, GetOptions, GetRange, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use super::http_date::{Exchange, Seen};
use super::{Bucket, CreateOutcome, Fetched, GetOutcome, Listed, StoreError, StoreKind, key};
use crate::types::Timestamp;

/// Most pages one listing reads: bounds a store that always promises one more.
const LIST_PAGES_MAX: usize = 100_000;

/// A bucket behind `object_store`.
pub struct ObjectBucket {
    /// Never repeats a request.
    once: Arc<dyn ObjectStore>,
    /// Repeats what is idempotent.
    retrying: Arc<dyn ObjectStore>,
    /// Lists by plain string prefix; absent in memory.
    pages: Option<Pages>,
    /// Put before every key, empty or ending in `/`.
    root: String,
    kind: StoreKind,
    url: String,
}

/// Page-wise listing by plain string prefix.
#[derive(Clone)]
pub(super) struct Pages {
    /// The client.
    pub(super) store: Arc<dyn PaginatedListStore>,
    /// Whether it takes `start_after` and lists in byte order, so that a limit can be handed on.
    pub(super) ordered: bool,
}

/// The two clients of one HTTP store.
pub(super) struct Clients {
    /// Never repeats a request.
    pub(super) once: Arc<dyn ObjectStore>,
    /// Repeats what is idempotent.
    pub(super) retrying: Arc<dyn ObjectStore>,
    /// Lists.
    pub(super) pages: Pages,
}

impl ObjectBucket {
    /// Makes an empty bucket that lives as long as this value.
    pub fn memory() -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        Self {
            once: store.clone(),
            retrying: store,
            pages: None,
            root: String::new(),
            kind: StoreKind::Memory,
            url: "memory://".to_owned(),
        }
    }

    /// Makes a bucket over HTTP; `root` is empty or ends in `/`, `url` has no secrets.
    pub(super) fn http(clients: Clients, root: String, url: String) -> Self {
        Self {
            once: clients.once,
            retrying: clients.retrying,
            pages: Some(clients.pages),
            root,
            kind: StoreKind::Http,
            url,
        }
    }

    fn path(&self, operation: &'static str, key: &str) -> Result<Path, StoreError> {
        key::check(operation, key)?;
        Path::parse(format!("{}{key}", self.root))
            .map_err(|error| StoreError::determinate(operation, key, error))
    }

    async fn fetch(
        &self,
        operation: &'static str,
        key: &str,
        range: Option<Range<u64>>,
        head: bool,
    ) -> Result<GetOutcome, StoreError> {
        let path = self.path(operation, key)?;
        let seen = Seen::default();
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            head,
            extensions: carrying(&seen),
            ..GetOptions::default()
        };
        let outcome = match self.retrying.get_opts(&path, options).await {
            Ok(_) if head => Ok(Bytes::new()),
            Ok(reply) => reply.bytes().await,
            Err(error) => Err(error),
        };
        let exchange = seen.exchange();
        let found = |bytes| {
            GetOutcome::Found(Fetched {
                bytes,
                store_date: exchange.date,
            })
        };
        match outcome {
            Ok(bytes) => Ok(found(bytes)),
            Err(ObjectError::NotFound { .. }) => Ok(GetOutcome::Missing {
                store_date: exchange.date,
            }),
            // The range starts past the end.
            Err(_) if exchange.status == Some(416) => Ok(found(Bytes::new())),
            Err(error) => Err(self.failed(operation, key, &error, exchange)),
        }
    }

    /// Sorts the failure of an operation that may safely be asked again.
    fn failed(
        &self,
        operation: &'static str,
        key: &str,
        error: &ObjectError,
        exchange: Exchange,
    ) -> StoreError {
        let reason = describe(error);
        if refused(error, exchange) {
            StoreError::determinate(operation, key, reason)
        } else {
            StoreError::indeterminate(operation, key, reason)
        }
    }

    async fn list_pages(
        &self,
        pages: &Pages,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        let full = format!("{}{prefix}", self.root);
        let offset = start_after
            .filter(|_| pages.ordered)
            .map(|after| format!("{}{after}", self.root));
        let mut rows = Vec::new();
        let mut token = None;
        for _ in 0..LIST_PAGES_MAX {
            let wanted = limit.map(|limit| limit.saturating_sub(rows.len()).clamp(1, 1_000));
            let seen = Seen::default();
            let options = PaginatedListOptions {
                offset: offset.clone(),
                max_keys: wanted.filter(|_| pages.ordered),
                page_token: token,
                extensions: carrying(&seen),
                ..PaginatedListOptions::default()
            };
            let page = pages
                .store
                .list_paginated((!full.is_empty()).then_some(full.as_str()), options)
                .await
                .map_err(|error| self.failed("list", prefix, &error, seen.exchange()))?;
            rows.extend(
                page.result
                    .objects
                    .into_iter()
                    .filter_map(|meta| self.row(meta))
                    .filter(|row| selected(&row.key, prefix, start_after)),
            );
            token = page.page_token;
            let full_up = pages.ordered && limit.is_some_and(|limit| rows.len() >= limit);
            if token.is_none() || full_up {
                return Ok(rows);
            }
        }
        Err(StoreError::indeterminate(
            "list",
            prefix,
            format!("the listing did not end within {LIST_PAGES_MAX} pages"),
        ))
    }

    async fn list_stream(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> Result<Vec<Listed>, StoreError> {
        let failed = |error: ObjectError| StoreError::determinate("list", prefix, error);
        let (folder, _) = key::split_prefix(prefix);
        let folder =
            Path::parse(folder).map_err(|error| StoreError::determinate("list", prefix, error))?;
        let mut rows = Vec::new();
        let mut stream = self.retrying.list(Some(&folder));
        while let Some(meta) = stream.try_next().await.map_err(failed)? {
            rows.extend(
                self.row(meta)
                    .filter(|row| selected(&row.key, prefix, start_after)),
            );
        }
        Ok(rows)
    }

    fn row(&self, meta: ObjectMeta) -> Option<Listed> {
        let key = meta.location.as_ref().strip_prefix(&self.root)?;
        Some(Listed {
            key: key.to_owned(),
            size_bytes: meta.size,
            last_modified: Timestamp(meta.last_modified.timestamp_millis()),
        })
    }
}

#[async_trait]
impl Bucket for ObjectBucket {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        let path = self.path("create", key)?;
        let seen = Seen::default();
        let options = PutOptions {
            mode: PutMode::Create,
            extensions: carrying(&seen),
            ..PutOptions::default()
        };
        let outcome = self
            .once
            .put_opts(&path, PutPayload::from_bytes(bytes), options)
            .await;
        let exchange = seen.exchange();
        match outcome {
            Ok(_) => Ok(CreateOutcome::Created {
                store_date: exchange.date,
            }),
            Err(ObjectError::AlreadyExists { .. }) => Ok(CreateOutcome::Exists),
            Err(error) if certainly_not_created(self.kind, &error, exchange) => {
                Err(StoreError::determinate("create", key, describe(&error)))
            }
            Err(error) => Ok(CreateOutcome::Unknown(StoreError::indeterminate(
                "create",
                key,
                describe(&error),
            ))),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.path("put", key)?;
        let seen = Seen::default();
        let options = PutOptions {
            extensions: carrying(&seen),
            ..PutOptions::default()
        };
        self.retrying
            .put_opts(&path, PutPayload::from_bytes(bytes), options)
            .await
            .map(|_| ())
            .map_err(|error| self.failed("put", key, &error, seen.exchange()))
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        self.fetch("get", key, None, false).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        if range.start >= range.end {
            return self.fetch("get_range", key, None, true).await;
        }
        if self.kind != StoreKind::Memory {
            return self.fetch("get_range", key, Some(range), false).await;
        }
        // Memory refuses a range past the end without telling why; slicing costs nothing there.
        let whole = self.fetch("get_range", key, None, false).await?;
        Ok(whole.map_bytes(|bytes| {
            let n_bytes = bytes.len() as u64;
            let start = range.start.min(n_bytes) as usize;
            let end = range.end.min(n_bytes) as usize;
            bytes.slice(start..end)
        }))
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        key::check_prefix(prefix)?;
        if limit == Some(0) {
            return Ok(Vec::new());
        }
        let mut rows = match &self.pages {
            Some(pages) => self.list_pages(pages, prefix, start_after, limit).await?,
            None => self.list_stream(prefix, start_after).await?,
        };
        // No store is trusted to sort.
        rows.sort_unstable_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
        rows.truncate(limit.unwrap_or(usize::MAX));
        Ok(rows)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path("delete", key)?;
        match self.retrying.delete(&path).await {
            Ok(()) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", key, &error, Exchange::default())),
        }
    }

    fn kind(&self) -> StoreKind {
        self.kind
    }

    fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for ObjectBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The clients would print their whole configuration.
        f.debug_struct("ObjectBucket")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Whether a failed create certainly left nothing behind, now and later.
fn certainly_not_created(kind: StoreKind, error: &ObjectError, exchange: Exchange) -> bool {
    if kind == StoreKind::Memory || !exchange.sent || exchange.never_connected {
        return true;
    }
    refused(error, exchange) || exchange.status == Some(429)
}

/// Whether the store understood and refused, so that asking again would be refused again.
fn refused(error: &ObjectError, exchange: Exchange) -> bool {
    let by_status = exchange
        .status
        .is_some_and(|status| (300..500).contains(&status) && !matches!(status, 408 | 429));
    let by_kind = matches!(
        error,
        ObjectError::PermissionDenied { .. }
            | ObjectError::Unauthenticated { .. }
            | ObjectError::NotSupported { .. }
            | ObjectError::NotImplemented { .. }
            | ObjectError::InvalidPath { .. }
            | ObjectError::UnknownConfigurationKey { .. }
    );
    by_status || by_kind
}

/// Filters again what the store was asked to filter: not every store does.
fn selected(key: &str, prefix: &str, start_after: Option<&str>) -> bool {
    key.starts_with(prefix) && start_after.is_none_or(|after| key > after)
}

fn carrying(seen: &Seen) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(seen.clone());
    extensions
}

/// The error's text on one line, bounded: stores answer with whole XML pages. Its innermost cause is added
/// where the text leaves it out: "error sending request" alone tells nobody what to mend.
fn describe(error: &ObjectError) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    if let Some(innermost) = causes.last().map(ToString::to_string)
        && !text.contains(&innermost)
    {
        text = format!("{text}: {innermost}");
    }
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().take(600).collect()
}
