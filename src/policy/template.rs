//! `policy new` and `policy export`: a pack to start from, and the shipped packs as files.
//!
//! A new pack is checked and tested in memory before its first file is written, so what is written passes
//! `policy check` and `policy test`. It decides nothing: its example is a draft, and it covers no country yet, so
//! that the base pack goes on keeping that country's data at home.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::compiled::compile;
use super::formatting::format_text;
use super::source::{PackFiles, SourceFile, Sources, shipped};
use super::{PackSource, PolicyError, cases};
use crate::names::Country;

/// What a new pack is made of.
#[derive(Debug, Clone)]
pub struct NewPack {
    /// The name of its folder: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// The country whose law it will carry out.
    pub country: Country,
    pub title: String,
    /// The day on which its author looked at the law, for example `2026-11-22`.
    pub as_of: String,
}

/// The files that were written.
#[derive(Debug, Serialize)]
pub struct Written {
    pub folder: String,
    pub files: Vec<String>,
    /// What to do next, in order.
    pub next: Vec<String>,
}

/// Writes a new pack into a policy folder. What is there already stays as it is.
pub fn new_pack(directory: &Path, pack: &NewPack) -> Result<Written, PolicyError> {
    let layout =
        |path: &Path, message: String| PolicyError::Layout { path: path.display().to_string(), message };
    let folder = directory.join(&pack.name);
    check_words(pack).map_err(|message| layout(&folder, message))?;
    if folder.exists() {
        return Err(layout(&folder, "exists already; nothing was written".to_owned()));
    }
    if !directory.is_dir() {
        let message = format!(
            "there is no policy folder here; `domicile policy export {}` writes the shipped packs to it",
            directory.display()
        );
        return Err(layout(directory, message));
    }
    let mut sources = PackSource::directory(directory).read()?;
    let covered = compile(&sources).map_err(PolicyError::Invalid)?.covers.contains(pack.country);
    let files = files(pack, covered);
    sources.packs.push(PackFiles::of(&pack.name, &files));
    prove(&sources, pack)?;
    std::fs::create_dir(&folder)
        .map_err(|source| PolicyError::Write { path: folder.display().to_string(), source })?;
    let root = directory.display();
    Ok(Written {
        files: write_files(&folder, &files)?,
        folder: folder.display().to_string(),
        next: vec![
            format!(
                "Write the law into {}/10-gates.cedar, and each rule's cases into cases.toml.",
                folder.display()
            ),
            format!("domicile policy fmt {root} && domicile policy check --policies {root}"),
            format!("domicile policy test --policies {root}"),
            format!(
                "When the rules are in force, add \"{}\" to `covers` and set `status` in pack.toml: from then on only these \
                 rules keep that country's data at home.",
                pack.country
            ),
        ],
    })
}

/// Writes the shipped packs, schema and word lists into a folder that is new or empty.
pub fn export(directory: &Path) -> Result<Written, PolicyError> {
    let failed = |source| PolicyError::Write { path: directory.display().to_string(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    if std::fs::read_dir(directory).map_err(failed)?.next().is_some() {
        return Err(PolicyError::Layout {
            path: directory.display().to_string(),
            message: "the folder is not empty; nothing was written".to_owned(),
        });
    }
    let files: BTreeMap<String, String> =
        shipped().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    let root = directory.display();
    Ok(Written {
        files: write_files(directory, &files)?,
        folder: root.to_string(),
        next: vec![
            format!("Set `directory = \"{root}\"` under `[policy]` in the configuration."),
            format!("domicile policy check --policies {root}"),
        ],
    })
}

fn write_files(folder: &Path, files: &BTreeMap<String, String>) -> Result<Vec<String>, PolicyError> {
    let mut written = Vec::with_capacity(files.len());
    for (name, text) in files {
        let path: PathBuf = folder.join(name);
        let failed = |source| PolicyError::Write { path: path.display().to_string(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut file = std::fs::File::create_new(&path).map_err(failed)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

fn check_words(pack: &NewPack) -> Result<(), String> {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    let name = &pack.name;
    if !(1..=40).contains(&name.len()) || !name.bytes().all(letter) || name.starts_with(['-', '_']) {
        return Err("a pack's name is up to 40 lower-case letters, digits, `-` and `_`".to_owned());
    }
    if pack.title.trim().is_empty() || pack.title.chars().any(char::is_control) {
        return Err("a pack's title is one line of text".to_owned());
    }
    Ok(())
}

/// Checks and tests the set with the new pack in it, before anything of it is written.
fn prove(sources: &Sources, pack: &NewPack) -> Result<(), PolicyError> {
    let compiled = Arc::new(compile(sources).map_err(PolicyError::Invalid)?);
    let mut own = sources.clone();
    own.packs.retain(|files| files.name == pack.name);
    let report = cases::run(&own, &compiled)?;
    match report.results.iter().find_map(|result| result.failure.as_ref()) {
        None => Ok(()),
        Some(failure) => Err(PolicyError::Layout {
            path: pack.name.clone(),
            message: format!(
                "a new pack for {} would fail its own first case with the packs of this folder: {failure}",
                pack.country
            ),
        }),
    }
}

impl PackFiles {
    fn of(name: &str, files: &BTreeMap<String, String>) -> PackFiles {
        let file = |inner: &str| {
            files.get(inner).map(|text| SourceFile { path: format!("{name}/{inner}"), text: text.clone() })
        };
        PackFiles {
            name: name.to_owned(),
            manifest: file(MANIFEST)
                .unwrap_or_else(|| SourceFile { path: format!("{name}/{MANIFEST}"), text: String::new() }),
            policies: file(GATES).into_iter().collect(),
            cases: file(CASES),
            scenarios: file(SCENARIOS),
        }
    }
}

const MANIFEST: &str = "pack.toml";
const GATES: &str = "10-gates.cedar";
const CASES: &str = "cases.toml";
const SCENARIOS: &str = "scenarios.jsonl";

/// `covered`: whether another pack speaks for the country already.
fn files(pack: &NewPack, covered: bool) -> BTreeMap<String, String> {
    let NewPack { name, country, title, as_of } = pack;
    let quoted = toml::Value::String(title.clone());
    let rule = format!("{}-EXAMPLE-1", name.to_uppercase());
    let manifest = format!(
        r#"name = "{name}"
title = {quoted}
version = "0.1.0"
# The day on which you last looked at the law.
as-of = "{as_of}"
laws = []
# Countries whose law this pack carries out. While {country} is in no pack's list, its data may rest in {country} only.
# Add it here on the day on which your rules are in force, not before.
covers = []
# draft or in_force
status = "draft"
author = "your name"
reviewer = "none yet"
review = "Counsel must review this pack before enforcement."
sources = []

# A provision that you know and that no rule enforces:
# [[not-enforced]]
# id = "{upper}-LAW-2"
# law = "Name of the law"
# article = "Art. 2"
# reason = "Retention: concerns how long, not where."
"#,
        upper = name.to_uppercase()
    );
    let gates = format!(
        r#"// {title}: what may not leave {country}, and on which grounds it may.
//
// A gate forbids what the law binds, unless a ground that the law knows is there. Packs of laws never permit.
// docs/policies.md is the reference for the words.

// An example, switched off by its status. Here stands the law in one plain sentence.
@id("{rule}")
@law("Name of the law")
@article("Art. 1")
@effective("{as_of}")
@status("draft")
@confidence("low")
@explain("Personal data of {country} leaves the country only under standard contractual clauses.")
@remedy("Use a location in {country}, or record the mechanism `scc` for the destination.")
forbid (principal, action in Action::"Transfer", resource)
when {{ context.under.contains(Country::"{country}") && context.classes.contains(Class::"personal") }}
unless {{ resource.country == Country::"{country}" || context.mechanisms.contains(Mechanism::"scc") }};
"#
    );
    let abroad = if country.code() == "US" { "BR" } else { "US" };
    let mut cases = format!(
        r#"# Questions with the answers that you expect. Each rule, once it is in force, needs a case that fails without it.

[[case]]
name = "personal data about {country} may rest in {country}"
classes = ["personal"]
subjects = ["{country}"]
location = "{country}"
expect = "allow"
"#
    );
    if !covered {
        cases.push_str(&format!(
            r#"
[[case]]
name = "while no pack covers {country}, personal data about it rests nowhere else"
classes = ["personal"]
subjects = ["{country}"]
location = "{abroad}"
expect = "deny"
rules = ["BASE-UNCOVERED"]
"#
        ));
    }
    cases.push_str(&format!(
        r#"
# For the example, when it is in force:
# [[case]]
# name = "personal data leaves {country} under standard contractual clauses only"
# classes = ["personal"]
# subjects = ["{country}"]
# location = "{abroad}"
# expect = "deny"
# rules = ["{rule}"]
"#
    ));
    let scenarios = format!(
        "// One scenario a line, for people who keep tables; docs/policies.md describes the fields.\n\
         {{\"id\": \"{name}-1\", \"classes\": [\"personal\"], \"subjects\": [\"{country}\"], \"action\": \"Store\", \
         \"target\": {{\"country\": \"{country}\"}}, \"expect\": {{\"decision\": \"allow\"}}}}\n"
    );
    // What cannot be laid out is told by the check that follows.
    let gates = format_text(&gates).unwrap_or(gates);
    BTreeMap::from([
        (MANIFEST.to_owned(), manifest),
        (GATES.to_owned(), gates),
        (CASES.to_owned(), cases),
        (SCENARIOS.to_owned(), scenarios),
    ])
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.files.as_slice() {
            few if few.len() <= 8 => {
                for file in few {
                    writeln!(f, "wrote {file}")?;
                }
            }
            many => writeln!(f, "wrote {} files to {}", many.len(), self.folder)?,
        }
        write!(f, "Next:")?;
        for (n, step) in self.next.iter().enumerate() {
            write!(f, "\n  {}. {step}", n + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::check::check;

    fn pack(name: &str, country: &str) -> NewPack {
        NewPack {
            name: name.to_owned(),
            country: country.parse().unwrap(),
            title: "A \"quoted\" title\\".to_owned(),
            as_of: "2026-11-22".to_owned(),
        }
    }

    #[test]
    fn a_new_pack_passes_check_test_and_fmt_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("policies");
        assert!(new_pack(&policies, &pack("nz", "NZ")).unwrap_err().to_string().contains("policy export"));
        export(&policies).unwrap();
        assert!(export(&policies).unwrap_err().to_string().contains("not empty"));

        // A country that no pack covers, and one that several speak of.
        for (name, country) in [("nz", "NZ"), ("de-bank", "DE")] {
            let written = new_pack(&policies, &pack(name, country)).unwrap();
            assert_eq!(written.files.len(), 4);
            let again = new_pack(&policies, &pack(name, country)).unwrap_err();
            assert!(again.to_string().contains("exists already"), "{again}");
            let gates = std::fs::read_to_string(policies.join(name).join(GATES)).unwrap();
            assert_eq!(format_text(&gates).unwrap(), gates);
        }
        let source =
            PackSource { directory: Some(policies), packs: vec!["nz".to_owned(), "de-bank".to_owned()] };
        let report = check(&source).unwrap();
        assert!(report.is_usable(), "{report}");
        let tested = cases::test(&source).unwrap();
        assert!(tested.passed(), "{tested}");
        let own = |pack: &str| tested.results.iter().filter(|result| result.pack == pack).count();
        assert_eq!((own("nz"), own("de-bank")), (3, 2), "cases and scenarios of both");
    }

    #[test]
    fn a_name_that_would_leave_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "NZ", "-x", "base2 "] {
            assert!(new_pack(folder.path(), &pack(name, "NZ")).is_err(), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
