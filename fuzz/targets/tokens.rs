//! Tokens: what was sealed opens, for what it was sealed for, and nothing else opens at all.

use domicile::names::{AppId, BucketName, ObjectKey};
use domicile::s3::token::{ListBinding, Tokens, Upload};

/// Whether a token was made and opened again. Fields of the input are divided by zero bytes.
pub fn run(data: &[u8]) -> bool {
    let tokens = Tokens::new(&[7; 32]);
    let app: AppId = "web".parse().expect("an app");
    let bucket: BucketName = "photos".parse().expect("a bucket");
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut fields = text.splitn(4, '\0');
    let mut field = || fields.next().unwrap_or_default();
    let (first, prefix, id, pinned) = (field(), field(), field(), field());
    let key: ObjectKey = prefix.parse().unwrap_or_else(|_| "k".parse().expect("a key"));

    // Nobody has ever made this one.
    let list = ListBinding { app: &app, bucket: &bucket, prefix, delimiter: Some("/") };
    assert!(tokens.open_continuation(list, text).is_err());
    assert!(tokens.open_continuation(list, first).is_err());
    assert!(tokens.open_upload(&bucket, &key, first).is_err());

    let other = ListBinding { delimiter: None, ..list };
    if let Ok(token) = tokens.seal_continuation(list, first) {
        assert_eq!(tokens.open_continuation(list, &token).as_deref(), Ok(first));
        assert!(tokens.open_continuation(other, &token).is_err());
        assert!(tokens.open_upload(&bucket, &key, &token).is_err());
        spoil(&token, data, |forged| assert!(tokens.open_continuation(list, forged).is_err()));
    }
    let upload = Upload {
        location: "cn-north".parse().expect("a location"),
        id: id.to_owned(),
        pinned: pinned.as_bytes().to_vec(),
    };
    let Ok(token) = tokens.seal_upload(&bucket, &key, &upload) else { return false };
    assert_eq!(tokens.open_upload(&bucket, &key, &token), Ok(upload));
    let elsewhere: BucketName = "videos".parse().expect("a bucket");
    assert!(tokens.open_upload(&elsewhere, &key, &token).is_err());
    spoil(&token, data, |forged| assert!(tokens.open_upload(&bucket, &key, forged).is_err()));
    true
}

/// One character changed, and one cut, where the input says.
fn spoil(token: &str, data: &[u8], refused: impl Fn(&str)) {
    let at = data.iter().fold(0_usize, |at, byte| at.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let at = at % token.len();
    let mut forged = token.as_bytes().to_vec();
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    refused(std::str::from_utf8(&forged).expect("ASCII"));
    refused(&token[..at]);
}
