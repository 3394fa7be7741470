//! Kills at random instants, and a clean stop.

use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Client, Values};
use crate::journal::Journal;
use crate::random::Random;
use crate::server::{Process, Server, sleep};

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

#[test]
fn kill_at_random_instants_loses_no_acknowledged_write() {
    let seed = setting("ELACSYM_TEST_KILL_SEED", SEED);
    let kills = setting("ELACSYM_TEST_KILLS", KILLS);
    eprintln!("ELACSYM_TEST_KILL_SEED={seed} ELACSYM_TEST_KILLS={kills}");
    let mut random = Random::new(seed);
    let (mut left, mut acknowledgements, mut applied) = (kills, 0, 0);
    while left > 0 {
        let here = left.min(KILLS_PER_DIRECTORY);
        left -= here;
        let journals = kill_in_one_directory(here, &mut random);
        for journal in journals {
            acknowledgements += journal.acknowledgements;
            applied += journal.applied_unanswered;
        }
    }
    assert!(acknowledgements > 0, "nothing was ever acknowledged");
    eprintln!("{kills} kills, {acknowledgements} acknowledged, {applied} applied but unanswered");
}

fn kill_in_one_directory(kills: u64, random: &mut Random) -> Vec<Journal> {
    let directory = TempDir::new().expect("a directory");
    let mut journals: Vec<Journal> = (0..WRITERS)
        .map(|writer| Journal::new(writer, random.next()))
        .collect();
    let mut server = Server::start(directory.path());
    for kill in 0..kills {
        let life = Duration::from_micros(random.below(LIFE_MS_MAX * 1_000));
        write_and_kill(&mut server, &mut journals, life);
        if random.once_in(4) {
            let life = Duration::from_micros(random.below(START_MS_MAX * 1_000));
            kill_while_starting(directory.path(), life);
        }
        server = Server::start(directory.path());
        let client = Client::new(&server.url, NAMESPACE);
        audit(&client, &mut journals, &format!("after kill {kill}"));
        if kill % COLD_AUDIT_EVERY == 0 {
            let cold = Server::start(directory.path());
            let when = format!("by a second process after kill {kill}");
            audit(&Client::new(&cold.url, NAMESPACE), &mut journals, &when);
        }
    }
    journals
}

/// Lets all writers write, each on its own connection, for as long as the server is to live.
fn write_and_kill(server: &mut Server, journals: &mut [Journal], life: Duration) {
    let killing = AtomicBool::new(false);
    let url = server.url.clone();
    thread::scope(|scope| {
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
    });
}

fn kill_while_starting(directory: &Path, life: Duration) {
    let mut process = Process::start(directory);
    sleep(life);
    process.kill();
}

fn audit(client: &Client, journals: &mut [Journal], when: &str) {
    let ids: Vec<u64> = journals.iter().flat_map(Journal::ids).collect();
    // No namespace: right only if nothing was ever acknowledged, as the comparison says.
    let read: Values = client.read(&ids).unwrap_or_default();
    for journal in journals {
        if let Err(what) = journal.audit(&read) {
            panic!("{when}: {what}");
        }
    }
}

#[test]
fn kill_of_one_of_two_servers_loses_no_acknowledged_write() {
    let directory = TempDir::new().expect("a directory");
    let mut random = Random::new(setting("ELACSYM_TEST_KILL_SEED", SEED));
    let mut journals: Vec<Journal> = (0..WRITERS)
        .map(|writer| Journal::new(writer, random.next()))
        .collect();
    let survivor = Server::start(directory.path());
    for kill in 0..KILLS_OF_ONE {
        let mut victim = Server::start(directory.path());
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
            write_and_kill(&mut victim, of_victim, life);
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
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => u64::from_str(&text).unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => default,
    }
}
