//! Giving bytes out: a body that reads from blobs as fast as it is polled, and no faster.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::blobs::{BlobHandle, Hold};
use super::error::EmbeddedError;
use super::rows::Segment;
use crate::body::{Body, BoxError};

const FRAME_BYTES: u64 = 128 * 1024;

/// Opens the bytes `from..to` of a held version. The first frame is read here, so that a small object costs one
/// visit to the disk and a missing file is found before the answer begins. Blocks.
pub fn open(
    blobs: BlobHandle,
    hold: Hold,
    segments: Vec<Segment>,
    from: u64,
    to: u64,
) -> Result<Body, EmbeddedError> {
    let mut stretches = VecDeque::with_capacity(segments.len());
    let mut covered = from;
    for segment in segments {
        let end = segment.start.saturating_add(segment.size).min(to);
        if segment.start > covered || end < covered {
            return Err(EmbeddedError::Damaged);
        }
        stretches.push_back((segment, covered - segment.start, end - covered));
        covered = end;
    }
    if covered != to {
        return Err(EmbeddedError::Damaged);
    }
    let mut reader = Reader { blobs, _hold: hold, stretches, current: None };
    if from == to {
        return Ok(Body::empty());
    }
    let first = reader.next().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => EmbeddedError::Damaged,
        _ => EmbeddedError::Io { what: "read an object's bytes", source: error },
    })?;
    let left = to - from;
    if left == first.len() as u64 {
        return Ok(Body::full(first));
    }
    Ok(Body::new(Download { left, state: State::Ready(first, reader) }))
}

/// A body under way. At most one frame is ready or being read: the next read starts when a frame is taken.
struct Download {
    /// Bytes not yet given out.
    left: u64,
    state: State,
}

enum State {
    Ready(Bytes, Reader),
    Reading(JoinHandle<(io::Result<Bytes>, Reader)>),
    Done,
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (bytes, reader) = match std::mem::replace(&mut self.state, State::Done) {
            State::Done => return Poll::Ready(None),
            State::Ready(bytes, reader) => (bytes, reader),
            State::Reading(mut task) => {
                let Poll::Ready(joined) = Pin::new(&mut task).poll(cx) else {
                    self.state = State::Reading(task);
                    return Poll::Pending;
                };
                match joined {
                    Ok((Ok(bytes), reader)) => (bytes, reader),
                    Ok((Err(error), _)) => return Poll::Ready(Some(Err(error.into()))),
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                }
            }
        };
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if self.left > 0 {
            self.state = State::Reading(spawn_blocking(move || reader.read()));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The files of one version, read in order. It keeps its version's hold until the last byte is out.
struct Reader {
    blobs: BlobHandle,
    _hold: Hold,
    /// Segments to come, with how many bytes to skip and how many to read.
    stretches: VecDeque<(Segment, u64, u64)>,
    current: Option<(File, u64)>,
}

impl Reader {
    fn read(mut self) -> (io::Result<Bytes>, Reader) {
        (self.next(), self)
    }

    /// The next frame; never empty.
    fn next(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some((file, left)) = &mut self.current
                && *left > 0
            {
                let length = FRAME_BYTES.min(*left);
                let mut frame = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
                file.take(length).read_to_end(&mut frame)?;
                if frame.len() as u64 != length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= length;
                return Ok(frame.into());
            }
            let Some((segment, skip, length)) = self.stretches.pop_front() else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let mut file = self.blobs.open(segment.blob)?;
            if file.metadata()?.len() < segment.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if skip > 0 {
                file.seek(SeekFrom::Start(skip))?;
            }
            self.current = Some((file, length));
        }
    }
}
