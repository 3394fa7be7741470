//! How one segment is searched: what is read first. A plan changes what an answer costs, never the answer.

use std::fmt;

/// The order of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plan {
    /// The rows that match, from indexes; then what ranks them.
    FilterFirst,
    /// Rows in the order wanted, a few at a time; then the filter for them, until there are enough.
    ScanFirst,
    /// What ranks is fetched while the filter is answered: one wave less.
    Together,
}

impl Plan {
    /// All plans.
    pub const ALL: [Self; 3] = [Self::FilterFirst, Self::ScanFirst, Self::Together];

    /// Its name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::FilterFirst => "filter_first",
            Self::ScanFirst => "scan_first",
            Self::Together => "together",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.name() == text)
    }
}

/// A byte of documents costs as much as so many of indexes: it is decompressed and decoded.
const DOCUMENT_BYTE: f64 = 8.0;
/// Rows of a page of documents: one row costs as much.
const PAGE_ROWS: f64 = 1_024.0;
/// How many more rows are looked at than are expected to be needed.
pub const HEADROOM: f64 = 1.5;
/// What is fetched before it is known to be needed, bytes at most.
const AHEAD_BYTES_MAX: u64 = 8 << 20;
/// Rows of what is fetched at once: where fewer than one in so many match, parts may turn out not to be needed.
const GROUP_ROWS: f64 = 16_384.0;

/// What is known of a search of one segment before it begins; shares and bytes are guesses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// Rows to look at.
    pub rows: u64,
    /// How many are wanted; `None` where all that match are needed.
    pub wanted: Option<u64>,
    /// The share of rows that match the filter, 0 to 1.
    pub share: f64,
    /// The share that indexes leave, 0 to 1: no less.
    pub share_by_index: f64,
    /// Bytes of indexes that the filter reads.
    pub filter_bytes: u64,
    /// Bytes of documents that hold what the filter still needs, of all rows; 0 where indexes tell all.
    pub rest_bytes: u64,
    /// Bytes of documents that hold all that the filter looks at, of all rows.
    pub filtered_bytes: u64,
    /// Bytes of columns that the ranking reads; `None` where it does not rank by columns.
    pub rank_bytes: Option<u64>,
    /// Of those the bytes that are not in memory.
    pub absent_bytes: u64,
}

impl Known {
    /// What it costs to look at so many scattered rows of documents that take `bytes` together.
    fn documents(&self, rows: f64, bytes: u64) -> f64 {
        let pages = (self.rows as f64 / PAGE_ROWS).max(1.0);
        DOCUMENT_BYTE * bytes as f64 * (rows / pages).min(1.0)
    }

    fn filter_first(&self) -> f64 {
        let left = self.share_by_index * self.rows as f64;
        let rest = self.documents(left, self.rest_bytes);
        self.filter_bytes as f64 + rest + self.rank_bytes.unwrap_or(0) as f64
    }

    /// `None` where rows have no order to be looked at in.
    fn scan_first(&self) -> Option<f64> {
        let (wanted, rank_bytes) = (self.wanted?, self.rank_bytes?);
        let looked_at = wanted as f64 * HEADROOM / self.share.max(f64::MIN_POSITIVE);
        Some(rank_bytes as f64 + self.documents(looked_at, self.filtered_bytes))
    }

    /// Whether what ranks may be fetched while the filter is answered.
    fn can_fetch_ahead(&self) -> bool {
        self.absent_bytes > 0 && self.absent_bytes <= AHEAD_BYTES_MAX
    }

    /// Chooses a plan: the cheapest, or the one asked for where it can be.
    pub fn choose(&self, asked: Option<Plan>) -> Plan {
        match asked {
            Some(Plan::ScanFirst) if self.scan_first().is_some() => return Plan::ScanFirst,
            Some(Plan::Together) if self.rank_bytes.is_some() => return Plan::Together,
            Some(_) => return Plan::FilterFirst,
            None => {}
        }
        // What is guessed must be clearly better than what is sure.
        if self
            .scan_first()
            .is_some_and(|scan| 2.0 * scan < self.filter_first())
        {
            return Plan::ScanFirst;
        }
        let is_dense = self.share * GROUP_ROWS >= 1.0;
        match self.can_fetch_ahead() && is_dense {
            true => Plan::Together,
            false => Plan::FilterFirst,
        }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "about {:.4} of {} rows match; index bytes {}, document bytes {}",
            self.share, self.rows, self.filter_bytes, self.rest_bytes
        )?;
        if let Some(rank_bytes) = self.rank_bytes {
            let absent = self.absent_bytes;
            write!(f, "; ranking bytes {rank_bytes}, not in memory {absent}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A search for the first 100 of a million rows by a column in memory, half of which match by an index.
    const KNOWN: Known = Known {
        rows: 1_000_000,
        wanted: Some(100),
        share: 0.5,
        share_by_index: 0.5,
        filter_bytes: 1 << 20,
        rest_bytes: 0,
        filtered_bytes: 8 << 20,
        rank_bytes: Some(4 << 20),
        absent_bytes: 0,
    };

    #[test]
    fn plan_of_each_situation_is_the_cheapest() {
        let no_index = Known {
            share_by_index: 1.0,
            filter_bytes: 0,
            rest_bytes: 8 << 20,
            ..KNOWN
        };
        let cold = Known {
            absent_bytes: 4 << 20,
            ..KNOWN
        };
        for (known, expected, why) in [
            (KNOWN, Plan::FilterFirst, "indexes tell all"),
            (
                no_index,
                Plan::ScanFirst,
                "many match, no index tells which",
            ),
            (
                Known {
                    share: 0.000_1,
                    ..no_index
                },
                Plan::FilterFirst,
                "few match: all rows would be looked at",
            ),
            (
                Known {
                    wanted: None,
                    ..no_index
                },
                Plan::FilterFirst,
                "all that match are needed",
            ),
            (
                Known {
                    rank_bytes: None,
                    ..no_index
                },
                Plan::FilterFirst,
                "rows have no order by columns",
            ),
            (cold, Plan::Together, "a wave less"),
            (
                Known {
                    share: 0.000_01,
                    ..cold
                },
                Plan::FilterFirst,
                "little of the column is needed",
            ),
            (
                Known {
                    absent_bytes: 9 << 20,
                    ..cold
                },
                Plan::FilterFirst,
                "too much to fetch on a guess",
            ),
        ] {
            assert_eq!(known.choose(None), expected, "{why}");
        }
    }

    #[test]
    fn plan_asked_for_is_taken_where_it_can_be() {
        let no_order = Known {
            rank_bytes: None,
            ..KNOWN
        };
        let all_needed = Known {
            wanted: None,
            ..KNOWN
        };
        for plan in Plan::ALL {
            assert_eq!(KNOWN.choose(Some(plan)), plan);
            assert_eq!(no_order.choose(Some(plan)), Plan::FilterFirst);
            assert_eq!(Plan::parse(plan.name()), Some(plan));
        }
        assert_eq!(all_needed.choose(Some(Plan::ScanFirst)), Plan::FilterFirst);
        assert_eq!(Plan::parse("guess"), None);
    }
}
