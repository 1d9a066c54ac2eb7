//! The chain, recomputed.

use docket::app::App;
use docket::ledger::read::{self, Portion, Stored};
use docket::ledger::{canonical, chain};
use docket_aggregates::ids::OrganizationId;

/// Recomputes leaf and link of every event from what PostgreSQL gives back; answers how many there are.
pub async fn assert_chain_holds(app: &App, organization: OrganizationId) -> i64 {
    let mut connection = app.ledger.pool().acquire().await.unwrap();
    let head = read::head(&mut connection, organization).await.unwrap().unwrap();
    let portion = Portion { events: i64::from(i32::MAX), bytes: i64::MAX };
    let events = read::stretch(&mut connection, organization, 1, head, portion).await.unwrap();
    let mut link = chain::genesis(organization);
    for (position, event) in (1..).zip(&events) {
        assert_eq!(event.position, position);
        let leaf = leaf(organization, event);
        assert_eq!(leaf[..], event.leaf[..], "leaf at {position}");
        link = chain::link(&link, position, event.recorded_at, &leaf);
        assert_eq!(link[..], event.chain[..], "link at {position}");
    }
    let stored: Vec<u8> = sqlx::query_scalar("SELECT chain FROM ledger.heads WHERE organization_id = $1")
        .bind(organization.uuid())
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert_eq!((events.len() as i64, &stored[..]), (head, &link[..]));
    head
}

fn leaf(organization: OrganizationId, event: &Stored) -> chain::Hash {
    chain::leaf(&chain::LeafParts {
        organization,
        event_id: event.event_id,
        command_id: event.command_id,
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        sequence: event.sequence.unsigned_abs(),
        event_type: &event.event_type,
        event_version: &event.event_version,
        payload: &canonical::to_string(&event.payload).unwrap(),
        metadata: &canonical::to_string(&event.metadata).unwrap(),
        occurred_at: event.occurred_at,
    })
    .unwrap()
}
