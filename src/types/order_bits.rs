//! Numbers as unsigned 64-bit words that sort as the numbers do, and back.

/// The bits of a signed integer: the sign turned.
pub fn of_int(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// The signed integer of its bits.
pub fn to_int(bits: u64) -> i64 {
    (bits ^ (1 << 63)).cast_signed()
}

/// The bits of a float that is not NaN: positive ones get their sign turned, negative ones every bit. `-0.0` counts
/// as `0.0`.
pub fn of_float(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    let negative = bits >> 63 == 1;
    if negative { !bits } else { bits ^ (1 << 63) }
}

/// The float of its bits; NaN for bits that no float has.
pub fn to_float(bits: u64) -> f64 {
    let negative = bits >> 63 == 0;
    f64::from_bits(if negative { !bits } else { bits ^ (1 << 63) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_sort_as_the_numbers_do_and_come_back() {
        let ints = [i64::MIN, -2, -1, 0, 1, i64::MAX];
        let floats = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            f64::MAX,
            f64::INFINITY,
        ];
        assert!(ints.map(of_int).is_sorted_by(|a, b| a < b));
        assert!(floats.map(of_float).is_sorted_by(|a, b| a < b));
        assert_eq!(ints.map(|value| to_int(of_int(value))), ints);
        assert_eq!(floats.map(|value| to_float(of_float(value))), floats);
        assert_eq!(of_float(-0.0), of_float(0.0));
    }
}
