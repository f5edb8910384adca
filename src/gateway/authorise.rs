//! May this app do this to this bucket? What passes is a [`Call`] and its body.

use std::sync::Arc;

use super::Gateway;
use super::call::{Authorised, Call, Client, Named, peer_address};
use super::failure::Failure;
use super::stage::Stage;
use super::trace::RequestId;
use crate::body::Body;
use crate::config::Access;
use crate::s3::error::Code;

pub struct Authorise {
    gateway: Arc<Gateway>,
}

impl Authorise {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Authorise { gateway }
    }
}

impl Stage<Named> for Authorise {
    type Out = (Call, Body);

    async fn pass(&self, named: Named) -> Result<(Call, Body), Failure> {
        let Named { identity, target, parts, body } = named;
        let app = self.gateway.apps.by_id(&identity.app).cloned().ok_or_else(|| {
            Failure::client(Code::InvalidAccessKeyId, "The access key id is not one of this gateway's.")
        })?;
        if target.bucket.as_ref().is_some_and(|bucket| !app.may_use(bucket)) {
            return Err(Failure::client(
                Code::AccessDenied,
                "This app is not configured for this bucket. Ask the operator of the gateway.",
            ));
        }
        if app.access == Access::Read && !target.operation.access().is_read_only() {
            return Err(Failure::client(Code::AccessDenied, "This app may only read."));
        }
        let address = self.gateway.geo.client_address(peer_address(&parts), &parts.headers);
        let client = Client { address, place: self.gateway.geo.place(address) };
        let request = parts.extensions.get::<RequestId>().cloned().unwrap_or_default();
        Ok((Call { identity, app, client, request, target, parts, _authorised: Authorised }, body))
    }
}
