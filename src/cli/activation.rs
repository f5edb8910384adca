//! `domicile policy approve`, `rollback` and `shadow`: the life of a change of policies.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::target::Target;
use super::{CommandError, Format, print_json, ready};
use crate::config::{self, Config};
use crate::gateway::start;
use crate::policy::activation::{ActivationError, require_approval};
use crate::policy::kept::{Kept, Pin, Taken, write_activation};
use crate::policy::source::read_configured;
use crate::policy::{Activation, Candidate, PackSource, PolicyHash, check};

#[derive(Debug, Args)]
pub struct Approve {
    /// Folder of policy packs; the configured one when absent
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Configuration file of the gateway; it says which packs of the folder count. All of them without one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Who wrote the change
    #[arg(long, value_name = "NAME")]
    author: String,
    /// Who has read it and stands for it; somebody else
    #[arg(long, value_name = "NAME")]
    approver: String,
    /// Why it is made
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Approve {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let policy = match &self.config {
            Some(path) => Config::load(path)?.policy,
            None => config::Policy::default(),
        };
        let directory = self.policies.or(policy.directory.clone()).ok_or(
            "which policies? Give --policies DIR, or --config with a file that sets policy.directory",
        )?;
        let policy = config::Policy { directory: Some(directory.clone()), ..policy };
        let report = check::check(&PackSource::from(&policy))?;
        if !report.is_usable() {
            eprintln!("{report}");
            return Ok(ExitCode::from(1));
        }
        let set = read_configured(&policy)?.hash();
        let record = record(self.author, self.approver, self.reason, &set);
        record.check()?;
        if let Err(error) = require_approval(Some(&record), &set) {
            eprintln!("domicile: {error}");
            return Ok(ExitCode::from(1));
        }
        write_activation(&directory, &record)?;
        println!("Policy set {} is approved. Any further change of its files needs another approval.", set.0);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// Beginning of the hash of a set that was in force; without it, all of them are listed
    #[arg(value_name = "HASH", conflicts_with = "release")]
    hash: Option<String>,
    /// End a roll back: the configured policies count again
    #[arg(long)]
    release: bool,
    /// Who rolls back
    #[arg(long, value_name = "NAME", requires_all = ["hash", "approver", "reason"])]
    author: Option<String>,
    /// Who approves of it
    #[arg(long, value_name = "NAME", requires = "author")]
    approver: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", requires = "author")]
    reason: Option<String>,
    #[command(flatten)]
    target: Target,
    /// How the list is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Rollback {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let config = self.target.load()?;
        let kept = Kept::of(&config.data);
        if self.release {
            return release(&config, &kept);
        }
        let Some(hash) = &self.hash else { return list(&kept, self.format) };
        let set = kept.find(hash)?;
        let activation = match (self.author, self.approver, self.reason) {
            (Some(author), Some(approver), Some(reason)) => Some(record(author, approver, reason, &set)),
            _ => None,
        };
        if let Some(activation) = &activation {
            activation.check()?;
        }
        // Nothing is pinned that a gateway would then refuse to start with.
        let candidate = Candidate::load(&kept.source(&set.0), start::setting(&config))?;
        if *candidate.policy() != set {
            return Err(format!("the kept policy set {} was changed since it was in force", set.0).into());
        }
        if config.policy.require_approval
            && let Err(error) = require_approval(activation.as_ref(), &set)
        {
            eprintln!("domicile: {}", roll_back_words(&error));
            return Ok(ExitCode::from(1));
        }
        kept.pin(&Pin { set: set.0.to_string(), activation })?;
        println!(
            "Policy set {} stays in force until `domicile policy rollback --release`. A running gateway takes it up \
             within seconds; `domicile ready` shows it.",
            set.0
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn roll_back_words(error: &ActivationError) -> String {
    match error {
        ActivationError::Missing(_) => {
            "policy.require-approval is on: give --author, --approver and --reason of the roll back"
                .to_owned()
        }
        ActivationError::SamePerson(_) => {
            "author and approver are the same person; somebody else must approve the roll back".to_owned()
        }
        other => other.to_string(),
    }
}

fn release(config: &Config, kept: &Kept) -> Result<ExitCode, CommandError> {
    // While the old set is pinned, the files may have become unusable: then it stays.
    let candidate = Candidate::of(read_configured(&config.policy)?, start::setting(config))?;
    if config.policy.require_approval {
        require_approval(candidate.activation.as_ref(), candidate.policy())?;
    }
    if !kept.release()? {
        println!("No policy set was rolled back to.");
        return Ok(ExitCode::from(1));
    }
    println!(
        "The configured policies count again: set {}. A running gateway takes them up within seconds.",
        candidate.policy().0
    );
    Ok(ExitCode::SUCCESS)
}

fn list(kept: &Kept, format: Format) -> Result<ExitCode, CommandError> {
    let (history, pin) = (kept.history()?, kept.pinned()?);
    match format {
        Format::Json => print_json(&json!({ "history": history, "pinned": pin }))?,
        Format::Text => {
            if history.is_empty() {
                println!("No policy set was in force with this data folder yet.");
            }
            for taken in &history {
                println!("{}", line(taken));
            }
            if let Some(pin) = pin {
                println!("Rolled back to {}; `domicile policy rollback --release` ends that.", pin.set);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(taken: &Taken) -> String {
    let by = match &taken.activation {
        None => String::new(),
        Some(Activation { author, approver, reason, .. }) => {
            format!("  {author}, approved by {approver}: {reason}")
        }
    };
    format!("{}  {:8}  {}{by}", taken.at, taken.cause.word(), taken.set)
}

fn record(author: String, approver: String, reason: String, set: &PolicyHash) -> Activation {
    let date = jiff::Timestamp::now().to_string();
    Activation { author, approver, reason, date, set: Some(set.0.to_string()) }
}

#[derive(Debug, Args)]
pub struct Shadow {
    /// Address of the gateway's admin listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
}

impl Shadow {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let answer = ready::ask(self.admin, "/policy/shadow", Duration::from_secs(10))
            .map_err(|error| format!("no answer from the admin listener at {}: {error}", self.admin))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
            Some("200") => {
                print_json(&serde_json::from_str::<serde_json::Value>(body)?)?;
                Ok(ExitCode::SUCCESS)
            }
            Some("404") => {
                eprintln!("domicile: this gateway has no candidate policy set; set policy.shadow");
                Ok(ExitCode::from(1))
            }
            _ => Err(format!("{} is not the admin listener of a gateway", self.admin).into()),
        }
    }
}
