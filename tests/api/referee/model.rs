//! One namespace as its clients have reason to believe it is: its schema, and its documents in a map.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::value::{Datum, Id, Kind, Scalar, read};

/// A document's attributes; null ones are not there.
pub(super) type Doc = BTreeMap<String, Datum>;

/// The status of a refusal.
pub(super) type Refused = u16;

/// JSON of the wrong shape.
pub(super) const SHAPE: Refused = 422;
/// Of the right shape, but without sense here.
pub(super) const SEMANTICS: Refused = 400;
/// A namespace that is not there.
pub(super) const ABSENT: Refused = 404;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attribute {
    pub(super) kind: Kind,
    pub(super) filterable: bool,
    pub(super) regex: bool,
    pub(super) glob: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) exists: bool,
    pub(super) id_kind: Option<Scalar>,
    pub(super) attributes: BTreeMap<String, Attribute>,
    pub(super) metric: Option<String>,
    pub(super) docs: BTreeMap<Id, Doc>,
}

impl Model {
    pub(super) fn id_kind(&self) -> Scalar {
        self.id_kind.unwrap_or(Scalar::Uint)
    }

    pub(super) fn vectors(&self) -> Vec<String> {
        let vectors = self.attributes.iter();
        let vectors = vectors.filter(|(_, attribute)| attribute.kind.is_vector());
        vectors.map(|(name, _)| name.clone()).collect()
    }

    /// Reads an id as one of this namespace, whose first id decides what ids are.
    pub(super) fn read_id(&mut self, value: &Value) -> Result<Id, Refused> {
        let looks = match value {
            Value::String(_) => Scalar::Text,
            Value::Number(_) => Scalar::Uint,
            _ => return Err(SHAPE),
        };
        let kind = *self.id_kind.get_or_insert(looks);
        Id::read(kind, value).ok_or(SEMANTICS)
    }

    /// Applies the `schema` of a request, but for metrics: gives those that it names.
    pub(super) fn declare(&mut self, schema: &Value) -> Result<BTreeSet<String>, Refused> {
        let mut metrics = BTreeSet::new();
        let schema = schema.as_object().ok_or(SHAPE)?;
        let dropped = schema.iter().filter(|(_, config)| config["drop"] == true);
        for (name, _) in dropped {
            let kind = self.attributes.get(name).map(|one| one.kind);
            if name == "id" || kind.is_some_and(Kind::is_vector) {
                return Err(SEMANTICS);
            }
            self.attributes.remove(name);
            for doc in self.docs.values_mut() {
                doc.remove(name);
            }
        }
        let declared = schema.iter().filter(|(_, config)| config["drop"] != true);
        for (name, config) in declared {
            let nothing = Map::new();
            let (type_name, options) = match config {
                Value::String(type_name) => (type_name, &nothing),
                Value::Object(options) => match options.get("type") {
                    Some(Value::String(type_name)) => (type_name, options),
                    _ => return Err(SHAPE),
                },
                _ => return Err(SHAPE),
            };
            if name == "id" {
                let kinds = [Scalar::Uint, Scalar::Text, Scalar::Uuid];
                let kind = kinds.into_iter().find(|kind| kind.name() == type_name);
                let kind = kind.ok_or(SEMANTICS)?;
                if *self.id_kind.get_or_insert(kind) != kind {
                    return Err(SEMANTICS);
                }
                continue;
            }
            check_name(name)?;
            let kind = Kind::parse(type_name).ok_or(SHAPE)?;
            let bare = config.is_string();
            let option = |option: &str| match options.get(option) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::Bool(on)) => Ok(Some(*on)),
                Some(_) => Err(SHAPE),
            };
            let unset = bare.then_some(false);
            let filterable = option("filterable")?;
            let regex = option("regex")?.or(unset);
            let glob = option("glob")?.or(unset);
            let is_text = matches!(kind, Kind::One(Scalar::Text) | Kind::List(Scalar::Text));
            if (regex == Some(true) || glob == Some(true)) && !is_text
                || filterable == Some(true) && !kind.is_comparable()
                || (kind == Kind::Sparse) != options.contains_key("sparse_knn")
            {
                return Err(SEMANTICS);
            }
            match options.get("ann") {
                None => {}
                Some(_) if !kind.is_vector() => return Err(SEMANTICS),
                Some(ann) => metrics.extend(ann["distance_metric"].as_str().map(str::to_owned)),
            }
            let searched = regex == Some(true) || glob == Some(true);
            let new = Attribute {
                kind,
                filterable: filterable.unwrap_or(!searched) && kind.is_comparable(),
                regex: regex == Some(true),
                glob: glob == Some(true),
            };
            let Some(known) = self.attributes.get_mut(name) else {
                self.attributes.insert(name.clone(), new);
                continue;
            };
            match (known.kind, kind) {
                (one, other) if one == other => {}
                (Kind::ListOfUnknown, Kind::List(_)) => known.kind = kind,
                _ => return Err(SEMANTICS),
            }
            known.filterable = filterable.unwrap_or(known.filterable);
            known.regex = regex.unwrap_or(known.regex);
            known.glob = glob.unwrap_or(known.glob);
        }
        Ok(metrics)
    }

    /// Adds the attributes of a document that nobody declared.
    pub(super) fn infer(&mut self, document: &Map<String, Value>) -> Result<(), Refused> {
        for (name, value) in document {
            if name == "id" {
                continue;
            }
            check_name(name)?;
            if value.is_null() {
                continue;
            }
            let known = self.attributes.get_mut(name);
            if let Some(known) = known {
                let kind = Kind::of_value("", value);
                if let (Kind::ListOfUnknown, Some(kind @ Kind::List(_))) = (known.kind, kind) {
                    known.kind = kind;
                }
                continue;
            }
            let kind = Kind::of_value(name, value).ok_or(SEMANTICS)?;
            let attribute = Attribute {
                kind,
                filterable: !kind.is_vector(),
                regex: false,
                glob: false,
            };
            self.attributes.insert(name.clone(), attribute);
        }
        Ok(())
    }

    /// The values of a document or patch in the types of the schema; `None` for null.
    pub(super) fn typed(
        &self,
        document: &Map<String, Value>,
    ) -> Result<Vec<(String, Option<Datum>)>, Refused> {
        let mut typed = Vec::new();
        for (name, value) in document.iter().filter(|(name, _)| *name != "id") {
            let Some(attribute) = self.attributes.get(name) else {
                // Only null names attributes that are not there.
                continue;
            };
            if value.is_null() {
                typed.push((name.clone(), None));
                continue;
            }
            let datum = read(attribute.kind, value).ok_or(SEMANTICS)?;
            let elements = match &datum {
                Datum::List(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            let long = |one: &Datum| matches!(one, Datum::Text(text) if text.len() > 4_096);
            if attribute.filterable && elements.iter().any(long) {
                return Err(SEMANTICS);
            }
            typed.push((name.clone(), Some(datum)));
        }
        Ok(typed)
    }
}

fn check_name(name: &str) -> Result<(), Refused> {
    let legal = (1..=128).contains(&name.len()) && !name.starts_with('$');
    if legal { Ok(()) } else { Err(SEMANTICS) }
}
