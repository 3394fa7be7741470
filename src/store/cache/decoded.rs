//! What was made of files and is kept beside their blocks: footers, and what filters select. Bounded in bytes; what was used
//! least recently goes first.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

type Value = Arc<dyn Any + Send + Sync>;

/// Decoded values by the path of the object they were read from: no path is written with two contents.
pub(super) struct Decoded {
    capacity_bytes: u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    used_bytes: u64,
    n_uses: u64,
    values: BTreeMap<Arc<str>, Kept>,
    /// Paths by their last use.
    order: BTreeMap<u64, Arc<str>>,
}

struct Kept {
    value: Value,
    bytes: u64,
    used_at: u64,
}

impl Decoded {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        Self {
            capacity_bytes,
            table: Mutex::default(),
        }
    }

    pub(super) fn get<T: Any + Send + Sync>(&self, path: &str) -> Option<Arc<T>> {
        let mut table = self.table.lock();
        let now = table.next_use();
        let kept = table.values.get_mut(path)?;
        let value = Arc::clone(&kept.value);
        let before = std::mem::replace(&mut kept.used_at, now);
        if let Some(path) = table.order.remove(&before) {
            table.order.insert(now, path);
        }
        value.downcast().ok()
    }

    /// Keeps a value that takes `bytes`. The newest one stays even where it alone is above the bound: it
    /// would be read again for each use otherwise.
    pub(super) fn insert<T: Any + Send + Sync>(&self, path: &Arc<str>, value: Arc<T>, bytes: u64) {
        let mut table = self.table.lock();
        let used_at = table.next_use();
        let kept = Kept {
            value,
            bytes,
            used_at,
        };
        table.order.insert(used_at, Arc::clone(path));
        table.used_bytes += bytes;
        if let Some(old) = table.values.insert(Arc::clone(path), kept) {
            table.order.remove(&old.used_at);
            table.used_bytes -= old.bytes;
        }
        while table.used_bytes > self.capacity_bytes && table.values.len() > 1 {
            let Some((_, path)) = table.order.pop_first() else {
                break;
            };
            if let Some(old) = table.values.remove(&path) {
                table.used_bytes -= old.bytes;
            }
        }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.table.lock().used_bytes
    }
}

impl Table {
    fn next_use(&mut self) -> u64 {
        self.n_uses += 1;
        self.n_uses
    }
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded")
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(n: u32) -> Arc<str> {
        format!("{n}.idx").into()
    }

    #[test]
    fn insert_beyond_the_bound_lets_the_least_recently_used_go() {
        let decoded = Decoded::new(30);
        for n in 0..3 {
            decoded.insert(&path(n), Arc::new(n), 10);
        }
        assert_eq!(decoded.get::<u32>("0.idx").as_deref(), Some(&0));
        decoded.insert(&path(3), Arc::new(3_u32), 10);
        let kept = (0..4).filter(|n| decoded.get::<u32>(&path(*n)).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(decoded.used_bytes(), 30);
        decoded.insert(&path(2), Arc::new(22_u32), 12);
        assert_eq!(decoded.get::<u32>("2.idx").as_deref(), Some(&22));
        assert_eq!(decoded.used_bytes(), 22, "two, of which one was replaced");
    }

    #[test]
    fn insert_of_a_value_above_the_bound_keeps_it_alone_until_the_next() {
        let decoded = Decoded::new(30);
        decoded.insert(&path(0), Arc::new(0_u32), 10);
        decoded.insert(&path(1), Arc::new(1_u32), 100);
        assert!(decoded.get::<u32>("0.idx").is_none());
        assert!(decoded.get::<u32>("1.idx").is_some());
        decoded.insert(&path(2), Arc::new(2_u32), 10);
        assert!(decoded.get::<u32>("1.idx").is_none());
        assert_eq!(decoded.used_bytes(), 10);
    }

    #[test]
    fn get_of_another_type_gives_nothing() {
        let decoded = Decoded::new(30);
        decoded.insert(&path(0), Arc::new(0_u32), 10);
        assert!(decoded.get::<u64>("0.idx").is_none());
    }
}
