#![no_main]

#[path = "../targets/payload.rs"]
mod payload;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    payload::run(data);
});
