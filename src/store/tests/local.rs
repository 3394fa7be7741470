use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::local::{LocalBucket, Swept};
use super::super::{Bucket, CreateOutcome, StoreError};
use super::{body, create, text};
use crate::error::ErrorKind;

async fn open() -> (tempfile::TempDir, LocalBucket) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bucket = LocalBucket::open(dir.path().join("made/on/the/way")).await;
    (dir, bucket.expect("it opens"))
}

fn root(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join("made/on/the/way")
}

async fn keys(bucket: &dyn Bucket, prefix: &str) -> Vec<String> {
    let rows = bucket.list(prefix, None, None).await.expect("it lists");
    rows.into_iter().map(|row| row.key).collect()
}

#[tokio::test]
async fn local_create_leaves_no_temporary_file() {
    let (dir, bucket) = open().await;
    create(&bucket, "a/k", "one").await;
    assert!(matches!(
        create(&bucket, "a/k", "two").await,
        CreateOutcome::Exists
    ));
    bucket.put("a/h", text("hint")).await.expect("it puts");
    let names: Vec<_> = fs::read_dir(root(&dir).join("a"))
        .expect("it is there")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn local_temp_left_by_a_crash_is_not_listed_nor_reached() {
    let (dir, bucket) = open().await;
    create(&bucket, "a/k", "one").await;
    fs::write(root(&dir).join("a/~tmp-0-0"), "half").expect("it writes");
    assert_eq!(keys(&bucket, "").await, ["a/k"]);
    assert_eq!(keys(&bucket, "a/").await, ["a/k"]);
    let got = bucket.get("a/~tmp-0-0").await;
    assert!(matches!(got, Err(StoreError::Determinate { .. })));
}

#[tokio::test]
async fn local_key_outside_of_the_bucket_is_refused_by_every_operation() {
    let (_dir, bucket) = open().await;
    for key in ["../x", "a/../../x", "/etc/x", "a//b", "a/", "", ".", "a\0b"] {
        let refused = [
            bucket.create(key, text("x")).await.is_err(),
            bucket.put(key, text("x")).await.is_err(),
            bucket.get(key).await.is_err(),
            bucket.get_range(key, 0..1).await.is_err(),
            bucket.delete(key).await.is_err(),
        ];
        assert_eq!(refused, [true; 5], "key {key:?}");
    }
    for prefix in ["../", "/", "a//", "a/../b"] {
        assert!(bucket.list(prefix, None, None).await.is_err(), "{prefix:?}");
    }
}

#[tokio::test]
async fn local_create_below_a_file_is_determinate_with_the_reason() {
    let (_dir, bucket) = open().await;
    create(&bucket, "a", "file").await;
    let error = bucket.create("a/k", text("x")).await;
    let Err(StoreError::Determinate { reason, .. }) = error else {
        panic!("expected a determinate error, found {error:?}");
    };
    assert!(reason.contains("directory"), "{reason}");
    assert_eq!(body(&bucket, "a/k").await, None);
    bucket.delete("a/k").await.expect("missing is done");
}

#[tokio::test]
async fn local_name_too_long_is_determinate() {
    let (_dir, bucket) = open().await;
    let key = "n".repeat(300);
    let error = bucket.create(&key, text("x")).await;
    assert!(
        matches!(error, Err(StoreError::Determinate { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn local_open_on_a_file_fails_with_the_path() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("it writes");
    let error = LocalBucket::open(file.join("below"))
        .await
        .expect_err("a file is no directory");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("file/below"), "{error}");
}

#[tokio::test]
async fn local_tree_removed_by_hand_is_made_again() {
    let (dir, bucket) = open().await;
    create(&bucket, "a/b/one", "1").await;
    fs::remove_dir_all(root(&dir).join("a")).expect("it removes");
    assert!(matches!(
        create(&bucket, "a/b/two", "2").await,
        CreateOutcome::Created { .. }
    ));
    assert_eq!(keys(&bucket, "").await, ["a/b/two"]);
}

#[tokio::test]
async fn local_second_process_sees_the_first_ones_objects() {
    let (dir, first) = open().await;
    let second = LocalBucket::open(root(&dir)).await.expect("it opens");
    create(&first, "ns/a/wal/0", "first").await;
    let outcome = create(&second, "ns/a/wal/0", "second").await;
    assert!(matches!(outcome, CreateOutcome::Exists));
    assert_eq!(body(&second, "ns/a/wal/0").await, Some(text("first")));
}

#[tokio::test]
async fn local_list_with_prefix_does_not_open_other_directories() {
    let (dir, bucket) = open().await;
    create(&bucket, "ns/a/k", "1").await;
    create(&bucket, "ns/b/k", "2").await;
    // A link in place of a directory would be followed if it were visited.
    std::os::unix::fs::symlink(root(&dir).join("ns/a"), root(&dir).join("ns/c")).expect("a link");
    assert_eq!(keys(&bucket, "ns/a").await, ["ns/a/k"]);
    assert_eq!(keys(&bucket, "").await, ["ns/a/k", "ns/b/k"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_create_dropped_half_way_leaves_the_object_whole_or_absent() {
    let (_dir, bucket) = open().await;
    let bucket = Arc::new(bucket);
    for n in 0..20 {
        let key = format!("d/{n}");
        let bytes = bytes::Bytes::from(vec![7; 100_000]);
        let mut create = bucket.create(&key, bytes);
        // Polled once, then dropped.
        let _ = futures::poll!(&mut create);
        drop(create);
        let found = body(bucket.as_ref(), &key).await;
        assert!(
            found.as_ref().is_none_or(|bytes| bytes.len() == 100_000),
            "half an object"
        );
    }
}

/// Leaves an unfinished file of three bytes that was last written so long before now, by the file system.
fn leave(path: &Path, minutes: u64) {
    fs::create_dir_all(path.parent().expect("below the root")).expect("folders");
    fs::write(path, "abc").expect("written");
    let file = File::options().write(true).open(path).expect("it is there");
    let now = file
        .metadata()
        .expect("it is there")
        .modified()
        .expect("times");
    file.set_modified(now - Duration::from_secs(60 * minutes))
        .expect("ours");
}

#[tokio::test]
async fn local_sweep_removes_only_unfinished_files_older_than_an_hour() {
    let (dir, bucket) = open().await;
    let root = root(&dir);
    create(&bucket, "ns/a/wal/0/000", "one").await;
    let kept = root.join("ns/a/wal/0/000");
    let file = File::options()
        .write(true)
        .open(&kept)
        .expect("it is there");
    file.set_modified(std::time::UNIX_EPOCH).expect("ours");
    let stale = [root.join("~tmp-a-0"), root.join("ns/a/wal/0/~tmp-b-1")];
    let young = [root.join("ns/a/~tmp-c-2"), root.join("ns/a/wal/0/~tmp-d-3")];
    for path in &stale {
        leave(path, 61);
    }
    for path in &young {
        leave(path, 58);
    }
    let other = root.join("~tmp");
    leave(&other, 600);
    std::os::unix::fs::symlink(&kept, root.join("~tmp-link")).expect("a link");
    std::os::unix::fs::symlink(dir.path(), root.join("up")).expect("a link");
    leave(&dir.path().join("~tmp-outside"), 600);

    let swept = bucket.sweep().await.expect("swept");
    let expected = Swept {
        removed: 2,
        bytes: 6,
        young: 2,
        failed: 0,
        entries: swept.entries,
    };
    assert_eq!(swept, expected);
    assert!(
        stale.iter().all(|path| !path.exists()),
        "stale ones are gone"
    );
    assert!(
        young.iter().all(|path| path.exists()),
        "a writer may still live"
    );
    assert!(kept.exists() && other.exists() && dir.path().join("~tmp-outside").exists());
    let again = bucket.sweep().await.expect("swept");
    assert_eq!(
        (again.removed, again.young),
        (0, 2),
        "its own clock file is gone"
    );
}

#[tokio::test]
async fn local_create_whose_unfinished_file_is_swept_changes_nothing() {
    let (dir, bucket) = open().await;
    create(&bucket, "a/k", "one").await;
    let temp = root(&dir).join("a/~tmp-x-0");
    leave(&temp, 61);
    bucket.sweep().await.expect("swept");
    // What a writer that was asleep for an hour meets.
    let linked = fs::hard_link(&temp, root(&dir).join("a/late"));
    let error = linked.expect_err("its file is gone");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(keys(&bucket, "").await, ["a/k"]);
}

#[tokio::test]
async fn open_sweep_of_a_store_without_files_does_nothing() {
    let swept = super::super::open::sweep("memory://").await;
    assert_eq!(swept.expect("nothing to do"), None);
}
