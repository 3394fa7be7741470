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
mod garbage;
mod node;
mod open;
mod probe;
mod scenario;
mod system;
mod world;

use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use scenario::{MUTATIONS, SCENARIOS};
use stateright::{Checker, HasDiscoveries, Model};
use system::{Action, System};
use world::World;

/// What an exploration found.
struct Found {
    states: usize,
    seconds: f64,
    violation: Option<String>,
    completes: bool,
}

/// A model of the protocol.
trait Explored:
    Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Send + Sync>
{
    /// What is wrong with a world.
    fn violation(world: &Self::State) -> Option<&'static str>;

    /// What a step does to a world, for people.
    fn tell(world: &Self::State, action: &Self::Action) -> String;
}

impl Explored for System {
    fn violation(world: &World) -> Option<&'static str> {
        world.violation
    }

    fn tell(_: &World, action: &Action) -> String {
        format!("{action:?}")
    }
}

impl Explored for garbage::System {
    fn violation(world: &garbage::World) -> Option<&'static str> {
        world.violation
    }

    fn tell(world: &garbage::World, action: &garbage::Action) -> String {
        action.tell(world)
    }
}

fn explore<M>(system: M, states: usize, time: Duration) -> Found
where
    M: Explored + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let begun = Instant::now();
    let checker = system
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(states)
        .timeout(time)
        .spawn_bfs()
        .join();
    let trace = checker.discovery("safe").map(|path| {
        let violation = M::violation(path.last_state()).unwrap_or_default();
        let steps = path.into_vec().into_iter();
        let told = steps.filter_map(|(world, action)| Some(M::tell(&world, &action?)));
        (violation, told.collect::<Vec<String>>())
    });
    Found {
        states: checker.unique_state_count(),
        seconds: begun.elapsed().as_secs_f64(),
        violation: trace
            .map(|(violation, actions)| format!("{violation}\n  {}", actions.join("\n  "))),
        completes: checker
            .discovery("everything is done and acknowledged")
            .is_some(),
    }
}

fn is_full() -> bool {
    std::env::var("ELACSYM_TEST_MODEL").is_ok_and(|bound| bound == "full")
}

/// How many states of each scenario are explored, and for how long at most.
fn bounds() -> (usize, Duration) {
    match is_full() {
        true => (5_000_000, Duration::from_secs(60)),
        false => (300_000, Duration::from_secs(10)),
    }
}

/// Explores scenarios that nothing is broken in.
fn all_are_safe(explored: impl Iterator<Item = (&'static str, Found)>) {
    let mut failures = Vec::new();
    let mut completed = 0;
    for (scenario, found) in explored {
        println!(
            "{:<44} {:>9} states {:>6.1} s  safe {:<3}  completes {}",
            scenario,
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
            failures.push(format!("{scenario}: {violation}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(completed > 0, "no scenario ran to its end");
}

/// Explores scenarios with something broken in each.
fn all_are_caught(explored: impl Iterator<Item = (&'static str, String, Found)>) {
    let mut missed = Vec::new();
    for (scenario, mutation, found) in explored {
        let violation = found
            .violation
            .as_deref()
            .and_then(|all| all.lines().next());
        println!(
            "{:<44} {:>9} states {:>6.1} s  {:<24} caught {}",
            scenario,
            found.states,
            found.seconds,
            mutation,
            violation.unwrap_or("NO"),
        );
        if violation.is_none() {
            missed.push(mutation);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// How many states of a mutation are explored, and for how long at most.
const MUTATED: (usize, Duration) = (5_000_000, Duration::from_secs(30));

#[test]
fn protocol_unbroken_is_safe_and_completes() {
    let (states, time) = bounds();
    all_are_safe(SCENARIOS.iter().map(|scenario| {
        let (scenario, mutation) = (*scenario, None);
        let system = System { scenario, mutation };
        (scenario.name, explore(system, states, time))
    }));
}

#[test]
fn protocol_mutated_is_caught() {
    let (states, time) = MUTATED;
    all_are_caught(MUTATIONS.iter().map(|(mutation, scenario)| {
        let (scenario, name) = (*scenario, format!("{mutation:?}"));
        let mutation = Some(*mutation);
        let found = explore(System { scenario, mutation }, states, time);
        (scenario.name, name, found)
    }));
}

#[test]
fn merges_and_collections_unbroken_are_safe_and_leave_no_garbage() {
    let (states, time) = bounds();
    all_are_safe(garbage::SCENARIOS.iter().map(|scenario| {
        let (scenario, mutation) = (*scenario, None);
        let system = garbage::System { scenario, mutation };
        (scenario.name, explore(system, states, time))
    }));
}

#[test]
fn merges_and_collections_mutated_are_caught() {
    let (states, time) = MUTATED;
    all_are_caught(garbage::MUTATIONS.iter().map(|(mutation, scenario)| {
        let (scenario, name) = (*scenario, format!("{mutation:?}"));
        let mutation = Some(*mutation);
        let found = explore(garbage::System { scenario, mutation }, states, time);
        (scenario.name, name, found)
    }));
}
