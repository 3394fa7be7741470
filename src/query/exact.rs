//! Sums of floats that do not depend on the order of their parts.

/// From here on numbers are kept apart, scaled down, so that nothing overflows on the way: 2^900.
const LARGE: f64 = f64::from_bits((900 + 1_023) << 52);
/// By how much: 2^-100, and back.
const DOWN: f64 = f64::from_bits((1_023 - 100) << 52);
const UP: f64 = f64::from_bits((1_023 + 100) << 52);
/// Less than the last bit of any number from 1 on, scaled down: 2^-160.
const TRACE: f64 = f64::from_bits((1_023 - 160) << 52);

/// An exact sum of finite floats, rounded once when it is asked for.
///
/// Segments and threads add in different orders; the same numbers must give the same sum. It keeps a few
/// floats that do not overlap (Shewchuk's expansion): rarely more than three.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExactSum {
    parts: Vec<f64>,
    large: Vec<f64>,
}

impl ExactSum {
    /// Adds a finite number.
    pub fn add(&mut self, value: f64) {
        if value.abs() < LARGE {
            add_to(&mut self.parts, value);
        } else {
            add_to(&mut self.large, value * DOWN);
        }
    }

    /// Adds everything another sum holds.
    pub fn merge(&mut self, other: &Self) {
        other
            .parts
            .iter()
            .for_each(|part| add_to(&mut self.parts, *part));
        other
            .large
            .iter()
            .for_each(|part| add_to(&mut self.large, *part));
    }

    /// The sum, to the nearest float; infinite where it is beyond the largest.
    pub fn value(&self) -> f64 {
        if self.large.iter().all(|part| *part == 0.0) {
            // A zero has no sign: not every reader of the numbers keeps that of its parts.
            return rounded(&self.parts) + 0.0;
        }
        // Numbers below 1 could lose bits on their way down.
        let (mut small, others): (Vec<f64>, Vec<f64>) =
            self.parts.iter().partition(|part| part.abs() < 1.0);
        let mut all = self.large.clone();
        others.iter().for_each(|part| add_to(&mut all, part * DOWN));
        if all.last().is_none_or(|top| top.abs() < LARGE * DOWN) {
            // Most of it has cancelled out: the rest needs no scale.
            all.iter().for_each(|part| add_to(&mut small, part * UP));
            return rounded(&small);
        }
        // So far down they only decide where the others are half way, and there by their sign alone.
        let below = rounded(&small);
        if below != 0.0 {
            add_to(&mut all, TRACE.copysign(below));
        }
        rounded(&all) * UP
    }
}

/// Adds a number to parts that ascend in magnitude and do not overlap; they stay so.
fn add_to(parts: &mut Vec<f64>, value: f64) {
    let mut high = value;
    let mut kept = 0;
    for at in 0..parts.len() {
        let mut low = parts[at];
        if high.abs() < low.abs() {
            (high, low) = (low, high);
        }
        let sum = high + low;
        let error = low - (sum - high);
        if error != 0.0 {
            parts[kept] = error;
            kept += 1;
        }
        high = sum;
    }
    parts.truncate(kept);
    parts.push(high);
}

fn rounded(parts: &[f64]) -> f64 {
    let Some((last, mut rest)) = parts.split_last() else {
        return 0.0;
    };
    let mut high = *last;
    let mut low = 0.0;
    while let Some((next, before)) = rest.split_last() {
        let sum = high + next;
        low = next - (sum - high);
        (high, rest) = (sum, before);
        if low != 0.0 {
            break;
        }
    }
    // Half way between two floats, what is further down decides.
    let below = rest.last().copied().unwrap_or(0.0);
    if (low < 0.0 && below < 0.0) || (low > 0.0 && below > 0.0) {
        let twice = low * 2.0;
        let sum = high + twice;
        if sum - high == twice {
            high = sum;
        }
    }
    high + 0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ExactSum;

    fn sum_of(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.value()
    }

    #[test]
    fn sum_of_numbers_far_apart_is_exact() {
        assert_eq!(sum_of(&[]).to_bits(), 0.0_f64.to_bits());
        assert_eq!(sum_of(&[-0.0]).to_bits(), 0.0_f64.to_bits());
        assert_eq!(sum_of(&[0.1; 10]), 1.0);
        assert_eq!(sum_of(&[1e16, 1.0, 1e-16, -1e16]), 1.0 + 1e-16);
        assert_eq!(sum_of(&[1e16, 1.0, 1e-16]), 10_000_000_000_000_002.0);
        assert_eq!(sum_of(&[f64::MAX, f64::MAX, -f64::MAX, 1.0]), f64::MAX);
        assert_eq!(
            sum_of(&[f64::MAX, f64::MIN_POSITIVE, -f64::MAX]),
            f64::MIN_POSITIVE
        );
        assert_eq!(sum_of(&[f64::MAX, f64::MAX]), f64::INFINITY);
    }

    #[test]
    fn sum_of_large_numbers_and_the_smallest_is_exact() {
        let two_to = |exponent: i32| 2.0_f64.powi(exponent);
        let (large, half, next) = (two_to(900), two_to(847), two_to(900) + two_to(848));
        for small in [1e-3, 1.0, 1e-300, 5e-324] {
            assert_eq!(sum_of(&[large, half, small]), next, "{small}");
            assert_eq!(sum_of(&[large, half, -small]), large, "{small}");
            assert_eq!(sum_of(&[-large, -half, -small]), -next, "{small}");
            assert_eq!(sum_of(&[large, -large / 2.0, -large / 2.0, small]), small);
        }
        assert_eq!(sum_of(&[large, half]), large, "half way, to the even one");
        assert_eq!(sum_of(&[large, half, 1.0, -0.9]), next);
        assert_eq!(sum_of(&[large, half, -1.0, 0.9]), large);
    }

    #[test]
    fn sums_merged_lose_nothing_however_far_below_it_lies() {
        let rests = [1e-17, -1e-17, 5e-324, -1e300];
        for (rest, above) in rests.into_iter().zip([1.0, 1e16, 1e280, f64::MAX]) {
            let mut merged = ExactSum::default();
            let mut other = ExactSum::default();
            [-above, -1e9].iter().for_each(|value| merged.add(*value));
            [above, rest, 1e9]
                .iter()
                .for_each(|value| other.add(*value));
            merged.merge(&other);
            assert_eq!(merged.value(), rest, "{above}");
        }
    }

    proptest! {
        #[test]
        fn sum_of_parts_in_any_order_is_the_same(
            values in proptest::collection::vec(
                prop_oneof![-1e3..1e3_f64, -1e300..1e300_f64, Just(1e-300), Just(f64::MAX), Just(-f64::MAX)],
                0..60,
            ),
            cut in 0_usize..60,
        ) {
            let whole = sum_of(&values);
            let mut backwards = values.clone();
            backwards.reverse();
            prop_assert_eq!(sum_of(&backwards), whole);
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = ExactSum::default();
            right.iter().for_each(|value| merged.add(*value));
            let mut other = ExactSum::default();
            left.iter().for_each(|value| other.add(*value));
            merged.merge(&other);
            prop_assert_eq!(merged.value(), whole);
        }

        #[test]
        fn sum_of_small_integers_is_that_of_integers(values in proptest::collection::vec(-1_000_000_i64..1_000_000, 0..100)) {
            let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            prop_assert_eq!(sum_of(&floats), values.iter().sum::<i64>() as f64);
        }
    }
}
