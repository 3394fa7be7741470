//! Random schemas and rows.

use proptest::prelude::*;

use super::*;

fn any_type() -> impl Strategy<Value = AttributeType> {
    let types = all_types();
    prop_oneof![
        4 => (0..types.len()).prop_map(move |at| types[at]),
        1 => (1_u32..40, 0_usize..3).prop_map(|(dims, element)| AttributeType::Vector {
            dims,
            element: VectorElement::ALL[element],
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn seal_of_random_schemas_and_rows_reads_back(
        kind in 0_usize..3,
        types in prop::collection::vec(any_type(), 0..12),
        n_rows in 1_u64..2_500,
        seed in any::<u64>(),
    ) {
        // At most eight vector attributes are legal.
        let mut vectors = 0;
        let types: Vec<_> = types.into_iter().filter(|kind| {
            vectors += usize::from(kind.is_vector());
            !kind.is_vector() || vectors <= 8
        }).collect();
        let sample = sample(kinds()[kind], &types, n_rows, seed);
        let all = attrs(&sample.schema);
        prop_assert_eq!(&joined(&read(&sample, &all, true, None)), &sample.rows);
        let mut seed = Seed(seed);
        let rows: Vec<u32> = (0..n_rows as u32).filter(|_| seed.below(9) == 0).collect();
        let found = read(&sample, &all, true, Some(&rows));
        if !rows.is_empty() {
            prop_assert_eq!(&joined(&found), &rows::take_rows(&sample.rows, &rows).unwrap());
        }
    }
}
