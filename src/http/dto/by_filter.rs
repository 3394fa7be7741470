//! Writes whose documents a filter names.

use serde_json::Value;

use super::fields::{Field, Shape, is_known, names, required};
use super::json::{unknown_field, wrong_type};
use super::value::Names;
use crate::error::{Error, Result};
use crate::filter;
use crate::types::document::PatchByFilter;

/// The fields of `patch_by_filter`.
pub(in crate::http) const FIELDS: [Field; 2] = [
    required("filters", Shape::Named("Filter"), "Which documents."),
    required(
        "patch",
        Shape::Map(&Shape::Any),
        "Attributes to set, or to remove where null.",
    ),
];

/// Parses `patch_by_filter`: `{"filters": F, "patch": {..}}`.
///
/// Errors: `Malformed` for another shape; `InvalidRequest` for a patch of `id` or an illegal name.
pub(super) fn parse_patch_by_filter(root: &str, json: &Value) -> Result<PatchByFilter> {
    let Value::Object(fields) = json else {
        return Err(wrong_type(root, json, "a map of `filters` and `patch`"));
    };
    if let Some(name) = fields.keys().find(|name| !is_known(&FIELDS, name)) {
        return Err(unknown_field(name, &names(&FIELDS)));
    }
    let field = |name: &str| {
        let missing = || Error::malformed(format!("`{root}`: missing field `{name}`"));
        fields.get(name).ok_or_else(missing)
    };
    let (filters, patch) = (field("filters")?, field("patch")?);
    let Value::Object(patch) = patch else {
        let place = format!("{root}.patch");
        return Err(wrong_type(&place, patch, "a map of attributes"));
    };
    if patch.contains_key("id") {
        return Err(Error::invalid(format!("`{root}`: `id` cannot be patched")));
    }
    let names = Names::default();
    let attributes = patch
        .iter()
        .map(|(name, value)| Ok((names.intern(name, 0)?, filter::raw(value))));
    Ok(PatchByFilter {
        filter: filter::parse_at(&format!("{root}.filters"), filters)?,
        attributes: attributes.collect::<Result<_>>()?,
        allow_partial: false,
    })
}
