use super::*;

const EMBEDDED: &str = "type = \"embedded\"\npath = \"store\"";
const S3: &str = "type = \"s3\"\nendpoint = \"https://s3.example.com\"";

/// A configuration with one location of this store.
fn with_store(store: &str) -> Result<Config, ConfigError> {
    let text = format!(
        "data = \"data\"\n\
         [node]\nname = \"n1\"\ndomain = \"log.example.com\"\ncountry = \"DE\"\n\
         [[location]]\nid = \"de\"\ncountry = \"DE\"\nregion = \"eu-central-1\"\nprovider = \"acme\"\n{store}\n"
    );
    Config::parse(&text, Path::new("/etc/domicile/domicile.toml"))
}

#[test]
fn both_types_of_location_are_read() {
    let config = with_store(EMBEDDED).unwrap();
    assert!(matches!(
        &config.locations[0].store,
        Store::Embedded { path } if path == Path::new("/etc/domicile/store")
    ));
    let config = with_store(&format!("{S3}\nstyle = \"virtual-host\"")).unwrap();
    assert!(matches!(
        &config.locations[0].store,
        Store::S3(remote) if remote.style == AddressingStyle::VirtualHost && remote.bucket == "{bucket}"
    ));
}

#[test]
fn a_key_that_a_location_does_not_have_is_refused_by_name() {
    for (store, key) in [
        (EMBEDDED, "certification = [\"C5\"]"),
        (EMBEDDED, "endpoint = \"https://s3.example.com\""),
        (S3, "provider-contry = \"US\""),
        (S3, "path = \"store\""),
        (S3, "secret_access_key = \"hidden-value\""),
    ] {
        let error = with_store(&format!("{store}\n{key}")).map(drop).unwrap_err();
        assert!(matches!(error, ConfigError::Parse { .. }), "{key}: {error}");
        let name = key.split(' ').next().unwrap();
        assert!(error.to_string().contains(&format!("unknown field `{name}`")), "{key}: {error}");
    }
    assert!(matches!(with_store("type = \"tape\""), Err(ConfigError::Parse { .. })));
    assert!(matches!(with_store("path = \"store\""), Err(ConfigError::Parse { .. })));
}

#[test]
fn a_key_that_a_table_does_not_have_is_refused() {
    for extra in ["[gateway]\nlisten-on = \"127.0.0.1:1\"", "[policys]\n", "[label]\nwindow = 1"] {
        let error = with_store(&format!("{EMBEDDED}\n{extra}")).map(drop);
        assert!(matches!(error, Err(ConfigError::Parse { .. })), "{extra}");
    }
}

#[test]
fn an_error_names_the_line_and_shows_no_secret() {
    let app = "[[app]]\nid = \"a\"\naccess-key-id = \"AK\"\nsecret-acess-key = \"hidden-value\"";
    for broken in [
        format!("{EMBEDDED}\n{app}"),
        format!("{EMBEDDED}\n{app} trailing"),
        format!("{S3}\nsecret_access_key = \"hidden-value\""),
    ] {
        let error = with_store(&broken).map(drop).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden-value"), "{error}");
    }
    let error = with_store(&format!("{EMBEDDED}\n{app}")).map(drop).unwrap_err();
    assert!(error.to_string().starts_with("/etc/domicile/domicile.toml, line 16: unknown field"), "{error}");
}
