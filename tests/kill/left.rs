//! What a killed server leaves unflushed is found by another, without a request.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Client, Values};
use crate::server::{Process, sleep};

const NAMESPACE: &str = "left";
const WRITES: u64 = 20;
/// How long something is waited for that takes a second or two: ticks of `TICK`.
const TICKS: u32 = 3_000;
const TICK: Duration = Duration::from_millis(20);

#[test]
fn tail_of_a_killed_writer_is_flushed_by_a_server_that_was_asked_nothing() {
    let directory = TempDir::new().expect("a directory");
    let (data, interval) = (directory.path().join("data"), "background.interval_ms=200");
    // By itself it would flush in an hour.
    let mut writer = Process::start_with(directory.path(), &[], &[interval]).serving();
    let client = Client::new(&writer.url, NAMESPACE);
    for id in 0..WRITES {
        client.upsert(&[(id, 100 + id)]);
    }
    wait_for("a dirty hint", || count(&data.join("dirty"), "") == 1);
    writer.kill();
    assert_eq!(count(&data, ".parquet"), 0, "nothing is flushed");

    let settings = [interval, "flush.age_ms=300"];
    let other = Process::start_with(directory.path(), &[], &settings).serving();
    wait_for("a segment, and no hint", || {
        count(&data, ".parquet") == 1 && count(&data.join("dirty"), "") == 0
    });
    let client = Client::new(&other.url, NAMESPACE);
    let metrics = client.get("/metrics").body;
    let metrics = metrics.as_str().expect("text");
    assert!(
        metrics.contains("\nelacsym_found_flushes_total 1\n"),
        "{metrics}"
    );
    let ids: Vec<u64> = (0..WRITES).collect();
    let expected: Values = ids.iter().map(|id| (*id, 100 + id)).collect();
    assert_eq!(client.read(&ids), Some(expected));
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..TICKS {
        if is_so() {
            return;
        }
        sleep(TICK);
    }
    panic!("{what} never came");
}

/// Whole objects below a folder whose names end so.
fn count(folder: &Path, end: &str) -> usize {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut n = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => n += usize::from(name.ends_with(end) && !name.contains("~tmp-")),
            }
        }
    }
    n
}
