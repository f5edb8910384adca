//! ListObjects, ListObjectsV2 and ListMultipartUploads: the locations' own lists as one.

use std::sync::Arc;

use futures_util::future::try_join_all;
use http::{HeaderMap, Method, Response, StatusCode};

use super::{buckets, forward, xml_response};
use crate::body::Body;
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::Location;
use crate::names::{BucketName, ObjectKey};
use crate::s3::error::Code;
use crate::s3::listing::{
    Candidate, Encoding, ListRequest, ListVersion, MAX_KEYS, Merge, Page, PageRequest, Step, Verdict,
};
use crate::s3::operation::{Operation, encode};
use crate::s3::token::{ListBinding, Upload};
use crate::s3::xml::{self, UploadEntry, UploadsPage, UploadsRequest};

/// A page of 1000 keys of 1024 bytes, percent-encoded at worst, with their details.
const MAX_DOCUMENT: usize = 16 << 20;
const MAX_ERROR: usize = 64 << 10;

/// Lists the objects of a bucket.
pub async fn objects(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let owner = buckets::existing(&gateway, &call).await?.owner;
    let bucket = call.bucket()?;
    let app = &call.app.id;
    let version = match call.target.operation {
        Operation::ListObjects => ListVersion::V1,
        _ => ListVersion::V2,
    };
    let request = ListRequest::parse(version, &call.target.query, |prefix, delimiter, token| {
        gateway.tokens.open_continuation(ListBinding { app, bucket, prefix, delimiter }, token)
    })?;
    let locations: Vec<&Location> = gateway.locations.all().collect();
    let page = merged(&gateway, bucket, &locations, &request).await?;
    let next = match (&page.next, version) {
        (Some(position), ListVersion::V2) => {
            let delimiter = request.delimiter.as_deref();
            let binding = ListBinding { app, bucket, prefix: &request.prefix, delimiter };
            Some(gateway.tokens.seal_continuation(binding, position)?)
        }
        _ => None,
    };
    Ok(xml_response(xml::list_result(bucket, &owner, &request, &page, next.as_deref())))
}

/// Runs a merge to its end.
pub(super) async fn merged(
    gateway: &Gateway,
    bucket: &BucketName,
    locations: &[&Location],
    request: &ListRequest,
) -> Result<crate::s3::listing::ListPage, Failure> {
    let mut merge = Merge::new(request, locations.len());
    loop {
        match merge.step()? {
            Step::Done(page) => return Ok(page),
            Step::Fetch(wanted) => {
                // One location down fails the list: a shorter one would hide objects.
                let pages = wanted.into_iter().filter_map(|(index, page)| {
                    let location = locations.get(index)?;
                    Some(async move { Ok::<_, Failure>((index, fetch(location, bucket, &page).await?)) })
                });
                for (index, page) in try_join_all(pages).await? {
                    merge.feed(index, page)?;
                }
            }
            Step::Check(candidates) => {
                let verdicts = check(gateway, bucket, locations, candidates).await?;
                merge.settle(&verdicts)?;
            }
        }
    }
}

async fn fetch(location: &Location, bucket: &BucketName, page: &PageRequest) -> Result<Page, Failure> {
    match read(location, bucket, &page.to_query()).await? {
        Some(document) => Ok(xml::parse_list(&document)?),
        None => Ok(Page::default()),
    }
}

/// A document from a location that must answer. `None` where it does not have the bucket, as one that was configured
/// later than the bucket was created: nothing is placed there.
pub(super) async fn read(
    location: &Location,
    bucket: &BucketName,
    query: &str,
) -> Result<Option<bytes::Bytes>, Failure> {
    let request = forward::request(Method::GET, bucket, None, query, HeaderMap::new(), Body::empty())?;
    let response = location.call(request).await?;
    let status = response.status();
    if !status.is_success() {
        // Only S3's own word for it: some other 404 could come from whatever stands before the location.
        let document = response.into_body().collect_limited(MAX_ERROR).await.unwrap_or_default();
        let is_absent = |error: xml::ErrorDocument| error.code == Code::NoSuchBucket.name();
        if status == StatusCode::NOT_FOUND && xml::parse_error(&document).is_ok_and(is_absent) {
            return Ok(None);
        }
        return Err(Failure::unavailable(
            Blame::Location,
            "A location of this bucket does not answer, so that the list would not be complete. Try again.",
            format!("location {} answered {status}", location.facts.id),
        ));
    }
    Ok(Some(response.into_body().collect_limited(MAX_DOCUMENT).await?))
}

/// What the catalogue says of the candidates.
async fn check(
    gateway: &Gateway,
    bucket: &BucketName,
    locations: &[&Location],
    candidates: &[Candidate],
) -> Result<Vec<Verdict>, Failure> {
    let handles: Vec<_> = candidates
        .iter()
        .filter_map(|candidate| match candidate {
            Candidate::Object { key, .. } => Some(gateway.catalogue.object_handle(bucket.as_str(), key)),
            Candidate::Prefix { .. } => None,
        })
        .collect();
    let mut placed = gateway.catalogue.find_many(&handles).await?.into_iter();
    let mut settled = None;
    let mut verdicts = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        verdicts.push(match candidate {
            Candidate::Object { copies, .. } => {
                let here = placed.next().flatten();
                let copy = here.and_then(|(id, _)| {
                    copies.iter().find(|(index, _)| locations.get(*index).is_some_and(|l| l.facts.id == id))
                });
                copy.map_or(Verdict::Hidden, |(index, _)| Verdict::Visible(*index))
            }
            Candidate::Prefix { prefix, locations: holders } => {
                let all_settled = match settled {
                    Some(all_settled) => all_settled,
                    None => *settled.insert(is_settled(gateway).await?),
                };
                if all_settled || Box::pin(any_visible(gateway, bucket, locations, holders, prefix)).await? {
                    Verdict::Visible(holders.first().copied().unwrap_or_default())
                } else {
                    Verdict::Hidden
                }
            }
        });
    }
    Ok(verdicts)
}

/// Nothing lies anywhere that the catalogue does not place there.
pub(super) async fn is_settled(gateway: &Gateway) -> Result<bool, Failure> {
    Ok(gateway.catalogue.residues(1).await?.is_empty() && gateway.catalogue.open_intents().await?.is_empty())
}

/// Whether some key below a prefix is placed where it is listed.
async fn any_visible(
    gateway: &Gateway,
    bucket: &BucketName,
    locations: &[&Location],
    holders: &[usize],
    prefix: &str,
) -> Result<bool, Failure> {
    let holders: Vec<&Location> = holders.iter().filter_map(|index| locations.get(*index).copied()).collect();
    let page = merged(gateway, bucket, &holders, &ListRequest::probe(prefix)).await?;
    Ok(!page.entries.is_empty())
}

/// Lists the uploads under way: each location's page, merged by key, with the upload ids that clients know.
pub async fn uploads(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let owner = buckets::existing(&gateway, &call).await?.owner;
    let bucket = call.bucket()?;
    let request = uploads_request(&call)?;
    let locations: Vec<&Location> = gateway.locations.all().collect();
    let pages = try_join_all(locations.iter().map(|location| uploads_of(location, bucket, &request))).await?;
    let mut merged = Vec::new();
    // Beyond the last key of a location that has more to tell, something could be missing.
    let mut horizon: Option<String> = None;
    for (location, page) in locations.iter().zip(pages) {
        let mut last = None;
        for entry in page.uploads {
            let key: ObjectKey = entry.key.parse()?;
            last = last.max(Some(entry.key.clone()));
            let upload =
                Upload { location: location.facts.id.clone(), id: entry.upload_id, pinned: Vec::new() };
            let upload_id = gateway.tokens.seal_upload(bucket, &key, &upload)?;
            merged.push(Listed::Upload(UploadEntry { upload_id, ..entry }));
        }
        for prefix in page.common_prefixes {
            last = last.max(Some(prefix.clone()));
            merged.push(Listed::Prefix(prefix));
        }
        if page.is_truncated {
            let end = last.unwrap_or_default();
            horizon = Some(horizon.map_or(end.clone(), |horizon| horizon.min(end)));
        }
    }
    let cut = horizon.is_some();
    merged.retain(|item| {
        let (name, id) = item.position();
        let after = (request.key_marker.as_str(), request.upload_id_marker.as_str());
        let is_after =
            if after.1.is_empty() { name > after.0 || after.0.is_empty() } else { (name, id) > after };
        is_after && horizon.as_deref().is_none_or(|horizon| name <= horizon)
    });
    merged.sort_by(|a, b| a.position().cmp(&b.position()));
    merged.dedup_by(|a, b| a.position() == b.position());
    let truncated = cut || merged.len() > request.max_uploads;
    merged.truncate(request.max_uploads);
    let mut page = UploadsPage { is_truncated: truncated, ..UploadsPage::default() };
    if let (true, Some(last)) = (truncated, merged.last()) {
        let (name, id) = last.position();
        page.next_key_marker = Some(name.to_owned());
        page.next_upload_id_marker = Some(id.to_owned()).filter(|id| !id.is_empty());
    }
    for item in merged {
        match item {
            Listed::Upload(upload) => page.uploads.push(upload),
            Listed::Prefix(prefix) => page.common_prefixes.push(prefix),
        }
    }
    Ok(xml_response(xml::uploads_result(bucket, &owner, &request, &page)))
}

/// What one location has behind the request's markers; of each key that it tells of, all uploads.
async fn uploads_of(
    location: &Location,
    bucket: &BucketName,
    request: &UploadsRequest,
) -> Result<UploadsPage, Failure> {
    let mut query = format!(
        "uploads&encoding-type=url&max-uploads={}&prefix={}",
        request.max_uploads.max(1),
        encode(&request.prefix)
    );
    if let Some(delimiter) = &request.delimiter {
        query.push_str(&format!("&delimiter={}", encode(delimiter)));
    }
    if !request.key_marker.is_empty() {
        query.push_str(&format!("&key-marker={}", encode(&request.key_marker)));
    }
    let Some(document) = read(location, bucket, &query).await? else { return Ok(UploadsPage::default()) };
    let mut page = xml::parse_uploads(&document)?;
    // Within a key the order is that of the sealed ids, which no location knows: a key is told of whole or not at
    // all, the one where this page ends as well as the one where the client's last page did.
    let last = page.uploads.iter().map(|upload| upload.key.clone()).max().filter(|_| page.is_truncated);
    let marked = Some(request.key_marker.clone()).filter(|_| !request.upload_id_marker.is_empty());
    page.uploads.retain(|upload| Some(&upload.key) != last.as_ref());
    for key in last.into_iter().chain(marked) {
        page.uploads.extend(uploads_of_key(location, bucket, &key).await?);
    }
    Ok(page)
}

/// All uploads of one key.
async fn uploads_of_key(
    location: &Location,
    bucket: &BucketName,
    key: &str,
) -> Result<Vec<UploadEntry>, Failure> {
    let mut uploads: Vec<UploadEntry> = Vec::new();
    loop {
        let mut query = format!("uploads&encoding-type=url&max-uploads={MAX_KEYS}&prefix={}", encode(key));
        if let Some(last) = uploads.last() {
            let (key, id) = (encode(key), encode(&last.upload_id));
            query.push_str(&format!("&key-marker={key}&upload-id-marker={id}"));
        }
        // The key itself is the first of all that begin with it.
        let Some(document) = read(location, bucket, &query).await? else { return Ok(uploads) };
        let page = xml::parse_uploads(&document)?;
        let (listed, before) = (page.uploads.len(), uploads.len());
        uploads.extend(page.uploads.into_iter().filter(|upload| upload.key == key));
        if !page.is_truncated || uploads.len() - before < listed.max(1) {
            return Ok(uploads);
        }
    }
}

/// An item of the merged list of uploads.
enum Listed {
    Upload(UploadEntry),
    Prefix(String),
}

impl Listed {
    /// Where it stands in the list: by key, then by upload id.
    fn position(&self) -> (&str, &str) {
        match self {
            Listed::Upload(upload) => (&upload.key, &upload.upload_id),
            Listed::Prefix(prefix) => (prefix, ""),
        }
    }
}

fn uploads_request(call: &Call) -> Result<UploadsRequest, Failure> {
    let query = &call.target.query;
    let text = |name: &str| query.value(name).unwrap_or_default().to_owned();
    let invalid = |message: &'static str| Failure::client(Code::InvalidArgument, message);
    let max_uploads = match query.value("max-uploads") {
        None | Some("") => MAX_KEYS,
        Some(number) => number
            .parse::<usize>()
            .map_err(|_| invalid("max-uploads must be a whole number from 0 to 1000."))?
            .min(MAX_KEYS),
    };
    let encoding = match query.value("encoding-type") {
        None | Some("") => Encoding::Plain,
        Some("url") => Encoding::Url,
        Some(_) => return Err(invalid("encoding-type must be `url`.")),
    };
    Ok(UploadsRequest {
        prefix: text("prefix"),
        delimiter: Some(text("delimiter")).filter(|delimiter| !delimiter.is_empty()),
        key_marker: text("key-marker"),
        upload_id_marker: text("upload-id-marker"),
        max_uploads,
        encoding,
    })
}
