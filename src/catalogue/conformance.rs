//! What every catalogue must do, whatever engine is under it.
//!
//! Each check is a function over `&dyn Catalogue` with an empty catalogue; `conformance!` makes them the tests of one engine.

mod versions;

pub use self::versions::*;
use super::*;
use crate::label::{Label, Source};
use crate::log::{Event, Place, SealedFacts};

/// Makes a `#[tokio::test]` of each check. `$open` is an expression for `(guard, catalogue)`.
macro_rules! conformance {
    ($open:expr) => {
        $crate::catalogue::conformance::conformance!(@ $open;
            an_unknown_object_has_no_placement
            a_setting_is_kept_with_its_bucket_and_ends_with_it
            bytes_that_are_gone_end_their_version_and_no_other
            a_recorded_write_is_found_as_it_was_recorded
            answers_for_many_objects_come_in_the_order_asked
            an_intent_survives_as_it_was_opened_until_it_is_dropped
            an_intent_takes_over_the_id_of_an_existing_object
            a_write_that_was_given_up_never_counts_and_what_it_left_is_residue
            a_write_without_an_open_intent_is_refused_and_changes_nothing
            an_intent_settles_one_write_only
            a_write_goes_where_its_intent_said
            an_overwrite_in_place_displaces_nothing
            the_last_commit_wins
            a_move_lists_the_old_copy_and_its_removal_is_logged_where_it_lay
            a_move_within_a_country_needs_no_transfer_id
            moving_back_ends_the_residue_of_the_overwritten_copy
            a_residue_of_another_version_outlives_a_write_to_its_location
            a_removal_waits_for_a_write_of_the_same_key
            a_write_waits_for_a_removal_of_the_same_key
            a_removal_is_recorded_once
            an_open_write_that_was_overtaken_elsewhere_becomes_residue
            nothing_is_stray_where_the_object_is_placed
            a_deleted_object_is_gone_and_its_delete_is_logged
            an_object_that_comes_back_after_a_delete_is_another_object
            each_jurisdiction_has_a_log_of_its_own
            events_change_no_placement
            history_links_each_entry_to_the_one_before
            history_keeps_the_newest_lines
            buckets_are_created_once_listed_by_name_and_deleted
            objects_are_counted_up_to_the_limit
            verdicts_add_up_and_expire
            what_is_too_large_is_refused
            versions_stay_in_the_order_of_commits_wherever_they_lie
            a_delete_marker_hides_the_object_until_it_is_removed
            the_next_older_version_is_the_newest_when_the_newest_has_gone
            there_is_one_null_version_and_it_moves_with_its_residue_listed
            the_removal_of_a_null_version_and_a_write_of_it_exclude_each_other
            an_object_from_before_versioning_is_the_null_version
            a_stray_version_lies_beside_the_one_that_is_placed
            new_labels_for_an_older_version_do_not_make_it_the_newest
        );
    };
    (@ $open:expr; $($check:ident)*) => {$(
        #[tokio::test]
        async fn $check() {
            let (_guard, catalogue) = $open;
            $crate::catalogue::conformance::$check(&catalogue).await;
        }
    )*};
}
pub(crate) use conformance;

pub async fn an_unknown_object_has_no_placement(c: &dyn Catalogue) {
    assert_eq!(c.find(c.object_handle("bucket", "key")).await.unwrap(), None);
    assert_ne!(c.object_handle("bucket", "key"), c.object_handle("bucket", "other"));
    assert_ne!(c.bucket_handle("bucket"), c.bucket_handle("other"));
}

pub async fn a_recorded_write_is_found_as_it_was_recorded(c: &dyn Catalogue) {
    let mut wanted = placement("cn-1", "\"e\"");
    wanted.version = Some("v".to_owned());
    wanted.coverage = Coverage::Complete;
    let intent = c.open_intent(intent(c, "key", wanted, "CN")).await.unwrap();
    let recorded = c.record_write(settle(intent.clone(), "\"e2\"")).await.unwrap();
    assert_eq!(recorded.displaced, None);
    assert_eq!(recorded.placement, Placement { etag: "\"e2\"".to_owned(), order: 1, ..intent.placement });
    assert_eq!(c.find(intent.handle).await.unwrap(), Some(recorded.placement));
    assert_eq!(c.open_intents().await.unwrap(), []);
    assert_eq!(recorded.receipt.index, 1, "log.open is entry 0");
}

pub async fn answers_for_many_objects_come_in_the_order_asked(c: &dyn Catalogue) {
    write(c, "a", "cn-1", "CN", "ea").await;
    write(c, "b", "de-1", "DE", "eb").await;
    let handles = ["b", "none", "a"].map(|key| c.object_handle("bucket", key));
    let answers = c.find_many(&handles).await.unwrap();
    assert_eq!(answers, [Some((id("de-1"), "eb".to_owned())), None, Some((id("cn-1"), "ea".to_owned()))]);
}

pub async fn an_intent_survives_as_it_was_opened_until_it_is_dropped(c: &dyn Catalogue) {
    let opened = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    assert_eq!(c.open_intents().await.unwrap(), std::slice::from_ref(&opened));
    assert_eq!(c.find(opened.handle).await.unwrap(), None);
    c.drop_intent(opened.id).await.unwrap();
    c.drop_intent(opened.id).await.unwrap();
    assert_eq!(c.open_intents().await.unwrap(), []);
}

pub async fn a_write_that_was_given_up_never_counts_and_what_it_left_is_residue(c: &dyn Catalogue) {
    let lost = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    let kept = write(c, "key", "de-1", "DE", "e").await;
    let other = c.open_intent(intent(c, "other", placement("cn-1", ""), "CN")).await.unwrap();
    assert_eq!(c.open_writes_of(lost.handle).await.unwrap(), [(lost.id, id("cn-1"))]);
    for _ in 0..2 {
        c.give_up_intent(lost.id, "bucket".to_owned(), "key".to_owned()).await.unwrap();
        let residues = c.residues(10).await.unwrap();
        let listed = residues.iter().map(|r| (r.key.as_str(), r.location.as_str())).collect::<Vec<_>>();
        assert_eq!(listed, [("key", "cn-1")]);
    }
    assert_eq!(c.open_intents().await.unwrap(), [other]);
    let refused = c.record_write(settle(lost.clone(), "late")).await;
    assert!(matches!(refused, Err(CatalogueError::Settled(_))), "{refused:?}");
    assert_eq!(c.find(lost.handle).await.unwrap(), Some(kept.placement));
}

pub async fn an_intent_takes_over_the_id_of_an_existing_object(c: &dyn Catalogue) {
    let first = write(c, "key", "cn-1", "CN", "e1").await;
    let opened = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    assert_eq!(opened.placement.object, first.placement.object);
}

pub async fn a_write_without_an_open_intent_is_refused_and_changes_nothing(c: &dyn Catalogue) {
    let opened = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    c.drop_intent(opened.id).await.unwrap();
    let refused = c.record_write(settle(opened.clone(), "e")).await;
    assert!(matches!(refused, Err(CatalogueError::Settled(id)) if id == opened.id), "{refused:?}");
    let refused = c.record_delete(opened.id, opened.handle, draft(Event::Delete, "CN")).await;
    assert!(matches!(refused, Err(CatalogueError::Settled(_))), "{refused:?}");
    let refused = c.record_write(WriteRecord { intent: u64::MAX, ..settle(opened.clone(), "e") }).await;
    assert!(matches!(refused, Err(CatalogueError::Settled(_))), "{refused:?}");
    assert_eq!(c.find(opened.handle).await.unwrap(), None);
    assert_eq!(c.history(opened.placement.object, 10).await.unwrap(), []);
}

pub async fn an_intent_settles_one_write_only(c: &dyn Catalogue) {
    let opened = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    c.record_write(settle(opened.clone(), "e1")).await.unwrap();
    let again = c.record_write(settle(opened.clone(), "e2")).await;
    assert!(matches!(again, Err(CatalogueError::Settled(_))), "{again:?}");
    assert_eq!(c.find(opened.handle).await.unwrap().unwrap().etag, "e1");
}

pub async fn a_write_goes_where_its_intent_said(c: &dyn Catalogue) {
    let opened = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    let mut elsewhere = settle(opened.clone(), "e");
    elsewhere.placement.location = id("de-1");
    let refused = c.record_write(elsewhere).await;
    assert!(matches!(refused, Err(CatalogueError::OtherIntent(_))), "{refused:?}");
    let other = c.object_handle("bucket", "other");
    let refused = c.record_write(WriteRecord { handle: other, ..settle(opened.clone(), "e") }).await;
    assert!(matches!(refused, Err(CatalogueError::OtherIntent(_))), "{refused:?}");
    let refused = c.record_delete(opened.id, other, draft(Event::Delete, "CN")).await;
    assert!(matches!(refused, Err(CatalogueError::OtherIntent(_))), "{refused:?}");
    assert_eq!(
        c.open_intents().await.unwrap(),
        std::slice::from_ref(&opened),
        "a refusal leaves the intent open"
    );
    c.record_write(settle(opened, "e")).await.unwrap();
}

pub async fn an_overwrite_in_place_displaces_nothing(c: &dyn Catalogue) {
    let first = write(c, "key", "cn-1", "CN", "e1").await;
    let second = write(c, "key", "cn-1", "CN", "e2").await;
    assert_eq!(second.displaced, None);
    assert_eq!(second.placement.object, first.placement.object);
    assert_eq!(second.receipt.index, first.receipt.index + 1);
    assert_eq!(c.residues(10).await.unwrap(), []);
}

pub async fn the_last_commit_wins(c: &dyn Catalogue) {
    let one = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    let two = c.open_intent(intent(c, "key", placement("de-1", ""), "DE")).await.unwrap();
    let second = c.record_write(settle(two, "e2")).await.unwrap();
    let first = c.record_write(settle(one, "e1")).await.unwrap();
    assert_eq!(first.placement.object, second.placement.object, "one name is one object");
    assert_eq!(first.displaced.as_ref().unwrap().location, id("de-1"));
    assert_eq!(c.find(c.object_handle("bucket", "key")).await.unwrap(), Some(first.placement));
}

pub async fn a_move_lists_the_old_copy_and_its_removal_is_logged_where_it_lay(c: &dyn Catalogue) {
    let first = write(c, "key", "de-1", "DE", "e1").await;
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let second = write(c, "key", "cn-1", "CN", "e2").await;
    let residue = second.displaced.unwrap();
    assert_eq!((residue.location.as_str(), residue.etag.as_str()), ("de-1", "e1"));
    assert_eq!((residue.bucket.as_str(), residue.key.as_str()), ("bucket", "key"));
    assert_eq!(residue.object, first.placement.object);
    assert_eq!(c.residues(10).await.unwrap(), std::slice::from_ref(&residue));
    assert_eq!(c.residues(0).await.unwrap(), []);
    assert_eq!(c.residues_of(residue.handle).await.unwrap(), std::slice::from_ref(&residue));
    assert_eq!(c.residues_of(c.object_handle("bucket", "other")).await.unwrap(), []);

    assert_eq!(c.claim_removal(residue.id, soon()).await.unwrap(), Claim::Granted);
    // The entries of two logs are told apart by their time only.
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    // The caller does not know the log or the transfer; the residue does.
    let removed = c.record_removal(residue.id, draft(Event::Remove, "CN")).await.unwrap();
    assert_eq!(removed.origin, first.receipt.origin);
    assert_eq!(c.residues(10).await.unwrap(), []);
    let lines = c.history(residue.object, 10).await.unwrap();
    let events: Vec<Event> = lines.iter().map(|line| line.entry.event).collect();
    assert_eq!(events, [Event::Write, Event::Write, Event::Remove]);
    assert_eq!(lines[0].entry.transfer, None);
    assert!(lines[1].entry.transfer.is_some());
    assert_eq!(lines[1].entry.transfer, lines[2].entry.transfer, "both logs share the transfer");
    assert_eq!(lines[2].entry.previous, Some(first.receipt.index));
}

pub async fn a_move_within_a_country_needs_no_transfer_id(c: &dyn Catalogue) {
    write(c, "key", "cn-1", "CN", "e1").await;
    let second = write(c, "key", "cn-2", "CN", "e2").await;
    assert!(second.displaced.is_some());
    let lines = c.history(second.placement.object, 10).await.unwrap();
    assert_eq!(lines.last().unwrap().entry.transfer, None);
}

pub async fn moving_back_ends_the_residue_of_the_overwritten_copy(c: &dyn Catalogue) {
    write(c, "key", "cn-1", "CN", "e1").await;
    let moved = write(c, "key", "de-1", "DE", "e2").await.displaced.unwrap();
    let back = write(c, "key", "cn-1", "CN", "e1").await.displaced.unwrap();
    assert_eq!(c.residues(10).await.unwrap(), [back]);
    assert_eq!(c.claim_removal(moved.id, soon()).await.unwrap(), Claim::Gone);
    let removed = c.record_removal(moved.id, draft(Event::Remove, "CN")).await;
    assert!(matches!(removed, Err(CatalogueError::NoResidue(id)) if id == moved.id), "{removed:?}");
}

pub async fn a_residue_of_another_version_outlives_a_write_to_its_location(c: &dyn Catalogue) {
    let write_version = async |location: &str, country: &str, version: &str| {
        let mut wanted = placement(location, "");
        wanted.version = Some(version.to_owned());
        let opened = c.open_intent(intent(c, "key", wanted, country)).await.unwrap();
        c.record_write(settle(opened, "e")).await.unwrap()
    };
    write_version("cn-1", "CN", "v1").await;
    let residue = write_version("de-1", "DE", "w1").await.displaced.unwrap();
    assert_eq!(residue.version.as_deref(), Some("v1"));
    assert_eq!(c.claim_removal(residue.id, soon()).await.unwrap(), Claim::Granted);
    write_version("cn-1", "CN", "v2").await;
    let left: Vec<_> = c.residues(10).await.unwrap().into_iter().map(|residue| residue.version).collect();
    assert_eq!(left, [Some("v1".to_owned()), Some("w1".to_owned())]);
}

pub async fn a_removal_waits_for_a_write_of_the_same_key(c: &dyn Catalogue) {
    write(c, "key", "cn-1", "CN", "e1").await;
    let residue = write(c, "key", "de-1", "DE", "e2").await.displaced.unwrap();
    let back = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    assert_eq!(c.claim_removal(residue.id, soon()).await.unwrap(), Claim::WriteUnderWay);
    c.drop_intent(back.id).await.unwrap();
    assert_eq!(c.claim_removal(residue.id, soon()).await.unwrap(), Claim::Granted);
}

pub async fn a_write_waits_for_a_removal_of_the_same_key(c: &dyn Catalogue) {
    write(c, "key", "cn-1", "CN", "e1").await;
    let residue = write(c, "key", "de-1", "DE", "e2").await.displaced.unwrap();
    assert_eq!(c.claim_removal(residue.id, soon()).await.unwrap(), Claim::Granted);
    let refused = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await;
    assert!(matches!(refused, Err(CatalogueError::RemovalUnderWay)), "{refused:?}");
    // Elsewhere, and for other keys, nothing is in the way; nor is a claim that has run out.
    let elsewhere = c.open_intent(intent(c, "key", placement("de-1", ""), "DE")).await.unwrap();
    c.drop_intent(elsewhere.id).await.unwrap();
    let other = c.open_intent(intent(c, "other", placement("cn-1", ""), "CN")).await.unwrap();
    c.drop_intent(other.id).await.unwrap();
    assert_eq!(c.claim_removal(residue.id, 1).await.unwrap(), Claim::Granted);
    c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
}

pub async fn a_removal_is_recorded_once(c: &dyn Catalogue) {
    write(c, "key", "cn-1", "CN", "e1").await;
    let residue = write(c, "key", "de-1", "DE", "e2").await.displaced.unwrap();
    c.record_removal(residue.id, draft(Event::Remove, "CN")).await.unwrap();
    let again = c.record_removal(residue.id, draft(Event::Remove, "CN")).await;
    assert!(matches!(again, Err(CatalogueError::NoResidue(_))), "{again:?}");
}

pub async fn an_open_write_that_was_overtaken_elsewhere_becomes_residue(c: &dyn Catalogue) {
    let lost = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    let newer = write(c, "key", "de-1", "DE", "e2").await;
    assert_eq!(c.open_intents_of(lost.handle).await.unwrap(), std::slice::from_ref(&lost));
    assert_eq!(c.open_intents_of(c.object_handle("bucket", "other")).await.unwrap(), []);
    let residue = c.record_stray(stray(&lost, "e1")).await.unwrap();
    assert_eq!((residue.location.as_str(), residue.etag.as_str()), ("cn-1", "e1"));
    assert_eq!(residue.object, newer.placement.object);
    assert_eq!(c.residues(10).await.unwrap(), std::slice::from_ref(&residue));
    assert_eq!(c.find(lost.handle).await.unwrap(), Some(newer.placement));
    assert_eq!(c.open_intents().await.unwrap(), []);
    let again = c.record_stray(stray(&lost, "e1")).await;
    assert!(matches!(again, Err(CatalogueError::Settled(_))), "{again:?}");
    // Its removal is told where it lay.
    let receipt = c.record_removal(residue.id, draft(Event::Remove, "DE")).await.unwrap();
    assert!(receipt.origin.contains("/CN/"), "{}", receipt.origin);
}

pub async fn nothing_is_stray_where_the_object_is_placed(c: &dyn Catalogue) {
    let written = write(c, "key", "cn-1", "CN", "e1").await;
    let open = c.open_intent(intent(c, "key", placement("cn-1", ""), "CN")).await.unwrap();
    let refused = c.record_stray(stray(&open, "e2")).await;
    assert!(matches!(refused, Err(CatalogueError::OtherIntent(_))), "{refused:?}");
    assert_eq!(c.open_intents().await.unwrap(), std::slice::from_ref(&open));
    assert_eq!(c.find(open.handle).await.unwrap(), Some(written.placement));
}

fn stray(intent: &Intent, etag: &str) -> Stray {
    Stray {
        intent: intent.id,
        bucket: intent.bucket.clone(),
        key: intent.key.clone(),
        etag: etag.to_owned(),
        version: None,
    }
}

pub async fn a_deleted_object_is_gone_and_its_delete_is_logged(c: &dyn Catalogue) {
    let written = write(c, "key", "cn-1", "CN", "e1").await;
    let receipt = delete(c, "key", "CN").await;
    assert_eq!(receipt.index, written.receipt.index + 1);
    assert_eq!(c.find(c.object_handle("bucket", "key")).await.unwrap(), None);
    assert_eq!(c.open_intents().await.unwrap(), []);
    let lines = c.history(written.placement.object, 10).await.unwrap();
    assert_eq!(lines.last().unwrap().entry.event, Event::Delete);
    assert_eq!(lines.last().unwrap().receipt, receipt);
}

pub async fn an_object_that_comes_back_after_a_delete_is_another_object(c: &dyn Catalogue) {
    let first = write(c, "key", "cn-1", "CN", "e1").await;
    delete(c, "key", "CN").await;
    let second = write(c, "key", "cn-1", "CN", "e2").await;
    assert_ne!(first.placement.object, second.placement.object);
}

pub async fn each_jurisdiction_has_a_log_of_its_own(c: &dyn Catalogue) {
    let cn = write(c, "a", "cn-1", "CN", "e").await.receipt;
    let de = write(c, "b", "de-1", "DE", "e").await.receipt;
    let cn2 = write(c, "c", "cn-1", "CN", "e").await.receipt;
    assert_eq!((cn.index, de.index, cn2.index), (1, 1, 2));
    assert_eq!(cn.origin, cn2.origin);
    assert!(cn.origin.contains("/CN/") && de.origin.contains("/DE/"), "{cn} {de}");
}

pub async fn events_change_no_placement(c: &dyn Catalogue) {
    let refused = c.record_event(draft(Event::Refuse, "CN")).await.unwrap();
    assert_eq!(refused.index, 1);
    assert_eq!(c.find(c.object_handle("bucket", "key")).await.unwrap(), None);
    let policy = c.record_event(EntryDraft::new(Event::Policy, "CN".parse().unwrap())).await.unwrap();
    assert_eq!(policy.index, 2);
}

pub async fn history_links_each_entry_to_the_one_before(c: &dyn Catalogue) {
    let first = write(c, "key", "cn-1", "CN", "e1").await;
    write(c, "other", "cn-1", "CN", "e").await;
    write(c, "key", "cn-1", "CN", "e2").await;
    let mut read = draft(Event::Read, "CN");
    read.object = Some(first.placement.object);
    c.record_event(read).await.unwrap();
    let lines = c.history(first.placement.object, 10).await.unwrap();
    let links: Vec<_> = lines.iter().map(|line| (line.receipt.index, line.entry.previous)).collect();
    assert_eq!(links, [(1, None), (3, Some(1)), (4, Some(3))]);
    assert_eq!(lines[0].entry.classes, ["personal.health"]);
    assert_eq!(lines[0].entry.rules, ["cn.pipl.40"]);
    assert_eq!(lines[0].entry.to[0].location, "cn-1");
    assert!(lines.iter().all(|line| line.entry.commitment.is_some()));
}

pub async fn history_keeps_the_newest_lines(c: &dyn Catalogue) {
    let mut object = None;
    for n in 0..5 {
        object = Some(write(c, "key", "cn-1", "CN", &format!("e{n}")).await.placement.object);
    }
    let lines = c.history(object.unwrap(), 2).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.receipt.index).collect::<Vec<_>>(), [4, 5]);
}

pub async fn a_setting_is_kept_with_its_bucket_and_ends_with_it(c: &dyn Catalogue) {
    let handle = c.bucket_handle("bucket");
    let cors = |document: &str| c.set_setting(handle, Setting::Cors, Some(document.to_owned()));
    // Nobody's setting is kept.
    cors("early").await.unwrap();
    assert_eq!(c.setting(handle, Setting::Cors).await.unwrap(), None);
    let bucket = Bucket {
        name: "bucket".to_owned(),
        home: Some(id("cn-1")),
        constraint: None,
        subject: None,
        owner: "app".to_owned(),
        created_at: 7,
        versioning: Versioning::Never,
        object_lock: Default::default(),
        places: None,
    };
    assert!(c.create_bucket(bucket.clone()).await.unwrap());
    cors("one").await.unwrap();
    cors("two").await.unwrap();
    assert_eq!(c.setting(handle, Setting::Cors).await.unwrap().as_deref(), Some("two"));
    assert_eq!(c.setting(handle, Setting::Tagging).await.unwrap(), None);
    assert_eq!(c.setting(c.bucket_handle("other"), Setting::Cors).await.unwrap(), None);
    c.set_setting(handle, Setting::Cors, None).await.unwrap();
    assert_eq!(c.setting(handle, Setting::Cors).await.unwrap(), None);
    cors("three").await.unwrap();
    c.delete_bucket(handle).await.unwrap();
    assert!(c.create_bucket(bucket).await.unwrap());
    assert_eq!(c.setting(handle, Setting::Cors).await.unwrap(), None);
}

pub async fn buckets_are_created_once_listed_by_name_and_deleted(c: &dyn Catalogue) {
    let bucket = |name: &str, home: Option<&str>| Bucket {
        name: name.to_owned(),
        home: home.map(id),
        constraint: Some("cn-north-1".to_owned()),
        subject: Some("CN".parse().unwrap()),
        owner: "app".to_owned(),
        created_at: 7,
        versioning: Versioning::Never,
        object_lock: Default::default(),
        places: None,
    };
    let one = Bucket {
        versioning: Versioning::Enabled,
        object_lock: ObjectLock::Enabled,
        places: Some([id("cn-1")].into()),
        ..bucket("bucket-1", Some("cn-1"))
    };
    let two = bucket("bucket-2", None);
    assert!(c.create_bucket(two.clone()).await.unwrap());
    assert!(c.create_bucket(one.clone()).await.unwrap());
    assert!(!c.create_bucket(Bucket { owner: "thief".to_owned(), ..one.clone() }).await.unwrap());
    assert_eq!(c.find_bucket(c.bucket_handle("bucket-1")).await.unwrap(), Some(one.clone()));
    assert_eq!(c.buckets().await.unwrap(), [one.clone(), two]);
    let everywhere = BTreeSet::from([id("cn-1"), id("de-1")]);
    c.set_places(c.bucket_handle("bucket-1"), everywhere.clone()).await.unwrap();
    let moved = Bucket { places: Some(everywhere), ..one };
    assert_eq!(c.find_bucket(c.bucket_handle("bucket-1")).await.unwrap(), Some(moved));
    c.delete_bucket(c.bucket_handle("bucket-1")).await.unwrap();
    c.delete_bucket(c.bucket_handle("bucket-1")).await.unwrap();
    assert_eq!(c.find_bucket(c.bucket_handle("bucket-1")).await.unwrap(), None);
    assert_eq!(c.buckets().await.unwrap().len(), 1);
}

pub async fn objects_are_counted_up_to_the_limit(c: &dyn Catalogue) {
    let bucket = c.bucket_handle("bucket");
    assert_eq!(c.count_in_bucket(bucket, 10).await.unwrap(), 0);
    for key in ["a", "b", "c"] {
        write(c, key, "cn-1", "CN", "e").await;
    }
    delete(c, "b", "CN").await;
    assert_eq!(c.count_in_bucket(bucket, 10).await.unwrap(), 2);
    assert_eq!(c.count_in_bucket(bucket, 1).await.unwrap(), 1);
    assert_eq!(c.count_in_bucket(c.bucket_handle("other"), 10).await.unwrap(), 0);
}

pub async fn verdicts_add_up_and_expire(c: &dyn Catalogue) {
    let handle = c.object_handle("bucket", "key");
    let verdict = |class: &str, country: &str| Verdict {
        classes: ClassSet::from_iter([class.parse().unwrap()]),
        subjects: CountrySet::from_iter([country.parse().unwrap()]),
    };
    assert_eq!(c.verdict(handle).await.unwrap(), None);
    c.remember_verdict(handle, verdict("personal", "CN"), 1).await.unwrap();
    assert_eq!(c.verdict(handle).await.unwrap(), None, "it ended long ago");
    c.remember_verdict(handle, verdict("personal.health", "CN"), soon()).await.unwrap();
    c.remember_verdict(handle, verdict("financial", "DE"), 1).await.unwrap();
    let found = c.verdict(handle).await.unwrap().unwrap();
    assert_eq!(found.classes.iter().count(), 2);
    assert_eq!(found.subjects.len(), 2);
    assert_eq!(c.verdict(c.object_handle("bucket", "other")).await.unwrap(), None);
}

pub async fn what_is_too_large_is_refused(c: &dyn Catalogue) {
    let mut huge = intent(c, "key", placement("cn-1", ""), "CN");
    huge.placement.etag = "e".repeat(5000);
    let refused = c.open_intent(huge).await;
    assert!(matches!(refused, Err(CatalogueError::TooLarge { what: "ETag", .. })), "{refused:?}");
    let mut huge = intent(c, "key", placement("cn-1", ""), "CN");
    huge.placement.evidence[0].detail = "d".repeat(1 << 20);
    let refused = c.open_intent(huge).await;
    assert!(matches!(refused, Err(CatalogueError::TooLarge { what: "intent", .. })), "{refused:?}");
    let mut huge = draft(Event::Refuse, "CN");
    huge.sealed.key = Some("k".repeat(1 << 20));
    let refused = c.record_event(huge).await;
    assert!(matches!(refused, Err(CatalogueError::TooLarge { what: "object key", .. })), "{refused:?}");
    assert_eq!(c.open_intents().await.unwrap(), []);
}

/// One whole write of `bucket/key`.
pub async fn write(c: &dyn Catalogue, key: &str, location: &str, country: &str, etag: &str) -> Recorded {
    let opened = c.open_intent(intent(c, key, placement(location, ""), country)).await.unwrap();
    c.record_write(settle(opened, etag)).await.unwrap()
}

async fn delete(c: &dyn Catalogue, key: &str, country: &str) -> Receipt {
    let mut deletion = intent(c, key, placement("cn-1", ""), country);
    deletion.kind = IntentKind::Delete;
    let opened = c.open_intent(deletion).await.unwrap();
    c.record_delete(opened.id, opened.handle, draft(Event::Delete, country)).await.unwrap()
}

pub fn intent(c: &dyn Catalogue, key: &str, placement: Placement, country: &str) -> Intent {
    let mut draft = draft(Event::Write, country);
    draft.sealed.key = Some(key.to_owned());
    draft.to = vec![Place {
        location: placement.location.to_string(),
        country: country.parse().unwrap(),
        region: "r".to_owned(),
    }];
    Intent {
        id: 0,
        handle: c.object_handle("bucket", key),
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        kind: IntentKind::Put,
        placement,
        draft,
        begun_at: 5,
    }
}

pub fn settle(intent: Intent, etag: &str) -> WriteRecord {
    WriteRecord {
        intent: intent.id,
        handle: intent.handle,
        bucket: intent.bucket,
        key: intent.key,
        placement: Placement { etag: etag.to_owned(), ..intent.placement },
        draft: intent.draft,
    }
}

pub fn placement(location: &str, etag: &str) -> Placement {
    let class = "personal.health".parse().unwrap();
    Placement {
        object: ObjectId::random(),
        location: id(location),
        classes: ClassSet::from_iter([class]),
        subjects: CountrySet::from_iter(["CN".parse().unwrap(), "DE".parse().unwrap()]),
        coverage: Coverage::Partial,
        evidence: vec![Evidence {
            source: Source::Detector("icd-10".to_owned()),
            label: Label::Class(class),
            detail: "12 diagnosis codes".to_owned(),
        }],
        etag: etag.to_owned(),
        version: None,
        order: 0,
        size: 12,
        policy: "abc".to_owned(),
        rules: vec!["cn.pipl.40".to_owned()],
        obligations: vec!["copy-in:RU".to_owned()],
        placed_at: 1_790_000_000_000,
    }
}

pub fn draft(event: Event, country: &str) -> EntryDraft {
    let mut draft = EntryDraft::new(event, country.parse().unwrap());
    draft.classes = ClassSet::from_iter(["personal.health".parse().unwrap()]);
    draft.decision.effect = "allow".to_owned();
    draft.decision.rules = vec!["cn.pipl.40".to_owned()];
    draft.sealed = SealedFacts {
        bucket: Some("bucket".to_owned()),
        principal: Some("app".to_owned()),
        address: Some("198.51.100.7".to_owned()),
        ..SealedFacts::default()
    };
    draft
}

pub fn id(location: &str) -> LocationId {
    location.parse().unwrap()
}

/// A moment well after the test.
fn soon() -> u64 {
    crate::clock::now_ms() + 600_000
}
