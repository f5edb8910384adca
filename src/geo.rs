//! Where a client is: address to country.
//!
//! The operator's own networks come before the database. What neither knows is unknown: no country is guessed
//! from a neighbour, and the country where a network is registered does not count, since its users may be elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use http::HeaderMap;
use ipnet::IpNet;
use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions, path};

use crate::config;
use crate::names::Country;

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientPlace {
    Country(Country),
    /// At the storage's own site: in the country of the location that it reads.
    OnSite,
    Unknown,
}

/// Why clients cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    #[error("cannot read the country database {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a usable MaxMind DB file: {source}")]
    Corrupt { path: PathBuf, source: Box<MaxMindDbError> },
    #[error("{path} ({kind}) has no `country.iso_code` in its records: a country or city database is needed")]
    NotOfCountries { path: PathBuf, kind: String },
}

/// Finds the address and the place of a client.
pub struct Geo {
    /// Longest prefix first; of two equal ones, the one with a country.
    networks: Vec<(IpNet, ClientPlace)>,
    trusted_proxies: Vec<IpNet>,
    database: Option<Reader<Vec<u8>>>,
}

impl Geo {
    /// The address of a client that no header names legibly. It has no place.
    pub const UNKNOWN_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    /// Reads the database into memory and checks all of it, so that a damaged file is found now and not by a request.
    pub fn open(config: &config::Geo, trusted_proxies: &[IpNet]) -> Result<Geo, GeoError> {
        let countries = config.networks.iter().map(|(net, country)| (*net, ClientPlace::Country(*country)));
        let on_site = config.on_site.iter().map(|net| (*net, ClientPlace::OnSite));
        let mut networks: Vec<_> = countries.chain(on_site).collect();
        // Stable: countries stay before sites of the same prefix.
        networks.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        Ok(Geo {
            networks,
            trusted_proxies: trusted_proxies.to_vec(),
            database: config.database.as_deref().map(read_database).transpose()?,
        })
    }

    /// The address that a request came from. `X-Forwarded-For` counts when the peer is a trusted proxy: from its end
    /// backwards, the first address that is not a trusted proxy's. What stands before that one, anybody may have
    /// written. [`Geo::UNKNOWN_ADDRESS`] when that entry is no address.
    ///
    /// The `Forwarded` header (RFC 7239) is not read: a proxy that sets only one of the two passes the other on as the
    /// client made it up.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        for line in lines.into_iter().rev() {
            for entry in line.as_bytes().rsplit(|b| *b == b',') {
                if !self.is_trusted(client) {
                    return client;
                }
                match parse_entry(entry) {
                    Some(address) => client = address,
                    None => return Self::UNKNOWN_ADDRESS,
                }
            }
        }
        client
    }

    /// Own networks and sites first, the longest prefix of both deciding; then the database.
    pub fn place(&self, address: IpAddr) -> ClientPlace {
        let address = address.to_canonical();
        if address.is_unspecified() {
            return ClientPlace::Unknown;
        }
        if let Some((_, place)) = self.networks.iter().find(|(net, _)| net.contains(&address)) {
            return *place;
        }
        let known = self.database.as_ref().and_then(|database| {
            // An IPv6 address in a database of IPv4 is an error to the reader and unknown to us.
            let code = iso_code(&database.lookup(address).ok()?).ok()??;
            code.parse().ok()
        });
        known.map_or(ClientPlace::Unknown, ClientPlace::Country)
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}

/// Says what it was given, not where anybody is.
impl std::fmt::Debug for Geo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Geo")
            .field("networks", &self.networks.len())
            .field("trusted_proxies", &self.trusted_proxies.len())
            .field("database", &self.database.as_ref().map(|database| &database.metadata().database_type))
            .finish()
    }
}

/// An address, with or without a port: proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711` too.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

fn read_database(path: &Path) -> Result<Reader<Vec<u8>>, GeoError> {
    let corrupt = |source| GeoError::Corrupt { path: path.to_owned(), source: Box::new(source) };
    let bytes = std::fs::read(path).map_err(|source| GeoError::Read { path: path.to_owned(), source })?;
    let database = Reader::from_source(bytes).map_err(corrupt)?;
    database.verify().map_err(corrupt)?;
    // A database of something else, say of network operators, would leave every client unknown without a word.
    let mut networks = database.networks(WithinOptions::default()).map_err(corrupt)?.take(10_000);
    let has_countries =
        networks.any(|record| record.is_ok_and(|record| matches!(iso_code(&record), Ok(Some(_)))));
    if has_countries {
        Ok(database)
    } else {
        let kind = database.metadata().database_type.clone();
        Err(GeoError::NotOfCountries { path: path.to_owned(), kind })
    }
}

fn iso_code<'a>(record: &LookupResult<'a, Vec<u8>>) -> Result<Option<&'a str>, MaxMindDbError> {
    record.decode_path(&path!["country", "iso_code"])
}

#[cfg(test)]
#[path = "../tests/support/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests {
    use super::*;

    fn geo(config: &str, database: Option<&[u8]>) -> Result<Geo, GeoError> {
        let mut config: config::Geo = toml::from_str(config).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        if let Some(bytes) = database {
            std::fs::write(file.path(), bytes).unwrap();
            config.database = Some(file.path().to_owned());
        }
        Geo::open(&config, &["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn place(geo: &Geo, address: &str) -> String {
        match geo.place(address.parse().unwrap()) {
            ClientPlace::Country(country) => country.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn countries() -> Vec<u8> {
        mmdb::country_database(&[
            ("203.0.113.0/24", "CN"),
            ("203.0.113.128/25", "DE"),
            ("2001:db8::/32", "FR"),
            ("198.51.100.0/24", "XK"),
        ])
    }

    #[test]
    fn the_database_places_an_address_by_its_longest_prefix() {
        let geo = geo("", Some(&countries())).unwrap();
        for (address, expected) in [
            ("203.0.113.5", "CN"),
            ("203.0.113.200", "DE"),
            ("::ffff:203.0.113.5", "CN"),
            ("2001:db8:1::1", "FR"),
            ("2001:db9::1", "Unknown"),
            ("192.0.2.1", "Unknown"),
            ("198.51.100.1", "Unknown"),
            ("0.0.0.0", "Unknown"),
            ("::", "Unknown"),
        ] {
            assert_eq!(place(&geo, address), expected, "{address}");
        }
    }

    #[test]
    fn own_networks_come_before_the_database_and_the_longest_prefix_before_others() {
        let config = "networks = { '203.0.113.0/28' = 'IN', '192.168.0.0/16' = 'CN', '192.168.7.0/24' = 'JP', '10.9.0.0/16' = 'BR' }
            on-site = ['192.168.9.0/24', '10.9.0.0/16', '2001:db8::/64']";
        let geo = geo(config, Some(&countries())).unwrap();
        for (address, expected) in [
            ("203.0.113.5", "IN"),
            ("203.0.113.50", "CN"),
            ("192.168.7.1", "JP"),
            ("192.168.8.1", "CN"),
            ("192.168.9.1", "OnSite"),
            ("10.9.0.1", "BR"),
            ("2001:db8::1", "OnSite"),
        ] {
            assert_eq!(place(&geo, address), expected, "{address}");
        }
    }

    #[test]
    fn without_a_database_only_own_networks_are_known() {
        let geo = geo("networks = { '192.168.0.0/16' = 'CN' }", None).unwrap();
        assert_eq!((place(&geo, "192.168.1.1"), place(&geo, "203.0.113.5")), ("CN".into(), "Unknown".into()));
    }

    #[test]
    fn a_database_that_cannot_be_used_is_refused_at_start() {
        let config = config::Geo { database: Some("/nowhere/country.mmdb".into()), ..Default::default() };
        assert!(matches!(Geo::open(&config, &[]), Err(GeoError::Read { .. })));
        for broken in [&b""[..], b"not a database", &countries()[..200]] {
            assert!(matches!(geo("", Some(broken)), Err(GeoError::Corrupt { .. })));
        }
        // A record that points behind the data section.
        let mut damaged = countries();
        damaged[..3].copy_from_slice(&[0xff; 3]);
        let error = geo("", Some(&damaged)).unwrap_err();
        assert!(error.to_string().contains("is not a usable MaxMind DB file"), "{error}");

        let operators =
            mmdb::database(&[("203.0.113.0/24", "x")], |word| mmdb::map(&[("asn", mmdb::text(word))]));
        let error = geo("", Some(&operators)).unwrap_err();
        assert!(matches!(error, GeoError::NotOfCountries { .. }), "{error}");
    }

    #[test]
    fn no_damage_of_one_byte_makes_a_lookup_panic() {
        let whole = countries();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            if let Ok(database) = Reader::from_source(damaged) {
                let geo = Geo { networks: Vec::new(), trusted_proxies: Vec::new(), database: Some(database) };
                for address in ["203.0.113.5", "2001:db8::1", "198.51.100.1"] {
                    place(&geo, address);
                }
            }
        }
    }

    #[test]
    fn forwarded_addresses_count_from_the_right_and_only_behind_trusted_proxies() {
        let geo = geo("", None).unwrap();
        let client = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            headers.insert("forwarded", "for=9.9.9.9".parse().unwrap());
            geo.client_address(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("203.0.113.9", &["1.1.1.1"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(client("::ffff:10.0.0.1", &["1.1.1.1, 2.2.2.2,10.0.0.2"]), "2.2.2.2");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "2.2.2.2", "10.0.0.2"]), "2.2.2.2");
        assert_eq!(client("fd00::1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["2.2.2.2:81"]), "2.2.2.2");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn an_entry_that_is_no_address_makes_the_client_unknown_unless_it_lies_beyond_the_client() {
        let geo = geo("networks = { '10.0.0.0/8' = 'CN' }", None).unwrap();
        let client = |line: &str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("x-forwarded-for"),
                http::HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            )]);
            geo.client_address("10.0.0.1".parse().unwrap(), &headers)
        };
        for line in ["unknown", "", "1.1.1.1, ", "1.1.1.1,x", "1.1.1.1 10.0.0.2", "ü"] {
            assert_eq!(client(line), Geo::UNKNOWN_ADDRESS, "{line}");
            assert_eq!(geo.place(client(line)), ClientPlace::Unknown);
        }
        assert_eq!(client("x, 1.1.1.1").to_string(), "1.1.1.1");
    }
}
