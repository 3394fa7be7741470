//! A filter to the rows of a segment that it matches, from indexes alone.
//!
//! Work goes in rounds ([`Pages`]): each leaf goes on as far as the bytes that are there take it, and all of them
//! declare together what they need next, so that a filter of many leaves takes as many waves as its slowest one: one
//! for numbers, two for values of a dictionary. Leaves that are done are folded into their parent at once.

use std::fmt;
use std::sync::Arc;

use super::attribute::AttributeIndex;
use super::leaf::Leaf;
use super::pages::{Pages, Work};
use super::rule::{self, Test};
use crate::error::Result;
use crate::filter::{self, BoundFilter, Comparison, RowMask, Verdict};
use crate::types::{AttrId, Stats, Value};

/// What a segment has of an attribute.
#[derive(Debug, Clone)]
pub enum Indexed {
    /// No row has a value.
    Absent,
    /// An index.
    By(Arc<AttributeIndex>),
    /// Values, but no index.
    Not,
}

/// Where the indexes of a segment are found.
pub type Lookup<'a> = &'a dyn Fn(AttrId) -> Indexed;

/// A filter that is being answered for one segment.
#[derive(Debug)]
pub struct Selection {
    root: Node,
}

#[derive(Debug)]
enum Node {
    Known(RowMask),
    Leaf(Box<Leaf>),
    /// What those that are done have in common, and the others.
    All(RowMask, Vec<Node>),
    /// What any of those that are done has, and the others.
    Any(RowMask, Vec<Node>),
    Not(Box<Node>),
}

/// Where the answers to filters of a segment are found.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// What attributes have.
    pub lookup: Lookup<'a>,
    /// Whether the rows of a leaf are known from elsewhere, as those of ids are.
    pub is_known: &'a dyn Fn(&BoundFilter) -> bool,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Divides a filter into what indexes answer and what is left to be evaluated row by row: a row matches where both do.
pub fn split(
    filter: &BoundFilter,
    sources: Sources<'_>,
) -> (Option<BoundFilter>, Option<BoundFilter>) {
    let (mut by_index, mut by_rows) = (Vec::new(), Vec::new());
    divide(filter, sources, &mut by_index, &mut by_rows);
    (joined(by_index), joined(by_rows))
}

fn joined(mut parts: Vec<BoundFilter>) -> Option<BoundFilter> {
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(BoundFilter::And(parts)),
    }
}

fn divide(
    filter: &BoundFilter,
    sources: Sources<'_>,
    by_index: &mut Vec<BoundFilter>,
    by_rows: &mut Vec<BoundFilter>,
) {
    if answers(filter, sources) {
        by_index.push(filter.clone());
        return;
    }
    match filter {
        BoundFilter::And(children) => {
            for child in children {
                divide(child, sources, by_index, by_rows);
            }
        }
        // Rows whose list is the wanted one have each of its elements.
        BoundFilter::Compare {
            target: filter::Target::Attribute(attr),
            comparison: Comparison::Eq,
            operand: Value::Array(elements),
        } => {
            let has_each = elements.iter().map(|element| BoundFilter::AnyElement {
                attr: *attr,
                comparison: Comparison::Eq,
                operand: element.clone(),
            });
            by_index.extend(has_each.filter(|leaf| answers(leaf, sources)));
            by_rows.push(filter.clone());
        }
        other => by_rows.push(other.clone()),
    }
}

/// Whether indexes answer a whole filter.
fn answers(filter: &BoundFilter, sources: Sources<'_>) -> bool {
    match filter {
        BoundFilter::Constant(_) => true,
        BoundFilter::And(children) | BoundFilter::Or(children) => {
            children.iter().all(|child| answers(child, sources))
        }
        BoundFilter::Not(child) => answers(child, sources),
        leaf => (sources.is_known)(leaf) || rule::decides(leaf, sources.lookup),
    }
}

impl Selection {
    /// Begins to answer a filter that [`split`] found answerable, over a segment of `n_rows` rows. Leaves that `stats`
    /// decide cost nothing.
    /// `known` are leaves whose rows are known from elsewhere.
    pub fn new(
        filter: &BoundFilter,
        n_rows: usize,
        stats: &Stats,
        lookup: Lookup<'_>,
        known: &[(BoundFilter, RowMask)],
    ) -> Self {
        let over = Over {
            n_rows,
            stats,
            lookup,
            known,
        };
        Self {
            root: Node::of(filter, &over),
        }
    }
}

impl Work for Selection {
    type Found = RowMask;

    fn go_on(&mut self, pages: &mut Pages) -> Result<Option<RowMask>> {
        self.root.step(pages)
    }
}

/// The segment that a filter is answered over.
struct Over<'a> {
    n_rows: usize,
    stats: &'a Stats,
    lookup: Lookup<'a>,
    known: &'a [(BoundFilter, RowMask)],
}

impl Node {
    fn of(filter: &BoundFilter, over: &Over<'_>) -> Self {
        let n_rows = over.n_rows;
        let known = |matches| match matches {
            true => Self::Known(RowMask::all(n_rows)),
            false => Self::Known(RowMask::none(n_rows)),
        };
        match filter::prune(filter, over.stats) {
            Verdict::Always => return known(true),
            Verdict::Never => return known(false),
            Verdict::Maybe => {}
        }
        let nodes = |children: &[BoundFilter]| {
            let nodes = children.iter().map(|child| Self::of(child, over));
            nodes.collect::<Vec<_>>()
        };
        match filter {
            BoundFilter::Constant(matches) => known(*matches),
            BoundFilter::And(children) => Self::All(RowMask::all(n_rows), nodes(children)),
            BoundFilter::Or(children) => Self::Any(RowMask::none(n_rows), nodes(children)),
            BoundFilter::Not(child) => Self::Not(Box::new(Self::of(child, over))),
            leaf => match over.known.iter().find(|(known, _)| known == leaf) {
                Some((_, rows)) => Self::Known(rows.clone()),
                None => match rule::of(leaf, over.lookup) {
                    Some(Test::Constant(matches)) => known(matches),
                    Some(Test::Index(index, rule)) => Self::Leaf(Box::new(Leaf::new(index, rule))),
                    // `split` leaves none of them here.
                    None => known(false),
                },
            },
        }
    }

    /// Goes on; the rows once they are known.
    fn step(&mut self, pages: &mut Pages) -> Result<Option<RowMask>> {
        match self {
            Self::Known(rows) => Ok(Some(std::mem::replace(rows, RowMask::none(0)))),
            Self::Leaf(leaf) => leaf.step(pages),
            Self::Not(child) => Ok(child.step(pages)?.map(|mut rows| {
                rows.not();
                rows
            })),
            Self::All(common, rest) => {
                fold(rest, pages, |rows| {
                    common.and(&rows);
                    common.count() > 0
                })?;
                let done = rest.is_empty();
                Ok(done.then(|| std::mem::replace(common, RowMask::none(0))))
            }
            Self::Any(any, rest) => {
                fold(rest, pages, |rows| {
                    any.or(&rows);
                    true
                })?;
                let done = rest.is_empty();
                Ok(done.then(|| std::mem::replace(any, RowMask::none(0))))
            }
        }
    }
}

/// Lets each node go on, hands over the rows of those that are done, and forgets them; all, where `fold` says that the
/// others do not matter.
fn fold(
    nodes: &mut Vec<Node>,
    pages: &mut Pages,
    mut fold: impl FnMut(RowMask) -> bool,
) -> Result<()> {
    let mut at = 0;
    while let Some(node) = nodes.get_mut(at) {
        match node.step(pages)? {
            None => at += 1,
            Some(rows) => {
                nodes.swap_remove(at);
                if !fold(rows) {
                    nodes.clear();
                }
            }
        }
    }
    Ok(())
}
