//! `domicile policy`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::target::Target;
use super::{CommandError, Format, print_json};
use crate::clock::{iso8601, now_ms};
use crate::config::Mechanism;
use crate::gateway::start;
use crate::label::{ClassSet, Coverage, DataClass};
use crate::names::{Country, CountrySet, LocationId};
use crate::policy::explain::{ExplainRequest, explain};
use crate::policy::formatting::{Mode, format_files};
use crate::policy::template::NewPack;
use crate::policy::{Action, PackSource, cases, check, coverage, table, template};

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Parse and validate policy packs. Exit code 1 when they cannot be used
    Check(Packs),
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
    /// Say why data may or may not rest in, or be read from, a place, and what would help
    Explain(Explain),
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

#[derive(Debug, Args)]
pub struct Explain {
    /// Data classes, separated by commas, for example `personal.health,financial.payment`; none: unlabelled
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    classes: Vec<DataClass>,
    /// Countries whose people or state the data is about, for example `CN,DE`
    #[arg(long, visible_alias = "subjects", value_name = "COUNTRY", value_delimiter = ',')]
    subject: Vec<Country>,
    /// What the operator is, instead of the configured profile; may be repeated
    #[arg(long, value_enum, value_delimiter = ',')]
    operator: Vec<OperatorTag>,
    /// Legal mechanisms beside the configured ones, for example `scc`; may be repeated
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    mechanism: Vec<String>,
    /// A location; all of them when absent
    #[arg(long, value_name = "ID")]
    location: Option<LocationId>,
    /// Ask about a read from this country, or from `unknown`, instead of about storing
    #[arg(long, value_name = "COUNTRY", conflicts_with = "location")]
    reader: Option<Reader>,
    /// The location that is the bucket's home
    #[arg(long, value_name = "ID")]
    home: Option<LocationId>,
    /// Countries that already hold a copy
    #[arg(long, value_name = "COUNTRY", value_delimiter = ',')]
    held_in: Vec<Country>,
    /// The content was not scanned to its end
    #[arg(long)]
    scanned_in_part: bool,
    /// Folder of policy packs, instead of the configured ones
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OperatorTag {
    /// Operator of critical information infrastructure
    Ciio,
    /// State organ or body that manages public affairs
    PublicBody,
    /// Handles personal information of as many people as the CAC has set
    PiVolumeProcessor,
    /// None of these
    None,
}

#[derive(Debug, Clone, Copy)]
enum Reader {
    Unknown,
    In(Country),
}

impl std::str::FromStr for Reader {
    type Err = crate::names::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "unknown" => Ok(Reader::Unknown),
            country => country.parse().map(Reader::In),
        }
    }
}

impl PolicyCommand {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            PolicyCommand::Check(packs) => {
                let report = check::check(&packs.source())?;
                packs.print(&report)?;
                Ok(code(report.is_usable()))
            }
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
            PolicyCommand::Explain(explain) => explain.run(),
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

impl Decide {
    fn run(self) -> Result<ExitCode, CommandError> {
        let source = self.policies.map_or_else(PackSource::embedded, PackSource::directory);
        let input: Box<dyn std::io::BufRead> = match self.jsonl.to_str() {
            Some("-") => Box::new(std::io::stdin().lock()),
            _ => Box::new(std::io::BufReader::new(
                std::fs::File::open(&self.jsonl)
                    .map_err(|error| format!("cannot read {}: {error}", self.jsonl.display()))?,
            )),
        };
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

impl Explain {
    fn run(self) -> Result<ExitCode, CommandError> {
        let mut config = self.target.load()?;
        if self.policies.is_some() {
            config.policy.directory = self.policies;
        }
        let engine = start::engine(&config)?;
        let operator = (!self.operator.is_empty()).then(|| {
            let is = |tag| self.operator.contains(&tag);
            crate::config::Operator {
                ciio: is(OperatorTag::Ciio),
                public_body: is(OperatorTag::PublicBody),
                pi_volume_processor: is(OperatorTag::PiVolumeProcessor),
                ..config.operator.clone()
            }
        });
        let mechanism = |kind: String| Mechanism {
            kind,
            destinations: Vec::new(),
            classes: Vec::new(),
            valid_until: None,
            reference: None,
        };
        let explanation = explain(
            &engine,
            &ExplainRequest {
                action: if self.reader.is_some() { Action::Read } else { Action::Store },
                classes: self.classes.into_iter().collect::<ClassSet>(),
                subjects: self.subject.into_iter().collect::<CountrySet>(),
                coverage: if self.scanned_in_part { Coverage::Partial } else { Coverage::Complete },
                location: self.location,
                reader: match self.reader {
                    Some(Reader::In(country)) => Some(country),
                    Some(Reader::Unknown) | None => None,
                },
                home: self.home,
                held_in: self.held_in.into_iter().collect(),
                operator,
                mechanisms: self.mechanism.into_iter().map(mechanism).collect(),
            },
        )?;
        match self.format {
            Format::Text => println!("{explanation}"),
            Format::Json => print_json(&explanation)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(format: Format, report: &(impl std::fmt::Display + serde::Serialize)) -> Result<(), CommandError> {
    match format {
        Format::Text => println!("{report}"),
        Format::Json => print_json(report)?,
    }
    Ok(())
}

fn code(good: bool) -> ExitCode {
    ExitCode::from(u8::from(!good))
}
