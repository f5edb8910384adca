//! Slow peers: whoever sends a byte now and then, or reads one, holds nothing for long, and nobody else up.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::door::{Door, KEPT, SMUGGLED, statuses};
use crate::support::gateway::{PATIENCE, eventually};
use crate::support::raw::{Answer, UNSIGNED};

const SHORT: &str = "header-timeout-seconds = 2\nidle-timeout-seconds = 3\ntotal-timeout-seconds = 15";

/// Sends a byte of `bytes` again and again, for as long as the other side takes them.
fn drip(mut writing: OwnedWriteHalf, bytes: Vec<u8>) -> JoinHandle<()> {
    tokio::spawn(async move {
        for byte in bytes {
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    })
}

async fn to_the_end(reading: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let _ =
        timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect("the gateway gives up at some time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_headers_end_the_connection_and_hold_up_nobody() {
    let mut door = Door::with(SHORT).await;
    let mut slow = Vec::new();
    for _ in 0..40 {
        let (reading, writing) = TcpStream::connect(door.address()).await.unwrap().into_split();
        // Would take minutes: a header at a time, and never the end of them.
        let head =
            format!("GET /clinic/note HTTP/1.1\r\nhost: {}\r\n{}", door.address(), "x-a: b\r\n".repeat(300));
        slow.push((reading, drip(writing, head.into_bytes())));
    }
    // One that sends nothing at all.
    let (reading, writing) = TcpStream::connect(door.address()).await.unwrap().into_split();
    slow.push((reading, drip(writing, Vec::new())));
    assert_eq!(door.raw("GET", "/clinic/note").sign().send().await.text(), KEPT);
    for (mut reading, dripping) in slow {
        let answer = to_the_end(&mut reading).await;
        assert!(statuses(&answer).iter().all(|status| matches!(status, 400 | 408)), "{answer}");
        dripping.abort();
    }
    door.unchanged().await;
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let mut door = Door::with(SHORT).await;
    for sent in [0, 1, 100_000] {
        let raw = door.raw("PUT", "/clinic/other").body(SMUGGLED.repeat(100_000)).sign_with(UNSIGNED);
        let (mut reading, mut writing) = TcpStream::connect(door.address()).await.unwrap().into_split();
        writing.write_all(&[raw.head(), raw.body[..sent].to_vec()].concat()).await.unwrap();
        let answer = to_the_end(&mut reading).await;
        Answer::parse(answer.as_bytes()).unwrap().refused(400, "RequestTimeout");
    }
    settled(&door).await;
    door.unchanged().await;
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_in_the_end() {
    let mut door = Door::with(SHORT).await;
    for (method, target) in [("PUT", "/clinic/other"), ("POST", "/clinic?delete")] {
        let raw = door.raw(method, target).body(SMUGGLED.repeat(100_000)).sign_with(UNSIGNED);
        let (mut reading, mut writing) = TcpStream::connect(door.address()).await.unwrap().into_split();
        writing.write_all(&raw.head()).await.unwrap();
        let dripping = drip(writing, raw.body.clone());
        let answer = to_the_end(&mut reading).await;
        Answer::parse(answer.as_bytes()).unwrap().refused(400, "RequestTimeout");
        dripping.abort();
    }
    settled(&door).await;
    door.unchanged().await;
}

#[tokio::test]
async fn readers_that_take_nothing_lose_their_connections() {
    // As many requests at once as there are such readers: nobody else is served while they last.
    let mut door = Door::with("idle-timeout-seconds = 5\nmax-concurrent-requests = 2").await;
    let client = door.gateway.client();
    let large = vec![b'a'; 32 << 20];
    client.put_object().bucket("clinic").key("large").body(large.into()).send().await.unwrap();
    let answered = async |status: u16| {
        let answer = door.raw("GET", "/clinic/note").sign().send().await;
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        answer.status == status
    };
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(door.address()).await.unwrap();
        socket.write_all(&door.raw("GET", "/clinic/large").sign().head()).await.unwrap();
        // The sockets between hold some of the answer; the rest waits for a reader.
        let mut head = [0; 12];
        timeout(PATIENCE, socket.read_exact(&mut head)).await.unwrap().unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        readers.push(socket);
    }
    assert!(answered(503).await, "both hold their place");
    eventually("a place to be free", async || answered(200).await).await;
    let mut least = usize::MAX;
    for mut socket in readers {
        let mut read = 0;
        let mut buffer = vec![0; 1 << 20];
        while let Ok(more @ 1..) = timeout(PATIENCE, socket.read(&mut buffer)).await.expect("an end") {
            read += more;
        }
        least = least.min(read);
    }
    assert!(least < 32 << 20, "the gateway waited for its readers");
    client.delete_object().bucket("clinic").key("large").send().await.unwrap();
    door.unchanged().await;
}

/// Nothing of an upload that was given up is under way any more.
async fn settled(door: &Door) {
    eventually("the uploads to end", async || {
        door.gateway.admin_page("/metrics").await.1.contains("domicile_open_intents 0")
    })
    .await;
    door.gateway.settled_disks_with(SMUGGLED.as_bytes(), &[]).await;
}
