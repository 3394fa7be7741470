//! Dropped namespaces: their log must say so. What it held besides is not read.

use super::{Checker, Finding};
use crate::error::Result;
use crate::format::path;
use crate::lsm::state::Life;
use crate::types::{NamespaceId, WalSeq};

impl Checker<'_> {
    /// Checks that the log of a namespace ends where the record `named_by` says: the log decides, the record
    /// follows it.
    pub(super) async fn dropped(&mut self, id: NamespaceId, named_by: &str) -> Result<()> {
        self.done.dropped += 1;
        let survey = self.settled(id).await?;
        for finding in &survey.findings {
            self.report(finding.clone());
        }
        let why = match &survey.newest {
            // Damage hides the end, and has been told.
            None => "the end of its log cannot be read",
            Some(newest) if newest.seq == WalSeq(0) => "its log is gone",
            Some(newest) if newest.life == Life::Live => {
                self.report(Finding::Damaged {
                    object: named_by.to_owned(),
                    error: format!(
                        "it says that namespace {id} is dropped: expected a log that ends with the drop, found one that lives at {}",
                        newest.seq
                    ),
                });
                "its log has no end"
            }
            Some(newest) if newest.life == Life::Reaped => {
                let tombstone = path::manifest(id, newest.seq);
                return self.remains(id, &tombstone).await;
            }
            Some(_) => "segments of dropped namespaces are not read",
        };
        self.report(Finding::Skipped {
            object: path::segment_prefix(id),
            why: why.to_owned(),
        });
        Ok(())
    }

    /// Tells what is left of a namespace that ended for ever, besides what stays.
    async fn remains(&mut self, id: NamespaceId, tombstone: &str) -> Result<()> {
        let genesis = path::genesis(id);
        let listed = self.bucket.list(&path::all_of(id), None, None).await?;
        for object in listed {
            if object.key != genesis && object.key != tombstone {
                let (object, bytes) = (object.key, object.size_bytes);
                self.report(Finding::Orphan { object, bytes });
            }
        }
        Ok(())
    }
}
