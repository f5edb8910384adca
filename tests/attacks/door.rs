//! A gateway with something to lose, and what is looked at after an attack.

use aws_sdk_s3::primitives::ByteStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::gateway::{Gateway, LOCATIONS, ON_SITE, PATIENCE, Stores};
use crate::support::raw::Raw;
use crate::support::{Listens, S3Server, Seen};

/// The bytes that every attack tries to get stored. They must be found nowhere.
pub const SMUGGLED: &str = "smuggled";
/// The bytes that every attack tries to get at: the content of `clinic/note`.
pub const KEPT: &str = "stays";

/// Another app of the gateway, that may use the bucket `open-data` and no other.
const NEIGHBOUR: &str = "[[app]]\nid = \"neighbour\"\naccess-key-id = \"AKIDNEIGHBOUR\"\n\
                         secret-access-key = \"n\"\nbuckets = [\"open-*\"]\n\n";

/// Attacks on the door are not about laws, and a gateway starts faster with few.
pub const FEW_PACKS: &str = "[policy]\npacks = [\"base\", \"cn\"]\n";

/// The gateway: `clinic` and `open-data` hold one object each, both called `note`.
pub struct Door {
    pub gateway: Gateway,
    /// How many requests each location had seen when the attack began.
    before: Vec<usize>,
}

impl Door {
    pub async fn new() -> Door {
        Self::with("").await
    }

    /// With more of a `[gateway]` section.
    pub async fn with(limits: &str) -> Door {
        let mut servers = Vec::new();
        for _ in LOCATIONS {
            servers.push(S3Server::files(Listens::Http).await);
        }
        let more = format!("{NEIGHBOUR}[gateway]\n{limits}\n{ON_SITE}\n{FEW_PACKS}");
        let gateway = Gateway::configured(Stores::Servers(servers), &more).await;
        let client = gateway.client();
        for (bucket, content) in [("clinic", KEPT), ("open-data", "open")] {
            client.create_bucket().bucket(bucket).send().await.unwrap();
            let body = ByteStream::from(content.as_bytes().to_vec());
            client.put_object().bucket(bucket).key("note").body(body).send().await.unwrap();
        }
        let before = gateway.servers().iter().map(|server| server.seen().len()).collect();
        Door { gateway, before }
    }

    pub fn address(&self) -> &str {
        self.gateway.endpoint.strip_prefix("http://").unwrap()
    }

    pub fn raw(&self, method: &str, target: &str) -> Raw {
        Raw::new(&self.gateway, method, target)
    }

    /// A write of [`SMUGGLED`], not signed yet.
    pub fn put(&self, target: &str) -> Raw {
        self.raw("PUT", target).body(SMUGGLED)
    }

    /// A request of the app that has no business in `clinic`.
    pub fn neighbour(&self, method: &str, target: &str) -> Raw {
        let mut raw = self.raw(method, target);
        (raw.signing.access_key_id, raw.signing.secret) = ("AKIDNEIGHBOUR".to_owned(), "n".to_owned());
        raw
    }

    /// Sends these bytes and reads until the gateway ends the connection.
    pub async fn wire(&self, bytes: &[u8]) -> String {
        let socket = TcpStream::connect(self.address()).await.unwrap();
        let (mut reading, mut writing) = socket.into_split();
        let bytes = bytes.to_vec();
        // A refusal may come before all was taken.
        let sending = tokio::spawn(async move {
            let _ = writing.write_all(&bytes).await;
            writing
        });
        let mut answer = Vec::new();
        // A reset instead of an end is an end too.
        let _ = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer))
            .await
            .expect("the gateway ends the connection");
        drop(sending.await.unwrap());
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// What the locations saw since the attack began.
    pub fn forwarded(&self) -> Vec<Seen> {
        let servers = self.gateway.servers().iter().zip(&self.before);
        servers.flat_map(|(server, before)| server.seen().split_off(*before)).collect()
    }

    /// No location has heard of the attack, and nothing has changed.
    #[track_caller]
    pub fn nothing_forwarded(&self) {
        let forwarded = self.forwarded();
        let told: Vec<_> = forwarded.iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
        assert!(told.is_empty(), "forwarded: {told:?}");
    }

    /// [`Door::nothing_forwarded`], and what was there is there still, and nothing else.
    pub async fn unharmed(&mut self) {
        self.nothing_forwarded();
        // Nobody is to be woken up by it.
        let (_, metrics) = self.gateway.admin_page("/metrics").await;
        assert!(!metrics.contains("blame=\"gateway\""), "an attack is no fault of the gateway: {metrics}");
        self.unchanged().await;
    }

    /// What was there is there still, and nothing else.
    pub async fn unchanged(&mut self) {
        let client = self.gateway.client();
        for (bucket, content) in [("clinic", KEPT), ("open-data", "open")] {
            let list = client.list_objects_v2().bucket(bucket).send().await.unwrap();
            let keys: Vec<_> = list.contents().iter().filter_map(|object| object.key()).collect();
            assert_eq!(keys, ["note"], "in {bucket}");
            let answer = client.get_object().bucket(bucket).key("note").send().await.unwrap();
            assert_eq!(answer.body.collect().await.unwrap().to_vec(), content.as_bytes(), "in {bucket}");
        }
        assert_eq!(self.gateway.disks_with(SMUGGLED.as_bytes()), [""; 0]);
        self.before = self.gateway.servers().iter().map(|server| server.seen().len()).collect();
    }
}

/// The status lines in what came over a connection: one for each request that the gateway saw in it.
pub fn statuses(answer: &str) -> Vec<u16> {
    let status = |line: &str| line.get(..3).and_then(|code| code.parse().ok());
    answer.split("HTTP/1.1 ").skip(1).filter_map(status).filter(|status| *status >= 200).collect()
}
