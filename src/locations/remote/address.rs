//! Names on the way to a location: its endpoint, physical bucket names and paths.
//!
//! The path of a request is decoded once and encoded strictly, so that the location reads exactly the key that was
//! decided upon, whatever its own idea of `+` or an unencoded `!` is. The query keeps its bytes.

use http::header::{HOST, HeaderName, HeaderValue, LOCATION};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri};

use crate::config::{AddressingStyle, RemoteS3};
use crate::names::BucketName;
use crate::s3::operation::{Plus, percent_decode};
use crate::s3::sigv4::{is_signing_parameter, strict_path};

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");

/// Where a remote location listens, and what it calls a bucket.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    style: AddressingStyle,
    template: Template,
}

/// Why an endpoint cannot be used. Found at start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("endpoint `{0}` is not `https://host[:port]` or `http://host[:port]`")]
    Url(String),
    #[error("bucket template `{0}` must hold `{{bucket}}` once, or two buckets would share one")]
    Placeholder(String),
    #[error("bucket template `{0}` does not make a bucket name: 3 to 63 of a-z, 0-9, `.` and `-`")]
    BucketName(String),
    #[error("endpoint `{0}` is an IP address: virtual-host style needs a domain name")]
    VirtualHostOnAddress(String),
}

/// Why a request cannot be addressed. The text names no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("the path does not start with a bucket name")]
    Bucket,
    #[error(
        "the physical bucket name would not be valid at the location (3 to 63 characters): shorten the bucket's name or the location's template"
    )]
    PhysicalBucket,
    #[error("x-amz-copy-source does not start with a bucket name")]
    CopySource,
    #[error("the request target is too long")]
    TooLong,
}

/// Both names of the bucket that a request speaks of; `None` when it speaks of none.
pub(super) type BucketNames = Option<(BucketName, BucketName)>;

impl Endpoint {
    pub(super) fn parse(config: &RemoteS3) -> Result<Self, EndpointError> {
        let refuse = || EndpointError::Url(config.endpoint.clone());
        let uri: Uri = config.endpoint.parse().map_err(|_| refuse())?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS).ok_or_else(refuse)?;
        let authority = parts.authority.filter(|a| !a.as_str().contains('@')).ok_or_else(refuse)?;
        if authority.host().is_empty() || parts.path_and_query.is_some_and(|path| path != "/") {
            return Err(refuse());
        }
        let default_port = if scheme == Scheme::HTTP { 80 } else { 443 };
        let authority: Authority = match authority.port_u16() {
            // `Host` is signed: it must be what the server sees, and clients leave the default port out.
            Some(port) if port == default_port => authority.host().parse().map_err(|_| refuse())?,
            _ => authority,
        };
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        if config.style == AddressingStyle::VirtualHost && bare.parse::<std::net::IpAddr>().is_ok() {
            return Err(EndpointError::VirtualHostOnAddress(config.endpoint.clone()));
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| refuse())?;
        let template = Template::parse(&config.bucket)?;
        Ok(Endpoint { scheme, authority, host, style: config.style, template })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Turns a path-style request in logical names into one for this endpoint.
    pub(super) fn address(&self, parts: &mut Parts) -> Result<BucketNames, AddressError> {
        let path = parts.uri.path();
        let (bucket, key) = split_path(path);
        let names = match bucket {
            "" if key.is_none() => None,
            text => {
                let logical: BucketName = text.parse().map_err(|_| AddressError::Bucket)?;
                let physical = self.template.physical(&logical).ok_or(AddressError::PhysicalBucket)?;
                Some((logical, physical))
            }
        };

        let mut target = String::with_capacity(path.len() + 32);
        let (authority, host) = match (&names, self.style) {
            (Some((_, physical)), AddressingStyle::VirtualHost) => {
                let host = format!("{physical}.{}", self.authority);
                let value = HeaderValue::from_str(&host).map_err(|_| AddressError::PhysicalBucket)?;
                (host.parse().map_err(|_| AddressError::PhysicalBucket)?, value)
            }
            (Some((_, physical)), AddressingStyle::Path) => {
                target.push('/');
                target.push_str(physical.as_str());
                (self.authority.clone(), self.host.clone())
            }
            (None, _) => (self.authority.clone(), self.host.clone()),
        };
        if let Some(key) = key {
            // Percent-encoded, and so ASCII.
            target.push_str(&String::from_utf8_lossy(&strict_path(format!("/{key}").as_bytes())));
        }
        if target.is_empty() {
            target.push('/');
        }
        if let Some(query) = parts.uri.query() {
            push_query(&mut target, query);
        }

        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(authority);
        uri.path_and_query =
            Some(PathAndQuery::from_maybe_shared(target.into_bytes()).map_err(|_| AddressError::TooLong)?);
        parts.uri = Uri::from_parts(uri).map_err(|_| AddressError::TooLong)?;
        parts.headers.insert(HOST, host);
        self.map_copy_source(&mut parts.headers)?;
        Ok(names)
    }

    /// Maps the bucket of `x-amz-copy-source` (`bucket/key`, with or without a leading `/`, perhaps with `%2F`).
    fn map_copy_source(&self, headers: &mut HeaderMap) -> Result<(), AddressError> {
        let mut values = headers.get_all(COPY_SOURCE).iter();
        let Some(value) = values.next() else { return Ok(()) };
        if values.next().is_some() {
            return Err(AddressError::CopySource);
        }
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| AddressError::CopySource)?;
        let lead = slash_length(text);
        let (slash, rest) = text.split_at_checked(lead).ok_or(AddressError::CopySource)?;
        let end = (0..rest.len())
            .find(|at| rest.get(*at..).is_some_and(|tail| slash_length(tail) > 0))
            .ok_or(AddressError::CopySource)?;
        let (bucket, key) = rest.split_at_checked(end).ok_or(AddressError::CopySource)?;
        let logical: BucketName = bucket.parse().map_err(|_| AddressError::CopySource)?;
        let physical = self.template.physical(&logical).ok_or(AddressError::PhysicalBucket)?;
        let mapped = HeaderValue::from_bytes(format!("{slash}{physical}{key}").as_bytes())
            .map_err(|_| AddressError::CopySource)?;
        headers.insert(COPY_SOURCE, mapped);
        Ok(())
    }
}

/// Puts the logical name back into a `Location: /bucket` header. Names inside XML documents stay physical.
pub(super) fn restore_location(headers: &mut HeaderMap, names: &BucketNames) {
    let Some((logical, physical)) = names.as_ref().filter(|(logical, physical)| logical != physical) else {
        return;
    };
    let restored = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix('/')?.strip_prefix(physical.as_str()))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .and_then(|rest| HeaderValue::from_str(&format!("/{logical}{rest}")).ok());
    if let Some(value) = restored {
        headers.insert(LOCATION, value);
    }
}

/// The pattern that makes a physical bucket name out of a logical one.
#[derive(Debug, Clone)]
struct Template {
    before: String,
    after: String,
}

impl Template {
    const PLACEHOLDER: &str = "{bucket}";

    fn parse(text: &str) -> Result<Self, EndpointError> {
        let (before, after) =
            text.split_once(Self::PLACEHOLDER).ok_or_else(|| EndpointError::Placeholder(text.to_owned()))?;
        if after.contains(Self::PLACEHOLDER) {
            return Err(EndpointError::Placeholder(text.to_owned()));
        }
        let template = Template { before: before.to_owned(), after: after.to_owned() };
        // The shortest bucket name shows whether the rest can be part of one.
        let shortest = "aaa".parse().ok().and_then(|bucket| template.physical(&bucket));
        shortest.map(|_| template).ok_or_else(|| EndpointError::BucketName(text.to_owned()))
    }

    fn physical(&self, logical: &BucketName) -> Option<BucketName> {
        if self.before.is_empty() && self.after.is_empty() {
            return Some(logical.clone());
        }
        format!("{}{logical}{}", self.before, self.after).parse().ok()
    }
}

/// `/bucket/key` to `bucket` and `Some(key)`; `/` to an empty bucket and no key.
fn split_path(path: &str) -> (&str, Option<&str>) {
    let path = path.strip_prefix('/').unwrap_or(path);
    match path.split_once('/') {
        Some((bucket, key)) => (bucket, Some(key)),
        None => (path, None),
    }
}

/// The length of a slash, plain or encoded, at the start of the text; 0 when there is none.
fn slash_length(text: &str) -> usize {
    match text.as_bytes() {
        [b'/', ..] => 1,
        [b'%', b'2', b'F' | b'f', ..] => 3,
        _ => 0,
    }
}

/// Appends a query byte for byte, but for the client's own presigned credentials: a location refuses two sets.
fn push_query(target: &mut String, query: &str) {
    let mut joint = '?';
    for pair in query.split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if !is_presigned_credential(name) {
            target.push(joint);
            target.push_str(pair);
            joint = '&';
        }
    }
}

/// Whether a parameter of this raw name signs; a name that cannot be decoded is no such name.
fn is_presigned_credential(name: &str) -> bool {
    percent_decode(name, Plus::Space).is_ok_and(|name| is_signing_parameter(&name))
}

#[cfg(test)]
mod tests;
