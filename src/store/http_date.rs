//! What one HTTP exchange showed: whether it was sent, its status, and the store's clock.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use parking_lot::Mutex;

use crate::types::Timestamp;

/// A slot travelling in a request's extensions: failed calls carry nothing back otherwise.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Exchange>>);

/// The last attempt of a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Exchange {
    /// The request was handed to the network; false where, say, no credentials could be found.
    pub(super) sent: bool,
    /// No connection was made, so the store cannot have seen it.
    pub(super) never_connected: bool,
    /// The status of the reply.
    pub(super) status: Option<u16>,
    /// The `Date` of the reply, one-second resolution.
    pub(super) date: Option<Timestamp>,
}

impl Seen {
    /// What was seen so far.
    pub(super) fn exchange(&self) -> Exchange {
        *self.0.lock()
    }

    fn on_send(&self) {
        *self.0.lock() = Exchange {
            sent: true,
            ..Exchange::default()
        };
    }

    fn on_reply(&self, response: &HttpResponse) {
        let date = response
            .headers()
            .get(http::header::DATE)
            .and_then(|value| value.to_str().ok())
            .and_then(parse_date);
        let mut exchange = self.0.lock();
        exchange.status = Some(response.status().as_u16());
        exchange.date = date;
    }

    fn on_error(&self, error: &HttpError) {
        self.0.lock().never_connected = error.kind() == HttpErrorKind::Connect;
    }
}

/// Parses an HTTP date (`Tue, 15 Nov 1994 08:12:31 GMT`).
pub(super) fn parse_date(text: &str) -> Option<Timestamp> {
    let time = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp(time.timestamp_millis()))
}

/// Makes the ordinary HTTP client and looks at what passes.
#[derive(Debug, Clone, Default)]
pub(super) struct WatchingConnector;

impl HttpConnector for WatchingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Watching { inner }))
    }
}

#[derive(Debug)]
struct Watching {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Watching {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(seen) = request.extensions().get::<Seen>().cloned() else {
            return self.inner.execute(request).await;
        };
        seen.on_send();
        let outcome = self.inner.execute(request).await;
        match &outcome {
            Ok(response) => seen.on_reply(response),
            Err(error) => seen.on_error(error),
        }
        outcome
    }
}
