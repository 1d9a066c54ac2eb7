//! How much an organization has of what nobody should count row by row.

use docket_aggregates::AnyEvent;
use docket_aggregates::contact::ContactEvent;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::membership::MembershipEvent;
use docket_aggregates::qualification::QualificationEvent;
use docket_aggregates::qualification_template::QualificationTemplateEvent;
use docket_aggregates::script_execution::ScriptExecutionEvent;
use docket_aggregates::script_template::ScriptTemplateEvent;
use sqlx::PgConnection;

use crate::columns::Columns;
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "organization_counters", tables: &["organization_counters"] };

/// What an organization has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrganizationCounts {
    /// Contacts, erased ones among them.
    pub contacts: u64,
    /// Calls, detached ones among them.
    pub calls: u64,
    /// Script templates that are not deleted.
    pub script_templates: u64,
    /// Script executions, ended ones among them.
    pub executions: u64,
    /// Qualification templates.
    pub qualification_templates: u64,
    /// Qualifications, open ones among them.
    pub qualifications: u64,
}

/// What the organization has.
pub async fn get(conn: &mut PgConnection, organization: OrganizationId) -> sqlx::Result<OrganizationCounts> {
    let row = sqlx::query("SELECT * FROM organization_counters WHERE organization_id = $1")
        .bind(organization.uuid())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(OrganizationCounts::default()) };
    Ok(OrganizationCounts {
        contacts: row.count("contacts")?,
        calls: row.count("calls")?,
        script_templates: row.count("script_templates")?,
        executions: row.count("executions")?,
        qualification_templates: row.count("qualification_templates")?,
        qualifications: row.count("qualifications")?,
    })
}

/// What a batch brings and takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Difference {
    contacts: i64,
    calls: i64,
    script_templates: i64,
    executions: i64,
    qualification_templates: i64,
    qualifications: i64,
}

impl Difference {
    fn of(batch: &[Recorded]) -> Self {
        let mut difference = Self::default();
        for recorded in batch {
            match &recorded.event {
                AnyEvent::Contact(ContactEvent::ContactCreated { .. }) => difference.contacts += 1,
                AnyEvent::Membership(MembershipEvent::CallLogged { .. }) => difference.calls += 1,
                AnyEvent::ScriptTemplate(event) => match event {
                    ScriptTemplateEvent::ScriptTemplateCreated { .. } => difference.script_templates += 1,
                    ScriptTemplateEvent::ScriptTemplateRevised { .. }
                    | ScriptTemplateEvent::ScriptTemplateAttached { .. } => (),
                    ScriptTemplateEvent::ScriptTemplateDeleted {} => difference.script_templates -= 1,
                },
                AnyEvent::ScriptExecution(ScriptExecutionEvent::ScriptExecutionStarted { .. }) => {
                    difference.executions += 1;
                }
                AnyEvent::QualificationTemplate(event) => match event {
                    QualificationTemplateEvent::QualificationTemplateCreated { .. } => {
                        difference.qualification_templates += 1;
                    }
                    QualificationTemplateEvent::QualificationTemplateRevised { .. } => (),
                },
                AnyEvent::Qualification(QualificationEvent::QualificationOpened { .. }) => {
                    difference.qualifications += 1;
                }
                _ => (),
            }
        }
        difference
    }
}

/// Adds what the batch brings.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let difference = Difference::of(batch);
    if difference == Difference::default() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO organization_counters AS c (organization_id, contacts, calls, script_templates, executions,
             qualification_templates, qualifications)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (organization_id) DO UPDATE SET contacts = c.contacts + excluded.contacts,
             calls = c.calls + excluded.calls,
             script_templates = c.script_templates + excluded.script_templates,
             executions = c.executions + excluded.executions,
             qualification_templates = c.qualification_templates + excluded.qualification_templates,
             qualifications = c.qualifications + excluded.qualifications",
    )
    .bind(organization.uuid())
    .bind(difference.contacts)
    .bind(difference.calls)
    .bind(difference.script_templates)
    .bind(difference.executions)
    .bind(difference.qualification_templates)
    .bind(difference.qualifications)
    .execute(conn)
    .await?;
    Ok(())
}
