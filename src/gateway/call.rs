//! What the stages hand on: each type says what has been proved about the request it holds.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;

use super::apps::AppGrant;
use super::server::Peer;
use super::trace::RequestId;
use crate::body::Body;
use crate::geo::ClientPlace;
use crate::names::{BucketName, ObjectKey};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::Target;
use crate::s3::sigv4::Identity;

/// Something whose signature was checked. Made by the authenticating stage alone.
pub struct Verified<T> {
    pub(super) identity: Identity,
    pub(super) inner: T,
}

/// A verified request whose operation, bucket and key are known.
pub struct Named {
    pub(super) identity: Identity,
    pub(super) target: Target,
    pub(super) parts: Parts,
    pub(super) body: Body,
}

/// The head of a verified, named request that its app may make. Made by the authorising stage alone; the body
/// travels beside it.
pub struct Call {
    pub identity: Identity,
    pub app: Arc<AppGrant>,
    pub client: Client,
    pub request: RequestId,
    pub target: Target,
    pub parts: Parts,
    pub(super) _authorised: Authorised,
}

/// Only the authorising stage can make one.
pub(super) struct Authorised;

/// Where the request came from.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    pub address: IpAddr,
    pub place: ClientPlace,
}

impl Call {
    /// The bucket that the operation names.
    pub fn bucket(&self) -> Result<&BucketName, S3Error> {
        self.target
            .bucket
            .as_ref()
            .ok_or_else(|| S3Error::new(Code::InvalidBucketName, "The request names no bucket."))
    }

    /// The key that the operation names.
    pub fn key(&self) -> Result<&ObjectKey, S3Error> {
        self.target
            .key
            .as_ref()
            .ok_or_else(|| S3Error::new(Code::InvalidURI, "The request names no object key."))
    }
}

/// The peer's address, however the request came in.
pub(super) fn peer_address(parts: &Parts) -> IpAddr {
    parts.extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip())
}
