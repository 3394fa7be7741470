//! Which steps there are, and what each does to the world.

use elacsym::lsm::entry::Id16;
use elacsym::lsm::{Applied, Entry};
use stateright::{Model, Property};

use super::actor::{Actor, Op, Work};
use super::files::{Content, Key};
use super::scenario::{Mutation, Scenario};
use super::world::{Flight, World, Write};

/// A step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// An actor goes on.
    Step(usize),
    /// An actor sends a request that executes late; one that uploads or commits dies.
    Late(usize),
    /// An actor dies, and begins its operation again.
    Crash(usize),
    /// A request executes.
    Land(usize),
}

impl Action {
    /// What it does to a world, for people.
    pub fn tell(&self, world: &World) -> String {
        let log = format!(
            "log {}, manifests {:?}, retained {:?}",
            world.newest.seq.0,
            world.manifests.keys().collect::<Vec<_>>(),
            world
                .newest
                .retained
                .iter()
                .map(|seq| seq.0)
                .collect::<Vec<_>>(),
        );
        match self {
            Self::Land(index) => format!("{log}: {:?} lands", world.flights.get(*index)),
            Self::Step(index) | Self::Late(index) | Self::Crash(index) => {
                let actor = &world.actors[*index];
                let (op, seq) = (actor.op(), actor.state.seq.0);
                let work = format!("{:?}", actor.work);
                let work = work.split([' ', '(']).next().unwrap_or_default();
                format!("{log}: {self:?} of {op:?} at {seq} in {work}")
            }
        }
    }
}

/// A scenario, with or without a mutation.
#[derive(Debug, Clone)]
pub struct System {
    pub scenario: Scenario,
    pub mutation: Option<Mutation>,
}

impl Model for System {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = (self.scenario.build)();
        world.faults = self.scenario.faults;
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.violation.is_some() {
            return;
        }
        for (index, actor) in world.actors.iter().enumerate() {
            let Some(op) = actor.op() else { continue };
            actions.push(Action::Step(index));
            if may_be_late(op, &actor.work, world) {
                actions.push(Action::Late(index));
            }
            if actor.work != Work::Idle && world.faults.crashes > 0 {
                actions.push(Action::Crash(index));
            }
        }
        actions.extend((0..world.flights.len()).map(Action::Land));
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Land(index) => {
                let flight = world.flights.remove(index);
                self.land(&mut world, flight);
            }
            Action::Crash(index) => {
                world.faults.crashes -= 1;
                world.actors[index].work = Work::Idle;
            }
            Action::Step(index) | Action::Late(index) => {
                let mut actor = world.actors[index].clone();
                self.step(&mut world, &mut actor, action == Action::Late(index));
                world.actors[index] = actor;
            }
        }
        world.check_roots();
        if world.actors.iter().all(|actor| actor.op().is_none()) {
            self.check_garbage_goes(&mut world);
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("safe", |_, world: &World| world.violation.is_none()),
            Property::sometimes("everything is done and acknowledged", |_, world: &World| {
                world.flights.is_empty() && world.actors.iter().all(|actor| actor.op().is_none())
            }),
        ]
    }
}

/// Whether a step sends a request that may execute late.
fn may_be_late(op: Op, work: &Work, world: &World) -> bool {
    let faults = &world.faults;
    match work {
        Work::Claimed(_) => faults.puts > 0,
        Work::Flush { .. } | Work::Compact { .. } | Work::Built(..) => faults.creates > 0,
        Work::Listed { .. } => faults.slots > 0,
        Work::Dropping { manifests, .. } => faults.deletes > 0 && !manifests.is_empty(),
        Work::Deleting(keys) => faults.deletes > 0 && !keys.is_empty(),
        Work::Idle => faults.creates > 0 && matches!(op, Op::Flush | Op::Merge | Op::Build),
        _ => false,
    }
}

impl System {
    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn step(&self, world: &mut World, actor: &mut Actor, late: bool) {
        let Some(op) = actor.op() else { return };
        if actor.work == Work::Idle && op != Op::Manifest {
            world.catch_up(actor, self.mutation);
        }
        match op {
            Op::Flush => self.flush(world, actor, late),
            Op::Merge => self.merge(world, actor, late),
            Op::Build => self.build(world, actor, late),
            Op::Collect => self.collect(world, actor, late),
            Op::Pin => self.pin(world, actor),
            Op::Manifest => {
                let state = actor.state.clone();
                world.put_manifest(&state);
                actor.finish();
            }
            Op::Write { puts, deletes } => {
                write(world, puts, deletes);
                world.catch_up(actor, self.mutation);
                actor.finish();
            }
            Op::Abort => {
                if let Some(claim) = actor.state.claims.keys().next().copied() {
                    world.append_for(actor, &Entry::Abort { claim }, self.mutation);
                }
                actor.finish();
            }
            Op::PinRetained => {
                if let Some(at) = actor.state.retained.first().copied() {
                    let (id, owner) = (Id16(2), String::new());
                    world.append_for(actor, &Entry::Pin { id, at, owner }, self.mutation);
                }
                actor.finish();
            }
            Op::Unpin => {
                if let Some(id) = actor.state.pins.keys().next().copied() {
                    world.append_for(actor, &Entry::Unpin { id }, self.mutation);
                }
                actor.finish();
            }
        }
    }

    fn pin(&self, world: &mut World, actor: &mut Actor) {
        if let Work::Pinning(at) = actor.work {
            let (id, owner) = (Id16(1), String::new());
            world.append_for(actor, &Entry::Pin { id, at, owner }, self.mutation);
            return actor.finish();
        }
        let state = actor.state.clone();
        world.put_manifest(&state);
        actor.work = Work::Pinning(state.seq);
    }

    /// Appends a commit or a claim; `None` where its actor dies of it, and it may execute later.
    pub fn commit(
        &self,
        world: &mut World,
        actor: &mut Actor,
        entry: &Entry,
        dies: bool,
    ) -> Option<Applied> {
        if !dies {
            return Some(world.append_for(actor, entry, self.mutation));
        }
        world.faults.creates -= 1;
        let slot = world.newest.seq.0 + 1;
        world.flights.push(Flight::Create(slot, entry.clone()));
        actor.finish();
        None
    }

    /// An upload whose worker dies, and that may execute later.
    pub fn dies_of_put(&self, world: &mut World, actor: &mut Actor, key: Key, content: Content) {
        world.faults.puts -= 1;
        world.flights.push(Flight::Put(key, content));
        actor.finish();
    }

    /// Executes a request.
    pub fn land(&self, world: &mut World, flight: Flight) {
        match flight {
            Flight::Put(key, content) => {
                world.put(key, content);
            }
            Flight::Create(slot, entry) => {
                if world.newest.seq.0 + 1 == slot {
                    world.append(&entry, self.mutation);
                }
            }
            Flight::DeleteObject(key) => {
                world.objects.remove(&key);
            }
            Flight::DeleteManifest(seq) => {
                world.manifests.remove(&seq);
                world.belated.remove(&seq);
            }
        }
    }

    /// Once everybody else is done, claims that nobody works at are given up, and two collections leave no garbage.
    fn check_garbage_goes(&self, world: &mut World) {
        let mut after = world.clone();
        let claims: Vec<_> = after.newest.claims.keys().copied().collect();
        for claim in claims {
            after.append(&Entry::Abort { claim }, self.mutation);
        }
        let mut collector = Actor::new(&[Op::Collect, Op::Collect], after.newest.clone());
        while collector.op().is_some() {
            self.step(&mut after, &mut collector, false);
        }
        after.check_roots();
        if after.has_garbage() {
            after.fail("L1 two collections leave garbage");
        }
        if let Some(violation) = after.violation {
            world.fail(violation);
        }
    }
}

/// Appends a write.
pub fn write(world: &mut World, puts: u8, deletes: u8) {
    let entry = Entry::Write(elacsym::lsm::entry::WriteEntry {
        batch: Id16(u128::from(world.newest.seq.0)),
        keyed: Vec::new(),
        schema: None,
    });
    world.append(&entry, None);
    let seq = world.newest.seq.0;
    let mut writes = world.writes.to_vec();
    writes.push(Write { seq, puts, deletes });
    world.writes = writes.into();
}
