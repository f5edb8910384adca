//! Reading what a request claims: the `Authorization` header, or the query of a presigned URL.
//!
//! Nothing here is believed yet; the signature over it is checked in [`super::Verifier::verify`].

use std::borrow::Cow;

use http::HeaderMap;
use http::request::Parts;

use super::canonical::{decode_parameter, parameters};
use super::time::{Moment, unix_seconds};
use super::{Flaw, Scheme, SigError, VerifyContext, single};

/// Longest life of a presigned URL, in seconds (7 days).
const MAX_EXPIRES: i64 = 604_800;

/// The parts of a signature, wherever they stood.
pub(super) struct Claim<'a> {
    pub(super) scheme: Scheme,
    pub(super) credential: Cow<'a, str>,
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    /// `X-Amz-Content-Sha256` of a presigned URL.
    pub(super) payload_parameter: Option<Cow<'a, str>>,
    /// `X-Amz-Security-Token` of the query.
    token_parameter: Option<Cow<'a, str>>,
    date_parameter: Option<Cow<'a, str>>,
    /// Seconds; of presigned URLs only.
    expires: i64,
}

impl<'a> Claim<'a> {
    pub(super) fn of(parts: &'a Parts) -> Result<Claim<'a>, SigError> {
        let query = QueryAuth::read(parts.uri.query().unwrap_or(""))?;
        match (single(&parts.headers, "authorization")?, query.mechanism()) {
            (Some(_), Some(_)) => Err(SigError::TwoMechanisms),
            (None, None) => Err(SigError::Anonymous),
            (None, Some(Mechanism::SigV2)) => Err(SigError::SigV2),
            (Some(header), None) => Claim::from_header(header, query.token),
            (None, Some(Mechanism::SigV4)) => query.into_claim(),
        }
    }

    /// The session token, in a header or in the query. A header that came this far is a signed one, and the query is
    /// signed as a whole.
    pub(super) fn token<'b>(&'b self, headers: &'b HeaderMap) -> Result<Option<&'b [u8]>, SigError> {
        if headers.contains_key(EXPRESS_TOKEN) {
            return Err(SigError::SessionToken);
        }
        let query = self.token_parameter.as_deref().map(str::as_bytes);
        match (query, single(headers, "x-amz-security-token")?) {
            (Some(_), Some(_)) => Err(SigError::SessionToken),
            (query, header) => Ok(query.or(header)),
        }
    }

    fn from_header(value: &'a [u8], token: Option<Cow<'a, str>>) -> Result<Claim<'a>, SigError> {
        let malformed = |flaw| SigError::Malformed { scheme: Scheme::Header, flaw };
        let value = std::str::from_utf8(value).map_err(|_| malformed(Flaw::Syntax))?;
        let (algorithm, rest) = value.split_once(' ').unwrap_or((value, ""));
        check_algorithm(algorithm)?;

        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for component in rest.split(',') {
            let (name, value) = component.trim().split_once('=').ok_or(malformed(Flaw::Syntax))?;
            let (name, slot) = match name {
                "Credential" => ("Credential", &mut credential),
                "SignedHeaders" => ("SignedHeaders", &mut signed_headers),
                "Signature" => ("Signature", &mut signature),
                _ => return Err(malformed(Flaw::Syntax)),
            };
            if slot.replace(Cow::Borrowed(value)).is_some() {
                return Err(malformed(Flaw::Repeated(name)));
            }
        }
        Ok(Claim {
            scheme: Scheme::Header,
            credential: credential.ok_or(malformed(Flaw::Missing("Credential")))?,
            signed_headers: signed_headers.ok_or(malformed(Flaw::Missing("SignedHeaders")))?,
            signature: signature.ok_or(malformed(Flaw::Missing("Signature")))?,
            payload_parameter: None,
            token_parameter: token,
            date_parameter: None,
            expires: 0,
        })
    }

    /// When the client says that it signed.
    pub(super) fn moment(&self, headers: &HeaderMap) -> Result<Moment, SigError> {
        if self.scheme == Scheme::Presigned {
            let date = self.date_parameter.as_deref().unwrap_or_default();
            return Moment::parse_basic(date.as_bytes())
                .ok_or(SigError::Malformed { scheme: Scheme::Presigned, flaw: Flaw::Date });
        }
        let moment = match (single(headers, "x-amz-date")?, single(headers, "date")?) {
            (Some(date), _) => Moment::parse_basic(date),
            (None, Some(date)) => Moment::parse_date_header(date),
            (None, None) => return Err(SigError::MissingDate),
        };
        moment.ok_or(SigError::BadDate)
    }

    /// Whether that was recent enough, or is still within the life of a presigned URL.
    pub(super) fn check_freshness(
        &self,
        moment: &Moment,
        context: &VerifyContext<'_>,
    ) -> Result<(), SigError> {
        let now = unix_seconds(context.now);
        let skew = i64::try_from(context.skew.as_secs()).unwrap_or(i64::MAX);
        let age = now.saturating_sub(moment.unix);
        match self.scheme {
            Scheme::Header if age.saturating_abs() > skew => Err(SigError::TooSkewed),
            Scheme::Presigned if age < skew.saturating_neg() => Err(SigError::NotYetValid),
            Scheme::Presigned if age > self.expires => Err(SigError::Expired),
            _ => Ok(()),
        }
    }
}

/// The token of a session with a directory bucket, of which there are none here.
const EXPRESS_TOKEN: &str = "x-amz-s3session-token";

pub(super) fn check_algorithm(algorithm: &str) -> Result<(), SigError> {
    match algorithm {
        "AWS4-HMAC-SHA256" => Ok(()),
        "AWS4-ECDSA-P256-SHA256" => Err(SigError::SigV4a),
        "AWS" => Err(SigError::SigV2),
        _ => Err(SigError::UnknownMechanism),
    }
}

#[derive(Clone, Copy)]
enum Mechanism {
    SigV2,
    SigV4,
}

/// The query parameters that carry a signature.
#[derive(Default)]
struct QueryAuth<'a> {
    algorithm: Option<Cow<'a, str>>,
    credential: Option<Cow<'a, str>>,
    date: Option<Cow<'a, str>>,
    expires: Option<Cow<'a, str>>,
    signed_headers: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
    payload: Option<Cow<'a, str>>,
    token: Option<Cow<'a, str>>,
    sigv2: bool,
}

impl<'a> QueryAuth<'a> {
    fn read(query: &'a str) -> Result<QueryAuth<'a>, SigError> {
        let mut auth = QueryAuth::default();
        for (raw_name, raw_value) in parameters(query) {
            let decoded = decode_parameter(raw_name);
            let (name, slot) = match &*decoded {
                b"X-Amz-Algorithm" => ("X-Amz-Algorithm", &mut auth.algorithm),
                b"X-Amz-Credential" => ("X-Amz-Credential", &mut auth.credential),
                b"X-Amz-Date" => ("X-Amz-Date", &mut auth.date),
                b"X-Amz-Expires" => ("X-Amz-Expires", &mut auth.expires),
                b"X-Amz-SignedHeaders" => ("X-Amz-SignedHeaders", &mut auth.signed_headers),
                b"X-Amz-Signature" => ("X-Amz-Signature", &mut auth.signature),
                b"X-Amz-Content-Sha256" => ("X-Amz-Content-Sha256", &mut auth.payload),
                b"X-Amz-Security-Token" => ("X-Amz-Security-Token", &mut auth.token),
                b"X-Amz-S3session-Token" => return Err(SigError::SessionToken),
                b"AWSAccessKeyId" => {
                    auth.sigv2 = true;
                    continue;
                }
                _ => continue,
            };
            let malformed = |flaw| SigError::Malformed { scheme: Scheme::Presigned, flaw };
            let value = match decode_parameter(raw_value) {
                Cow::Borrowed(_) => Cow::Borrowed(raw_value),
                Cow::Owned(bytes) => {
                    Cow::Owned(String::from_utf8(bytes).map_err(|_| malformed(Flaw::Syntax))?)
                }
            };
            if slot.replace(value).is_some() {
                return Err(malformed(Flaw::Repeated(name)));
            }
        }
        Ok(auth)
    }

    fn mechanism(&self) -> Option<Mechanism> {
        if self.algorithm.is_some() || self.credential.is_some() || self.signature.is_some() {
            Some(Mechanism::SigV4)
        } else {
            self.sigv2.then_some(Mechanism::SigV2)
        }
    }

    fn into_claim(self) -> Result<Claim<'a>, SigError> {
        let malformed = |flaw| SigError::Malformed { scheme: Scheme::Presigned, flaw };
        let need = |part: Option<Cow<'a, str>>, name| part.ok_or(malformed(Flaw::Missing(name)));
        check_algorithm(&need(self.algorithm, "X-Amz-Algorithm")?)?;
        let expires = need(self.expires, "X-Amz-Expires")?;
        let digits = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
        let expires = expires
            .parse::<i64>()
            .ok()
            .filter(|seconds| digits && (1..=MAX_EXPIRES).contains(seconds))
            .ok_or(malformed(Flaw::Expires))?;
        Ok(Claim {
            scheme: Scheme::Presigned,
            credential: need(self.credential, "X-Amz-Credential")?,
            signed_headers: need(self.signed_headers, "X-Amz-SignedHeaders")?,
            signature: need(self.signature, "X-Amz-Signature")?,
            payload_parameter: self.payload,
            token_parameter: self.token,
            date_parameter: Some(need(self.date, "X-Amz-Date")?),
            expires,
        })
    }
}

/// `access key id/date/region/s3/aws4_request`, as slices of that text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credential<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    /// `date/region/s3/aws4_request`
    pub(super) scope: &'a str,
    /// `access key id/date/region`: what a signing key belongs to.
    pub(super) key_name: &'a str,
}

impl<'a> Credential<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Credential<'a>, Flaw> {
        // From the right: some stores hand out access key ids with a slash.
        let mut parts = text.rsplitn(5, '/');
        let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or(Flaw::Credential);
        let (terminator, service, region, date, access_key_id) =
            (next()?, next()?, next()?, next()?, next()?);
        if terminator != "aws4_request" {
            return Err(Flaw::Terminator);
        }
        if service != "s3" {
            return Err(Flaw::Service);
        }
        let key_end = access_key_id.len() + date.len() + region.len() + 2;
        Ok(Credential {
            access_key_id,
            date,
            region,
            scope: text.get(access_key_id.len() + 1..).ok_or(Flaw::Credential)?,
            key_name: text.get(..key_end).ok_or(Flaw::Credential)?,
        })
    }
}

/// The list of signed headers: lower-case, sorted, without repeats, and with `host` in it.
#[derive(Debug)]
pub(super) struct SignedHeaders<'a> {
    text: &'a str,
    names: Vec<&'a str>,
}

impl<'a> SignedHeaders<'a> {
    pub(super) fn parse(text: &'a str) -> Result<SignedHeaders<'a>, Flaw> {
        let token = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && byte != b':';
        let names: Vec<&str> = text.split(';').collect();
        if names.iter().any(|name| name.is_empty() || !name.bytes().all(token)) {
            return Err(Flaw::SignedHeaders);
        }
        if !names.is_sorted_by(|a, b| a < b) {
            return Err(Flaw::SignedHeadersOrder);
        }
        let list = SignedHeaders { text, names };
        if list.contains("host") { Ok(list) } else { Err(Flaw::HostNotSigned) }
    }

    pub(super) fn as_str(&self) -> &'a str {
        self.text
    }

    pub(super) fn names(&self) -> &[&'a str] {
        &self.names
    }

    fn contains(&self, name: &str) -> bool {
        self.names.binary_search(&name).is_ok()
    }

    /// Refuses a request with an `x-amz-*` header that the signature does not cover.
    /// `x-amz-content-sha256` is the last line of the canonical request, so it is covered anyhow.
    pub(super) fn cover(&self, headers: &HeaderMap) -> Result<(), SigError> {
        let unsigned = headers.keys().map(http::HeaderName::as_str).find(|name| {
            name.starts_with("x-amz-") && *name != "x-amz-content-sha256" && !self.contains(name)
        });
        match unsigned {
            None => Ok(()),
            // Names of metadata are the app's own words: they stay out of messages.
            Some(name) if name.starts_with("x-amz-meta-") => {
                Err(SigError::UnsignedHeader("x-amz-meta-*".to_owned()))
            }
            Some(name) => Err(SigError::UnsignedHeader(name.to_owned())),
        }
    }
}
