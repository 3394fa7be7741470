//! Numbers over rows: counts and sums, of all rows or of each group, in memory bounded by the groups asked for.
//!
//! Parts of a scan are merged, and give what one scan of everything would: sums are exact, and a part
//! keeps the first groups by key, of which no other part can make more than the first.

mod groups;
mod indexed;
#[cfg(test)]
mod tests;

pub use indexed::IndexedTotals;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch};

use groups::Groups;

use super::exact::ExactSum;
use super::key;
use super::order::not_found;
use super::page::{self, PageKey};
use super::reply::{Found, Group, Total};
use super::request::{Aggregate, Fold, GroupBy};
use crate::error::{Error, Result};
use crate::filter::{self, BoundFilter, RowMask, Target};
use crate::rows::{self, ScalarColumn};
use crate::types::{AttrId, AttributeSchema, AttributeType, NamespaceSchema, ScalarType, limits};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BoundFold {
    Count,
    Integers(AttrId),
    Floats(AttrId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BoundGroup {
    attr: AttrId,
    kind: ScalarType,
    each: bool,
}

/// What to compute, bound to a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundTotals {
    folds: Vec<BoundFold>,
    labels: Arc<[Arc<str>]>,
    groups: Vec<BoundGroup>,
    keys: Arc<[Arc<str>]>,
    /// Most groups that are kept: of a page one more than is given, which tells whether it is the last.
    limit: usize,
    paged: bool,
    /// Which rows count; of a page those of groups before it are left out by it.
    pub filter: Option<BoundFilter>,
}

impl BoundTotals {
    /// Binds numbers over rows. Errors: `InvalidRequest` for what the schema or the limits forbid.
    pub fn bind(asked: &Aggregate, schema: &NamespaceSchema) -> Result<Self> {
        let between = |what: &str, range: std::ops::RangeInclusive<usize>, found: usize| {
            let (least, most) = (range.start(), range.end());
            match range.contains(&found) {
                true => Ok(()),
                false => Err(Error::invalid(format!(
                    "{what}: expected {least} to {most}, found {found}"
                ))),
            }
        };
        between("`aggregate_by`", 1..=limits::FOLDS_MAX, asked.folds.len())?;
        between("`group_by`", 0..=limits::GROUP_KEYS_MAX, asked.groups.len())?;
        between("`limit`", 1..=limits::QUERY_LIMIT_MAX, asked.limit)?;
        let filter = asked.filter.as_ref();
        let filter = filter
            .map(|filter| filter::bind(filter, schema))
            .transpose()?;
        let groups: Vec<BoundGroup> = asked
            .groups
            .iter()
            .map(|group| bind_group(group, schema))
            .collect::<Result<_>>()?;
        let paged = asked.paging.is_on();
        let filter = match paged {
            true => page::narrow(filter, &asked.paging, &page_keys(&groups)?)?,
            false => filter,
        };
        Ok(Self {
            folds: asked
                .folds
                .iter()
                .map(|(_, fold)| bind_fold(fold, schema))
                .collect::<Result<_>>()?,
            labels: asked
                .folds
                .iter()
                .map(|(label, _)| label.as_str().into())
                .collect(),
            groups,
            keys: asked
                .groups
                .iter()
                .map(|group| group.label.as_str().into())
                .collect(),
            limit: asked.limit + usize::from(paged),
            paged,
            filter,
        })
    }

    /// The attributes that rows are grouped by.
    pub fn group_attributes(&self) -> impl Iterator<Item = AttrId> + '_ {
        self.groups.iter().map(|group| group.attr)
    }

    /// The attributes that are looked at, besides those of the filter.
    pub fn attributes(&self) -> impl Iterator<Item = AttrId> + '_ {
        let folds = self.folds.iter().filter_map(|fold| match fold {
            BoundFold::Count => None,
            BoundFold::Integers(attr) | BoundFold::Floats(attr) => Some(*attr),
        });
        self.groups.iter().map(|group| group.attr).chain(folds)
    }
}

/// The keys that pages of groups follow. Errors: `InvalidRequest` for groups that have no pages.
fn page_keys(groups: &[BoundGroup]) -> Result<Vec<PageKey>> {
    let refused = |why: &str| Error::invalid(format!("`cursor` needs groups: {why}"));
    if groups.is_empty() {
        return Err(refused("without `group_by` there is one answer"));
    }
    if groups.iter().any(|group| group.each) {
        return Err(refused("`ForEachUnique` has no pages"));
    }
    let keys = groups.iter().map(|group| PageKey {
        target: Target::Attribute(group.attr),
        kind: group.kind,
        descending: false,
    });
    Ok(keys.collect())
}

fn bind_fold(fold: &Fold, schema: &NamespaceSchema) -> Result<BoundFold> {
    let Fold::Sum(name) = fold else {
        return Ok(BoundFold::Count);
    };
    let refused = |kind: &str| {
        Error::invalid(format!(
            "cannot sum attribute `{name}` of type {kind}: expected int, uint or float"
        ))
    };
    if name == "id" {
        return Err(refused("id"));
    }
    let attribute = schema.get(name).ok_or_else(|| not_found(name))?;
    match attribute.kind {
        AttributeType::Scalar(ScalarType::Int | ScalarType::Uint) => {
            Ok(BoundFold::Integers(attribute.id))
        }
        AttributeType::Scalar(ScalarType::Float) => Ok(BoundFold::Floats(attribute.id)),
        other => Err(refused(&other.to_string())),
    }
}

fn bind_group(group: &GroupBy, schema: &NamespaceSchema) -> Result<BoundGroup> {
    let name = &group.attribute;
    let refused = |why: &str| Error::invalid(format!("cannot group by attribute `{name}`: {why}"));
    if name == "id" {
        return Err(refused("an id is of one document only"));
    }
    let attribute: &AttributeSchema = schema.get(name).ok_or_else(|| not_found(name))?;
    let kind = match (attribute.kind, group.each) {
        (AttributeType::Scalar(kind), false) | (AttributeType::Array(kind), true) => kind,
        // All of its lists are empty.
        (AttributeType::ArrayUnknown, true) => ScalarType::Bool,
        (other, true) => {
            return Err(refused(&format!(
                "`ForEachUnique` expects an array, found {other}"
            )));
        }
        (other, false) => {
            return Err(refused(&format!("expected a single value, found {other}")));
        }
    };
    if !attribute.filterable {
        return Err(refused("it is not filterable"));
    }
    Ok(BoundGroup {
        attr: attribute.id,
        kind,
        each: group.each,
    })
}

#[derive(Debug, Clone, PartialEq)]
enum Running {
    Count(u64),
    Integers(i128),
    Floats(ExactSum),
}

impl Running {
    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count(count), Self::Count(more)) => *count += more,
            (Self::Integers(sum), Self::Integers(more)) => *sum += more,
            (Self::Floats(sum), Self::Floats(more)) => sum.merge(more),
            // Both come from one plan, so they are of one kind.
            _ => {}
        }
    }

    fn total(&self) -> Total {
        match self {
            Self::Count(count) => Total::Integer(i128::from(*count)),
            Self::Integers(sum) => Total::Integer(*sum),
            Self::Floats(sum) => Total::Float(sum.value()),
        }
    }
}

/// Numbers over the rows offered so far.
#[derive(Debug, Clone)]
pub struct Totals {
    plan: Arc<BoundTotals>,
    /// One with an empty key where there is but one group.
    groups: Groups,
}

impl Totals {
    /// Begins with no rows.
    pub fn new(plan: Arc<BoundTotals>) -> Self {
        Self {
            groups: Groups::new(plan.folds.len()),
            plan,
        }
    }

    /// Adds rows by their number alone, all of which count; returns whether that is all that matters, else adds none.
    pub fn offer_count(&mut self, n_rows: usize) -> bool {
        let plan = Arc::clone(&self.plan);
        let counted =
            plan.groups.is_empty() && plan.folds.iter().all(|fold| *fold == BoundFold::Count);
        if counted {
            for running in self.all(&plan).iter_mut() {
                if let Running::Count(count) = running {
                    *count += n_rows as u64;
                }
            }
        }
        counted
    }

    /// Adds the rows of a batch that are in `mask`. Errors: `InvalidRequest` where the keys of the groups
    /// take too much memory.
    pub fn offer_rows(&mut self, batch: &RecordBatch, mask: &RowMask) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let folds: Vec<FoldColumn<'_>> = plan
            .folds
            .iter()
            .map(|fold| FoldColumn::resolve(*fold, batch))
            .collect();
        let mask = mask.iter().take_while(|row| *row < batch.num_rows());
        if plan.groups.is_empty() {
            let all = self.all(&plan);
            for row in mask {
                add(all, &folds, row);
            }
            return Ok(());
        }
        let keys: Vec<KeyColumn<'_>> = plan
            .groups
            .iter()
            .map(|group| KeyColumn::resolve(group, batch))
            .collect();
        let list = keys.iter().position(KeyColumn::is_each);
        let mut scratch = Scratch::default();
        for row in mask {
            let Some(at) = list else {
                scratch.key.clear();
                keys.iter()
                    .for_each(|column| column.encode(row, &mut scratch.key));
                self.add_to(&plan, &scratch.key, &folds, row)?;
                continue;
            };
            scratch.elements_of(&keys[at], row);
            for element in &scratch.ranges {
                scratch.key.clear();
                for (position, column) in keys.iter().enumerate() {
                    match position == at {
                        true => scratch.key.extend(&scratch.elements[element.clone()]),
                        false => column.encode(row, &mut scratch.key),
                    }
                }
                self.add_to(&plan, &scratch.key, &folds, row)?;
            }
        }
        Ok(())
    }

    /// The one group there is without keys.
    fn all(&mut self, plan: &BoundTotals) -> &mut [Running] {
        if self.groups.len() == 0 {
            self.groups.insert(Arc::default(), begin(plan));
        }
        self.groups.get_mut(&[]).unwrap_or_default()
    }

    fn add_to(
        &mut self,
        plan: &BoundTotals,
        key: &[u8],
        folds: &[FoldColumn<'_>],
        row: usize,
    ) -> Result<()> {
        if let Some(group) = self.groups.get_mut(key) {
            add(group, folds, row);
        } else if self.enters(plan, key) {
            self.groups.insert(key.into(), begin(plan));
            if let Some(group) = self.groups.get_mut(key) {
                add(group, folds, row);
            }
            self.cut(plan)?;
        }
        Ok(())
    }

    /// Whether a group with a new key is among the first.
    fn enters(&self, plan: &BoundTotals, key: &[u8]) -> bool {
        let full = self.groups.len() >= plan.limit;
        !full || self.groups.last_key().is_some_and(|last| key < last)
    }

    /// Lets go what is beyond the limit. Errors: `InvalidRequest` where the keys that stay take too much memory.
    fn cut(&mut self, plan: &BoundTotals) -> Result<()> {
        if self.groups.len() > plan.limit {
            self.groups.pop_last();
        }
        if self.groups.key_bytes() > limits::GROUPED_KEY_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the keys of the groups are too long: expected at most {} bytes together",
                limits::GROUPED_KEY_BYTES_MAX
            )));
        }
        Ok(())
    }

    /// Takes over what another part of the same scan found. Errors: as `offer_rows`.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.groups.len() == 0 {
            self.groups = other.groups;
            return Ok(());
        }
        let plan = Arc::clone(&self.plan);
        for (key, more) in other.groups.iter() {
            if let Some(group) = self.groups.get_mut(key) {
                for (running, more) in group.iter_mut().zip(more) {
                    running.merge(more);
                }
            } else if self.enters(&plan, key) {
                self.groups.insert(Arc::clone(key), more.iter().cloned());
                self.cut(&plan)?;
            } else {
                // The rest have larger keys still.
                break;
            }
        }
        Ok(())
    }

    /// Gives the numbers, and the place of the last group where they are a page and more groups follow.
    ///
    /// Errors: `InvalidRequest` where a sum is beyond the largest float.
    pub fn finish(mut self) -> Result<(Found, Option<Arc<[u8]>>)> {
        let plan = Arc::clone(&self.plan);
        let is_last = self.groups.len() < plan.limit;
        if plan.paged && !is_last {
            self.groups.pop_last();
        }
        let next = (plan.paged && !is_last).then(|| self.groups.last_key().map(Arc::from));
        if plan.groups.is_empty() {
            let totals = totals_of(self.all(&plan), &plan)?;
            let labels = plan.labels.iter().map(Arc::clone);
            return Ok((Found::Totals(labels.zip(totals).collect()), None));
        }
        let groups = self.groups.iter().map(|(key, group)| {
            let mut rest = &**key;
            let parts = plan.groups.iter();
            let key = parts.map(|part| key::decode(part.kind, &mut rest));
            let key: Option<Vec<_>> = key.collect();
            Ok(Group {
                key: key.ok_or_else(|| Error::internal("the key of a group does not decode"))?,
                totals: totals_of(group, &plan)?,
            })
        });
        let found = Found::Groups {
            keys: Arc::clone(&plan.keys),
            labels: Arc::clone(&plan.labels),
            groups: groups.collect::<Result<_>>()?,
        };
        Ok((found, next.flatten()))
    }
}

fn begin(plan: &BoundTotals) -> impl Iterator<Item = Running> {
    plan.folds.iter().map(|fold| match fold {
        BoundFold::Count => Running::Count(0),
        BoundFold::Integers(_) => Running::Integers(0),
        BoundFold::Floats(_) => Running::Floats(ExactSum::default()),
    })
}

fn totals_of(group: &[Running], plan: &BoundTotals) -> Result<Vec<Total>> {
    let total = |(running, label): (&Running, &Arc<str>)| match running.total() {
        Total::Float(sum) if !sum.is_finite() => Err(Error::invalid(format!(
            "`{label}`: the sum is beyond the largest float"
        ))),
        total => Ok(total),
    };
    group.iter().zip(plan.labels.iter()).map(total).collect()
}

/// What a number is made from, in one batch.
enum FoldColumn<'a> {
    Count,
    Column(Option<ScalarColumn<'a>>),
}

impl<'a> FoldColumn<'a> {
    fn resolve(fold: BoundFold, batch: &'a RecordBatch) -> Self {
        match fold {
            BoundFold::Count => Self::Count,
            BoundFold::Integers(attr) | BoundFold::Floats(attr) => Self::Column(
                rows::column(batch, attr).and_then(|column| ScalarColumn::of(column.as_ref())),
            ),
        }
    }
}

fn add(group: &mut [Running], folds: &[FoldColumn<'_>], row: usize) {
    for (running, fold) in group.iter_mut().zip(folds) {
        match (running, fold) {
            (Running::Count(count), _) => *count += 1,
            (_, FoldColumn::Column(Some(column))) if column.array().is_null(row) => {}
            (Running::Integers(sum), FoldColumn::Column(Some(ScalarColumn::Int(array)))) => {
                *sum += i128::from(array.value(row));
            }
            (Running::Integers(sum), FoldColumn::Column(Some(ScalarColumn::Uint(array)))) => {
                *sum += i128::from(array.value(row));
            }
            (Running::Floats(sum), FoldColumn::Column(Some(ScalarColumn::Float(array)))) => {
                sum.add(array.value(row));
            }
            // A column that the batch does not have is all null.
            _ => {}
        }
    }
}

/// A part of the keys, in one batch.
enum KeyColumn<'a> {
    Single(Option<ScalarColumn<'a>>),
    Each(Option<(&'a ListArray, Option<ScalarColumn<'a>>)>),
}

impl<'a> KeyColumn<'a> {
    fn resolve(group: &BoundGroup, batch: &'a RecordBatch) -> Self {
        let column: Option<&'a ArrayRef> = rows::column(batch, group.attr);
        match group.each {
            false => Self::Single(column.and_then(|column| ScalarColumn::of(column.as_ref()))),
            true => Self::Each(column.and_then(|column| {
                let list = column.as_list_opt::<i32>()?;
                Some((list, ScalarColumn::of(list.values().as_ref())))
            })),
        }
    }

    fn is_each(&self) -> bool {
        matches!(self, Self::Each(_))
    }

    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Single(column) => key::encode(*column, row, out),
            // Its elements are encoded one by one.
            Self::Each(_) => {}
        }
    }
}

/// Room that all rows of a batch share.
#[derive(Default)]
struct Scratch {
    key: Vec<u8>,
    elements: Vec<u8>,
    /// The distinct elements of a row.
    ranges: Vec<std::ops::Range<usize>>,
}

impl Scratch {
    /// Encodes the distinct elements of a row's list: one missing value where there is no list.
    fn elements_of(&mut self, column: &KeyColumn<'_>, row: usize) {
        self.elements.clear();
        self.ranges.clear();
        let list = match column {
            KeyColumn::Each(Some((list, elements))) if list.is_valid(row) => {
                Some((list.value_offsets(), *elements))
            }
            _ => None,
        };
        let Some((offsets, elements)) = list else {
            key::encode(None, row, &mut self.elements);
            self.ranges.push(0..self.elements.len());
            return;
        };
        // Offsets of a list ascend and are never negative.
        for element in offsets[row] as usize..offsets[row + 1] as usize {
            let start = self.elements.len();
            key::encode(elements, element, &mut self.elements);
            self.ranges.push(start..self.elements.len());
        }
        let bytes = &self.elements;
        self.ranges
            .sort_unstable_by(|a, b| bytes[a.clone()].cmp(&bytes[b.clone()]));
        self.ranges
            .dedup_by(|a, b| bytes[a.clone()] == bytes[b.clone()]);
    }
}
