//! Cross-origin requests of browsers: answers preflights, and tells browsers what they may show of other answers.
//!
//! A preflight carries no signature, so it is answered ahead of the stage that wants one. It learns what a bucket's
//! cross-origin rules allow, and nothing else. Locations' own rules are not asked, and what they say is dropped.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response, header};

use super::Gateway;
use super::around::{Answer, Around};
use super::failure::Failure;
use super::trace::OperationName;
use crate::body::Body;
use crate::catalogue::Setting;
use crate::names::BucketName;
use crate::s3::cors::{Asked, CorsRules};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::{self, Operation};
use crate::s3::xml;

#[derive(Clone)]
pub struct Cors {
    gateway: Arc<Gateway>,
}

impl Cors {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Cors { gateway }
    }
}

impl Around for Cors {
    type Below = Failure;
    type Error = Failure;

    fn call<F>(&self, request: Request<Body>, rest: impl FnOnce(Request<Body>) -> F) -> Answer<Failure>
    where
        F: Future<Output = Result<Response<Body>, Failure>> + Send + 'static,
    {
        if request.method() == Method::OPTIONS {
            let gateway = self.gateway.clone();
            let (parts, _) = request.into_parts();
            return Box::pin(async move { preflight(&gateway, &parts).await });
        }
        let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
            return Box::pin(rest(request));
        };
        let gateway = self.gateway.clone();
        let bucket = operation::bucket(request.uri(), request.headers(), &gateway.hosts).ok().flatten();
        let method = request.method().clone();
        let answer = rest(request);
        Box::pin(async move {
            let mut answer = answer.await;
            // Asked for after the request, which may have changed the rules or made the bucket.
            let allowed = match (bucket, origin.to_str()) {
                (Some(bucket), Ok(origin)) => {
                    let asked = Asked { origin, method: method.as_str(), headers: "" };
                    rules(&gateway, &bucket).await.ok().flatten().and_then(|rules| rules.allow(&asked))
                }
                _ => None,
            };
            match &mut answer {
                Ok(response) => replace(response.headers_mut(), allowed),
                Err(failure) => replace(&mut failure.error.headers, allowed),
            }
            answer
        })
    }
}

async fn preflight(gateway: &Gateway, parts: &Parts) -> Result<Response<Body>, Failure> {
    let headers = &parts.headers;
    let bucket = operation::bucket(&parts.uri, headers, &gateway.hosts)?;
    if let Some(name) = parts.extensions.get::<OperationName>() {
        name.set(Operation::PreflightObject.name());
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let insufficient = |message: &'static str| Failure::client(Code::BadRequest, message);
    let origin = text(header::ORIGIN)
        .ok_or_else(|| insufficient("Insufficient information. Origin request header needed."))?;
    let method = text(header::ACCESS_CONTROL_REQUEST_METHOD)
        .ok_or_else(|| insufficient("Insufficient information. Access-Control-Request-Method needed."))?;
    // Read strictly: what cannot be read is not allowed.
    let wanted: Vec<&str> = headers
        .get_all(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .map(|value| value.to_str().unwrap_or("?"))
        .collect();
    let wanted = wanted.join(",");
    let rules = match bucket {
        Some(bucket) => rules(gateway, &bucket).await?,
        None => None,
    };
    let forbidden = |message: &'static str| S3Error::new(Code::AccessForbidden, message);
    let rules = rules.ok_or_else(|| forbidden("CORSResponse: CORS is not enabled for this bucket."))?;
    let allowed = rules.allow(&Asked { origin, method, headers: &wanted }).ok_or_else(|| {
        forbidden(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
             method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
             resource's CORS spec.",
        )
    })?;
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = allowed;
    Ok(response)
}

/// The rules of a bucket; nobody learns here whether there is such a bucket.
async fn rules(gateway: &Gateway, bucket: &BucketName) -> Result<Option<CorsRules>, Failure> {
    let handle = gateway.catalogue.bucket_handle(bucket.as_str());
    let document = gateway.catalogue.setting(handle, Setting::Cors).await?;
    Ok(document.map(|document| xml::kept_cors(&document)).transpose()?)
}

/// The gateway's word in the place of a location's.
fn replace(headers: &mut HeaderMap, allowed: Option<HeaderMap>) {
    let said: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in said {
        headers.remove(name);
    }
    headers.extend(allowed.unwrap_or_default());
}
