//! From a file to contacts.

use std::fmt::Write as _;

use docket::readside::Consistency;
use docket_aggregates::token::Role;
use docket_projections::searchable::MatchKeys;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Client, TestApp, eventually};

const CSV: (&str, &str) = ("content-type", "text/csv");

async fn upload(client: &Client, query: &str, file: &str) -> (u16, Value) {
    let path = client.crm(&format!("imports?{query}"));
    client.send(Method::POST, &path, &[CSV], file.as_bytes().to_vec()).await.unwrap()
}

async fn staged(client: &Client, file: &str) -> String {
    let (status, answer) = upload(client, "name=Fair&source=fair&legalBasis=consent", file).await;
    assert_eq!(status, 201, "{answer}");
    answer["importFolderId"].as_str().unwrap().to_owned()
}

async fn commit(client: &Client, folder: &str, body: Value) -> (u16, Value) {
    client.post(&client.crm(&format!("imports/{folder}/commit")), body).await
}

/// A file of so many rows, no two of them alike.
fn addresses(rows: usize) -> String {
    let mut file = String::from("Email\n");
    for row in 0..rows {
        let _ = writeln!(file, "p{row}@example.com");
    }
    file
}

/// The folder at `path`, once its commit has ended.
async fn committed(client: &Client, path: &str) -> Value {
    eventually("the commit ends", async || {
        let (_, shown) = client.get(path).await;
        (shown["state"] == json!("committed")).then_some(shown)
    })
    .await
}

fn counts(answer: &Value) -> [u64; 3] {
    ["created", "updated", "skipped"].map(|count| answer[count].as_u64().unwrap())
}

/// A client that may import and call tools, with an organization of its own.
async fn importer(app: &TestApp) -> Client {
    app.agent().await
}

async fn contacts(client: &Client) -> Vec<Value> {
    let data = client.done("list_outbound_contacts", json!({ "limit": 100 })).await;
    data["contacts"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_file_becomes_contacts() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let file = "Prénom;Courriel;Téléphone;Désinscrit\n\
        Ada;ada@example.com;06 12 34 56 78;\n\
        Bea;bea@@example;;\n\
        Cid;cid@example.com;;oui\n";
    let folder = staged(&client, file).await;

    let path = client.crm(&format!("imports/{folder}"));
    let (_, shown) = client.get(&path).await;
    assert_eq!(
        (&shown["state"], &shown["rows"], &shown["invalid"]),
        (&json!("staged"), &json!(3), &json!(1))
    );
    assert_eq!(shown["mapping"][1], json!({ "header": "Courriel", "field": "email" }));
    let (_, invalid) = client.get(&format!("{path}/rows?state=invalid")).await;
    assert_eq!((&invalid[0]["line"], &invalid[0]["errors"][0]["code"]), (&json!(3), &json!("INVALID_EMAIL")));
    assert_eq!(invalid[0]["cells"], json!(["Bea", "bea@@example", "", ""]));
    assert!(contacts(&client).await.is_empty(), "nothing is a contact before the commit");

    let (status, answer) = commit(&client, &folder, json!({})).await;
    assert_eq!((status, counts(&answer)), (200, [2, 0, 0]), "{answer}");
    let mut known: Vec<(Value, Value)> = contacts(&client)
        .await
        .into_iter()
        .map(|contact| (contact["firstName"].clone(), contact["doNotContact"].clone()))
        .collect();
    known.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(known, [(json!("Ada"), json!(false)), (json!("Cid"), json!(true))]);
    let (_, shown) = client.get(&path).await;
    assert_eq!((&shown["state"], counts(&shown)), (&json!("committed"), [2, 0, 0]));
}

#[tokio::test]
async fn a_row_with_a_name_alone_becomes_a_contact_that_no_campaign_takes() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let folder = staged(&client, "Name,Email,City\nAda,,Lyon\nBea,bea@example.com,\n,,Nice\n").await;
    let (_, shown) = client.get(&client.crm(&format!("imports/{folder}"))).await;
    assert_eq!((&shown["rows"], &shown["invalid"]), (&json!(3), &json!(1)), "a city alone names nobody");
    let (_, answer) = commit(&client, &folder, json!({})).await;
    assert_eq!(counts(&answer), [2, 0, 0]);

    let campaign = client.done("create_outbound_campaign", json!({ "name": "Spring" })).await;
    let campaign = &campaign["campaign"]["campaignId"];
    let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 10 });
    let added = client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    assert_eq!((&added["applied"], &added["skippedByReason"]), (&json!(1), &json!({ "NO_CHANNEL": 1 })));
    let unreachable = json!({ "hasEmail": false, "hasPhone": false });
    let unreachable = client.done("list_outbound_contacts", unreachable).await;
    assert_eq!(unreachable["contacts"].as_array().unwrap().len(), 1, "and it can be found to be completed");
}

#[tokio::test]
async fn a_dry_run_counts_what_the_commit_does_and_appends_nothing() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let first = staged(&client, "Name,Email\nAda,ada@example.com\n").await;
    commit(&client, &first, json!({})).await;
    let folder = staged(
        &client,
        "Name,Email,City\nAda,ADA@example.com,Lyon\nBea,bea@example.com,\nBea,Bea@example.com,Nice\n",
    )
    .await;
    let head = async || client.get(&client.crm("events?limit=1000")).await.1.as_array().unwrap().len();
    let before = head().await;
    for (on_duplicate, expected) in [("skip", [1, 0, 2]), ("update", [1, 2, 0])] {
        let body = json!({ "onDuplicate": on_duplicate, "dryRun": true });
        let (status, answer) = commit(&client, &folder, body).await;
        assert_eq!((status, counts(&answer)), (200, expected), "{on_duplicate}");
    }
    assert_eq!(head().await, before);
    let (_, answer) = commit(&client, &folder, json!({ "onDuplicate": "update" })).await;
    assert_eq!(counts(&answer), [1, 2, 0]);
    let cities: Vec<Value> =
        contacts(&client).await.into_iter().map(|contact| contact["email"].clone()).collect();
    assert_eq!(cities.len(), 2, "no row made a second contact");
}

/// Whether the rows of one person stand in one chunk or far apart, and whatever the read models show by then.
#[tokio::test]
async fn a_person_is_one_however_much_lies_between_their_rows() {
    const PEOPLE: usize = 40;
    for between in [0, 600, 1_000] {
        let app = TestApp::start().await;
        let client = importer(&app).await;
        let mut file = String::from("First name,Email,Phone,ID\n");
        let mut others = 0;
        let mut rows = |row: &dyn Fn(usize) -> String| {
            for person in 0..PEOPLE {
                let _ = writeln!(file, "{}", row(person));
            }
            for _ in 0..between {
                let _ = writeln!(file, ",other{others}@example.com,,");
                others += 1;
            }
        };
        rows(&|n| format!("Zoe{n},a{n}@example.com,,"));
        rows(&|n| format!("Zoe{n},a{n}@example.com,,K-{n}"));
        rows(&|n| format!("Zoe{n},b{n}@example.com,,K-{n}"));
        rows(&|n| format!("Zoe{n},b{n}@example.com,,"));
        rows(&|n| format!("Zoe{n},a{n}@example.com,,"));
        rows(&|n| format!("Ann{n},,+33 6 12 34 {:02} {:02},", n / 100, n % 100));
        rows(&|n| format!("Bob{n},,+33 6 12 34 {:02} {:02},", n / 100, n % 100));
        rows(&|n| format!("Bob{n},,+33 6 12 34 {:02} {:02},", n / 100, n % 100));
        let folder = staged(&client, &file).await;
        let update = |dry| json!({ "onDuplicate": "update", "dryRun": dry });
        let created = 3 * PEOPLE + 8 * between;
        let (status, told) = commit(&client, &folder, update(true)).await;
        assert_eq!((status, &told["created"]), (200, &json!(created)), "{between} between: {told}");
        let (_, done) = commit(&client, &folder, update(false)).await;
        assert_eq!(done["created"], json!(created), "{between} between: {done}");
    }
}

/// Who is looked for among so many that not all can be shown.
#[tokio::test]
async fn a_crowd_at_one_number_hides_nobody_at_another_key() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let crowd = |n| format!("Colleague{n},+33123456789,\n");
    let file: String = (0..40).map(crowd).chain(["Zoe,,z@example.com\n".to_owned()]).collect();
    let folder = staged(&client, &format!("First name,Phone,Email\n{file}")).await;
    commit(&client, &folder, json!({})).await;
    let mut view = app.app.readside.view(client.organization, Consistency::STRONG).await.unwrap();
    let keys = ["+33123456789", "z@example.com"].map(MatchKeys::of_address);
    let found = docket_projections::contacts::by_keys(&mut view, client.organization, &keys, 100, 10).await;
    let found = found.unwrap();
    assert_eq!(found.len(), 10);
    assert!(found.is_sorted_by_key(|row| row.contact_id));
    let zoe = found.iter().filter_map(|row| row.profile.as_ref()?.email.as_deref());
    assert_eq!(zoe.collect::<Vec<_>>(), ["z@example.com"]);
}

/// A second address of somebody who is known, and then a third that only the second's row leads to.
#[tokio::test]
async fn what_a_row_gives_to_a_contact_is_what_later_rows_find_it_by() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let known = staged(&client, "First name,Email\nZoe,z@example.com\n").await;
    commit(&client, &known, json!({})).await;
    let file = "First name,Email,ID\nZoe,z@example.com,K-1\nZoe,y@example.com,K-1\nZoe,Y@example.com,\n";
    let folder = staged(&client, file).await;
    for dry in [true, false] {
        let (_, answer) = commit(&client, &folder, json!({ "onDuplicate": "update", "dryRun": dry })).await;
        assert_eq!(counts(&answer), [0, 2, 1], "{answer}");
    }
    assert_eq!(contacts(&client).await.len(), 1);
}

#[tokio::test]
async fn a_commit_is_done_once_however_often_it_is_ordered() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let folder = staged(&client, "Email\nada@example.com\nbea@example.com\n").await;
    let orders = (0..8).map(|_| commit(&client, &folder, json!({})));
    for (status, answer) in futures::future::join_all(orders).await {
        assert_eq!((status, counts(&answer)), (200, [2, 0, 0]), "{answer}");
    }
    let (status, answer) = commit(&client, &folder, json!({ "onDuplicate": "update" })).await;
    assert_eq!((status, &answer["code"]), (409, &json!("ALREADY_COMMITTED")));
    assert_eq!(contacts(&client).await.len(), 2);
}

#[tokio::test]
async fn an_import_takes_no_opt_out_back_and_brings_every_one() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let first = staged(&client, "Email,Do not contact\nada@example.com,yes\nbea@example.com,\n").await;
    commit(&client, &first, json!({})).await;
    // Ada's row says nothing of it; Bea's says it, although duplicates are skipped.
    let second = staged(&client, "Email,Do not contact\nada@example.com,\nbea@example.com,yes\n").await;
    let (_, answer) = commit(&client, &second, json!({ "onDuplicate": "skip" })).await;
    assert_eq!(counts(&answer), [0, 1, 1]);
    assert!(contacts(&client).await.iter().all(|contact| contact["doNotContact"] == json!(true)));
    // The suppressed address comes back under another identity.
    let third = staged(&client, "Email,External id\nada@example.com,X1\n").await;
    let (_, answer) = commit(&client, &third, json!({})).await;
    assert_eq!(counts(&answer), [0, 0, 1]);
}

#[tokio::test]
async fn a_row_that_matches_a_contact_puts_it_into_the_folder() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let first = staged(&client, "Email\nada@example.com\n").await;
    commit(&client, &first, json!({})).await;
    let second = staged(&client, "Email\nADA@example.com\nbea@example.com\n").await;
    commit(&client, &second, json!({})).await;
    let data = client.done("list_outbound_contacts", json!({ "importFolderId": second })).await;
    assert_eq!(data["contacts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn external_ids_that_differ_by_case_are_two_contacts_to_the_analysis_and_to_the_commit() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let file = "External id,First name,Email\nZ1,Quinn,q@example.com\nz1,Quincy,q2@example.com\nZ1 ,Quinn,\n";
    // Each file, what the analysis says of its rows, and what comes of them: created, updated, skipped.
    for (file, [unique, duplicates, existing], outcome) in [
        (file, [2, 1, 0], [2, 0, 1]),
        ("External id,City\nz1,Lyon\nY1,Nice\ny1,Metz\n", [2, 0, 1], [2, 1, 0]),
    ] {
        let folder = staged(&client, file).await;
        let question = json!({ "importFolderId": folder, "matchOn": ["externalId"] });
        let summary = &client.done("analyze_import_contact_deduplication", question).await["summary"];
        let told = ["unique", "duplicatesInImport", "existingInCrm"].map(|count| summary[count].as_u64());
        assert_eq!(told, [Some(unique), Some(duplicates), Some(existing)], "{summary}");
        for dry_run in [true, false] {
            let order = json!({ "onDuplicate": "update", "dryRun": dry_run });
            let (_, answer) = commit(&client, &folder, order).await;
            assert_eq!(counts(&answer), outcome, "{answer}");
        }
    }
    let shown = client.done("list_outbound_contacts", json!({ "responseFormat": "detailed" })).await;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of = |contact: &Value| {
        let details = &contact["details"];
        [&details["externalId"], &contact["firstName"], &details["city"]].map(text)
    };
    let mut known: Vec<_> = shown["contacts"].as_array().unwrap().iter().map(of).collect();
    known.sort();
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        [some("Y1"), None, some("Nice")],
        [some("Z1"), some("Quinn"), None],
        [some("y1"), None, some("Metz")],
        [some("z1"), some("Quincy"), some("Lyon")],
    ];
    assert_eq!(known, expected);
}

#[tokio::test]
async fn many_chunks_are_staged_and_committed_in_order() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let mut file = String::from("Name,Email,Code client\n");
    for row in 0..1_203 {
        // Every row of the last chunk repeats one of the first.
        let _ = writeln!(file, "Person {row},p{}@example.com,", row % 1_000);
    }
    let folder = staged(&client, &file).await;
    let (status, answer) = commit(&client, &folder, json!({})).await;
    assert_eq!((status, counts(&answer)), (200, [1_000, 0, 203]), "{answer}");
    let (_, shown) = client.get(&client.crm(&format!("imports/{folder}"))).await;
    assert_eq!((&shown["chunks"], &shown["committedChunks"]), (&json!(3), &json!(3)));
}

/// To statistics from before its first import an organization has no contacts, so that reading all of them seems as good as
/// any index.
#[tokio::test]
async fn rows_are_looked_up_by_their_keys_whatever_the_planner_knows_of_the_organization() {
    let app = TestApp::start().await;
    let (known, new) = (importer(&app).await, importer(&app).await);
    let pool = app.database.pool();
    let import = async |client: &Client, rows: usize| {
        let folder = staged(client, &addresses(rows)).await;
        let (status, answer) = commit(client, &folder, json!({})).await;
        assert_eq!(status, 200, "{answer}");
        // The read models show them.
        contacts(client).await;
    };
    import(&known, 1).await;
    // One of many: to a planner that knows of few contacts all plans are alike.
    sqlx::query(
        "INSERT INTO read.contacts SELECT (jsonb_populate_record(c, jsonb_build_object( \
             'contact_id', lpad(to_hex(n), 32, '0'), 'email_key', gen_random_uuid()))).* \
         FROM read.contacts c, generate_series(1, 20000) n",
    )
    .execute(&pool)
    .await
    .unwrap();
    // An index that grew row by row is larger than one that was made at once, and dearer to the planner.
    for statement in [
        "ALTER INDEX read.contacts_email SET (fillfactor = 10)",
        "REINDEX INDEX read.contacts_email",
        "ANALYZE read.contacts",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    import(&new, 300).await;
    import(&new, 300).await;

    // What a process has counted is told at the latest when it goes.
    app.app.close().await;
    let read = eventually("the counts", async || {
        let read: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT indexrelname::text, idx_scan, idx_tup_read FROM pg_stat_user_indexes \
             WHERE schemaname = 'read' AND relname = 'contacts'",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        let looked_up: i64 = read.iter().map(|(_, scans, _)| scans).sum();
        (looked_up > 600).then_some(read)
    })
    .await;
    let by_id = read.iter().find(|(index, ..)| index == "contacts_pkey").unwrap();
    assert!(by_id.2 < 10_000, "not every contact for every row: {read:?}");
}

#[tokio::test]
async fn a_commit_that_broke_off_goes_on_at_the_next_start() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let folder = staged(&client, &addresses(1_100)).await;
    // A process that stops takes up no further chunk.
    app.app.imports.stop();
    let (status, answer) = commit(&client, &folder, json!({})).await;
    assert_eq!((status, &answer["code"]), (503, &json!("COMMIT_PAUSED")), "{answer}");

    let next = app.another().await;
    docket::imports::resume(next.clone()).await;
    let path = client.crm(&format!("imports/{folder}"));
    let shown = committed(&client, &path).await;
    assert_eq!(counts(&shown), [1_100, 0, 0]);
    next.close().await;
}

#[tokio::test]
async fn a_commit_whose_connections_are_cut_goes_on_by_itself() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let folder = staged(&client, &addresses(12_000)).await;
    let path = client.crm(&format!("imports/{folder}"));
    // So many rows are not waited for.
    assert_eq!(commit(&client, &folder, json!({})).await.0, 202);
    let pool = app.database.pool();
    for chunks in [1, 4, 8] {
        eventually("so many chunks", async || {
            let counted = "SELECT count(*) FROM ledger.events WHERE event_type = 'RowsCommitted'";
            let counted: i64 = sqlx::query_scalar(counted).fetch_one(&pool).await.unwrap();
            (counted >= chunks).then_some(())
        })
        .await;
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .execute(&pool)
        .await
        .unwrap();
    }
    let shown = committed(&client, &path).await;
    assert_eq!(counts(&shown), [12_000, 0, 0]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_leaves_nothing() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    for (query, file, status, code) in [
        ("", "", 400, "FILE_EMPTY"),
        ("", "%PDF-1.7 x", 400, "NOT_CSV"),
        ("", "alpha,beta\n1,2\n", 400, "NO_KNOWN_COLUMN"),
        ("map=Email", "Email\na@example.com\n", 400, "VALIDATION_FAILED"),
        ("map=Other:email", "Email\na@example.com\n", 400, "NO_SUCH_COLUMN"),
        ("legalBasis=because", "Email\na@example.com\n", 400, "VALIDATION_FAILED"),
        ("surplus=1", "Email\na@example.com\n", 400, "VALIDATION_FAILED"),
    ] {
        let (got, answer) = upload(&client, query, file).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{query} {file:?}: {answer}");
    }
    let path = client.crm("imports");
    let json = [("content-type", "application/json")];
    let (status, _) = client.send(Method::POST, &path, &json, b"{}".to_vec()).await.unwrap();
    assert_eq!(status, 415);
    assert_eq!(client.get(&path).await, (200, json!([])));
}

#[tokio::test]
async fn a_file_of_hardly_anything_but_invalid_rows_is_not_read_to_its_end() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let bad = |rows: usize| "Email,Last name\n".to_owned() + &"b\n".repeat(rows);
    let (status, answer) = upload(&client, "name=bad", &bad(110_000)).await;
    assert_eq!((status, &answer["code"]), (400, &json!("MOSTLY_INVALID")), "{answer}");
    let (_, folders) = client.get(&client.crm("imports")).await;
    let rows = folders[0]["rows"].as_u64().unwrap();
    assert!((100_001..101_000).contains(&rows), "{folders}");
    assert_eq!(folders[0]["state"], "staging");
    // One chunk less is a bad file, and no more than that.
    let (status, answer) = upload(&client, "name=less", &bad(100_000)).await;
    assert_eq!((status, &answer["invalid"]), (201, &json!(100_000)), "{answer}");
}

#[tokio::test]
async fn folders_are_of_one_company() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let folder = staged(&client, "Email\nada@example.com\n").await;
    let other = importer(&app).await;
    let (status, answer) = other.get(&other.crm(&format!("imports/{folder}"))).await;
    assert_eq!((status, &answer["code"]), (404, &json!("IMPORT_FOLDER_NOT_FOUND")));
    let (status, _) = commit(&other, &folder, json!({})).await;
    assert_eq!(status, 404);
    let agent = app.client(Role::Agent, client.organization).await;
    assert_eq!(upload(&agent, "", "Email\na@example.com\n").await.0, 403);
}

#[tokio::test]
async fn an_upload_that_is_asked_again_is_staged_once() {
    let app = TestApp::start().await;
    let client = importer(&app).await;
    let path = client.crm("imports?name=Fair");
    let send = async |file: &str| {
        let headers = [CSV, ("idempotency-key", "upload-1")];
        client.send(Method::POST, &path, &headers, file.as_bytes().to_vec()).await.unwrap()
    };
    let first = send("Email\nada@example.com\n").await;
    assert_eq!(first.0, 201);
    assert_eq!(send("Email\nada@example.com\n").await, first);
    assert_eq!(send("Email\nbea@example.com\n").await.0, 409);
    let (_, folders) = client.get(&client.crm("imports")).await;
    assert_eq!(folders.as_array().unwrap().len(), 1);
}
