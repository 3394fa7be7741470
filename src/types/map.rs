//! Maps for what is looked up for each row: a hash made for short keys. Its seed comes from where the process
//! lies in memory; no order of a map is ever seen.

use foldhash::fast::RandomState;

/// A map whose keys come from clients' rows.
pub type RowMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A set of such keys.
pub type RowSet<K> = std::collections::HashSet<K, RandomState>;
