//! Brand voice: the same text is judged once, whoever asks and in however many processes.

use std::sync::Arc;

use docket::app::App;
use docket::brand_voice::{self, Asker, BrandVoiceError};
use docket::language_model::{LanguageModel, LanguageModelConfig};
use docket_aggregates::token::Role;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::channels::provider::{Act, Provider};
use crate::support::{Client, TestApp, eventually};

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

async fn check(client: &Client, draft: &str) -> (u16, Value) {
    client
        .post(&client.crm("brand-voice/check"), json!({ "contentSha256": sha256(draft), "draft": draft }))
        .await
}

/// A completion in which the model has nothing to say but this.
fn says(issues: Value) -> Act {
    let content = json!({ "issues": issues }).to_string();
    let message = json!({ "role": "assistant", "content": content });
    Act::answer(200, json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }))
}

fn bytes(act: Act) -> Vec<u8> {
    match act {
        Act::Raw(bytes) => bytes,
        _ => panic!("not a whole answer"),
    }
}

fn model(provider: &Provider, name: &str) -> LanguageModel {
    let config = LanguageModelConfig {
        llm_url: Some(format!("{}/v1", provider.base)),
        llm_model: Some(name.into()),
        llm_key: None,
    };
    LanguageModel::open(&config).unwrap().unwrap()
}

async fn kept(app: &App) -> i64 {
    let count = "SELECT count(*) FROM ledger.brand_voice WHERE body IS NOT NULL";
    sqlx::query_scalar(count).fetch_one(app.ledger.pool()).await.unwrap()
}

#[tokio::test]
async fn a_draft_is_judged_by_the_rules_and_then_known() {
    let app = TestApp::start().await;
    let agent = app.client(Role::Agent, app.organization().await).await;
    let draft = "Hi {{firstName}},\r\n\nGREAT ROOFS TODAY";
    let (status, first) = check(&agent, draft).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["cached"], false);
    assert_eq!(first["verdict"], "fail");
    assert_eq!(first["score"], 50);
    assert_eq!(first["contentSha256"], sha256(draft));
    assert_eq!(first["checkerVersion"], "rules-1");
    assert_eq!(
        first["issues"][0],
        json!({
            "code": "unfilled_placeholder", "severity": "error",
            "message": "A placeholder was not filled in.", "start": 3, "end": 16,
        })
    );
    assert_eq!(first["issues"][1]["code"], "shouting");
    app.clock.advance(60_000);
    let (_, mut second) = check(&agent, draft).await;
    assert_eq!(second["cached"].take(), true);
    second["cached"] = false.into();
    assert_eq!(second, first, "all else is as it was then");

    let plain = "Bonjour Madame, souhaitez-vous un devis ?";
    let (_, passed) = check(&agent, plain).await;
    assert_eq!(
        (&passed["verdict"], &passed["score"], &passed["issues"]),
        (&json!("pass"), &json!(100), &json!([]))
    );
    let (_, empty) = check(&agent, "").await;
    assert_eq!((&empty["verdict"], &empty["issues"][0]["code"]), (&json!("fail"), &json!("empty")));
}

#[tokio::test]
async fn a_verdict_belongs_to_its_text_its_company_and_its_checker() {
    let app = TestApp::start().await;
    let agent = app.client(Role::Agent, app.organization().await).await;
    let stranger = app.client(Role::Agent, app.organization().await).await;
    assert_eq!(check(&agent, "One text.").await.1["cached"], false);
    assert_eq!(check(&agent, "One text.").await.1["cached"], true);
    assert_eq!(check(&agent, "One text.\n").await.1["cached"], false);
    assert_eq!(check(&agent, "One text.\r\n").await.1["cached"], false, "line ends are part of the text");
    assert_eq!(check(&stranger, "One text.").await.1["cached"], false);
    // The same words in another form of Unicode are the same text, each with the hash of its own bytes.
    assert_eq!(check(&agent, "\u{e9}t\u{e9}").await.1["cached"], false);
    assert_eq!(check(&agent, "e\u{301}te\u{301}").await, {
        let mut expected = check(&agent, "\u{e9}t\u{e9}").await;
        expected.1["contentSha256"] = sha256("e\u{301}te\u{301}").into();
        expected
    });
    let provider = Provider::start([says(json!([])), says(json!([]))]).await;
    let organization = agent.organization;
    for name in ["m-1", "m-2", "m-1", "m-2"] {
        let with = App { model: Some(model(&provider, name)), ..app.app.clone() };
        let checked = brand_voice::judge(&with, organization, "One text.", Asker::Author).await.unwrap();
        assert_eq!(checked.checker_version, format!("rules-1+model-1:{name}"));
    }
    assert_eq!(provider.taken().len(), 2, "each checker judged once");
    app.clock.advance(31 * 24 * 3_600_000);
    assert_eq!(check(&agent, "One text.").await.1["cached"], false, "after a month it is judged anew");
}

#[tokio::test]
async fn what_is_no_draft_under_its_hash_is_refused() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let agent = app.client(Role::Agent, organization).await;
    let path = agent.crm("brand-voice/check");
    let whole = "x".repeat(64 * 1024);
    let upper = sha256("Hello").to_ascii_uppercase();
    let (status, answer) = agent.post(&path, json!({ "contentSha256": upper, "draft": "Hello" })).await;
    assert_eq!((status, &answer["contentSha256"]), (200, &json!(sha256("Hello"))));
    assert_eq!(check(&agent, &whole).await.0, 200);
    for (body, status, code) in [
        (json!({ "contentSha256": sha256("a"), "draft": "b" }), 422, "CONTENT_HASH_MISMATCH"),
        (json!({ "contentSha256": sha256("a"), "draft": "a " }), 422, "CONTENT_HASH_MISMATCH"),
        (json!({ "contentSha256": "ab", "draft": "a" }), 400, "VALIDATION_FAILED"),
        (json!({ "contentSha256": "g".repeat(64), "draft": "a" }), 400, "VALIDATION_FAILED"),
        (json!({ "draft": "a" }), 400, "VALIDATION_FAILED"),
        (json!({ "contentSha256": sha256("a") }), 400, "VALIDATION_FAILED"),
        (json!({ "contentSha256": sha256("a"), "draft": 1 }), 400, "VALIDATION_FAILED"),
        (json!({ "contentSha256": sha256("a"), "draft": "a", "surplus": 1 }), 400, "VALIDATION_FAILED"),
        (
            json!({ "contentSha256": sha256(&format!("{whole}x")), "draft": format!("{whole}x") }),
            400,
            "VALIDATION_FAILED",
        ),
    ] {
        let (got, answer) = agent.post(&path, body).await;
        assert_eq!((got, answer["code"].as_str().unwrap()), (status, code), "{answer}");
    }
    for role in [Role::Auditor, Role::Viewer] {
        assert_eq!(check(&app.client(role, organization).await, "a").await.0, 403);
    }
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger.brand_voice")
        .fetch_one(app.app.ledger.pool())
        .await
        .unwrap();
    assert_eq!(stored, 2, "what was refused leaves nothing");
}

#[tokio::test]
async fn of_a_hundred_that_ask_at_once_one_asks_the_checker() {
    let told = Arc::new(Notify::new());
    let issue = json!({ "code": "tone", "severity": "warning", "message": "Be friendlier.", "quote": "now" });
    let answer = bytes(says(json!([issue])));
    let provider = Provider::start([Act::When(told.clone(), answer)]).await;
    let app = TestApp::start_with(Some(model(&provider, "m"))).await;
    let agent = app.client(Role::Agent, app.organization().await).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let agent = agent.clone();
        asking.spawn(async move { check(&agent, "Answer me now").await });
    }
    eventually("all of them wait", || async { (app.app.brand_voice.waiting() == 100).then_some(()) }).await;
    told.notify_one();
    let answers = asking.join_all().await;
    assert!(answers.iter().all(|(status, answer)| *status == 200 && answer["verdict"] == "warn"));
    assert_eq!(answers[0].1["issues"][0]["start"], 10);
    assert_eq!(answers.iter().filter(|(_, answer)| answer["cached"] == false).count(), 1);
    assert_eq!(check(&agent, "Answer me now").await.1["cached"], true);
    let asked = provider.only();
    assert!(asked.body.contains("Answer me now") && asked.line.starts_with("POST /v1/chat/completions"));
}

#[tokio::test]
async fn another_process_waits_for_the_verdict_that_is_being_made() {
    let told = Arc::new(Notify::new());
    let provider = Provider::start([Act::When(told.clone(), bytes(says(json!([])))), says(json!([]))]).await;
    let app = TestApp::start_with(Some(model(&provider, "m"))).await;
    let organization = app.organization().await;
    let other = App { model: app.app.model.clone(), ..app.another().await };
    let first = tokio::spawn({
        let app = app.app.clone();
        async move { brand_voice::judge(&app, organization, "A text.", Asker::Author).await }
    });
    eventually("the checker is asked", || async { (provider.taken().len() == 1).then_some(()) }).await;
    let second = tokio::spawn({
        let other = other.clone();
        async move { brand_voice::judge(&other, organization, "A text.", Asker::Author).await }
    });
    eventually("the other one waits", || async { (other.brand_voice.waiting() == 1).then_some(()) }).await;
    told.notify_one();
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!((first.cached, second.cached), (false, true));
    assert_eq!(first.assessment, second.assessment);
    assert_eq!(provider.taken().len(), 1);

    // A turn whose holder is gone is taken over when its time is up.
    sqlx::query("UPDATE ledger.brand_voice SET body = NULL, held_until = clock_timestamp() - interval '1 s'")
        .execute(app.app.ledger.pool())
        .await
        .unwrap();
    let taken_over = brand_voice::judge(&other, organization, "A text.", Asker::Author).await.unwrap();
    assert_eq!((taken_over.cached, provider.taken().len()), (false, 2));
}

#[tokio::test]
async fn a_turn_is_short_and_renewed_for_as_long_as_the_checker_is_asked() {
    let told = Arc::new(Notify::new());
    let provider = Provider::start([Act::When(told.clone(), bytes(says(json!([]))))]).await;
    let app = TestApp::start_with(Some(model(&provider, "m"))).await;
    let organization = app.organization().await;
    let asking = tokio::spawn({
        let app = app.app.clone();
        async move { brand_voice::judge(&app, organization, "A text.", Asker::Author).await }
    });
    eventually("the checker is asked", || async { (provider.taken().len() == 1).then_some(()) }).await;
    let pool = app.app.ledger.pool();
    let left = "SELECT held_until < clock_timestamp() + interval '10 s' FROM ledger.brand_voice";
    let short: bool = sqlx::query_scalar(left).fetch_one(pool).await.unwrap();
    assert!(short, "whoever waits for a process that was killed waits so long before it asks itself");
    // As it is when nearly all of it is over.
    let over = "UPDATE ledger.brand_voice SET held_until = clock_timestamp() - interval '1 s'";
    sqlx::query(over).execute(pool).await.unwrap();
    eventually("the turn is renewed", || async {
        let held = "SELECT held_until > clock_timestamp() FROM ledger.brand_voice";
        sqlx::query_scalar::<_, bool>(held).fetch_one(pool).await.unwrap().then_some(())
    })
    .await;
    told.notify_one();
    assert!(!asking.await.unwrap().unwrap().cached);
}

#[tokio::test]
async fn without_the_checker_there_is_no_verdict_and_nothing_is_kept() {
    let unfit = json!([{ "code": "invented", "severity": "warning", "message": "x", "quote": null }]);
    let provider = Provider::start([
        Act::Cut,
        Act::answer(500, "{}"),
        Act::answer(200, "<html>"),
        says(unfit),
        says(json!([])),
    ])
    .await;
    let app = TestApp::start_with(Some(model(&provider, "m"))).await;
    let agent = app.client(Role::Agent, app.organization().await).await;
    let (draft, path) = ("A canary-draft-8Jq.", agent.crm("brand-voice/check"));
    for number in 1..=4 {
        let body = json!({ "contentSha256": sha256(draft), "draft": draft }).to_string();
        let headers = [("content-type", "application/json")];
        let (status, headers, answer) =
            agent.send_for_headers(hyper::Method::POST, &path, &headers, body.into_bytes()).await.unwrap();
        assert_eq!((status, &answer["code"]), (503, &json!("CHECKER_UNAVAILABLE")), "{number}: {answer}");
        assert!(headers.contains_key("retry-after"));
        assert!(!answer.to_string().contains("canary-draft"));
        assert_eq!(kept(&app.app).await, 0);
    }
    let (status, answer) = check(&agent, draft).await;
    assert_eq!((status, &answer["cached"]), (200, &json!(false)), "{answer}");
    assert_eq!(kept(&app.app).await, 1);
    let row = "SELECT string_agg(t::text, '') FROM ledger.brand_voice t";
    let row: String = sqlx::query_scalar(row).fetch_one(app.app.ledger.pool()).await.unwrap();
    assert!(
        !row.contains("canary") && !row.contains(&sha256(draft)),
        "neither the text nor its hash is kept"
    );
}

#[tokio::test]
async fn a_damaged_verdict_is_not_told() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let judge = |text: &'static str| brand_voice::judge(&app.app, organization, text, Asker::Author);
    judge("One.").await.unwrap();
    judge("{{two}}").await.unwrap();
    let swapped = "UPDATE ledger.brand_voice a SET body = b.body FROM ledger.brand_voice b \
                   WHERE a.key_hash <> b.key_hash";
    sqlx::query(swapped).execute(app.app.ledger.pool()).await.unwrap();
    assert_eq!(judge("One.").await, Err(BrandVoiceError::Unavailable));
}
