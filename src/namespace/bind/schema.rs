//! What a request declares: attributes, their options, the id kind and the metric.

use crate::error::{Error, Result};
use crate::types::document::{AttributeSpec, SchemaSpec};
use crate::types::{AttributeType, DistanceMetric, NamespaceSchema, ScalarType, schema};

/// Binds schema declarations alone, as a schema update without documents does.
///
/// Errors: `InvalidRequest` for a change of type, dimensions, id kind or metric, for new vectors in a
/// namespace that has some, for vectors without a metric and a metric without vectors.
pub fn bind_schema(
    current: &NamespaceSchema,
    spec: &SchemaSpec,
    metric: Option<DistanceMetric>,
) -> Result<NamespaceSchema> {
    let mut grown = declare(current, Some(spec))?;
    settle(current, &mut grown, Some(spec), metric)?;
    Ok(grown)
}

/// Applies declarations, but for the metric, which waits until all vectors are known.
pub(super) fn declare(
    current: &NamespaceSchema,
    spec: Option<&SchemaSpec>,
) -> Result<NamespaceSchema> {
    let mut grown = current.clone();
    let Some(spec) = spec else {
        return Ok(grown);
    };
    if let Some(declared) = spec.id_kind {
        let kind = *grown.id_kind.get_or_insert(declared);
        if kind != declared {
            return Err(Error::invalid(format!(
                "the kind of `id` cannot change: expected {}, found {}",
                kind.name(),
                declared.name()
            )));
        }
    }
    for name in &spec.drops {
        drop_one(&mut grown, name)?;
    }
    for (name, attribute) in &spec.attributes {
        declare_one(&mut grown, name, attribute)?;
    }
    Ok(grown)
}

/// Takes an attribute away. Its number is never used again, so stored values of it belong to nothing, also
/// where the name comes back. What is not there may be dropped: a request that is sent again changes nothing.
fn drop_one(grown: &mut NamespaceSchema, name: &str) -> Result<()> {
    let attribute = grown.get(name);
    if attribute.is_some_and(|attribute| attribute.kind.is_vector()) {
        return Err(Error::invalid(format!(
            "vector attribute `{name}` cannot be dropped: the first write with vectors fixed them"
        )));
    }
    grown.attributes.remove(name);
    Ok(())
}

fn declare_one(grown: &mut NamespaceSchema, name: &str, spec: &AttributeSpec) -> Result<()> {
    schema::validate_attribute_name(name)?;
    if !spec.kind.may_filter() && spec.filterable == Some(true) {
        return Err(Error::invalid(format!(
            "attribute `{name}`: {} cannot be filterable",
            spec.kind
        )));
    }
    if !spec.kind.is_vector() && spec.metric.is_some() {
        return Err(Error::invalid(format!(
            "attribute `{name}`: a distance metric needs a vector, found type {}",
            spec.kind
        )));
    }
    check_text_options(name, spec)?;
    if spec.kind == AttributeType::Sparse && !spec.sparse_knn && grown.get(name).is_none() {
        return Err(Error::invalid(format!(
            "attribute `{name}`: type {} needs `sparse_knn`: {{\"distance_metric\": \"dot_product\"}}",
            spec.kind
        )));
    }
    let Some(existing) = grown.attributes.get_mut(name) else {
        let (regex, glob) = (spec.regex == Some(true), spec.glob == Some(true));
        // What is searched by patterns is seldom compared as well, and that costs.
        let filterable = spec.filterable.unwrap_or(!(regex || glob));
        grown.add(name, spec.kind, filterable)?;
        if let Some(added) = grown.attributes.get_mut(name) {
            (added.regex, added.glob) = (regex, glob);
        }
        return Ok(());
    };
    if existing.kind == AttributeType::ArrayUnknown && matches!(spec.kind, AttributeType::Array(_))
    {
        existing.kind = spec.kind;
    }
    if existing.kind != spec.kind {
        return Err(Error::invalid(format!(
            "attribute `{name}`: its type cannot change: expected {}, found {}",
            existing.kind, spec.kind
        )));
    }
    if existing.kind.may_filter() {
        existing.filterable = spec.filterable.unwrap_or(existing.filterable);
        existing.regex = spec.regex.unwrap_or(existing.regex);
        existing.glob = spec.glob.unwrap_or(existing.glob);
    }
    Ok(())
}

fn check_text_options(name: &str, spec: &AttributeSpec) -> Result<()> {
    let text = matches!(
        spec.kind,
        AttributeType::Scalar(ScalarType::String) | AttributeType::Array(ScalarType::String)
    );
    let on = [("regex", spec.regex), ("glob", spec.glob)];
    match on.into_iter().find(|(_, option)| *option == Some(true)) {
        Some((option, _)) if !text => Err(Error::invalid(format!(
            "attribute `{name}`: `{option}` needs type string or []string, found {}",
            spec.kind
        ))),
        _ => Ok(()),
    }
}

/// Settles vectors and metric once everything the request brings is in the schema.
pub(super) fn settle(
    current: &NamespaceSchema,
    grown: &mut NamespaceSchema,
    spec: Option<&SchemaSpec>,
    metric: Option<DistanceMetric>,
) -> Result<()> {
    check_vectors_fixed(current, grown)?;
    let mut wanted = metric;
    let declared = spec.into_iter().flat_map(|spec| &spec.attributes);
    for (name, attribute) in declared {
        let Some(own) = attribute.metric else {
            continue;
        };
        let first = *wanted.get_or_insert(own);
        if first != own {
            return Err(Error::invalid(format!(
                "attribute `{name}`: all vectors share one distance metric: expected {}, found {}",
                first.name(),
                own.name()
            )));
        }
    }
    if grown.vectors().is_empty() {
        return match wanted {
            None => Ok(()),
            Some(metric) => Err(Error::invalid(format!(
                "`distance_metric` {} given, but the namespace has no vector attribute",
                metric.name()
            ))),
        };
    }
    match (grown.metric, wanted) {
        (Some(fixed), Some(other)) if fixed != other => Err(Error::invalid(format!(
            "`distance_metric` cannot change: expected {}, found {}",
            fixed.name(),
            other.name()
        ))),
        (Some(_), _) => Ok(()),
        (None, Some(metric)) => {
            grown.metric = Some(metric);
            Ok(())
        }
        (None, None) => Err(Error::invalid(
            "`distance_metric` is required on the first write that brings a vector",
        )),
    }
}

/// The first write with vectors fixes which there are.
fn check_vectors_fixed(current: &NamespaceSchema, grown: &NamespaceSchema) -> Result<()> {
    if current.vectors().is_empty() {
        return Ok(());
    }
    let new = grown
        .vectors()
        .into_iter()
        .find(|(name, _)| current.get(name).is_none());
    match new {
        None => Ok(()),
        Some((name, _)) => Err(Error::invalid(format!(
            "vector attribute `{name}` cannot be added: the first write with vectors fixed them"
        ))),
    }
}
