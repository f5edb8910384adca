//! The `x-amz-tagging` header: tags of an object as a URL query.
//!
//! It is read strictly. A header that two readers could understand in two ways could be labelled here as
//! one thing and stored as another.

use percent_encoding::percent_decode_str;

use super::LabelError;

/// Most tags of one object (S3 user guide, "Categorizing your storage using tags").
const MOST_TAGS: usize = 10;
/// Longest key and value, in Unicode characters.
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// Reads an `x-amz-tagging` header into keys and values. An empty header has no tags.
///
/// Errors number the tags from 1 and do not quote them. Which characters a tag may have is left to the location.
pub fn parse_tagging_header(header: &str) -> Result<Vec<(String, String)>, LabelError> {
    if header.is_empty() {
        return Ok(Vec::new());
    }
    let count = header.split('&').count();
    if count > MOST_TAGS {
        return Err(LabelError::TooManyTags { count, limit: MOST_TAGS });
    }
    let mut tags: Vec<(String, String)> = Vec::with_capacity(count);
    for (number, tag) in (1..).zip(header.split('&')) {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        let (key, value) = (decode(key, number)?, decode(value, number)?);
        let (key_length, value_length) = (key.chars().count(), value.chars().count());
        if !(1..=MAX_KEY).contains(&key_length) {
            return Err(LabelError::TagKeyLength { number, length: key_length });
        }
        if value_length > MAX_VALUE {
            return Err(LabelError::TagValueLength { number, length: value_length });
        }
        if tags.iter().any(|(earlier, _)| *earlier == key) {
            return Err(LabelError::TagTwice(number));
        }
        tags.push((key, value));
    }
    Ok(tags)
}

/// Percent-decoding with `+` for a blank; a `%` without two hex digits is an error, not a percent sign.
fn decode(text: &str, number: usize) -> Result<String, LabelError> {
    let escapes = text.split('%').skip(1);
    let is_hex = |escape: &str| {
        escape.as_bytes().first_chunk::<2>().is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    if !escapes.clone().all(is_hex) {
        return Err(LabelError::TagEncoding(number));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| LabelError::TagEncoding(number))?;
    Ok(decoded.into_owned())
}
