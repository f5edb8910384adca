//! CopyObject: inside a location by the location itself, across locations as a stream that is labelled,
//! decided and recorded like any other write.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::choose::choose;
use super::conditions::{Conditions, same_etag};
use super::record::{self, answer_stored, refuse};
use super::settle::is_unclear;
use super::store::{Content, Stored, Verdict, Write, store};
use super::{buckets, copied_tags, forward, header_text, labels, versions};
use crate::body::Body;
use crate::catalogue::{IntentKind, Placement, Version, VersionKind};
use crate::clock::iso8601;
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::label::{Coverage, Evidence, Label, Labels, Source};
use crate::locations::{LocationError, LocationFacts, PayloadHash};
use crate::log::Event;
use crate::names::CountrySet;
use crate::policy::{Action, Permit};
use crate::random;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::{CopySource, encode};
use crate::s3::xml::{self, Bound, CopyAnswer, ErrorDocument, Outcome};

/// The result of a copy is a small document; locations may pad it with white space to keep the connection alive.
const MAX_RESULT: usize = 1 << 20;

/// The source's conditions, and what they are called when the source is read.
const SOURCE_CONDITIONS: [(&str, HeaderName); 4] = [
    ("x-amz-copy-source-if-match", header::IF_MATCH),
    ("x-amz-copy-source-if-none-match", header::IF_NONE_MATCH),
    ("x-amz-copy-source-if-modified-since", header::IF_MODIFIED_SINCE),
    ("x-amz-copy-source-if-unmodified-since", header::IF_UNMODIFIED_SINCE),
];

/// The client's own key for the source, and what it is called when the source is read.
const SOURCE_KEY: [(&str, HeaderName); 3] = [
    (
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
        HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm"),
    ),
    (
        "x-amz-copy-source-server-side-encryption-customer-key",
        HeaderName::from_static("x-amz-server-side-encryption-customer-key"),
    ),
    (
        "x-amz-copy-source-server-side-encryption-customer-key-md5",
        HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5"),
    ),
];

/// Copies an object, with its labels.
pub async fn copy_object(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = buckets::existing(&gateway, &call).await?;
    let origin = find_source(&gateway, &call).await?;
    let handle = gateway.catalogue.object_handle(call.bucket()?.as_str(), call.key()?.as_str());
    let mut labels = labels::declared_of_copy(&gateway, &call, &bucket, &origin.placement)?;
    labels::add_remembered(&gateway, handle, &mut labels).await?;
    inherit(&mut labels, &origin.placement);
    let held_in = origin.held_in();
    let decision = labels::decide_held(&gateway, &call, &bucket, &labels, Action::Store, held_in)?;
    if decision.allowed().is_empty() {
        let home = gateway.home_country(bucket.home.as_ref());
        return Err(refuse(&gateway, &call, &labels, &decision, home).await);
    }
    let permit = choose(&gateway, &decision, &bucket)?;
    if permit.location().id != origin.facts.id {
        return copy_across(&gateway, call, bucket, labels, origin).await;
    }

    // Inside one location the location copies; the bytes do not pass through here.
    let conditions = Conditions::of_write(&call.parts.headers)?;
    let mut headers = forward::onward_headers(&call.parts);
    conditions.keep_known(&mut headers);
    check_source(&gateway, &call, &origin).await?;
    pin_source(&mut headers, &origin)?;
    let home = gateway.home_country(bucket.home.as_ref());
    let length = origin.placement.size;
    let write = Write {
        gateway: gateway.clone(),
        call: Arc::new(call),
        bucket,
        handle,
        home,
        kind: IntentKind::Copy,
        action: Action::Store,
        origin: Some(origin),
        export: None,
        length,
    };
    let location = gateway.locations.storing(&permit)?;
    let intent = write.open_intent(&labels, &permit).await?;
    let guard = gateway.key_locks.lock(handle).await;
    let verdict = Verdict { labels, permit: permit.clone(), intent, guard };
    let existing = gateway.catalogue.find(handle).await?;
    if let Err(failure) = conditions.check_held(&gateway, &write.call, existing.as_ref()).await {
        gateway.catalogue.drop_intent(verdict.intent.id()).await?;
        return Err(failure);
    }
    let call = &write.call;
    let request =
        forward::request(Method::PUT, call.bucket()?, Some(call.key()?), "", headers, Body::empty())?;
    let response = match location.call(request).await {
        Ok(response) => response,
        Err(error @ LocationError::Lost { .. }) => return Err(error.into()),
        Err(error) => {
            gateway.catalogue.drop_intent(verdict.intent.id()).await?;
            return Err(error.into());
        }
    };
    let (parts, body) = response.into_parts();
    let document = body.collect_limited(MAX_RESULT).await?;
    // A copy can fail after its 200 has been sent; then the document says so (S3 API reference, CopyObject).
    let result = match parts.status.is_success() {
        true => xml::parse_copy_result(&document)?,
        false => Outcome::Failed(ErrorDocument::default()),
    };
    let Outcome::Done(result) = result else {
        if parts.status == StatusCode::PRECONDITION_FAILED && conditions == Conditions::None {
            gateway.catalogue.drop_intent(verdict.intent.id()).await?;
            return Err(being_overwritten());
        }
        // An error after a 200 is a server's error too: it may have taken effect.
        if !parts.status.is_success() && !is_unclear(parts.status) {
            gateway.catalogue.drop_intent(verdict.intent.id()).await?;
        }
        return Ok(Response::from_parts(parts, Body::full(document)));
    };
    let version = versions::id_in(&parts.headers);
    let verdict = copied_tags::label(&write, verdict, version.as_deref()).await?;
    let recorded = write.record(verdict, Some(result.etag), version).await?;
    let mut parts = parts;
    versions::show_written(&gateway, &write.call, &recorded.placement, &mut parts.headers)?;
    if let Some(Origin { source, placement, .. }) = &write.origin {
        versions::show_source(&gateway, &source.bucket, &source.key, placement, &mut parts.headers)?;
    }
    Ok(answer_stored(Response::from_parts(parts, Body::full(document)), &recorded))
}

/// Whether a directive of the call has the copy take what the request says, and nothing of its source.
pub(super) fn replaces(call: &Call, directive: &str) -> bool {
    header_text(&call.parts.headers, directive).is_some_and(|value| value.eq_ignore_ascii_case("REPLACE"))
}

/// The source of a copy, and where it rests.
#[derive(Clone)]
pub(super) struct Origin {
    pub source: CopySource,
    pub placement: Placement,
    pub facts: Arc<LocationFacts>,
}

impl Origin {
    /// Countries that hold a copy of these bytes already.
    pub fn held_in(&self) -> CountrySet {
        [self.facts.country].into_iter().collect()
    }

    /// Logs that the bytes leave their country for that of a permit, in the log of the country that they leave and before
    /// the first one does. The transfer's id, which the other country's entry has too; `None` when no border is crossed.
    pub async fn export(
        &self,
        gateway: &Gateway,
        call: &Call,
        permit: &Permit,
    ) -> Result<Option<[u8; 16]>, Failure> {
        let to = permit.location();
        if to.country == self.facts.country {
            return Ok(None);
        }
        let labels = Labels {
            classes: self.placement.classes,
            subjects: self.placement.subjects,
            coverage: self.placement.coverage,
            evidence: Vec::new(),
        };
        let transfer = random::bytes();
        let decision = record::permitted(permit);
        let mut draft = record::draft(call, Event::Read, self.facts.country, &labels, decision);
        draft.object = Some(self.placement.object);
        draft.from.push(record::place(&self.facts));
        draft.to.push(record::place(to));
        draft.transfer = Some(transfer);
        // The names of what is read; what it is copied to is the other country's to know.
        draft.sealed.bucket = Some(self.source.bucket.to_string());
        draft.sealed.key = Some(self.source.key.as_str().to_owned());
        draft.sealed.etag = Some(self.placement.etag.clone());
        gateway.catalogue.record_event(draft).await?;
        Ok(Some(transfer))
    }
}

/// Checks the client's conditions on a source that its own location is to copy: [`pin_source`] puts one of ours in
/// their place.
async fn check_source(gateway: &Gateway, call: &Call, origin: &Origin) -> Result<(), Failure> {
    if !SOURCE_CONDITIONS.iter().any(|(name, _)| call.parts.headers.contains_key(*name)) {
        return Ok(());
    }
    let conditions = source_headers(&call.parts.headers);
    let Origin { source, facts, placement } = origin;
    let only = versions::only(placement);
    let request =
        forward::request(Method::HEAD, &source.bucket, Some(&source.key), &only, conditions, Body::empty())?;
    match gateway.locations.source_of_copy(&facts.id)?.call(request).await?.status() {
        StatusCode::PRECONDITION_FAILED | StatusCode::NOT_MODIFIED => Err(Failure::client(
            Code::PreconditionFailed,
            "At least one of the pre-conditions on the copy source did not hold.",
        )),
        status if is_unclear(status) => Err(Failure::unavailable(
            Blame::Location,
            "The location of the copy source does not answer. Try again.",
            format!("location {} answered {status}", facts.id),
        )),
        // Whatever else is wrong with it, the copy itself will say.
        _ => Ok(()),
    }
}

/// Has the location copy the bytes that the placement labels, or none: another write may replace them between the
/// catalogue's answer and the copy. The name is written anew, so that it cannot be read in two ways.
fn pin_source(headers: &mut HeaderMap, origin: &Origin) -> Result<(), Failure> {
    for (name, _) in SOURCE_CONDITIONS {
        headers.remove(name);
    }
    let Origin { source, placement, .. } = origin;
    let unsendable = |_| Failure::internal("the copy source cannot be written as a header");
    let named = CopySource { version: placement.version.clone(), ..source.clone() };
    headers.insert("x-amz-copy-source", named.to_header()?);
    let etag = HeaderValue::from_str(&placement.etag).map_err(unsendable)?;
    headers.insert("x-amz-copy-source-if-match", etag);
    Ok(())
}

pub(super) fn being_overwritten() -> Failure {
    Failure::client(Code::OperationAborted, "The copy source is being overwritten. Try again.")
}

/// The source that the call names, which its app must be allowed to read, and where it rests.
pub(super) async fn find_source(gateway: &Gateway, call: &Call) -> Result<Origin, Failure> {
    let header = call.parts.headers.get("x-amz-copy-source").map_or(&b""[..], |value| value.as_bytes());
    let source = CopySource::parse(header)?;
    if !call.app.may_use(&source.bucket) {
        return Err(Failure::client(Code::AccessDenied, "This app may not read the source bucket."));
    }
    let handle = gateway.catalogue.object_handle(source.bucket.as_str(), source.key.as_str());
    let placement = match &source.version {
        None => gateway.catalogue.find(handle).await?,
        Some(id) => {
            let which = versions::open(gateway, &source.bucket, &source.key, id)?;
            match gateway.catalogue.find_version(handle, which).await? {
                Some(Version { kind: VersionKind::DeleteMarker, .. }) => {
                    let message = "The source of a copy request may not specifically refer to a delete marker by version id.";
                    return Err(Failure::client(Code::InvalidRequest, message));
                }
                Some(version) => Some(version.placement),
                None => {
                    let message = "The specified version of the copy source does not exist.";
                    return Err(Failure::client(Code::NoSuchVersion, message));
                }
            }
        }
    };
    let placement =
        placement.ok_or_else(|| S3Error::new(Code::NoSuchKey, "The copy source does not exist."))?;
    let facts = gateway.locations.facts(&placement.location)?;
    Ok(Origin { source, placement, facts })
}

/// A copy holds what its source holds.
pub(super) fn inherit(labels: &mut Labels, origin: &Placement) {
    let evidence =
        |label| Evidence { source: Source::Copy, label, detail: "a label of the copy's source".to_owned() };
    for class in origin.classes.iter() {
        labels.add(evidence(Label::Class(class)));
    }
    for country in origin.subjects.iter() {
        labels.add(evidence(Label::Subject(country)));
    }
    labels.coverage = origin.coverage;
}

async fn copy_across(
    gateway: &Arc<Gateway>,
    call: Call,
    bucket: crate::catalogue::Bucket,
    mut labels: Labels,
    origin: Origin,
) -> Result<Response<Body>, Failure> {
    let Origin { source, placement, facts } = &origin;
    let conditions = source_headers(&call.parts.headers);
    let only = versions::only(placement);
    let request =
        forward::request(Method::GET, &source.bucket, Some(&source.key), &only, conditions, Body::empty())?;
    // The decision over the destination stands in `store`; what is read here leaves through it alone.
    let reading = gateway.locations.source_of_copy(&facts.id)?.call(request).await?;
    if reading.status() != StatusCode::OK {
        return Ok(source_failure(reading));
    }
    if header_text(reading.headers(), "etag").is_some_and(|etag| !same_etag(&etag, &placement.etag)) {
        return Err(being_overwritten());
    }
    let length = http_body::Body::size_hint(reading.body()).exact().unwrap_or(placement.size);
    let headers = destination_headers(gateway, &call, source, placement, reading.headers()).await?;
    // Every byte is scanned on its way.
    labels.coverage = Coverage::Complete;
    let content = Content {
        kind: IntentKind::Copy,
        action: Action::Store,
        body: reading.into_body(),
        length,
        headers,
        verdict: Default::default(),
        payload: PayloadHash::Unsigned,
        conditions: Conditions::of_write(&call.parts.headers)?,
        origin: Some(origin.clone()),
    };
    match store(gateway, Arc::new(call), bucket, labels, content).await? {
        Stored::Declined(response) => Ok(response),
        Stored::Recorded { response, recorded } => {
            let document = xml::copy_result(&CopyAnswer {
                etag: recorded.placement.etag.clone(),
                last_modified: iso8601(recorded.placement.placed_at),
                rest: String::new(),
            });
            let mut answer = super::xml_response(document);
            if let Some(version) = response.headers().get(versions::VERSION_ID) {
                answer.headers_mut().insert(versions::VERSION_ID, version.clone());
            }
            let Origin { source, placement, .. } = &origin;
            versions::show_source(gateway, &source.bucket, &source.key, placement, answer.headers_mut())?;
            Ok(answer_stored(answer, &recorded))
        }
    }
}

/// What is said about the source, as a read of it says it: conditions, and the key that it is encrypted with.
pub(super) fn source_headers(headers: &HeaderMap) -> HeaderMap {
    let mut reading = HeaderMap::new();
    for (name, plain) in SOURCE_CONDITIONS.into_iter().chain(SOURCE_KEY) {
        if let Some(value) = headers.get(name) {
            reading.insert(plain, value.clone());
        }
    }
    reading
}

/// The part of a source of `size` bytes that is to be copied: `bytes=first-last`, both given and within the object (S3 API
/// reference, UploadPartCopy). In a plain `Range` anything else would quietly mean the whole object, or less than was asked.
pub(super) fn source_range(headers: &HeaderMap, size: u64) -> Result<Option<HeaderValue>, S3Error> {
    let Some(value) = headers.get("x-amz-copy-source-range") else { return Ok(None) };
    let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse::<u64>().ok(),
        false => None,
    };
    let text = value.to_str().unwrap_or_default();
    let ends = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let ends = ends.and_then(|(first, last)| Some((number(first)?, number(last)?)));
    match ends {
        None => Err(S3Error::new(
            Code::InvalidArgument,
            "x-amz-copy-source-range must be bytes=first-last, both zero-based offsets of the source.",
        )),
        Some((first, last)) if first > last || last >= size => Err(S3Error::new(
            Code::InvalidRange,
            format!("The range is not within the copy source, which has {size} bytes."),
        )),
        Some(_) => Ok(Some(value.clone())),
    }
}

/// The headers of a copy that are about the new object alone.
pub(super) fn without_source(mut headers: HeaderMap) -> HeaderMap {
    let about_source = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-amz-copy-source") || name.ends_with("-directive")
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| about_source(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    headers
}

/// A source that cannot be read, as CopyObject reports it: a condition that does not hold is 412 in any case.
pub(super) fn source_failure(reading: Response<Body>) -> Response<Body> {
    if reading.status() == StatusCode::NOT_MODIFIED {
        let error = S3Error::new(Code::PreconditionFailed, "A condition on the copy source did not hold.");
        return error.into_response("", "", crate::s3::error::Shape::Document);
    }
    reading
}

/// The new object's headers: the source's or the request's, as the directives say.
async fn destination_headers(
    gateway: &Gateway,
    call: &Call,
    source: &CopySource,
    origin: &Placement,
    from: &HeaderMap,
) -> Result<HeaderMap, Failure> {
    let mut headers = without_source(forward::onward_headers(&call.parts));
    if !replaces(call, "x-amz-metadata-directive") {
        for (name, value) in from {
            let system = matches!(
                *name,
                header::CONTENT_TYPE
                    | header::CACHE_CONTROL
                    | header::CONTENT_DISPOSITION
                    | header::CONTENT_ENCODING
                    | header::CONTENT_LANGUAGE
                    | header::EXPIRES
            );
            if system || name.as_str().starts_with("x-amz-meta-") {
                headers.insert(name.clone(), value.clone());
            }
        }
    }
    if !replaces(call, "x-amz-tagging-directive") && from.contains_key("x-amz-tagging-count") {
        let tagging = match versions::only(origin).as_str() {
            "" => "tagging".to_owned(),
            only => format!("tagging&{only}"),
        };
        let request = forward::request(
            Method::GET,
            &source.bucket,
            Some(&source.key),
            &tagging,
            HeaderMap::new(),
            Body::empty(),
        )?;
        let response = gateway.locations.source_of_copy(&origin.location)?.call(request).await?;
        if !response.status().is_success() {
            return Err(Failure::client(
                Code::OperationAborted,
                "The tags of the copy source cannot be read.",
            ));
        }
        let document = response.into_body().collect_limited(MAX_RESULT).await?;
        let tags = xml::parse_tagging(&document, Bound(MAX_RESULT))?;
        let pairs = tags.iter().map(|tag| format!("{}={}", encode(&tag.key), encode(&tag.value)));
        if let Ok(value) = http::HeaderValue::from_str(&pairs.collect::<Vec<_>>().join("&")) {
            headers.insert("x-amz-tagging", value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_a_source_is_within_it_or_refused() {
        let range = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-copy-source-range", HeaderValue::from_static(text));
            source_range(&headers, 5).map(|range| range.is_some()).map_err(|error| error.code)
        };
        assert_eq!(source_range(&HeaderMap::new(), 5).map(|range| range.is_none()).ok(), Some(true));
        assert_eq!(range("bytes=0-4"), Ok(true));
        assert_eq!(range("bytes=2-2"), Ok(true));
        for beyond in ["bytes=0-5", "bytes=5-6", "bytes=3-2", "bytes=0-21"] {
            assert_eq!(range(beyond), Err(Code::InvalidRange), "{beyond}");
        }
        for unclear in [
            "0-2",
            "bytes=0",
            "bytes=hello-world",
            "bytes=0-bar",
            "bytes=hello-",
            "bytes=0-2,3-5",
            "bytes=-2",
        ] {
            assert_eq!(range(unclear), Err(Code::InvalidArgument), "{unclear}");
        }
    }
}
