//! The one encoding of a value as JSON, and its strict reading: what does not encode to the same bytes again is
//! not what this version writes, so it holds something this version does not know.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::frame::corrupt;
use crate::error::{Error, Result};

/// Longest piece of a strange value in a message, characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Encodes: fields in declared order, maps sorted, no white space.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::internal("value does not encode").with_source(error))
}

/// Decodes what `encode` writes and nothing else. `what` names the part of the object.
///
/// Errors: `Corrupted` naming object, field, expected and found: for an unknown, a missing or a repeated
/// field, at any depth, and for any other spelling of the same value.
pub(super) fn decode<T: Serialize + DeserializeOwned>(
    key: &str,
    what: &str,
    bytes: &[u8],
) -> Result<T> {
    let value: T = serde_json::from_slice(bytes)
        .map_err(|error| corrupt(key, what, "one of this version", error))?;
    let expected = encode(&value)?;
    if expected == bytes {
        return Ok(value);
    }
    let values = (
        serde_json::from_slice::<Value>(&expected),
        serde_json::from_slice::<Value>(bytes),
    );
    if let (Ok(expected), Ok(found)) = values
        && let Some(difference) = difference(what, Some(&expected), Some(&found))
    {
        let Difference {
            at,
            expected,
            found,
        } = difference;
        return Err(corrupt(key, &format!("field `{at}`"), expected, found));
    }
    let same = expected.iter().zip(bytes).take_while(|(a, b)| a == b);
    let at = same.count();
    Err(corrupt(
        key,
        what,
        "its one encoding, each field once, in order, without white space",
        format_args!("another from byte {at} on"),
    ))
}

/// The first place where two values differ.
struct Difference {
    at: String,
    expected: String,
    found: String,
}

fn difference(at: &str, expected: Option<&Value>, found: Option<&Value>) -> Option<Difference> {
    match (expected, found) {
        (Some(expected), Some(found)) if expected == found => None,
        (Some(Value::Object(expected)), Some(Value::Object(found))) => names(expected, found)
            .find_map(|name| {
                difference(&format!("{at}.{name}"), expected.get(name), found.get(name))
            }),
        (Some(Value::Array(expected)), Some(Value::Array(found))) => {
            (0..expected.len().max(found.len())).find_map(|position| {
                let at = format!("{at}[{position}]");
                difference(&at, expected.get(position), found.get(position))
            })
        }
        _ => Some(Difference {
            at: at.to_owned(),
            expected: shown(expected),
            found: shown(found),
        }),
    }
}

/// The fields of both; those that should not be there first.
fn names<'a>(
    expected: &'a Map<String, Value>,
    found: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a String> {
    let strange = found.keys().filter(|name| !expected.contains_key(*name));
    strange.chain(expected.keys())
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "none".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
