//! The contract that agents read: what is listed is there, fits its schemas and changes only on purpose.

use std::collections::BTreeSet;

use docket::tools::{CONTRACT, Known, catalog};
use serde_json::{Value, json};

use super::qualification_templates::heating;
use super::script_templates::{attach, script};
use super::{Office, text, texts};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/snapshots/tools.json");

#[tokio::test]
async fn what_is_listed_is_what_can_be_called() {
    let office = Office::empty().await;
    let (status, listed) = office.client.get("/crm/agent/capabilities").await;
    assert_eq!(status, 200, "{listed}");
    let tools = listed["data"]["tools"].as_array().unwrap();
    let names: BTreeSet<String> = tools.iter().map(|tool| text(&tool["name"])).collect();
    assert_eq!((tools.len(), names.len()), (37, 37));
    for name in CONTRACT {
        let told = office.ask(name, json!({ "surplus": 1 })).await;
        if !names.contains(name) {
            told.refused(404, "TOOL_NOT_FOUND");
        } else {
            let fields = texts(&told.meta()["fieldErrors"], "code");
            assert!(told.status == 400 && fields.contains(&"UNKNOWN_FIELD".to_owned()), "{}", told.body);
        }
    }
}

/// An office in which there is something of everything that examples name.
pub async fn office_for_examples() -> Office {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let script = script(&office, "First").await;
    attach(&office, &campaign, &script).await;
    let begin = json!({ "campaignId": campaign, "contactId": contacts[0] });
    office.done("upsert_script_execution", begin.clone()).await;
    office.done("get_script_execution", begin).await;
    let template = office.done("create_qualification_template", heating()).await;
    let qualification = json!({
        "campaignId": campaign,
        "contactId": contacts[0],
        "templateId": template["template"]["templateId"],
        "answers": { "fuel": "gas" },
    });
    office.done("create_qualification", qualification).await;
    // Examples are filled in from what is folded: this waits for it.
    office.done("get_crm_workspace_overview", json!({})).await;
    office
}

#[tokio::test]
async fn every_example_works() {
    let office = office_for_examples().await;
    let path = format!("/crm/agent/capabilities?organizationId={}", office.client.organization);
    let (_, listed) = office.client.get(&path).await;
    for tool in listed["data"]["tools"].as_array().unwrap() {
        let name = text(&tool["name"]);
        let accepted = jsonschema::validator_for(&tool["inputSchema"]).unwrap();
        let examples = tool["examples"].as_array().unwrap();
        assert!(examples.len() >= 2, "{name}");
        for example in examples {
            assert!(accepted.is_valid(&example["input"]), "{name}: {example}");
            let told = office.ask(&name, example["input"].clone()).await;
            assert_eq!(told.status, 200, "{name} {}: {}", example["title"], told.body);
        }
    }
}

/// Every example with its tool, none of which lacks what it needs.
async fn filled_in(office: &Office) -> Vec<(String, Value)> {
    let path = format!("/crm/agent/capabilities?organizationId={}", office.client.organization);
    let (_, listed) = office.client.get(&path).await;
    let mut all = Vec::new();
    for tool in listed["data"]["tools"].as_array().unwrap() {
        for example in tool["examples"].as_array().unwrap() {
            assert!(example["needs"].is_null(), "{example}");
            all.push((text(&tool["name"]), example.clone()));
        }
    }
    assert!(!all.is_empty());
    all
}

#[tokio::test]
async fn every_example_still_works_beside_a_campaign_with_nobody_in_it() {
    let office = office_for_examples().await;
    let fresh = json!({ "name": "Empty and newest", "status": "active" });
    office.done("create_outbound_campaign", fresh).await;
    office.done("get_crm_workspace_overview", json!({})).await;
    for (tool, example) in filled_in(&office).await {
        let told = office.ask(&tool, example["input"].clone()).await;
        assert_eq!(told.status, 200, "{tool} {}: {}", example["title"], told.body);
    }
}

#[tokio::test]
async fn what_an_example_needs_is_found_behind_any_number_of_campaigns() {
    let office = office_for_examples().await;
    let newer = (0..60).map(|n| json!({ "name": format!("Newer {n}"), "status": "active" }));
    futures::future::join_all(newer.map(|campaign| office.done("create_outbound_campaign", campaign))).await;
    office.done("get_crm_workspace_overview", json!({})).await;
    filled_in(&office).await;
}

#[tokio::test]
async fn an_example_that_needs_what_is_not_there_says_so() {
    let office = Office::empty().await;
    let path = format!("/crm/agent/capabilities?organizationId={}", office.client.organization);
    let (_, listed) = office.client.get(&path).await;
    for tool in listed["data"]["tools"].as_array().unwrap() {
        for example in tool["examples"].as_array().unwrap() {
            let stands_in = example["input"].to_string().contains("_ID\"");
            assert_eq!(example["needs"].is_string(), stands_in, "{example}");
        }
    }
}

#[tokio::test]
async fn what_the_list_cannot_be_narrowed_by_is_refused() {
    let office = Office::empty().await;
    let look = async |query: &str| office.client.get(&format!("/crm/agent/capabilities?{query}")).await;
    for (query, code) in [
        ("family=scripts", "NOT_ONE_OF"),
        ("family=", "TOO_SHORT"),
        ("query=", "TOO_SHORT"),
        ("query=%20%20", "TOO_SHORT"),
    ] {
        let (status, told) = look(query).await;
        assert_eq!((status, &told["meta"]["fieldErrors"][0]["code"]), (400, &json!(code)), "{query}: {told}");
    }
    let (_, told) = look("family=scripts").await;
    let message = text(&told["meta"]["fieldErrors"][0]["message"]);
    assert!(message.contains("Script templates"), "{told}");
    for query in ["family=Script%20templates", "family=script_templates", "family=SCRIPT-TEMPLATES"] {
        let (status, told) = look(query).await;
        assert_eq!((status, told["data"]["tools"].as_array().map(Vec::len)), (200, Some(7)), "{query}");
    }
    let (status, told) = look("query=zzzz").await;
    assert_eq!((status, &told["data"]["tools"]), (200, &json!([])));
    assert_eq!(texts(&told["meta"]["warnings"], "code"), ["NOTHING_FOUND"]);
}

/// `DOCKET_UPDATE_SNAPSHOTS=1 cargo test -p docket-crm --test it tools::` writes the file anew.
#[test]
fn the_contract_changes_on_purpose() {
    let mut tools = catalog().capabilities(None, None, &Known::default());
    // What an answer costs is measured, not agreed on.
    for tool in &mut tools {
        tool.as_object_mut().unwrap().remove("answerTokens");
    }
    let tools = Value::from(tools);
    if std::env::var_os("DOCKET_UPDATE_SNAPSHOTS").is_some() {
        let text = serde_json::to_string_pretty(&tools).unwrap();
        std::fs::write(SNAPSHOT, text + "\n").unwrap();
        return;
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(SNAPSHOT).unwrap()).unwrap();
    let (now, kept) = (tools.as_array().unwrap(), kept.as_array().unwrap());
    for (now, kept) in now.iter().zip(kept) {
        assert!(now == kept, "{} is no longer the tool of the snapshot, {}", now["name"], kept["name"]);
    }
    assert_eq!(now.len(), kept.len(), "tools came or went");
}
