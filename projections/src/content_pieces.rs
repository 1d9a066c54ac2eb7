//! One row per content piece, deleted ones too: what was sent keeps its source.

use std::collections::BTreeMap;

use docket_aggregates::channel::Channel;
use docket_aggregates::content_piece::{ContentPieceEvent, PieceText};
use docket_aggregates::ids::{ContentPieceId, OrganizationId};
use docket_aggregates::{AnyEvent, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::recordset::{self, Recordset};
use crate::{FoldError, Keyset, Page, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "content_pieces", tables: &["content_pieces"] };

/// A content piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentPieceRow {
    /// The piece.
    pub piece_id: ContentPieceId,
    /// Its title; none once erased.
    pub title: Option<String>,
    /// What it is about.
    pub summary: Option<String>,
    /// Where it stands; none once erased.
    pub source_path: Option<String>,
    /// Tags, as they were written.
    pub tags: Vec<String>,
    /// The channel that it is written for.
    pub channel_intent: Option<Channel>,
    /// The niche that it is written for.
    pub niche: Option<String>,
    /// The head of the file.
    pub frontmatter: Option<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub source_sha256: String,
    /// SHA-256 of the text that the board vouches for, in hexadecimal.
    pub text_sha256: Option<String>,
    /// Events of its stream.
    pub version: u64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was taken out of use.
    pub deleted_at: Option<Timestamp>,
}

impl Recordset for ContentPieceRow {
    const TABLE: &'static str = "content_pieces";
    const KEY: &'static str = "piece_id";
}

impl ContentPieceRow {
    fn say(&mut self, text: Option<&PieceText>) {
        self.title = text.map(|text| text.title.clone());
        self.summary = text.and_then(|text| text.summary.clone());
        self.source_path = text.map(|text| text.source_path.clone());
        self.tags = text.map(|text| text.tags.clone()).unwrap_or_default();
        self.channel_intent = text.and_then(|text| text.channel_intent);
        self.niche = text.and_then(|text| text.niche.clone());
        self.frontmatter = text.and_then(|text| text.frontmatter.clone());
    }
}

/// Which pieces are meant; all that is said must hold.
#[derive(Clone, Debug, Default)]
pub struct ContentPieceFilter {
    /// Written for this niche.
    pub niche: Option<String>,
    /// Written for this channel.
    pub channel_intent: Option<Channel>,
    /// At this path, composed.
    pub source_path: Option<String>,
}

/// One piece, also a deleted one.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    piece: ContentPieceId,
) -> sqlx::Result<Option<ContentPieceRow>> {
    Ok(recordset::by_ids(conn, organization, &[piece.uuid()]).await?.pop())
}

/// The pieces in use, the oldest first.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &ContentPieceFilter,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<Page<ContentPieceRow>> {
    let mut query = recordset::of::<ContentPieceRow>(organization);
    query.push(" AND t.deleted_at IS NULL");
    if let Some(niche) = &filter.niche {
        query.push(" AND t.niche = ").push_bind(niche.clone());
    }
    if let Some(channel) = filter.channel_intent {
        query.push(" AND t.channel_intent = ").push_bind(channel.name());
    }
    if let Some(path) = &filter.source_path {
        query.push(" AND t.source_path = ").push_bind(path.clone());
    }
    if let Some(after) = after {
        query.push(" AND t.piece_id > ").push_bind(after.id);
    }
    query.push(" ORDER BY t.piece_id LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = recordset::read(conn, query).await?;
    Ok(Page::of(rows, limit, |row: &ContentPieceRow| Keyset::id(row.piece_id)))
}

/// Folds the batch into pieces.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let touched: Vec<Uuid> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::ContentPiece(_)))
        .map(|recorded| recorded.aggregate_id)
        .collect();
    if touched.is_empty() {
        return Ok(());
    }
    let before = recordset::by_ids(conn, organization, &touched).await?;
    recordset::write(conn, organization, plan(batch, before)?.into_values()).await
}

fn plan(
    batch: &[Recorded],
    before: Vec<ContentPieceRow>,
) -> Result<BTreeMap<ContentPieceId, ContentPieceRow>, FoldError> {
    let mut rows: BTreeMap<ContentPieceId, ContentPieceRow> =
        before.into_iter().map(|row| (row.piece_id, row)).collect();
    for recorded in batch {
        let AnyEvent::ContentPiece(event) = &recorded.event else { continue };
        if let ContentPieceEvent::ContentPieceAdded { piece_id, text, source_sha256, text_sha256, .. } = event
        {
            let mut row = ContentPieceRow {
                piece_id: *piece_id,
                title: None,
                summary: None,
                source_path: None,
                tags: Vec::new(),
                channel_intent: None,
                niche: None,
                frontmatter: None,
                source_sha256: source_sha256.clone(),
                text_sha256: text_sha256.clone(),
                version: recorded.version(),
                created_at: recorded.occurred_at,
                updated_at: recorded.occurred_at,
                deleted_at: None,
            };
            row.say(text.value());
            rows.insert(*piece_id, row);
            continue;
        }
        let row = rows.get_mut(&ContentPieceId(recorded.aggregate_id)).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        match event {
            ContentPieceEvent::ContentPieceAdded { .. } => (),
            ContentPieceEvent::ContentPieceChanged { text, source_sha256, text_sha256, .. } => {
                row.say(text.value());
                row.source_sha256 = source_sha256.clone();
                row.text_sha256 = text_sha256.clone();
            }
            ContentPieceEvent::ContentPieceDeleted { .. } => row.deleted_at = Some(recorded.occurred_at),
        }
    }
    Ok(rows)
}
