//! The built-in configuration: four embedded locations in four countries, for a first look on one machine.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;

use super::CommandError;
use crate::config::{App, Config, Secret};
use crate::random;

const APP: &str = "demo";

/// The configuration over a data folder; the app is there once [`credentials`] has been called.
pub fn config(data: &Path) -> Result<Config, CommandError> {
    let text = include_str!("demo.toml");
    let mut config = Config::parse(text, &data.join("config.toml"))?;
    if let Some((access_key_id, secret)) = read(&path(data))? {
        config.apps.push(App {
            id: APP.parse()?,
            access_key_id,
            secret_access_key: secret,
            buckets: vec!["*".to_owned()],
            access: crate::config::Access::ReadWrite,
            entity: Default::default(),
            sessions: Vec::new(),
        });
    }
    Ok(config)
}

/// Where the demo credentials are.
pub fn path(data: &Path) -> PathBuf {
    data.join("credentials")
}

/// Makes the credentials file if there is none.
pub fn credentials(data: &Path) -> Result<PathBuf, CommandError> {
    let path = path(data);
    if path.exists() {
        return Ok(path);
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let id: String = random::bytes::<16>().iter().map(|byte| char::from(b'A' + byte % 26)).collect();
    let secret = base64::engine::general_purpose::STANDARD.encode(random::bytes::<30>());
    let text = format!(
        "# Made by `domicile serve` for its built-in configuration.\n\
         [default]\naws_access_key_id = DOMI{id}\naws_secret_access_key = {secret}\n"
    );
    // Complete or not there at all, whatever happens in between.
    let fresh = data.join("credentials.tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    fs::File::open(data)?.sync_all()?;
    Ok(path)
}

/// Access key id and secret of the `default` profile.
fn read(path: &Path) -> Result<Option<(String, Secret)>, CommandError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display()).into()),
    };
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Ok(Some((id, Secret::new(secret)))),
        _ => Err(format!(
            "{} does not hold an access key; delete it, and the next start makes a new one",
            path.display()
        )
        .into()),
    }
}
