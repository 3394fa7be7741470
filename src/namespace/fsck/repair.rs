//! Repairing what a check finds, as far as something whole is left to make it from.
//!
//! Nothing is ever written over an object that states refer to. Index files are made again from the documents, under
//! a claim and by an entry of the log; advisory copies are written with the manifest of the newest state. Markers of
//! objects that are whole again, or that nothing refers to, are removed. The rest is told, with what can be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Checked, Finding, Marked, check};
use crate::error::Result;
use crate::format::path::{self, KeyKind, NameKey};
use crate::format::record::{self, Genesis};
use crate::namespace::Engine;
use crate::store::Bucket;
use crate::types::NamespaceName;

/// What was done about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// An index file that was damaged or missing has been built again from the documents, under another key.
    Rebuilt {
        /// The damaged one.
        object: String,
    },
    /// An advisory copy has been written again.
    Rewritten {
        /// The copy.
        object: String,
    },
    /// A quarantine marker has been removed: its object is whole again, or nothing refers to it.
    Unmarked {
        /// The object.
        object: String,
        /// The marker that was removed.
        marker: String,
    },
    /// Nothing was done.
    Left {
        /// The object.
        object: String,
        /// Why.
        why: String,
    },
}

/// Checks as `check` does, repairs what can be repaired, and checks again where that changed something.
///
/// `engine` commits what is to be committed; nothing of it may run in the background. Gives what the last check came to.
/// Errors: as of `check`; a repair that fails is told. Cancel safe: what was repaired stays so.
pub async fn check_and_repair(
    engine: &Engine,
    only: Option<&NamespaceName>,
    tell: &mut (dyn FnMut(&Finding) + Send),
    told: &mut (dyn FnMut(&Repair) + Send),
) -> Result<Checked> {
    let mut found = Vec::new();
    let mut checked = checked(engine, only, &mut |finding| {
        tell(finding);
        keep(&mut found, finding);
    })
    .await?;
    let mut repairing = Repairing {
        engine,
        names: BTreeMap::new(),
        rewritten: BTreeSet::new(),
        left: BTreeSet::new(),
        changed: false,
        told,
    };
    for finding in &found {
        repairing.repair(finding).await?;
    }
    if repairing.changed {
        found.clear();
        checked = self::checked(engine, only, &mut |finding| keep(&mut found, finding)).await?;
    }
    for finding in &found {
        repairing.conclude(finding, &mut checked).await;
    }
    Ok(checked)
}

async fn checked(
    engine: &Engine,
    only: Option<&NamespaceName>,
    tell: &mut (dyn FnMut(&Finding) + Send),
) -> Result<Checked> {
    let shared = &engine.shared;
    let bucket = Arc::clone(&shared.bucket);
    let (clock, entropy) = (Arc::clone(&shared.clock), Arc::clone(&shared.entropy));
    check(bucket, clock, entropy, only, tell).await
}

/// Keeps what a repair looks at; of orphans there may be very many.
fn keep(found: &mut Vec<Finding>, finding: &Finding) {
    match finding {
        Finding::Orphan { .. } | Finding::Skipped { .. } => {}
        finding => found.push(finding.clone()),
    }
}

/// A repair under way.
struct Repairing<'a> {
    engine: &'a Engine,
    /// The names of incarnations, by a part of their keys; `None` where their birth cannot be read.
    names: BTreeMap<String, Option<NamespaceName>>,
    /// Names whose advisory copies have been written.
    rewritten: BTreeSet<NamespaceName>,
    /// Objects of which it has been told why nothing was done.
    left: BTreeSet<String>,
    changed: bool,
    told: &'a mut (dyn FnMut(&Repair) + Send),
}

impl Repairing<'_> {
    fn leave(&mut self, object: &str, why: &str) {
        if self.left.insert(object.to_owned()) {
            let (object, why) = (object.to_owned(), why.to_owned());
            (self.told)(&Repair::Left { object, why });
        }
    }

    async fn repair(&mut self, finding: &Finding) -> Result<()> {
        match finding {
            Finding::Damaged { object, .. } | Finding::Missing { object, .. } => {
                match path::kind_of(object) {
                    KeyKind::Index => self.rebuild(object).await,
                    kind => {
                        self.leave(object, remedy(kind));
                        Ok(())
                    }
                }
            }
            Finding::Advisory { object, .. } => match path::kind_of(object) {
                KeyKind::Head | KeyKind::Hint => self.rewrite(object).await,
                _ => {
                    self.leave(
                        object,
                        "it is passed over, and servers write it again or delete it",
                    );
                    Ok(())
                }
            },
            Finding::Past { object, .. } => {
                self.leave(
                    object,
                    "it has been replaced; it goes with the older states that refer to it",
                );
                Ok(())
            }
            Finding::Orphan { .. } | Finding::Quarantined { .. } | Finding::Skipped { .. } => {
                Ok(())
            }
        }
    }

    async fn rebuild(&mut self, object: &str) -> Result<()> {
        let Some(name) = self.name_of(object).await? else {
            self.leave(
                object,
                "the birth record that names its namespace cannot be read",
            );
            return Ok(());
        };
        match self.engine.rebuild_index(&name, object).await {
            Ok(true) => {
                self.changed = true;
                let object = object.to_owned();
                (self.told)(&Repair::Rebuilt { object });
            }
            // Mended meanwhile, by a server or by its owner: the check that follows tells.
            Ok(false) => self.changed = true,
            Err(error) => self.leave(object, &error.chain()),
        }
        Ok(())
    }

    async fn rewrite(&mut self, object: &str) -> Result<()> {
        let name = match path::parse_name_key(object) {
            Ok((name, NameKey::Hint)) => Some(name),
            _ => self.name_of(object).await?,
        };
        let Some(name) = name else {
            self.leave(
                object,
                "the birth record that names its namespace cannot be read",
            );
            return Ok(());
        };
        if !self.rewritten.contains(&name) {
            if let Err(error) = self.engine.write_manifest(&name).await {
                self.leave(object, &error.chain());
                return Ok(());
            }
            self.rewritten.insert(name);
            self.changed = true;
        }
        let object = object.to_owned();
        (self.told)(&Repair::Rewritten { object });
        Ok(())
    }

    /// Tells what stays damaged after all, and removes markers that say nothing any more.
    async fn conclude(&mut self, finding: &Finding, checked: &mut Checked) {
        match finding {
            Finding::Damaged { object, .. } | Finding::Missing { object, .. } => {
                self.leave(object, remedy(path::kind_of(object)));
            }
            Finding::Quarantined {
                now: Marked::Damaged,
                ..
            } => {}
            Finding::Quarantined { object, marker, .. } => {
                match self.engine.shared.bucket.delete(marker).await {
                    Ok(()) => {
                        checked.quarantined = checked.quarantined.saturating_sub(1);
                        checked.mended = checked.mended.saturating_sub(1);
                        let (object, marker) = (object.clone(), marker.clone());
                        (self.told)(&Repair::Unmarked { object, marker });
                    }
                    Err(error) => self.leave(marker, &error.to_string()),
                }
            }
            _ => {}
        }
    }

    /// The name of the namespace that an object belongs to, by its birth record.
    async fn name_of(&mut self, object: &str) -> Result<Option<NamespaceName>> {
        let genesis = path::genesis(path::namespace_of(object));
        if let Some(known) = self.names.get(&genesis) {
            return Ok(known.clone());
        }
        let bucket: &dyn Bucket = &*self.engine.shared.bucket;
        let found = bucket.get(&genesis).await?.into_bytes();
        let born = found.and_then(|bytes| record::decode::<Genesis>(&genesis, &bytes).ok());
        let name = match born {
            Some(Genesis::Created { name }) => NamespaceName::parse(&name).ok(),
            _ => None,
        };
        self.names.insert(genesis, name.clone());
        Ok(name)
    }
}

/// What its owner can do about an object that nothing whole is left to make again from.
fn remedy(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Documents | KeyKind::Deletions => {
            "it holds documents' only copy, or which of them are gone: put it from a backup over it"
        }
        KeyKind::Slot => {
            "it is an entry of the log, which nothing else has: put it from a backup over it"
        }
        KeyKind::Manifest => {
            "older manifests and the log are read instead; it is let go once two newer ones are there"
        }
        KeyKind::Index => "its documents did not give another: see above",
        _ => "put it from a backup over it",
    }
}
