//! Import folders of a company: upload, look, commit.

use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use docket_aggregates::contact::LegalBasis;
use docket_aggregates::ids::ImportId;
use docket_aggregates::import::{ImportError, ImportStage, OnDuplicate, RowFault};
use docket_aggregates::{Timestamp, ids::OrganizationId};
use docket_projections::import_invalid_rows;
use docket_projections::imports::{self as rows, ImportRow};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub mod specs;

use super::HttpState;
use super::call::{Admitted, replay, settle, wait_preferred};
use super::error::ApiError;
use super::input::{Body, Fields, Problem, among, boolean, id, integer, line, one_of, path_id};
use super::reply::{self, Recorded};
use crate::imports::reader::{DEFAULT_LIMIT, MapOverrides, Pace, Spool, receive};
use crate::imports::{self, Column, ImportRefusal, Label, Outcome, Upload};
use crate::readside::{Consistency, ReadSideError};
use crate::shapes::{Instant, OneOf};

/// How slow an upload may be: 4 KiB a second, which the oldest mobile networks carry.
const PACE: Pace = Pace { within: Duration::from_secs(30), bytes: 120 << 10 };
/// When to come again for a place to upload.
const PLACE_FREE_IN: Duration = Duration::from_secs(5);
/// Up to so many rows a commit is waited for.
const ROWS_WAITED_FOR: u64 = 10_000;
/// How long it is waited for then.
const WAIT: Duration = Duration::from_secs(60);

const ON_DUPLICATE: &[(&str, OnDuplicate)] = &[("skip", OnDuplicate::Skip), ("update", OnDuplicate::Update)];

impl From<ImportRefusal> for ApiError {
    fn from(refusal: ImportRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            ImportRefusal::Folder(ImportError::Unknown) => {
                Self::not_found("IMPORT_FOLDER_NOT_FOUND", "import folder")
            }
            ImportRefusal::Folder(ImportError::NotStaged) => Self::unprocessable("NOT_STAGED", message),
            ImportRefusal::Folder(ImportError::AlreadyCommitted) => {
                Self::conflict("ALREADY_COMMITTED", message)
            }
            ImportRefusal::Folder(ImportError::AlreadyStarted | ImportError::WrongChunk { .. }) => {
                Self::conflict("CONFLICT", message)
            }
            ImportRefusal::OtherCommit(_) => Self::conflict("ALREADY_COMMITTED", message),
            ImportRefusal::File(error) => Self::new(StatusCode::BAD_REQUEST, error.code(), message),
            ImportRefusal::Map(error) => Self::field("map", error.code(), message),
            ImportRefusal::Upload(error) => {
                let status = match error.code() {
                    "FILE_TOO_LARGE" => StatusCode::PAYLOAD_TOO_LARGE,
                    "UPLOAD_STALLED" => StatusCode::REQUEST_TIMEOUT,
                    "STORAGE_FULL" => StatusCode::INSUFFICIENT_STORAGE,
                    "UPLOAD_NOT_WRITTEN" => StatusCode::INTERNAL_SERVER_ERROR,
                    _ => StatusCode::BAD_REQUEST,
                };
                Self::new(status, error.code(), message)
            }
            ImportRefusal::TooMany => Self { message, retry_after: Some(PLACE_FREE_IN), ..Self::busy() },
            ImportRefusal::ShareTaken => Self {
                retry_after: Some(PLACE_FREE_IN),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "ORGANIZATION_BUSY", message)
            },
            ImportRefusal::Stopping => Self { message, code: "SHUTTING_DOWN", ..Self::busy() },
            ImportRefusal::Damaged(_) => Self::internal(&refusal),
        }
    }
}

/// `POST .../crm/imports?name=&source=&legalBasis=&map=` with `text/csv`.
pub async fn upload(
    State(state): State<HttpState>,
    admitted: Admitted,
    request: Request<HttpBody>,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(request.uri(), &["map"])?;
    let name = fields.optional("name", line(200));
    let source = fields.optional("source", line(200));
    let legal_basis = fields.optional("legalBasis", one_of::<LegalBasis>).unwrap_or_default();
    let map = fields.optional("map", overrides).unwrap_or_default();
    fields.finish()?;
    expect_csv(request.headers())?;
    // The name of a folder that nobody named is the day it came in.
    let day = || admitted.at.to_string().chars().take(10).collect::<String>();
    let label = Label { name: name.unwrap_or_else(|| format!("Import of {}", day())), source, legal_basis };

    let _receiving = state.app.imports.upload(admitted.organization).map_err(ImportRefusal::from)?;
    let query = request.uri().query().unwrap_or_default().to_owned();
    let mut digest = Sha256::new();
    let body = request.into_body().into_data_stream().inspect_ok(|chunk| digest.update(chunk));
    let spool = Spool::create_in(&std::env::temp_dir(), DEFAULT_LIMIT).map_err(ImportRefusal::from)?;
    let file = receive(spool, body, PACE).await.map_err(ImportRefusal::from)?;

    let call = admitted.call(&json!({ "query": query, "file": hex::encode(digest.finalize()) }))?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    let staged = imports::stage(&state.app, &call, Upload { file, label, map }, |_| ()).await;
    settle(staged, StatusCode::CREATED)
}

fn overrides(maps: Value) -> Result<MapOverrides, Problem> {
    let maps = maps.as_array().into_iter().flatten().filter_map(Value::as_str);
    MapOverrides::parse(maps).map_err(|error| (error.code(), error.to_string()))
}

fn expect_csv(headers: &HeaderMap) -> Result<(), ApiError> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let text = [
        "text/csv",
        "text/plain",
        "text/tab-separated-values",
        "application/csv",
        "application/octet-stream",
    ];
    if text.contains(&essence.as_str()) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "NOT_CSV",
        "the body must be the file itself, with the header content-type: text/csv",
    ))
}

/// A folder as answers show it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FolderView {
    #[schemars(with = "Uuid")]
    import_folder_id: ImportId,
    name: Option<String>,
    source: Option<String>,
    #[schemars(with = "OneOf<LegalBasis>")]
    legal_basis: LegalBasis,
    #[schemars(with = "OneOf<ImportStage>")]
    state: ImportStage,
    encoding: String,
    separator: String,
    mapping: Vec<Column>,
    rows: u64,
    invalid: u64,
    chunks: u64,
    committed_chunks: u64,
    #[schemars(with = "Option<OneOf<OnDuplicate>>")]
    on_duplicate: Option<OnDuplicate>,
    created: u64,
    updated: u64,
    skipped: u64,
    #[schemars(with = "Instant")]
    created_at: Timestamp,
    #[schemars(with = "Instant")]
    updated_at: Timestamp,
}

impl From<ImportRow> for FolderView {
    fn from(row: ImportRow) -> Self {
        let mapping = row.label.as_ref().map(|label| Column::all(&label.mapping)).unwrap_or_default();
        let (name, source) = row.label.map(|label| (Some(label.name), label.source)).unwrap_or_default();
        Self {
            import_folder_id: row.import_id,
            name,
            source,
            legal_basis: row.legal_basis,
            state: row.stage,
            encoding: row.encoding,
            separator: row.separator,
            mapping,
            rows: row.rows,
            invalid: row.invalid,
            chunks: row.chunks,
            committed_chunks: row.committed_chunks,
            on_duplicate: row.on_duplicate,
            created: row.created,
            updated: row.updated,
            skipped: row.skipped,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// `GET .../crm/imports?limit=&after=`: the newest first.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let limit = fields.optional("limit", integer(1, 100)).unwrap_or(25);
    let after = fields.optional("after", id::<ImportId>);
    fields.finish()?;
    let organization = admitted.organization;
    let mut view = fresh_or_behind(&state, organization).await?;
    let mut folders = rows::list(&mut view, organization, after, limit + 1).await?;
    let more = i64::try_from(folders.len()).is_ok_and(|found| found > limit);
    folders.truncate(usize::try_from(limit).unwrap_or(25));
    let last = folders.last().map(|folder| folder.import_id).filter(|_| more);
    let next = last.map(|last| format!("limit={limit}&after={last}"));
    let folders: Vec<FolderView> = folders.into_iter().map(Into::into).collect();
    Ok(reply::page(&folders, uri.path(), next))
}

/// `GET .../crm/imports/{importFolderId}`: the folder and how far it has come.
pub async fn show(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, folder)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let folder = folder_of(&state, admitted.organization, &folder).await?;
    Ok(reply::json(StatusCode::OK, &FolderView::from(folder)))
}

async fn folder_of(state: &HttpState, organization: OrganizationId, id: &str) -> Result<ImportRow, ApiError> {
    let id: ImportId = path_id("importFolderId", id)?;
    let mut view = fresh_or_behind(state, organization).await?;
    let folder = rows::get(&mut view, organization, id).await?;
    folder.ok_or_else(|| ImportRefusal::Folder(ImportError::Unknown).into())
}

/// The newest view, or whatever is there: a large import keeps the read models behind, and its progress is worth
/// more than its last second.
async fn fresh_or_behind(
    state: &HttpState,
    organization: OrganizationId,
) -> Result<crate::readside::View, ReadSideError> {
    match state.app.readside.view(organization, Consistency::STRONG).await {
        Err(ReadSideError::Behind { .. }) => {
            state.app.readside.view(organization, Consistency::Eventual).await
        }
        view => view,
    }
}

/// A row that cannot become a contact.
#[derive(Debug, Serialize, JsonSchema)]
struct InvalidRowView {
    line: u64,
    #[schemars(with = "Vec<Fault>")]
    errors: Vec<RowFault>,
    cells: Option<Vec<String>>,
}

/// One thing wrong with a row, as [`RowFault`] is written.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is looked at")]
struct Fault {
    code: String,
    field: Option<String>,
    message: String,
}

/// What a commit came to, or has come to so far.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CommitView {
    #[schemars(with = "Uuid")]
    import_folder_id: ImportId,
    /// Whether nothing was changed because only a count was asked for.
    dry_run: bool,
    /// `committed`, or `committing` while it goes on; absent from a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// Rows of the folder, while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    created: u64,
    updated: u64,
    skipped: u64,
}

/// `GET .../crm/imports/{importFolderId}/rows?state=invalid&limit=&after=`: by line; `after` is the last line seen.
pub async fn rows(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, folder)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    fields.optional("state", among(&[("invalid", ())]));
    let limit = fields.optional("limit", integer(1, 1_000)).unwrap_or(100);
    let after = fields.optional("after", integer(0, 1 << 53)).unwrap_or(0);
    fields.finish()?;
    let organization = admitted.organization;
    let folder = folder_of(&state, organization, &folder).await?;
    let mut view = fresh_or_behind(&state, organization).await?;
    let after = after.unsigned_abs();
    let mut found =
        import_invalid_rows::page(&mut view, organization, folder.import_id, after, limit + 1).await?;
    let more = i64::try_from(found.len()).is_ok_and(|found| found > limit);
    found.truncate(usize::try_from(limit).unwrap_or(100));
    let last = found.last().map(|row| row.line).filter(|_| more);
    let next = last.map(|last| format!("state=invalid&limit={limit}&after={last}"));
    let found: Vec<InvalidRowView> = found
        .into_iter()
        .map(|row| InvalidRowView { line: row.line, errors: row.errors, cells: row.cells })
        .collect();
    Ok(reply::page(&found, uri.path(), next))
}

/// `POST .../crm/imports/{importFolderId}/commit`: `{onDuplicate?, dryRun?}`.
///
/// Ordering it again joins the commit under way and answers with what came of it.
pub async fn commit(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, folder)): Path<(String, String)>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let id: ImportId = path_id("importFolderId", &folder)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let on_duplicate = fields.optional("onDuplicate", among(ON_DUPLICATE)).unwrap_or_default();
    let dry_run = fields.optional("dryRun", boolean).unwrap_or(false);
    fields.finish()?;

    if dry_run {
        let counted = imports::dry_run(&state.app, admitted.organization, id, on_duplicate).await?;
        let body = CommitView {
            import_folder_id: id,
            dry_run: true,
            state: None,
            rows: None,
            created: counted.created,
            updated: counted.updated,
            skipped: counted.skipped,
        };
        return Ok(reply::json(StatusCode::OK, &body));
    }
    let mut ordered = imports::commit(&state.app, &call, id, on_duplicate, |_| ()).await?;
    let patience = match wait_preferred(&headers) {
        Some(wait) => wait,
        None if ordered.rows <= ROWS_WAITED_FOR => WAIT,
        None => Duration::ZERO,
    };
    let mut response = match ordered.ended(patience).await {
        Some(Outcome::Done(done)) => {
            let body = CommitView {
                import_folder_id: id,
                dry_run: false,
                state: Some("committed"),
                rows: None,
                created: done.created,
                updated: done.updated,
                skipped: done.skipped,
            };
            reply::json(StatusCode::OK, &body)
        }
        None => under_way(&state, admitted.organization, id, ordered.rows).await?,
        Some(Outcome::Paused) => {
            let message = "the commit is paused and goes on by itself; ask again to see how far it is";
            return Err(ApiError { message: message.into(), code: "COMMIT_PAUSED", ..ApiError::busy() });
        }
        Some(Outcome::Failed) => {
            let message = "the commit cannot go on; the defect was logged";
            return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "COMMIT_FAILED", message));
        }
    };
    if let Some(appended) = ordered.appended {
        let recorded = Recorded { command_id: appended.command_id, position: appended.position };
        response.extensions_mut().insert(recorded);
    }
    Ok(response)
}

/// 202 with how far it has come.
async fn under_way(
    state: &HttpState,
    organization: OrganizationId,
    id: ImportId,
    rows: u64,
) -> Result<Response, ApiError> {
    let mut view = state.app.readside.view(organization, Consistency::Eventual).await?;
    let folder = rows::get(&mut view, organization, id).await?;
    let (created, updated, skipped) =
        folder.map(|folder| (folder.created, folder.updated, folder.skipped)).unwrap_or_default();
    let body = CommitView {
        import_folder_id: id,
        dry_run: false,
        state: Some("committing"),
        rows: Some(rows),
        created,
        updated,
        skipped,
    };
    let mut response = reply::json(StatusCode::ACCEPTED, &body);
    let location = format!("/api/companies/{organization}/crm/imports/{id}");
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
