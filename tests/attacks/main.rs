//! Attacks on the door, one file a class: what is known to have broken S3 servers, proxies and gateways before.
//!
//! Each attack must be refused, with the error that S3 has for it; nothing may be stored, and no location may have
//! heard of it. The gateway is the real program; its locations are S3 servers that write down what they see.
//! Signatures that merely do not fit are in `tests/front_door/signatures.rs`.

#[path = "../support/mod.rs"]
mod support;

mod chunks;
mod door;
mod forwarded;
mod framing;
mod headers;
mod hosts;
mod http2;
mod paths;
mod presigned;
mod replay;
mod slow;
mod tokens;
mod xml;
