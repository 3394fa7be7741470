//! The command line: wires everything, owns no logic.
//!
//! Read `serve.rs` first.

mod demo;
mod doctor;
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
    /// Print a stored object as JSON: a slot of a log or a manifest
    Inspect(InspectArgs),
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
        Command::Doctor(args) => args
            .load(&[])
            .and_then(|settings| doctor::doctor(&settings)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elacsym: {}", error.chain());
            let usage = error.code() == "invalid_config" || error.code() == "invalid_request";
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}
