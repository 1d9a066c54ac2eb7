//! Going through a script with a contact.

use futures::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::script_templates::{attach, script};
use super::{NOBODY, Office, Told, number, text, texts, with};

const UPSERT: &str = "upsert_script_execution";
const GET: &str = "get_script_execution";

/// A campaign in Lyon with a script.
struct Desk {
    office: Office,
    campaign: String,
    contacts: Vec<String>,
    script: String,
}

impl Desk {
    async fn open() -> Self {
        let office = Office::open().await;
        let (campaign, contacts) = office.lyon("Spring").await;
        let script = script(&office, "First").await;
        attach(&office, &campaign, &script).await;
        Self { office, campaign, contacts, script }
    }

    fn input(&self, answers: &[(&str, Value)]) -> Value {
        let responses: Vec<Value> =
            answers.iter().map(|(id, value)| json!({ "nodeId": id, "value": value })).collect();
        json!({ "campaignId": self.campaign, "contactId": self.contacts[0], "responses": responses })
    }

    async fn answer(&self, answers: &[(&str, Value)]) -> Value {
        self.office.done(UPSERT, self.input(answers)).await
    }

    async fn ask(&self, answers: &[(&str, Value)], more: Value) -> Told {
        let mut input = self.input(answers);
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.office.ask(UPSERT, input).await
    }

    /// Where the contact stands in the campaign.
    async fn status(&self) -> String {
        let listed = self
            .office
            .done("list_outbound_contacts", json!({ "campaignId": self.campaign, "limit": 100 }))
            .await;
        let contacts = listed["contacts"].as_array().unwrap();
        let contact =
            contacts.iter().find(|contact| contact["contactId"] == json!(self.contacts[0])).unwrap();
        text(&contact["campaigns"][0]["status"])
    }
}

fn values(responses: &Value) -> Vec<(String, String)> {
    let responses = responses.as_array().unwrap();
    responses.iter().map(|one| (text(&one["nodeId"]), text(&one["value"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn the_first_answers_begin_an_execution_and_the_work_on_the_contact() {
    let desk = Desk::open().await;
    assert_eq!(desk.status().await, "new");
    let told = desk.answer(&[("owner", json!("Oui"))]).await;
    assert_eq!((&told["created"], &told["ignoredResponses"]), (&json!(true), &json!([])));
    assert_eq!(told["selectedPath"], json!(["hello", "owner", "budget", "size", "notes", "bye"]));
    let execution = &told["execution"];
    assert_eq!(
        (&execution["status"], &execution["scriptTemplateVersion"]),
        (&json!("in_progress"), &json!(1))
    );
    assert_eq!(execution["currentNodeId"], json!("budget"));
    assert_eq!(execution["progress"], json!({ "answered": 1, "total": 4 }));
    assert_eq!(desk.status().await, "in_progress");

    let again = desk.answer(&[("budget", json!("1 000 €"))]).await;
    assert_eq!(again["created"], json!(false));
    assert_eq!(again["execution"]["executionId"], execution["executionId"]);
    let by_pair = json!({ "campaignId": desk.campaign, "contactId": desk.contacts[0] });
    for selector in [json!({ "executionId": execution["executionId"] }), by_pair] {
        let read = desk.office.done(GET, with(selector, "responseFormat", "detailed")).await;
        assert_eq!(read["execution"], again["execution"], "what is answered is what is folded");
    }
    let overview = desk.office.done("get_crm_workspace_overview", json!({})).await;
    assert_eq!(overview["counts"]["executions"], json!(1));
    let before = desk.office.events().await;
    desk.answer(&[("budget", json!(" 1 000 € "))]).await;
    desk.answer(&[]).await;
    assert_eq!(desk.office.events().await, before, "the same answers are nothing new");
}

#[tokio::test]
async fn only_the_branch_that_was_chosen_takes_answers() {
    let desk = Desk::open().await;
    let told =
        desk.answer(&[("owner", json!("Oui")), ("who", json!("Ada")), ("budget", json!("1 000"))]).await;
    assert_eq!(told["ignoredResponses"], json!([{ "nodeId": "who", "reason": "NOT_ON_PATH" }]));
    assert_eq!(values(&told["execution"]["responses"]), pairs(&[("owner", "Oui"), ("budget", "1 000")]));

    // An earlier answer that changes takes what hung on it off the path, and keeps it.
    let told = desk.answer(&[("owner", json!("Non")), ("who", json!("Ada"))]).await;
    assert_eq!(told["selectedPath"], json!(["hello", "owner", "who", "reach", "size", "notes", "bye"]));
    assert_eq!(values(&told["execution"]["responses"]), pairs(&[("owner", "Non"), ("who", "Ada")]));
    assert_eq!(values(&told["execution"]["offPathResponses"]), pairs(&[("budget", "1 000")]));
    // And changed back, it counts again.
    let told = desk.answer(&[("owner", json!("Oui"))]).await;
    assert_eq!(values(&told["execution"]["responses"]), pairs(&[("owner", "Oui"), ("budget", "1 000")]));
}

#[tokio::test]
async fn null_takes_an_answer_back_and_replace_all_others() {
    let desk = Desk::open().await;
    desk.answer(&[("owner", json!("Non")), ("who", json!("Ada")), ("size", json!("1-9"))]).await;
    let told = desk.answer(&[("who", json!(null)), ("notes", json!(null))]).await;
    assert_eq!(values(&told["execution"]["responses"]), pairs(&[("owner", "Non"), ("size", "1-9")]));
    let told = desk.ask(&[("size", json!("10+"))], json!({ "mode": "replace" })).await;
    assert_eq!(values(&told.data()["execution"]["responses"]), pairs(&[("size", "10+")]));
}

#[tokio::test]
async fn what_is_required_is_answered_before_the_end_and_nothing_after_it() {
    let desk = Desk::open().await;
    let completed = json!({ "status": "completed" });
    let told = desk.ask(&[("owner", json!("Oui"))], completed.clone()).await;
    told.refused(422, "REQUIRED_UNANSWERED");
    assert_eq!(told.meta()["details"]["nodeIds"], json!(["budget"]));
    let by_pair = json!({ "campaignId": desk.campaign, "contactId": desk.contacts[0] });
    desk.office.ask(GET, by_pair.clone()).await.refused(404, "EXECUTION_NOT_FOUND");

    // What is not on the path is not required.
    let told = desk.ask(&[("owner", json!("Non"))], completed.clone()).await;
    let execution = told.data()["execution"].clone();
    assert_eq!(
        (&execution["status"], &execution["completedAt"]),
        (&json!("completed"), &execution["startedAt"])
    );
    let own = json!({ "executionId": execution["executionId"] });
    desk.ask(&[("who", json!("Ada"))], own.clone()).await.refused(409, "EXECUTION_CLOSED");
    desk.ask(&[], with(own, "status", "completed")).await.refused(409, "EXECUTION_CLOSED");

    // Another call to the same contact is another execution.
    let told = desk.ask(&[("owner", json!("Oui"))], json!({ "status": "abandoned" })).await;
    assert_eq!(
        (&told.data()["created"], &told.data()["execution"]["status"]),
        (&json!(true), &json!("abandoned"))
    );
    assert_ne!(told.data()["execution"]["executionId"], execution["executionId"]);
}

#[tokio::test]
async fn twenty_calls_at_once_begin_one_execution() {
    let desk = Desk::open().await;
    let calls = (0..20).map(|n| {
        let node = ["owner", "size", "notes", "size"][n % 4];
        let value = ["Non", "1-9", "a note", "10+"][n % 4];
        desk.office.ask(UPSERT, desk.input(&[(node, json!(value))]))
    });
    let answers = join_all(calls).await;
    let mut executions: Vec<String> =
        answers.iter().map(|told| text(&told.data()["execution"]["executionId"])).collect();
    executions.dedup();
    assert_eq!(executions.len(), 1);
    let created = answers.iter().filter(|told| told.data()["created"] == json!(true)).count();
    assert_eq!(created, 1);
    let overview = desk.office.done("get_crm_workspace_overview", json!({})).await;
    assert_eq!(overview["counts"]["executions"], json!(1));
    let read = desk.office.done(GET, json!({ "executionId": executions[0] })).await;
    assert_eq!(number(&read["execution"]["progress"]["answered"]), 3);
}

#[tokio::test]
async fn an_execution_keeps_the_version_that_it_began_with() {
    let desk = Desk::open().await;
    let begun = desk.answer(&[("owner", json!("Oui"))]).await;
    let execution = text(&begun["execution"]["executionId"]);
    let steps = json!([{ "id": "new", "type": "question", "text": "Something new?" }]);
    let patch = json!({ "templateId": desk.script, "patch": { "steps": steps } });
    desk.office.done("update_script_template", patch).await;

    let told = desk.ask(&[("new", json!("x"))], json!({})).await;
    told.refused(422, "ANSWERS_INVALID");
    assert_eq!(texts(&told.meta()["fieldErrors"], "code"), ["UNKNOWN_NODE"]);
    let told = desk.answer(&[("budget", json!("1 000"))]).await;
    assert_eq!(told["execution"]["scriptTemplateVersion"], json!(1));

    // Deleting the script under it takes nothing away either.
    let delete = json!({ "templateId": desk.script, "force": true, "confirm": true });
    let gone = desk.office.done("delete_script_template", delete).await;
    assert_eq!(gone["executionsPreserved"], json!(1));
    let told = desk.ask(&[("size", json!("1-9"))], json!({ "status": "completed" })).await;
    assert_eq!(told.data()["execution"]["status"], json!("completed"));
    let read = desk.office.done(GET, json!({ "executionId": execution })).await;
    assert_eq!(read["execution"]["path"], told.data()["execution"]["path"]);
    // The next one has nothing to begin with.
    desk.ask(&[], json!({})).await.refused(422, "NO_SCRIPT_TEMPLATE");
    let script = json!({ "scriptTemplateId": desk.script });
    desk.ask(&[], script).await.refused(422, "TEMPLATE_DELETED");
}

#[tokio::test]
async fn a_contact_that_was_added_again_begins_anew() {
    let desk = Desk::open().await;
    let first = desk.answer(&[("owner", json!("Oui"))]).await;
    let on = |fields: Value| with(fields, "campaignId", desk.campaign.clone());
    let remove = on(json!({ "contactIds": [desk.contacts[0]], "confirm": true }));
    desk.office.done("bulk_remove_contacts_from_campaign", remove).await;
    desk.ask(&[], json!({})).await.refused(422, "NOT_IN_CAMPAIGN");
    let add = on(json!({ "filter": { "source": "crm", "contactIds": [desk.contacts[0]] } }));
    desk.office.done("bulk_add_contacts_to_campaign_by_filter", add).await;

    let own = json!({ "executionId": first["execution"]["executionId"] });
    desk.ask(&[], own.clone()).await.refused(409, "EXECUTION_CLOSED");
    let second = desk.answer(&[("owner", json!("Non"))]).await;
    assert_eq!(second["created"], json!(true));
    // What was answered before stays where it was.
    let read = desk.office.done(GET, own).await;
    assert_eq!(read["execution"]["status"], json!("abandoned"));
    assert_eq!(values(&read["execution"]["responses"]), pairs(&[("owner", "Oui")]));
    let again = desk.answer(&[("who", json!("Ada"))]).await;
    assert_eq!(again["execution"]["executionId"], second["execution"]["executionId"]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let desk = Desk::open().await;
    let office = &desk.office;
    let bare = office.campaign("Bare").await;
    let (other, strangers) = office.lyon("Other").await;
    let open = office.done(UPSERT, json!({
        "campaignId": other, "contactId": strangers[1], "responses": [], "scriptTemplateId": desk.script,
    })).await;
    let theirs = open["execution"]["executionId"].clone();
    let second = script(office, "Second").await;
    let everybody = office.done("list_outbound_contacts", json!({ "limit": 100 })).await;
    let outsider = texts(&everybody["contacts"], "contactId")
        .into_iter()
        .find(|contact| !desk.contacts.contains(contact))
        .unwrap();
    let before = office.events().await;
    let on = |input: Value| with(input, "campaignId", desk.campaign.clone());
    let with_contact = |input: Value| on(with(input, "contactId", desk.contacts[0].clone()));
    let answer =
        |id: &str, value: Value| with_contact(json!({ "responses": [{ "nodeId": id, "value": value }] }));
    for (input, status, code) in [
        (on(json!({ "responses": [] })), 400, "INVALID_INPUT"),
        (answer("owner", json!("oui")), 422, "ANSWERS_INVALID"),
        (answer("owner", json!(true)), 422, "ANSWERS_INVALID"),
        (answer("size", json!(10)), 422, "ANSWERS_INVALID"),
        (answer("size", json!(["10+"])), 400, "INVALID_INPUT"),
        (answer("hello", json!("x")), 422, "ANSWERS_INVALID"),
        (answer("onwer", json!("Oui")), 422, "ANSWERS_INVALID"),
        (answer("notes", json!("é".repeat(4_001))), 422, "ANSWERS_INVALID"),
        (with_contact(json!({ "responses": [{ "nodeId": "owner" }] })), 400, "INVALID_INPUT"),
        (
            with_contact(json!({ "responses": vec![json!({ "nodeId": "notes", "value": "x" }); 501] })),
            400,
            "INVALID_INPUT",
        ),
        (with_contact(json!({ "status": "done" })), 400, "INVALID_INPUT"),
        (with_contact(json!({ "expectedVersion": 3 })), 409, "VERSION_CONFLICT"),
        (with_contact(json!({ "executionId": NOBODY })), 404, "EXECUTION_NOT_FOUND"),
        (with_contact(json!({ "executionId": theirs })), 422, "EXECUTION_MISMATCH"),
        (with_contact(json!({ "scriptTemplateId": NOBODY })), 404, "TEMPLATE_NOT_FOUND"),
        (on(json!({ "contactId": NOBODY })), 404, "CONTACT_NOT_FOUND"),
        (on(json!({ "contactId": outsider })), 422, "NOT_IN_CAMPAIGN"),
        (json!({ "campaignId": NOBODY, "contactId": desk.contacts[0] }), 404, "CAMPAIGN_NOT_FOUND"),
        (json!({ "campaignId": other, "contactId": strangers[0] }), 422, "NO_SCRIPT_TEMPLATE"),
        (
            json!({ "campaignId": other, "contactId": strangers[1], "scriptTemplateId": second }),
            422,
            "EXECUTION_MISMATCH",
        ),
        (json!({ "campaignId": bare, "contactId": strangers[0] }), 422, "NOT_IN_CAMPAIGN"),
    ] {
        let shown: String = input.to_string().chars().take(200).collect();
        let told = office.ask(UPSERT, input).await;
        assert_eq!((told.status, told.code()), (status, code), "{shown}: {}", told.body);
    }
    let all = with_contact(json!({ "responses": [
        { "nodeId": "owner", "value": "Yes" }, { "nodeId": "nobody", "value": "x" }, { "nodeId": "size", "value": 1 },
    ] }));
    let told = office.ask(UPSERT, all).await;
    assert_eq!(
        texts(&told.meta()["fieldErrors"], "path"),
        ["input.responses[0].value", "input.responses[1].nodeId", "input.responses[2].value"]
    );
    for (input, status, code) in [
        (json!({}), 400, "INVALID_INPUT"),
        (json!({ "campaignId": desk.campaign }), 400, "INVALID_INPUT"),
        (
            json!({ "executionId": theirs, "campaignId": other, "contactId": strangers[1] }),
            400,
            "INVALID_INPUT",
        ),
        (json!({ "executionId": NOBODY }), 404, "EXECUTION_NOT_FOUND"),
        (json!({ "campaignId": NOBODY, "contactId": desk.contacts[0] }), 404, "CAMPAIGN_NOT_FOUND"),
        (json!({ "campaignId": desk.campaign, "contactId": desk.contacts[0] }), 404, "EXECUTION_NOT_FOUND"),
    ] {
        office.ask(GET, input).await.refused(status, code);
    }
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn a_version_that_was_seen_is_the_one_that_changes() {
    let desk = Desk::open().await;
    let told = desk.ask(&[("owner", json!("Oui"))], json!({ "expectedVersion": 0 })).await;
    let version = number(&told.data()["execution"]["version"]);
    desk.ask(&[("size", json!("1-9"))], json!({ "expectedVersion": 0 }))
        .await
        .refused(409, "VERSION_CONFLICT");
    let expected = json!({ "expectedVersion": version });
    let told = desk.ask(&[("size", json!("1-9"))], expected).await;
    assert_eq!(number(&told.data()["execution"]["version"]), version + 1);
}

#[tokio::test]
async fn nothing_begins_with_whoever_wants_no_contact_or_where_the_work_is_over() {
    let desk = Desk::open().await;
    let office = &desk.office;
    let begun = desk.answer(&[("owner", json!("Non"))]).await;
    let call = json!({
        "campaignId": desk.campaign, "contactId": desk.contacts[0], "agentId": office.agents[0],
        "outcome": "do_not_contact", "startedAt": "2026-11-21T17:00:00Z",
    });
    let (status, logged) = office.client.post(&office.client.crm("calls"), call).await;
    assert_eq!(status, 201, "{logged}");
    // What was captured on that very call can still be written down; nothing new begins.
    let told = desk.ask(&[("who", json!("Ada"))], json!({ "status": "abandoned" })).await;
    assert_eq!(told.data()["execution"]["executionId"], begun["execution"]["executionId"]);
    desk.ask(&[], json!({})).await.refused(422, "DO_NOT_CONTACT");

    let next = json!({ "campaignId": desk.campaign, "contactId": desk.contacts[1] });
    office.done(UPSERT, next.clone()).await;
    for (status, open, fresh) in [("completed", 200, 422), ("archived", 422, 422)] {
        let patch = json!({ "campaignId": desk.campaign, "patch": { "status": status } });
        office.done("update_outbound_campaign", patch).await;
        assert_eq!(office.ask(UPSERT, next.clone()).await.status, open, "{status}");
        let other = with(next.clone(), "contactId", desk.contacts[2].clone());
        assert_eq!(office.ask(UPSERT, other).await.status, fresh, "{status}");
    }
}

#[tokio::test]
async fn the_agent_of_the_contact_is_noted() {
    let desk = Desk::open().await;
    let assign = json!({
        "campaignId": desk.campaign, "contactIds": [desk.contacts[0]], "agentIds": [desk.office.agents[1]], "confirm": true,
    });
    desk.office.done("bulk_assign_campaign_contacts", assign).await;
    let told = desk.answer(&[]).await;
    assert_eq!(told["execution"]["agentId"], json!(desk.office.agents[1]));
    assert_eq!(desk.status().await, "in_progress");
}

#[tokio::test]
async fn an_earlier_status_is_not_taken_back() {
    let desk = Desk::open().await;
    let call = json!({
        "campaignId": desk.campaign, "contactId": desk.contacts[0], "agentId": desk.office.agents[0],
        "outcome": "qualified", "startedAt": "2026-11-21T17:00:00Z",
    });
    let path = desk.office.client.crm("calls");
    let headers = [("content-type", "application/json")];
    let (status, _) =
        desk.office.client.send(Method::POST, &path, &headers, call.to_string().into_bytes()).await.unwrap();
    assert_eq!(status, 201);
    desk.answer(&[("owner", json!("Oui"))]).await;
    assert_eq!(desk.status().await, "qualified");
}
