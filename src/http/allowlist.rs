//! The allowlist of a company.

use axum::extract::FromRequest;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use docket_aggregates::allowlist::AllowlistError;
use docket_projections::allowlist_entries;
use serde_json::{Value, json};

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, boolean, integer, line, received, some_of};
use super::reply;
use super::spec::{Spec, object, schema};
use crate::allowlist::{self, AllowlistRefusal, EntriesChanged, EntryView};
use crate::readside::Consistency;
use crate::shapes;

/// Entries in one body of JSON, at most.
const ENTRIES_MAX: usize = 1_000;
/// Entries in one file, at most.
const FILE_ENTRIES_MAX: usize = 10_000;
/// Characters of an entry.
const ENTRY_MAX: usize = 320;

impl From<AllowlistRefusal> for ApiError {
    fn from(refusal: AllowlistRefusal) -> Self {
        match refusal {
            AllowlistRefusal::Entry { index, error } => {
                Self::field(format!("entries[{index}]"), "INVALID_ENTRY", error.to_string())
            }
            AllowlistRefusal::List(error @ AllowlistError::AllowsEverybody) => {
                Self::unprocessable("ALLOWS_EVERYBODY", error)
            }
        }
    }
}

/// `{entry}` or `{entries}`, or a file with one entry a line.
struct Entries {
    entries: Vec<String>,
    acknowledge_all: bool,
    input: Value,
}

impl Entries {
    async fn read(request: Request, uri: &Uri) -> Result<Self, ApiError> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence =
            media_type.and_then(|media_type| media_type.split(';').next()).unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("text/csv") {
            let mut fields = Fields::of_query(uri, &[])?;
            let acknowledge = |value: Value| match value.as_str() {
                Some("true") => Ok(true),
                Some("false") => Ok(false),
                _ => Err(("WRONG_TYPE", "must be true or false".to_owned())),
            };
            let acknowledge_all = fields.optional("acknowledgeAll", acknowledge).unwrap_or(false);
            fields.finish()?;
            let bytes = received(request).await?;
            let entries = in_file(&bytes, &["entry", "entries"])?;
            let input = json!({ "entries": entries, "acknowledgeAll": acknowledge_all });
            return Ok(Self { entries, acknowledge_all, input });
        }
        let Body(body) = Body::from_request(request, &()).await?;
        let input = body.clone();
        let mut fields = Fields::of_body(body)?;
        let one = fields.optional("entry", line(ENTRY_MAX));
        let many = fields.optional("entries", some_of(ENTRIES_MAX, line(ENTRY_MAX)));
        let acknowledge_all = fields.optional("acknowledgeAll", boolean).unwrap_or(false);
        if one.is_some() == many.is_some() && !fields.refused(&["entry", "entries"]) {
            fields.problem("entries", "EXACTLY_ONE_OF", "give entry or entries, and not both");
        }
        fields.finish()?;
        let entries: Vec<String> = one.into_iter().chain(many.into_iter().flatten()).collect();
        Ok(Self { entries, acknowledge_all, input })
    }
}

/// The first cell of each line; a first line that only says one of `headings` is a header.
pub fn in_file(bytes: &[u8], headings: &[&str]) -> Result<Vec<String>, ApiError> {
    let unreadable = || ApiError::new(StatusCode::BAD_REQUEST, "NOT_CSV", "the body must be CSV in UTF-8");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut entries = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|_| unreadable())?;
        let cell =
            record.get(0).unwrap_or_default().trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let header = index == 0 && headings.iter().any(|name| cell.eq_ignore_ascii_case(name));
        if !cell.is_empty() && !header {
            entries.push(cell.to_owned());
        }
        if entries.len() > FILE_ENTRIES_MAX {
            let message = format!("must have at most {FILE_ENTRIES_MAX} entries");
            return Err(ApiError::field("entries", "TOO_MANY", message));
        }
    }
    if entries.is_empty() {
        return Err(ApiError::field("entries", "EMPTY", "must name at least one"));
    }
    Ok(entries)
}

fn entries_shape() -> Value {
    object([
        ("entry", shapes::or_null(shapes::line(ENTRY_MAX))),
        ("entries", shapes::or_null(shapes::some_of(ENTRIES_MAX, shapes::line(ENTRY_MAX)))),
        ("acknowledgeAll", shapes::or_null(shapes::boolean())),
    ])
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List the allowlist").page(
        schema::<EntryView>(),
        1_000,
        shapes::line(64),
        "What the link to the next page says.",
    )
}

/// What the reference says of [`allow`].
pub fn allowing() -> Spec {
    Spec::new("Put entries on the allowlist, by entry or entries, or as text/csv; * must be acknowledged")
        .body(entries_shape())
        .answers(201, "What became of them", schema::<EntriesChanged>())
}

/// What the reference says of [`disallow`].
pub fn disallowing() -> Spec {
    Spec::new("Take entries off the allowlist, by entry or entries, or as text/csv")
        .body(entries_shape())
        .answers(200, "What became of them", schema::<EntriesChanged>())
}

/// `GET .../crm/allowlist?limit=&after=`.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let limit = fields.optional("limit", integer(1, 1_000)).unwrap_or(100);
    let after = fields.optional("after", line(64));
    fields.finish()?;
    let mut view = state.app.readside.view(admitted.organization, Consistency::STRONG).await?;
    let limit = u32::try_from(limit).unwrap_or(100);
    let (rows, more) =
        allowlist_entries::list(&mut view, admitted.organization, after.as_deref(), limit).await?;
    let next = rows.last().filter(|_| more).map(|last| format!("limit={limit}&after={}", last.hash));
    let entries: Vec<EntryView> = rows
        .into_iter()
        .map(|row| EntryView { entry: row.entry, kind: row.kind, created_at: row.created_at })
        .collect();
    Ok(reply::page(&entries, uri.path(), next))
}

/// `POST .../crm/allowlist`: `{entry}` or `{entries}`, or `text/csv`; `acknowledgeAll` for the entry `*`.
pub async fn allow(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, ApiError> {
    let Entries { entries, acknowledge_all, input } = Entries::read(request, &uri).await?;
    let call = admitted.call(&input)?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    settle(allowlist::allow(&state.app, &call, &entries, acknowledge_all).await, StatusCode::CREATED)
}

/// `DELETE .../crm/allowlist`: `{entry}` or `{entries}`, or `text/csv`.
pub async fn disallow(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, ApiError> {
    let Entries { entries, input, .. } = Entries::read(request, &uri).await?;
    let call = admitted.call(&input)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(allowlist::disallow(&state.app, &call, &entries).await, StatusCode::OK)
}
