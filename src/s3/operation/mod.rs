//! From a request's head to a named operation on a named bucket and key.
//!
//! Fails closed: a sub-resource that the table does not know, or two that do not belong together, are
//! refused, because a location could understand them otherwise than the gateway did. `x-id` is a hint of SDKs and decides
//! nothing. Not for authorisation, and not for the meaning of the other parameters.

mod path;
mod query;
mod table;

use http::{HeaderMap, Method, Uri, header};

pub use crate::config::AddressingStyle;
pub use path::{CopySource, Plus, encode, encode_path, path_style_names, path_style_uri, percent_decode};
pub use query::ParsedQuery;
pub use table::{Access, Handling, Operation, Scope, render_markdown_table};

use crate::names::{BucketName, ObjectKey};
use crate::s3::error::{Code, S3Error};
use table::{Decider, Verb};

/// What a request asks for. Its operation is one that the gateway implements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub operation: Operation,
    /// `None` only for operations on the service.
    pub bucket: Option<BucketName>,
    /// `Some` exactly for operations on objects.
    pub key: Option<ObjectKey>,
    pub query: ParsedQuery,
    pub style: AddressingStyle,
}

/// The domains below which the first part of a host is a bucket name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VirtualHosts {
    /// Lower case, without a final dot, longest first.
    domains: Vec<String>,
}

impl VirtualHosts {
    pub fn new<S: AsRef<str>>(domains: impl IntoIterator<Item = S>) -> Self {
        let mut domains: Vec<String> = domains
            .into_iter()
            .map(|domain| domain.as_ref().trim_matches('.').to_ascii_lowercase())
            .filter(|domain| !domain.is_empty())
            .collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        VirtualHosts { domains }
    }

    /// The bucket that a `Host` names; `None` means path style. A configured domain itself is path style
    /// even when it lies below another one.
    pub fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let host = without_port(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        for domain in &self.domains {
            let Some(split) = host.len().checked_sub(domain.len()) else { continue };
            let (Some(front), Some(back)) = (host.get(..split), host.get(split..)) else { continue };
            if back.eq_ignore_ascii_case(domain) {
                if front.is_empty() {
                    return None;
                }
                if let Some(bucket) = front.strip_suffix('.') {
                    return Some(bucket);
                }
            }
        }
        None
    }
}

/// Why a request names no operation of this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    #[error("the request URI has a broken percent-escape, or is not UTF-8 once decoded")]
    InvalidUri,
    #[error("the Host header is missing, repeated, not text, or differs from the URI's authority")]
    Host,
    #[error(
        "the bucket name is not valid: 3 to 63 of a-z, 0-9, `.` and `-`, first and last a letter or digit"
    )]
    BucketName,
    #[error("the object key is longer than 1024 bytes of UTF-8")]
    KeyTooLong,
    #[error("the relative elements (`..`) of the object key lead out of its bucket")]
    KeyLeadsOut,
    #[error("a query parameter that S3 defines appears twice")]
    DuplicateParameter,
    #[error("the query parameters and headers do not name one operation")]
    Ambiguous,
    #[error("this method is not allowed on this resource")]
    Method,
    #[error("{} is not implemented by this gateway; docs/operations.md says why", .0.name())]
    NotImplemented(Operation),
    #[error("the query has a sub-resource that this gateway does not know")]
    UnknownSubresource,
    #[error("appending to an object (x-amz-write-offset-bytes) is not implemented by this gateway")]
    Append,
    #[error(
        "x-amz-copy-source*, x-amz-rename-source*, x-amz-tagging* and x-amz-write-offset-bytes must be signed headers, not query parameters"
    )]
    HeaderInQuery,
    #[error("x-amz-copy-source must be `bucket/key` or `bucket/key?versionId=id`, percent-encoded")]
    CopySource,
}

impl From<OpError> for S3Error {
    fn from(error: OpError) -> Self {
        let code = match error {
            OpError::InvalidUri | OpError::KeyLeadsOut => Code::InvalidURI,
            OpError::Host => Code::InvalidRequest,
            OpError::BucketName => Code::InvalidBucketName,
            OpError::KeyTooLong => Code::KeyTooLongError,
            OpError::DuplicateParameter
            | OpError::Ambiguous
            | OpError::HeaderInQuery
            | OpError::CopySource => Code::InvalidArgument,
            OpError::Method => Code::MethodNotAllowed,
            OpError::NotImplemented(_) | OpError::UnknownSubresource | OpError::Append => {
                Code::NotImplemented
            }
        };
        S3Error::new(code, error.to_string())
    }
}

/// Names what a request asks for.
pub fn parse(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    hosts: &VirtualHosts,
) -> Result<Target, OpError> {
    let (style, bucket, key) = resource(uri, headers, hosts)?;
    let query = ParsedQuery::parse(uri.query().unwrap_or_default())?;
    let scope = match (&bucket, &key) {
        (None, _) => Scope::Service,
        (Some(_), None) => Scope::Bucket,
        (Some(_), Some(_)) => Scope::Object,
    };
    let operation = operation(method, scope, &query, headers)?;
    Ok(Target { operation, bucket, key, query, style })
}

/// The bucket that a request names, whatever it asks of it.
pub fn bucket(uri: &Uri, headers: &HeaderMap, hosts: &VirtualHosts) -> Result<Option<BucketName>, OpError> {
    resource(uri, headers, hosts).map(|(_, bucket, _)| bucket)
}

type Resource = (AddressingStyle, Option<BucketName>, Option<ObjectKey>);

fn resource(uri: &Uri, headers: &HeaderMap, hosts: &VirtualHosts) -> Result<Resource, OpError> {
    let path = uri.path();
    let after_slash = path.strip_prefix('/').ok_or(OpError::InvalidUri)?;
    let host = host(uri, headers)?;
    match host.and_then(|host| hosts.bucket(host)) {
        Some(bucket) => {
            let bucket: BucketName = bucket.to_ascii_lowercase().parse().map_err(|_| OpError::BucketName)?;
            let key = path::object_key(&percent_decode(after_slash, Plus::Itself)?)?;
            Ok((AddressingStyle::VirtualHost, Some(bucket), key))
        }
        None => {
            let (bucket, key) = path_style_names(path)?;
            Ok((AddressingStyle::Path, bucket, key))
        }
    }
}

/// The operation of a request; one that is not implemented is an error that names it.
fn operation(
    method: &Method,
    scope: Scope,
    query: &ParsedQuery,
    headers: &HeaderMap,
) -> Result<Operation, OpError> {
    let verb = Verb::of(method).ok_or(OpError::Method)?;
    let rows = || {
        Operation::ALL.iter().copied().filter(move |operation| {
            let row = operation.row();
            row.verb == verb && row.scope == scope
        })
    };
    let decides = |name: &str| {
        rows().any(|row| row.row().deciders.iter().any(|decider| decider.query_key() == Some(name)))
    };
    let mut present = 0;
    let mut unknown = false;
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in query.iter() {
        if never_in_query(name) {
            return Err(OpError::HeaderInQuery);
        }
        let deciding = decides(name);
        if deciding {
            present += 1;
        } else if !is_parameter(name) {
            // A location may take a bare `?name`, or any name of a write, for a sub-resource. A read with
            // `name=value` stays a read of this very object.
            unknown |= value.is_empty() || !matches!(verb, Verb::Get | Verb::Head);
            continue;
        }
        if seen.contains(&name) {
            return Err(OpError::DuplicateParameter);
        }
        seen.push(name);
    }
    present += DECIDING_HEADERS
        .iter()
        .filter(|name| headers.contains_key(**name))
        .filter(|name| rows().any(|row| row.row().deciders.contains(&Decider::Header(name))))
        .count();
    if unknown {
        return Err(refusal_of_unknown(scope, query));
    }
    let satisfied = |decider: &Decider| match decider {
        Decider::Query(key) => query.contains(key),
        Decider::Value(key, value) => query.value(key) == Some(value),
        Decider::Header(name) => headers.contains_key(*name),
    };
    let found = rows().find(|operation| {
        let deciders = operation.row().deciders;
        deciders.len() == present && deciders.iter().all(satisfied)
    });
    match found {
        Some(Operation::PutObject) if headers.contains_key("x-amz-write-offset-bytes") => {
            Err(OpError::Append)
        }
        Some(operation) if operation.kind() == Handling::NotImplemented => {
            Err(OpError::NotImplemented(operation))
        }
        Some(operation) => Ok(operation),
        None if present > 0 => Err(OpError::Ambiguous),
        None => Err(OpError::Method),
    }
}

/// The headers of the table's deciders.
const DECIDING_HEADERS: [&str; 1] = ["x-amz-copy-source"];

/// A sub-resource that exists with another method is the method's fault.
fn refusal_of_unknown(scope: Scope, query: &ParsedQuery) -> OpError {
    let elsewhere = |name: &str| {
        Operation::ALL.iter().map(|operation| operation.row()).any(|row| {
            row.scope == scope && row.deciders.iter().any(|decider| decider.query_key() == Some(name))
        })
    };
    let known = query.iter().any(|(name, _)| !is_parameter(name) && elsewhere(name));
    if known { OpError::Method } else { OpError::UnknownSubresource }
}

/// Parameters that qualify an operation and never decide which one it is. Names that begin with `x-` are
/// signing parameters, hints (`x-id`), headers that SDKs move into presigned URLs, or the client's own marks.
fn is_parameter(name: &str) -> bool {
    const PARAMETERS: [&str; 18] = [
        "bucket-region",
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "marker",
        "max-buckets",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "partNumber",
        "prefix",
        "start-after",
        "upload-id-marker",
        "version-id-marker",
        "versionId",
    ];
    PARAMETERS.contains(&name)
        || name.starts_with("response-")
        || name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
}

/// Headers that change what a write is. A location may honour them in the query of a presigned URL too, where
/// the gateway would have passed over them.
fn never_in_query(name: &str) -> bool {
    const HEADERS: [&str; 4] =
        ["x-amz-copy-source", "x-amz-rename-source", "x-amz-tagging", "x-amz-write-offset-bytes"];
    HEADERS
        .iter()
        .any(|header| name.get(..header.len()).is_some_and(|start| start.eq_ignore_ascii_case(header)))
}

/// The one host of a request (RFC 9112 section 3.2, RFC 9113 section 8.3.1); `None` when it names none.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, OpError> {
    let mut values = headers.get_all(header::HOST).iter();
    let header = values.next().map(|value| value.to_str().map_err(|_| OpError::Host)).transpose()?;
    if values.next().is_some() {
        return Err(OpError::Host);
    }
    match (uri.authority(), header) {
        (Some(authority), Some(header)) if !authority.as_str().eq_ignore_ascii_case(header) => {
            Err(OpError::Host)
        }
        (Some(authority), _) => Ok(Some(authority.as_str())),
        (None, header) => Ok(header),
    }
}

/// Strips `:port`; leaves IPv6 literals whole.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests;
