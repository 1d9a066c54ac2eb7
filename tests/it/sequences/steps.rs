//! Taking steps: after their wait, within their window, one after the other.

use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    Company, HOUR, MINUTE, ask, assert_each_step_once, campaign, contacts, eventually, get, import, outbox,
    post, refused, text,
};

#[tokio::test]
async fn steps_are_taken_after_their_waits_and_then_it_is_finished() {
    let company = Company::of(2).await;
    let steps = vec![company.rehearsal(0), company.rehearsal(60), company.rehearsal(30)];
    let id = company.sequence(steps).await;
    company.enroll(&id).await;
    for (minutes, taken) in [(0, 2), (59, 2), (1, 4), (29, 4), (1, 6)] {
        company.pass(minutes * MINUTE).await;
        assert_eq!(company.taken().await.len(), taken, "after {minutes} more minutes");
    }
    assert_eq!(company.counts(&id).await, (0, 0, 2));
    assert_each_step_once(&company.pool, 2, 3).await;
}

#[tokio::test]
async fn an_organization_with_much_to_do_keeps_no_other_waiting() {
    let large = Company::of(200).await;
    let id = large.sequence(vec![large.rehearsal(60)]).await;
    large.enroll(&id).await;
    // What is due of the other one is due later, and is less.
    large.app.clock.advance(MINUTE);
    let small = large.app.agent().await;
    import(&small, contacts(3)).await;
    let (campaign, outbox) = (campaign(&small).await, outbox(&small).await);
    let step = json!({ "outboxId": outbox, "channel": "dry-run", "waitMinutes": 60, "payload": { "text": "Hello" } });
    let (status, made) = post(&small, "sequences", json!({ "name": "Nurture", "steps": [step] })).await;
    assert_eq!(status, 201, "{made}");
    let enroll = format!("sequences/{}/enroll", text(&made["id"]));
    assert_eq!(post(&small, &enroll, json!({ "campaignId": campaign })).await.0, 200);

    // The server takes its turns by itself. In which order it did is told by the transactions of the database.
    large.app.clock.advance(2 * HOUR);
    let after: i64 = eventually("every step", async || {
        let (all, after): (i64, i64) = sqlx::query_as(
            "WITH taken AS (SELECT organization_id, xmin::text::bigint AS tx FROM ledger.events WHERE event_type = 'StepTaken') \
             SELECT (SELECT count(*) FROM taken), \
                 (SELECT count(*) FROM taken WHERE tx > (SELECT max(tx) FROM taken WHERE organization_id = $1))",
        )
        .bind(small.organization.uuid())
        .fetch_one(&large.pool)
        .await
        .unwrap();
        (all == 203).then_some(after)
    })
    .await;
    assert!(after >= 100, "{after} of 200 were taken after the other organization's three");
}

#[tokio::test]
async fn a_step_says_what_is_known_of_the_contact() {
    let company = Company::of(1).await;
    let id = company.sequence(vec![company.rehearsal(0)]).await;
    company.enroll(&id).await;
    company.rest().await;
    let enrollment = company.enrollments(&id).await.remove(0);
    assert_eq!((&enrollment["state"], &enrollment["step"]), (&json!("finished"), &json!(1)));
    let path = format!("activities/{}", enrollment["activityId"].as_str().unwrap());
    let (status, activity) = get(&company.client, &path).await;
    assert_eq!(status, 200, "{activity}");
    assert_eq!(activity["payload"]["text"], json!("Hello Name0"));
    assert_eq!(
        (&activity["sequenceId"], &activity["step"], &activity["contactId"], &activity["campaignId"]),
        (&json!(id), &json!(1), &enrollment["contactId"], &json!(company.campaign))
    );
}

#[tokio::test]
async fn a_change_holds_for_the_steps_that_are_not_taken_yet() {
    let company = Company::of(1).await;
    let id = company.sequence(vec![company.rehearsal(0), company.rehearsal(600)]).await;
    company.enroll(&id).await;
    company.rest().await;
    assert_eq!(company.taken().await.len(), 1);
    let steps = json!([company.rehearsal(0), company.rehearsal(10), company.rehearsal(0)]);
    assert_eq!(company.patch(&id, json!({ "steps": steps })).await.0, 200);
    company.pass(9 * MINUTE).await;
    assert_eq!(company.taken().await.len(), 1);
    company.pass(MINUTE).await;
    assert_eq!(company.taken().await.len(), 3);
    assert_eq!(company.counts(&id).await, (0, 0, 1));
}

#[tokio::test]
async fn a_change_leads_nobody_through_a_step_again_nor_past_one() {
    let company = Company::of(1).await;
    let step = |said: &str| company.saying(said);
    let steps = |said: &str| said.split(' ').map(step).collect::<Vec<_>>();
    let id = company.sequence(steps("a b c")).await;
    // Nobody is in it yet: anything goes.
    assert_eq!(company.patch(&id, json!({ "steps": steps("b a") })).await.0, 200);
    assert_eq!(company.patch(&id, json!({ "steps": steps("a b c") })).await.0, 200);
    company.enroll(&id).await;
    company.pass(HOUR).await;
    assert_eq!(company.taken().await.len(), 1);
    for (said, code, named) in [
        ("new a b c", "WOULD_REPEAT_STEP", "steps.1"),
        ("b a c", "WOULD_REPEAT_STEP", "steps.1"),
        ("b c", "WOULD_SKIP_STEP", "steps.0"),
    ] {
        let answer = company.patch(&id, json!({ "steps": steps(said) })).await;
        assert_eq!(refused(&answer), (422, code), "{said}");
        assert_eq!(
            (&answer.1["details"][0]["path"], &answer.1["details"][0]["code"]),
            (&json!(named), &json!(code))
        );
    }
    for said in ["a new c", "other new c b", "other c new b d"] {
        assert_eq!(company.patch(&id, json!({ "steps": steps(said) })).await.0, 200, "{said}");
    }
    for _ in 0..5 {
        company.pass(HOUR).await;
    }
    assert_eq!(company.said(&id).await, ["a", "c", "new", "b", "d"]);
    assert_eq!(company.counts(&id).await, (0, 0, 1));
    // Whoever is through is led nowhere any more.
    assert_eq!(company.patch(&id, json!({ "steps": steps("d a") })).await.0, 200);
}

#[tokio::test]
async fn members_that_are_null_make_no_other_step() {
    let company = Company::of(1).await;
    let said = |words: &str| company.saying(words);
    let with_null = |words: &str| {
        let mut step = company.saying(words);
        step["payload"]["html"] = Value::Null;
        step
    };
    let id = company.sequence(vec![said("a"), with_null("b")]).await;
    company.enroll(&id).await;
    company.pass(HOUR).await;
    // What is read and written back is no change; nor does a null make the words that were sent others.
    let (status, same) = company.patch(&id, json!({ "steps": [with_null("a"), said("b")] })).await;
    assert_eq!((status, &same["version"]), (200, &json!(1)), "{same}");
    let answer = company.patch(&id, json!({ "steps": [said("c"), with_null("a")] })).await;
    assert_eq!(refused(&answer), (422, "WOULD_REPEAT_STEP"));
    // Also where they stand in the version no more.
    assert_eq!(company.patch(&id, json!({ "steps": [said("new"), said("b")] })).await.0, 200);
    let answer = company.patch(&id, json!({ "steps": [said("new"), with_null("a")] })).await;
    assert_eq!(refused(&answer), (422, "WOULD_REPEAT_STEP"));
}

#[tokio::test]
async fn words_that_a_change_replaced_are_not_sent_again_to_whoever_got_them() {
    let company = Company::of(2).await;
    let step = |said: &str| company.saying(said);
    let steps = |said: &str| json!({ "steps": said.split(' ').map(step).collect::<Vec<_>>() });
    for enrolled_first in [true, false] {
        let id = company.sequence(vec![step("a"), step("b")]).await;
        if enrolled_first {
            company.enroll(&id).await;
            company.pass(HOUR).await;
        }
        // Reworded twice, so that the words stand in no version that is still looked at.
        for said in ["new b", "newer b"] {
            assert_eq!(company.patch(&id, steps(said)).await.0, 200, "{said}");
        }
        if !enrolled_first {
            company.enroll(&id).await;
            company.pass(HOUR).await;
        }
        let answer = company.patch(&id, steps("newer a b")).await;
        if enrolled_first {
            assert_eq!(refused(&answer), (422, "WOULD_REPEAT_STEP"));
            assert_eq!(answer.1["details"][0]["path"], json!("steps.1"));
            // Put back where they were, they are only what was sent.
            assert_eq!(company.patch(&id, steps("a new b")).await.0, 200);
        } else {
            assert_eq!(answer.0, 200, "nobody got these words: {}", answer.1);
        }
        for _ in 0..3 {
            company.pass(HOUR).await;
        }
        let each = if enrolled_first { ["a", "new", "b"] } else { ["newer", "a", "b"] };
        assert_eq!(company.said(&id).await, [each, each].concat());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_changes_at_once_the_second_is_held_against_the_first() {
    let company = Company::of(1).await;
    let step = |said: &str| company.saying(said);
    let steps = |said: &str| json!({ "steps": said.split(' ').map(step).collect::<Vec<_>>() });
    for round in 0..10 {
        let id = company.sequence(vec![step("a"), step("b")]).await;
        company.enroll(&id).await;
        company.pass(HOUR).await;
        // Each may be made, and neither after the other: c would be passed over, or sent again.
        let (one, other) = tokio::join!(company.patch(&id, steps("a c b")), company.patch(&id, steps("c b")));
        let mut told = [refused(&one), refused(&other)];
        told.sort_unstable();
        assert!(
            told == [(200, ""), (422, "WOULD_REPEAT_STEP")] || told == [(200, ""), (422, "WOULD_SKIP_STEP")],
            "round {round}: {told:?}"
        );
    }
}

#[tokio::test]
async fn while_it_rests_no_step_is_taken() {
    let company = Company::of(1).await;
    let id = company.sequence(vec![company.rehearsal(0), company.rehearsal(60)]).await;
    company.enroll(&id).await;
    company.rest().await;
    company.patch(&id, json!({ "status": "paused" })).await;
    company.pass(3 * HOUR).await;
    assert_eq!(company.taken().await.len(), 1);
    company.patch(&id, json!({ "status": "active" })).await;
    company.rest().await;
    assert_eq!(company.taken().await.len(), 2);

    let other = company.sequence(vec![company.rehearsal(60)]).await;
    company.enroll(&other).await;
    let pause = json!({ "campaignId": company.campaign, "patch": { "status": "paused" } });
    company.client.done("update_outbound_campaign", pause).await;
    company.pass(3 * HOUR).await;
    assert_eq!(company.taken().await.len(), 2, "the campaign rests, and its sequences with it");
    let resume = json!({ "campaignId": company.campaign, "patch": { "status": "active" } });
    company.client.done("update_outbound_campaign", resume).await;
    company.rest().await;
    assert_eq!(company.taken().await.len(), 3);
}

#[tokio::test]
async fn a_step_is_taken_within_its_window() {
    let company = Company::of(1).await;
    let within = |start: &str, end: &str| {
        let mut step = company.rehearsal(0);
        step["window"] =
            json!({ "start": start, "end": end, "tz": "Europe/Paris", "weekdays": [1, 2, 3, 4, 5] });
        step
    };
    // A Saturday, seven in the evening in Paris.
    let id = company
        .sequence(vec![within("09:00", "09:30"), within("09:00", "09:30"), within("08:00", "09:00")])
        .await;
    company.enroll(&id).await;
    for (until, taken) in [
        ("2026-11-22T12:00:00Z", 0),
        ("2026-11-23T07:59:59.999Z", 0),
        // Monday at nine, and the next step in the same minute, because it does not wait.
        ("2026-11-23T08:00:00Z", 2),
        // At nine the last window has closed.
        ("2026-11-24T06:59:59.999Z", 2),
        ("2026-11-24T07:00:00Z", 3),
    ] {
        company.until(until).await;
        assert_eq!(company.taken().await.len(), taken, "{until}");
    }
}

#[tokio::test]
async fn what_is_due_is_found_again_when_the_table_is_lost() {
    let company = Company::of(5).await;
    let id = company.sequence(vec![company.rehearsal(0), company.rehearsal(60)]).await;
    company.enroll(&id).await;
    company.rest().await;
    let rows = docket::sequences::feed::refill(&company.pool).await.unwrap();
    assert_eq!(rows, 5);
    company.rest().await;
    assert_eq!(company.taken().await.len(), 5, "nothing is taken again");
    company.pass(HOUR).await;
    assert_each_step_once(&company.pool, 5, 2).await;
    assert_eq!(docket::sequences::feed::refill(&company.pool).await.unwrap(), 0);
}

#[tokio::test]
async fn whoever_had_a_hand_in_the_words_of_a_step_does_not_approve_it() {
    let company = Company::of(1).await;
    let organization = company.organization();
    let author = company.app.client(Role::Board, organization).await;
    let editor = company.app.client(Role::Board, organization).await;
    let said =
        |words: &str| json!({ "outboxId": company.outbox, "payload": { "subject": "Hello", "text": words } });
    let later = |minutes: u32| json!({ "outboxId": company.outbox, "waitMinutes": minutes, "payload": said("b")["payload"] });
    for (name, change, may) in [
        ("no change", Value::Null, true),
        ("another name", json!({ "name": "Other" }), true),
        ("another wait of the second step", json!({ "steps": [said("a"), later(61)] }), true),
        ("other words", json!({ "steps": [said("a, or not"), later(60)] }), false),
    ] {
        let made = json!({ "name": name, "steps": [said("a"), later(60)] });
        let (status, made) = post(&author, "sequences", made).await;
        assert_eq!(status, 201, "{made}");
        let path = format!("sequences/{}", text(&made["id"]));
        if !change.is_null() {
            assert_eq!(ask(&editor, Method::PATCH, &path, change).await.0, 200, "{name}");
        }
        company.enroll(&text(&made["id"])).await;
        company.rest().await;
        let (_, asked) = get(&author, "approvals?status=pending").await;
        let asked = asked.as_array().unwrap().last().unwrap().clone();
        assert_eq!(asked["sequenceId"], made["id"], "{name}");
        let approve = async |client| {
            let hash = json!({ "contentHash": asked["contentHash"] });
            post(client, &format!("approvals/{}/approve", text(&asked["id"])), hash).await
        };
        assert_eq!(refused(&approve(&author).await), (403, "SELF_APPROVAL"), "{name}");
        let answer = approve(&editor).await;
        assert_eq!(answer.0, if may { 200 } else { 403 }, "{name}: {}", answer.1);
        if !may {
            let reject = format!("approvals/{}/reject", text(&asked["id"]));
            assert_eq!(post(&author, &reject, json!({ "note": "a test" })).await.0, 200);
        }
    }
}
