//! The laws a store must keep, run before it is served for the first time.
//!
//! Each law is a function in [`LAWS`]; `check` runs them under a scratch prefix and removes it again.

use std::fmt;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};

use super::{Bucket, CreateOutcome, StoreError};
use crate::types::Entropy;

/// Contenders of one race.
const RACERS: usize = 32;
/// Races of one check.
const RACE_ROUNDS: usize = 6;
/// Objects of the listing laws.
const LISTED: usize = 24;

/// A law the store broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The law's name.
    pub law: &'static str,
    /// What a store must do.
    pub expected: String,
    /// What this one did.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the store breaks the law `{}`: expected {}, found {}",
            self.law, self.expected, self.found
        )
    }
}

impl std::error::Error for Violation {}

/// One law, run with a prefix of its own.
type Law = for<'a> fn(Scratch<'a>) -> BoxFuture<'a, Result<(), Violation>>;

/// All laws in the order they are checked.
pub const LAWS: [(&str, Law); 10] = [
    ("create_twice", |scratch| Box::pin(create_twice(scratch))),
    ("create_race", |scratch| Box::pin(create_race(scratch))),
    ("get_after_create", |scratch| {
        Box::pin(get_after_create(scratch))
    }),
    ("get_missing", |scratch| Box::pin(get_missing(scratch))),
    ("ranges", |scratch| Box::pin(ranges(scratch))),
    ("list_complete", |scratch| Box::pin(list_complete(scratch))),
    ("list_start_after", |scratch| {
        Box::pin(list_start_after(scratch))
    }),
    ("delete_then_create", |scratch| {
        Box::pin(delete_then_create(scratch))
    }),
    ("delete_missing", |scratch| {
        Box::pin(delete_missing(scratch))
    }),
    ("put_overwrites", |scratch| {
        Box::pin(put_overwrites(scratch))
    }),
];

/// Checks every law; the first one broken is the answer. Leaves nothing behind, unless it is dropped
/// or the store refuses to delete.
pub async fn check(bucket: &dyn Bucket, entropy: &dyn Entropy) -> Result<(), Violation> {
    let prefix = format!("conformance/{:032x}/", entropy.next_u128());
    let verdict = check_under(bucket, &prefix).await;
    let swept = sweep(bucket, &prefix).await;
    verdict?;
    swept.map_err(|error| Violation {
        law: "scratch_removed",
        expected: "the scratch objects to be deleted".to_owned(),
        found: error.to_string(),
    })
}

async fn check_under(bucket: &dyn Bucket, prefix: &str) -> Result<(), Violation> {
    for (law, run) in LAWS {
        let scratch = Scratch {
            bucket,
            law,
            prefix: format!("{prefix}{law}/"),
        };
        run(scratch).await?;
    }
    Ok(())
}

async fn sweep(bucket: &dyn Bucket, prefix: &str) -> Result<(), StoreError> {
    for row in bucket.list(prefix, None, None).await? {
        bucket.delete(&row.key).await?;
    }
    Ok(())
}

/// What a law is given.
pub struct Scratch<'a> {
    bucket: &'a dyn Bucket,
    law: &'static str,
    /// Ends in `/`; nothing lies under it yet.
    prefix: String,
}

impl fmt::Debug for Scratch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scratch({})", self.prefix)
    }
}

impl Scratch<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn expect(&self, holds: bool, expected: &str, found: impl fmt::Debug) -> Result<(), Violation> {
        if holds {
            return Ok(());
        }
        Err(self.broken(expected, format!("{found:?}")))
    }

    fn broken(&self, expected: &str, found: String) -> Violation {
        Violation {
            law: self.law,
            expected: expected.to_owned(),
            found: found.chars().take(2_000).collect(),
        }
    }

    fn answered<T>(&self, answer: Result<T, StoreError>) -> Result<T, Violation> {
        answer.map_err(|error| self.broken("an answer", error.to_string()))
    }

    async fn create(&self, name: &str, bytes: &Bytes) -> Result<CreateOutcome, Violation> {
        self.answered(self.bucket.create(&self.key(name), bytes.clone()).await)
    }

    async fn must_create(&self, name: &str, bytes: &Bytes) -> Result<(), Violation> {
        let outcome = self.create(name, bytes).await?;
        let created = matches!(outcome, CreateOutcome::Created { .. });
        self.expect(created, "a create of a new key to be Created", outcome)
    }

    async fn must_hold(&self, name: &str, bytes: &Bytes, expected: &str) -> Result<(), Violation> {
        let found = self.answered(self.bucket.get(&self.key(name)).await)?;
        let found = found.into_bytes();
        self.expect(found.as_ref() == Some(bytes), expected, found)
    }

    async fn names(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, Violation> {
        let start_after = start_after.map(|name| self.key(name));
        let rows = self
            .bucket
            .list(&self.key(prefix), start_after.as_deref(), limit)
            .await;
        let strip = |key: String| {
            key.strip_prefix(&self.prefix)
                .map(str::to_owned)
                .unwrap_or(key)
        };
        let rows = self.answered(rows)?;
        Ok(rows.into_iter().map(|row| strip(row.key)).collect())
    }
}

async fn create_twice(scratch: Scratch<'_>) -> Result<(), Violation> {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    scratch.must_create("once", &first).await?;
    for bytes in [&second, &first] {
        let outcome = scratch.create("once", bytes).await?;
        let exists = matches!(outcome, CreateOutcome::Exists);
        scratch.expect(exists, "a second create to be Exists", outcome)?;
    }
    let kept = "the bytes of the first create";
    scratch.must_hold("once", &first, kept).await
}

async fn create_race(scratch: Scratch<'_>) -> Result<(), Violation> {
    for round in 0..RACE_ROUNDS {
        let name = format!("race-{round}");
        let bodies: Vec<Bytes> = (0..RACERS)
            .map(|racer| Bytes::from(format!("round {round} racer {racer}")))
            .collect();
        let racers = bodies.iter().map(|body| scratch.create(&name, body));
        let outcomes = join_all(racers).await;
        judge_race(&scratch, &name, &bodies, outcomes).await?;
    }
    Ok(())
}

/// One racer was told Created and its bytes are there; where answers got lost, one of those may have won.
async fn judge_race(
    scratch: &Scratch<'_>,
    name: &str,
    bodies: &[Bytes],
    outcomes: Vec<Result<CreateOutcome, Violation>>,
) -> Result<(), Violation> {
    let mut winners = Vec::new();
    let mut unknown = Vec::new();
    for (racer, outcome) in outcomes.into_iter().enumerate() {
        match outcome? {
            CreateOutcome::Created { .. } => winners.push(racer),
            CreateOutcome::Exists => {}
            CreateOutcome::Unknown(_) => unknown.push(racer),
        }
    }
    let one = winners.len() == 1 || (winners.is_empty() && !unknown.is_empty());
    let found = format!("{} of {RACERS}: {winners:?}", winners.len());
    scratch.expect(one, "exactly one of all racers to be Created", found)?;
    let Some(winner) = winners.first() else {
        // All that can be said: it holds the bytes of one whose answer got lost, or nothing yet.
        let held = scratch.answered(scratch.bucket.get(&scratch.key(name)).await)?;
        let held = held.into_bytes();
        let legal = held
            .as_ref()
            .is_none_or(|held| unknown.iter().any(|racer| bodies[*racer] == held));
        return scratch.expect(legal, "bytes of a racer whose answer got lost", held);
    };
    scratch
        .must_hold(name, &bodies[*winner], "the bytes of the winner")
        .await
}

async fn get_after_create(scratch: Scratch<'_>) -> Result<(), Violation> {
    let large = Bytes::from(vec![0xA5; 70_000]);
    for (name, bytes) in [
        ("empty", Bytes::new()),
        ("small", Bytes::from_static(b"\x00\xff\r\n")),
        ("large", large),
    ] {
        scratch.must_create(name, &bytes).await?;
        let expected = "the bytes just created";
        scratch.must_hold(name, &bytes, expected).await?;
    }
    // Every character our keys use.
    let odd = "Name_1.x-y%41!/~hint";
    let bytes = Bytes::from_static(b"odd");
    scratch.must_create(odd, &bytes).await?;
    scratch
        .must_hold(odd, &bytes, "the bytes just created under an odd key")
        .await
}

async fn get_missing(scratch: Scratch<'_>) -> Result<(), Violation> {
    let key = scratch.key("missing");
    let found = scratch.answered(scratch.bucket.get(&key).await)?;
    scratch.expect(found.is_missing(), "nothing under a missing key", found)?;
    let found = scratch.answered(scratch.bucket.get_range(&key, 0..4).await)?;
    scratch.expect(found.is_missing(), "no range of a missing key", found)?;
    let names = scratch.names("", None, None).await?;
    scratch.expect(names.is_empty(), "an empty listing", names)
}

async fn ranges(scratch: Scratch<'_>) -> Result<(), Violation> {
    let bytes = Bytes::from_static(b"0123456789");
    scratch.must_create("digits", &bytes).await?;
    scratch.must_create("empty", &Bytes::new()).await?;
    let cases = [
        ("digits", 0..10, "0123456789"),
        ("digits", 3..7, "3456"),
        ("digits", 9..10, "9"),
        ("digits", 8..40, "89"),
        ("digits", 10..12, ""),
        ("digits", 50..60, ""),
        ("digits", 4..4, ""),
        ("empty", 0..8, ""),
    ];
    for (name, range, expected) in cases {
        let key = scratch.key(name);
        let found = scratch.answered(scratch.bucket.get_range(&key, range.clone()).await)?;
        let found = found.into_bytes();
        let holds = found.as_deref() == Some(expected.as_bytes());
        let expected = format!("bytes {range:?} of `{name}` to be `{expected}`");
        scratch.expect(holds, &expected, found)?;
    }
    Ok(())
}

/// Names whose order by bytes differs from that of a walk over directories.
fn listed_names() -> Vec<String> {
    let mut names = vec![
        "a!/k".to_owned(),
        "a.b".to_owned(),
        "a/deep/er/k".to_owned(),
        "a/k".to_owned(),
        "a0".to_owned(),
        "a~".to_owned(),
    ];
    names.extend((names.len()..LISTED).map(|n| format!("b/{:02}", n * 7 % 100)));
    names.sort_unstable();
    names
}

/// Creates the names in an order that is not theirs, and returns them sorted.
async fn create_listed(scratch: &Scratch<'_>) -> Result<Vec<String>, Violation> {
    let names = listed_names();
    let (late, early): (Vec<_>, Vec<_>) = names.iter().enumerate().partition(|(n, _)| n % 3 == 0);
    for (_, name) in early.into_iter().rev().chain(late) {
        let bytes = Bytes::from(name.clone());
        scratch.must_create(name, &bytes).await?;
    }
    Ok(names)
}

async fn list_complete(scratch: Scratch<'_>) -> Result<(), Violation> {
    let names = create_listed(&scratch).await?;
    let found = scratch.names("", None, None).await?;
    let expected = "every key just created, sorted by bytes";
    scratch.expect(found == names, expected, found)?;
    for prefix in ["a", "a/", "a/d", "b/", "b/0", "zzz", "a/k"] {
        let expected: Vec<_> = names
            .iter()
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect();
        let found = scratch.names(prefix, None, None).await?;
        let what = format!("keys that start with `{prefix}`: {expected:?}");
        scratch.expect(found == expected, &what, found)?;
    }
    let rows = scratch.bucket.list(&scratch.key("a.b"), None, None).await;
    let sizes: Vec<_> = scratch
        .answered(rows)?
        .iter()
        .map(|row| row.size_bytes)
        .collect();
    scratch.expect(sizes == [3], "the size of `a.b` to be 3 bytes", sizes)
}

async fn list_start_after(scratch: Scratch<'_>) -> Result<(), Violation> {
    let names = create_listed(&scratch).await?;
    // An existing key, a missing one, one inside a folder, and one past all.
    for after in ["a.b", "a/a", "a/deep/er/k", "b/", "zzz"] {
        for limit in [None, Some(1), Some(3), Some(LISTED)] {
            let expected: Vec<_> = names
                .iter()
                .filter(|name| name.as_str() > after)
                .take(limit.unwrap_or(usize::MAX))
                .cloned()
                .collect();
            let found = scratch.names("", Some(after), limit).await?;
            let what = format!("limit {limit:?} after `{after}`: {expected:?}");
            scratch.expect(found == expected, &what, found)?;
        }
    }
    let found = scratch.names("", None, Some(2)).await?;
    scratch.expect(found == names[..2], "the first two keys", found)
}

async fn delete_then_create(scratch: Scratch<'_>) -> Result<(), Violation> {
    let (old, new) = (Bytes::from_static(b"old"), Bytes::from_static(b"new"));
    scratch.must_create("again", &old).await?;
    let key = scratch.key("again");
    scratch.answered(scratch.bucket.delete(&key).await)?;
    let found = scratch.answered(scratch.bucket.get(&key).await)?;
    scratch.expect(found.is_missing(), "nothing after a delete", found)?;
    let names = scratch.names("", None, None).await?;
    scratch.expect(names.is_empty(), "no deleted key in a listing", names)?;
    scratch.must_create("again", &new).await?;
    let expected = "the bytes created after the delete";
    scratch.must_hold("again", &new, expected).await
}

async fn delete_missing(scratch: Scratch<'_>) -> Result<(), Violation> {
    for name in ["never", "no/such/folder"] {
        let deleted = scratch.bucket.delete(&scratch.key(name)).await;
        let found = deleted.as_ref().err().map(ToString::to_string);
        scratch.expect(deleted.is_ok(), "deleting a missing key to be done", found)?;
    }
    Ok(())
}

async fn put_overwrites(scratch: Scratch<'_>) -> Result<(), Violation> {
    for text in ["one", "a longer two", "3"] {
        let bytes = Bytes::from(text);
        let key = scratch.key("hint");
        scratch.answered(scratch.bucket.put(&key, bytes.clone()).await)?;
        let expected = "the bytes of the last put";
        scratch.must_hold("hint", &bytes, expected).await?;
    }
    let outcome = scratch.create("hint", &Bytes::new()).await?;
    let exists = matches!(outcome, CreateOutcome::Exists);
    scratch.expect(
        exists,
        "a create of a key that was put to be Exists",
        outcome,
    )
}
