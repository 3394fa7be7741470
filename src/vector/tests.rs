use super::PreparedQuery;
use super::kernel::{self, tests::Numbers, tests::dims_tested};
use super::metric::by_definition;
use crate::types::DistanceMetric::{self, Cosine, DotProduct, EuclideanSquared};

/// A query per kernel set of this machine.
fn queries(metric: DistanceMetric, query: &[f32]) -> impl Iterator<Item = PreparedQuery> {
    kernel::available().map(move |kernels| PreparedQuery::with_kernels(kernels, metric, query))
}

#[test]
fn distance_of_known_vectors_is_as_defined() {
    let cases: [(DistanceMetric, [f32; 2], [f32; 2], f32); 9] = [
        (Cosine, [1.0, 0.0], [3.0, 0.0], 0.0),
        (Cosine, [1.0, 0.0], [0.0, 2.0], 1.0),
        (Cosine, [1.0, 0.0], [-2.0, 0.0], 2.0),
        (Cosine, [0.0, 0.0], [1.0, 2.0], 1.0),
        (Cosine, [1.0, 2.0], [0.0, 0.0], 1.0),
        (EuclideanSquared, [1.0, 2.0], [4.0, 6.0], 25.0),
        (EuclideanSquared, [1.0, 2.0], [1.0, 2.0], 0.0),
        (DotProduct, [1.0, 2.0], [3.0, 4.0], -11.0),
        (DotProduct, [1.0, 2.0], [-3.0, -4.0], 11.0),
    ];
    for (metric, query, row, expected) in cases {
        for prepared in queries(metric, &query) {
            assert_eq!(
                prepared.distance(&row),
                expected,
                "{metric:?} {query:?} {row:?}"
            );
        }
    }
}

#[test]
fn distances_of_many_rows_match_definition() {
    for metric in DistanceMetric::ALL {
        for dims in dims_tested() {
            let mut numbers = Numbers(dims as u64);
            let (query, rows) = (numbers.take(dims), numbers.take(7 * dims));
            // Terms are below 4 in size, and so is each rounded sum of cosine after division.
            let terms = if metric == Cosine {
                4.0
            } else {
                4.0 * dims as f32
            };
            let bound = terms * (dims / 16 + 8) as f32 * 2_f32.powi(-24);
            for prepared in queries(metric, &query) {
                let mut out = [f32::NAN; 7];
                prepared.distances(&rows, &mut out);
                for (row, found) in rows.chunks_exact(dims).zip(out) {
                    let expected = by_definition(metric, &query, row);
                    assert!(
                        (found - expected).abs() <= bound,
                        "{metric:?} {dims}: {found} {expected}"
                    );
                }
            }
        }
    }
}

/// Answers must not change when data moves: between chunks, files or addresses.
#[test]
fn distances_however_batched_or_aligned_are_bitwise_equal() {
    const ROWS: usize = 300;
    for metric in DistanceMetric::ALL {
        for dims in [1, 5, 8, 16, 21, 100, 128, 129] {
            let mut numbers = Numbers(dims as u64);
            let query = numbers.take(dims);
            let mut rows = numbers.take(ROWS * dims);
            rows[dims..2 * dims].fill(0.0);
            for prepared in queries(metric, &query) {
                let mut whole = vec![f32::NAN; ROWS];
                prepared.distances(&rows, &mut whole);
                for batch in [1, 2, 3, 4, 7, 256] {
                    let mut moved = vec![0.0; batch % 5];
                    moved.extend_from_slice(&rows);
                    let moved = &moved[batch % 5..];
                    let mut parts = vec![f32::NAN; ROWS];
                    for (rows, out) in moved.chunks(batch * dims).zip(parts.chunks_mut(batch)) {
                        prepared.distances(rows, out);
                    }
                    let bits =
                        |out: &[f32]| -> Vec<u32> { out.iter().map(|d| d.to_bits()).collect() };
                    assert_eq!(
                        bits(&parts),
                        bits(&whole),
                        "{metric:?} dims={dims} batch={batch}"
                    );
                }
            }
        }
    }
}

#[test]
fn cosine_of_equal_vectors_of_any_length_is_zero() {
    for dims in dims_tested() {
        for scale in [1e30, 1e9, 1.0, 1e-9, 1e-30, 1e-40] {
            let vector: Vec<f32> = Numbers(1).take(dims).iter().map(|x| x * scale).collect();
            for prepared in queries(Cosine, &vector) {
                assert_eq!(
                    prepared.distance(&vector).to_bits(),
                    0,
                    "dims={dims} scale={scale}"
                );
            }
        }
    }
}

#[test]
fn cosine_of_scaled_vectors_does_not_depend_on_scale() {
    let mut numbers = Numbers(2);
    let (query, row) = (numbers.take(1536), numbers.take(1536));
    let expected = by_definition(Cosine, &query, &row);
    for query_scale in [1e30_f32, 1.0, 1e-30] {
        for row_scale in [1e30_f32, 1e18, 1e-18, 1e-30] {
            let query: Vec<f32> = query.iter().map(|x| x * query_scale).collect();
            let row: Vec<f32> = row.iter().map(|x| x * row_scale).collect();
            for prepared in queries(Cosine, &query) {
                assert!((prepared.distance(&row) - expected).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn distances_of_overflowing_sums_are_not_nan() {
    let query: Vec<f32> = (0..1536)
        .map(|i| if i % 2 == 0 { 1e30 } else { -1e30 })
        .collect();
    let row = [1e30_f32; 1536];
    let expected = [
        (Cosine, 1.0),
        (EuclideanSquared, f32::INFINITY),
        (DotProduct, 0.0),
    ];
    for (metric, expected) in expected {
        for prepared in queries(metric, &query) {
            assert_eq!(prepared.distance(&row), expected, "{metric:?}");
        }
    }
}

#[test]
fn dot_product_of_nothing_in_common_is_positive_zero() {
    for prepared in queries(DotProduct, &[1.0, 0.0]) {
        assert_eq!(prepared.distance(&[0.0, 1.0]).to_bits(), 0);
    }
}

#[test]
#[should_panic(expected = "rows must hold 1 rows of 3 components")]
fn distances_of_rows_of_another_shape_panic() {
    PreparedQuery::new(Cosine, &[0.0; 3]).distance(&[0.0; 4]);
}
