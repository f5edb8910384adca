//! What a client asks a list for: the parameters of ListObjects and ListObjectsV2.

use std::borrow::Cow;

use super::{ListError, MAX_KEYS};
use crate::s3::operation::{ParsedQuery, encode_path};
use crate::s3::token::TokenError;

/// Which of the two operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListVersion {
    V1,
    V2,
}

/// How names are written in the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Plain,
    /// `encoding-type=url`: percent-encoded, so that XML can carry every character.
    Url,
}

impl Encoding {
    /// An object name, a part of one or a delimiter, as a list writes it.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Encoding::Plain => Cow::Borrowed(text),
            Encoding::Url => Cow::Owned(encode_path(text)),
        }
    }
}

/// Whether entries have an `Owner`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerField {
    Omit,
    Fetch,
}

/// A list request.
#[derive(Clone, PartialEq, Eq)]
pub struct ListRequest {
    pub version: ListVersion,
    pub prefix: String,
    /// Never empty.
    pub delimiter: Option<String>,
    /// `0..=MAX_KEYS`
    pub max_keys: usize,
    /// Only what comes after this is listed: opened from the token, or the client's `marker` or `start-after`.
    pub after: Option<String>,
    pub encoding: Encoding,
    pub owner: OwnerField,
    /// `marker` (v1) or `start-after` (v2) as sent, for the answer.
    pub marker: Option<String>,
    /// `continuation-token` as sent, for the answer.
    pub continuation_token: Option<String>,
}

impl ListRequest {
    /// Reads the parameters. `open` turns a continuation token of the list with that prefix and delimiter into the
    /// position that it stands for; see [`crate::s3::token::Tokens::open_continuation`].
    pub fn parse(
        version: ListVersion,
        query: &ParsedQuery,
        open: impl FnOnce(&str, Option<&str>, &str) -> Result<String, TokenError>,
    ) -> Result<Self, ListError> {
        let given = |name: &str| query.value(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let prefix = given("prefix").unwrap_or_default();
        let delimiter = given("delimiter");
        let (marker, continuation_token) = match version {
            ListVersion::V1 => (given("marker"), None),
            ListVersion::V2 => (given("start-after"), query.value("continuation-token")),
        };
        let after = match continuation_token {
            // No list has got that far: it is from the beginning, or from `start-after`.
            None | Some("") => marker.clone(),
            Some(token) => Some(open(&prefix, delimiter.as_deref(), token)?),
        };
        Ok(ListRequest {
            version,
            max_keys: max_keys(query)?,
            encoding: encoding(query)?,
            owner: owner(version, query)?,
            continuation_token: continuation_token.map(str::to_owned),
            prefix,
            delimiter,
            after,
            marker,
        })
    }

    /// Asks whether there is any visible key that starts with `prefix`: the page has one entry, or none.
    pub fn probe(prefix: &str) -> Self {
        ListRequest {
            version: ListVersion::V2,
            prefix: prefix.to_owned(),
            delimiter: None,
            max_keys: 1,
            after: None,
            encoding: Encoding::Plain,
            owner: OwnerField::Omit,
            marker: None,
            continuation_token: None,
        }
    }
}

/// The `max-keys` parameter; above S3's own limit it means the limit.
fn max_keys(query: &ParsedQuery) -> Result<usize, ListError> {
    match query.value("max-keys") {
        None | Some("") => Ok(MAX_KEYS),
        Some(text) => {
            let number = text.parse::<i32>().ok().and_then(|number| usize::try_from(number).ok());
            number.map(|number| number.min(MAX_KEYS)).ok_or(ListError::MaxKeys)
        }
    }
}

fn encoding(query: &ParsedQuery) -> Result<Encoding, ListError> {
    match query.value("encoding-type") {
        None | Some("") => Ok(Encoding::Plain),
        Some("url") => Ok(Encoding::Url),
        Some(_) => Err(ListError::EncodingType),
    }
}

fn owner(version: ListVersion, query: &ParsedQuery) -> Result<OwnerField, ListError> {
    match (version, query.value("fetch-owner")) {
        // The first version always has it.
        (ListVersion::V1, _) | (ListVersion::V2, Some("true")) => Ok(OwnerField::Fetch),
        (ListVersion::V2, None | Some("" | "false")) => Ok(OwnerField::Omit),
        (ListVersion::V2, Some(_)) => Err(ListError::FetchOwner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(version: ListVersion, query: &str) -> Result<ListRequest, ListError> {
        ListRequest::parse(version, &ParsedQuery::parse(query).unwrap(), |prefix, delimiter, token| {
            match token {
                "good" => Ok(format!("{prefix}|{}", delimiter.unwrap_or("none"))),
                _ => Err(TokenError::Continuation),
            }
        })
    }

    #[test]
    fn defaults_are_those_of_s3() {
        let request = parse(ListVersion::V2, "list-type=2&delimiter=&prefix=&max-keys=").ok().unwrap();
        assert_eq!(request.max_keys, 1000);
        assert_eq!((request.prefix.as_str(), request.delimiter), ("", None));
        assert_eq!(request.owner, OwnerField::Omit);
        assert!(parse(ListVersion::V1, "").ok().unwrap().owner == OwnerField::Fetch);
    }

    #[test]
    fn a_token_comes_before_start_after_and_is_bound_to_its_list() {
        let request = parse(ListVersion::V2, "continuation-token=good&start-after=z&prefix=p&delimiter=%2F")
            .ok()
            .unwrap();
        assert_eq!(request.after.as_deref(), Some("p|/"));
        assert_eq!(request.marker.as_deref(), Some("z"));
        let empty = parse(ListVersion::V2, "continuation-token=&start-after=z").ok().unwrap();
        assert_eq!((empty.after.as_deref(), empty.continuation_token.as_deref()), (Some("z"), Some("")));
        let forged = parse(ListVersion::V2, "continuation-token=x");
        assert_eq!(forged.err(), Some(ListError::Token(TokenError::Continuation)));
    }

    #[test]
    fn the_first_version_has_markers_and_no_tokens() {
        let request =
            parse(ListVersion::V1, "marker=a%2Bb&continuation-token=bad&start-after=z").ok().unwrap();
        assert_eq!(request.after.as_deref(), Some("a+b"));
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        for (query, error) in [
            ("max-keys=-1", ListError::MaxKeys),
            ("max-keys=ten", ListError::MaxKeys),
            ("max-keys=2147483648", ListError::MaxKeys),
            ("encoding-type=base64", ListError::EncodingType),
            ("fetch-owner=maybe", ListError::FetchOwner),
        ] {
            assert_eq!(parse(ListVersion::V2, query).err(), Some(error), "{query}");
        }
        assert_eq!(parse(ListVersion::V2, "max-keys=5000").ok().unwrap().max_keys, 1000);
        assert_eq!(parse(ListVersion::V2, "max-keys=0").ok().unwrap().max_keys, 0);
    }
}
