//! The other commands of the program: what they say, and how they end.

use std::path::Path;
use std::process::Output;

use crate::app::{bucket, put_tagged};
use crate::support::gateway::{Gateway, ON_SITE, Stores, config_text, run};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[track_caller]
fn ends(arguments: &[&str], code: i32, words: &[&str]) -> String {
    let output = run(arguments);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?} says nothing of `{word}`: {text}");
    }
    text
}

fn check_config(text: &str, code: i32, words: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("domicile.toml");
    std::fs::write(&file, text).unwrap();
    let said = ends(&["config", "check", file.to_str().unwrap()], code, words);
    assert!(!folder.path().join("data").exists(), "a check makes nothing");
    said
}

#[test]
fn a_good_configuration_is_valid() {
    let text = config_text(&Stores::Embedded, ON_SITE);
    check_config(&text, 0, &["is valid", "location cn-north in CN (region cn-north-1)", "1 apps"]);
    let remote = format!(
        "{text}\n[[location]]\nid = \"far\"\ncountry = \"BR\"\nregion = \"sa-east-1\"\nprovider = \"p\"\ntype = \"s3\"\n\
         endpoint = \"https://s3.example\"\naccess-key-id = \"AK\"\nsecret-access-key = \"the-secret\"\n"
    );
    let said = check_config(&remote, 0, &["S3 at https://s3.example"]);
    assert!(!said.contains("the-secret"), "{said}");
}

#[test]
fn a_bad_configuration_is_refused_with_its_line() {
    let text = config_text(&Stores::Embedded, ON_SITE);
    let line = |text: &str, of: &str| {
        format!("line {}", text.lines().position(|line| line.contains(of)).unwrap() + 1)
    };
    let misspelt = text.replace("on-site", "on-sight");
    check_config(&misspelt, 1, &["on-sight", &line(&misspelt, "on-sight")]);
    let nowhere = text.replace("country = \"CN\"", "country = \"XX\"");
    check_config(&nowhere, 1, &["XX", &line(&nowhere, "\"XX\"")]);
    let broken = text.replace("[node]", "[node");
    check_config(&broken, 1, &[&line(&broken, "[node")]);
    check_config(&text.replace("id = \"in-west\"", "id = \"us-east\""), 1, &["us-east", "twice"]);
    check_config(
        &format!("[policy]\npacks = [\"atlantis\"]\n{text}").replace("data = \"data\"\n", ""),
        1,
        &[],
    );
    check_config(&text.replace("domain = \"test.domicile.example\"\n", ""), 1, &["domain"]);
    ends(&["config", "check", "/nowhere/domicile.toml"], 1, &["/nowhere/domicile.toml"]);
}

#[test]
fn an_unknown_key_is_refused_everywhere() {
    let text = config_text(&Stores::Embedded, &format!("[gateway]\n\n[admin]\n\n{ON_SITE}"));
    for (place, key) in [
        ("[node]\n", "typo = 1\n"),
        ("[gateway]\n", "typo = 1\n"),
        ("[admin]\n", "typo = 1\n"),
        ("[[app]]\n", "typo = 1\n"),
        ("type = \"embedded\"\n", "typo = 1\n"),
        // A setting of the other kind of store is as unknown as any.
        ("type = \"embedded\"\n", "endpoint = \"http://127.0.0.1:1\"\n"),
    ] {
        let changed = text.replacen(place, &format!("{place}{key}"), 1);
        let name = key.split(' ').next().unwrap();
        let said = check_config(&changed, 1, &[name]);
        assert!(said.contains("unknown field"), "{place}: {said}");
    }
    for key in ["typo = 1", "path = \"folder\""] {
        let remote = format!(
            "{text}\n[[location]]\nid = \"far\"\ncountry = \"BR\"\nregion = \"sa-east-1\"\nprovider = \"p\"\n\
             type = \"s3\"\nendpoint = \"https://s3.example\"\n{key}\n"
        );
        check_config(&remote, 1, &[key.split(' ').next().unwrap(), "unknown field"]);
    }
}

#[test]
fn the_packs_are_checked_and_their_cases_run() {
    ends(&["policy", "check"], 0, &["cn", "eu", "ru", "base"]);
    ends(&["policy", "test"], 0, &[" cases, 0 failed"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("cn")).unwrap();
    std::fs::write(folder.path().join("cn/pack.toml"), "name = ").unwrap();
    let there = folder.path().to_str().unwrap();
    assert_ne!(run(&["policy", "check", "--policies", there]).status.code(), Some(0));
    assert_ne!(run(&["policy", "test", "--policies", "/nowhere"]).status.code(), Some(0));
}

#[test]
fn a_decision_is_explained_in_words() {
    let ask = |more: &[&str]| {
        let first = ["policy", "explain", "--data", "/nowhere/domicile-data"];
        ends(&[&first[..], more].concat(), 0, &[])
    };
    let refused =
        ask(&["--classes", "personal", "--subject", "CN", "--operator", "ciio", "--location", "us-east"]);
    for word in ["CN-CSL-39", "Cybersecurity Law", "Art. 39", "us-east"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    let allowed = ask(&["--classes", "personal", "--subject", "CN", "--location", "cn-north"]);
    assert!(allowed.to_lowercase().contains("allowed"), "{allowed}");
    let json = ask(&["--classes", "personal", "--subject", "CN", "--format", "json"]);
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
    assert!(!Path::new("/nowhere").exists());
    ends(&["policy", "explain", "--classes", "personal.helth"], 2, &["personal.helth"]);
    ends(&["policy", "explain", "--data", "/nowhere/d", "--location", "atlantis"], 2, &["atlantis"]);
}

#[tokio::test]
async fn an_object_is_found_while_the_gateway_runs_and_when_it_does_not() {
    let mut gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put_tagged(&client, "clinic", "a record", "data-class=personal.health&subject-country=CN", "a record")
        .await;
    let ask = |gateway: &Gateway| {
        let output = gateway.command(&["where", "s3://clinic/a record"]);
        assert!(output.status.success(), "{}", said(&output));
        let text = said(&output);
        for words in ["cn-north in CN", "personal.health", "object tag", "decided by", "write"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    };
    ask(&gateway);
    let nothing = gateway.command(&["where", "s3://clinic/nothing"]);
    assert_eq!(nothing.status.code(), Some(1), "{}", said(&nothing));
    let usage = gateway.command(&["where", "clinic/nothing"]);
    assert!(!usage.status.success() && said(&usage).contains("s3://bucket/key"));
    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
    ask(&gateway);
    // A question makes no data folder.
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("data");
    assert!(!run(&["where", "s3://clinic/a", "--data", nowhere.to_str().unwrap()]).status.success());
    assert!(!nowhere.exists());
}

#[tokio::test]
async fn a_log_is_verified_and_a_changed_one_is_not() {
    let mut gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put_tagged(&client, "clinic", "record", "data-class=personal&subject-country=CN", "a record").await;
    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
    let data = gateway.data();
    let data = data.to_str().unwrap();
    ends(&["audit", "verify", "--data", data], 0, &["demo.domicile.example/CN/gw-1/1"]);
    ends(&["audit", "verify", "--data", data, "--format", "json"], 0, &["{"]);
    ends(&["audit", "verify", "/nowhere"], 2, &["/nowhere"]);

    let entries = gateway.data().join("log/demo.domicile.example/CN/gw-1/1/tile/entries/000.p");
    let tile = std::fs::read_dir(entries).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let mut bytes = std::fs::read(&tile).unwrap();
    let at = memchr::memmem::find(&bytes, b"\"CN\"").unwrap();
    bytes[at + 1] = b'D';
    std::fs::remove_file(&tile).unwrap();
    std::fs::write(&tile, bytes).unwrap();
    ends(&["audit", "verify", "--data", data], 1, &["entry"]);
}

#[test]
fn an_address_in_use_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&[
        "serve",
        "--data",
        data.to_str().unwrap(),
        "--listen",
        &address,
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    assert!(!output.status.success() && said(&output).contains(&address), "{}", said(&output));
    assert!(!data.join("locations").exists());
}

#[tokio::test]
async fn a_second_gateway_over_the_same_data_does_not_start() {
    let gateway = Gateway::demo().await;
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let data = gateway.data();
    let output = run(&[&["serve", "--data", data.to_str().unwrap()][..], &listen].concat());
    assert!(!output.status.success(), "{}", said(&output));
    assert_eq!(gateway.admin_page("/readyz").await.0, 200);
}
