//! What must lie in the store when all is over: every object that the newest state of a log refers to, whole; and,
//! once garbage was collected, nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use elacsym::error::{Error, Result};
use elacsym::lsm::state::Life;
use elacsym::lsm::{Rotation, State};
use elacsym::manifest;
use elacsym::types::{NamespaceId, NamespaceName, ObjectRef};
use elacsym::wal::{Advanced, Proof, Wal};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::node::Node;
use crate::store::Store;
use crate::world::World;

/// How often a log is looked at again that is truncated meanwhile.
const TRIES_MAX: u32 = 4;

/// Looks at every incarnation, dropped ones too: nothing of them has been given up before they are gone for ever. `node`'s way to the store
/// is used, and nothing that it remembers.
pub(crate) async fn check(world: &World, store: &Store, node: &Node) {
    for id in ids(store) {
        let newest = match newest_state(node, id).await {
            Ok(Some(state)) => state,
            // Created half: a log without a slot has no name and no documents.
            Ok(None) => continue,
            Err(error) => {
                world.alarm(format!("the log of {id} cannot be read: {error}"));
                continue;
            }
        };
        if newest.life == Life::Reaped {
            continue;
        }
        world.count_many("segment at the end", newest.segments.len() as u64);
        world.count_many("floor at the end", newest.floor);
        for object in newest.objects() {
            match store.get(&object.path, u64::MAX) {
                Some(bytes) => check_one(world, object, &bytes),
                None => world.alarm(format!(
                    "object `{}` is not there, which state {} of {id} refers to",
                    object.path, newest.seq
                )),
            }
        }
    }
}

/// Collects the garbage of a namespace with all faults over: two passes must leave what is needed, and that alone.
pub(crate) async fn sweep(world: &World, store: &Store, node: &Node, name: &NamespaceName) {
    for pass in ["first", "second"] {
        match node.engine.collect(name, false).await {
            Ok(collected) => world.count_many("garbage at the end", collected.objects),
            Err(error) if error.code() == "namespace_not_found" => return,
            Err(error) => world.alarm(format!("the {pass} pass over `{name}` failed: {error}")),
        }
    }
    let told = node.engine.collect(name, true).await;
    let left = told.map_or(0, |told| told.objects);
    if left > 0 {
        world.alarm(format!("two passes over `{name}` left {left} objects"));
    }
    check(world, store, node).await;
}

fn check_one(world: &World, expected: &ObjectRef, found: &Bytes) {
    world.count("object checked");
    let (bytes, hash) = (found.len() as u64, xxh3_128(found));
    if (bytes, hash) != (expected.bytes, expected.hash) {
        world.alarm(format!(
            "object `{}`: expected {} bytes of hash {:032x}, found {bytes} of {hash:032x}",
            expected.path, expected.bytes, expected.hash
        ));
    }
}

fn ids(store: &Store) -> BTreeSet<NamespaceId> {
    let keys = store.list("ns/", None, None);
    keys.iter()
        .filter(|listed| listed.key.contains("/wal/"))
        .filter_map(|listed| listed.key.split('/').nth(1))
        .filter_map(|id| Uuid::parse_str(id).ok())
        .map(NamespaceId)
        .collect()
}

/// The newest state; `None` for a log without a slot. A node may truncate the log under it, now and then.
async fn newest_state(node: &Node, id: NamespaceId) -> Result<Option<State>> {
    for _ in 0..TRIES_MAX {
        if let Some(state) = look(node, id).await? {
            return Ok(Some(state).filter(|state| state.seq.0 > 0));
        }
    }
    Err(Error::internal(
        "its newest manifest stands above a truncated log",
    ))
}

/// From the newest manifest on; `None` where the log was truncated meanwhile.
async fn look(node: &Node, id: NamespaceId) -> Result<Option<State>> {
    let bucket = Arc::clone(&node.bucket);
    let base = manifest::load_newest(&*bucket, id, manifest::Wanted::ANY)
        .await?
        .states
        .map(|(state, _)| state)
        .unwrap_or_else(|| State::initial(Rotation::default()));
    let (clock, entropy) = (Arc::clone(&node.clock) as _, Arc::clone(&node.entropy) as _);
    if base.life == Life::Reaped {
        return Ok(Some(base));
    }
    let wal = Wal::new(bucket, clock, entropy, id, true);
    match wal.advance(base, Proof::default()).await? {
        Advanced::Current { state, .. } => Ok(Some(*state)),
        Advanced::Reopen => Ok(None),
    }
}
