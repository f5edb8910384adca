#![no_main]

#[path = "../targets/lists.rs"]
mod lists;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lists::run(data);
});
