//! The documentation against the code: what a page promises to list is compared with what there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use domicile::config::Config;
use domicile::gateway::metrics::{
    BlameLabels, LocationLabels, Metrics, OutcomeLabels, RequestLabels, RuleLabels,
};
use domicile::policy::coverage::{Standing, coverage};
use domicile::policy::formatting::format_text;
use domicile::policy::{PackSource, cases as pack_cases, check, template};

const COVERAGE: &str = include_str!("../docs/coverage.md");
const CONFIGURATION: &str = include_str!("../docs/configuration.md");
const SEMANTICS: &str = include_str!("../docs/semantics.md");
const OPERATING: &str = include_str!("../docs/operating.md");

/// What a fragment of a configuration is appended to.
const BASE: &str = r#"
data = "data"
[node]
name = "gw-1"
domain = "log.example.org"
country = "DE"
[[location]]
id = "base"
country = "DE"
region = "eu-central-1"
provider = "example"
type = "embedded"
path = "base"
"#;

#[test]
fn every_configuration_in_the_documentation_parses() {
    let mut blocks = 0;
    for page in pages().iter().filter(|path| !path.ends_with("policies.md")) {
        let text = fs::read_to_string(page).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let whole = block.lines().any(|line| line.starts_with("data ="));
            let file = if whole { block.to_owned() } else { format!("{BASE}{block}") };
            if let Err(error) = Config::parse(&file, Path::new("/etc/domicile/domicile.toml")) {
                panic!("{}: {error}", page.display());
            }
            blocks += 1;
        }
    }
    assert!(blocks >= 2, "{blocks}");
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let source = fs::read_to_string("src/config.rs").unwrap();
    let structs = source.split("/// A secret that never prints").next().unwrap();
    let lines: Vec<&str> = structs.lines().collect();
    // What is skipped cannot be written.
    let written = lines.windows(2).filter(|pair| pair[0].trim() != "#[serde(skip)]").map(|pair| pair[1]);
    let fields = written.filter_map(|line| line.strip_prefix("    pub ")?.split_once(": "));
    let mut checked = 0;
    for (field, _) in fields.filter(|(field, _)| !field.contains("fn ")) {
        let key = match field {
            // Renamed, or written as tables.
            "kind" => "type".to_owned(),
            "locations" | "apps" | "sessions" | "mechanisms" | "facts" | "rules" | "store" | "counts" => {
                continue;
            }
            field => field.replace('_', "-"),
        };
        assert!(
            CONFIGURATION.contains(&format!("`{key}`")),
            "docs/configuration.md does not explain `{key}`"
        );
        checked += 1;
    }
    assert!(checked > 50, "{checked}");
    for table in
        ["gateway", "gateway.tls", "admin", "node", "operator", "operator.counts", "label", "geo", "policy"]
    {
        assert!(CONFIGURATION.contains(&format!("`[{table}]`")), "[{table}]");
    }
    for table in ["location", "app", "app.session", "mechanism", "facts", "label.rule"] {
        assert!(CONFIGURATION.contains(&format!("`[[{table}]]`")), "[[{table}]]");
    }
}

#[test]
fn every_error_code_that_the_gateway_makes_is_in_the_table_of_errors() {
    let codes = fs::read_to_string("src/s3/error.rs").unwrap();
    let codes = codes.split("\ncodes! {\n").nth(1).unwrap().split("\n}").next().unwrap().to_owned();
    let mut source = String::new();
    for path in files(Path::new("src"), "rs") {
        if !path.ends_with("s3/error.rs") {
            source += &fs::read_to_string(path).unwrap();
        }
    }
    let mut made = 0;
    for (code, status) in codes.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(' ')) {
        if source.contains(&format!("Code::{code}")) {
            let row = format!("| `{code}` | {status} |");
            assert!(SEMANTICS.contains(&row), "docs/semantics.md has no row `{row}`");
            made += 1;
        }
    }
    assert!(made > 30, "{made}");
}

#[test]
fn every_metric_is_in_the_table_of_metrics_with_its_type() {
    let metrics = Metrics::new();
    // A family shows once it has a member.
    metrics.requests.get_or_create(&RequestLabels { operation: "GetObject", status: 200 }).inc();
    metrics.failures.get_or_create(&BlameLabels { blame: "client" }).inc();
    metrics.refusals.get_or_create(&RuleLabels { rule: "RULE".to_owned() }).inc();
    metrics.stored.get_or_create(&LocationLabels { location: "here".to_owned() }).inc();
    metrics.location_healthy.get_or_create(&LocationLabels { location: "here".to_owned() }).set(1);
    metrics.policy_shadow.get_or_create(&OutcomeLabels { outcome: "same" }).inc();
    let rendered = metrics.render();
    let mut documented = 0;
    for line in rendered.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        // OpenMetrics counters are read with this suffix.
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        let row = OPERATING.lines().find(|line| {
            line.strip_prefix(&format!("| `{name}")).is_some_and(|rest| rest.starts_with(['`', '{']))
        });
        let row = row.unwrap_or_else(|| panic!("docs/operating.md has no row for {name}"));
        assert!(row.contains(kind), "{row} does not say {kind}");
        documented += 1;
    }
    let rows = OPERATING.lines().filter(|line| line.starts_with("| `domicile_")).count();
    assert_eq!(rows, documented, "docs/operating.md has metrics that the gateway has not");
}

#[test]
fn the_page_of_coverage_is_what_the_shipped_packs_say() {
    let said = coverage(&PackSource::embedded()).unwrap();
    // Not compared by `assert_eq!`: nobody could read the difference of two such pages.
    assert!(
        format!("{said}\n") == COVERAGE,
        "docs/coverage.md is not what the packs say; write it anew: cargo run -- policy coverage > docs/coverage.md"
    );
}

#[test]
fn every_provision_of_the_facts_of_law_is_a_rule_or_says_why_it_is_none() {
    let said = coverage(&PackSource::embedded()).unwrap();
    let ids: BTreeSet<&str> = said.ids().collect();
    let wanted: Vec<&str> = include_str!("law_ids.txt").lines().collect();
    assert_eq!(wanted.len(), 217);
    let missing: Vec<_> = wanted.iter().filter(|id| !ids.contains(**id)).collect();
    assert!(missing.is_empty(), "neither a rule nor listed as not enforced: {missing:?}");
    for provision in said.packs.iter().flat_map(|pack| &pack.provisions) {
        match provision.standing {
            Standing::NotEnforced => {
                assert!(
                    provision.reason.as_ref().is_some_and(|reason| reason.len() > 20),
                    "{}",
                    provision.id
                );
            }
            Standing::Enforced | Standing::SwitchedOff => {
                assert!(!provision.means.is_empty() && provision.reason.is_none(), "{}", provision.id);
            }
        }
    }
}

#[test]
fn the_examples_of_the_policy_page_are_a_pack_that_passes_its_tests() {
    let page = include_str!("../docs/policies.md");
    let blocks = |language: &str| -> Vec<&str> {
        let fence = format!("```{language}\n");
        page.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
    };
    let toml = |start: &str| -> &str {
        let found: Vec<&str> = blocks("toml").into_iter().filter(|block| block.starts_with(start)).collect();
        let [block] = found[..] else { panic!("one block that starts with {start}") };
        block
    };
    let (manifest, cases) = (toml("name = "), toml("[[case]]"));
    let [rules] = blocks("cedar")[..] else { panic!("one file of rules") };
    let [scenarios] = blocks("jsonl")[..] else { panic!("one table") };
    assert_eq!(format_text(rules).unwrap(), rules, "the example is not laid out as `policy fmt` would");

    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    template::export(&policies).unwrap();
    let pack = policies.join("nz");
    fs::create_dir(&pack).unwrap();
    for (name, text) in
        [("pack.toml", manifest), ("10.cedar", rules), ("cases.toml", cases), ("scenarios.jsonl", scenarios)]
    {
        fs::write(pack.join(name), text).unwrap();
    }
    let source = PackSource { directory: Some(policies), packs: vec!["nz".to_owned()] };
    let report = check::check(&source).unwrap();
    assert!(report.is_usable(), "{report}");
    let tested = pack_cases::test(&source).unwrap();
    assert!(tested.passed(), "{tested}");
    let own: Vec<_> = tested.results.iter().filter(|result| result.pack == "nz").collect();
    assert_eq!(own.len(), 4 + 5, "cases and scenarios");
    assert!(tested.untested.iter().all(|rule| !rule.starts_with("NZ-")), "{tested}");
}

#[test]
fn every_field_of_a_scenario_is_documented() {
    let page = include_str!("../docs/policies.md");
    let files = ["src/policy/scenario.rs", "src/policy/scenario/words.rs"];
    let source = files.map(|file| fs::read_to_string(file).unwrap()).concat();
    let mut checked = 0;
    for (of, prefix) in [
        ("pub struct Scenario {", ""),
        ("struct OperatorWord {", "operator."),
        ("struct TargetWord {", "target."),
        ("pub struct Answer {", ""),
    ] {
        let body = source.split(of).nth(1).unwrap().split("\n}").next().unwrap();
        for line in body.lines().filter(|line| line.starts_with("    ") && line.ends_with(',')) {
            let Some((field, _)) = line.trim().trim_start_matches("pub ").split_once(": ") else { continue };
            if field == "operator" || field == "target" || field.contains(['#', '/', ' ']) {
                continue;
            }
            assert!(
                page.contains(&format!("`{prefix}{field}`")),
                "docs/policies.md does not explain `{prefix}{field}`"
            );
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn every_link_leads_to_a_file_and_every_named_source_is_there() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let folder = page.parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            assert!(folder.join(path).exists(), "{}: the link `{link}` leads nowhere", page.display());
        }
        for named in text.split('`').filter(|code| code.starts_with("src/") || code.starts_with("tests/")) {
            let path = named.split([' ', ':', '*', '{']).next().unwrap();
            assert!(Path::new(path).exists(), "{}: `{named}` is not there", page.display());
        }
    }
}

#[test]
fn the_image_copies_only_what_there_is() {
    let dockerfile = fs::read_to_string("Dockerfile").unwrap();
    let ignored = fs::read_to_string(".dockerignore").unwrap();
    let ignored: BTreeSet<&str> = ignored.lines().collect();
    let mut copied = 0;
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        if line.starts_with("--from") {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        for source in &words[..words.len() - 1] {
            assert!(Path::new(source).exists(), "COPY {source}");
            assert!(!ignored.contains(source), "{source} is not sent to the build");
            copied += 1;
        }
    }
    assert!(copied >= 5, "{copied}");
}

/// The pages of the documentation.
fn pages() -> Vec<PathBuf> {
    let mut pages = files(Path::new("docs"), "md");
    for page in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        pages.push(PathBuf::from(page));
    }
    pages
}

/// All files below a folder that end so.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found
}
