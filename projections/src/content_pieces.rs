//! One row per content piece, deleted ones too: what was sent keeps its source.

use docket_aggregates::channel::Channel;
use docket_aggregates::content_piece::{ContentPieceEvent, PieceText};
use docket_aggregates::ids::{ContentPieceId, OrganizationId};
use docket_aggregates::{AnyEvent, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::recordset::{self, OneRow, Recordset};
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
    recordset::fold::<ContentPieceRow>(conn, organization, batch).await
}

impl OneRow for ContentPieceRow {
    type Event = ContentPieceEvent;

    fn id(&self) -> Uuid {
        self.piece_id.uuid()
    }

    fn event(event: &AnyEvent) -> Option<&ContentPieceEvent> {
        match event {
            AnyEvent::ContentPiece(event) => Some(event),
            _ => None,
        }
    }

    fn begun(event: &ContentPieceEvent, recorded: &Recorded) -> Option<Self> {
        let ContentPieceEvent::ContentPieceAdded { piece_id, text, source_sha256, text_sha256, .. } = event
        else {
            return None;
        };
        let mut row = Self {
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
        Some(row)
    }

    fn change(&mut self, event: &ContentPieceEvent, recorded: &Recorded) {
        self.version = recorded.version();
        self.updated_at = recorded.occurred_at;
        match event {
            ContentPieceEvent::ContentPieceAdded { .. } => (),
            ContentPieceEvent::ContentPieceChanged { text, source_sha256, text_sha256, .. } => {
                self.say(text.value());
                self.source_sha256.clone_from(source_sha256);
                self.text_sha256.clone_from(text_sha256);
            }
            ContentPieceEvent::ContentPieceDeleted { .. } => self.deleted_at = Some(recorded.occurred_at),
        }
    }
}
