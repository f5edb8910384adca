//! The merged list, against a model: no key twice, none hidden, none out of order, whatever the locations' pages are like.

use std::collections::{BTreeMap, BTreeSet};

use domicile::s3::listing::{
    Candidate, ListEntry, ListPage, ListRequest, Merge, Page, PageRequest, Step, Verdict,
};

/// What keys are made of: a delimiter, and characters below and above it.
const LETTERS: [char; 8] = ['a', 'b', '/', '-', '0', 'é', '\u{10000}', '\u{ffff}'];

/// The locations and the catalogue.
struct World {
    /// Most items in a page of each location, and its keys.
    locations: Vec<(usize, BTreeSet<String>)>,
    placed: BTreeMap<String, usize>,
}

/// Whether there was a list of more than one page. Six bytes of how to list, then four for each key: three for its
/// letters, one for which locations have it and where it is placed.
pub fn run(data: &[u8]) -> bool {
    let [count, cap, delimiter, max_keys, prefix, after, keys @ ..] = data else { return false };
    let count = usize::from(count % 4) + 1;
    let mut world = World {
        locations: (0..count).map(|n| (usize::from(cap >> n) % 7 + 1, BTreeSet::new())).collect(),
        placed: BTreeMap::new(),
    };
    for key in keys.chunks_exact(4).take(64) {
        // One to three letters; most keys have three.
        let letters = 3 - usize::from(key[0] >> 6).min(2);
        let name: String = key[..letters].iter().map(|byte| LETTERS[usize::from(byte % 8)]).collect();
        for (n, (_, keys)) in world.locations.iter_mut().enumerate() {
            if key[3] >> n & 1 == 1 {
                keys.insert(name.clone());
            }
        }
        if usize::from(key[3] >> 4) < count {
            world.placed.insert(name, usize::from(key[3] >> 4));
        }
    }
    let letter = |byte: u8| LETTERS.get(usize::from(byte)).map(char::to_string);
    let mut request = ListRequest {
        delimiter: letter(*delimiter),
        max_keys: usize::from(max_keys % 9) + 1,
        after: letter(*after),
        ..ListRequest::probe(&letter(*prefix).unwrap_or_default())
    };
    let expected = world.model(&request);
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = world.page(&request);
        pages += 1;
        assert!(pages <= expected.len() + 2, "the list does not end");
        let mut names: Vec<String> = page.entries.into_iter().map(|entry| entry.key).collect();
        names.extend(page.common_prefixes);
        names.sort();
        assert!(names.len() <= request.max_keys);
        found.extend(names);
        match page.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, expected);
    pages > 1
}

impl World {
    fn page(&self, request: &ListRequest) -> ListPage {
        let mut merge = Merge::new(request, self.locations.len());
        loop {
            let verdicts: Vec<Verdict> = match merge.step().unwrap_or_else(|error| panic!("{error}")) {
                Step::Done(page) => return page,
                Step::Fetch(asked) => {
                    for (location, request) in asked {
                        let fed = merge.feed(location, self.list(location, &request));
                        fed.unwrap_or_else(|error| panic!("{error}"));
                    }
                    continue;
                }
                Step::Check(candidates) => candidates.iter().map(|item| self.verdict(item)).collect(),
            };
            merge.settle(&verdicts).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// A location's own list, as S3's documentation describes it.
    fn list(&self, location: usize, request: &PageRequest) -> Page {
        let (cap, keys) = &self.locations[location];
        let after = request.continuation_token.as_ref().or(request.start_after.as_ref());
        let mut page = Page::default();
        let mut last = String::new();
        for key in keys.iter().filter(|key| key.starts_with(&request.prefix)) {
            let name = rolled(key, &request.prefix, request.delimiter.as_deref());
            let is_passed =
                after.is_some_and(|after| key <= after || (name != *key && after.starts_with(&name)));
            if is_passed || page.common_prefixes.last() == Some(&name) {
                last = if is_passed { last } else { key.clone() };
                continue;
            }
            if page.entries.len() + page.common_prefixes.len() == (*cap).min(request.max_keys) {
                page.is_truncated = true;
                page.next_token = Some(last);
                break;
            }
            last.clone_from(key);
            if name == *key {
                let rest = String::new();
                page.entries.push(ListEntry { key: name, etag: "\"e\"".to_owned(), rest });
            } else {
                page.common_prefixes.push(name);
            }
        }
        page
    }

    fn verdict(&self, candidate: &Candidate) -> Verdict {
        match candidate {
            Candidate::Object { key, copies } => match self.placed.get(key) {
                Some(at) if copies.iter().any(|(location, _)| location == at) => Verdict::Visible(*at),
                _ => Verdict::Hidden,
            },
            Candidate::Prefix { prefix, .. } => {
                match self.page(&ListRequest::probe(prefix)).entries.is_empty() {
                    true => Verdict::Hidden,
                    false => Verdict::Visible(0),
                }
            }
        }
    }

    /// What all pages together must hold.
    fn model(&self, request: &ListRequest) -> Vec<String> {
        let visible = self.placed.iter().filter(|(key, at)| self.locations[**at].1.contains(*key));
        let below = visible.filter(|(key, _)| key.starts_with(&request.prefix));
        let names = below.map(|(key, _)| rolled(key, &request.prefix, request.delimiter.as_deref()));
        let after = request.after.clone().unwrap_or_default();
        names.filter(|name| *name > after).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn rolled(key: &str, prefix: &str, delimiter: Option<&str>) -> String {
    let rest = &key[prefix.len()..];
    match delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len())) {
        Some(end) => format!("{prefix}{}", &rest[..end]),
        None => key.to_owned(),
    }
}
