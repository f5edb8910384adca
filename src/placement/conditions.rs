//! Conditional writes, checked against the placement: the catalogue is what says whether an object exists.

use http::{HeaderMap, header};

use super::{settle, versions};
use crate::catalogue::Placement;
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::s3::error::{Code, S3Error};

/// `If-Match` and `If-None-Match` of a write (S3 user guide, "Conditional writes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditions {
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: *`
    Present,
    /// `If-Match: <etag>`, without quotes.
    Matches(String),
    /// `If-None-Match: <etag>`, without quotes.
    Differs(String),
}

impl Conditions {
    pub fn of_write(headers: &HeaderMap) -> Result<Conditions, S3Error> {
        let one = |name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().and_then(|value: &http::HeaderValue| value.to_str().ok());
            (value, values.next().is_some())
        };
        let invalid = |message: &'static str| Err(S3Error::new(Code::InvalidArgument, message));
        match (one(header::IF_NONE_MATCH), one(header::IF_MATCH)) {
            ((_, true), _) | (_, (_, true)) => invalid("A condition may be stated once."),
            ((None, _), (None, _)) => Ok(Conditions::None),
            ((Some("*"), _), (None, _)) => Ok(Conditions::Absent),
            ((Some(etag), _), (None, _)) => Ok(Conditions::Differs(plain(etag).to_owned())),
            ((None, _), (Some("*"), _)) => Ok(Conditions::Present),
            ((None, _), (Some(etag), _)) => Ok(Conditions::Matches(plain(etag).to_owned())),
            ((Some(_), _), (Some(_), _)) => invalid("If-Match and If-None-Match exclude each other."),
        }
    }

    /// [`Conditions::check`], asking the location where the catalogue cannot know: an object that a lifecycle took is none.
    pub async fn check_held(
        &self,
        gateway: &Gateway,
        call: &Call,
        existing: Option<&Placement>,
    ) -> Result<(), Failure> {
        let Err(failure) = self.check(existing) else { return Ok(()) };
        let Some(existing) = existing.filter(|_| *self == Conditions::Absent) else { return Err(failure) };
        let only = versions::only(existing);
        match settle::held(gateway, &existing.location, call.bucket()?, call.key()?, &only).await {
            Ok(None) => Ok(()),
            // Also when it does not answer: the catalogue says that there is an object.
            _ => Err(failure),
        }
    }

    fn check(&self, existing: Option<&Placement>) -> Result<(), Failure> {
        let failed = |condition: &'static str| {
            let message = "At least one of the pre-conditions you specified did not hold.";
            Err(S3Error::new(Code::PreconditionFailed, message).detail("Condition", condition).into())
        };
        match (self, existing) {
            (Conditions::Absent, Some(_)) => failed("If-None-Match"),
            (Conditions::Present | Conditions::Matches(_), None) => {
                Err(Failure::client(Code::NoSuchKey, "The specified key does not exist."))
            }
            (Conditions::Matches(etag), Some(existing)) if !same_etag(etag, &existing.etag) => {
                failed("If-Match")
            }
            (Conditions::Differs(etag), Some(existing)) if same_etag(etag, &existing.etag) => {
                failed("If-None-Match")
            }
            _ => Ok(()),
        }
    }

    /// Takes from the headers for a location what S3 does not define for a write (S3 API reference, PutObject): some
    /// locations know it and some refuse it, and [`Conditions::check`] under the key's lock is the same for all.
    pub fn keep_known(&self, headers: &mut HeaderMap) {
        if matches!(self, Conditions::Present | Conditions::Differs(_)) {
            headers.remove(header::IF_MATCH);
            headers.remove(header::IF_NONE_MATCH);
        }
    }
}

/// Whether two ETags name the same bytes. Locations differ in how they write one: with and without quotes, as a weak
/// one behind a proxy that compresses, otherwise in a header than in a document.
pub fn same_etag(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

fn plain(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_the_same_however_it_is_written() {
        for other in ["\"e\"", "e", "W/\"e\"", " \"e\" "] {
            assert!(same_etag("\"e\"", other), "{other}");
        }
        assert!(!same_etag("\"e\"", "\"f\""));
        assert!(!same_etag("\"e\"", "\"e-2\""));
    }

    #[test]
    fn a_condition_that_not_every_location_knows_is_for_the_gateway_alone_to_check() {
        let cases = [
            ("if-none-match", "*", Conditions::Absent, 1),
            ("if-none-match", "\"e\"", Conditions::Differs("e".to_owned()), 0),
            ("if-match", "*", Conditions::Present, 0),
            ("if-match", "\"e\"", Conditions::Matches("e".to_owned()), 1),
        ];
        for (name, value, meaning, kept) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let conditions = Conditions::of_write(&headers).unwrap();
            assert_eq!(conditions, meaning, "{name}: {value}");
            conditions.keep_known(&mut headers);
            assert_eq!(headers.len(), kept, "{name}: {value}");
        }
    }
}
