//! PostObject: a form's file is stored as PutObject stores a body; the answer is one for a browser.

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{header_text, put};
use crate::body::Body;
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::gateway::form::Form;
use crate::names::ObjectKey;
use crate::s3::error::Code;
use crate::s3::operation::{OpError, encode, encode_path};
use crate::s3::xml;

/// Stores the file of a form where its labels allow.
pub async fn post_object(
    gateway: Arc<Gateway>,
    mut call: Call,
    body: Body,
) -> Result<Response<Body>, Failure> {
    let form = call.parts.extensions.remove::<Form>().ok_or_else(|| {
        Failure::client(Code::InvalidRequest, "A form is signed by its policy, and not in a header or query.")
    })?;
    let key: ObjectKey = form.key.parse()?;
    if key.leads_out_of_its_bucket() {
        return Err(OpError::KeyLeadsOut.into());
    }
    let bucket = call.bucket()?.clone();
    let place = format!("{}/{bucket}/{}", origin(&call), encode_path(form.key.as_str()));
    call.target.key = Some(key);
    // For whatever is decided on it from here, it is the PutObject that the form spells out.
    call.parts.method = Method::PUT;
    let key = call.key()?.clone();
    let stored = put::put_object(gateway, call, body).await?;
    if !stored.status().is_success() {
        return Ok(stored);
    }
    let etag = header_text(stored.headers(), "etag").unwrap_or_default();
    let (mut parts, _) = stored.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    if let Ok(place) = HeaderValue::from_str(&place) {
        parts.headers.insert(header::LOCATION, place);
    }
    if let Some(target) =
        form.redirect.as_deref().and_then(|url| redirect(url, bucket.as_str(), key.as_str(), &etag))
    {
        parts.status = StatusCode::SEE_OTHER;
        parts.headers.insert(header::LOCATION, target);
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    let mut body = Body::empty();
    parts.status = match form.status.as_deref() {
        Some("200") => StatusCode::OK,
        Some("201") => {
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            body = Body::full(xml::post_response(&place, &bucket, &key, &etag));
            StatusCode::CREATED
        }
        _ => StatusCode::NO_CONTENT,
    };
    Ok(Response::from_parts(parts, body))
}

/// Where the client found the gateway.
fn origin(call: &Call) -> String {
    let host = call.parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(call.parts.uri.host()).unwrap_or_default();
    format!("{}://{host}", call.parts.uri.scheme_str().unwrap_or("http"))
}

/// The URL that the policy's author chose, told what was stored. What is no web address is passed over, as at S3.
fn redirect(url: &str, bucket: &str, key: &str, etag: &str) -> Option<HeaderValue> {
    let uri: http::Uri = url.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return None;
    }
    let joint = if uri.query().is_some() { '&' } else { '?' };
    let told = format!("bucket={}&key={}&etag={}", encode(bucket), encode(key), encode(etag));
    HeaderValue::from_str(&format!("{url}{joint}{told}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_goes_to_a_web_address_and_tells_what_was_stored() {
        let target =
            |url| redirect(url, "clinic", "a b/c", "\"e\"").map(|value| value.to_str().unwrap().to_owned());
        let told = "bucket=clinic&key=a%20b%2Fc&etag=%22e%22";
        assert_eq!(target("https://app.test/done"), Some(format!("https://app.test/done?{told}")));
        assert_eq!(target("https://app.test/done?n=1"), Some(format!("https://app.test/done?n=1&{told}")));
        for other in ["", "/done", "javascript:alert(1)", "ftp://app.test/", "https://", "not a url"] {
            assert_eq!(target(other), None, "{other}");
        }
    }
}
