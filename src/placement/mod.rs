//! Placement: the verbs of S3, each on its way from labels to a recorded answer.

pub mod amend;
pub mod buckets;
mod choose;
mod conditions;
mod copied_tags;
pub mod copy;
pub mod delete;
mod forward;
pub mod get;
mod held;
pub mod intents;
pub mod keylock;
mod labels;
pub mod list;
pub mod list_versions;
mod markers;
pub mod multipart;
pub mod post;
mod presence;
pub mod put;
mod record;
pub mod residue;
pub mod settings;
pub mod settle;
mod settle_versions;
mod store;
#[cfg(test)]
mod tests;
pub mod unset;
mod vanished;
pub mod versioning;
mod versions;
mod window;

use bytes::Bytes;
use http::HeaderMap;

use crate::body::Body;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::s3::checksum::Subject;
use crate::s3::payload::VerifiedBody;
use crate::s3::xml::response as xml_response;

/// Reads the verified XML document of a call.
async fn read_document(call: &Call, body: Body, limit: usize, subject: Subject) -> Result<Bytes, Failure> {
    let mut verified = VerifiedBody::new(body, &call.parts.headers, &call.identity, subject, limit as u64)?;
    verified.settle_empty().await?;
    Ok(Body::new(verified).collect_limited(limit).await?)
}

/// A header as text, where it is text.
fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
