//! The tags of a copy that its location made: those that the source had at that very moment, and not when the copy was judged.

use http::{HeaderMap, Method, StatusCode};

use super::copy::{self, Origin};
use super::forward;
use super::record::refuse_place;
use super::store::{Verdict, Write};
use crate::body::Body;
use crate::catalogue::{IntentKind, VersionAt};
use crate::gateway::Gateway;
use crate::gateway::failure::{Blame, Failure};
use crate::names::{BucketName, LocationId, ObjectKey};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::encode;
use crate::s3::xml::{self, Bound};

/// Ten tags of the greatest length, every character escaped.
const MAX_TAGS: usize = 128 << 10;

/// Gives a copy the labels of the tags that it has, where they may be more than it was judged by; or gives it up where it may not
/// rest under them. The key's lock is held.
pub(super) async fn label(
    write: &Write,
    mut verdict: Verdict,
    version: Option<&str>,
) -> Result<Verdict, Failure> {
    let Write { gateway, call, .. } = write;
    let Some(origin) = &write.origin else { return Ok(verdict) };
    if copy::replaces(call, "x-amz-tagging-directive") || !is_relabelled(gateway, origin).await? {
        return Ok(verdict);
    }
    let location = verdict.permit.location().id.clone();
    let (bucket, key) = (call.bucket()?, call.key()?);
    let read = tags_of(gateway, &location, bucket, key, version).await;
    let labelled = read.and_then(|tags| {
        let mut labels = verdict.labels.clone();
        for evidence in gateway.labeller.tagged(&tags)?.evidence {
            labels.add(evidence);
        }
        let decision = write.decide(&labels)?;
        Ok((labels, decision))
    });
    let refusal = match labelled {
        Ok((labels, decision)) => match decision.permit(&location) {
            Some(permit) => {
                let intent = write.open_intent(&labels, &permit).await?;
                gateway.catalogue.drop_intent(verdict.intent.id()).await?;
                (verdict.labels, verdict.permit, verdict.intent) = (labels, permit, intent);
                return Ok(verdict);
            }
            None => {
                let message = "The copy source was given tags meanwhile under which the copy may not rest where it \
                               was made. It is removed. Try again.";
                let answer = S3Error::new(Code::AccessDenied, message);
                refuse_place(gateway, call, &labels, &decision, &location, write.home, answer).await
            }
        },
        Err(failure) => failure,
    };
    let (bucket, key) = (bucket.to_string(), key.as_str().to_owned());
    gateway.catalogue.give_up_intent(verdict.intent.id(), bucket, key).await?;
    Err(refusal)
}

/// Whether the source may have got other tags since its placement was read.
async fn is_relabelled(gateway: &Gateway, origin: &Origin) -> Result<bool, Failure> {
    let Origin { source, placement, .. } = origin;
    let handle = gateway.catalogue.object_handle(source.bucket.as_str(), source.key.as_str());
    // In this order: new tags have an intent before the location hears of them, and then other labels.
    let open = gateway.catalogue.open_intents_of(handle).await?;
    if open.iter().any(|intent| intent.kind == IntentKind::Relabel) {
        return Ok(true);
    }
    let at = VersionAt { location: placement.location.clone(), id: placement.version.clone() };
    let now = gateway.catalogue.find_version(handle, at.into()).await?;
    Ok(now.is_none_or(|now| {
        (&now.placement.etag, now.placement.classes, now.placement.subjects)
            != (&placement.etag, placement.classes, placement.subjects)
    }))
}

/// The tags that a location has of an object; none where it has no tags at all.
async fn tags_of(
    gateway: &Gateway,
    location: &LocationId,
    bucket: &BucketName,
    key: &ObjectKey,
    version: Option<&str>,
) -> Result<Vec<(String, String)>, Failure> {
    let query = match version {
        None => "tagging".to_owned(),
        Some(id) => format!("tagging&versionId={}", encode(id)),
    };
    let request = forward::request(Method::GET, bucket, Some(key), &query, HeaderMap::new(), Body::empty())?;
    let response = gateway.locations.housekeeping(location)?.call(request).await?;
    let status = response.status();
    let document = response.into_body().collect_limited(MAX_TAGS).await?;
    if status.is_success() {
        let tags = xml::parse_tagging(&document, Bound(MAX_TAGS))?;
        return Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect());
    }
    let has_none = xml::parse_error(&document).is_ok_and(|error| error.code == Code::NoSuchTagSet.name());
    if has_none || matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED) {
        return Ok(Vec::new());
    }
    Err(Failure::unavailable(
        Blame::Location,
        "The tags of the copy cannot be read, so it is removed. Try again.",
        format!("location {location} answered {status}"),
    ))
}
