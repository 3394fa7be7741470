//! Numbers over the rows of a segment from its columns: groups by places in dictionaries, whose texts are looked at
//! only for the groups that are in the answer.

use std::sync::Arc;

use super::{BoundFold, BoundTotals, Running, Totals, begin};
use crate::error::Result;
use crate::filter::RowMask;
use crate::index::{
    AttributeIndex, Beside, Indexed, Lookup, Names, Pages, Rows, Values, Work, value_of_number,
};
use crate::query::key;
use crate::types::{RowMap, ScalarType, Value, order_bits};

/// Numbers of groups of a segment that are kept at once, a few dozen bytes each; where there are more, rows are looked at in
/// order instead, and only the first groups kept.
const NUMBERS_MAX: usize = 1 << 18;

/// Numbers that are being computed.
#[derive(Debug)]
pub struct IndexedTotals {
    plan: Arc<BoundTotals>,
    beside: Beside,
    groups: CodedGroups,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Rows,
    /// The groups of the answer, and the values of the keys that are places, one key after the other.
    Names {
        first: Vec<usize>,
        found: Vec<Option<Named>>,
        next: Option<Box<Names>>,
    },
}

/// Places in a dictionary, ascending, and their values.
#[derive(Debug)]
struct Named {
    ordinals: Vec<u32>,
    values: Vec<Value>,
}

impl IndexedTotals {
    /// Begins to compute over `rows`; `None` where columns do not tell all that is asked for.
    pub fn new(plan: &Arc<BoundTotals>, rows: Arc<RowMask>, lookup: Lookup<'_>) -> Option<Self> {
        // The index of a column of single values; `Some(None)` where no row has one.
        let column = |attr| match lookup(attr) {
            Indexed::Absent => Some(None),
            Indexed::By(index) if index.column().is_some() => Some(Some(index)),
            Indexed::By(_) | Indexed::Not => None,
        };
        let mut columns = Vec::new();
        let mut keys = Vec::new();
        for group in &plan.groups {
            let index = column(group.attr).filter(|_| !group.each)?;
            keys.push(KeyCodes::of(index.clone()));
            columns.push(index);
        }
        let mut folds = Vec::new();
        for fold in &plan.folds {
            folds.push(match fold {
                BoundFold::Count => CodedFold::Count,
                BoundFold::Integers(attr) | BoundFold::Floats(attr) => {
                    let index = column(*attr)?;
                    let kind = index.as_ref().map(|index| index.kind);
                    columns.push(index);
                    CodedFold::Sum(columns.len() - 1, kind)
                }
            });
        }
        Some(Self {
            plan: Arc::clone(plan),
            beside: Beside::new(columns, rows),
            groups: CodedGroups::new(Arc::clone(plan), keys, folds),
            stage: Stage::Rows,
        })
    }
}

impl Work for IndexedTotals {
    /// The numbers; `None` where there are too many groups to keep.
    type Found = Option<Totals>;

    fn go_on(&mut self, pages: &mut Pages) -> Result<Option<Option<Totals>>> {
        if let Stage::Rows = self.stage {
            let groups = &mut self.groups;
            let done = self.beside.go_on(pages, |rows| {
                groups.offer(rows);
                Ok(())
            })?;
            if groups.len().saturating_mul(self.plan.folds.len()) > NUMBERS_MAX {
                return Ok(Some(None));
            }
            if !done {
                return Ok(None);
            }
            self.stage = Stage::Names {
                first: groups.first(self.plan.limit),
                found: Vec::new(),
                next: None,
            };
        }
        let Stage::Names { first, found, next } = &mut self.stage else {
            return Ok(None);
        };
        while found.len() < self.groups.keys.len() {
            let at = found.len();
            let Some((index, ordinals)) = self.groups.ordinals(at, first) else {
                found.push(None);
                continue;
            };
            let names = next.get_or_insert_with(|| Box::new(Names::new(index, ordinals.clone())));
            let Some(values) = names.go_on(pages)? else {
                return Ok(None);
            };
            *next = None;
            found.push(Some(Named { ordinals, values }));
        }
        self.groups
            .totals(first, found)
            .map(|totals| Some(Some(totals)))
    }
}

/// How the values of a key become small numbers, 0 for a missing one.
#[derive(Debug)]
enum KeyCodes {
    /// All are missing.
    Missing,
    /// Places in a dictionary, and one.
    Ordinals(Arc<AttributeIndex>),
    /// In the order in which they are first seen.
    Numbers {
        kind: ScalarType,
        codes: RowMap<u64, u32>,
        numbers: Vec<u64>,
    },
}

impl KeyCodes {
    fn of(index: Option<Arc<AttributeIndex>>) -> Self {
        match index {
            None => Self::Missing,
            Some(index) if index.dictionary().is_some() => Self::Ordinals(index),
            Some(index) => Self::Numbers {
                kind: index.kind,
                codes: RowMap::default(),
                numbers: Vec::new(),
            },
        }
    }

    fn code(&mut self, number: Option<u64>) -> u32 {
        let Some(number) = number else {
            return 0;
        };
        match self {
            Self::Missing => 0,
            // A dictionary has fewer than 2^32 values.
            Self::Ordinals(_) => number as u32 + 1,
            Self::Numbers { codes, numbers, .. } => *codes.entry(number).or_insert_with(|| {
                numbers.push(number);
                numbers.len() as u32
            }),
        }
    }

    /// What sorts as the value of a code does.
    fn rank(&self, code: u32) -> u128 {
        match self {
            Self::Missing | Self::Ordinals(_) => u128::from(code),
            Self::Numbers { numbers, .. } => {
                let number = code.checked_sub(1).and_then(|at| numbers.get(at as usize));
                number.map_or(0, |number| 1 << 64 | u128::from(*number))
            }
        }
    }
}

/// What one number of a group is made from.
#[derive(Debug)]
enum CodedFold {
    Count,
    /// A column, of this type; `None` where no row has a value.
    Sum(usize, Option<ScalarType>),
}

/// Groups by the codes of their keys.
#[derive(Debug)]
struct CodedGroups {
    plan: Arc<BoundTotals>,
    keys: Vec<KeyCodes>,
    folds: Vec<CodedFold>,
    /// The group of each code of the first key, and one.
    by_first: Vec<u32>,
    /// For each further key: the group so far and a code, to the group.
    by_more: Vec<RowMap<(u32, u32), u32>>,
    /// For each key: what a group is made from.
    made_from: Vec<Vec<(u32, u32)>>,
    running: Vec<Running>,
    /// For each picked row of a block its group.
    ids: Vec<u32>,
}

impl CodedGroups {
    fn new(plan: Arc<BoundTotals>, keys: Vec<KeyCodes>, folds: Vec<CodedFold>) -> Self {
        let running = match keys.is_empty() {
            true => begin(&plan).collect(),
            false => Vec::new(),
        };
        Self {
            by_first: Vec::new(),
            by_more: keys.iter().skip(1).map(|_| RowMap::default()).collect(),
            made_from: keys.iter().map(|_| Vec::new()).collect(),
            plan,
            keys,
            folds,
            running,
            ids: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.made_from.iter().map(Vec::len).max().unwrap_or(0)
    }

    fn offer(&mut self, rows: &Rows<'_>) {
        self.find_groups(rows);
        let width = self.folds.len();
        for (at, fold) in self.folds.iter().enumerate() {
            let sum = match fold {
                CodedFold::Count => None,
                CodedFold::Sum(column, Some(kind)) => rows.columns.get(*column).zip(Some(*kind)),
                CodedFold::Sum(_, None) => continue,
            };
            for (id, row) in self.ids.iter().zip(rows.picked) {
                let Some(running) = self.running.get_mut(*id as usize * width + at) else {
                    continue;
                };
                match (running, sum) {
                    (Running::Count(count), _) => *count += 1,
                    (running, Some((values, kind))) => {
                        add(running, kind, values, usize::from(*row));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Finds the group of each picked row.
    fn find_groups(&mut self, rows: &Rows<'_>) {
        self.ids.clear();
        self.ids.resize(rows.picked.len(), 0);
        let last = self.keys.len().saturating_sub(1);
        let keys = self
            .keys
            .iter_mut()
            .zip(rows.columns)
            .zip(&mut self.made_from);
        for (at, ((key, values), made_from)) in keys.enumerate() {
            for (id, row) in self.ids.iter_mut().zip(rows.picked) {
                let code = key.code(values.get(usize::from(*row)));
                let next = made_from.len() as u32;
                let from = (*id, code);
                let found = match at.checked_sub(1) {
                    None => {
                        let slot = code as usize;
                        if slot >= self.by_first.len() {
                            self.by_first.resize(slot + 1, 0);
                        }
                        match self.by_first.get_mut(slot) {
                            Some(known) => {
                                if *known == 0 {
                                    *known = next + 1;
                                }
                                *known - 1
                            }
                            None => 0,
                        }
                    }
                    Some(more) => match self.by_more.get_mut(more) {
                        Some(known) => *known.entry(from).or_insert(next),
                        None => 0,
                    },
                };
                if found == next {
                    made_from.push(from);
                    if at == last {
                        self.running.extend(begin(&self.plan));
                    }
                }
                *id = found;
            }
        }
    }

    /// The codes of a group, one for each key.
    fn codes(&self, group: usize) -> Vec<u32> {
        let mut group = group;
        let mut codes: Vec<u32> = Vec::with_capacity(self.keys.len());
        for made_from in self.made_from.iter().rev() {
            let (from, code) = made_from.get(group).copied().unwrap_or((0, 0));
            codes.push(code);
            group = from as usize;
        }
        codes.reverse();
        codes
    }

    /// The first groups in the order of their keys.
    fn first(&self, limit: usize) -> Vec<usize> {
        let Some(last) = self.made_from.last() else {
            return vec![0];
        };
        let ranks = (0..last.len()).map(|group| {
            let codes = self.codes(group);
            let ranks = codes
                .iter()
                .zip(&self.keys)
                .map(|(code, key)| key.rank(*code));
            (ranks.collect::<Vec<_>>(), group)
        });
        let mut ranks: Vec<(Vec<u128>, usize)> = ranks.collect();
        if limit < ranks.len() {
            ranks.select_nth_unstable(limit);
            ranks.truncate(limit);
        }
        ranks.sort_unstable();
        ranks.into_iter().map(|(_, group)| group).collect()
    }

    /// The places in the dictionary of a key that some groups have, ascending; `None` for a key without one.
    fn ordinals(&self, key: usize, groups: &[usize]) -> Option<(Arc<AttributeIndex>, Vec<u32>)> {
        let Some(KeyCodes::Ordinals(index)) = self.keys.get(key) else {
            return None;
        };
        let codes = groups
            .iter()
            .filter_map(|group| self.codes(*group).get(key).copied());
        let mut ordinals: Vec<u32> = codes.filter_map(|code| code.checked_sub(1)).collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        Some((Arc::clone(index), ordinals))
    }

    /// The numbers of some groups, in order.
    fn totals(&self, groups: &[usize], named: &[Option<Named>]) -> Result<Totals> {
        let mut totals = Totals::new(Arc::clone(&self.plan));
        let width = self.folds.len();
        let mut bytes = Vec::new();
        for group in groups {
            bytes.clear();
            for ((code, key), named) in self.codes(*group).iter().zip(&self.keys).zip(named) {
                key::encode_value(&value_of(*code, key, named.as_ref()), &mut bytes);
            }
            let running = self.running.get(group * width..(group + 1) * width);
            let running = running.unwrap_or_default().iter().cloned();
            totals.groups.insert(bytes.as_slice().into(), running);
            totals.cut(&self.plan)?;
        }
        Ok(totals)
    }
}

fn value_of(code: u32, key: &KeyCodes, named: Option<&Named>) -> Value {
    let Some(at) = code.checked_sub(1) else {
        return Value::Null;
    };
    match key {
        KeyCodes::Missing => Value::Null,
        KeyCodes::Ordinals(_) => {
            let value = named.and_then(|named| {
                let at = named.ordinals.binary_search(&at).ok()?;
                named.values.get(at).cloned()
            });
            value.unwrap_or(Value::Null)
        }
        KeyCodes::Numbers { kind, numbers, .. } => {
            let number = numbers.get(at as usize);
            let value = number.and_then(|number| value_of_number(*kind, *number));
            value.unwrap_or(Value::Null)
        }
    }
}

fn add(running: &mut Running, kind: ScalarType, values: &Values, row: usize) {
    let Some(number) = values.get(row) else {
        return;
    };
    match (running, kind) {
        (Running::Integers(sum), ScalarType::Int) => {
            *sum += i128::from(order_bits::to_int(number));
        }
        (Running::Integers(sum), ScalarType::Uint) => *sum += i128::from(number),
        (Running::Floats(sum), ScalarType::Float) => sum.add(order_bits::to_float(number)),
        // Binding sums nothing else.
        _ => {}
    }
}
