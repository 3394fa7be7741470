//! What the tail's own structures take in memory: its bound counts them beside the rows.

use std::mem::size_of;

use arrow::array::{Array, ArrayRef};

use crate::types::DocId;

/// An allocation of `bytes`, as allocators round it and with what they note of it.
fn allocated(bytes: usize) -> u64 {
    match bytes {
        0 => 0,
        _ => (bytes + size_of::<usize>()).next_multiple_of(16) as u64,
    }
}

/// The table of a hash map that has room for `capacity` entries of `K` and `V` before it grows: a power of
/// two of places, seven of eight of which are used, each with a byte of control.
pub(super) fn table<K, V>(capacity: usize) -> u64 {
    if capacity == 0 {
        return 0;
    }
    let places = (capacity + capacity.div_ceil(7)).next_power_of_two();
    allocated(places * (size_of::<(K, V)>() + 1) + 16)
}

/// What an id holds beside its own place.
pub(super) fn id(id: &DocId) -> u64 {
    match id {
        DocId::String(text) => allocated(text.len()),
        DocId::Uint(_) | DocId::Uuid(_) => 0,
    }
}

/// A column of ids that a list holds with its sequence.
pub(super) fn ids(ids: &ArrayRef) -> u64 {
    (ids.get_array_memory_size() + 2 * size_of::<(u64, ArrayRef)>()) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn table_of_each_size_has_room_for_its_entries_and_not_for_thrice_as_many() {
        for n in [1_usize, 3, 7, 8, 100, 1_000, 100_000] {
            let map: HashMap<u64, u64> = (0..n as u64).map(|key| (key, key)).collect();
            let counted = table::<u64, u64>(map.capacity());
            let least = 17 * n as u64;
            assert!(counted >= least, "{n}: {counted}");
            assert!(counted <= 3 * least + 128, "{n}: {counted}");
        }
        assert_eq!(table::<u64, u64>(0), 0);
    }

    #[test]
    fn id_of_text_holds_its_bytes() {
        assert_eq!(id(&DocId::Uint(7)), 0);
        assert_eq!(id(&DocId::String("".into())), 0);
        assert!(id(&DocId::String("0123456789".into())) >= 10);
    }
}
