//! The loops over rows, written once for every instruction set.

/// Components ahead of the one being read that are asked for: 8 KiB, where hardware alone stops short.
/// Measured on rows of 32 to 768 components from memory: a third to twice as fast as without, and faster
/// than walking several rows side by side.
pub(super) const PREFETCH_AHEAD: usize = 2_048;

/// Defines `dot`, `l2_squared` and `dot_and_norm` for the instruction set of `$features`.
///
/// The module it is used in has, all with those target features: a type `Lanes` of `LANES` lanes,
/// `zeros()`, `load(&[f32; LANES])`, `load_tail(&[f32])` of a shorter slice with zeros after it,
/// `subtract(a, b)`, `multiply_add(a, b, sum)` with one rounding, `add_lanes(Lanes)` in the order of the
/// specification, and `prefetch(*const f32)`, which accepts any address.
macro_rules! row_kernels {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(super) fn dot(query: &[f32], rows: &[f32], out: &mut [f32]) {
            let dims = query.len();
            for (row_idx, slot) in out.iter_mut().enumerate() {
                *slot = row_sum::<false>(query, &rows[row_idx * dims..(row_idx + 1) * dims]);
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn l2_squared(query: &[f32], rows: &[f32], out: &mut [f32]) {
            let dims = query.len();
            for (row_idx, slot) in out.iter_mut().enumerate() {
                *slot = row_sum::<true>(query, &rows[row_idx * dims..(row_idx + 1) * dims]);
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn dot_and_norm(
            query: &[f32],
            rows: &[f32],
            dots: &mut [f32],
            norms: &mut [f32],
        ) {
            let dims = query.len();
            for (row_idx, (dot, norm)) in dots.iter_mut().zip(norms).enumerate() {
                let row = &rows[row_idx * dims..(row_idx + 1) * dims];
                (*dot, *norm) = row_dot_and_norm(query, row);
            }
        }

        /// Sums products, or squared differences where `IS_L2`.
        #[inline]
        #[target_feature(enable = $features)]
        fn row_sum<const IS_L2: bool>(query: &[f32], row: &[f32]) -> f32 {
            let (query_blocks, query_tail) = query.as_chunks::<LANES>();
            let (row_blocks, row_tail) = row.as_chunks::<LANES>();
            let mut sum = zeros();
            for (query, row) in query_blocks.iter().zip(row_blocks) {
                prefetch(row.as_ptr().wrapping_add(PREFETCH_AHEAD));
                sum = add_term::<IS_L2>(load(query), load(row), sum);
            }
            if !row_tail.is_empty() {
                sum = add_term::<IS_L2>(load_tail(query_tail), load_tail(row_tail), sum);
            }
            add_lanes(sum)
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn row_dot_and_norm(query: &[f32], row: &[f32]) -> (f32, f32) {
            let (query_blocks, query_tail) = query.as_chunks::<LANES>();
            let (row_blocks, row_tail) = row.as_chunks::<LANES>();
            let (mut dot, mut norm) = (zeros(), zeros());
            for (query, row) in query_blocks.iter().zip(row_blocks) {
                prefetch(row.as_ptr().wrapping_add(PREFETCH_AHEAD));
                let x = load(row);
                dot = multiply_add(load(query), x, dot);
                norm = multiply_add(x, x, norm);
            }
            if !row_tail.is_empty() {
                let x = load_tail(row_tail);
                dot = multiply_add(load_tail(query_tail), x, dot);
                norm = multiply_add(x, x, norm);
            }
            (add_lanes(dot), add_lanes(norm))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn add_term<const IS_L2: bool>(query: Lanes, row: Lanes, sum: Lanes) -> Lanes {
            if IS_L2 {
                let difference = subtract(query, row);
                multiply_add(difference, difference, sum)
            } else {
                multiply_add(query, row, sum)
            }
        }
    };
}

pub(super) use row_kernels;
