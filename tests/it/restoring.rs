//! A backup, taken and restored as the documentation says.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::readme::{blocks, data_dir};
use crate::support::process::{BareServer, Served, pasted_at_home, run, run_at_home, told_at_home};
use crate::support::{Client, Database, PATIENCE};
use crate::taking_over::agent_of;

const PAGE: &str = include_str!("../../docs/operating-postgres.md");

/// The commands of a section, on that data directory.
fn commands(section: &str, home: &Path) -> Vec<String> {
    let (_, section) = PAGE.split_once(&format!("\n### {section}\n")).expect("the page has the section");
    let section = section.split("\n### ").next().unwrap();
    let home = home.to_str().unwrap();
    blocks(section, "sh").into_iter().map(|lines| lines.replace("DATA_DIR", home)).collect()
}

/// Every key, every check and every index there is, of every table.
async fn structure(home: &Path) -> Vec<String> {
    let options = PgConnectOptions::new_without_pgpass().socket(home.join("postgres"));
    let mut connection =
        PgConnection::connect_with(&options.username("docket").database("docket")).await.unwrap();
    let rows = sqlx::query_scalar(
        "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
         UNION ALL SELECT schemaname || '.' || tablename || ' ' || indexdef FROM pg_indexes ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    rows
}

async fn campaigns(client: &Client) -> Value {
    client.done("list_campaigns", json!({})).await["campaigns"].clone()
}

async fn is_paused(home: &Path, client: &Client) -> bool {
    let listed = told_at_home(home, &["organization", "list"]).await;
    let listed =
        listed.as_array().unwrap().iter().find(|one| one["id"] == json!(client.organization)).cloned();
    listed.unwrap()["paused"].as_bool().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_as_the_documentation_says() {
    let folder = data_dir();
    let (home, new_home) = (folder.path().join("old"), folder.path().join("new"));
    let served = Served::at_home(&home).await;
    let mut clients = vec![];
    for slug in ["lyon", "nantes"] {
        let client = agent_of(&served, &home, slug).await;
        client.done("create_outbound_campaign", json!({ "name": slug })).await;
        clients.push((campaigns(&client).await, client));
    }
    let [dump] = commands("Backups", &home).try_into().unwrap();
    let dumped = pasted_at_home(&home, &dump).await;
    assert!(dumped.status.success(), "{dumped:?}");
    let before = structure(&home).await;
    assert!(served.terminate(PATIENCE).await.success());

    let [server, restore, check] = commands("Restoring a backup", &new_home).try_into().unwrap();
    assert_eq!(server, "docket postgres");
    let server = BareServer::at_home(&new_home).await;
    let socket = new_home.join("postgres");
    assert_eq!(server.told, format!("host='{}' port=5432 user=docket dbname=docket", socket.display()));
    std::fs::copy(home.join("docket.dump"), new_home.join("docket.dump")).unwrap();
    let restored = pasted_at_home(&new_home, &restore).await;
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(structure(&new_home).await, before);
    for (_, client) in &clients {
        assert!(is_paused(&new_home, client).await, "{restored:?}");
    }
    assert!(server.terminate().await.success());

    let again = run_at_home(&new_home, &["organization", "pause", "--all", "--reason", "again"]).await;
    let again = String::from_utf8(again.stdout).unwrap();
    assert_eq!(again.matches("paused, as before").count(), clients.len(), "{again}");
    let served = Served::at_home(&new_home).await;
    for (before, client) in &clients {
        let organization = client.organization.to_string();
        let verified = pasted_at_home(&new_home, &check.replace("ID", &organization)).await;
        assert!(verified.status.success(), "{verified:?}");
        let client = client.at(served.address);
        assert_eq!(&campaigns(&client).await, before);
        let resumed =
            told_at_home(&new_home, &["organization", "resume", "--organization", &organization]).await;
        assert_eq!((&resumed["paused"], &resumed["changed"]), (&json!(false), &json!(true)));
        assert!(!is_paused(&new_home, &client).await);
    }
    // Beside a process that works on the database nothing is restored.
    let refused = run_at_home(&new_home, &["postgres"]).await;
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop that one first"), "{refused:?}");
}

#[tokio::test]
async fn only_the_private_server_is_run_and_only_what_there_is_is_paused() {
    let database = Database::create().await;
    for (arguments, said) in [
        (&["postgres"][..], "DATABASE_URL is set"),
        (&["organization", "pause", "--all", "--reason", " "], "--reason must have 1 to 500 characters"),
        (
            &[
                "organization",
                "pause",
                "--organization",
                "0190a0f0-0000-7000-8000-00000000000f",
                "--reason",
                "a",
            ],
            "does not exist",
        ),
        (
            &["organization", "resume", "--organization", "00000000-0000-0000-0000-000000000000"],
            "does not exist",
        ),
    ] {
        let refused = run(&database, arguments).await;
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!((refused.status.code(), told.contains(said)), (Some(1), true), "{arguments:?}: {told}");
    }
}
