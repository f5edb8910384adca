//! `domicile where s3://bucket/key`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::target::Target;
use super::{CommandError, Format, print_json};
use crate::catalogue::sqlite::SqliteCatalogue;
use crate::catalogue::{Catalogue, HistoryLine, Placement};
use crate::clock::iso8601;
use crate::config::Config;
use crate::names::{BucketName, LocationId, ObjectKey};

/// Entries of an object that are shown.
const HISTORY: usize = 1000;

#[derive(Debug, Args)]
pub struct Where {
    /// The object, as `s3://bucket/key`
    object: String,
    #[command(flatten)]
    target: Target,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The answer, in the names that the JSON form promises.
#[derive(Debug, Serialize)]
struct Answer {
    object: String,
    location: String,
    country: Option<String>,
    region: Option<String>,
    provider: Option<String>,
    classes: Vec<String>,
    subjects: Vec<String>,
    scanned: crate::label::Coverage,
    evidence: Vec<crate::label::Evidence>,
    rules: Vec<String>,
    obligations: Vec<String>,
    policy: String,
    size: u64,
    etag: String,
    placed_at: String,
    history: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    time: String,
    event: String,
    from: Vec<String>,
    to: Vec<String>,
    effect: String,
    rules: Vec<String>,
    receipt: String,
}

impl Where {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let config = self.target.load()?;
        let Some(found) = find(&config, &self.object)? else {
            eprintln!("{} is not in the catalogue: no such object, or it was deleted", self.object);
            return Ok(ExitCode::from(1));
        };
        let answer = Answer::new(self.object, &config, found.placement, found.history);
        match self.format {
            Format::Json => print_json(&answer)?,
            Format::Text => answer.print(),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// An object as the catalogue knows it.
pub(super) struct Found {
    pub bucket: BucketName,
    /// The home location of its bucket.
    pub home: Option<LocationId>,
    pub placement: Placement,
    pub history: Vec<HistoryLine>,
}

/// Looks an object up, `s3://bucket/key`. Changes nothing.
pub(super) fn find(config: &Config, object: &str) -> Result<Option<Found>, CommandError> {
    let (bucket, key) = parse(object)?;
    let catalogue = SqliteCatalogue::open_read_only(&config.data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let handle = catalogue.object_handle(bucket.as_str(), key.as_str());
        let Some(placement) = catalogue.find(handle).await? else {
            return Ok(None);
        };
        let history = catalogue.history(placement.object, HISTORY).await?;
        let home = catalogue.find_bucket(catalogue.bucket_handle(bucket.as_str())).await?;
        Ok(Some(Found { home: home.and_then(|known| known.home), bucket, placement, history }))
    })
}

fn parse(object: &str) -> Result<(BucketName, ObjectKey), CommandError> {
    let usage = || format!("`{object}` is not an object; write s3://bucket/key");
    let (bucket, key) =
        object.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).ok_or_else(usage)?;
    Ok((bucket.parse()?, key.parse()?))
}

impl Answer {
    fn new(object: String, config: &Config, placement: Placement, history: Vec<HistoryLine>) -> Answer {
        let location = config.locations.iter().find(|location| location.id == placement.location);
        Answer {
            object,
            location: placement.location.to_string(),
            country: location.map(|location| location.country.to_string()),
            region: location.map(|location| location.region.clone()),
            provider: location.map(|location| location.provider.clone()),
            classes: placement.classes.iter().map(|class| class.to_string()).collect(),
            subjects: placement.subjects.iter().map(|country| country.to_string()).collect(),
            scanned: placement.coverage,
            evidence: placement.evidence,
            rules: placement.rules,
            obligations: placement.obligations,
            policy: placement.policy,
            size: placement.size,
            etag: placement.etag,
            placed_at: iso8601(placement.placed_at),
            history: history.into_iter().map(Line::new).collect(),
        }
    }

    fn print(&self) {
        let list = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        println!("{}", self.object);
        match (&self.country, &self.region) {
            (Some(country), Some(region)) => {
                println!("  rests in   {} in {country} (region {region})", self.location)
            }
            _ => println!("  rests in   {}, which the configuration does not name any more", self.location),
        }
        println!("  since      {}", self.placed_at);
        println!("  size       {} bytes, etag {}", self.size, self.etag);
        println!(
            "  holds      {}",
            if self.classes.is_empty() { "unlabelled data".to_owned() } else { list(&self.classes) }
        );
        println!("  about      {}", list(&self.subjects));
        for evidence in &self.evidence {
            println!("  because    {evidence}");
        }
        println!("  decided by {} (policy set {})", list(&self.rules), self.policy);
        println!("  duties     {}", list(&self.obligations));
        println!("  history");
        for line in &self.history {
            println!(
                "    {} {:9} {}{} [{}]",
                line.time,
                line.event,
                if line.from.is_empty() { String::new() } else { format!("from {} ", line.from.join(", ")) },
                if line.to.is_empty() { String::new() } else { format!("to {}", line.to.join(", ")) },
                line.receipt
            );
        }
    }
}

impl Line {
    fn new(line: HistoryLine) -> Line {
        let HistoryLine { receipt, entry } = line;
        Line {
            time: iso8601(entry.time),
            event: entry.event.word().to_owned(),
            from: entry.from.iter().map(|place| format!("{} ({})", place.location, place.country)).collect(),
            to: entry.to.iter().map(|place| format!("{} ({})", place.location, place.country)).collect(),
            effect: entry.effect,
            rules: entry.rules,
            receipt: receipt.to_string(),
        }
    }
}
