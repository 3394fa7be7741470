//! How much one scan may bring into the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Admission;

/// Why blocks are read, which decides whether they stay.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// Few blocks for few rows: they stay.
    Rows,
    /// Whole columns: they stay as far as the scan's share goes.
    Scan(ScanShare),
}

impl Purpose {
    /// Whether the blocks of a read of `bytes` stay.
    pub fn admission(&self, bytes: u64) -> Admission {
        match self {
            Self::Rows => Admission::Keep,
            Self::Scan(share) => share.take(bytes),
        }
    }
}

/// What the reads of one scan of one file may still keep, in the order they are made. Cloning shares it.
///
/// Blocks that are in memory already count too: the same scan again asks for the same first part and
/// finds it, instead of pushing it out with the next one. One share for files that are scanned at the same
/// time would keep other parts each time.
#[derive(Debug, Clone)]
pub struct ScanShare(Arc<Share>);

#[derive(Debug)]
struct Share {
    bytes: u64,
    taken: AtomicU64,
}

impl ScanShare {
    /// Makes a share of `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Share {
            bytes,
            taken: AtomicU64::new(0),
        }))
    }

    /// The part of `bytes` for one of several files, by its size; all of them have room if `bytes` are no
    /// less than their sizes together.
    pub fn for_file(bytes: u64, file_bytes: u64, all_files_bytes: u64) -> Self {
        let part = u128::from(bytes) * u128::from(file_bytes) / u128::from(all_files_bytes.max(1));
        Self::new(u64::try_from(part).unwrap_or(u64::MAX))
    }

    fn take(&self, bytes: u64) -> Admission {
        let before = self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        match before.saturating_add(bytes) <= self.0.bytes {
            true => Admission::Keep,
            false => Admission::PassBy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_beyond_its_share_passes_by_and_reads_of_rows_stay() {
        let scan = Purpose::Scan(ScanShare::new(10));
        assert_eq!(scan.admission(6), Admission::Keep);
        assert_eq!(scan.clone().admission(4), Admission::Keep);
        assert_eq!(scan.admission(1), Admission::PassBy);
        assert_eq!(Purpose::Rows.admission(u64::MAX), Admission::Keep);
    }

    #[test]
    fn share_of_each_file_is_at_least_the_file_where_all_fit() {
        for (bytes, files) in [(10, [3, 7]), (11, [1, 10]), (u64::MAX, [1 << 40, 1 << 50])] {
            let all = files.iter().sum();
            for file in files {
                let scan = Purpose::Scan(ScanShare::for_file(bytes, file, all));
                assert_eq!(scan.admission(file), Admission::Keep, "{file} of {all}");
            }
        }
        let half = Purpose::Scan(ScanShare::for_file(10, 8, 20));
        assert_eq!(half.admission(4), Admission::Keep);
        assert_eq!(half.admission(1), Admission::PassBy);
        let nothing = Purpose::Scan(ScanShare::for_file(10, 0, 0));
        assert_eq!(nothing.admission(1), Admission::PassBy);
    }
}
