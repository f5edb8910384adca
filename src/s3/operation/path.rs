//! Names in requests: percent-encoding, copy sources, and the URI that a location gets.
//!
//! A key is everything after the bucket's `/`, decoded once. Nothing is normalised: `a//b`, `./a` and
//! `a/` are keys of their own.

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::OpError;
use crate::names::{BucketName, ObjectKey};

/// What a copy reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub version: Option<String>,
}

impl CopySource {
    /// Parses `x-amz-copy-source`: `[/]bucket/key[?versionId=...]`, percent-encoded (S3 API reference,
    /// "CopyObject"). `+` stands for itself.
    pub fn parse(header: &[u8]) -> Result<Self, OpError> {
        let text = std::str::from_utf8(header).map_err(|_| OpError::CopySource)?;
        let (path, version) = match text.rsplit_once("?versionId=") {
            Some((path, version)) => {
                let version = decode_source(version)?;
                if version.is_empty() {
                    return Err(OpError::CopySource);
                }
                (path, Some(version))
            }
            None => (text, None),
        };
        let decoded = decode_source(path)?;
        let (bucket, key) =
            decoded.strip_prefix('/').unwrap_or(&decoded).split_once('/').ok_or(OpError::CopySource)?;
        Ok(CopySource {
            bucket: bucket.parse().map_err(|_| OpError::CopySource)?,
            key: object_key(key)?.ok_or(OpError::CopySource)?,
            version,
        })
    }
}

impl CopySource {
    /// The header in the one spelling that all readers understand alike. Locations differ in what they make of a bare
    /// `+` or `?`, and another object than the one that was judged must not be copied.
    pub fn to_header(&self) -> Result<HeaderValue, OpError> {
        let version = self.version.as_ref().map(|version| format!("?versionId={}", encode(version)));
        let text =
            format!("{}/{}{}", self.bucket, encode_path(self.key.as_str()), version.unwrap_or_default());
        HeaderValue::from_str(&text).map_err(|_| OpError::CopySource)
    }
}

/// Bucket and key of a path-style path, each decoded once; `None` where it is empty.
pub fn path_style_names(path: &str) -> Result<(Option<BucketName>, Option<ObjectKey>), OpError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let bucket = percent_decode(bucket, Plus::Itself)?;
    let bucket = match path {
        "" => None,
        _ => Some(bucket.parse().map_err(|_| OpError::BucketName)?),
    };
    Ok((bucket, object_key(&percent_decode(key, Plus::Itself)?)?))
}

/// The URI of a request to a location: path style, the key S3-encoded with `/` kept, `raw_query` as it is.
pub fn path_style_uri(
    bucket: &BucketName,
    key: Option<&ObjectKey>,
    raw_query: Option<&str>,
) -> Result<Uri, OpError> {
    let mut text = format!("/{bucket}");
    if let Some(key) = key {
        text.push('/');
        text.extend(utf8_percent_encode(key.as_str(), PATH));
    }
    if let Some(query) = raw_query.filter(|query| !query.is_empty()) {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::try_from(text).map(Uri::from).map_err(|_| OpError::InvalidUri)
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// [`encode`], but `/` stays, as in paths.
pub fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// What `+` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    Itself,
    Space,
}

/// Decodes percent-escapes once; a broken escape or anything but UTF-8 is refused.
pub fn percent_decode(text: &str, plus: Plus) -> Result<String, OpError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = rest.next().and_then(hex).ok_or(OpError::InvalidUri)?;
                let low = rest.next().and_then(hex).ok_or(OpError::InvalidUri)?;
                high << 4 | low
            }
            b'+' if plus == Plus::Space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| OpError::InvalidUri)
}

/// A decoded key; `None` when it is empty.
pub(super) fn object_key(text: &str) -> Result<Option<ObjectKey>, OpError> {
    if text.is_empty() {
        return Ok(None);
    }
    let key: ObjectKey = text.parse().map_err(|_| OpError::KeyTooLong)?;
    if key.leads_out_of_its_bucket() { Err(OpError::KeyLeadsOut) } else { Ok(Some(key)) }
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

fn decode_source(text: &str) -> Result<String, OpError> {
    percent_decode(text, Plus::Itself).map_err(|_| OpError::CopySource)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Result<(String, String, Option<String>), OpError> {
        let source = CopySource::parse(text.as_bytes())?;
        Ok((source.bucket.to_string(), source.key.as_str().to_owned(), source.version))
    }

    fn owned(bucket: &str, key: &str, version: Option<&str>) -> (String, String, Option<String>) {
        (bucket.to_owned(), key.to_owned(), version.map(str::to_owned))
    }

    #[test]
    fn copy_sources_are_read_in_all_their_spellings() {
        assert_eq!(source("photos/a.jpg"), Ok(owned("photos", "a.jpg", None)));
        assert_eq!(source("/photos/a%20b+c.jpg"), Ok(owned("photos", "a b+c.jpg", None)));
        assert_eq!(source("photos%2Fa/b"), Ok(owned("photos", "a/b", None)));
        assert_eq!(source("/photos//a"), Ok(owned("photos", "/a", None)));
        assert_eq!(source("photos/a?versionId=v%2F1"), Ok(owned("photos", "a", Some("v/1"))));
        assert_eq!(source("photos/a%3FversionId=v"), Ok(owned("photos", "a?versionId=v", None)));
        assert_eq!(source("photos/文件"), Ok(owned("photos", "文件", None)));
    }

    #[test]
    fn a_location_gets_a_copy_source_that_can_be_read_in_one_way() {
        for (sent, onward) in [
            ("/photos/a+b", "photos/a%2Bb"),
            ("photos/a?b=c", "photos/a%3Fb%3Dc"),
            ("photos%2Fa%20b/c", "photos/a%20b/c"),
            ("photos/文?versionId=v%2F1", "photos/%E6%96%87?versionId=v%2F1"),
        ] {
            let source = CopySource::parse(sent.as_bytes()).unwrap();
            let header = source.to_header().unwrap();
            assert_eq!(header, onward);
            assert_eq!(CopySource::parse(header.as_bytes()), Ok(source));
        }
    }

    #[test]
    fn a_copy_source_that_names_no_object_is_refused() {
        for text in
            ["", "/", "photos", "photos/", "Photos/a", "photos/%zz", "photos/%ff", "photos/a?versionId="]
        {
            assert_eq!(source(text), Err(OpError::CopySource), "{text}");
        }
        assert_eq!(source("arn:aws:s3:eu-west-1:1:accesspoint/x/object/y"), Err(OpError::CopySource));
        assert_eq!(CopySource::parse(b"photos/\xff"), Err(OpError::CopySource));
        assert_eq!(source(&format!("photos/{}", "k".repeat(1025))), Err(OpError::KeyTooLong));
    }

    #[test]
    fn a_location_gets_the_key_encoded_and_nothing_normalised() {
        let bucket = "photos".parse().unwrap();
        let uri = |key: &str, query| {
            path_style_uri(&bucket, Some(&key.parse().unwrap()), query).unwrap().to_string()
        };
        assert_eq!(uri("a//./../b/", None), "/photos/a//./../b/");
        assert_eq!(uri("a?b#c%d+e f~'", None), "/photos/a%3Fb%23c%25d%2Be%20f~%27");
        assert_eq!(
            uri("文", Some("x-id=GetObject&versionId=%7e")),
            "/photos/%E6%96%87?x-id=GetObject&versionId=%7e"
        );
        assert_eq!(path_style_uri(&bucket, None, Some("")).unwrap().to_string(), "/photos");
    }

    #[test]
    fn a_query_that_no_uri_can_hold_is_refused() {
        let bucket = "photos".parse().unwrap();
        assert_eq!(path_style_uri(&bucket, None, Some(&"q".repeat(70_000))), Err(OpError::InvalidUri));
        assert_eq!(path_style_uri(&bucket, None, Some("a b")), Err(OpError::InvalidUri));
    }

    proptest::proptest! {
        #[test]
        fn what_a_location_gets_decodes_to_the_key(key in "\\PC{1,80}") {
            let uri = path_style_uri(&"photos".parse().unwrap(), Some(&key.parse().unwrap()), None).unwrap();
            let back = percent_decode(&uri.path()["/photos/".len()..], Plus::Itself).unwrap();
            proptest::prop_assert_eq!(back, key);
        }

        #[test]
        fn no_copy_source_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = CopySource::parse(&bytes);
        }
    }
}
