//! What an object carries besides its bytes: system headers, user metadata, tags, and its lock.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::lock::Lock;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::encode;
use crate::s3::tagging::parse_tagging_header;

const METADATA_PREFIX: &str = "x-amz-meta-";
/// S3 user guide, "Working with object metadata": names and values together.
const MAX_METADATA_BYTES: usize = 2048;

const SYSTEM_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
];

/// What is stored and given back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    pub headers: HeaderMap,
    pub tags: Tags,
    pub lock: Lock,
}

impl Attributes {
    pub fn from_headers(headers: &HeaderMap) -> Result<Attributes, S3Error> {
        Ok(Attributes {
            headers: stored_headers(headers)?,
            tags: Tags::from_headers(headers)?,
            lock: Lock::from_headers(headers)?,
        })
    }

    /// The form of the index: a line for each name and each value, which cannot contain line ends.
    pub fn to_record(&self) -> Vec<u8> {
        let mut record = Vec::new();
        for (name, value) in &self.headers {
            record.extend_from_slice(name.as_str().as_bytes());
            record.push(b'\n');
            record.extend_from_slice(value.as_bytes());
            record.push(b'\n');
        }
        record
    }

    pub fn from_record(record: &[u8], tags: &str, lock: &str) -> Option<Attributes> {
        let mut headers = HeaderMap::new();
        let mut lines = record.split(|byte| *byte == b'\n');
        while let Some(name) = lines.next()
            && !name.is_empty()
        {
            headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(lines.next()?).ok()?);
        }
        Some(Attributes { headers, tags: Tags::parse_form(tags).ok()?, lock: Lock::from_record(lock)? })
    }
}

fn stored_headers(headers: &HeaderMap) -> Result<HeaderMap, S3Error> {
    let mut stored = HeaderMap::new();
    for name in SYSTEM_HEADERS {
        let Some(value) = headers.get(&name) else { continue };
        if name == header::CONTENT_ENCODING {
            // `aws-chunked` is the framing of one transfer and not of the object.
            if let Some(value) = without_aws_chunked(value) {
                stored.insert(name, value);
            }
        } else {
            stored.insert(name, value.clone());
        }
    }
    let mut total = 0;
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix(METADATA_PREFIX) else { continue };
        let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let joined = values.join(&b","[..]);
        total += short.len() + joined.len();
        let value = HeaderValue::from_bytes(&joined)
            .map_err(|_| S3Error::new(Code::InvalidArgument, "A metadata value is not a header value."))?;
        stored.insert(name.clone(), value);
    }
    if total > MAX_METADATA_BYTES {
        let message = "Your metadata headers exceed the maximum allowed metadata size";
        return Err(S3Error::new(Code::MetadataTooLarge, message)
            .detail("Size", total.to_string())
            .detail("MaxSizeAllowed", MAX_METADATA_BYTES.to_string()));
    }
    Ok(stored)
}

fn without_aws_chunked(value: &HeaderValue) -> Option<HeaderValue> {
    let Ok(text) = value.to_str() else { return Some(value.clone()) };
    let kept: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join(",")).ok() }
}

/// The tags of an object, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Takes tags within the bounds of S3 and checks their characters.
    pub fn new(tags: Vec<(String, String)>) -> Result<Tags, S3Error> {
        for (key, value) in &tags {
            if !key.chars().all(is_tag_char) {
                return Err(invalid("The TagKey you have provided is invalid"));
            }
            if !value.chars().all(is_tag_char) {
                return Err(invalid("The TagValue you have provided is invalid"));
            }
        }
        Ok(Tags(tags))
    }

    /// The value of `x-amz-tagging`: `key=value&...`, form encoded.
    pub fn parse_form(text: &str) -> Result<Tags, S3Error> {
        Tags::new(parse_tagging_header(text)?)
    }

    pub fn from_headers(headers: &HeaderMap) -> Result<Tags, S3Error> {
        match headers.get("x-amz-tagging") {
            None => Ok(Tags::default()),
            Some(value) => Tags::parse_form(
                value.to_str().map_err(|_| invalid("The x-amz-tagging header is not ASCII"))?,
            ),
        }
    }

    pub fn to_form(&self) -> String {
        let pairs: Vec<String> =
            self.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        pairs.join("&")
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn is_tag_char(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c)
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::new(Code::InvalidTag, message)
}
