#![no_main]

#[path = "../targets/chunks.rs"]
mod chunks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    chunks::run(data);
});
