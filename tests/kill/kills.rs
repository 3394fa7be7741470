//! Kills at random instants, and a clean stop.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Client, Values};
use crate::journal::{Difference, Journal};
use crate::random::Random;
use crate::server::{Process, Server, run, sleep};

const NAMESPACE: &str = "kill";
const WRITERS: u64 = 4;
/// Kills of the test command; `ELACSYM_TEST_KILLS` asks for more.
const KILLS: u64 = 25;
/// Set `ELACSYM_TEST_KILL_SEED` for another sequence of instants and writes.
const SEED: u64 = 20_260_101;
/// Kills on one directory; then a fresh one, so that the log read at each start stays short.
const KILLS_PER_DIRECTORY: u64 = 25;
/// Kills of one server beside another that goes on.
const KILLS_OF_ONE: u64 = 10;
/// The longest that writers run before a kill.
const LIFE_MS_MAX: u64 = 400;
/// The longest that a start is given where it is the start that is killed.
const START_MS_MAX: u64 = 40;
/// One audit in this many is also made through a process that never served before.
const COLD_AUDIT_EVERY: u64 = 4;

/// Flushes all the time, short logs, garbage that goes at once, and no respect for the claims of the dead: lives are short here.
pub(crate) const FLUSHING: [&str; 9] = [
    "flush.age_ms=50",
    "flush.keep_blocks=0",
    "retention.history_ms=0",
    "flush.claim_patience_ms=50",
    "compaction.fan_in=3",
    "compaction.max_segments=4",
    "compaction.dead_rows=5",
    "gc.interval_ms=0",
    "gc.claim_grace_ms=500",
];

#[test]
fn kill_at_random_instants_loses_no_acknowledged_write() {
    let seed = setting("ELACSYM_TEST_KILL_SEED", SEED);
    let kills = setting("ELACSYM_TEST_KILLS", KILLS);
    eprintln!("ELACSYM_TEST_KILL_SEED={seed} ELACSYM_TEST_KILLS={kills}");
    let mut random = Random::new(seed);
    let mut campaign = Campaign {
        seed,
        kills: 0,
        in_flush: 0,
        acknowledged: 0,
        applied: 0,
        lost: 0,
        phantom: 0,
    };
    let mut left = kills;
    while left > 0 {
        let here = left.min(KILLS_PER_DIRECTORY);
        left -= here;
        kill_in_one_directory(here, &mut random, &mut campaign);
    }
    assert!(campaign.acknowledged > 0, "nothing was ever acknowledged");
    let enough = 2 * campaign.in_flush >= campaign.kills;
    assert!(enough, "fewer than half of the kills met a flush");
}

/// What a run came to; printed at its end, also at a bad one.
#[derive(Debug)]
struct Campaign {
    seed: u64,
    kills: u64,
    /// Kills that left a flush unanswered: inside its claim, uploads, commit, manifest or truncation.
    in_flush: u64,
    acknowledged: u64,
    /// Unanswered writes that turned out to have been applied.
    applied: u64,
    lost: u64,
    phantom: u64,
}

impl Campaign {
    fn count(&mut self, journals: &[Journal]) {
        for journal in journals {
            self.acknowledged += journal.acknowledgements;
            self.applied += journal.applied_unanswered;
        }
    }

    fn fail(&mut self, journals: &[Journal], difference: &Difference, when: &str) -> ! {
        self.count(journals);
        self.lost += difference.lost;
        self.phantom += difference.phantom;
        panic!("{when}: {}", difference.what);
    }
}

impl Drop for Campaign {
    /// A row of the table of results in `docs/reliability.md`.
    fn drop(&mut self) {
        let build = if cfg!(debug_assertions) {
            "dev"
        } else {
            "release"
        };
        // Not by a macro: the test harness would keep it to itself.
        let _ = writeln!(
            std::io::stderr(),
            "| {build} | {} | {} | {} | {} | {} | {} | {} |",
            self.seed,
            self.kills,
            self.in_flush,
            self.acknowledged,
            self.applied,
            self.lost,
            self.phantom
        );
    }
}

fn kill_in_one_directory(kills: u64, random: &mut Random, campaign: &mut Campaign) {
    let directory = TempDir::new().expect("a directory");
    let mut journals: Vec<Journal> = (0..WRITERS)
        .map(|writer| Journal::new(writer, random.next()))
        .collect();
    let start = || Process::start_with(directory.path(), &[], &FLUSHING).serving();
    let mut seen = Values::new();
    let mut server = start();
    for kill in 0..kills {
        let life = Duration::from_micros(random.below(LIFE_MS_MAX * 1_000));
        let in_flush = write_and_kill(&mut server, &mut journals, &mut seen, life);
        campaign.in_flush += u64::from(in_flush);
        if random.once_in(4) {
            let life = Duration::from_micros(random.below(START_MS_MAX * 1_000));
            kill_while_starting(directory.path(), life);
        }
        campaign.kills += 1;
        server = start();
        let client = Client::new(&server.url, NAMESPACE);
        if let Err(difference) = compare(&client, &mut journals) {
            campaign.fail(&journals, &difference, &format!("after kill {kill}"));
        }
        if kill % COLD_AUDIT_EVERY == 0 {
            let cold = Server::start(directory.path());
            if let Err(difference) = compare(&Client::new(&cold.url, NAMESPACE), &mut journals) {
                let when = format!("by a second process after kill {kill}");
                campaign.fail(&journals, &difference, &when);
            }
        }
    }
    server.kill();
    nothing_else_is_left(directory.path(), kills);
    campaign.count(&journals);
}

/// Collects garbage twice, with no server at work: nothing must be left then that nothing refers to.
pub(crate) fn nothing_else_is_left(directory: &Path, kills: u64) {
    let url = format!("file://{}", directory.join("data").display());
    let now = [
        "retention.history_ms=0",
        "gc.claim_grace_ms=0",
        "flush.keep_blocks=0",
    ];
    for command in ["gc", "gc", "fsck"] {
        let mut arguments = vec![command, "--storage-url", &url];
        arguments.extend(now.iter().flat_map(|setting| ["--set", setting]));
        let (status, said) = run(directory, &arguments);
        assert!(status.success(), "{command} after {kills} kills: {said}");
        let leaks = said.lines().filter(|line| line.starts_with("orphan"));
        let leaks: Vec<&str> = leaks.collect();
        assert!(leaks.is_empty(), "after {kills} kills: {leaks:#?}");
    }
}

/// Lets all writers write, each on its own connection, for as long as the server is to live, and a reader
/// read what never goes back. Gives whether the kill left a flush unanswered.
fn write_and_kill(
    server: &mut Server,
    journals: &mut [Journal],
    seen: &mut Values,
    life: Duration,
) -> bool {
    let killing = AtomicBool::new(false);
    let url = server.url.clone();
    let ids: Vec<u64> = journals.iter().flat_map(|journal| journal.ids()).collect();
    thread::scope(|scope| {
        let flusher = scope.spawn(|| flush_until_killed(&Client::new(&url, NAMESPACE), &killing));
        scope.spawn(|| read_until_killed(&Client::new(&url, NAMESPACE), &ids, seen, &killing));
        for journal in journals {
            let client = Client::new(&url, NAMESPACE);
            scope.spawn(|| {
                let client = client;
                journal.write_until_killed(&client, &killing);
            });
        }
        sleep(life);
        // Before the kill: whoever misses an answer because of it finds this set.
        killing.store(true, Ordering::SeqCst);
        server.kill();
        flusher.join().expect("a flusher")
    })
}

/// Flushes until the server no longer answers; whether it was a flush that was not answered. There is
/// always something to flush.
fn flush_until_killed(client: &Client, killing: &AtomicBool) -> bool {
    let mut flushed = None;
    loop {
        match client.try_flush() {
            Ok(answer) => {
                let fine = matches!(answer.status, 200 | 404 | 503);
                assert!(fine, "a flush: {} {}", answer.status, answer.body);
                flushed = Some(answer.status);
            }
            Err(error) => {
                let killed = killing.load(Ordering::SeqCst);
                assert!(killed, "unanswered by a living server: {error}");
                return flushed != Some(404);
            }
        }
    }
}

/// Reads strongly until the server no longer answers: values of an id only rise, from one read to the next.
fn read_until_killed(client: &Client, ids: &[u64], seen: &mut Values, killing: &AtomicBool) {
    loop {
        match client.read_if_answered(ids) {
            Ok(read) => {
                for (id, value) in read.unwrap_or_default() {
                    let before = seen.insert(id, value);
                    let rises = before.is_none_or(|before| before <= value);
                    assert!(rises, "id {id}: read {value} after {before:?}");
                }
            }
            Err(error) => {
                let killed = killing.load(Ordering::SeqCst);
                assert!(killed, "unanswered by a living server: {error}");
                return;
            }
        }
    }
}

fn kill_while_starting(directory: &Path, life: Duration) {
    let mut process = Process::start(directory);
    sleep(life);
    process.kill();
}

/// Compares what a strong read gives with what every journal holds; panics where they differ.
pub(crate) fn audit(client: &Client, journals: &mut [Journal], when: &str) {
    if let Err(difference) = compare(client, journals) {
        panic!("{when}: {}", difference.what);
    }
}

fn compare(client: &Client, journals: &mut [Journal]) -> Result<(), Difference> {
    let ids: Vec<u64> = journals.iter().flat_map(Journal::ids).collect();
    // No namespace: right only if nothing was ever acknowledged, as the comparison says.
    let read: Values = client.read(&ids).unwrap_or_default();
    journals
        .iter_mut()
        .try_for_each(|journal| journal.audit(&read))
}

#[test]
fn kill_of_one_of_two_servers_loses_no_acknowledged_write() {
    let directory = TempDir::new().expect("a directory");
    let mut random = Random::new(setting("ELACSYM_TEST_KILL_SEED", SEED));
    let mut journals: Vec<Journal> = (0..WRITERS)
        .map(|writer| Journal::new(writer, random.next()))
        .collect();
    let mut seen = Values::new();
    let survivor = Process::start_with(directory.path(), &[], &FLUSHING).serving();
    for kill in 0..KILLS_OF_ONE {
        let mut victim = Process::start_with(directory.path(), &[], &FLUSHING).serving();
        let life = Duration::from_micros(random.below(LIFE_MS_MAX * 1_000));
        let (of_victim, of_survivor) = journals.split_at_mut(WRITERS as usize / 2);
        let (stop, client) = (
            AtomicBool::new(false),
            Client::new(&survivor.url, NAMESPACE),
        );
        thread::scope(|scope| {
            for journal in of_survivor {
                let client = Client::new(&survivor.url, NAMESPACE);
                let stop = &stop;
                scope.spawn(move || journal.write_until_stopped(&client, stop));
            }
            // Stops the others also where a check of this thread fails.
            let _stop = StopOnDrop(&stop);
            write_and_kill(&mut victim, of_victim, &mut seen, life);
            let when = format!("by the survivor, still written to, after kill {kill}");
            audit(&client, of_victim, &when);
        });
        let when = format!("by the survivor after kill {kill}");
        audit(&client, &mut journals, &when);
    }
    let cold = Server::start(directory.path());
    audit(
        &Client::new(&cold.url, NAMESPACE),
        &mut journals,
        "at the end",
    );
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn server_stops_cleanly_on_sigterm() {
    let directory = TempDir::new().expect("a directory");
    let server = Server::start(directory.path());
    // Its connection stays open, idle, as a client's pool keeps it.
    let client = Client::new(&server.url, NAMESPACE);
    client.upsert(&[(1, 10)]);
    let status = server.terminate();
    drop(client);
    assert_eq!(status.code(), Some(0), "{status}");
    let server = Server::start(directory.path());
    let read = Client::new(&server.url, NAMESPACE).read(&[1]);
    assert_eq!(read, Some(Values::from([(1, 10)])));
}

/// A number of the environment, for runs by hand.
#[allow(
    clippy::disallowed_methods,
    reason = "a setting of this test, not of the server: its processes get an empty environment"
)]
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => u64::from_str(&text).unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => default,
    }
}
