use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::catalogue::sqlite::SqliteCatalogue;
use crate::gateway::start::log_folder;
use crate::gateway::testing::TestGateway;
use crate::log::entry::{Entry, Opening};
use crate::log::verify::{Options, verify};
use crate::policy::kept::write_activation;

/// A folder for a gateway, with the packs of two laws in `policies`.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let packs = vec!["cn".to_owned(), "ru".to_owned()];
    for file in (PackSource { directory: None, packs }).read().unwrap().files() {
        let path = packs_of(dir.path()).join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.text).unwrap();
    }
    dir
}

fn packs_of(dir: &Path) -> PathBuf {
    dir.join("policies-of-ours")
}

fn hash(dir: &Path) -> PolicyHash {
    PackSource::directory(packs_of(dir)).read().unwrap().hash()
}

/// A change that is another set and decides as before.
fn change(dir: &Path, remark: &str) {
    let path = packs_of(dir).join("ru/10-residency.cedar");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{text}\n// {remark}\n")).unwrap();
}

async fn start(dir: TempDir) -> TestGateway {
    let packs = packs_of(dir.path());
    TestGateway::start_in(dir, |config| config.policy.directory = Some(packs)).await.unwrap()
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within two minutes: {what}");
}

fn record(author: &str, approver: &str, set: &PolicyHash) -> Activation {
    Activation {
        author: author.to_owned(),
        approver: approver.to_owned(),
        reason: "the-new-order".to_owned(),
        date: "2026-11-23".to_owned(),
        set: Some(set.0.to_string()),
    }
}

/// The policy events of the node's own log, with what their sealed records say.
fn activations(data: &Path) -> Vec<(Entry, String, Option<Opening>)> {
    let catalogue = SqliteCatalogue::open_read_only(data).unwrap();
    let log = catalogue.logs().unwrap().into_iter().find(|log| log.jurisdiction.code() == "DE").unwrap();
    let entries = catalogue.entries(&log.origin, 0, log.size).unwrap();
    let told = entries.iter().enumerate().map(|(index, bytes)| {
        let opening = catalogue.opening(&log.origin, index as u64).unwrap();
        (Entry::parse(bytes).unwrap(), String::from_utf8(bytes.clone()).unwrap(), opening)
    });
    told.filter(|(entry, ..)| entry.event == Event::Policy).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_take_effect_by_themselves_and_broken_ones_leave_the_old_set_in_force() {
    let test = start(folder()).await;
    let (gateway, dir) = (test.gateway.clone(), test.folder().to_owned());
    let first = gateway.engine.policy();
    assert_eq!(first, hash(&dir));
    assert!(gateway.notes().is_empty(), "{:?}", gateway.notes());

    change(&dir, "a remark");
    let second = hash(&dir);
    assert_ne!(first, second);
    eventually("the changed set is in force", || gateway.engine.policy() == second).await;
    for set in [&first, &second] {
        let kept = gateway.policies.kept.source(&set.0).read().unwrap();
        assert_eq!(kept.hash(), *set, "it is not kept as it was");
    }

    let broken = packs_of(&dir).join("ru/10-residency.cedar");
    let whole = fs::read_to_string(&broken).unwrap();
    fs::write(&broken, format!("{whole}\nforbid (prinzipal")).unwrap();
    eventually("the broken set is told of", || !gateway.notes().is_empty()).await;
    eventually("the failure is counted", || gateway.metrics.policy_reload_failures.get() == 1).await;
    assert_eq!(gateway.engine.policy(), second);
    assert!(gateway.notes()[0].contains("ru/10-residency.cedar"), "{:?}", gateway.notes());
    gateway.refresh_metrics().await;
    let metrics = gateway.metrics.render();
    assert!(metrics.contains("domicile_policy_reload_failures_total 1\n"), "{metrics}");
    assert!(metrics.contains("domicile_policy_files_differ 1\n"), "{metrics}");
    assert!(gateway.readiness().await.is_ok(), "a gateway that decides is ready");

    fs::write(&broken, whole).unwrap();
    eventually("the files are those in force", || gateway.notes().is_empty()).await;
    assert_eq!(gateway.engine.policy(), second);
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_watch_the_files_wait_for_a_signal() {
    let dir = folder();
    let packs = packs_of(dir.path());
    let test = TestGateway::start_in(dir, |config| {
        config.policy.directory = Some(packs);
        config.policy.watch = false;
    })
    .await
    .unwrap();
    let first = test.gateway.engine.policy();
    change(test.folder(), "a remark");
    let gateway = test.gateway.clone();
    eventually("the difference is seen", || gateway.policies.differs()).await;
    assert_eq!(gateway.engine.policy(), first);
    assert_eq!(gateway.reload_policies().await.unwrap(), hash(test.folder()));
    assert!(!gateway.policies.differs());
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_approval_is_asked_for_only_a_set_that_two_people_stand_behind_takes_effect() {
    let dir = folder();
    let (packs, set) = (packs_of(dir.path()), hash(dir.path()));
    let strict = |config: &mut Config| {
        config.policy.directory = Some(packs.clone());
        config.policy.require_approval = true;
    };
    let mut config = None;
    let copy = |c: &mut Config| {
        strict(c);
        config = Some(c.clone());
        c.policy.require_approval = false;
    };
    TestGateway::start_in(folder(), copy).await.unwrap().stop().await;
    let config = config.unwrap();
    let refused = coming(&config).err().unwrap().to_string();
    assert!(refused.contains("approved by nobody") && refused.contains("policy approve"), "{refused}");
    write_activation(&packs, &record("Ada", "ADA ", &set)).unwrap();
    let refused = coming(&config).err().unwrap().to_string();
    assert!(refused.contains("same person"), "{refused}");

    write_activation(&packs, &record("ada-of-legal", "grace-of-counsel", &set)).unwrap();
    let test = TestGateway::start_in(dir, strict).await.unwrap();
    assert_eq!(test.gateway.engine.policy(), set, "the record is no part of the hash");

    change(test.folder(), "made by nobody in particular");
    let refused = test.gateway.reload_policies().await.unwrap_err().to_string();
    assert!(refused.contains("the files changed since"), "{refused}");
    assert_eq!(test.gateway.engine.policy(), set);

    let data = test.gateway.config.data.clone();
    let told = activations(&data);
    let (entry, leaf, opening) = told.last().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(entry.policy, *set.0);
    for name in ["ada-of-legal", "grace-of-counsel", "the-new-order"] {
        assert!(!leaf.contains(name), "{name} is in the entry");
    }
    let opening = opening.as_ref().unwrap();
    assert_eq!(Some(opening.commitment()), entry.commitment);
    assert_eq!(opening.facts.author.as_deref(), Some("ada-of-legal"));
    assert_eq!(opening.facts.approver.as_deref(), Some("grace-of-counsel"));
    assert_eq!(opening.facts.reason.as_deref(), Some("the-new-order"));
    let _dir = test.stop_and_leave().await;
    let report = verify(&Options { dir: log_folder(&data), vkeys: Vec::new(), old_checkpoints: Vec::new() });
    assert_eq!(report.exit_code(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_back_lasts_over_a_restart_until_it_is_released() {
    let test = start(folder()).await;
    let (gateway, first) = (test.gateway.clone(), test.gateway.engine.policy());
    change(test.folder(), "a mistake");
    let second = hash(test.folder());
    assert_eq!(gateway.reload_policies().await.unwrap(), second);

    let kept = Kept::of(&gateway.config.data);
    kept.pin(&Pin { set: first.0.to_string(), activation: Some(record("Ada", "Grace", &first)) }).unwrap();
    eventually("the old set is in force again", || gateway.engine.policy() == first).await;
    eventually("the operator is told", || gateway.notes().len() == 2).await;
    // The files do not count meanwhile.
    change(test.folder(), "a further change");
    assert_eq!(gateway.reload_policies().await.unwrap(), first);
    drop(gateway);

    let test = start(test.stop_and_leave().await).await;
    assert_eq!(test.gateway.engine.policy(), first);
    assert!(kept.release().unwrap());
    let (gateway, third) = (test.gateway.clone(), hash(test.folder()));
    eventually("the files count again", || gateway.engine.policy() == third).await;
    eventually("nothing is left to tell", || gateway.notes().is_empty()).await;

    let told: Vec<_> = kept.history().unwrap().into_iter().map(|taken| (taken.set, taken.cause)).collect();
    let expected = [
        (first.0.to_string(), Cause::Start),
        (second.0.to_string(), Cause::Reload),
        (first.0.to_string(), Cause::Rollback),
        (third.0.to_string(), Cause::Release),
    ];
    assert_eq!(told, expected);
    let logged = activations(&gateway.config.data);
    let rolled_back = logged.iter().find(|(entry, ..)| entry.commitment.is_some()).unwrap();
    assert_eq!(rolled_back.0.policy, *first.0);
    drop(gateway);
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_does_not_start_with_a_kept_set_that_was_tampered_with() {
    let test = start(folder()).await;
    let (kept, set) = (Kept::of(&test.gateway.config.data), test.gateway.engine.policy());
    let config = test.gateway.config.clone();
    let dir = test.stop_and_leave().await;
    kept.pin(&Pin { set: set.0.to_string(), activation: None }).unwrap();
    assert_eq!(coming(&config).unwrap().change.set, set);
    let law = config.data.join("policies").join(&*set.0).join("ru/10-residency.cedar");
    let text = fs::read_to_string(&law).unwrap();
    fs::write(&law, text.replace("forbid", "permit")).unwrap();
    assert!(coming(&config).is_err());
    fs::write(&law, format!("{text}// still valid, and another set")).unwrap();
    let error = coming(&config).err().unwrap().to_string();
    assert!(error.contains("other content than its name says"), "{error}");
    drop(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_asked_beside_the_live_set_and_a_broken_one_touches_nothing() {
    use crate::gateway::testing::{OF_CHINA, PUBLIC};
    let dir = folder();
    let (packs, candidate) = (packs_of(dir.path()), dir.path().join("candidate"));
    for file in PackSource::directory(&packs).read().unwrap().files() {
        let path = candidate.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // The candidate does not speak of China.
        if !file.path.starts_with("cn/") {
            fs::write(path, &file.text).unwrap();
        }
    }
    fs::remove_dir(candidate.join("cn")).unwrap();
    let shadow = candidate.clone();
    let test = TestGateway::start_in(dir, |config| {
        config.policy.directory = Some(packs);
        config.policy.shadow = Some(shadow);
    })
    .await
    .unwrap();
    let (gateway, live) = (test.gateway.clone(), test.gateway.engine.policy());
    assert!(test.put("of-china", &[OF_CHINA], "x").await.status.is_success());
    assert!(test.put("public", &[PUBLIC], "x").await.status.is_success());
    let report = || gateway.policies.shadow().unwrap().report();
    eventually("both writes were put to the candidate", || report().compared >= 2).await;
    let told = report();
    assert!(told.outcomes.contains_key(&Outcome::Same) && told.outcomes.len() > 1, "{told:?}");
    assert!(!told.examples.is_empty());
    let metrics = gateway.metrics.render();
    assert!(metrics.contains("domicile_policy_shadow_total{outcome=\"same\"}"), "{metrics}");

    fs::write(candidate.join("ru/10-residency.cedar"), "forbid (prinzipal").unwrap();
    eventually("the broken candidate is told of", || !gateway.notes().is_empty()).await;
    assert_eq!(gateway.engine.policy(), live);
    assert_eq!(gateway.metrics.policy_reload_failures.get(), 0);
    assert!(test.put("more", &[PUBLIC], "x").await.status.is_success());
    drop(gateway);
    test.stop().await;
}
