//! `policy check`: everything that is wrong with a folder of packs, in words for its author.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::cases::read_cases;
use super::compiled::{Compiled, compile};
use super::coverage::{Kind, kind};
use super::lint;
use super::snapshot::Setting;
use super::{PackSource, PolicyError};

/// One mistake in a pack file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: String,
    /// One-based line and column.
    pub place: Option<(usize, usize)>,
    /// The id of the rule that it is in.
    pub rule: Option<String>,
    pub message: String,
    pub help: Option<String>,
}

/// All mistakes that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Problems(pub Vec<Problem>);

/// What a check found: a usable policy set, or why it is none.
#[derive(Debug, Serialize)]
pub struct Report {
    pub packs: Vec<PackLine>,
    pub rules: usize,
    /// Hash of the policy set; `None` when there are problems.
    pub policy: Option<String>,
    pub problems: Problems,
    /// What is valid and yet may not be what its author meant.
    pub remarks: Problems,
}

/// How much is looked for beside what makes packs unusable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// What can be seen by reading.
    #[default]
    Quick,
    /// Also what only the prover can find, which takes a moment.
    Deep,
}

/// One pack of a usable policy set.
#[derive(Debug, Serialize)]
pub struct PackLine {
    pub name: String,
    pub title: String,
    pub version: String,
    pub as_of: String,
    pub review: String,
    pub rules: RuleCounts,
}

/// Its rules by kind; those that are switched off are counted apart.
#[derive(Debug, Default, Serialize)]
pub struct RuleCounts {
    pub permits: usize,
    pub gates: usize,
    pub commits: usize,
    pub grounds: usize,
    pub duties: usize,
    pub switched_off: usize,
}

/// Checks the packs of a source without asking them anything. The error is for files that cannot be read at all.
pub fn check(source: &PackSource) -> Result<Report, PolicyError> {
    check_for(source, Depth::Quick, None)
}

/// The same, with remarks of that depth, and on a configuration.
pub fn check_for(
    source: &PackSource,
    depth: Depth,
    setting: Option<(&Setting, i64)>,
) -> Result<Report, PolicyError> {
    let sources = source.read()?;
    let compiled = compile(&sources);
    let mut problems = compiled.as_ref().err().cloned().unwrap_or_default();
    match read_cases(&sources) {
        Err(PolicyError::Invalid(more)) => problems.0.extend(more.0),
        Err(other) => return Err(other),
        Ok(_) => {}
    }
    Ok(match compiled {
        Ok(compiled) if problems.0.is_empty() => {
            let compiled = Arc::new(compiled);
            let mut remarks = lint::quick(&sources, &compiled);
            if depth == Depth::Deep {
                remarks.extend(lint::deep(&sources, &compiled));
            }
            if let Some((setting, now)) = setting {
                remarks.extend(lint::configured(&compiled, setting, now.max(compiled.as_of)));
            }
            Report::usable(&compiled, Problems(remarks))
        }
        _ => Report { packs: Vec::new(), rules: 0, policy: None, problems, remarks: Problems::default() },
    })
}

impl Report {
    pub fn is_usable(&self) -> bool {
        self.problems.0.is_empty()
    }

    fn usable(compiled: &Compiled, remarks: Problems) -> Report {
        let packs = compiled.packs.iter().map(|pack| PackLine {
            name: pack.name.clone(),
            title: pack.title.clone(),
            version: pack.version.clone(),
            as_of: pack.as_of.clone(),
            review: pack.review.clone(),
            rules: RuleCounts::of(&pack.name, compiled),
        });
        Report {
            packs: packs.collect(),
            rules: compiled.rules.len(),
            policy: Some(compiled.hash.0.to_string()),
            problems: Problems(Vec::new()),
            remarks,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_usable() {
            return write!(f, "{}", self.problems);
        }
        for pack in &self.packs {
            writeln!(f, "{} {} (law as of {}): {}", pack.name, pack.version, pack.as_of, pack.title)?;
            writeln!(f, "    {}. {}", pack.rules, pack.review)?;
        }
        for remark in &self.remarks.0 {
            writeln!(f, "remark: {remark}")?;
        }
        let hash = self.policy.as_deref().unwrap_or_default();
        write!(f, "{} rules in {} packs are valid; policy set {hash}", self.rules, self.packs.len())
    }
}

impl RuleCounts {
    fn of(pack: &str, compiled: &Compiled) -> RuleCounts {
        let mut counts = RuleCounts::default();
        for rule in compiled.rules.iter().filter(|rule| *rule.rule.pack == *pack) {
            let counted = match kind(rule).0 {
                _ if rule.effective.is_none() => &mut counts.switched_off,
                Kind::Permit => &mut counts.permits,
                Kind::Gate => &mut counts.gates,
                Kind::Commit => &mut counts.commits,
                Kind::Ground => &mut counts.grounds,
                Kind::Duty => &mut counts.duties,
            };
            *counted += 1;
        }
        counts
    }
}

impl fmt::Display for RuleCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.permits, "permit", "permits"),
            (self.gates, "gate", "gates"),
            (self.commits, "commit", "commits"),
            (self.grounds, "ground", "grounds"),
            (self.duties, "duty", "duties"),
            (self.switched_off, "switched off", "switched off"),
        ];
        let words = counts.into_iter().filter(|(count, ..)| *count > 0);
        let words =
            words.map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }));
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n    help: {help}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
