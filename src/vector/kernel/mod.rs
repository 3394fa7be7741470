//! The inner loops, one set per instruction set, chosen once when first used.
//!
//! Owns: sums over rows of `f32` and the choice of instructions. Must not know: metrics, top-k, threads.
//! Read first: `scalar.rs`, the specification, which every other set follows to the last bit;
//! `row_kernels.rs`, the loops those others share.
//!
//! Each kernel takes a whole batch of rows, so that dispatch costs once per batch, and sums each row in
//! an order fixed by `dims` alone: a row's sum is bitwise the same in a batch of one or of thousands,
//! wherever the row lies and whichever processor adds it up.
//! The only unsafe code of the crate's computing lies below this module.
#![allow(unsafe_code)]

use std::sync::OnceLock;

#[cfg(all(any(target_arch = "aarch64", target_arch = "x86_64"), not(miri)))]
mod row_kernels;
mod scalar;
#[cfg(test)]
pub(in crate::vector) mod tests;

// Miri interprets no vendor intrinsics worth trusting; under it the specification runs.
#[cfg(all(target_arch = "aarch64", not(miri)))]
mod aarch64;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64;

/// Independent partial sums per row.
const LANES: usize = 16;

/// Sums of one kind, one per row: query `[dims]`, rows `[n, dims]`, sums `[n]`.
type SumKernel = unsafe fn(&[f32], &[f32], &mut [f32]);
/// Dot products and squared norms in one pass: query `[dims]`, rows `[n, dims]`, dots `[n]`, norms `[n]`.
type DotAndNormKernel = unsafe fn(&[f32], &[f32], &mut [f32], &mut [f32]);

/// The kernels of one instruction set; a reference to it proves that this processor has that set.
///
/// The proof holds because fields and sets are private and [`available`] filters by `is_supported`.
#[derive(Debug)]
pub struct Kernels {
    name: &'static str,
    is_supported: fn() -> bool,
    dot: SumKernel,
    l2_squared: SumKernel,
    dot_and_norm: DotAndNormKernel,
}

/// Every set compiled in, fastest first; the last one runs everywhere.
static COMPILED: &[&Kernels] = &[
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    &x86_64::AVX512,
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    &x86_64::AVX2,
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    &aarch64::NEON,
    &scalar::SCALAR,
];

/// Lists the sets this processor can run, fastest first.
pub fn available() -> impl Iterator<Item = &'static Kernels> {
    COMPILED
        .iter()
        .copied()
        .filter(|kernels| (kernels.is_supported)())
}

/// Returns the fastest set this processor can run; the choice is made once.
pub fn active() -> &'static Kernels {
    static ACTIVE: OnceLock<&'static Kernels> = OnceLock::new();
    ACTIVE.get_or_init(|| available().next().unwrap_or(&scalar::SCALAR))
}

/// Names the set in use, for logs: `avx512`, `avx2`, `neon` or `scalar`.
pub fn selected() -> &'static str {
    active().name
}

impl Kernels {
    /// The set's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Computes `query . row` for each row.
    ///
    /// # Panics
    /// Where `rows.len() != out.len() * query.len()`.
    pub fn dot(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        assert_shape(query, rows, out);
        // SAFETY: the shapes were just checked, and a reachable set is supported by this processor.
        unsafe { (self.dot)(query, rows, out) }
    }

    /// Computes the sum of `(query[i] - row[i])^2` for each row.
    ///
    /// # Panics
    /// Where `rows.len() != out.len() * query.len()`.
    pub fn l2_squared(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        assert_shape(query, rows, out);
        // SAFETY: the shapes were just checked, and a reachable set is supported by this processor.
        unsafe { (self.l2_squared)(query, rows, out) }
    }

    /// Computes `query . row` and `row . row` for each row, reading the row once.
    ///
    /// # Panics
    /// Where `rows.len() != dots.len() * query.len()`, or `dots` and `norms` differ in length.
    pub fn dot_and_norm(&self, query: &[f32], rows: &[f32], dots: &mut [f32], norms: &mut [f32]) {
        assert_shape(query, rows, dots);
        assert_shape(query, rows, norms);
        assert_eq!(dots.len(), norms.len(), "as many norms as dot products");
        // SAFETY: the shapes were just checked, and a reachable set is supported by this processor.
        unsafe { (self.dot_and_norm)(query, rows, dots, norms) }
    }
}

/// Checks that rows are `[out.len(), query.len()]`.
///
/// # Panics
/// Where they are not: a caller's mistake, and reading on would leave the slice.
#[track_caller]
pub(super) fn assert_shape(query: &[f32], rows: &[f32], out: &[f32]) {
    assert_eq!(
        Some(rows.len()),
        out.len().checked_mul(query.len()),
        "rows must hold {} rows of {} components",
        out.len(),
        query.len()
    );
}
