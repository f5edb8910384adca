//! `domicile audit`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{CommandError, Format};
use crate::gateway::start::log_folder;
use crate::log::verify::{Options, verify};

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Walk the whole tree of every log in a folder. Exit code 0: all is well; 1: a log is bad; 2: could not check
    Verify {
        /// Folder of published logs; the data folder's own when absent
        dir: Option<PathBuf>,
        /// Data folder of the gateway, when DIR is not given
        #[arg(long, value_name = "DIR", default_value = "domicile-data")]
        data: PathBuf,
        /// Verification key that a log must be signed with; may be given once for each log
        #[arg(long, value_name = "VKEY")]
        vkey: Vec<String>,
        /// Earlier checkpoint that a log must extend; may be given once for each log
        #[arg(long, value_name = "FILE")]
        old_checkpoint: Vec<PathBuf>,
        /// How the result is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

impl AuditCommand {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let AuditCommand::Verify { dir, data, vkey, old_checkpoint, format } = self;
        let dir = dir.unwrap_or_else(|| log_folder(&data));
        let report = verify(&Options { dir, vkeys: vkey, old_checkpoints: old_checkpoint });
        match format {
            Format::Text => println!("{report}"),
            Format::Json => println!("{}", report.to_json()),
        }
        Ok(ExitCode::from(report.exit_code()))
    }
}
