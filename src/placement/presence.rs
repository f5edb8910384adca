//! Where a bucket is: in every location, and in none before it has there all that it was given elsewhere.
//!
//! An object may have to go to any location at once, so a bucket is made in all of them, or in none when one cannot. A location that
//! the configuration gets later takes no object of the bucket until it has been brought there; the catalogue keeps account.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::settle::is_unclear;
use super::{buckets, forward, settings, versioning};
use crate::body::Body;
use crate::catalogue::{Bucket, ObjectLock};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::Location;
use crate::names::{BucketName, LocationId};
use crate::s3::error::Code;
use crate::s3::xml::{self, VersioningStatus};

const MAX_DOCUMENT: usize = 64 << 10;
/// The region whose buckets have no constraint.
const FIRST_REGION: &str = "us-east-1";
/// Of CreateBucket: objects of the bucket can be locked (S3 API reference).
pub const LOCK_ENABLED: &str = "x-amz-bucket-object-lock-enabled";

/// Makes a new bucket in all locations. Where one cannot, what was made elsewhere is taken away again.
pub async fn create(gateway: &Gateway, name: &BucketName, lock: ObjectLock) -> Result<(), Failure> {
    let found = join_all(gateway.locations.all().map(|location| standing(location, name))).await;
    let found = found.into_iter().collect::<Result<Vec<Standing>, Failure>>()?;
    let made = join_all(gateway.locations.all().map(|location| make(location, name, lock))).await;
    let Err(failure) = made.into_iter().collect::<Result<(), Failure>>() else { return Ok(()) };
    for (location, found) in gateway.locations.all().zip(found) {
        if found == Standing::Missing {
            unmake(location, name).await;
        }
    }
    Err(failure)
}

/// Brings a bucket to the locations where it is not yet, or not any more, with all its settings. What was brought to some before
/// another refused stays.
pub async fn complete(gateway: &Gateway, call: &Call) -> Result<(), Failure> {
    let bucket = buckets::existing(gateway, call).await?;
    let name = call.bucket()?;
    let handle = gateway.catalogue.bucket_handle(name.as_str());
    let found = join_all(gateway.locations.all().map(|location| standing(location, name))).await;
    let found = found.into_iter().collect::<Result<Vec<Standing>, Failure>>()?;
    let has_all = |location: &Location, found| found == Standing::There && bucket.is_in(&location.facts.id);
    let mut places: BTreeSet<LocationId> = (gateway.locations.all().zip(found))
        .filter(|(location, found)| has_all(location, *found))
        .map(|(location, _)| location.facts.id.clone())
        .collect();
    if bucket.places.as_ref() != Some(&places) {
        // First: from now on no object goes where the bucket is not whole.
        gateway.catalogue.set_places(handle, places.clone()).await?;
    }
    for location in gateway.locations.all() {
        if places.contains(&location.facts.id) {
            continue;
        }
        bring(gateway, location, name, &bucket).await?;
        places.insert(location.facts.id.clone());
        gateway.catalogue.set_places(handle, places.clone()).await?;
    }
    Ok(())
}

async fn bring(
    gateway: &Gateway,
    location: &Location,
    name: &BucketName,
    bucket: &Bucket,
) -> Result<(), Failure> {
    make(location, name, bucket.object_lock).await?;
    if let Some(status) = versioning::status(bucket.versioning) {
        versioning::tell(location, name, status).await?;
    }
    settings::give(gateway, location, name).await
}

/// Makes the bucket again in locations from which it was just taken, none of them having anything in it.
pub async fn restore(
    gateway: &Gateway,
    name: &BucketName,
    bucket: &Bucket,
    gone: &[&Location],
) -> Result<(), Failure> {
    let again = join_all(gone.iter().map(|location| bring(gateway, location, name, bucket))).await;
    again.into_iter().collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Also somebody else's: the location says that when it is asked to make one.
    There,
    Missing,
}

async fn standing(location: &Location, name: &BucketName) -> Result<Standing, Failure> {
    let request = forward::request(Method::HEAD, name, None, "", HeaderMap::new(), Body::empty())?;
    match location.call(request).await?.status() {
        StatusCode::NOT_FOUND => Ok(Standing::Missing),
        status if is_unclear(status) => Err(silent(location, format!("{status}"))),
        _ => Ok(Standing::There),
    }
}

/// Makes the bucket in one location, which must then be able to lock objects where that was asked for: some servers
/// pass over what they do not know.
async fn make(location: &Location, name: &BucketName, lock: ObjectLock) -> Result<(), Failure> {
    // S3 wants the constraint to be the endpoint's own region, and none for us-east-1.
    let body = match location.facts.region.as_str() {
        FIRST_REGION => Body::empty(),
        region => Body::full(xml::create_bucket_configuration(region)),
    };
    let mut headers = HeaderMap::new();
    if lock == ObjectLock::Enabled {
        headers.insert(LOCK_ENABLED, HeaderValue::from_static("true"));
    }
    let request = forward::request(Method::PUT, name, None, "", headers, body)?;
    let response = location.call(request).await?;
    let status = response.status();
    if !status.is_success() {
        let document = response.into_body().collect_limited(MAX_DOCUMENT).await?;
        let code = xml::parse_error(&document).map(|error| error.code).unwrap_or_default();
        if code != Code::BucketAlreadyOwnedByYou.name() {
            return Err(refusal(location, lock, status, &code));
        }
    }
    match lock {
        ObjectLock::Without => Ok(()),
        ObjectLock::Enabled => check_lock(location, name).await,
    }
}

fn refusal(location: &Location, lock: ObjectLock, status: StatusCode, code: &str) -> Failure {
    if code == Code::BucketAlreadyExists.name() {
        return Failure::client(Code::BucketAlreadyExists, "The requested bucket name is not available.");
    }
    // Servers differ in which names they take, and no other try will make one do.
    if code == Code::InvalidBucketName.name() {
        let message = "A location of this gateway does not take this bucket name.";
        return Failure::client(Code::InvalidBucketName, message);
    }
    if code == Code::TooManyBuckets.name() {
        return Failure::client(Code::TooManyBuckets, "A location of this gateway takes no more buckets.");
    }
    if lock == ObjectLock::Enabled && !is_unclear(status) {
        return unable_to_lock(location, status);
    }
    silent(location, format!("{status} {code}"))
}

fn silent(location: &Location, answer: String) -> Failure {
    Failure::unavailable(
        Blame::Location,
        "The bucket could not be created in every location. Send the request again.",
        format!("location {} answered {answer}", location.facts.id),
    )
}

/// Whether objects of the bucket can be locked at a location, which keeps their versions then.
async fn check_lock(location: &Location, name: &BucketName) -> Result<(), Failure> {
    let request = forward::request(Method::GET, name, None, "object-lock", HeaderMap::new(), Body::empty())?;
    let response = location.call(request).await?;
    let status = response.status();
    if is_unclear(status) {
        return Err(silent(location, format!("{status}")));
    }
    let document = response.into_body().collect_limited(MAX_DOCUMENT).await?;
    if !status.is_success() || xml::parse_lock_answer(&document).is_err() {
        return Err(unable_to_lock(location, status));
    }
    versioning::tell(location, name, VersioningStatus::Enabled).await
}

fn unable_to_lock(location: &Location, status: StatusCode) -> Failure {
    let id = &location.facts.id;
    let message = format!(
        "Location {id} has no bucket of this name whose objects can be locked, and makes none (it answered {status}). An \
         object may have to rest there, so nothing was created. Leave object lock off, or take the location out of the \
         configuration."
    );
    Failure::client(Code::NotImplemented, message)
}

/// Takes away what was made a moment ago. A location deletes no bucket that has something in it.
async fn unmake(location: &Location, name: &BucketName) {
    let deleted = async {
        let request = forward::request(Method::DELETE, name, None, "", HeaderMap::new(), Body::empty())?;
        Ok::<_, Failure>(location.call(request).await?.status())
    };
    match deleted.await {
        Ok(status) if status.is_success() || status == StatusCode::NOT_FOUND => {}
        _ => {
            tracing::warn!(location = %location.facts.id, "a bucket that was not wanted after all could not be taken away")
        }
    }
}
