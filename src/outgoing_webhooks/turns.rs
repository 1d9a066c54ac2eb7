//! Whose delivery is posted next.
//!
//! Companies take turns, and within a company its endpoints do. A look begins with the company after the one that was
//! served last and sees of each no more than it may have under way, so that how much is due to one, and for how long, is
//! nothing to the others: with a hundred companies that wait, a delivery is the hundredth to be posted at worst. How long
//! something has been due only decides within one endpoint.
//!
//! A look is bounded: so many companies, an endpoint's share of each. What was beyond it comes with the next one.

use std::collections::HashMap;
use std::time::Duration;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{OrganizationId, WebhookEndpointId};
use sqlx::Row;
use uuid::Uuid;

use super::POST_WITHIN;
use crate::app::App;
use crate::ledger::instant::Instant;
use crate::turns::in_turn;

/// Posts of one company at once, by one process.
const AT_ONCE_OF_COMPANY: i64 = 8;
/// Posts to one endpoint at once, by one process.
const AT_ONCE_EACH: i64 = 4;
/// Companies that one look sees.
pub(super) const COMPANIES: usize = 256;
/// How long a delivery is held: longer than a post may take.
const HELD: Duration = POST_WITHIN.saturating_add(Duration::from_secs(40));

/// A delivery that this process holds.
pub(super) struct Held {
    pub organization: OrganizationId,
    pub endpoint: WebhookEndpointId,
    pub event_id: Uuid,
    pub position: i64,
    pub event_type: String,
    pub attempts: i32,
    pub created_at: Timestamp,
    pub holder: Uuid,
}

/// What came of a look.
pub(super) struct Look {
    /// What is posted now.
    pub held: Vec<Held>,
    /// Whether it saw every company.
    pub whole: bool,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The company that was served last; the turn goes on after it.
    after: Uuid,
}

impl Turns {
    /// Takes deliveries that are due and that nobody holds, `free` at most, given what is under way: first those of the
    /// companies with the fewest posts under way, and of a company first those of its endpoints with the fewest.
    pub async fn look(
        &mut self,
        app: &App,
        under_way: &[(OrganizationId, WebhookEndpointId)],
        free: usize,
    ) -> Result<Look, sqlx::Error> {
        let companies =
            in_turn(app.ledger.pool(), "ledger.webhook_deliveries", self.after, COMPANIES).await?;
        let whole = companies.len() < COMPANIES;
        if companies.is_empty() {
            return Ok(Look { held: vec![], whole });
        }
        let held = take(app, &companies, under_way, free).await?;
        self.after = if held.len() < free {
            companies.last().copied().unwrap_or_default()
        } else {
            last_served(&companies, under_way, &held).unwrap_or_default()
        };
        Ok(Look { held, whole })
    }
}

async fn take(
    app: &App,
    companies: &[Uuid],
    under_way: &[(OrganizationId, WebhookEndpointId)],
    free: usize,
) -> Result<Vec<Held>, sqlx::Error> {
    let holder: Uuid = app.clock.mint();
    let (of, to): (Vec<Uuid>, Vec<Uuid>) =
        under_way.iter().map(|(organization, endpoint)| (organization.uuid(), endpoint.uuid())).unzip();
    let rows = sqlx::query(
        "WITH under_way AS MATERIALIZED (SELECT organization_id, endpoint_id, count(*) AS posts \
             FROM unnest($5::uuid[], $6::uuid[]) AS posts (organization_id, endpoint_id) GROUP BY 1, 2), \
         due AS (SELECT company.organization_id, company.turn, d.ctid, d.due_at, d.position, own.posts \
                 + row_number() OVER (PARTITION BY e.organization_id, e.endpoint_id ORDER BY d.due_at, d.position) AS nth \
             FROM unnest($7::uuid[]) WITH ORDINALITY AS company (organization_id, turn) \
             JOIN ledger.webhook_endpoints e USING (organization_id) \
             CROSS JOIN LATERAL (SELECT coalesce(sum(u.posts), 0)::bigint AS posts FROM under_way u \
                 WHERE u.organization_id = e.organization_id AND u.endpoint_id = e.endpoint_id) own \
             CROSS JOIN LATERAL (SELECT d.ctid, d.due_at, d.position FROM ledger.webhook_deliveries d \
                 WHERE d.organization_id = e.organization_id AND d.endpoint_id = e.endpoint_id AND d.state = 'due' \
                   AND d.due_at <= $3 AND (d.held_until IS NULL OR d.held_until < clock_timestamp()) \
                 ORDER BY d.due_at LIMIT greatest($8 - own.posts, 0)) d), \
         placed AS (SELECT due.ctid, due.turn, \
                 row_number() OVER (PARTITION BY organization_id ORDER BY nth, due_at, position) \
                 + (SELECT coalesce(sum(u.posts), 0)::bigint FROM under_way u \
                    WHERE u.organization_id = due.organization_id) AS place FROM due), \
         mine AS (SELECT ctid FROM placed WHERE place <= $9 ORDER BY place, turn LIMIT $4) \
         UPDATE ledger.webhook_deliveries SET holder = $1, attempts = attempts + 1, \
             held_until = clock_timestamp() + make_interval(secs => $2) \
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM mine)) AND state = 'due' \
           AND (held_until IS NULL OR held_until < clock_timestamp()) \
         RETURNING organization_id, endpoint_id, event_id, position, event_type, attempts, created_at",
    )
    .bind(holder)
    .bind(HELD.as_secs_f64())
    .bind(Instant(app.clock.now()))
    .bind(i64::try_from(free).unwrap_or(1))
    .bind(of)
    .bind(to)
    .bind(companies)
    .bind(AT_ONCE_EACH)
    .bind(AT_ONCE_OF_COMPANY)
    .fetch_all(app.ledger.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Held {
                organization: OrganizationId(row.try_get(0)?),
                endpoint: WebhookEndpointId(row.try_get(1)?),
                event_id: row.try_get(2)?,
                position: row.try_get(3)?,
                event_type: row.try_get(4)?,
                attempts: row.try_get(5)?,
                created_at: row.try_get::<Instant, _>(6)?.0,
                holder,
            })
        })
        .collect()
}

/// The company whose delivery was the last to get a place.
fn last_served(
    companies: &[Uuid],
    under_way: &[(OrganizationId, WebhookEndpointId)],
    held: &[Held],
) -> Option<Uuid> {
    let mut posts: HashMap<Uuid, usize> = HashMap::new();
    let served = held.iter().map(|held| held.organization);
    for company in under_way.iter().map(|(company, _)| *company).chain(served) {
        *posts.entry(company.uuid()).or_default() += 1;
    }
    let served = |company: &Uuid| held.iter().any(|held| held.organization.uuid() == *company);
    let placed = companies.iter().enumerate().filter(|(_, company)| served(company));
    placed.max_by_key(|(turn, company)| (posts.get(company), *turn)).map(|(_, company)| *company)
}
