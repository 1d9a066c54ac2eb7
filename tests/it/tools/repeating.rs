//! A request that is sent again has one effect and one answer.

use futures::future::join_all;
use serde_json::json;

use super::Office;

const CREATE: &str = "create_outbound_campaign";

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer() {
    let office = Office::empty().await;
    let first = office.ask_as("r-1", CREATE, json!({ "name": " Été " })).await;
    let before = office.events().await;
    let again = office.ask_as("r-1", CREATE, json!({ "name": "Été" })).await;
    assert_eq!(again.data(), first.data());
    assert_eq!(first.meta()["idempotentReplay"], json!(false));
    assert_eq!(again.meta()["idempotentReplay"], json!(true));
    for field in ["auditId", "position", "requestId"] {
        assert_eq!(again.meta()[field], first.meta()[field], "{field}");
    }
    office.ask_as("r-1", CREATE, json!({ "name": "Other" })).await.refused(409, "IDEMPOTENCY_CONFLICT");
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn fifty_calls_with_one_request_id_have_one_effect() {
    let office = Office::empty().await;
    let before = office.events().await;
    let answers = join_all((0..50).map(|_| office.ask_as("r-1", CREATE, json!({ "name": "Spring" })))).await;
    for answer in &answers {
        assert_eq!(answer.data(), answers[0].data());
        assert_eq!(answer.meta()["auditId"], answers[0].meta()["auditId"]);
    }
    let fresh = answers.iter().filter(|answer| answer.meta()["idempotentReplay"] == json!(false)).count();
    assert_eq!((fresh, office.events().await - before), (1, 1));
}

#[tokio::test]
async fn neither_a_refusal_nor_a_preview_uses_up_a_request_id() {
    let office = Office::empty().await;
    office.ask_as("r-1", CREATE, json!({ "name": "" })).await.refused(400, "INVALID_INPUT");
    office.ask_as("r-1", "list_campaigns", json!({})).await.data();
    let preview = office.ask_as("r-1", CREATE, json!({ "name": "Spring", "dryRun": true })).await;
    let applied = office.ask_as("r-1", CREATE, json!({ "name": "Spring" })).await;
    assert_eq!(applied.meta()["idempotentReplay"], json!(false));
    assert_ne!(applied.data()["campaign"]["campaignId"], preview.data()["campaign"]["campaignId"]);
}
