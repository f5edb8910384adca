//! What an operator types: the real binary, its exit codes, and what it says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

#[path = "support/mmdb.rs"]
mod mmdb;

fn domicile(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_domicile")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A gateway with the built-in configuration.
struct Gateway {
    process: Child,
    /// The lines up to the last one that is meant to be pasted.
    said: Vec<String>,
}

impl Gateway {
    fn start(data: &Path) -> Gateway {
        let mut process = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            said.push(line.unwrap());
            if said.last().unwrap().contains(" where s3://") {
                break;
            }
        }
        Gateway { process, said }
    }

    fn admin(&self) -> String {
        let line = self.said.iter().find(|line| line.contains("/healthz")).unwrap();
        line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// [`Gateway::start`] closes its end of the pipe, as `domicile serve | head` would.
#[test]
fn a_running_gateway_says_that_it_is_ready_and_one_that_is_gone_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path());
    let admin = gateway.admin();
    let ready = domicile(&["ready", "--admin", &admin]);
    assert_eq!(ready.status.code(), Some(0), "{}", text(&ready.stderr));
    assert_eq!(text(&ready.stdout), "ready\n");
    drop(gateway);
    let gone = domicile(&["ready", "--admin", &admin]);
    assert_eq!(gone.status.code(), Some(2));
    assert!(text(&gone.stderr).contains("no answer from the admin listener"), "{}", text(&gone.stderr));
}

#[test]
fn another_server_is_not_taken_for_a_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path());
    let line = gateway.said.iter().find(|line| line.contains("serves S3 at")).unwrap();
    let s3 = line.rsplit('/').next().unwrap();
    let ready = domicile(&["ready", "--admin", s3]);
    assert_eq!(ready.status.code(), Some(2));
    assert!(text(&ready.stderr).contains("is not the admin listener"), "{}", text(&ready.stderr));
}

#[test]
fn the_lines_to_paste_work_in_any_folder() {
    // The other terminal need not stand where the gateway was started.
    let folder = tempfile::tempdir_in(".").unwrap();
    let relative = Path::new(".").join(folder.path().file_name().unwrap());
    let gateway = Gateway::start(&relative);
    let last = gateway.said.last().unwrap();
    let data = last.rsplit('\'').nth(1).unwrap();
    assert!(Path::new(data).is_absolute(), "{last}");
    // AWS CLI refuses a pipe as the body of an object.
    assert!(gateway.said.iter().all(|line| !line.contains("/dev/stdin")));
}

const BASE: &str = r#"
data = "data"
[node]
name = "gw-1"
domain = "log.example.org"
country = "DE"
[[location]]
id = "frankfurt"
country = "DE"
region = "eu-central-1"
provider = "example"
type = "embedded"
path = "frankfurt"
"#;

/// `config check` over the base and `more`: its exit code and what it printed.
fn check(more: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("domicile.toml");
    fs::write(&file, format!("{BASE}{more}")).unwrap();
    let output = domicile(&["config", "check", file.to_str().unwrap()]);
    let mut made: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    made.retain(|path| *path != file);
    assert_eq!(made, Vec::<std::path::PathBuf>::new(), "the check made something");
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_good_configuration_passes_its_check_and_the_check_creates_nothing() {
    let (code, said) = check("");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("location frankfurt in DE"), "{said}");
}

#[test]
fn the_check_finds_what_the_start_would_stumble_over() {
    let remote = |more: &str| {
        format!(
            "[[location]]\nid = \"virginia\"\ncountry = \"US\"\nregion = \"us-east-1\"\nprovider = \"example\"\n\
             type = \"s3\"\n{more}\n"
        )
    };
    let app = |id: &str, secret: &str| {
        format!("[[app]]\nid = \"app\"\naccess-key-id = \"{id}\"\nsecret-access-key = \"{secret}\"\n")
    };
    let cases = [
        (remote("endpoint = \"ftp://s3.example.org\""), "ftp://s3.example.org"),
        (remote("endpoint = \"https://s3.example.org\"\nca-certificates = \"missing.pem\""), "missing.pem"),
        (remote("endpoint = \"https://s3.example.org\"\naccess-key-id = \"AKID\""), "must be given together"),
        ("[gateway.tls]\ncertificate = \"missing.pem\"\nkey = \"missing.key\"\n".to_owned(), "missing.pem"),
        (
            BASE.split_once("[[location]]")
                .map(|(_, rest)| {
                    format!("[[location]]{}", rest.replace("id = \"frankfurt\"", "id = \"berlin\""))
                })
                .unwrap(),
            "appears twice",
        ),
        (app("", "secret"), "access-key-id must be"),
        (app("AKID/EXAMPLE", "secret"), "access-key-id must be"),
        (app("AKIDEXAMPLE", ""), "secret-access-key is empty"),
        ("[geo]\ndatabase = \"missing.mmdb\"\n".to_owned(), "missing.mmdb"),
        ("[[mechanism]]\ntype = \"handshake\"\n".to_owned(), "handshake"),
        ("[policy]\npacks = [\"atlantis\"]\n".to_owned(), "atlantis"),
        ("[gateway]\nlisten-on = \"0.0.0.0:80\"\n".to_owned(), "listen-on"),
    ];
    for (more, clue) in cases {
        let (code, said) = check(&more);
        assert_eq!(code, Some(1), "{more}\n{said}");
        assert!(said.contains(clue), "`{clue}` is not in: {said}");
        assert_eq!(said.matches("location virginia").count().max(1), 1, "said twice: {said}");
    }
}

#[test]
fn the_example_of_the_documentation_passes_its_check_once_its_files_are_there() {
    let page = include_str!("../docs/configuration.md");
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("tls")).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["s3.example.org".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    fs::write(at("tls/s3.example.org.pem"), &certificate).unwrap();
    fs::write(at("tls/s3.example.org.key"), key.serialize_pem()).unwrap();
    fs::write(at("tls/frankfurt-ca.pem"), &certificate).unwrap();
    fs::write(at("country.mmdb"), mmdb::country_database(&[("203.0.113.0/24", "CN")])).unwrap();
    fs::write(at("domicile.toml"), example).unwrap();
    let output = domicile(&["config", "check", at("domicile.toml").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// The shipped packs in a folder of their own, with a configuration that wants two people behind each change.
fn strict(folder: &Path) -> (String, String) {
    let packs = folder.join("packs");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for entry in fs::read_dir(&shipped).unwrap() {
        let entry = entry.unwrap().path();
        let place = packs.join(entry.file_name().unwrap());
        fs::create_dir_all(&packs).unwrap();
        match entry.is_dir() {
            false => drop(fs::copy(&entry, &place).unwrap()),
            true if entry.ends_with("base") || entry.ends_with("ru") => {
                fs::create_dir(&place).unwrap();
                for file in fs::read_dir(&entry).unwrap() {
                    let file = file.unwrap().path();
                    fs::copy(&file, place.join(file.file_name().unwrap())).unwrap();
                }
            }
            true => {}
        }
    }
    let config = folder.join("domicile.toml");
    let policy = "[policy]\ndirectory = \"packs\"\nrequire-approval = true\n";
    fs::write(&config, format!("{BASE}{policy}")).unwrap();
    (packs.to_str().unwrap().to_owned(), config.to_str().unwrap().to_owned())
}

#[test]
fn a_second_person_approves_a_policy_set_and_nobody_approves_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (packs, config) = strict(folder.path());
    let unapproved = domicile(&["config", "check", &config]);
    assert_eq!(unapproved.status.code(), Some(1));
    assert!(text(&unapproved.stderr).contains("domicile policy approve"), "{}", text(&unapproved.stderr));

    let approve = |approver: &str| {
        let who = ["--author", "Ada", "--approver", approver, "--reason", "Order 16"];
        domicile(&[&["policy", "approve", "--policies", &packs, "--config", &config], &who[..]].concat())
    };
    let own = approve(" ADA");
    assert_eq!(own.status.code(), Some(1));
    assert!(text(&own.stderr).contains("same person"), "{}", text(&own.stderr));
    assert!(!Path::new(&packs).join("activation.toml").exists());

    let second = approve("Grace");
    assert_eq!(second.status.code(), Some(0), "{}", text(&second.stderr));
    let approved = domicile(&["config", "check", &config]);
    assert_eq!(approved.status.code(), Some(0), "{}", text(&approved.stderr));

    fs::write(Path::new(&packs).join("ru/99-more.cedar"), "// A file that nobody approved.\n").unwrap();
    let changed = domicile(&["config", "check", &config]);
    assert_eq!(changed.status.code(), Some(1));
    assert!(text(&changed.stderr).contains("changed since"), "{}", text(&changed.stderr));
}

#[test]
fn a_roll_back_needs_a_set_that_was_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let none = domicile(&["policy", "rollback", "--data", data]);
    assert_eq!(none.status.code(), Some(0), "{}", text(&none.stderr));
    assert!(text(&none.stdout).contains("No policy set was in force"), "{}", text(&none.stdout));
    let unknown = domicile(&["policy", "rollback", "abc", "--data", data]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("`abc` is not the hash"), "{}", text(&unknown.stderr));
    let released = domicile(&["policy", "rollback", "--release", "--data", data]);
    assert_eq!(released.status.code(), Some(1), "{}", text(&released.stderr));
    // It is the set of the packs in the binary that counts.
    let gateway = Gateway::start(folder.path());
    let said = gateway.said.iter().find_map(|line| line.trim().strip_prefix("policy set ")).unwrap();
    let listed = domicile(&["policy", "rollback", "--data", data]);
    assert!(text(&listed.stdout).contains(said), "{}", text(&listed.stdout));
    let back = domicile(&["policy", "rollback", said.get(..16).unwrap(), "--data", data]);
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    let admin = gateway.admin();
    let shadow = domicile(&["policy", "shadow", "--admin", &admin]);
    assert_eq!(shadow.status.code(), Some(1));
    assert!(text(&shadow.stderr).contains("policy.shadow"), "{}", text(&shadow.stderr));
    let told = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        text(&domicile(&["ready", "--admin", &admin]).stdout).contains(&format!("{said} was rolled back to"))
    });
    assert!(told, "the gateway does not say that a set was rolled back to");
}

#[test]
fn a_folder_of_packs_is_exported_extended_laid_out_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    let policies = policies.to_str().unwrap();
    let exported = domicile(&["policy", "export", policies, "--format", "json"]);
    assert_eq!(exported.status.code(), Some(0), "{}", text(&exported.stderr));
    let again = domicile(&["policy", "export", policies]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("not empty"), "{}", text(&again.stderr));

    let new = ["policy", "new", "fj", "--country", "FJ", "--title", "Fiji", "--policies", policies];
    let made = domicile(&new);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("Next:"), "{}", text(&made.stdout));
    assert_eq!(domicile(&new).status.code(), Some(2), "an existing pack was overwritten");
    let checked = domicile(&["policy", "check", "--policies", policies]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));

    let rules = Path::new(policies).join("fj/10-gates.cedar");
    let tidy = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, tidy.replace("\n  ", "\n      ")).unwrap();
    let found = domicile(&["policy", "fmt", "--check", "--format", "json", "--policies", policies]);
    assert_eq!(found.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(report["changed"], serde_json::json!([rules]));
    assert_eq!(domicile(&["policy", "fmt", policies]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&rules).unwrap(), tidy);
    assert_eq!(domicile(&["policy", "fmt", "--check", policies]).status.code(), Some(0));
    assert_eq!(domicile(&["policy", "fmt"]).status.code(), Some(2), "it must be told what to format");
}

#[test]
fn coverage_is_told_as_markdown_and_as_json() {
    let page = domicile(&["policy", "coverage"]);
    assert_eq!(page.status.code(), Some(0), "{}", text(&page.stderr));
    assert!(text(&page.stdout).contains("| CN-CSL-39 |"));
    let json = domicile(&["policy", "coverage", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let packs = report["packs"].as_array().unwrap();
    assert!(
        packs.iter().any(|pack| pack["pack"] == "cn" && pack["provisions"][0]["means"][0]["kind"] == "gate")
    );
}

#[test]
fn a_made_up_case_is_explained_and_a_wrong_line_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.jsonl");
    let good = r#"{"id": "one", "classes": ["personal"], "subjects": ["DE"], "target": {"country": "US"}}"#;
    fs::write(&table, format!("// A remark.\n{good}\n")).unwrap();
    let arguments = ["policy", "explain", "--scenario", table.to_str().unwrap()];
    let explained = domicile(&arguments);
    let said = text(&explained.stdout);
    assert_eq!(explained.status.code(), Some(0), "{}", text(&explained.stderr));
    for part in
        ["scenario one", "EU-GDPR-45 (", "It would not refuse if:", "Would be allowed with", "Nearest: DE"]
    {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    fs::write(&table, format!("{good}\n{}\n", good.replace("classes", "clases"))).unwrap();
    let explained = domicile(&[&arguments[..], &["--format", "json"]].concat());
    assert_eq!(explained.status.code(), Some(1));
    assert!(text(&explained.stderr).starts_with("line 2: "), "{}", text(&explained.stderr));
    let json: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(1));
    assert_eq!(json[0]["nearest"][0]["place"], "DE");
}
