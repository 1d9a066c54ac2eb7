//! Call scripts: written, revised, attached, deleted.

use futures::future::{FutureExt as _, join_all};
use serde_json::{Value, json};

use super::{NOBODY, Office, number, text, texts, with};

pub(super) const CREATE: &str = "create_script_template";
const UPDATE: &str = "update_script_template";
const DELETE: &str = "delete_script_template";
const GET: &str = "get_script_template";
const LIST: &str = "list_script_templates";
const ATTACH: &str = "attach_campaign_templates";

/// A greeting, a yesno with two branches, a select with one, a question and a farewell.
pub(super) fn steps() -> Value {
    json!([
        { "id": "hello", "type": "instruction", "text": "Bonjour {{firstName}}" },
        {
            "id": "owner", "type": "yesno", "text": "Are you the owner?", "required": true,
            "branches": [
                {
                    "label": "Oui",
                    "steps": [{ "id": "budget", "type": "question", "text": "Budget?", "required": true }],
                },
                {
                    "label": "Non",
                    "steps": [
                        { "id": "who", "type": "question", "text": "Who is?" },
                        {
                            "id": "reach", "type": "yesno", "text": "May we call?",
                            "branches": [
                                { "label": "Oui", "steps": [{ "id": "when", "type": "question", "text": "When?" }] },
                            ],
                        },
                    ],
                },
            ],
        },
        {
            "id": "size", "type": "select", "text": "How large?",
            "options": ["1-9", { "value": "10+", "label": "Ten or more" }],
            "branches": [{ "label": "10+", "steps": [{ "id": "sites", "type": "question", "text": "Sites?" }] }],
        },
        { "id": "notes", "type": "question", "text": "Anything else?" },
        { "id": "bye", "type": "instruction", "text": "Merci" },
    ])
}

/// A script of that name.
pub(super) async fn script(office: &Office, name: &str) -> String {
    let told = office.done(CREATE, json!({ "name": name, "steps": steps() })).await;
    text(&told["template"]["templateId"])
}

/// Attaches the script to the campaign.
pub(super) async fn attach(office: &Office, campaign: &str, script: &str) {
    let told = office.done(ATTACH, json!({ "campaignId": campaign, "scriptTemplateId": script })).await;
    assert_eq!(told["changed"], json!(true));
}

fn faults(told: &super::Told) -> Vec<(String, String)> {
    let fields = told.meta()["fieldErrors"].as_array().unwrap_or_else(|| panic!("{}", told.body));
    fields.iter().map(|field| (text(&field["path"]), text(&field["code"]))).collect()
}

#[tokio::test]
async fn a_script_that_was_written_can_be_read_and_found() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let input =
        json!({ "name": " Été ", "description": "Two\nlines", "language": "fr-FR", "steps": steps() });
    let made = office.done(CREATE, input).await;
    assert_eq!(made["lint"], json!({ "errors": [], "warnings": [] }));
    let template = &made["template"];
    assert_eq!(
        (&template["name"], &template["version"], &template["status"]),
        (&json!("Été"), &json!(1), &json!("active"))
    );
    let id = text(&template["templateId"]);
    let read = office.done(GET, json!({ "templateId": id, "responseFormat": "detailed" })).await;
    assert_eq!(read["template"], *template);
    // Options come back with their labels, and everything else as it went in.
    let mut expected = steps();
    expected[2]["options"] =
        json!([{ "value": "1-9", "label": "1-9" }, { "value": "10+", "label": "Ten or more" }]);
    assert_eq!(read["template"]["steps"], expected);

    attach(&office, &campaign, &id).await;
    for (input, found) in [
        (json!({}), 1),
        (json!({ "search": "ete" }), 1),
        (json!({ "search": "LINES" }), 1),
        (json!({ "search": "winter" }), 0),
        (json!({ "campaignId": campaign }), 1),
    ] {
        let listed = office.done(LIST, input.clone()).await;
        let templates = listed["templates"].as_array().unwrap();
        assert_eq!(templates.len(), found, "{input}");
        if let Some(one) = templates.first() {
            assert_eq!((&one["nodeCount"], &one["usedByCampaigns"]), (&json!(10), &json!(1)), "{one}");
        }
    }
    let overview = office.done("get_crm_workspace_overview", json!({})).await;
    assert_eq!(overview["counts"]["scriptTemplates"], json!(1));
    let campaign =
        office.done("get_campaign", json!({ "campaignId": campaign, "include": ["templates"] })).await;
    assert_eq!(campaign["templates"]["scriptTemplateId"], json!(id));
}

#[tokio::test]
async fn texts_are_whole_and_placeholders_literal() {
    let office = Office::empty().await;
    let long = format!("{{{{firstName}}}} {} {{{{a.b}}}}", "é".repeat(3_900));
    let steps = json!([{ "id": "a", "type": "instruction", "text": long }]);
    let made = office.done(CREATE, json!({ "name": "Long", "steps": steps })).await;
    let told = office.ask(GET, json!({ "templateId": made["template"]["templateId"] })).await;
    assert_eq!(told.data()["template"]["steps"][0]["text"], json!(long));
    assert_eq!(told.meta()["truncated"], json!(null), "{}", told.meta());
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_all_of_it_at_once() {
    let office = Office::empty().await;
    let before = office.events().await;
    let question = |id: &str| json!({ "id": id, "type": "question", "text": "And?" });
    let told = office
        .ask(
            CREATE,
            json!({ "name": "Broken", "language": "français", "steps": [
                { "id": "A", "type": "question", "text": " " },
                { "id": "b", "type": "yesno", "text": "And?", "branches": [{ "label": "oui", "steps": [] }] },
                {
                    "id": "c", "type": "select", "text": "Which?", "options": ["x", "y"],
                    "branches": [{ "label": "x", "steps": [] }, { "label": "z", "steps": [question("b")] }],
                },
            ] }),
        )
        .await;
    told.refused(422, "SCRIPT_INVALID");
    let found = faults(&told);
    let expected = [
        ("input.language", "INVALID_LANGUAGE"),
        ("input.steps[0].id", "INVALID_NODE_ID"),
        ("input.steps[0].text", "EMPTY_TEXT"),
        ("input.steps[1].branches[0].label", "BRANCH_LABEL_UNMATCHED"),
        ("input.steps[2].branches[1].label", "BRANCH_LABEL_UNMATCHED"),
        ("input.steps[2].branches[1].steps[0].id", "DUPLICATE_NODE_ID"),
    ];
    let found: Vec<_> = found.iter().map(|(path, code)| (path.as_str(), code.as_str())).collect();
    assert_eq!(found, expected);
    assert_eq!(office.events().await, before);

    let yesno = |label: &str| json!([{ "id": "a", "type": "yesno", "text": "And?", "branches": [{ "label": label, "steps": [] }] }]);
    for (label, meant) in [
        ("oui", "Oui"),
        ("OUI", "Oui"),
        ("Oui ", "Oui"),
        (" Non", "Non"),
        ("Oui\u{200b}", "Oui"),
        ("Yes", "Oui"),
        ("No", "Non"),
    ] {
        let told = office.ask(CREATE, json!({ "name": "Label", "steps": yesno(label) })).await;
        told.refused(422, "SCRIPT_INVALID");
        let fault = &told.meta()["fieldErrors"][0];
        assert_eq!(fault["path"], json!("input.steps[0].branches[0].label"), "{label}");
        assert!(text(&fault["message"]).ends_with(&format!("did you mean {meant:?}?")), "{label}: {fault}");
    }
    // One letter in two forms is one letter.
    let accents = json!([{
        "id": "a", "type": "select", "text": "When?", "options": ["e\u{301}te\u{301}"],
        "branches": [{ "label": "\u{e9}t\u{e9}", "steps": [] }],
    }]);
    office.done(CREATE, json!({ "name": "Accents", "steps": accents })).await;
}

/// Yes, yes, yes, … down to that depth.
fn nested(depth: usize) -> Value {
    let mut steps = json!([{ "id": "end", "type": "question", "text": "And?" }]);
    for level in 1..depth {
        steps = json!([{
            "id": format!("n{level}"), "type": "yesno", "text": "And?", "branches": [{ "label": "Oui", "steps": steps }],
        }]);
    }
    steps
}

#[tokio::test]
async fn the_limits_hold_at_their_edges() {
    let office = Office::empty().await;
    let many = |count: usize| -> Value {
        (0..count).map(|n| json!({ "id": format!("n{n}"), "type": "question", "text": "And?" })).collect()
    };
    let long = |count: usize| -> Value {
        (0..count)
            .map(|n| json!({ "id": format!("n{n}"), "type": "question", "text": "a".repeat(count) }))
            .collect()
    };
    for (name, steps, code) in [
        ("500", many(500), ""),
        ("501", many(501), "TOO_MANY_NODES"),
        ("20 deep", nested(20), ""),
        ("21 deep", nested(21), "TOO_DEEP"),
        ("none", json!([]), "NO_STEPS"),
        ("256 KiB", long(480), ""),
        (
            "more",
            json!(
                (0..70)
                    .map(|n| json!({ "id": format!("n{n}"), "type": "question", "text": "a".repeat(4_000) }))
                    .collect::<Vec<_>>()
            ),
            "TOO_LARGE",
        ),
    ] {
        let told = office.ask(CREATE, json!({ "name": name, "steps": steps })).await;
        match code {
            "" => {
                let id = &told.data()["template"]["templateId"];
                let read = office.done(GET, json!({ "templateId": id })).await;
                assert_eq!(read["template"]["steps"], steps, "{name}");
            }
            code => {
                told.refused(422, "SCRIPT_INVALID");
                assert_eq!(texts(&told.meta()["fieldErrors"], "code"), [code], "{name}");
            }
        }
    }
    // What is so deep that it cannot be a script is not read at all.
    office.ask(CREATE, json!({ "name": "deep", "steps": nested(40) })).await.refused(400, "TOO_DEEP");
    // The other tools keep their limit.
    office.ask("list_campaigns", json!({ "search": nested(10) })).await.refused(400, "TOO_DEEP");
}

#[tokio::test]
async fn the_form_of_a_script_is_checked_like_any_other_input() {
    let office = Office::empty().await;
    for (name, step, path, code) in [
        ("a", json!({ "id": "a", "type": "goto", "text": "And?" }), "input.steps[0].type", "NOT_ONE_OF"),
        ("a", json!({ "id": "a", "type": "question" }), "input.steps[0].text", "REQUIRED"),
        (
            "a",
            json!({ "id": "a", "type": "question", "text": "And?", "__proto__": {} }),
            "input.steps[0].__proto__",
            "UNKNOWN_FIELD",
        ),
        (
            "a",
            json!({ "id": "a", "type": "question", "text": "And?", "lable": 1 }),
            "input.steps[0].lable",
            "UNKNOWN_FIELD",
        ),
        (
            "a",
            json!({ "id": "a", "type": "yesno", "text": "And?", "branches": [{ "label": "Oui\n", "steps": [] }] }),
            "input.steps[0].branches[0].label",
            "CONTROL_CHARACTER",
        ),
        (
            "a",
            json!({ "id": "a", "type": "yesno", "text": "And?", "branches": [{ "label": "Oui", "steps": [{ "id": 1, "type": "question", "text": "?" }] }] }),
            "input.steps[0].branches[0].steps[0].id",
            "WRONG_TYPE",
        ),
        ("", json!({ "id": "a", "type": "question", "text": "And?" }), "input.name", "TOO_SHORT"),
    ] {
        let told = office.ask(CREATE, json!({ "name": name, "steps": [step] })).await;
        assert_eq!(told.status, 400, "{}", told.body);
        assert_eq!(faults(&told), [(path.to_owned(), code.to_owned())], "{step}");
    }
}

#[tokio::test]
async fn a_reminder_to_the_team_is_a_warning() {
    let office = Office::empty().await;
    let steps = json!([{ "id": "a", "type": "instruction", "text": "Reporter dans le CRM" }]);
    let told = office.ask(CREATE, json!({ "name": "Admin", "steps": steps })).await;
    assert_eq!(texts(&told.data()["lint"]["warnings"], "code"), ["ADMIN_TEXT_IN_SCRIPT"]);
    let warning = &told.meta()["warnings"][0];
    assert_eq!(
        (&warning["code"], &warning["path"]),
        (&json!("ADMIN_TEXT_IN_SCRIPT"), &json!("input.steps[0].text"))
    );
    let again = office.ask(CREATE, json!({ "name": "ADMIN", "steps": steps })).await;
    assert_eq!(texts(&again.meta()["warnings"], "code"), ["DUPLICATE_NAME", "ADMIN_TEXT_IN_SCRIPT"]);
}

#[tokio::test]
async fn a_change_is_the_next_version_and_the_last_one_stays() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let id = script(&office, "First").await;
    attach(&office, &campaign, &id).await;
    let mut changed = steps();
    changed[0]["text"] = json!("Bonsoir");
    changed[1]["branches"][0]["steps"][0] = json!({ "id": "price", "type": "question", "text": "Price?" });
    let patch = json!({ "name": "Second", "steps": changed });
    let told = office.done(UPDATE, json!({ "templateId": id, "patch": patch, "expectedVersion": 1 })).await;
    assert_eq!(told["diff"], json!({ "added": ["price"], "removed": ["budget"], "changed": ["hello"] }));
    assert_eq!(texts(&told["affectedCampaigns"], "campaignId"), [campaign]);
    assert_eq!((&told["template"]["version"], &told["template"]["name"]), (&json!(2), &json!("Second")));

    for (version, name) in [(json!(null), "Second"), (json!(2), "Second"), (json!(1), "First")] {
        let read = office.done(GET, json!({ "templateId": id, "version": version })).await;
        assert_eq!(read["template"]["name"], json!(name));
    }
    for version in [3_u64, 1 << 32, (1 << 53) - 1] {
        let told = office.ask(GET, json!({ "templateId": id, "version": version })).await;
        told.refused(404, "TEMPLATE_NOT_FOUND");
    }

    let before = office.events().await;
    for patch in [json!({ "name": "Second" }), json!({ "description": null }), json!({ "steps": changed })] {
        let told = office.done(UPDATE, json!({ "templateId": id, "patch": patch })).await;
        assert_eq!(told["template"]["version"], json!(2), "{patch}");
        assert_eq!(told["diff"], json!({ "added": [], "removed": [], "changed": [] }));
    }
    for (input, status, code) in [
        (json!({ "templateId": id, "patch": {} }), 400, "INVALID_INPUT"),
        (
            json!({ "templateId": id, "patch": { "name": "x" }, "expectedVersion": 1 }),
            409,
            "VERSION_CONFLICT",
        ),
        (json!({ "templateId": id, "patch": { "steps": [] } }), 422, "SCRIPT_INVALID"),
        (json!({ "templateId": NOBODY, "patch": { "name": "x" } }), 404, "TEMPLATE_NOT_FOUND"),
    ] {
        office.ask(UPDATE, input).await.refused(status, code);
    }
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn of_two_changes_of_one_version_one_is_refused() {
    let office = Office::empty().await;
    let id = script(&office, "First").await;
    let change = |name: &'static str| {
        office.ask(UPDATE, json!({ "templateId": id, "patch": { "name": name }, "expectedVersion": 1 }))
    };
    let mut answers: Vec<u16> =
        join_all([change("a"), change("b")]).await.iter().map(|told| told.status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 409]);
}

#[tokio::test]
async fn a_script_in_use_is_not_deleted_by_accident() {
    let office = Office::empty().await;
    let (spring, summer) = (office.campaign("Spring").await, office.campaign("Summer").await);
    let id = script(&office, "First").await;
    attach(&office, &spring, &id).await;
    attach(&office, &summer, &id).await;
    let before = office.events().await;
    for input in [json!({}), json!({ "confirm": true }), json!({ "dryRun": true })] {
        let told = office.ask(DELETE, with(input, "templateId", id.clone())).await;
        told.refused(409, "TEMPLATE_IN_USE");
        assert_eq!(told.meta()["details"]["campaignIds"].as_array().unwrap().len(), 2);
    }
    let forced = json!({ "templateId": id, "force": true });
    office.ask(DELETE, with(forced.clone(), "dryRun", false)).await.refused(422, "CONFIRM_REQUIRED");
    let shown = office.done(DELETE, forced.clone()).await;
    assert_eq!((&shown["dryRun"], office.events().await), (&json!(true), before));
    let told = office.done(DELETE, with(forced.clone(), "confirm", true)).await;
    assert_eq!(texts(&told["detachedFromCampaigns"], "name"), ["Spring", "Summer"]);
    for campaign in [&spring, &summer] {
        let read = office.done("get_campaign", json!({ "campaignId": campaign })).await;
        assert_eq!(read["campaign"]["scriptTemplateId"], json!(null));
    }

    office.ask(DELETE, with(forced, "confirm", true)).await.refused(404, "TEMPLATE_NOT_FOUND");
    let rename = json!({ "templateId": id, "patch": { "name": "x" } });
    office.ask(UPDATE, rename).await.refused(404, "TEMPLATE_NOT_FOUND");
    // It can still be read and found by whoever looks for it.
    let read = office.done(GET, json!({ "templateId": id })).await;
    assert_eq!(
        (&read["template"]["status"], &read["template"]["steps"][0]["id"]),
        (&json!("deleted"), &json!("hello"))
    );
    assert_eq!(office.done(LIST, json!({})).await["templates"], json!([]));
    assert_eq!(
        texts(&office.done(LIST, json!({ "includeDeleted": true })).await["templates"], "templateId"),
        std::slice::from_ref(&id)
    );
    assert_eq!(
        office.done("get_crm_workspace_overview", json!({})).await["counts"]["scriptTemplates"],
        json!(0)
    );
    // Nothing new begins with it.
    for (tool, input) in [
        (ATTACH, json!({ "campaignId": spring, "scriptTemplateId": id })),
        ("create_outbound_campaign", json!({ "name": "Autumn", "scriptTemplateId": id })),
        ("update_outbound_campaign", json!({ "campaignId": spring, "patch": { "scriptTemplateId": id } })),
    ] {
        office.ask(tool, input).await.refused(422, "TEMPLATE_DELETED");
    }
}

#[tokio::test]
async fn an_archived_campaign_does_not_keep_a_script_in_use() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let id = script(&office, "First").await;
    attach(&office, &campaign, &id).await;
    let archive = json!({ "campaignId": campaign, "patch": { "status": "archived" } });
    office.done("update_outbound_campaign", archive).await;
    let told = office.done(DELETE, json!({ "templateId": id, "confirm": true })).await;
    assert_eq!((&told["deleted"], &told["detachedFromCampaigns"]), (&json!(true), &json!([])));
    let read = office.done("get_campaign", json!({ "campaignId": campaign })).await;
    assert_eq!(read["campaign"]["scriptTemplateId"], json!(id));
}

#[tokio::test]
async fn a_script_is_attached_detached_and_attached_again() {
    let office = Office::empty().await;
    let (one, two) = (script(&office, "One").await, script(&office, "Two").await);
    let made =
        office.done("create_outbound_campaign", json!({ "name": "Spring", "scriptTemplateId": one })).await;
    assert_eq!(made["campaign"]["scriptTemplateId"], json!(one));
    let campaign = text(&made["campaign"]["campaignId"]);
    for (script, previous, changed) in [
        (json!(one), json!(one), false),
        (json!(two), json!(one), true),
        (json!(null), json!(two), true),
        (json!(null), json!(null), false),
        (json!(one), json!(null), true),
    ] {
        let told = office.done(ATTACH, json!({ "campaignId": campaign, "scriptTemplateId": script })).await;
        assert_eq!(told["previous"]["scriptTemplateId"], previous, "{script}");
        assert_eq!((&told["changed"], &told["campaign"]["scriptTemplateId"]), (&json!(changed), &script));
    }
    let patch = json!({ "campaignId": campaign, "patch": { "scriptTemplateId": two } });
    let told = office.done("update_outbound_campaign", patch).await;
    assert_eq!(told["changes"], json!([{ "field": "scriptTemplateId", "from": one, "to": two }]));
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended() {
    let office = Office::empty().await;
    for n in 0..5 {
        script(&office, &format!("Script {n}")).await;
    }
    let mut seen = Vec::new();
    let mut input = json!({ "limit": 2 });
    loop {
        let told = office.ask(LIST, input.clone()).await;
        seen.extend(texts(&told.data()["templates"], "name"));
        let page = &told.meta()["pagination"];
        assert_eq!(number(&page["total"]), 5);
        match page["nextCursor"].as_str() {
            Some(cursor) => input["cursor"] = json!(cursor),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, (0..5).map(|n| format!("Script {n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_the_schema_and_what_the_rules_refuse_is_told_at_once() {
    let office = Office::empty().await;
    let known = script(&office, "First").await;
    let steps = json!([
        { "id": "a", "type": "riddle", "text": "Who?", "options": ["x"] },
        { "id": "b", "type": "yesno", "text": "Well?", "branches": [{ "label": "oui", "steps": [] }] },
        { "id": "B!", "text": "Then?" },
    ]);
    for (tool, input, within) in [
        (CREATE, json!({ "name": "x".repeat(201), "steps": steps }), "input."),
        (
            UPDATE,
            json!({ "templateId": known, "patch": { "name": "x".repeat(201), "steps": steps } }),
            "input.patch.",
        ),
    ] {
        let told = office.ask(tool, input).await;
        told.refused(400, "INVALID_INPUT");
        let faults = &told.meta()["fieldErrors"];
        for (path, code) in [
            ("name", "TOO_LONG"),
            ("steps[0].type", "NOT_ONE_OF"),
            ("steps[1].branches[0].label", "BRANCH_LABEL_UNMATCHED"),
            ("steps[2].type", "REQUIRED"),
            ("steps[2].id", "INVALID_NODE_ID"),
        ] {
            let path = format!("{within}{path}");
            let told = faults.as_array().unwrap().iter().filter(|fault| fault["path"] == path);
            let codes: Vec<&Value> = told.map(|fault| &fault["code"]).collect();
            assert_eq!(codes, [&json!(code)], "{path}: {faults}");
        }
        assert_eq!(faults.as_array().map(Vec::len), Some(5), "{faults}");
    }
}

#[tokio::test]
async fn a_script_is_attached_or_deleted_and_not_both() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    for n in 0..12 {
        let script = script(&office, &format!("Script {n}")).await;
        let attach = match n % 3 {
            0 => office.ask(ATTACH, json!({ "campaignId": campaign, "scriptTemplateId": script })).boxed(),
            1 => {
                let patch = json!({ "scriptTemplateId": script });
                office
                    .ask("update_outbound_campaign", json!({ "campaignId": campaign, "patch": patch }))
                    .boxed()
            }
            _ => office
                .ask("create_outbound_campaign", json!({ "name": "New", "scriptTemplateId": script }))
                .boxed(),
        };
        let delete = office.ask(DELETE, json!({ "templateId": script, "confirm": true }));
        let (attached, deleted) = tokio::join!(attach, delete);
        match (attached.status, deleted.status) {
            (200, _) => deleted.refused(409, "TEMPLATE_IN_USE"),
            (_, 200) => attached.refused(422, "TEMPLATE_DELETED"),
            _ => panic!("{} {}", attached.body, deleted.body),
        }
        let listed = office.done(LIST, json!({ "includeDeleted": true })).await;
        let listed = listed["templates"].as_array().unwrap();
        let listed = listed.iter().find(|row| row["templateId"] == json!(script)).unwrap();
        let (used, active) = (listed["usedByCampaigns"] == json!(1), listed["status"] == json!("active"));
        assert_eq!((used, active), (attached.status == 200, attached.status == 200), "{listed}");
        assert_eq!(listed["updatedAt"], listed["createdAt"], "whom it is attached to is no change of it");
    }
}

#[tokio::test]
async fn many_campaigns_may_get_the_same_script_at_once() {
    let office = Office::empty().await;
    let script = script(&office, "Script").await;
    let made = (0..12).map(|n| {
        let input = json!({ "name": format!("Campaign {n}"), "scriptTemplateId": script });
        office.done("create_outbound_campaign", input)
    });
    join_all(made).await;
    let listed = office.done(LIST, json!({})).await;
    assert_eq!(listed["templates"][0]["usedByCampaigns"], json!(12));
}

#[tokio::test]
async fn an_option_that_is_written_wrongly_is_named_and_hides_nothing_else() {
    let office = Office::empty().await;
    let select = |options: Value| {
        let branches = json!([{ "label": "a", "steps": [] }, { "label": "b", "steps": [] }]);
        let step =
            json!({ "id": "s", "type": "select", "text": "?", "options": options, "branches": branches });
        office.ask(CREATE, json!({ "name": "Script", "steps": [step] }))
    };
    let fault = |path: &str, code: &str| (format!("input.steps[0].{path}"), code.to_owned());
    for (options, expected) in [
        (
            json!([{ "valeu": "a" }, "b"]),
            vec![fault("options[0].value", "REQUIRED"), fault("options[0].valeu", "UNKNOWN_FIELD")],
        ),
        (json!([1, "b"]), vec![fault("options[0]", "WRONG_TYPE")]),
        (json!("a"), vec![fault("options", "WRONG_TYPE")]),
        (json!({}), vec![fault("options", "WRONG_TYPE")]),
        (json!([{ "value": 1 }, "b"]), vec![fault("options[0].value", "WRONG_TYPE")]),
        (
            json!([1, "b", "b"]),
            vec![fault("options[0]", "WRONG_TYPE"), fault("options[2].value", "DUPLICATE_OPTION")],
        ),
    ] {
        let told = select(options.clone()).await;
        told.refused(400, "INVALID_INPUT");
        let mut found = faults(&told);
        found.sort();
        let mut expected = expected;
        expected.sort();
        assert_eq!(found, expected, "{options}: {}", told.body);
    }
}
