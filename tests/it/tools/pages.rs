//! Lists, page by page.

use serde_json::{Value, json};

use super::{LYON, Office, Told, text, texts};

/// Every page of a list: the ids in it, and the last answer.
async fn walk(office: &Office, tool: &str, input: &Value, rows: &str, id: &str) -> (Vec<String>, Told) {
    let (mut seen, mut input) = (Vec::new(), input.clone());
    loop {
        let told = office.ask(tool, input.clone()).await;
        seen.extend(texts(&told.data()[rows], id));
        let next = told.meta()["pagination"]["nextCursor"].clone();
        assert_eq!(told.meta()["pagination"]["hasMore"], json!(next.is_string()));
        if next.is_null() {
            return (seen, told);
        }
        input["cursor"] = next;
    }
}

#[tokio::test]
async fn a_walk_sees_every_row_once() {
    let office = Office::open().await;
    for name in ["Spring", "spring", "Été", "Autumn", "Winter"] {
        office.lyon(name).await;
    }
    for (tool, input, rows, id, total) in [
        ("list_campaigns", json!({ "limit": 2 }), "campaigns", "campaignId", 5),
        ("list_campaigns", json!({ "limit": 2, "sort": "name" }), "campaigns", "campaignId", 5),
        (
            "list_campaigns",
            json!({ "limit": 1, "sort": "updatedAt", "order": "asc" }),
            "campaigns",
            "campaignId",
            5,
        ),
        ("list_campaigns", json!({ "limit": 1, "search": "SPRING" }), "campaigns", "campaignId", 2),
        ("list_outbound_agents", json!({ "limit": 1 }), "agents", "agentId", 3),
        ("list_outbound_contacts", json!({ "limit": 7 }), "contacts", "contactId", 30),
        ("list_outbound_contacts", json!({ "limit": 7, "sort": "name" }), "contacts", "contactId", 30),
        ("find_contacts_in_multiple_campaigns", json!({ "limit": 3 }), "contacts", "contactId", LYON),
    ] {
        let (mut seen, last) = walk(&office, tool, &input, rows, id).await;
        assert_eq!(seen.len(), total, "{tool} {input}");
        assert_eq!(last.meta()["pagination"]["total"], json!(total), "{tool} {input}");
        assert_eq!(last.meta()["pagination"]["changedSince"], json!(false));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), total, "{tool} {input}");
    }
}

#[tokio::test]
async fn a_walk_says_whether_anything_moved() {
    let office = Office::empty().await;
    for name in ["b", "c", "d"] {
        office.campaign(name).await;
    }
    let first = office.ask("list_campaigns", json!({ "limit": 2, "sort": "name", "order": "asc" })).await;
    office.campaign("a").await;
    let cursor = &first.meta()["pagination"]["nextCursor"];
    let next = office
        .ask("list_campaigns", json!({ "limit": 2, "sort": "name", "order": "asc", "cursor": cursor }))
        .await;
    assert_eq!(texts(&next.data()["campaigns"], "name"), ["d"]);
    assert_eq!(next.meta()["pagination"]["changedSince"], json!(true));
}

#[tokio::test]
async fn a_cursor_belongs_to_its_list() {
    let office = Office::empty().await;
    for name in ["a", "b", "c"] {
        office.campaign(name).await;
    }
    let first = office.ask("list_campaigns", json!({ "limit": 2 })).await;
    let cursor = text(&first.meta()["pagination"]["nextCursor"]);
    let (start, end) = cursor.split_at(cursor.len() - 2);
    let tampered = format!("{start}{}", if end == "AA" { "BB" } else { "AA" });
    for (tool, input) in [
        ("list_campaigns", json!({ "limit": 2, "cursor": tampered })),
        ("list_campaigns", json!({ "limit": 2, "cursor": "x" })),
        ("list_campaigns", json!({ "limit": 2, "cursor": cursor, "search": "a" })),
        ("list_campaigns", json!({ "limit": 2, "cursor": cursor, "sort": "name" })),
        ("list_outbound_contacts", json!({ "cursor": cursor })),
    ] {
        office.ask(tool, input).await.refused(400, "INVALID_CURSOR");
    }
    let longer = office.ask("list_campaigns", json!({ "limit": 3, "cursor": cursor })).await;
    assert_eq!(longer.data()["campaigns"].as_array().unwrap().len(), 1);
}
