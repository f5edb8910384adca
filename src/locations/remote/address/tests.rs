use super::*;

fn config(endpoint: &str, bucket: &str, style: AddressingStyle) -> RemoteS3 {
    RemoteS3 {
        endpoint: endpoint.to_owned(),
        bucket: bucket.to_owned(),
        style,
        access_key_id: None,
        secret_access_key: None,
        profile: None,
        ca_certificates: None,
    }
}

fn endpoint(bucket: &str, style: AddressingStyle) -> Endpoint {
    Endpoint::parse(&config("https://s3.example.com", bucket, style)).unwrap()
}

fn address(endpoint: &Endpoint, target: &str) -> Result<Parts, AddressError> {
    let mut parts = http::Request::builder().uri(target).body(()).unwrap().into_parts().0;
    endpoint.address(&mut parts).map(|_| parts)
}

fn copy_source(endpoint: &Endpoint, source: &str) -> Result<String, AddressError> {
    let request = http::Request::builder().uri("/bucket/key").header("x-amz-copy-source", source);
    let mut parts = request.body(()).unwrap().into_parts().0;
    endpoint.address(&mut parts)?;
    Ok(parts.headers["x-amz-copy-source"].to_str().unwrap().to_owned())
}

#[test]
fn a_bucket_gets_its_physical_name_in_the_path() {
    let endpoint = endpoint("acme-{bucket}-cn", AddressingStyle::Path);
    let parts = address(&endpoint, "/photos/a/b?versionId=1").unwrap();
    assert_eq!(parts.uri, "https://s3.example.com/acme-photos-cn/a/b?versionId=1");
    assert_eq!(parts.headers["host"], "s3.example.com");
}

#[test]
fn a_bucket_gets_its_physical_name_in_the_host() {
    let endpoint = endpoint("acme-{bucket}-cn", AddressingStyle::VirtualHost);
    let parts = address(&endpoint, "/photos/a/b?versionId=1").unwrap();
    assert_eq!(parts.uri, "https://acme-photos-cn.s3.example.com/a/b?versionId=1");
    assert_eq!(parts.headers["host"], "acme-photos-cn.s3.example.com");
    assert_eq!(address(&endpoint, "/photos?acl").unwrap().uri, "https://acme-photos-cn.s3.example.com/?acl");
    assert_eq!(address(&endpoint, "/photos//k").unwrap().uri.path(), "//k");
    assert_eq!(address(&endpoint, "/").unwrap().uri, "https://s3.example.com/");
}

#[test]
fn a_key_arrives_as_it_was_decoded_however_it_was_encoded() {
    let endpoint = endpoint("{bucket}", AddressingStyle::Path);
    for (sent, forwarded) in [
        ("/b-1/a+b", "/b-1/a%2Bb"),
        ("/b-1/a%2bb", "/b-1/a%2Bb"),
        ("/b-1/a%20b", "/b-1/a%20b"),
        ("/b-1/%61", "/b-1/a"),
        ("/b-1/a//b/./../c", "/b-1/a//b/./../c"),
        ("/b-1/a%2Fb", "/b-1/a/b"),
        ("/b-1/!*'()@:&=$,;", "/b-1/%21%2A%27%28%29%40%3A%26%3D%24%2C%3B"),
        ("/b-1/%E5%8C%97", "/b-1/%E5%8C%97"),
        ("/b-1/100%25", "/b-1/100%25"),
        ("/b-1/", "/b-1/"),
        ("/b-1", "/b-1"),
    ] {
        assert_eq!(address(&endpoint, sent).unwrap().uri.path(), forwarded, "{sent}");
    }
}

#[test]
fn a_query_keeps_its_bytes_but_not_the_credentials_of_a_presigned_url() {
    let endpoint = endpoint("{bucket}", AddressingStyle::Path);
    for (sent, forwarded) in [
        ("acl", "acl"),
        ("a=%2f+&&b", "a=%2f+&&b"),
        ("x-amz-unknown=1&X-Amz-Signature=s&x=1", "x-amz-unknown=1&x=1"),
        ("versionId=1&X-Amz-Algorithm=a&X-Amz-Credential=c&x-amz-date=d", "versionId=1"),
    ] {
        let parts = address(&endpoint, &format!("/b-1/k?{sent}")).unwrap();
        assert_eq!(parts.uri.query(), Some(forwarded), "{sent}");
    }
    assert_eq!(address(&endpoint, "/b-1/k?X-Amz-Signature=s").unwrap().uri.query(), None);
}

#[test]
fn the_bucket_of_a_copy_source_is_mapped_in_each_of_its_forms() {
    let endpoint = endpoint("acme-{bucket}", AddressingStyle::Path);
    for (sent, forwarded) in [
        ("photos/a%20b", "acme-photos/a%20b"),
        ("/photos/a?versionId=x", "/acme-photos/a?versionId=x"),
        ("photos%2Fa%2Fb", "acme-photos%2Fa%2Fb"),
        ("%2fphotos%2fa", "%2facme-photos%2fa"),
        ("/photos//a", "/acme-photos//a"),
    ] {
        assert_eq!(copy_source(&endpoint, sent).unwrap(), forwarded);
    }
}

#[test]
fn a_copy_source_whose_bucket_cannot_be_read_is_refused() {
    let endpoint = endpoint("acme-{bucket}", AddressingStyle::Path);
    for source in
        ["", "/", "photos", "arn:aws:s3:eu-west-1:1:accesspoint/p/object/k", "%70hotos/k", "//k", "pho%tos/k"]
    {
        assert_eq!(copy_source(&endpoint, source), Err(AddressError::CopySource), "{source}");
    }
}

#[test]
fn a_path_without_a_proper_bucket_is_refused() {
    let endpoint = endpoint("acme-{bucket}", AddressingStyle::Path);
    for target in ["//key", "/B/key", "/a%2Fb/key", "/../key"] {
        assert_eq!(address(&endpoint, target).unwrap_err(), AddressError::Bucket, "{target}");
    }
    let long = format!("/{}/key", "a".repeat(60));
    assert_eq!(address(&endpoint, &long).unwrap_err(), AddressError::PhysicalBucket);
}

#[test]
fn the_default_port_is_left_out_and_others_are_kept() {
    for (text, host) in [
        ("https://s3.example.com:443", "s3.example.com"),
        ("http://s3.example.com:80/", "s3.example.com"),
        ("http://s3.example.com:443", "s3.example.com:443"),
        ("http://[::1]:9000", "[::1]:9000"),
    ] {
        let endpoint = Endpoint::parse(&config(text, "{bucket}", AddressingStyle::Path)).unwrap();
        assert_eq!(address(&endpoint, "/b-1").unwrap().headers["host"], host);
    }
}

#[test]
fn an_endpoint_that_cannot_work_is_refused_at_start() {
    for text in
        ["", "s3.example.com", "ftp://h", "https://", "https://h/path", "https://u:p@h", "https://h/?q"]
    {
        let refused = Endpoint::parse(&config(text, "{bucket}", AddressingStyle::Path)).unwrap_err();
        assert_eq!(refused, EndpointError::Url(text.to_owned()));
    }
    for text in ["http://127.0.0.1:9000", "http://[::1]:9000"] {
        let refused = Endpoint::parse(&config(text, "{bucket}", AddressingStyle::VirtualHost)).unwrap_err();
        assert_eq!(refused, EndpointError::VirtualHostOnAddress(text.to_owned()));
    }
}

#[test]
fn a_template_that_merges_buckets_or_makes_no_name_is_refused() {
    let parse = |text| Template::parse(text).unwrap_err();
    for text in ["one-for-all", "", "{bucket}-{bucket}"] {
        assert_eq!(parse(text), EndpointError::Placeholder(text.to_owned()));
    }
    for text in ["Acme-{bucket}", "-{bucket}", "{bucket}.", "a/{bucket}", "{bucket}{x}"] {
        assert_eq!(parse(text), EndpointError::BucketName(text.to_owned()));
    }
}

#[test]
fn a_location_header_shows_the_logical_bucket_again() {
    let names = Some(("photos".parse().unwrap(), "acme-photos".parse().unwrap()));
    for (sent, shown) in [
        ("/acme-photos", "/photos"),
        ("/acme-photos/k", "/photos/k"),
        ("/acme-photos-2", "/acme-photos-2"),
        ("https://elsewhere/", "https://elsewhere/"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static(sent));
        restore_location(&mut headers, &names);
        assert_eq!(headers[LOCATION], shown);
    }
}

proptest::proptest! {
    #[test]
    fn any_key_in_any_encoding_decodes_to_itself(key in ".{1,80}", encoded in proptest::collection::vec(0..3u8, 320)) {
        let endpoint = endpoint("acme-{bucket}", AddressingStyle::Path);
        let mut sent = "/photos/".to_owned();
        for (byte, how) in key.bytes().zip(encoded) {
            match how {
                0 if byte.is_ascii_alphanumeric() || b"/.-_+!*'()@:=,;".contains(&byte) => sent.push(char::from(byte)),
                1 => sent.push_str(&format!("%{byte:02x}")),
                _ => sent.push_str(&format!("%{byte:02X}")),
            }
        }
        let uri = address(&endpoint, &sent).unwrap().uri;
        let forwarded = uri.path().strip_prefix("/acme-photos/").unwrap();
        let decoded = percent_decode(forwarded, Plus::Itself).unwrap();
        proptest::prop_assert_eq!(decoded, key);
    }

    #[test]
    fn any_copy_source_is_mapped_or_refused(source in "(/|%2F)?[a-c%2Ff/.é-]{0,12}") {
        let endpoint = endpoint("acme-{bucket}", AddressingStyle::Path);
        let request = http::Request::builder().uri("/bucket/key");
        let value = HeaderValue::from_bytes(source.as_bytes()).unwrap();
        let mut parts = request.header("x-amz-copy-source", value).body(()).unwrap().into_parts().0;
        if endpoint.address(&mut parts).is_ok() {
            let mapped = std::str::from_utf8(parts.headers["x-amz-copy-source"].as_bytes()).unwrap();
            proptest::prop_assert_eq!(mapped.replacen("acme-", "", 1), source);
        }
    }
}
