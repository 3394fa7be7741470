//! Conditions bound to a schema, and asked of one document.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::error::{Error, Result};
use crate::filter::{self, BoundFilter};
use crate::types::NamespaceSchema;
use crate::types::condition::{Condition, Template};
use crate::types::document::{Document, RawValue};

/// A condition whose names and values have their types, as far as they do not come from the new documents.
#[derive(Debug, Clone)]
pub enum BoundCondition {
    /// The same for every document.
    Fixed(BoundFilter),
    /// Bound anew for each new document.
    Referring(Arc<dyn Template>),
}

/// Binds a condition. `first`: a new document to try it with; a delete has none.
///
/// Errors: as `filter::bind`; `InvalidRequest` for a reference to an attribute the schema has not.
pub(super) fn bind(
    condition: &Condition,
    schema: &NamespaceSchema,
    first: Option<&Document>,
) -> Result<BoundCondition> {
    match condition {
        Condition::Fixed(filter) => filter::bind(filter, schema).map(BoundCondition::Fixed),
        Condition::Referring(template) => {
            let unknown = |name: &&String| *name != "id" && schema.get(name).is_none();
            if let Some(name) = template.references().iter().find(unknown) {
                return Err(Error::invalid(format!(
                    "`$ref_new`: attribute `{name}` not found"
                )));
            }
            filter_for(&**template, first, schema)?;
            Ok(BoundCondition::Referring(Arc::clone(template)))
        }
    }
}

impl BoundCondition {
    /// Whether it holds for a current document, a batch of one row; `new` is what would change it, none for
    /// a delete. Errors: of binding, where a value of the new document has not the type it is compared with.
    pub fn holds(
        &self,
        current: &RecordBatch,
        new: Option<&Document>,
        schema: &NamespaceSchema,
    ) -> Result<bool> {
        let holds = |filter: &BoundFilter| filter::eval(filter, current).contains(0);
        match self {
            Self::Fixed(filter) => Ok(holds(filter)),
            Self::Referring(template) => Ok(holds(&filter_for(&**template, new, schema)?)),
        }
    }
}

fn filter_for(
    template: &dyn Template,
    new: Option<&Document>,
    schema: &NamespaceSchema,
) -> Result<BoundFilter> {
    let value = |name: &str| {
        let Some(document) = new else {
            return RawValue::Null;
        };
        if name == "id" {
            return document.id.clone();
        }
        let mut attributes = document.attributes.iter();
        attributes
            .find(|(attribute, _)| **attribute == *name)
            .map_or(RawValue::Null, |(_, value)| value.clone())
    };
    filter::bind(&template.filter(&value)?, schema)
}
