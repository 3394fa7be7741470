//! Numbers over rows: each part of the tail and each batch of a segment by itself, then merged.

use std::sync::Arc;

use futures::future;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::choose::{Wanted, choose};
use super::lost::of_segment;
use super::scan::{self, Answered, SEGMENTS_AT_ONCE};
use super::segment::{columns_of, kept, sparse};
use super::source::{Part, Source};
use super::tail::{split, visible};
use crate::error::{Error, Result};
use crate::filter::Verdict;
use crate::query::reply::Found;
use crate::query::{BoundTotals, IndexedTotals, Totals};
use crate::rows;
use crate::segment::SegmentBatch;

/// Computes numbers over the visible rows of a source.
///
/// Errors: as of a query, and `InvalidRequest` where groups take too much memory. Cancel safe.
pub(super) async fn run(source: &Source, plan: &Arc<BoundTotals>) -> Result<Answered<Found>> {
    let (parts, looked) = scan::divided(source, plan.filter.as_ref());
    let segments: Vec<_> = parts
        .into_iter()
        .map(|(part, verdict)| of_part(source, part, verdict, plan))
        .collect();
    let segments = async {
        let mut all = Totals::new(Arc::clone(plan));
        let mut segments = stream::iter(segments).buffered(SEGMENTS_AT_ONCE);
        while let Some(more) = segments.try_next().await? {
            all = merged(source, all, more).await?;
        }
        Ok(all)
    };
    let (tail, segments) = future::try_join(of_tail(source, plan), segments).await?;
    let all = merged(source, tail, segments).await?;
    let (found, next) = source.compute.run(move || all.finish()).await??;
    Ok(Answered {
        found,
        next,
        looked,
    })
}

/// Merges on the compute pool: there may be thousands of groups.
async fn merged(source: &Source, mut all: Totals, more: Totals) -> Result<Totals> {
    let merge = move || all.merge(more).map(|()| all);
    source.compute.run(merge).await?
}

async fn of_tail(source: &Source, plan: &Arc<BoundTotals>) -> Result<Totals> {
    let parts = split(&source.tail, source.compute.n_threads());
    let jobs: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let (source, plan) = (source.clone(), Arc::clone(plan));
            move || {
                let mut totals = Totals::new(Arc::clone(&plan));
                for chunk in &source.tail.chunks[part] {
                    let mask = visible(chunk, &source, plan.filter.as_ref())?;
                    let batch = rows::align(chunk.rows(), &source.schema)?;
                    totals.offer_rows(&batch, &mask)?;
                }
                Ok::<_, Error>(totals)
            }
        })
        .collect();
    let mut all = Totals::new(Arc::clone(plan));
    for part in source.compute.run_many(jobs).await? {
        all = merged(source, all, part?).await?;
    }
    Ok(all)
}

async fn of_part(
    source: &Source,
    part: Part,
    verdict: Verdict,
    plan: &Arc<BoundTotals>,
) -> Result<Totals> {
    let segment = Arc::clone(part.reader.segment());
    let totals = of_segment_part(source, part, verdict, plan).await;
    totals.map_err(|error| of_segment(error, &segment))
}

async fn of_segment_part(
    source: &Source,
    mut part: Part,
    verdict: Verdict,
    plan: &Arc<BoundTotals>,
) -> Result<Totals> {
    let mut all = Totals::new(Arc::clone(plan));
    let filter = plan.filter.as_ref().filter(|_| verdict != Verdict::Always);
    let filter = match filter {
        None => None,
        Some(filter) => {
            let choice = choose(&part, filter, Wanted::Totals(plan), part.plan).await?;
            part.narrow(filter, choice.ahead()).await?
        }
    };
    // How many rows live is known without a look at them.
    if filter.is_none() && all.offer_count(part.live.count()) {
        return Ok(all);
    }
    if filter.is_none()
        && let Some(totals) = by_columns(&part, plan).await?
    {
        return Ok(totals);
    }
    let mut columns = columns_of(filter.as_ref());
    columns.attrs.extend(plan.attributes());
    let (live, plan) = (Arc::clone(&part.live), Arc::clone(plan));
    let each = move |SegmentBatch { rows, batch }: SegmentBatch| {
        let mask = kept(&rows, &batch, &live, filter.as_ref());
        let mut totals = Totals::new(Arc::clone(&plan));
        totals.offer_rows(&batch, &mask)?;
        Ok(totals)
    };
    let rows = sparse(&part.live);
    let (reader, attrs) = (&part.reader, columns.attrs());
    let batches = reader.columns(&attrs, columns.id, rows, &part.scan, each);
    let mut batches = batches.await?;
    while let Some(more) = batches.try_next().await? {
        all = merged(source, all, more).await?;
    }
    Ok(all)
}

/// Computes numbers over the rows of a part from its columns; `None` where they do not tell all.
async fn by_columns(part: &Part, plan: &Arc<BoundTotals>) -> Result<Option<Totals>> {
    let footer = part.reader.footer().await?;
    let rows = Arc::clone(&part.live);
    match IndexedTotals::new(plan, rows, &|attr| footer.indexed(attr)) {
        Some(totals) => {
            let read = part.reader.run_rounds(totals, &part.scan).await;
            Ok(part.or_documents(read)?.flatten())
        }
        None => Ok(None),
    }
}
