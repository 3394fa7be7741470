//! Directories that take no writes, or take them no more: a clear refusal, nothing changed, reads go on.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, Values};
use crate::random::Random;
use crate::server::{BINARY, Process, Server, sleep};

const NAMESPACE: &str = "unwritable";
/// Bytes of a row that is larger than the largest file allowed.
const LARGE_BYTES: usize = 3 << 20;
/// Somebody who is not root.
const NOBODY: u32 = 65_534;

/// A row of an id, its value and `bytes` of text that no compression makes small.
pub(crate) fn large_row(id: u64, value: u64, bytes: usize) -> Value {
    let mut row = json!({"id": id, "v": value, "vector": [id, value, 0.5, -1.0]});
    let mut random = Random::new(id);
    let letters = (0..bytes).map(|_| char::from(b' ' + 3 + random.below(88) as u8));
    row["text"] = json!(
        letters
            .map(|letter| if letter == '\\' { '#' } else { letter })
            .collect::<String>()
    );
    let schema = json!({"text": {"type": "string", "filterable": false}});
    json!({"upsert_rows": [row], "schema": schema, "distance_metric": "euclidean_squared"})
}

/// Checks that a write is refused as by a store that takes none, for `cause`; returns the message.
pub(crate) fn refused(client: &Client, body: &Value, cause: &str) -> String {
    let answer = client.try_write(body).expect("an answer");
    let shown = &answer.body;
    assert_eq!(answer.status, 503, "{shown}");
    assert_eq!(shown["type"], "store_unavailable", "{shown}");
    assert_eq!(shown["status"], "error", "{shown}");
    let message = shown["error"].as_str().expect("a message");
    assert!(message.contains(cause), "expected {cause:?}: {message}");
    assert!(!answer.request_id.is_empty());
    assert_eq!(shown["request_id"], answer.request_id.as_str(), "{shown}");
    assert!(answer.retry_after, "waiting may help");
    message.to_owned()
}

/// Checks what the process says of itself while its store takes no writes: it lives, serves and is degraded.
pub(crate) fn says_degraded(client: &Client, cause: &str) {
    let health = client.get("/health");
    let shown = &health.body;
    assert_eq!(health.status, 503, "{shown}");
    assert_eq!(shown["status"], "degraded", "{shown}");
    assert_eq!(shown["store"]["ok"], true, "reads go on: {shown}");
    assert_eq!(shown["store"]["writes_ok"], false, "{shown}");
    let error = shown["store"]["write_error"].as_str().expect("a cause");
    assert!(error.contains(cause), "expected {cause:?}: {error}");
    for path in ["/livez", "/ready"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
}

/// Waits until `/health` finds by itself that writes work again.
pub(crate) fn recovers(client: &Client) {
    for _ in 0..1_000 {
        let health = client.get("/health");
        if health.status == 200 {
            assert_eq!(health.body["status"], "OK", "{}", health.body);
            assert_eq!(health.body["store"]["write_error"], Value::Null);
            return;
        }
        sleep(std::time::Duration::from_millis(10));
    }
    panic!("still degraded: {}", client.get("/health").body);
}

/// All files below a directory, with their sizes, but dirty hints: they come and go by themselves.
pub(crate) fn files(root: &Path) -> Vec<(PathBuf, u64)> {
    let mut todo = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.ends_with("dirty") {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            if metadata.is_dir() {
                todo.push(path);
            } else {
                found.push((path, metadata.len()));
            }
        }
    }
    found.sort();
    found
}

/// Whether `wrapper` can run the server here; else says why the test is skipped.
pub(crate) fn can_run(test: &str, wrapper: &[&str]) -> bool {
    let mut words = wrapper.iter().copied().chain([BINARY, "--version"]);
    let command = Command::new(words.next().expect("a wrapper"))
        .args(words)
        .output();
    let reason = match command {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("{}: {error}", wrapper[0]),
    };
    println!("SKIPPED {test}: {reason}");
    false
}

fn restarted(wrapper: &[&str], directory: &Path, server: Server) -> Server {
    let status = server.terminate();
    assert!(status.success(), "{status}");
    Process::start_by(wrapper, directory, &directory.join("data")).serving()
}

#[test]
fn write_over_the_file_size_limit_is_refused_and_smaller_ones_go_on() {
    // Blocks of 512 or 1,024 bytes, as the shell counts. The signal that would end the process is ignored.
    let wrapper = [
        "sh",
        "-c",
        "trap '' XFSZ; ulimit -S -f 2048; exec \"$@\"",
        "sh",
    ];
    if !can_run("write_over_the_file_size_limit", &wrapper) {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let data = directory.path().join("data");
    let server = Process::start_by(&wrapper, directory.path(), &data).serving();
    let client = Client::new(&server.url, NAMESPACE);
    client.upsert(&[(1, 10), (2, 20)]);
    let before = files(&data);

    let message = refused(&client, &large_row(1, 11, LARGE_BYTES), "File too large");
    assert!(message.contains("/wal/"), "it names the object: {message}");
    assert_eq!(files(&data), before, "nothing changed, nothing left behind");
    says_degraded(&client, "File too large");
    assert_eq!(files(&data), before, "the probe left nothing behind");
    let acknowledged = Values::from([(1, 10), (2, 20)]);
    assert_eq!(client.read(&[1, 2, 3]), Some(acknowledged));

    client.upsert(&[(3, 30)]);
    recovers(&client);
    let server = restarted(&[], directory.path(), server);
    let client = Client::new(&server.url, NAMESPACE);
    client.write(&large_row(1, 12, LARGE_BYTES));
    let acknowledged = Values::from([(1, 12), (2, 20), (3, 30)]);
    assert_eq!(client.read(&[1, 2, 3]), Some(acknowledged));
}

/// What runs the server as somebody whom permissions bind, with a directory of theirs; root is nobody such.
fn bound_by_permissions(test: &str, directory: &Path) -> Option<Vec<&'static str>> {
    if fs::metadata(directory).expect("it is there").uid() != 0 {
        return Some(Vec::new());
    }
    let words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    if !can_run(test, &words) {
        return None;
    }
    std::os::unix::fs::chown(directory, Some(NOBODY), Some(NOBODY)).expect("root may");
    Some(words.to_vec())
}

/// Sets the permissions of a directory and of all directories below it.
fn permit(dir: &Path, mode: u32) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            permit(&path, mode);
        }
    }
    fs::set_permissions(dir, Permissions::from_mode(mode)).expect("ours to change");
}

#[test]
fn write_to_directories_without_permission_is_refused_until_it_is_given_back() {
    let directory = TempDir::new().expect("a directory");
    let Some(wrapper) =
        bound_by_permissions("write_to_directories_without_permission", directory.path())
    else {
        return;
    };
    let data = directory.path().join("data");
    let server = Process::start_by(&wrapper, directory.path(), &data).serving();
    let client = Client::new(&server.url, NAMESPACE);
    client.upsert(&[(1, 10), (2, 20)]);
    let before = files(&data);

    permit(&data, 0o555);
    let body = crate::client::upsert_body(&[(1, 11)]);
    let message = refused(&client, &body, "Permission denied");
    assert!(message.contains("/wal/"), "it names the object: {message}");
    let other = Client::new(&server.url, "another");
    refused(&other, &body, "Permission denied");
    says_degraded(&client, "Permission denied");
    assert_eq!(files(&data), before, "nothing changed, nothing left behind");
    assert_eq!(client.read(&[1, 2]), Some(Values::from([(1, 10), (2, 20)])));
    assert_eq!(other.read(&[1]), None, "it was not created");

    permit(&data, 0o755);
    recovers(&client);
    client.upsert(&[(1, 12)]);
    other.upsert(&[(1, 13)]);
    let server = restarted(&wrapper, directory.path(), server);
    let client = Client::new(&server.url, NAMESPACE);
    assert_eq!(client.read(&[1, 2]), Some(Values::from([(1, 12), (2, 20)])));
    let other = Client::new(&server.url, "another");
    assert_eq!(other.read(&[1]), Some(Values::from([(1, 13)])));
}

#[test]
fn start_on_a_directory_that_takes_no_writes_serves_what_is_there() {
    let directory = TempDir::new().expect("a directory");
    let Some(wrapper) = bound_by_permissions(
        "start_on_a_directory_that_takes_no_writes",
        directory.path(),
    ) else {
        return;
    };
    let data = directory.path().join("data");
    let server = Process::start_by(&wrapper, directory.path(), &data).serving();
    Client::new(&server.url, NAMESPACE).upsert(&[(1, 10)]);
    permit(&data, 0o555);
    let server = restarted(&wrapper, directory.path(), server);
    let client = Client::new(&server.url, NAMESPACE);
    assert_eq!(client.read(&[1]), Some(Values::from([(1, 10)])));
    refused(
        &client,
        &crate::client::upsert_body(&[(1, 11)]),
        "Permission denied",
    );
    permit(&data, 0o755);
    client.upsert(&[(1, 12)]);
    assert_eq!(client.read(&[1]), Some(Values::from([(1, 12)])));
}

/// Checks that a start fails, saying where and why, and not by a panic.
fn start_fails(wrapper: &[&str], directory: &Path, data: &Path, cause: &str) {
    let (status, stderr) = Process::start_by(wrapper, directory, data).ended();
    assert_eq!(status.code(), Some(1), "{status}: {stderr}");
    let named = data.display().to_string();
    assert!(stderr.contains(&named), "expected {named}: {stderr}");
    assert!(stderr.contains(cause), "expected {cause:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    // The path of the log and the message.
    assert_eq!(stderr.trim_end().lines().count(), 2, "one line: {stderr}");
}

#[test]
fn start_on_a_path_that_is_no_directory_fails_with_its_name() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "x").expect("written");
    start_fails(&[], directory.path(), &file, "File exists");
    start_fails(
        &[],
        directory.path(),
        &file.join("below"),
        "Not a directory",
    );
}

#[test]
fn start_on_a_new_directory_that_takes_no_writes_fails_with_its_name() {
    let directory = TempDir::new().expect("a directory");
    let Some(wrapper) = bound_by_permissions("start_on_a_new_directory", directory.path()) else {
        return;
    };
    let data = directory.path().join("data");
    fs::create_dir(&data).expect("made");
    fs::set_permissions(&data, Permissions::from_mode(0o555)).expect("ours");
    if wrapper.is_empty() {
        start_fails(&wrapper, directory.path(), &data, "Permission denied");
    } else {
        // Made by root, so closed to the server already.
        start_fails(&wrapper, directory.path(), &data, "Permission denied");
        let below = data.join("below");
        start_fails(&wrapper, directory.path(), &below, "Permission denied");
    }
}
