//! Content pieces: taking them in, changing them, taking them out of use.

use docket_aggregates::Timestamp;
use docket_aggregates::channel::Channel;
use docket_aggregates::content_piece::{
    ContentPath, ContentPiece, ContentPieceCommand, ContentPieceError, ContentPiecePatch, PieceText,
};
use docket_aggregates::ids::{ContentPieceId, OrganizationId};
use docket_projections::content_pieces::{self as rows, ContentPieceFilter, ContentPieceRow};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::ledger::AppendError;
use crate::ledger::keys::OrganizationKeys;
use crate::readside::Consistency;
use crate::service::{Call, Done, ServiceError};
use crate::shapes::{Instant, OneOf};

/// Why a content piece is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentPieceRefusal {
    /// The piece refuses.
    #[error(transparent)]
    Piece(#[from] ContentPieceError),
    /// Another living piece stands at the path.
    #[error("another content piece stands at this sourcePath")]
    PathTaken(Option<ContentPieceId>),
}

/// A content piece as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContentPieceView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub id: ContentPieceId,
    /// The company.
    #[schemars(with = "Uuid")]
    pub company_id: OrganizationId,
    /// Its title; null once erased.
    pub title: Option<String>,
    /// What it is about.
    pub summary: Option<String>,
    /// Where it stands; null once erased.
    pub source_path: Option<String>,
    /// SHA-256 of the file.
    pub source_sha256: String,
    /// SHA-256 of the text that the board vouches for.
    pub text_sha256: Option<String>,
    /// Tags, as they were written.
    pub tags: Vec<String>,
    /// The channel that it is written for.
    #[schemars(with = "Option<OneOf<Channel>>")]
    pub channel_intent: Option<Channel>,
    /// The niche that it is written for.
    pub niche: Option<String>,
    /// The head of the file.
    pub frontmatter: Option<String>,
    /// When it was added.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schemars(with = "Instant")]
    pub updated_at: Timestamp,
    /// When it was taken out of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub deleted_at: Option<Timestamp>,
}

impl ContentPieceView {
    /// The view of a row.
    pub fn of(organization: OrganizationId, row: ContentPieceRow) -> Self {
        Self {
            id: row.piece_id,
            company_id: organization,
            title: row.title,
            summary: row.summary,
            source_path: row.source_path,
            source_sha256: row.source_sha256,
            text_sha256: row.text_sha256,
            tags: row.tags,
            channel_intent: row.channel_intent,
            niche: row.niche,
            frontmatter: row.frontmatter,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }
}

/// A piece as it is handed in; its path is not read yet.
#[derive(Clone, Debug)]
pub struct NewContentPiece {
    /// What is said of it.
    pub text: PieceText,
    /// SHA-256 of the file.
    pub source_sha256: String,
    /// SHA-256 of the text that the board vouches for.
    pub text_sha256: Option<String>,
}

/// The keyed hash under which a path is claimed.
fn path_key(keys: &OrganizationKeys, path: &ContentPath) -> String {
    hex::encode(keys.hash("content path", &[path.as_str()]))
}

fn read_path(text: &str) -> Result<ContentPath, ServiceError<ContentPieceRefusal>> {
    ContentPath::parse(text).map_err(|error| ServiceError::Refused(ContentPieceError::Path(error).into()))
}

/// Adds a piece under a fresh id.
pub async fn add(
    app: &App,
    call: &Call,
    new: NewContentPiece,
) -> Result<Done<ContentPieceView>, ServiceError<ContentPieceRefusal>> {
    let organization = call.organization;
    let keys = app.ledger.keys().organization(organization).await.map_err(AppendError::from)?;
    let path = read_path(&new.text.source_path)?;
    let path_key = path_key(&keys, &path);
    let NewContentPiece { text, source_sha256, text_sha256 } = new;
    let text = PieceText { source_path: path.clone().into(), ..text };
    let piece_id: ContentPieceId = app.clock.mint();
    let answer = ContentPieceView {
        id: piece_id,
        company_id: organization,
        title: Some(text.title.clone()),
        summary: text.summary.clone(),
        source_path: Some(text.source_path.clone()),
        source_sha256: source_sha256.clone(),
        text_sha256: text_sha256.clone(),
        tags: text.tags.clone(),
        channel_intent: text.channel_intent,
        niche: text.niche.clone(),
        frontmatter: text.frontmatter.clone(),
        created_at: call.at,
        updated_at: call.at,
        deleted_at: None,
    };
    let command = ContentPieceCommand::Add { piece_id, text, source_sha256, text_sha256, path_key };
    order(app, call, piece_id, command, answer, Some(&path)).await
}

/// What is to change of a piece; what is not said stays, and `Some(None)` clears. The path is not read yet.
#[derive(Clone, Debug, Default)]
pub struct ContentPieceChange {
    /// The new path.
    pub source_path: Option<String>,
    /// All else.
    pub patch: ContentPiecePatch,
}

/// Changes what is given and keeps the rest.
pub async fn change(
    app: &App,
    call: &Call,
    piece_id: ContentPieceId,
    change: ContentPieceChange,
) -> Result<Done<ContentPieceView>, ServiceError<ContentPieceRefusal>> {
    let organization = call.organization;
    let keys = app.ledger.keys().organization(organization).await.map_err(AppendError::from)?;
    let path = change.source_path.as_deref().map(read_path).transpose()?;
    let mut patch = change.patch;
    patch.source_path = path.clone().map(|path| (path.clone(), path_key(&keys, &path)));
    let before = shown(app, call, piece_id).await?;
    let answer = ContentPieceView {
        title: patch.title.clone().or(before.title),
        summary: patch.summary.clone().unwrap_or(before.summary),
        source_path: path.as_ref().map(|path| path.to_string()).or(before.source_path),
        source_sha256: patch.source_sha256.clone().unwrap_or(before.source_sha256),
        text_sha256: patch.text_sha256.clone().unwrap_or(before.text_sha256),
        tags: patch.tags.clone().unwrap_or(before.tags),
        channel_intent: patch.channel_intent.unwrap_or(before.channel_intent),
        niche: patch.niche.clone().unwrap_or(before.niche),
        frontmatter: patch.frontmatter.clone().unwrap_or(before.frontmatter),
        updated_at: call.at,
        ..before
    };
    order(app, call, piece_id, ContentPieceCommand::Change(Box::new(patch)), answer, path.as_ref()).await
}

/// Takes a piece out of use; its path is free again.
pub async fn delete(
    app: &App,
    call: &Call,
    piece_id: ContentPieceId,
) -> Result<Done<ContentPieceView>, ServiceError<ContentPieceRefusal>> {
    let before = shown(app, call, piece_id).await?;
    let answer = ContentPieceView { updated_at: call.at, deleted_at: Some(call.at), ..before };
    order(app, call, piece_id, ContentPieceCommand::Delete, answer, None).await
}

async fn shown(
    app: &App,
    call: &Call,
    piece_id: ContentPieceId,
) -> Result<ContentPieceView, ServiceError<ContentPieceRefusal>> {
    let mut view = app.readside.view(call.organization, Consistency::STRONG).await?;
    let row = rows::get(&mut view, call.organization, piece_id).await?;
    let row = row.filter(|row| row.deleted_at.is_none());
    let row = row.ok_or(ServiceError::Refused(ContentPieceError::Unknown.into()))?;
    Ok(ContentPieceView::of(call.organization, row))
}

async fn order(
    app: &App,
    call: &Call,
    piece_id: ContentPieceId,
    command: ContentPieceCommand,
    answer: ContentPieceView,
    path: Option<&ContentPath>,
) -> Result<Done<ContentPieceView>, ServiceError<ContentPieceRefusal>> {
    let decided = app
        .ledger
        .order::<ContentPiece>(
            call.organization,
            piece_id,
            call.command_id,
            call.at,
            &call.origin,
            call.request(&answer)?,
            command,
        )
        .await;
    match decided {
        Ok(decided) => Ok(Done { entity: answer, appended: decided.appended }),
        Err(error) => {
            let error: ServiceError<ContentPieceRefusal> = error.into();
            match (error, path) {
                (
                    ServiceError::Append(AppendError::Taken(docket_aggregates::claims::Scope::ContentPath)),
                    Some(path),
                ) => {
                    let holder = at_path(app, call, path).await?;
                    Err(ServiceError::Refused(ContentPieceRefusal::PathTaken(holder)))
                }
                (error, _) => Err(error),
            }
        }
    }
}

async fn at_path(
    app: &App,
    call: &Call,
    path: &ContentPath,
) -> Result<Option<ContentPieceId>, ServiceError<ContentPieceRefusal>> {
    let mut view = app.readside.view(call.organization, Consistency::STRONG).await?;
    let filter = ContentPieceFilter { source_path: Some(path.to_string()), ..Default::default() };
    let page = rows::list(&mut view, call.organization, &filter, None, 1).await?;
    Ok(page.rows.first().map(|row| row.piece_id))
}
