//! Qualification templates: what is one, what a new version breaks, and how they get from one organization to another.

use futures::future::join_all;
use serde_json::{Value, json};

use super::{NOBODY, Office, ask, text, texts, with};

const CREATE: &str = "create_qualification_template";
const UPDATE: &str = "update_qualification_template";
const GET: &str = "get_qualification_template";
const LIST: &str = "list_qualification_templates";
const IMPORT: &str = "import_qualification_templates";
const EXPORT: &str = "export_qualification_template";

/// A form with a field of each type, and points.
pub fn heating() -> Value {
    json!({
        "name": "Heating",
        "description": "What decides\nwhether a visit is worth it",
        "fields": [
            { "key": "fuel", "label": "Fuel", "type": "select", "required": true, "options": ["gas", "oil", "wood"] },
            { "key": "area", "label": "Area", "type": "number", "required": false, "min": 0.5, "max": 2000 },
            { "key": "works", "label": "Works", "type": "multiselect", "required": false, "options": ["heating", "roof"] },
            { "key": "postcode", "label": "Postcode", "type": "text", "required": false, "maxLength": 5, "pattern": "^[0-9]{5}$" },
            { "key": "remark", "label": "Remark", "type": "text", "required": false },
            { "key": "built", "label": "Built", "type": "date", "required": false },
            { "key": "owner", "label": "Owner?", "type": "boolean", "required": false },
            { "key": "email", "label": "E-mail", "type": "email", "required": false },
            { "key": "phone", "label": "Phone", "type": "phone", "required": false, "mapsFromScriptNodeId": "phone-1" },
        ],
        "scoring": {
            "rules": [
                { "key": "fuel", "operator": "equals", "value": "oil", "points": 40 },
                { "key": "area", "operator": "at_least", "value": 99.5, "points": 20 },
                { "key": "works", "operator": "includes", "value": "roof", "points": -5 },
                { "key": "email", "operator": "answered", "points": 1 },
            ],
            "qualifyThreshold": 60,
        },
    })
}

fn fields(fields: Value) -> Value {
    json!({ "name": "Form", "fields": fields })
}

fn field(extra: Value) -> Value {
    let mut field = json!({ "key": "a", "label": "A", "type": "text" });
    field.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    field
}

async fn made(office: &Office, form: Value) -> String {
    text(&office.done(CREATE, form).await["template"]["templateId"])
}

#[tokio::test]
async fn a_template_comes_back_as_it_was_made() {
    let office = Office::empty().await;
    let created = office.done(CREATE, heating()).await;
    let id = created["template"]["templateId"].clone();
    let shown = office.done(GET, json!({ "templateId": id, "responseFormat": "detailed" })).await;
    for member in ["name", "description", "fields", "scoring"] {
        assert_eq!(shown["template"][member], heating()[member], "{member}");
        assert_eq!(created["template"][member], heating()[member], "{member}");
    }
    assert_eq!((&shown["template"]["version"], &shown["newestVersion"]), (&json!(1), &json!(1)));
    let counts = office.done("get_crm_workspace_overview", json!({})).await;
    assert_eq!(counts["counts"]["qualificationTemplates"], json!(1));
}

#[tokio::test]
async fn what_is_no_template_is_refused() {
    let office = Office::empty().await;
    let before = office.events().await;
    let many = |n: usize| -> Value {
        (0..n).map(|n| json!({ "key": format!("f{n}"), "label": "F", "type": "text" })).collect()
    };
    let select = |options: Value| json!({ "key": "a", "label": "A", "type": "select", "options": options });
    let scored = |rule: Value| {
        with(fields(json!([field(json!({}))])), "scoring", json!({ "rules": [rule], "qualifyThreshold": 1 }))
    };
    for (form, status, path, code) in [
        (fields(many(101)), 400, "input.fields", "TOO_MANY_ITEMS"),
        (fields(json!([])), 400, "input.fields", "TOO_FEW_ITEMS"),
        (json!({ "name": "Form" }), 400, "input.fields", "REQUIRED"),
        (with(fields(many(1)), "name", "  "), 400, "input.name", "TOO_SHORT"),
        (with(fields(many(1)), "colour", "red"), 400, "input.colour", "UNKNOWN_FIELD"),
        (fields(json!([field(json!({ "key": "__proto__" }))])), 400, "input.fields[0].key", "WRONG_FORMAT"),
        (fields(json!([field(json!({ "key": "A" }))])), 400, "input.fields[0].key", "WRONG_FORMAT"),
        (
            fields(json!([field(json!({ "key": "f".repeat(65) }))])),
            400,
            "input.fields[0].key",
            "WRONG_FORMAT",
        ),
        (fields(json!([field(json!({ "type": "colour" }))])), 400, "input.fields[0].type", "NOT_ONE_OF"),
        (fields(json!([field(json!({ "maxLength": 4001 }))])), 400, "input.fields[0].maxLength", "TOO_LARGE"),
        (
            fields(json!([field(json!({ "pattern": "a".repeat(201) }))])),
            400,
            "input.fields[0].pattern",
            "TOO_LONG",
        ),
        (fields(json!([field(json!({})), field(json!({}))])), 422, "input.fields[1].key", "DUPLICATE_KEY"),
        (fields(json!([select(json!([]))])), 422, "input.fields[0].options", "OPTIONS_REQUIRED"),
        (
            fields(json!([field(json!({ "type": "multiselect" }))])),
            422,
            "input.fields[0].options",
            "OPTIONS_REQUIRED",
        ),
        (fields(json!([select(json!(["a", "a"]))])), 422, "input.fields[0].options[1]", "DUPLICATE_OPTION"),
        (fields(json!([field(json!({ "options": ["a"] }))])), 422, "input.fields[0].options", "NOT_FOR_TYPE"),
        (
            fields(json!([field(json!({ "type": "number", "min": 2, "max": 1.5 }))])),
            422,
            "input.fields[0].max",
            "MIN_OVER_MAX",
        ),
        (fields(json!([field(json!({ "min": 2 }))])), 422, "input.fields[0].min", "NOT_FOR_TYPE"),
        (
            fields(json!([field(json!({ "type": "number", "min": 0.1234567890123456 }))])),
            422,
            "input.fields[0].min",
            "OUT_OF_RANGE",
        ),
        (fields(json!([field(json!({ "pattern": "(a" }))])), 422, "input.fields[0].pattern", "BAD_PATTERN"),
        (
            fields(json!([field(json!({ "pattern": "(?<=a)b" }))])),
            422,
            "input.fields[0].pattern",
            "BAD_PATTERN",
        ),
        (
            fields(json!([field(json!({ "pattern": "((a{999}){999}){999}" }))])),
            422,
            "input.fields[0].pattern",
            "BAD_PATTERN",
        ),
        (
            scored(json!({ "key": "b", "operator": "answered", "points": 1 })),
            422,
            "input.scoring.rules[0].key",
            "UNKNOWN_KEY",
        ),
        (
            scored(json!({ "key": "a", "operator": "at_least", "value": 1, "points": 1 })),
            422,
            "input.scoring.rules[0].operator",
            "NOT_FOR_TYPE",
        ),
        (
            scored(json!({ "key": "a", "operator": "equals", "points": 1 })),
            422,
            "input.scoring.rules[0].value",
            "REQUIRED",
        ),
        (
            scored(json!({ "key": "a", "operator": "answered", "points": 1.5 })),
            400,
            "input.scoring.rules[0].points",
            "WRONG_TYPE",
        ),
    ] {
        let told = office.ask(CREATE, form.clone()).await;
        assert_eq!(told.status, status, "{form}: {}", told.body);
        let fault = &told.meta()["fieldErrors"][0];
        assert_eq!((&fault["path"], &fault["code"]), (&json!(path), &json!(code)), "{form}");
    }
    assert_eq!(office.events().await, before, "a refusal changes nothing");
    made(&office, fields(many(100))).await;
    // Every fault is told at once.
    let broken = fields(json!([select(json!([])), field(json!({ "key": "a", "pattern": "(" }))]));
    let told = office.ask(CREATE, broken).await;
    told.refused(422, "INVALID_TEMPLATE");
    assert_eq!(
        texts(&told.meta()["fieldErrors"], "code"),
        ["OPTIONS_REQUIRED", "DUPLICATE_KEY", "BAD_PATTERN"]
    );
}

#[tokio::test]
async fn what_is_probably_not_meant_is_warned_about() {
    let office = Office::empty().await;
    made(&office, heating()).await;
    let mut same = with(heating(), "name", "hEating");
    same["scoring"]["qualifyThreshold"] = json!(62);
    let told = office.ask(CREATE, same).await;
    assert_eq!(texts(&told.data()["warnings"], "code"), ["DUPLICATE_NAME", "THRESHOLD_UNREACHABLE"]);
}

#[tokio::test]
async fn a_new_version_says_what_it_breaks() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let id = made(&office, heating()).await;
    office
        .done("attach_campaign_templates", json!({ "campaignId": campaign, "qualificationTemplateId": id }))
        .await;
    let mut after = heating()["fields"].clone();
    after[0]["options"] = json!(["gas", "oil"]);
    after[1]["max"] = json!(1000);
    after[3] = json!({ "key": "postcode", "label": "Postcode", "type": "number" });
    after[6]["required"] = json!(true);
    after[7] = json!({ "key": "budget", "label": "Budget", "type": "number", "required": true });
    let patch = json!({ "fields": after, "scoring": null });
    let input = json!({ "templateId": id, "patch": patch, "expectedVersion": 1 });
    let told = office.done(UPDATE, input.clone()).await;
    let broken: Vec<(String, String)> = told["breakingChanges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (text(&change["key"]), text(&change["change"])))
        .collect();
    let expected = [
        ("fuel", "narrowed_options"),
        ("area", "narrowed_limits"),
        ("postcode", "type_change"),
        ("owner", "new_required"),
        ("email", "removed_key"),
        ("budget", "new_required"),
    ];
    assert_eq!(broken, expected.map(|(key, change)| (key.to_owned(), change.to_owned())));
    assert_eq!(told["breakingChanges"][0]["options"], json!(["wood"]));
    assert_eq!(told["diff"]["added"], json!(["budget"]));
    assert_eq!(told["diff"]["removed"], json!(["email"]));
    assert_eq!(texts(&told["affectedCampaigns"], "campaignId"), std::slice::from_ref(&campaign));
    assert!(told["affectedCampaigns"][0]["name"].is_string());
    assert_eq!(told["template"]["version"], json!(2));
    assert!(told["template"]["scoring"].is_null());

    office.ask(UPDATE, input).await.refused(409, "VERSION_CONFLICT");
    let first = office.done(GET, json!({ "templateId": id, "version": 1 })).await;
    assert_eq!(first["template"]["fields"], heating()["fields"]);
    assert_eq!((&first["template"]["version"], &first["newestVersion"]), (&json!(1), &json!(2)));
    office.ask(GET, json!({ "templateId": id, "version": 3 })).await.refused(404, "TEMPLATE_NOT_FOUND");
}

#[tokio::test]
async fn a_patch_that_changes_nothing_records_nothing() {
    let office = Office::empty().await;
    let id = made(&office, heating()).await;
    let before = office.events().await;
    for patch in [
        json!({ "name": "Heating" }),
        json!({ "fields": heating()["fields"], "scoring": heating()["scoring"] }),
    ] {
        let told = office.done(UPDATE, json!({ "templateId": id, "patch": patch })).await;
        assert_eq!((&told["breakingChanges"], &told["template"]["version"]), (&json!([]), &json!(1)));
    }
    office.ask(UPDATE, json!({ "templateId": id, "patch": {} })).await.refused(400, "INVALID_INPUT");
    let unknown = json!({ "templateId": id, "patch": { "colour": "red" } });
    office.ask(UPDATE, unknown).await.refused(400, "UNKNOWN_FIELD");
    // Scoring is held against the fields that the version has: here against the new ones.
    let orphaned = json!({ "templateId": id, "patch": { "fields": [field(json!({}))] } });
    let told = office.ask(UPDATE, orphaned).await;
    told.refused(422, "INVALID_TEMPLATE");
    assert_eq!(told.meta()["fieldErrors"][0]["path"], json!("input.patch.scoring.rules[0].key"));
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn of_two_new_versions_of_one_version_one_is_refused() {
    let office = Office::empty().await;
    let id = made(&office, heating()).await;
    let change = |name: &'static str| {
        let input = json!({ "templateId": id, "patch": { "name": name }, "expectedVersion": 1 });
        office.ask(UPDATE, input)
    };
    let mut answers: Vec<u16> =
        join_all([change("a"), change("b")]).await.iter().map(|told| told.status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 409]);
}

#[tokio::test]
async fn templates_are_found_by_words_and_by_campaign() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let heating = made(&office, heating()).await;
    made(&office, with(fields(json!([field(json!({}))])), "name", "Âge du toit")).await;
    for (filter, names) in [
        (json!({}), vec!["Âge du toit", "Heating"]),
        (json!({ "search": "age DU" }), vec!["Âge du toit"]),
        (json!({ "search": "postcode" }), vec!["Heating"]),
        (json!({ "search": "%" }), vec![]),
        (json!({ "campaignId": campaign }), vec![]),
    ] {
        let told = office.ask(LIST, filter.clone()).await;
        assert_eq!(texts(&told.data()["templates"], "name"), names, "{filter}");
        assert_eq!(told.meta()["pagination"]["total"], json!(names.len()));
    }
    let attach = json!({ "campaignId": campaign, "qualificationTemplateId": heating });
    office.done("attach_campaign_templates", attach).await;
    let told = office.done(LIST, json!({ "campaignId": campaign })).await;
    assert_eq!(
        (&told["templates"][0]["name"], &told["templates"][0]["usedByCampaigns"]),
        (&json!("Heating"), &json!(1))
    );
    assert_eq!(
        (&told["templates"][0]["fieldCount"], &told["templates"][0]["scored"]),
        (&json!(9), &json!(true))
    );

    let first = office.ask(LIST, json!({ "limit": 1 })).await;
    let cursor = first.meta()["pagination"]["nextCursor"].clone();
    let second = office.ask(LIST, json!({ "limit": 1, "cursor": cursor })).await;
    assert_eq!(texts(&second.data()["templates"], "name"), ["Heating"]);
    assert!(second.meta()["pagination"]["nextCursor"].is_null());
}

#[tokio::test]
async fn a_campaign_takes_a_template_that_exists_here() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let id = made(&office, heating()).await;
    let other = office.app.agent().await;
    let theirs = text(&ask(&other, CREATE, heating()).await.data()["template"]["templateId"]);
    let attach = |template: Value| json!({ "campaignId": campaign, "qualificationTemplateId": template });
    for template in [json!(theirs), json!(NOBODY), json!("x")] {
        for (tool, input) in [
            ("attach_campaign_templates", attach(template.clone())),
            ("create_outbound_campaign", json!({ "name": "Summer", "qualificationTemplateId": template })),
            (
                "update_outbound_campaign",
                json!({ "campaignId": campaign, "patch": { "qualificationTemplateId": template } }),
            ),
        ] {
            office.ask(tool, input).await.refused(404, "TEMPLATE_NOT_FOUND");
        }
    }
    let told = office.done("attach_campaign_templates", attach(json!(id))).await;
    assert_eq!((&told["changed"], &told["campaign"]["qualificationTemplateId"]), (&json!(true), &json!(id)));
    let before = office.events().await;
    assert_eq!(office.done("attach_campaign_templates", attach(json!(id))).await["changed"], json!(false));
    assert_eq!(office.events().await, before);
    let told = office.done("attach_campaign_templates", attach(Value::Null)).await;
    assert_eq!(told["previous"]["qualificationTemplateId"], json!(id));
    let created = json!({ "name": "Summer", "qualificationTemplateId": id });
    let told = office.done("create_outbound_campaign", created).await;
    assert_eq!(told["campaign"]["qualificationTemplateId"], json!(id));
}

#[tokio::test]
async fn an_exported_template_is_imported_as_it_was() {
    let office = Office::empty().await;
    let id = made(&office, heating()).await;
    let exported = office.done(EXPORT, json!({ "templateId": id })).await;
    let file = exported.to_string();
    for own in [&id, &office.client.organization.to_string()] {
        assert!(!file.contains(own), "an export holds no ids of ours");
    }
    assert_eq!(exported["template"], heating());

    let other = office.app.agent().await;
    let imported = ask(&other, IMPORT, json!({ "document": format!("\u{feff}{file}") })).await;
    assert_eq!(imported.meta()["warnings"], json!([]));
    let copy = &imported.data()["created"][0]["templateId"];
    let again = ask(&other, EXPORT, json!({ "templateId": copy })).await.data().clone();
    for member in ["schemaVersion", "sha256", "template"] {
        assert_eq!(again[member], exported[member], "{member}");
    }
    // An earlier version is exported as it was.
    office.done(UPDATE, json!({ "templateId": id, "patch": { "name": "New" } })).await;
    let first = office.done(EXPORT, json!({ "templateId": id, "version": 1 })).await;
    assert_eq!(first["sha256"], exported["sha256"]);
    // What was changed on the way is refused, unless whoever changed it says so.
    let mut changed = exported.clone();
    changed["template"]["name"] = json!("Other");
    let told = ask(&other, IMPORT, json!({ "templates": [changed] })).await;
    told.refused(422, "IMPORT_INVALID");
    assert_eq!(texts(&told.meta()["fieldErrors"], "code"), ["CHECKSUM_MISMATCH"]);
    changed["sha256"] = Value::Null;
    assert_eq!(ask(&other, IMPORT, json!({ "templates": [changed] })).await.meta()["warnings"], json!([]));
}

#[tokio::test]
async fn a_long_text_is_exported_whole() {
    let office = Office::empty().await;
    let long = with(heating(), "description", "é".repeat(2_000));
    let id = made(&office, long.clone()).await;
    let exported = office.ask(EXPORT, json!({ "templateId": id })).await;
    assert_eq!(exported.data()["template"]["description"], long["description"]);
    assert_ne!(exported.meta()["truncated"], json!(true));
}

#[tokio::test]
async fn a_file_that_cannot_be_imported_changes_nothing() {
    let office = Office::empty().await;
    let before = office.events().await;
    let good = || fields(json!([field(json!({}))]));
    let envelope = |version: Value| json!({ "schemaVersion": version, "template": good() });
    let proto = r#"{"name":"F","fields":[{"key":"a","label":"A","type":"text","__proto__":{"x":1}}]}"#;
    for (input, status, code, path, fault) in [
        (json!({}), 400, "INVALID_INPUT", "input", "EXACTLY_ONE_OF"),
        (json!({ "templates": [good()], "document": "{}" }), 400, "INVALID_INPUT", "input", "EXACTLY_ONE_OF"),
        (json!({ "templates": [] }), 400, "INVALID_INPUT", "input.templates", "TOO_FEW_ITEMS"),
        (json!({ "templates": vec![good(); 51] }), 400, "INVALID_INPUT", "input.templates", "TOO_MANY_ITEMS"),
        (json!({ "document": "{" }), 400, "INVALID_INPUT", "input.document", "MALFORMED_JSON"),
        (json!({ "document": "3" }), 422, "IMPORT_INVALID", "input.document", "WRONG_TYPE"),
        (json!({ "document": "[]" }), 422, "IMPORT_INVALID", "input.document", "TOO_FEW_ITEMS"),
        (
            json!({ "document": json!({ "schemaVersion": 1, "templates": [good()], "mode": "create" }).to_string() }),
            422,
            "IMPORT_INVALID",
            "input.document",
            "UNKNOWN_FIELD",
        ),
        (
            json!({ "document": json!([good(), with(good(), "name", 3)]).to_string() }),
            422,
            "IMPORT_INVALID",
            "input.document[1].name",
            "WRONG_TYPE",
        ),
        (
            json!({ "document": r#"{"name":"a","name":"b"}"# }),
            400,
            "INVALID_INPUT",
            "input.document",
            "DUPLICATE_KEY",
        ),
        (json!({ "document": r#"{"min":1e400}"# }), 400, "INVALID_INPUT", "input.document", "MALFORMED_JSON"),
        (
            json!({ "document": json!({ "schemaVersion": 2, "templates": [good()] }).to_string() }),
            422,
            "IMPORT_INVALID",
            "input.document.schemaVersion",
            "UNSUPPORTED_SCHEMA_VERSION",
        ),
        (
            json!({ "templates": [envelope(json!(2))] }),
            422,
            "IMPORT_INVALID",
            "input.templates[0].schemaVersion",
            "UNSUPPORTED_SCHEMA_VERSION",
        ),
        (
            json!({ "templates": [{ "template": good() }] }),
            422,
            "IMPORT_INVALID",
            "input.templates[0].schemaVersion",
            "REQUIRED",
        ),
        (
            json!({ "templates": [with(envelope(json!(1)), "organizationId", "x")] }),
            422,
            "IMPORT_INVALID",
            "input.templates[0].organizationId",
            "UNKNOWN_FIELD",
        ),
        (
            json!({ "document": proto }),
            422,
            "IMPORT_INVALID",
            "input.document.fields[0].__proto__",
            "UNKNOWN_FIELD",
        ),
        (
            json!({ "templates": [good(), good()], "mode": "upsert_by_name" }),
            422,
            "IMPORT_INVALID",
            "input.templates[1].name",
            "DUPLICATE_NAME",
        ),
        (
            json!({ "templates": [good(), fields(json!([field(json!({ "type": "select" }))]))] }),
            422,
            "IMPORT_INVALID",
            "input.templates[1].fields[0].options",
            "OPTIONS_REQUIRED",
        ),
        (
            json!({ "templates": [with(good(), "name", 3)] }),
            422,
            "IMPORT_INVALID",
            "input.templates[0].name",
            "WRONG_TYPE",
        ),
    ] {
        let told = office.ask(IMPORT, input.clone()).await;
        assert_eq!((told.status, told.code()), (status, code), "{input}: {}", told.body);
        let told = &told.meta()["fieldErrors"][0];
        assert_eq!((&told["path"], &told["code"]), (&json!(path), &json!(fault)), "{input}");
    }
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn what_cannot_be_imported_may_be_left_out() {
    let office = Office::empty().await;
    let named = |name: &str| with(fields(json!([field(json!({}))])), "name", name);
    // What another organization called it means nothing here.
    let foreign = with(with(named("One"), "templateId", NOBODY), "version", 7);
    let input = json!({
        "templates": [foreign, named("One"), fields(json!([])), named("Two")],
        "onError": "skip",
        "mode": "upsert_by_name",
    });
    let told = office.done(IMPORT, input).await;
    assert_eq!(texts(&told["created"], "name"), ["One", "Two"]);
    assert_ne!(told["created"][0]["templateId"], json!(NOBODY));
    let skipped: Vec<(u64, String)> = told["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), text(&one["errors"][0]["code"])))
        .collect();
    assert_eq!(skipped, [(1, "DUPLICATE_NAME".to_owned()), (2, "TOO_FEW_ITEMS".to_owned())]);
    // Where each makes a template of its own, a name may be there twice.
    let told = office.ask(IMPORT, json!({ "templates": [named("Three"), named("Three")] })).await;
    assert_eq!(texts(&told.data()["created"], "name"), ["Three", "Three"]);
    assert_eq!(texts(&told.meta()["warnings"], "code"), ["DUPLICATE_NAME"]);
}

#[tokio::test]
async fn a_template_of_the_same_name_is_revised_where_that_is_wanted() {
    let office = Office::empty().await;
    let id = made(&office, heating()).await;
    let mut other = heating();
    other["fields"][0]["options"] = json!(["gas", "oil"]);
    let upsert = |form: &Value| json!({ "templates": [form], "mode": "upsert_by_name" });
    let told = office.done(IMPORT, upsert(&other)).await;
    assert_eq!(told["updated"][0]["templateId"], json!(id));
    assert_eq!(told["updated"][0]["version"], json!(2));
    assert_eq!(told["updated"][0]["breakingChanges"][0]["change"], json!("narrowed_options"));
    let before = office.events().await;
    // What says the same already is no fault of the import, and keeps its version: of scripts as of forms.
    for wrapped in [json!(other), json!({ "schemaVersion": 1, "template": other })] {
        let again = office.ask(IMPORT, upsert(&wrapped)).await;
        let updated =
            json!([{ "index": 0, "templateId": id, "name": "Heating", "version": 2, "breakingChanges": [] }]);
        assert_eq!((&again.data()["updated"], &again.data()["skipped"]), (&updated, &json!([])));
        let warning = &again.meta()["warnings"][0];
        let place = if wrapped["template"].is_null() { "templates[0]" } else { "templates[0].template" };
        assert_eq!(
            (&warning["code"], &warning["path"]),
            (&json!("UNCHANGED"), &json!(format!("input.{place}")))
        );
    }
    assert_eq!(office.events().await, before);
    // A name in another case is another name.
    let told = office.done(IMPORT, upsert(&with(heating(), "name", "HEATING"))).await;
    assert_eq!(texts(&told["created"], "name"), ["HEATING"]);
    made(&office, heating()).await;
    let told = office.ask(IMPORT, upsert(&heating())).await;
    told.refused(422, "IMPORT_INVALID");
    assert_eq!(told.meta()["fieldErrors"][0]["code"], json!("AMBIGUOUS_NAME"));
}

#[tokio::test]
async fn of_upserts_at_once_one_makes_the_template() {
    let office = Office::empty().await;
    let upsert = |form: Value| office.done(IMPORT, json!({ "templates": [form], "mode": "upsert_by_name" }));
    join_all((0..6).map(|n| upsert(with(heating(), "description", format!("{n}"))))).await;
    let listed = office.done(LIST, json!({})).await;
    assert_eq!(texts(&listed["templates"], "name"), ["Heating"]);
    assert_eq!(listed["templates"][0]["version"], json!(6));
    // A name that came free is made again.
    let rename =
        json!({ "templateId": listed["templates"][0]["templateId"], "patch": { "name": "Cooling" } });
    office.done(UPDATE, rename).await;
    assert_eq!(texts(&upsert(heating()).await["created"], "name"), ["Heating"]);
    assert_eq!(upsert(heating()).await["updated"][0]["version"], json!(1));
}

#[tokio::test]
async fn a_form_that_is_renamed_meanwhile_is_another_one() {
    let office = Office::empty().await;
    for round in 0..4 {
        let forms: Vec<Value> = (0..40).map(|n| with(heating(), "name", format!("{round}-{n}"))).collect();
        let made = office.done(IMPORT, json!({ "templates": forms })).await;
        let others: Vec<Value> =
            forms.iter().map(|form| with(form.clone(), "description", "other")).collect();
        let upsert = office.done(IMPORT, json!({ "templates": others, "mode": "upsert_by_name" }));
        let renamed = &made["created"][39]["templateId"];
        let rename = json!({ "templateId": renamed, "patch": { "name": format!("Renamed {round}") } });
        let (told, _) = tokio::join!(upsert, office.done(UPDATE, rename));
        // Either it was renamed first, and another one was made, or it was revised first, as its second version.
        let revised = told["updated"].as_array().unwrap().iter().find(|one| one["templateId"] == *renamed);
        match revised {
            Some(revised) => assert_eq!(revised["version"], json!(2), "{round}"),
            None => assert_eq!(texts(&told["created"], "name"), [format!("{round}-39")], "{round}"),
        }
    }
}

#[tokio::test]
async fn what_is_applied_is_what_was_shown() {
    let office = Office::empty().await;
    let id = made(&office, heating()).await;
    for (tool, input) in [
        (CREATE, with(heating(), "name", "Roof")),
        (UPDATE, json!({ "templateId": id, "patch": { "name": "Cooling", "scoring": null } })),
        (IMPORT, json!({ "templates": [with(heating(), "name", "Cellar")] })),
        (IMPORT, json!({ "templates": [with(heating(), "name", "Cooling")], "mode": "upsert_by_name" })),
    ] {
        let before = office.events().await;
        let preview = office.ask(tool, with(input.clone(), "dryRun", true)).await;
        assert_eq!(office.events().await, before, "{tool}: a preview writes nothing");
        let applying = with(input.clone(), "previewToken", preview.token());
        let applied = office.ask(tool, applying.clone()).await;
        assert_eq!(applied.outcome(), preview.outcome(), "{tool} {input}");
        assert_eq!(office.events().await, before + 1, "{tool}");
        let again = office.ask(tool, applying).await;
        assert_eq!(again.meta()["idempotentReplay"], json!(true), "{tool}");
    }
}

#[tokio::test]
async fn a_template_of_another_organization_does_not_exist() {
    let office = Office::empty().await;
    let other = office.app.agent().await;
    let theirs = text(&ask(&other, CREATE, heating()).await.data()["template"]["templateId"]);
    for (tool, input) in [
        (GET, json!({ "templateId": theirs })),
        (EXPORT, json!({ "templateId": theirs })),
        (UPDATE, json!({ "templateId": theirs, "patch": { "name": "x" } })),
        ("get_qualification_schema", json!({ "templateId": theirs })),
        ("list_qualifications", json!({ "templateId": theirs })),
    ] {
        office.ask(tool, input).await.refused(404, "TEMPLATE_NOT_FOUND");
    }
    assert_eq!(office.done(LIST, json!({})).await["templates"], json!([]));
}

#[tokio::test]
async fn a_long_form_and_its_schema_are_told_whole() {
    let office = Office::empty().await;
    let fields: Vec<Value> = (0..100)
        .map(|n| json!({ "key": format!("field_{n}"), "label": "Of a hundred fields one", "type": "text", "required": true }))
        .collect();
    let made = office.done(CREATE, json!({ "name": "Long", "fields": fields })).await;
    let template = &made["template"]["templateId"];
    let told = office.ask("get_qualification_template", json!({ "templateId": template })).await;
    assert_eq!(told.data()["template"]["fields"].as_array().unwrap().len(), 100);
    assert_ne!(told.meta()["truncated"], json!(true));
    // What is read can be sent back, and takes nothing away.
    let back = json!({ "templateId": template, "patch": { "fields": told.data()["template"]["fields"] } });
    assert_eq!(office.done(UPDATE, back).await["template"]["version"], made["template"]["version"]);
    let told = office.done("get_qualification_schema", json!({ "templateId": template })).await;
    for list in [&told["jsonSchema"]["required"], &told["fields"]] {
        assert_eq!(list.as_array().unwrap().len(), 100);
    }
}

#[tokio::test]
async fn a_form_whose_name_is_written_in_another_way_is_not_warned_of_itself() {
    let office = Office::empty().await;
    let made = office.done("create_qualification_template", heating()).await;
    let (id, name) = (&made["template"]["templateId"], text(&made["template"]["name"]));
    let patch = json!({ "templateId": id, "patch": { "name": name.to_uppercase() } });
    let told = office.ask("update_qualification_template", patch).await;
    assert_eq!(told.data()["template"]["name"], name.to_uppercase().as_str(), "{}", told.body);
    let codes = texts(&told.meta()["warnings"], "code");
    assert!(!codes.contains(&"DUPLICATE_NAME".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn the_patterns_of_an_import_have_a_bound_together() {
    let office = Office::empty().await;
    let field = |n: usize, pattern: String| json!({ "key": format!("f{n}"), "label": "Text", "type": "text", "pattern": pattern });
    let heavy: Vec<Value> = (0..100).map(|n| field(n, format!(r"\pL{{{}}}", 200 + n))).collect();
    let templates = json!([{ "name": "Heavy", "fields": heavy }, { "name": "Light", "fields": [field(0, "^a$".into())] }]);
    let import = |templates: &Value| {
        let input = json!({ "templates": templates, "onError": "skip" });
        office.done("import_qualification_templates", input)
    };
    let told = import(&templates).await;
    let codes: Vec<String> =
        told["skipped"].as_array().unwrap().iter().map(|one| text(&one["errors"][0]["code"])).collect();
    assert_eq!(codes, ["BAD_PATTERN", "PATTERNS_TOO_LARGE"]);
    // Forms that ask for a name, as forms do, are not too many for one call.
    let person = |n: usize| json!({ "name": format!("Person {n}"), "fields": [field(n, "^[\\p{L} '-]{2,40}$".into())] });
    let told = import(&(0..50).map(person).collect()).await;
    assert_eq!((texts(&told["created"], "name").len(), &told["skipped"]), (50, &json!([])));
    let told = import(&json!([templates[1]])).await;
    assert_eq!(told["skipped"], json!([]));
}
