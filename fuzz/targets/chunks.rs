//! `aws-chunked` framing: however it is cut, it decodes to the same, and never to more than was announced.

use bytes::Bytes;
use domicile::config::Secret;
use domicile::s3::chunked::{ChunkError, Decoder, Event, Framing, Trailer};
use domicile::s3::sigv4::{ChunkSeed, SigningKey};

#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    data: Vec<u8>,
    trailers: Vec<Trailer>,
    is_finished: bool,
}

/// Whether the framing was right to its end. The first byte chooses the framing, the second one the announced length,
/// the third one where the input is cut.
pub fn run(data: &[u8]) -> bool {
    let [framing, length, cut, body @ ..] = data else { return false };
    let length = match *length {
        u8::MAX => u64::MAX,
        length => u64::from(length),
    };
    let whole = decode(*framing, length, body, body.len().max(1));
    for piece in [1, usize::from(*cut).max(1)] {
        let in_pieces = decode(*framing, length, body, piece);
        // Of data after the end, pieces may show the end first. What they show of the body is the same.
        assert_eq!(whole, in_pieces, "cut in pieces of {piece}");
    }
    match whole {
        Ok(decoded) => {
            assert!(decoded.data.len() as u64 <= length);
            assert!(!decoded.is_finished || decoded.data.len() as u64 == length);
            // An unknown signature cannot be guessed.
            assert!(!decoded.is_finished || framing.is_multiple_of(3));
            decoded.is_finished
        }
        Err(error) => {
            let _ = domicile::s3::error::S3Error::from(error);
            false
        }
    }
}

fn decode(framing: u8, length: u64, body: &[u8], piece: usize) -> Result<Decoded, ChunkError> {
    let mut decoder = Decoder::new(framing_of(framing), length);
    let mut decoded = Decoded::default();
    for piece in body.chunks(piece) {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(event) = decoder.next_event(&mut input)? {
            match event {
                Event::Data(data) => {
                    assert!(!data.is_empty());
                    decoded.data.extend_from_slice(&data);
                }
                Event::Trailers(trailers) => decoded.trailers = trailers,
                Event::ChunkVerified => assert!(!framing.is_multiple_of(3)),
                Event::End => assert!(decoder.is_finished()),
            }
        }
        assert!(input.is_empty());
    }
    decoded.is_finished = decoder.is_finished();
    Ok(decoded)
}

fn framing_of(choice: u8) -> Framing {
    let key = SigningKey::derive(&Secret::new("secret"), "20260101", "us-east-1");
    let seed = ChunkSeed::new(key, [7; 32], "20260101/us-east-1/s3/aws4_request", "20260101T000000Z");
    match choice % 3 {
        0 => Framing::UnsignedTrailer,
        1 => Framing::Signed(seed),
        _ => Framing::SignedTrailer(seed),
    }
}
