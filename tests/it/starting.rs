//! Processes that start together on one database.

use docket::app::{App, AppError};
use docket::ledger::QueueBounds;
use futures::future::join_all;
use sqlx::Executor;

use crate::support::Database;
use crate::support::app::{held_clock, organization};
use crate::support::server::master_key;

/// Opens the product so often at once, each time with connections of its own.
async fn together(database: &Database, count: usize) -> Vec<Result<App, AppError>> {
    let open = || App::open(database.options.clone(), master_key(), held_clock(), QueueBounds::default());
    join_all((0..count).map(|_| open())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_empty_database_all_of_them_start() {
    let database = Database::create().await;
    let mut connection = database.connect().await;
    for _ in 0..3 {
        connection
            .execute(
                "DO $$ DECLARE name text; BEGIN \
                     FOR name IN SELECT nspname FROM pg_namespace \
                         WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'public') \
                     LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP; END $$",
            )
            .await
            .unwrap();
        let mut first = None;
        for app in together(&database, 5).await {
            let app = app.unwrap();
            // Each of them works, and with the same keys.
            let id = organization(&app).await;
            let before = first.get_or_insert(id);
            app.ledger.keys().organization(*before).await.unwrap();
            app.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_read_models_of_another_version_all_of_them_start() {
    let database = Database::create().await;
    let mut connection = database.connect().await;
    connection.execute("COMMENT ON SCHEMA read IS 'another version'").await.unwrap();
    for app in together(&database, 5).await {
        app.unwrap().close().await;
    }
    let version: String = sqlx::query_scalar(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'read'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(version, docket_projections::schema_version());
}
