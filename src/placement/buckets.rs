//! Buckets: known to the catalogue, and present in every location so that an object can be placed in any.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::markers::{self, Left};
use super::presence::{self, LOCK_ENABLED};
use super::vanished::{self, Vanished};
use super::{forward, read_document, record, settings, xml_response};
use crate::body::Body;
use crate::catalogue::{Bucket, ObjectLock, Versioning};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::Location;
use crate::s3::checksum::Subject;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, Bound, BucketEntry, BucketList, Grants};

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
    let lock = match call.parts.headers.get(LOCK_ENABLED).map(|value| value.as_bytes().to_ascii_lowercase()) {
        None => ObjectLock::Without,
        Some(text) if text == b"false" => ObjectLock::Without,
        Some(text) if text == b"true" => ObjectLock::Enabled,
        Some(_) => {
            let error = S3Error::new(Code::InvalidArgument, "Object lock is either true or false.");
            return Err(error.detail("ArgumentName", LOCK_ENABLED).into());
        }
    };
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
        // What can be locked is a version (S3 user guide, "Locking objects").
        versioning: match lock {
            ObjectLock::Enabled => Versioning::Enabled,
            ObjectLock::Without => Versioning::Never,
        },
        object_lock: lock,
        places: Some(gateway.locations.ids().cloned().collect()),
    };
    let handle = gateway.catalogue.bucket_handle(name.as_str());
    // In turn: what one request gives up, another must not have found.
    let _turn = gateway.key_locks.lock(settings::turn(&gateway, &call)?).await;
    if let Some(existing) = gateway.catalogue.find_bucket(handle).await? {
        // The configuration may have got a location since: asking again brings the bucket there.
        if existing.owner == bucket.owner && existing.object_lock == bucket.object_lock {
            presence::complete(&gateway, &call).await?;
        }
        return taken(&call, &existing, &bucket);
    }
    // Everywhere first: a bucket that the catalogue knows can take an object at once in any location.
    presence::create(&gateway, &name, lock).await?;
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
    let alike = wanted.constraint.is_none() && wanted.object_lock == existing.object_lock;
    if call.identity.region == FIRST_REGION && alike {
        return Ok(created(existing));
    }
    Err(Failure::client(
        Code::BucketAlreadyOwnedByYou,
        "Your previous request to create the named bucket succeeded and you already own it.",
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
    let _turn = gateway.key_locks.lock(settings::turn(&gateway, &call)?).await;
    let bucket = existing(&gateway, &call).await?;
    let handle = gateway.catalogue.bucket_handle(call.bucket()?.as_str());
    let not_empty = || Failure::client(Code::BucketNotEmpty, "The bucket you tried to delete is not empty.");
    let mut empty = BTreeSet::new();
    // Ask all before the first is deleted: a bucket gone in one place and full in another helps nobody.
    for location in gateway.locations.all() {
        let query = match bucket.versioning.keeps() {
            true => "versions&max-keys=1",
            false => "list-type=2&max-keys=1",
        };
        let request =
            forward::request(Method::GET, call.bucket()?, None, query, HeaderMap::new(), Body::empty())?;
        let response = location.call(request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => continue,
            StatusCode::OK => {}
            status => return Err(declined(location, status)),
        }
        let document = response.into_body().collect_limited(1 << 20).await?;
        let holds_nothing = match bucket.versioning.keeps() {
            true => xml::parse_versions(&document)?.entries.is_empty(),
            false => xml::parse_list(&document)?.entries.is_empty(),
        };
        if !holds_nothing {
            // Delete markers that hide nothing: a lifecycle made them, or left them behind.
            let knows_nothing = gateway.catalogue.count_in_bucket(handle, 1).await? == 0;
            if !knows_nothing || markers::clear(&gateway, location, call.bucket()?).await? == Left::Something
            {
                return Err(not_empty());
            }
        }
        empty.insert(location.facts.id.clone());
    }
    // What a lifecycle took is in nobody's way.
    if vanished::end_all(&gateway, &call, handle, &empty).await? == Vanished::Unproved {
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
                presence::restore(&gateway, call.bucket()?, &bucket, &deleted).await?;
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
    if document.is_empty() && !call.parts.headers.contains_key(CANNED_ACL) {
        let error = S3Error::new(Code::MissingSecurityHeader, "Your request was missing a required header");
        return Err(error.detail("MissingHeaderName", CANNED_ACL).into());
    }
    if !document.is_empty() {
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
