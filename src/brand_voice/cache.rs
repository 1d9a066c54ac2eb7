//! Verdicts as they are kept: sealed, for a month, under a keyed hash of checker and text.
//!
//! A row without a body is a turn: whoever wrote it asks the checker, and the others wait for its verdict, until the
//! turn is over by the database's clock. It is short, and its holder renews it for as long as the checker is asked: that of a
//! process that was killed is taken over soon.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::OrganizationId;
use sha2::{Digest, Sha256};
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::{Assessment, BrandVoiceError, Checked};
use crate::clock::Clock;
use crate::ledger::instant::Instant;
use crate::ledger::keys::OrganizationKeys;

/// How long a verdict is kept.
const KEPT_MILLIS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// How long a turn lasts that its holder does not renew. Whoever takes it over has time left for its own question.
const TURN: Duration = Duration::from_secs(10);
/// How often its holder renews it.
const RENEWAL: Duration = Duration::from_secs(2);

/// Where the verdict of one checker on one text is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub organization: OrganizationId,
    key_hash: [u8; 32],
}

impl Place {
    pub fn of(organization: OrganizationId, keys: &OrganizationKeys, checker: &str, text: &str) -> Self {
        let digest = hex::encode(Sha256::digest(text.as_bytes()));
        Self { organization, key_hash: keys.hash("brand voice", &[checker, &digest]) }
    }

    fn bound_to(&self) -> Vec<u8> {
        [b"docket/1 brand voice".as_slice(), self.organization.uuid().as_bytes(), &self.key_hash].concat()
    }
}

/// A verdict that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub assessment: Arc<Assessment>,
    pub checked_at: Timestamp,
    /// When an author first asked for it.
    pub asked_at: Option<Timestamp>,
    /// Whether another process had it judged.
    pub of_another: bool,
}

impl Kept {
    pub fn told(&self, checker_version: String, cached: bool) -> Checked {
        Checked {
            assessment: self.assessment.clone(),
            checker_version,
            checked_at: self.checked_at,
            asked_at: self.asked_at,
            cached,
        }
    }
}

/// Whose turn it is to ask the checker.
pub(super) enum Turn {
    /// Ours, under this id.
    Mine(Uuid),
    /// Another process's.
    Others,
    /// Nobody's: it was asked.
    Judged(Box<Kept>),
}

/// The verdict on a text, if there is one.
pub(super) async fn find(
    pool: &PgPool,
    keys: &OrganizationKeys,
    place: &Place,
    now: Timestamp,
) -> Result<Option<Kept>, BrandVoiceError> {
    let row = sqlx::query(
        "SELECT body, checked_at, asked_at FROM ledger.brand_voice \
         WHERE organization_id = $1 AND key_hash = $2 AND body IS NOT NULL AND expires_at > $3",
    )
    .bind(place.organization.uuid())
    .bind(place.key_hash.as_slice())
    .bind(Instant(now))
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let opened = keys.answers().open(row.try_get(0)?, &place.bound_to());
    let Some(assessment) = opened.ok().and_then(|text| serde_json::from_slice(&text).ok()) else {
        tracing::error!("a verdict on a draft is damaged");
        return Err(BrandVoiceError::Unavailable);
    };
    Ok(Some(Kept {
        assessment: Arc::new(assessment),
        checked_at: row.try_get::<Instant, _>(1)?.0,
        asked_at: row.try_get::<Option<Instant>, _>(2)?.map(|at| at.0),
        of_another: false,
    }))
}

/// Takes the turn to ask the checker, if nobody has it and there is no verdict.
pub(super) async fn take_turn(
    pool: &PgPool,
    keys: &OrganizationKeys,
    place: &Place,
    clock: &Clock,
) -> Result<Turn, BrandVoiceError> {
    let holder: Uuid = clock.mint();
    let now = clock.now();
    let mine = sqlx::query(
        "INSERT INTO ledger.brand_voice AS kept (organization_id, key_hash, holder, held_until, expires_at) \
         VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), $5) \
         ON CONFLICT (organization_id, key_hash) DO UPDATE \
         SET holder = EXCLUDED.holder, held_until = EXCLUDED.held_until, expires_at = EXCLUDED.expires_at, \
             body = NULL, checked_at = NULL, asked_at = NULL \
         WHERE kept.expires_at <= $6 OR (kept.body IS NULL AND kept.held_until < clock_timestamp())",
    )
    .bind(place.organization.uuid())
    .bind(place.key_hash.as_slice())
    .bind(holder)
    .bind(TURN.as_secs_f64())
    .bind(Instant(now.plus_millis(KEPT_MILLIS)))
    .bind(Instant(now))
    .execute(pool)
    .await?;
    if mine.rows_affected() > 0 {
        return Ok(Turn::Mine(holder));
    }
    Ok(match find(pool, keys, place, now).await? {
        Some(kept) => Turn::Judged(Box::new(kept)),
        None => Turn::Others,
    })
}

/// Renews a turn again and again, until it is dropped. Where that fails, another process may ask as well, which costs a call.
pub(super) async fn renew(pool: &PgPool, place: &Place, holder: Uuid) -> Infallible {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let renewed = sqlx::query(
            "UPDATE ledger.brand_voice SET held_until = clock_timestamp() + make_interval(secs => $4) \
             WHERE organization_id = $1 AND key_hash = $2 AND holder = $3 AND body IS NULL",
        )
        .bind(place.organization.uuid())
        .bind(place.key_hash.as_slice())
        .bind(holder)
        .bind(TURN.as_secs_f64())
        .execute(pool)
        .await;
        if renewed.is_err() {
            tracing::warn!("the turn of a check could not be renewed");
        }
    }
}

/// Keeps the verdict of whoever has the turn.
pub(super) async fn keep(
    pool: &PgPool,
    keys: &OrganizationKeys,
    place: &Place,
    holder: Uuid,
    assessment: &Assessment,
    checked_at: Timestamp,
    asked_at: Option<Timestamp>,
) -> Result<(), sqlx::Error> {
    let body = serde_json::to_vec(assessment).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "UPDATE ledger.brand_voice SET body = $4, checked_at = $5, asked_at = $6 \
         WHERE organization_id = $1 AND key_hash = $2 AND holder = $3 AND body IS NULL",
    )
    .bind(place.organization.uuid())
    .bind(place.key_hash.as_slice())
    .bind(holder)
    .bind(keys.answers().seal(&body, &place.bound_to()))
    .bind(Instant(checked_at))
    .bind(asked_at.map(Instant))
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives the turn back without a verdict. If that fails, the turn ends by itself.
pub(super) async fn let_go(pool: &PgPool, place: &Place, holder: Uuid) {
    let released = sqlx::query(
        "DELETE FROM ledger.brand_voice \
         WHERE organization_id = $1 AND key_hash = $2 AND holder = $3 AND body IS NULL",
    )
    .bind(place.organization.uuid())
    .bind(place.key_hash.as_slice())
    .bind(holder)
    .execute(pool)
    .await;
    if released.is_err() {
        tracing::warn!("the turn of a check could not be given back");
    }
}

/// Notes that an author asked for a verdict that until now only Docket itself had asked for.
pub(super) async fn asked(pool: &PgPool, place: &Place, at: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE ledger.brand_voice SET asked_at = $3 \
         WHERE organization_id = $1 AND key_hash = $2 AND asked_at IS NULL",
    )
    .bind(place.organization.uuid())
    .bind(place.key_hash.as_slice())
    .bind(Instant(at))
    .execute(pool)
    .await?;
    Ok(())
}
