//! `elacsym doctor`: are the settings sound, does the store keep the laws?

use super::wire;
use crate::config::Settings;
use crate::error::Result;
use crate::vector::kernel;

/// Checks and tells. Errors: what is wrong first.
pub(super) fn doctor(settings: &Settings) -> Result<()> {
    println!("settings: sound");
    println!("distance kernels: {}", kernel::selected());
    wire::runtime()?.block_on(async {
        let parts = wire::parts(settings).await?;
        println!("store: {}", parts.bucket.url());
        wire::check_laws(&parts).await?;
        println!("store laws: all kept");
        Ok(())
    })
}
