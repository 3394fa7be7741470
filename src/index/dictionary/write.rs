//! Values to a dictionary.

use std::ops::Range;

use super::{BLOCK_BYTES, Dictionary, Place, RESTART, shared_bytes};
use crate::error::{Error, Result};
use crate::index::cursor::put_varint;
use crate::index::postings::{self, INLINE_ROWS, ListForm};

/// Writes a dictionary and its lists, value by value.
#[derive(Debug, Default)]
pub(in crate::index) struct DictionaryWriter {
    entries: Vec<u8>,
    lists: Vec<u8>,
    places: Vec<Place>,
    n_values: u32,
    /// The block that is being made.
    block: Vec<u8>,
    restarts: Vec<u8>,
    in_block: usize,
    lists_base: usize,
    last: Vec<u8>,
}

impl DictionaryWriter {
    /// Adds a value with its rows, ascending. Errors: `Internal` if keys or rows do not ascend, or are too many.
    pub(in crate::index) fn push(&mut self, key: &[u8], rows: &[u32]) -> Result<()> {
        self.push_list(key, rows.len(), |out, is_inline| match is_inline {
            true => {
                postings::put_varints(out, rows);
                Ok(ListForm::Varints)
            }
            false => postings::put(out, rows),
        })
    }

    /// Adds a value with a list of `count` entries that `put` appends, once it is told whether the list lies with the
    /// value; `put` says in which form. Errors: `Internal` if keys do not ascend or there are too many; of `put`.
    pub(in crate::index) fn push_list(
        &mut self,
        key: &[u8],
        count: usize,
        put: impl FnOnce(&mut Vec<u8>, bool) -> Result<ListForm>,
    ) -> Result<()> {
        if self.n_values > 0 && key <= self.last.as_slice() {
            return Err(Error::internal("values of a dictionary do not ascend"));
        }
        let room = self.block.len() + self.restarts.len() + key.len() + 96;
        if self.in_block > 0 && room > BLOCK_BYTES {
            self.close_block();
        }
        if self.in_block == 0 {
            self.lists_base = self.lists.len();
            self.places.push(Place {
                separator: separator(&self.last, key).into(),
                offset: self.entries.len() as u64,
                ordinal: self.n_values,
                lists: self.lists_base as u64,
            });
        }
        let too_long = || Error::internal("a dictionary is too long");
        let shared = if self.in_block.is_multiple_of(RESTART) {
            let lists = u32::try_from(self.lists.len() - self.lists_base);
            let entry = u32::try_from(self.block.len()).map_err(|_| too_long())?;
            self.restarts.extend(entry.to_le_bytes());
            self.restarts
                .extend(lists.map_err(|_| too_long())?.to_le_bytes());
            0
        } else {
            shared_bytes(&self.last, key)
        };
        let is_inline = count < INLINE_ROWS;
        let count = u32::try_from(count).map_err(|_| too_long())?;
        put_varint(&mut self.block, shared as u64);
        put_varint(&mut self.block, (key.len() - shared) as u64);
        self.block.extend(key.iter().skip(shared));
        put_varint(&mut self.block, u64::from(count));
        if is_inline {
            let mut list = Vec::with_capacity(INLINE_ROWS * 6);
            put(&mut list, true)?;
            put_varint(&mut self.block, list.len() as u64);
            self.block.extend(list);
        } else {
            let start = self.lists.len();
            let form = put(&mut self.lists, false)?;
            let length = (self.lists.len() - start) as u64;
            put_varint(
                &mut self.block,
                length << 1 | u64::from(form == ListForm::Roaring),
            );
        }
        self.last.clear();
        self.last.extend(key);
        self.n_values = self.n_values.checked_add(1).ok_or_else(too_long)?;
        self.in_block += 1;
        Ok(())
    }

    fn close_block(&mut self) {
        self.entries.append(&mut self.block);
        self.entries.append(&mut self.restarts);
        self.entries.extend((self.in_block as u32).to_le_bytes());
        self.in_block = 0;
    }

    /// Gives the sections of entries and of lists, and the directory for where the caller puts them: `place` is told
    /// their lengths.
    pub(in crate::index) fn finish(
        mut self,
        place: impl FnOnce(u64, u64) -> (Range<u64>, Range<u64>),
    ) -> (Vec<u8>, Vec<u8>, Dictionary) {
        if self.in_block > 0 {
            self.close_block();
        }
        let (entries, lists) = place(self.entries.len() as u64, self.lists.len() as u64);
        let dictionary = Dictionary {
            n_values: self.n_values,
            entries,
            lists,
            places: self.places,
        };
        (self.entries, self.lists, dictionary)
    }
}

/// The shortest start of `key` that is above `last`, which is below it.
fn separator<'a>(last: &[u8], key: &'a [u8]) -> &'a [u8] {
    let length = shared_bytes(last, key) + 1;
    key.get(..length).unwrap_or(key)
}
