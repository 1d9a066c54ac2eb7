//! Scripts out as files, and files in as scripts.

use futures::future::join_all;
use serde_json::{Value, json};

use super::script_templates::{CREATE, script, steps};
use super::{Office, text, texts, with};

const IMPORT: &str = "import_script_templates";
const EXPORT: &str = "export_script_template";
const LIST: &str = "list_script_templates";

fn small(name: &str) -> Value {
    json!({ "name": name, "steps": [{ "id": "a", "type": "question", "text": "And?" }] })
}

async fn names(office: &Office) -> Vec<String> {
    let mut names = texts(&office.done(LIST, json!({ "limit": 100 })).await["templates"], "name");
    names.sort();
    names
}

#[tokio::test]
async fn what_is_exported_comes_back_the_same() {
    let office = Office::empty().await;
    let input = json!({ "name": "Été", "description": "l1\nl2", "language": "fr-FR", "steps": steps() });
    let made = office.done(CREATE, input).await;
    let id = &made["template"]["templateId"];
    let first = office.done(EXPORT, json!({ "templateId": id })).await;
    assert_eq!(first["schemaVersion"], json!(1));
    let written = first.to_string();
    assert!(!written.contains(&text(id)) && !written.contains(&office.client.organization.to_string()));

    // Into another organization, as a file with the mark that some editors put in front.
    let other = Office::empty().await;
    let told = other.done(IMPORT, json!({ "document": format!("\u{feff}{written}") })).await;
    assert_eq!((told["created"].as_array().unwrap().len(), &told["skipped"]), (1, &json!([])));
    let second = other.done(EXPORT, json!({ "templateId": told["created"][0]["templateId"] })).await;
    assert_eq!((&second["template"], &second["sha256"]), (&first["template"], &first["sha256"]));
    assert_ne!(told["created"][0]["templateId"], *id, "ids are of the organization");

    // What get answers can be taken in as well.
    let read = office.done("get_script_template", json!({ "templateId": id })).await;
    let told = other.done(IMPORT, json!({ "templates": [read["template"]] })).await;
    assert_eq!(told["created"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_earlier_version_can_be_exported() {
    let office = Office::empty().await;
    let id = script(&office, "First").await;
    let rename = json!({ "templateId": id, "patch": { "name": "Second" } });
    office.done("update_script_template", rename).await;
    for (version, name) in [(json!(null), "Second"), (json!(1), "First")] {
        let told =
            office.done(EXPORT, json!({ "templateId": id, "version": version, "format": "json" })).await;
        assert_eq!(told["template"]["name"], json!(name));
    }
    office.ask(EXPORT, json!({ "templateId": id, "version": 9 })).await.refused(404, "TEMPLATE_NOT_FOUND");
    office.ask(EXPORT, json!({ "templateId": id, "format": "xml" })).await.refused(400, "INVALID_INPUT");
}

#[tokio::test]
async fn one_that_is_wrong_stops_all_or_is_skipped() {
    let office = Office::empty().await;
    let before = office.events().await;
    let mut broken = small("Broken");
    broken["steps"][0]["text"] = json!("");
    let alien = json!({ "schemaVersion": 2, "template": small("Alien") });
    let proto = with(small("Proto"), "__proto__", json!({}));
    let templates = json!([small("Good"), broken, alien, proto, small("Better")]);

    let told = office.ask(IMPORT, json!({ "templates": templates })).await;
    told.refused(422, "IMPORT_INVALID");
    let fields = texts(&told.meta()["fieldErrors"], "path");
    assert_eq!(
        fields,
        [
            "input.templates[1].steps[0].text",
            "input.templates[2].schemaVersion",
            "input.templates[3].__proto__"
        ]
    );
    assert_eq!(office.events().await, before, "all or nothing");

    let told = office.done(IMPORT, json!({ "templates": templates, "onError": "skip" })).await;
    assert_eq!(texts(&told["created"], "name"), ["Good", "Better"]);
    let skipped: Vec<_> = told["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["index"].as_u64().unwrap(), text(&one["errors"][0]["code"]), text(&one["errors"][0]["path"]))
        })
        .collect();
    let row = |index, code: &str, path: &str| (index, code.to_owned(), path.to_owned());
    assert_eq!(
        skipped,
        [
            row(1, "EMPTY_TEXT", "steps[0].text"),
            row(2, "UNSUPPORTED_SCHEMA_VERSION", "schemaVersion"),
            row(3, "UNKNOWN_FIELD", "__proto__"),
        ]
    );
    assert_eq!(names(&office).await, ["Better", "Good"]);
}

#[tokio::test]
async fn the_same_name_makes_another_script_or_the_next_version() {
    let office = Office::empty().await;
    let told = office.ask(IMPORT, json!({ "templates": [small("A"), small("A"), small("B")] })).await;
    assert_eq!(texts(&told.data()["created"], "name"), ["A", "A", "B"]);
    assert_eq!(texts(&told.meta()["warnings"], "code"), ["DUPLICATE_NAME"]);

    let mut changed = small("B");
    changed["steps"][0]["text"] = json!("And now?");
    // A is there twice, B once, C is new; the case of a name counts.
    let templates = json!([small("A"), changed, small("C"), small("b"), small("C")]);
    let told = office
        .done(IMPORT, json!({ "templates": templates, "mode": "upsert_by_name", "onError": "skip" }))
        .await;
    assert_eq!(texts(&told["created"], "name"), ["C", "b"]);
    assert_eq!(
        (texts(&told["updated"], "name"), &told["updated"][0]["version"]),
        (vec!["B".to_owned()], &json!(2))
    );
    let codes: Vec<String> =
        told["skipped"].as_array().unwrap().iter().map(|one| text(&one["errors"][0]["code"])).collect();
    assert_eq!(codes, ["AMBIGUOUS_NAME", "DUPLICATE_NAME"]);

    // The same again says nothing new.
    let before = office.events().await;
    let told = office.ask(IMPORT, json!({ "templates": [changed], "mode": "upsert_by_name" })).await;
    assert_eq!((&told.data()["updated"][0]["version"], &told.data()["skipped"]), (&json!(2), &json!([])));
    let warning = &told.meta()["warnings"][0];
    assert_eq!((&warning["code"], &warning["path"]), (&json!("UNCHANGED"), &json!("input.templates[0]")));
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn of_upserts_at_once_one_makes_the_script_and_each_of_the_others_its_next_version() {
    let office = Office::empty().await;
    let upsert = |words: String| {
        let mut script = small("A");
        script["steps"][0]["text"] = json!(words);
        office.done(IMPORT, json!({ "templates": [script], "mode": "upsert_by_name" }))
    };
    let answers = join_all((0..6).map(|n| upsert(format!("And {n}?")))).await;
    let mut versions: Vec<u64> = answers
        .iter()
        .flat_map(|told| {
            told["created"].as_array().unwrap().iter().chain(told["updated"].as_array().unwrap())
        })
        .map(|made| made["version"].as_u64().unwrap())
        .collect();
    versions.sort_unstable();
    assert_eq!((versions, names(&office).await), ((1..=6).collect(), vec!["A".to_owned()]));
    // As many that say the same make one.
    let same = |_| office.done(IMPORT, json!({ "templates": [small("B")], "mode": "upsert_by_name" }));
    join_all((0..6).map(same)).await;
    assert_eq!(names(&office).await, ["A", "B"]);
}

#[tokio::test]
async fn who_is_renamed_meanwhile_keeps_the_name_and_the_words() {
    let office = Office::empty().await;
    for round in 0..4 {
        let scripts: Vec<Value> = (0..40).map(|n| small(&format!("{round}-{n}"))).collect();
        let made = office.done(IMPORT, json!({ "templates": scripts })).await;
        let others: Vec<Value> =
            scripts.iter().map(|script| with(script.clone(), "description", "other")).collect();
        let upsert = office.done(IMPORT, json!({ "templates": others, "mode": "upsert_by_name" }));
        let renamed = &made["created"][39]["templateId"];
        let name = format!("Renamed {round}");
        let rename = json!({ "templateId": renamed, "patch": { "name": name } });
        let (told, _) = tokio::join!(upsert, office.done("update_script_template", rename));
        let script = office.done("get_script_template", json!({ "templateId": renamed })).await;
        assert_eq!(script["template"]["name"], json!(name), "{round}: a rename that was answered holds");
        // Either it was renamed first, and another one was made, or it was revised first, as its second version.
        let revised = told["updated"].as_array().unwrap().iter().find(|one| one["templateId"] == *renamed);
        match revised {
            Some(revised) => assert_eq!(revised["version"], json!(2), "{round}"),
            None => assert_eq!(texts(&told["created"], "name"), [format!("{round}-39")], "{round}"),
        }
    }
}

#[tokio::test]
async fn a_name_that_came_free_is_made_again() {
    let office = Office::empty().await;
    let upsert = || office.done(IMPORT, json!({ "templates": [small("A")], "mode": "upsert_by_name" }));
    let mut ids = Vec::new();
    for n in 0..6 {
        let told = upsert().await;
        let id = text(&told["created"][0]["templateId"]);
        assert!(!ids.contains(&id), "{n}");
        assert_eq!(upsert().await["updated"][0]["templateId"], json!(id));
        if n % 2 == 0 {
            let delete = json!({ "templateId": id, "confirm": true });
            office.done("delete_script_template", delete).await;
        } else {
            let rename = json!({ "templateId": id, "patch": { "name": format!("Was {n}") } });
            office.done("update_script_template", rename).await;
        }
        ids.push(id);
    }
    assert_eq!(names(&office).await, ["Was 1", "Was 3", "Was 5"]);
}

#[tokio::test]
async fn a_document_that_is_none_is_refused() {
    let office = Office::empty().await;
    let before = office.events().await;
    let many = json!(vec![small("x"); 51]);
    for (input, status, code) in [
        (json!({}), 400, "INVALID_INPUT"),
        (json!({ "templates": [small("a")], "document": "[]" }), 400, "INVALID_INPUT"),
        (json!({ "templates": [] }), 400, "INVALID_INPUT"),
        (json!({ "templates": many }), 400, "INVALID_INPUT"),
        (json!({ "document": many.to_string() }), 422, "IMPORT_INVALID"),
        (json!({ "document": "{" }), 400, "INVALID_INPUT"),
        (json!({ "document": r#"{"a":1,"a":2}"# }), 400, "INVALID_INPUT"),
        (
            json!({ "document": r#"{"schemaVersion": 7, "templates": []}"#, "onError": "skip" }),
            422,
            "IMPORT_INVALID",
        ),
        (json!({ "templates": [small("a")], "mode": "replace" }), 400, "INVALID_INPUT"),
        (json!({ "document": "x".repeat(1 << 20) }), 413, "BODY_TOO_LARGE"),
    ] {
        let shown: String = input.to_string().chars().take(80).collect();
        let told = office.ask(IMPORT, input).await;
        assert_eq!((told.status, told.code()), (status, code), "{shown}: {}", told.body);
    }
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn a_skipped_script_shows_some_of_its_faults_and_counts_the_others() {
    let office = Office::empty().await;
    let step = |n: usize| json!({ "id": format!("NOT AN ID {n}"), "type": "question", "text": "Quand ?" });
    let steps: Vec<Value> = (0..30).map(step).collect();
    let templates = json!([small("Good"), { "name": "Bad", "steps": steps }]);
    let told = office.done(IMPORT, json!({ "templates": templates, "onError": "skip" })).await;
    let skipped = &told["skipped"][0];
    assert_eq!((&skipped["index"], &skipped["errorsOmitted"]), (&json!(1), &json!(10)), "{skipped}");
    assert_eq!(skipped["errors"].as_array().map(Vec::len), Some(20));
}

#[tokio::test]
async fn a_file_of_something_else_is_told_what_it_lacks() {
    let office = Office::empty().await;
    let field = json!({ "key": "share", "label": "Share", "type": "number", "min": 0.3 });
    let document = json!({
        "schemaVersion": 1,
        "exportedAt": "2026-11-22T08:00:00Z",
        "sha256": "0".repeat(64),
        "template": { "name": "Heating", "fields": [field] },
    });
    let told = office.ask(IMPORT, json!({ "document": document.to_string() })).await;
    let faults = told.meta()["fieldErrors"].clone();
    let paths = texts(&faults, "path");
    assert!(paths.iter().any(|path| path.ends_with("template.fields")), "{faults}");
    assert!(paths.iter().any(|path| path.ends_with("template.steps")), "{faults}");
}

#[tokio::test]
async fn what_was_meant_is_told_of_the_first_labels_of_an_import() {
    let office = Office::empty().await;
    let branches: Vec<Value> = (0..10).map(|n| json!({ "label": format!("x{n}"), "steps": [] })).collect();
    let step =
        json!({ "id": "s", "type": "select", "text": "?", "options": ["a", "b"], "branches": branches });
    let templates: Vec<Value> =
        (0..12).map(|n| json!({ "name": format!("Script {n}"), "steps": [step] })).collect();
    let input = json!({ "templates": templates, "onError": "skip" });
    let told = office.done("import_script_templates", input).await;
    let skipped = told["skipped"].as_array().unwrap();
    let errors: Vec<&Value> = skipped.iter().flat_map(|one| one["errors"].as_array().unwrap()).collect();
    let meant = |error: &&&Value| error["message"].as_str().unwrap().contains("did you mean");
    assert_eq!((skipped.len(), errors.len(), errors.iter().filter(meant).count()), (12, 120, 100));
}
