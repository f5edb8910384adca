//! ListObjects, ListObjectsV2 and ListMultipartUploads: the locations' own lists as one.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use http::{HeaderMap, Method, Response};

use super::{buckets, forward, xml_response};
use crate::body::Body;
use crate::catalogue::Catalogue;
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::Location;
use crate::names::BucketName;
use crate::s3::listing::{Candidate, ListRequest, ListVersion, Merge, Page, PageRequest, Step, Verdict};
use crate::s3::operation::Operation;
use crate::s3::token::ListBinding;
use crate::s3::xml;

/// A page of 1000 keys of 1024 bytes, percent-encoded at worst, with their details.
const MAX_DOCUMENT: usize = 16 << 20;

/// Lists the objects of a bucket.
pub async fn objects(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
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
    Ok(xml_response(xml::write_list(bucket.as_str(), &request, &page, next.as_deref())))
}

/// Runs a merge to its end.
async fn merged(
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
    let document = read(location, bucket, &page.to_query()).await?;
    Ok(xml::parse_list(&document)?)
}

/// A document from a location that must answer.
async fn read(location: &Location, bucket: &BucketName, query: &str) -> Result<bytes::Bytes, Failure> {
    let request = forward::request(Method::GET, bucket, None, query, HeaderMap::new(), Body::empty())?;
    let response = location.call(request).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(Failure::unavailable(
            Blame::Location,
            "A location of this bucket does not answer, so that the list would not be complete. Try again.",
            format!("location {} answered {status}", location.facts.id),
        ));
    }
    Ok(response.into_body().collect_limited(MAX_DOCUMENT).await?)
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
async fn is_settled(gateway: &Gateway) -> Result<bool, Failure> {
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
    buckets::existing(&gateway, &call).await?;
    let bucket = call.bucket()?;
    let query = call.target.query.for_location(&[]);
    let locations: Vec<&Location> = gateway.locations.all().collect();
    let pages = join_all(locations.iter().map(|location| read(location, bucket, &query))).await;
    let mut lists = Vec::with_capacity(pages.len());
    for (location, document) in locations.iter().zip(pages) {
        lists.push((location.facts.id.clone(), xml::parse_uploads(&document?)?));
    }
    let document = xml::merge_uploads(bucket, lists, &gateway.tokens)?;
    Ok(xml_response(document))
}
