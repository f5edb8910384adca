//! ListObjectVersions: the locations' own lists of versions, merged by key and, within a key, in the order of the catalogue.
//!
//! A location lists its versions of a key in the order in which they were written, which is the catalogue's order too, for a key
//! has one writer at a time. What the catalogue does not know is passed over, but for a delete marker that a location made by itself;
//! which version is the latest the catalogue says alone.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::try_join_all;
use http::Response;

use super::list::{is_settled, merged as merged_objects, read};
use super::markers::{self, Met};
use super::{buckets, versions, xml_response};
use crate::body::Body;
use crate::catalogue::{Known, VersionAt, VersionKind, Versioning, Which};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::Location;
use crate::names::{BucketName, ObjectKey};
use crate::s3::error::{Code, S3Error};
use crate::s3::listing::{Encoding, ListRequest, MAX_KEYS, beyond, rolled_up};
use crate::s3::operation::encode;
use crate::s3::token::VersionId;
use crate::s3::xml::{self, VersionElement, VersionEntry, VersionsPage, VersionsRequest};

/// Most rounds of pages for one answer; what is found by then is given out, and the list goes on after it.
const MAX_ROUNDS: u32 = 256;

/// Lists versions and delete markers.
pub async fn list(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = buckets::existing(&gateway, &call).await?;
    let request = parse(&call)?;
    let name = call.bucket()?;
    let locations: Vec<&Location> = gateway.locations.all().collect();
    let page = match bucket.versioning {
        Versioning::Never => of_objects(&gateway, name, &locations, &request).await?,
        _ => merged(&gateway, name, &locations, &request).await?,
    };
    Ok(xml_response(xml::versions_result(name, &bucket.owner, &request, &page)))
}

fn parse(call: &Call) -> Result<VersionsRequest, S3Error> {
    let query = &call.target.query;
    let text = |name: &str| query.value(name).unwrap_or_default().to_owned();
    let invalid = |message: &'static str| S3Error::new(Code::InvalidArgument, message);
    let request = VersionsRequest {
        prefix: text("prefix"),
        delimiter: Some(text("delimiter")).filter(|delimiter| !delimiter.is_empty()),
        key_marker: text("key-marker"),
        version_id_marker: text("version-id-marker"),
        max_keys: match query.value("max-keys") {
            None | Some("") => MAX_KEYS,
            Some(number) => number
                .parse::<i32>()
                .ok()
                .and_then(|number| usize::try_from(number).ok())
                .ok_or_else(|| invalid("max-keys must be a whole number from 0 to 2147483647."))?
                .min(MAX_KEYS),
        },
        encoding: match query.value("encoding-type") {
            None | Some("") => Encoding::Plain,
            Some("url") => Encoding::Url,
            Some(_) => return Err(invalid("encoding-type must be `url`.")),
        },
    };
    if request.key_marker.is_empty() && !request.version_id_marker.is_empty() {
        return Err(invalid("A version-id marker cannot be specified without a key marker."));
    }
    Ok(request)
}

/// Where versions were never kept, every object is its own version `null`. Not all locations could list them.
async fn of_objects(
    gateway: &Gateway,
    bucket: &BucketName,
    locations: &[&Location],
    request: &VersionsRequest,
) -> Result<VersionsPage, Failure> {
    let objects = ListRequest {
        delimiter: request.delimiter.clone(),
        max_keys: request.max_keys,
        after: Some(request.key_marker.clone()).filter(|marker| !marker.is_empty()),
        ..ListRequest::probe(&request.prefix)
    };
    let page = merged_objects(gateway, bucket, locations, &objects).await?;
    let ends_with_key =
        page.next.is_some() && page.entries.last().map(|entry| &entry.key) == page.next.as_ref();
    let entry = |entry: crate::s3::listing::ListEntry| VersionEntry {
        key: entry.key,
        id: versions::NULL.to_owned(),
        element: VersionElement::Version,
        is_latest: true,
        etag: entry.etag,
        size: 0,
        rest: entry.rest,
    };
    Ok(VersionsPage {
        entries: page.entries.into_iter().map(entry).collect(),
        common_prefixes: page.common_prefixes,
        is_truncated: page.is_truncated,
        next_key_marker: page.next,
        next_version_id_marker: ends_with_key.then(|| versions::NULL.to_owned()),
    })
}

async fn merged(
    gateway: &Gateway,
    bucket: &BucketName,
    locations: &[&Location],
    request: &VersionsRequest,
) -> Result<VersionsPage, Failure> {
    if request.max_keys == 0 {
        return Ok(VersionsPage::default());
    }
    let start = Start::of(gateway, bucket, request).await?;
    let sources = locations.iter().map(|location| Source {
        location,
        queue: VecDeque::new(),
        cursor: start.cursor(location),
    });
    let mut merge = Merge {
        gateway,
        bucket,
        request,
        start: &start,
        sources: sources.collect(),
        settled: None,
        items: Vec::new(),
    };
    let goes_on = merge.run().await?;
    let mut page = VersionsPage { is_truncated: goes_on, ..VersionsPage::default() };
    if goes_on && let Some(last) = merge.items.last() {
        page.next_key_marker = Some(last.name().to_owned());
        if let Item::Version { entry, .. } = last {
            page.next_version_id_marker = Some(entry.id.clone());
        }
    }
    for item in merge.items {
        match item {
            Item::Version { entry, .. } => page.entries.push(entry),
            Item::Prefix(prefix) => page.common_prefixes.push(prefix),
        }
    }
    Ok(page)
}

/// Where a list begins.
struct Start {
    /// Only what comes after this name is listed, and what the inside says of the name itself.
    after: Option<String>,
    /// The key marker as a location gets it.
    marker: String,
    inside: Option<Inside>,
}

/// A list that goes on in the middle of a key: with its versions older than `order`.
struct Inside {
    order: u64,
    /// Of each location that has them: the version of the key behind which its older ones begin.
    behind: Vec<VersionAt>,
}

impl Start {
    async fn of(gateway: &Gateway, bucket: &BucketName, request: &VersionsRequest) -> Result<Start, Failure> {
        let VersionsRequest { prefix, delimiter, key_marker, version_id_marker, .. } = request;
        if key_marker.is_empty() {
            return Ok(Start { after: None, marker: String::new(), inside: None });
        }
        let rolled = rolled_up(key_marker, prefix, delimiter.as_deref());
        let marker = match rolled {
            Some(group) if group == key_marker => beyond(group),
            _ => key_marker.clone(),
        };
        let mut start = Start { after: Some(key_marker.clone()), marker, inside: None };
        if version_id_marker.is_empty() {
            return Ok(start);
        }
        let key: ObjectKey = key_marker.parse()?;
        let handle = gateway.catalogue.object_handle(bucket.as_str(), key.as_str());
        let order = if version_id_marker == versions::NULL {
            // Where it has gone meanwhile, the key is listed from its beginning: better twice than not at all.
            let null = gateway.catalogue.find_version(handle, Which::Null).await?;
            null.map_or(u64::MAX, |null| null.placement.order)
        } else {
            gateway.tokens.open_version(bucket, &key, version_id_marker)?.order
        };
        if rolled.is_none() && key_marker.starts_with(prefix.as_str()) {
            let behind = gateway.catalogue.versions_from(handle, order).await?;
            start.inside = Some(Inside { order, behind });
        }
        Ok(start)
    }

    fn cursor(&self, location: &Location) -> Cursor {
        let Some(inside) = &self.inside else {
            return Cursor::Behind { key: self.marker.clone(), id: None };
        };
        match inside.behind.iter().find(|at| at.location == location.facts.id) {
            Some(at) => {
                let id = at.id.clone().unwrap_or_else(|| versions::NULL.to_owned());
                Cursor::Behind { key: self.marker.clone(), id: Some(id) }
            }
            None => Cursor::Within { id: None },
        }
    }

    /// Whether an item is part of the list.
    fn admits(&self, item: &Item) -> bool {
        let Some(after) = &self.after else { return true };
        match (item, &self.inside) {
            (Item::Version { entry, order }, Some(inside)) if entry.key == *after => *order < inside.order,
            _ => item.name() > after.as_str(),
        }
    }
}

/// Where a location's next page begins.
enum Cursor {
    Behind {
        key: String,
        id: Option<String>,
    },
    /// In the start's own key, of which the location has older versions only: behind this one, or at the first.
    Within {
        id: Option<String>,
    },
    End,
}

struct Source<'a> {
    location: &'a Location,
    queue: VecDeque<Item>,
    cursor: Cursor,
}

enum Item {
    Version { entry: VersionEntry, order: u64 },
    Prefix(String),
}

impl Item {
    fn name(&self) -> &str {
        match self {
            Item::Version { entry, .. } => &entry.key,
            Item::Prefix(prefix) => prefix,
        }
    }

    /// The place in the list: by name, and newest first.
    fn rank(&self) -> (&str, std::cmp::Reverse<u64>) {
        let order = match self {
            Item::Version { order, .. } => *order,
            Item::Prefix(_) => 0,
        };
        (self.name(), std::cmp::Reverse(order))
    }
}

struct Merge<'a> {
    gateway: &'a Gateway,
    bucket: &'a BucketName,
    request: &'a VersionsRequest,
    start: &'a Start,
    sources: Vec<Source<'a>>,
    /// Whether nothing lies anywhere that the catalogue does not know; asked once.
    settled: Option<bool>,
    items: Vec<Item>,
}

impl Merge<'_> {
    /// Fills the page. Whether the list goes on behind it.
    async fn run(&mut self) -> Result<bool, Failure> {
        let mut rounds = 0;
        loop {
            while let Some(item) = self.next().await? {
                if self.items.len() == self.request.max_keys {
                    return Ok(true);
                }
                self.items.push(item);
            }
            let open = |source: &Source<'_>| source.queue.is_empty() && !matches!(source.cursor, Cursor::End);
            if !self.sources.iter().any(open) {
                return Ok(false);
            }
            if rounds == MAX_ROUNDS {
                if self.items.is_empty() {
                    return Err(unordered("too many versions that are not placed"));
                }
                return Ok(true);
            }
            rounds += 1;
            let room = (self.request.max_keys - self.items.len() + 1).clamp(2, MAX_KEYS);
            let (gateway, bucket, request, start) = (self.gateway, self.bucket, self.request, self.start);
            let fetches = self.sources.iter_mut().filter(|source| open(source));
            try_join_all(fetches.map(|source| source.fetch(gateway, bucket, request, start, room))).await?;
        }
    }

    /// The next item that no location can still come before; `None` until more has been fetched.
    async fn next(&mut self) -> Result<Option<Item>, Failure> {
        loop {
            let waits =
                |source: &Source<'_>| source.queue.is_empty() && !matches!(source.cursor, Cursor::End);
            if self.sources.iter().any(waits) {
                return Ok(None);
            }
            let heads = self.sources.iter().enumerate();
            let heads = heads.filter_map(|(index, source)| Some((source.queue.front()?.rank(), index)));
            let Some((_, first)) = heads.min() else { return Ok(None) };
            let Some(item) = self.sources.get_mut(first).and_then(|source| source.queue.pop_front()) else {
                return Ok(None);
            };
            let Item::Prefix(prefix) = item else { return Ok(Some(item)) };
            let mut holders = Vec::new();
            for (index, source) in self.sources.iter_mut().enumerate() {
                let same = |item: &mut Item| matches!(item, Item::Prefix(other) if *other == prefix);
                if index == first || source.queue.pop_front_if(same).is_some() {
                    holders.push(source.location);
                }
            }
            // A location that does not roll up itself may come to the same prefix again.
            if self.items.last().is_some_and(|last| last.name() == prefix) {
                continue;
            }
            if self.is_visible(&prefix, &holders).await? {
                return Ok(Some(Item::Prefix(prefix)));
            }
        }
    }

    /// Whether some version below a prefix is known to the catalogue.
    async fn is_visible(&mut self, prefix: &str, holders: &[&Location]) -> Result<bool, Failure> {
        let settled = match self.settled {
            Some(settled) => settled,
            None => *self.settled.insert(is_settled(self.gateway).await?),
        };
        if settled {
            return Ok(true);
        }
        let probe = VersionsRequest { prefix: prefix.to_owned(), max_keys: 1, ..VersionsRequest::default() };
        let page = Box::pin(merged(self.gateway, self.bucket, holders, &probe)).await?;
        Ok(!page.entries.is_empty())
    }
}

impl Source<'_> {
    /// Takes in the location's next page.
    async fn fetch(
        &mut self,
        gateway: &Gateway,
        bucket: &BucketName,
        request: &VersionsRequest,
        start: &Start,
        room: usize,
    ) -> Result<(), Failure> {
        let own_key = start.after.as_deref().unwrap_or_default();
        let query = self.query(request, own_key, room);
        let Some(document) = read(self.location, bucket, &query).await? else {
            self.cursor = Cursor::End;
            return Ok(());
        };
        let mut page = xml::parse_versions(&document)?;
        if !page.entries.is_sorted_by(|a, b| a.key <= b.key) || !page.common_prefixes.is_sorted() {
            return Err(unordered("a list of versions is not in order"));
        }
        self.cursor = match &self.cursor {
            Cursor::Within { .. } => {
                let listed = page.entries.len();
                page.entries.retain(|entry| entry.key == own_key);
                match page.entries.last() {
                    Some(last) if page.is_truncated && page.entries.len() == listed => {
                        Cursor::Within { id: Some(last.id.clone()) }
                    }
                    _ => Cursor::Behind { key: start.marker.clone(), id: None },
                }
            }
            _ if !page.is_truncated => Cursor::End,
            Cursor::Behind { key, id } => {
                let next = next_cursor(&page);
                // A list that does not go on would be asked for ever.
                if matches!(&next, Cursor::Behind { key: k, id: i } if k == key && i == id) {
                    return Err(unordered("a list of versions does not go on"));
                }
                next
            }
            Cursor::End => Cursor::End,
        };
        self.take(gateway, bucket, request, start, page).await
    }

    fn query(&self, request: &VersionsRequest, own_key: &str, room: usize) -> String {
        let mut query = format!("versions&encoding-type=url&max-keys={room}");
        let mut add = |name: &str, value: &str| query.push_str(&format!("&{name}={}", encode(value)));
        match &self.cursor {
            // The key is the first of all that begin with it.
            Cursor::Within { id } => {
                add("prefix", own_key);
                if let Some(id) = id {
                    add("key-marker", own_key);
                    add("version-id-marker", id);
                }
            }
            Cursor::Behind { key, id } => {
                add("prefix", &request.prefix);
                if let Some(delimiter) = &request.delimiter {
                    add("delimiter", delimiter);
                }
                if !key.is_empty() {
                    add("key-marker", key);
                }
                if let Some(id) = id {
                    add("version-id-marker", id);
                }
            }
            Cursor::End => {}
        }
        query
    }

    /// Queues what the catalogue knows of a page, under the ids that clients know.
    async fn take(
        &mut self,
        gateway: &Gateway,
        bucket: &BucketName,
        request: &VersionsRequest,
        start: &Start,
        page: VersionsPage,
    ) -> Result<(), Failure> {
        let location = &self.location.facts.id;
        let at = |entry: &VersionEntry| VersionAt {
            location: location.clone(),
            id: Some(entry.id.clone()).filter(|id| id != versions::NULL),
        };
        let asked = page
            .entries
            .iter()
            .map(|entry| (gateway.catalogue.object_handle(bucket.as_str(), &entry.key), at(entry)));
        let asked: Vec<_> = asked.collect();
        let mut known = gateway.catalogue.find_versions(asked.clone()).await?;
        let mut met = Met::PassedOver;
        for (entry, _) in page.entries.iter().zip(&known).filter(|(_, known)| known.is_none()) {
            if entry.element == VersionElement::DeleteMarker
                && entry.is_latest
                && markers::take_over(gateway, self.location, bucket, entry).await? == Met::TakenOver
            {
                met = Met::TakenOver;
            }
        }
        if met == Met::TakenOver {
            known = gateway.catalogue.find_versions(asked).await?;
        }
        let mut items = Vec::with_capacity(page.entries.len() + page.common_prefixes.len());
        for (mut entry, known) in page.entries.into_iter().zip(known) {
            // Rolled up here too, in case the location does not.
            if let Some(group) = rolled_up(&entry.key, &request.prefix, request.delimiter.as_deref()) {
                items.push(Item::Prefix(group.to_owned()));
                continue;
            }
            let Some(Known { is_latest, order, .. }) = known.filter(|known| is_of_kind(&entry, *known))
            else {
                continue;
            };
            if let Some(id) = at(&entry).id {
                let key: ObjectKey = entry.key.parse()?;
                let version = VersionId { location: location.clone(), id, order };
                entry.id = gateway.tokens.seal_version(bucket, &key, &version)?;
            }
            entry.is_latest = is_latest;
            items.push(Item::Version { entry, order });
        }
        items.extend(page.common_prefixes.into_iter().map(Item::Prefix));
        items.retain(|item| start.admits(item));
        items.sort_by(|a, b| a.rank().cmp(&b.rank()));
        items.dedup_by(|a, b| matches!((a, b), (Item::Prefix(a), Item::Prefix(b)) if a == b));
        self.queue.extend(items);
        Ok(())
    }
}

fn is_of_kind(entry: &VersionEntry, known: Known) -> bool {
    match entry.element {
        VersionElement::Version => known.kind == VersionKind::Object,
        VersionElement::DeleteMarker => known.kind == VersionKind::DeleteMarker,
    }
}

/// Where a page that is not the last one says that the next one begins, or else behind its last item.
fn next_cursor(page: &VersionsPage) -> Cursor {
    if let Some(key) = &page.next_key_marker {
        return Cursor::Behind { key: key.clone(), id: page.next_version_id_marker.clone() };
    }
    let entry = page.entries.last();
    let prefix = page.common_prefixes.last();
    match (entry, prefix) {
        (Some(entry), prefix) if prefix.is_none_or(|prefix| *prefix < entry.key) => {
            Cursor::Behind { key: entry.key.clone(), id: Some(entry.id.clone()) }
        }
        (_, Some(prefix)) => Cursor::Behind { key: beyond(prefix), id: None },
        _ => Cursor::End,
    }
}

fn unordered(cause: &'static str) -> Failure {
    Failure::unavailable(
        Blame::Location,
        "A location of this bucket does not list its versions as S3 says, so that the list would not be complete.",
        cause,
    )
}
