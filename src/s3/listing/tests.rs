use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// How a simulated location goes about things that S3 leaves open.
#[derive(Debug, Clone, Copy)]
struct Manners {
    /// Never more items in a page than this, whatever was asked.
    cap: usize,
    gives_tokens: bool,
    knows_delimiters: bool,
    /// Lists a common prefix again when it is asked to start inside of it.
    repeats_prefixes: bool,
}

const PLAIN: Manners =
    Manners { cap: 1000, gives_tokens: true, knows_delimiters: true, repeats_prefixes: false };

struct Location {
    manners: Manners,
    keys: BTreeSet<String>,
}

impl Location {
    /// A list as S3's documentation describes it, written without the code under test.
    fn list(&self, request: &PageRequest) -> Page {
        let cap = self.manners.cap.min(request.max_keys);
        let after = request.continuation_token.as_ref().or(request.start_after.as_ref());
        let mut page = Page::default();
        let mut last = String::new();
        for key in self.keys.iter().filter(|key| key.starts_with(&request.prefix)) {
            let name = match request.delimiter.as_ref().filter(|_| self.manners.knows_delimiters) {
                Some(delimiter) => roll(key, &request.prefix, delimiter),
                None => key.clone(),
            };
            let passed = after.is_some_and(|after| {
                key <= after || (name != *key && after.starts_with(&name) && !self.manners.repeats_prefixes)
            });
            if passed || page.common_prefixes.last() == Some(&name) {
                last = if passed { last } else { key.clone() };
                continue;
            }
            if page.entries.len() + page.common_prefixes.len() == cap {
                page.is_truncated = true;
                page.next_token = self.manners.gives_tokens.then_some(last);
                break;
            }
            last = key.clone();
            if name == *key {
                page.entries.push(entry(key));
            } else {
                page.common_prefixes.push(name);
            }
        }
        page
    }
}

fn entry(key: &str) -> ListEntry {
    ListEntry { key: key.to_owned(), etag: "\"e\"".to_owned(), rest: String::new() }
}

fn roll(key: &str, prefix: &str, delimiter: &str) -> String {
    let rest = &key[prefix.len()..];
    match rest.find(delimiter) {
        Some(at) => format!("{prefix}{}", &rest[..at + delimiter.len()]),
        None => key.to_owned(),
    }
}

struct World {
    locations: Vec<Location>,
    /// Where the catalogue places each key.
    placed: BTreeMap<String, usize>,
}

impl World {
    fn new(manners: Manners, keys: &[&[&str]]) -> Self {
        let mut placed = BTreeMap::new();
        let mut locations = Vec::new();
        for (index, keys) in keys.iter().enumerate() {
            placed.extend(keys.iter().map(|key| ((*key).to_owned(), index)));
            locations.push(Location { manners, keys: keys.iter().map(|key| (*key).to_owned()).collect() });
        }
        World { locations, placed }
    }

    fn page(&self, request: &ListRequest) -> ListPage {
        let mut merge = Merge::new(request, self.locations.len());
        loop {
            let verdicts = match merge.step().unwrap() {
                Step::Done(page) => return page,
                Step::Fetch(asked) => {
                    assert!(!asked.is_empty());
                    for (location, request) in asked {
                        merge.feed(location, self.locations[location].list(&request)).unwrap();
                    }
                    continue;
                }
                Step::Check(candidates) => candidates.iter().map(|c| self.verdict(c)).collect::<Vec<_>>(),
            };
            merge.settle(&verdicts).unwrap();
        }
    }

    fn verdict(&self, candidate: &Candidate) -> Verdict {
        match candidate {
            Candidate::Object { key, copies } => match self.placed.get(key) {
                Some(at) if copies.iter().any(|(location, _)| location == at) => Verdict::Visible(*at),
                _ => Verdict::Hidden,
            },
            Candidate::Prefix { prefix, .. } => {
                let any = !self.page(&ListRequest::probe(prefix)).entries.is_empty();
                if any { Verdict::Visible(0) } else { Verdict::Hidden }
            }
        }
    }

    /// What all pages together must hold.
    fn model(&self, request: &ListRequest) -> Vec<String> {
        let visible = self.placed.iter().filter(|(key, at)| self.locations[**at].keys.contains(*key));
        let rolled =
            visible.filter(|(key, _)| key.starts_with(&request.prefix)).map(|(key, _)| {
                match &request.delimiter {
                    Some(delimiter) => roll(key, &request.prefix, delimiter),
                    None => key.clone(),
                }
            });
        let after = request.after.clone().unwrap_or_default();
        rolled.filter(|name| *name > after).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// All pages, one after the other.
    fn pages(&self, request: &ListRequest) -> Vec<Vec<String>> {
        let mut request = request.clone();
        let mut pages = Vec::new();
        loop {
            let page = self.page(&request);
            assert_eq!(page.is_truncated, page.next.is_some());
            let mut names: Vec<String> = page.entries.iter().map(|entry| entry.key.clone()).collect();
            names.extend(page.common_prefixes);
            names.sort();
            pages.push(names);
            match page.next {
                Some(next) => request.after = Some(next),
                None => return pages,
            }
            assert!(pages.len() < 1000, "the list does not end");
        }
    }
}

fn request(prefix: &str, delimiter: &str, max_keys: usize) -> ListRequest {
    let delimiter = (!delimiter.is_empty()).then(|| delimiter.to_owned());
    ListRequest { delimiter, max_keys, ..ListRequest::probe(prefix) }
}

#[test]
fn keys_come_in_byte_order_from_all_locations() {
    let world = World::new(PLAIN, &[&["a", "c", "é"], &["B", "b", "z", "\u{10000}", "\u{ffff}"]]);
    assert_eq!(
        world.pages(&request("", "", 3)),
        [vec!["B", "a", "b"], vec!["c", "z", "é"], vec!["\u{ffff}", "\u{10000}"]]
    );
}

#[test]
fn a_short_truncated_page_of_one_location_does_not_hide_its_later_keys() {
    let mut world = World::new(PLAIN, &[&["a", "b", "c", "d"], &["x", "y"]]);
    world.locations[0].manners.cap = 1;
    assert_eq!(world.pages(&request("", "", 1000)), [["a", "b", "c", "d", "x", "y"]]);
}

#[test]
fn what_the_catalogue_does_not_know_neither_shows_nor_ends_a_page() {
    let mut world = World::new(PLAIN, &[&["a", "b", "c", "d"]]);
    world.placed.retain(|key, _| key == "d");
    assert_eq!(world.pages(&request("", "", 1)), [["d"]]);
    world.placed.clear();
    assert_eq!(world.pages(&request("", "", 1)), [[""; 0]]);
}

#[test]
fn a_key_that_lies_in_two_locations_shows_once_as_its_own_location_lists_it() {
    let mut world = World::new(PLAIN, &[&["a", "k"], &["k", "z"]]);
    world.placed.insert("k".to_owned(), 0);
    let mut merge = Merge::new(&request("", "", 10), 2);
    let Ok(Step::Fetch(asked)) = merge.step() else { panic!("no pages wanted") };
    for (location, request) in asked {
        let mut page = world.locations[location].list(&request);
        for entry in &mut page.entries {
            entry.etag = format!("\"{location}\"");
        }
        merge.feed(location, page).unwrap();
    }
    let Ok(Step::Check(candidates)) = merge.step() else { panic!("nothing to check") };
    let verdicts: Vec<_> = candidates.iter().map(|candidate| world.verdict(candidate)).collect();
    merge.settle(&verdicts).unwrap();
    let Ok(Step::Done(page)) = merge.step() else { panic!("not done") };
    let shown: Vec<_> = page.entries.iter().map(|e| (e.key.as_str(), e.etag.as_str())).collect();
    assert_eq!(shown, [("a", "\"0\""), ("k", "\"0\""), ("z", "\"1\"")]);
}

#[test]
fn common_prefixes_merge_and_the_next_page_starts_behind_them() {
    let world = World::new(PLAIN, &[&["p/1", "p/2", "q"], &["p/1x", "p/3", "r/1"]]);
    assert_eq!(world.pages(&request("", "/", 1)), [["p/"], ["q"], ["r/"]]);
    assert_eq!(world.pages(&request("p/", "/", 10)), [["p/1", "p/1x", "p/2", "p/3"]]);
}

#[test]
fn a_common_prefix_shows_only_when_a_visible_key_is_below_it() {
    let mut world = World::new(PLAIN, &[&["p/1", "p/2", "q/1"]]);
    world.placed.retain(|key, _| key == "q/1");
    assert_eq!(world.pages(&request("", "/", 10)), [["q/"]]);
}

#[test]
fn a_page_of_no_keys_asks_nobody() {
    let mut merge = Merge::new(&request("", "", 0), 3);
    let Ok(Step::Done(page)) = merge.step() else { panic!("it asked") };
    assert!(!page.is_truncated && page.entries.is_empty());
}

#[test]
fn a_full_page_says_truncated_only_when_there_is_more_to_see() {
    let world = World::new(PLAIN, &[&["a", "b"]]);
    assert_eq!(world.pages(&request("", "", 2)), [["a", "b"]]);
    assert_eq!(world.pages(&request("", "", 1)), [["a"], ["b"]]);
}

#[test]
fn a_location_out_of_order_fails_the_list() {
    let feed = |page: Page| {
        let mut merge = Merge::new(&request("k", "/", 10), 1);
        assert!(matches!(merge.step(), Ok(Step::Fetch(_))));
        merge.feed(0, page)
    };
    let keys = |keys: &[&str]| keys.iter().map(|key| entry(key)).collect();
    let page = |entries| Page { entries, ..Page::default() };
    assert_eq!(feed(page(keys(&["kb", "ka"]))), Err(ListError::Unordered(0)));
    assert_eq!(feed(page(keys(&["ka", "ka"]))), Err(ListError::Unordered(0)));
    assert_eq!(feed(page(keys(&["a"]))), Err(ListError::Unasked(0)));
    let odd = Page { common_prefixes: vec!["k".to_owned()], ..Page::default() };
    assert_eq!(feed(odd), Err(ListError::Unasked(0)));
    assert_eq!(feed(Page { is_truncated: true, ..Page::default() }), Err(ListError::Stuck(0)));
}

#[test]
fn a_location_that_goes_back_fails_the_list() {
    let mut merge = Merge::new(&request("", "", 10), 1);
    assert!(matches!(merge.step(), Ok(Step::Fetch(_))));
    let first = Page { entries: vec![entry("m")], is_truncated: true, ..Page::default() };
    merge.feed(0, first).unwrap();
    assert!(matches!(merge.step(), Ok(Step::Check(_))));
    merge.settle(&[Verdict::Visible(0)]).unwrap();
    assert!(matches!(merge.step(), Ok(Step::Fetch(_))));
    let back = Page { entries: vec![entry("a"), entry("z")], ..Page::default() };
    assert_eq!(merge.feed(0, back), Err(ListError::Unordered(0)));
}

#[test]
fn a_location_that_never_ends_does_not_hold_the_list_forever() {
    let mut merge = Merge::new(&request("", "", 10), 1);
    let mut rounds = 0;
    let error = loop {
        match merge.step() {
            Ok(Step::Fetch(_)) => rounds += 1,
            Ok(_) => panic!("nothing to check or give out"),
            Err(error) => break error,
        }
        let empty = Page { is_truncated: true, next_token: Some("t".to_owned()), ..Page::default() };
        merge.feed(0, empty).unwrap();
    };
    assert_eq!((error, rounds), (ListError::TooManyPages, MAX_ROUNDS));
}

#[test]
fn answers_to_questions_that_were_not_asked_are_refused() {
    let mut merge = Merge::new(&request("", "", 10), 1);
    assert_eq!(merge.feed(0, Page::default()), Err(ListError::Misused));
    assert_eq!(merge.feed(7, Page::default()), Err(ListError::Misused));
    assert_eq!(merge.settle(&[Verdict::Hidden]), Err(ListError::Misused));
}

#[test]
fn the_query_to_a_location_is_encoded() {
    let query = PageRequest {
        prefix: "a b/".to_owned(),
        delimiter: Some("/".to_owned()),
        start_after: Some("é+".to_owned()),
        continuation_token: None,
        max_keys: 7,
    }
    .to_query();
    assert_eq!(
        query,
        "list-type=2&encoding-type=url&max-keys=7&prefix=a%20b%2F&delimiter=%2F&start-after=%C3%A9%2B"
    );
}

fn manners() -> impl Strategy<Value = Manners> {
    (1usize..6, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(cap, gives_tokens, knows_delimiters, repeats_prefixes)| Manners {
            cap,
            gives_tokens,
            knows_delimiters,
            repeats_prefixes,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn all_pages_together_are_what_is_visible_in_order_and_once(
        keys in prop::collection::btree_map("[ab/\u{e9}-]{1,5}", (0usize..4, 0u8..16), 0..40),
        manners in prop::collection::vec(manners(), 1..4),
        prefix in "[ab/]{0,2}",
        delimiter in prop::sample::select(vec!["", "/", "-", "a", "b/", "//"]),
        max_keys in 1usize..9,
        after in prop::option::of("[ab/-]{0,4}"),
    ) {
        // Bit i of the mask: location i lists the key. Placed at a location of that number, or nowhere.
        let locations: Vec<Location> = manners.iter().enumerate().map(|(index, manners)| Location {
            manners: *manners,
            keys: keys.iter().filter(|(_, (_, mask))| mask >> index & 1 == 1).map(|(key, _)| key.clone()).collect(),
        }).collect();
        let placed = keys.iter().filter(|(_, (at, _))| *at < locations.len()).map(|(key, (at, _))| (key.clone(), *at)).collect();
        let world = World { locations, placed };
        let request = ListRequest { after, ..request(&prefix, delimiter, max_keys) };
        let pages = world.pages(&request);
        prop_assert!(pages.iter().all(|page| page.len() <= max_keys));
        let full = pages.split_last().map(|(_, full)| full).unwrap_or_default();
        prop_assert!(full.iter().all(|page| page.len() == max_keys));
        prop_assert_eq!(pages.concat(), world.model(&request));
    }
}
