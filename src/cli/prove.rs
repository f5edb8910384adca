//! `domicile policy prove` and `domicile policy diff`

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::policy::print;
use super::{CommandError, Format, print_json};
use crate::catalogue::Catalogue;
use crate::catalogue::sqlite::SqliteCatalogue;
use crate::config::Config;
use crate::gateway::start;
use crate::label::Coverage;
use crate::locations::LocationFacts;
use crate::names::BucketName;
use crate::policy::PackSource;
use crate::policy::impact::{self, Counting, Impact};
use crate::policy::prove::{self, diff};

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

impl Prove {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let (source, places) = world(self.policies, self.config.as_deref())?;
        let report = prove::prove(&source, self.invariants.as_deref(), self.as_of.as_deref(), &places)?;
        print(self.format, &report)?;
        Ok(ExitCode::from(u8::from(!report.all_hold())))
    }
}

impl Diff {
    pub fn run(self) -> Result<ExitCode, CommandError> {
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
    config: Option<&Path>,
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
