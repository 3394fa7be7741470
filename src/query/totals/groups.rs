//! Groups by their keys: found by hash, in order when they end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Running;
use crate::types::RowMap;

/// The running numbers of some groups.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    /// Numbers of a group.
    width: usize,
    /// In the order of the keys.
    places: BTreeMap<Arc<[u8]>, usize>,
    /// The same, to be found quickly: rows of a group are many.
    found: RowMap<Arc<[u8]>, usize>,
    /// `width` numbers for each place.
    running: Vec<Running>,
    /// Places whose groups were let go.
    free: Vec<usize>,
    key_bytes: usize,
}

impl Groups {
    /// Begins with none; each group has `width` numbers.
    pub(super) fn new(width: usize) -> Self {
        Self {
            width,
            places: BTreeMap::new(),
            found: RowMap::default(),
            running: Vec::new(),
            free: Vec::new(),
            key_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of all keys.
    pub(super) fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut [Running]> {
        let place = *self.found.get(key)?;
        self.running.get_mut(place..place + self.width)
    }

    pub(super) fn last_key(&self) -> Option<&[u8]> {
        self.places.last_key_value().map(|(key, _)| &**key)
    }

    /// Adds a group that is not there yet, with its numbers.
    pub(super) fn insert(&mut self, key: Arc<[u8]>, numbers: impl Iterator<Item = Running>) {
        let place = match self.free.pop() {
            Some(place) => {
                let old = self.running.iter_mut().skip(place).take(self.width);
                old.zip(numbers).for_each(|(old, new)| *old = new);
                place
            }
            None => {
                let place = self.running.len();
                self.running.extend(numbers);
                place
            }
        };
        self.key_bytes += key.len();
        self.places.insert(Arc::clone(&key), place);
        self.found.insert(key, place);
    }

    /// Lets the group with the last key go.
    pub(super) fn pop_last(&mut self) {
        if let Some((key, place)) = self.places.pop_last() {
            self.key_bytes -= key.len();
            self.found.remove(&key);
            self.free.push(place);
        }
    }

    /// The groups by ascending key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<[u8]>, &[Running])> {
        self.places
            .iter()
            .filter_map(|(key, place)| Some((key, self.running.get(*place..*place + self.width)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: [u64; 2]) -> impl Iterator<Item = Running> {
        numbers.into_iter().map(Running::Count)
    }

    fn listed(groups: &Groups) -> Vec<(&[u8], Vec<Running>)> {
        let groups = groups.iter();
        groups
            .map(|(key, numbers)| (&**key, numbers.to_vec()))
            .collect()
    }

    #[test]
    fn group_in_the_place_of_one_let_go_has_its_own_numbers() {
        let mut groups = Groups::new(2);
        for (key, numbers) in [("b", [1, 2]), ("d", [3, 4]), ("c", [5, 6])] {
            groups.insert(key.as_bytes().into(), counts(numbers));
        }
        groups.pop_last();
        assert!(groups.get_mut(b"d").is_none());
        groups.insert(b"aa".as_slice().into(), counts([7, 8]));
        let expected: [(&[u8], [u64; 2]); 3] = [(b"aa", [7, 8]), (b"b", [1, 2]), (b"c", [5, 6])];
        let expected = expected.map(|(key, numbers)| (key, counts(numbers).collect()));
        assert_eq!(listed(&groups), expected);
        let found = groups.get_mut(b"aa").map(|numbers| numbers.to_vec());
        assert_eq!(found, Some(counts([7, 8]).collect()));
        assert_eq!((groups.len(), groups.key_bytes()), (3, 4));
        assert_eq!(groups.last_key(), Some(b"c".as_slice()));
    }
}
