#![no_main]

#[path = "../targets/xml.rs"]
mod xml;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    xml::run(data);
});
