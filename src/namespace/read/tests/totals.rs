//! Numbers over rows: as a plain loop over all documents gives them, wherever the documents lie.

use super::*;
use crate::namespace::read::totals;
use crate::query::BoundTotals;
use crate::query::reply::{Found, Group, Total};
use crate::query::request::{Aggregate, Fold, GroupBy, Paging};

fn aggregate(groups: &[(&str, bool)], limit: usize, filter: Option<Filter>) -> Aggregate {
    let fold = |label: &str, fold| (label.to_owned(), fold);
    Aggregate {
        folds: vec![
            fold("count", Fold::Count),
            fold("ints", Fold::Sum("int".to_owned())),
            fold("floats", Fold::Sum("float".to_owned())),
        ],
        groups: groups
            .iter()
            .map(|(name, each)| GroupBy {
                label: (*name).to_owned(),
                attribute: (*name).to_owned(),
                each: *each,
            })
            .collect(),
        limit,
        paging: Paging::Off,
        filter,
    }
}

/// The values of a document that make the keys of its groups.
fn keys_of(world: &World, document: &Document, groups: &[(&str, bool)]) -> Vec<Vec<Value>> {
    let mut keys = vec![Vec::new()];
    for (name, each) in groups {
        let attr = world.attr(name);
        let found = document.iter().find(|(known, _)| *known == attr);
        let values = match (found.map(|(_, value)| value), each) {
            (None, _) => vec![Value::Null],
            (Some(Value::Array(elements)), true) => {
                let mut distinct: Vec<Value> = Vec::new();
                for element in elements.iter() {
                    if !distinct.contains(element) {
                        distinct.push(element.clone());
                    }
                }
                distinct
            }
            (Some(value), _) => vec![value.clone()],
        };
        keys = keys
            .into_iter()
            .flat_map(|key| {
                values.iter().map(move |value| {
                    let mut key: Vec<Value> = key.clone();
                    key.push(value.clone());
                    key
                })
            })
            .collect();
    }
    keys
}

/// Sums of halves are exact in any order.
fn naive(world: &World, asked: &Aggregate, groups: &[(&str, bool)]) -> Vec<Group> {
    let rows = batch(&world.schema, &world.documents);
    let kept = match &asked.filter {
        None => RowMask::all(rows.num_rows()),
        Some(filter) => filter::eval(&world.filtered(filter), &rows),
    };
    let (int, float) = (world.attr("int"), world.attr("float"));
    let mut found: Vec<(Vec<Value>, (i128, i128, f64))> = Vec::new();
    for (row, document) in world.documents.values().enumerate() {
        if !kept.contains(row) {
            continue;
        }
        for key in keys_of(world, document, groups) {
            let same = |other: &Vec<Value>| {
                let pairs = other.iter().zip(&key);
                pairs.into_iter().all(|(a, b)| a.total_cmp(b).is_eq())
            };
            let at = match found.iter().position(|(other, _)| same(other)) {
                Some(at) => at,
                None => {
                    found.push((key, (0, 0, 0.0)));
                    found.len() - 1
                }
            };
            let totals = &mut found[at].1;
            totals.0 += 1;
            for (attr, value) in document {
                match value {
                    Value::Int(value) if *attr == int => totals.1 += i128::from(*value),
                    Value::Float(value) if *attr == float => totals.2 += value,
                    _ => {}
                }
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| {
        let pairs = a.iter().zip(b);
        let mut orders = pairs.map(|(a, b)| a.total_cmp(b));
        orders
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    found.truncate(asked.limit);
    let groups = found.into_iter().map(|(key, (count, ints, floats))| Group {
        key,
        totals: vec![
            Total::Integer(count),
            Total::Integer(ints),
            Total::Float(floats),
        ],
    });
    groups.collect()
}

async fn totals_of(source: &Source, asked: &Aggregate) -> Found {
    let plan = BoundTotals::bind(asked, &source.schema).expect("legal");
    let found = totals::run(source, &Arc::new(plan)).await;
    found.expect("an answer").found
}

#[tokio::test]
async fn totals_of_any_groups_are_those_of_a_plain_loop_wherever_documents_lie() {
    let kinds: [&[(&str, bool)]; 6] = [
        &[],
        &[("int", false)],
        &[("text", false), ("flag", false)],
        &[("float", false), ("int", false)],
        &[("tags", true)],
        &[("text", false), ("tags", true), ("int", false)],
    ];
    for world_seed in 0..2 {
        let mut seed = Seed(world_seed);
        let world = World::new(&mut seed).await;
        let spread = world.spread();
        for round in 0..42 {
            let groups = kinds[round % 6];
            let limit = *seed.pick(&[1, 3, 10_000]);
            let filter = (seed.below(3) > 0).then(|| filter_of(&mut seed, 2));
            let asked = aggregate(groups, limit, filter);
            let expected = naive(&world, &asked, groups);
            let spread = plans().map(|plan| (format!("{plan:?}"), spread.clone().with_plan(plan)));
            let tail = ("tail".to_owned(), world.together.clone());
            for (place, source) in std::iter::once(tail).chain(spread) {
                let found = match totals_of(&source, &asked).await {
                    Found::Groups { groups, .. } => groups,
                    Found::Totals(totals) => {
                        let totals: Vec<Total> =
                            totals.into_iter().map(|(_, total)| total).collect();
                        // No rows make no group, but the numbers of all rows are always there.
                        match totals[0] {
                            Total::Integer(0) => Vec::new(),
                            _ => vec![Group {
                                key: Vec::new(),
                                totals,
                            }],
                        }
                    }
                    other => panic!("no numbers: {other:?}"),
                };
                assert_eq!(found, expected, "{place} {world_seed} {round} {asked:?}");
            }
        }
    }
}

#[tokio::test]
async fn count_of_everything_asks_the_store_nothing() {
    let world = World::new(&mut Seed(3)).await;
    let mut asked = aggregate(&[], 10_000, None);
    asked.folds.truncate(1);
    let found = totals_of(&world.spread(), &asked).await;
    let count = Total::Integer(world.documents.len() as i128);
    assert_eq!(found, Found::Totals(vec![("count".into(), count)]));
    assert_eq!(world.gets(), 0);
}

#[tokio::test]
async fn numbers_of_an_indexed_filter_read_indexes_alone_and_again_nothing() {
    for (groups, filter) in [
        (&[][..], ints_from(1)),
        (&[("text", false)], ints_from(1)),
        (
            &[],
            Filter::In {
                attribute: "text".to_owned(),
                values: vec![RawValue::String("a".into())],
                negated: false,
            },
        ),
    ] {
        let world = World::new(&mut Seed(4)).await;
        let spread = world.spread();
        let asked = aggregate(groups, 10_000, Some(filter));
        totals_of(&spread, &asked).await;
        let cold = world.gets();
        let plan = BoundTotals::bind(&asked, &spread.schema).expect("legal");
        let scan::Answered { looked, .. } = totals::run(&spread, &Arc::new(plan))
            .await
            .expect("an answer");
        // Of each segment its footer and, small as it is, all that is read of its index at once.
        // The oldest has no texts, which its footer says.
        let searched = looked.segments_searched;
        assert!(searched >= 2, "{asked:?}");
        assert!(
            (2 * searched - 1..=2 * searched).contains(&cold),
            "{cold} {asked:?}"
        );
        assert_eq!(world.gets(), cold, "{asked:?}");
    }
}
