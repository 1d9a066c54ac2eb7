//! Calls and follow-ups, and what they do to a contact's place in its campaign.

use docket::ledger::Origin;
use docket_aggregates::contact::{Contact, ContactCommand};
use docket_aggregates::ids::ContactId;
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Client, TestApp, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A campaign with contacts and a caller.
struct Desk {
    client: Client,
    campaign: String,
    contacts: Vec<String>,
    agent: String,
}

impl Desk {
    async fn set_up(app: &TestApp, settings: Value) -> Self {
        let client = app.agent().await;
        import(&client, "Name,Email,Phone\nAda,ada@example.com,0612345678\nBea,bea@example.com,\n").await;
        let (_, agent) =
            client.post(&client.crm("agents"), json!({ "name": "Zoé", "email": "zoe@example.com" })).await;
        let campaign = client
            .done(
                "create_outbound_campaign",
                json!({ "name": "Spring", "status": "active", "settings": settings }),
            )
            .await;
        let campaign = text(&campaign["campaign"]["campaignId"]);
        let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 10 });
        client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
        let listed = client.done("list_outbound_contacts", json!({ "campaignId": campaign })).await;
        let mut contacts: Vec<(String, String)> = listed["contacts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|contact| (text(&contact["email"]), text(&contact["contactId"])))
            .collect();
        contacts.sort();
        let contacts = contacts.into_iter().map(|(_, id)| id).collect();
        Self { client, campaign, contacts, agent: text(&agent["agentId"]) }
    }

    fn call(&self, contact: usize, outcome: &str) -> Value {
        json!({
            "campaignId": self.campaign, "contactId": self.contacts[contact], "agentId": self.agent,
            "outcome": outcome, "startedAt": "2026-11-21T17:00:00Z", "durationSeconds": 30, "note": "spoke\nbriefly",
        })
    }

    async fn log(&self, call: Value) -> (u16, Value) {
        self.client.post(&self.client.crm("calls"), call).await
    }

    async fn status(&self, contact: usize) -> Value {
        let listed = self.client.done("list_outbound_contacts", json!({ "campaignId": self.campaign })).await;
        let contacts = listed["contacts"].as_array().unwrap();
        let found =
            contacts.iter().find(|found| found["contactId"] == json!(self.contacts[contact])).unwrap();
        found["campaigns"][0]["status"].clone()
    }

    async fn follow_up(&self, contact: usize) -> String {
        self.follow_up_in(&self.campaign, contact).await
    }

    async fn follow_up_in(&self, campaign: &str, contact: usize) -> String {
        let body = json!({
            "campaignId": campaign, "contactId": self.contacts[contact], "agentId": self.agent,
            "dueAt": "2026-12-01T10:00:00Z",
        });
        let (status, answer) = self.client.post(&self.client.crm("follow-ups"), body).await;
        assert_eq!((status, &answer["status"]), (201, &json!("pending")), "{answer}");
        text(&answer["followUpId"])
    }

    /// Another campaign with the same contacts.
    async fn second_campaign(&self) -> String {
        let made = self
            .client
            .done("create_outbound_campaign", json!({ "name": "Summer", "status": "active" }))
            .await;
        let campaign = text(&made["campaign"]["campaignId"]);
        let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 10 });
        self.client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
        campaign
    }

    /// How many follow-ups are pending.
    async fn pending(&self) -> Value {
        let overview = self.client.done("get_crm_workspace_overview", json!({})).await;
        overview["counts"]["followUps"]["pending"].clone()
    }

    /// It is closed, whatever its own stream says.
    async fn taken_back(&self, follow_up: &str) {
        let (status, answer) = self.close(follow_up, "done").await;
        assert_eq!((status, &answer["code"]), (422, &json!("ILLEGAL_TRANSITION")), "{answer}");
        let (status, answer) = self.close(follow_up, "cancelled").await;
        assert_eq!((status, &answer["status"]), (200, &json!("cancelled")), "{answer}");
    }

    async fn close(&self, follow_up: &str, status: &str) -> (u16, Value) {
        let path = self.client.crm(&format!("follow-ups/{follow_up}"));
        let body = json!({ "status": status }).to_string().into_bytes();
        self.client.send(Method::PATCH, &path, &[JSON], body).await.unwrap()
    }
}

/// Takes a file in.
async fn import(client: &Client, file: &str) {
    let (file, path) = (file.as_bytes().to_vec(), client.crm("imports?name=Fair"));
    let (_, folder) = client.send(Method::POST, &path, &[("content-type", "text/csv")], file).await.unwrap();
    let commit = client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
    assert_eq!(client.post(&commit, json!({})).await.0, 200);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

#[tokio::test]
async fn a_call_moves_its_contact() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({ "maxAttempts": 2 })).await;
    let (status, call) = desk.log(desk.call(0, "no_answer")).await;
    assert_eq!((status, &call["attempt"], &call["status"]), (201, &json!(1), &json!("in_progress")));
    let (_, call) = desk.log(desk.call(0, "no_answer")).await;
    assert_eq!((&call["attempt"], &call["status"]), (&json!(2), &json!("unreachable")));
    assert_eq!(desk.status(0).await, json!("unreachable"));
    assert_eq!(desk.status(1).await, json!("new"), "nobody else is moved");
}

#[tokio::test]
async fn a_call_begins_in_this_century_and_not_in_the_future() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    // The clock stands at 18:00; a caller's may be a few minutes ahead.
    for (started_at, status, code) in [
        ("0001-01-01T00:00:00Z", 400, "TOO_EARLY"),
        ("1999-12-31T23:59:59Z", 400, "TOO_EARLY"),
        ("2026-11-21T18:05:01Z", 400, "IN_THE_FUTURE"),
        ("2026-11-21T18:05:00Z", 201, ""),
        ("2000-01-01T00:00:00Z", 201, ""),
    ] {
        let mut call = desk.call(0, "reached");
        call["startedAt"] = json!(started_at);
        let (got, answer) = desk.log(call).await;
        let told = answer["details"][0]["code"].as_str().unwrap_or_default();
        assert_eq!((got, told), (status, code), "{started_at}: {answer}");
    }
}

#[tokio::test]
async fn a_call_that_is_logged_again_is_one_call() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let log = async || {
        let headers = [JSON, ("idempotency-key", "call-1")];
        let body = desk.call(0, "reached").to_string().into_bytes();
        desk.client.send(Method::POST, &desk.client.crm("calls"), &headers, body).await.unwrap()
    };
    let answers = futures::future::join_all((0..8).map(|_| log())).await;
    for answer in &answers {
        assert_eq!((answer.0, &answer.1), (201, &answers[0].1));
    }
    let (_, next) = desk.log(desk.call(0, "reached")).await;
    assert_eq!(next["attempt"], json!(2));
}

#[tokio::test]
async fn what_cannot_be_called_is_refused() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let nobody = "0190a0f0-0000-7000-8000-00000000000f";
    let with = |field: &str, value: Value| {
        let mut call = desk.call(0, "reached");
        call[field] = value;
        call
    };
    for (call, status, code) in [
        (with("campaignId", json!(nobody)), 404, "CAMPAIGN_NOT_FOUND"),
        (with("contactId", json!(nobody)), 404, "CONTACT_NOT_FOUND"),
        (with("agentId", json!(nobody)), 404, "AGENT_NOT_FOUND"),
        (with("agentId", json!("Zoé")), 400, "VALIDATION_FAILED"),
        (with("outcome", json!("maybe")), 400, "VALIDATION_FAILED"),
        (with("startedAt", json!("2126-01-01T00:00:00Z")), 400, "VALIDATION_FAILED"),
        (with("durationSeconds", json!(-1)), 400, "VALIDATION_FAILED"),
        (with("duration", json!(1)), 400, "VALIDATION_FAILED"),
    ] {
        let (got, answer) = desk.log(call).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{answer}");
    }
    let patch = json!({ "active": false }).to_string().into_bytes();
    let agent = desk.client.crm(&format!("agents/{}", desk.agent));
    assert_eq!(desk.client.send(Method::PATCH, &agent, &[JSON], patch).await.unwrap().0, 200);
    let (status, answer) = desk.log(desk.call(0, "reached")).await;
    assert_eq!((status, &answer["code"]), (422, &json!("AGENT_INACTIVE")));
}

#[tokio::test]
async fn a_contact_that_was_taken_out_is_not_called() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let remove = json!({ "campaignId": desk.campaign, "contactIds": [desk.contacts[0]], "confirm": true });
    desk.client.done("bulk_remove_contacts_from_campaign", remove).await;
    let (status, answer) = desk.log(desk.call(0, "reached")).await;
    assert_eq!((status, &answer["code"]), (422, &json!("NOT_IN_CAMPAIGN")));
}

#[tokio::test]
async fn a_campaign_that_is_over_takes_no_calls() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let complete = json!({ "campaignId": desk.campaign, "patch": { "status": "completed" } });
    desk.client.done("update_outbound_campaign", complete).await;
    let (status, answer) = desk.log(desk.call(0, "reached")).await;
    assert_eq!((status, &answer["code"]), (422, &json!("CAMPAIGN_OVER")));
}

#[tokio::test]
async fn whoever_asks_not_to_be_contacted_is_not_called_again() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let promised = desk.follow_up(0).await;
    let (status, call) = desk.log(desk.call(0, "do_not_contact")).await;
    assert_eq!((status, &call["status"]), (201, &json!("do_not_contact")), "{call}");
    assert_eq!(desk.status(0).await, json!("do_not_contact"));
    let (status, answer) = desk.log(desk.call(0, "reached")).await;
    assert_eq!((status, &answer["code"]), (422, &json!("DO_NOT_CONTACT")));
    let (status, answer) = desk.close(&promised, "done").await;
    assert_eq!((status, &answer["code"]), (422, &json!("ILLEGAL_TRANSITION")), "its promise was taken back");

    let suppressed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM ledger.claims WHERE scope = 'suppressed_address'")
            .fetch_one(&app.database.pool())
            .await
            .unwrap();
    assert_eq!(suppressed, 2, "the address and the number");

    // What was said on the telephone is on the list, too, and nobody takes it off.
    let (status, listed) = desk.client.get(&desk.client.crm("suppressions")).await;
    let listed = listed.as_array().unwrap();
    assert_eq!((status, listed.len()), (200, 2), "{listed:?}");
    for entry in listed {
        assert_eq!(entry["reason"], json!("unsubscribe"), "{entry}");
        let body = json!({ "address": entry["address"] }).to_string().into_bytes();
        let path = desk.client.crm("suppressions");
        let headers = [("content-type", "application/json")];
        let (status, answer) = desk.client.send(hyper::Method::DELETE, &path, &headers, body).await.unwrap();
        assert_eq!((status, &answer["code"]), (422, &json!("OPTED_OUT")), "{answer}");
    }
}

#[tokio::test]
async fn the_last_follow_up_to_be_closed_ends_the_status() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let (first, second) = (desk.follow_up(0).await, desk.follow_up(0).await);
    assert_eq!(desk.status(0).await, json!("follow_up"));
    assert_eq!(desk.close(&first, "done").await.0, 200);
    assert_eq!(desk.status(0).await, json!("follow_up"));
    assert_eq!(desk.close(&second, "cancelled").await.0, 200);
    assert_eq!(desk.status(0).await, json!("in_progress"));
    assert_eq!(desk.close(&second, "cancelled").await.0, 200, "closing again is harmless");
    assert_eq!(desk.close(&second, "done").await.0, 422);
}

#[tokio::test]
async fn two_follow_ups_that_are_closed_at_once_end_the_status() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let (first, second) = (desk.follow_up(0).await, desk.follow_up(0).await);
    let (one, other) = tokio::join!(desk.close(&first, "done"), desk.close(&second, "done"));
    assert_eq!((one.0, other.0), (200, 200), "{one:?} {other:?}");
    assert_eq!(desk.status(0).await, json!("in_progress"));
}

#[tokio::test]
async fn a_call_that_says_nothing_leaves_its_contact_where_a_follow_up_is_pending() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({ "maxAttempts": 2 })).await;
    let promised = desk.follow_up(0).await;
    for outcome in ["no_answer", "busy", "reached"] {
        let (status, call) = desk.log(desk.call(0, outcome)).await;
        assert_eq!((status, &call["status"]), (201, &json!("follow_up")), "{call}");
    }
    assert_eq!(desk.status(0).await, json!("follow_up"));
    // Somebody concludes, and takes the work up again: the promise was never closed.
    assert_eq!(desk.log(desk.call(0, "qualified")).await.1["status"], json!("qualified"));
    assert_eq!(desk.log(desk.call(0, "reached")).await.1["status"], json!("follow_up"));
    assert_eq!(desk.log(desk.call(0, "not_interested")).await.1["status"], json!("not_interested"));
    assert_eq!(desk.close(&promised, "done").await.0, 200);
    assert_eq!(desk.log(desk.call(0, "reached")).await.1["status"], json!("in_progress"));
}

#[tokio::test]
async fn who_is_taken_out_takes_along_what_is_promised_in_that_moment() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let pool = app.database.pool();
    let (early, summer) = (desk.follow_up(0).await, desk.second_campaign().await);
    desk.follow_up_in(&summer, 0).await;
    // Whoever takes contacts out looks at the calls after the follow-ups, and has to wait there.
    let mut reading = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE read.calls IN ACCESS EXCLUSIVE MODE").execute(&mut *reading).await.unwrap();
    let remove = json!({ "campaignId": desk.campaign, "filter": {}, "confirm": true });
    let removing = desk.client.done("bulk_remove_contacts_from_campaign", remove);
    let promising = async {
        eventually("the removal to look at the calls", || async {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'read.calls'::regclass",
            )
            .fetch_one(&pool)
            .await
            .unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        let promised = [desk.follow_up(0).await, desk.follow_up(1).await];
        reading.rollback().await.unwrap();
        promised
    };
    let (removed, late) = tokio::join!(removing, promising);
    assert_eq!((&removed["applied"], &removed["followUpsCancelled"]["pending"]), (&json!(2), &json!(1)));
    assert_eq!(desk.pending().await, json!(1), "the other campaign's");
    for follow_up in late.iter().chain([&early]) {
        desk.taken_back(follow_up).await;
    }
    assert!(app.app.readside.rebuild(false, |_| ()).await.unwrap().switched, "rebuilt as it is");
}

#[tokio::test]
async fn who_opts_out_takes_along_what_is_promised_anywhere() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let summer = desk.second_campaign().await;
    let ada = [desk.follow_up(0).await, desk.follow_up_in(&summer, 0).await];
    let bea = [desk.follow_up(1).await, desk.follow_up_in(&summer, 1).await];
    assert_eq!(desk.pending().await, json!(4));
    // An opt-out that was decided before any of that was promised.
    let contact: ContactId = desk.contacts[0].parse().unwrap();
    let opt_out = ContactCommand::OptOut { via: "call", addresses: vec![] };
    let (command, now) = (app.app.clock.mint(), app.app.clock.now());
    app.app
        .ledger
        .order::<Contact>(
            desk.client.organization,
            contact,
            command,
            now,
            &Origin::system("test"),
            None,
            opt_out,
        )
        .await
        .unwrap();
    assert_eq!(desk.pending().await, json!(2));
    // A file says it of whoever it names, and looks for no follow-ups.
    import(&desk.client, "Email,Do not contact\nbea@example.com,yes\n").await;
    assert_eq!(desk.pending().await, json!(0));
    for follow_up in ada.iter().chain(&bea) {
        desk.taken_back(follow_up).await;
    }
    assert!(app.app.readside.rebuild(false, |_| ()).await.unwrap().switched, "rebuilt as it is");
}

#[tokio::test]
async fn a_call_with_a_date_promises_a_follow_up() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let mut call = desk.call(0, "callback");
    call["followUpAt"] = json!("2026-12-01T10:00:00Z");
    let (status, call) = desk.log(call).await;
    assert_eq!((status, &call["status"]), (201, &json!("follow_up")), "{call}");
    let (status, closed) = desk.close(&text(&call["followUpId"]), "done").await;
    assert_eq!((status, &closed["status"], &closed["note"]), (200, &json!("done"), &json!("spoke\nbriefly")));
    assert_eq!(desk.status(0).await, json!("in_progress"));
}

#[tokio::test]
async fn a_token_that_acts_as_a_caller_speaks_for_that_one_alone() {
    let app = TestApp::start().await;
    let desk = Desk::set_up(&app, json!({})).await;
    let own = app.agent_token(desk.client.organization, &desk.agent).await;
    let client = Client::new(app.address(), own, desk.client.organization);
    assert_eq!(client.post(&client.crm("calls"), desk.call(0, "reached")).await.0, 201);
    let mut call = desk.call(0, "reached");
    call["agentId"] = json!("0190a0f0-0000-7000-8000-00000000000f");
    let (status, answer) = client.post(&client.crm("calls"), call).await;
    assert_eq!((status, &answer["code"]), (403, &json!("OTHER_AGENT")));
    let viewer = app.client(Role::Viewer, desk.client.organization).await;
    assert_eq!(viewer.post(&viewer.crm("calls"), desk.call(0, "reached")).await.0, 403);
}
