//! One row per version of a script template, for ever: whoever began with a version reads it to the end, whatever
//! becomes of the template.

use docket_aggregates::ids::{OrganizationId, ScriptTemplateId};
use docket_aggregates::script_template::{ScriptContent, ScriptTemplateEvent};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

use crate::columns::{At, Columns};
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel =
    ReadModel { name: "script_template_versions", tables: &["script_template_versions"] };

/// One version of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptVersionRow {
    /// All that it says; none once erased.
    pub content: Option<ScriptContent>,
    /// When it was written.
    pub created_at: Timestamp,
}

/// One version of a template; none if there is no such version.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    template: ScriptTemplateId,
    version: u32,
) -> sqlx::Result<Option<ScriptVersionRow>> {
    let Ok(version) = i32::try_from(version) else { return Ok(None) };
    let found = sqlx::query(
        "SELECT content, created_at FROM script_template_versions
         WHERE organization_id = $1 AND template_id = $2 AND version = $3",
    )
    .bind(organization.uuid())
    .bind(template.uuid())
    .bind(version)
    .fetch_optional(conn)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let content: Option<Json<ScriptContent>> = row.try_get("content")?;
    Ok(Some(ScriptVersionRow {
        content: content.map(|Json(content)| content),
        created_at: row.at("created_at")?,
    }))
}

/// Adds the versions that the batch brings.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    for recorded in batch {
        let AnyEvent::ScriptTemplate(event) = &recorded.event else { continue };
        let (version, content) = match event {
            ScriptTemplateEvent::ScriptTemplateCreated { content, .. } => (1, content),
            ScriptTemplateEvent::ScriptTemplateRevised { version, content } => (*version, content),
            ScriptTemplateEvent::ScriptTemplateAttached { .. }
            | ScriptTemplateEvent::ScriptTemplateDeleted {} => continue,
        };
        sqlx::query(
            "INSERT INTO script_template_versions (organization_id, template_id, version, content, created_at)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(organization.uuid())
        .bind(recorded.aggregate_id)
        .bind(i32::try_from(version).unwrap_or(i32::MAX))
        .bind(content.value().map(Json))
        .bind(At(recorded.occurred_at))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
