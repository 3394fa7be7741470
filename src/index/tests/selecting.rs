//! Filters to rows.

use super::*;

#[test]
fn selection_of_every_leaf_finds_what_rows_evaluated_one_by_one_do() {
    for (seed, kind) in (1..).zip(kinds()) {
        for (spread, n_rows) in SPREADS
            .into_iter()
            .flat_map(|spread| [1, 64, 1_025, 20_000].map(|n_rows| (spread, n_rows)))
        {
            let sample = Sample::new(kind, spread, n_rows, seed);
            prove(&sample.index, &sample.chunks, ATTR, &sample.pages()).unwrap();
            for leaf in sample.leaves(&mut Seeded(seed)) {
                let (found, _) = sample.select(&leaf, &sample.file).unwrap();
                let expected = filter::eval(&leaf, &sample.whole);
                assert!(found == expected, "{kind} {spread:?} {n_rows}: {leaf:?}");
            }
        }
    }
}

#[test]
fn selection_of_trees_finds_what_rows_evaluated_one_by_one_do() {
    for (seed, kind) in (100..).zip(kinds()) {
        let sample = Sample::new(kind, Spread::Few(40), 3_000, seed);
        let mut seeded = Seeded(seed);
        for _ in 0..40 {
            let mut leaves = sample.leaves(&mut seeded);
            let mut pick = || leaves.swap_remove(seeded.below(leaves.len() as u64) as usize);
            let not = |filter| BoundFilter::Not(Box::new(filter));
            let elsewhere = BoundFilter::Missing(AttrId(9));
            let tree = match pick() {
                a if a == pick() => a,
                a => BoundFilter::Or(vec![
                    BoundFilter::And(vec![a, not(pick()), elsewhere]),
                    not(BoundFilter::Or(vec![pick(), pick()])),
                    BoundFilter::And(vec![]),
                    BoundFilter::Constant(false),
                ]),
            };
            let tree = match tree {
                BoundFilter::Or(mut parts) => {
                    parts.swap_remove(2);
                    BoundFilter::Or(parts)
                }
                other => other,
            };
            let (found, _) = sample.select(&tree, &sample.file).unwrap();
            assert!(
                found == filter::eval(&tree, &sample.whole),
                "{kind}: {tree:?}"
            );
        }
    }
}

#[test]
fn filter_that_indexes_answer_in_part_is_divided() {
    let sample = Sample::new(
        AttributeType::Array(ScalarType::Int),
        Spread::Few(3),
        100,
        5,
    );
    let lookup = |attr| match attr {
        ATTR => Indexed::By(Arc::clone(&sample.index)),
        _ => Indexed::Not,
    };
    let here = BoundFilter::Missing(ATTR);
    let there = BoundFilter::Missing(AttrId(1));
    let both = BoundFilter::And(vec![here.clone(), there.clone()]);
    assert_eq!(
        split(&both, by_lookup(&lookup)),
        (Some(here.clone()), Some(there.clone()))
    );
    let any = BoundFilter::Or(vec![here.clone(), there.clone()]);
    assert_eq!(split(&any, by_lookup(&lookup)), (None, Some(any.clone())));
    let not = BoundFilter::Not(Box::new(here.clone()));
    assert_eq!(split(&not, by_lookup(&lookup)), (Some(not.clone()), None));
    // A list that is another has all of its elements, and perhaps more.
    let list = BoundFilter::Compare {
        target: Target::Attribute(ATTR),
        comparison: Comparison::Eq,
        operand: Value::Array([Value::Int(-3), Value::Int(-1)].into()),
    };
    let (by_index, by_rows) = split(&list, by_lookup(&lookup));
    assert_eq!(by_rows.as_ref(), Some(&list));
    let (found, _) = sample.select(&by_index.unwrap(), &sample.file).unwrap();
    let exact = filter::eval(&list, &sample.whole);
    assert!(exact.count() > 0 && exact.iter().all(|row| found.contains(row)));
    assert!(found.count() < 60);
}

#[test]
fn ids_and_operands_of_other_types_are_left_to_rows() {
    let sample = Sample::new(
        AttributeType::Scalar(ScalarType::Int),
        Spread::Few(3),
        100,
        5,
    );
    let lookup = |_| Indexed::By(Arc::clone(&sample.index));
    let compare = |target, operand| BoundFilter::Compare {
        target,
        comparison: Comparison::Eq,
        operand,
    };
    for filter in [
        compare(Target::Id, Value::Uint(1)),
        compare(Target::Attribute(ATTR), Value::Float(f64::NAN)),
        compare(Target::Attribute(ATTR), Value::Uint(1)),
        BoundFilter::AnyElement {
            attr: ATTR,
            comparison: Comparison::Eq,
            operand: Value::Int(1),
        },
    ] {
        let (by_index, by_rows) = split(&filter, by_lookup(&lookup));
        assert!(by_index.is_none() && by_rows.is_some(), "{filter:?}");
    }
}

#[test]
fn selection_takes_one_round_for_numbers_and_two_for_values() {
    let compare = |comparison, operand| BoundFilter::Compare {
        target: Target::Attribute(ATTR),
        comparison,
        operand,
    };
    let numbers = Sample::new(
        AttributeType::Scalar(ScalarType::Int),
        Spread::Few(90),
        50_000,
        1,
    );
    let texts = Sample::new(
        AttributeType::Scalar(ScalarType::String),
        Spread::Few(90),
        50_000,
        2,
    );
    let text = texts
        .values
        .iter()
        .find(|value| **value != Value::Null)
        .unwrap()
        .clone();
    let rising = Sample::new(
        AttributeType::Scalar(ScalarType::Uint),
        Spread::Rising,
        50_000,
        3,
    );
    for (sample, filter, expected) in [
        (&numbers, compare(Comparison::Lt, Value::Int(3)), 1),
        (&numbers, compare(Comparison::Lt, Value::Int(-9)), 1),
        (&numbers, compare(Comparison::Gt, Value::Int(1_000)), 0),
        (&numbers, BoundFilter::Missing(ATTR), 1),
        (&texts, compare(Comparison::Eq, text.clone()), 2),
        (&texts, compare(Comparison::Lt, text.clone()), 2),
        (&rising, compare(Comparison::Gt, Value::Uint(40_000)), 0),
        (
            &numbers,
            BoundFilter::And(vec![
                compare(Comparison::Lt, Value::Int(3)),
                compare(Comparison::Gt, Value::Int(1)),
                BoundFilter::Missing(ATTR),
            ]),
            1,
        ),
    ] {
        let (found, rounds) = sample.select(&filter, &sample.file).unwrap();
        // Fewer where neighbours came along.
        assert!(rounds <= expected, "{rounds} rounds: {filter:?}");
        assert!(found == filter::eval(&filter, &sample.whole));
    }
}

#[test]
fn range_over_an_ordered_column_reads_the_groups_at_its_ends_alone() {
    let kind = AttributeType::Scalar(ScalarType::Uint);
    let values = (0..200_000).map(Value::Uint).collect();
    let sample = Sample::of(kind, values);
    let range = BoundFilter::And(vec![
        BoundFilter::Compare {
            target: Target::Attribute(ATTR),
            comparison: Comparison::Gte,
            operand: Value::Uint(30_000),
        },
        BoundFilter::Compare {
            target: Target::Attribute(ATTR),
            comparison: Comparison::Lt,
            operand: Value::Uint(150_000),
        },
    ]);
    let lookup = |_| Indexed::By(Arc::clone(&sample.index));
    let stats = nothing_known();
    let mut selection = Selection::new(&range, 200_000, &stats, &lookup, &[]);
    let mut pages = Pages::new();
    assert!(selection.go_on(&mut pages).unwrap().is_none());
    let ranges = pages.end_round();
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    assert_eq!(ranges.len(), 2);
    assert!(bytes * 5 < sample.file.len() as u64, "{bytes}");
    let (found, rounds) = sample.select(&range, &sample.file).unwrap();
    assert_eq!((found.count(), rounds), (120_000, 1));
}

/// Guesses need not be right, but plans are as good as they are.
#[test]
fn estimate_of_ranges_and_single_values_is_near_what_they_match() {
    let compare = |comparison, operand| BoundFilter::Compare {
        target: Target::Attribute(ATTR),
        comparison,
        operand,
    };
    let scalar = AttributeType::Scalar;
    let ints = Sample::new(scalar(ScalarType::Int), Spread::Few(1_000), 20_000, 1);
    let floats = Sample::new(scalar(ScalarType::Float), Spread::Few(4_000), 20_000, 2);
    let rising = Sample::new(scalar(ScalarType::Uint), Spread::Rising, 50_000, 3);
    let texts = Sample::new(scalar(ScalarType::String), Spread::Few(50), 20_000, 4);
    let text = texts
        .values
        .iter()
        .find(|value| **value != Value::Null)
        .unwrap();
    let not = |filter| BoundFilter::Not(Box::new(filter));
    let ten = compare(Comparison::Lt, Value::Int(97));
    for (sample, filter) in [
        (&ints, ten.clone()),
        (&ints, not(ten.clone())),
        (&ints, compare(Comparison::Eq, Value::Int(500))),
        (&ints, BoundFilter::Missing(ATTR)),
        (&floats, compare(Comparison::Gt, Value::Float(300.0))),
        (&rising, compare(Comparison::Gte, Value::Uint(9_000))),
        (&texts, compare(Comparison::Eq, text.clone())),
        (
            &texts,
            BoundFilter::Or(vec![
                compare(Comparison::Eq, text.clone()),
                BoundFilter::Missing(ATTR),
            ]),
        ),
    ] {
        let lookup = |_| Indexed::By(Arc::clone(&sample.index));
        let guess = estimate(&filter, &nothing_known(), &lookup);
        let exact = filter::eval(&filter, &sample.whole).count() as f64;
        let exact = exact / sample.values.len() as f64;
        let off = (guess.share - exact).abs();
        // Half of the floats are 0, which a range cannot know.
        assert!(off < 0.15, "{filter:?}: {guess:?}, in truth {exact}");
        assert!(guess.bytes <= sample.file.len() as u64);
    }
}
