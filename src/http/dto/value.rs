//! Values of documents straight from JSON: number lists stay flat, because most of them are vectors.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue as RawJson;

use super::json::{HEAP_BYTES, Scope, room};
use super::numbers;
use crate::error::{Error, Result};
use crate::types::document::RawValue;
use crate::types::{RowMap, limits, schema};

/// A name shared among rows.
pub(super) type Name = Arc<str>;

/// Memory of a shared text beyond its bytes: two counts, and the allocation.
const SHARED_TEXT_BYTES: usize = 2 * size_of::<usize>() + HEAP_BYTES;

/// Reads one value, counting its memory. Its text is cut out first: number by number, serde takes twice as
/// long for a vector.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnyRaw<'a>(pub(super) &'a Scope<'a>);

impl<'de> DeserializeSeed<'de> for AnyRaw<'_> {
    type Value = RawValue;

    fn deserialize<D: Deserializer<'de>>(
        self,
        reader: D,
    ) -> std::result::Result<RawValue, D::Error> {
        let scope = self.0;
        let text = <&RawJson>::deserialize(reader)?.get();
        if let Some(n_numbers) = numbers::count(text) {
            scope.charge(room::<f64>(n_numbers))?;
            match numbers::read(text, n_numbers) {
                Some((values, integers)) => return Ok(RawValue::Numbers { values, integers }),
                None => scope.refund::<f64>(n_numbers),
            }
        }
        // A vector as base64, most often.
        if let Some(plain) = unescaped(text) {
            scope.charge(plain.len() + SHARED_TEXT_BYTES)?;
            return Ok(RawValue::String(plain.into()));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        // Where the text is broken, reading the whole body once more tells the place.
        Plain(scope)
            .deserialize(&mut reader)
            .map_err(D::Error::custom)
    }
}

/// What a string says whose text has no escapes.
fn unescaped(text: &str) -> Option<&str> {
    let plain = text.strip_prefix('"')?.strip_suffix('"')?;
    (!plain.as_bytes().contains(&b'\\')).then_some(plain)
}

/// Reads one value number by number.
#[derive(Debug, Clone, Copy)]
struct Plain<'a>(&'a Scope<'a>);

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = RawValue;

    fn deserialize<D: Deserializer<'de>>(
        self,
        reader: D,
    ) -> std::result::Result<RawValue, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> std::result::Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<RawValue, E> {
        Ok(RawValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<RawValue, E> {
        Ok(RawValue::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<RawValue, E> {
        Ok(i64::try_from(value).map_or(RawValue::Uint(value), RawValue::Int))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<RawValue, E> {
        Ok(RawValue::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<RawValue, E> {
        self.0.charge(value.len() + SHARED_TEXT_BYTES)?;
        Ok(RawValue::String(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<RawValue, A::Error> {
        let mut numbers = Vec::new();
        let mut integers = true;
        while let Some(value) = seq.next_element_seed(self)? {
            match exact(&value) {
                Some((number, integer)) => {
                    self.0.push(&mut numbers, number)?;
                    integers &= integer;
                }
                None => return mixed(self, numbers, integers, value, seq),
            }
        }
        if numbers.is_empty() {
            return Ok(RawValue::Array(Vec::new()));
        }
        self.0.seal(&mut numbers);
        Ok(RawValue::Numbers {
            values: numbers,
            integers,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawValue, A::Error> {
        let scope = self.0;
        let mut entries = Vec::new();
        // One more than a sparse vector has says as much as all of them.
        while entries.len() <= limits::SPARSE_ENTRIES_MAX {
            let Some(name) = map.next_key::<Cow<'de, str>>()? else {
                scope.seal(&mut entries);
                return Ok(RawValue::Object(entries));
            };
            scope.charge(name.len() + SHARED_TEXT_BYTES)?;
            let value = map.next_value_seed(self)?;
            scope.push(&mut entries, (Name::from(name), value))?;
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(RawValue::Object(entries))
    }
}

/// The number as f64 and whether it was an integer, if f64 holds it exactly.
fn exact(value: &RawValue) -> Option<(f64, bool)> {
    match value {
        RawValue::Int(int) => {
            let number = *int as f64;
            (number as i128 == i128::from(*int)).then_some((number, true))
        }
        RawValue::Uint(int) => {
            let number = *int as f64;
            (number as i128 == i128::from(*int)).then_some((number, true))
        }
        RawValue::Float(number) => Some((*number, false)),
        RawValue::Null
        | RawValue::Bool(_)
        | RawValue::String(_)
        | RawValue::Numbers { .. }
        | RawValue::Array(_)
        | RawValue::Object(_) => None,
    }
}

/// Goes on with a list that turned out not to be numbers only.
fn mixed<'de, A: SeqAccess<'de>>(
    plain: Plain<'_>,
    numbers: Vec<f64>,
    integers: bool,
    first_other: RawValue,
    mut seq: A,
) -> std::result::Result<RawValue, A::Error> {
    let restore = |number: f64| match integers {
        true if number >= 9_223_372_036_854_775_808.0 => RawValue::Uint(number as u64),
        true => RawValue::Int(number as i64),
        false => RawValue::Float(number),
    };
    let scope = plain.0;
    let (n_numbers, room_before) = (numbers.len(), numbers.capacity());
    scope.charge(room::<RawValue>(n_numbers))?;
    let mut values = Vec::with_capacity(n_numbers);
    values.extend(numbers.into_iter().map(restore));
    scope.refund::<f64>(room_before);
    scope.push(&mut values, first_other)?;
    while let Some(value) = seq.next_element_seed(plain)? {
        scope.push(&mut values, value)?;
    }
    scope.seal(&mut values);
    Ok(RawValue::Array(values))
}

/// The attribute names of one request, each allocated and checked once, and the row that used it last.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: RefCell<RowMap<Name, (Name, usize)>>,
}

impl Names {
    /// How many names are known.
    pub(super) fn len(&self) -> usize {
        self.known.borrow().len()
    }

    /// Looks up or adds a name.
    ///
    /// Errors: `InvalidRequest` for an illegal name, over the limit of names, or twice in row `row_idx`.
    pub(super) fn intern(&self, name: &str, row_idx: usize) -> Result<Name> {
        let mut known = self.known.borrow_mut();
        if let Some((shared, last_row)) = known.get_mut(name) {
            if std::mem::replace(last_row, row_idx + 1) == row_idx + 1 {
                return Err(super::json::duplicate(name));
            }
            return Ok(Arc::clone(shared));
        }
        if matches!(name, "$ttl_seconds" | "$expires_at") {
            return Err(super::json::unsupported(format!("`{name}`")));
        }
        if name != "id" {
            schema::validate_attribute_name(name)?;
        }
        // One more for `id`.
        if known.len() > limits::ATTRIBUTES_MAX {
            let message = format!(
                "too many attributes: expected at most {}",
                limits::ATTRIBUTES_MAX
            );
            return Err(Error::invalid(message));
        }
        let shared = Name::from(name);
        known.insert(Arc::clone(&shared), (Arc::clone(&shared), row_idx + 1));
        Ok(shared)
    }
}
