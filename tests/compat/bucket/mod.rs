//! Golden buckets: whole stores that older versions wrote, with what they must answer for ever.
//!
//! `tests/golden/bucket/v1/` is the store, `v1.json` the questions with their answers, and the bytes to
//! flip in a copy. None is ever rewritten: a new format level adds one to `VERSIONS`.

mod story;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::objects::{KINDS, Objects, kind_of, read_all, write_all};
use story::{SHELVES, Step};
use world::{Folder, Server};

/// The stores that must be readable, oldest first; the newest is what this version writes.
const VERSIONS: [&str; 1] = ["v1"];

struct Golden {
    objects: Objects,
    /// Questions with the answers: `method`, `path`, `body`, `status`, `answer`.
    asked: Vec<Value>,
    /// `object` and `at`.
    flips: Vec<(String, usize)>,
}

fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

fn folder() -> PathBuf {
    PathBuf::from("tests/golden/bucket")
}

impl Golden {
    /// Writes the story with this version.
    async fn make() -> Self {
        let bucket = Folder::of(&Objects::new());
        bucket.name_it().await;
        let server = Server::on(&bucket, 7).await;
        for step in story::steps() {
            let (status, answer) = server.send(&step).await;
            assert_eq!(status, 200, "{step:?}: {answer}");
        }
        server.finish().await;
        let objects = bucket.objects();
        let server = Server::on(&bucket, 8).await;
        let mut asked = Vec::new();
        for step in story::questions() {
            let (status, answer) = server.send(&step).await;
            let expected = if step.path.contains("/gone/") {
                404
            } else {
                200
            };
            assert_eq!(status, expected, "{step:?}: {answer}");
            let Step {
                method, path, body, ..
            } = step;
            asked.push(json!({
                "method": method, "path": path, "body": body, "status": status, "answer": answer,
            }));
        }
        server.finish().await;
        // Begin, middle and end of the last object of each kind.
        let last: BTreeMap<&str, (&String, usize)> = objects
            .iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(key, bytes)| (kind_of(key), (key, bytes.len())))
            .collect();
        let flips = last
            .into_values()
            .flat_map(|(key, n_bytes)| [0, n_bytes / 2, n_bytes - 1].map(|at| (key.clone(), at)));
        Self {
            flips: flips.collect(),
            objects,
            asked,
        }
    }

    /// Reads one; the newest is written where it is missing and that is asked for.
    fn read(version: &str) -> Self {
        let folder = folder();
        let text = super::goldens::read(&format!("{}/{version}.json", folder.display()), || {
            let made = block(Self::make());
            write_all(&folder.join(version), &made.objects);
            made.text()
        });
        let pages: Value = serde_json::from_slice(&text).expect("the golden page is JSON");
        let list = |name: &str| pages[name].as_array().cloned().unwrap_or_default();
        let flip = |flip: &Value| {
            let object = flip["object"].as_str()?.to_owned();
            Some((object, usize::try_from(flip["at"].as_u64()?).ok()?))
        };
        Self {
            objects: read_all(&folder.join(version)),
            asked: list("asked"),
            flips: list("flips").iter().filter_map(flip).collect(),
        }
    }

    /// One question and one flip a line.
    fn text(&self) -> Vec<u8> {
        let flips = self.flips.iter();
        let flips: Vec<String> = flips
            .map(|(object, at)| json!({"object": object, "at": at}).to_string())
            .collect();
        let asked: Vec<String> = self.asked.iter().map(Value::to_string).collect();
        let text = format!(
            "{{\"asked\": [\n{}\n],\n\"flips\": [\n{}\n]}}\n",
            asked.join(",\n"),
            flips.join(",\n")
        );
        text.into_bytes()
    }

    /// Asks a server that has seen nothing; gives for each question what was expected and what came.
    async fn ask(&self, bucket: &Folder) -> Vec<(Step, (u16, Value), (u16, Value))> {
        let server = Server::on(bucket, 9).await;
        server.begin_nothing();
        let mut answers = Vec::new();
        for asked in &self.asked {
            let step = Step {
                method: if asked["method"] == "GET" {
                    "GET"
                } else {
                    "POST"
                },
                path: asked["path"].as_str().expect("a path").to_owned(),
                body: asked["body"].clone(),
                key: None,
            };
            let status = asked["status"].as_u64().expect("a status") as u16;
            let found = server.send(&step).await;
            answers.push((step, (status, asked["answer"].clone()), found));
        }
        server.finish().await;
        answers
    }

    async fn answers_as_written(&self, bucket: &Folder, what: &str) {
        let answers = self.ask(bucket).await;
        assert!(answers.len() > 60, "{what}: {} questions", answers.len());
        for (step, expected, found) in answers {
            assert_eq!(found, expected, "{what}: {step:?}");
        }
    }
}

#[test]
fn bucket_of_each_version_answers_as_when_it_was_written() {
    for version in VERSIONS {
        let golden = Golden::read(version);
        let bucket = Folder::of(&golden.objects);
        block(async {
            golden.answers_as_written(&bucket, version).await;
            assert_eq!(bucket.faults().await, Vec::<String>::new(), "{version}");
        });
    }
}

#[test]
fn bucket_of_each_version_takes_writes_and_flushes() {
    for version in VERSIONS {
        let golden = Golden::read(version);
        let bucket = Folder::of(&golden.objects);
        for shelf in &SHELVES {
            block(writes_stay(&bucket, shelf));
        }
        let faults = block(bucket.faults());
        assert_eq!(faults, Vec::<String>::new(), "{version}");
    }
}

/// Replaces a document, adds one, flushes, and looks from a cold server.
async fn writes_stay(bucket: &Folder, shelf: &story::Shelf) {
    let rows = |(status, answer): (u16, Value)| {
        assert_eq!(status, 200, "{}: {answer}", shelf.name);
        answer["rows"].as_array().cloned().unwrap_or_default()
    };
    let server = Server::on(bucket, 20).await;
    let before = rows(server.send(&story::everything(shelf.name)).await);
    if shelf.name != "again" {
        // It was answered when the bucket was made: not applied again.
        let (status, answer) = server.send(&shelf.keyed()).await;
        assert_eq!(
            (status, &answer["rows_upserted"]),
            (200, &json!(1)),
            "{answer}"
        );
    }
    let step = shelf.upsert([1, 400], 50);
    let written: Vec<Value> = step.body["upsert_rows"].as_array().cloned().expect("rows");
    assert_eq!(server.send(&step).await.0, 200, "{}", shelf.name);
    let warm = rows(server.send(&story::everything(shelf.name)).await);
    assert_eq!(
        server.send(&story::flush(shelf.name)).await.0,
        200,
        "{}",
        shelf.name
    );
    server.finish().await;
    let server = Server::on(bucket, 30).await;
    let cold = rows(server.send(&story::everything(shelf.name)).await);
    server.finish().await;
    assert_eq!(warm, cold, "{}", shelf.name);
    let is_written = |row: &Value| written.iter().any(|new| new["id"] == row["id"]);
    let kept: Vec<&Value> = before.iter().filter(|row| !is_written(row)).collect();
    let found: Vec<&Value> = cold.iter().filter(|row| !is_written(row)).collect();
    assert_eq!(found, kept, "{}: what was not written", shelf.name);
    for new in &written {
        assert!(cold.contains(new), "{}: {new} is not there", shelf.name);
    }
}

#[test]
fn bucket_of_each_version_merges_and_collects_and_answers_the_same() {
    for version in VERSIONS {
        let golden = Golden::read(version);
        let bucket = Folder::of(&golden.objects);
        block(async {
            let server = Server::on(&bucket, 40).await;
            for shelf in &SHELVES {
                let merged = server.send(&story::compact(shelf.name)).await;
                assert_eq!(merged.0, 200, "{}: {}", shelf.name, merged.1);
                let after = merged.1["segments_after"].as_u64();
                assert!(after <= Some(1), "{}: {}", shelf.name, merged.1);
                server.collect(shelf.name).await;
            }
            server.finish().await;
            let files = |objects: &Objects| -> usize {
                objects.keys().filter(|key| key.contains("/seg/")).count()
            };
            assert!(
                files(&bucket.objects()) < files(&golden.objects),
                "{version}"
            );
            for (step, expected, found) in golden.ask(&bucket).await {
                let same = (expected.0, of_documents(expected.1))
                    == (found.0, of_documents(found.1.clone()));
                assert!(same, "{version}: {step:?}: {found:?}");
            }
            assert_eq!(bucket.faults().await, Vec::<String>::new(), "{version}");
        });
    }
}

/// Leaves out what tells of the log: it goes on with a merge.
fn of_documents(mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        for name in ["performance", "index", "updated_at", "last_write_at"] {
            fields.remove(name);
        }
    }
    answer
}

#[test]
fn bucket_with_a_flipped_byte_is_named_or_answers_the_same() {
    for version in VERSIONS {
        let golden = Golden::read(version);
        let mut named: BTreeMap<&str, u32> = BTreeMap::new();
        for (key, at) in &golden.flips {
            let what = format!("{version}: {key}: byte {at}");
            let mut bytes = golden.objects[key].clone();
            bytes[*at] ^= 0x10;
            let bucket = Folder::of(&golden.objects);
            bucket.put(key, &bytes);
            for (step, expected, found) in block(golden.ask(&bucket)) {
                if found == expected {
                    continue;
                }
                let message = found.1["error"].as_str().unwrap_or_default();
                let is_named = found.1["type"] == "data_corrupt" && message.contains(key.as_str());
                assert!(is_named, "{what}: {step:?}: {found:?}");
                *named.entry(kind_of(key)).or_default() += 1;
            }
        }
        // The others have a copy to fall back to, or are read by nobody.
        for kind in ["slot", "parquet", "idx", "dvs", "name"] {
            assert!(
                named.contains_key(kind),
                "{version}: no {kind} was named: {named:?}"
            );
        }
    }
}

#[test]
fn bucket_made_now_has_the_same_bytes_twice_and_answers_as_the_newest() {
    let (first, second) = block(async { (Golden::make().await, Golden::make().await) });
    let differing = first
        .objects
        .iter()
        .filter(|(key, bytes)| second.objects.get(*key) != Some(bytes));
    let differing: Vec<&String> = differing.map(|(key, _)| key).collect();
    assert!(differing.is_empty(), "not the same twice: {differing:?}");
    assert_eq!(first.objects.len(), second.objects.len());
    let kinds: Vec<&str> = first.objects.keys().map(|key| kind_of(key)).collect();
    for (_, kind) in KINDS {
        assert!(kinds.contains(&kind), "no {kind}: {kinds:?}");
    }
    let newest = Golden::read(VERSIONS[VERSIONS.len() - 1]);
    let bucket = Folder::of(&first.objects);
    block(newest.answers_as_written(&bucket, "made now"));
}
