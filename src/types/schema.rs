//! What a namespace's documents look like, and how that may grow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AttributeType, IdKind, limits};
use crate::error::{Error, Result};

/// The permanent number of an attribute, never reused: dropping and re-adding a name makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttrId(pub u32);

/// How far two vectors are apart. Smaller is nearer in all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DistanceMetric {
    /// `1 - cos(a, b)`, 0 to 2; 1 where either vector is zero.
    #[serde(rename = "cosine_distance")]
    Cosine,
    /// Sum of squared differences.
    EuclideanSquared,
    /// `-(a . b)`, so that smaller is nearer here too. Ours, not the foreign API's.
    DotProduct,
}

impl DistanceMetric {
    /// All metrics.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::EuclideanSquared, Self::DotProduct];

    /// The name the API uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine_distance",
            Self::EuclideanSquared => "euclidean_squared",
            Self::DotProduct => "dot_product",
        }
    }

    /// Parses the API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == text)
    }
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttributeSchema {
    /// Its permanent number.
    pub id: AttrId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: AttributeType,
    /// Whether filters and orders may name it. Always false for vectors, sparse ones too, and bytes.
    pub filterable: bool,
    /// Whether the filter `Regex` may name it; only for text and lists of text.
    #[serde(default, skip_serializing_if = "is_off")]
    pub regex: bool,
    /// Whether globs may name it even where it is not filterable; only for text and lists of text.
    #[serde(default, skip_serializing_if = "is_off")]
    pub glob: bool,
}

/// Whether an option is left out of stored bytes.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_off(option: &bool) -> bool {
    !option
}

/// The schema of a namespace: one id kind, one metric, named attributes. Empty until the first write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct NamespaceSchema {
    /// The kind of its ids; `None` before the first document.
    pub id_kind: Option<IdKind>,
    /// The metric of all its vectors; `None` while it has none.
    pub metric: Option<DistanceMetric>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, AttributeSchema>,
    /// The number the next new attribute gets.
    pub next_attr_id: u32,
}

impl NamespaceSchema {
    /// Looks an attribute up by name.
    pub fn get(&self, name: &str) -> Option<&AttributeSchema> {
        self.attributes.get(name)
    }

    /// Finds an attribute by its number.
    pub fn by_id(&self, id: AttrId) -> Option<&AttributeSchema> {
        let mut attributes = self.attributes.values();
        attributes.find(|attribute| attribute.id == id)
    }

    /// Finds an attribute's name by its number.
    pub fn name_of(&self, id: AttrId) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(_, attribute)| attribute.id == id)
            .map(|(name, _)| name.as_str())
    }

    /// The vector attributes, by attribute id; the first is the primary one.
    pub fn vectors(&self) -> Vec<(&str, &AttributeSchema)> {
        let mut vectors: Vec<_> = self
            .attributes
            .iter()
            .filter(|(_, attribute)| attribute.kind.is_vector())
            .map(|(name, attribute)| (name.as_str(), attribute))
            .collect();
        vectors.sort_by_key(|(_, attribute)| attribute.id);
        vectors
    }

    /// Adds an attribute under a new number. Errors: `InvalidRequest` for a bad name or over a limit.
    pub fn add(&mut self, name: &str, kind: AttributeType, filterable: bool) -> Result<AttrId> {
        validate_attribute_name(name)?;
        if self.attributes.len() >= limits::ATTRIBUTES_MAX {
            return Err(Error::invalid(format!(
                "too many attributes: adding `{name}` would exceed {}",
                limits::ATTRIBUTES_MAX
            )));
        }
        if kind.is_vector() && self.vectors().len() >= limits::VECTOR_ATTRIBUTES_MAX {
            return Err(Error::invalid(format!(
                "too many vector attributes: adding `{name}` would exceed {}",
                limits::VECTOR_ATTRIBUTES_MAX
            )));
        }
        let id = AttrId(self.next_attr_id);
        self.next_attr_id += 1;
        let filterable = filterable && kind.may_filter();
        self.attributes.insert(
            name.to_owned(),
            AttributeSchema {
                id,
                kind,
                filterable,
                regex: false,
                glob: false,
            },
        );
        Ok(id)
    }
}

/// Checks an attribute's name: 1 to 128 bytes, not `id`, not starting with `$`.
pub fn validate_attribute_name(name: &str) -> Result<()> {
    let fits = (1..=limits::ATTRIBUTE_NAME_BYTES_MAX).contains(&name.len());
    if fits && name != "id" && !name.starts_with('$') {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid attribute name `{}`: expected 1 to {} bytes, not `id`, not starting with `$`",
        name.chars().take(200).collect::<String>(),
        limits::ATTRIBUTE_NAME_BYTES_MAX
    )))
}
