//! Filters by the indexes of a stored segment.

use super::*;
use crate::filter::pattern::Syntax;
use crate::filter::{self, BoundFilter, Comparison, Members, Pattern, Target};

fn compare(target: Target, comparison: Comparison, operand: Value) -> BoundFilter {
    BoundFilter::Compare {
        target,
        comparison,
        operand,
    }
}

const COMPARISONS: [Comparison; 5] = [
    Comparison::Eq,
    Comparison::Lt,
    Comparison::Lte,
    Comparison::Gt,
    Comparison::Gte,
];

/// A filter of each kind that indexes answer.
fn filters() -> Vec<BoundFilter> {
    let (number, text) = (Target::Attribute(NUMBER), Target::Attribute(TEXT));
    let long = format!("{} ", 4_000).repeat(700);
    let glob = Pattern::compile("31*", Syntax::Glob { fold_case: false }).expect("legal");
    vec![
        compare(number, Comparison::Gte, Value::Int(97)),
        compare(text, Comparison::Eq, Value::String(long.into())),
        compare(text, Comparison::Lt, Value::String("3".into())),
        BoundFilter::Missing(TEXT),
        BoundFilter::Matches {
            target: text,
            pattern: Arc::new(glob),
        },
        compare(Target::Id, Comparison::Gt, Value::Uint(9_999)),
    ]
}

#[tokio::test]
async fn selection_of_any_filter_is_that_of_the_rows() {
    let setup = Setup::new().await;
    let reader = setup.reader();
    let ids = [0, 1, 2, 5_000, 5_001, 2 * N_ROWS - 2, 2 * N_ROWS, u64::MAX];
    let by_id = ids.into_iter().flat_map(|id| {
        COMPARISONS.map(|comparison| compare(Target::Id, comparison, Value::Uint(id)))
    });
    let among = Members::of(&ids.map(Value::Uint)).expect("of one type");
    let among = BoundFilter::In {
        target: Target::Id,
        members: among,
    };
    let some = filters();
    let both = BoundFilter::And(vec![
        some[0].clone(),
        BoundFilter::Not(Box::new(some[5].clone())),
    ]);
    for filter in by_id.chain([among, both]).chain(some) {
        let found = reader
            .select(&filter, &Purpose::Rows)
            .await
            .expect("selects");
        assert_eq!(found.rest, None, "{filter:?}");
        assert!(
            found.rows == filter::eval(&filter, &setup.rows),
            "{filter:?}"
        );
    }
}

#[tokio::test]
async fn filter_of_many_ranges_of_ids_is_left_to_rows() {
    let setup = Setup::new().await;
    let below = (0..17).map(|id| compare(Target::Id, Comparison::Lt, Value::Uint(id)));
    let any = BoundFilter::Or(below.collect());
    let found = setup
        .reader()
        .select(&any, &Purpose::Rows)
        .await
        .expect("selects");
    assert_eq!(found.rest, Some(any));
    assert_eq!(found.rows.count(), N_ROWS as usize);
}

#[tokio::test]
async fn selection_of_a_filter_seen_before_reads_nothing() {
    let setup = Setup::new().await;
    let reader = setup.reader();
    let [a, b, ..] = &filters()[..] else {
        panic!("two filters at least");
    };
    // No block stays.
    let scan = || Purpose::Scan(ScanShare::new(0));
    let first = reader.select(a, &scan()).await.expect("selects");
    let gets = setup.gets();
    let again = reader.select(a, &scan()).await.expect("selects");
    assert_eq!((setup.gets(), &again.rows), (gets, &first.rows));
    let other = reader.select(b, &scan()).await.expect("selects");
    assert!(setup.gets() > gets && other.rows != first.rows);
}

#[tokio::test]
async fn flipped_byte_anywhere_in_an_index_is_an_error_or_changes_no_selection() {
    let setup = Setup::new().await;
    let filters = filters();
    let expected: Vec<RowMask> = filters
        .iter()
        .map(|filter| filter::eval(filter, &setup.rows))
        .collect();
    let path = setup.segment.index.path.clone();
    let (mut told, mut same) = (0, 0);
    let footer = setup.reader().footer().await.expect("a footer");
    // All over the file, and the ends of each section: most of it are long texts.
    let step = setup.segment.index.bytes as usize / 30;
    let over = (0..setup.segment.index.bytes).step_by(step);
    let sections = footer
        .sections()
        .values()
        .filter(|(start, end)| start < end);
    let ends = sections.flat_map(|(start, end)| [*start, (start + end) / 2, end - 1]);
    for at in over.chain(ends).collect::<Vec<_>>() {
        setup.damage(&path, at).await;
        let reader = setup.reader();
        for (filter, expected) in filters.iter().zip(&expected) {
            match reader.select(filter, &Purpose::Rows).await {
                Ok(found) => {
                    assert!(
                        found.rest.is_none() && found.rows == *expected,
                        "{at} {filter:?}"
                    );
                    same += 1;
                }
                Err(error) => {
                    assert_eq!(
                        error.kind(),
                        ErrorKind::Corrupted,
                        "{at} {filter:?}: {error}"
                    );
                    let named = error.details().iter().any(|(_, value)| *value == path);
                    assert!(named || error.message().contains(&path), "{error}");
                    told += 1;
                }
            }
        }
        setup.damage(&path, at).await;
    }
    assert!(told > 20 && same > 60, "{told} {same}");
}
