//! Data classes: the configuration names them.

#[path = "../../src/label/class.rs"]
pub mod class;
