//! Names the operation, the bucket and the key, from a verified request; and refuses what could be read in two ways, or
//! would have a location do what no policy has seen.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, header};

use super::Gateway;
use super::call::{Named, Verified};
use super::failure::Failure;
use super::stage::Stage;
use super::trace::OperationName;
use crate::body::Body;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::{self, Operation, ParsedQuery};
use crate::s3::sigv4::Scheme;

pub struct NameOperation {
    gateway: Arc<Gateway>,
}

impl NameOperation {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        NameOperation { gateway }
    }
}

impl Stage<Verified<Request<Body>>> for NameOperation {
    type Out = Named;

    async fn pass(&self, request: Verified<Request<Body>>) -> Result<Named, Failure> {
        let Verified { identity, inner } = request;
        let (parts, body) = inner.into_parts();
        let target = operation::parse(&parts.method, &parts.uri, &parts.headers, &self.gateway.hosts)?;
        // A policy signs an upload to a bucket, and nothing else.
        if identity.scheme == Scheme::Form && target.operation != Operation::PostObject {
            return Err(Failure::client(Code::MethodNotAllowed, "A form can only be posted to a bucket."));
        }
        refuse_repeated(&parts.headers)?;
        refuse_lookalikes(&parts.headers)?;
        refuse_past_policies(&parts.headers, &target.query)?;
        if let Some(name) = parts.extensions.get::<OperationName>() {
            name.set(target.operation.name());
        }
        Ok(Named { identity, target, parts, body })
    }
}

/// A header that comes twice could be read as its first value here and as its last one at a location. User metadata
/// decides nothing, and S3 joins it; lists of attributes may come in pieces.
fn refuse_repeated(headers: &HeaderMap) -> Result<(), S3Error> {
    let matters = |name: &HeaderName| {
        let amz = name.as_str().starts_with("x-amz-")
            && !name.as_str().starts_with("x-amz-meta-")
            && !name.as_str().ends_with("object-attributes");
        amz || *name == header::CONTENT_TYPE
    };
    match headers.keys().find(|name| matters(name) && headers.get_all(*name).iter().nth(1).is_some()) {
        None => Ok(()),
        Some(_) => {
            Err(S3Error::new(Code::InvalidArgument, "A header that may come once was sent more than once."))
        }
    }
}

/// Some servers, Ceph's among them, read `-` and `_` in names of headers alike. What would be a header of S3 or the
/// message's framing to them, and nothing to us, is refused; other names with `_` do not travel. In the names of metadata
/// `_` is the app's own.
fn refuse_lookalikes(headers: &HeaderMap) -> Result<(), S3Error> {
    let is_lookalike = |name: &HeaderName| {
        let name = name.as_str();
        if !name.contains('_') || name.starts_with("x-amz-meta-") {
            return false;
        }
        let dashed = name.replace('_', "-");
        dashed.starts_with("x-amz-") || matches!(&*dashed, "content-length" | "transfer-encoding")
    };
    match headers.keys().any(is_lookalike) {
        false => Ok(()),
        true => Err(S3Error::new(
            Code::InvalidArgument,
            "A header's name has `_` where a header of S3 or of HTTP has `-`; some servers take it for that header.",
        )),
    }
}

/// Canned lists (S3 user guide, "Access control list overview") that give nobody anything that the owner of the location does
/// not have, for the location's buckets and what is in them are the same owner's.
const HARMLESS: [&str; 3] = ["private", "bucket-owner-read", "bucket-owner-full-control"];
/// The others.
const CANNED: [&str; 5] =
    ["public-read", "public-read-write", "authenticated-read", "aws-exec-read", "log-delivery-write"];

/// A grant at a location would hand out the object past the rules about readers. Presigned URLs can carry one in the query; a
/// bucket's object lock there would be passed over, for the gateway makes the bucket in words of its own.
fn refuse_past_policies(headers: &HeaderMap, query: &ParsedQuery) -> Result<(), S3Error> {
    let is = |name: &str, start: &str| {
        name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    let in_headers = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?")));
    let mut grants = false;
    for (name, value) in in_headers.chain(query.iter()) {
        let gives_more = is(name, "x-amz-acl") && !HARMLESS.contains(&value);
        if gives_more && !CANNED.contains(&value) {
            return Err(S3Error::new(Code::InvalidArgument, "x-amz-acl does not name a canned list."));
        }
        grants |= gives_more || is(name, "x-amz-grant-");
    }
    if grants {
        let message = "Grants to others (x-amz-acl, x-amz-grant-*) are not implemented by this gateway: who may read is \
                       for its apps and policies to say.";
        return Err(S3Error::new(Code::NotImplemented, message));
    }
    let locks = |name: &str, value: &str| {
        is(name, "x-amz-bucket-object-lock-enabled") && !value.eq_ignore_ascii_case("false")
    };
    if query.iter().any(|(name, value)| locks(name, value)) {
        let message = "x-amz-bucket-object-lock-enabled must be a signed header, not a query parameter.";
        return Err(S3Error::new(Code::NotImplemented, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn refused(headers: &HeaderMap, query: &str) -> Option<Code> {
        let query = ParsedQuery::parse(query).unwrap();
        let checked = refuse_repeated(headers).and_then(|()| refuse_past_policies(headers, &query));
        checked.err().map(|error| error.code)
    }

    #[test]
    fn what_decides_may_come_once() {
        for name in ["x-amz-tagging", "x-amz-copy-source", "x-amz-copy-source-range", "content-type"] {
            assert_eq!(refused(&headers(&[(name, "a")]), ""), None);
            assert_eq!(
                refused(&headers(&[(name, "a"), (name, "b")]), ""),
                Some(Code::InvalidArgument),
                "{name}"
            );
        }
        for name in ["x-amz-meta-a", "x-amz-object-attributes", "accept"] {
            assert_eq!(refused(&headers(&[(name, "a"), (name, "b")]), ""), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_one_of_s3_with_other_dashes_is_refused() {
        let refused = |name: &'static str| refuse_lookalikes(&headers(&[(name, "a")])).is_err();
        for name in ["x_amz_copy_source", "x-amz-copy_source", "x-amz_meta-a", "content_length"] {
            assert!(refused(name), "{name}");
        }
        for name in ["x-amz-meta-my_key", "x-amz-copy-source", "my_own"] {
            assert!(!refused(name), "{name}");
        }
    }

    #[test]
    fn nothing_is_granted_at_a_location() {
        let refusals = [("x-amz-acl", "public-read"), ("x-amz-grant-read", "id=1")];
        for (name, value) in refusals {
            assert_eq!(refused(&headers(&[(name, value)]), ""), Some(Code::NotImplemented), "{name}");
            let query = format!("X-Amz-{}={value}", &name["x-amz-".len()..]);
            assert_eq!(refused(&HeaderMap::new(), &query), Some(Code::NotImplemented), "{query}");
        }
        let lock = ("x-amz-bucket-object-lock-enabled", "true");
        assert_eq!(refused(&headers(&[lock]), ""), None);
        let in_query = "X-Amz-Bucket-Object-Lock-Enabled=true";
        assert_eq!(refused(&HeaderMap::new(), in_query), Some(Code::NotImplemented));
        for value in HARMLESS {
            assert_eq!(refused(&headers(&[("x-amz-acl", value)]), ""), None);
        }
        assert_eq!(refused(&headers(&[("x-amz-acl", "public-ready")]), ""), Some(Code::InvalidArgument));
        assert_eq!(refused(&headers(&[("x-amz-acl", "")]), ""), Some(Code::InvalidArgument));
    }
}
