//! Where the model begins, and what is broken on purpose.

use std::sync::Arc;

use elacsym::lsm::entry::{ClaimKind, Id16, WriteEntry};
use elacsym::lsm::{AppendEvent, Entry, Rotation, State};
use elacsym::types::{Nonce, WalSeq};

use crate::append::begin_append;
use crate::node::{Node, Op, Phase};
use crate::world::{Batches, Faults, Flight, Manifest, Slot, World, bit, header_after};

/// A beginning, with the store it plays on.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub build: fn() -> World,
    /// Whether the store's clock may stand for an anchor.
    pub fresh: bool,
    /// Ticks between a truncation and its deletions.
    pub grace: u8,
    /// Batch ids that a state remembers.
    pub keep_batches: usize,
    /// Batches that fill a block by their bytes.
    pub large: Batches,
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
    NoAnchor => STALE_WRITERS,
    TailFirst => STALE_WRITERS,
    NewestBlockFirst => STALE_ROTATION,
    MoveOnUnknown => RACE,
    ExistsIsMine => RACE,
    ExistsIsLost => RACE,
    GroupEvaluatedAtOnce => RACE,
    NoReevaluation => RACE,
    MissingIsCurrent => STALE_ROTATION,
    AnchorFirst => STALE_ROTATION,
    AdoptUnproven => STALE_ROTATION,
    AnchorOfNewBlock => STALE_ROTATION,
    SameNonce => RETRY_TRUSTED,
    DuplicateBeyondGrace => RETRY_TRUSTED,
    NoLookUp => RETRY_VOID,
    LostIsAbsent => RETRY_VOID,
    ForgottenIsAbsent => RETRY_FORGOTTEN,
    EmptyWithoutList => EMPTY,
    GuessedNames => BYTES,
    FlushBeyondApplied => FLUSH,
    OpenFromManifestSeq => FLUSH,
    TruncateAboveManifest => FLUSH,
    TruncateAboveFlushed => LONG_TAIL,
    NoGrace => FRESH,
    ProofDatedByAnchor => FRESH,
    ProofDatedByReadBack => FRESH,
    ReadWithoutGrace => FRESH_READ,
    ProbeDatedByAnchor => FRESH_READ,
    ProofOfNewerState => FRESH_READ,
    ProofNeverEnds => FRESH_READ,
}

const EXACT: Scenario = Scenario {
    name: "",
    build: stale_writers,
    fresh: false,
    grace: 0,
    keep_batches: 16,
    large: 0,
};
const STALE_WRITERS: Scenario = Scenario {
    name: "1a stale writers, truncator, reader",
    ..EXACT
};
const STALE_ROTATION: Scenario = Scenario {
    name: "1b stale writers at a block's end",
    build: stale_rotation,
    ..EXACT
};
const RACE: Scenario = Scenario {
    name: "1c two writers, a group, all faults",
    build: race,
    ..EXACT
};
const RETRY_TRUSTED: Scenario = Scenario {
    name: "1d unknown head that another trusts",
    build: retry_trusted,
    ..EXACT
};
const RETRY_VOID: Scenario = Scenario {
    name: "1e unknown head in a truncated block",
    build: retry_void,
    ..EXACT
};
const RETRY_FORGOTTEN: Scenario = Scenario {
    name: "1f unknown head, batch ids forgotten",
    build: retry_forgotten,
    keep_batches: 1,
    ..EXACT
};
const EMPTY: Scenario = Scenario {
    name: "1g nodes that know no slot",
    build: empty,
    ..EXACT
};
const BYTES: Scenario = Scenario {
    name: "1h blocks closed by bytes",
    build: bytes,
    large: 1 << 2,
    ..EXACT
};
const FRESH: Scenario = Scenario {
    name: "1i the store's clock for an anchor",
    build: fresh,
    fresh: true,
    grace: 2,
    ..EXACT
};
const FRESH_READ: Scenario = Scenario {
    name: "1j the store's clock for a probe's anchor",
    build: fresh_read,
    ..FRESH
};
const FLUSH: Scenario = Scenario {
    name: "2a writer, flusher, truncator, cold open",
    build: flush,
    ..EXACT
};
const COLD_OPEN: Scenario = Scenario {
    name: "2b cold open from a stale head",
    build: cold_open,
    ..EXACT
};
const LONG_TAIL: Scenario = Scenario {
    name: "2d a manifest whose tail spans blocks",
    build: long_tail,
    ..EXACT
};
const TWO_FLUSHERS: Scenario = Scenario {
    name: "2c two flushers and an abort",
    build: two_flushers,
    ..EXACT
};

/// Every scenario, to be explored unbroken.
pub const SCENARIOS: &[Scenario] = &[
    STALE_WRITERS,
    STALE_ROTATION,
    RACE,
    RETRY_TRUSTED,
    RETRY_VOID,
    RETRY_FORGOTTEN,
    EMPTY,
    BYTES,
    FRESH,
    FRESH_READ,
    FLUSH,
    COLD_OPEN,
    TWO_FLUSHERS,
    LONG_TAIL,
];

const READ: Op = Op::Read;
const TRUNCATION: &[Op] = &[Op::Truncate, Op::Delete];
const WHOLE_FLUSH: &[Op] = &[
    Op::Claim,
    Op::Upload,
    Op::Flush,
    Op::Manifest,
    Op::Truncate,
    Op::Delete,
];

fn write(batch: u8) -> Op {
    Op::Write { batch, inserts: 0 }
}

fn written(batch: u8) -> Entry {
    Entry::Write(WriteEntry {
        batch: Id16(u128::from(batch)),
        keyed: Vec::new(),
        schema: None,
    })
}

fn init() -> Entry {
    Entry::Init {
        created_at_ms: 0,
        rotation: None,
    }
}

fn claim() -> Entry {
    Entry::Claim {
        claim: ClaimKind::Flush,
        inputs: Vec::new(),
    }
}

fn flushed(claim: u64, up_to: u64) -> Entry {
    Entry::Flush {
        claim: WalSeq(claim),
        base: WalSeq(0),
        up_to: WalSeq(up_to),
        segments: Vec::new(),
        deletions: Vec::new(),
    }
}

/// A world whose log says `entries` already, every batch of it acknowledged. Slot n has nonce 900 + n,
/// but 101 where it is `of_node_one`: the first node's first create.
fn log(slots_max: u32, entries: &[Entry], of_node_one: u64, scenario: Scenario) -> World {
    let rotation = Rotation {
        slots_max,
        bytes_max: 50,
    };
    let mut world = World::new(State::initial(rotation));
    for entry in entries {
        let (state, rows) = world.newest().clone();
        let seq = state.seq.0 + 1;
        let nonce = Nonce(if seq == of_node_one {
            101
        } else {
            900 + u128::from(seq)
        });
        if let Entry::Flush { claim, up_to, .. } = entry {
            let below = rows.tail.iter().filter(|(seq, _)| *seq <= up_to.0);
            let batches = below.fold(rows.segments, |all, (_, batch)| all | bit(*batch));
            world.segments.insert((claim.0, up_to.0), batches);
        }
        let header = header_after(&state, entry, nonce, scenario.large);
        let entry = entry.clone();
        world.create(&Slot { header, entry }, scenario.keep_batches);
    }
    if of_node_one == 0 {
        world.acked = world.newest().1.visible();
    }
    world
}

fn manifest_of(world: &World, seq: usize) -> Arc<Manifest> {
    let (state, rows) = &world.truth.states[seq];
    Arc::new(Manifest {
        state: State::clone(state),
        segments: rows.segments,
    })
}

fn with_manifest(mut world: World, seq: usize, head: usize) -> World {
    let manifest = manifest_of(&world, seq);
    world.manifests.insert(seq as u64, manifest);
    world.head = Some(manifest_of(&world, head));
    world
}

/// Adds a node that knows the state of `seq`.
fn add(world: &mut World, seq: usize, script: &[Op]) {
    let id = u8::try_from(world.nodes.len() + 1).expect("there are few nodes");
    let (state, rows) = world.truth.states[seq].clone();
    world.nodes.push(Node::new(id, script, state, rows));
}

fn first_block_flushed() -> World {
    let entries = [init(), written(0), claim(), flushed(3, 2)];
    with_manifest(log(2, &entries, 0, EXACT), 4, 2)
}

fn two_blocks_flushed() -> World {
    let entries = [init(), written(0), written(1), claim(), flushed(4, 4)];
    with_manifest(log(2, &entries, 0, EXACT), 5, 3)
}

fn stale_writers() -> World {
    let mut world = first_block_flushed();
    add(&mut world, 1, &[write(1)]);
    add(&mut world, 1, &[write(2)]);
    add(&mut world, 4, TRUNCATION);
    add(&mut world, 1, &[READ]);
    world.faults = Faults {
        lost: 1,
        late: 1,
        ..Faults::default()
    };
    world
}

fn stale_rotation() -> World {
    let mut world = two_blocks_flushed();
    add(&mut world, 2, &[write(2)]);
    add(&mut world, 3, &[write(3)]);
    add(&mut world, 5, TRUNCATION);
    add(&mut world, 2, &[READ]);
    world.faults = Faults {
        lost: 1,
        late: 1,
        ..Faults::default()
    };
    world
}

fn race() -> World {
    let mut world = log(2, &[init()], 0, EXACT);
    add(
        &mut world,
        1,
        &[
            Op::Write {
                batch: 1,
                inserts: 2,
            },
            write(3),
        ],
    );
    add(
        &mut world,
        1,
        &[Op::Write {
            batch: 2,
            inserts: 1,
        }],
    );
    add(&mut world, 1, &[READ]);
    world.faults = Faults {
        lost: 1,
        late: 1,
        twice: 1,
        crashes: 1,
        ..Faults::default()
    };
    world
}

/// The first node's batch 1 is slot 3, the head of a block, and its reply was lost.
fn unknown_head(of: &[Entry], scenario: Scenario) -> World {
    let manifest = of.len();
    let mut world = with_manifest(log(2, of, 3, scenario), manifest, 3);
    add(&mut world, 2, &[write(1)]);
    let node = &mut world.nodes[0];
    begin_append(node, written(1));
    if let Phase::Append { machine, next, .. } = &mut node.phase {
        *next = machine.step(AppendEvent::Unknown, Nonce(0));
    }
    world
}

fn retry_trusted() -> World {
    let entries = [init(), written(0), written(1), claim(), flushed(4, 4)];
    let mut world = unknown_head(&entries, EXACT);
    let head = world.slot(3).cloned();
    world
        .flights
        .extend(head.map(|slot| Flight { slot, again: true }));
    add(&mut world, 3, &[write(2)]);
    add(&mut world, 5, TRUNCATION);
    world
}

fn retry_void() -> World {
    let entries = [init(), written(0), written(1), claim(), flushed(4, 4)];
    let mut world = unknown_head(&entries, EXACT);
    add(&mut world, 2, &[write(2)]);
    add(&mut world, 5, TRUNCATION);
    add(&mut world, 5, &[READ]);
    world
}

fn retry_forgotten() -> World {
    let entries = [
        init(),
        written(0),
        written(1),
        claim(),
        flushed(4, 4),
        written(4),
    ];
    let mut world = unknown_head(&entries, RETRY_FORGOTTEN);
    add(&mut world, 2, &[write(2)]);
    add(&mut world, 6, TRUNCATION);
    world
}

fn empty() -> World {
    let mut world = first_block_flushed();
    world.head = None;
    add(&mut world, 0, &[write(1)]);
    add(&mut world, 4, TRUNCATION);
    add(&mut world, 0, &[READ]);
    add(&mut world, 1, &[Op::ColdRead]);
    world.faults = Faults {
        lost: 1,
        ..Faults::default()
    };
    world
}

fn bytes() -> World {
    let entries = [init(), written(1), written(2), written(3)];
    let mut world = log(2, &entries, 0, BYTES);
    add(&mut world, 2, &[READ]);
    add(&mut world, 1, &[write(4)]);
    add(&mut world, 3, &[READ, write(5)]);
    world.faults = Faults {
        lost: 1,
        late: 1,
        ..Faults::default()
    };
    world
}

fn fresh() -> World {
    let mut world = log(1, &[init(), written(0)], 0, FRESH);
    add(&mut world, 2, &[READ, write(1), write(2)]);
    add(&mut world, 2, WHOLE_FLUSH);
    world.faults = Faults {
        lost: 1,
        ticks: 3,
        ..Faults::default()
    };
    world
}

fn fresh_read() -> World {
    let mut world = log(1, &[init(), written(0)], 0, FRESH_READ);
    add(&mut world, 2, &[READ, READ]);
    let mut script = vec![write(1)];
    script.extend(WHOLE_FLUSH);
    add(&mut world, 2, &script);
    world.faults.ticks = 4;
    world
}

fn flush() -> World {
    let world = log(2, &[init(), written(0)], 0, EXACT);
    let mut world = with_manifest(world, 2, 2);
    add(&mut world, 2, &[write(1)]);
    add(
        &mut world,
        2,
        &[
            Op::Claim,
            Op::Upload,
            READ,
            Op::Flush,
            Op::Truncate,
            Op::Delete,
            Op::Manifest,
        ],
    );
    add(&mut world, 2, &[READ, Op::Manifest]);
    add(&mut world, 0, &[Op::ColdRead]);
    world.faults = Faults {
        heads: 1,
        ..Faults::default()
    };
    world
}

fn cold_open() -> World {
    let entries = [init(), written(0), claim(), flushed(3, 2)];
    let mut world = with_manifest(log(2, &entries, 0, EXACT), 4, 3);
    add(&mut world, 1, &[write(1)]);
    add(&mut world, 4, TRUNCATION);
    add(&mut world, 0, &[Op::ColdRead]);
    add(&mut world, 4, &[write(2), Op::Manifest]);
    world.faults = Faults {
        lost: 1,
        crashes: 1,
        ..Faults::default()
    };
    world
}

fn two_flushers() -> World {
    let mut world = log(2, &[init(), written(0)], 0, EXACT);
    let script = [Op::Claim, Op::Upload, Op::Flush, Op::Manifest];
    add(&mut world, 2, &script);
    add(&mut world, 2, &script);
    add(&mut world, 2, &[READ, Op::Abort]);
    world
}

fn long_tail() -> World {
    let entries = [init(), written(0), written(1), claim()];
    let mut world = with_manifest(log(2, &entries, 0, EXACT), 4, 4);
    let script = [
        Op::Upload,
        Op::Flush,
        Op::Truncate,
        Op::Delete,
        Op::Manifest,
    ];
    add(&mut world, 4, &script);
    world.nodes[0].claim = Some(WalSeq(4));
    add(&mut world, 3, &[write(2)]);
    add(&mut world, 0, &[Op::ColdRead]);
    world
}
