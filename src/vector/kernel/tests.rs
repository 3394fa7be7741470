use super::{Kernels, LANES, active, available, selected};

/// Every tail length twice over, then the sizes models have, and their neighbours.
pub(in crate::vector) fn dims_tested() -> impl Iterator<Item = usize> {
    (1..=67).chain([96, 100, 127, 128, 129, 384, 768, 1536])
}

/// A reproducible stream of numbers (splitmix64).
pub(in crate::vector) struct Numbers(pub(in crate::vector) u64);

impl Numbers {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// `n` numbers evenly spread over -1 to 1.
    pub(in crate::vector) fn take(&mut self, n: usize) -> Vec<f32> {
        let scale = 1.0 / (1_u64 << 23) as f32;
        (0..n)
            .map(|_| (self.next_u64() >> 40) as f32 * scale - 1.0)
            .collect()
    }
}

/// The sums of one row: dot product, squared difference, squared norm; each with the sum of the
/// magnitudes of its terms, which rounding errors are relative to.
struct Exact {
    dot: (f64, f64),
    l2_squared: (f64, f64),
    norm: (f64, f64),
}

fn exact(query: &[f32], row: &[f32]) -> Exact {
    let sum = |term: fn(f64, f64) -> f64| {
        let terms = query
            .iter()
            .zip(row)
            .map(|(q, x)| term(f64::from(*q), f64::from(*x)));
        terms.fold((0.0, 0.0), |(sum, size), term| {
            (sum + term, size + term.abs())
        })
    };
    Exact {
        dot: sum(|q, x| q * x),
        l2_squared: sum(|q, x| (q - x) * (q - x)),
        norm: sum(|_, x| x * x),
    }
}

/// At most `dims / LANES + 8` roundings lie on any term's way into the sum; each is off by 2^-24 of what is there, and each product below the normal numbers by 2^-149.
#[track_caller]
fn assert_close(found: f32, (sum, size): (f64, f64), dims: usize, what: &str) {
    let roundings = (dims / LANES + 8) as f64;
    let bound = size * roundings * 2_f64.powi(-24) + 2.0 * dims as f64 * 2_f64.powi(-149);
    let error = (f64::from(found) - sum).abs();
    assert!(
        error <= bound,
        "{what} dims={dims}: found {found}, expected {sum} within {bound}"
    );
}

fn assert_kernels_close(kernels: &Kernels, query: &[f32], rows: &[f32], n_rows: usize) {
    let dims = query.len();
    let [mut dots, mut l2s, mut dots_again, mut norms] = [(); 4].map(|()| vec![f32::NAN; n_rows]);
    kernels.dot(query, rows, &mut dots);
    kernels.l2_squared(query, rows, &mut l2s);
    kernels.dot_and_norm(query, rows, &mut dots_again, &mut norms);
    for row_idx in 0..n_rows {
        let exact = exact(query, &rows[row_idx * dims..(row_idx + 1) * dims]);
        assert_close(dots[row_idx], exact.dot, dims, kernels.name());
        assert_close(l2s[row_idx], exact.l2_squared, dims, kernels.name());
        assert_close(norms[row_idx], exact.norm, dims, kernels.name());
        assert_eq!(
            dots[row_idx].to_bits(),
            dots_again[row_idx].to_bits(),
            "{}",
            kernels.name()
        );
    }
}

#[test]
fn kernels_ordinary_numbers_match_exact_sums() {
    for kernels in available() {
        for dims in dims_tested() {
            let mut numbers = Numbers(dims as u64);
            let query = numbers.take(dims);
            for n_rows in [1, 3, 4, 5, 11] {
                let rows = numbers.take(n_rows * dims);
                assert_kernels_close(kernels, &query, &rows, n_rows);
            }
        }
    }
}

#[test]
fn kernels_unaligned_starts_match_exact_sums() {
    for kernels in available() {
        for dims in [1, 7, 16, 31, 128] {
            for shift in 0..16 {
                let mut numbers = Numbers(shift as u64);
                let query = numbers.take(dims + shift);
                let rows = numbers.take(5 * dims + shift);
                assert_kernels_close(kernels, &query[shift..], &rows[shift..], 5);
            }
        }
    }
}

#[test]
fn kernels_extreme_numbers_match_exact_sums() {
    for kernels in available() {
        for dims in [1, 8, 15, 17, 100] {
            for scale in [1e18, 1e-18, 1e-22, f32::MIN_POSITIVE, 1e-44, 0.0, -0.0] {
                let mut numbers = Numbers(dims as u64);
                let scaled = |numbers: Vec<f32>| -> Vec<f32> {
                    numbers.into_iter().map(|number| number * scale).collect()
                };
                let query = scaled(numbers.take(dims));
                let rows = scaled(numbers.take(6 * dims));
                assert_kernels_close(kernels, &query, &rows, 6);
            }
        }
    }
}

/// Nodes of unlike processors must give one answer.
#[test]
fn kernels_of_every_set_equal_scalar_bitwise() {
    const ROWS: usize = 3;
    let scalar = available().last().expect("the scalar set runs everywhere");
    for dims in dims_tested() {
        for scale in [1.0, 1e18, 1e-22] {
            let scaled = |numbers: Vec<f32>| -> Vec<f32> {
                numbers.into_iter().map(|number| number * scale).collect()
            };
            let mut numbers = Numbers(dims as u64);
            let (query, rows) = (
                scaled(numbers.take(dims)),
                scaled(numbers.take(ROWS * dims)),
            );
            let sums = |kernels: &Kernels| {
                let [mut dots, mut l2s, mut norms] = [[f32::NAN; ROWS]; 3];
                kernels.l2_squared(&query, &rows, &mut l2s);
                kernels.dot_and_norm(&query, &rows, &mut dots, &mut norms);
                [dots, l2s, norms].map(|sums| sums.map(f32::to_bits))
            };
            for kernels in available() {
                assert_eq!(
                    sums(kernels),
                    sums(scalar),
                    "{} dims={dims}",
                    kernels.name()
                );
            }
        }
    }
}

#[test]
fn kernels_no_rows_write_nothing() {
    for kernels in available() {
        kernels.dot(&[1.0; 20], &[], &mut []);
        kernels.l2_squared(&[1.0; 20], &[], &mut []);
        kernels.dot_and_norm(&[1.0; 20], &[], &mut [], &mut []);
    }
}

#[test]
fn kernels_no_dims_sum_to_zero() {
    for kernels in available() {
        let [mut dots, mut norms] = [[f32::NAN; 5]; 2];
        kernels.dot_and_norm(&[], &[], &mut dots, &mut norms);
        assert_eq!((dots, norms), ([0.0; 5], [0.0; 5]));
    }
}

#[test]
#[should_panic(expected = "rows must hold 2 rows of 3 components")]
fn kernels_rows_of_another_shape_panic() {
    active().dot(&[0.0; 3], &[0.0; 5], &mut [0.0; 2]);
}

#[test]
fn selected_is_first_available_and_scalar_is_last() {
    assert_eq!(available().next().map(Kernels::name), Some(selected()));
    assert_eq!(available().last().map(Kernels::name), Some("scalar"));
}
