//! Conditions of writes: filters on the current document that may name values of the new one.

use std::fmt::Debug;
use std::sync::Arc;

use super::document::RawValue;
use super::filter::Filter;
use crate::error::Result;

/// A condition that an upsert, a patch or a delete is under, asked of the current document of its id.
#[derive(Debug, Clone)]
pub enum Condition {
    /// The same filter for every document.
    Fixed(Filter),
    /// A filter with places for values of the new document.
    Referring(Arc<dyn Template>),
}

impl From<Filter> for Condition {
    fn from(filter: Filter) -> Self {
        Self::Fixed(filter)
    }
}

/// A filter with places that are filled from a new document.
pub trait Template: Debug + Send + Sync {
    /// The attributes whose values it takes, `id` perhaps among them.
    fn references(&self) -> &[String];

    /// The filter for one new document; `new` gives its values, null for those it has not.
    ///
    /// Errors: `Malformed` or `InvalidRequest` where a value cannot stand in its place.
    fn filter(&self, new: &dyn Fn(&str) -> RawValue) -> Result<Filter>;
}
