//! Presigned URLs.

use super::*;

#[test]
fn each_flaw_of_a_presigned_url_has_its_own_reason() {
    let whole = example_presigned().uri.to_string();
    let cases = [
        (whole.replace("Expires=86400", "Expires=0"), Flaw::Expires),
        (whole.replace("Expires=86400", "Expires=604801"), Flaw::Expires),
        (whole.replace("Expires=86400", "Expires=%2B60"), Flaw::Expires),
        (whole.replace("&X-Amz-Expires=86400", ""), Flaw::Missing("X-Amz-Expires")),
        (whole.replace("Date=20130524T", "Date=2013-05-24T"), Flaw::Date),
        (whole.replace("SignedHeaders=host", "SignedHeaders=x-amz-a"), Flaw::HostNotSigned),
        (whole.replace("us-east-1", "mars-1"), Flaw::Region { expected: "us-east-1".to_owned() }),
        (format!("{whole}&X-Amz-Expires=1"), Flaw::Repeated("X-Amz-Expires")),
        (format!("{whole}&X-Amz-Signat%75re=1"), Flaw::Repeated("X-Amz-Signature")),
        (whole.replace("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""), Flaw::Missing("X-Amz-Algorithm")),
        (whole.replace("Credential=", "Credential=%ff"), Flaw::Syntax),
    ];
    for (target, flaw) in cases {
        let parts = request("GET", &target, &[("host", "examplebucket.s3.amazonaws.com")]);
        let error = verify(&parts).unwrap_err();
        assert_eq!(error, SigError::Malformed { scheme: Scheme::Presigned, flaw }, "{target}");
        assert_eq!(S3Error::from(error).code, Code::AuthorizationQueryParametersError);
    }
}

#[test]
fn parameters_added_to_a_presigned_url_break_it() {
    let whole = example_presigned().uri.to_string();
    for extra in ["&versionId=1", "&x-amz-acl=public-read", "&x-amz-signature=1"] {
        let parts = request("GET", &format!("{whole}{extra}"), &[("host", "examplebucket.s3.amazonaws.com")]);
        assert_eq!(verify(&parts).unwrap_err(), SigError::Mismatch, "{extra}");
    }
}
