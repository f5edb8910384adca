//! The command line. Each command is a file; all are thin: what they do is the library's.

mod activation;
mod audit;
mod config;
mod demo;
mod explain;
mod policy;
mod prove;
mod ready;
mod serve;
mod target;
mod whereis;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// A data-residency gateway for S3.
#[derive(Debug, Parser)]
#[command(name = "domicile", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway
    Serve(serve::Serve),
    /// Ask a running gateway whether it is ready. Exit code 0: it is; 1: it is not, and why; 2: no answer
    Ready(ready::Ready),
    /// Say where an object rests, under which labels and rules, and its history
    Where(whereis::Where),
    /// Check, test and explain residency policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Verify the placement log that was published
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Check a configuration file
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Why a command could not do its work. Exit code 2.
type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Ready(ready) => ready.run(),
        Command::Where(whereis) => whereis.run(),
        Command::Policy(policy) => policy.run(),
        Command::Audit(audit) => audit.run(),
        Command::Config(config) => config.run(),
    };
    result.unwrap_or_else(|error| {
        let mut said = error.to_string();
        eprintln!("domicile: {said}");
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many a message ends with its cause.
            if !said.contains(&text) {
                eprintln!("  because: {text}");
                said = text;
            }
            source = cause.source();
        }
        ExitCode::from(2)
    })
}

/// Prints a value as indented JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
