//! Buckets: known to the catalogue, and present in every location so that an object can be placed in any.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::{forward, read_document, record, versioning, xml_response};
use crate::body::Body;
use crate::catalogue::{Bucket, BucketHandle, Versioning};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::label::Labels;
use crate::locations::Location;
use crate::log::{DecisionFacts, Event};
use crate::names::LocationId;
use crate::s3::checksum::Subject;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, Bound, BucketEntry, BucketList, Grants};

/// Placements that are ended in one go.
const VANISHED_AT_ONCE: usize = 256;
const MAX_DOCUMENT: usize = 64 << 10;
const CANNED_ACL: &str = "x-amz-acl";
/// The region whose buckets have no constraint.
const FIRST_REGION: &str = "us-east-1";
/// Most buckets in one answer (S3 API reference, ListBuckets).
const MAX_BUCKETS: usize = 10_000;

/// The bucket of a call, which must exist.
pub async fn existing(gateway: &Gateway, call: &Call) -> Result<Bucket, Failure> {
    let handle = gateway.catalogue.bucket_handle(call.bucket()?.as_str());
    gateway
        .catalogue
        .find_bucket(handle)
        .await?
        .ok_or_else(|| Failure::client(Code::NoSuchBucket, "The specified bucket does not exist."))
}

/// CreateBucket. `LocationConstraint` names the home location, by its region or its id; without one the home is
/// the location of the region that the request was signed for, as it is at S3.
pub async fn create(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    let document = read_document(&call, body, MAX_DOCUMENT, Subject::Body).await?;
    let constraint = xml::parse_create_bucket(&document, Bound(MAX_DOCUMENT))?;
    let home = match &constraint {
        Some(named) => Some(gateway.locations.by_region_or_id(named).ok_or_else(|| {
            S3Error::new(
                Code::InvalidLocationConstraint,
                format!(
                    "The specified location-constraint is not valid. The locations here are: {}.",
                    gateway.locations.regions()
                ),
            )
        })?),
        None => gateway.locations.by_region_or_id(&call.identity.region),
    };
    let name = call.bucket()?.clone();
    let bucket = Bucket {
        name: name.to_string(),
        home: home.map(|location| location.facts.id.clone()),
        subject: home.filter(|_| constraint.is_some()).map(|location| location.facts.country),
        constraint,
        owner: call.app.id.to_string(),
        created_at: record::now_ms(),
        versioning: Versioning::Never,
    };
    let handle = gateway.catalogue.bucket_handle(name.as_str());
    if let Some(existing) = gateway.catalogue.find_bucket(handle).await? {
        // The configuration may have got a location since: asking again brings the bucket there.
        if existing.owner == bucket.owner {
            match create_everywhere(&gateway, &call).await {
                // Some servers say so of a bucket that is one's own, which it is wherever it has been before.
                Err(failure) if failure.error.code == Code::BucketAlreadyExists => {}
                other => other?,
            }
            if let Some(status) = versioning::status(existing.versioning) {
                versioning::bring(&gateway, &call, status).await?;
            }
        }
        return taken(&call, &existing, &bucket);
    }
    // Everywhere first: a bucket that the catalogue knows can take an object at once in any location.
    create_everywhere(&gateway, &call).await?;
    if !gateway.catalogue.create_bucket(bucket.clone()).await? {
        // Somebody was faster.
        let existing = gateway.catalogue.find_bucket(handle).await?;
        return taken(&call, existing.as_ref().unwrap_or(&bucket), &bucket);
    }
    Ok(created(&bucket))
}

fn created(bucket: &Bucket) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    if let Ok(path) = HeaderValue::from_str(&format!("/{}", bucket.name)) {
        response.headers_mut().insert(http::header::LOCATION, path);
    }
    response
}

/// The answer when there is such a bucket. In its first region S3 lets a bucket be created again by its owner (S3 API
/// reference, CreateBucket), and scripts that make sure of their bucket lean on that.
fn taken(call: &Call, existing: &Bucket, wanted: &Bucket) -> Result<Response<Body>, Failure> {
    if existing.owner != wanted.owner {
        let message = "The requested bucket name is not available.";
        return Err(Failure::client(Code::BucketAlreadyExists, message));
    }
    if call.identity.region == FIRST_REGION && wanted.constraint.is_none() {
        return Ok(created(existing));
    }
    Err(Failure::client(
        Code::BucketAlreadyOwnedByYou,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ))
}

async fn create_everywhere(gateway: &Gateway, call: &Call) -> Result<(), Failure> {
    let everywhere = join_all(gateway.locations.all().map(|location| create_at(location, call))).await;
    everywhere.into_iter().collect()
}

async fn create_at(location: &Location, call: &Call) -> Result<(), Failure> {
    // S3 wants the constraint to be the endpoint's own region, and none for us-east-1.
    let body = match location.facts.region.as_str() {
        FIRST_REGION => Body::empty(),
        region => Body::full(xml::create_bucket_configuration(region)),
    };
    let request = forward::request(Method::PUT, call.bucket()?, None, "", HeaderMap::new(), body)?;
    let response = location.call(request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let document = response.into_body().collect_limited(MAX_DOCUMENT).await?;
    let code = xml::parse_error(&document).map(|error| error.code).unwrap_or_default();
    if code == Code::BucketAlreadyOwnedByYou.name() {
        return Ok(());
    }
    let refused = |code, message| Err(Failure::client(code, message));
    if code == Code::BucketAlreadyExists.name() {
        return refused(Code::BucketAlreadyExists, "The requested bucket name is not available.");
    }
    // Servers differ in which names they take, and no other try will make one do.
    if code == Code::InvalidBucketName.name() {
        return refused(
            Code::InvalidBucketName,
            "A location of this gateway does not take this bucket name.",
        );
    }
    if code == Code::TooManyBuckets.name() {
        return refused(Code::TooManyBuckets, "A location of this gateway takes no more buckets.");
    }
    Err(Failure::unavailable(
        Blame::Location,
        "The bucket could not be created in every location. Send the request again.",
        format!("location {} answered {status} {code}", location.facts.id),
    ))
}

/// HeadBucket.
pub async fn head(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = existing(&gateway, &call).await?;
    let mut response = Response::new(Body::empty());
    let home = bucket.home.as_ref().and_then(|home| gateway.locations.facts(home).ok());
    let region = home.map_or_else(|| gateway.config.gateway.region.clone(), |facts| facts.region.clone());
    record::set(response.headers_mut(), "x-amz-bucket-region", &region);
    Ok(response)
}

/// DeleteBucket: only when it is empty everywhere.
pub async fn delete(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = existing(&gateway, &call).await?;
    let handle = gateway.catalogue.bucket_handle(call.bucket()?.as_str());
    let not_empty = || Failure::client(Code::BucketNotEmpty, "The bucket you tried to delete is not empty.");
    let placed = gateway.catalogue.count_in_bucket(handle, 1).await? > 0;
    if placed && bucket.versioning.keeps() {
        return Err(not_empty());
    }
    let mut empty = BTreeSet::new();
    // Ask all before the first is deleted: a bucket gone in one place and full in another helps nobody.
    for location in gateway.locations.all() {
        let query = "list-type=2&max-keys=1";
        let request =
            forward::request(Method::GET, call.bucket()?, None, query, HeaderMap::new(), Body::empty())?;
        let response = location.call(request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => continue,
            StatusCode::OK => {}
            status => return Err(declined(location, status)),
        }
        let document = response.into_body().collect_limited(1 << 20).await?;
        if !xml::parse_list(&document)?.entries.is_empty() {
            return Err(not_empty());
        }
        empty.insert(location.facts.id.clone());
    }
    if placed && forget_vanished(&gateway, &call, handle, &empty).await? == Vanished::NotAll {
        return Err(not_empty());
    }
    let mut deleted: Vec<&Location> = Vec::new();
    for location in gateway.locations.all() {
        let request =
            forward::request(Method::DELETE, call.bucket()?, None, "", HeaderMap::new(), Body::empty())?;
        let response = location.call(request).await?;
        match response.status() {
            // A write came in between. It stays a bucket, and one that can take an object in any location.
            StatusCode::CONFLICT => {
                let again = join_all(deleted.into_iter().map(|location| create_at(location, &call))).await;
                again.into_iter().collect::<Result<Vec<()>, Failure>>()?;
                return Err(not_empty());
            }
            status if status.is_success() || status == StatusCode::NOT_FOUND => deleted.push(location),
            status => return Err(declined(location, status)),
        }
    }
    gateway.catalogue.delete_bucket(handle).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Whether what the catalogue places in a bucket is gone from its locations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vanished {
    All,
    NotAll,
}

/// Ends the placements of objects that a lifecycle took: all locations say that they hold nothing. Not of those at a
/// location that did not say so.
async fn forget_vanished(
    gateway: &Arc<Gateway>,
    call: &Call,
    bucket: BucketHandle,
    empty: &BTreeSet<LocationId>,
) -> Result<Vanished, Failure> {
    loop {
        let placed = gateway.catalogue.placed_in(bucket, VANISHED_AT_ONCE).await?;
        if placed.is_empty() {
            return Ok(Vanished::All);
        }
        if placed.iter().any(|(_, placement)| !empty.contains(&placement.location)) {
            return Ok(Vanished::NotAll);
        }
        let ends = placed.into_iter().map(|(handle, placement)| async move {
            let facts = gateway.locations.facts(&placement.location)?;
            let labels = Labels {
                classes: placement.classes,
                subjects: placement.subjects,
                coverage: placement.coverage,
                evidence: Vec::new(),
            };
            let decision = DecisionFacts::default();
            let mut draft = record::draft(call, Event::Delete, facts.country, &labels, decision);
            draft.from.push(record::place(&facts));
            draft.sealed.etag = Some(placement.etag.clone());
            // In turn with writes of the same key.
            let _guard = gateway.key_locks.lock(handle).await;
            Ok::<_, Failure>(gateway.catalogue.record_vanished(handle, placement, draft).await?)
        });
        join_all(ends).await.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    }
}

fn declined(location: &Location, status: StatusCode) -> Failure {
    Failure::unavailable(
        Blame::Location,
        "A location of this bucket does not answer. Try again.",
        format!("location {} answered {status}", location.facts.id),
    )
}

/// GetBucketLocation.
pub async fn location(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = existing(&gateway, &call).await?;
    Ok(xml_response(xml::location_constraint(bucket.constraint.as_deref())))
}

/// GetBucketAcl: who may do what is for the gateway's apps and policies to say; to S3 a bucket is its creator's.
pub async fn acl(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = existing(&gateway, &call).await?;
    Ok(xml_response(xml::private_acl(&bucket.owner)))
}

/// PutBucketAcl: a list that says what holds anyhow, and so changes nothing. Others are refused, canned ones with their header.
pub async fn put_acl(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    let bucket = existing(&gateway, &call).await?;
    let document = read_document(&call, body, MAX_DOCUMENT, Subject::Body).await?;
    if !document.is_empty() || !call.parts.headers.contains_key(CANNED_ACL) {
        check_acl(&document, &bucket.owner, &call)?;
    }
    Ok(Response::new(Body::empty()))
}

/// Refuses an access control list that grants something.
pub(super) fn check_acl(document: &[u8], owner: &str, call: &Call) -> Result<(), Failure> {
    if call.parts.headers.contains_key(CANNED_ACL) {
        let message =
            "An access control list comes in x-amz-acl or in the body of the request, and not in both.";
        return Err(Failure::client(Code::InvalidRequest, message));
    }
    match xml::parse_acl(document, Bound(MAX_DOCUMENT), owner)? {
        Grants::OwnerAlone => Ok(()),
        Grants::OfAnotherOwner => Err(Failure::client(
            Code::AccessDenied,
            "An access control list cannot change the owner: it names another one than the bucket's.",
        )),
        Grants::Others => Err(Failure::client(
            Code::NotImplemented,
            "Grants are not implemented by this gateway: who may read is for its apps and policies to say.",
        )),
    }
}

/// ListBuckets: those that the app may use.
pub async fn list(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let mut buckets = gateway.catalogue.buckets().await?;
    buckets.retain(|bucket| bucket.name.parse().is_ok_and(|name| call.app.may_use(&name)));
    buckets.sort_by(|a, b| a.name.cmp(&b.name));
    let query = &call.target.query;
    let prefix = query.value("prefix").filter(|prefix| !prefix.is_empty());
    let after = query.value("continuation-token").unwrap_or_default();
    let most = match query.value("max-buckets") {
        None => MAX_BUCKETS,
        Some(text) => text.parse().ok().filter(|n| (1..=MAX_BUCKETS).contains(n)).ok_or_else(|| {
            S3Error::new(Code::InvalidArgument, "max-buckets must be a whole number from 1 to 10000.")
        })?,
    };
    buckets
        .retain(|bucket| bucket.name.as_str() > after && bucket.name.starts_with(prefix.unwrap_or_default()));
    let next = (buckets.len() > most).then(|| buckets[most - 1].name.clone());
    buckets.truncate(most);
    let entries = buckets.iter().map(|bucket| BucketEntry {
        name: &bucket.name,
        created_at: bucket.created_at,
        region: bucket.constraint.as_deref(),
    });
    Ok(xml_response(xml::list_buckets_result(&BucketList {
        owner: call.app.id.as_str(),
        buckets: entries.collect(),
        prefix,
        next_token: next.as_deref(),
    })))
}
