//! What goes into the catalogue and the log, and what the client is told of it.

use http::{HeaderValue, Response};

use super::labels;
use crate::body::Body;
use crate::catalogue::{ObjectId, Placement, Recorded};
pub use crate::clock::now_ms;
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::gateway::metrics::RuleLabels;
use crate::label::Labels;
use crate::locations::LocationFacts;
use crate::log::{DecisionFacts, EntryDraft, Event, Place, SealedFacts};
use crate::names::{Country, LocationId};
use crate::policy::{Decision, MechanismUse, Permit, Refusal, Rule};
use crate::s3::error::{Code, S3Error};

/// A location as log entries show it.
pub fn place(facts: &LocationFacts) -> Place {
    Place { location: facts.id.to_string(), country: facts.country, region: facts.region.clone() }
}

/// A permit as log entries show it: what decided about this place.
pub fn permitted(permit: &Permit) -> DecisionFacts {
    DecisionFacts {
        effect: "allow".to_owned(),
        rules: rule_ids(permit),
        obligations: obligations(permit),
        mechanisms: permit.mechanisms().iter().map(mechanism).collect(),
        policy: permit.decision().policy().0.to_string(),
    }
}

/// A decision over all places, or over a reader, as log entries show it.
pub fn decided(decision: &Decision, effect: &str) -> DecisionFacts {
    DecisionFacts {
        effect: effect.to_owned(),
        rules: ids(decision.rules().iter()),
        obligations: decision.obligations().iter().map(|obligation| obligation.0.to_string()).collect(),
        mechanisms: decision.mechanisms().iter().map(mechanism).collect(),
        policy: decision.policy().0.to_string(),
    }
}

/// What allowed this place, then what ruled out the others.
fn rule_ids(permit: &Permit) -> Vec<String> {
    let mut rules = ids(permit.rules());
    for rule in ids(permit.decision().rules().iter()) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

fn ids<'a>(rules: impl Iterator<Item = &'a std::sync::Arc<Rule>>) -> Vec<String> {
    rules.map(|rule| rule.id.to_string()).collect()
}

fn obligations(permit: &Permit) -> Vec<String> {
    permit.obligations().iter().map(|obligation| obligation.0.to_string()).collect()
}

fn mechanism(used: &MechanismUse) -> String {
    match &used.reference {
        Some(reference) => format!("{} {reference}", used.kind),
        None => used.kind.to_string(),
    }
}

/// The row that a write by this permit will get; ETag and version come with the location's answer.
pub fn placement(labels: &Labels, permit: &Permit, size: u64) -> Placement {
    Placement {
        object: ObjectId::random(),
        location: permit.location().id.clone(),
        classes: labels.classes,
        subjects: labels.subjects,
        coverage: labels.coverage,
        evidence: labels.evidence.clone(),
        etag: String::new(),
        version: None,
        order: 0,
        size,
        policy: permit.decision().policy().0.to_string(),
        rules: rule_ids(permit),
        obligations: obligations(permit),
        placed_at: now_ms(),
    }
}

/// An entry of this call; names go into the sealed part.
pub fn draft(
    call: &Call,
    event: Event,
    jurisdiction: Country,
    labels: &Labels,
    decision: DecisionFacts,
) -> EntryDraft {
    EntryDraft {
        event,
        jurisdiction,
        object: None,
        classes: labels.classes,
        subjects: labels.subjects,
        decision,
        from: Vec::new(),
        to: Vec::new(),
        transfer: None,
        request: call.request.as_str().to_owned(),
        sealed: SealedFacts {
            bucket: call.target.bucket.as_ref().map(ToString::to_string),
            key: call.target.key.as_ref().map(|key| key.as_str().to_owned()),
            version: None,
            etag: None,
            principal: Some(call.app.id.to_string()),
            address: Some(call.client.address.to_string()),
            ..SealedFacts::default()
        },
    }
}

/// Logs a refusal and makes the answer that names rule, citation and remedy.
pub async fn refuse(
    gateway: &Gateway,
    call: &Call,
    labels: &Labels,
    decision: &Decision,
    home: Country,
) -> Failure {
    let Some(refusal) = decision.refusal() else {
        return Failure::internal("a decision that allows was to be refused");
    };
    match log_refusal(gateway, call, labels, decision, &refusal, home).await {
        Ok(()) => refusal_failure(&refusal, S3Error::new(Code::AccessDenied, refusal.message.clone())),
        Err(failure) => failure,
    }
}

/// Logs that `location` may not hold what another location may, and makes `answer` the answer.
pub async fn refuse_place(
    gateway: &Gateway,
    call: &Call,
    labels: &Labels,
    decision: &Decision,
    location: &LocationId,
    home: Country,
    answer: S3Error,
) -> Failure {
    let Some(refusal) = decision.refusal_at(location) else {
        return Failure::internal("a location that is allowed was to be refused");
    };
    match log_refusal(gateway, call, labels, decision, &refusal, home).await {
        Ok(()) => refusal_failure(&refusal, answer),
        Err(failure) => failure,
    }
}

async fn log_refusal(
    gateway: &Gateway,
    call: &Call,
    labels: &Labels,
    decision: &Decision,
    refusal: &Refusal,
    home: Country,
) -> Result<(), Failure> {
    // The record of a refusal stays with the people whom the data is about, if we have a place there.
    let jurisdiction =
        labels.subjects.iter().find(|country| gateway.locations.is_in(*country)).unwrap_or(home);
    gateway.require_log()?;
    let draft = draft(call, Event::Refuse, jurisdiction, labels, decided(decision, "deny"));
    gateway.catalogue.record_event(draft).await?;
    let rule = refusal.rule.id.to_string();
    gateway.metrics.refusals.get_or_create(&RuleLabels { rule }).inc();
    Ok(())
}

fn refusal_failure(refusal: &Refusal, mut error: S3Error) -> Failure {
    if let Ok(rule) = HeaderValue::from_str(&refusal.rule.id) {
        error = error.header(http::HeaderName::from_static("x-domicile-rule"), rule);
    }
    Failure { error: Box::new(error), blame: Blame::Policy, cause: None }
}

/// The location's answer to a write, with what was recorded of it. A 2xx to a write is made here only, so
/// none can be sent that the catalogue and the log do not hold.
pub fn answer_stored(mut response: Response<Body>, recorded: &Recorded) -> Response<Body> {
    let headers = response.headers_mut();
    let placement = &recorded.placement;
    set(headers, "x-domicile-location", placement.location.as_str());
    let labels = labels::of(placement);
    set(headers, "x-domicile-labels", &labels.to_string());
    set(headers, "x-domicile-receipt", &recorded.receipt.to_string());
    response
}

/// Sets a header whose value is our own text.
pub fn set(headers: &mut http::HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
