//! The thin binary: runs the command line, maps its outcome to an exit code.

use std::process::ExitCode;

/// Requests allocate on one thread and free on another, all the time and in all sizes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    elacsym::cli::run()
}
