//! Explores the commit protocol: the machines of `elacsym::lsm` against a modelled object store that
//! loses replies and executes late, with nodes that stall and die anywhere.
//!
//! Every scenario must be safe as it is, and every mutation must be caught. `ELACSYM_TEST_MODEL=full` explores
//! up to five million states of each scenario; otherwise a smaller slice. Read `world.rs` first, then
//! `node.rs`, `system.rs` (with a file for each phase of an operation) and `scenario.rs`.

// The bounds come from the environment, and the table shows how long each exploration took.
#![allow(clippy::disallowed_methods)]
#![allow(missing_docs, unreachable_pub)]

mod append;
mod catch_up;
mod flush;
mod node;
mod open;
mod probe;
mod scenario;
mod system;
mod world;

use std::time::{Duration, Instant};

use scenario::{MUTATIONS, Mutation, SCENARIOS, Scenario};
use stateright::{Checker, HasDiscoveries, Model};
use system::System;

/// What an exploration found.
struct Found {
    states: usize,
    seconds: f64,
    violation: Option<String>,
    completes: bool,
}

fn explore(scenario: Scenario, mutation: Option<Mutation>, states: usize, time: Duration) -> Found {
    let begun = Instant::now();
    let system = System { scenario, mutation };
    let checker = system
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(states)
        .timeout(time)
        .spawn_bfs()
        .join();
    let trace = checker.discovery("safe").map(|path| {
        let violation = path.last_state().violation.unwrap_or_default();
        (violation, path.into_actions())
    });
    Found {
        states: checker.unique_state_count(),
        seconds: begun.elapsed().as_secs_f64(),
        violation: trace.map(|(violation, actions)| format!("{violation}, after {actions:?}")),
        completes: checker
            .discovery("everything is done and acknowledged")
            .is_some(),
    }
}

fn is_full() -> bool {
    std::env::var("ELACSYM_TEST_MODEL").is_ok_and(|bound| bound == "full")
}

#[test]
fn protocol_unbroken_is_safe_and_completes() {
    let (states, seconds) = if is_full() {
        (5_000_000, 60)
    } else {
        (300_000, 10)
    };
    let mut failures = Vec::new();
    let mut completed = 0;
    for scenario in SCENARIOS {
        let found = explore(*scenario, None, states, Duration::from_secs(seconds));
        println!(
            "{:<42} {:>9} states {:>6.1} s  safe {:<3}  completes {}",
            scenario.name,
            found.states,
            found.seconds,
            if found.violation.is_none() {
                "yes"
            } else {
                "NO"
            },
            if found.completes { "yes" } else { "not seen" },
        );
        completed += usize::from(found.completes);
        if let Some(violation) = found.violation {
            failures.push(format!("{}: {violation}", scenario.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(completed > 0, "no scenario ran to its end");
}

#[test]
fn protocol_mutated_is_caught() {
    let mut missed = Vec::new();
    for (mutation, scenario) in MUTATIONS {
        let time = Duration::from_secs(30);
        let found = explore(*scenario, Some(*mutation), 5_000_000, time);
        let caught = found.violation.is_some();
        println!(
            "{:<42} {:>9} states {:>6.1} s  {:<24} caught {}",
            scenario.name,
            found.states,
            found.seconds,
            format!("{mutation:?}"),
            if caught { "yes" } else { "NO" },
        );
        if !caught {
            missed.push(mutation);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
