//! What a Parquet file alone tells of its columns, with the help of the namespace's schema where that leaves a choice.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::metadata::field_id;
use super::parquet::outside_type;
use crate::error::Result;
use crate::format::frame::corrupt;
use crate::rows::layout;
use crate::types::{AttrId, AttributeType, IdKind, NamespaceSchema, ScalarType, VectorElement};

const SCALARS: [ScalarType; 7] = [
    ScalarType::String,
    ScalarType::Int,
    ScalarType::Uint,
    ScalarType::Float,
    ScalarType::Uuid,
    ScalarType::Datetime,
    ScalarType::Bool,
];

/// Finds the kind of the ids and the type of each attribute's column.
///
/// An attribute that `schema` has is of the type it has there, unless the column is of another: lists that were only
/// ever empty have no type yet. One that was dropped since may be taken for another type that is stored alike: nobody
/// asks for it. Errors: `Corrupted` naming `key` where a column is none that segments have.
pub(super) fn of_columns(
    key: &str,
    parquet: &ArrowReaderMetadata,
    schema: &NamespaceSchema,
) -> Result<(IdKind, BTreeMap<AttrId, AttributeType>)> {
    let strange = |expected: &str, found: &dyn std::fmt::Display| {
        corrupt(key, "columns of the Parquet file", expected, found)
    };
    let mut fields = parquet.schema().fields().iter();
    let id = fields.next().filter(|field| field_id(field) == Some(0));
    let id_kind = id
        .and_then(|field| layout::id_kind_of(field.data_type()))
        .ok_or_else(|| strange("ids first", &"others"))?;
    let mut kinds = BTreeMap::new();
    for field in fields {
        let attr = field_id(field)
            .and_then(|id| id.checked_sub(1))
            .and_then(|id| u32::try_from(id).ok())
            .map(AttrId)
            .ok_or_else(|| strange("numbered attributes", field.name()))?;
        let known = schema.by_id(attr).map(|attribute| attribute.kind);
        let kind = kind_of(field.data_type(), known)
            .ok_or_else(|| strange("the type of an attribute", field.data_type()))?;
        kinds.insert(attr, kind);
    }
    Ok((id_kind, kinds))
}

/// The type of an attribute whose column is of this Arrow type outside: the one that is known, if it is stored so.
fn kind_of(outside: &DataType, known: Option<AttributeType>) -> Option<AttributeType> {
    let scalars = SCALARS.into_iter().map(AttributeType::Scalar);
    let arrays = SCALARS.into_iter().map(AttributeType::Array);
    let others = [
        AttributeType::ArrayUnknown,
        AttributeType::Bytes,
        AttributeType::Sparse,
    ];
    let dims = match outside {
        DataType::FixedSizeList(_, dims) | DataType::FixedSizeBinary(dims) => Some(*dims),
        _ => None,
    };
    let dims = dims.and_then(|dims| u32::try_from(dims).ok());
    let vectors = dims.into_iter().flat_map(|dims| {
        let elements = VectorElement::ALL.into_iter();
        elements.map(move |element| AttributeType::Vector { dims, element })
    });
    let mut candidates = known
        .into_iter()
        .chain(others)
        .chain(scalars)
        .chain(arrays)
        .chain(vectors);
    candidates.find(|kind| outside_type(&layout::attribute_type(*kind)) == *outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_that_is_known_is_found_again_and_others_as_far_as_storage_tells() {
        let vectors = [1, 16, 768].into_iter().flat_map(|dims| {
            let elements = VectorElement::ALL.into_iter();
            elements.map(move |element| AttributeType::Vector { dims, element })
        });
        let others = [
            AttributeType::ArrayUnknown,
            AttributeType::Bytes,
            AttributeType::Sparse,
        ];
        let scalars = SCALARS.into_iter().map(AttributeType::Scalar);
        let arrays = SCALARS.into_iter().map(AttributeType::Array);
        for kind in scalars.chain(arrays).chain(vectors).chain(others) {
            let outside = outside_type(&layout::attribute_type(kind));
            assert_eq!(kind_of(&outside, Some(kind)), Some(kind));
            let unknown = kind_of(&outside, None).expect("it is stored so");
            let stored = outside_type(&layout::attribute_type(unknown));
            assert_eq!(stored, outside, "{kind} taken for {unknown}");
        }
        // Lists that got their type after the segment was made.
        let empty = outside_type(&layout::attribute_type(AttributeType::ArrayUnknown));
        let known = Some(AttributeType::Array(ScalarType::String));
        assert_eq!(kind_of(&empty, known), Some(AttributeType::ArrayUnknown));
        assert_eq!(kind_of(&DataType::Int8, None), None);
    }
}
