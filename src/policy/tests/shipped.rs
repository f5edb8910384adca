//! The packs that are shipped: their cases, their tables of scenarios, and that no rule could be lost unnoticed.

use super::super::scenario::{Scenario, Table};
use super::super::table::{self, is_scenario};
use super::*;

static SHIPPED: LazyLock<Arc<Compiled>> =
    LazyLock::new(|| Arc::new(compile(&PackSource::embedded().read().unwrap()).unwrap()));

/// The tables of scenarios, by file name.
fn tables() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut tables: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    tables.sort();
    tables
}

#[test]
fn every_case_holds() {
    let report = cases::test(&PackSource::embedded()).unwrap();
    assert!(report.passed(), "{report}");
    assert!(report.results.len() > 100, "{report}");
}

#[test]
fn every_scenario_is_decided_as_its_author_expects() {
    let mut lines = 0;
    for (name, text) in tables() {
        let mut remarks = Vec::new();
        let mut out = Vec::new();
        let good =
            table::decide(&PackSource::embedded(), None, text.as_bytes(), &mut out, &mut remarks).unwrap();
        assert!(good, "{name}: {}", String::from_utf8_lossy(&remarks));
        lines += out.split(|byte| *byte == b'\n').count() - 1;
    }
    assert!(lines >= 150, "{lines} scenarios");
}

#[test]
fn losing_or_turning_any_rule_makes_a_case_or_a_scenario_fail() {
    let mut unnoticed = Vec::new();
    let tables = tables();
    for pack in &SHIPPED.packs {
        // The base pack and this one: a rule is noticed by its own pack's tests.
        let source = PackSource { directory: None, packs: vec![pack.name.clone()] };
        let sources = source.read().unwrap();
        let compiled = compile(&sources).unwrap();
        let cases = cases::read_cases(&sources).unwrap();
        let own_table = tables.iter().find(|(name, _)| *name == format!("{}.jsonl", pack.name));
        let scenarios: Vec<Scenario> = own_table
            .iter()
            .flat_map(|(_, text)| text.lines())
            .filter(|line| is_scenario(line))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for (index, rule) in
            compiled.rules.iter().enumerate().filter(|(_, rule)| *rule.rule.pack == *pack.name)
        {
            // A draft decides nothing, whatever it says.
            if rule.effective.is_none() {
                continue;
            }
            let id = rule.rule.id.to_string();
            let mut own: Vec<_> = cases.iter().filter(|(name, _)| *name == pack.name).collect();
            own.sort_by_key(|(_, case)| !case.rules.contains(&id));
            let mut lost = Compiled::clone(&compiled);
            lost.rules.remove(index);
            let mut turned_round = Compiled::clone(&compiled);
            turned_round.rules[index].policy = turned(&rule.policy);
            for (what, mutant) in [("lost", Arc::new(lost)), ("turned", Arc::new(turned_round))] {
                let noticed = own.iter().any(|(_, case)| case.run(&mutant).unwrap().0.is_some())
                    || noticed(&mutant, &scenarios, &id);
                if !noticed {
                    unnoticed.push(format!("{id} {what}"));
                }
            }
        }
    }
    assert_eq!(unnoticed, Vec::<String>::new());
}

/// The rule that holds where this one does not.
fn turned(policy: &cedar_policy::Policy) -> cedar_policy::Policy {
    let mut json = policy.to_json().unwrap();
    let clauses = json["conditions"].as_array().unwrap().iter().map(|clause| {
        let body = clause["body"].clone();
        if clause["kind"] == "when" { body } else { serde_json::json!({ "!": { "arg": body } }) }
    });
    let all = clauses.reduce(|left, right| serde_json::json!({ "&&": { "left": left, "right": right } }));
    json["conditions"] = serde_json::json!([{ "kind": "unless", "body": all.unwrap() }]);
    cedar_policy::Policy::from_json(Some(policy.id().clone()), json).unwrap()
}

fn noticed(mutant: &Arc<Compiled>, scenarios: &[Scenario], id: &str) -> bool {
    let table = Table::new(Arc::clone(mutant), None).unwrap();
    let names = |scenario: &Scenario| {
        scenario.expect.as_ref().is_some_and(|expect| expect.rules.iter().any(|rule| rule == id))
    };
    let mut ordered: Vec<&Scenario> = scenarios.iter().collect();
    ordered.sort_by_key(|scenario| !names(scenario));
    ordered.iter().any(|scenario| {
        let Some(expect) = &scenario.expect else { return false };
        !table::differences(&table.decide(scenario).unwrap(), expect).is_empty()
    })
}

#[test]
fn every_pack_says_that_counsel_must_review_it() {
    for pack in &SHIPPED.packs {
        assert_eq!(pack.review, "Counsel must review this pack before enforcement.");
        assert_eq!(pack.as_of, "2026-11-22");
    }
}

#[test]
fn nothing_is_left_to_cedar() {
    let told = setting(world(), &config::Operator::default(), &[config::Mechanism::of_kind("scc")]);
    let snapshot = Snapshot::new(Arc::clone(&SHIPPED), Arc::new(told), Moment::Clock(TODAY)).unwrap();
    assert_eq!(snapshot.slow_rules().unwrap(), Vec::<String>::new());
}
