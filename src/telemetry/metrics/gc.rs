//! Numbers of collecting garbage.

use prometheus::IntCounter;

use super::Registrar;
use crate::error::Result;

/// Objects that nothing refers to any more.
#[derive(Debug, Clone)]
pub struct GcMetrics {
    /// Passes over one namespace each.
    pub passes_total: IntCounter,
    /// Passes that failed; nothing that is needed was deleted.
    pub failures_total: IntCounter,
    /// Objects deleted.
    pub deleted_objects_total: IntCounter,
    /// Their bytes, as far as these were known.
    pub deleted_bytes_total: IntCounter,
    /// Dropped namespaces that ended for ever.
    pub reaped_total: IntCounter,
}

impl GcMetrics {
    pub(super) fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            passes_total: registrar.counter(
                "elacsym_gc_passes_total",
                "Passes of the garbage collection, of one namespace each.",
            )?,
            failures_total: registrar.counter(
                "elacsym_gc_failures_total",
                "Passes of the garbage collection that failed; nothing that is needed was deleted.",
            )?,
            deleted_objects_total: registrar.counter(
                "elacsym_gc_deleted_objects_total",
                "Objects deleted since nothing referred to them.",
            )?,
            deleted_bytes_total: registrar.counter(
                "elacsym_gc_deleted_bytes_total",
                "Bytes of objects deleted since nothing referred to them.",
            )?,
            reaped_total: registrar.counter(
                "elacsym_gc_reaped_total",
                "Dropped namespaces that ended for ever.",
            )?,
        })
    }
}
