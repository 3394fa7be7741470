//! From a URL to a bucket.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::http_date::WatchingConnector;
use super::local::{LocalBucket, Swept};
use super::object::{Clients, ObjectBucket, Pages};
use super::{Bucket, key};
use crate::error::{Error, ErrorKind, Result};

/// Settings of a store. What is `None` comes from the usual environment of the provider
/// (`AWS_*`, `GOOGLE_*`, `AZURE_*`), then from its defaults.
#[derive(Clone)]
pub struct StoreOptions {
    /// Where an S3-compatible or Azure-compatible server answers, such as `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// S3 region.
    pub region: Option<String>,
    /// S3 access key id; for Azure the account name.
    pub access_key_id: Option<String>,
    /// S3 secret access key; for Azure the account key.
    pub secret_access_key: Option<String>,
    /// Whether plain HTTP is allowed.
    pub allow_http: bool,
    /// How long one attempt may take, milliseconds.
    pub request_timeout_ms: u64,
    /// How long making a connection may take, milliseconds.
    pub connect_timeout_ms: u64,
    /// How often the client itself repeats an idempotent request; creates are never repeated.
    pub retries_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key: None,
            allow_http: false,
            request_timeout_ms: 30_000,
            connect_timeout_ms: 5_000,
            retries_max: 2,
        }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let given = |secret: &Option<String>| secret.as_ref().map(|_| "(hidden)");
        f.debug_struct("StoreOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &given(&self.access_key_id))
            .field("secret_access_key", &given(&self.secret_access_key))
            .field("allow_http", &self.allow_http)
            .field("request_timeout_ms", &self.request_timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("retries_max", &self.retries_max)
            .finish()
    }
}

/// Opens the bucket a URL names: `file:///abs/dir`, a plain path, `memory://`, `s3://bucket/prefix`,
/// `gs://bucket/prefix` or `az://container/prefix`. A missing local directory is made. Nothing is
/// asked over the network yet.
///
/// Errors: `InvalidRequest` (`invalid_store_url`) for a URL or settings that make no sense,
/// `Unavailable` for a directory that cannot be used.
pub async fn open(url: &str, options: &StoreOptions) -> Result<Arc<dyn Bucket>> {
    if let Some(path) = local_path(url)? {
        return Ok(Arc::new(LocalBucket::open(path).await?));
    }
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    match scheme {
        "memory" => Ok(Arc::new(ObjectBucket::memory())),
        "s3" => {
            let place = Place::parse(scheme, rest)?;
            let clients = s3(&place, options).map_err(bad_settings)?;
            Ok(place.bucket(clients))
        }
        "gs" => {
            let place = Place::parse(scheme, rest)?;
            let clients = gs(&place, options).map_err(bad_settings)?;
            Ok(place.bucket(clients))
        }
        "az" => {
            let place = Place::parse(scheme, rest)?;
            let clients = az(&place, options).map_err(bad_settings)?;
            Ok(place.bucket(clients))
        }
        other => Err(bad_url(format!(
            "unknown store scheme `{other}`: expected file, memory, s3, gs or az, or a path"
        ))),
    }
}

/// Whether the local directory that a URL names exists; other stores are not asked: `true`.
///
/// Errors: `InvalidRequest` (`invalid_store_url`).
pub async fn exists(url: &str) -> Result<bool> {
    match local_path(url)? {
        Some(path) => Ok(LocalBucket::exists(path).await),
        None => Ok(true),
    }
}

/// Removes the unfinished files that crashes left in a local directory; `None` for other stores, which
/// leave none. Errors: as [`open`] and [`LocalBucket::sweep`].
pub async fn sweep(url: &str) -> Result<Option<Swept>> {
    let Some(path) = local_path(url)? else {
        return Ok(None);
    };
    LocalBucket::open(path).await?.sweep().await.map(Some)
}

/// The directory a URL names; `None` for a store that is none.
fn local_path(url: &str) -> Result<Option<String>> {
    match url.split_once("://") {
        None if url.is_empty() => Err(bad_url("empty store url: expected a path or a url")),
        None => Ok(Some(url.to_owned())),
        Some(("file", rest)) => file_path(rest).map(Some),
        Some(_) => Ok(None),
    }
}

/// The path of a `file://` URL: no host, percent signs decoded. `file://./dir` is relative to the working
/// folder: no URL by the book, but what people write.
fn file_path(rest: &str) -> Result<String> {
    if rest.starts_with("./") {
        return Ok(rest.to_owned());
    }
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        return Err(bad_url(format!(
            "invalid store url `file://{rest}`: expected an absolute path such as `file:///var/lib/elacsym`, or `file://./dir`"
        )));
    }
    let url = url::Url::parse(&format!("file://{rest}"))
        .map_err(|error| bad_url(format!("invalid store url `file://{rest}`: {error}")))?;
    let path = url.to_file_path().ok();
    path.and_then(|path| path.to_str().map(str::to_owned))
        .ok_or_else(|| bad_url(format!("invalid store url `file://{rest}`: not a path")))
}

/// A bucket and the prefix in it.
struct Place {
    scheme: &'static str,
    name: String,
    /// Empty or ending in `/`.
    root: String,
}

impl Place {
    fn parse(scheme: &str, rest: &str) -> Result<Self> {
        let scheme = match scheme {
            "s3" => "s3",
            "gs" => "gs",
            _ => "az",
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        // An `@`, `:` or `?` here is a mistyped credential: it is refused and not repeated.
        if name.is_empty() || !name.bytes().all(legal) {
            return Err(bad_url(format!(
                "invalid store url: expected `{scheme}://bucket/prefix` with letters, digits, - _ . in the bucket"
            )));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(Self {
                scheme,
                name: name.to_owned(),
                root: String::new(),
            });
        }
        let plain = |byte: u8| legal(byte) || matches!(byte, b'/' | b'=' | b'+');
        if !prefix.bytes().all(plain) || key::check("open", prefix).is_err() {
            return Err(bad_url(format!(
                "invalid store url: the prefix after `{scheme}://{name}/` may hold parts of letters, digits, - _ . = + only"
            )));
        }
        Ok(Self {
            scheme,
            name: name.to_owned(),
            root: format!("{prefix}/"),
        })
    }

    fn bucket(&self, clients: Clients) -> Arc<dyn Bucket> {
        let root = self.root.trim_end_matches('/');
        let url = if root.is_empty() {
            format!("{}://{}", self.scheme, self.name)
        } else {
            format!("{}://{}/{root}", self.scheme, self.name)
        };
        Arc::new(ObjectBucket::http(clients, self.root.clone(), url))
    }
}

fn s3(place: &Place, options: &StoreOptions) -> object_store::Result<Clients> {
    let build = |retries_max| {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&place.name)
            .with_client_options(client_options(options))
            .with_retry(retry_config(retries_max))
            // One key a request: the bulk call is missing in some stores.
            .with_disable_bulk_delete(true)
            .with_http_connector(WatchingConnector);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        if let Some(id) = &options.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(secret) = &options.secret_access_key {
            builder = builder.with_secret_access_key(secret);
        }
        builder.build()
    };
    // Directory buckets neither sort nor take a start.
    let ordered = !place.name.ends_with("--x-s3");
    clients(options, ordered, build)
}

fn gs(place: &Place, options: &StoreOptions) -> object_store::Result<Clients> {
    let build = |retries_max| {
        let mut builder = GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(&place.name)
            .with_client_options(client_options(options))
            .with_retry(retry_config(retries_max))
            .with_http_connector(WatchingConnector);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        builder.build()
    };
    clients(options, true, build)
}

fn az(place: &Place, options: &StoreOptions) -> object_store::Result<Clients> {
    let build = |retries_max| {
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_container_name(&place.name)
            .with_client_options(client_options(options))
            .with_retry(retry_config(retries_max))
            .with_http_connector(WatchingConnector);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        if let Some(account) = &options.access_key_id {
            builder = builder.with_account(account);
        }
        if let Some(secret) = &options.secret_access_key {
            builder = builder.with_access_key(secret);
        }
        builder.build()
    };
    clients(options, true, build)
}

/// The two clients of a store, as `build` makes them for so many retries.
fn clients<S: ObjectStore + PaginatedListStore>(
    options: &StoreOptions,
    ordered: bool,
    build: impl Fn(usize) -> object_store::Result<S>,
) -> object_store::Result<Clients> {
    install_tls_provider();
    let retrying = Arc::new(build(options.retries_max)?);
    Ok(Clients {
        once: Arc::new(build(0)?),
        pages: Pages {
            store: retrying.clone(),
            ordered,
        },
        retrying,
    })
}

fn client_options(options: &StoreOptions) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(options.allow_http)
        .with_timeout(Duration::from_millis(options.request_timeout_ms))
        .with_connect_timeout(Duration::from_millis(options.connect_timeout_ms))
}

fn retry_config(retries_max: usize) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: retries_max,
        retry_timeout: Duration::from_secs(30),
    }
}

/// Chooses ring for TLS; whoever chose before keeps their choice.
fn install_tls_provider() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // An error says that the process has a provider already, which is all we need.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn bad_url(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, "invalid_store_url", message)
}

/// Builder errors name settings, but some repeat a value: only the kind of the trouble is told.
fn bad_settings(error: object_store::Error) -> Error {
    let store = match &error {
        object_store::Error::Generic { store, .. } => store,
        _ => "store",
    };
    bad_url(format!(
        "{store} settings are incomplete or contradict each other: check endpoint, region, credentials and whether plain http is allowed"
    ))
}
