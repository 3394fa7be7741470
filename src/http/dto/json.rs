//! JSON bodies and what is wrong with them: not JSON is 400, the wrong shape is 422 with the field's path.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::value::Name;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Meter;

/// Longest part of a caller's text repeated in a message, characters.
const QUOTED_CHARS_MAX: usize = 100;

/// Places of a list that grows from nothing.
const LIST_FIRST: usize = 4;

/// Most that an allocation takes beyond its bytes: its header, and what it is rounded up to.
pub(super) const HEAP_BYTES: usize = 32;

/// A node of a map: eleven keys and values, twelve edges, its parent and length.
const NODE_BYTES: usize =
    11 * (size_of::<String>() + size_of::<Value>()) + 12 * size_of::<usize>() + 16 + HEAP_BYTES;

/// Of a map's further keys, at least this many share one node: all nodes but the root hold five and more, and
/// one node in five stands above others.
const KEYS_A_NODE: usize = 4;

/// How many times the size of a tree of JSON values is what is made from it: no part is larger than the value
/// it comes from, and a list may have twice the room it needs.
const MADE_OF_TREE: u64 = 2;

/// Memory of a list of this capacity.
pub(super) fn room<T>(capacity: usize) -> usize {
    match capacity {
        0 => 0,
        _ => capacity
            .saturating_mul(size_of::<T>())
            .saturating_add(HEAP_BYTES),
    }
}

/// One step from a body's root to a value in it.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Field(Name),
    Index(usize),
}

/// Where a parse stands, and why it was refused where that is not a matter of shape.
///
/// A step that fails is not left, so the path at the end is the path of the failure.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    path: RefCell<Vec<Step>>,
    refusal: RefCell<Option<Error>>,
    meter: &'a Meter,
}

impl<'a> Scope<'a> {
    /// Begins at the root; `meter` counts the memory of what is parsed.
    pub(super) fn new(meter: &'a Meter) -> Self {
        Self {
            path: RefCell::default(),
            refusal: RefCell::default(),
            meter,
        }
    }

    /// Counts memory that is about to be allocated.
    pub(super) fn charge<E: serde::de::Error>(&self, bytes: usize) -> std::result::Result<(), E> {
        self.lift(self.meter.charge(bytes as u64))
    }

    /// Pushes a value onto a list whose memory is counted.
    pub(super) fn push<T, E: serde::de::Error>(
        &self,
        list: &mut Vec<T>,
        value: T,
    ) -> std::result::Result<(), E> {
        let old = list.capacity();
        if list.len() == old {
            let new = old.saturating_mul(2).max(LIST_FIRST);
            // Both exist while the values move.
            self.charge(room::<T>(new))?;
            list.reserve_exact(new - old);
            self.meter.refund(room::<T>(old) as u64);
        }
        list.push(value);
        Ok(())
    }

    /// Gives back the room that a finished list does not need.
    pub(super) fn seal<T>(&self, list: &mut Vec<T>) {
        let before = room::<T>(list.capacity());
        list.shrink_to_fit();
        let after = room::<T>(list.capacity());
        self.meter.refund(before.saturating_sub(after) as u64);
    }

    /// Takes back what was counted for a list of this capacity.
    pub(super) fn refund<T>(&self, capacity: usize) {
        self.meter.refund(room::<T>(capacity) as u64);
    }

    /// Runs `parse` one step deeper.
    pub(super) fn within<T, E>(
        &self,
        step: Step,
        parse: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.path.borrow_mut().push(step);
        let value = parse()?;
        self.path.borrow_mut().pop();
        Ok(value)
    }

    /// Refuses for a reason of its own: `error` is what the caller will see.
    pub(super) fn refuse<E: serde::de::Error>(&self, error: Error) -> E {
        let carrier = E::custom(error.message());
        *self.refusal.borrow_mut() = Some(error);
        carrier
    }

    /// Lifts a result of ours into a parse.
    pub(super) fn lift<T, E: serde::de::Error>(
        &self,
        result: Result<T>,
    ) -> std::result::Result<T, E> {
        result.map_err(|error| self.refuse(error))
    }

    fn path(&self) -> String {
        let mut text = String::new();
        for step in self.path.borrow().iter() {
            match step {
                Step::Field(name) if text.is_empty() => text.push_str(name),
                Step::Field(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Step::Index(idx) => text.push_str(&format!("[{idx}]")),
            }
        }
        text
    }
}

/// Parses a whole body with `seed`.
///
/// Errors: `InvalidRequest` if it is not JSON (trailing bytes and nesting over 128 levels included),
/// `Malformed` if its shape is wrong, or what the seed refused; each names the path.
pub(super) fn parse<'de, S: DeserializeSeed<'de>>(
    body: &'de [u8],
    scope: &Scope<'_>,
    seed: S,
) -> Result<S::Value> {
    // The reader copies a string that has escapes, into a buffer that grows by doubling.
    let scratch = 2 * longest_escaped(body) as u64;
    scope.meter.charge(scratch)?;
    let mut reader = serde_json::Deserializer::from_slice(body);
    let parsed = seed.deserialize(&mut reader);
    let parsed = parsed.and_then(|value| reader.end().map(|()| value));
    drop(reader);
    let parsed = parsed.map_err(|error| explain(body, scope, error));
    scope.meter.refund(scratch);
    parsed
}

/// Bytes of the longest string with an escape; 0 if there is none.
fn longest_escaped(body: &[u8]) -> usize {
    if !body.contains(&b'\\') {
        return 0;
    }
    let mut longest = 0;
    let mut rest = body.iter().enumerate();
    while let Some((start, _)) = rest.find(|(_, byte)| **byte == b'"') {
        let mut escaped = false;
        let mut end = body.len();
        while let Some((idx, byte)) = rest.next() {
            match byte {
                b'\\' => {
                    escaped = true;
                    rest.next();
                }
                b'"' => {
                    end = idx;
                    break;
                }
                _ => {}
            }
        }
        if escaped {
            longest = longest.max(end - start);
        }
    }
    longest
}

fn explain(body: &[u8], scope: &Scope<'_>, error: serde_json::Error) -> Error {
    if error.classify() != serde_json::error::Category::Data {
        return not_json(error);
    }
    // No matter of place or shape.
    let no_memory =
        |error: &mut Error| matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Unavailable);
    if let Some(refusal) = scope.refusal.borrow_mut().take_if(no_memory) {
        return refusal;
    }
    // The shape went wrong first, but a body that breaks off later is no JSON at all.
    if let Err(error) = serde_json::from_slice::<WellFormed>(body) {
        return not_json(error);
    }
    let path = scope.path();
    match scope.refusal.borrow_mut().take() {
        Some(refusal) => at_path(refusal, &path),
        None => at_path(Error::malformed(error.to_string()), &path),
    }
}

/// Any JSON whatever, read in full and kept nowhere: `IgnoredAny` does not look at escapes, the size of
/// numbers or depth.
struct WellFormed;

impl<'de> Deserialize<'de> for WellFormed {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> std::result::Result<Self, D::Error> {
        reader.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for WellFormed {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

fn not_json(error: serde_json::Error) -> Error {
    let message = format!("the body is not JSON: {error}");
    Error::new(ErrorKind::InvalidRequest, "not_json", message)
}

fn at_path(error: Error, path: &str) -> Error {
    if path.is_empty() {
        return error;
    }
    let message = format!("`{path}`: {}", error.message());
    let mut placed = Error::new(error.kind(), error.code(), message);
    for (key, value) in error.details() {
        placed = placed.with_detail(key, value);
    }
    placed.with_detail("path", path)
}

/// 400: a field, value or form of a later version, by name.
pub(super) fn unsupported(what: impl fmt::Display) -> Error {
    let message = format!("{what} is not supported by this version");
    Error::new(ErrorKind::InvalidRequest, "unsupported", message)
}

/// 422 in the words of serde: what was found where `expected` was.
pub(super) fn wrong_type(path: &str, found: &Value, expected: &str) -> Error {
    let message = format!("invalid type: {}, expected {expected}", describe(found));
    at_path(Error::malformed(message), path)
}

/// 422: a variant nobody knows.
pub(super) fn unknown_variant(path: &str, found: &str, known: &[&str]) -> Error {
    at_path(Error::malformed(variant_text(found, known)), path)
}

/// The sentence of [`unknown_variant`].
pub(super) fn variant_text(found: &str, known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let expected = match quoted.as_slice() {
        [one] => one.clone(),
        [one, two] => format!("{one} or {two}"),
        _ => format!("one of {}", quoted.join(", ")),
    };
    format!("unknown variant `{}`, expected {expected}", clip(found))
}

/// 400 at a path.
pub(super) fn invalid(path: &str, message: impl Into<String>) -> Error {
    at_path(Error::invalid(message), path)
}

/// 422 at a path.
pub(super) fn malformed(path: &str, message: impl Into<String>) -> Error {
    at_path(Error::malformed(message), path)
}

/// 400: a field nobody knows, with the nearest known one.
pub(super) fn unknown_field(name: &str, known: &[&str]) -> Error {
    let near = known
        .iter()
        .map(|field| (strsim::damerau_levenshtein(&clip(name), field), *field))
        .min();
    let hint = match near {
        Some((distance, field)) if distance <= 1 + name.len() / 3 => {
            format!("; did you mean `{field}`?")
        }
        _ => String::new(),
    };
    let message = format!("unknown field `{}`{hint}", clip(name));
    Error::new(ErrorKind::InvalidRequest, "unknown_field", message)
}

/// The start of a caller's text, for messages.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("boolean `{value}`"),
        Value::Number(number) if number.is_f64() => format!("floating point `{number}`"),
        Value::Number(number) => format!("integer `{number}`"),
        Value::String(text) => format!("string {:?}", clip(text)),
        Value::Array(_) => "sequence".to_owned(),
        Value::Object(_) => "map".to_owned(),
    }
}

/// Reads any value, refusing a name twice in one object: which of the two counts is nobody's guess.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnyValue<'a>(pub(super) &'a Scope<'a>);

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> std::result::Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<Value, E> {
        self.0.charge(value.len() + HEAP_BYTES)?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let (scope, mut values) = (self.0, Vec::new());
        scope.path.borrow_mut().push(Step::Index(0));
        let mut end = ListEnd {
            scope,
            list: &mut values,
        };
        while seq.next_element_seed(&mut end)?.is_some() {
            // In place: a vector has thousands of steps.
            if let Some(Step::Index(idx)) = scope.path.borrow_mut().last_mut() {
                *idx += 1;
            }
        }
        scope.path.borrow_mut().pop();
        scope.seal(&mut values);
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let step = Step::Field(Name::from(name.as_str()));
            self.0.within(step, || {
                if fields.contains_key(&name) {
                    return Err(self.0.refuse(duplicate(&name)));
                }
                let node = match fields.len() {
                    0 => NODE_BYTES,
                    _ => NODE_BYTES / KEYS_A_NODE,
                };
                self.0.charge(node + name.len() + HEAP_BYTES)?;
                fields.insert(name, map.next_value_seed(self)?);
                Ok(())
            })?;
        }
        Ok(Value::Object(fields))
    }
}

/// Reads any value onto the end of a list. Most values are numbers of a vector: returned, each would be copied
/// several times.
struct ListEnd<'a, 'b> {
    scope: &'a Scope<'a>,
    list: &'b mut Vec<Value>,
}

impl ListEnd<'_, '_> {
    fn push<E: serde::de::Error>(&mut self, value: Value) -> std::result::Result<(), E> {
        self.scope.push(self.list, value)
    }
}

impl<'de> DeserializeSeed<'de> for &mut ListEnd<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> std::result::Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut ListEnd<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        AnyValue(self.scope).expecting(f)
    }

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<(), E> {
        self.push(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> std::result::Result<(), E> {
        self.push(value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<(), E> {
        self.push(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<(), E> {
        self.push(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<(), E> {
        self.push(value.into())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<(), E> {
        let text = AnyValue(self.scope).visit_str(value)?;
        self.push(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> std::result::Result<(), A::Error> {
        let list = AnyValue(self.scope).visit_seq(seq)?;
        self.push(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<(), A::Error> {
        let fields = AnyValue(self.scope).visit_map(map)?;
        self.push(fields)
    }
}

/// 400: a name twice in one object.
pub(super) fn duplicate(name: &str) -> Error {
    Error::invalid(format!("duplicate field `{}`", clip(name)))
}

/// Parses a body that must be an object, counting also what will be made of it. Errors: as [`parse`].
pub(super) fn parse_object(body: &[u8], meter: &Meter) -> Result<Map<String, Value>> {
    let scope = Scope::new(meter);
    let tree = parse(body, &scope, AnyValue(&scope))?;
    meter.charge(MADE_OF_TREE * meter.charged())?;
    match tree {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong_type("", &other, "a map")),
    }
}

/// Reads any value as [`AnyValue`] does, counting also what will be made of it.
pub(super) fn next_tree<'de, A: MapAccess<'de>>(
    scope: &Scope<'_>,
    map: &mut A,
) -> std::result::Result<Value, A::Error> {
    let before = scope.meter.charged();
    let value = map.next_value_seed(AnyValue(scope))?;
    let tree = scope.meter.charged().saturating_sub(before);
    scope.lift(scope.meter.charge(MADE_OF_TREE * tree))?;
    Ok(value)
}

/// Names seen in one object.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeSet<String>);

impl Seen {
    /// Notes a name. Errors: a refusal if it was there before.
    pub(super) fn note<E: serde::de::Error>(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
    ) -> std::result::Result<(), E> {
        if self.0.insert(name.to_owned()) {
            return Ok(());
        }
        Err(scope.refuse(duplicate(name)))
    }
}

/// 422 in the words of serde, inside a parse.
pub(super) fn expected<E: serde::de::Error>(found: serde::de::Unexpected<'_>, what: &str) -> E {
    E::invalid_type(found, &what)
}

/// 422 with a sentence, inside a parse.
pub(super) fn shape<E: serde::de::Error>(message: impl fmt::Display) -> E {
    E::custom(message)
}
