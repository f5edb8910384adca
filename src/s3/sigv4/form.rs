//! The signature of a form: over its policy, which stands for all its fields (S3 API reference, "POST Policy").

use subtle::ConstantTimeEq;

use super::auth::Credential;
use super::time::Moment;
use super::{
    ChunkSeed, Flaw, Identity, PayloadMode, Scheme, SigError, SigningKey, Verifier, VerifyContext,
    check_session, parse_signature,
};

/// The fields that sign a form, as they were sent.
#[derive(Clone, Copy)]
pub struct FormClaim<'a> {
    pub algorithm: &'a str,
    pub credential: &'a str,
    pub date: &'a str,
    pub signature: &'a str,
    pub token: Option<&'a str>,
    /// In base64: the very text that was signed.
    pub policy: &'a str,
}

impl Verifier {
    /// Checks the signature of a form. Its life is for the policy to say, so the date is only what the key was made for.
    pub fn verify_form(
        &self,
        claim: &FormClaim<'_>,
        context: &VerifyContext<'_>,
    ) -> Result<Identity, SigError> {
        let malformed = |flaw| SigError::Malformed { scheme: Scheme::Form, flaw };
        super::auth::check_algorithm(claim.algorithm)?;
        let credential = Credential::parse(claim.credential).map_err(malformed)?;
        let signature = parse_signature(claim.signature.as_bytes()).map_err(malformed)?;
        let moment = Moment::parse_basic(claim.date.as_bytes()).ok_or(malformed(Flaw::Date))?;
        if moment.date() != credential.date {
            return Err(malformed(Flaw::ScopeDate));
        }
        if !context.regions.iter().any(|region| region == credential.region) {
            let expected = context.regions.first().cloned().unwrap_or_default();
            return Err(malformed(Flaw::Region { expected }));
        }
        let (app, secret) =
            context.keys.secret(credential.access_key_id).ok_or(SigError::UnknownAccessKey)?;
        let session = context.keys.session(credential.access_key_id);
        let session = super::pair(session, claim.token.map(str::as_bytes))?;
        // Not from the memory of keys: dates are the client's to choose here.
        let key = SigningKey::derive(secret, credential.date, credential.region);
        let expected = key.policy_signature(claim.policy.as_bytes());
        if !bool::from(expected.ct_eq(&signature)) {
            return Err(SigError::Mismatch);
        }
        check_session(session, context.now)?;
        Ok(Identity {
            app: app.clone(),
            region: credential.region.to_owned(),
            scheme: Scheme::Form,
            payload: PayloadMode::Unsigned,
            seed: ChunkSeed::new(key, signature, credential.scope, moment.as_str()),
        })
    }
}
