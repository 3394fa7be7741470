//! Places in a dictionary to their values.

use std::ops::Range;
use std::sync::Arc;

use super::attribute::AttributeIndex;
use super::cursor::corrupt;
use super::pages::{Pages, WINDOW_BYTES, Work};
use super::term;
use crate::error::Result;
use crate::types::Value;

/// The values of some places in the dictionary of an attribute.
#[derive(Debug)]
pub struct Names {
    index: Arc<AttributeIndex>,
    ordinals: Vec<u32>,
    found: Vec<Value>,
}

impl Names {
    /// Begins to find the values of `ordinals`, ascending.
    pub fn new(index: Arc<AttributeIndex>, ordinals: Vec<u32>) -> Self {
        Self {
            found: Vec::with_capacity(ordinals.len()),
            index,
            ordinals,
        }
    }
}

impl Work for Names {
    /// The values, in the order of the ordinals.
    type Found = Vec<Value>;

    fn go_on(&mut self, pages: &mut Pages) -> Result<Option<Vec<Value>>> {
        let index = Arc::clone(&self.index);
        let Some(dictionary) = &index.dictionary else {
            return Err(corrupt("values of a column", "a dictionary", "none"));
        };
        loop {
            let rest = self.ordinals.get(self.found.len()..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(Some(std::mem::take(&mut self.found)));
            }
            let mut ranges: Vec<Range<u64>> = Vec::new();
            let (mut bytes, mut count) = (0, 0);
            for ordinal in rest {
                let block = dictionary.block_of_ordinal(*ordinal);
                let block = block
                    .ok_or_else(|| corrupt("number of a value", dictionary.n_values(), ordinal))?;
                let range = dictionary.range(block);
                if ranges.last() != Some(&range) {
                    if bytes >= WINDOW_BYTES {
                        break;
                    }
                    bytes += range.end - range.start;
                    ranges.push(range);
                }
                count += 1;
            }
            if !pages.want(ranges) {
                return Ok(None);
            }
            for ordinal in rest.iter().take(count) {
                let mut value = None;
                dictionary.key_of(*ordinal, pages, |key| {
                    value = term::value_of_key(index.kind, key);
                })?;
                let value = value
                    .ok_or_else(|| corrupt("value of a dictionary", index.kind.name(), "other"))?;
                self.found.push(value);
            }
        }
    }
}
