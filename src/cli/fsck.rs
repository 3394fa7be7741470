//! `elacsym fsck`: prints what a check of the store finds, and with `--repair` what was done about it.

use super::wire::Parts;
use super::{engine, wire};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::namespace::Engine;
use crate::namespace::fsck::{self, Checked, Finding, Marked, Repair};
use crate::types::NamespaceName;

/// Checks one namespace or all, and repairs what can be where that is asked for. Errors: `Corrupted` where something
/// is damaged or missing, after all repairs.
pub(super) fn fsck(settings: &Settings, namespace: Option<&str>, repair: bool) -> Result<()> {
    let name = namespace.map(NamespaceName::parse).transpose()?;
    wire::runtime()?.block_on(async {
        wire::must_exist(&settings.storage.url).await?;
        let parts = wire::parts(settings).await?;
        let done = match repair {
            false => {
                let (bucket, clock, entropy) = (parts.bucket, parts.clock, parts.entropy);
                fsck::check(bucket, clock, entropy, name.as_ref(), &mut print).await?
            }
            true => check_and_repair(settings, parts, name.as_ref()).await?,
        };
        summarize(&done);
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

async fn check_and_repair(
    settings: &Settings,
    parts: Parts,
    name: Option<&NamespaceName>,
) -> Result<Checked> {
    let engine = Engine::new(engine::world(settings, &parts)?, engine::options(settings));
    // It does what it is asked, and nothing by itself: no flush, no merge.
    engine.drain();
    let done = fsck::check_and_repair(&engine, name, &mut print, &mut print_repair).await;
    engine.finish().await;
    done
}

fn summarize(done: &Checked) {
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
}

fn print_repair(repair: &Repair) {
    match repair {
        Repair::Rebuilt { object } => {
            println!("rebuilt   {object}: a new index file has its place")
        }
        Repair::Rewritten { object } => println!("rewritten {object}"),
        Repair::Unmarked { object, marker } => {
            println!("unmarked  {object}: marker {marker} removed");
        }
        Repair::Left { object, why } => println!("left      {object}: {why}"),
    }
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
