//! The nodes of a simulation, and what befalls them.

use std::sync::Arc;

use elacsym::runtime::clock::sleep_ms;
use parking_lot::Mutex;

use crate::node::{Node, NodeOptions};
use crate::store::Store;
use crate::world::World;

const DAY_MS: u64 = 86_400_000;

/// The nodes, dead ones replaced.
#[derive(Debug)]
pub(crate) struct Fleet {
    world: Arc<World>,
    store: Arc<Store>,
    options: NodeOptions,
    /// The longest stalls, milliseconds.
    stalls_ms: u64,
    places: Mutex<Vec<Place>>,
}

#[derive(Debug)]
struct Place {
    lives: u32,
    node: Option<Arc<Node>>,
}

impl Fleet {
    pub(crate) fn start(
        world: Arc<World>,
        store: Arc<Store>,
        options: NodeOptions,
        stalls_ms: u64,
        n_nodes: usize,
    ) -> Arc<Self> {
        let fleet = Arc::new(Self {
            world,
            store,
            options,
            stalls_ms,
            places: Mutex::default(),
        });
        for place in 0..n_nodes {
            fleet.places.lock().push(Place {
                lives: 0,
                node: None,
            });
            fleet.start_node(place);
        }
        fleet
    }

    fn start_node(&self, place: usize) {
        let label = {
            let mut places = self.places.lock();
            places[place].lives += 1;
            format!("n{place}.{}", places[place].lives)
        };
        let node = self.fresh_node(label);
        self.places.lock()[place].node = Some(node);
    }

    /// A node beside the fleet.
    pub(crate) fn fresh_node(&self, label: String) -> Arc<Node> {
        Node::start(&self.world, &self.store, self.options, label)
    }

    /// A node beside the fleet that leaves all work to others.
    pub(crate) fn idle_node(&self, label: String) -> Arc<Node> {
        let mut options = self.options;
        options.background.find = false;
        Node::start(&self.world, &self.store, options, label)
    }

    /// A node beside the fleet that does nothing by itself, and waits for no claim.
    pub(crate) fn sweeping_node(&self, label: String) -> Arc<Node> {
        let mut options = self.options;
        options.background.find = false;
        options.gc.enabled = false;
        options.gc.claim_grace_ms = 0;
        Node::start(&self.world, &self.store, options, label)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.lock().len()
    }

    /// The node of a place, or one that lives; `None` if all are dead.
    pub(crate) fn node_near(&self, place: usize) -> Option<Arc<Node>> {
        let places = self.places.lock();
        let (before, from) = places.split_at(place % places.len());
        let mut near = from.iter().chain(before);
        near.find_map(|place| place.node.clone())
    }

    pub(crate) fn live_nodes(&self) -> Vec<Arc<Node>> {
        let places = self.places.lock();
        places
            .iter()
            .filter_map(|place| place.node.clone())
            .collect()
    }

    /// Lets something happen to a node every `blows_ms` at the latest, until it is dropped.
    pub(crate) async fn suffer(self: Arc<Self>, blows_ms: u64) {
        loop {
            sleep_ms(self.world.choose(|random| random.between(20, blows_ms))).await;
            let place = self.world.choose(|random| random.below(self.len() as u64)) as usize;
            let Some(node) = self.places.lock()[place].node.clone() else {
                continue;
            };
            match self.world.choose(|random| random.below(8)) {
                0 => self.crash(place, &node),
                1..=3 => self.stall(node),
                4 => self.jump(&node),
                _ => {}
            }
        }
    }

    fn crash(self: &Arc<Self>, place: usize, node: &Node) {
        self.world.count("crash");
        self.places.lock()[place].node = None;
        node.crash(&self.world);
        let down_ms = self.world.choose(|random| random.below(1_500));
        let fleet = Arc::clone(self);
        self.world.network.spawn(async move {
            sleep_ms(down_ms).await;
            fleet.start_node(place);
        });
    }

    fn stall(&self, node: Arc<Node>) {
        self.world.count("stall");
        let ms = self.world.choose(|random| match random.below(10) {
            0 => random.below(self.stalls_ms),
            1..=3 => random.below(15_000),
            _ => random.below(500),
        });
        self.world
            .note(format_args!("{} stalls for {ms} ms", node.label));
        node.gate.stall();
        let world = Arc::clone(&self.world);
        self.world.network.spawn(async move {
            sleep_ms(ms).await;
            node.gate.resume();
            world.note(format_args!("{} goes on", node.label));
        });
    }

    fn jump(&self, node: &Node) {
        self.world.count("clock jump");
        let skew_ms = self
            .world
            .choose(|random| random.below(2 * DAY_MS) as i64 - DAY_MS as i64);
        self.world.note(format_args!(
            "{} has its clock {skew_ms} ms off",
            node.label
        ));
        node.clock.jump_to(skew_ms);
    }
}
