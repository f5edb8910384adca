use super::*;

#[test]
fn every_case_of_the_shipped_packs_holds_and_every_rule_is_tested() {
    let report = cases::test(&PackSource::embedded()).unwrap();
    assert!(report.passed(), "{report}");
    assert!(report.untested.is_empty(), "{report}");
    assert!(report.results.len() > 80);
}
