//! Pack files made into one checked policy set.
//!
//! Checked means: parsed, validated strictly against the schema (level 1, warnings count as errors), every rule
//! with a unique id and its annotations, gates and obligations told apart. What is wrong is collected and shown
//! at once, with file, line and column. Nothing here depends on this operator's locations or on the time of day.

mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::digest;
use cedar_policy::{
    EntityUid, Policy, PolicyId, PolicySet, Schema, SchemaFragment, ValidationMode, Validator,
    ffi::DetailedError,
};

use super::check::{Problem, Problems};
use super::constraint::Constraint;
use super::lower::{RuleForm, Vocabulary};
use super::manifest::{
    Bloc, PackManifest, Regime, TomlProblem, WordKind, parse_aliases, parse_blocs, parse_regimes,
};
use super::mechanism::moment;
use super::oracle::Made;
use super::prove::{self, Invariant};
use super::rego::Rego;
use super::source::{ConstraintFiles, SourceFile, Sources};
use super::words::Words;
use super::{Obligation, PolicyHash, Rule};
use crate::label::class::CLASSES;
use crate::names::{Country, CountrySet};
use rule::read_rule;

/// A policy set that may be asked.
#[derive(Clone)]
pub struct Compiled {
    pub hash: PolicyHash,
    pub packs: Vec<PackManifest>,
    /// Countries whose law some pack speaks for.
    pub covers: CountrySet,
    /// The latest day on which an author looked at the law, in seconds since the Unix epoch.
    pub(super) as_of: i64,
    pub(super) schema: Schema,
    pub(super) words: Words,
    pub(super) blocs: Vec<Bloc>,
    pub(super) regimes: Vec<Regime>,
    pub(super) rules: Vec<CompiledRule>,
    /// Countries that some rule names: no other country can stand for them.
    pub(super) named: CountrySet,
    /// Whether any rule asks where the client is. Otherwise answers do not depend on it.
    pub(super) asks_origin: bool,
    /// What must never be allowed.
    pub(super) invariants: Vec<Invariant>,
    pub(super) made: Made,
    /// Another engine that can refuse what the rules allow.
    pub(super) constraint: Option<Arc<Constraint>>,
}

/// One rule with its policy.
#[derive(Clone)]
pub(super) struct CompiledRule {
    pub rule: Arc<Rule>,
    pub policy: Policy,
    /// The policy, read for lowering when that was first needed.
    form: OnceLock<Arc<RuleForm>>,
    /// The moment from which it is in force; `None` for drafts and what is in abeyance.
    pub effective: Option<i64>,
    /// The first moment at which it is no longer in force.
    pub expires: Option<i64>,
    pub role: Role,
    /// Why it is never in force, for people: `draft`, `abeyance`, ...
    pub status: Arc<str>,
}

impl CompiledRule {
    /// The policy, read for lowering; `compiled` is the set that it is of.
    pub fn form(&self, compiled: &Compiled) -> &RuleForm {
        let Compiled { words, blocs, regimes, .. } = compiled;
        self.form
            .get_or_init(|| Arc::new(RuleForm::read(&self.policy, &Vocabulary { words, blocs, regimes })))
    }

    pub fn in_force(&self, now: i64) -> bool {
        self.effective.is_some_and(|from| from <= now) && self.expires.is_none_or(|end| now < end)
    }
}

/// What a satisfied rule means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// It permits or forbids a transfer.
    Gate,
    /// It makes a duty due.
    Duty(Obligation),
    /// It names a provision on which what is allowed rests.
    Ground,
    /// It judges the chosen set of copies.
    Commit,
}

impl Compiled {
    /// The ids of all rules, in the order of the packs.
    pub fn rule_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rules.iter().map(|rule| &rule.rule.id)
    }

    /// The same set without the rules at these positions.
    pub(super) fn without(&self, positions: &BTreeSet<usize>) -> Compiled {
        let rules = self.rules.iter().enumerate().filter(|(position, _)| !positions.contains(position));
        Compiled { rules: rules.map(|(_, rule)| rule.clone()).collect(), ..self.clone() }
    }
}

/// Checks and joins the packs, or says everything that is wrong with them.
pub fn compile(sources: &Sources) -> Result<Compiled, Problems> {
    let mut found = Found { root: &sources.root, problems: Vec::new() };
    let mut schema = read_schema(&sources.schema, &mut found);
    let blocs = parse_blocs(&sources.blocs.text)
        .map_err(|problem| found.toml(&sources.blocs, problem))
        .unwrap_or_default();
    let packs: Vec<PackManifest> = sources
        .packs
        .iter()
        .filter_map(|pack| {
            let manifest = PackManifest::parse(&pack.manifest.text)
                .map_err(|problem| found.toml(&pack.manifest, problem))
                .ok()?;
            if manifest.name != pack.name {
                let message =
                    format!("the pack says it is `{}`, and its folder is `{}`", manifest.name, pack.name);
                found.toml(&pack.manifest, TomlProblem::plain(message));
            }
            Some(manifest)
        })
        .collect();

    let mut rules = Vec::new();
    let mut set = PolicySet::new();
    let mut origin: BTreeMap<String, &SourceFile> = BTreeMap::new();
    for pack in &sources.packs {
        for file in &pack.policies {
            for policy in read_policies(file, &mut found) {
                let Some(rule) = read_rule(policy, &pack.name, file, &mut found) else { continue };
                let id = rule.rule.id.to_string();
                if let Some(first) = origin.insert(id.clone(), file) {
                    let message = format!("the id {id} is already used in {}", first.path);
                    found.at_id(file, &id, message, Some("every rule needs an id of its own".to_owned()));
                    continue;
                }
                if let Err(error) = set.add(rule.policy.clone()) {
                    found.at_id(file, &id, error.to_string(), None);
                }
                rules.push(rule);
            }
        }
    }
    let regimes = parse_regimes(&sources.sensitive.text)
        .map_err(|problem| found.toml(&sources.sensitive, problem))
        .unwrap_or_default();
    let aliases = parse_aliases(&sources.words.text)
        .map_err(|problem| found.toml(&sources.words, problem))
        .unwrap_or_default();
    let constraint = sources.constraint.as_ref().and_then(|files| read_constraint(files, &mut found));
    let mut invariants = Vec::new();
    if let Some((schema, words)) = &mut schema {
        check_blocs(&sources.blocs, &blocs, words, &mut found);
        let listed: BTreeSet<String> = regimes.iter().map(|regime| regime.name.clone()).collect();
        if listed != words.regimes {
            let message =
                "sensitive.toml must list every word of the schema's enumeration Regime and no other";
            found.toml(&sources.sensitive, TomlProblem::plain(message.to_owned()));
        }
        for alias in &aliases {
            if let Err(message) = words.add(alias) {
                let offset = sources.words.text.find(&format!("word = \"{}\"", alias.word));
                found.toml(&sources.words, TomlProblem { message, offset });
            }
        }
        validate(schema, &set, &origin, &mut found);
        if let Some(file) = &sources.invariants {
            match prove::parse(&file.text, schema) {
                Ok(parsed) => invariants = parsed,
                Err(problems) => problems.into_iter().for_each(|problem| found.toml(file, problem)),
            }
        }
    }
    let (Some((schema, words)), true) = (schema, found.problems.is_empty()) else {
        return Err(Problems(found.problems));
    };
    let asks_origin = sources.packs.iter().flat_map(|p| &p.policies).any(|f| f.text.contains("origin"));
    Ok(Compiled {
        hash: hash(sources),
        as_of: packs.iter().filter_map(|pack| moment(&pack.as_of)).max().unwrap_or(0),
        covers: packs.iter().flat_map(|pack| pack.covers.iter().copied()).collect(),
        named: rules.iter().flat_map(|rule| named_countries(&rule.policy)).collect(),
        packs,
        schema,
        words,
        blocs,
        regimes,
        rules,
        asks_origin,
        invariants,
        made: Made::default(),
        constraint,
    })
}

/// Problems as they are found.
struct Found<'a> {
    root: &'a str,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn add(
        &mut self,
        file: &SourceFile,
        offset: Option<usize>,
        rule: Option<&str>,
        message: String,
        help: Option<String>,
    ) {
        let path =
            if self.root.is_empty() { file.path.clone() } else { format!("{}/{}", self.root, file.path) };
        let place = offset.map(|offset| line_and_column(&file.text, offset));
        self.problems.push(Problem { file: path, place, rule: rule.map(str::to_owned), message, help });
    }

    fn toml(&mut self, file: &SourceFile, problem: TomlProblem) {
        self.add(file, problem.offset, None, problem.message, None);
    }

    fn at_id(&mut self, file: &SourceFile, id: &str, message: String, help: Option<String>) {
        let offset = file.text.rfind(&format!("@id(\"{id}\")"));
        self.add(file, offset, Some(id), message, help);
    }

    fn cedar(&mut self, file: &SourceFile, rule: Option<&str>, error: &DetailedError) {
        let offset = error.source_locations.first().map(|label| label.loc.start);
        let label = error.source_locations.first().and_then(|label| label.label.clone());
        let help = match (label, error.help.clone()) {
            (Some(label), Some(help)) => Some(format!("{label}; {help}")),
            (label, help) => label.or(help),
        };
        self.add(file, offset, rule, error.message.clone(), help);
        for related in &error.related {
            self.cedar(file, rule, related);
        }
    }
}

/// One-based line and column (in characters) of a byte offset.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}

fn read_schema(file: &SourceFile, found: &mut Found) -> Option<(Schema, Words)> {
    let fragment = match SchemaFragment::from_cedarschema_str(&file.text) {
        Ok((fragment, _warnings)) => fragment,
        Err(error) => {
            found.cedar(file, None, &DetailedError::from(&error));
            return None;
        }
    };
    let schema = match Schema::from_schema_fragments([fragment.clone()]) {
        Ok(schema) => schema,
        Err(error) => {
            found.cedar(file, None, &DetailedError::from(&error));
            return None;
        }
    };
    let json = match fragment.to_json_value() {
        Ok(json) => json,
        Err(error) => {
            found.cedar(file, None, &DetailedError::from(&error));
            return None;
        }
    };
    let words = |entity: &str| -> Vec<String> {
        // The first part of the pointer is the namespace, which has no name.
        let values = json.pointer(&format!("//entityTypes/{entity}/enum")).and_then(|value| value.as_array());
        values.into_iter().flatten().filter_map(|word| word.as_str()).map(str::to_owned).collect()
    };
    let countries: BTreeSet<String> = words("Country").into_iter().collect();
    if countries != Country::all().map(|country| country.code().to_owned()).collect() {
        let message =
            "the enumeration Country must hold every code of ISO 3166-1 and nothing else".to_owned();
        found.add(file, file.text.find("entity Country"), None, message, None);
    }
    let classes: BTreeSet<String> = words("Class").into_iter().collect();
    if classes != CLASSES.iter().map(|class| (*class).to_owned()).collect() {
        let message =
            "the enumeration Class must hold every data class of this version and nothing else".to_owned();
        found.add(file, file.text.find("entity Class"), None, message, None);
    }
    let kinds = [
        (WordKind::Mechanism, "Mechanism"),
        (WordKind::Attr, "Attr"),
        (WordKind::Cert, "Cert"),
        (WordKind::Tag, "Tag"),
        (WordKind::Zone, "Zone"),
    ];
    if words("Attr").len() > MOST_ATTRS {
        let message = format!("the enumeration Attr holds more than {MOST_ATTRS} words");
        found.add(file, file.text.find("entity Attr"), None, message, None);
    }
    let lists = kinds.map(|(kind, entity)| (kind, words(entity)));
    Some((schema, Words::new(lists, words("Bloc"), words("Regime"))))
}

/// Sets of them are kept in a word of the machine.
const MOST_ATTRS: usize = 128;

fn read_constraint(files: &ConstraintFiles, found: &mut Found) -> Option<Arc<Constraint>> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        query: String,
    }
    let asked: Asked = toml::from_str(&files.query.text)
        .map_err(|error| found.toml(&files.query, TomlProblem::plain(error.message().to_owned())))
        .ok()?;
    match Rego::new(&files.rego.text, &asked.query) {
        Ok(rego) => Some(Arc::new(Constraint::new(rego))),
        Err(problem) => {
            found.add(&files.rego, None, None, problem, None);
            None
        }
    }
}

fn check_blocs(file: &SourceFile, blocs: &[Bloc], words: &Words, found: &mut Found) {
    let listed: BTreeSet<String> = blocs.iter().map(|bloc| bloc.name.clone()).collect();
    for name in listed.difference(&words.blocs) {
        let message = format!("bloc `{name}` is not in the schema's enumeration Bloc");
        found.add(file, file.text.find(&format!("\"{name}\"")), None, message, None);
    }
    for name in words.blocs.difference(&listed) {
        let message = format!("the schema's bloc `{name}` has no list of members");
        found.add(file, None, None, message, None);
    }
}

/// The policies of one file in the order of their text.
fn read_policies(file: &SourceFile, found: &mut Found) -> Vec<Policy> {
    let set = match PolicySet::from_str(&file.text) {
        Ok(set) => set,
        Err(errors) => {
            found.cedar(file, None, &DetailedError::from(&errors));
            return Vec::new();
        }
    };
    if set.templates().next().is_some() {
        let message = "templates are not supported: nothing would ever link them".to_owned();
        found.add(file, file.text.find('?'), None, message, Some("write the rule out".to_owned()));
    }
    let mut policies: Vec<Policy> = set.policies().cloned().collect();
    // The parser names them policy0, policy1, ... in order.
    policies.sort_by_key(|policy| {
        let id = policy.id().to_string();
        id.trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX)
    });
    policies
}

fn validate(schema: &Schema, set: &PolicySet, origin: &BTreeMap<String, &SourceFile>, found: &mut Found) {
    let result = Validator::new(schema.clone()).validate_with_level(set, ValidationMode::Strict, 1);
    let errors = result.validation_errors().map(|error| (error.policy_id(), DetailedError::from(error)));
    let warnings =
        result.validation_warnings().map(|warning| (warning.policy_id(), DetailedError::from(warning)));
    let mut all: Vec<(&PolicyId, DetailedError)> = errors.chain(warnings).collect();
    all.sort();
    // The validator tells one mistake once for each kind of request that the rule is about; once is enough.
    let mut told = BTreeSet::new();
    for (id, mut error) in all {
        let id: &str = id.as_ref();
        let Some(file) = origin.get(id) else { continue };
        let start = error.source_locations.first().map(|label| label.loc.start);
        if told.insert((id, start, error.help.clone())) {
            let prefix = format!("for policy `{id}`, ");
            if let Some(message) = error.message.strip_prefix(&prefix) {
                error.message = message.to_owned();
            }
            found.cedar(file, Some(id), &error);
        }
    }
}

fn named_countries(policy: &Policy) -> Vec<Country> {
    let is_country = |uid: &EntityUid| uid.type_name().basename() == "Country";
    let literals = policy.entity_literals();
    literals
        .iter()
        .filter(|uid| is_country(uid))
        .filter_map(|uid| uid.id().unescaped().parse().ok())
        .collect()
}

/// As [`compile`]; the set that was compiled last is not compiled again while its files are the same.
pub fn compile_once(sources: &Sources) -> Result<Arc<Compiled>, Problems> {
    static LAST: Mutex<Option<Arc<Compiled>>> = Mutex::new(None);
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let hash = hash(sources);
    if let Some(same) = last().as_ref().filter(|compiled| compiled.hash == hash) {
        return Ok(Arc::clone(same));
    }
    let compiled = Arc::new(compile(sources)?);
    *last() = Some(Arc::clone(&compiled));
    Ok(compiled)
}

/// SHA-256 over every file that can change an answer, each with its path and length.
pub(super) fn hash(sources: &Sources) -> PolicyHash {
    let mut context = digest::Context::new(&digest::SHA256);
    let packs = sources.packs.iter().flat_map(|pack| std::iter::once(&pack.manifest).chain(&pack.policies));
    let shared = [&sources.schema, &sources.blocs, &sources.sensitive, &sources.words];
    for file in shared.into_iter().chain(packs).chain(&sources.invariants).chain(sources.constraint_files()) {
        for part in [&file.path, &file.text] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    PolicyHash(hex::encode(context.finish()).into())
}
