//! What a segment holds at a glance: the ends of ranges, cut so that they stay short.

use arrow::array::{Array, RecordBatch};

use crate::rows::{self, ScalarColumn, layout};
use crate::types::{AttributeStats, AttributeType, Bound, NamespaceSchema, Stats, limits};

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
    Some(Stats {
        id_min: Bound::of_id(&rows::id_at(rows::id_column(first), 0)),
        id_max: Bound::of_id(&rows::id_at(rows::id_column(last), last_row)),
        attributes: attributes
            .map(|attribute| {
                let columns = chunks
                    .iter()
                    .filter_map(|chunk| rows::layout::column(chunk, attribute.id));
                of_attribute(attribute.id, columns.map(AsRef::as_ref))
            })
            .collect(),
    })
}

fn of_attribute<'a>(
    attr: crate::types::AttrId,
    columns: impl Iterator<Item = &'a dyn Array>,
) -> AttributeStats {
    let mut stats = AttributeStats {
        attr,
        nulls: 0,
        min: None,
        max: None,
    };
    let mut ends: Option<(Bound, Bound)> = None;
    for column in columns {
        stats.nulls += column.null_count() as u64;
        let Some((low, high)) = ScalarColumn::of(column).and_then(ends_of) else {
            continue;
        };
        ends = Some(match ends {
            None => (low, high),
            Some((min, max)) => (
                if less(&low, &min) { low } else { min },
                if less(&max, &high) { high } else { max },
            ),
        });
    }
    if let Some((min, max)) = ends {
        stats.min = Some(cut_below(min));
        stats.max = cut_above(max);
    }
    stats
}

fn less(a: &Bound, b: &Bound) -> bool {
    a.to_value().total_cmp(&b.to_value()).is_lt()
}

/// The smallest and the largest value of a column; `None` if it has no value.
fn ends_of(column: ScalarColumn<'_>) -> Option<(Bound, Bound)> {
    match column {
        ScalarColumn::String(array) => ends(array.iter().flatten(), |text| {
            Bound::String((*text).to_owned())
        }),
        ScalarColumn::Int(array) => ends(array.iter().flatten(), |value| Bound::Int(*value)),
        ScalarColumn::Uint(array) => ends(array.iter().flatten(), |value| Bound::Uint(*value)),
        ScalarColumn::Datetime(array) => ends(array.iter().flatten(), |ms| Bound::Datetime(*ms)),
        ScalarColumn::Bool(array) => ends(array.iter().flatten(), |value| Bound::Bool(*value)),
        ScalarColumn::Uuid(array) => ends(array.iter().flatten(), |bytes| {
            Bound::Uuid(rows::ids::uuid_of(bytes))
        }),
        ScalarColumn::Float(array) => {
            let mut values = array.iter().flatten();
            let first = values.next()?;
            let (low, high) = values.fold((first, first), |(low, high), value| {
                (low.min(value), high.max(value))
            });
            Some((Bound::Float(low.to_bits()), Bound::Float(high.to_bits())))
        }
    }
}

fn ends<T: Ord + Copy>(
    mut values: impl Iterator<Item = T>,
    bound: impl Fn(&T) -> Bound,
) -> Option<(Bound, Bound)> {
    let first = values.next()?;
    let (low, high) = values.fold((first, first), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    Some((bound(&low), bound(&high)))
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
}
