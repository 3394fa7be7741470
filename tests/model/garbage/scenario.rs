//! Where the third configuration begins, and what is broken on purpose.

use elacsym::lsm::{Entry, Rotation, State};

use super::actor::{Actor, Op};
use super::system::{System, write};
use super::world::{Faults, World};

/// A beginning.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub build: fn() -> World,
    pub faults: Faults,
    /// Manifests that stay for the history, the newest two among them.
    pub history: usize,
}

macro_rules! mutations {
    ($($name:ident => $scenario:ident),* $(,)?) => {
        /// A rule that is broken; each must be caught.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Mutation { $($name),* }

        /// Every mutation and the scenario that catches it.
        pub const MUTATIONS: &[(Mutation, Scenario)] = &[$((Mutation::$name, $scenario)),*];
    };
}

mutations! {
    NoAbort => MERGES,
    StaleGeneration => MERGES,
    InputClaimedTwice => MERGES,
    FlushNotRebased => MERGES,
    DeletionsRewritten => MERGES,
    DeadClaimRevived => ZOMBIES,
    ObjectsOfTheFuture => MERGES,
    NewestAlone => BUILDS,
    ManifestWhereNamed => FLUSHES,
    ManifestsStay => BUILDS,
    PinsIgnored => PINS,
    RetainedIgnored => PINS,
    ManifestUntold => PINS,
    RetainedAgain => PINS,
}

const NO_FAULTS: Faults = Faults {
    puts: 0,
    creates: 0,
    slots: 0,
    deletes: 0,
    crashes: 0,
};
const MERGES: Scenario = Scenario {
    name: "3a two compactors, flusher, collector",
    build: merges,
    faults: NO_FAULTS,
    history: 2,
};
const ZOMBIES: Scenario = Scenario {
    name: "3b uploads and commits of the dead, late",
    build: zombies,
    faults: Faults {
        puts: 1,
        creates: 1,
        ..NO_FAULTS
    },
    ..MERGES
};
const CRASHES: Scenario = Scenario {
    name: "3h actors that die, deletes that are late",
    faults: Faults {
        deletes: 1,
        crashes: 1,
        ..NO_FAULTS
    },
    ..ZOMBIES
};
const PINS: Scenario = Scenario {
    name: "3c pins, history, two collectors",
    build: pins,
    faults: Faults {
        slots: 1,
        ..NO_FAULTS
    },
    history: 3,
};
const BUILDS: Scenario = Scenario {
    name: "3d builder of indexes, compactor, collector",
    build: builds,
    faults: Faults {
        puts: 1,
        creates: 1,
        ..NO_FAULTS
    },
    ..MERGES
};
const COLLECTORS: Scenario = Scenario {
    name: "3e two collectors, flusher, late deletes",
    build: collectors,
    faults: Faults {
        deletes: 1,
        ..NO_FAULTS
    },
    ..MERGES
};

const WRITES: Scenario = Scenario {
    name: "3f writer, flusher, compactor, collector",
    build: writes,
    ..MERGES
};
const UNPINNED: Scenario = Scenario {
    name: "3g a pin that is let go",
    build: unpinned,
    ..MERGES
};

const FLUSHES: Scenario = Scenario {
    name: "3i two flushers, manifests late, collector",
    build: flushes,
    ..MERGES
};

/// Every scenario, to be explored unbroken.
pub const SCENARIOS: &[Scenario] = &[
    MERGES, ZOMBIES, PINS, BUILDS, COLLECTORS, WRITES, UNPINNED, CRASHES, FLUSHES,
];

/// A log of two segments, of documents 0 and 1, and 2 and 3, and a manifest of each flush.
fn two_segments() -> World {
    let rotation = Rotation {
        slots_max: 2,
        bytes_max: 1_000,
    };
    let mut world = World::new(State::initial(rotation));
    let init = Entry::Init {
        created_at_ms: 0,
        rotation: None,
    };
    world.append(&init, None);
    write(&mut world, 0b0011, 0);
    run(&mut world, &[Op::Flush, Op::Manifest]);
    write(&mut world, 0b1100, 0);
    run(&mut world, &[Op::Flush, Op::Manifest]);
    world
}

/// Does something at once, alone.
fn run(world: &mut World, script: &[Op]) {
    let system = System {
        scenario: MERGES,
        mutation: None,
    };
    let mut actor = Actor::new(script, world.newest.clone());
    while actor.op().is_some() {
        system.step(world, &mut actor, false);
    }
}

/// Adds an actor that knows the newest state.
fn add(world: &mut World, script: &[Op]) {
    let actor = Actor::new(script, world.newest.clone());
    world.actors.push(actor);
}

/// The tail puts a document of one segment again and deletes one of the other.
fn merges() -> World {
    let mut world = two_segments();
    write(&mut world, 0b0001, 0b0100);
    add(&mut world, &[Op::Merge]);
    add(&mut world, &[Op::Merge]);
    add(&mut world, &[Op::Flush, Op::Manifest]);
    add(&mut world, &[Op::Collect]);
    world
}

fn zombies() -> World {
    let mut world = two_segments();
    write(&mut world, 0b0001, 0b0100);
    add(&mut world, &[Op::Merge]);
    add(&mut world, &[Op::Flush, Op::Manifest]);
    add(&mut world, &[Op::Abort, Op::Collect]);
    world
}

fn pins() -> World {
    let mut world = two_segments();
    add(&mut world, &[Op::Merge]);
    add(&mut world, &[Op::Pin, Op::PinRetained]);
    add(&mut world, &[Op::Collect]);
    add(&mut world, &[Op::Collect]);
    world
}

fn builds() -> World {
    let mut world = two_segments();
    add(&mut world, &[Op::Build]);
    add(&mut world, &[Op::Merge]);
    add(&mut world, &[Op::Abort, Op::Collect]);
    world
}

fn collectors() -> World {
    let mut world = two_segments();
    write(&mut world, 0b0001, 0);
    add(&mut world, &[Op::Merge]);
    add(&mut world, &[Op::Flush, Op::Manifest]);
    add(&mut world, &[Op::Collect]);
    add(&mut world, &[Op::Collect]);
    world
}

/// Writes that come while a flush is under way stay in the tail, those that touch what is being merged too.
fn writes() -> World {
    let mut world = two_segments();
    let put = Op::Write {
        puts: 0b0010,
        deletes: 0,
    };
    let delete = Op::Write {
        puts: 0,
        deletes: 0b1001,
    };
    add(&mut world, &[put, delete]);
    add(&mut world, &[Op::Flush, Op::Manifest]);
    add(&mut world, &[Op::Merge]);
    add(&mut world, &[Op::Collect]);
    world
}

fn unpinned() -> World {
    let mut world = two_segments();
    add(&mut world, &[Op::Pin, Op::Unpin]);
    add(&mut world, &[Op::Merge]);
    add(&mut world, &[Op::Abort, Op::Collect]);
    world
}

/// The second flush replaces bitmaps of the first, whose manifest may be late.
fn flushes() -> World {
    let mut world = two_segments();
    write(&mut world, 0, 0b0001);
    let delete = Op::Write {
        puts: 0,
        deletes: 0b0010,
    };
    add(&mut world, &[Op::Flush, Op::Manifest]);
    add(&mut world, &[delete, Op::Flush]);
    add(&mut world, &[Op::Collect]);
    world
}
