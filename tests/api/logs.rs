//! What a request's log line says of who sent it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::http::{StatusCode, header};

use crate::{DIGEST, app, request, send};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn request_log_line_names_the_key_and_never_shows_it() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // While there is one dispatcher only, the thread that meets a line first decides for all whether it is logged.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logged = tracing::subscriber::set_default(subscriber);
    let app = app(&[&format!("ci:{DIGEST}")]).await;
    for (key, expected) in [
        ("secret", StatusCode::OK),
        ("wrong", StatusCode::UNAUTHORIZED),
    ] {
        let mut sent = request("GET", "/v1/namespaces", "");
        let value = format!("Bearer {key}").parse().expect("a header");
        sent.headers_mut().insert(header::AUTHORIZATION, value);
        assert_eq!(send(&app, sent).await.0, expected);
    }
    let text = lines.0.lock().expect("not poisoned").clone();
    let text = String::from_utf8(text).expect("UTF-8");
    let of_requests: Vec<&str> = text.lines().filter(|line| line.contains(" key=")).collect();
    assert_eq!(of_requests.len(), 2, "{text}");
    assert!(of_requests[0].contains("key=\"ci\""), "{}", of_requests[0]);
    assert!(of_requests[1].contains("key=\"\""), "{}", of_requests[1]);
    assert!(
        !text.contains("secret") && !text.contains("wrong"),
        "{text}"
    );
}
