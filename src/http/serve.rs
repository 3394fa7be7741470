//! The listener: accepts connections, serves each as a task, and lets them end.

use std::io;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::runtime::clock::sleep_ms;
use crate::runtime::in_place::InPlace;

/// How long no connection is accepted after there were no descriptors or memory for one, milliseconds.
const EXHAUSTED_MS: u64 = 1_000;

/// Serves `router` over HTTP/1 and HTTP/2 until `stop`; then accepts no more, and returns once all open requests
/// have their answers.
///
/// Cut off, it ends all connections at once.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let service = router.map_request(|request: Request<_>| request.map(Body::new));
    let builder = Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            stream = accept(&listener) => stream,
            () = &mut stop => break,
        };
        while connections.try_join_next().is_some() {}
        let service = TowerToHyperService::new(service.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        connections.spawn(InPlace::new(async move {
            if let Err(error) = connection.await {
                tracing::trace!(error = error.to_string(), "a connection broke off");
            }
        }));
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection. Cancel safe: one that is not returned was not accepted.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer goes out whole: nothing is to wait for more. Where it fails, the peer is gone.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                let error = error.to_string();
                tracing::error!(error, "no connection can be accepted");
                sleep_ms(EXHAUSTED_MS).await;
            }
        }
    }
}

/// Whether a connection went away before it was accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::runtime::Shutdown;

    #[tokio::test]
    async fn stop_answers_open_requests_ends_idle_connections_and_accepts_no_more() {
        let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let handler = {
            let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
            move || async move {
                begun.add_permits(1);
                gate.acquire().await.map(|_| "done").unwrap_or_default()
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = Shutdown::new();
        let stopped = stop.clone();
        let router = Router::new().route("/", get(handler));
        let server = serve(listener, router, async move { stopped.triggered().await });
        let client = async {
            let mut idle = TcpStream::connect(address).await.expect("a connection");
            let mut open = TcpStream::connect(address).await.expect("a connection");
            let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
            open.write_all(request).await.expect("sent");
            let _ = begun.acquire().await.expect("a handler");
            stop.trigger();
            let mut rest = Vec::new();
            idle.read_to_end(&mut rest).await.expect("an end");
            assert!(rest.is_empty());
            let refused = TcpStream::connect(address).await;
            assert!(refused.is_err(), "accepted after the stop");
            gate.add_permits(1);
            let mut answer = String::new();
            open.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
        };
        tokio::join!(server, client);
    }
}
