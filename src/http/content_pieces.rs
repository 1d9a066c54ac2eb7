//! Content pieces of a company.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::channel::Channel;
use docket_aggregates::content_piece::{
    ContentPath, ContentPieceError, ContentPiecePatch, FRONTMATTER_BYTES_MAX, PieceText, SUMMARY_BYTES_MAX,
    TITLE_BYTES_MAX,
};
use docket_aggregates::ids::ContentPieceId;
use docket_aggregates::labels::{TAG_BYTES_MAX, TAGS_MAX};
use docket_projections::Keyset;
use docket_projections::content_pieces::{self as rows, ContentPieceFilter};
use serde_json::{Value, json};

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{
    Body, Fields, Problem, as_given, id, in_bytes, integer, line, lines, list as list_of, one_of, path_id,
};
use super::outboxes::niche;
use super::reply;
use super::spec::{Spec, object, schema};
use crate::content_pieces::{
    self, ContentPieceChange, ContentPieceRefusal, ContentPieceView, NewContentPiece,
};
use crate::readside::Consistency;
use crate::shapes;

/// Bytes of a path that is read at all.
const PATH_MAX: usize = 1_024;

impl From<ContentPieceRefusal> for ApiError {
    fn from(refusal: ContentPieceRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            ContentPieceRefusal::PathTaken(holder) => {
                Self::conflict("PATH_TAKEN", message).with(json!({ "existingId": holder }))
            }
            ContentPieceRefusal::Piece(error) => match error {
                ContentPieceError::Unknown => Self::not_found("CONTENT_PIECE_NOT_FOUND", "content piece"),
                ContentPieceError::AlreadyAdded => Self::conflict("ALREADY_ADDED", message),
                ContentPieceError::Erased => Self::unprocessable("ERASED", message),
                ContentPieceError::Title => Self::field("title", "TOO_LONG", message),
                ContentPieceError::Summary => Self::field("summary", "TOO_LONG", message),
                ContentPieceError::Frontmatter => Self::field("frontmatter", "TOO_LONG", message),
                ContentPieceError::NotASha256(field) => Self::field(field, "INVALID_SHA256", message),
                ContentPieceError::Path(_) => Self::field("sourcePath", "INVALID_PATH", message),
                ContentPieceError::Label(_) => Self::field("tags", "INVALID_LABEL", message),
            },
        }
    }
}

/// 64 hexadecimal digits of either case; kept in lower case.
pub fn sha256(value: Value) -> Result<String, Problem> {
    let text = line(64)(value)?.to_ascii_lowercase();
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(text) } else { Err(("INVALID_SHA256", "must be 64 hexadecimal digits".into())) }
}

/// A tag: its size is counted in bytes.
pub fn tag(value: Value) -> Result<String, Problem> {
    in_bytes(TAG_BYTES_MAX, line(usize::MAX))(value)
}

/// As it was written: whether it is a path is judged by the piece, with its reason.
fn path(value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) if text.len() <= PATH_MAX => Ok(text),
        Value::String(_) => Err(("TOO_LONG", format!("must have at most {PATH_MAX} bytes"))),
        _ => Err(("WRONG_TYPE", "must be a string".into())),
    }
}

/// The shape of a SHA-256 in an input.
pub fn sha256_shape() -> Value {
    json!({ "type": "string", "pattern": "^[0-9A-Fa-f]{64}$" })
}

fn path_shape() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 1024 })
}

fn tags_shape() -> Value {
    shapes::list(TAGS_MAX, shapes::line(TAG_BYTES_MAX))
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List the content pieces in use, the oldest first")
        .query("niche", shapes::slug(), "Those written for this niche.")
        .query("channelIntent", shapes::one_of::<Channel>(), "Those written for this channel.")
        .query("sourcePath", path_shape(), "The one at this path.")
        .page(schema::<ContentPieceView>(), 100, shapes::id(), "The id of the last one seen.")
}

/// What the reference says of [`add`].
pub fn adding() -> Spec {
    Spec::new("Add a content piece; sizes are counted in bytes")
        .body(object([
            ("title!", shapes::line(TITLE_BYTES_MAX)),
            ("summary", shapes::or_null(shapes::lines(SUMMARY_BYTES_MAX))),
            ("sourcePath!", path_shape()),
            ("sourceSha256!", sha256_shape()),
            ("textSha256", shapes::or_null(sha256_shape())),
            ("tags", shapes::or_null(tags_shape())),
            ("channelIntent", shapes::or_null(shapes::one_of::<Channel>())),
            ("niche", shapes::or_null(shapes::slug())),
            ("frontmatter", shapes::or_null(shapes::as_given(FRONTMATTER_BYTES_MAX))),
        ]))
        .answers(201, "The piece", schema::<ContentPieceView>())
}

/// What the reference says of [`change`].
pub fn changing() -> Spec {
    Spec::new("Change a content piece; null clears what can be missing")
        .patch([
            ("title", shapes::line(TITLE_BYTES_MAX)),
            ("summary", shapes::or_null(shapes::lines(SUMMARY_BYTES_MAX))),
            ("sourcePath", path_shape()),
            ("sourceSha256", sha256_shape()),
            ("textSha256", shapes::or_null(sha256_shape())),
            ("tags", tags_shape()),
            ("channelIntent", shapes::or_null(shapes::one_of::<Channel>())),
            ("niche", shapes::or_null(shapes::slug())),
            ("frontmatter", shapes::or_null(shapes::as_given(FRONTMATTER_BYTES_MAX))),
        ])
        .answers(200, "The piece", schema::<ContentPieceView>())
}

/// What the reference says of [`delete`].
pub fn deleting() -> Spec {
    Spec::new("Take a content piece out of use").answers(
        200,
        "The piece as it was",
        schema::<ContentPieceView>(),
    )
}

/// `GET .../crm/content-pieces?niche=&channelIntent=&sourcePath=&limit=&after=`: those in use, the oldest first.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let filter = ContentPieceFilter {
        niche: fields.optional("niche", niche),
        channel_intent: fields.optional("channelIntent", one_of::<Channel>),
        // Nothing stands at what is no path.
        source_path: fields
            .optional("sourcePath", |value| match path(value)? {
                text if text.is_empty() => Err(("EMPTY", "must not be empty".into())),
                text => Ok(text),
            })
            .map(|text| ContentPath::parse(&text).map_or(text, String::from)),
    };
    let limit = fields.optional("limit", integer(1, 100)).unwrap_or(100);
    let after = fields.optional("after", id::<ContentPieceId>).map(Keyset::id);
    fields.finish()?;
    let mut view = state.app.readside.view(admitted.organization, Consistency::STRONG).await?;
    let limit = u32::try_from(limit).unwrap_or(100);
    let page = rows::list(&mut view, admitted.organization, &filter, after.as_ref(), limit).await?;
    let next = page.next.as_ref().map(|next| reply::next_page(&uri, limit, next.id));
    let pieces: Vec<ContentPieceView> =
        page.rows.into_iter().map(|row| ContentPieceView::of(admitted.organization, row)).collect();
    Ok(reply::page(&pieces, uri.path(), next))
}

/// `POST .../crm/content-pieces`: `{title, summary?, sourcePath, sourceSha256, textSha256?, tags?, channelIntent?, niche?,
/// frontmatter?}`.
pub async fn add(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let text = PieceText {
        title: fields.required("title", in_bytes(TITLE_BYTES_MAX, line(usize::MAX))),
        summary: fields.optional("summary", in_bytes(SUMMARY_BYTES_MAX, lines(usize::MAX))),
        source_path: fields.required("sourcePath", path),
        tags: fields.optional("tags", list_of(TAGS_MAX, tag)).unwrap_or_default(),
        channel_intent: fields.optional("channelIntent", one_of::<Channel>),
        niche: fields.optional("niche", niche),
        frontmatter: fields.optional("frontmatter", in_bytes(FRONTMATTER_BYTES_MAX, as_given(usize::MAX))),
    };
    let source_sha256 = fields.required("sourceSha256", sha256);
    let text_sha256 = fields.optional("textSha256", sha256);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    let new = NewContentPiece { text, source_sha256, text_sha256 };
    settle(content_pieces::add(&state.app, &call, new).await, StatusCode::CREATED)
}

/// `PATCH .../crm/content-pieces/{pieceId}`: any of the fields; `null` clears what can be missing.
pub async fn change(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, piece)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let piece: ContentPieceId = path_id("pieceId", &piece)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    fields.not_empty();
    let change = ContentPieceChange {
        source_path: fields.patched("sourcePath", path),
        patch: ContentPiecePatch {
            title: fields.patched("title", in_bytes(TITLE_BYTES_MAX, line(usize::MAX))),
            summary: fields.clearable("summary", in_bytes(SUMMARY_BYTES_MAX, lines(usize::MAX))),
            source_path: None,
            source_sha256: fields.patched("sourceSha256", sha256),
            text_sha256: fields.clearable("textSha256", sha256),
            tags: fields.patched("tags", list_of(TAGS_MAX, tag)),
            channel_intent: fields.clearable("channelIntent", one_of::<Channel>),
            niche: fields.clearable("niche", niche),
            frontmatter: fields
                .clearable("frontmatter", in_bytes(FRONTMATTER_BYTES_MAX, as_given(usize::MAX))),
        },
    };
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(content_pieces::change(&state.app, &call, piece, change).await, StatusCode::OK)
}

/// `DELETE .../crm/content-pieces/{pieceId}`: soft; its path is free again.
pub async fn delete(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, piece)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let piece: ContentPieceId = path_id("pieceId", &piece)?;
    let call = admitted.call(&Value::Null)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(content_pieces::delete(&state.app, &call, piece).await, StatusCode::OK)
}
