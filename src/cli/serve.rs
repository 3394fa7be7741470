//! `elacsym serve`: wires everything, in one readable function, and shuts it down in reverse.

use std::io::Write;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::{demo, engine, wire};
use crate::access::Keyring;
use crate::background::{Background, BackgroundOptions};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::http::{self, App, router};
use crate::namespace::Engine;
use crate::runtime::clock::within_ms;
use crate::runtime::shutdown::listen_for_signals;
use crate::runtime::tasks::Tasks;
use crate::runtime::{MemoryBudget, Shutdown, failpoint};
use crate::store;
use crate::telemetry::log;

/// How long a request waits for memory for its body, milliseconds.
const BODY_WAIT_MS: u64 = 2_000;

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve(settings: Settings, with_demo: bool) -> Result<()> {
    failpoint::arm()?;
    log::init(&settings.log)?;
    let runtime = wire::runtime()?;
    let ended = runtime.block_on(run(settings, with_demo));
    // Dropping it would wait for blocked threads: a disk that never answers must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn run(settings: Settings, with_demo: bool) -> Result<()> {
    let parts = wire::parts(&settings).await?;
    wire::ensure_conformance(&parts).await?;
    let world = engine::world(&settings, &parts)?;
    let engine = Engine::new(world.clone(), engine::options(&settings));
    if with_demo {
        demo::load(&engine).await?;
    }

    let listener = TcpListener::bind(settings.server.listen)
        .await
        .map_err(|error| {
            Error::unavailable(format!("cannot listen on {}", settings.server.listen))
                .with_source(error)
        })?;
    let address = listener
        .local_addr()
        .map_err(|error| Error::internal("the listener has no address").with_source(error))?;
    let shutdown = Shutdown::new();
    let signals = listen_for_signals(shutdown.clone())?;
    let app = router(App {
        engine: engine.clone(),
        keyring: Arc::new(Keyring::new(settings.auth.key_digests.clone())),
        metrics: Arc::clone(&parts.metrics),
        budget: MemoryBudget::new(
            "request bodies",
            settings.server.max_inflight_body_bytes,
            BODY_WAIT_MS,
        ),
        compute: Arc::clone(&world.compute),
        settings: Arc::new(settings.server.clone()),
        clock: Arc::clone(&parts.clock),
        entropy: Arc::clone(&parts.entropy),
    });
    announce(&format!("listening on http://{address}"));
    if with_demo {
        announce(&demo::queries(&address.to_string()));
    }

    let background = Background::start(engine.clone(), world, background_options(&settings));
    let sweeping = Tasks::default();
    sweeping.spawn(sweep(settings.storage.url.clone()));
    let stop = shutdown.clone();
    let server = http::serve(listener, app, async move { stop.triggered().await });
    let mut server = std::pin::pin!(server);
    let served = tokio::select! {
        () = &mut server => true,
        () = signals => false,
    };
    engine.drain();
    let grace_ms = settings.server.shutdown_grace_ms;
    // One limit for all: open requests, what they began, and what others must learn of it.
    let finish = async {
        if !served {
            server.await;
        }
        engine.finish().await;
        background.finish().await;
    };
    if within_ms(grace_ms, finish).await.is_none() {
        tracing::warn!(grace_ms, "stopped with requests still open");
    }
    Ok(())
}

/// Removes what crashed writers left in a local directory; nothing waits for it.
async fn sweep(url: String) {
    match store::open::sweep(&url).await {
        Ok(Some(swept)) if swept.removed > 0 || swept.failed > 0 => {
            let (removed, bytes, failed) = (swept.removed, swept.bytes, swept.failed);
            tracing::info!(
                removed,
                bytes,
                failed,
                "unfinished files of crashed writers were removed"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(
            error = error.chain(),
            "unfinished files were not looked for"
        ),
    }
}

fn background_options(settings: &Settings) -> BackgroundOptions {
    let background = &settings.background;
    BackgroundOptions {
        find: background.find,
        interval_ms: background.interval_ms,
        sweep_ms: background.sweep_ms,
        reap_ms: settings.gc.interval_ms,
        idle_ms: background.idle_ms,
        flush_age_ms: settings.flush.age_ms,
    }
}

/// Prints a line for whoever started us; a closed standard output is no reason to stop.
fn announce(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
