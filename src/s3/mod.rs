//! The S3 protocol: signatures, framing, checksums, operations, documents. Sans I/O.
pub mod checksum;
pub mod chunked;
pub mod cors;
pub mod error;
pub mod form;
pub mod listing;
pub mod operation;
pub mod payload;
pub mod sigv4;
pub mod tagging;
pub mod token;
pub mod xml;
