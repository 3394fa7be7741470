//! Every named failpoint, each way it can strike, in a real server process.
//!
//! `table.rs` says what is promised where, `stage.rs` prepares directories. Here: writers with journals and
//! idempotency keys, the strike, and then the audit of every write, answered or not, through the process
//! itself where it lives, through another server beside it, and through one started afterwards.

mod flip;
mod flush;
mod stage;
mod table;
mod torn;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use elacsym::runtime::failpoint::VARIABLE;

use crate::client::{Client, Values};
use crate::journal::{Ended, Journal};
use crate::kills::audit;
use crate::server::{Process, Server};
use flush::{FLUSHING, Flusher};
use stage::{Before, NAMESPACE, Stage, Stages};
use table::{CASES, Case, Ends, Unanswered};

/// Cases at once: most wait for a disk or for a deadline.
const CASES_AT_ONCE: usize = 6;
/// Writes of each writer.
const WRITES: u64 = 60;
/// Time for one request where the failpoint hangs.
const DEADLINE: &str = "server.request_timeout_ms=2000";
/// Time for the end of a process in which something hangs.
const GRACE: &str = "server.shutdown_grace_ms=500";

#[test]
fn failpoint_each_point_and_variant_keeps_its_promise() {
    let stages = Stages::set();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let run_cases = || {
        while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
            // On a thread of its own, so that one failure does not hide the others.
            let passed = thread::scope(|scope| scope.spawn(|| run(case, &stages)).join().is_ok());
            if !passed {
                let mut failed = failed.lock().expect("no panic under it");
                failed.push(format!("{} from {:?}", case.order, case.before));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..CASES_AT_ONCE {
            scope.spawn(run_cases);
        }
    });
    let failed = failed.into_inner().expect("no panic under it");
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:#?}",
        failed.len(),
        CASES.len()
    );
    eprintln!("{} cases", CASES.len());
}

fn run(case: &Case, stages: &Stages) {
    let mut stage = stages.copy(case.before);
    let mut armed = start_armed(case, &stage);
    let flusher = case.flushing.then(|| Flusher::start(&armed.url));
    let ended = write(&armed, &mut stage.journals, case);
    armed.process.says(&case.strike());
    if let Some(flusher) = flusher {
        flusher.stop(case.ends == Ends::Dies);
    }
    check_answers(case, &ended, &stage.journals);
    if case.ends == Ends::Dies {
        died(&mut armed.process);
        case.left.check(&stage.data());
        return audit_after(case, &mut stage, None);
    }
    // Others are not concerned: another namespace of this server, another server.
    if case.ends != Ends::UnknownForGood {
        let elsewhere = Client::new(&armed.url, "elsewhere");
        elsewhere.upsert(&[(1, 10)]);
        assert_eq!(elsewhere.read(&[1]), Some(Values::from([(1, 10)])));
    }
    case.left.check(&stage.data());
    let beside = Server::start(stage.path());
    let mut now = stage.journals.clone();
    let applied = audit_and_count(&beside, &mut now, "beside it");
    case.unanswered.check(applied);
    for (journal, now) in stage.journals.iter_mut().zip(now) {
        // What waits behind a hang is of unknown outcome until the process has ended: it may come late.
        if !case.hangs() || now.applied_unanswered > journal.applied_unanswered {
            *journal = now;
        }
    }
    if case.goes_on() {
        let client = Client::new(&armed.url, NAMESPACE);
        audit(&client, &mut stage.journals, "through itself");
        for journal in &mut stage.journals {
            journal.settle(&client);
        }
        audit(&client, &mut stage.journals, "through itself, settled");
    }
    if case.hangs() {
        let status = armed.terminate();
        assert_eq!(status.code(), Some(0), "{status}");
    } else {
        armed.kill();
    }
    audit_after(case, &mut stage, Some(beside));
}

fn start_armed(case: &Case, stage: &Stage) -> Server {
    let mut settings = Vec::new();
    if case.hangs() {
        settings.extend([DEADLINE, GRACE]);
    }
    if case.flushing {
        settings.extend(FLUSHING);
    }
    Process::start_with(stage.path(), &[(VARIABLE, case.order)], &settings).serving()
}

fn write(server: &Server, journals: &mut [Journal], case: &Case) -> Vec<Ended> {
    let writers = case.writers();
    // A flush is struck when it is; whoever is to notice must still be writing.
    let outlasts = case.flushing && matches!(case.ends, Ends::Dies | Ends::Hangs);
    let writes = if outlasts { 50 * WRITES } else { WRITES };
    thread::scope(|scope| {
        let writing: Vec<_> = journals[..writers]
            .iter_mut()
            .map(|journal| {
                let client = Client::new(&server.url, NAMESPACE);
                scope.spawn(move || journal.write_keyed(&client, writes))
            })
            .collect();
        let join = |writer: thread::ScopedJoinHandle<'_, Ended>| writer.join().expect("a writer");
        writing.into_iter().map(join).collect()
    })
}

/// What the writers were told is what the table promises.
fn check_answers(case: &Case, ended: &[Ended], journals: &[Journal]) {
    let refused: u64 = journals.iter().map(|journal| journal.refused).sum();
    let order = case.order;
    let told = |what: Ended| ended.iter().filter(|ended| **ended == what).count();
    let (done, unknown, gone) = (told(Ended::Done), told(Ended::Unknown), told(Ended::Gone));
    let as_promised = match case.ends {
        Ends::Dies => gone > 0 && unknown == 0 && refused == 0,
        Ends::Unnoticed | Ends::HangsBehind => done == ended.len() && refused == 0,
        Ends::Refused => done == ended.len() && refused > 0,
        Ends::Unknown => unknown > 0 && gone == 0 && refused == 0,
        Ends::UnknownForGood => unknown > 0 && gone == 0,
        Ends::Hangs => unknown == ended.len() && refused == 0,
    };
    assert!(as_promised, "{order}: {ended:?}, {refused} refused");
}

fn died(process: &mut Process) {
    use std::os::unix::process::ExitStatusExt;
    const SIGABRT: i32 = 6;
    let status = process.wait_for_end();
    assert_eq!(status.signal(), Some(SIGABRT), "{status}");
}

/// Audits through a process started now and one beside it, settles what is unknown, and audits again.
fn audit_after(case: &Case, stage: &mut Stage, beside: Option<Server>) {
    let settings = if case.flushing { &FLUSHING[..] } else { &[] };
    let restarted = Process::start_with(stage.path(), &[], settings).serving();
    let applied = audit_and_count(&restarted, &mut stage.journals, "restarted");
    if beside.is_none() {
        case.unanswered.check(applied);
    }
    let beside = beside.unwrap_or_else(|| Server::start(stage.path()));
    let clients = [&restarted, &beside].map(|server| Client::new(&server.url, NAMESPACE));
    audit(&clients[1], &mut stage.journals, "by a second process");
    for journal in &mut stage.journals {
        journal.settle(&clients[0]);
    }
    audit(
        &clients[1],
        &mut stage.journals,
        "by a second process, settled",
    );
    audit(&clients[0], &mut stage.journals, "restarted, settled");
    if case.flushing {
        flush::flush_on(&clients[0], &stage.data(), case.before);
        audit(&clients[0], &mut stage.journals, "restarted, flushed");
        audit(
            &clients[1],
            &mut stage.journals,
            "by a second process, flushed",
        );
        let cold = Server::start(stage.path());
        let client = Client::new(&cold.url, NAMESPACE);
        audit(&client, &mut stage.journals, "by a cold process, flushed");
    }
}

/// Audits; returns how many unanswered writes turned out to be applied.
fn audit_and_count(server: &Server, journals: &mut [Journal], when: &str) -> u64 {
    let count = |journals: &[Journal]| -> u64 {
        journals
            .iter()
            .map(|journal| journal.applied_unanswered)
            .sum()
    };
    let before = count(journals);
    audit(&Client::new(&server.url, NAMESPACE), journals, when);
    count(journals) - before
}

impl Unanswered {
    fn check(self, applied: u64) {
        match self {
            Self::NoneApplied => assert_eq!(applied, 0, "unanswered writes were applied"),
            Self::SomeApplied => assert!(applied > 0, "no unanswered write was applied"),
            Self::Any => {}
        }
    }
}

/// Where a drop is struck: once the log says so the namespace is gone, whatever becomes of its name's record.
#[test]
fn failpoint_at_the_record_of_a_drop_leaves_it_dropped() {
    let stages = Stages::set();
    for (order, answer) in [
        ("n1=die-before@1", None),
        ("n1=die-after@1", None),
        ("n1=error-before@1", Some(200)),
        ("n1=error-after@1", Some(200)),
        ("n1=hang-before@1", Some(503)),
        ("n1=hang-after@1", Some(503)),
    ] {
        let stage = stages.copy(Before::Small);
        let armed =
            Process::start_with(stage.path(), &[(VARIABLE, order)], &[DEADLINE, GRACE]).serving();
        let status = Client::new(&armed.url, NAMESPACE).try_delete_namespace();
        assert_eq!(status.ok(), answer, "{order}");
        armed.process.says("failpoint n1 struck");
        drop(armed);
        let servers = [Server::start(stage.path()), Server::start(stage.path())];
        let clients = servers
            .each_ref()
            .map(|server| Client::new(&server.url, NAMESPACE));
        let ids: Vec<u64> = stage.journals.iter().flat_map(Journal::ids).collect();
        for client in &clients {
            assert_eq!(client.read(&ids), None, "{order}");
        }
        clients[0].upsert(&[(1, 77)]);
        for client in &clients {
            assert_eq!(client.read(&ids), Some(Values::from([(1, 77)])), "{order}");
        }
    }
}

#[test]
fn failpoint_malformed_order_is_refused() {
    let stages = Stages::set_bare();
    let stage = stages.copy(Before::Nothing);
    let order = (VARIABLE, "w3=explode@1");
    let mut process = Process::start_with(stage.path(), &[order], &[]);
    let status = process.wait_for_end();
    assert_eq!(status.code(), Some(2), "{status}");
    process.says("elacsym: ELACSYM_TEST_FAILPOINT: expected one of die-before");
}
