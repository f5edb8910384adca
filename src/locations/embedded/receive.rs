//! Taking a body in: from frames to a durable blob, with a bounded amount of it in memory.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::task::{JoinHandle, spawn_blocking};

use super::blobs::{BlobHandle, NewBlob, Staged};
use super::digest::{Asserted, Digests, ObjectChecksum};
use super::error::{EmbeddedError, Failure};
use crate::body::Body;
use crate::s3::error::{Code, S3Error};

/// One batch is written while the next one gathers: 256 KiB in all.
const BATCH_BYTES: usize = 128 * 1024;
/// Small frames may sit in large buffers, so that their number is bounded too.
const BATCH_FRAMES: usize = 256;
/// S3's limit for one PUT and for one part.
pub const MAX_BODY_BYTES: u64 = 5 << 30;

/// A body that is durable and is what its sender asserted, but that no row names yet.
pub struct Received {
    pub blob: NewBlob,
    pub size: u64,
    pub md5: [u8; 16],
    pub checksum: Option<ObjectChecksum>,
}

/// Streams `body` into a new blob. Whatever fails, nothing of it stays.
pub async fn receive(
    blobs: BlobHandle,
    headers: &HeaderMap,
    mut asserted: Asserted,
    body: Body,
) -> Result<Received, Failure> {
    let expected = expected_length(headers)?;
    if expected.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(too_large().into());
    }
    let mut writer =
        Writer::Idle(Box::new(Sink { blobs, staged: None, digests: asserted.digests(), size: 0 }));
    let taken = take_in(&mut writer, body, expected, &mut asserted).await;
    let mut sink = match writer.idle().await {
        Ok(sink) => sink,
        // What stopped the body is the first cause.
        Err(failure) => return Err(taken.err().unwrap_or(failure)),
    };
    let finished = spawn_blocking(move || match taken {
        Ok(rest) => sink.finish(rest, &asserted),
        Err(failure) => {
            sink.discard();
            Err(failure)
        }
    });
    finished.await.map_err(|_| EmbeddedError::Stopped)?
}

/// Passes the frames on in batches and returns the last one, which is still to be written.
async fn take_in(
    writer: &mut Writer,
    mut body: Body,
    expected: Option<u64>,
    asserted: &mut Asserted,
) -> Result<Batch, Failure> {
    let mut batch = Batch::default();
    let mut received = 0_u64;
    while let Some(frame) = body.frame().await {
        match frame.map_err(Failure::Body)?.into_data() {
            Ok(data) => {
                received = received.saturating_add(data.len() as u64);
                if received > MAX_BODY_BYTES {
                    return Err(too_large().into());
                }
                if expected.is_some_and(|length| received > length) {
                    return Err(incomplete().into());
                }
                batch.push(data);
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    asserted.add_trailers(&trailers)?;
                }
            }
        }
        if batch.is_full() {
            writer.write(std::mem::take(&mut batch)).await?;
        }
    }
    match expected {
        Some(length) if length != received => Err(incomplete().into()),
        _ => Ok(batch),
    }
}

#[derive(Default)]
struct Batch {
    frames: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.bytes += data.len();
            self.frames.push(data);
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.frames.len() >= BATCH_FRAMES
    }
}

/// The sink, or the task that writes a batch to it.
enum Writer {
    Idle(Box<Sink>),
    Busy(JoinHandle<Result<Box<Sink>, Failure>>),
    /// A batch could not be written; the sink has cleaned up after itself.
    Broken,
}

impl Writer {
    async fn write(&mut self, batch: Batch) -> Result<(), Failure> {
        let sink = std::mem::replace(self, Writer::Broken).idle().await?;
        *self = Writer::Busy(spawn_blocking(move || sink.write(batch)));
        Ok(())
    }

    async fn idle(self) -> Result<Box<Sink>, Failure> {
        match self {
            Writer::Idle(sink) => Ok(sink),
            Writer::Busy(task) => task.await.map_err(|_| EmbeddedError::Stopped)?,
            Writer::Broken => Err(EmbeddedError::Stopped.into()),
        }
    }
}

/// The file and the digests of a body on its way in. Its methods block.
struct Sink {
    blobs: BlobHandle,
    /// Made with the first batch, so that a refused request touches no disk.
    staged: Option<Staged>,
    digests: Digests,
    size: u64,
}

impl Sink {
    fn write(mut self: Box<Self>, batch: Batch) -> Result<Box<Sink>, Failure> {
        match self.append(batch) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.discard();
                Err(error.into())
            }
        }
    }

    fn append(&mut self, batch: Batch) -> Result<(), EmbeddedError> {
        let store = || EmbeddedError::io("write an object's bytes");
        let staged = match &mut self.staged {
            Some(staged) => staged,
            none => none.insert(self.blobs.stage().map_err(store())?),
        };
        for frame in batch.frames {
            staged.write(&frame).map_err(store())?;
            self.digests.update(&frame);
            self.size += frame.len() as u64;
        }
        Ok(())
    }

    /// Writes the rest, compares the digests, and only then makes it durable.
    fn finish(self: Box<Self>, rest: Batch, asserted: &Asserted) -> Result<Received, Failure> {
        let Sink { staged, digests, size, .. } = *self.write(rest)?;
        let staged = staged.ok_or(EmbeddedError::Stopped)?;
        match asserted.verify(digests) {
            Ok((md5, checksum)) => {
                let blob = staged.seal().map_err(EmbeddedError::io("flush an object's bytes"))?;
                Ok(Received { blob, size, md5, checksum })
            }
            Err(error) => {
                discard(staged);
                Err(error.into())
            }
        }
    }

    fn discard(&mut self) {
        if let Some(staged) = self.staged.take() {
            discard(staged);
        }
    }
}

fn discard(staged: Staged) {
    if let Err(error) = staged.discard() {
        tracing::warn!(%error, "an unfinished blob could not be removed; the next start tries again");
    }
}

/// How long the decoded body must be, if the sender said so.
fn expected_length(headers: &HeaderMap) -> Result<Option<u64>, S3Error> {
    let value =
        headers.get("x-amz-decoded-content-length").or_else(|| headers.get(http::header::CONTENT_LENGTH));
    let Some(value) = value else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| S3Error::new(Code::InvalidArgument, "The length of the body is not a number."))
}

fn too_large() -> S3Error {
    S3Error::new(Code::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
        .detail("MaxSizeAllowed", MAX_BODY_BYTES.to_string())
}

fn incomplete() -> S3Error {
    let message = "You did not provide the number of bytes specified by the Content-Length HTTP header";
    S3Error::new(Code::IncompleteBody, message)
}
