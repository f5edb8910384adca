//! The shipped invariants for all possible worlds: Cedar's own symbolic compiler and the SMT solver cvc5 are asked
//! whether any entities and any request, however strange, break one.
//!
//! `policy prove` covers every question that this gateway can put. Here the policies are read by other eyes: the compiler
//! was verified against Cedar's formal model, and it knows nothing of how the gateway fills in what it asks.
//!
//! cvc5 is found by `CVC5` or on `PATH` (Debian's `cvc5` will do). Where `CI` is set it must be there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cedar_policy::{Policy, PolicyId, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet};

#[derive(serde::Deserialize)]
struct Invariants {
    invariant: Vec<Invariant>,
}

#[derive(serde::Deserialize)]
struct Invariant {
    name: String,
    #[serde(default)]
    needs: Vec<String>,
    action: String,
    when: String,
    place: Option<String>,
}

/// These lean on what is true of our world and not of every world that the types allow.
const OF_OUR_WORLD: [&str; 2] = [
    // China is neither in the EEA nor adequate.
    "eu-clauses-need-an-assessment",
    // A country is in the group of section 126.1 or it is the United States, never both.
    "us-itar-stays",
];

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The gates in force of a pack, each under its own id.
fn gates(pack: &str) -> Vec<Policy> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(policies().join(pack)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cedar"));
    files.sort();
    let sets = files.iter().map(|path| read(path).parse::<PolicySet>().unwrap());
    let rules = sets.flat_map(|set| set.policies().cloned().collect::<Vec<_>>());
    let gates = rules.filter(|rule| {
        let asked = rule.to_string();
        let is_gate = !asked.contains("Action::\"Oblige\"") && !asked.contains("Action::\"Ground\"");
        // The packs' own day is 2026-11-22.
        let in_force = rule.annotation("effective").is_some_and(|day| day <= "2026-11-22");
        is_gate && in_force && rule.annotation("status") == Some("in_force")
    });
    gates.map(|rule| rule.new_id(PolicyId::new(rule.annotation("id").unwrap()))).collect()
}

/// A set of copies needs no permit of its own.
const COMMIT: &str = r#"permit (principal, action == Action::"Commit", resource);"#;

fn is_in(action: &str, group: &str) -> bool {
    match group {
        "Transfer" => ["Store", "Replicate", "Relocate", "Read"].contains(&action),
        "AtRest" => ["Store", "Replicate", "Relocate"].contains(&action),
        other => action == other,
    }
}

fn has_solver() -> bool {
    let path = std::env::var("CVC5").unwrap_or_else(|_| "cvc5".to_owned());
    let asked = Command::new(path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = asked.is_ok_and(|status| status.success());
    assert!(found || std::env::var_os("CI").is_none(), "cvc5 must be installed where `CI` is set");
    found
}

#[tokio::test]
async fn no_possible_world_breaks_an_invariant() {
    if !has_solver() {
        eprintln!("cvc5 is not installed; the invariants are proved by `policy prove` alone");
        return;
    }
    let (schema, _) = Schema::from_cedarschema_str(&read(&policies().join("schema.cedarschema"))).unwrap();
    let file: Invariants = toml::from_str(&read(&policies().join("invariants.toml"))).unwrap();
    let mut compiler = CedarSymCompiler::new(LocalSolver::cvc5().unwrap()).unwrap();
    let mut broken = Vec::new();
    let mut asked = 0;
    for invariant in file.invariant.iter().filter(|one| !OF_OUR_WORLD.contains(&one.name.as_str())) {
        // Without the other packs more is allowed, so what holds here holds with them.
        let packs = invariant.needs.iter().map(String::as_str).chain(["base"]);
        let commit = Policy::parse(Some(PolicyId::new("commit")), COMMIT).unwrap();
        let rules = PolicySet::from_policies(packs.flat_map(gates).chain([commit])).unwrap();
        let place = invariant.place.as_deref().unwrap_or("true");
        let bad = format!(
            "permit (principal, action in Action::\"{}\", resource) when {{ {} }} when {{ {place} }};",
            invariant.action, invariant.when
        );
        let bad: PolicySet = bad.parse().unwrap();
        let worlds: Vec<RequestEnv> = schema.request_envs().collect();
        for world in worlds.iter().filter(|world| is_in(world.action().id().unescaped(), &invariant.action)) {
            let rules = CompiledPolicySet::compile(&rules, world, &schema).unwrap();
            let bad = CompiledPolicySet::compile(&bad, world, &schema).unwrap();
            asked += 1;
            if !compiler.check_disjoint_opt(&rules, &bad).await.unwrap() {
                broken.push(format!("{} ({})", invariant.name, world.action()));
            }
        }
    }
    assert!(asked >= 30, "{asked} questions");
    assert_eq!(broken, Vec::<String>::new());
}
