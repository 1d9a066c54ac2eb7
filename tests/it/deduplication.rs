//! Which rows of a folder are one, with each other and with contacts that are there already.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Client, TestApp};

const TOOL: &str = "analyze_import_contact_deduplication";

async fn folder(client: &Client, file: &str) -> String {
    let path = client.crm("imports?name=Fair");
    let headers = [("content-type", "text/csv")];
    let (status, answer) =
        client.send(Method::POST, &path, &headers, file.as_bytes().to_vec()).await.unwrap();
    assert_eq!(status, 201, "{answer}");
    answer["importFolderId"].as_str().unwrap().to_owned()
}

async fn contacts(client: &Client, file: &str) {
    let folder = folder(client, file).await;
    let commit = client.crm(&format!("imports/{folder}/commit"));
    assert_eq!(client.post(&commit, json!({})).await.0, 200);
}

/// The ids of contacts in the groups of an answer.
fn found(data: &Value) -> Vec<&str> {
    let groups = data["groups"].as_array().unwrap().iter();
    let members = groups.flat_map(|group| group["members"].as_array().unwrap());
    members.filter_map(|member| member["contactId"].as_str()).collect()
}

async fn stored(app: &TestApp) -> i64 {
    let count = "SELECT count(DISTINCT analysis_id) FROM ledger.analyses";
    sqlx::query_scalar(count).fetch_one(&app.database.pool()).await.unwrap()
}

#[tokio::test]
async fn a_folder_is_analysed_once_and_each_row_is_on_one_page() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let mut file = String::from("Name,Email\n");
    for row in 0..1_300 {
        let _ = writeln!(file, "Person {row},p{}@example.com", row % 1_200);
    }
    let folder = folder(&client, &file).await;
    let ask = async |cursor: &Value| {
        let mut input = json!({ "importFolderId": folder, "limit": 100, "responseFormat": "detailed" });
        if !cursor.is_null() {
            input["cursor"] = cursor.clone();
        }
        client.tool(TOOL, input).await
    };
    let (mut cursor, mut seen, mut pages) = (Value::Null, BTreeSet::new(), 0);
    let mut second = Value::Null;
    loop {
        let (status, answer) = ask(&cursor).await;
        assert_eq!(status, 200, "{answer}");
        let (data, pagination) = (&answer["data"], &answer["meta"]["pagination"]);
        assert_eq!(data["summary"]["unique"], json!(1_200), "every page tells the whole");
        assert_eq!(pagination["total"], json!(1_200));
        for member in
            data["groups"].as_array().unwrap().iter().flat_map(|group| group["members"].as_array().unwrap())
        {
            let row = member["rowIndex"].as_u64().unwrap();
            assert!(seen.insert(row), "row {row} is on two pages");
            assert_eq!(member["email"], json!(format!("p{}@example.com", row % 1_200)));
            assert_eq!(member["line"], json!(row + 2));
        }
        pages += 1;
        cursor = pagination["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
        second = cursor.clone();
        // What is recorded meanwhile does not disturb the pages.
        client.post(&client.crm("agents"), json!({ "name": "Zoé", "email": "zoe@example.com" })).await;
    }
    assert_eq!((pages, seen.len(), stored(&app).await), (12, 1_300, 1));

    assert_eq!(ask(&Value::Null).await.0, 200);
    assert_eq!(stored(&app).await, 2, "a first page is as new as any other read");
    assert_eq!(ask(&Value::Null).await.0, 200);
    assert_eq!(stored(&app).await, 2, "nothing was recorded since");

    sqlx::query("UPDATE ledger.analyses SET expires_at = '2020-01-01'")
        .execute(&app.database.pool())
        .await
        .unwrap();
    let (status, answer) = ask(&second).await;
    assert_eq!((status, &answer["meta"]["errorCode"]), (410, &json!("ANALYSIS_EXPIRED")));
    assert_eq!(app.app.ledger.forget_expired().await.unwrap(), 6, "two headers and twice two parts");
}

#[tokio::test]
async fn an_organization_keeps_some_analyses_and_sees_no_other_s() {
    let app = TestApp::start().await;
    let (client, other) = (app.agent().await, app.agent().await);
    let file = "Email\na@example.com\nb@example.com\n";
    let (folder, others) = (folder(&client, file).await, folder(&other, file).await);
    for country in
        ["FR", "DE", "GB", "US", "ES", "IT", "BE", "CH", "AT", "NL", "PT", "SE", "DK", "NO", "FI", "PL", "IE"]
    {
        client.done(TOOL, json!({ "importFolderId": folder, "defaultCountry": country })).await;
    }
    assert_eq!(stored(&app).await, 16);
    let (status, _) = client.tool(TOOL, json!({ "importFolderId": others })).await;
    assert_eq!(status, 404);
    let page = async |client: &Client, folder: &str, cursor: &Value| {
        client.tool(TOOL, json!({ "importFolderId": folder, "limit": 1, "cursor": cursor })).await
    };
    let (_, first) = client.tool(TOOL, json!({ "importFolderId": folder, "limit": 1 })).await;
    let cursor = &first["meta"]["pagination"]["nextCursor"];
    assert_eq!(page(&client, &folder, cursor).await.0, 200);
    assert_eq!(page(&other, &others, cursor).await.0, 400, "a cursor is its organization's own");
}

#[tokio::test]
async fn contacts_are_found_by_their_mailbox_whatever_the_tag() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    contacts(&client, "Name,Email\nAnn,ann+crm@example.com\nBob,bob@example.com\n").await;
    for (email, plus_tags, expected) in [
        ("ann@example.com", true, 1),
        ("ANN+other@example.com", true, 1),
        ("ann+crm@example.com", true, 1),
        ("ann+crm@example.com", false, 1),
        ("ann@example.com", false, 0),
        ("bob+x@example.com", true, 1),
        ("bob+x@example.com", false, 0),
        ("annie@example.com", true, 0),
    ] {
        let input = json!({ "rows": [{ "email": email }], "normalizePlusTags": plus_tags });
        let data = client.done(TOOL, input).await;
        assert_eq!(found(&data).len(), expected, "{email} {plus_tags}: {data}");
    }
}

#[tokio::test]
async fn a_row_with_the_address_of_one_contact_and_the_number_of_another_is_for_review_and_names_both() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    contacts(&client, "First name,Last name,Email,Phone\nAnn,Lee,ann@x.com,\nBob,Kim,,0612340009\n").await;
    let row = json!({ "firstName": "Ann", "lastName": "Lee", "email": "ann@x.com", "phone": "+33612340009" });
    let data = client.done(TOOL, json!({ "rows": [row] })).await;
    let group = &data["groups"][0];
    assert_eq!(group["suggestedAction"], "review", "{data}");
    let own = group["members"][1]["contactId"].as_str();
    let other = group["near"][0]["contactId"].as_str();
    assert!(own.is_some() && other.is_some() && own != other, "{data}");
}

#[tokio::test]
async fn a_row_with_the_id_of_another_contact_is_for_review_though_ids_were_not_asked_for() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    contacts(&client, "First name,Email,External id\nAnn,ann@x.com,A1\nBob,bob@x.com,B1\n").await;
    let row = json!({ "firstName": "Ann", "email": "ann@x.com", "externalId": "B1" });
    for input in [json!({ "rows": [row] }), json!({ "rows": [row], "matchOn": ["email"] })] {
        let data = client.done(TOOL, input).await;
        let group = &data["groups"][0];
        assert_eq!(group["suggestedAction"], "review", "{data}");
        assert_eq!(group["members"][1]["email"], "ann@x.com", "{data}");
        assert_eq!(group["near"][0]["email"], "bob@x.com", "{data}");
    }
}

#[tokio::test]
async fn whoever_a_commit_would_leave_alone_is_counted_as_suppressed() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let path = client.crm("suppressions");
    for address in ["+33611111111", "+442079460000", "@blocked.example", "ann@x.example"] {
        let (status, answer) = client.post(&path, json!({ "address": address })).await;
        assert_eq!(status, 201, "{answer}");
    }
    let mut file = String::from("First name,Email,Phone\n");
    let mut rows = Vec::new();
    for (name, email, phone, country, expected) in [
        ("Ann", "", "06 11 11 11 11", "FR", 1),
        ("Bob", "bob@Blocked.example", "", "FR", 1),
        ("Cleo", "cleo@sub.blocked.example", "", "FR", 0),
        ("Dan", "ANN@x.example", "", "FR", 1),
        ("Eve", "", "020 7946 0000", "GB", 1),
        ("Fay", "", "020 7946 0000", "IT", 0),
        ("Gil", "", "0611111111", "IT", 0),
    ] {
        let row = json!({ "firstName": name, "email": email, "phone": phone });
        let data = client.done(TOOL, json!({ "rows": [row], "defaultCountry": country })).await;
        assert_eq!(data["summary"]["suppressed"], json!(expected), "{name}: {data}");
        assert_eq!(data["groups"][0]["suggestedAction"] == "skip", expected == 1, "{name}: {data}");
        if country == "FR" {
            let _ = writeln!(file, "{name},{email},{phone}");
            rows.push(expected);
        }
    }
    // As many as the commit then does.
    let folder = folder(&client, &file).await;
    let data = client.done(TOOL, json!({ "importFolderId": folder })).await;
    assert_eq!(data["summary"]["suppressed"], json!(rows.iter().sum::<i32>()), "{data}");
    let commit = client.crm(&format!("imports/{folder}/commit"));
    assert_eq!(client.post(&commit, json!({})).await.0, 200);
    let made = client.done("list_outbound_contacts", json!({})).await;
    let left_alone = |contact: &&Value| contact["doNotContact"] == json!(true);
    assert_eq!(made["contacts"].as_array().unwrap().iter().filter(left_alone).count(), 3, "{made}");
}

#[tokio::test]
async fn contacts_are_found_by_the_sound_of_their_names() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let file = "First name,Last name,Company,Email\nJean,Dupont,Acme SARL,jd@example.com\n,,Brûlerie Kermadec,b@example.com\n\
        Zoé,Martin,Zenith,z@example.com\n";
    contacts(&client, file).await;
    for (row, expected) in [
        (json!({ "firstName": "JEAN", "lastName": "Dupond", "company": "Acme" }), 1),
        (json!({ "firstName": "Dupont", "lastName": "Jean", "company": "ACME" }), 1),
        (json!({ "company": "Brulerie Kermadek SAS" }), 1),
        (json!({ "firstName": "Paul", "lastName": "Durand", "company": "Acme" }), 0),
    ] {
        let input = json!({ "rows": [row], "matchOn": ["name_company"] });
        let data = client.done(TOOL, input).await;
        assert_eq!(found(&data).len(), expected, "{data}");
    }
    // The same of a folder, whose contacts are looked up row by row or read through.
    let mut rows = String::from("First name,Last name,Company\nJEAN,Dupond,Acme\n");
    for row in 0..5_000 {
        let _ = writeln!(rows, "Nobody,Number {row},");
    }
    let folder = folder(&client, &rows).await;
    let data =
        client.done(TOOL, json!({ "importFolderId": folder, "matchOn": ["name_company"], "limit": 1 })).await;
    assert_eq!((found(&data).len(), &data["groups"][0]["members"][0]["lastName"]), (1, &json!("Dupond")));
}

#[tokio::test]
async fn a_thousand_equal_rows_are_one_short_group() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    contacts(&client, "Name,Email\nAnn,ann@example.com\n").await;
    let rows = vec![json!({ "email": "ann@example.com", "firstName": "Ann" }); 1_000];
    let (status, answer) = client.tool(TOOL, json!({ "rows": rows })).await;
    let group = &answer["data"]["groups"][0];
    assert_eq!((status, &group["memberCount"]), (200, &json!(1_001)));
    assert_eq!(group["members"].as_array().unwrap().len(), 5);
    assert!(group["members"][4]["contactId"].is_string(), "the contact is not pushed out by the rows");
    assert_eq!(answer["meta"]["truncated"], json!(true));
    assert_eq!(answer["data"]["summary"]["duplicatesInImport"], json!(999));
}

#[tokio::test]
async fn a_folder_of_more_than_fifty_thousand_rows_is_analysed() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let mut file = String::from("Email\n");
    for row in 0..50_200 {
        let _ = writeln!(file, "p{}@example.com", row % 50_100);
    }
    let folder = folder(&client, &file).await;
    let input = json!({ "importFolderId": folder, "limit": 5 });
    let data = crate::support::eventually("the analysis ends", async || {
        let (status, answer) = client.tool(TOOL, input.clone()).await;
        assert!(status == 200 || answer["meta"]["errorCode"] == json!("ANALYSIS_UNDER_WAY"), "{answer}");
        (status == 200).then(|| answer["data"].clone())
    })
    .await;
    assert_eq!(data["summary"]["rows"], json!(50_200));
    assert_eq!(data["summary"]["duplicatesInImport"], json!(100));
    assert_eq!((data["groups"].as_array().unwrap().len(), stored(&app).await), (5, 1));
}
