//! `domicile config check`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::CommandError;
use crate::config::{Config, Store};
use crate::gateway::start;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read a configuration file and everything that it names, and start nothing
    Check {
        /// The configuration file
        file: PathBuf,
    },
}

impl ConfigCommand {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let ConfigCommand::Check { file } = self;
        let config = match Config::load(&file) {
            Ok(config) => config,
            Err(error) => {
                eprintln!("{error}");
                return Ok(ExitCode::from(1));
            }
        };
        if let Err(error) = start::check(&config) {
            eprintln!("{}: {error}", file.display());
            return Ok(ExitCode::from(1));
        }
        println!("{} is valid", file.display());
        for location in &config.locations {
            let store = match &location.store {
                Store::Embedded { path } => format!("embedded store in {}", path.display()),
                Store::S3(remote) => format!("S3 at {}", remote.endpoint),
            };
            println!(
                "  location {} in {} (region {}): {store}",
                location.id, location.country, location.region
            );
        }
        println!(
            "  {} apps, {} label rules, {} mechanisms",
            config.apps.len(),
            config.label.rules.len(),
            config.mechanisms.len()
        );
        Ok(ExitCode::SUCCESS)
    }
}
