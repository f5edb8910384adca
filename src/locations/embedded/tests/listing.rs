//! The lists, against a naive model that looks at every key.

use std::collections::BTreeSet;

use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use proptest::prelude::*;

use super::*;
use crate::locations::embedded::lock::BucketLock;
use crate::locations::embedded::rows::NewObject;

fn index(keys: impl IntoIterator<Item = String>) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    rows::create_tables(&connection).unwrap();
    rows::create_bucket(&connection, &"box".parse().unwrap(), 0, BucketLock::Without).unwrap();
    let transaction = connection.unchecked_transaction().unwrap();
    for key in keys {
        let object = NewObject {
            etag: "e".to_owned(),
            modified: 0,
            attributes: Default::default(),
            checksum: None,
            segments: Vec::new(),
        };
        rows::put_object(&connection, 1, &key.parse().unwrap(), &object).unwrap();
    }
    transaction.commit().unwrap();
    connection
}

fn call(query: &[(&str, &str)]) -> Call {
    let pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    let uri = format!("/box?{}", pairs.join("&"));
    let request = http::Request::get(uri).body(()).unwrap();
    Call::parse(request.into_parts().0).unwrap()
}

fn text(answer: Answer) -> String {
    let body = answer.unwrap().into_body();
    let bytes = futures_util::FutureExt::now_or_never(body.collect()).unwrap().unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    elements(document, name).into_iter().next()
}

fn elements<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    document.split(&open).skip(1).map(|rest| rest.split_once(&close).unwrap().0).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// The keys and groups of one page.
fn listed(document: &str) -> Vec<String> {
    let keys = elements(document, "Contents").into_iter().map(|entry| element(entry, "Key").unwrap());
    let groups =
        elements(document, "CommonPrefixes").into_iter().map(|entry| element(entry, "Prefix").unwrap());
    keys.chain(groups).map(decoded).collect()
}

/// What the list should hold.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, marker: &str) -> Vec<String> {
    let roll = |key: &str| {
        let at = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
        at.map(|at| key[..prefix.len() + at + delimiter.len()].to_owned())
    };
    let whole_group = marker.starts_with(prefix) && roll(marker).is_some_and(|group| group == marker);
    let mut found = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        if !marker.is_empty() && (key.as_str() <= marker || whole_group && key.starts_with(marker)) {
            continue;
        }
        found.push(roll(key).unwrap_or_else(|| key.clone()));
    }
    found.dedup();
    found
}

fn all_pages_v2(connection: &Connection, query: &[(&str, &str)], max: usize) -> Vec<String> {
    let max = max.to_string();
    let mut all = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.extend([("list-type", "2"), ("encoding-type", "url"), ("max-keys", max.as_str())]);
        query.extend(token.as_deref().map(|token| ("continuation-token", token)));
        let page = text(list_second(connection, &call(&query)));
        let mut found = listed(&page);
        assert_eq!(element(&page, "KeyCount").unwrap(), found.len().to_string());
        assert!(found.len() <= max.parse().unwrap());
        found.sort();
        all.extend(found);
        token = element(&page, "NextContinuationToken").map(str::to_owned);
        assert_eq!(element(&page, "IsTruncated"), Some(if token.is_some() { "true" } else { "false" }));
        if token.is_none() {
            return all;
        }
    }
}

/// Goes on from the greatest thing on each page, as clients of version 1 do.
fn all_pages_v1(connection: &Connection, query: &[(&str, &str)], marker: &str, max: usize) -> Vec<String> {
    let max = max.to_string();
    let mut all = Vec::new();
    let mut marker = marker.to_owned();
    loop {
        let mut query = query.to_vec();
        query.extend([("encoding-type", "url"), ("max-keys", max.as_str()), ("marker", marker.as_str())]);
        let page = text(list_v1(connection, &call(&query)));
        let mut found = listed(&page);
        found.sort();
        let last = found.last().cloned();
        all.extend(found);
        if element(&page, "IsTruncated") == Some("false") {
            return all;
        }
        marker = element(&page, "NextMarker").map(decoded).or(last).unwrap();
    }
}

fn word(most: usize) -> impl Strategy<Value = String> {
    let letters = prop::sample::select(vec!["a", "b", "/", "-", "\u{e9}", "\u{1}", "\u{10ffff}", "/a"]);
    prop::collection::vec(letters, 0..=most).prop_map(|letters| letters.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn lists_agree_with_a_model_that_looks_at_every_key(
        keys in prop::collection::btree_set(word(6).prop_filter("a key", |key| !key.is_empty()), 0..60),
        prefix in word(2),
        delimiter in prop::sample::select(vec!["", "/", "a", "/a", "\u{e9}", "\u{10ffff}"]),
        start in word(4),
        max in 1_usize..12,
    ) {
        let connection = index(keys.iter().cloned());
        let expected = model(&keys, &prefix, delimiter, &start);
        let query = [("prefix", prefix.as_str()), ("delimiter", delimiter)];
        let with_start = [query[0], query[1], ("start-after", start.as_str())];
        prop_assert_eq!(&all_pages_v2(&connection, &with_start, max), &expected);
        prop_assert_eq!(&all_pages_v1(&connection, &query, &start, max), &expected);
    }
}

#[test]
fn lists_search_the_index_and_never_scan_or_sort() {
    let connection = index([]);
    for statement in [OBJECTS_BEHIND, UPLOADS_BEHIND] {
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let arguments = vec![rusqlite::types::Value::Integer(1); explained.parameter_count()];
        let plan: Vec<String> = explained
            .query_map(rusqlite::params_from_iter(arguments), |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(plan.len(), 1, "{plan:?}");
        assert!(plan[0].starts_with("SEARCH") && plan[0].contains("USING PRIMARY KEY"), "{plan:?}");
    }
}

#[test]
fn a_group_is_passed_without_looking_at_its_keys() {
    let keys = (0..30).flat_map(|group| (0..1000).map(move |n| format!("{group:02}/{n:04}")));
    let connection = index(keys);
    let mut fetched = 0;
    let listing = Listing { prefix: "", delimiter: "/", from: None, max: 20 };
    let page = walk::walk(&listing, |bound, n| {
        let found = objects_behind(&connection, 1, bound, n)?;
        fetched += found.len();
        Ok(found)
    })
    .unwrap();
    assert_eq!(page.groups.len(), 20);
    assert!(fetched < 400, "{fetched} of 30000 keys were read");
    let page = walk::walk(&Listing { delimiter: "", max: 1000, ..listing }, |bound, n| {
        fetched += n;
        objects_behind(&connection, 1, bound, n)
    })
    .unwrap();
    assert_eq!((page.entries.len(), page.entries[999].key()), (1000, "00/0999"));
    assert!(fetched < 2500);
}

#[test]
fn a_page_says_what_was_asked() {
    let connection = index(["a<&b".to_owned(), "c/d".to_owned(), "\u{1}".to_owned()]);
    let page = text(list_second(
        &connection,
        &call(&[
            ("list-type", "2"),
            ("prefix", ""),
            ("delimiter", "/"),
            ("start-after", "\u{0}"),
            ("max-keys", "7"),
        ]),
    ));
    for wanted in [
        "<Name>box</Name>",
        "<StartAfter>&#x0;</StartAfter>",
        "<MaxKeys>7</MaxKeys>",
        "<KeyCount>3</KeyCount>",
        "<Delimiter>/</Delimiter>",
        "<IsTruncated>false</IsTruncated>",
        "<Key>a&lt;&amp;b</Key><LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>0</Size>",
        "<Key>&#x1;</Key>",
        "<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>",
    ] {
        assert!(page.contains(wanted), "{wanted} is not in {page}");
    }
    let none = text(list_v1(&connection, &call(&[("max-keys", "0")])));
    assert_eq!((listed(&none).len(), element(&none, "IsTruncated")), (0, Some("false")));
    let most = text(list_v1(&connection, &call(&[("max-keys", "2147483647")])));
    assert_eq!(element(&most, "MaxKeys"), Some("1000"));
}

#[test]
fn nonsense_in_a_list_request_is_refused() {
    let connection = index([]);
    for (name, value) in [
        ("max-keys", "-1"),
        ("max-keys", "many"),
        ("max-keys", "2147483648"),
        ("encoding-type", "base64"),
        ("continuation-token", "%%%"),
        ("continuation-token", ""),
    ] {
        let failed = list_second(&connection, &call(&[("list-type", "2"), (name, value)]));
        let Err(Failure::S3(error)) = failed else { panic!("{name}={value} was taken") };
        assert_eq!(error.code, Code::InvalidArgument);
    }
}
