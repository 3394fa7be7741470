//! Numbers over rows: `aggregate_by` and `group_by`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::json::{clip, invalid, malformed, unknown_variant, wrong_type};
use super::query::{given, parse_filters, parse_limit_of};
use crate::error::{Error, Result};
use crate::query::request::{Aggregate, Fold, GroupBy, Paging};
use crate::types::limits;

const BY: &str = "aggregate_by";
const GROUPS: &str = "group_by";

/// Fields that ask for rows: the API tells them from numbers by shape.
const OF_ROWS: [&str; 3] = ["rank_by", "include_attributes", "exclude_attributes"];

/// Fields that make sense with rows only.
const WITH_ROWS: [&str; 2] = ["offset", "distance_metric"];

/// Parses a query for numbers over rows.
///
/// Errors: `Malformed` beside fields that ask for rows and for unknown functions, `InvalidRequest` for
/// what makes no sense.
pub(super) fn parse_aggregate(
    fields: &Map<String, Value>,
    by: &Value,
    paging: Paging,
) -> Result<Aggregate> {
    for name in OF_ROWS {
        if given(fields, name).is_some() {
            let message = format!("expected `{BY}` or `{name}`, found both");
            return Err(Error::malformed(message));
        }
    }
    for name in WITH_ROWS {
        if given(fields, name).is_some() {
            return Err(invalid(name, format!("not expected with `{BY}`")));
        }
    }
    let folds = parse_folds(by)?;
    let groups = match given(fields, GROUPS) {
        None => Vec::new(),
        Some(value) => parse_groups(value, &folds)?,
    };
    let limit = parse_limit_of(fields)?;
    if groups.is_empty() && limit.is_some() {
        return Err(Error::invalid(
            "`limit` (or `top_k`) beside `aggregate_by` needs `group_by`",
        ));
    }
    Ok(Aggregate {
        folds,
        groups,
        limit: limit.unwrap_or(limits::QUERY_LIMIT_MAX),
        paging,
        filter: given(fields, "filters").map(parse_filters).transpose()?,
    })
}

fn parse_folds(by: &Value) -> Result<Vec<(String, Fold)>> {
    let Value::Object(folds) = by else {
        return Err(wrong_type(BY, by, "a map"));
    };
    if !(1..=limits::FOLDS_MAX).contains(&folds.len()) {
        let message = format!("expected 1 to {}, found {}", limits::FOLDS_MAX, folds.len());
        return Err(invalid(BY, message));
    }
    let folds = folds.iter().map(|(label, fold)| {
        let at = format!("{BY}.{}", clip(label));
        Ok((label.clone(), parse_fold(&at, fold)?))
    });
    folds.collect()
}

fn parse_fold(at: &str, fold: &Value) -> Result<Fold> {
    let Value::Array(parts) = fold else {
        return Err(wrong_type(at, fold, "a sequence"));
    };
    match parts.as_slice() {
        [Value::String(name)] if name == "Count" => Ok(Fold::Count),
        // Older clients count ids.
        [Value::String(name), Value::String(id)] if name == "Count" => match id.as_str() {
            "id" => Ok(Fold::Count),
            other => Err(invalid(
                at,
                format!("`Count` counts documents, not `{}`", clip(other)),
            )),
        },
        [Value::String(name), Value::String(attribute)] if name == "Sum" => {
            Ok(Fold::Sum(attribute.clone()))
        }
        [Value::String(name), ..] if !matches!(name.as_str(), "Count" | "Sum") => {
            Err(unknown_variant(at, name, &["Count", "Sum"]))
        }
        _ => Err(malformed(
            at,
            "unknown form: expected [\"Count\"] or [\"Sum\", attribute]",
        )),
    }
}

fn parse_groups(value: &Value, folds: &[(String, Fold)]) -> Result<Vec<GroupBy>> {
    let Value::Array(parts) = value else {
        return Err(wrong_type(GROUPS, value, "a sequence"));
    };
    if parts.len() > limits::GROUP_KEYS_MAX {
        let message = format!(
            "too many attributes: expected at most {}, found {}",
            limits::GROUP_KEYS_MAX,
            parts.len()
        );
        return Err(invalid(GROUPS, message));
    }
    let groups: Vec<GroupBy> = parts.iter().map(parse_group).collect::<Result<_>>()?;
    if groups.iter().filter(|group| group.each).count() > 1 {
        return Err(invalid(GROUPS, "at most one `ForEachUnique` is allowed"));
    }
    let mut labels: BTreeSet<&str> = folds.iter().map(|(label, _)| label.as_str()).collect();
    let mut attributes = BTreeSet::new();
    for group in &groups {
        if group.attribute == "id" {
            return Err(invalid(GROUPS, "cannot group by `id`"));
        }
        if !labels.insert(&group.label) || !attributes.insert(&group.attribute) {
            let message = format!("`{}` is there twice", clip(&group.label));
            return Err(invalid(GROUPS, message));
        }
    }
    Ok(groups)
}

fn parse_group(part: &Value) -> Result<GroupBy> {
    let (alias, each) = match part {
        Value::String(attribute) => {
            return Ok(GroupBy {
                label: attribute.clone(),
                attribute: attribute.clone(),
                each: false,
            });
        }
        Value::Object(entry) if entry.len() == 1 => match entry.iter().next() {
            Some(entry) => entry,
            None => return Err(form_of_group()),
        },
        _ => return Err(form_of_group()),
    };
    match each.as_array().map(Vec::as_slice) {
        Some([Value::String(name), Value::String(attribute)]) if name == "ForEachUnique" => {
            Ok(GroupBy {
                label: alias.clone(),
                attribute: attribute.clone(),
                each: true,
            })
        }
        Some([Value::String(name), ..]) if name != "ForEachUnique" => {
            Err(unknown_variant(GROUPS, name, &["ForEachUnique"]))
        }
        _ => Err(form_of_group()),
    }
}

fn form_of_group() -> Error {
    malformed(
        GROUPS,
        "unknown form: expected an attribute or {alias: [\"ForEachUnique\", attribute]}",
    )
}
