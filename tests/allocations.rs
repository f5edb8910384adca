//! The forward path copies no body: what is allocated for one is the buffers that it is read into, and nothing more.
//!
//! The gateway runs in this process, on threads whose allocations are counted; its locations and its client run on
//! others. Counted is what is asked of the allocator in all, not what is held at once: a copy would show twice.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use domicile::config::Config;
use domicile::gateway::server::{ConnectionLimits, Server};
use domicile::gateway::stack;
use domicile::gateway::start::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

#[path = "support/mod.rs"]
mod support;

use support::gateway::{APP_KEY, APP_SECRET, LOCATIONS, ON_SITE, Stores, config_text};
use support::raw::{Answer, Raw, Signing, UNSIGNED};
use support::{Listens, S3Server};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that the gateway's threads have asked for.
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_OF_GATEWAY: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: everything is the system allocator's doing; beside it a number is added up. A thread that is ending may have no
// thread-local storage any more: `try_with` then counts nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // It may have to move, and a move is a copy.
        count(size);
        // SAFETY: passed on as it came.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: usize) {
    if IS_OF_GATEWAY.try_with(Cell::get).unwrap_or(false) {
        ASKED.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A gateway in this process, over S3 servers of somebody else.
struct Door {
    address: SocketAddr,
    /// The gateway's own; taken when it ends.
    runtime: Option<Runtime>,
    _folder: tempfile::TempDir,
    _servers: Stores,
}

impl Door {
    async fn open() -> Door {
        let mut servers = Vec::new();
        for _ in LOCATIONS {
            servers.push(S3Server::files(Listens::Http).await);
        }
        let stores = Stores::Servers(servers);
        let folder = tempfile::tempdir().unwrap();
        let mut config =
            Config::parse(&config_text(&stores, ON_SITE), &folder.path().join("domicile.toml")).unwrap();
        config.gateway.listen.set_port(0);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(|| IS_OF_GATEWAY.set(true))
            .build()
            .unwrap();
        let started = runtime.spawn(async move {
            let limits = ConnectionLimits::of(&config.gateway);
            let server = Server::bind(config.gateway.listen, None, limits).await.unwrap();
            let address = server.address().unwrap();
            let running = Running::start(config).await.unwrap();
            let front = stack::build(&running.gateway);
            tokio::spawn(async move {
                server.run(front, std::future::pending()).await;
                running.stop().await;
            });
            address
        });
        let address = started.await.unwrap();
        let door = Door { address, runtime: Some(runtime), _folder: folder, _servers: stores };
        assert_eq!(door.send("PUT", "/bucket", Vec::new()).await.0.status, 200);
        door
    }

    /// The answer, and the bytes that the gateway asked for meanwhile.
    async fn send(&self, method: &str, target: &str, body: Vec<u8>) -> (Answer, u64) {
        let raw = self.request(method, target, body);
        let before = ASKED.load(Ordering::Relaxed);
        let answer = raw.send().await;
        (answer, ASKED.load(Ordering::Relaxed) - before)
    }

    /// The bytes that the gateway asked for while an object was read from it without haste.
    ///
    /// A buffer that a read has not filled is not filled later, so what is allocated depends on how much has arrived
    /// when the gateway reads. From a client that is slower than the location, it finds its buffers full.
    async fn get_slowly(&self, target: &str, bytes: usize) -> u64 {
        let head = self.request("GET", target, Vec::new()).head();
        let before = ASKED.load(Ordering::Relaxed);
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(&head).await.unwrap();
        let mut answer = Vec::with_capacity(bytes + (64 << 10));
        while (&mut socket).take(1 << 20).read_to_end(&mut answer).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let asked = ASKED.load(Ordering::Relaxed) - before;
        let answer = Answer::parse(&answer).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, bytes));
        asked
    }

    fn request(&self, method: &str, target: &str, body: Vec<u8>) -> Raw {
        let signing = Signing {
            access_key_id: APP_KEY.to_owned(),
            secret: APP_SECRET.to_owned(),
            region: "us-east-1".to_owned(),
            time: SystemTime::now(),
        };
        let headers = vec![("host".to_owned(), self.address.to_string())];
        let raw =
            Raw { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new(), signing };
        raw.body(body).sign_with(UNSIGNED)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const SMALL: usize = 8 << 20;
const LARGE: usize = 40 << 20;

/// For each byte of a body. A PUT's is read into one buffer, of which a little is left over; a GET's into buffers that
/// mostly come back once the client has their bytes. A copy would add 1 to either, however often it is tried.
const MOST_OF_PUT: f64 = 1.5;
const MOST_OF_GET: f64 = 0.95;
const TRIES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allocated_for_a_body_is_what_it_is_read_into() {
    let door = Door::open().await;
    let text = |bytes: usize| {
        b"the quick brown fox jumps over the lazy dog and sleeps\n".repeat(bytes / 55 + 1)[..bytes].to_vec()
    };
    let (mut put, mut get) = (f64::MAX, f64::MAX);
    for _ in 0..TRIES {
        let mut asked = Vec::new();
        for (key, bytes) in [("small", SMALL), ("large", LARGE)] {
            let target = format!("/bucket/{key}");
            let (answer, for_put) = door.send("PUT", &target, text(bytes)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            asked.push((for_put, door.get_slowly(&target, bytes).await));
        }
        let [small, large] = asked[..] else { unreachable!() };
        let for_each = |small: u64, large: u64| (large as f64 - small as f64) / (LARGE - SMALL) as f64;
        (put, get) = (put.min(for_each(small.0, large.0)), get.min(for_each(small.1, large.1)));
        println!("allocated for each byte of a body, at least: {put:.2} of a PUT, {get:.2} of a GET");
        if put < MOST_OF_PUT && get < MOST_OF_GET {
            return;
        }
    }
    panic!("for each byte of its body a PUT allocates {put:.2} bytes and a GET {get:.2}, which is a copy");
}
