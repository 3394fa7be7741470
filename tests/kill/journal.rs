//! What one writer was told: the audit's measure of what must be there, and what must not.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::client::{Client, Values, upsert_body};
use crate::random::Random;

/// Ids of each writer; no other writer touches them.
pub(crate) const IDS_PER_WRITER: u64 = 32;
/// Rows of the largest batch.
const BATCH_MAX: u64 = 8;

/// One write: what it sets, and what it deletes. No id twice.
#[derive(Debug, Clone)]
struct Change {
    upserts: Vec<(u64, u64)>,
    deletes: Vec<u64>,
}

impl Change {
    fn body(&self) -> Value {
        let mut body = match self.upserts.as_slice() {
            [] => json!({}),
            upserts => upsert_body(upserts),
        };
        if !self.deletes.is_empty() {
            body["deletes"] = json!(self.deletes);
        }
        body
    }

    fn apply(&self, values: &mut Values) {
        values.extend(self.upserts.iter().copied());
        for id in &self.deletes {
            values.remove(id);
        }
    }
}

/// A write and the `Idempotency-Key` it was sent with.
#[derive(Debug, Clone)]
struct Keyed {
    key: String,
    change: Change,
}

/// How a row of keyed writes ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All were answered: acknowledged or refused.
    Done,
    /// 503 `outcome_unknown`: the last one may have happened.
    Unknown,
    /// No answer.
    Gone,
}

/// One writer's ids: what was acknowledged, and the one write whose answer never came.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    first_id: u64,
    acknowledged: Values,
    unanswered: Option<Change>,
    /// The last unanswered keyed write, until it is settled.
    unsettled: Option<Keyed>,
    /// Values are never used twice, so that a stale one is known for what it is.
    next_value: u64,
    random: Random,
    pub(crate) acknowledgements: u64,
    /// Unanswered writes that turned out to have been applied.
    pub(crate) applied_unanswered: u64,
    /// Writes answered with 503 `unavailable`: certainly not applied.
    pub(crate) refused: u64,
}

impl Journal {
    pub(crate) fn new(writer: u64, seed: u64) -> Self {
        Self {
            first_id: writer * IDS_PER_WRITER,
            acknowledged: Values::new(),
            unanswered: None,
            unsettled: None,
            next_value: 1,
            random: Random::new(seed),
            acknowledgements: 0,
            applied_unanswered: 0,
            refused: 0,
        }
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        (self.first_id..self.first_id + IDS_PER_WRITER).collect()
    }

    /// Writes until the server no longer answers, which it may do only once `killing` is set.
    pub(crate) fn write_until_killed(&mut self, client: &Client, killing: &AtomicBool) {
        loop {
            if let Err(error) = self.write(client) {
                let killed = killing.load(Ordering::SeqCst);
                assert!(killed, "unanswered by a living server: {error}");
                return;
            }
        }
    }

    /// Writes until told to stop, to a server that lives.
    pub(crate) fn write_until_stopped(&mut self, client: &Client, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            if let Err(error) = self.write(client) {
                panic!("unanswered by a living server: {error}");
            }
        }
    }

    /// Makes one write; an error means that no answer came.
    fn write(&mut self, client: &Client) -> Result<(), String> {
        let change = self.choose();
        let body = change.body();
        match client.try_write(&body) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{body}: {}", answer.body);
                change.apply(&mut self.acknowledged);
                self.acknowledgements += 1;
                Ok(())
            }
            Err(error) => {
                self.unanswered = Some(change);
                Err(format!("{body}: {error}"))
            }
        }
    }

    /// Makes keyed writes until one has no certain outcome.
    pub(crate) fn write_keyed(&mut self, client: &Client, writes: u64) -> Ended {
        for _ in 0..writes {
            let change = self.choose_visible();
            // Values are never used twice, so neither is this.
            let key = format!(
                "{}-{}-{}",
                self.first_id,
                self.next_value,
                self.random.next()
            );
            let body = change.body();
            let answer = client.try_write_keyed(&body, &key);
            let ended = match answer {
                Ok(answer) => match (answer.status, answer.body["type"].as_str()) {
                    (200, _) => {
                        change.apply(&mut self.acknowledged);
                        self.acknowledgements += 1;
                        continue;
                    }
                    (503, Some("unavailable" | "store_unavailable")) => {
                        self.refused += 1;
                        continue;
                    }
                    (503, Some("outcome_unknown")) => Ended::Unknown,
                    _ => panic!("{body}: {} {}", answer.status, answer.body),
                },
                Err(_) => Ended::Gone,
            };
            self.unanswered = Some(change.clone());
            self.unsettled = Some(Keyed { key, change });
            return ended;
        }
        Ended::Done
    }

    /// Sends the write of unknown outcome again with its key, writes newer values over it, sends it once
    /// more: it must come to one application, and the newer values must stay.
    pub(crate) fn settle(&mut self, client: &Client) {
        let Some(Keyed { key, change }) = self.unsettled.take() else {
            return;
        };
        let body = change.body();
        let send = || {
            let answer = client.try_write_keyed(&body, &key).expect("an answer");
            assert_eq!(answer.status, 200, "{body}: {}", answer.body);
            answer.body["seq"].as_u64().expect("a seq")
        };
        let first = send();
        change.apply(&mut self.acknowledged);
        let mut newer = Change {
            upserts: Vec::new(),
            deletes: Vec::new(),
        };
        let upserted = change.upserts.iter().map(|(id, _)| id);
        for id in upserted.chain(&change.deletes) {
            newer.upserts.push((*id, self.next_value));
            self.next_value += 1;
        }
        let written = client.write(&newer.body())["seq"].as_u64();
        newer.apply(&mut self.acknowledged);
        assert!(written > Some(first), "{written:?} after {first}");
        assert_eq!(send(), first, "a repetition is another commit: {body}");
    }

    /// A write whose having been applied can be seen: a delete of what is not there cannot.
    fn choose_visible(&mut self) -> Change {
        loop {
            let change = self.choose();
            if !change.upserts.is_empty() {
                return change;
            }
        }
    }

    fn choose(&mut self) -> Change {
        let rows = if self.random.once_in(3) {
            1 + self.random.below(BATCH_MAX)
        } else {
            1
        };
        let first = self.random.below(IDS_PER_WRITER);
        let mut change = Change {
            upserts: Vec::new(),
            deletes: Vec::new(),
        };
        for offset in 0..rows {
            let id = self.first_id + (first + offset) % IDS_PER_WRITER;
            // A write of deletes alone is refused where there is no namespace yet.
            if self.acknowledgements > 0 && self.random.once_in(6) {
                change.deletes.push(id);
            } else {
                change.upserts.push((id, self.next_value));
                self.next_value += 1;
            }
        }
        change
    }

    /// Checks what a strong read gave of this writer's ids: every acknowledged write, and of the unanswered
    /// one all or nothing. What was read once must stay: from here on it counts as acknowledged.
    pub(crate) fn audit(&mut self, read: &Values) -> Result<(), Difference> {
        let ids = self.first_id..self.first_id + IDS_PER_WRITER;
        let read: Values = read.range(ids).map(|(&id, &value)| (id, value)).collect();
        let unanswered = self.unanswered.take();
        if read == self.acknowledged {
            return Ok(());
        }
        let Some(change) = unanswered else {
            return Err(Difference::new(&self.acknowledged, None, &read));
        };
        let mut with_unanswered = self.acknowledged.clone();
        change.apply(&mut with_unanswered);
        if read != with_unanswered {
            return Err(Difference::new(&self.acknowledged, Some(&change), &read));
        }
        self.acknowledged = with_unanswered;
        self.applied_unanswered += 1;
        Ok(())
    }
}

/// What an audit found wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Ids without the value that was acknowledged.
    pub(crate) lost: u64,
    /// Ids with a value that was not acknowledged.
    pub(crate) phantom: u64,
    /// Each of them.
    pub(crate) what: String,
}

impl Difference {
    fn new(acknowledged: &Values, unanswered: Option<&Change>, read: &Values) -> Self {
        let mut ids: Vec<u64> = acknowledged.keys().chain(read.keys()).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let (mut lost, mut phantom, mut differences) = (0, 0, Vec::new());
        for id in ids {
            let (acknowledged, read) = (acknowledged.get(&id), read.get(&id));
            if acknowledged == read {
                continue;
            }
            lost += u64::from(acknowledged.is_some());
            phantom += u64::from(read.is_some());
            differences.push(format!(
                "id {id}: acknowledged {acknowledged:?}, read {read:?}"
            ));
        }
        let differences = differences.join("; ");
        Self {
            lost,
            phantom,
            what: format!("lost or phantom writes: {differences}; unanswered: {unanswered:?}"),
        }
    }
}

#[test]
fn audit_of_lost_phantom_or_torn_writes_fails() {
    let journal = || Journal {
        acknowledged: Values::from([(1, 5), (2, 6)]),
        unanswered: Some(Change {
            upserts: vec![(1, 7), (3, 8)],
            deletes: vec![2],
        }),
        ..Journal::new(0, 0)
    };
    for (read, passes) in [
        (vec![(1, 5), (2, 6)], true),
        (vec![(1, 7), (3, 8)], true),
        (vec![(1, 5)], false),
        (vec![(1, 4), (2, 6)], false),
        (vec![(1, 5), (2, 6), (4, 9)], false),
        (vec![(1, 7), (2, 6)], false),
    ] {
        let outcome = journal().audit(&Values::from_iter(read.clone()));
        assert_eq!(outcome.is_ok(), passes, "{read:?}: {outcome:?}");
    }
    let mut journal = journal();
    assert_eq!(journal.audit(&Values::from([(1, 5), (2, 6)])), Ok(()));
    let late = journal.audit(&Values::from([(1, 7), (3, 8)]));
    assert!(late.is_err(), "once read as absent, it may not come later");
}
