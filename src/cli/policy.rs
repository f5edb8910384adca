//! `domicile policy`

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use super::target::Target;
use super::{CommandError, Format, print_json};
use crate::catalogue::Catalogue;
use crate::catalogue::sqlite::SqliteCatalogue;
use crate::config::{Config, Mechanism};
use crate::gateway::start;
use crate::label::{ClassSet, Coverage, DataClass};
use crate::locations::LocationFacts;
use crate::names::{BucketName, Country, CountrySet, LocationId};
use crate::policy::explain::{ExplainRequest, explain};
use crate::policy::impact::{self, Counting, Impact};
use crate::policy::prove::{self, diff};
use crate::policy::{Action, PackSource, cases, check, table};

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Parse and validate policy packs. Exit code 1 when they cannot be used
    Check(Check),
    /// Run the cases of all packs. Exit code 1 when one fails
    Test(Packs),
    /// Decide scenarios of a table, one line of JSON each. Exit code 1 when a line is wrong or not as expected
    Decide(Decide),
    /// Prove what must never be allowed, for every object, operator and place at once. Exit code 1 when something is
    /// not proved
    Prove(Prove),
    /// Say what an edit of the packs changes, with examples. Exit code 0: nothing; 1: something is newly allowed, or a
    /// duty is gone; 3: something changes and nothing becomes looser
    Diff(Diff),
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
pub struct Prove {
    /// Folder of policy packs; those shipped with this version when absent
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// More invariants, beside the `invariants.toml` of the packs
    #[arg(long, value_name = "FILE")]
    invariants: Option<PathBuf>,
    /// Prove it for the locations of this configuration alone, with its policy packs; any location when absent
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The day for which it is proved, for example 2027-06-01; the packs' own day when absent
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// Folder of the policy packs that are in force; `-` is those shipped with this version
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Folder of the edited policy packs; `-` is those shipped with this version
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// A table of scenarios that both decide; may be repeated
    #[arg(long, value_name = "FILE")]
    jsonl: Vec<PathBuf>,
    /// Compare for the locations of this configuration alone, and say what becomes of the objects in its catalogue; for
    /// any location when absent
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What it costs to move a GiB to another location
    #[arg(long, value_name = "PRICE", requires = "config")]
    price_per_gib: Option<f64>,
    /// The day for which both are asked; the packs' own day when absent
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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
            PolicyCommand::Check(check) => check.run(),
            PolicyCommand::Test(packs) => {
                let report = cases::test(&packs.source())?;
                packs.print(&report)?;
                Ok(code(report.passed()))
            }
            PolicyCommand::Decide(decide) => decide.run(),
            PolicyCommand::Prove(prove) => prove.run(),
            PolicyCommand::Diff(diff) => diff.run(),
            PolicyCommand::Explain(explain) => explain.run(),
        }
    }
}

impl Packs {
    fn source(&self) -> PackSource {
        self.policies.clone().map_or_else(PackSource::embedded, PackSource::directory)
    }

    fn print(&self, report: &(impl std::fmt::Display + serde::Serialize)) -> Result<(), CommandError> {
        match self.format {
            Format::Text => println!("{report}"),
            Format::Json => print_json(report)?,
        }
        Ok(())
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

impl Prove {
    fn run(self) -> Result<ExitCode, CommandError> {
        let (source, places) = world(self.policies, self.config.as_deref())?;
        let report = prove::prove(&source, self.invariants.as_deref(), self.as_of.as_deref(), &places)?;
        match self.format {
            Format::Text => println!("{report}"),
            Format::Json => print_json(&report)?,
        }
        Ok(code(report.all_hold()))
    }
}

impl Diff {
    fn run(self) -> Result<ExitCode, CommandError> {
        let source = |path: PathBuf| match path.to_str() {
            Some("-") => PackSource::embedded(),
            _ => PackSource::directory(path),
        };
        let (old, new) = (source(self.old), source(self.new));
        let (_, places) = world(None, self.config.as_deref())?;
        let report = diff::diff(&diff::Asked {
            old: &old,
            new: &new,
            as_of: self.as_of.as_deref(),
            tables: &self.jsonl,
            places: &places,
        })?;
        let impact = match &self.config {
            Some(path) => Some(impact_on(&Config::load(path)?, &old, &new)?.finish(self.price_per_gib)),
            None => None,
        };
        match self.format {
            Format::Text => {
                if let Some(impact) = &impact {
                    println!("{impact}");
                }
                println!("{report}");
            }
            Format::Json => print_json(&DiffReport { report: &report, objects: impact })?,
        }
        Ok(ExitCode::from(match report.verdict() {
            diff::Verdict::Same => 0,
            diff::Verdict::Looser => 1,
            diff::Verdict::Stricter => 3,
        }))
    }
}

/// What `policy diff` prints as JSON.
#[derive(serde::Serialize)]
struct DiffReport<'a> {
    #[serde(flatten)]
    report: &'a diff::Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<Impact>,
}

/// Objects that are read at a time.
const PAGE: usize = 1000;

/// Counts every object of the catalogue.
fn impact_on(config: &Config, old: &PackSource, new: &PackSource) -> Result<Counting, CommandError> {
    let catalogue = SqliteCatalogue::open_read_only(&config.data)?;
    let now = jiff::Timestamp::now().as_second();
    let mut counting = Counting::new(old, new, start::setting(config), now)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut buckets = HashMap::new();
    for bucket in runtime.block_on(catalogue.buckets())? {
        let name: BucketName = bucket.name.parse()?;
        buckets.insert(catalogue.bucket_handle(&bucket.name), (name, bucket.home));
    }
    let mut after = i64::MIN;
    loop {
        let page = catalogue.resting(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(counting) };
        after = last.row;
        for resting in &page {
            let Some((bucket, home)) = buckets.get(&resting.bucket) else {
                return Err("an object rests in a bucket that the catalogue does not know".into());
            };
            counting.add(&impact::Object {
                bucket,
                home: home.as_ref(),
                location: &resting.location,
                classes: resting.classes,
                subjects: resting.subjects,
                scanned_completely: resting.coverage == Coverage::Complete,
                size: resting.size,
            })?;
        }
    }
}

/// The packs that a command is about, and the configured locations if there is a configuration.
fn world(
    policies: Option<PathBuf>,
    config: Option<&std::path::Path>,
) -> Result<(PackSource, Vec<Arc<LocationFacts>>), CommandError> {
    let Some(path) = config else {
        return Ok((policies.map_or_else(PackSource::embedded, PackSource::directory), Vec::new()));
    };
    let mut config = Config::load(path)?;
    if policies.is_some() {
        config.policy.directory = policies;
    }
    Ok((PackSource::from(&config.policy), start::setting(&config).locations.to_vec()))
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

fn code(good: bool) -> ExitCode {
    ExitCode::from(u8::from(!good))
}
