//! Back-pressure: a tail that grows faster than it can be flushed slows its writers, then refuses them.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::namespace::handle::Namespace;
use crate::runtime::clock::sleep_ms;

/// Longest delay of one write, milliseconds.
const DELAY_MS_MAX: u64 = 500;

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

impl Namespace {
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
            Pressure::None => Ok(()),
            Pressure::Delay { ms } => {
                sleep_ms(ms).await;
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

#[cfg(test)]
mod tests {
    use super::*;

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
