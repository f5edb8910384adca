//! The forward path copies no body: what is allocated for one is the buffers that it is read into, and nothing more.
//!
//! The gateway runs in this process, on threads whose allocations are counted; its locations and its client run on
//! others. Counted is what is asked of the allocator in all, not what is held at once: a copy would show twice.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use domicile::config::Config;
use domicile::gateway::server::{ConnectionLimits, Server};
use domicile::gateway::stack;
use domicile::gateway::start::Running;
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
        let signing = Signing {
            access_key_id: APP_KEY.to_owned(),
            secret: APP_SECRET.to_owned(),
            region: "us-east-1".to_owned(),
            time: SystemTime::now(),
        };
        let headers = vec![("host".to_owned(), self.address.to_string())];
        let raw =
            Raw { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new(), signing };
        let raw = raw.body(body).sign_with(UNSIGNED);
        let before = ASKED.load(Ordering::Relaxed);
        let answer = raw.send().await;
        (answer, ASKED.load(Ordering::Relaxed) - before)
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allocated_for_a_body_is_what_it_is_read_into() {
    let door = Door::open().await;
    let text = |bytes: usize| {
        b"the quick brown fox jumps over the lazy dog and sleeps\n".repeat(bytes / 55 + 1)[..bytes].to_vec()
    };
    let mut asked = Vec::new();
    for (key, bytes) in [("warm", SMALL), ("small", SMALL), ("large", LARGE)] {
        let target = format!("/bucket/{key}");
        let (put, for_put) = door.send("PUT", &target, text(bytes)).await;
        assert_eq!(put.status, 200, "{}", put.text());
        let (get, for_get) = door.send("GET", &target, Vec::new()).await;
        assert_eq!((get.status, get.body.len()), (200, bytes));
        asked.push((for_put, for_get));
    }
    let [_, small, large] = asked[..] else { unreachable!() };
    let more = (LARGE - SMALL) as f64;
    let put = (large.0 as f64 - small.0 as f64) / more;
    let get = (large.1 as f64 - small.1 as f64) / more;
    println!("allocated for each byte of a body: {put:.2} of a PUT, {get:.2} of a GET");
    // One buffer to read into, of which a little is left over. A copy would make two.
    assert!(put < 1.3, "a PUT allocates {put:.2} bytes for each byte of its body");
    assert!(get < 1.3, "a GET allocates {get:.2} bytes for each byte of its body");
}
