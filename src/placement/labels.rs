//! Labels and decisions of a call: what the rooms `label` and `policy` are asked, and with which facts.

use std::sync::Arc;

use crate::catalogue::{Bucket, ObjectHandle, Placement, Verdict};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::geo::ClientPlace;
use crate::label::sources::Facts;
use crate::label::{Coverage, Evidence, Label, Labels, Source};
use crate::locations::PayloadHash;
use crate::names::{Country, CountrySet, ObjectKey};
use crate::policy::{Action, Copies, Decision, Question, ReaderEntity};
use crate::s3::error::{Code, S3Error};
use crate::s3::sigv4::PayloadMode;
use crate::s3::tagging::parse_tagging_header;

/// Those of an object that rests somewhere, without how they were found.
pub fn of(placement: &Placement) -> Labels {
    Labels {
        classes: placement.classes,
        subjects: placement.subjects,
        coverage: placement.coverage,
        evidence: Vec::new(),
    }
}

/// What tags, rules, the bucket and the client's place say of an object that is being written.
pub fn declared(gateway: &Gateway, call: &Call, bucket: &Bucket) -> Result<Labels, Failure> {
    declared_beside(gateway, call, bucket, CountrySet::EMPTY)
}

/// [`declared`] for a copy: its source says whom it is about before bucket and client are asked, as a tag would.
pub fn declared_of_copy(
    gateway: &Gateway,
    call: &Call,
    bucket: &Bucket,
    source: &Placement,
) -> Result<Labels, Failure> {
    declared_beside(gateway, call, bucket, source.subjects)
}

fn declared_beside(
    gateway: &Gateway,
    call: &Call,
    bucket: &Bucket,
    known: CountrySet,
) -> Result<Labels, Failure> {
    let unless_known = |default: Option<Country>| default.filter(|_| known.is_empty());
    let header = |name: &str| call.parts.headers.get(name).map(|value| value.to_str());
    let tags = match header("x-amz-tagging") {
        None => Vec::new(),
        Some(Ok(text)) => parse_tagging_header(text)?,
        Some(Err(_)) => {
            return Err(S3Error::new(Code::InvalidTag, "The x-amz-tagging header is not ASCII text.").into());
        }
    };
    let facts = Facts {
        bucket: call.bucket()?,
        bucket_subject: unless_known(bucket.subject),
        key: call.key()?,
        app: &call.app.id,
        content_type: header("content-type").and_then(Result::ok),
        tags: &tags,
        client_country: unless_known(country(call.client.place)),
    };
    Ok(gateway.labeller.declared(&facts)?)
}

/// What rules and the bucket say of a key that is only named, as one of DeleteObjects.
pub fn declared_of_key(
    gateway: &Gateway,
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
) -> Result<Labels, Failure> {
    let facts = Facts {
        bucket: call.bucket()?,
        bucket_subject: bucket.subject,
        key,
        app: &call.app.id,
        content_type: None,
        tags: &[],
        client_country: country(call.client.place),
    };
    Ok(gateway.labeller.declared(&facts)?)
}

/// What an earlier try of the same key turned out to hold.
pub async fn add_remembered(
    gateway: &Gateway,
    handle: ObjectHandle,
    labels: &mut Labels,
) -> Result<(), Failure> {
    if let Some(Verdict { classes, subjects }) = gateway.catalogue.verdict(handle).await? {
        let remembered = |label| Evidence {
            source: Source::Earlier,
            label,
            detail: "found in an earlier upload of the same object".to_owned(),
        };
        for class in classes.iter() {
            labels.add(remembered(Label::Class(class)));
        }
        for country in subjects.iter() {
            labels.add(remembered(Label::Subject(country)));
        }
    }
    Ok(())
}

/// Asks where an object with these labels may rest.
pub fn decide(
    gateway: &Gateway,
    call: &Call,
    bucket: &Bucket,
    labels: &Labels,
    action: Action,
) -> Result<Arc<Decision>, Failure> {
    decide_held(gateway, call, bucket, labels, action, CountrySet::EMPTY)
}

/// [`decide`] for bytes of which some countries hold a copy already.
pub fn decide_held(
    gateway: &Gateway,
    call: &Call,
    bucket: &Bucket,
    labels: &Labels,
    action: Action,
    held_in: CountrySet,
) -> Result<Arc<Decision>, Failure> {
    Ok(gateway.decide(&Question {
        action,
        classes: labels.classes,
        subjects: labels.subjects,
        scanned_completely: labels.coverage == Coverage::Complete,
        bucket: Some(call.bucket()?),
        home: bucket.home.as_ref(),
        origin: country(call.client.place),
        held_in,
        reader: None,
        reader_entity: ReaderEntity::Other,
        // This gateway keeps one copy of an object.
        copies: Copies::Complete,
    })?)
}

/// Asks whether the bytes of a placement may go to a reader.
pub fn decide_read(
    gateway: &Gateway,
    call: &Call,
    placement: &Placement,
    labels: &Labels,
    held_in: Country,
    reader: Option<Country>,
) -> Result<Arc<Decision>, Failure> {
    Ok(gateway.decide(&Question {
        action: Action::Read,
        classes: labels.classes,
        subjects: labels.subjects,
        scanned_completely: labels.coverage == Coverage::Complete,
        bucket: Some(call.bucket()?),
        home: Some(&placement.location),
        origin: country(call.client.place),
        held_in: [held_in].into_iter().collect(),
        reader,
        reader_entity: call.app.entity,
        copies: Copies::MayFollow,
    })?)
}

/// How a location may check the payload: by the hash that the client signed, where it signed one.
pub fn payload_hash(mode: &PayloadMode) -> PayloadHash {
    match mode {
        PayloadMode::Sha256(digest) => PayloadHash::Sha256(hex::encode(digest).into()),
        _ => PayloadHash::Unsigned,
    }
}

fn country(place: ClientPlace) -> Option<Country> {
    match place {
        ClientPlace::Country(country) => Some(country),
        ClientPlace::OnSite | ClientPlace::Unknown => None,
    }
}
