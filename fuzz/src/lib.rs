//! The gateway's protocol code alone: its own files, without what makes the gateway take minutes to build.
//!
//! Not a copy: a change there is fuzzed here.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)] // What only the rest of the gateway uses.

#[path = "../../src/body.rs"]
pub mod body;
#[path = "../../src/clock.rs"]
pub mod clock;
#[path = "../../src/config.rs"]
pub mod config;
pub mod label;
#[path = "../../src/names.rs"]
pub mod names;
#[path = "../../src/s3/mod.rs"]
pub mod s3;
