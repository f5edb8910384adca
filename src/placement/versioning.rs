//! Whether a bucket keeps versions: kept alike in all its locations, or refused by the name of one that cannot.

use std::sync::Arc;

use futures_util::future::join_all;
use http::{HeaderMap, Method, Response, StatusCode};

use super::settle::is_unclear;
use super::{buckets, forward, read_document, settings, xml_response};
use crate::body::Body;
use crate::catalogue::{ObjectLock, Versioning};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::Location;
use crate::names::{BucketName, LocationId};
use crate::s3::checksum::Subject;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, Bound, VersioningStatus};

const MAX_DOCUMENT: usize = 64 << 10;

/// GetBucketVersioning.
pub async fn get(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = buckets::existing(&gateway, &call).await?;
    Ok(xml_response(xml::versioning_configuration(status(bucket.versioning))))
}

/// PutBucketVersioning. All locations are asked before the first is changed. When one fails in the middle, clients are told
/// what they were told before, and sending the request again brings the rest along.
pub async fn put(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let document = read_document(&call, body, MAX_DOCUMENT, Subject::Body).await?;
    let wanted = xml::parse_versioning(&document, Bound(MAX_DOCUMENT))?;
    // In turn: of two requests at once, locations could do as the one says and as the other.
    let _turn = gateway.key_locks.lock(settings::turn(&gateway, &call)?).await;
    let bucket = buckets::existing(&gateway, &call).await?;
    if bucket.object_lock == ObjectLock::Enabled && wanted == VersioningStatus::Suspended {
        let message = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
        return Err(Failure::client(Code::InvalidBucketState, message));
    }
    let name = call.bucket()?;
    let asked = join_all(gateway.locations.all().map(|location| of_bucket(location, name))).await;
    asked.into_iter().collect::<Result<Vec<_>, Failure>>()?;

    // Before a location makes its first version: the catalogue must not take it for an overwritten object.
    let handle = gateway.catalogue.bucket_handle(call.bucket()?.as_str());
    if bucket.versioning == Versioning::Never {
        gateway.catalogue.set_versioning(handle, Versioning::Partly).await?;
    }
    if let Err(failure) = bring(&gateway, &call, wanted).await {
        if !matches!(bucket.versioning, Versioning::Enabled | Versioning::Suspended) {
            // Nobody was told that versions are kept: better few of them than many. What it cannot reach stays enabled.
            let all = gateway.locations.all();
            let name = call.bucket()?;
            join_all(all.map(|location| tell(location, name, VersioningStatus::Suspended))).await;
        }
        return Err(failure);
    }
    let versioning = match wanted {
        VersioningStatus::Enabled => Versioning::Enabled,
        VersioningStatus::Suspended => Versioning::Suspended,
    };
    gateway.catalogue.set_versioning(handle, versioning).await?;
    Ok(Response::new(Body::empty()))
}

/// What clients are told.
pub fn status(versioning: Versioning) -> Option<VersioningStatus> {
    match versioning {
        Versioning::Never | Versioning::Partly => None,
        Versioning::Enabled => Some(VersioningStatus::Enabled),
        Versioning::Suspended => Some(VersioningStatus::Suspended),
    }
}

/// Has every location keep versions, or none any more.
async fn bring(gateway: &Gateway, call: &Call, wanted: VersioningStatus) -> Result<(), Failure> {
    let name = call.bucket()?;
    let told = join_all(gateway.locations.all().map(|location| tell(location, name, wanted))).await;
    told.into_iter().collect()
}

/// Whether a location keeps versions of a bucket, or once did. Some name a version in the answer to each write, and keep none
/// that could be asked for (Garage).
pub(super) async fn is_kept_at(gateway: &Gateway, id: &LocationId, bucket: &BucketName) -> bool {
    if gateway.locations.is_versionless(id) {
        return false;
    }
    let Ok(location) = gateway.locations.housekeeping(id) else { return true };
    match of_bucket(location, bucket).await {
        Ok(None) => {
            gateway.locations.found_versionless(id);
            false
        }
        // Where it cannot be known, an id that names nothing does less harm than a version that nobody names.
        Ok(Some(_)) | Err(_) => true,
    }
}

/// What a location says of a bucket's versions.
async fn of_bucket(location: &Location, bucket: &BucketName) -> Result<Option<VersioningStatus>, Failure> {
    let request = forward::request(Method::GET, bucket, None, "versioning", HeaderMap::new(), Body::empty())?;
    let response = location.call(request).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(unable(location, status));
    }
    let document = response.into_body().collect_limited(MAX_DOCUMENT).await?;
    xml::parse_versioning_answer(&document).map_err(|_| unable(location, StatusCode::NOT_IMPLEMENTED))
}

/// Has one location keep versions, or none any more.
pub async fn tell(location: &Location, bucket: &BucketName, wanted: VersioningStatus) -> Result<(), Failure> {
    let body = Body::full(xml::versioning_configuration(Some(wanted)));
    let request = forward::request(Method::PUT, bucket, None, "versioning", HeaderMap::new(), body)?;
    let response = location.call(request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let document = response.into_body().collect_limited(MAX_DOCUMENT).await.unwrap_or_default();
    let code = xml::parse_error(&document).map(|error| error.code).unwrap_or_default();
    if code == Code::InvalidBucketState.name() {
        let message = format!("Location {} has locked this bucket's versioning.", location.facts.id);
        return Err(Failure::client(Code::InvalidBucketState, message));
    }
    Err(unable(location, status))
}

fn unable(location: &Location, status: StatusCode) -> Failure {
    let id = &location.facts.id;
    if is_unclear(status) {
        return Failure::unavailable(
            Blame::Location,
            "A location of this bucket does not answer. Send the request again.",
            format!("location {id} answered {status}"),
        );
    }
    if status == StatusCode::NOT_FOUND {
        let message =
            format!("The bucket is not in location {id} yet. Create it again, then send this again.");
        return S3Error::new(Code::OperationAborted, message).into();
    }
    let message = format!(
        "Location {id} cannot keep versions of objects (it answered {status}), so this bucket cannot: an object may \
         have to rest there. Leave versioning off, or take the location out of the configuration."
    );
    S3Error::new(Code::NotImplemented, message).into()
}
