//! `domicile policy`

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::explain::Explain;
use super::prove::{Diff, Prove};
use super::{CommandError, Format, activation, print_json};
use crate::clock::{iso8601, now_ms};
use crate::config::Config;
use crate::gateway::start;
use crate::names::Country;
use crate::policy::formatting::{Mode, format_files};
use crate::policy::template::NewPack;
use crate::policy::{PackSource, cases, check, coverage, table, template};

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Parse and validate policy packs. Exit code 1 when they cannot be used
    Check(Check),
    /// Run the cases of all packs. Exit code 1 when one fails
    Test(Packs),
    /// Lay the rules out in one way, comments kept. With --check, exit code 1 when a file would change
    Fmt(Fmt),
    /// Start a new pack from a template. Never overwrites
    New(New),
    /// Write the shipped packs, schema and word lists to a new folder, to start from
    Export(Export),
    /// Show provision by provision what the packs enforce, how, and how sure they are; as Markdown
    Coverage(Packs),
    /// Decide scenarios of a table, one line of JSON each. Exit code 1 when a line is wrong or not as expected
    Decide(Decide),
    /// Prove what must never be allowed, for every object, operator and place at once. Exit code 1 when something is
    /// not proved
    Prove(Prove),
    /// Say what an edit of the packs changes, with examples. Exit code 0: nothing; 1: something is newly allowed, or a
    /// duty is gone; 3: something changes and nothing becomes looser
    Diff(Diff),
    /// Say why data may or may not rest in, or be read from, a place, and what would help
    Explain(Box<Explain>),
    /// Say who wrote and who approved the policies of a folder, for gateways that ask for it
    Approve(activation::Approve),
    /// Go back to a policy set that was in force, or list them
    Rollback(activation::Rollback),
    /// What a candidate set would have decided otherwise, in a running gateway. Exit code 1 when it has none
    Shadow(activation::Shadow),
}

#[derive(Debug, Args)]
pub struct Packs {
    /// Folder of policy packs; those shipped with this version when absent
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    packs: Packs,
    /// Also look for rules that can never hold or never decide alone, which takes a moment
    #[arg(long)]
    deep: bool,
    /// Also look at the mechanisms and locations of this configuration, and check its packs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Fmt {
    /// `.cedar` files, or folders with such files
    #[arg(value_name = "PATH", required_unless_present = "policies")]
    paths: Vec<PathBuf>,
    /// A folder of policy packs
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Change nothing, and say which files would change
    #[arg(long)]
    check: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub struct New {
    /// The name of the pack and of its folder: lower-case letters, digits, `-` and `_`
    name: String,
    /// The country whose law the pack will carry out
    #[arg(long, value_name = "COUNTRY")]
    country: Country,
    /// One line for people, for example the country's name or the law's
    #[arg(long, value_name = "TEXT")]
    title: String,
    /// Folder of policy packs; `domicile policy export` makes one
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The folder; it must be new or empty
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub struct Decide {
    /// The table: one scenario a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    jsonl: PathBuf,
    /// Folder of policy packs; those shipped with this version when absent
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// The day of scenarios that name none, for example 2027-06-01; the packs' own day when absent
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
}

impl PolicyCommand {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            PolicyCommand::Check(check) => check.run(),
            PolicyCommand::Test(packs) => {
                let report = cases::test(&packs.source())?;
                packs.print(&report)?;
                Ok(code(report.passed()))
            }
            PolicyCommand::Fmt(fmt) => fmt.run(),
            PolicyCommand::New(new) => {
                let as_of = iso8601(now_ms()).chars().take_while(|c| *c != 'T').collect();
                let pack = NewPack { name: new.name, country: new.country, title: new.title, as_of };
                print(new.format, &template::new_pack(&new.policies, &pack)?)?;
                Ok(ExitCode::SUCCESS)
            }
            PolicyCommand::Export(export) => {
                print(export.format, &template::export(&export.directory)?)?;
                Ok(ExitCode::SUCCESS)
            }
            PolicyCommand::Coverage(packs) => {
                packs.print(&coverage::coverage(&packs.source())?)?;
                Ok(ExitCode::SUCCESS)
            }
            PolicyCommand::Decide(decide) => decide.run(),
            PolicyCommand::Prove(prove) => prove.run(),
            PolicyCommand::Diff(diff) => diff.run(),
            PolicyCommand::Explain(explain) => explain.run(),
            PolicyCommand::Approve(approve) => approve.run(),
            PolicyCommand::Rollback(rollback) => rollback.run(),
            PolicyCommand::Shadow(shadow) => shadow.run(),
        }
    }
}

impl Packs {
    fn source(&self) -> PackSource {
        self.policies.clone().map_or_else(PackSource::embedded, PackSource::directory)
    }

    fn print(&self, report: &(impl std::fmt::Display + serde::Serialize)) -> Result<(), CommandError> {
        print(self.format, report)
    }
}

impl Fmt {
    fn run(self) -> Result<ExitCode, CommandError> {
        let paths: Vec<PathBuf> = self.paths.into_iter().chain(self.policies).collect();
        let mode = if self.check { Mode::Check } else { Mode::Write };
        let report = format_files(&paths, mode)?;
        print(self.format, &report)?;
        Ok(code(report.is_good()))
    }
}

impl Check {
    fn run(self) -> Result<ExitCode, CommandError> {
        let depth = if self.deep { check::Depth::Deep } else { check::Depth::Quick };
        let report = match &self.config {
            None => check::check_for(&self.packs.source(), depth, None)?,
            Some(path) => {
                let mut config = Config::load(path)?;
                if self.packs.policies.is_some() {
                    config.policy.directory.clone_from(&self.packs.policies);
                }
                let now = jiff::Timestamp::now().as_second();
                let setting = start::setting(&config);
                check::check_for(&PackSource::from(&config.policy), depth, Some((&setting, now)))?
            }
        };
        self.packs.print(&report)?;
        Ok(code(report.is_usable()))
    }
}

impl Decide {
    fn run(self) -> Result<ExitCode, CommandError> {
        let source = self.policies.map_or_else(PackSource::embedded, PackSource::directory);
        let input = open_table(&self.jsonl)?;
        let good = table::decide(
            &source,
            self.as_of.as_deref(),
            input,
            &mut std::io::stdout().lock(),
            &mut std::io::stderr(),
        )?;
        Ok(code(good))
    }
}

/// A table of scenarios: a file, or standard input for `-`.
pub(super) fn open_table(path: &Path) -> Result<Box<dyn BufRead>, CommandError> {
    if path.to_str() == Some("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

pub(super) fn print(
    format: Format,
    report: &(impl std::fmt::Display + serde::Serialize),
) -> Result<(), CommandError> {
    match format {
        Format::Text => println!("{report}"),
        Format::Json => print_json(report)?,
    }
    Ok(())
}

fn code(good: bool) -> ExitCode {
    ExitCode::from(u8::from(!good))
}
