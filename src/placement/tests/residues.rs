//! What is displaced is removed, and a location that refuses keeps nobody waiting.

use http::StatusCode;

use crate::catalogue::Claim;
use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway, lose_answer, refuse_deletes};
use crate::placement::record::now_ms;
use crate::placement::residue;

#[tokio::test]
async fn a_refused_removal_does_not_keep_new_writes_out() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "older").await;
    t.script("eu-central", refuse_deletes);
    t.put("k", &[OF_CHINA], "moved").await;
    residue::sweep(&t.gateway).await;
    assert_eq!(t.gateway.catalogue.residues(10).await.unwrap().len(), 1);
    let answer = t.put("k", &[PUBLIC], "back").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(t.get("k").await.text(), "back");
    t.stop().await;
}

#[tokio::test]
async fn a_write_waits_for_a_removal_that_is_nearly_over() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "older").await;
    t.script("eu-central", refuse_deletes);
    t.put("k", &[OF_CHINA], "moved").await;
    let residue = t.gateway.catalogue.residues(10).await.unwrap().remove(0);
    let claim = t.gateway.catalogue.claim_removal(residue.id, now_ms() + 300).await.unwrap();
    assert_eq!(claim, Claim::Granted);
    let answer = t.put("k", &[PUBLIC], "back").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    t.stop().await;
}

/// It may still be on its way, and would remove whatever is written meanwhile.
#[tokio::test]
async fn a_removal_whose_answer_is_lost_keeps_new_writes_out() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "older").await;
    t.script("eu-central", lose_answer);
    t.put("k", &[OF_CHINA], "moved").await;
    let answer = t.put("k", &[PUBLIC], "back").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.text().contains("being removed"), "{}", answer.text());
    assert_eq!(t.get("k").await.text(), "moved");
    t.stop().await;
}
