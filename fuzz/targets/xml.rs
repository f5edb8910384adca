//! Documents of clients and of locations: what is read is written so that it reads the same.

use domicile::s3::xml::{
    Bound, create_bucket_configuration, legal_hold, lock_configuration, parse_acl, parse_complete,
    parse_complete_result, parse_copy_result, parse_create_bucket, parse_delete, parse_delete_result,
    parse_error, parse_initiate_result, parse_legal_hold, parse_list, parse_lock_answer,
    parse_lock_configuration, parse_retention, parse_tagging, parse_uploads, retention, show_owner,
    write_complete, write_delete,
};

const BOUND: Bound = Bound(1 << 20);
const OWNER: &str = "owner";

/// Whether the document is one that a client may send.
pub fn run(data: &[u8]) -> bool {
    let mut is_request = false;
    if let Ok(request) = parse_delete(data, BOUND) {
        is_request = true;
        assert!((1..=1000).contains(&request.objects.len()));
        assert!(request.objects.iter().all(|object| !object.key.leads_out_of_its_bucket()));
        assert_eq!(parse_delete(write_delete(&request).as_bytes(), BOUND), Ok(request));
    }
    if let Ok(request) = parse_complete(data, BOUND) {
        is_request = true;
        // A part that is named twice is the location's to judge.
        assert!(request.parts.is_sorted_by(|a, b| a.number <= b.number));
        assert_eq!(parse_complete(write_complete(&request).as_bytes(), BOUND), Ok(request));
    }
    if let Ok(Some(constraint)) = parse_create_bucket(data, BOUND) {
        is_request = true;
        let written = create_bucket_configuration(&constraint);
        assert_eq!(parse_create_bucket(written.as_bytes(), BOUND), Ok(Some(constraint)));
    }
    if let Ok(tags) = parse_tagging(data, BOUND) {
        is_request = true;
        assert!(tags.len() <= 10);
    }
    if let Ok(default) = parse_lock_configuration(data, BOUND) {
        is_request = true;
        assert_eq!(parse_lock_configuration(lock_configuration(default).as_bytes(), BOUND), Ok(default));
    }
    if let Ok(Some(until)) = parse_retention(data, BOUND) {
        is_request = true;
        assert_eq!(parse_retention(retention(until).as_bytes(), BOUND), Ok(Some(until)));
    }
    if let Ok(hold) = parse_legal_hold(data, BOUND) {
        is_request = true;
        assert_eq!(parse_legal_hold(legal_hold(hold).as_bytes(), BOUND), Ok(hold));
    }
    is_request |= parse_acl(data, BOUND, OWNER).is_ok();
    // Locations are not enemies, but who stands between may be one.
    let _ = parse_error(data);
    let _ = parse_copy_result(data);
    let _ = parse_complete_result(data);
    let _ = parse_initiate_result(data);
    let _ = parse_delete_result(data);
    let _ = parse_list(data);
    let _ = parse_uploads(data);
    let _ = parse_lock_answer(data);
    let _ = show_owner(data, OWNER);
    is_request
}
