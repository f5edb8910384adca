//! `domicile policy explain`

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::policy::{open_table, print};
use super::target::Target;
use super::whereis;
use super::{CommandError, Format, print_json};
use crate::config::{self, Config, Mechanism};
use crate::gateway::start;
use crate::label::{ClassSet, Coverage, DataClass};
use crate::names::{BucketName, Country, CountrySet, LocationId};
use crate::policy::compiled::compile;
use crate::policy::explain::{ExplainRequest, Explanation, Scenarios, explain};
use crate::policy::scenario::Scenario;
use crate::policy::table::is_scenario;
use crate::policy::{Action, PackSource, PolicyError, ReaderEntity, moment};

#[derive(Debug, Args)]
pub struct Explain {
    /// An object of the catalogue, as `s3://bucket/key`: its labels and its bucket's facts are asked about
    #[arg(long, value_name = "OBJECT", conflicts_with_all = ["classes", "subject", "scanned_in_part"])]
    object: Option<String>,
    /// Scenarios of a table, one line of JSON each, instead of the configured world; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["object", "classes", "subject", "location", "reader", "bucket",
        "home", "held_in", "operator", "mechanism", "scanned_in_part", "action"])]
    scenario: Option<PathBuf>,
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
    /// A bucket, whose configured facts then count
    #[arg(long, value_name = "BUCKET", conflicts_with = "object")]
    bucket: Option<BucketName>,
    /// How the bytes would arrive
    #[arg(long, value_enum, default_value_t, conflicts_with = "reader")]
    action: ActionWord,
    /// A location; all of them when absent
    #[arg(long, value_name = "ID")]
    location: Option<LocationId>,
    /// Ask about a read from this country, or from `unknown`, instead of about storing
    #[arg(long, value_name = "COUNTRY", conflicts_with = "location")]
    reader: Option<Reader>,
    /// Whose staff or systems read
    #[arg(long, value_enum, default_value_t, requires = "reader")]
    reader_entity: EntityWord,
    /// The location that is the bucket's home
    #[arg(long, value_name = "ID")]
    home: Option<LocationId>,
    /// Countries that already hold a copy
    #[arg(long, value_name = "COUNTRY", value_delimiter = ',')]
    held_in: Vec<Country>,
    /// The content was not scanned to its end
    #[arg(long)]
    scanned_in_part: bool,
    /// The day of the question, for example 2027-06-01; today when absent
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
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

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ActionWord {
    /// The first arrival of the bytes
    #[default]
    Store,
    /// A further copy
    Replicate,
    /// A move
    Relocate,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum EntityWord {
    /// The operator's own staff or systems
    Same,
    /// Anybody else, and who is not known
    #[default]
    Other,
    /// A court or agency of the reader's country
    Authority,
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

impl Explain {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let as_of = match &self.as_of {
            None => None,
            Some(text) => {
                Some(moment(text).ok_or_else(|| format!("--as-of `{text}` is not an RFC 3339 date"))?)
            }
        };
        if self.scenario.is_some() {
            return self.scenarios(as_of);
        }
        let mut config = self.target.load()?;
        if self.policies.is_some() {
            config.policy.directory.clone_from(&self.policies);
        }
        let format = self.format;
        let explanation = self.configured(&config, as_of)?;
        print(format, &explanation)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Explains what the configured gateway would answer.
    fn configured(self, config: &Config, as_of: Option<i64>) -> Result<Explanation, CommandError> {
        let mut request = ExplainRequest {
            action: match (self.reader, self.action) {
                (Some(_), _) => Action::Read,
                (None, ActionWord::Store) => Action::Store,
                (None, ActionWord::Replicate) => Action::Replicate,
                (None, ActionWord::Relocate) => Action::Relocate,
            },
            classes: self.classes.iter().copied().collect::<ClassSet>(),
            subjects: self.subject.iter().copied().collect::<CountrySet>(),
            coverage: if self.scanned_in_part { Coverage::Partial } else { Coverage::Complete },
            bucket: self.bucket.clone(),
            location: self.location.clone(),
            reader: match self.reader {
                Some(Reader::In(country)) => Some(country),
                Some(Reader::Unknown) | None => None,
            },
            reader_entity: match self.reader_entity {
                EntityWord::Same => ReaderEntity::Same,
                EntityWord::Other => ReaderEntity::Other,
                EntityWord::Authority => ReaderEntity::Authority,
            },
            home: self.home.clone(),
            held_in: self.held_in.iter().copied().collect(),
            operator: self.operator(config),
            mechanisms: self.mechanism.iter().map(|kind| Mechanism::of_kind(kind)).collect(),
            as_of,
        };
        let Some(object) = &self.object else { return Ok(explain(&start::engine(config)?, &request)?) };
        let found = whereis::find(config, object)?
            .ok_or_else(|| format!("{object} is not in the catalogue: no such object, or it was deleted"))?;
        request.classes = found.placement.classes;
        request.subjects = found.placement.subjects;
        request.coverage = found.placement.coverage;
        request.bucket = Some(found.bucket);
        request.home = request.home.or(found.home);
        if request.action != Action::Store {
            let place = config.locations.iter().find(|location| location.id == found.placement.location);
            request.held_in = request.held_in.iter().chain(place.map(|location| location.country)).collect();
        }
        let mut explanation = explain(&start::engine(config)?, &request)?;
        explanation.about = Some(format!("{object}, which rests in {}", found.placement.location));
        Ok(explanation)
    }

    fn operator(&self, config: &Config) -> Option<config::Operator> {
        let is = |tag| self.operator.contains(&tag);
        (!self.operator.is_empty()).then(|| config::Operator {
            ciio: is(OperatorTag::Ciio),
            public_body: is(OperatorTag::PublicBody),
            pi_volume_processor: is(OperatorTag::PiVolumeProcessor),
            ..config.operator.clone()
        })
    }

    /// Explains made-up cases. Exit code 1 when a line cannot be asked.
    fn scenarios(self, as_of: Option<i64>) -> Result<ExitCode, CommandError> {
        let source = match (&self.policies, &self.target.config) {
            (Some(directory), _) => PackSource::directory(directory),
            (None, Some(_)) => PackSource::from(&self.target.load()?.policy),
            (None, None) => PackSource::embedded(),
        };
        let compiled = compile(&source.read()?).map_err(PolicyError::Invalid)?;
        let scenarios = Scenarios::new(Arc::new(compiled), as_of)?;
        let table = self.scenario.as_deref().map(open_table).transpose()?;
        let (mut explanations, mut wrong) = (Vec::new(), 0_usize);
        for (number, line) in table.into_iter().flat_map(BufRead::lines).enumerate() {
            let line = line?;
            if !is_scenario(&line) {
                continue;
            }
            let parsed = serde_json::from_str::<Scenario>(&line).map_err(|error| error.to_string());
            match parsed.and_then(|scenario| scenarios.explain(&scenario).map_err(|error| error.to_string()))
            {
                Ok(explanation) => explanations.push(explanation),
                Err(problem) => {
                    wrong += 1;
                    eprintln!("line {}: {problem}", number + 1);
                }
            }
        }
        match self.format {
            Format::Json => print_json(&explanations)?,
            Format::Text => {
                for explanation in &explanations {
                    println!("{explanation}\n");
                }
            }
        }
        Ok(ExitCode::from(u8::from(wrong > 0)))
    }
}
