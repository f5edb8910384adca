//! The credentials that a remote location is asked with: fixed ones, or those of the standard AWS chain.
//!
//! The chain (environment, profile, web identity, ECS, IMDS) is first asked when a request needs it, never at
//! start. One request at a time asks; the others wait for its answer or use what is still valid.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Credentials this close to their end are replaced while they are still used.
const REFRESH_BEFORE: Duration = Duration::from_secs(5 * 60);
/// How long a failure is answered from memory, so that a broken chain is not asked by each request.
const FAILURE_HOLDS: Duration = Duration::from_secs(2);

/// Why there are no credentials. The text holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CredentialFailure {
    #[error("the AWS credential chain failed: {0}")]
    Chain(Arc<str>),
    #[error("the AWS credential chain did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the AWS credential chain gave credentials that have expired")]
    Expired,
}

/// Where the credentials of one location come from.
#[derive(Clone)]
pub(super) enum CredentialSource {
    Fixed(Credentials),
    Chain(Arc<Chain>),
}

impl CredentialSource {
    pub(super) fn fixed(access_key_id: &str, secret_access_key: &str) -> Self {
        let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "configuration");
        CredentialSource::Fixed(credentials)
    }

    /// The standard AWS chain. `region` is where a token service would be asked.
    pub(super) fn chain(profile: Option<&str>, region: &str, patience: Duration) -> Self {
        let provider = Provider::Standard { profile: profile.map(str::to_owned), region: region.to_owned() };
        CredentialSource::Chain(Arc::new(Chain::new(provider, patience)))
    }

    /// Credentials that are valid at `now`.
    pub(super) async fn usable(&self, now: SystemTime) -> Result<Credentials, CredentialFailure> {
        match self {
            CredentialSource::Fixed(credentials) => Ok(credentials.clone()),
            CredentialSource::Chain(chain) => chain.usable(now).await,
        }
    }
}

/// A chain with what it answered last.
pub(super) struct Chain {
    current: ArcSwapOption<Credentials>,
    /// Held by whoever asks the chain.
    turn: Arc<Mutex<Turn>>,
    patience: Duration,
}

struct Turn {
    provider: Provider,
    failure: Option<(Instant, CredentialFailure)>,
}

enum Provider {
    /// Not built yet.
    Standard {
        profile: Option<String>,
        region: String,
    },
    Ready(SharedCredentialsProvider),
}

impl Chain {
    fn new(provider: Provider, patience: Duration) -> Self {
        let turn = Turn { provider, failure: None };
        Chain { current: ArcSwapOption::empty(), turn: Arc::new(Mutex::new(turn)), patience }
    }

    async fn usable(self: &Arc<Self>, now: SystemTime) -> Result<Credentials, CredentialFailure> {
        match self.remembered(now) {
            Some((credentials, Age::Fresh)) => Ok(credentials),
            Some((credentials, Age::Ending)) => {
                if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() {
                    let chain = Arc::clone(self);
                    tokio::spawn(async move { chain.ask(turn, now).await });
                }
                Ok(credentials)
            }
            None => {
                let turn = Arc::clone(&self.turn).lock_owned().await;
                // Whoever had the turn before may have answered for us.
                match self.remembered(now) {
                    Some((credentials, _)) => Ok(credentials),
                    None => self.ask(turn, now).await,
                }
            }
        }
    }

    fn remembered(&self, now: SystemTime) -> Option<(Credentials, Age)> {
        let current = self.current.load();
        let credentials = current.as_deref()?;
        let age = match credentials.expiry() {
            None => Age::Fresh,
            Some(expiry) if expiry > now + REFRESH_BEFORE => Age::Fresh,
            Some(expiry) if expiry > now => Age::Ending,
            Some(_) => return None,
        };
        Some((credentials.clone(), age))
    }

    async fn ask(
        &self,
        mut turn: OwnedMutexGuard<Turn>,
        now: SystemTime,
    ) -> Result<Credentials, CredentialFailure> {
        if let Some((at, failure)) = &turn.failure
            && at.elapsed() < FAILURE_HOLDS
        {
            return Err(failure.clone());
        }
        let answer = match tokio::time::timeout(self.patience, turn.provider.ask()).await {
            Err(_) => Err(CredentialFailure::TimedOut(self.patience)),
            Ok(Err(error)) => Err(CredentialFailure::Chain(describe(&error).into())),
            Ok(Ok(credentials)) if credentials.expiry().is_some_and(|expiry| expiry <= now) => {
                Err(CredentialFailure::Expired)
            }
            Ok(Ok(credentials)) => Ok(credentials),
        };
        match &answer {
            Ok(credentials) => {
                self.current.store(Some(Arc::new(credentials.clone())));
                turn.failure = None;
            }
            Err(failure) => turn.failure = Some((Instant::now(), failure.clone())),
        }
        answer
    }
}

/// How long credentials will last.
enum Age {
    Fresh,
    Ending,
}

impl Provider {
    async fn ask(&mut self) -> Result<Credentials, CredentialsError> {
        if let Provider::Standard { profile, region } = self {
            let mut chain = DefaultCredentialsChain::builder().region(Region::new(region.clone()));
            if let Some(profile) = profile {
                chain = chain.profile_name(profile);
            }
            *self = Provider::Ready(SharedCredentialsProvider::new(chain.build().await));
        }
        match self {
            Provider::Ready(provider) => provider.provide_credentials().await,
            Provider::Standard { .. } => Err(CredentialsError::not_loaded_no_source()),
        }
    }
}

/// The kind of the failure. The causes below it may quote files and answers of token services: they stay unsaid.
fn describe(error: &CredentialsError) -> &'static str {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "no credentials in the environment, the profile, a web identity, ECS or IMDS"
        }
        CredentialsError::ProviderTimedOut(_) => "a provider timed out",
        CredentialsError::InvalidConfiguration(_) => "its configuration is invalid",
        CredentialsError::ProviderError(_) => "a provider answered with an error",
        _ => "an unexpected error",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::UNIX_EPOCH;

    use aws_credential_types::provider::future::ProvideCredentials as Answer;

    use super::*;

    /// A provider that counts, and answers from a list; the last answer repeats.
    #[derive(Debug)]
    struct Scripted {
        asked: Arc<AtomicUsize>,
        expiries: Vec<Result<Option<SystemTime>, &'static str>>,
        delay: Duration,
    }

    impl ProvideCredentials for Scripted {
        fn provide_credentials<'a>(&'a self) -> Answer<'a>
        where
            Self: 'a,
        {
            let turn = self.asked.fetch_add(1, Ordering::SeqCst).min(self.expiries.len() - 1);
            Answer::new(async move {
                tokio::time::sleep(self.delay).await;
                match self.expiries[turn] {
                    Ok(expiry) => {
                        Ok(Credentials::new(format!("id-{turn}"), "secret", None, expiry, "scripted"))
                    }
                    Err(text) => Err(CredentialsError::provider_error(text)),
                }
            })
        }
    }

    type Script = Vec<Result<Option<SystemTime>, &'static str>>;

    fn chain(expiries: Script, delay: Duration) -> (CredentialSource, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let provider = Scripted { asked: asked.clone(), expiries, delay };
        let ready = Provider::Ready(SharedCredentialsProvider::new(provider));
        (CredentialSource::Chain(Arc::new(Chain::new(ready, Duration::from_millis(300)))), asked)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn many_requests_ask_the_chain_once() {
        let (source, asked) = chain(vec![Ok(None)], Duration::from_millis(20));
        let askers = (0..50).map(|_| source.usable(at(1000)));
        for answer in futures_util::future::join_all(askers).await {
            assert_eq!(answer.unwrap().access_key_id(), "id-0");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn credentials_are_replaced_before_they_expire_and_serve_until_then() {
        let (source, asked) = chain(vec![Ok(Some(at(10_000))), Ok(Some(at(20_000)))], Duration::ZERO);
        assert_eq!(source.usable(at(1000)).await.unwrap().access_key_id(), "id-0");
        assert_eq!(source.usable(at(9_000)).await.unwrap().access_key_id(), "id-0");
        assert_eq!(asked.load(Ordering::SeqCst), 1);

        // 100 s before the end the old ones still serve, and new ones are fetched beside.
        assert_eq!(source.usable(at(9_900)).await.unwrap().access_key_id(), "id-0");
        for _ in 0..100 {
            if source.usable(at(9_900)).await.unwrap().access_key_id() == "id-1" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(source.usable(at(9_901)).await.unwrap().access_key_id(), "id-1");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn expired_credentials_are_never_used() {
        let (source, _) = chain(vec![Ok(Some(at(10_000))), Err("down")], Duration::ZERO);
        source.usable(at(1000)).await.unwrap();
        assert!(matches!(source.usable(at(10_000)).await, Err(CredentialFailure::Chain(_))));
        let (source, _) = chain(vec![Ok(Some(at(10_000)))], Duration::ZERO);
        assert!(matches!(source.usable(at(10_001)).await, Err(CredentialFailure::Expired)));
    }

    #[tokio::test]
    async fn a_failure_is_answered_from_memory_for_a_while() {
        let (source, asked) = chain(vec![Err("token=very-secret")], Duration::ZERO);
        for _ in 0..20 {
            let error = source.usable(at(1000)).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("very-secret"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_chain_that_hangs_is_given_up() {
        let (source, _) = chain(vec![Ok(None)], Duration::from_secs(3600));
        assert!(matches!(source.usable(at(1000)).await, Err(CredentialFailure::TimedOut(_))));
    }

    #[tokio::test]
    async fn fixed_credentials_ask_nobody() {
        let source = CredentialSource::fixed("id", "secret");
        assert_eq!(source.usable(at(1000)).await.unwrap().access_key_id(), "id");
    }
}
