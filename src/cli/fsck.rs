//! `elacsym fsck`: prints what a check of the store finds.

use super::wire;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::namespace::fsck::{self, Finding, Marked};
use crate::types::NamespaceName;

/// Checks one namespace or all. Errors: `Corrupted` where something is damaged or missing.
pub(super) fn fsck(settings: &Settings, namespace: Option<&str>) -> Result<()> {
    let name = namespace.map(NamespaceName::parse).transpose()?;
    wire::runtime()?.block_on(async {
        wire::must_exist(&settings.storage.url).await?;
        let parts = wire::parts(settings).await?;
        let (bucket, clock, entropy) = (parts.bucket, parts.clock, parts.entropy);
        let done = fsck::check(bucket, clock, entropy, name.as_ref(), &mut print).await?;
        println!(
            "checked {} namespaces and the ends of {} dropped ones: {} objects read, {} bytes",
            done.namespaces, done.dropped, done.objects, done.bytes
        );
        if done.orphans > 0 {
            println!(
                "{} orphans take {} bytes: nothing refers to them, they cost space only",
                done.orphans, done.orphan_bytes
            );
        }
        if done.dirty_hints > 0 {
            println!(
                "{} dirty hints: they tell servers of rows in no segment",
                done.dirty_hints
            );
        }
        if done.advisory > 0 {
            println!(
                "{} damaged advisory copies or hints: harmless, they are passed over",
                done.advisory
            );
        }
        if done.past > 0 {
            println!(
                "{} damaged index files have been replaced: they go with the older states that refer to them",
                done.past
            );
        }
        if done.mended > 0 {
            println!(
                "{} of {} quarantine markers name objects that are whole again or not needed any more",
                done.mended, done.quarantined
            );
        }
        match done.is_clean() {
            true => println!("no damage"),
            false => {
                return Err(Error::corrupted(format!(
                    "{} objects are damaged, {} are missing",
                    done.damaged, done.missing
                )));
            }
        }
        Ok(())
    })
}

fn print(finding: &Finding) {
    match finding {
        Finding::Damaged { object, error } => println!("damaged   {object}: {error}"),
        Finding::Missing { object, needed_by } => {
            println!("missing   {object}: needed by {needed_by}");
        }
        Finding::Advisory { object, error } => println!("advisory  {object}: {error}"),
        Finding::Past { object, error } => println!("replaced  {object}: {error}"),
        Finding::Orphan { object, bytes } => println!("orphan    {object}: {bytes} bytes"),
        Finding::Quarantined {
            object,
            marker,
            now: Marked::Damaged,
        } => println!("marked    {object}: still damaged; marker {marker}"),
        Finding::Quarantined {
            object,
            marker,
            now: Marked::Whole,
        } => println!("mended    {object}: reads well again; marker {marker} may be removed"),
        Finding::Quarantined {
            object,
            marker,
            now: Marked::Unreferenced,
        } => println!("mended    {object}: nothing refers to it; marker {marker} may be removed"),
        Finding::Skipped { object, why } => println!("skipped   {object}: {why}"),
    }
}
