//! `policy coverage`: provision by provision, what the packs enforce, by which kind of rule, and how sure they are.
//!
//! It reads the rules' annotations and the manifests and asks nothing: what stands here is what the packs say of
//! themselves. The page `docs/coverage.md` is its text for the packs that are shipped.

use std::fmt;

use cedar_policy::pst::Clause;
use cedar_policy::{Effect, Policy};
use serde::Serialize;

use super::compiled::{Compiled, CompiledRule, Role, compile};
use super::manifest::PackManifest;
use super::parts;
use super::{PackSource, PolicyError};

/// What all packs of a policy set cover.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// Hash of the policy set.
    pub policy: String,
    pub packs: Vec<PackCoverage>,
}

/// What one pack covers.
#[derive(Debug, Serialize)]
pub struct PackCoverage {
    pub pack: String,
    pub title: String,
    pub version: String,
    pub as_of: String,
    pub covers: Vec<String>,
    pub reviewer: Option<String>,
    pub review: String,
    pub provisions: Vec<Provision>,
}

/// One provision of a law.
#[derive(Debug, Serialize)]
pub struct Provision {
    pub id: String,
    pub law: String,
    pub article: String,
    pub standing: Standing,
    /// The rules that carry it out; none for what is not enforced.
    pub means: Vec<Means>,
    /// Why no rule enforces it.
    pub reason: Option<String>,
}

/// Whether a provision has an effect on decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Some rule of it decides, on and after its day.
    Enforced,
    /// Its rules are written and switched off: a draft, or what is in abeyance.
    SwitchedOff,
    NotEnforced,
}

/// One rule that carries out a provision.
#[derive(Debug, Serialize)]
pub struct Means {
    pub rule: String,
    pub kind: Kind,
    /// The actions of a gate, the obligation of a duty.
    pub about: String,
    /// Whether the gate has a way through: an `unless`.
    pub conditional: bool,
    /// As it is annotated.
    pub status: String,
    pub effective: String,
    pub expires: Option<String>,
    pub confidence: String,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Allows a transfer: only in the base pack.
    Permit,
    /// Forbids a transfer.
    Gate,
    /// Judges the set of copies.
    Commit,
    /// Names the provision that what is allowed rests on.
    Ground,
    /// Makes an obligation due.
    Duty,
}

/// Reads what the packs of a source say of themselves.
pub fn coverage(source: &PackSource) -> Result<Coverage, PolicyError> {
    let compiled = compile(&source.read()?).map_err(PolicyError::Invalid)?;
    Ok(Coverage {
        policy: compiled.hash.0.to_string(),
        packs: compiled.packs.iter().map(|pack| PackCoverage::new(pack, &compiled)).collect(),
    })
}

impl Coverage {
    /// Ids of all provisions and of all rules that carry them out.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let provisions = self.packs.iter().flat_map(|pack| &pack.provisions);
        provisions.flat_map(|provision| {
            let rules = provision.means.iter().map(|means| means.rule.as_str());
            std::iter::once(provision.id.as_str()).chain(rules)
        })
    }
}

impl PackCoverage {
    fn new(pack: &PackManifest, compiled: &Compiled) -> PackCoverage {
        let mut provisions: Vec<Provision> = Vec::new();
        for rule in compiled.rules.iter().filter(|rule| *rule.rule.pack == *pack.name) {
            let id = &*rule.rule.part_of;
            let known = provisions.iter().position(|provision| provision.id == *id);
            let index = known.unwrap_or_else(|| {
                provisions.push(Provision {
                    id: id.to_owned(),
                    law: rule.rule.law.to_string(),
                    article: rule.rule.article.to_string(),
                    standing: Standing::SwitchedOff,
                    means: Vec::new(),
                    reason: None,
                });
                provisions.len() - 1
            });
            let Some(provision) = provisions.get_mut(index) else { continue };
            // The rule of that name speaks for the provision; those that are part of it may name less of the law.
            if *rule.rule.id == *id {
                provision.law = rule.rule.law.to_string();
                provision.article = rule.rule.article.to_string();
            }
            if rule.effective.is_some() {
                provision.standing = Standing::Enforced;
            }
            provision.means.push(Means::new(rule));
        }
        for provision in &mut provisions {
            provision.means.sort_by_key(|means| means.kind);
        }
        provisions.extend(pack.not_enforced.iter().map(|entry| Provision {
            id: entry.id.clone(),
            law: entry.law.clone(),
            article: entry.article.clone(),
            standing: Standing::NotEnforced,
            means: Vec::new(),
            reason: Some(entry.reason.clone()),
        }));
        PackCoverage {
            pack: pack.name.clone(),
            title: pack.title.clone(),
            version: pack.version.clone(),
            as_of: pack.as_of.clone(),
            covers: pack.covers.iter().map(ToString::to_string).collect(),
            reviewer: pack.reviewer.clone(),
            review: pack.review.clone(),
            provisions,
        }
    }

    fn count(&self, standing: Standing) -> usize {
        self.provisions.iter().filter(|provision| provision.standing == standing).count()
    }
}

impl Means {
    fn new(rule: &CompiledRule) -> Means {
        let word = |name: &str| rule.policy.annotation(name).map(str::to_owned);
        let (kind, about) = kind(rule);
        Means {
            rule: rule.rule.id.to_string(),
            kind,
            about,
            conditional: kind == Kind::Gate && has_unless(&rule.policy),
            status: rule.status.to_string(),
            effective: word("effective").unwrap_or_default(),
            expires: word("expires"),
            confidence: rule.rule.confidence.to_string(),
        }
    }
}

/// What a rule is, and what it is about.
pub(super) fn kind(rule: &CompiledRule) -> (Kind, String) {
    match &rule.role {
        Role::Gate => {
            let kind = if rule.policy.effect() == Effect::Permit { Kind::Permit } else { Kind::Gate };
            (kind, actions(&rule.policy))
        }
        Role::Commit => (Kind::Commit, "the set of copies".to_owned()),
        Role::Ground => (Kind::Ground, String::new()),
        Role::Duty(obligation) => (Kind::Duty, obligation.0.to_string()),
    }
}

fn actions(policy: &Policy) -> String {
    let names = parts::actions(policy).unwrap_or_default();
    let words = names.iter().map(|name| match name.as_str() {
        "Transfer" => "storing, copying, moving and reading",
        "AtRest" => "storing, copying and moving",
        "Store" => "storing",
        "Replicate" => "copying",
        "Relocate" => "moving",
        "Read" => "reading",
        other => other,
    });
    words.collect::<Vec<_>>().join(", ")
}

fn has_unless(policy: &Policy) -> bool {
    let tree = policy.to_pst();
    tree.is_ok_and(|tree| tree.body().clauses().iter().any(|clause| matches!(clause, Clause::Unless(_))))
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |standing| self.packs.iter().map(|pack| pack.count(standing)).sum::<usize>();
        writeln!(f, "# What the packs enforce\n")?;
        writeln!(f, "Made by `domicile policy coverage` from the packs; do not edit it by hand.\n")?;
        writeln!(
            f,
            "**Counsel must review every pack before enforcement.** This is an engineer's reading of public sources and \
             no legal advice. Confidence is the pack author's: how sure the reading of the law is.\n"
        )?;
        writeln!(
            f,
            "{} provisions in {} packs: {} enforced, {} written and switched off, {} not enforced, each with the reason.\n",
            all(Standing::Enforced) + all(Standing::SwitchedOff) + all(Standing::NotEnforced),
            self.packs.len(),
            all(Standing::Enforced),
            all(Standing::SwitchedOff),
            all(Standing::NotEnforced)
        )?;
        writeln!(
            f,
            "- **gate**: refuses the actions that it names; \"with exceptions\": unless the place is one that the law allows, or a \
             ground is there that it knows\n\
             - **ground**: names the provision that what is allowed rests on\n\
             - **duty**: what is due beside a permission\n\
             - **commit**: refuses a set of copies in which one is missing that must be there\n\
             - **switched off**: a draft, or a provision that is not in force; it decides nothing\n"
        )?;
        write!(f, "| jurisdiction | pack | enforced | switched off | not enforced |\n|---|---|---|---|---|")?;
        for pack in &self.packs {
            write!(
                f,
                "\n| {} | [{}](#{}) | {} | {} | {} |",
                cell(&pack.title),
                pack.pack,
                pack.pack,
                pack.count(Standing::Enforced),
                pack.count(Standing::SwitchedOff),
                pack.count(Standing::NotEnforced)
            )?;
        }
        for pack in &self.packs {
            write!(f, "\n\n{pack}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PackCoverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.pack)?;
        let reviewer = self.reviewer.as_deref().unwrap_or("none yet");
        writeln!(
            f,
            "{}. Version {}, law as of {}. Reviewer: {reviewer}. {}\n",
            self.title, self.version, self.as_of, self.review
        )?;
        write!(f, "| provision | law | effective | status | how | confidence |\n|---|---|---|---|---|---|")?;
        for provision in &self.provisions {
            write!(f, "\n{provision}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Provision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let law = match (self.law.as_str(), self.article.as_str()) {
            (law, "") => law.to_owned(),
            ("", article) => article.to_owned(),
            (law, article) => format!("{law}, {article}"),
        };
        write!(f, "| {} | {} |", self.id, cell(&law))?;
        if let Some(reason) = &self.reason {
            return write!(f, " | not enforced | {} | |", cell(reason));
        }
        let days = distinct(self.means.iter().map(|means| match &means.expires {
            None => means.effective.clone(),
            Some(end) => format!("{} until {end}", means.effective),
        }));
        let statuses = distinct(self.means.iter().map(|means| match self.standing {
            Standing::SwitchedOff => format!("{}: switched off", means.status),
            _ => means.status.clone(),
        }));
        let how = distinct(self.means.iter().map(|means| {
            let off = if means.status == "in_force" || means.status == "future" { "" } else { " (off)" };
            match self.standing {
                Standing::SwitchedOff => means.words(&self.id),
                _ => format!("{}{off}", means.words(&self.id)),
            }
        }));
        let confidence = distinct(self.means.iter().map(|means| means.confidence.clone()));
        write!(f, " {} | {} | {} | {} |", days, statuses, cell(&how), confidence)
    }
}

impl Means {
    /// What it does, and which rule does it where that is not the provision's own.
    fn words(&self, provision: &str) -> String {
        let does = match self.kind {
            Kind::Permit => format!("permit: {}", self.about),
            Kind::Gate if self.conditional => format!("gate with exceptions: {}", self.about),
            Kind::Gate => format!("gate: {}", self.about),
            Kind::Commit => "commit".to_owned(),
            Kind::Ground => "ground".to_owned(),
            Kind::Duty => format!("duty `{}`", self.about),
        };
        if self.rule == provision { does } else { format!("{does} ({})", self.rule) }
    }
}

/// The words without repetition, in their order.
fn distinct(words: impl Iterator<Item = String>) -> String {
    let mut list: Vec<String> = Vec::new();
    for word in words {
        if !list.contains(&word) {
            list.push(word);
        }
    }
    list.join("; ")
}

/// Text that stays inside of one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provision_is_told_with_all_of_its_rules_and_what_no_rule_enforces_with_the_reason() {
        let coverage = coverage(&PackSource { directory: None, packs: vec!["cn".to_owned()] })
            .expect("the pack is usable");
        let pack = coverage.packs.iter().find(|pack| pack.pack == "cn").expect("it was chosen");
        let one =
            |id: &str| pack.provisions.iter().find(|provision| provision.id == id).expect("it is there");
        let kinds: Vec<Kind> = one("CN-CSL-39").means.iter().map(|means| means.kind).collect();
        assert_eq!(kinds.first(), Some(&Kind::Gate));
        assert!(kinds.contains(&Kind::Commit) && kinds.contains(&Kind::Duty), "{kinds:?}");
        let row = one("CN-CSL-39").to_string();
        assert!(row.contains("duty `copy-in:CN` (CN-CSL-39-COPY)"), "{row}");
        let row = one("CN-NDSM-28").to_string();
        assert!(row.contains("not enforced | Governance"), "{row}");
        assert!(pack.count(Standing::SwitchedOff) > 0, "drafts are shipped switched off");
    }

    #[test]
    fn a_bar_in_a_text_does_not_end_its_cell() {
        assert_eq!(cell("a|b\nc"), "a\\|b c");
    }
}
