//! One row per import folder: what was uploaded, how far it is, what became of it.

use std::collections::BTreeMap;

use docket_aggregates::contact::LegalBasis;
use docket_aggregates::ids::{CommandId, ImportId, OrganizationId};
use docket_aggregates::import::{ImportEvent, ImportLabel, ImportStage, OnDuplicate};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

use crate::columns::{At, Columns, signed, unreadable, uuids};
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "imports", tables: &["imports"] };

/// An import folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// The folder.
    pub import_id: ImportId,
    /// Name, source and mapping; none once erased.
    pub label: Option<ImportLabel>,
    /// On what ground its contacts are kept.
    pub legal_basis: LegalBasis,
    /// How the file's bytes were read.
    pub encoding: String,
    /// What separated its columns.
    pub separator: String,
    /// Where it stands.
    pub stage: ImportStage,
    /// Chunks that were staged.
    pub chunks: u64,
    /// Rows read so far, valid or not.
    pub rows: u64,
    /// Of these, rows that cannot become contacts.
    pub invalid: u64,
    /// The command that ordered the commit.
    pub commit_id: Option<CommandId>,
    /// What happens to a row that matches a contact already there.
    pub on_duplicate: Option<OnDuplicate>,
    /// Chunks that were committed.
    pub committed_chunks: u64,
    /// New contacts so far.
    pub created: u64,
    /// Changed contacts so far.
    pub updated: u64,
    /// Rows that changed nothing so far.
    pub skipped: u64,
    /// Events of its stream.
    pub version: u64,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One folder.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    import: ImportId,
) -> sqlx::Result<Option<ImportRow>> {
    Ok(by_ids(conn, organization, &[import]).await?.pop())
}

/// Those of `imports` that exist, by id.
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    imports: &[ImportId],
) -> sqlx::Result<Vec<ImportRow>> {
    let rows = by_id::rows(conn, organization, ("imports", "import_id"), uuids(imports)).await?;
    rows.iter().map(row).collect()
}

/// Folders, the newest first: those whose id is below `before`, `limit` at most.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    before: Option<ImportId>,
    limit: i64,
) -> sqlx::Result<Vec<ImportRow>> {
    let rows = sqlx::query(
        "SELECT * FROM imports WHERE organization_id = $1 AND ($2::uuid IS NULL OR import_id < $2)
         ORDER BY import_id DESC LIMIT $3",
    )
    .bind(organization.uuid())
    .bind(before.map(ImportId::uuid))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// Whether contacts are being made of a folder at the moment.
pub async fn any_committing(conn: &mut PgConnection, organization: OrganizationId) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM imports WHERE organization_id = $1 AND stage = $2)")
        .bind(organization.uuid())
        .bind(stage_name(ImportStage::Committing))
        .fetch_one(conn)
        .await
}

const fn stage_name(stage: ImportStage) -> &'static str {
    match stage {
        ImportStage::Unknown => "unknown",
        ImportStage::Staging => "staging",
        ImportStage::Staged => "staged",
        ImportStage::Committing => "committing",
        ImportStage::Committed => "committed",
    }
}

const fn on_duplicate_name(on_duplicate: OnDuplicate) -> &'static str {
    match on_duplicate {
        OnDuplicate::Skip => "skip",
        OnDuplicate::Update => "update",
    }
}

fn row(row: &PgRow) -> sqlx::Result<ImportRow> {
    let name: Option<String> = row.try_get("name")?;
    let source = row.try_get("source")?;
    let mapping = row.try_get::<Json<_>, _>("mapping")?.0;
    Ok(ImportRow {
        import_id: row.id("import_id")?,
        label: name.map(|name| ImportLabel { name, source, mapping }),
        legal_basis: row.named("legal_basis")?,
        encoding: row.try_get("encoding")?,
        separator: row.try_get("separator")?,
        stage: match row.try_get("stage")? {
            "staging" => ImportStage::Staging,
            "staged" => ImportStage::Staged,
            "committing" => ImportStage::Committing,
            "committed" => ImportStage::Committed,
            _ => return Err(unreadable("stage")),
        },
        chunks: row.count("chunks")?,
        rows: row.count("rows")?,
        invalid: row.count("invalid")?,
        commit_id: row.id_opt("commit_id")?,
        on_duplicate: match row.try_get::<Option<&str>, _>("on_duplicate")? {
            None => None,
            Some("skip") => Some(OnDuplicate::Skip),
            Some("update") => Some(OnDuplicate::Update),
            Some(_) => return Err(unreadable("on_duplicate")),
        },
        committed_chunks: row.count("committed_chunks")?,
        created: row.count("created")?,
        updated: row.count("updated")?,
        skipped: row.count("skipped")?,
        version: row.count("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

/// Folds the batch into folders.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let mut touched: Vec<ImportId> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::Import(_)))
        .map(|recorded| ImportId(recorded.aggregate_id))
        .collect();
    if touched.is_empty() {
        return Ok(());
    }
    touched.sort_unstable();
    touched.dedup();
    let before = by_ids(conn, organization, &touched).await?;
    for row in plan(batch, before)?.values() {
        write(conn, organization, row).await?;
    }
    Ok(())
}

fn plan(batch: &[Recorded], before: Vec<ImportRow>) -> Result<BTreeMap<ImportId, ImportRow>, FoldError> {
    let mut rows: BTreeMap<ImportId, ImportRow> =
        before.into_iter().map(|row| (row.import_id, row)).collect();
    for recorded in batch {
        let AnyEvent::Import(event) = &recorded.event else { continue };
        let id = ImportId(recorded.aggregate_id);
        if let ImportEvent::ImportStarted { label, legal_basis, encoding, separator, .. } = event {
            let started = ImportRow {
                import_id: id,
                label: label.value().cloned(),
                legal_basis: *legal_basis,
                encoding: encoding.clone(),
                separator: separator.clone(),
                stage: ImportStage::Staging,
                chunks: 0,
                rows: 0,
                invalid: 0,
                commit_id: None,
                on_duplicate: None,
                committed_chunks: 0,
                created: 0,
                updated: 0,
                skipped: 0,
                version: recorded.version(),
                created_at: recorded.occurred_at,
                updated_at: recorded.occurred_at,
            };
            rows.insert(id, started);
            continue;
        }
        let row = rows.get_mut(&id).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        row.apply(event);
    }
    Ok(rows)
}

impl ImportRow {
    fn apply(&mut self, event: &ImportEvent) {
        match event {
            ImportEvent::ImportStarted { .. } => (),
            ImportEvent::RowsStaged { chunk, rows, invalid } => {
                self.chunks = chunk + 1;
                self.rows += (rows.len() + invalid.len()) as u64;
                self.invalid += invalid.len() as u64;
            }
            ImportEvent::ImportStaged { rows, invalid } => {
                self.stage = ImportStage::Staged;
                self.rows = *rows;
                self.invalid = *invalid;
            }
            ImportEvent::CommitStarted { commit_id, on_duplicate } => {
                self.stage = ImportStage::Committing;
                self.commit_id = Some(*commit_id);
                self.on_duplicate = Some(*on_duplicate);
            }
            ImportEvent::RowsCommitted { chunk, created, updated, skipped } => {
                self.committed_chunks = chunk + 1;
                self.created += created.len() as u64;
                self.updated += updated.len() as u64;
                self.skipped += skipped.len() as u64;
            }
            ImportEvent::ImportCommitted { created, updated, skipped } => {
                self.stage = ImportStage::Committed;
                self.created = *created;
                self.updated = *updated;
                self.skipped = *skipped;
            }
        }
    }
}

async fn write(conn: &mut PgConnection, organization: OrganizationId, row: &ImportRow) -> sqlx::Result<()> {
    let label = row.label.as_ref();
    let mapping: &[(String, String)] = label.map_or(&[], |label| &label.mapping);
    sqlx::query(
        "INSERT INTO imports (organization_id, import_id, name, source, mapping, legal_basis, encoding, separator,
             stage, chunks, rows, invalid, commit_id, on_duplicate, committed_chunks, created, updated, skipped,
             version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
         ON CONFLICT (organization_id, import_id) DO UPDATE SET stage = excluded.stage, chunks = excluded.chunks,
             rows = excluded.rows, invalid = excluded.invalid, commit_id = excluded.commit_id,
             on_duplicate = excluded.on_duplicate, committed_chunks = excluded.committed_chunks,
             created = excluded.created, updated = excluded.updated, skipped = excluded.skipped,
             version = excluded.version, updated_at = excluded.updated_at",
    )
    .bind(organization.uuid())
    .bind(row.import_id.uuid())
    .bind(label.map(|label| label.name.as_str()))
    .bind(label.and_then(|label| label.source.as_deref()))
    .bind(Json(mapping))
    .bind(row.legal_basis.name())
    .bind(&row.encoding)
    .bind(&row.separator)
    .bind(stage_name(row.stage))
    .bind(signed(row.chunks))
    .bind(signed(row.rows))
    .bind(signed(row.invalid))
    .bind(row.commit_id.map(CommandId::uuid))
    .bind(row.on_duplicate.map(on_duplicate_name))
    .bind(signed(row.committed_chunks))
    .bind(signed(row.created))
    .bind(signed(row.updated))
    .bind(signed(row.skipped))
    .bind(signed(row.version))
    .bind(At(row.created_at))
    .bind(At(row.updated_at))
    .execute(conn)
    .await
    .map(drop)
}
