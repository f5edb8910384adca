//! `domicile serve`

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::target::Target;
use super::{CommandError, demo};
use crate::gateway::server::{ConnectionLimits, Server};
use crate::gateway::start::Running;
use crate::gateway::{Gateway, stack};
use crate::{admin, config};

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    target: Target,
    /// Address of the S3 endpoint; the configuration's when absent
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address of health, readiness and metrics; the configuration's when absent
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Folder of policy packs; those shipped with this version when absent
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// How the gateway's own log is written, to standard error; DOMICILE_LOG sets its level, for example `debug`
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Serve {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        self.log_format.install()?;
        let demo = self.target.config.is_none();
        if demo {
            demo::credentials(&self.target.data)?;
        }
        let mut config = self.target.load()?;
        if let Some(listen) = self.listen {
            config.gateway.listen = listen;
        }
        if let Some(listen) = self.admin_listen {
            config.admin.listen = listen;
        }
        if let Some(policies) = self.policies {
            config.policy.directory = Some(policies);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(config, demo.then_some(self.target.data)))
    }
}

async fn serve(config: config::Config, demo: Option<PathBuf>) -> Result<ExitCode, CommandError> {
    let limits = ConnectionLimits::of(&config.gateway);
    // Both sockets first: an address in use should cost nothing and change nothing.
    let s3 = Server::bind(config.gateway.listen, config.gateway.tls.as_ref(), limits.clone()).await?;
    let admin = Server::bind(config.admin.listen, None, limits).await?;
    let scheme = if config.gateway.tls.is_some() { "https" } else { "http" };
    let (s3_address, admin_address) = (s3.address()?, admin.address()?);

    let running = Running::start(config).await?;
    let gateway = running.gateway.clone();
    let (stop, stopped) = watch::channel(false);
    let admin = tokio::spawn(admin.run(admin::front(gateway.clone()), until(stopped.clone())));
    announce(&gateway, &format!("{scheme}://{s3_address}"), admin_address, demo.as_deref());
    let serving = tokio::spawn(s3.run(stack::build(&gateway), until(stopped)));

    listen_for_signals(&gateway).await?;
    tracing::info!("stopping: requests in flight are being finished");
    // Nobody waits for the sockets any more when they are gone.
    let _ = stop.send(true);
    serving.await?;
    admin.await?;
    running.stop().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Returns when the process should stop; reloads the policies on SIGHUP.
async fn listen_for_signals(gateway: &Arc<Gateway>) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => gateway.reload_policies_and_tell().await,
        }
    }
}

/// Says what a person at a terminal wants to know. Nobody need listen: a closed pipe does not stop the gateway.
fn announce(gateway: &Gateway, endpoint: &str, admin: SocketAddr, demo: Option<&Path>) {
    let text = announcement(gateway, endpoint, admin, demo);
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn announcement(gateway: &Gateway, endpoint: &str, admin: SocketAddr, demo: Option<&Path>) -> String {
    let mut text = format!("Domicile {} serves S3 at {endpoint}\n", env!("CARGO_PKG_VERSION"));
    for location in gateway.locations.all() {
        let facts = &location.facts;
        text += &format!("  location {} in {} (region {})\n", facts.id, facts.country, facts.region);
    }
    text += &format!("  policy set {}\n", gateway.engine.policy().0);
    text += &format!("  health, readiness and metrics at http://{admin}/healthz, /readyz, /metrics\n");
    let Some(data) = demo else { return text };
    // The other terminal stands in another folder, perhaps.
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let credentials = demo::path(&data);
    let (credentials, data) = (credentials.display(), data.display());
    let program =
        std::env::current_exe().map_or_else(|_| "domicile".to_owned(), |path| path.display().to_string());
    // AWS CLI takes the body of `put-object` from a plain file only, not from a pipe.
    text += &format!(
        "  demo credentials in {credentials}\n\n\
         A first object, about a patient in China. Paste these lines into another terminal:\n\n\
         export AWS_SHARED_CREDENTIALS_FILE='{credentials}' AWS_ENDPOINT_URL={endpoint} AWS_REGION=us-east-1; \
         echo 'blood group: 0' > /tmp/record.txt; aws s3 mb s3://clinic && aws s3api put-object --bucket clinic \
         --key record.txt --body /tmp/record.txt --tagging 'data-class=personal.health&subject-country=CN'\n\
         aws s3 cp s3://clinic/record.txt -\n\
         '{program}' where s3://clinic/record.txt --data '{data}'\n\n"
    );
    text
}

impl LogFormat {
    fn install(self) -> Result<(), CommandError> {
        use tracing_subscriber::EnvFilter;
        let filter =
            EnvFilter::try_from_env("DOMICILE_LOG").unwrap_or_else(|_| EnvFilter::new("warn,domicile=info"));
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self {
            LogFormat::Text => {
                let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
                builder.with_ansi(terminal).try_init()
            }
            LogFormat::Json => builder.json().try_init(),
        }
    }
}
