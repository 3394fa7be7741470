//! The command line: wires everything, owns no logic.
//!
//! Read `serve.rs` first.

mod demo;
mod doctor;
mod engine;
mod fsck;
mod gc;
mod inspect;
mod serve;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Settings};
use crate::error::{Error, Result};

/// A search engine whose only shared state is an object store.
#[derive(Debug, Parser)]
#[command(name = "elacsym", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API over a bucket or a local directory
    Serve(ServeArgs),
    /// Print a stored object as JSON, or list keys; changes nothing
    Inspect(InspectArgs),
    /// Read and hash everything that is stored again, and tell what is damaged, missing or of no use; changes nothing
    /// without --repair
    Fsck(FsckArgs),
    /// Delete what nothing refers to any more, and what is left of deleted namespaces; or only tell what would go
    Gc(GcArgs),
    /// Check the settings and that the store keeps every law Elacsym needs; remove leftovers of crashes
    Doctor(SettingsArgs),
}

/// Where settings come from: defaults < file < environment `ELACSYM_SECTION__KEY` < flags.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// Bucket URL or directory: file:///DIR, s3://BUCKET/PREFIX, gs://, az://, memory:// [default: ./elacsym-data]
    #[arg(long, value_name = "URL")]
    storage_url: Option<String>,
    /// Settings file; default config/elacsym.toml if there is one
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Any other setting, such as --set log.level=debug; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Load 2,000 sample records into namespace `tate`, once, and print queries to try
    #[arg(long)]
    demo: bool,
}

#[derive(Debug, Args)]
struct InspectArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Key of the object, such as ns/ID/wal/000000000000/000; a key that ends with / is listed
    key: String,
}

#[derive(Debug, Args)]
struct FsckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Build damaged index files again from the documents, write damaged copies again, remove markers of objects that
    /// are whole; what can only come from a backup is told
    #[arg(long)]
    repair: bool,
    /// Also print, for each namespace, how many documents it has and a sum over all of them that no flush and no merge
    /// changes
    #[arg(long)]
    sum: bool,
    /// Namespace to check; default all
    namespace: Option<String>,
}

#[derive(Debug, Args)]
struct GcArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print the keys of what would be deleted; delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Namespace to collect the garbage of; default all, and deleted ones
    namespace: Option<String>,
}

impl SettingsArgs {
    fn load(&self, flags: &[(&str, &Option<String>)]) -> Result<Settings> {
        let mut overrides = Vec::new();
        for setting in &self.set {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                Error::invalid(format!("--set `{setting}`: expected SECTION.KEY=VALUE"))
            })?;
            overrides.push((key.to_owned(), value.to_owned()));
        }
        let named = [("storage.url", &self.storage_url)];
        for (key, value) in named.iter().chain(flags) {
            if let Some(value) = value {
                overrides.push(((*key).to_owned(), value.clone()));
            }
        }
        config::load(self.config.as_deref(), &overrides)
    }
}

/// Runs the command line of this process. Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Command::Serve(args) => args
            .settings
            .load(&[("server.listen", &args.listen)])
            .and_then(|settings| serve::serve(settings, args.demo)),
        Command::Inspect(args) => args
            .settings
            .load(&[])
            .and_then(|settings| inspect::inspect(&settings, &args.key)),
        Command::Fsck(args) => args.settings.load(&[]).and_then(|settings| {
            fsck::fsck(
                &settings,
                args.namespace.as_deref(),
                (args.repair, args.sum),
            )
        }),
        Command::Gc(args) => args
            .settings
            .load(&[])
            .and_then(|settings| gc::gc(&settings, args.namespace.as_deref(), args.dry_run)),
        Command::Doctor(args) => args
            .load(&[])
            .and_then(|settings| doctor::doctor(&settings)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elacsym: {}", error.chain());
            ExitCode::from(exit_code(&error))
        }
    }
}

/// 2 where the command line or a setting is at fault, else 1.
fn exit_code(error: &Error) -> u8 {
    match error.code() {
        "invalid_config" | "invalid_request" | "invalid_namespace_name" | "invalid_store_url" => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(url: &str) -> Settings {
        let mut settings = Settings::default();
        settings.storage.url = url.to_owned();
        settings
    }

    #[test]
    fn exit_code_bad_store_url_is_that_of_wrong_settings() {
        for url in ["ftp://bucket", "s3://", "file://relative/dir"] {
            let error = inspect::inspect(&settings_of(url), "STORE").expect_err(url);
            assert_eq!(exit_code(&error), 2, "{url}: {error}");
        }
    }

    #[test]
    fn inspect_missing_directory_is_told_and_not_made() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let missing = dir.path().join("missing");
        let settings = settings_of(missing.to_str().expect("text"));
        for key in ["STORE", "ns/"] {
            let error = inspect::inspect(&settings, key).expect_err("there is nothing");
            assert!(error.message().contains("missing"), "{error}");
            assert_eq!(exit_code(&error), 1, "{error}");
        }
        assert!(!missing.exists(), "a look at a directory made it");
    }
}
