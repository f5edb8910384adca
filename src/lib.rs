//! Domicile: a data-residency gateway for S3.
//!
//! Rooms follow the way of a request: [`gateway`] takes it in, [`s3`] understands it, [`label`] says what it
//! holds, [`policy`] where that may rest, [`placement`] picks a place, [`locations`] reach it, and
//! [`catalogue`] and [`log`] keep what was done.
#![forbid(unsafe_code)]

pub mod admin;
pub mod body;
pub mod catalogue;
pub mod cli;
mod clock;
pub mod config;
pub mod gateway;
pub mod geo;
mod hop;
pub mod label;
pub mod locations;
pub mod log;
pub mod names;
pub mod placement;
pub mod policy;
mod random;
pub mod s3;
