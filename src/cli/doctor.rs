//! `elacsym doctor`: are the settings sound, does the store keep the laws? Cleans up after crashes.

use super::wire;
use crate::config::Settings;
use crate::error::Result;
use crate::store;
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
        if let Some(swept) = store::open::sweep(&settings.storage.url).await? {
            println!(
                "unfinished files of crashed writers: {} removed ({} bytes), {} younger than an hour kept",
                swept.removed, swept.bytes, swept.young
            );
            if swept.failed > 0 {
                println!("files and directories that could not be read or removed: {}", swept.failed);
            }
        }
        Ok(())
    })
}
