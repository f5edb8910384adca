//! Multipart uploads: pinned to a location at Create, judged again at each part and at Complete.
//!
//! The upload id that a client gets holds the location and its own id for the upload, sealed; so no table is
//! needed to find the way back. What the parts turned out to hold is kept in the catalogue until Complete.

use std::sync::Arc;

use http::{HeaderMap, Method, Response, StatusCode};

use super::choose::choose;
use super::conditions::{Conditions, same_etag};
use super::held::{Gate, HeldBody};
use super::record::{answer_stored, refuse, refuse_place};
use super::settle::is_unclear;
use super::store::{Verdict, Write};
use super::window::{Window, read_window};
use super::{buckets, copy, forward, header_text, labels, read_document, versions, xml_response};
use crate::body::{Body, BoxError};
use crate::catalogue::{Bucket, IntentKind, ObjectHandle, Verdict as Found};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Failure, body_failure};
use crate::label::scanner::Findings;
use crate::label::{Coverage, Labels};
use crate::locations::{LocationError, PayloadHash};
use crate::policy::{Action, Decision, Permit};
use crate::s3::checksum::Subject;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::encode;
use crate::s3::payload::{Verdict as PayloadVerdict, VerifiedBody, strip_framing};
use crate::s3::token::Upload;
use crate::s3::xml::{self, ErrorDocument, Outcome};

/// 10,000 parts, each with an ETag and a checksum.
const MAX_DOCUMENT: usize = 4 << 20;
/// S3 keeps unfinished uploads until somebody aborts them; what their parts hold is remembered as long.
const REMEMBERED_MS: u64 = 10 * 365 * 86_400_000;

/// CreateMultipartUpload: decides where the parts go.
pub async fn create(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = buckets::existing(&gateway, &call).await?;
    let handle = gateway.catalogue.object_handle(call.bucket()?.as_str(), call.key()?.as_str());
    let mut labels = labels::declared(&gateway, &call, &bucket)?;
    labels::add_remembered(&gateway, handle, &mut labels).await?;
    labels.coverage = Coverage::Complete;
    let decision = labels::decide(&gateway, &call, &bucket, &labels, Action::Store)?;
    if decision.allowed().is_empty() {
        let home = gateway.home_country(bucket.home.as_ref());
        return Err(refuse(&gateway, &call, &labels, &decision, home).await);
    }
    let permit = choose(&gateway, &decision, &bucket)?;
    let location = gateway.locations.storing(&permit)?;
    let headers = forward::onward_headers(&call.parts);
    let query = call.target.query.for_location(&[]);
    let request =
        forward::request(Method::POST, call.bucket()?, Some(call.key()?), &query, headers, Body::empty())?;
    let response = location.call(request).await?;
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let id = xml::parse_initiate_result(&body.collect_limited(MAX_DOCUMENT).await?)?;
    remember(&gateway, &call, &id, &labels).await?;
    let upload = Upload { location: location.facts.id.clone(), id, pinned: Vec::new() };
    let token = gateway.tokens.seal_upload(call.bucket()?, call.key()?, &upload)?;
    let document = xml::initiate_result(call.bucket()?, call.key()?, &token);
    let mut answer = xml_response(document);
    for (name, value) in &parts.headers {
        if name.as_str().starts_with("x-amz-") {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    super::record::set(answer.headers_mut(), "x-domicile-location", location.facts.id.as_str());
    super::record::set(answer.headers_mut(), "x-domicile-labels", &labels.to_string());
    Ok(answer)
}

/// UploadPart.
pub async fn upload_part(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    let mut verified = VerifiedBody::new(
        body,
        &call.parts.headers,
        &call.identity,
        Subject::Body,
        gateway.config.gateway.max_body_bytes,
    )?;
    verified.settle_empty().await?;
    let length = verified.decoded_length();
    let mut headers = forward::onward_headers(&call.parts);
    strip_framing(&mut headers, call.identity.payload, length);
    let payload = labels::payload_hash(&call.identity.payload);
    let verdict = verified.verdict();
    let part = Part { body: Body::new(verified), length, headers, verdict, payload };
    let upload = PinnedUpload::open(gateway, call).await?;
    upload.store(part).await
}

/// UploadPartCopy: the source is read where it rests and goes through the same gate as any part.
pub async fn upload_part_copy(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let origin = copy::find_source(&gateway, &call).await?;
    let copy::Origin { source, placement, facts } = &origin;
    let mut conditions = copy::source_headers(&call.parts.headers);
    if let Some(range) = copy::source_range(&call.parts.headers, placement.size)? {
        conditions.insert(http::header::RANGE, range);
    }
    let only = versions::only(placement);
    let request =
        forward::request(Method::GET, &source.bucket, Some(&source.key), &only, conditions, Body::empty())?;
    let mut upload = PinnedUpload::open(gateway.clone(), call).await?;
    copy::inherit(&mut upload.labels, placement);
    upload.labels.coverage = Coverage::Complete;
    let Some(permit) = upload.decide(&upload.labels)?.permit(&upload.upload.location) else {
        return Err(upload.misplaced(&upload.labels).await);
    };
    origin.export(&gateway, &upload.call, &permit).await?;
    let reading = gateway.locations.source_of_copy(&facts.id)?.call(request).await?;
    if !matches!(reading.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Ok(copy::source_failure(reading));
    }
    if header_text(reading.headers(), "etag").is_some_and(|etag| !same_etag(&etag, &placement.etag)) {
        return Err(copy::being_overwritten());
    }
    let length = http_body::Body::size_hint(reading.body())
        .exact()
        .ok_or_else(|| Failure::internal("the location sent a body of unknown length"))?;
    let headers = copy::without_source(forward::onward_headers(&upload.call.parts));
    let (verdict, payload) = (PayloadVerdict::default(), PayloadHash::Unsigned);
    let part = Part { body: reading.into_body(), length, headers, verdict, payload };
    let response = upload.store(part).await?;
    let etag = header_text(response.headers(), "etag").unwrap_or_default();
    if !response.status().is_success() {
        return Ok(response);
    }
    let mut answer = xml_response(xml::copy_part_result(&xml::CopyAnswer {
        etag,
        last_modified: crate::clock::iso8601(super::record::now_ms()),
        rest: String::new(),
    }));
    versions::show_source(&gateway, &source.bucket, &source.key, placement, answer.headers_mut())?;
    Ok(answer)
}

/// CompleteMultipartUpload: judged once more, then recorded like any write.
pub async fn complete(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    let document = read_document(&call, body, MAX_DOCUMENT, Subject::Object).await?;
    xml::parse_complete(&document, xml::Bound(MAX_DOCUMENT))?;
    let upload = PinnedUpload::open(gateway.clone(), call).await?;
    let Some(permit) = upload.decide(&upload.labels)?.permit(&upload.upload.location) else {
        return Err(upload.misplaced(&upload.labels).await);
    };
    let PinnedUpload { call, bucket, labels, upload, handle, .. } = upload;
    let conditions = Conditions::of_write(&call.parts.headers)?;
    let mut headers = forward::onward_headers(&call.parts);
    conditions.keep_known(&mut headers);
    strip_framing(&mut headers, call.identity.payload, document.len() as u64);
    // It was about the document, which has been verified.
    headers.remove("x-amz-trailer");
    let query = call.target.query.for_location(&[("uploadId", &upload.id)]);
    let home = gateway.home_country(bucket.home.as_ref());
    let upload_labels = upload_handle(&gateway, &call, &upload.id)?;
    let mut write = Write {
        gateway: gateway.clone(),
        call,
        bucket,
        handle,
        home,
        kind: IntentKind::CompleteUpload,
        action: Action::Store,
        origin: None,
        export: None,
        length: 0,
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
    let (bucket, key) = (write.call.bucket()?.clone(), write.call.key()?.clone());
    let request = forward::request(Method::POST, &bucket, Some(&key), &query, headers, Body::full(document))?;
    let response = match location.call(request).await {
        Ok(response) => response,
        Err(error @ LocationError::Lost { .. }) => return Err(error.into()),
        Err(error) => {
            gateway.catalogue.drop_intent(verdict.intent.id()).await?;
            return Err(error.into());
        }
    };
    let (parts, body) = response.into_parts();
    let document = body.collect_limited(MAX_DOCUMENT).await?;
    // It can fail after its 200 has been sent; then the document says so (S3 API reference).
    let result = match parts.status.is_success() {
        true => xml::parse_complete_result(&document)?,
        false => Outcome::Failed(ErrorDocument::default()),
    };
    let Outcome::Done(mut result) = result else {
        // An error after a 200 is a server's error too: it may have taken effect.
        if !parts.status.is_success() && !is_unclear(parts.status) {
            gateway.catalogue.drop_intent(verdict.intent.id()).await?;
        }
        return Ok(Response::from_parts(parts, Body::full(document)));
    };
    let head = forward::request(Method::HEAD, &bucket, Some(&key), "", HeaderMap::new(), Body::empty())?;
    let head = location.call(head).await.map_err(Failure::from)?;
    write.length = header_text(head.headers(), "content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    if result.etag.is_empty() {
        result.etag = header_text(head.headers(), "etag").unwrap_or_default();
    }
    // A part that was still being judged when this began has added its labels by now: its last bytes came after that.
    let mut verdict = verdict;
    labels::add_remembered(&gateway, upload_labels, &mut verdict.labels).await?;
    let version = versions::id_in(&parts.headers);
    let etag = Some(result.etag.clone()).filter(|etag| !etag.is_empty());
    let recorded = write.record(verdict, etag, version).await?;
    let mut parts = parts;
    versions::show_written(&gateway, &write.call, &recorded.placement, &mut parts.headers)?;
    parts.headers.remove(http::header::CONTENT_LENGTH);
    let url = format!("{}{}", gateway_url(&write.call), write.call.parts.uri.path());
    let document = xml::complete_result(&url, &bucket, &key, &result);
    Ok(answer_stored(Response::from_parts(parts, Body::full(document)), &recorded))
}

/// Where the client found the gateway, for the object's URL.
fn gateway_url(call: &Call) -> String {
    let host = call.parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(call.parts.uri.host()).unwrap_or_default();
    format!("{}://{host}", call.parts.uri.scheme_str().unwrap_or("http"))
}

/// AbortMultipartUpload.
pub async fn abort(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    pass_on(&gateway, &call).await
}

/// ListParts, with the names that the client knows.
pub async fn list_parts(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let response = pass_on(&gateway, &call).await?;
    if !response.status().is_success() {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let document = body.collect_limited(MAX_DOCUMENT).await?;
    let known = call.target.query.value("uploadId").unwrap_or_default();
    let owner = buckets::existing(&gateway, &call).await?.owner;
    let document = xml::rewrite_parts(&document, call.bucket()?, call.key()?, known, &owner)?;
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::full(document)))
}

/// Sends a request about an upload to its location.
async fn pass_on(gateway: &Gateway, call: &Call) -> Result<Response<Body>, Failure> {
    let token = call.target.query.value("uploadId").unwrap_or_default();
    let upload = gateway.tokens.open_upload(call.bucket()?, call.key()?, token)?;
    let query = call.target.query.for_location(&[("uploadId", &upload.id)]);
    let headers = forward::onward_headers(&call.parts);
    let method = call.parts.method.clone();
    let request =
        forward::request(method, call.bucket()?, Some(call.key()?), &query, headers, Body::empty())?;
    Ok(gateway.locations.housekeeping(&upload.location)?.call(request).await?)
}

/// One part's content.
struct Part {
    body: Body,
    length: u64,
    headers: HeaderMap,
    verdict: PayloadVerdict,
    payload: PayloadHash,
}

/// An upload under way, with the labels that it has gathered.
#[derive(Clone)]
struct PinnedUpload {
    gateway: Arc<Gateway>,
    call: Arc<Call>,
    bucket: Bucket,
    labels: Labels,
    upload: Upload,
    /// Of the object that the upload will become.
    handle: ObjectHandle,
}

impl PinnedUpload {
    async fn open(gateway: Arc<Gateway>, call: Call) -> Result<PinnedUpload, Failure> {
        let token = call.target.query.value("uploadId").unwrap_or_default();
        let upload = gateway.tokens.open_upload(call.bucket()?, call.key()?, token)?;
        let bucket = buckets::existing(&gateway, &call).await?;
        let handle = gateway.catalogue.object_handle(call.bucket()?.as_str(), call.key()?.as_str());
        let mut labels = Labels { coverage: Coverage::Complete, ..Labels::default() };
        let own = upload_handle(&gateway, &call, &upload.id)?;
        labels::add_remembered(&gateway, own, &mut labels).await?;
        Ok(PinnedUpload { gateway, call: Arc::new(call), bucket, labels, upload, handle })
    }

    fn decide(&self, labels: &Labels) -> Result<Arc<Decision>, Failure> {
        labels::decide(&self.gateway, &self.call, &self.bucket, labels, Action::Store)
    }

    /// Scans, judges and forwards one part.
    async fn store(self, part: Part) -> Result<Response<Body>, Failure> {
        let gateway = self.gateway.clone();
        let Part { body, length, mut headers, verdict, payload } = part;
        let Window { frames, rest, scanner } = read_window(&gateway, body).await?;
        verdict.settle_trailer(&mut headers);
        let permit = self.judge(scanner.findings_so_far()).await?;
        let location = gateway.locations.storing(&permit)?;
        let pinned = self.clone();
        let gate: Gate = Box::new(move |findings| {
            Box::pin(async move {
                pinned.judge(findings).await.map(drop).map_err(|failure| Box::new(failure) as BoxError)
            })
        });
        let mut held = HeldBody::new(frames, rest, scanner, length, gate);
        let own_error = held.error_slot();
        if length == 0 {
            held.open_now().await.map_err(body_failure)?;
        }
        let body = if length == 0 { Body::empty() } else { Body::new(held) };
        let call = &self.call;
        let query = call.target.query.for_location(&[("uploadId", &self.upload.id)]);
        let mut request =
            forward::request(Method::PUT, call.bucket()?, Some(call.key()?), &query, headers, body)?;
        request.extensions_mut().insert(payload);
        location.call(request).await.map_err(|error| {
            let own = own_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            own.map_or_else(|| error.into(), body_failure)
        })
    }

    /// May a part with these findings join the upload where it is pinned? What it adds is remembered first.
    async fn judge(&self, findings: Findings) -> Result<Permit, Failure> {
        let mut labels = self.labels.clone();
        findings.apply(&mut labels);
        let Some(permit) = self.decide(&labels)?.permit(&self.upload.location) else {
            return Err(self.misplaced(&labels).await);
        };
        remember(&self.gateway, &self.call, &self.upload.id, &labels).await?;
        Ok(permit)
    }

    /// The upload is pinned where its content may not rest. Remembered for the key, so that a new upload of it
    /// is pinned to the right place.
    async fn misplaced(&self, labels: &Labels) -> Failure {
        let gateway = &self.gateway;
        gateway.metrics.late_findings.inc();
        let until = super::record::now_ms() + 3_600_000;
        let found = Found { classes: labels.classes, subjects: labels.subjects };
        let remembered = gateway.catalogue.remember_verdict(self.handle, found, until).await;
        let decision = match (remembered, self.decide(labels)) {
            (Err(error), _) => return error.into(),
            (_, Err(failure)) => return failure,
            (Ok(()), Ok(decision)) => decision,
        };
        let home = gateway.home_country(self.bucket.home.as_ref());
        let message = match self.discard().await {
            Ok(()) => {
                "The parts of this upload hold data that may not rest in the location that it was begun in. It \
                 was aborted. Begin a new upload of the same key: it will go to a location that is allowed."
            }
            Err(failure) => {
                let cause = failure.cause.map(|cause| cause.to_string()).unwrap_or_default();
                tracing::warn!(location = %self.upload.location, cause, "a misplaced upload could not be aborted");
                "The parts of this upload hold data that may not rest in the location that it was begun in. Abort \
                 it and begin a new upload of the same key: it will go to a location that is allowed."
            }
        };
        if decision.allowed().is_empty() {
            return refuse(gateway, &self.call, labels, &decision, home).await;
        }
        let elsewhere = S3Error::new(Code::AccessDenied, message);
        refuse_place(gateway, &self.call, labels, &decision, &self.upload.location, home, elsewhere).await
    }

    /// Has the location throw the parts away: they may not rest there.
    async fn discard(&self) -> Result<(), Failure> {
        let (bucket, key) = (self.call.bucket()?, self.call.key()?);
        let query = format!("uploadId={}", encode(&self.upload.id));
        let request =
            forward::request(Method::DELETE, bucket, Some(key), &query, HeaderMap::new(), Body::empty())?;
        let response = self.gateway.locations.housekeeping(&self.upload.location)?.call(request).await?;
        match response.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            status => Err(Failure::internal(format!("the location answered {status} to an abort"))),
        }
    }
}

/// Keeps the labels of an upload until its Complete.
async fn remember(gateway: &Gateway, call: &Call, id: &str, labels: &Labels) -> Result<(), Failure> {
    let handle = upload_handle(gateway, call, id)?;
    let found = Found { classes: labels.classes, subjects: labels.subjects };
    let nothing = Found { classes: Default::default(), subjects: Default::default() };
    if found == gateway.catalogue.verdict(handle).await?.unwrap_or(nothing) {
        return Ok(());
    }
    let until = super::record::now_ms() + REMEMBERED_MS;
    Ok(gateway.catalogue.remember_verdict(handle, found, until).await?)
}

/// The handle under which an upload's labels are kept: no object has a key like it.
fn upload_handle(gateway: &Gateway, call: &Call, id: &str) -> Result<ObjectHandle, Failure> {
    let name = format!("{}\n{id}", call.bucket()?);
    Ok(gateway.catalogue.object_handle(&name, call.key()?.as_str()))
}
