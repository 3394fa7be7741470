//! The thin binary: runs the command line, maps its outcome to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    elacsym::cli::run()
}
