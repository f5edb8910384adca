//! What a request is about: targets, queries, copy sources, tags. What goes on to a location means what was named here.

use domicile::s3::operation::{
    CopySource, ParsedQuery, VirtualHosts, parse, path_style_names, path_style_uri,
};
use domicile::s3::tagging::parse_tagging_header;
use http::{HeaderMap, HeaderValue, Method, Uri};

/// Whether the input names an operation. A line each: method and target, host, copy source, tags.
pub fn run(data: &[u8]) -> bool {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (first, host, source, tags) = (line(), line(), line(), line());
    if let Ok(source) = CopySource::parse(source) {
        let header = source.to_header().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(CopySource::parse(header.as_bytes()), Ok(source));
    }
    if let Ok(text) = std::str::from_utf8(tags) {
        let _ = parse_tagging_header(text);
    }
    let Some((method, uri)) = std::str::from_utf8(first).ok().and_then(|text| text.split_once(' ')) else {
        return false;
    };
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), uri.parse::<Uri>()) else { return false };
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_bytes(host) {
        headers.insert("host", host);
    }
    if let (false, Ok(source)) = (source.is_empty(), HeaderValue::from_bytes(source)) {
        headers.insert("x-amz-copy-source", source);
    }
    let Ok(target) = parse(&method, &uri, &headers, &VirtualHosts::new(["s3.example"])) else { return false };
    if let (Some(bucket), Some(key)) = (&target.bucket, &target.key) {
        assert!(!key.leads_out_of_its_bucket());
        // The location is asked for the same object, under whatever name it came.
        let onward = path_style_uri(bucket, Some(key), None).unwrap_or_else(|error| panic!("{error}"));
        let named = path_style_names(onward.path());
        assert_eq!(named, Ok((Some(bucket.clone()), Some(key.clone()))));
    }
    // The query that goes on reads as the one that came, without what signed it.
    let onward = target.query.for_location(&[]);
    let read = ParsedQuery::parse(&onward).unwrap_or_else(|error| panic!("{error}"));
    let kept: Vec<_> = target
        .query
        .iter()
        .filter(|(name, _)| read.contains(name) || !name.to_lowercase().starts_with("x-amz-"))
        .collect();
    assert_eq!(read.iter().collect::<Vec<_>>(), kept);
    true
}
