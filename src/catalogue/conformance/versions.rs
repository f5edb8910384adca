//! What a catalogue must do for buckets that keep versions.

use super::*;

const KEY: &str = "key";

pub async fn versions_stay_in_the_order_of_commits_wherever_they_lie(c: &dyn Catalogue) {
    versioned(c).await;
    let first = add(c, "cn-1", Some("v1"), "e1").await;
    let second = add(c, "de-1", Some("v1"), "e2").await;
    let third = add(c, "cn-1", Some("v2"), "e3").await;
    for recorded in [&first, &second, &third] {
        assert_eq!(recorded.displaced, None);
        assert_eq!(recorded.placement.object, first.placement.object);
    }
    assert_eq!(etags(c).await, ["e3", "e2", "e1"]);
    assert_eq!(c.find(handle(c)).await.unwrap(), Some(third.placement.clone()));
    assert_eq!(c.residues(9).await.unwrap(), []);
    assert_eq!(c.count_in_bucket(c.bucket_handle("bucket"), 9).await.unwrap(), 3);
    let found = c.find_version(handle(c), at("cn-1", Some("v1")).into()).await.unwrap().unwrap();
    assert_eq!((found.placement, found.is_latest), (first.placement, false));
    let newest = c.find_version(handle(c), Which::Newest).await.unwrap().unwrap();
    assert_eq!((newest.placement, newest.is_latest), (third.placement, true));
    assert_eq!(c.find_version(handle(c), Which::Null).await.unwrap(), None);
    let asked = vec![
        (handle(c), at("de-1", Some("v1"))),
        (handle(c), at("cn-1", Some("v2"))),
        (handle(c), at("cn-1", Some("v9"))),
        (handle(c), at("de-1", None)),
    ];
    let known = c.find_versions(asked).await.unwrap();
    assert_eq!(known[0], Some(Known { kind: VersionKind::Object, is_latest: false, order: 2 }));
    assert_eq!(known[1], Some(Known { kind: VersionKind::Object, is_latest: true, order: 3 }));
    assert_eq!(known[2..], [None, None]);
    let mut from = c.versions_from(handle(c), 2).await.unwrap();
    from.sort_by(|a, b| a.location.cmp(&b.location));
    assert_eq!(from, [at("cn-1", Some("v2")), at("de-1", Some("v1"))]);
}

pub async fn a_delete_marker_hides_the_object_until_it_is_removed(c: &dyn Catalogue) {
    versioned(c).await;
    let object = add(c, "cn-1", Some("v1"), "e1").await.placement;
    let marker = mark(c, "cn-1", Some("m1")).await;
    assert_eq!(marker.placement.object, object.object);
    assert_eq!(c.find(handle(c)).await.unwrap(), None);
    let places = c.find_many(&[handle(c)]).await.unwrap();
    assert_eq!(places, [None]);
    let newest = c.find_version(handle(c), Which::Newest).await.unwrap().unwrap();
    assert_eq!((newest.kind, newest.is_latest), (VersionKind::DeleteMarker, true));
    assert_eq!(c.count_in_bucket(c.bucket_handle("bucket"), 9).await.unwrap(), 2);
    // A location that makes no second marker over the first one answers with the first one's id.
    assert_eq!(mark(c, "cn-1", Some("m1")).await.placement.order, marker.placement.order);
    assert_eq!(c.versions(handle(c)).await.unwrap().len(), 2);
    remove(c, at("cn-1", Some("m1"))).await;
    assert_eq!(c.find(handle(c)).await.unwrap(), Some(object.clone()));
    let deletes = c.history(object.object, 9).await.unwrap();
    let deletes = deletes.iter().filter(|line| line.entry.event == Event::Delete).count();
    assert_eq!(deletes, 3);
}

pub async fn the_next_older_version_is_the_newest_when_the_newest_has_gone(c: &dyn Catalogue) {
    versioned(c).await;
    add(c, "cn-1", Some("v1"), "e1").await;
    mark(c, "cn-1", Some("m1")).await;
    add(c, "de-1", Some("v1"), "e2").await;
    add(c, "cn-1", Some("v3"), "e3").await;
    remove(c, at("cn-1", Some("v3"))).await;
    assert_eq!(c.find(handle(c)).await.unwrap().unwrap().location, id("de-1"));
    remove(c, at("de-1", Some("v1"))).await;
    assert_eq!(c.find(handle(c)).await.unwrap(), None, "a delete marker is the newest");
    remove(c, at("cn-1", Some("v1"))).await;
    assert_eq!(c.find(handle(c)).await.unwrap(), None);
    remove(c, at("cn-1", Some("unknown"))).await;
    remove(c, at("cn-1", Some("m1"))).await;
    assert_eq!(c.versions(handle(c)).await.unwrap(), []);
    assert_eq!(c.count_in_bucket(c.bucket_handle("bucket"), 9).await.unwrap(), 0);
}

pub async fn there_is_one_null_version_and_it_moves_with_its_residue_listed(c: &dyn Catalogue) {
    versioned(c).await;
    add(c, "cn-1", None, "e1").await;
    add(c, "cn-1", Some("v2"), "e2").await;
    let moved = add(c, "de-1", None, "e3").await;
    let residue = moved.displaced.unwrap();
    assert_eq!((residue.location, residue.version.as_deref()), (id("cn-1"), Some("null")));
    assert_eq!(etags(c).await, ["e3", "e2"]);
    // In its own place it is overwritten, and nothing is left to remove.
    assert_eq!(add(c, "de-1", None, "e4").await.displaced, None);
    assert_eq!(etags(c).await, ["e4", "e2"]);
    // A marker takes its place too, and what lies where it came back to has been overwritten.
    let marked = mark(c, "cn-1", None).await;
    assert_eq!(marked.displaced.unwrap().location, id("de-1"));
    let left = c.residues(9).await.unwrap();
    assert_eq!(left.iter().map(|residue| residue.location.clone()).collect::<Vec<_>>(), [id("de-1")]);
    assert_eq!(etags(c).await, ["", "e2"]);
    assert_eq!(
        c.find_version(handle(c), Which::Null).await.unwrap().unwrap().kind,
        VersionKind::DeleteMarker
    );
    remove(c, at("cn-1", None)).await;
    assert_eq!(c.find(handle(c)).await.unwrap().unwrap().etag, "e2");
}

pub async fn the_removal_of_a_null_version_and_a_write_of_it_exclude_each_other(c: &dyn Catalogue) {
    versioned(c).await;
    add(c, "cn-1", None, "e1").await;
    let residue = add(c, "de-1", None, "e2").await.displaced.unwrap();
    let open = c.open_intent(intent(c, KEY, placement("cn-1", ""), "CN")).await.unwrap();
    assert_eq!(c.claim_removal(residue.id, soon()).await.unwrap(), Claim::WriteUnderWay);
    c.drop_intent(open.id).await.unwrap();
    assert_eq!(c.claim_removal(residue.id, soon()).await.unwrap(), Claim::Granted);
    let refused = c.open_intent(intent(c, KEY, placement("cn-1", ""), "CN")).await;
    assert!(matches!(refused, Err(CatalogueError::RemovalUnderWay)), "{refused:?}");
}

pub async fn an_object_from_before_versioning_is_the_null_version(c: &dyn Catalogue) {
    let bucket = create(c).await;
    let before = add(c, "cn-1", None, "e1").await.placement;
    c.set_versioning(c.bucket_handle("bucket"), Versioning::Enabled).await.unwrap();
    let known = c.find_bucket(c.bucket_handle("bucket")).await.unwrap();
    assert_eq!(known, Some(Bucket { versioning: Versioning::Enabled, ..bucket }));
    assert_eq!(c.buckets().await.unwrap()[0].versioning, Versioning::Enabled);
    add(c, "de-1", Some("v1"), "e2").await;
    assert_eq!(etags(c).await, ["e2", "e1"]);
    let null = c.find_version(handle(c), Which::Null).await.unwrap().unwrap();
    assert_eq!((null.placement, null.is_latest), (before, false));
}

pub async fn a_stray_version_lies_beside_the_one_that_is_placed(c: &dyn Catalogue) {
    versioned(c).await;
    let opened = c.open_intent(intent(c, KEY, placement("cn-1", ""), "CN")).await.unwrap();
    add(c, "cn-1", Some("v2"), "e2").await;
    let stray = Stray {
        intent: opened.id,
        bucket: "bucket".to_owned(),
        key: KEY.to_owned(),
        etag: "e1".to_owned(),
        version: Some("v1".to_owned()),
    };
    let residue = c.record_stray(stray).await.unwrap();
    assert_eq!((residue.location, residue.version.as_deref()), (id("cn-1"), Some("v1")));
    assert_eq!(etags(c).await, ["e2"]);
}

pub async fn new_labels_for_an_older_version_do_not_make_it_the_newest(c: &dyn Catalogue) {
    versioned(c).await;
    let first = add(c, "cn-1", None, "e1").await.placement;
    add(c, "de-1", Some("v2"), "e2").await;
    let class = "financial".parse().unwrap();
    let wider = Placement { classes: first.classes.union(ClassSet::from_iter([class])), ..first };
    let mut relabel = intent(c, KEY, wider.clone(), "CN");
    relabel.kind = IntentKind::Relabel;
    let opened = c.open_intent(relabel).await.unwrap();
    c.record_write(settle(opened, "e1")).await.unwrap();
    assert_eq!(etags(c).await, ["e2", "e1"]);
    let null = c.find_version(handle(c), Which::Null).await.unwrap().unwrap();
    assert_eq!(null.placement.classes, wider.classes);
}

pub async fn bytes_that_are_gone_end_their_version_and_no_other(c: &dyn Catalogue) {
    versioned(c).await;
    let older = add(c, "cn-1", Some("v1"), "e1").await.placement;
    let newer = add(c, "de-1", Some("v2"), "e2").await.placement;
    let bucket = c.bucket_handle("bucket");
    assert_eq!(c.placed_in(bucket, 10).await.unwrap().len(), 2);
    let vanished =
        |placement: &Placement| c.record_vanished(handle(c), placement.clone(), draft(Event::Delete, "DE"));
    // What is not this very version says nothing about it.
    for other in [
        Placement { etag: "other".to_owned(), ..newer.clone() },
        Placement { version: None, ..newer.clone() },
        Placement { location: id("de-2"), ..newer.clone() },
        Placement { order: 9, ..newer.clone() },
    ] {
        assert_eq!(vanished(&other).await.unwrap(), None);
    }
    // Nor while somebody may be writing it.
    let writing = c.open_intent(intent(c, KEY, version("de-1", None), "DE")).await.unwrap();
    assert_eq!(vanished(&newer).await.unwrap(), None);
    c.drop_intent(writing.id).await.unwrap();
    assert_eq!(etags(c).await, ["e2", "e1"]);

    let receipt = vanished(&newer).await.unwrap().unwrap();
    assert_eq!(etags(c).await, ["e1"]);
    assert_eq!(c.find(handle(c)).await.unwrap().map(|current| current.etag), Some("e1".to_owned()));
    let history = c.history(newer.object, 10).await.unwrap();
    let last = history.iter().find(|line| line.receipt == receipt).unwrap();
    assert_eq!(last.entry.event, Event::Delete);
    assert_eq!(vanished(&newer).await.unwrap(), None);
    vanished(&older).await.unwrap().unwrap();
    assert_eq!(c.count_in_bucket(bucket, 10).await.unwrap(), 0);
}

async fn create(c: &dyn Catalogue) -> Bucket {
    let bucket = Bucket {
        name: "bucket".to_owned(),
        home: None,
        constraint: None,
        subject: None,
        owner: "app".to_owned(),
        created_at: 1,
        versioning: Versioning::Never,
        object_lock: Default::default(),
        places: None,
    };
    assert!(c.create_bucket(bucket.clone()).await.unwrap());
    bucket
}

async fn versioned(c: &dyn Catalogue) {
    create(c).await;
    c.set_versioning(c.bucket_handle("bucket"), Versioning::Enabled).await.unwrap();
}

fn handle(c: &dyn Catalogue) -> ObjectHandle {
    c.object_handle("bucket", KEY)
}

fn at(location: &str, version: Option<&str>) -> VersionAt {
    VersionAt { location: id(location), id: version.map(str::to_owned) }
}

fn version(location: &str, version: Option<&str>) -> Placement {
    Placement { version: version.map(str::to_owned), ..placement(location, "") }
}

fn country(location: &str) -> String {
    location[..2].to_uppercase()
}

async fn add(c: &dyn Catalogue, location: &str, id: Option<&str>, etag: &str) -> Recorded {
    let opened = c.open_intent(intent(c, KEY, version(location, id), &country(location))).await.unwrap();
    c.record_write(settle(opened, etag)).await.unwrap()
}

async fn mark(c: &dyn Catalogue, location: &str, id: Option<&str>) -> Recorded {
    let mut marker = intent(c, KEY, version(location, id), &country(location));
    marker.kind = IntentKind::Delete;
    marker.draft.event = Event::Delete;
    let opened = c.open_intent(marker).await.unwrap();
    c.record_marker(settle(opened, "")).await.unwrap()
}

async fn remove(c: &dyn Catalogue, at: VersionAt) {
    let country = country(at.location.as_str());
    let mut removal = intent(c, KEY, version(at.location.as_str(), at.id.as_deref()), &country);
    removal.kind = IntentKind::DeleteVersion;
    let opened = c.open_intent(removal).await.unwrap();
    let draft = draft(Event::Delete, &country);
    c.record_version_removal(opened.id, opened.handle, at, draft).await.unwrap();
}

/// Of all versions, newest first.
async fn etags(c: &dyn Catalogue) -> Vec<String> {
    let versions = c.versions(handle(c)).await.unwrap();
    let latest: Vec<usize> = (0..versions.len()).filter(|index| versions[*index].is_latest).collect();
    assert_eq!(latest, [0], "one version is the latest, and it is the first");
    versions.into_iter().map(|version| version.placement.etag).collect()
}
