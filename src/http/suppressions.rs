//! The suppression list of a company.

use axum::extract::FromRequest;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use docket_aggregates::suppression::{SuppressionError, SuppressionReason};
use docket_projections::{Keyset, suppressions as rows};
use serde_json::{Value, json};
use uuid::Uuid;

use super::HttpState;
use super::allowlist::in_file;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, id, integer, line, one_of, received, some_of};
use super::reply;
use super::spec::{Spec, object, schema};
use crate::allowlist::EntriesChanged;
use crate::readside::Consistency;
use crate::shapes;
use crate::suppressions::{self, SuppressionRefusal, SuppressionView};

/// Entries in one body of JSON, at most.
const ENTRIES_MAX: usize = 1_000;
/// Characters of an address.
const ADDRESS_MAX: usize = 320;

impl From<SuppressionRefusal> for ApiError {
    fn from(refusal: SuppressionRefusal) -> Self {
        match refusal {
            SuppressionRefusal::Address { index, error } => {
                Self::field(format!("entries[{index}]"), "INVALID_ADDRESS", error.to_string())
            }
            SuppressionRefusal::List { error: error @ SuppressionError::NotSuppressed, .. } => {
                Self::new(StatusCode::NOT_FOUND, "NOT_SUPPRESSED", error.to_string())
            }
            SuppressionRefusal::List { index, error: error @ SuppressionError::OptedOut } => {
                Self::unprocessable("OPTED_OUT", error).with(json!({ "index": index }))
            }
        }
    }
}

/// `{address}` or `{entries}`, or a file with one address a line.
struct Entries {
    /// Set where one address was given, whose answer is itself.
    one: Option<String>,
    many: Vec<String>,
    reason: SuppressionReason,
    input: Value,
}

impl Entries {
    /// Reads them; `reasoned` where a reason may be given.
    async fn read(request: Request, uri: &Uri, reasoned: bool) -> Result<Self, ApiError> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence =
            media_type.and_then(|media_type| media_type.split(';').next()).unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("text/csv") {
            let mut fields = Fields::of_query(uri, &[])?;
            let reason = Self::reason(&mut fields, reasoned);
            fields.finish()?;
            let bytes = received(request).await?;
            let many = in_file(&bytes, &["address", "entry", "email", "e-mail", "phone"])?;
            let input = json!({ "entries": many, "reason": reason.name() });
            return Ok(Self { one: None, many, reason, input });
        }
        let Body(body) = Body::from_request(request, &()).await?;
        let input = body.clone();
        let mut fields = Fields::of_body(body)?;
        let one = fields.optional("address", line(ADDRESS_MAX));
        let many = fields.optional("entries", some_of(ENTRIES_MAX, line(ADDRESS_MAX)));
        let reason = Self::reason(&mut fields, reasoned);
        if one.is_some() == many.is_some() && !fields.refused(&["address", "entries"]) {
            fields.problem("address", "EXACTLY_ONE_OF", "give address or entries, and not both");
        }
        fields.finish()?;
        Ok(Self { one, many: many.unwrap_or_default(), reason, input })
    }

    fn reason(fields: &mut Fields, reasoned: bool) -> SuppressionReason {
        let given = if reasoned { fields.optional("reason", one_of::<SuppressionReason>) } else { None };
        given.unwrap_or(SuppressionReason::Manual)
    }
}

/// A refusal of the one address that was given names its field.
fn of_one(refusal: SuppressionRefusal) -> ApiError {
    match refusal {
        SuppressionRefusal::Address { error, .. } => {
            ApiError::field("address", "INVALID_ADDRESS", error.to_string())
        }
        refusal @ SuppressionRefusal::List { .. } => ApiError { details: Value::Null, ..refusal.into() },
    }
}

/// The refusal of one address, told as that.
struct One(SuppressionRefusal);

impl From<One> for ApiError {
    fn from(One(refusal): One) -> Self {
        of_one(refusal)
    }
}

fn changed_or_one() -> Value {
    json!({ "oneOf": [schema::<SuppressionView>(), schema::<EntriesChanged>()] })
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List the suppressed addresses and domains").page(
        schema::<SuppressionView>(),
        1_000,
        shapes::id(),
        "What the link to the next page says.",
    )
}

/// What the reference says of [`suppress`].
pub fn suppressing() -> Spec {
    Spec::new(
        "Suppress an address or @domain, or many by entries or as text/csv; unsubscribe as a reason is never lifted",
    )
    .body(object([
        ("address", shapes::or_null(shapes::line(ADDRESS_MAX))),
        ("entries", shapes::or_null(shapes::some_of(ENTRIES_MAX, shapes::line(ADDRESS_MAX)))),
        ("reason", shapes::or_null(shapes::one_of::<SuppressionReason>())),
    ]))
    .answers(201, "The address, or what became of the entries", changed_or_one())
}

/// What the reference says of [`lift`].
pub fn lifting() -> Spec {
    Spec::new("Take an address off the suppression list, or many by entries or as text/csv; whoever unsubscribed stays")
        .body(object([
            ("address", shapes::or_null(shapes::line(ADDRESS_MAX))),
            ("entries", shapes::or_null(shapes::some_of(ENTRIES_MAX, shapes::line(ADDRESS_MAX)))),
        ]))
        .answers(200, "The address, or what became of the entries", changed_or_one())
}

/// `GET .../crm/suppressions?limit=&after=`.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let limit = fields.optional("limit", integer(1, 1_000)).unwrap_or(100);
    let after = fields.optional("after", id::<Uuid>).map(Keyset::id);
    fields.finish()?;
    let mut view = state.app.readside.view(admitted.organization, Consistency::STRONG).await?;
    let limit = u32::try_from(limit).unwrap_or(100);
    let page = rows::list(&mut view, admitted.organization, after.as_ref(), limit).await?;
    let next = page.next.map(|next| format!("limit={limit}&after={}", next.id));
    let addresses: Vec<SuppressionView> = page
        .rows
        .into_iter()
        .map(|row| SuppressionView { address: row.address, reason: row.reason, created_at: row.created_at })
        .collect();
    Ok(reply::page(&addresses, uri.path(), next))
}

/// `POST .../crm/suppressions`: `{address, reason}`, `{entries, reason}`, or `text/csv` with `?reason=`.
pub async fn suppress(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, ApiError> {
    let Entries { one, many, reason, input } = Entries::read(request, &uri, true).await?;
    let call = admitted.call(&input)?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    match one {
        Some(address) => {
            let done = suppressions::suppress(&state.app, &call, &address, reason).await;
            settle(done.map_err(|error| error.map(One)), StatusCode::CREATED)
        }
        None => {
            settle(suppressions::suppress_all(&state.app, &call, &many, reason).await, StatusCode::CREATED)
        }
    }
}

/// `DELETE .../crm/suppressions`: `{address}` or `{entries}`, or `text/csv`.
pub async fn lift(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, ApiError> {
    let Entries { one, many, input, .. } = Entries::read(request, &uri, false).await?;
    let call = admitted.call(&input)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    match one {
        Some(address) => {
            let done = suppressions::lift(&state.app, &call, &address).await;
            settle(done.map_err(|error| error.map(One)), StatusCode::OK)
        }
        None => settle(suppressions::lift_all(&state.app, &call, &many).await, StatusCode::OK),
    }
}
