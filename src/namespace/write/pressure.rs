//! Back-pressure: a tail that grows faster than it can be flushed slows its writers, then refuses them; segments that
//! come faster than they can be merged slow them.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::lsm::pick;
use crate::namespace::handle::Namespace;
use crate::runtime::clock::sleep_ms;

/// Longest delay of one write, milliseconds.
const DELAY_MS_MAX: u64 = 500;
/// The fewest segments that any policy allows: fewer are never looked at closely.
const MAX_SEGMENTS_LEAST: usize = 2;

/// What to do with a write, by the memory its namespace's tail holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pressure {
    None,
    Delay { ms: u64 },
    Refuse,
}

fn pressure(tail_bytes: u64, slow_bytes: u64, max_bytes: u64) -> Pressure {
    if tail_bytes >= max_bytes {
        return Pressure::Refuse;
    }
    if tail_bytes < slow_bytes || max_bytes <= slow_bytes {
        return Pressure::None;
    }
    let over = tail_bytes - slow_bytes;
    let ms =
        (u128::from(DELAY_MS_MAX) * u128::from(over) / u128::from(max_bytes - slow_bytes)) as u64;
    Pressure::Delay { ms }
}

/// The delay where there are so many small segments. It never refuses: what keeps merges from their work may be a
/// segment that is damaged, and no flush mends that.
fn crowding_ms(n_small: usize, max_segments: usize) -> u64 {
    let slow = max_segments.max(1).saturating_mul(2);
    let over = n_small.saturating_sub(slow).min(slow) as u64;
    DELAY_MS_MAX * over / slow as u64
}

impl Namespace {
    /// How long a write waits for merges, milliseconds.
    fn wait_for_merges_ms(&self) -> u64 {
        let (view, compaction) = (self.view(), &self.shared.options.compaction);
        let n_segments = view.state.segments.len();
        if crowding_ms(n_segments, MAX_SEGMENTS_LEAST) == 0 || !view.is_merge_due(compaction) {
            return 0;
        }
        let policy = self.merge_policy(&view.state);
        crowding_ms(pick::n_small(&view.state, &policy), policy.max_segments)
    }

    /// Delays or refuses a write, and has the tail flushed. Errors: `QuotaExceeded` at the limit.
    ///
    /// Commits ask for flushes too, but where every write is refused none comes: after a restart, say.
    pub(super) async fn hold_back(self: &Arc<Self>) -> Result<()> {
        let options = &self.shared.options;
        let tail_bytes = self.view().tail.memory_bytes;
        let pressure = pressure(tail_bytes, options.tail_slow_bytes, options.tail_max_bytes);
        if pressure != Pressure::None {
            self.flush_soon();
        }
        match pressure {
            Pressure::None => {
                sleep_ms_if_any(self.wait_for_merges_ms()).await;
                Ok(())
            }
            Pressure::Delay { ms } => {
                sleep_ms_if_any(ms.max(self.wait_for_merges_ms())).await;
                Ok(())
            }
            Pressure::Refuse => Err(Error::new(
                ErrorKind::QuotaExceeded,
                "tail_full",
                format!(
                    "namespace `{}` holds {tail_bytes} bytes of unindexed rows, expected less than {}",
                    self.name, options.tail_max_bytes
                ),
            )
            .with_detail("tail_bytes", tail_bytes)
            .with_retry_after_ms(5_000)),
        }
    }
}

async fn sleep_ms_if_any(ms: u64) {
    if ms > 0 {
        sleep_ms(ms).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowding_delays_from_twice_the_most_segments_up_to_the_longest_delay() {
        for (n_small, expected) in [
            (0, 0),
            (32, 0),
            (33, 15),
            (48, 250),
            (64, 500),
            (1_000, 500),
        ] {
            assert_eq!(crowding_ms(n_small, 16), expected, "{n_small} segments");
        }
    }

    #[test]
    fn pressure_grows_from_none_over_delay_to_refusal() {
        let cases = [
            (0, Pressure::None),
            (99, Pressure::None),
            (100, Pressure::Delay { ms: 0 }),
            (150, Pressure::Delay { ms: 250 }),
            (199, Pressure::Delay { ms: 495 }),
            (200, Pressure::Refuse),
            (u64::MAX, Pressure::Refuse),
        ];
        for (bytes, expected) in cases {
            assert_eq!(pressure(bytes, 100, 200), expected, "{bytes} bytes");
        }
    }
}
