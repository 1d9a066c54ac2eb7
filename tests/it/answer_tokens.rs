//! What answers cost a model at the demo's size: measured, and held against the figures that `capabilities` tells.
//!
//! `DOCKET_UPDATE_SNAPSHOTS=1 cargo test -p docket-crm --test it answer_tokens` measures anew and writes the file.

use std::process::Command;

use docket::tools::{answer_tokens, catalog};
use serde_json::{Map, Value, json};

use crate::readme::{Demo, data_dir};

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tools/answer_tokens.json");
/// Tokens of a concise answer, at most.
const CONCISE_MAX: u64 = 2_000;
/// Answers that are known to be longer, by their many ids; they may not grow.
const LONGER: [(&str, u64); 3] = [
    ("find_contacts_in_multiple_campaigns", 8_000),
    ("bulk_get_agent_workloads", 3_000),
    ("list_outbound_contacts", 3_000),
];
/// How far a figure may be from what is measured: names and days of the sample move with the calendar.
const OFF_BY: f64 = 0.15;

/// The answer of the demo, as text.
fn ask(demo: &Demo, path: &str, more: &[&str]) -> String {
    let run = Command::new("curl")
        .args(["--silent", "--header", "Content-Type: application/json", "--header"])
        .arg(format!("Authorization: Bearer {}", demo.told["tokens"]["super-admin"].as_str().unwrap()))
        .args(more)
        .arg(format!("{}{path}", demo.told["url"].as_str().unwrap()))
        .output()
        .unwrap();
    String::from_utf8(run.stdout).unwrap()
}

fn get(demo: &Demo, path: &str) -> Value {
    serde_json::from_str(&ask(demo, path, &[])).unwrap()
}

fn call(demo: &Demo, tool: &str, body: &Value) -> String {
    ask(demo, &format!("/crm/agent/tools/{tool}"), &["--data", &body.to_string()])
}

#[test]
fn answers_cost_what_capabilities_says() {
    let folder = data_dir();
    // More calls than a token may make in so short a time.
    let demo = Demo::start_with(folder.path(), &[("DOCKET_RATE_LIMIT", "off")]);
    let vocabulary = tiktoken_rs::o200k_base().unwrap();
    let organization = demo.told["organizationId"].as_str().unwrap();
    // Its examples are filled in with ids that are there.
    let capabilities = get(&demo, &format!("/crm/agent/capabilities?organizationId={organization}"));
    let mut measured = Map::new();
    for capability in capabilities["data"]["tools"].as_array().unwrap() {
        let tool = catalog().get(capability["name"].as_str().unwrap()).unwrap();
        let mut sizes = Map::new();
        for format in ["concise", "detailed"] {
            let mut largest = 0;
            for example in capability["examples"].as_array().unwrap() {
                let mut body = json!({ "input": example["input"] });
                if tool.scoped {
                    body["organizationId"] = organization.into();
                }
                if tool.mutating() {
                    // The sample stays as it is, so that the order of the tools does not matter.
                    body["input"]["dryRun"] = true.into();
                } else {
                    body["input"]["responseFormat"] = format.into();
                }
                let answer = call(&demo, tool.name, &body);
                assert!(answer.starts_with("{\"success\":true"), "{} {body}: {answer}", tool.name);
                largest = largest.max(vocabulary.encode_ordinary(&answer).len());
            }
            sizes.insert(format.to_owned(), largest.into());
        }
        println!("{:42} concise {:>6} detailed {:>6}", tool.name, sizes["concise"], sizes["detailed"]);
        measured.insert(tool.name.to_owned(), sizes.into());
    }
    if std::env::var_os("DOCKET_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(FIGURES, serde_json::to_string_pretty(&measured).unwrap() + "\n").unwrap();
        return;
    }
    for (tool, sizes) in &measured {
        let known = LONGER.iter().find(|(name, _)| name == tool);
        let most = known.map_or(CONCISE_MAX, |(_, most)| *most);
        assert!(sizes["concise"].as_u64().unwrap() <= most, "{tool}: {sizes}");
        for format in ["concise", "detailed"] {
            let (now, told) =
                (sizes[format].as_f64().unwrap(), answer_tokens()[tool][format].as_f64().unwrap());
            assert!(
                (now - told).abs() <= (told * OFF_BY).max(40.0),
                "{tool} {format}: {now}, and {told} is told"
            );
        }
    }
}
