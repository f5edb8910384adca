//! Where pack files come from: the binary itself, or a folder that replaces them all.
//!
//! This module reads files and knows the folder layout; it does not look inside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::activation;
use super::{PolicyError, PolicyHash};
use crate::config;

/// The name of the pack that is always loaded: it holds the only permits.
pub const BASE: &str = "base";

const SCHEMA: &str = "schema.cedarschema";
const BLOCS: &str = "blocs.toml";
const SENSITIVE: &str = "sensitive.toml";
const WORDS: &str = "words.toml";
/// A Rego policy beside the packs, and the file that says what is asked of it.
pub const REGO: &str = "constraint.rego";
const QUERY: &str = "constraint.toml";
const INVARIANTS: &str = "invariants.toml";
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_FILES: usize = 2000;

/// Which packs to load, and from where.
#[derive(Debug, Clone, Default)]
pub struct PackSource {
    /// `None`: the packs in the binary.
    pub directory: Option<PathBuf>,
    /// Names of packs; all when empty. The base pack is always among them.
    pub packs: Vec<String>,
}

impl PackSource {
    /// All packs that are shipped with this version.
    pub fn embedded() -> PackSource {
        PackSource::default()
    }

    /// All packs of a folder.
    pub fn directory(path: impl Into<PathBuf>) -> PackSource {
        PackSource { directory: Some(path.into()), packs: Vec::new() }
    }

    /// Reads every file of the chosen packs.
    pub fn read(&self) -> Result<Sources, PolicyError> {
        let files = match &self.directory {
            None => EMBEDDED.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
            Some(directory) => read_directory(directory)?,
        };
        let root = self.directory.as_deref().map_or_else(String::new, |d| d.display().to_string());
        Sources::arrange(root, files)?.choose(&self.packs)
    }
}

impl From<&config::Policy> for PackSource {
    fn from(policy: &config::Policy) -> PackSource {
        PackSource { directory: policy.directory.clone(), packs: policy.packs.clone() }
    }
}

/// Reads all that the configuration makes a policy set of.
pub fn read_configured(policy: &config::Policy) -> Result<Sources, PolicyError> {
    let sources = PackSource::from(policy).read()?;
    match &policy.rego {
        Some(rego) => sources.constrained(rego),
        None => Ok(sources),
    }
}

/// One file, with its path relative to the policy folder.
#[derive(Debug, Clone)]
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

/// The files of one pack.
#[derive(Debug, Clone)]
pub struct PackFiles {
    pub name: String,
    pub manifest: SourceFile,
    /// In the order of their names, which is the order of the rules in answers.
    pub policies: Vec<SourceFile>,
    pub cases: Option<SourceFile>,
    /// A table of scenarios that `policy test` runs too.
    pub scenarios: Option<SourceFile>,
}

/// Everything that a policy set is made of. The base pack comes first.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder that paths are relative to; empty for the binary's own.
    pub root: String,
    pub schema: SourceFile,
    pub blocs: SourceFile,
    /// Which classes a law takes to be sensitive.
    pub sensitive: SourceFile,
    /// Other spellings of the schema's words.
    pub words: SourceFile,
    /// What must never be allowed.
    pub invariants: Option<SourceFile>,
    pub packs: Vec<PackFiles>,
    /// Who brings the set into force; no part of what is decided.
    pub activation: Option<SourceFile>,
    /// A policy of another engine, which can refuse what the packs allow.
    pub constraint: Option<ConstraintFiles>,
}

/// A Rego policy, and what is asked of it.
#[derive(Debug, Clone)]
pub struct ConstraintFiles {
    pub rego: SourceFile,
    pub query: SourceFile,
}

impl Sources {
    /// Sorts files by the place that the layout gives them. A file without a place is an error: a misspelt
    /// `.cedar` must not quietly take a prohibition away.
    pub fn arrange(root: String, files: BTreeMap<String, String>) -> Result<Sources, PolicyError> {
        let layout = |path: &str, message: &str| PolicyError::Layout {
            path: if root.is_empty() { path.to_owned() } else { format!("{root}/{path}") },
            message: message.to_owned(),
        };
        let (mut schema, mut blocs, mut sensitive, mut words) = (None, None, None, None);
        let mut invariants = None;
        let (mut activation, mut rego, mut query) = (None, None, None);
        let mut packs: BTreeMap<String, Slot> = BTreeMap::new();
        for (path, text) in files {
            let file = SourceFile { path: path.clone(), text };
            match path.split_once('/') {
                None if path == SCHEMA => schema = Some(file),
                None if path == BLOCS => blocs = Some(file),
                None if path == SENSITIVE => sensitive = Some(file),
                None if path == WORDS => words = Some(file),
                None if path == INVARIANTS => invariants = Some(file),
                None if path == activation::FILE => activation = Some(file),
                None if path == REGO => rego = Some(file),
                None if path == QUERY => query = Some(file),
                Some((pack, name)) if !name.contains('/') => {
                    let slot = packs.entry(pack.to_owned()).or_default();
                    match name {
                        "pack.toml" => slot.manifest = Some(file),
                        "cases.toml" => slot.cases = Some(file),
                        "scenarios.jsonl" => slot.scenarios = Some(file),
                        _ if name.ends_with(".cedar") => slot.policies.push(file),
                        _ => return Err(layout(&path, UNEXPECTED)),
                    }
                }
                _ => return Err(layout(&path, UNEXPECTED)),
            }
        }
        let constraint = match (rego, query) {
            (Some(rego), Some(query)) => Some(ConstraintFiles { rego, query }),
            (None, None) => None,
            _ => {
                return Err(layout(REGO, "constraint.rego and constraint.toml come together, or not at all"));
            }
        };
        let mut arranged = Vec::with_capacity(packs.len());
        for (name, Slot { manifest, policies, cases, scenarios }) in packs {
            let Some(manifest) = manifest else {
                return Err(layout(&name, "the pack has no pack.toml"));
            };
            if policies.is_empty() {
                return Err(layout(&name, "the pack has no .cedar file"));
            }
            arranged.push(PackFiles { name, manifest, policies, cases, scenarios });
        }
        arranged.sort_by_key(|pack| pack.name != BASE);
        if arranged.first().is_none_or(|pack| pack.name != BASE) {
            return Err(layout(BASE, "there is no base pack, so nothing could ever be allowed"));
        }
        Ok(Sources {
            schema: schema.ok_or_else(|| layout(SCHEMA, "the policy folder has no schema"))?,
            blocs: blocs.ok_or_else(|| layout(BLOCS, "the policy folder has no list of country groups"))?,
            sensitive: sensitive
                .ok_or_else(|| layout(SENSITIVE, "the policy folder does not say what is sensitive"))?,
            words: words.ok_or_else(|| layout(WORDS, "the policy folder has no list of other spellings"))?,
            invariants,
            packs: arranged,
            activation,
            constraint,
            root,
        })
    }

    /// The hash of the policy set that these files make.
    pub fn hash(&self) -> PolicyHash {
        super::compiled::hash(self)
    }

    pub(super) fn constraint_files(&self) -> impl Iterator<Item = &SourceFile> {
        self.constraint.iter().flat_map(|files| [&files.rego, &files.query])
    }

    /// With the Rego policy of the configuration.
    fn constrained(mut self, rego: &config::Rego) -> Result<Sources, PolicyError> {
        let path = rego.file.display().to_string();
        if self.constraint.is_some() {
            let message =
                "the policy folder has a constraint.rego, and [policy.rego] names another".to_owned();
            return Err(PolicyError::Layout { path, message });
        }
        let mut files = BTreeMap::new();
        read_into(&mut files, REGO.to_owned(), &rego.file)?;
        let query = toml::to_string(&BTreeMap::from([("query", &rego.query)]))
            .map_err(|error| PolicyError::Layout { path, message: error.to_string() })?;
        self.constraint = files.pop_first().map(|(path, text)| ConstraintFiles {
            rego: SourceFile { path, text },
            query: SourceFile { path: QUERY.to_owned(), text: query },
        });
        Ok(self)
    }

    /// Every file of the set, for a copy of it.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        let shared = [&self.schema, &self.blocs, &self.sensitive, &self.words];
        let packs = self.packs.iter().flat_map(|pack| {
            std::iter::once(&pack.manifest).chain(&pack.policies).chain(&pack.cases).chain(&pack.scenarios)
        });
        shared
            .into_iter()
            .chain(packs)
            .chain(&self.invariants)
            .chain(self.constraint_files())
            .chain(&self.activation)
    }

    fn choose(mut self, names: &[String]) -> Result<Sources, PolicyError> {
        for name in names {
            if !self.packs.iter().any(|pack| pack.name == *name) {
                let known: Vec<_> = self.packs.iter().map(|pack| pack.name.as_str()).collect();
                return Err(PolicyError::Layout {
                    path: name.clone(),
                    message: format!("there is no such pack; there are {}", known.join(", ")),
                });
            }
        }
        if !names.is_empty() {
            self.packs.retain(|pack| pack.name == BASE || names.contains(&pack.name));
        }
        Ok(self)
    }
}

/// The files of a pack while they are found.
#[derive(Default)]
struct Slot {
    manifest: Option<SourceFile>,
    policies: Vec<SourceFile>,
    cases: Option<SourceFile>,
    scenarios: Option<SourceFile>,
}

const UNEXPECTED: &str = "unexpected; a policy folder holds schema.cedarschema, blocs.toml, sensitive.toml, words.toml, perhaps invariants.toml, activation.toml, constraint.rego and constraint.toml, and one folder a pack with pack.toml, \
     *.cedar, cases.toml and scenarios.jsonl (and *.md)";

fn read_directory(root: &Path) -> Result<BTreeMap<String, String>, PolicyError> {
    let mut files = BTreeMap::new();
    for (name, path, folder) in entries(root)? {
        if !folder {
            read_into(&mut files, name, &path)?;
            continue;
        }
        for (inner, path, folder) in entries(&path)? {
            if folder {
                return Err(PolicyError::Layout {
                    path: path.display().to_string(),
                    message: UNEXPECTED.to_owned(),
                });
            }
            read_into(&mut files, format!("{name}/{inner}"), &path)?;
        }
    }
    Ok(files)
}

/// Entries of a folder, without hidden files and Markdown.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf, bool)>, PolicyError> {
    let failed = |source| PolicyError::Read { path: folder.display().to_string(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            return Err(PolicyError::Layout {
                path: path.display().to_string(),
                message: "the name is not UTF-8".to_owned(),
            });
        };
        if !name.starts_with('.') && !name.ends_with(".md") {
            let is_folder = path.is_dir();
            found.push((name, path, is_folder));
        }
        if found.len() > MAX_FILES {
            return Err(PolicyError::Layout {
                path: folder.display().to_string(),
                message: format!("more than {MAX_FILES} entries"),
            });
        }
    }
    found.sort();
    Ok(found)
}

fn read_into(files: &mut BTreeMap<String, String>, name: String, path: &Path) -> Result<(), PolicyError> {
    let failed = |source| PolicyError::Read { path: path.display().to_string(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE_BYTES || files.len() >= MAX_FILES {
        return Err(PolicyError::Layout {
            path: path.display().to_string(),
            message: format!("larger than {MAX_FILE_BYTES} bytes, or more than {MAX_FILES} files"),
        });
    }
    files.insert(name, std::fs::read_to_string(path).map_err(failed)?);
    Ok(())
}

/// Every file of the shipped policy folder, by its path there.
pub fn shipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    EMBEDDED.iter().copied()
}

/// Every file below `policies/`, by its path there.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/policies.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped_folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
    }

    #[test]
    fn every_file_below_policies_is_in_the_binary() {
        let on_disk = read_directory(&shipped_folder()).unwrap();
        let embedded: BTreeMap<String, String> =
            EMBEDDED.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        assert_eq!(on_disk, embedded);
    }

    #[test]
    fn a_file_with_a_misspelt_suffix_is_an_error_and_not_a_lost_rule() {
        let mut files = read_directory(&shipped_folder()).unwrap();
        let text = files.remove("ru/10-residency.cedar").unwrap();
        files.insert("ru/10-residency.ceder".to_owned(), text);
        let error = Sources::arrange(String::new(), files).unwrap_err();
        assert!(error.to_string().contains("ru/10-residency.ceder"), "{error}");
    }

    #[test]
    fn a_folder_without_base_pack_schema_or_blocs_is_refused() {
        for missing in ["base/", "schema", "blocs", "sensitive", "words", "cn/pack.toml"] {
            let mut files = read_directory(&shipped_folder()).unwrap();
            files.retain(|path, _| !path.starts_with(missing));
            assert!(Sources::arrange(String::new(), files).is_err(), "{missing}");
        }
    }

    #[test]
    fn choosing_packs_keeps_the_base_pack_and_refuses_unknown_names() {
        let chosen = PackSource { directory: None, packs: vec!["cn".to_owned()] }.read().unwrap();
        assert_eq!(chosen.packs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["base", "cn"]);
        let error = PackSource { directory: None, packs: vec!["xx".to_owned()] }.read().unwrap_err();
        assert!(error.to_string().contains("base, "), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_clear_error() {
        let error = PackSource::directory("/nonexistent/policies").read().unwrap_err();
        assert!(error.to_string().contains("/nonexistent/policies"), "{error}");
    }
}
