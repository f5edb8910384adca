//! The admin listener: health, readiness and metrics. Loopback by default; it has no authentication of its own.

use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};

use crate::body::Body;
use crate::gateway::Gateway;
use crate::gateway::server::Front;

/// The admin service.
pub fn front(gateway: Arc<Gateway>) -> Front {
    Front::new(tower::service_fn(move |request: Request<Body>| {
        let gateway = gateway.clone();
        async move {
            let (parts, _) = request.into_parts();
            Ok::<_, Infallible>(answer(&gateway, &parts).await)
        }
    }))
}

async fn answer(gateway: &Gateway, request: &Parts) -> Response<Body> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n");
    }
    match request.uri.path() {
        "/healthz" => text(StatusCode::OK, "text/plain", "ok\n"),
        "/readyz" => match gateway.readiness().await {
            Ok(()) => {
                let notes: String = gateway.notes().iter().map(|note| format!("note: {note}\n")).collect();
                text(StatusCode::OK, "text/plain", format!("ready\n{notes}"))
            }
            Err(problems) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{}\n", problems.join("\n")))
            }
        },
        "/metrics" => {
            gateway.refresh_metrics().await;
            text(
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                gateway.metrics.render(),
            )
        }
        "/policy/shadow" => {
            match gateway.policies.shadow().map(|shadow| serde_json::to_string(&shadow.report())) {
                Some(Ok(report)) => text(StatusCode::OK, "application/json", report),
                Some(Err(error)) => {
                    text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n"))
                }
                None => text(StatusCode::NOT_FOUND, "text/plain", "policy.shadow is not configured\n"),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "text/plain", "GET /healthz, /readyz, /metrics or /policy/shadow\n"),
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
