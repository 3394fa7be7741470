//! The records of names: dense, readable, and which incarnation each name means.

use super::{Checker, Finding, KEYS_A_REQUEST};
use crate::error::Result;
use crate::format::path::{self, NameKey};
use crate::format::record::{self, Hint, NameRecord};
use crate::types::{NamespaceId, NamespaceName};

/// A name whose records are being read.
struct Current {
    name: NamespaceName,
    newest: u64,
    live: Option<(NamespaceId, String)>,
    /// Incarnations that were dropped and not brought back, with the records that say so.
    dropped: Vec<(NamespaceId, String)>,
}

impl Checker<'_> {
    /// Checks the records of all names or of one, and what they mean; whether a live one was found.
    pub(super) async fn names(&mut self, only: Option<&NamespaceName>) -> Result<bool> {
        let prefix = only.map_or_else(|| path::NAMES.to_owned(), path::name_prefix);
        let mut start_after: Option<String> = None;
        let mut current: Option<Current> = None;
        let mut found = false;
        loop {
            let listed = self
                .bucket
                .list(&prefix, start_after.as_deref(), Some(KEYS_A_REQUEST))
                .await?;
            for object in &listed {
                let (name, key) = match path::parse_name_key(&object.key) {
                    Ok(parsed) => parsed,
                    Err(error) => {
                        self.damaged(&object.key, &error);
                        continue;
                    }
                };
                if current.as_ref().is_none_or(|open| open.name != name) {
                    found |= self.close(current.take()).await?;
                    current = Some(Current {
                        name,
                        newest: 0,
                        live: None,
                        dropped: Vec::new(),
                    });
                }
                if let Some(open) = current.as_mut() {
                    self.name_object(open, &object.key, key).await?;
                }
            }
            match listed.last() {
                Some(last) if listed.len() == KEYS_A_REQUEST => {
                    start_after = Some(last.key.clone());
                }
                _ => break,
            }
        }
        found |= self.close(current).await?;
        Ok(found)
    }

    async fn name_object(&mut self, open: &mut Current, key: &str, what: NameKey) -> Result<()> {
        let k = match what {
            NameKey::Hint => {
                return self
                    .advisory(key, |key, bytes| {
                        record::decode::<Hint>(key, bytes).map(drop)
                    })
                    .await;
            }
            NameKey::Record(k) => k,
        };
        for gap in open.newest + 1..k {
            self.missing(&path::name_record(&open.name, gap), key);
        }
        open.newest = k;
        open.live = None;
        match self.decoded(key, record::decode::<NameRecord>).await? {
            None => self.missing(key, "the listing of names"),
            Some(Err(error)) => self.damaged(key, &error),
            Some(Ok(NameRecord::Created { namespace })) if k % 2 == 1 => {
                open.dropped.retain(|(id, _)| *id != namespace);
                open.live = Some((namespace, key.to_owned()));
            }
            Some(Ok(NameRecord::Dropped { namespace })) if k % 2 == 0 => {
                open.dropped.push((namespace, key.to_owned()));
            }
            Some(Ok(_)) => {
                let error = "expected odd records to create and even ones to drop".to_owned();
                let object = key.to_owned();
                self.report(Finding::Damaged { object, error });
            }
        }
        Ok(())
    }

    /// Checks the namespace that a name means, once all its records are known; whether there is a record of a
    /// live one, readable or not.
    async fn close(&mut self, name: Option<Current>) -> Result<bool> {
        let Some(name) = name else { return Ok(false) };
        for (id, record) in &name.dropped {
            self.dropped(*id, record).await?;
        }
        if let Some((id, record)) = &name.live {
            if self.only {
                self.load_markers(Some(*id)).await?;
            }
            self.namespace(*id, &name.name, record).await?;
        }
        Ok(name.newest % 2 == 1)
    }
}
