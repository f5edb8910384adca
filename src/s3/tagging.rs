//! The `x-amz-tagging` header: tags of an object as a URL query.
//!
//! It is read strictly. A header that two readers could understand in two ways could be labelled here as
//! one thing and stored as another.

use super::error::{Code, S3Error};
use super::operation::{Plus, percent_decode};

/// Most tags of one object (S3 user guide, "Categorizing your storage using tags").
pub(super) const MOST_TAGS: usize = 10;
/// Longest key and value, in Unicode characters.
pub(super) const MAX_KEY: usize = 128;
pub(super) const MAX_VALUE: usize = 256;

/// Reads an `x-amz-tagging` header into keys and values. An empty header has no tags.
///
/// Errors number the tags from 1 and do not quote them. Which characters a tag may have is left to the location.
pub fn parse_tagging_header(header: &str) -> Result<Vec<(String, String)>, TaggingError> {
    if header.is_empty() {
        return Ok(Vec::new());
    }
    let count = header.split('&').count();
    if count > MOST_TAGS {
        return Err(TaggingError::TooMany { count, limit: MOST_TAGS });
    }
    let mut tags: Vec<(String, String)> = Vec::with_capacity(count);
    for (number, tag) in (1..).zip(header.split('&')) {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        let (key, value) = (decode(key, number)?, decode(value, number)?);
        let (key_length, value_length) = (key.chars().count(), value.chars().count());
        if !(1..=MAX_KEY).contains(&key_length) {
            return Err(TaggingError::KeyLength { number, length: key_length });
        }
        if value_length > MAX_VALUE {
            return Err(TaggingError::ValueLength { number, length: value_length });
        }
        if tags.iter().any(|(earlier, _)| *earlier == key) {
            return Err(TaggingError::Twice(number));
        }
        tags.push((key, value));
    }
    Ok(tags)
}

/// `+` is a blank; a `%` without two hex digits is an error, not a percent sign.
fn decode(text: &str, number: usize) -> Result<String, TaggingError> {
    percent_decode(text, Plus::Space).map_err(|_| TaggingError::Encoding(number))
}

/// Why an `x-amz-tagging` header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TaggingError {
    #[error("an object has at most {limit} tags; this request has {count}")]
    TooMany { count: usize, limit: usize },
    #[error("tag {0} of x-amz-tagging is not URL-encoded UTF-8")]
    Encoding(usize),
    #[error("tag {number} of x-amz-tagging: a key is 1 to 128 characters long; this one has {length}")]
    KeyLength { number: usize, length: usize },
    #[error("tag {number} of x-amz-tagging: a value is at most 256 characters long; this one has {length}")]
    ValueLength { number: usize, length: usize },
    #[error("tag {0} of x-amz-tagging has the same key as one before it")]
    Twice(usize),
}

impl From<TaggingError> for S3Error {
    fn from(error: TaggingError) -> S3Error {
        S3Error::new(Code::InvalidTag, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tagging_header_is_a_url_query() {
        let tags =
            parse_tagging_header("data-class=personal.health%20financial&a+b=c%2Bd&empty=&bare").unwrap();
        let expected =
            [("data-class", "personal.health financial"), ("a b", "c+d"), ("empty", ""), ("bare", "")];
        assert_eq!(tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(parse_tagging_header("").unwrap(), []);
    }

    #[test]
    fn a_tagging_header_beyond_the_limits_of_s3_is_refused() {
        let tags = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
        assert_eq!(parse_tagging_header(&tags(10)).unwrap().len(), 10);
        assert!(matches!(parse_tagging_header(&tags(11)), Err(TaggingError::TooMany { count: 11, .. })));
        let key = |length: usize| parse_tagging_header(&format!("{}=v", "%C3%BC".repeat(length)));
        assert!(key(128).is_ok());
        assert!(matches!(key(129), Err(TaggingError::KeyLength { number: 1, length: 129 })));
        assert!(matches!(
            parse_tagging_header("a=b&=c"),
            Err(TaggingError::KeyLength { number: 2, length: 0 })
        ));
        assert!(matches!(
            parse_tagging_header("a=b&"),
            Err(TaggingError::KeyLength { number: 2, length: 0 })
        ));
        let value = |length: usize| parse_tagging_header(&format!("k={}", "v".repeat(length)));
        assert!(value(256).is_ok());
        assert!(matches!(value(257), Err(TaggingError::ValueLength { number: 1, length: 257 })));
        assert!(matches!(parse_tagging_header("a=1&%61=2"), Err(TaggingError::Twice(2))));
    }

    #[test]
    fn a_tagging_header_that_can_be_read_in_two_ways_is_refused() {
        for header in ["a=%", "a=%4", "a=%zz", "a=%+1", "%FF=b", "a=%C3"] {
            assert!(matches!(parse_tagging_header(header), Err(TaggingError::Encoding(1))), "{header}");
        }
    }
}
