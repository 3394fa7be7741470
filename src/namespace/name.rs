//! Names: a dense list of records per name says which incarnation it means, or none.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::corrupt;
use crate::format::path::{self, NameKey};
use crate::format::record::{self, Genesis, Hint, NameRecord};
use crate::lsm::{State, invariant};
use crate::runtime::{FailPoint, failpoint};
use crate::store::{Bucket, GetOutcome, Listed, Resolved, create_once, read_proved};
use crate::types::{NamespaceId, NamespaceName};

use super::describe::NamespacePage;

/// Keys asked for in one listing request.
const KEYS_A_REQUEST: usize = 1_000;

/// What a name means.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// Nothing; record `next` would give it a meaning.
    Nothing {
        /// Number of the record to create.
        next: u64,
    },
    /// An incarnation.
    Live {
        /// Which.
        id: NamespaceId,
        /// Number of the record that would end it.
        next: u64,
        /// A state of it, where the hint is usable.
        hint: Option<Box<State>>,
    },
}

/// Finds out what a name means: one LIST and the hint beside it; one more GET where the hint is no help.
///
/// Errors: `Unavailable`; `Corrupted` if the records are not dense or not readable.
pub(crate) async fn resolve(bucket: &dyn Bucket, name: &NamespaceName) -> Result<Meaning> {
    let prefix = path::name_prefix(name);
    let hint_key = path::name_hint(name);
    let (listed, hint) = futures::join!(bucket.list(&prefix, None, None), bucket.get(&hint_key));
    let newest = newest_record(name, &listed?)?;
    if newest % 2 == 0 {
        return Ok(Meaning::Nothing { next: newest + 1 });
    }
    // The hint is advisory: one that cannot be read, or tells of another incarnation, is no hint.
    let hint = hint.ok().and_then(GetOutcome::found).and_then(|found| {
        let hint: Hint = record::decode(&hint_key, &found.bytes).ok()?;
        invariant::check(&hint.state, None).ok()?;
        Some(hint)
    });
    let key = path::name_record(name, newest);
    let read = read_proved(
        &key,
        || bucket.get(&key),
        |bytes| record::decode(&key, &bytes),
    );
    let found = read.await?.found().ok_or_else(|| {
        Error::corrupted(format!("name record `{key}` was listed and is missing"))
            .with_detail("object", &key)
    })?;
    match found {
        NameRecord::Created { namespace: id } => {
            let (hint, strange) = match hint {
                Some(hint) if hint.namespace == id => (Some(Box::new(hint.state)), false),
                other => (None, other.is_some()),
            };
            if strange {
                // The hint of an incarnation before, or a record that belongs to another name.
                born_as(bucket, id, name, &key).await?;
            }
            let next = newest + 1;
            Ok(Meaning::Live { id, next, hint })
        }
        NameRecord::Dropped { .. } => Err(Error::corrupted(format!(
            "name record `{key}` is odd: expected `created`, found `dropped`"
        ))
        .with_detail("object", &key)),
    }
}

/// Checks that an incarnation was born under the name whose record `key` names it.
async fn born_as(
    bucket: &dyn Bucket,
    id: NamespaceId,
    name: &NamespaceName,
    key: &str,
) -> Result<()> {
    let genesis = path::genesis(id);
    let decode = |bytes: Bytes| record::decode::<Genesis>(&genesis, &bytes);
    let read = read_proved(&genesis, || bucket.get(&genesis), decode);
    match read.await?.found() {
        Some(Genesis::Created { name: born }) if born != name.as_str() => {
            Err(corrupt(key, "name", name, born))
        }
        // Without its birth record there is nothing to compare with.
        Some(_) | None => Ok(()),
    }
}

/// The highest record number of a listing; 0 for none. Records are dense: a gap is damage.
pub(crate) fn newest_record(name: &NamespaceName, listed: &[Listed]) -> Result<u64> {
    let mut newest = 0;
    for object in listed {
        if let (_, NameKey::Record(k)) = path::parse_name_key(&object.key)? {
            if k != newest + 1 {
                return Err(Error::corrupted(format!(
                    "records of name `{name}` have a gap: expected {}, found {k}",
                    newest + 1
                ))
                .with_detail("object", path::name_record(name, newest + 1)));
            }
            newest = k;
        }
    }
    Ok(newest)
}

/// The incarnation that record `k`, which drops one, speaks of. Errors: `Unavailable`; `Corrupted`.
pub(crate) async fn dropped_by(
    bucket: &dyn Bucket,
    name: &NamespaceName,
    k: u64,
) -> Result<NamespaceId> {
    let key = path::name_record(name, k);
    let decode = |bytes: Bytes| record::decode::<NameRecord>(&key, &bytes);
    let read = read_proved(&key, || bucket.get(&key), decode);
    match read.await?.found() {
        Some(NameRecord::Dropped { namespace }) => Ok(namespace),
        found => Err(corrupt(
            &key,
            "record",
            "`dropped`",
            match found {
                Some(_) => "`created`",
                None => "none",
            },
        )),
    }
}

/// Puts record `k` of a name. `Ours`: the name means what the record says.
pub(crate) async fn put_record(
    bucket: &dyn Bucket,
    name: &NamespaceName,
    k: u64,
    entry: NameRecord,
) -> Result<Resolved> {
    let bytes = Bytes::from(record::encode(&entry));
    let key = path::name_record(name, k);
    let creating = failpoint::reach(FailPoint::N1);
    if creating.before().await.is_some() {
        return Err(Error::unavailable("failpoint n1"));
    }
    let resolved = create_once(bucket, &key, bytes.clone()).await;
    match creating.after().await {
        // Its answer is lost: the second create meets the first.
        Some(_) => create_once(bucket, &key, bytes).await,
        None => resolved,
    }
}

/// Names whose newest record is odd, in order. Errors: `Unavailable`; `Corrupted` for a strange key.
pub(crate) async fn list(
    bucket: &dyn Bucket,
    prefix: &str,
    after: Option<&NamespaceName>,
    limit: usize,
) -> Result<NamespacePage> {
    let listed_prefix = format!("{}{prefix}", path::NAMES);
    // Sorts after every record and the hint of that name.
    let mut start_after = after.map(|name| format!("{}~~", path::name_prefix(name)));
    let mut page = NamespacePage::default();
    // The name whose keys are being read, and its newest record so far: a request may end inside it.
    let mut current: Option<(NamespaceName, u64)> = None;
    loop {
        let listed = bucket
            .list(&listed_prefix, start_after.as_deref(), Some(KEYS_A_REQUEST))
            .await?;
        for object in &listed {
            let (name, key) = path::parse_name_key(&object.key)?;
            if current.as_ref().is_none_or(|(last, _)| *last != name) {
                if page.close(current.take(), limit) {
                    return Ok(page);
                }
                current = Some((name, 0));
            }
            if let (NameKey::Record(k), Some((_, newest))) = (key, current.as_mut()) {
                *newest = k;
            }
        }
        if listed.len() < KEYS_A_REQUEST {
            page.close(current, limit);
            return Ok(page);
        }
        start_after = listed.last().map(|object| object.key.clone());
    }
}

impl NamespacePage {
    /// Takes a name whose records have all been seen; `true` if the page is full and there is more.
    fn close(&mut self, name: Option<(NamespaceName, u64)>, limit: usize) -> bool {
        let Some((name, newest)) = name else {
            return false;
        };
        if newest % 2 == 0 {
            return false;
        }
        if self.names.len() >= limit {
            self.next_after = self.names.last().cloned();
            return true;
        }
        self.names.push(name);
        false
    }
}
