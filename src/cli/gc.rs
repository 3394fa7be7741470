//! `elacsym gc`: deletes what nothing refers to any more, or tells what would go.

use super::{engine, wire};
use crate::config::Settings;
use crate::error::Result;
use crate::namespace::{Collected, Engine, Reaped};
use crate::types::NamespaceName;

/// Names asked for in one listing.
const NAMES_A_PAGE: usize = 500;

/// Collects the garbage of one namespace, or of all and of deleted ones. Errors: of the first namespace that fails; those
/// before it are done.
pub(super) fn gc(settings: &Settings, namespace: Option<&str>, dry_run: bool) -> Result<()> {
    let name = namespace.map(NamespaceName::parse).transpose()?;
    wire::runtime()?.block_on(async {
        wire::must_exist(&settings.storage.url).await?;
        let parts = wire::parts(settings).await?;
        let mut options = engine::options(settings);
        // It does what it was asked to, and no more.
        options.compaction.enabled = false;
        options.gc.enabled = false;
        let engine = Engine::new(engine::world(settings, &parts)?, options);
        let done = match name {
            Some(name) => collect(&engine, &name, dry_run, &mut Collected::default()).await,
            None => all(&engine, dry_run).await,
        };
        engine.finish().await;
        done
    })
}

async fn all(engine: &Engine, dry_run: bool) -> Result<()> {
    let mut total = Collected::default();
    let mut after: Option<NamespaceName> = None;
    loop {
        let page = engine.list("", after.as_ref(), NAMES_A_PAGE).await?;
        for name in &page.names {
            match collect(engine, name, dry_run, &mut total).await {
                // Deleted meanwhile.
                Err(error) if error.code() == "namespace_not_found" => {}
                collected => collected?,
            }
        }
        match page.next_after {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    let reaped = engine.reap(dry_run).await?;
    let verb = verb(dry_run);
    let Collected {
        objects,
        bytes,
        kept,
        ..
    } = total;
    println!(
        "{verb} {objects} objects that nothing refers to, {bytes} bytes; {kept} are kept for states of the past or claims"
    );
    let Reaped {
        namespaces,
        objects,
        waiting,
    } = reaped;
    println!("{verb} {objects} objects of {namespaces} deleted namespaces; {waiting} wait");
    Ok(())
}

async fn collect(
    engine: &Engine,
    name: &NamespaceName,
    dry_run: bool,
    total: &mut Collected,
) -> Result<()> {
    let collected = engine.collect(name, dry_run).await?;
    if dry_run {
        for key in &collected.keys {
            println!("{key}");
        }
    }
    println!(
        "{name}: {} {} objects, {} bytes; {} kept",
        verb(dry_run),
        collected.objects,
        collected.bytes,
        collected.kept
    );
    total.objects += collected.objects;
    total.bytes += collected.bytes;
    total.kept += collected.kept;
    Ok(())
}

fn verb(dry_run: bool) -> &'static str {
    match dry_run {
        true => "would delete",
        false => "deleted",
    }
}
