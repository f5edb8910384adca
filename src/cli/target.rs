//! Which gateway a command is about: a configuration file, or the data folder of the built-in one.

use std::path::PathBuf;

use clap::Args;

use super::{CommandError, demo};
use crate::config::Config;

#[derive(Debug, Args)]
pub struct Target {
    /// Configuration file; without one, the built-in configuration with four embedded locations
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder of the built-in configuration
    #[arg(long, value_name = "DIR", default_value = "domicile-data", conflicts_with = "config")]
    pub data: PathBuf,
}

impl Target {
    /// The configuration. Creates nothing.
    pub fn load(&self) -> Result<Config, CommandError> {
        match &self.config {
            Some(path) => Ok(Config::load(path)?),
            None => demo::config(&self.data),
        }
    }
}
