//! What goes out comes back in, and what is no script of ours does not.

use docket_aggregates::script_template::{Branch, Choice, Node, NodeKind, lint};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn entry(value: Value) -> Entry {
    Entry { path: "templates[0]".into(), value }
}

fn read(value: Value) -> Result<ScriptContent, Vec<(String, &'static str)>> {
    let faults =
        |faults: Vec<FindingShown>| faults.into_iter().map(|fault| (fault.path, fault.code)).collect();
    read_entry(&mut entry(value)).map_err(faults)
}

fn packed(content: &ScriptContent) -> Value {
    let template = serde_json::to_value(Exported::of(content)).unwrap();
    let sha256 = checksum(&template).unwrap();
    json!({ "schemaVersion": 1, "exportedAt": "2026-11-21T18:00:00.000Z", "sha256": sha256, "template": template })
}

/// Texts with everything that a caller may have typed, as the border lets it through.
fn text() -> impl Strategy<Value = String> {
    let words =
        ["Bonjour {{firstName}}", "été", "\"", "\\", "\n", "🌼", "a  b", "</script>", "\u{2028}", "1e3"];
    vec(prop::sample::select(words.to_vec()), 1..4).prop_map(|words| format!("x{}x", words.concat()))
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = (text(), any::<bool>(), any::<bool>()).prop_map(|(text, asks, required)| Node {
        id: String::new(),
        kind: if asks { NodeKind::Question } else { NodeKind::Instruction },
        text,
        required: asks && required,
        options: vec![],
        branches: vec![],
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        let steps = vec(inner, 0..3);
        (text(), any::<bool>(), any::<bool>(), steps.clone(), steps).prop_map(
            |(text, binary, labelled, first, second)| {
                let label = |text: &str| labelled.then(|| format!("{text} !"));
                let (kind, options, labels) = if binary {
                    (NodeKind::Yesno, vec![], ["Oui", "Non"])
                } else {
                    let options = ["petit", "très grand"].map(|value| Choice::new(value, label(value)));
                    (NodeKind::Select, options.to_vec(), ["petit", "très grand"])
                };
                let branches = labels.into_iter().zip([first, second]);
                let branches = branches.map(|(label, steps)| Branch { label: label.into(), steps }).collect();
                Node { id: String::new(), kind, text, required: true, options, branches }
            },
        )
    })
}

fn numbered(steps: &mut [Node], next: &mut u32) {
    for node in steps {
        node.id = format!("n{next}");
        *next += 1;
        node.branches.iter_mut().for_each(|branch| numbered(&mut branch.steps, next));
    }
}

fn content() -> impl Strategy<Value = ScriptContent> {
    (text(), proptest::option::of(text()), vec(node(), 1..4)).prop_map(|(name, description, mut steps)| {
        numbered(&mut steps, &mut 0);
        let name = name.replace('\n', " ");
        ScriptContent { name, description, language: "fr".into(), steps }
    })
}

proptest! {
    #[test]
    fn what_is_exported_imported_and_exported_again_is_the_same(content in content()) {
        prop_assert_eq!(lint::lint(&content).errors, vec![]);
        let file = packed(&content);
        // By way of a text, as a file goes.
        let parsed = parsed(&file.to_string()).unwrap();
        let again = read(parsed).unwrap();
        prop_assert_eq!(&again, &content);
        prop_assert_eq!(packed(&again), file);
    }
}

fn simple() -> ScriptContent {
    let node = json!({ "id": "a", "type": "question", "text": "And?" });
    read(json!({ "name": "Spring", "steps": [node] })).unwrap()
}

#[test]
fn a_script_is_read_in_any_of_our_forms() {
    let node = json!({ "id": "a", "type": "question", "text": " And? ", "options": null, "required": null });
    let shown = json!({
        "templateId": "0190a0f0-0000-7000-8000-00000000000f", "name": " Spring ", "description": null,
        "language": "fr", "steps": [node], "version": 7, "status": "deleted",
        "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z",
    });
    assert_eq!(read(shown), Ok(simple()));
    assert_eq!(read(packed(&simple())), Ok(simple()));
    let mut unsigned = packed(&simple());
    unsigned.as_object_mut().unwrap().remove("sha256");
    assert_eq!(read(unsigned), Ok(simple()));
}

#[test]
fn what_is_no_script_is_told_with_its_path() {
    let with = |change: fn(&mut Value)| {
        let mut value = packed(&simple());
        change(&mut value);
        value
    };
    for (value, path, code) in [
        (json!("Spring"), "", "WRONG_TYPE"),
        (json!({ "name": "Spring" }), "steps", "REQUIRED"),
        (json!({ "name": "Spring", "steps": {} }), "steps", "WRONG_TYPE"),
        (json!({ "name": " ", "steps": [] }), "name", "TOO_SHORT"),
        (json!({ "name": "Spring", "steps": [], "__proto__": {} }), "__proto__", "UNKNOWN_FIELD"),
        (
            json!({ "name": "Spring", "steps": [{ "id": "a", "type": "question", "text": "And?", "next": "b" }] }),
            "steps[0].next",
            "UNKNOWN_FIELD",
        ),
        (
            json!({ "name": "Spring", "steps": [{ "id": "a", "type": "goto", "text": "And?" }] }),
            "steps[0].type",
            "NOT_ONE_OF",
        ),
        (with(|file| file["schemaVersion"] = json!(2)), "schemaVersion", "UNSUPPORTED_SCHEMA_VERSION"),
        (with(|file| file["schemaVersion"] = json!("1")), "schemaVersion", "UNSUPPORTED_SCHEMA_VERSION"),
        (
            with(|file| drop(file.as_object_mut().unwrap().remove("schemaVersion"))),
            "schemaVersion",
            "REQUIRED",
        ),
        (with(|file| file["constructor"] = json!({})), "constructor", "UNKNOWN_FIELD"),
        (with(|file| file["template"]["name"] = json!("Summer")), "sha256", "CHECKSUM_MISMATCH"),
        (with(|file| file["sha256"] = json!(1)), "sha256", "CHECKSUM_MISMATCH"),
    ] {
        assert_eq!(read(value.clone()), Err(vec![(path.to_owned(), code)]), "{value}");
    }
}

#[test]
fn a_document_holds_one_script_or_many() {
    let file = packed(&simple());
    let list = json!([file, file]);
    let named = json!({ "schemaVersion": 1, "exportedAt": "2026-01-01T00:00:00Z", "templates": [file] });
    for (document, paths) in [
        (file.to_string(), vec!["document"]),
        (format!("\u{feff}{file}"), vec!["document"]),
        (list.to_string(), vec!["document[0]", "document[1]"]),
        (named.to_string(), vec!["document.templates[0]"]),
    ] {
        let entries = entries(None, Some(&document)).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), paths, "{document}");
    }
}

#[test]
fn a_document_that_is_none_is_refused_as_a_whole() {
    let many = Value::from(vec![packed(&simple()); TEMPLATES_MAX + 1]).to_string();
    for (document, status, code) in [
        ("", 400, "MALFORMED_JSON"),
        ("\u{feff}\u{feff}[]", 400, "MALFORMED_JSON"),
        ("{\"a\": 1, \"a\": 2}", 400, "DUPLICATE_KEY"),
        ("[\"\\u0000\"]", 400, "CONTROL_CHARACTER"),
        ("[]", 422, "TOO_FEW_ITEMS"),
        (&many, 422, "TOO_MANY_ITEMS"),
        (r#"{"schemaVersion": 9, "templates": []}"#, 422, "UNSUPPORTED_SCHEMA_VERSION"),
        (r#"{"templates": []}"#, 422, "REQUIRED"),
        (r#"{"schemaVersion": 1, "templates": {}}"#, 422, "WRONG_TYPE"),
        (r#"{"schemaVersion": 1, "templates": [], "__proto__": {}}"#, 422, "UNKNOWN_FIELD"),
    ] {
        let refusal = entries(None, Some(document)).unwrap_err();
        let faults: Vec<_> = refusal.field_errors().iter().map(|fault| fault.code).collect();
        let shown: String = document.chars().take(60).collect();
        assert_eq!((refusal.told().status, faults), (status, vec![code]), "{shown}");
    }
    let both = entries(Some(vec![]), Some("[]")).unwrap_err();
    assert_eq!(both.field_errors()[0].code, "EXACTLY_ONE_OF");
    assert_eq!(entries(None, None).unwrap_err().field_errors()[0].code, "EXACTLY_ONE_OF");
}
