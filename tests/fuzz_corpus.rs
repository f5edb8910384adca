//! The corpus of the fuzz targets, run through them as tests: what was found once is not found again.
//!
//! The targets check more than that nothing panics; see `fuzz/targets/`. `fuzz/run` looks for new inputs.

#[path = "../fuzz/targets/chunks.rs"]
mod chunks;
#[path = "../fuzz/targets/lists.rs"]
mod lists;
#[path = "../fuzz/targets/names.rs"]
mod names;
#[path = "../fuzz/targets/payload.rs"]
mod payload;
#[path = "../fuzz/targets/sigv4.rs"]
mod sigv4;
#[path = "../fuzz/targets/tokens.rs"]
mod tokens;
#[path = "../fuzz/targets/xml.rs"]
mod xml;

use std::path::Path;

/// Runs all inputs of a target. Gives back the names of those that it found good, in order.
fn replay(target: &str, run: fn(&[u8]) -> bool) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut good = Vec::new();
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        inputs += 1;
        if run(&input) {
            good.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    assert!(inputs > 0);
    good.sort();
    good
}

#[test]
fn aws_own_examples_are_signed_well_and_nothing_else_is() {
    let examples = ["aws-get-lifecycle", "aws-get-object", "aws-list", "aws-presigned", "aws-put-object"];
    assert_eq!(replay("sigv4", sigv4::run), examples);
}

#[test]
fn framing_decodes_alike_however_it_is_cut() {
    assert_eq!(replay("chunks", chunks::run), ["empty", "unsigned", "unsigned-two-chunks"]);
}

#[test]
fn a_body_passes_when_all_that_it_asserts_is_true() {
    let good = ["crc32-trailer", "plain", "sha1-trailer", "sha256-trailer"];
    assert_eq!(replay("payload", payload::run), good);
}

#[test]
fn documents_are_written_as_they_were_read() {
    let good = [
        "acl",
        "cdata",
        "comment",
        "complete",
        "create-bucket",
        "delete",
        "legal-hold",
        "lock-configuration",
        "retention",
        "tagging",
    ];
    assert_eq!(replay("xml", xml::run), good);
}

#[test]
fn tokens_open_for_what_they_were_made_for() {
    assert_eq!(replay("tokens", tokens::run), ["empty", "like-a-token", "position", "upload"]);
}

#[test]
fn merged_lists_are_what_the_model_says() {
    // Those that need more than one page.
    assert_eq!(replay("lists", lists::run), ["delimiters", "two-locations"]);
}

#[test]
fn what_goes_on_to_a_location_means_what_was_named() {
    let good = ["copy", "get", "list", "part", "virtual-host"];
    assert_eq!(replay("names", names::run), good);
}
