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
pub(super) fn fsck(
    settings: &Settings,
    namespace: Option<&str>,
    (repair, sum): (bool, bool),
) -> Result<()> {
    let name = namespace.map(NamespaceName::parse).transpose()?;
    wire::runtime()?.block_on(async {
        wire::must_exist(&settings.storage.url).await?;
        let parts = wire::parts(settings).await?;
        let done = match (repair, sum) {
            (false, false) => {
                let (bucket, clock, entropy) = (parts.bucket, parts.clock, parts.entropy);
                fsck::check(bucket, clock, entropy, name.as_ref(), &mut print).await?
            }
            _ => with_engine(settings, parts, name.as_ref(), (repair, sum)).await?,
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

/// What takes an engine: repairs, sums.
async fn with_engine(
    settings: &Settings,
    parts: Parts,
    name: Option<&NamespaceName>,
    (repair, sum): (bool, bool),
) -> Result<Checked> {
    let engine = Engine::new(engine::world(settings, &parts)?, engine::options(settings));
    let (bucket, clock, entropy) = (parts.bucket, parts.clock, parts.entropy);
    // It does what it is asked, and nothing by itself: no flush, no merge.
    engine.drain();
    let done = match repair {
        true => fsck::check_and_repair(&engine, name, &mut print, &mut print_repair).await,
        false => fsck::check(bucket, clock, entropy, name, &mut print).await,
    };
    if done.is_ok() && sum {
        print_sums(&engine, name).await?;
    }
    engine.finish().await;
    done
}

/// Names asked for at once.
const NAMES_AT_ONCE: usize = 1_000;

async fn print_sums(engine: &Engine, only: Option<&NamespaceName>) -> Result<()> {
    if let Some(name) = only {
        print_sum(engine, name).await;
        return Ok(());
    }
    let mut after: Option<NamespaceName> = None;
    loop {
        let page = engine.list("", after.as_ref(), NAMES_AT_ONCE).await?;
        for name in &page.names {
            print_sum(engine, name).await;
        }
        after = page.next_after;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// One that cannot be read does not hide the others: what is wrong has been told.
async fn print_sum(engine: &Engine, name: &NamespaceName) {
    match engine.row_sum(name).await {
        Ok((seq, sum)) => println!(
            "sum       {name}: {} documents at {seq}, {:032x}",
            sum.rows, sum.sum
        ),
        Err(error) => println!("sum       {name}: unknown, {}", error.chain()),
    }
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
            "{} damaged or missing objects that only states of the past refer to: they go with them",
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
