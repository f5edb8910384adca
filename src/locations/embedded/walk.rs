//! Walking an ordered index the way S3 lists: in UTF-8 byte order, with a prefix, rolling up at a delimiter.
//!
//! Sans I/O: the caller fetches entries from a bound on, the walk says where to fetch next. A rolled-up group is
//! passed with one fetch, however many keys it holds.

use super::error::Failure;

const SMALL_FETCH: usize = 8;
const LARGE_FETCH: usize = 1024;

/// Something listed under a key. Several entries may share a key; then their ids order them.
pub trait Entry {
    fn key(&self) -> &str;
    /// The bound just behind this entry.
    fn behind(&self) -> Bound;
}

/// Where to go on: at the first entry whose (key, id) is greater than this, key bytes first. Real ids are never
/// empty, so that an empty one stands before all entries of its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    pub key: Vec<u8>,
    pub id: String,
}

impl Bound {
    /// Before every entry of `key` and of what follows it.
    pub fn at(key: impl Into<Vec<u8>>) -> Bound {
        Bound { key: key.into(), id: String::new() }
    }

    /// Behind every entry of `key`.
    pub fn behind(key: &str) -> Bound {
        let mut bytes = key.as_bytes().to_vec();
        bytes.push(0);
        Bound::at(bytes)
    }

    /// Behind every key that starts with `prefix`, which is not empty. UTF-8 has no byte 0xFF, so that the last
    /// byte can always be raised.
    pub fn behind_prefix(prefix: &str) -> Bound {
        let mut bytes = prefix.as_bytes().to_vec();
        if let Some(last) = bytes.last_mut() {
            *last = last.saturating_add(1);
        }
        Bound::at(bytes)
    }
}

/// What to list.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    pub prefix: &'a str,
    /// Empty: nothing is rolled up.
    pub delimiter: &'a str,
    /// List behind this; `None` from the beginning.
    pub from: Option<Bound>,
    /// Entries and groups together.
    pub max: usize,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page<T> {
    pub entries: Vec<T>,
    pub groups: Vec<String>,
    /// What the page ended with, if there is more.
    pub last: Option<Last>,
}

impl<T: Entry> Page<T> {
    /// Where the next page begins, if there is one.
    pub fn resume(&self) -> Option<Bound> {
        match self.last.as_ref()? {
            Last::Group(group) => Some(Bound::behind_prefix(group)),
            Last::Entry => self.entries.last().map(Entry::behind),
        }
    }
}

/// The last thing on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Last {
    Entry,
    Group(String),
}

/// Where a list behind `marker` begins. A marker that is itself a group of this list stands for the whole group:
/// otherwise a client that goes on from a group would meet it again.
pub fn after_marker(marker: &str, prefix: &str, delimiter: &str) -> Bound {
    match group(marker, prefix, delimiter) {
        Some(group) if group.len() == marker.len() => Bound::behind_prefix(marker),
        _ => Bound::behind(marker),
    }
}

/// Collects a page. `fetch(bound, n)` returns up to `n` entries behind the bound, in order; fewer are the last ones.
pub fn walk<T: Entry>(
    listing: &Listing<'_>,
    mut fetch: impl FnMut(&Bound, usize) -> Result<Vec<T>, Failure>,
) -> Result<Page<T>, Failure> {
    let mut page = Page { entries: Vec::new(), groups: Vec::new(), last: None };
    if listing.max == 0 {
        return Ok(page);
    }
    let mut last = None;
    let mut bound = Bound::at(listing.prefix);
    if let Some(from) = &listing.from {
        bound = bound.max(from.clone());
    }
    let mut size =
        if listing.delimiter.is_empty() { (listing.max + 1).min(LARGE_FETCH) } else { SMALL_FETCH };
    'fetches: loop {
        let fetched = fetch(&bound, size)?;
        let exhausted = fetched.len() < size;
        let mut fetched = fetched.into_iter().peekable();
        while let Some(entry) = fetched.next() {
            if !entry.key().starts_with(listing.prefix) {
                return Ok(page);
            }
            if page.entries.len() + page.groups.len() == listing.max {
                page.last = last;
                return Ok(page);
            }
            bound = entry.behind();
            let Some(group) = group(entry.key(), listing.prefix, listing.delimiter) else {
                page.entries.push(entry);
                last = Some(Last::Entry);
                continue;
            };
            let group = group.to_owned();
            while fetched.next_if(|next| next.key().starts_with(&group)).is_some() {}
            bound = Bound::behind_prefix(&group);
            page.groups.push(group.clone());
            last = Some(Last::Group(group));
            if fetched.peek().is_none() && !exhausted {
                size = SMALL_FETCH;
                continue 'fetches;
            }
        }
        if exhausted {
            return Ok(page);
        }
        size = (size * 2).min(LARGE_FETCH);
    }
}

/// The group that a key is rolled up into: its beginning up to the first delimiter behind the prefix.
fn group<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    if delimiter.is_empty() {
        return None;
    }
    let at = key.strip_prefix(prefix)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}
