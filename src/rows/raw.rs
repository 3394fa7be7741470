//! What arrived, turned into the type it is declared to have: the one place that decides what fits.

use std::sync::Arc;

use base64::engine::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use uuid::Uuid;

use super::vectors::holds;
use crate::error::{Error, Result};
use crate::types::document::RawValue;
use crate::types::{DocId, IdKind, ScalarType, Timestamp, Value, VectorElement, limits};

/// A value that does not fit: what was expected and what was found, for the caller to say where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What would have fitted.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl Mismatch {
    /// Makes a mismatch.
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// Says it as `expected ..., found ...`.
    pub fn describe(&self) -> String {
        format!("expected {}, found {}", self.expected, self.found)
    }
}

/// Shows a value in a message: numbers and short text as they are, everything else by its type.
pub fn show(raw: &RawValue) -> String {
    match raw {
        RawValue::Int(value) => format!("integer {value}"),
        RawValue::Uint(value) => format!("integer {value}"),
        RawValue::Float(value) => format!("float {value}"),
        RawValue::String(text) if text.len() <= 64 => format!("string `{text}`"),
        other => other.type_name().to_owned(),
    }
}

/// Turns a raw value into a scalar of a type; `null` is the caller's business and does not fit.
pub fn scalar(kind: ScalarType, raw: &RawValue) -> Result<Value, Mismatch> {
    let value = match (kind, raw) {
        (ScalarType::String, RawValue::String(text)) => Some(Value::String(text.clone())),
        (ScalarType::Bool, RawValue::Bool(value)) => Some(Value::Bool(*value)),
        (ScalarType::Int, RawValue::Int(value)) => Some(Value::Int(*value)),
        (ScalarType::Uint, RawValue::Int(value)) => u64::try_from(*value).ok().map(Value::Uint),
        (ScalarType::Uint, RawValue::Uint(value)) => Some(Value::Uint(*value)),
        (ScalarType::Float, RawValue::Float(value)) => value.is_finite().then(|| float(*value)),
        (ScalarType::Float, RawValue::Int(value)) => Some(float(*value as f64)),
        (ScalarType::Float, RawValue::Uint(value)) => Some(float(*value as f64)),
        (ScalarType::Uuid, RawValue::String(text)) => Uuid::parse_str(text).ok().map(Value::Uuid),
        (ScalarType::Datetime, RawValue::String(text)) => datetime(text).map(Value::Datetime),
        _ => None,
    };
    value.ok_or_else(|| Mismatch::new(expectation(kind), show(raw)))
}

/// Turns one number of a flat list into a scalar of a type; `integers` says how the list was written.
pub fn number(kind: ScalarType, number: f64, integers: bool) -> Result<Value, Mismatch> {
    // Powers of two: exact as f64, and the first values beyond each type.
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    const TWO_64: f64 = 18_446_744_073_709_551_616.0;
    let value = match kind {
        ScalarType::Int if integers && (-TWO_63..TWO_63).contains(&number) => {
            Some(Value::Int(number as i64))
        }
        ScalarType::Uint if integers && (0.0..TWO_64).contains(&number) => {
            Some(Value::Uint(number as u64))
        }
        ScalarType::Float if number.is_finite() => Some(float(number)),
        _ => None,
    };
    value.ok_or_else(|| {
        let found = if integers { "integer" } else { "float" };
        Mismatch::new(expectation(kind), format!("{found} {number}"))
    })
}

/// Feeds the elements of a list, each as a scalar of a type, to `push`.
///
/// Errors: what `fail` makes of the mismatch, if it is no list or of the first element that does not fit;
/// what `push` returns.
pub fn elements<E>(
    element: ScalarType,
    raw: &RawValue,
    mut push: impl FnMut(Value) -> Result<(), E>,
    fail: impl Fn(Mismatch) -> E,
) -> Result<(), E> {
    match raw {
        RawValue::Numbers { values, integers } => values
            .iter()
            .try_for_each(|value| push(number(element, *value, *integers).map_err(&fail)?)),
        RawValue::Array(items) => items
            .iter()
            .try_for_each(|item| push(scalar(element, item).map_err(&fail)?)),
        other => Err(fail(Mismatch::new(
            format!("[]{}", element.name()),
            show(other),
        ))),
    }
}

/// The number of elements of a list; `None` for anything else.
pub fn list_len(raw: &RawValue) -> Option<usize> {
    match raw {
        RawValue::Numbers { values, .. } => Some(values.len()),
        RawValue::Array(items) => Some(items.len()),
        _ => None,
    }
}

/// The type a scalar has when nothing declares one: integers are signed. `None` for null, lists, objects.
pub fn infer_scalar(raw: &RawValue) -> Option<ScalarType> {
    match raw {
        RawValue::Bool(_) => Some(ScalarType::Bool),
        RawValue::Int(_) | RawValue::Uint(_) => Some(ScalarType::Int),
        RawValue::Float(_) => Some(ScalarType::Float),
        RawValue::String(_) => Some(ScalarType::String),
        _ => None,
    }
}

/// Decodes a vector: numbers, or base64 text (padded or not) of little-endian f32, into `out`, which is cleared first.
///
/// Errors: a mismatch for anything else, bytes that are no whole f32s, numbers that are not finite as
/// f32, or an empty vector.
pub fn vector(raw: &RawValue, out: &mut Vec<f32>) -> Result<(), Mismatch> {
    const EXPECTED: &str = "numbers or base64 of little-endian f32";
    out.clear();
    match raw {
        RawValue::Numbers { values, .. } => out.extend(values.iter().map(|value| *value as f32)),
        RawValue::Array(items) => {
            for item in items {
                out.push(match item {
                    RawValue::Int(value) => *value as f32,
                    RawValue::Uint(value) => *value as f32,
                    RawValue::Float(value) => *value as f32,
                    other => {
                        return Err(Mismatch::new(
                            EXPECTED,
                            format!("an element that is {}", show(other)),
                        ));
                    }
                });
            }
        }
        RawValue::String(text) => {
            decode_base64(text.as_bytes(), out).map_err(|found| Mismatch::new(EXPECTED, found))?;
        }
        other => return Err(Mismatch::new(EXPECTED, show(other))),
    }
    if out.is_empty() || out.len() > limits::VECTOR_DIMS_MAX {
        return Err(Mismatch::new(
            format!("1 to {} dimensions", limits::VECTOR_DIMS_MAX),
            format!("{}", out.len()),
        ));
    }
    match out.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Mismatch::new(
            "finite 32-bit floats",
            format!("{} at position {at}", out[at]),
        )),
    }
}

/// Decodes a vector that is to be stored in a width, as `vector` does; the numbers are not rounded yet.
///
/// Errors: as `vector`; a mismatch for a number that the width does not hold: beyond 16-bit floats once
/// rounded, or no whole number of 8 bits.
pub fn vector_of(
    element: VectorElement,
    raw: &RawValue,
    out: &mut Vec<f32>,
) -> Result<(), Mismatch> {
    vector(raw, out)?;
    let expected = match element {
        VectorElement::F32 => return Ok(()),
        VectorElement::F16 => "numbers that round to finite 16-bit floats",
        VectorElement::I8 => "whole numbers from -128 to 127",
    };
    let refused = |found: &dyn std::fmt::Display, at: usize| {
        Err(Mismatch::new(expected, format!("{found} at position {at}")))
    };
    // Before what is next to a whole number became one as f32.
    if let (VectorElement::I8, RawValue::Numbers { values, .. }) = (element, raw)
        && let Some((at, number)) = values
            .iter()
            .enumerate()
            .find(|(_, number)| number.fract() != 0.0)
    {
        return refused(number, at);
    }
    let mut numbers = out.iter().enumerate();
    match numbers.find(|(_, number)| !holds(element, **number)) {
        None => Ok(()),
        Some((at, number)) => refused(number, at),
    }
}

/// Decodes little-endian f32s straight into `out`. Errors: what was found instead.
fn decode_base64(text: &[u8], out: &mut Vec<f32>) -> Result<(), String> {
    let form = match text.len() % 4 {
        0 => base64_simd::STANDARD,
        _ => base64_simd::STANDARD_NO_PAD,
    };
    let Ok(n_bytes) = form.decoded_length(text) else {
        return Err(describe_base64(text));
    };
    if n_bytes % size_of::<f32>() != 0 {
        return Err(format!("{n_bytes} bytes, no multiple of 4"));
    }
    out.resize(n_bytes / size_of::<f32>(), 0.0);
    let bytes = bytemuck::cast_slice_mut::<f32, u8>(out);
    if form
        .decode(text, base64_simd::Out::from_slice(bytes))
        .is_err()
    {
        return Err(describe_base64(text));
    }
    if cfg!(target_endian = "big") {
        out.iter_mut()
            .for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
    }
    Ok(())
}

/// Decodes bytes: base64 text, padded or not. Errors: a mismatch for anything else.
pub fn bytes(raw: &RawValue) -> Result<Vec<u8>, Mismatch> {
    const EXPECTED: &str = "bytes as base64 text";
    let RawValue::String(text) = raw else {
        return Err(Mismatch::new(EXPECTED, show(raw)));
    };
    let form = match text.len() % 4 {
        0 => base64_simd::STANDARD,
        _ => base64_simd::STANDARD_NO_PAD,
    };
    let decoded = form.decode_to_vec(text.as_bytes());
    decoded.map_err(|_| Mismatch::new(EXPECTED, describe_base64(text.as_bytes())))
}

/// Turns an object of numbers into the entries of a sparse vector to be stored, as `sparse_query` does.
///
/// Errors: as of that; a mismatch for a weight that rounds to no finite 16-bit float.
pub fn sparse(raw: &RawValue) -> Result<Vec<(Arc<str>, f32)>, Mismatch> {
    let entries = sparse_query(raw)?;
    match entries
        .iter()
        .find(|(_, weight)| !holds(VectorElement::F16, *weight))
    {
        None => Ok(entries),
        Some((name, weight)) => Err(Mismatch::new(
            "weights that round to finite 16-bit floats",
            format!("{weight} under `{}`", clip(name)),
        )),
    }
}

/// Turns an object of numbers into the entries of a sparse vector, ascending by name, weights rounded as f32.
///
/// Errors: a mismatch for anything else, more entries than allowed, a name twice, or a weight that is not
/// finite as f32.
pub fn sparse_query(raw: &RawValue) -> Result<Vec<(Arc<str>, f32)>, Mismatch> {
    const EXPECTED: &str = "an object of numbers, such as {\"word\": 0.5}";
    let RawValue::Object(entries) = raw else {
        return Err(Mismatch::new(EXPECTED, show(raw)));
    };
    if entries.len() > limits::SPARSE_ENTRIES_MAX {
        let expected = format!("at most {} entries", limits::SPARSE_ENTRIES_MAX);
        return Err(Mismatch::new(expected, "more"));
    }
    let mut sparse = Vec::with_capacity(entries.len());
    for (name, weight) in entries {
        let number = match weight {
            RawValue::Int(value) => *value as f32,
            RawValue::Uint(value) => *value as f32,
            RawValue::Float(value) => *value as f32,
            other => {
                let found = format!("{} under `{}`", show(other), clip(name));
                return Err(Mismatch::new(EXPECTED, found));
            }
        };
        if !number.is_finite() {
            let found = format!("{number} under `{}`", clip(name));
            return Err(Mismatch::new("finite 32-bit floats", found));
        }
        sparse.push((Arc::clone(name), number));
    }
    sparse.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut pairs = sparse.iter().zip(sparse.iter().skip(1));
    match pairs.find(|(a, b)| a.0 == b.0) {
        None => Ok(sparse),
        Some(((name, _), _)) => {
            let found = format!("`{}` twice", clip(name));
            Err(Mismatch::new("each name once", found))
        }
    }
}

fn clip(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Says where base64 text is broken, which the fast decoder does not.
fn describe_base64(text: &[u8]) -> String {
    match STANDARD.decode(text) {
        Err(error) => format!("text with {error}"),
        Ok(_) => "text that is no base64".to_owned(),
    }
}

/// Turns a raw id into one of a kind, or of the kind it looks like where none is known: integers are
/// `uint`, text is `string`. Errors: `InvalidRequest`.
pub fn doc_id(kind: Option<IdKind>, raw: &RawValue) -> Result<DocId> {
    let kind = match (kind, raw) {
        (Some(kind), _) => kind,
        (None, RawValue::String(_)) => IdKind::String,
        (None, _) => IdKind::Uint,
    };
    let wrong = || Error::invalid(format!("id of kind {}: found {}", kind.name(), show(raw)));
    match (kind, raw) {
        (IdKind::Uint, RawValue::Uint(id)) => Ok(DocId::Uint(*id)),
        (IdKind::Uint, RawValue::Int(id)) => u64::try_from(*id).map(DocId::Uint).map_err(|_| {
            Error::invalid(format!(
                "id of kind uint: expected 0 to {}, found {id}",
                u64::MAX
            ))
        }),
        (IdKind::Uuid, RawValue::String(text)) => Uuid::parse_str(text)
            .map(DocId::Uuid)
            .map_err(|_| Error::invalid(format!("id of kind uuid: found {}", show(raw)))),
        (IdKind::String, RawValue::String(text)) if text.len() <= limits::ID_BYTES_MAX => {
            Ok(DocId::String(text.as_ref().into()))
        }
        (IdKind::String, RawValue::String(text)) => Err(Error::invalid(format!(
            "id of kind string: expected at most {} bytes, found {}",
            limits::ID_BYTES_MAX,
            text.len()
        ))),
        _ => Err(wrong()),
    }
}

/// Parses ISO 8601 text: the date is mandatory, time (`T` or a space before it) and zone are optional;
/// without a zone it is UTC. Finer than a millisecond is cut off.
pub fn datetime(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date.as_bytes() else {
        return None;
    };
    let year = i32::try_from(digits(&[y1, y2, y3, y4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, digits(&[m1, m2])?, digits(&[d1, d2])?)?;
    if rest.is_empty() {
        return Some(Timestamp(
            date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis(),
        ));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let (clock, millis) = match time.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, fraction_ms(fraction)?),
        None => (time, 0),
    };
    let mut parts = clock.split(':').map(two_digits);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = match parts.next() {
        None if time.len() == clock.len() => 0,
        None => return None,
        Some(second) => second?,
    };
    if parts.next().is_some() {
        return None;
    }
    let local = date.and_hms_milli_opt(hour, minute, second, millis)?;
    let utc_ms = local.and_utc().timestamp_millis();
    Some(Timestamp(utc_ms - zone_ms(zone)?))
}

fn zone_ms(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = match zone.get(1..)?.as_bytes() {
        [h1, h2] => (digits(&[*h1, *h2])?, 0),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    let legal = hours < 24 && minutes < 60;
    legal.then(|| sign * (i64::from(hours) * 60 + i64::from(minutes)) * 60_000)
}

fn fraction_ms(fraction: &str) -> Option<u32> {
    let bytes = fraction.as_bytes();
    let legal = (1..=9).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    let digit = |at: usize| bytes.get(at).map_or(0, |byte| u32::from(byte - b'0'));
    legal.then(|| digit(0) * 100 + digit(1) * 10 + digit(2))
}

fn two_digits(text: &str) -> Option<u32> {
    (text.len() == 2).then(|| digits(text.as_bytes()))?
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + u32::from(byte - b'0'))
    })
}

/// `-0.0` is stored as `0.0`: they are equal, so rows must not differ by which was written.
fn float(value: f64) -> Value {
    Value::Float(value + 0.0)
}

fn expectation(kind: ScalarType) -> String {
    match kind {
        ScalarType::Int => "int (a signed 64-bit integer)".to_owned(),
        ScalarType::Uint => "uint (an unsigned 64-bit integer)".to_owned(),
        ScalarType::Datetime => "datetime (ISO 8601 text)".to_owned(),
        ScalarType::Uuid => "uuid (text)".to_owned(),
        other => other.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<f32>, String> {
        let mut out = vec![7.0; 3];
        vector(&RawValue::String(text.into()), &mut out)
            .map(|()| out)
            .map_err(|mismatch| mismatch.describe())
    }

    #[test]
    fn vector_as_base64_padded_or_not_is_what_was_encoded() {
        for dims in 1..40 {
            let values: Vec<f32> = (0..dims).map(|dim| dim as f32 / 7.0 - 2.5).collect();
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            let padded = STANDARD.encode(bytes);
            let bare = padded.trim_end_matches('=');
            assert_eq!(decoded(&padded), Ok(values.clone()), "{dims}");
            assert_eq!(decoded(bare), Ok(values), "{dims}, no padding");
        }
    }

    #[test]
    fn vector_as_broken_base64_is_refused_with_what_was_found() {
        let cases = [
            ("AAAAA!==", "Invalid symbol 33, offset 5"),
            ("AAAA AAAAAAAAAAA", "Invalid symbol 32, offset 4"),
            ("AAAAA=", "text with"),
            ("A", "text with"),
            ("AAAA", "3 bytes, no multiple of 4"),
            ("AAAAAAA=", "5 bytes, no multiple of 4"),
            ("", "found 0"),
            ("AADAfw==", "NaN at position 0"),
        ];
        for (text, part) in cases {
            let error = decoded(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
