//! What can go wrong between a location's answer and the catalogue's: each promise under attack.
//!
//! The gateway is whole; its locations are real stores that lose, forge or delay what the test says.

mod amends;
mod buckets;
mod copies;
mod deletes;
mod documents;
mod locks;
mod open_writes;
mod reads;
mod residues;
mod settings;
mod uploads;
mod vanished;
mod versions;
