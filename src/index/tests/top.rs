//! Orders, and places to their values.

use super::*;

#[test]
fn first_rows_by_columns_are_those_of_a_sort() {
    for (seed, kind) in (200..).zip(ScalarType::ALL) {
        let kind = AttributeType::Scalar(kind);
        for (spread, n_rows) in SPREADS
            .into_iter()
            .zip([900, 1_024, 40_000, 20_000, 17_000, 5])
        {
            let sample = Sample::new(kind, spread, n_rows, seed);
            let mut seeded = Seeded(seed);
            for (k, one_in) in [(1, 1), (10, 1), (100, 3), (n_rows, 2), (7, 500), (0, 1)] {
                let rows = RowMask::from_fn(n_rows, |_| seeded.below(one_in) == 0);
                for descending in [false, true] {
                    let index = Arc::clone(&sample.index);
                    let keys = vec![TopKey::Column { index, descending }];
                    let top = Top::new(keys, Arc::new(rows.clone()), k).unwrap();
                    let mut expected: Vec<usize> = rows.iter().collect();
                    expected.sort_by(|a, b| {
                        let order = sample.values[*a].total_cmp(&sample.values[*b]);
                        if descending { order.reverse() } else { order }
                    });
                    expected.truncate(k);
                    let (found, _) = run(top, &sample.file);
                    let found: Vec<usize> = found.into_iter().map(|row| row as usize).collect();
                    assert!(found == expected, "{kind} {spread:?} {k} of 1 in {one_in}");
                }
            }
        }
    }
}

#[test]
fn first_rows_by_several_keys_are_those_of_a_sort() {
    let kind = AttributeType::Scalar(ScalarType::Int);
    // Two columns in one file: the second is the first turned around.
    let first = Sample::new(kind, Spread::Few(3), 30_000, 1);
    let turned = first.values.iter().rev().cloned().collect();
    let second = Sample::of_at(kind, turned, first.file.to_vec());
    let file = second.file.clone();
    let (a, b) = (&first.values, &second.values);
    for (descending, by_row) in [
        ([false, true], false),
        ([true, false], true),
        ([true, true], false),
    ] {
        let column = |sample: &Sample, descending| TopKey::Column {
            index: Arc::clone(&sample.index),
            descending,
        };
        let mut keys = vec![
            column(&first, descending[0]),
            column(&second, descending[1]),
        ];
        if by_row {
            keys.push(TopKey::Row { descending: true });
        }
        let all = Arc::new(RowMask::all(30_000));
        let top = Top::new(keys, all, 500).unwrap();
        let mut expected: Vec<u32> = (0..30_000).collect();
        expected.sort_by(|x, y| {
            let (x, y) = (*x as usize, *y as usize);
            let turned =
                |order: std::cmp::Ordering, turn| if turn { order.reverse() } else { order };
            turned(a[x].total_cmp(&a[y]), descending[0])
                .then(turned(b[x].total_cmp(&b[y]), descending[1]))
                .then(turned(x.cmp(&y), by_row))
        });
        expected.truncate(500);
        assert!(run(top, &file).0 == expected, "{descending:?} {by_row}");
    }
}

#[test]
fn first_rows_of_an_ordered_column_take_one_group() {
    let values = (0..300_000).map(|row| Value::Uint(row / 2)).collect();
    let sample = Sample::of(AttributeType::Scalar(ScalarType::Uint), values);
    let keys = vec![TopKey::Column {
        index: Arc::clone(&sample.index),
        descending: true,
    }];
    let mut top = Top::new(keys, Arc::new(RowMask::all(300_000)), 3).unwrap();
    let mut pages = Pages::whole(&sample.file);
    assert_eq!(
        top.go_on(&mut pages).unwrap(),
        Some(vec![299_998, 299_999, 299_996])
    );
}

#[test]
fn names_of_places_are_their_values() {
    let kind = AttributeType::Scalar(ScalarType::String);
    let sample = Sample::new(kind, Spread::Wild, 20_000, 11);
    let mut values: Vec<Value> = sample
        .values
        .iter()
        .filter(|value| **value != Value::Null)
        .cloned()
        .collect();
    values.sort_by(Value::total_cmp);
    values.dedup();
    let dictionary = sample.index.dictionary().unwrap();
    assert_eq!(dictionary.n_values() as usize, values.len());
    let places: Vec<u32> = (0..values.len() as u32).filter(|at| at % 3 != 1).collect();
    let expected: Vec<Value> = places
        .iter()
        .map(|at| values[*at as usize].clone())
        .collect();
    let (found, rounds) = run(Names::new(Arc::clone(&sample.index), places), &sample.file);
    assert!(found == expected);
    assert_eq!(rounds, 1);
    let beyond = vec![values.len() as u32];
    let mut names = Names::new(Arc::clone(&sample.index), beyond);
    assert!(names.go_on(&mut sample.pages()).is_err());
}
