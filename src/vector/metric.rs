//! What the three metrics mean, stated once, in `f64`.
//!
//! | metric | distance | range |
//! |---|---|---|
//! | cosine | `1 - a.b / (\|a\| \|b\|)`; 1 where either vector is zero | 0 to 2 |
//! | euclidean squared | sum of `(a[i] - b[i])^2` | 0 and up |
//! | dot product | `-(a.b)` | any |
//!
//! Smaller is nearer in all three. Components are finite; a distance is never NaN and never `-0.0`. It is
//! infinite only where the true value does not fit an `f32`.

use crate::types::DistanceMetric;

/// Computes a distance by definition: slow, in `f64`, safe from overflow and underflow of the sums.
///
/// The fast path falls back to it for vectors too long or too short for sums in `f32`.
pub(super) fn by_definition(metric: DistanceMetric, query: &[f32], row: &[f32]) -> f32 {
    let distance = match metric {
        DistanceMetric::Cosine => {
            let norms_squared = dot(query, query) * dot(row, row);
            if norms_squared > 0.0 {
                (1.0 - dot(query, row) / norms_squared.sqrt()).clamp(0.0, 2.0)
            } else {
                1.0
            }
        }
        DistanceMetric::EuclideanSquared => pairs(query, row).map(|(a, b)| (a - b) * (a - b)).sum(),
        DistanceMetric::DotProduct => 0.0 - dot(query, row),
    };
    // Adding zero turns -0.0, to which a tiny value may round, into 0.0.
    distance as f32 + 0.0
}

/// Finishes a cosine distance from sums in `f32`; `None` where those sums cannot be trusted.
///
/// Equal vectors have distance 0 exactly: their three sums are the same number, and
/// `sqrt(x * x)` rounds back to `x` as long as the product neither overflows nor underflows.
#[inline]
pub(super) fn cosine(dot: f32, query_norm_squared: f32, row_norm_squared: f32) -> Option<f32> {
    let cosine = dot / (query_norm_squared * row_norm_squared).sqrt();
    let sums_hold = is_safe_norm(query_norm_squared) && is_safe_norm(row_norm_squared);
    sums_hold.then(|| (1.0 - cosine).clamp(0.0, 2.0))
}

/// Finishes a dot product distance; `None` where the sum overflowed, possibly to NaN.
#[inline]
pub(super) fn dot_product(dot: f32) -> Option<f32> {
    dot.is_finite().then_some(0.0 - dot)
}

/// Whether a squared norm is far from both ends of `f32`: then the product of two such norms is a normal
/// number, and components small enough to underflow when squared did not matter to the sum.
#[inline]
fn is_safe_norm(norm_squared: f32) -> bool {
    const NORM_SQUARED_MIN: f32 = 1.0 / NORM_SQUARED_MAX;
    const NORM_SQUARED_MAX: f32 = (1_u64 << 60) as f32;
    (NORM_SQUARED_MIN..=NORM_SQUARED_MAX).contains(&norm_squared)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    pairs(a, b).map(|(a, b)| a * b).sum()
}

fn pairs<'a>(a: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = (f64, f64)> + 'a {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)))
}
