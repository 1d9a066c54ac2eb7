//! Which rows of an import are one contact, with each other or with one that is there already.
//!
//! The judging is `crate::deduplication`, which is pure. `gathering` gets its inputs together: the rows of the call or of
//! an import folder, the contacts that share a key with any of them, and which addresses asked not to be contacted. What
//! comes of it is kept by `crate::analyses`, so that each page costs a page; `showing` turns its numbers back into rows and
//! contacts. No event is ever appended.

mod gathering;
mod showing;

use std::collections::BTreeSet;
use std::time::Duration;

use docket_aggregates::ids::ImportId;
use docket_projections::imports::ImportRow;
use docket_projections::{Total, imports};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::input::Given;
use super::{Draft, Kind, Refusal, ToolContext, ToolResult, tool};
use crate::analyses::{self, Header, Stopped};
use crate::deduplication::{MatchOn, Options};
use crate::normalise::Country;
use gathering::{Gathering, Source};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(list analyze_import_contact_deduplication)
            .example(
                "Two spellings of one person",
                json!({
                    "rows": [
                        { "firstName": "Ada", "lastName": "Martin", "email": "Ada.Martin@example.com" },
                        { "firstName": "ada", "lastName": "MARTIN", "email": "ada.martin+crm@example.com ", "phone": "06 12 34 56 78" },
                    ],
                }),
            )
            .example(
                "Restaurants by name as well",
                json!({
                    "rows": [
                        { "company": "Le Petit Bistrot", "phone": "04 78 00 00 01" },
                        { "company": "Petit Bistrot (Le)", "phone": "+33 4 78 00 00 01" },
                    ],
                    "matchOn": ["phone", "name_company"],
                    "defaultCountry": "FR",
                }),
            ),
    ]
}

/// Rows of a folder that are analysed, at most: a quarter of a kilobyte of memory each.
const ROWS_MAX: u64 = 2_000_000;
/// How long an analysis is waited for; then the caller is told to come again, and the work goes on.
const WAIT: Duration = Duration::from_secs(20);
const COME_AGAIN_IN: Duration = Duration::from_secs(5);
/// Rows of a folder up to which an analysis is made anew whenever anything was recorded since the last one. A larger one
/// answers for a while, with a warning: who reads a minute's work should not set off another by looking.
const FRESH_ROWS: u64 = 20_000;
const LARGE_ANSWERS_FOR_MILLIS: i64 = 10 * 60 * 1_000;
/// Invalid rows shown, at most, and in a concise answer.
const FAULTS_SHOWN: usize = 200;
const FAULTS_CONCISE: usize = 10;
/// Members of a group shown, at most, and in a concise answer.
const MEMBERS_SHOWN: usize = 20;
const MEMBERS_CONCISE: usize = 5;

/// Find out which rows of an import are duplicates of each other or of contacts that are there already, before anything
/// is imported. Changes nothing. Spellings of one address or phone number count as one; a shared switchboard number alone
/// is only a question, to be reviewed. A large folder is analysed once, which may take some minutes: the call then says
/// when to come again, and its pages are of that one analysis, kept for a day.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Analyze {
    /// An import folder, whose rows are analysed. Give this or rows.
    import_folder_id: Option<Given<ImportId>>,
    /// The rows. Give this or importFolderId.
    #[schemars(length(min = 1, max = 1000))]
    rows: Option<Vec<RowInput>>,
    /// What two records must agree in to be taken for one; email and phone if not said.
    #[schemars(length(min = 1, max = 4))]
    match_on: Option<Vec<MatchBy>>,
    /// The country of phone numbers written without a country code, ISO 3166-1; FR if not said.
    #[schemars(length(min = 2, max = 2))]
    default_country: Option<String>,
    /// Whether ann+news@example.com is ann@example.com; true if not said.
    normalize_plus_tags: Option<bool>,
}

/// One row. What is not known is left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct RowInput {
    /// Given names.
    #[schemars(length(max = 300))]
    first_name: Option<String>,
    /// Surnames.
    #[schemars(length(max = 300))]
    last_name: Option<String>,
    /// E-mail address.
    #[schemars(length(max = 500))]
    email: Option<String>,
    /// Phone number.
    #[schemars(length(max = 100))]
    phone: Option<String>,
    /// Company.
    #[schemars(length(max = 500))]
    company: Option<String>,
    /// Id in the system that the row comes from.
    #[schemars(length(max = 300))]
    external_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
enum MatchBy {
    /// The same mailbox.
    #[serde(rename = "email")]
    Email,
    /// The same number.
    #[serde(rename = "phone")]
    Phone,
    /// The same id in the system that the rows come from.
    #[serde(rename = "externalId")]
    ExternalId,
    /// Alike names of person and company.
    #[serde(rename = "name_company")]
    NameCompany,
}

impl From<MatchBy> for MatchOn {
    fn from(by: MatchBy) -> Self {
        match by {
            MatchBy::Email => Self::Email,
            MatchBy::Phone => Self::Phone,
            MatchBy::ExternalId => Self::ExternalId,
            MatchBy::NameCompany => Self::NameCompany,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Analyzed {
    summary: Summary,
    /// Every valid row is in exactly one group; in the order of their first rows.
    groups: Vec<GroupShown>,
    /// Rows without one usable value to match on: 10, in a detailed answer 200.
    invalid_rows: Vec<RowFaults>,
    /// Rows that were analysed although one of their values cannot be read: 10, in a detailed answer 200.
    row_warnings: Vec<RowFaults>,
}

/// Counts of rows: rows = unique + duplicatesInImport + existingInCrm + invalid.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Summary {
    rows: u64,
    /// Contacts that would be new.
    unique: u64,
    /// Rows that are one with an earlier row.
    duplicates_in_import: u64,
    /// Contacts that are there already.
    existing_in_crm: u64,
    /// Those of them that are in a campaign.
    in_campaigns: u64,
    invalid: u64,
    /// Contacts, new or not, that asked not to be contacted.
    suppressed: u64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GroupShown {
    group_id: String,
    /// How likely all members are one, from 0 to 1.
    confidence: f64,
    /// By what they agree.
    matched_on: Vec<&'static str>,
    /// How many rows and contacts it has.
    member_count: u32,
    /// Rows first, then contacts: 5, in a detailed answer 20.
    members: Vec<Member>,
    /// Records that share something with this group and are more likely somebody else; contacts that a row matches too.
    near: Vec<Member>,
    /// create, update, skip, merge or review.
    suggested_action: &'static str,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Member {
    /// Of a row: its place among the rows, from 0.
    row_index: Option<u32>,
    /// Of a row of a folder: the line in the file.
    line: Option<u64>,
    /// Of a contact.
    contact_id: Option<Uuid>,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    company: Option<String>,
    external_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RowFaults {
    row_index: Option<u32>,
    /// Of a row of a folder: the line in the file.
    line: Option<u64>,
    /// One sentence for each thing that is wrong.
    errors: Vec<String>,
}

/// Where the list goes on.
#[derive(Serialize, Deserialize)]
struct Place {
    analysis: Uuid,
    group: u32,
}

async fn analyze_import_contact_deduplication(ctx: ToolContext, input: Analyze) -> ToolResult<Analyzed> {
    let options = options(&input)?;
    let source = match (&input.rows, &input.import_folder_id) {
        (Some(rows), None) => Source::Rows(rows.clone()),
        (None, Some(given)) => Source::Folder(folder(&ctx, given).await?),
        _ => {
            let message = "give importFolderId or rows, and not both";
            return Err(Refusal::field("", "EXACTLY_ONE_OF", message));
        }
    };
    let place = ctx.after::<Place>()?;
    let (analysis, header) = match &place {
        Some(place) => {
            let (ledger, now) = (&ctx.app().ledger, ctx.now());
            let header = analyses::header(ledger.pool(), ctx.organization(), place.analysis, now).await?;
            (place.analysis, header.ok_or(Refusal::AnalysisExpired)?)
        }
        None => analysed(&ctx, &source, options).await?,
    };
    let from = place.map_or(0, |place| place.group);
    let mut view = ctx.view().await?;
    let groups = analyses::groups(&mut view, ctx.organization(), analysis, from, ctx.limit()).await?;
    let next = from.saturating_add(u32::try_from(groups.len()).unwrap_or(u32::MAX));
    let next = (next < header.groups).then_some(Place { analysis, group: next });
    ctx.paginate(next, Total::Exactly(u64::from(header.groups)))?;
    showing::shown(&ctx, &mut view, &source, header, groups).await
}

fn options(input: &Analyze) -> ToolResult<Options> {
    let country = input.default_country.as_deref().unwrap_or("FR");
    let country: Country = country.parse().map_err(|error: crate::normalise::CountryError| {
        Refusal::field("defaultCountry", "UNKNOWN_COUNTRY", error.to_string())
    })?;
    let mut options = Options::new(country);
    if let Some(match_on) = &input.match_on {
        options.match_on = match_on.iter().copied().map(MatchOn::from).collect::<BTreeSet<_>>();
    }
    options.normalize_plus_tags = input.normalize_plus_tags.unwrap_or(true);
    Ok(options)
}

async fn folder(ctx: &ToolContext, given: &Given<ImportId>) -> ToolResult<ImportRow> {
    let mut view = ctx.view().await?;
    let Some(folder) = imports::get(&mut view, ctx.organization(), given.id).await? else {
        return Err(Refusal::not_found(Kind::ImportFolder, &given.text));
    };
    if folder.rows > ROWS_MAX {
        return Err(Refusal::TooManyRows { rows: folder.rows, max: ROWS_MAX });
    }
    Ok(folder)
}

/// An analysis that is new enough, or a new one.
async fn analysed(ctx: &ToolContext, source: &Source, options: Options) -> ToolResult<(Uuid, Header)> {
    let (app, organization, now) = (ctx.app(), ctx.organization(), ctx.now());
    let pool = app.ledger.pool();
    let fingerprint = source.fingerprint(app, organization, &options).await?;
    let position = ctx.view().await?.position;
    if let Some((id, header, finished_at)) = analyses::find(pool, organization, &fingerprint, now).await? {
        let answers = source.rows() > FRESH_ROWS
            && ctx.least_position().is_none_or(|least| least <= header.position)
            && finished_at.plus_millis(LARGE_ANSWERS_FOR_MILLIS) > now;
        if header.position == position {
            return Ok((id, header));
        }
        if answers {
            let message = format!(
                "analysed at position {} of the log; contacts that changed since are compared as they were",
                header.position
            );
            ctx.warn("ANALYSED_EARLIER", message, None);
            return Ok((id, header));
        }
    }
    let rows = source.rows();
    let gathering = Gathering::new(app.clone(), organization, source.clone(), options, fingerprint);
    let wanted = source.wanted();
    let running =
        app.analyses.run(organization, fingerprint, rows, wanted, |progress| gathering.run(progress));
    let mut running = running.map_err(|_| Refusal::AnalysesBusy { retry_after: COME_AGAIN_IN })?;
    let id = match running.ended(WAIT).await {
        None => {
            let done = running.rows();
            return Err(Refusal::AnalysisUnderWay { rows, done, retry_after: COME_AGAIN_IN });
        }
        Some(Err(Stopped::Interrupted)) => return Err(Refusal::AnalysesBusy { retry_after: COME_AGAIN_IN }),
        Some(Err(Stopped::Failed)) => return Err(Refusal::Defect("an analysis failed".into())),
        Some(Ok(id)) => id,
    };
    let header = analyses::header(pool, organization, id, now).await?;
    Ok((id, header.ok_or(Refusal::AnalysisExpired)?))
}
