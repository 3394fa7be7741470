//! What a segment holds at a glance: the ends of ranges, cut so that they stay short, and values where they are few.

use std::cmp::Ordering;

use arrow::array::{Array, RecordBatch};

use crate::rows::{self, ScalarColumn, layout};
use crate::types::{
    AttrId, AttributeStats, AttributeType, Bound, NamespaceSchema, Stats, limits, order_bits,
};

/// Computes the stats of sorted rows; `None` if there are none.
pub(super) fn of(chunks: &[RecordBatch], schema: &NamespaceSchema) -> Option<Stats> {
    let (first, last) = (chunks.first()?, chunks.last()?);
    let last_row = last.num_rows().checked_sub(1)?;
    let attributes = layout::attributes_in_order(schema)
        .into_iter()
        .map(|(_, attribute)| attribute)
        .filter(|attribute| {
            attribute.filterable && matches!(attribute.kind, AttributeType::Scalar(_))
        })
        .take(limits::SEGMENT_STATS_MAX);
    let mut attributes: Vec<AttributeStats> = attributes
        .map(|attribute| {
            let columns = chunks
                .iter()
                .filter_map(|chunk| rows::layout::column(chunk, attribute.id));
            of_attribute(attribute.id, columns.map(AsRef::as_ref))
        })
        .collect();
    forget_excess(&mut attributes);
    Some(Stats {
        id_min: Bound::of_id(&rows::id_at(rows::id_column(first), 0)),
        id_max: Bound::of_id(&rows::id_at(rows::id_column(last), last_row)),
        attributes,
    })
}

/// Lists values of the first attributes only, where all together have too many.
fn forget_excess(attributes: &mut [AttributeStats]) {
    let mut n_values = 0;
    for attribute in attributes {
        let fits = |values: &mut Vec<Bound>| n_values + values.len() <= limits::SEGMENT_VALUES_MAX;
        attribute.values.take_if(|values| !fits(values));
        n_values += attribute.values.as_ref().map_or(0, Vec::len);
    }
}

fn of_attribute<'a>(attr: AttrId, columns: impl Iterator<Item = &'a dyn Array>) -> AttributeStats {
    let (mut nulls, mut seen) = (0, None);
    for column in columns {
        nulls += column.null_count() as u64;
        let more = ScalarColumn::of(column).and_then(seen_in);
        seen = match (seen, more) {
            (Some(all), Some(more)) => Some(Seen::join(all, more)),
            (all, more) => all.or(more),
        };
    }
    let (ends, values) = match seen {
        Some(seen) => (Some((seen.min, seen.max)), seen.values),
        None => (None, Some(Vec::new())),
    };
    let (min, max) = ends.unzip();
    AttributeStats {
        attr,
        nulls,
        min: min.map(cut_below),
        max: max.and_then(cut_above),
        values: values.filter(|values| values.iter().all(is_short)),
    }
}

/// Values of one attribute, of which there is at least one.
#[derive(Debug)]
struct Seen {
    min: Bound,
    max: Bound,
    /// All of them, ascending, as long as they are few.
    values: Option<Vec<Bound>>,
}

impl Seen {
    fn join(self, more: Self) -> Self {
        let union = |mut all: Vec<Bound>, more: Vec<Bound>| {
            all.extend(more);
            all.sort_by(order);
            all.dedup();
            (all.len() <= limits::STATS_VALUES_MAX).then_some(all)
        };
        let least = order(&more.min, &self.min).is_lt();
        let most = order(&self.max, &more.max).is_lt();
        Self {
            min: if least { more.min } else { self.min },
            max: if most { more.max } else { self.max },
            values: self
                .values
                .zip(more.values)
                .and_then(|(all, more)| union(all, more)),
        }
    }
}

fn order(a: &Bound, b: &Bound) -> Ordering {
    a.to_value().total_cmp(&b.to_value())
}

fn is_short(value: &Bound) -> bool {
    match value {
        Bound::String(text) => text.len() <= limits::STATS_VALUE_BYTES_MAX,
        _ => true,
    }
}

/// What a column holds; `None` if it has no value.
fn seen_in(column: ScalarColumn<'_>) -> Option<Seen> {
    match column {
        ScalarColumn::String(array) => seen(array.iter().flatten(), |text| {
            Bound::String((*text).to_owned())
        }),
        ScalarColumn::Int(array) => seen(array.iter().flatten(), |value| Bound::Int(*value)),
        ScalarColumn::Uint(array) => seen(array.iter().flatten(), |value| Bound::Uint(*value)),
        ScalarColumn::Datetime(array) => seen(array.iter().flatten(), |ms| Bound::Datetime(*ms)),
        ScalarColumn::Bool(array) => seen(array.iter().flatten(), |value| Bound::Bool(*value)),
        ScalarColumn::Uuid(array) => seen(array.iter().flatten(), |bytes| {
            Bound::Uuid(rows::ids::uuid_of(bytes))
        }),
        ScalarColumn::Float(array) => {
            let bits = array.iter().flatten().map(order_bits::of_float);
            seen(bits, |bits| {
                Bound::Float(order_bits::to_float(*bits).to_bits())
            })
        }
    }
}

fn seen<T: Ord + Copy>(
    mut values: impl Iterator<Item = T>,
    bound: impl Fn(&T) -> Bound,
) -> Option<Seen> {
    let first = values.next()?;
    let (mut low, mut high) = (first, first);
    let mut few = Some(vec![first]);
    for value in values {
        (low, high) = (low.min(value), high.max(value));
        if let Some(known) = &mut few
            && let Err(at) = known.binary_search(&value)
        {
            known.insert(at, value);
        }
        few.take_if(|known| known.len() > limits::STATS_VALUES_MAX);
    }
    Some(Seen {
        min: bound(&low),
        max: bound(&high),
        values: few.map(|few| few.iter().map(bound).collect()),
    })
}

/// A lower bound of at most `STATS_TEXT_BYTES_MAX` bytes: a prefix is never larger.
fn cut_below(bound: Bound) -> Bound {
    match bound {
        Bound::String(text) => {
            let end = text.floor_char_boundary(limits::STATS_TEXT_BYTES_MAX);
            Bound::String(text.get(..end).unwrap_or_default().to_owned())
        }
        other => other,
    }
}

/// An upper bound of at most `STATS_TEXT_BYTES_MAX` bytes: a prefix with its last character raised.
/// `None` if no character of it can be.
fn cut_above(bound: Bound) -> Option<Bound> {
    let Bound::String(text) = bound else {
        return Some(bound);
    };
    if text.len() <= limits::STATS_TEXT_BYTES_MAX {
        return Some(Bound::String(text));
    }
    // The raised character may take three bytes more than the one it replaces.
    let end = text.floor_char_boundary(limits::STATS_TEXT_BYTES_MAX - 3);
    let mut kept = text.get(..end)?.to_owned();
    while let Some(last) = kept.pop() {
        if let Some(raised) = raise(last) {
            kept.push(raised);
            return Some(Bound::String(kept));
        }
    }
    None
}

/// The next character: bytes of UTF-8 are in the order of characters.
fn raise(character: char) -> Option<char> {
    match character {
        '\u{d7ff}' => Some('\u{e000}'),
        other => char::from_u32(u32::from(other) + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    fn text(text: &str) -> Bound {
        Bound::String(text.to_owned())
    }

    #[test]
    fn cut_long_text_stays_a_bound_on_its_side() {
        for last in [
            "a",
            "\u{7f}",
            "\u{7ff}",
            "\u{d7ff}",
            "\u{10ffff}",
            "z\u{10ffff}",
        ] {
            let long = format!("{}{}", last.repeat(70), "tail");
            let Bound::String(low) = cut_below(text(&long)) else {
                panic!("text stays text");
            };
            assert!(low.len() <= limits::STATS_TEXT_BYTES_MAX && low.as_str() <= long.as_str());
            match cut_above(text(&long)) {
                Some(Bound::String(high)) => {
                    assert!(high.len() <= limits::STATS_TEXT_BYTES_MAX, "{}", high.len());
                    assert!(high.as_str() > long.as_str());
                }
                Some(_) => panic!("text stays text"),
                None => assert_eq!(last, "\u{10ffff}"),
            }
        }
    }

    #[test]
    fn cut_short_text_is_kept() {
        let exact = "x".repeat(limits::STATS_TEXT_BYTES_MAX);
        assert_eq!(cut_above(text(&exact)), Some(text(&exact)));
        assert_eq!(cut_below(text(&exact)), text(&exact));
    }

    fn values_of(columns: &[ArrayRef]) -> Option<Vec<Bound>> {
        of_attribute(AttrId(0), columns.iter().map(AsRef::as_ref)).values
    }

    #[test]
    fn values_are_listed_where_they_are_few_and_short() {
        let ints = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        let texts = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
        let (few, many) = (limits::STATS_VALUES_MAX, limits::STATS_VALUES_MAX + 1);
        let upto = |n: usize| -> Vec<Option<i64>> { (0..n as i64).map(Some).collect() };
        let listed = |n: i64| Some((0..n).map(Bound::Int).collect());
        // Each once, ascending, over several chunks; nulls are no values.
        let chunks = [
            ints(vec![Some(2), None, Some(0)]),
            ints(vec![Some(1), Some(2)]),
        ];
        assert_eq!(values_of(&chunks), listed(3));
        assert_eq!(values_of(&[ints(vec![None])]), listed(0));
        assert_eq!(values_of(&[ints(upto(few))]), listed(few as i64));
        assert_eq!(values_of(&[ints(upto(many))]), None);
        // Few in each chunk, many together.
        let last = ints(vec![Some(few as i64)]);
        assert_eq!(values_of(&[ints(upto(few)), last]), None);
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.5]));
        // A zero has no sign.
        let bits = [0.0_f64, 1.5].map(|value| Bound::Float(value.to_bits()));
        assert_eq!(values_of(&[zeros]), Some(bits.to_vec()));
        let short = "x".repeat(limits::STATS_VALUE_BYTES_MAX);
        let long = format!("{short}x");
        assert_eq!(
            values_of(&[texts(&["b", &short])]),
            Some(vec![text("b"), text(&short)])
        );
        assert_eq!(values_of(&[texts(&["b", &long])]), None);
    }

    #[test]
    fn values_of_all_attributes_together_are_bounded() {
        let listing = |attr: u32, n: usize| AttributeStats {
            attr: AttrId(attr),
            nulls: 0,
            min: None,
            max: None,
            values: Some(vec![Bound::Int(0); n]),
        };
        let sizes = [16, 16, 16, 16, 16, 16, 16, 15, 2, 1, 1, 0];
        let mut attributes: Vec<_> = (0..).zip(sizes).map(|(at, n)| listing(at, n)).collect();
        forget_excess(&mut attributes);
        let kept: Vec<Option<usize>> = attributes
            .iter()
            .map(|one| one.values.as_ref().map(Vec::len))
            .collect();
        let mut expected = sizes.map(Some);
        // 127 are listed before it; the next one fits again.
        (expected[8], expected[10]) = (None, None);
        assert_eq!(kept, expected);
    }
}
