//! A namespace whose whole content is replayed: clients patch, count, delete and patch by filter, under
//! conditions, and one model of a few lines must explain everything they heard.
//!
//! `model.rs` says what a request means, `keeper.rs` what clients do, `replay.rs` whether it fits.

mod keeper;
mod model;
mod replay;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use elacsym::namespace::WriteLimits;
use elacsym::types::NamespaceName;
use parking_lot::Mutex;

use crate::client::{Client, Records};
use crate::fleet::Fleet;
use crate::world::World;
use keeper::Keeper;
use model::{Content, Request};
use replay::{Event, Heard, Refusal};

pub(crate) const NAME: &str = "ledger";

/// Most writes of one simulation whose outcome nobody knows: each doubles what the replay has to try.
const UNKNOWN_MAX: usize = 8;

/// Limits that a few documents reach.
pub(crate) fn write_limits() -> WriteLimits {
    WriteLimits {
        delete_by_filter_rows: model::DELETED_MAX,
        patch_by_filter_rows: model::PATCHED_MAX,
        ..WriteLimits::default()
    }
}

pub(crate) fn name() -> NamespaceName {
    NamespaceName::parse(NAME).expect("a legal name")
}

/// All that keepers asked and heard.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    events: Vec<Event>,
    refusals: Vec<Refusal>,
}

impl Ledger {
    fn add(&self, event: Event) {
        self.0.lock().events.push(event);
    }

    fn add_refusal(&self, refusal: Refusal) {
        self.0.lock().refusals.push(refusal);
    }

    fn n_unknown(&self) -> usize {
        let book = self.0.lock();
        let unknown = |event: &&Event| matches!(event.heard, Heard::Nothing);
        book.events.iter().filter(unknown).count()
    }

    /// What no replay explains.
    pub(crate) fn violations(&self, world: &World) -> Vec<String> {
        let book = self.0.lock();
        if book.events.is_empty() {
            return Vec::new();
        }
        replay::violations(world, &book.events, &book.refusals)
    }

    /// What has certainly been added to the counter, and what perhaps.
    fn counted(&self) -> (i64, i64) {
        let book = self.0.lock();
        let (mut surely, mut perhaps) = (0, 0);
        for event in &book.events {
            if !event.request.as_ref().is_some_and(Request::counts) {
                continue;
            }
            match &event.heard {
                Heard::Done { done, .. } => surely += (done.n_upserted + done.n_patched) as i64,
                Heard::Nothing => perhaps += 1,
                Heard::Read { .. } => {}
            }
        }
        (surely, perhaps)
    }
}

/// The clients of one simulation.
#[derive(Debug)]
pub(crate) struct Keepers {
    pub(crate) world: Arc<World>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) records: Arc<Records>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Keepers {
    fn keeper(&self, label: String, place: usize) -> Keeper {
        let client = Client::new(label, &self.world, &self.fleet, &self.records, place);
        Keeper::new(client, &self.ledger)
    }

    /// Begins the namespace, in the calm before the storm.
    pub(crate) async fn begin(&self) {
        let node = self
            .fleet
            .node_near(0)
            .expect("all nodes live at the start");
        let mut first = self.keeper("first keeper".to_owned(), 0);
        first.client = first.client.only(&node);
        first.write(Request::first()).await;
    }

    /// A keeper that does `n` things.
    pub(crate) async fn run(self: Arc<Self>, id: u64, place: usize, n: u32, lull_ms: u64) {
        self.keeper(format!("k{id}"), place).run(n, lull_ms).await;
    }

    /// With all faults over: every node shows one content, takes writes, and the counter has lost nothing.
    pub(crate) async fn conclude(&self) {
        let mut nodes = self.fleet.live_nodes();
        nodes.push(self.fleet.fresh_node("ledger's fresh node".to_owned()));
        let mut contents: Vec<(String, Option<Content>)> = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let mut keeper = self.keeper(format!("auditor of the ledger on {}", node.label), 0);
            keeper.client = keeper.client.only(node);
            if at == 0 {
                keeper.write(Request::read_only(false)).await;
            }
            contents.push((node.label.clone(), keeper.read_all().await));
        }
        for (label, content) in &contents {
            if content.is_none() || *content != contents[0].1 {
                self.world.alarm(format!(
                    "{label} ends with the ledger {content:?}, another with {:?}",
                    contents[0].1
                ));
            }
        }
        let counter = contents[0].1.as_ref().and_then(|content| {
            let counter: Option<&BTreeMap<_, _>> = content.get(&model::COUNTER);
            counter.and_then(|document| document.get("n").copied())
        });
        let (surely, perhaps) = self.ledger.counted();
        self.world.count_many("increment", surely as u64);
        if !counter.is_some_and(|n| (surely..=surely + perhaps).contains(&n)) {
            self.world.alarm(format!(
                "the counter is {counter:?} after {surely} increments and {perhaps} perhaps"
            ));
        }
        for node in &nodes {
            let mut keeper = self.keeper(format!("last keeper on {}", node.label), 0);
            keeper.client = keeper.client.only(node);
            keeper.write_all_kinds().await;
            keeper.read_all().await;
        }
    }
}
