use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use super::super::http_date::parse_date;
use super::super::{Bucket, CreateOutcome, GetOutcome, StoreError, StoreKind, StoreOptions, open};
use super::{body, create, text};
use crate::error::ErrorKind;
use crate::types::Timestamp;

#[tokio::test]
async fn open_local_by_path_and_by_url_is_one_bucket() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("new dir");
    let path = path.to_str().expect("text");
    let options = StoreOptions::default();
    let plain = open(path, &options).await.expect("it opens");
    create(plain.as_ref(), "k", "x").await;
    let url = format!("file://{}", path.replace(' ', "%20"));
    let by_url = open(&url, &options).await.expect("it opens");
    assert_eq!(by_url.kind(), StoreKind::Local);
    assert_eq!(body(by_url.as_ref(), "k").await, Some(text("x")));
}

#[tokio::test]
async fn open_memory_twice_is_two_buckets() {
    let options = StoreOptions::default();
    let one = open("memory://", &options).await.expect("it opens");
    let two = open("memory://", &options).await.expect("it opens");
    create(one.as_ref(), "k", "x").await;
    assert_eq!(body(two.as_ref(), "k").await, None);
}

#[tokio::test]
async fn open_bad_url_says_what_is_wrong() {
    let cases = [
        ("ftp://host/dir", "`ftp`"),
        ("file://relative/dir", "`file://./dir`"),
        ("", "empty store url"),
        ("s3://", "bucket"),
        ("s3://key:hidden@bucket/p", "bucket"),
        ("s3://bucket/../p", "prefix"),
        ("gs://bucket/a b", "prefix"),
    ];
    for (url, part) in cases {
        let error = open(url, &StoreOptions::default()).await;
        let error = error.expect_err("a bad url is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{url}");
        assert!(error.message().contains(part), "{url}: {error}");
        assert!(!error.chain().contains("hidden"), "{url}: {error}");
    }
}

#[test]
fn options_in_debug_hide_secrets() {
    let options = StoreOptions {
        access_key_id: Some("my-id".to_owned()),
        secret_access_key: Some("my-secret".to_owned()),
        ..StoreOptions::default()
    };
    let shown = format!("{options:?}");
    assert!(
        !shown.contains("my-id") && !shown.contains("my-secret"),
        "{shown}"
    );
}

#[test]
fn http_date_is_parsed_and_nonsense_is_none() {
    let date = parse_date("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(date, Some(Timestamp(784_111_777_000)));
    assert_eq!(parse_date("yesterday"), None);
}

/// Whether a request is whole without a body.
fn is_bare(request: &[u8]) -> bool {
    request.starts_with(b"GET ") && request.ends_with(b"\r\n\r\n")
}

/// Answers each connection with the next text and closes it; an empty text closes without an answer.
fn serve(replies: Vec<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for reply in replies {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            let mut request = Vec::new();
            let mut chunk = [0; 4_096];
            // The test's body is the last thing sent, or the end of a head that announces none.
            while !request.ends_with(b"BODY") && !is_bare(&request) {
                match stream.read(&mut chunk) {
                    Ok(n) if n > 0 => request.extend_from_slice(&chunk[..n]),
                    _ => return,
                }
            }
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    format!("http://{address}")
}

async fn s3(endpoint: String) -> Arc<dyn Bucket> {
    let options = StoreOptions {
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        access_key_id: Some("test".to_owned()),
        secret_access_key: Some("test".to_owned()),
        allow_http: true,
        ..StoreOptions::default()
    };
    let bucket = open("s3://bucket/prefix", &options).await;
    bucket.expect("it opens")
}

#[tokio::test]
async fn get_where_nobody_listens_tells_the_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let bucket = s3(format!("http://{address}")).await;
    let error = bucket.get("k").await.expect_err("nobody listens");
    assert!(error.to_string().contains("refused ("), "{error}");
}

#[tokio::test]
async fn create_over_http_tells_the_four_outcomes_apart() {
    let head =
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let cases = [
        ("HTTP/1.1 200 OK\r\nETag: \"x\"\r\n", "created"),
        ("HTTP/1.1 412 Precondition Failed\r\n", "exists"),
        ("HTTP/1.1 409 Conflict\r\n", "exists"),
        ("HTTP/1.1 403 Forbidden\r\n", "refused"),
        ("HTTP/1.1 400 Bad Request\r\n", "refused"),
        ("HTTP/1.1 429 Too Many Requests\r\n", "refused"),
        ("HTTP/1.1 500 Internal Server Error\r\n", "unknown"),
        ("HTTP/1.1 503 Service Unavailable\r\n", "unknown"),
        ("HTTP/1.1 408 Request Timeout\r\n", "unknown"),
        // The write happened, the answer makes no sense.
        ("HTTP/1.1 200 OK\r\n", "unknown"),
        ("", "unknown"),
    ];
    for (status, expected) in cases {
        let reply = match status {
            "" => "",
            status => format!("{status}{head}").leak(),
        };
        // A repeated request would meet this second answer.
        let again = format!("HTTP/1.1 200 OK\r\nETag: \"x\"\r\n{head}").leak();
        let bucket = s3(serve(vec![reply, again])).await;
        let told = match bucket.create("k", text("BODY")).await {
            Ok(CreateOutcome::Created { store_date }) => {
                assert_eq!(store_date, Some(Timestamp(784_111_777_000)));
                "created"
            }
            Ok(CreateOutcome::Exists) => "exists",
            Ok(CreateOutcome::Unknown(_)) => "unknown",
            Err(StoreError::Determinate { .. }) => "refused",
            Err(error) => panic!("{error}"),
        };
        assert_eq!(told, expected, "{status:?}");
    }
}

#[tokio::test]
async fn create_without_a_connection_certainly_did_not_happen() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = unused.local_addr().expect("it is bound");
    drop(unused);
    let bucket = s3(format!("http://{address}")).await;
    let outcome = bucket.create("k", text("BODY")).await;
    assert!(
        matches!(outcome, Err(StoreError::Determinate { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn put_over_http_is_repeated_after_a_503() {
    let bad = "HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let good = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let bucket = s3(serve(vec![bad, good])).await;
    bucket.put("k", text("BODY")).await.expect("the second try");
}

#[tokio::test]
async fn get_over_http_tells_the_date_of_a_missing_object_too() {
    let dated =
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let plain = "Connection: close\r\nContent-Length: 0\r\n\r\n";
    let slow = "HTTP/1.1 503 Slow Down\r\nDate: Sun, 06 Nov 1994 07:00:00 GMT\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let date = Some(Timestamp(784_111_777_000));
    for (head, expected) in [(dated, date), (plain, None)] {
        let missing: &str = format!("HTTP/1.1 404 Not Found\r\n{head}").leak();
        // Of a repeated request the last reply counts.
        let bucket = s3(serve(vec![missing, slow, missing])).await;
        for outcome in [bucket.get("k").await, bucket.get_range("k", 0..4).await] {
            match outcome.expect("it answers") {
                GetOutcome::Missing { store_date } => assert_eq!(store_date, expected),
                GetOutcome::Found(found) => panic!("expected nothing, found {found:?}"),
            }
        }
    }
}
