//! The merged listing: many locations' own lists as one, in the byte order of UTF-8.
//!
//! Sans I/O: [`Merge::step`] says what is needed next, pages of some locations ([`Merge::feed`]) or the
//! catalogue's word on some entries ([`Merge::settle`]), until it is done. Rules that keep keys from being lost:
//!
//! - An item is given out only when it is not above the last item of any location that has more to tell.
//! - What the catalogue does not confirm is passed over and never ends a page early.
//! - The next page starts after the last item given out; no location's own token outlives a page.
//!   After a common prefix, all of its keys are passed over.
//! - A location whose list is out of order, or does not go on, fails the list: the alternative is to hide objects.
//!
//! Types here hold object names and therefore have no `Debug`.

mod request;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use request::{Encoding, ListRequest, ListVersion, OwnerField};

use crate::names::ObjectKey;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::encode;

/// Most keys in one page, at S3 and here.
pub const MAX_KEYS: usize = 1000;
/// Most rounds of pages for one answer. What is found by then is given out, and the list goes on after it.
const MAX_ROUNDS: u32 = 256;
/// How many left-over items are checked at once for whether the list goes on.
const LOOKAHEAD: usize = 16;

/// An object as a location lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct ListEntry {
    pub key: String,
    /// With its quotes, as the location gave it.
    pub etag: String,
    /// The XML inside `Contents` but for `Key`: known elements and unknown ones, as the location wrote them.
    pub rest: String,
}

impl ListEntry {
    /// The object's size, as the location wrote it.
    pub fn size(&self) -> Option<u64> {
        let (_, rest) = self.rest.split_once("<Size>")?;
        rest.split_once("</Size>")?.0.trim().parse().ok()
    }
}

/// One page of one location's list, or of the merged one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<ListEntry>,
    pub common_prefixes: Vec<String>,
    pub is_truncated: bool,
    /// The location's token for the page after this one, if it gave one.
    pub next_token: Option<String>,
}

/// What to ask a location.
#[derive(Clone, PartialEq, Eq)]
pub struct PageRequest {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub start_after: Option<String>,
    pub continuation_token: Option<String>,
    pub max_keys: usize,
}

impl PageRequest {
    /// The query of the ListObjectsV2 request that asks this.
    pub fn to_query(&self) -> String {
        let mut query = format!("list-type=2&encoding-type=url&max-keys={}", self.max_keys);
        let mut add = |name: &str, value: &str| {
            query.push('&');
            query.push_str(name);
            query.push('=');
            query.push_str(&encode(value));
        };
        add("prefix", &self.prefix);
        if let Some(delimiter) = &self.delimiter {
            add("delimiter", delimiter);
        }
        if let Some(start_after) = &self.start_after {
            add("start-after", start_after);
        }
        if let Some(token) = &self.continuation_token {
            add("continuation-token", token);
        }
        query
    }
}

/// What the merge needs next.
pub enum Step<'a> {
    /// A page of each of these locations (by index), to be fed in any order.
    Fetch(Vec<(usize, PageRequest)>),
    /// A verdict on each of these, in this order.
    Check(&'a [Candidate]),
    Done(ListPage),
}

/// An item of the merged list that the catalogue has yet to confirm.
pub enum Candidate {
    /// Visible when the catalogue places the key at one of these locations, with that location's ETag.
    Object { key: String, copies: Vec<(usize, ListEntry)> },
    /// Visible when at least one key below it is. The locations' lists cannot tell: a merge of
    /// [`ListRequest::probe`] over these locations finds the first visible key. A caller that knows that every key of
    /// one of these locations is placed there (no residue, no open write) may confirm it without asking.
    Prefix { prefix: String, locations: Vec<usize> },
}

impl Candidate {
    fn name(&self) -> &str {
        match self {
            Candidate::Object { key, .. } => key,
            Candidate::Prefix { prefix, .. } => prefix,
        }
    }
}

/// The caller's word on a [`Candidate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Hidden,
    /// Visible as the location of that index lists it.
    Visible(usize),
}

/// A page of the merged list.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    pub entries: Vec<ListEntry>,
    pub common_prefixes: Vec<String>,
    /// There may be more. When the locations' own pages are full, finding out could take another round; then this
    /// is `true`, and the page after may be empty.
    pub is_truncated: bool,
    /// Where the next page starts: after this key or common prefix. `Some` exactly when truncated.
    pub next: Option<String>,
}

/// Why there is no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("max-keys must be a whole number from 0 to 2147483647")]
    MaxKeys,
    #[error("encoding-type must be `url`")]
    EncodingType,
    #[error("fetch-owner must be `true` or `false`")]
    FetchOwner,
    #[error(transparent)]
    Token(#[from] crate::s3::token::TokenError),
    /// The location of that index.
    #[error(
        "a location's list is not in the byte order of UTF-8, so that no merged list of it can be complete"
    )]
    Unordered(usize),
    #[error("a location listed what it was not asked for")]
    Unasked(usize),
    #[error("a location's list says that it goes on, and does not")]
    Stuck(usize),
    #[error("the list needs more pages of its locations than one answer may take")]
    TooManyPages,
    #[error("the merge was given an answer to a question that it did not ask")]
    Misused,
}

impl From<ListError> for S3Error {
    fn from(error: ListError) -> Self {
        let code = match error {
            ListError::MaxKeys | ListError::EncodingType | ListError::FetchOwner => Code::InvalidArgument,
            ListError::Token(token) => return token.into(),
            ListError::Unordered(_)
            | ListError::Unasked(_)
            | ListError::Stuck(_)
            | ListError::TooManyPages => Code::ServiceUnavailable,
            ListError::Misused => Code::InternalError,
        };
        S3Error::new(code, error.to_string())
    }
}

/// One merged page in the making.
pub struct Merge {
    prefix: String,
    delimiter: Option<String>,
    max_keys: usize,
    after: Option<String>,
    sources: Vec<Source>,
    pending: Vec<Candidate>,
    page: ListPage,
    /// The last item that was decided on, either way, before the page was full.
    position: Option<String>,
    rounds: u32,
    /// Set once the list is known to go on after a full page.
    goes_on: bool,
}

/// One location's list, as far as it was read.
#[derive(Default)]
struct Source {
    queue: VecDeque<Item>,
    progress: Progress,
    /// The highest item that it ever listed, and whether a page is awaited.
    last: Option<Item>,
    awaited: bool,
}

#[derive(Default, PartialEq)]
enum Progress {
    #[default]
    Unread,
    More {
        token: Option<String>,
    },
    Complete,
}

#[derive(Clone)]
enum Item {
    Object(ListEntry),
    Prefix(String),
}

impl Item {
    fn name(&self) -> &str {
        match self {
            Item::Object(entry) => &entry.key,
            Item::Prefix(prefix) => prefix,
        }
    }
}

impl Merge {
    pub fn new(request: &ListRequest, locations: usize) -> Self {
        Merge {
            prefix: request.prefix.clone(),
            delimiter: request.delimiter.clone(),
            max_keys: request.max_keys.min(MAX_KEYS),
            after: request.after.clone(),
            sources: (0..locations).map(|_| Source::default()).collect(),
            pending: Vec::new(),
            page: ListPage::default(),
            position: None,
            rounds: 0,
            goes_on: false,
        }
    }

    /// Says what is needed next. Asking twice gives the same answer.
    pub fn step(&mut self) -> Result<Step<'_>, ListError> {
        if self.pending.is_empty() && !self.goes_on && self.max_keys > 0 {
            let room = self.room();
            let unread = |source: &Source| source.progress != Progress::Complete;
            if room == 0 && self.sources.iter().any(unread) {
                self.goes_on = true;
            } else if self.sources.iter().any(|source| source.queue.is_empty() && unread(source)) {
                return self.fetch();
            } else {
                self.pending = self.take(if room == 0 { LOOKAHEAD } else { room + 1 });
            }
        }
        if self.pending.is_empty() {
            return Ok(Step::Done(self.finish()));
        }
        Ok(Step::Check(&self.pending))
    }

    /// Takes a page that [`Step::Fetch`] asked for.
    pub fn feed(&mut self, location: usize, page: Page) -> Result<(), ListError> {
        let source = self.sources.get(location).ok_or(ListError::Misused)?;
        if !source.awaited {
            return Err(ListError::Misused);
        }
        let floor = match &source.last {
            Some(last) => Some(last.name().to_owned()),
            None => self.after.clone(),
        };
        let is_first = source.last.is_none();
        let mut items = self.items(location, page.entries, page.common_prefixes)?;
        if let Some(floor) = &floor {
            // A first page may hold the common prefix that the list goes on from. Later on, going back is disorder.
            if !is_first && items.first().is_some_and(|item| item.name() < floor.as_str()) {
                return Err(ListError::Unordered(location));
            }
            items.retain(|item| item.name() > floor.as_str());
        }
        if page.is_truncated && items.is_empty() && page.next_token.is_none() {
            return Err(ListError::Stuck(location));
        }
        let source = self.sources.get_mut(location).ok_or(ListError::Misused)?;
        source.awaited = false;
        source.last = items.last().cloned().or(source.last.take());
        source.queue.extend(items);
        source.progress =
            if page.is_truncated { Progress::More { token: page.next_token } } else { Progress::Complete };
        Ok(())
    }

    /// Takes the verdicts on what [`Step::Check`] showed.
    pub fn settle(&mut self, verdicts: &[Verdict]) -> Result<(), ListError> {
        let pending = std::mem::take(&mut self.pending);
        if pending.len() != verdicts.len() {
            return Err(ListError::Misused);
        }
        for (candidate, verdict) in pending.into_iter().zip(verdicts) {
            if self.room() > 0 {
                self.position = Some(candidate.name().to_owned());
            }
            let Verdict::Visible(location) = *verdict else { continue };
            if self.room() == 0 {
                self.goes_on = true;
                break;
            }
            match candidate {
                Candidate::Prefix { prefix, .. } => self.page.common_prefixes.push(prefix),
                Candidate::Object { copies, .. } => {
                    let copy = copies.into_iter().find(|(holder, _)| *holder == location);
                    self.page.entries.push(copy.ok_or(ListError::Misused)?.1);
                }
            }
        }
        Ok(())
    }

    /// How many items the page still takes.
    fn room(&self) -> usize {
        self.max_keys - self.page.entries.len() - self.page.common_prefixes.len()
    }

    fn finish(&mut self) -> ListPage {
        let mut page = std::mem::take(&mut self.page);
        page.is_truncated = self.goes_on;
        page.next = if self.goes_on { self.position.take() } else { None };
        // Asked again, the answer is an empty end.
        self.max_keys = 0;
        self.goes_on = false;
        page
    }

    /// Asks all locations that stand in the way.
    fn fetch(&mut self) -> Result<Step<'_>, ListError> {
        if self.sources.iter().all(|source| !source.awaited) {
            if self.rounds == MAX_ROUNDS {
                if self.position.is_none() {
                    return Err(ListError::TooManyPages);
                }
                self.goes_on = true;
                return Ok(Step::Done(self.finish()));
            }
            self.rounds += 1;
        }
        // One item more than there is room for tells whether the list goes on. Where much is hidden, pages grow.
        let growth = self.rounds.saturating_sub(1).min(10);
        let max_keys = ((self.room() + 1) << growth).clamp(2, MAX_KEYS);
        let mut asked = Vec::new();
        for (location, source) in self.sources.iter_mut().enumerate() {
            if !source.queue.is_empty() {
                continue;
            }
            let token = match &mut source.progress {
                Progress::Complete => continue,
                Progress::Unread => None,
                Progress::More { token } => token.clone(),
            };
            let start_after = match (&token, &source.last) {
                (Some(_), _) => None,
                (None, Some(Item::Object(entry))) => Some(entry.key.clone()),
                (None, Some(Item::Prefix(prefix))) => Some(beyond(prefix)),
                (None, None) => self.after.as_deref().map(|after| {
                    match rolled_up(after, &self.prefix, self.delimiter.as_deref()) {
                        Some(prefix) => beyond(prefix),
                        None => after.to_owned(),
                    }
                }),
            };
            source.awaited = true;
            let request = PageRequest {
                prefix: self.prefix.clone(),
                delimiter: self.delimiter.clone(),
                start_after,
                continuation_token: token,
                max_keys,
            };
            asked.push((location, request));
        }
        Ok(Step::Fetch(asked))
    }

    /// Takes the next items, at most `limit`, that no location can still come before.
    fn take(&mut self, limit: usize) -> Vec<Candidate> {
        let unread = self.sources.iter().filter(|source| source.progress != Progress::Complete);
        let horizon =
            unread.filter_map(|source| source.queue.back()).map(Item::name).min().map(str::to_owned);
        let mut taken = Vec::new();
        while taken.len() < limit {
            let heads = self.sources.iter().filter_map(|source| source.queue.front());
            let Some(name) = heads.map(Item::name).min().map(str::to_owned) else { break };
            if horizon.as_ref().is_some_and(|horizon| name > *horizon) {
                break;
            }
            let mut copies = Vec::new();
            let mut locations = Vec::new();
            for (location, source) in self.sources.iter_mut().enumerate() {
                match source.queue.pop_front_if(|item| item.name() == name) {
                    Some(Item::Object(entry)) => copies.push((location, entry)),
                    Some(Item::Prefix(_)) => locations.push(location),
                    None => {}
                }
            }
            // The same rule rolls up every location's keys: one name is never a key here and a prefix there.
            taken.push(if copies.is_empty() {
                Candidate::Prefix { prefix: name, locations }
            } else {
                Candidate::Object { key: name, copies }
            });
        }
        taken
    }

    /// A page's items in order. Rolls up keys itself, in case a location does not.
    fn items(
        &self,
        location: usize,
        entries: Vec<ListEntry>,
        common_prefixes: Vec<String>,
    ) -> Result<Vec<Item>, ListError> {
        if !entries.is_sorted_by(|a, b| a.key < b.key) || !common_prefixes.is_sorted() {
            return Err(ListError::Unordered(location));
        }
        let delimiter = self.delimiter.as_deref();
        let mut items = Vec::with_capacity(entries.len() + common_prefixes.len());
        for entry in entries {
            if !entry.key.starts_with(&self.prefix) {
                return Err(ListError::Unasked(location));
            }
            items.push(match rolled_up(&entry.key, &self.prefix, delimiter) {
                Some(prefix) => Item::Prefix(prefix.to_owned()),
                None => Item::Object(entry),
            });
        }
        for prefix in common_prefixes {
            if rolled_up(&prefix, &self.prefix, delimiter) != Some(&prefix) {
                return Err(ListError::Unasked(location));
            }
            items.push(Item::Prefix(prefix));
        }
        items.sort_by(|a, b| a.name().cmp(b.name()));
        items.dedup_by(|a, b| a.name() == b.name());
        Ok(items)
    }
}

/// The common prefix that a key counts under; `None` when it stands for itself.
pub fn rolled_up<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let start = key.strip_prefix(prefix)?.find(delimiter)?;
    key.get(..prefix.len() + start + delimiter.len())
}

/// A key above (nearly) all keys of a common prefix and below whatever comes next. A location that lists the prefix
/// again nonetheless does no harm: the item is not above the last one and is dropped.
pub fn beyond(prefix: &str) -> String {
    let mut key = prefix.to_owned();
    if prefix.len() + char::MAX.len_utf8() <= ObjectKey::MAX_BYTES {
        key.push(char::MAX);
    }
    key
}
