//! The way of an object's bytes into a location: scan, decide, place, forward, record.
//!
//! PutObject comes here with a client's body, a copy across locations with another location's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Response, header};

use super::choose::choose;
use super::conditions::Conditions;
use super::copy::Origin;
use super::held::{Gate, HeldBody};
use super::intents::LiveIntent;
use super::keylock::KeyGuard;
use super::record::{self, answer_stored, placement, refuse, refuse_place};
use super::settle::{self, is_unclear};
use super::window::{Window, read_window};
use super::{forward, header_text, labels, residue, versioning, versions};
use crate::body::{Body, BoxError};
use crate::catalogue::{
    Bucket, CatalogueError, Intent, IntentKind, ObjectHandle, Placement, Recorded, Verdict as Found,
    Versioning, WriteRecord,
};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Failure, body_failure};
use crate::label::Labels;
use crate::label::scanner::Findings;
use crate::locations::{LocationError, PayloadHash};
use crate::log::{EntryDraft, Event};
use crate::names::{Country, LocationId};
use crate::policy::{Action, Decision, Permit};
use crate::s3::error::{Code, S3Error};
use crate::s3::payload::Verdict as PayloadVerdict;

/// How long a write waits for a removal that is in its way, and how often it looks.
const REMOVAL_WAIT: Duration = Duration::from_secs(3);
const REMOVAL_POLL: Duration = Duration::from_millis(20);
/// How long findings steer a client's retry.
const VERDICT_LIFETIME_MS: u64 = 3_600_000;

/// What is to be stored, and how.
pub(super) struct Content {
    pub kind: IntentKind,
    pub action: Action,
    /// Verified by itself: an error before its end means that it must not become an object.
    pub body: Body,
    /// Bytes of `body`.
    pub length: u64,
    /// As the location gets them.
    pub headers: HeaderMap,
    /// What the body's own verification finds: a checksum behind a short body becomes a header.
    pub verdict: PayloadVerdict,
    pub payload: PayloadHash,
    pub conditions: Conditions,
    /// Where the bytes of a copy come from.
    pub origin: Option<Origin>,
}

/// The end of a store.
pub(super) enum Stored {
    /// The location has it, and so have catalogue and log.
    Recorded { response: Response<Body>, recorded: Box<Recorded> },
    /// The location's own refusal. Nothing was stored.
    Declined(Response<Body>),
}

impl Stored {
    /// What the app gets to see.
    pub fn into_response(self) -> Response<Body> {
        match self {
            Stored::Recorded { response, recorded } => answer_stored(response, &recorded),
            Stored::Declined(response) => response,
        }
    }
}

/// Stores `content` under the call's bucket and key.
pub(super) async fn store(
    gateway: &Arc<Gateway>,
    call: Arc<Call>,
    bucket: Bucket,
    mut labels: Labels,
    content: Content,
) -> Result<Stored, Failure> {
    let Content { kind, action, body, length, mut headers, verdict, payload, conditions, origin } = content;
    let handle = gateway.catalogue.object_handle(call.bucket()?.as_str(), call.key()?.as_str());
    let home = gateway.home_country(bucket.home.as_ref());
    let mut write = Write {
        gateway: gateway.clone(),
        call,
        bucket,
        handle,
        home,
        kind,
        action,
        origin,
        export: None,
        length,
    };

    // Label: the first window, and what the detectors find there.
    let Window { frames, rest, scanner } = read_window(gateway, body).await?;
    verdict.settle_trailer(&mut headers);
    scanner.findings_so_far().apply(&mut labels);

    // Decide, and place.
    let decision = write.decide(&labels)?;
    if decision.allowed().is_empty() {
        return Err(refuse(gateway, &write.call, &labels, &decision, home).await);
    }
    let permit = choose(gateway, &decision, &write.bucket)?;
    let location = gateway.locations.storing(&permit)?;
    conditions.keep_known(&mut headers);
    if conditions != Conditions::None {
        let previous = gateway.catalogue.find(handle).await?;
        conditions.check_held(gateway, &write.call, previous.as_ref()).await?;
        // Another location's ETag means nothing to this one, and what lies here unplaced is no object: there the check
        // under the lock decides alone.
        if previous.is_none_or(|previous| previous.location != location.facts.id) {
            headers.remove(header::IF_MATCH);
            headers.remove(header::IF_NONE_MATCH);
        }
    }

    if let Some(origin) = &write.origin {
        write.export = origin.export(gateway, &write.call, &permit).await?;
    }
    // The intent is durable before the first byte leaves.
    let intent = write.open_intent(&labels, &permit).await?;
    let intent_id = intent.id();

    // Forward. The last bytes leave when the whole content has been judged and the key is ours.
    let sealed = Arc::new(Mutex::new(None));
    let write = Arc::new(write);
    let gate = gate(write.clone(), Judgement { labels, permit, intent, conditions }, sealed.clone());
    let mut held = HeldBody::new(frames, rest, scanner, length, gate);
    let own_error = held.error_slot();
    let opened = if length == 0 { held.open_now().await } else { Ok(()) };
    let result = match opened {
        Ok(()) => {
            let body = if length == 0 { Body::empty() } else { Body::new(held) };
            let mut request = write.request(headers, body)?;
            request.extensions_mut().insert(payload);
            location.call(request).await
        }
        Err(error) => Err(LocationError::RequestBody(error)),
    };

    // Record, or settle that there is nothing to record.
    let response = match result {
        Ok(response) => response,
        // It may have arrived: the open intent is settled by asking the location.
        Err(error @ LocationError::Lost { .. }) => return Err(error.into()),
        Err(error) => {
            gateway.catalogue.drop_intent(intent_id).await?;
            let own = own_error.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(own.map_or_else(|| error.into(), body_failure));
        }
    };
    let verdict = sealed.lock().unwrap_or_else(PoisonError::into_inner).take();
    if !response.status().is_success() {
        match verdict {
            // The last bytes had left: it may have arrived, as above.
            Some(_) if is_unclear(response.status()) => {}
            Some(verdict) => gateway.catalogue.drop_intent(verdict.intent.id()).await?,
            None => gateway.catalogue.drop_intent(intent_id).await?,
        }
        return Ok(Stored::Declined(response));
    }
    let verdict =
        verdict.ok_or_else(|| Failure::internal("a location answered before it had the whole body"))?;
    let etag = header_text(response.headers(), "etag");
    let version = versions::id_in(response.headers());
    let recorded = write.record(verdict, etag, version).await?;
    let mut response = response;
    versions::show_written(gateway, &write.call, &recorded.placement, response.headers_mut())?;
    Ok(Stored::Recorded { response, recorded: Box::new(recorded) })
}

/// Opens an intent. While an older copy of the key is being removed from the very place, which takes a moment, it waits.
async fn open_when_clear(gateway: &Gateway, intent: Intent) -> Result<u64, Failure> {
    let deadline = tokio::time::Instant::now() + REMOVAL_WAIT;
    loop {
        match gateway.catalogue.open_intent(intent.clone()).await {
            Err(CatalogueError::RemovalUnderWay) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(REMOVAL_POLL).await;
            }
            opened => return Ok(opened?.id),
        }
    }
}

/// What every step of one write needs to know.
pub(super) struct Write {
    pub gateway: Arc<Gateway>,
    pub call: Arc<Call>,
    pub bucket: Bucket,
    pub handle: ObjectHandle,
    pub home: Country,
    pub kind: IntentKind,
    pub action: Action,
    pub origin: Option<Origin>,
    /// The id of the transfer, when a copy crosses a border.
    pub export: Option<[u8; 16]>,
    pub length: u64,
}

/// What was found before the last bytes were let go.
pub(super) struct Verdict {
    pub labels: Labels,
    pub permit: Permit,
    pub intent: LiveIntent,
    pub guard: KeyGuard,
}

/// What the gate starts from.
struct Judgement {
    labels: Labels,
    permit: Permit,
    intent: LiveIntent,
    conditions: Conditions,
}

/// The verdict over the whole content, as [`HeldBody`] asks for it.
fn gate(write: Arc<Write>, judgement: Judgement, sealed: Arc<Mutex<Option<Verdict>>>) -> Gate {
    Box::new(move |findings: Findings| {
        Box::pin(async move {
            let verdict = write.judge(judgement, findings).await.map_err(|f| Box::new(f) as BoxError)?;
            *sealed.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
            Ok(())
        })
    })
}

impl Write {
    pub(super) fn decide(&self, labels: &Labels) -> Result<Arc<Decision>, Failure> {
        let held_in = self.origin.as_ref().map(Origin::held_in).unwrap_or_default();
        labels::decide_held(&self.gateway, &self.call, &self.bucket, labels, self.action, held_in)
    }

    fn request(&self, headers: HeaderMap, body: Body) -> Result<http::Request<Body>, Failure> {
        // A copy's query and body are not the client's own.
        let query = match self.kind {
            IntentKind::Put => self.call.target.query.for_location(&[]),
            _ => String::new(),
        };
        Ok(forward::request(Method::PUT, self.call.bucket()?, Some(self.call.key()?), &query, headers, body)?)
    }

    async fn judge(&self, judgement: Judgement, findings: Findings) -> Result<Verdict, Failure> {
        let Judgement { mut labels, mut permit, mut intent, conditions } = judgement;
        let before = (labels.classes, labels.subjects);
        findings.apply(&mut labels);
        if (labels.classes, labels.subjects) != before {
            let decision = self.decide(&labels)?;
            let Some(still) = decision.permit(&permit.location().id) else {
                return Err(self.late_finding(&labels, &decision, &permit.location().id).await);
            };
            permit = still;
            // A crash from here on must find the labels of the whole content.
            let wider = self.open_intent(&labels, &permit).await?;
            self.gateway.catalogue.drop_intent(intent.id()).await?;
            intent = wider;
        }
        let guard = self.gateway.key_locks.lock(self.handle).await;
        let existing = match conditions {
            Conditions::None => None,
            _ => self.gateway.catalogue.find(self.handle).await?,
        };
        if let Err(failure) = conditions.check_held(&self.gateway, &self.call, existing.as_ref()).await {
            self.gateway.catalogue.drop_intent(intent.id()).await?;
            return Err(failure);
        }
        Ok(Verdict { labels, permit, intent, guard })
    }

    /// What was found late does not fit the location that was chosen early: nothing is stored, and the client's
    /// own retry of the same key will go where it may.
    async fn late_finding(&self, labels: &Labels, decision: &Decision, chosen: &LocationId) -> Failure {
        let gateway = &self.gateway;
        gateway.metrics.late_findings.inc();
        let until = record::now_ms() + VERDICT_LIFETIME_MS;
        let found = Found { classes: labels.classes, subjects: labels.subjects };
        if let Err(error) = gateway.catalogue.remember_verdict(self.handle, found, until).await {
            return error.into();
        }
        if decision.allowed().is_empty() {
            return refuse(gateway, &self.call, labels, decision, self.home).await;
        }
        let again = S3Error::new(
            Code::SlowDown,
            "The content turned out to hold data that may not rest in the location that was chosen from its \
             beginning. Nothing was stored. Send the request again: it will go to a location that is allowed.",
        );
        refuse_place(gateway, &self.call, labels, decision, chosen, self.home, again).await
    }

    pub(super) async fn open_intent(&self, labels: &Labels, permit: &Permit) -> Result<LiveIntent, Failure> {
        let intent = Intent {
            id: 0,
            handle: self.handle,
            bucket: self.call.bucket()?.to_string(),
            key: self.call.key()?.as_str().to_owned(),
            kind: self.kind,
            placement: placement(labels, permit, self.length),
            draft: self.draft(labels, permit),
            begun_at: record::now_ms(),
        };
        let _opening = self.gateway.live_intents.opening(self.handle);
        let id = open_when_clear(&self.gateway, intent).await?;
        Ok(self.gateway.live_intents.begin(id))
    }

    fn draft(&self, labels: &Labels, permit: &Permit) -> EntryDraft {
        let facts = permit.location();
        let permitted = record::permitted(permit);
        let mut draft = record::draft(&self.call, Event::Write, facts.country, labels, permitted);
        draft.from.extend(self.origin.iter().map(|origin| record::place(&origin.facts)));
        draft.to.push(record::place(facts));
        draft.transfer = self.export;
        draft
    }

    /// One transaction: placement, log entry, residue of what was displaced. The displaced copy is removed
    /// before the answer goes out, if its location is quick.
    pub(super) async fn record(
        &self,
        verdict: Verdict,
        etag: Option<String>,
        version: Option<String>,
    ) -> Result<Recorded, Failure> {
        let location = &verdict.permit.location().id;
        let version = match version {
            // Of a bucket that never kept versions there is none, whatever the answer says; unless somebody else had the
            // location keep them, or they are being switched on meanwhile.
            Some(_)
                if self.bucket.versioning == Versioning::Never
                    && !versioning::is_kept_at(&self.gateway, location, self.call.bucket()?).await =>
            {
                None
            }
            version => version,
        };
        let (etag, version) = match etag {
            Some(etag) if version.is_some() || !self.bucket.versioning.keeps() => (etag, version),
            // The key's lock is held: what is there now is what was just written.
            _ => self.ask(&verdict.permit).await?,
        };
        let mut draft = self.draft(&verdict.labels, &verdict.permit);
        draft.sealed.etag = Some(etag.clone());
        draft.sealed.version = version.clone();
        let row = Placement { etag, version, ..placement(&verdict.labels, &verdict.permit, self.length) };
        let write = WriteRecord {
            intent: verdict.intent.id(),
            handle: self.handle,
            bucket: self.call.bucket()?.to_string(),
            key: self.call.key()?.as_str().to_owned(),
            placement: row,
            draft,
        };
        let recorded = self.gateway.catalogue.record_write(write).await?;
        let (bucket, key) = (self.call.bucket()?, self.call.key()?);
        let kept = Some(&recorded.placement.location);
        settle::give_up_others(&self.gateway, self.handle, bucket, key, kept).await?;
        self.gateway.count_stored(&verdict.permit.location().id);
        drop(verdict.guard);
        if let Some(residue) = recorded.displaced.clone() {
            residue::remove_promptly(&self.gateway, residue).await;
        }
        Ok(recorded)
    }

    /// ETag and version of a location that did not say both with its answer. Without them nobody could tell these bytes
    /// from others.
    async fn ask(&self, permit: &Permit) -> Result<(String, Option<String>), Failure> {
        let location = &permit.location().id;
        let held = settle::held(&self.gateway, location, self.call.bucket()?, self.call.key()?, "").await?;
        let held = held.ok_or_else(|| Failure::internal("a location does not hold what it said it took"))?;
        Ok((held.etag, held.version))
    }
}
