//! A person's answers to what waits for one: bound to what was shown, given once, by nobody to their own words.

use docket::approvals::expiry;
use docket::ledger::read;
use docket::service::Call;
use docket_aggregates::approval::{Approval, OPEN_FOR_MILLIS};
use docket_aggregates::ids::{ApprovalId, OutboxId, PrincipalId};
use docket_aggregates::message::Message;
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::drafts::{Drafted, Sketch, draft, drafts, revise};
use crate::support::{Client, TestApp};

const JSON: (&str, &str) = ("content-type", "application/json");
const NOTHING: &str = "0190a0f0-0000-7000-8000-00000000000f";

/// A company with its board and an outbox.
struct Office {
    app: TestApp,
    board: Client,
    outbox: OutboxId,
}

impl Office {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let organization = app.organization().await;
        let board = app.client(Role::Board, organization).await;
        let mail = json!({
            "channel": "email", "niche": null, "secretRef": "secret://smtp:latest",
            "config": { "fromAddress": "ops@example.com" },
        });
        let (status, opened) = board.post(&board.crm("outboxes"), mail).await;
        assert_eq!(status, 201, "{opened}");
        let outbox = opened["id"].as_str().unwrap().parse().unwrap();
        Self { app, board, outbox }
    }

    fn mail(&self) -> Sketch {
        Sketch::mail(self.outbox)
    }

    async fn draft(&self) -> Drafted {
        draft(&self.app.app, self.board.organization, &self.mail()).await
    }

    async fn drafts(&self, count: usize) -> Vec<Drafted> {
        drafts(&self.app.app, self.board.organization, &self.mail(), count).await
    }

    /// An administrator of the instance whose token is limited to this company.
    async fn admin(&self) -> Client {
        let organization = self.board.organization;
        let token = self.app.token(Role::InstanceAdmin, Some(organization)).await;
        Client::new(self.app.address(), token, organization)
    }

    async fn principal(&self, client: &Client) -> PrincipalId {
        let bearer = client.bearer();
        let token = bearer.trim_start_matches("Bearer ");
        self.app.app.credentials.check(token).await.unwrap().principal_id
    }

    async fn answer(&self, drafted: &Drafted, verb: &str, body: Value) -> (u16, Value) {
        let path = format!("approvals/{}/{verb}", approval(drafted));
        self.board.post(&self.board.crm(&path), body).await
    }

    async fn approve(&self, drafted: &Drafted) -> (u16, Value) {
        self.answer(drafted, "approve", json!({ "contentHash": drafted.content_hash })).await
    }

    async fn show(&self, drafted: &Drafted) -> Value {
        let path = format!("approvals/{}", approval(drafted));
        let (status, shown) = self.board.get(&self.board.crm(&path)).await;
        assert_eq!(status, 200, "{shown}");
        shown
    }

    /// Types and commands of the events of a stream.
    async fn events<A: cqrs_es::Aggregate>(&self, id: impl Into<Uuid>) -> Vec<(String, Uuid)> {
        let stream = docket::ledger::Stream::of::<A>(id);
        let pool = self.app.app.ledger.pool();
        let events = read::stream(pool, self.board.organization, stream, 0).await.unwrap();
        events.into_iter().map(|stored| (stored.event_type, stored.command_id.uuid())).collect()
    }

    async fn types<A: cqrs_es::Aggregate>(&self, id: impl Into<Uuid>) -> Vec<String> {
        self.events::<A>(id).await.into_iter().map(|(event_type, _)| event_type).collect()
    }

    async fn head(&self) -> i64 {
        let mut connection = self.app.app.ledger.pool().acquire().await.unwrap();
        read::head(&mut connection, self.board.organization).await.unwrap().unwrap()
    }
}

fn approval(drafted: &Drafted) -> ApprovalId {
    drafted.approval.expect("a person was asked")
}

fn ids(drafted: &[Drafted]) -> Value {
    json!({ "approvalIds": drafted.iter().map(approval).collect::<Vec<_>>() })
}

async fn bulk(client: &Client, body: Value) -> (u16, Value) {
    client.post(&client.crm("approvals/bulk-approve"), body).await
}

fn refused(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn an_approval_shows_exactly_what_would_be_sent_to_whom() {
    let office = Office::open().await;
    let rule = json!({ "predicate": { "channel": "email" }, "action": "queue_for_manual", "priority": 5 });
    let (_, rule) = office.board.post(&office.board.crm("approval-rules"), rule).await;
    let drafted = office.draft().await;
    let shown = office.show(&drafted).await;
    for (field, value) in [
        ("status", json!("pending")),
        ("contentHash", json!(drafted.content_hash)),
        ("activityId", json!(drafted.message)),
        ("activityStatus", json!("draft_pending_approval")),
        ("to", json!("ann@example.com")),
        ("payload", json!({ "subject": "Spring", "text": "Hello" })),
        ("draftedBy", json!(PrincipalId::default())),
        ("matchedRuleId", rule["id"].clone()),
        ("matchedRuleVersion", json!(1)),
        ("answeredBy", Value::Null),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    let auditor = office.app.client(Role::Auditor, office.board.organization).await;
    for client in [&office.board, &auditor] {
        let (status, listed) = client.get(&client.crm("approvals?status=pending")).await;
        assert_eq!((status, &listed), (200, &json!([shown])));
    }
    for (query, status, count) in [
        ("status=approved", 200, Some(0)),
        ("", 200, Some(1)),
        ("status=late", 400, None),
        ("x=1", 400, None),
    ] {
        let (answered, listed) = office.board.get(&office.board.crm(&format!("approvals?{query}"))).await;
        assert_eq!((answered, listed.as_array().map(Vec::len)), (status, count), "{query}");
    }
    for (id, expected) in [(NOTHING, 404), ("7", 400)] {
        let (status, _) = office.board.get(&office.board.crm(&format!("approvals/{id}"))).await;
        assert_eq!(status, expected, "{id}");
    }
    let foreign = office.app.agent().await;
    let (status, _) = foreign.get(&foreign.crm(&format!("approvals/{}", approval(&drafted)))).await;
    assert_eq!(status, 404, "another company's approval does not exist here");
}

#[tokio::test]
async fn a_long_list_is_followed_from_page_to_page() {
    let office = Office::open().await;
    let drafted = office.drafts(5).await;
    let mut seen = vec![];
    let mut path = office.board.crm("approvals?status=pending&limit=2");
    loop {
        let (status, headers, page) =
            office.board.send_for_headers(Method::GET, &path, &[], vec![]).await.unwrap();
        assert_eq!(status, 200, "{page}");
        seen.extend(page.as_array().unwrap().iter().map(|row| row["id"].clone()));
        let Some(link) = headers.get("link") else { break };
        let link = link.to_str().unwrap();
        path = link[1..link.find('>').unwrap()].to_owned();
    }
    let expected: Vec<Value> = drafted.iter().map(|drafted| json!(approval(drafted))).collect();
    assert_eq!(seen.len(), 5);
    assert!(expected.iter().all(|id| seen.contains(id)));
}

#[tokio::test]
async fn one_append_lets_an_approved_message_go() {
    let office = Office::open().await;
    let drafted = office.draft().await;
    // A hash is the same in capitals.
    let body = json!({ "contentHash": drafted.content_hash.to_uppercase(), "note": "Fine" });
    let (status, answer) = office.answer(&drafted, "approve", body.clone()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["status"], &answer["activityStatus"], &answer["dispatchState"], &answer["note"]),
        (&json!("approved"), &json!("draft_pending_approval"), &json!("queued"), &json!("Fine"))
    );
    let granted = office.events::<Approval>(approval(&drafted)).await.pop().unwrap();
    let message = office.events::<Message>(drafted.message).await;
    assert_eq!(granted.0, "ApprovalGranted");
    assert_eq!(
        message[2..],
        [("MessageApproved".to_owned(), granted.1), ("MessageQueued".to_owned(), granted.1)]
    );
    assert_eq!(office.show(&drafted).await, answer);

    let head = office.head().await;
    let (status, again) = office.answer(&drafted, "approve", body).await;
    assert_eq!((status, &again["status"]), (200, &json!("approved")), "{again}");
    assert_eq!(office.head().await, head, "a yes counts once");
}

#[tokio::test]
async fn of_two_who_answer_at_once_one_is_recorded() {
    let office = Office::open().await;
    let drafted = office.drafts(8).await;
    for drafted in &drafted {
        let yes = office.approve(drafted);
        let no = office.answer(drafted, "reject", json!({ "note": "No" }));
        let (yes, no) = tokio::join!(yes, no);
        let mut statuses = [yes.0, no.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 422], "{yes:?} {no:?}");
        let types = office.types::<Approval>(approval(drafted)).await;
        assert_eq!(types.len(), 2, "{types:?}");
        let queued = office.types::<Message>(drafted.message).await.contains(&"MessageQueued".to_owned());
        assert_eq!(queued, yes.0 == 200);
    }
}

#[tokio::test]
async fn nobody_approves_their_own_words() {
    let office = Office::open().await;
    let admin = office.admin().await;
    let own = |drafter| Sketch { drafter, ..office.mail() };
    let organization = office.board.organization;
    let of_board = draft(&office.app.app, organization, &own(office.principal(&office.board).await)).await;
    let of_admin = draft(&office.app.app, organization, &own(office.principal(&admin).await)).await;
    let head = office.head().await;
    assert_eq!(refused(&office.approve(&of_board).await), (403, "SELF_APPROVAL"));
    let answer = bulk(&admin, ids(&[of_board.clone(), of_admin.clone()])).await;
    assert_eq!(refused(&answer), (403, "SELF_APPROVAL"));
    let offences: Vec<&Value> =
        answer.1["details"].as_array().unwrap().iter().map(|offence| &offence["approvalId"]).collect();
    assert_eq!(offences, [&json!(approval(&of_admin))]);
    let revision = office.answer(&of_board, "request-revision", json!({ "note": "Mine" })).await;
    assert_eq!(refused(&revision), (403, "SELF_APPROVAL"));
    assert_eq!(office.head().await, head);
    // To withdraw one's own words is another matter.
    assert_eq!(office.answer(&of_board, "reject", json!({ "note": "A slip" })).await.0, 200);
}

#[tokio::test]
async fn an_answer_is_bound_to_what_was_shown() {
    let office = Office::open().await;
    let drafted = office.draft().await;
    let answer = office.answer(&drafted, "approve", json!({ "contentHash": "0".repeat(64) })).await;
    assert_eq!(refused(&answer), (409, "CONTENT_CHANGED"));

    let sketch = Sketch { text: "Good day".into(), ..office.mail() };
    let revised = revise(&office.app.app, office.board.organization, &drafted, &sketch).await;
    assert_eq!(refused(&office.approve(&drafted).await), (409, "APPROVAL_SUPERSEDED"));
    let answer = office.answer(&drafted, "reject", json!({ "note": "No" })).await;
    assert_eq!(refused(&answer), (409, "APPROVAL_SUPERSEDED"));
    let admin = office.admin().await;
    assert_eq!(
        refused(&bulk(&admin, ids(std::slice::from_ref(&drafted))).await),
        (409, "APPROVAL_SUPERSEDED")
    );
    // Each still shows the content that its id names.
    let (old, new) = (office.show(&drafted).await, office.show(&revised).await);
    assert_eq!((&old["status"], &old["payload"]["text"]), (&json!("superseded"), &json!("Hello")));
    assert_eq!((&new["payload"]["text"], &new["supersedes"]), (&json!("Good day"), &old["id"]));
    assert_eq!(office.approve(&revised).await.0, 200);
}

#[tokio::test]
async fn what_was_answered_takes_no_other_answer() {
    let office = Office::open().await;
    let note = || json!({ "note": "Because" });
    for (first, verb, expected) in [
        ("approve", "reject", (422, "ALREADY_APPROVED")),
        ("approve", "request-revision", (422, "ALREADY_APPROVED")),
        ("reject", "approve", (422, "ALREADY_REJECTED")),
        ("reject", "request-revision", (422, "ALREADY_REJECTED")),
        ("request-revision", "approve", (422, "REVISION_REQUESTED")),
        ("request-revision", "reject", (422, "REVISION_REQUESTED")),
        ("reject", "reject", (200, "")),
        ("request-revision", "request-revision", (200, "")),
    ] {
        let drafted = office.draft().await;
        let body = |verb: &str| {
            if verb == "approve" { json!({ "contentHash": drafted.content_hash }) } else { note() }
        };
        assert_eq!(office.answer(&drafted, first, body(first)).await.0, 200, "{first}");
        let head = office.head().await;
        assert_eq!(refused(&office.answer(&drafted, verb, body(verb)).await), expected, "{first}, {verb}");
        assert_eq!(office.head().await, head, "{first}, {verb}");
    }
    let drafted = office.draft().await;
    for (verb, body) in [
        ("approve", json!({})),
        ("approve", json!({ "contentHash": 1 })),
        ("reject", json!({})),
        ("reject", json!({ "note": " " })),
        ("request-revision", json!({ "note": "a", "surplus": 1 })),
    ] {
        let answer = office.answer(&drafted, verb, body).await;
        assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{verb}");
    }
}

#[tokio::test]
async fn a_rejected_message_has_failed_and_its_key_is_free() {
    let office = Office::open().await;
    let sketch = Sketch { dedup: Some("ab".repeat(32)), ..office.mail() };
    let organization = office.board.organization;
    let drafted = draft(&office.app.app, organization, &sketch).await;
    let claims = async || -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM ledger.claims WHERE organization_id = $1 AND scope = 'message_dedup'",
        )
        .bind(organization.uuid())
        .fetch_one(office.app.app.ledger.pool())
        .await
        .unwrap()
    };
    assert_eq!(claims().await, 1);
    let (status, answer) = office.answer(&drafted, "reject", json!({ "note": "Too loud" })).await;
    assert_eq!(
        (status, &answer["status"], &answer["activityStatus"], &answer["reason"]),
        (200, &json!("rejected"), &json!("failed"), &json!("approval_rejected")),
        "{answer}"
    );
    assert_eq!(office.show(&drafted).await, answer);
    assert_eq!(claims().await, 0);
    // The same may be drafted again.
    draft(&office.app.app, organization, &sketch).await;
    assert_eq!(claims().await, 1);
}

#[tokio::test]
async fn without_its_outbox_an_approved_message_fails_and_is_not_charged() {
    let office = Office::open().await;
    let drafted = office.drafts(2).await;
    let path = office.board.crm(&format!("outboxes/{}", office.outbox));
    assert_eq!(office.board.send(Method::DELETE, &path, &[JSON], vec![]).await.unwrap().0, 200);
    let (status, answer) = office.approve(&drafted[0]).await;
    assert_eq!(
        (status, &answer["status"], &answer["activityStatus"], &answer["reason"]),
        (200, &json!("approved"), &json!("failed"), &json!("outbox_deleted")),
        "{answer}"
    );
    let (status, answer) = bulk(&office.admin().await, ids(&drafted[1..])).await;
    assert_eq!(
        (status, &answer["approved"][0]["status"], &answer["approved"][0]["reason"]),
        (200, &json!("failed"), &json!("outbox_deleted")),
        "{answer}"
    );
    for drafted in &drafted {
        let types = office.types::<Message>(drafted.message).await;
        assert_eq!(types, ["MessageDrafted", "MessageDecided", "MessageDecided"]);
    }
    let charged: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM ledger.events WHERE organization_id = $1 AND aggregate_type = 'Bucket'",
    )
    .bind(office.board.organization.uuid())
    .fetch_one(office.app.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(charged, 0);
}

#[tokio::test]
async fn a_batch_is_approved_whole_in_one_append() {
    let office = Office::open().await;
    let admin = office.admin().await;
    let drafted = office.drafts(6).await;
    assert_eq!(office.approve(&drafted[0]).await.0, 200);
    let mut named: Vec<ApprovalId> = drafted.iter().map(approval).collect();
    // What is named twice is one.
    named.extend_from_within(1..3);
    let (status, answer) = bulk(&admin, json!({ "approvalIds": named })).await;
    assert_eq!((status, &answer["count"]), (200, &json!(5)), "{answer}");
    assert_eq!(answer["approved"].as_array().unwrap().len(), 5);
    assert_eq!(answer["alreadyApproved"][0]["approvalId"], json!(approval(&drafted[0])));
    assert_eq!(
        answer["approved"][0],
        json!({
            "approvalId": approval(&drafted[1]), "activityId": drafted[1].message,
            "status": "draft_pending_approval",
        })
    );
    let mut commands = std::collections::BTreeSet::new();
    for drafted in &drafted[1..] {
        commands.insert(office.events::<Approval>(approval(drafted)).await.pop().unwrap().1);
        let queued = office.events::<Message>(drafted.message).await.pop().unwrap();
        assert_eq!(queued.0, "MessageQueued");
        commands.insert(queued.1);
    }
    assert_eq!(commands.len(), 1);
    let head = office.head().await;
    let (status, answer) = bulk(&admin, ids(&drafted)).await;
    assert_eq!((status, &answer["count"]), (200, &json!(0)));
    assert_eq!(answer["alreadyApproved"].as_array().unwrap().len(), 6);
    assert_eq!(office.head().await, head);
}

#[tokio::test]
async fn a_batch_that_cannot_be_given_whole_is_not_given() {
    let office = Office::open().await;
    let admin = office.admin().await;
    let drafted = office.drafts(4).await;
    assert_eq!(office.answer(&drafted[1], "reject", json!({ "note": "No" })).await.0, 200);
    let sketch = Sketch { text: "Good day".into(), ..office.mail() };
    revise(&office.app.app, office.board.organization, &drafted[2], &sketch).await;
    let neighbour = office.app.organization().await;
    let foreign = draft(&office.app.app, neighbour, &office.mail()).await;
    let head = office.head().await;
    let of = |drafted: &[&Drafted]| json!(drafted.iter().map(|one| approval(one)).collect::<Vec<_>>());
    let unknown = json!([approval(&drafted[0]), NOTHING]);
    for (named, expected, offences) in [
        (of(&[&drafted[0], &drafted[1]]), (422, "ALREADY_REJECTED"), 1),
        (of(&[&drafted[0], &drafted[2]]), (409, "APPROVAL_SUPERSEDED"), 1),
        (of(&[&drafted[0], &foreign]), (404, "APPROVAL_NOT_FOUND"), 1),
        (unknown, (404, "APPROVAL_NOT_FOUND"), 1),
        // All of them are told, and the status is that of the gravest.
        (of(&[&foreign, &drafted[1], &drafted[2], &drafted[3]]), (404, "APPROVAL_NOT_FOUND"), 3),
        (of(&[&drafted[1], &drafted[2], &drafted[3]]), (409, "APPROVAL_SUPERSEDED"), 2),
    ] {
        let answer = bulk(&admin, json!({ "approvalIds": named })).await;
        assert_eq!(refused(&answer), expected, "{}", answer.1);
        let told = answer.1["details"].as_array().unwrap();
        assert_eq!(told.len(), offences, "{}", answer.1);
        assert!(told.iter().all(|offence| offence["code"].is_string() && offence["approvalId"].is_string()));
    }
    for named in [json!([]), json!(vec![approval(&drafted[0]); 501]), json!(["7"]), Value::Null] {
        let answer = bulk(&admin, json!({ "approvalIds": named })).await;
        assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"));
    }
    // Whoever may not is told so, and nothing is done.
    let organization = office.board.organization;
    for role in [Role::Board, Role::Agent, Role::Auditor, Role::Viewer] {
        let outsider = office.app.client(role, organization).await;
        assert_eq!(refused(&bulk(&outsider, ids(&drafted[..1])).await), (403, "ROLE_FORBIDDEN"));
    }
    let path = format!("/api/companies/{neighbour}/crm/approvals/bulk-approve");
    let answer = admin.post(&path, json!({ "approvalIds": [approval(&foreign)] })).await;
    assert_eq!(refused(&answer), (403, "OTHER_ORGANIZATION"));
    assert_eq!(office.head().await, head);
}

#[tokio::test]
async fn two_administrators_who_approve_the_same_batch_let_each_message_go_once() {
    let office = Office::open().await;
    let (one, other) = (office.admin().await, office.admin().await);
    let drafted = office.drafts(40).await;
    // One of them through another process: nothing is shared but the ledger.
    let elsewhere = office.app.another().await;
    let mut call = Call::of_system(&elsewhere, office.board.organization, "test");
    call.origin.actor.principal = office.app.clock.mint();
    let named: Vec<ApprovalId> = drafted.iter().map(approval).collect();
    let (first, second, third) = tokio::join!(
        bulk(&one, ids(&drafted)),
        bulk(&other, ids(&drafted)),
        docket::approvals::approve_all(&elsewhere, &call, named),
    );
    assert_eq!((first.0, second.0), (200, 200), "{first:?} {second:?}");
    let counts = [&first.1["count"], &second.1["count"]].map(|count| count.as_u64().unwrap());
    let third = third.unwrap().entity;
    assert_eq!(counts.iter().sum::<u64>() + third.count as u64, 40);
    for drafted in &drafted {
        let types = office.types::<Message>(drafted.message).await;
        assert_eq!(types.iter().filter(|name| *name == "MessageQueued").count(), 1, "{types:?}");
    }
}

#[tokio::test]
async fn five_hundred_are_approved_at_once() {
    let office = Office::open().await;
    let drafted = office.drafts(500).await;
    let (status, answer) = bulk(&office.admin().await, ids(&drafted)).await;
    assert_eq!((status, &answer["count"]), (200, &json!(500)), "{}", answer["error"]);
}

#[tokio::test]
async fn after_72_hours_nobody_answers_any_more() {
    let office = Office::open().await;
    let late = office.drafts(3).await;
    assert_eq!(office.answer(&late[1], "request-revision", json!({ "note": "Shorter" })).await.0, 200);
    assert_eq!(office.approve(&late[2]).await.0, 200);
    office.app.clock.advance(OPEN_FOR_MILLIS - 1);
    let young = office.draft().await;
    office.app.app.readside.settle(office.board.organization).await.unwrap();
    assert_eq!(expiry::close_overdue(&office.app.app).await.unwrap(), 0);
    office.app.clock.advance(1);

    // Before anybody closed it, it is seen and treated as expired.
    assert_eq!(office.show(&late[0]).await["status"], json!("expired"));
    assert_eq!(refused(&office.approve(&late[0]).await), (422, "APPROVAL_EXPIRED"));
    let admin = office.admin().await;
    assert_eq!(refused(&bulk(&admin, ids(&late[..1])).await), (422, "APPROVAL_EXPIRED"));

    let another = office.app.another().await;
    let (one, other) = tokio::join!(expiry::close_overdue(&office.app.app), expiry::close_overdue(&another));
    assert_eq!(one.unwrap() + other.unwrap(), 2, "each is closed by one process");
    for (drafted, last) in [(&late[0], "ApprovalExpired"), (&late[1], "ApprovalExpired")] {
        let types = office.types::<Approval>(approval(drafted)).await;
        assert_eq!(types.iter().filter(|name| *name == last).count(), 1, "{types:?}");
        let shown = office.show(drafted).await;
        assert_eq!(
            (&shown["status"], &shown["activityStatus"], &shown["reason"]),
            (&json!("expired"), &json!("failed"), &json!("approval_expired"))
        );
    }
    assert_eq!(office.show(&late[2]).await["status"], json!("approved"));
    assert_eq!(office.show(&young).await["status"], json!("pending"));
    let head = office.head().await;
    assert_eq!(expiry::close_overdue(&office.app.app).await.unwrap(), 0);
    assert_eq!(office.head().await, head);
    let (_, expired) = office.board.get(&office.board.crm("approvals?status=expired")).await;
    assert_eq!(expired.as_array().unwrap().len(), 2);
}
