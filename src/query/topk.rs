//! The `k` nearest of many, in memory bounded by `k`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Room reserved up front; a larger `k` grows only as rows arrive.
const RESERVED_MAX: usize = 1_024;

/// Keeps the `k` smallest distances pushed; equal distances keep the smaller tie.
///
/// What is kept, and its order, depend on the set of pairs alone and not on the order they came in, as
/// long as ties are distinct. `-0.0` counts as `0.0`. Distances are never NaN (kernels give none).
/// Memory is `O(k)`, a push is `O(log k)` at worst and one comparison for most rows of a long scan.
#[derive(Debug, Clone)]
pub struct TopK<T> {
    k: usize,
    /// The farthest of those kept is on top.
    heap: BinaryHeap<Candidate<T>>,
}

impl<T: Ord> TopK<T> {
    /// Makes an empty collection that keeps at most `k`; with `k = 0` it keeps none.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            heap: BinaryHeap::with_capacity(k.min(RESERVED_MAX)),
        }
    }

    /// Offers a pair; returns whether it is among the `k` nearest so far.
    pub fn push(&mut self, distance: f32, tie: T) -> bool {
        let candidate = Candidate {
            distance: positive_zero(distance),
            tie,
        };
        if self.heap.len() < self.k {
            self.heap.push(candidate);
            return true;
        }
        match self.heap.peek_mut() {
            Some(mut farthest) if candidate < *farthest => {
                *farthest = candidate;
                true
            }
            _ => false,
        }
    }

    /// Returns the distance beyond which nothing can enter any more; `None` while there is room.
    ///
    /// A pair at exactly this distance may still enter by its tie. With `k = 0` it is negative infinity.
    pub fn threshold(&self) -> Option<f32> {
        if self.heap.len() < self.k {
            return None;
        }
        Some(
            self.heap
                .peek()
                .map_or(f32::NEG_INFINITY, |farthest| farthest.distance),
        )
    }

    /// Number of pairs kept.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Takes everything another collection kept: the result is as if its pairs had been pushed here.
    pub fn merge(&mut self, other: Self) {
        for candidate in other.heap {
            self.push(candidate.distance, candidate.tie);
        }
    }

    /// Returns what was kept, nearest first, equal distances by ascending tie.
    pub fn into_sorted(self) -> Vec<(f32, T)> {
        let sorted = self.heap.into_sorted_vec();
        sorted
            .into_iter()
            .map(|candidate| (candidate.distance, candidate.tie))
            .collect()
    }
}

#[derive(Debug, Clone)]
struct Candidate<T> {
    distance: f32,
    tie: T,
}

/// Turns `-0.0` into `0.0` and leaves every other number alone.
fn positive_zero(distance: f32) -> f32 {
    distance + 0.0
}

impl<T: Ord> Ord for Candidate<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance
            .total_cmp(&other.distance)
            .then_with(|| self.tie.cmp(&other.tie))
    }
}

impl<T: Ord> PartialOrd for Candidate<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Candidate<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: Ord> Eq for Candidate<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TopK;

    fn topk_of(k: usize, pairs: &[(f32, u64)]) -> TopK<u64> {
        let mut topk = TopK::new(k);
        for (distance, tie) in pairs {
            topk.push(*distance, *tie);
        }
        topk
    }

    #[test]
    fn topk_of_zero_keeps_nothing() {
        let mut topk = TopK::new(0);
        assert!(!topk.push(f32::NEG_INFINITY, 1_u64));
        assert_eq!(topk.threshold(), Some(f32::NEG_INFINITY));
        assert!(topk.into_sorted().is_empty());
    }

    #[test]
    fn threshold_before_and_after_full_is_none_then_farthest() {
        let mut topk = TopK::new(2);
        assert!(topk.push(3.0, 1_u64));
        assert_eq!(topk.threshold(), None);
        assert!(topk.push(f32::INFINITY, 2));
        assert_eq!(topk.threshold(), Some(f32::INFINITY));
        assert!(topk.push(1.0, 3));
        assert_eq!(topk.threshold(), Some(3.0));
        assert!(!topk.push(3.0, 4));
        assert!(topk.push(3.0, 0));
    }

    #[test]
    fn equal_distances_either_zero_sort_by_tie() {
        let topk = topk_of(3, &[(0.0, 4), (-0.0, 3), (0.0, 2), (-0.0, 1)]);
        let sorted = topk.into_sorted();
        assert_eq!(sorted, [(0.0, 1), (0.0, 2), (0.0, 3)]);
        assert!(
            sorted
                .iter()
                .all(|(distance, _)| distance.is_sign_positive())
        );
    }

    proptest! {
        #[test]
        fn topk_of_any_pairs_equals_sorted_prefix(
            // Few distinct distances, so that ties decide often.
            distances in proptest::collection::vec(
                prop_oneof![(-4_i8..4).prop_map(f32::from), Just(-0.0), Just(f32::INFINITY)],
                0..200,
            ),
            k in 0_usize..40,
            cut in 0_usize..200,
        ) {
            let ties = (0..).map(|ordinal: u64| ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let pairs: Vec<(f32, u64)> = distances.into_iter().zip(ties).collect();
            let mut expected: Vec<_> = pairs.iter().map(|(d, tie)| (*d + 0.0, *tie)).collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            expected.truncate(k);
            prop_assert_eq!(&topk_of(k, &pairs).into_sorted(), &expected);

            let (left, right) = pairs.split_at(cut.min(pairs.len()));
            let mut merged = topk_of(k, left);
            merged.merge(topk_of(k, right));
            prop_assert_eq!(&merged.into_sorted(), &expected);
        }
    }
}
