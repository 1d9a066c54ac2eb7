//! Putting contacts in: whoever is meant, once, and nobody who cannot or will not be written to.

use std::time::{Duration, Instant};

use docket::contacts;
use docket::service::Call;
use serde_json::{Value, json};

use super::{Company, NOTHING, get, post, refused, text};

async fn events(company: &Company) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM ledger.events").fetch_one(&company.pool).await.unwrap()
}

#[tokio::test]
async fn a_rehearsal_records_nothing_and_comes_to_what_the_enrollment_comes_to() {
    let file = "First name,Email,Phone\nAda,ada@example.com,\nBea,,0612345678\n,cleo@example.com,\n\
                Dan,dan@example.com,\nEve,eve@example.com,\n";
    let company = Company::with(file.to_owned()).await;
    let listed =
        company.client.done("list_outbound_contacts", json!({ "campaignId": company.campaign })).await;
    let of = |email: &str| {
        let found = listed["contacts"].as_array().unwrap().iter().find(|row| row["email"] == json!(email));
        text(&found.unwrap()["contactId"])
    };
    let call = Call::of_system(&company.app.app, company.organization(), "test");
    contacts::opt_out(&company.app.app, &call, of("dan@example.com").parse().unwrap(), "api").await.unwrap();
    let id = company.sequence(vec![company.mail(0)]).await;

    let before = events(&company).await;
    let enroll = format!("sequences/{id}/enroll");
    let body = json!({ "campaignId": company.campaign, "dryRun": true });
    let (status, rehearsed) = post(&company.client, &enroll, body).await;
    assert_eq!(status, 200, "{rehearsed}");
    assert_eq!(events(&company).await, before);
    assert_eq!(company.counts(&id).await, (0, 0, 0));

    let enrolled = company.enroll(&id).await;
    let without = |mut answer: Value| {
        answer["dryRun"] = Value::Null;
        answer
    };
    assert_eq!(without(enrolled.clone()), without(rehearsed));
    assert_eq!((&enrolled["enrolled"], &enrolled["skipped"]), (&json!(2), &json!(3)));
    assert_eq!(
        enrolled["skippedByReason"],
        json!({ "DO_NOT_CONTACT": 1, "MISSING_FIELD": 1, "NO_ADDRESS": 1 })
    );
    assert_eq!(company.counts(&id).await.0, 2);

    let again = company.enroll(&id).await;
    assert_eq!((&again["enrolled"], &again["skippedByReason"]["ENROLLED_BEFORE"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn only_those_are_enrolled_who_stand_where_it_is_said() {
    let company = Company::of(3).await;
    let id = company.sequence(vec![company.rehearsal(0)]).await;
    for (statuses, enrolled) in [(json!(["qualified"]), 0), (json!(["new", "assigned"]), 3)] {
        let body = json!({ "campaignId": company.campaign, "statusIn": statuses, "dryRun": true });
        let (_, answer) = post(&company.client, &format!("sequences/{id}/enroll"), body).await;
        assert_eq!(answer["enrolled"], json!(enrolled), "{answer}");
    }
    for (sequence, campaign, refusal) in [
        (NOTHING, company.campaign.as_str(), (404, "SEQUENCE_NOT_FOUND")),
        (id.as_str(), NOTHING, (404, "CAMPAIGN_NOT_FOUND")),
    ] {
        let body = json!({ "campaignId": campaign });
        let answer = post(&company.client, &format!("sequences/{sequence}/enroll"), body).await;
        assert_eq!(refused(&answer), refusal);
    }
    company.patch(&id, json!({ "status": "archived" })).await;
    let body = json!({ "campaignId": company.campaign });
    let answer = post(&company.client, &format!("sequences/{id}/enroll"), body).await;
    assert_eq!(refused(&answer), (422, "SEQUENCE_ARCHIVED"));
}

#[tokio::test]
async fn two_who_enroll_at_once_enroll_nobody_twice() {
    let company = Company::of(1_200).await;
    let id = company.sequence(vec![company.rehearsal(60)]).await;
    let (one, other) = tokio::join!(company.enroll(&id), company.enroll(&id));
    let enrolled = one["enrolled"].as_u64().unwrap() + other["enrolled"].as_u64().unwrap();
    assert_eq!(enrolled, 1_200, "{one} {other}");
    assert_eq!(company.counts(&id).await, (1_200, 0, 0));
    let begun: i64 =
        sqlx::query_scalar("SELECT count(*) FROM ledger.events WHERE event_type = 'ContactEnrolled'")
            .fetch_one(&company.pool)
            .await
            .unwrap();
    assert_eq!(begun, 1_200);
}

#[tokio::test]
async fn a_request_that_is_repeated_is_answered_as_before() {
    let company = Company::of(3).await;
    let id = company.sequence(vec![company.rehearsal(60)]).await;
    let path = company.client.crm(&format!("sequences/{id}/enroll"));
    let body = json!({ "campaignId": company.campaign }).to_string().into_bytes();
    let headers = [super::JSON, ("idempotency-key", "enroll-1")];
    let first = company.client.send(hyper::Method::POST, &path, &headers, body.clone()).await.unwrap();
    let second = company.client.send(hyper::Method::POST, &path, &headers, body).await.unwrap();
    assert_eq!((first.0, &first.1["enrolled"]), (200, &json!(3)));
    assert_eq!(first, second);
}

#[tokio::test]
async fn ten_thousand_are_enrolled_within_a_request() {
    let company = Company::of(10_000).await;
    let id = company.sequence(vec![company.rehearsal(60)]).await;
    let started = Instant::now();
    let enrolled = company.enroll(&id).await;
    assert_eq!(enrolled["enrolled"], json!(10_000));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    company.rest().await;
    assert_eq!(company.counts(&id).await, (10_000, 0, 0));

    let (mut after, mut seen) = (String::new(), 0);
    loop {
        let (_, page) = get(&company.client, &format!("sequences/{id}/enrollments?limit=100{after}")).await;
        let page = page.as_array().unwrap().clone();
        seen += page.len();
        match page.last() {
            Some(last) if page.len() == 100 && seen < 300 => {
                after = format!("&after={}", text(&last["contactId"]))
            }
            _ => break,
        }
    }
    assert_eq!(seen, 300, "pages follow each other");
}
