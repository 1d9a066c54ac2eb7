//! Setting sequences up, and who may.

use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use super::{Company, NOTHING, ask, get, post, refused, text};

#[tokio::test]
async fn a_sequence_is_created_changed_paused_and_archived() {
    let company = Company::of(1).await;
    let mut second = company.mail(1_440);
    second["window"] =
        json!({ "start": "09:00", "end": "17:00", "tz": "Europe/Paris", "weekdays": [1, 2, 3, 4, 5] });
    let body = json!({ "name": "Nurture", "steps": [company.mail(0), second] });
    let (status, made) = post(&company.client, "sequences", body).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        (
            &made["version"],
            &made["status"],
            &made["steps"][1]["channel"],
            &made["steps"][1]["window"]["weekdays"]
        ),
        (&json!(1), &json!("active"), &json!("email"), &json!([1, 2, 3, 4, 5]))
    );
    assert_eq!(made["enrollments"], json!({ "active": 0, "stopped": 0, "finished": 0 }));
    let id = text(&made["id"]);
    assert_eq!(get(&company.client, &format!("sequences/{id}")).await, (200, made.clone()));
    assert_eq!(get(&company.client, "sequences").await, (200, json!([made])));

    let (status, renamed) = company.patch(&id, json!({ "name": "Nurture 2" })).await;
    assert_eq!((status, &renamed["version"], &renamed["name"]), (200, &json!(2), &json!("Nurture 2")));
    let (_, same) = company.patch(&id, json!({ "name": "Nurture 2" })).await;
    assert_eq!(same["version"], json!(2), "what changes nothing is no version");
    let (_, shorter) = company.patch(&id, json!({ "steps": [company.mail(5)] })).await;
    assert_eq!((&shorter["version"], shorter["steps"].as_array().unwrap().len()), (&json!(3), 1));
    for status in ["paused", "active", "archived"] {
        let (_, changed) = company.patch(&id, json!({ "status": status })).await;
        assert_eq!(changed["status"], json!(status));
    }
    for patch in [json!({ "status": "active" }), json!({ "name": "Again" })] {
        assert_eq!(refused(&company.patch(&id, patch).await), (422, "SEQUENCE_ARCHIVED"));
    }
    assert_eq!(get(&company.client, "sequences?status=active").await, (200, json!([])));
    assert_eq!(get(&company.client, "sequences?status=archived").await.1.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_when_it_is_written() {
    let company = Company::of(1).await;
    let with = |field: &str, value: Value| {
        let mut step = company.mail(0);
        step[field] = value;
        step
    };
    let said = |payload: Value| with("payload", payload);
    for (steps, status, told) in [
        (json!([]), 400, "OUT_OF_RANGE"),
        (json!([with("outboxId", json!(NOTHING))]), 404, "OUTBOX_NOT_FOUND"),
        (json!([with("channel", json!("whatsapp"))]), 422, "CHANNEL_MISMATCH"),
        (json!([with("waitMinutes", json!(-1))]), 400, "OUT_OF_RANGE"),
        (json!([with("waitMinutes", json!(10_000_000))]), 400, "OUT_OF_RANGE"),
        (json!([with("surplus", json!(1))]), 400, "steps.0.surplus"),
        (json!([company.mail(0), with("outboxId", json!(1))]), 400, "steps.1.outboxId"),
        (json!(null), 400, "WRONG_TYPE"),
        (
            json!([with("window", json!({ "start": "9:00", "end": "17:00", "tz": "UTC" }))]),
            400,
            "INVALID_HOURS",
        ),
        (
            json!([with("window", json!({ "start": "09:00", "end": "17:00", "tz": "UTC", "weekdays": [] }))]),
            400,
            "steps.0.window.weekdays",
        ),
        (
            json!([with("window", json!({ "start": "09:00", "end": "09:00", "tz": "UTC" }))]),
            400,
            "INVALID_HOURS",
        ),
        (
            json!([with("window", json!({ "start": "09:00", "end": "17:00", "tz": "Mars/Dome" }))]),
            400,
            "INVALID_HOURS",
        ),
        (json!([said(json!({ "text": "no subject" }))]), 400, "REQUIRED"),
        (json!([said(json!({ "subject": "a", "text": "{{first_name}}" }))]), 400, "UNKNOWN_PLACEHOLDER"),
        (json!([said(json!({ "subject": "a", "text": "{{firstName" }))]), 400, "UNKNOWN_PLACEHOLDER"),
        (json!([said(json!([]))]), 400, "WRONG_TYPE"),
        (json!(vec![company.mail(0); 51]), 400, "TOO_MANY"),
    ] {
        let answer = post(&company.client, "sequences", json!({ "name": "Nurture", "steps": steps })).await;
        let codes = answer.1.to_string();
        assert!(answer.0 == status && codes.contains(told), "{told}: {answer:?}");
    }
    let answer = post(&company.client, "sequences", json!({ "name": " ", "steps": [company.mail(0)] })).await;
    assert_eq!(answer.0, 400);
    assert_eq!(get(&company.client, "sequences").await.1, json!([]), "nothing was recorded");
}

#[tokio::test]
async fn the_board_leads_and_the_auditor_looks_on() {
    let company = Company::of(1).await;
    let id = company.sequence(vec![company.rehearsal(0)]).await;
    let organization = company.organization();
    for (role, reads, writes) in [
        (Role::InstanceAdmin, 200, 200),
        (Role::Board, 200, 200),
        (Role::Auditor, 200, 403),
        (Role::Agent, 403, 403),
        (Role::Viewer, 403, 403),
    ] {
        let client = company.app.client(role, organization).await;
        for path in ["sequences".to_owned(), format!("sequences/{id}"), format!("sequences/{id}/enrollments")]
        {
            assert_eq!(get(&client, &path).await.0, reads, "{role:?} {path}");
        }
        let patched =
            ask(&client, Method::PATCH, &format!("sequences/{id}"), json!({ "name": "Other" })).await;
        assert_eq!(patched.0, writes, "{role:?}");
        let body = json!({ "campaignId": company.campaign, "dryRun": true });
        let enrolled = post(&client, &format!("sequences/{id}/enroll"), body).await;
        assert_eq!(enrolled.0, writes, "{role:?}");
    }
    let stranger = company.app.agent().await;
    for path in [format!("sequences/{id}"), format!("sequences/{id}/enrollments")] {
        assert_eq!(refused(&get(&stranger, &path).await), (404, "SEQUENCE_NOT_FOUND"));
    }
}
