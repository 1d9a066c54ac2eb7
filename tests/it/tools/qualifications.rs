//! Qualifications: what is recorded under which form, what a verdict does to the contact, and how they are found.

use futures::future::join_all;
use serde_json::{Value, json};

use super::qualification_templates::heating;
use super::{NOBODY, Office, Told, ask, number, text, texts, with};

const CREATE: &str = "create_qualification";
const UPDATE: &str = "update_qualification";
const GET: &str = "get_qualification";
const LIST: &str = "list_qualifications";
const SCHEMA: &str = "get_qualification_schema";

/// An office with a campaign of twenty contacts and a form attached to it.
struct Desk {
    office: Office,
    campaign: String,
    contacts: Vec<String>,
    template: String,
}

impl Desk {
    async fn open() -> Self {
        let office = Office::open().await;
        let (campaign, contacts) = office.lyon("Spring").await;
        let made = office.done("create_qualification_template", heating()).await;
        let template = text(&made["template"]["templateId"]);
        let attach = json!({ "campaignId": campaign, "qualificationTemplateId": template });
        office.done("attach_campaign_templates", attach).await;
        Self { office, campaign, contacts, template }
    }

    fn about(&self, contact: usize, extra: Value) -> Value {
        let mut input =
            json!({ "campaignId": self.campaign, "contactId": self.contacts[contact], "answers": {} });
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        input
    }

    async fn ask(&self, contact: usize, extra: Value) -> Told {
        self.office.ask(CREATE, self.about(contact, extra)).await
    }

    async fn made(&self, contact: usize, extra: Value) -> Value {
        self.ask(contact, extra).await.data()["qualification"].clone()
    }

    async fn change(&self, id: &Value, patch: Value) -> Value {
        self.office.done(UPDATE, json!({ "qualificationId": id, "patch": patch })).await
    }

    /// How the campaign's contacts stand.
    async fn standing(&self) -> Value {
        self.office.counts(&self.campaign).await["byStatus"].clone()
    }
}

#[tokio::test]
async fn what_is_recorded_comes_back_with_its_score() {
    let desk = Desk::open().await;
    let answers = json!({
        "fuel": "oil", "area": 120.5, "works": ["roof", "heating"], "postcode": "69001", "remark": "two\nlines",
        "built": "1974-05-31", "owner": true, "email": "ada@example.com", "phone": "+33 6 12 34 56 78",
    });
    let told =
        desk.ask(0, json!({ "answers": answers, "status": "qualified", "notes": "eager\nto talk" })).await;
    let made = &told.data()["qualification"];
    assert_eq!((&made["score"], &made["qualifies"]), (&json!(56), &json!(false)));
    assert_eq!(texts(&told.data()["warnings"], "code"), ["SCORE_BELOW_THRESHOLD"]);
    let by_id = json!({ "qualificationId": made["qualificationId"], "responseFormat": "detailed" });
    let shown = desk.office.done(GET, by_id).await;
    // Several options come back in the order of the form.
    assert_eq!(shown["qualification"]["answers"], with(answers, "works", json!(["heating", "roof"])));
    assert_eq!(shown["qualification"]["notes"], json!("eager\nto talk"));
    assert_eq!(shown["qualification"]["templateVersion"], json!(1));
    assert_eq!(shown["qualification"], made.clone());
    let pair = json!({ "campaignId": desk.campaign, "contactId": desk.contacts[0] });
    let by_pair = desk.office.done(GET, pair).await;
    assert_eq!(by_pair["qualification"]["qualificationId"], made["qualificationId"]);
    let overview = desk.office.done("get_crm_workspace_overview", json!({})).await;
    assert_eq!(overview["counts"]["qualifications"], json!(1));
}

#[tokio::test]
async fn texts_of_answers_are_trimmed_and_a_strict_input_says_the_same() {
    let desk = Desk::open().await;
    let answers = json!({ "fuel": " gas ", "remark": "\n two\nlines  ", "works": ["roof "] });
    let told = desk.ask(0, json!({ "answers": answers })).await;
    let made = told.data()["qualification"].clone();
    assert_eq!(made["answers"], json!({ "fuel": "gas", "remark": "two\nlines", "works": ["roof"] }));
    let list = json!([{ "key": "remark", "value": null }, { "key": "owner", "value": true }]);
    let strict = json!({
        "qualificationId": made["qualificationId"],
        "patch": { "answers": list, "status": null, "notes": { "value": "calls back" } },
        "expectedVersion": null, "dryRun": null, "previewToken": null, "onDrift": null,
        "strict": true,
    });
    let changed = desk.office.done("update_qualification", strict).await;
    let qualification = &changed["qualification"];
    assert_eq!(qualification["answers"], json!({ "fuel": "gas", "owner": true, "works": ["roof"] }));
    assert_eq!(qualification["notes"], json!("calls back"));
}

#[tokio::test]
async fn answers_that_do_not_fit_are_all_told() {
    let desk = Desk::open().await;
    let before = desk.office.events().await;
    for (answers, path, code) in [
        (json!({ "area": "120" }), "area", "WRONG_TYPE"),
        (json!({ "area": "NaN" }), "area", "WRONG_TYPE"),
        (json!({ "area": 2000.5 }), "area", "TOO_LARGE"),
        (json!({ "built": "2026-02-30" }), "built", "WRONG_FORMAT"),
        (json!({ "works": ["roof", "roof"] }), "works", "DUPLICATE"),
        (json!({ "works": ["pool"] }), "works", "NOT_ONE_OF"),
        (json!({ "fuel": "Oil" }), "fuel", "NOT_ONE_OF"),
        (json!({ "postcode": "6900" }), "postcode", "WRONG_FORMAT"),
        (json!({ "owner": "yes" }), "owner", "WRONG_TYPE"),
        (json!({ "colour": "red" }), "colour", "UNKNOWN_FIELD"),
        (json!({ "__proto__": {} }), "__proto__", "UNKNOWN_FIELD"),
        (json!({ "email": "ada" }), "email", "WRONG_FORMAT"),
    ] {
        let told = desk.ask(0, json!({ "answers": answers })).await;
        told.refused(422, "INVALID_ANSWERS");
        let fault = &told.meta()["fieldErrors"][0];
        let path = format!("input.answers.{path}");
        assert_eq!((&fault["path"], &fault["code"]), (&json!(path), &json!(code)), "{answers}");
    }
    let told = desk.ask(0, json!({ "answers": { "area": "1", "owner": 1, "colour": "red" } })).await;
    assert_eq!(told.meta()["fieldErrors"].as_array().unwrap().len(), 3);
    // A number that no reader keeps is refused before anybody looks at it.
    let body = format!(
        r#"{{"organizationId":"{}","input":{{"campaignId":"{}","contactId":"{}","answers":{{"area":1e400}}}}}}"#,
        desk.office.client.organization, desk.campaign, desk.contacts[0],
    );
    let path = format!("/crm/agent/tools/{CREATE}");
    let json = [("content-type", "application/json")];
    let answer = desk.office.client.send(hyper::Method::POST, &path, &json, body.into_bytes()).await.unwrap();
    assert_eq!(answer.0, 400);
    assert_eq!(desk.office.events().await, before);
}

#[tokio::test]
async fn a_draft_may_leave_out_what_a_verdict_may_not() {
    let desk = Desk::open().await;
    let told = desk.ask(0, json!({ "status": "qualified" })).await;
    told.refused(422, "INVALID_ANSWERS");
    let fault = &told.meta()["fieldErrors"][0];
    assert_eq!((&fault["path"], &fault["code"]), (&json!("input.answers.fuel"), &json!("REQUIRED")));
    let draft = desk.ask(0, json!({})).await.data().clone();
    assert_eq!(draft["validation"], json!({ "missing": ["fuel"], "invalid": [] }));
    let id = &draft["qualification"]["qualificationId"];
    let early = json!({ "qualificationId": id, "patch": { "status": "qualified" } });
    let told = desk.office.ask(UPDATE, early).await;
    told.refused(422, "INVALID_ANSWERS");
    assert_eq!(told.meta()["fieldErrors"][0]["path"], json!("input.patch.answers.fuel"));
    let told = desk.change(id, json!({ "answers": { "fuel": "gas" }, "status": "qualified" })).await;
    assert_eq!(texts(&told["changes"], "field"), ["answers.fuel", "status"]);
    assert_eq!(told["qualification"]["version"], json!(3));
}

#[tokio::test]
async fn a_verdict_moves_the_contact() {
    let desk = Desk::open().await;
    let all = number(&json!(desk.contacts.len()));
    let draft = desk.made(0, json!({})).await;
    assert_eq!(number(&desk.standing().await["new"]), all, "a draft moves nobody");
    let id = &draft["qualificationId"];
    for (patch, moved) in [
        (json!({ "answers": { "fuel": "oil" }, "status": "qualified" }), "qualified"),
        (json!({ "status": "not_qualified" }), "not_interested"),
        (json!({ "status": "draft" }), "not_interested"),
        (json!({ "status": "qualified" }), "qualified"),
    ] {
        desk.change(id, patch.clone()).await;
        assert_eq!(number(&desk.standing().await[moved]), 1, "{patch}");
    }
    desk.made(1, json!({ "status": "not_qualified" })).await;
    assert_eq!(number(&desk.standing().await["not_interested"]), 1);
}

#[tokio::test]
async fn a_call_that_began_before_a_persons_verdict_does_not_undo_it() {
    let desk = Desk::open().await;
    let client = &desk.office.client;
    desk.made(0, json!({ "answers": { "fuel": "oil" }, "status": "qualified" })).await;
    // The verdict was given at 18:00, and a caller's clock may be a few minutes ahead.
    for (outcome, started_at, stands) in [
        ("no_answer", "2026-11-19T10:00:00Z", "qualified"),
        ("reached", "2026-11-21T17:50:00Z", "qualified"),
        ("busy", "2026-11-21T18:02:00Z", "qualified"),
        ("reached", "2026-11-21T18:03:00Z", "in_progress"),
    ] {
        let call = json!({
            "campaignId": desk.campaign, "contactId": desk.contacts[0], "agentId": desk.office.agents[0],
            "outcome": outcome, "startedAt": started_at,
        });
        let (status, answer) = client.post(&client.crm("calls"), call).await;
        assert_eq!((status, &answer["status"]), (201, &json!(stands)), "{outcome} {started_at}: {answer}");
        assert_eq!(number(&desk.standing().await[stands]), 1, "{outcome} {started_at}");
    }
}

#[tokio::test]
async fn whoever_asked_not_to_be_contacted_is_not_moved() {
    let desk = Desk::open().await;
    let call = json!({
        "campaignId": desk.campaign, "contactId": desk.contacts[0], "agentId": desk.office.agents[0],
        "outcome": "do_not_contact", "startedAt": "2026-11-21T10:00:00Z",
    });
    let client = &desk.office.client;
    assert_eq!(client.post(&client.crm("calls"), call).await.0, 201);
    let told = desk.ask(0, json!({ "answers": { "fuel": "oil" }, "status": "qualified" })).await;
    assert_eq!(texts(&told.data()["warnings"], "code"), ["SCORE_BELOW_THRESHOLD", "CONTACT_NOT_MOVED"]);
    assert_eq!(number(&desk.standing().await["do_not_contact"]), 1);
    assert_eq!(number(&desk.standing().await["qualified"]), 0);
}

#[tokio::test]
async fn one_is_open_at_a_time() {
    let desk = Desk::open().await;
    let first = desk.made(0, json!({})).await;
    let told = desk.ask(0, json!({})).await;
    told.refused(409, "QUALIFICATION_OPEN");
    assert_eq!(told.meta()["details"]["qualificationId"], first["qualificationId"]);
    let preview = desk.ask(0, json!({ "dryRun": true })).await;
    preview.refused(409, "QUALIFICATION_OPEN");
    desk.change(&first["qualificationId"], json!({ "status": "not_qualified" })).await;
    let second = desk.made(0, json!({})).await;
    // Neither of the two can be taken up again while the other is open.
    let reopen = json!({ "qualificationId": first["qualificationId"], "patch": { "status": "draft" } });
    desk.office.ask(UPDATE, reopen).await.refused(409, "QUALIFICATION_OPEN");
    let pair = json!({ "campaignId": desk.campaign, "contactId": desk.contacts[0] });
    let latest = desk.office.done(GET, pair).await;
    assert_eq!(latest["qualification"]["qualificationId"], second["qualificationId"]);
}

#[tokio::test]
async fn of_twenty_who_begin_at_once_one_does() {
    let desk = Desk::open().await;
    let begun = join_all((0..20).map(|_| desk.ask(0, json!({})))).await;
    let (made, refused): (Vec<_>, Vec<_>) = begun.iter().partition(|told| told.status == 200);
    assert_eq!((made.len(), refused.len()), (1, 19));
    for told in refused {
        told.refused(409, "QUALIFICATION_OPEN");
    }
}

#[tokio::test]
async fn a_contact_that_was_added_again_begins_anew() {
    let desk = Desk::open().await;
    let first = desk.made(0, json!({})).await;
    let contact = &desk.contacts[0];
    let remove = json!({ "campaignId": desk.campaign, "contactIds": [contact], "confirm": true });
    desk.office.done("bulk_remove_contacts_from_campaign", remove).await;
    desk.ask(0, json!({})).await.refused(422, "NOT_IN_CAMPAIGN");
    let filter = json!({ "source": "crm", "contactIds": [contact] });
    let add = json!({ "campaignId": desk.campaign, "filter": filter });
    desk.office.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    // What was left open is still the one that is open: nothing tells two drafts of one contact apart.
    let told = desk.ask(0, json!({})).await;
    told.refused(409, "QUALIFICATION_OPEN");
    assert_eq!(told.meta()["details"]["qualificationId"], first["qualificationId"]);
    // It may be brought to an end, which moves nobody any more.
    let patch = json!({ "status": "not_qualified" });
    let told = desk.change(&first["qualificationId"], patch).await;
    assert_eq!(texts(&told["warnings"], "code"), ["CONTACT_NOT_MOVED"]);
    let second = desk.made(0, json!({})).await;
    assert_ne!(second["qualificationId"], first["qualificationId"]);
    let reopen = json!({ "qualificationId": first["qualificationId"], "patch": { "status": "draft" } });
    desk.office.ask(UPDATE, reopen).await.refused(409, "QUALIFICATION_OPEN");
    assert_eq!(number(&desk.standing().await["not_interested"]), 0);
}

#[tokio::test]
async fn a_record_stays_under_the_version_that_it_was_made_under() {
    let desk = Desk::open().await;
    let made = desk.made(0, json!({ "answers": { "fuel": "wood" } })).await;
    let mut fields = heating()["fields"].clone();
    fields[0]["options"] = json!(["gas", "oil"]);
    fields
        .as_array_mut()
        .unwrap()
        .push(json!({ "key": "rooms", "label": "Rooms", "type": "number", "required": true }));
    let revise = json!({ "templateId": desk.template, "patch": { "fields": fields } });
    desk.office.done("update_qualification_template", revise).await;

    // An option that is gone stays valid here; a field that came later does not exist here.
    let told = desk
        .change(&made["qualificationId"], json!({ "answers": { "area": 3 }, "status": "qualified" }))
        .await;
    assert_eq!(
        (&told["qualification"]["answers"]["fuel"], &told["qualification"]["templateVersion"]),
        (&json!("wood"), &json!(1))
    );
    let late = json!({ "qualificationId": made["qualificationId"], "patch": { "answers": { "rooms": 3 } } });
    desk.office.ask(UPDATE, late).await.refused(422, "INVALID_ANSWERS");
    let stale = desk.ask(1, json!({ "templateVersion": 1 })).await;
    stale.refused(409, "STALE_TEMPLATE_VERSION");
    assert_eq!(stale.meta()["details"], json!({ "templateVersion": 1, "currentVersion": 2 }));
    assert_eq!(desk.made(1, json!({ "templateVersion": 2 })).await["templateVersion"], json!(2));
}

#[tokio::test]
async fn the_schema_is_that_of_the_version() {
    let desk = Desk::open().await;
    let shown = desk.office.done(SCHEMA, json!({ "campaignId": desk.campaign })).await;
    assert_eq!((&shown["templateId"], &shown["version"]), (&json!(desk.template), &json!(1)));
    let validator = jsonschema::validator_for(&shown["jsonSchema"]).unwrap();
    assert!(validator.is_valid(&json!({ "fuel": "oil", "area": 12.5 })));
    assert!(
        !validator.is_valid(&json!({ "area": 12.5 }))
            && !validator.is_valid(&json!({ "fuel": "oil", "x": 1 }))
    );
    assert_eq!(shown["fields"][8]["mapsFromScriptNodeId"], json!("phone-1"));

    let bare = desk.office.campaign("Summer").await;
    let both = json!({ "campaignId": desk.campaign, "templateId": desk.template });
    for (tool, input, status, code) in [
        (SCHEMA, json!({ "campaignId": bare }), 404, "NO_QUALIFICATION_TEMPLATE"),
        (SCHEMA, json!({}), 400, "INVALID_INPUT"),
        (SCHEMA, both, 400, "INVALID_INPUT"),
        (SCHEMA, json!({ "templateId": desk.template, "version": 2 }), 404, "TEMPLATE_NOT_FOUND"),
        (SCHEMA, json!({ "templateId": NOBODY }), 404, "TEMPLATE_NOT_FOUND"),
        (SCHEMA, json!({ "campaignId": NOBODY }), 404, "CAMPAIGN_NOT_FOUND"),
    ] {
        desk.office.ask(tool, input).await.refused(status, code);
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused() {
    let desk = Desk::open().await;
    let bare = desk.office.campaign("Summer").await;
    let everybody = json!({ "source": "crm", "city": "Lyon" });
    desk.office
        .done("bulk_add_contacts_to_campaign_by_filter", json!({ "campaignId": bare, "filter": everybody }))
        .await;
    let over = desk.office.campaign("Winter").await;
    let archive = json!({ "campaignId": over, "patch": { "status": "archived" } });
    desk.office.done("update_outbound_campaign", archive).await;
    let made = desk.made(0, json!({})).await;
    let id = &made["qualificationId"];
    for (tool, input, status, code) in [
        (CREATE, desk.about(1, json!({ "campaignId": bare })), 404, "NO_QUALIFICATION_TEMPLATE"),
        (CREATE, desk.about(1, json!({ "campaignId": over })), 422, "CAMPAIGN_CLOSED"),
        (CREATE, desk.about(1, json!({ "campaignId": NOBODY })), 404, "CAMPAIGN_NOT_FOUND"),
        (CREATE, desk.about(1, json!({ "contactId": NOBODY })), 404, "CONTACT_NOT_FOUND"),
        (CREATE, desk.about(1, json!({ "templateId": NOBODY })), 404, "TEMPLATE_NOT_FOUND"),
        (CREATE, desk.about(1, json!({ "scriptExecutionId": NOBODY })), 404, "EXECUTION_NOT_FOUND"),
        (CREATE, desk.about(1, json!({ "answers": [] })), 400, "INVALID_INPUT"),
        (CREATE, desk.about(1, json!({ "status": "maybe" })), 400, "INVALID_INPUT"),
        (CREATE, desk.about(1, json!({ "notes": "é".repeat(4001) })), 400, "INVALID_INPUT"),
        (CREATE, desk.about(1, json!({ "templateVersion": 0 })), 400, "INVALID_INPUT"),
        (CREATE, desk.about(1, json!({ "score": 3 })), 400, "UNKNOWN_FIELD"),
        (
            UPDATE,
            json!({ "qualificationId": NOBODY, "patch": { "notes": "x" } }),
            404,
            "QUALIFICATION_NOT_FOUND",
        ),
        (UPDATE, json!({ "qualificationId": id, "patch": {} }), 400, "INVALID_INPUT"),
        (
            UPDATE,
            json!({ "qualificationId": id, "patch": { "notes": "x" }, "expectedVersion": 2 }),
            409,
            "VERSION_CONFLICT",
        ),
        (GET, json!({ "qualificationId": NOBODY }), 404, "QUALIFICATION_NOT_FOUND"),
        (GET, json!({}), 400, "INVALID_INPUT"),
        (GET, json!({ "qualificationId": id, "campaignId": desk.campaign }), 400, "INVALID_INPUT"),
        (GET, json!({ "campaignId": desk.campaign }), 400, "INVALID_INPUT"),
        (
            GET,
            json!({ "campaignId": desk.campaign, "contactId": desk.contacts[1] }),
            404,
            "QUALIFICATION_NOT_FOUND",
        ),
        (GET, json!({ "campaignId": desk.campaign, "contactId": NOBODY }), 404, "CONTACT_NOT_FOUND"),
        (LIST, json!({ "campaignId": NOBODY }), 404, "CAMPAIGN_NOT_FOUND"),
        (LIST, json!({ "statusIn": ["open"] }), 400, "INVALID_INPUT"),
        (
            LIST,
            json!({ "answers": { "a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1 } }),
            400,
            "INVALID_INPUT",
        ),
        (LIST, json!({ "answers": { "a": ["b"] } }), 400, "INVALID_INPUT"),
        (
            LIST,
            json!({ "createdAfter": "2026-01-02T00:00:00Z", "createdBefore": "2026-01-02T00:00:00Z" }),
            400,
            "INVALID_INPUT",
        ),
    ] {
        let told = desk.office.ask(tool, input.clone()).await;
        assert_eq!((told.status, told.code()), (status, code), "{tool} {input}: {}", told.body);
    }
}

#[tokio::test]
async fn a_patch_that_changes_nothing_records_nothing() {
    let desk = Desk::open().await;
    let made = desk.made(0, json!({ "answers": { "area": 1.5 }, "notes": "x" })).await;
    let before = desk.office.events().await;
    for patch in [
        json!({ "answers": { "area": 1.5 } }),
        json!({ "answers": { "fuel": null } }),
        json!({ "status": "draft", "notes": "x" }),
    ] {
        let told = desk.change(&made["qualificationId"], patch.clone()).await;
        assert_eq!((&told["changes"], &told["qualification"]["version"]), (&json!([]), &json!(1)), "{patch}");
    }
    assert_eq!(desk.office.events().await, before);
    let told =
        desk.change(&made["qualificationId"], json!({ "answers": { "area": null }, "notes": null })).await;
    assert_eq!(
        told["changes"],
        json!([
            { "field": "answers.area", "from": 1.5, "to": null },
            { "field": "notes", "from": "x", "to": null },
        ])
    );
}

#[tokio::test]
async fn qualifications_are_found_by_what_was_answered() {
    let desk = Desk::open().await;
    let assign = json!({
        "campaignId": desk.campaign, "agentIds": [desk.office.agents[0]], "contactIds": [desk.contacts[0]],
        "confirm": true,
    });
    desk.office.done("bulk_assign_campaign_contacts", assign).await;
    for (contact, answers, status) in [
        (0, json!({ "fuel": "oil", "area": 100, "works": ["roof", "heating"] }), "qualified"),
        (1, json!({ "fuel": "oil", "area": 50.5, "owner": true }), "not_qualified"),
        (2, json!({ "fuel": "gas", "works": ["heating"] }), "draft"),
    ] {
        desk.made(contact, json!({ "answers": answers, "status": status })).await;
        desk.office.app.clock.advance(1_000);
    }
    let at = |n: usize| desk.contacts[n].clone();
    for (filter, found) in [
        (json!({}), vec![at(2), at(1), at(0)]),
        (json!({ "campaignId": desk.campaign }), vec![at(2), at(1), at(0)]),
        (json!({ "contactId": at(1) }), vec![at(1)]),
        (json!({ "agentId": desk.office.agents[0] }), vec![at(0)]),
        (json!({ "statusIn": ["qualified", "draft"] }), vec![at(2), at(0)]),
        (json!({ "templateId": desk.template, "statusIn": ["draft"] }), vec![at(2)]),
        (json!({ "answers": { "fuel": "oil" } }), vec![at(1), at(0)]),
        (json!({ "answers": { "fuel": "oil", "area": 50.5 } }), vec![at(1)]),
        (json!({ "answers": { "works": "heating" } }), vec![at(2), at(0)]),
        (json!({ "answers": { "owner": true } }), vec![at(1)]),
        (json!({ "answers": { "owner": "true" } }), vec![]),
        (json!({ "answers": { "fuel": "wood" } }), vec![]),
    ] {
        let told = desk.office.ask(LIST, filter.clone()).await;
        assert_eq!(texts(&told.data()["qualifications"], "contactId"), found, "{filter}");
        assert_eq!(told.meta()["pagination"]["total"], json!(found.len()), "{filter}");
    }
    let listed = desk.office.done(LIST, json!({ "limit": 1 })).await;
    assert!(listed["qualifications"][0]["answers"].is_null(), "concise lists hold no answers");
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let told = desk.office.ask(LIST, json!({ "limit": 2, "cursor": cursor })).await;
        seen.extend(texts(&told.data()["qualifications"], "contactId"));
        cursor = told.meta()["pagination"]["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, [at(2), at(1), at(0)]);
}

#[tokio::test]
async fn what_is_applied_is_what_was_shown() {
    let desk = Desk::open().await;
    let made = desk.made(0, json!({})).await;
    let id = &made["qualificationId"];
    let verdict = json!({ "answers": { "fuel": "oil", "area": 99.5 }, "status": "qualified" });
    for (tool, input) in [
        (CREATE, desk.about(1, json!({ "answers": { "area": 1.5 } }))),
        (CREATE, desk.about(2, verdict.clone())),
        (UPDATE, json!({ "qualificationId": id, "patch": verdict })),
        (UPDATE, json!({ "qualificationId": id, "patch": { "status": "draft" } })),
    ] {
        let before = desk.office.events().await;
        let preview = desk.office.ask(tool, with(input.clone(), "dryRun", true)).await;
        assert_eq!(desk.office.events().await, before, "{tool}: a preview writes nothing");
        let applying = with(input.clone(), "previewToken", preview.token());
        let applied = desk.office.ask(tool, applying.clone()).await;
        assert_eq!(applied.outcome(), preview.outcome(), "{tool} {input}");
        assert!(desk.office.events().await > before);
        let again = desk.office.ask(tool, applying).await;
        assert_eq!(again.meta()["idempotentReplay"], json!(true), "{tool}");
    }
}

#[tokio::test]
async fn a_qualification_of_another_organization_does_not_exist() {
    let desk = Desk::open().await;
    let made = desk.made(0, json!({})).await;
    let other = desk.office.app.agent().await;
    let theirs =
        ask(&other, "create_outbound_campaign", json!({ "name": "Spring", "status": "active" })).await;
    let theirs = &theirs.data()["campaign"]["campaignId"];
    for (tool, input, code) in [
        (GET, json!({ "qualificationId": made["qualificationId"] }), "QUALIFICATION_NOT_FOUND"),
        (GET, json!({ "campaignId": desk.campaign, "contactId": desk.contacts[0] }), "CAMPAIGN_NOT_FOUND"),
        (GET, json!({ "campaignId": theirs, "contactId": desk.contacts[0] }), "CONTACT_NOT_FOUND"),
        (
            UPDATE,
            json!({ "qualificationId": made["qualificationId"], "patch": { "notes": "x" } }),
            "QUALIFICATION_NOT_FOUND",
        ),
        (CREATE, desk.about(1, json!({})), "CAMPAIGN_NOT_FOUND"),
        (CREATE, desk.about(1, json!({ "campaignId": theirs })), "CONTACT_NOT_FOUND"),
        (SCHEMA, json!({ "campaignId": desk.campaign }), "CAMPAIGN_NOT_FOUND"),
    ] {
        ask(&other, tool, input).await.refused(404, code);
    }
    assert_eq!(ask(&other, LIST, json!({})).await.data()["qualifications"], json!([]));
}
