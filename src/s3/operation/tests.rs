use std::collections::BTreeSet;

use super::*;

fn request(method: &str, uri: &str, headers: &[(&'static str, &str)]) -> Result<Target, OpError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let hosts = VirtualHosts::new(["S3.example.com", "example.com.", ""]);
    parse(&method.parse().unwrap(), &uri.parse().unwrap(), &map, &hosts)
}

fn operation_of(method: &str, uri: &str) -> Result<Operation, OpError> {
    request(method, uri, &[]).map(|target| target.operation)
}

fn names(method: &str, uri: &str, host: &str) -> Result<(Option<String>, Option<String>), OpError> {
    let target = request(method, uri, &[("host", host)])?;
    Ok((target.bucket.map(|b| b.to_string()), target.key.map(|k| k.as_str().to_owned())))
}

fn some(bucket: &str, key: &str) -> Result<(Option<String>, Option<String>), OpError> {
    let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    Ok((text(bucket), text(key)))
}

/// A request that has exactly what a row of the table asks for.
fn request_of(operation: Operation) -> Result<Target, OpError> {
    let row = operation.row();
    let path = match row.scope {
        Scope::Service => "/",
        Scope::Bucket => "/photos",
        Scope::Object => "/photos/a/b",
    };
    let mut query = Vec::new();
    let mut headers = HeaderMap::new();
    for decider in row.deciders {
        match decider {
            Decider::Query(key) => query.push((*key).to_owned()),
            Decider::Value(key, value) => query.push(format!("{key}={value}")),
            Decider::Header(name) => {
                headers.insert(*name, "photos/source".parse().unwrap());
            }
        }
    }
    query.push(format!("x-id={}", "Nonsense"));
    let uri = format!("{path}?{}", query.join("&")).parse().unwrap();
    let method = format!("{:?}", row.verb).to_uppercase().parse().unwrap();
    parse(&method, &uri, &headers, &VirtualHosts::default())
}

#[test]
fn every_row_of_the_table_is_recognised_by_what_it_says() {
    for operation in Operation::ALL.iter().copied() {
        let expected = match operation.kind() {
            Handling::NotImplemented => Err(OpError::NotImplemented(operation)),
            _ => Ok(operation),
        };
        assert_eq!(request_of(operation).map(|target| target.operation), expected, "{operation}");
    }
}

#[test]
fn no_two_rows_ask_for_the_same() {
    let mut seen = BTreeSet::new();
    for operation in Operation::ALL {
        let row = operation.row();
        let mut deciders: Vec<String> = row.deciders.iter().map(|d| format!("{d:?}")).collect();
        deciders.sort();
        assert!(seen.insert(format!("{:?} {:?} {deciders:?}", row.verb, row.scope)), "{operation}");
    }
    assert!(Operation::ALL.len() >= 100, "{}", Operation::ALL.len());
}

#[test]
fn every_deciding_header_of_the_table_is_looked_for() {
    for operation in Operation::ALL {
        for decider in operation.row().deciders {
            if let Decider::Header(name) = decider {
                assert!(DECIDING_HEADERS.contains(name), "{name}");
            }
        }
    }
}

#[test]
fn the_page_of_operations_shows_this_table() {
    let page = include_str!("../../../docs/operations.md");
    assert!(
        page.contains(&render_markdown_table()),
        "docs/operations.md is not what the table renders to:\n{}",
        render_markdown_table()
    );
}

#[test]
fn reads_have_read_access_and_refused_operations_never_reach_a_target() {
    for operation in Operation::ALL.iter().copied() {
        let row = operation.row();
        let reads = matches!(row.verb, Verb::Get | Verb::Head | Verb::Options);
        let select = operation == Operation::SelectObjectContent;
        assert_eq!(operation.access().is_read_only(), reads || select, "{operation}");
        if let Ok(target) = request_of(operation) {
            assert_ne!(target.operation.kind(), Handling::NotImplemented);
            assert_eq!(target.bucket.is_some(), row.scope != Scope::Service);
            assert_eq!(target.key.is_some(), row.scope == Scope::Object);
        }
    }
}

#[test]
fn path_style_takes_the_first_segment_as_the_bucket_and_the_rest_verbatim() {
    for host in [
        "localhost:9000",
        "192.0.2.1",
        "[::1]:9000",
        "s3.example.com",
        "S3.EXAMPLE.COM:443",
        "notexample.com",
    ] {
        assert_eq!(names("GET", "/photos/a/b", host), some("photos", "a/b"), "{host}");
    }
    assert_eq!(names("GET", "/", "h"), some("", ""));
    assert_eq!(names("GET", "/photos", "h"), some("photos", ""));
    assert_eq!(names("GET", "/photos/", "h"), some("photos", ""));
    assert_eq!(names("GET", "/photos//a", "h"), some("photos", "/a"));
    assert_eq!(names("GET", "/photos/b/./../a//", "h"), some("photos", "b/./../a//"));
    assert_eq!(names("GET", "/photos/./../a//", "h"), Err(OpError::KeyLeadsOut));
    assert_eq!(names("GET", "/ph%6ftos/a%2Fb%252F+c", "h"), some("photos", "a/b%2F+c"));
    assert_eq!(names("GET", "/photos/%E6%96%87", "h"), some("photos", "文"));
}

#[test]
fn virtual_host_style_takes_the_bucket_from_the_host() {
    for host in ["photos.s3.example.com", "Photos.S3.example.com:9000", "photos.s3.example.com."] {
        assert_eq!(names("GET", "/a/b", host), some("photos", "a/b"), "{host}");
    }
    assert_eq!(names("GET", "/", "my.photos.s3.example.com"), some("my.photos", ""));
    assert_eq!(names("GET", "//a", "photos.example.com"), some("photos", "/a"));
    assert_eq!(names("GET", "/a", "my_photos.s3.example.com"), Err(OpError::BucketName));
    assert_eq!(names("GET", "/a", ".s3.example.com"), Err(OpError::BucketName));
    let target = request("GET", "/a", &[("host", "photos.s3.example.com")]).unwrap();
    assert_eq!(target.style, AddressingStyle::VirtualHost);
}

#[test]
fn the_authority_of_http2_names_the_host() {
    let target = request("GET", "http://photos.s3.example.com/a", &[]).unwrap();
    assert_eq!(target.bucket.unwrap().as_str(), "photos");
    let both = [("host", "other.s3.example.com")];
    assert_eq!(request("GET", "http://photos.s3.example.com/a", &both), Err(OpError::Host));
    assert_eq!(
        request("GET", "/a", &[("host", "a.example.com"), ("host", "b.example.com")]),
        Err(OpError::Host)
    );
}

#[test]
fn names_that_cannot_be_are_refused() {
    assert_eq!(operation_of("GET", "/Photos/a"), Err(OpError::BucketName));
    assert_eq!(operation_of("PUT", "/ab"), Err(OpError::BucketName));
    assert_eq!(operation_of("GET", "//a"), Err(OpError::BucketName));
    assert_eq!(operation_of("GET", "/photos%2Fa"), Err(OpError::BucketName));
    assert_eq!(operation_of("GET", "/photos/%zz"), Err(OpError::InvalidUri));
    assert_eq!(operation_of("GET", "/photos/a%"), Err(OpError::InvalidUri));
    assert_eq!(operation_of("GET", "/photos/%ff%fe"), Err(OpError::InvalidUri));
    assert_eq!(operation_of("OPTIONS", "*"), Err(OpError::InvalidUri));
    assert_eq!(operation_of("GET", &format!("/photos/{}", "k".repeat(1025))), Err(OpError::KeyTooLong));
    assert_eq!(operation_of("GET", &format!("/photos/{}", "k".repeat(1024))), Ok(Operation::GetObject));
}

#[test]
fn parameters_and_hints_do_not_change_the_operation() {
    assert_eq!(
        operation_of("GET", "/photos/a?partNumber=2&versionId=v&response-expires=x"),
        Ok(Operation::GetObject)
    );
    assert_eq!(operation_of("GET", "/photos/a?x-id=DeleteObject&cache=7"), Ok(Operation::GetObject));
    assert_eq!(
        operation_of("PUT", "/photos/a?X-Amz-Signature=0&x-amz-checksum-crc32=AA%3D%3D"),
        Ok(Operation::PutObject)
    );
    assert_eq!(operation_of("GET", "/photos?prefix=acl&delimiter=%2F"), Ok(Operation::ListObjects));
    assert_eq!(operation_of("GET", "/photos?list-type=2&prefix"), Ok(Operation::ListObjectsV2));
    assert_eq!(operation_of("GET", "/photos/a?%61ttributes"), Ok(Operation::GetObjectAttributes));
}

#[test]
fn a_sub_resource_that_nobody_knows_is_refused() {
    assert_eq!(operation_of("GET", "/photos/a?brandnew"), Err(OpError::UnknownSubresource));
    assert_eq!(operation_of("PUT", "/photos/a?brandnew=1"), Err(OpError::UnknownSubresource));
    assert_eq!(operation_of("DELETE", "/photos?brandnew"), Err(OpError::UnknownSubresource));
    assert_eq!(operation_of("GET", "/photos/a?ACL"), Err(OpError::UnknownSubresource));
    assert_eq!(operation_of("DELETE", "/photos/a?attributes"), Err(OpError::Method));
    assert_eq!(operation_of("POST", "/photos/a"), Err(OpError::Method));
    assert_eq!(operation_of("PATCH", "/photos/a"), Err(OpError::Method));
    assert_eq!(operation_of("HEAD", "/"), Err(OpError::Method));
}

#[test]
fn two_sub_resources_that_do_not_belong_together_are_refused() {
    for (method, uri) in [
        ("PUT", "/photos/a?tagging&acl"),
        ("PUT", "/photos/a?partNumber=1&uploadId=u&tagging"),
        ("PUT", "/photos/a?partNumber=1"),
        ("PUT", "/photos/a?uploadId=u"),
        ("GET", "/photos?list-type=2&uploads"),
        ("GET", "/photos?list-type=1"),
        ("POST", "/photos/a?uploads&uploadId=u"),
    ] {
        assert_eq!(operation_of(method, uri), Err(OpError::Ambiguous), "{method} {uri}");
    }
    assert_eq!(
        request("PUT", "/photos/a?acl", &[("x-amz-copy-source", "photos/b")]),
        Err(OpError::Ambiguous)
    );
}

#[test]
fn a_repeated_parameter_is_refused_before_a_location_picks_the_other_one() {
    for uri in [
        "/photos/a?uploadId=a&partNumber=1&uploadId=b",
        "/photos/a?versionId=a&versionId=b",
        "/photos/a?versionId=a&version%49d=b",
        "/photos/a?acl&acl",
    ] {
        assert_eq!(operation_of("PUT", uri), Err(OpError::DuplicateParameter), "{uri}");
    }
}

#[test]
fn what_changes_a_write_cannot_hide_in_the_query() {
    for uri in [
        "/photos/a?X-Amz-Copy-Source=photos%2Fb",
        "/photos/a?x-amz-copy-source-range=bytes%3D0-1",
        "/photos/a?x-amz-tagging=a%3Db",
        "/photos/a?x-amz-write-offset-bytes=3",
    ] {
        assert_eq!(operation_of("PUT", uri), Err(OpError::HeaderInQuery), "{uri}");
    }
    assert_eq!(request("PUT", "/photos/a", &[("x-amz-write-offset-bytes", "3")]), Err(OpError::Append));
}

#[test]
fn a_copy_source_matters_to_writes_only() {
    let copy = [("x-amz-copy-source", "photos/b")];
    assert_eq!(request("PUT", "/photos/a", &copy).unwrap().operation, Operation::CopyObject);
    assert_eq!(request("GET", "/photos/a", &copy).unwrap().operation, Operation::GetObject);
    assert_eq!(
        request("PUT", "/photos/a?partNumber=1&uploadId=u", &copy).unwrap().operation,
        Operation::UploadPartCopy
    );
}

#[test]
fn refusals_become_s3_errors_that_name_the_operation() {
    let error = S3Error::from(operation_of("PUT", "/photos?policy").unwrap_err());
    assert_eq!(error.code, Code::NotImplemented);
    assert!(error.message.starts_with("PutBucketPolicy "), "{}", error.message);
}

proptest::proptest! {
    #[test]
    fn no_request_head_panics(
        method in "GET|HEAD|PUT|POST|DELETE|OPTIONS|FOO",
        uri in "/[a-z%0-9./?&=+-]{0,60}",
        host in "[a-zA-Z.:0-9\\[\\]-]{0,30}",
    ) {
        if let Ok(uri) = uri.parse::<Uri>() {
            let _ = request(&method, &uri.to_string(), &[("host", &host)]);
        }
    }
}
