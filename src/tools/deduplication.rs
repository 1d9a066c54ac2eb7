//! Which rows of an import are one contact, with each other or with one that is there already.
//!
//! The judging is `crate::deduplication`, which is pure. Here its inputs are gathered: the rows of the call or of an
//! import folder, the contacts that share a key with any of them, and which addresses asked not to be contacted.
//! Nothing is ever written.

use std::collections::{BTreeSet, HashMap, HashSet};

use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::contact::ContactProfile;
use docket_aggregates::ids::{ContactId, ImportId};
use docket_aggregates::import::{Import, ImportEvent};
use docket_projections::contacts::{self, ContactRow};
use docket_projections::searchable::MatchKeys;
use docket_projections::{Total, contact_sets, import_invalid_rows, imports};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::input::Given;
use super::{Draft, Kind, Refusal, ToolContext, ToolResult, tool};
use crate::contacts::address_hash;
use crate::deduplication::{Action, Group, MatchOn, Options, Record, RecordKey, analyse};
use crate::ledger::{Stream, read};
use crate::normalise::{Country, normalise_email, normalise_phone};
use crate::readside::View;

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

/// Rows of a folder that are analysed in one call, at most.
const ROWS_MAX: u64 = 50_000;
/// Rows whose contacts are looked up at once, and contacts that are looked at for them, at most.
const CHUNK: usize = 1_000;
const CONTACTS_MAX: i64 = 10_000;
/// Staged chunks that are read at once.
const STAGED_CHUNKS: i64 = 8;
/// Invalid rows shown, at most.
const INVALID_SHOWN: usize = 200;

/// Find out which rows of an import are duplicates of each other or of contacts that are there already, before anything
/// is imported. Never writes. Spellings of one address or phone number count as one; a shared switchboard number alone
/// is only a question, to be reviewed.
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
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
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
    /// Rows without one usable value to match on, 200 at most.
    invalid_rows: Vec<RowFaults>,
    /// Rows that were analysed although one of their values cannot be read, 200 at most.
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
    /// Rows first, then contacts.
    members: Vec<Member>,
    /// Records that share something with this group and are more likely somebody else.
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

/// The rows to analyse.
#[derive(Default)]
struct Rows {
    records: Vec<Record>,
    /// Of a folder: the line of each record.
    lines: Vec<u64>,
    /// Of a folder: how many rows were no contacts from the beginning, and some of them.
    invalid: u64,
    invalid_rows: Vec<RowFaults>,
}

async fn analyze_import_contact_deduplication(ctx: ToolContext, input: Analyze) -> ToolResult<Analyzed> {
    let country = input.default_country.as_deref().unwrap_or("FR");
    let country: Country = country.parse().map_err(|error: crate::normalise::CountryError| {
        Refusal::field("defaultCountry", "UNKNOWN_COUNTRY", error.to_string())
    })?;
    let mut options = Options::new(country);
    if let Some(match_on) = &input.match_on {
        options.match_on = match_on.iter().copied().map(MatchOn::from).collect::<BTreeSet<_>>();
    }
    options.normalize_plus_tags = input.normalize_plus_tags.unwrap_or(true);
    let after: Option<u32> = ctx.after()?;

    let mut rows = match (&input.rows, &input.import_folder_id) {
        (Some(given), None) => given_rows(given),
        (None, Some(folder)) => folder_rows(&ctx, folder).await?,
        _ => {
            let message = "give importFolderId or rows, and not both";
            return Err(Refusal::field("", "EXACTLY_ONE_OF", message));
        }
    };
    suppress(&ctx, &mut rows.records).await?;
    let known = known_contacts(&ctx, &rows.records, &options).await?;

    // The judging may take seconds: not on a thread that answers others.
    let judging = tokio::task::spawn_blocking(move || {
        let analysis = analyse(&rows.records, &known, &options);
        (rows, known, analysis)
    });
    let (rows, known, analysis) = judging.await.map_err(|error| Refusal::Defect(error.to_string()))?;

    let shown = Shown { rows: &rows, contacts: known.iter().map(|record| (record.key, record)).collect() };
    let groups: Vec<(u32, &Group)> =
        analysis.groups.iter().filter_map(|group| Some((first_row(group)?, group))).collect();
    let start = after.map_or(0, |after| groups.partition_point(|(first, _)| *first <= after));
    let limit = ctx.limit() as usize;
    let page = &groups[start..groups.len().min(start + limit)];
    let next = (start + limit < groups.len()).then(|| page.last().map(|(first, _)| *first)).flatten();
    ctx.paginate(next, Total::Exactly(groups.len() as u64))?;

    let faults = |faults: &[crate::deduplication::RowErrors]| -> Vec<RowFaults> {
        let row = |faults: &crate::deduplication::RowErrors| RowFaults {
            row_index: Some(faults.row_index),
            line: shown.line(faults.row_index),
            errors: faults.errors.iter().map(ToString::to_string).collect(),
        };
        faults.iter().take(INVALID_SHOWN).map(row).collect()
    };
    let mut invalid_rows = faults(&analysis.invalid_rows);
    let row_warnings = faults(&analysis.warnings);
    let groups = page.iter().map(|(_, group)| shown.group(group)).collect();
    let summary = analysis.summary;
    let summary = Summary {
        rows: summary.rows + rows.invalid,
        unique: summary.unique,
        duplicates_in_import: summary.duplicates_in_import,
        existing_in_crm: summary.existing_in_crm,
        in_campaigns: summary.in_campaigns,
        invalid: summary.invalid + rows.invalid,
        suppressed: summary.suppressed,
    };
    drop(shown);
    invalid_rows.extend(rows.invalid_rows);
    invalid_rows.truncate(INVALID_SHOWN);
    if (invalid_rows.len() as u64) < summary.invalid {
        ctx.truncated();
    }
    Ok(Analyzed { summary, groups, invalid_rows, row_warnings })
}

fn first_row(group: &Group) -> Option<u32> {
    group.members.iter().find_map(|member| match member {
        RecordKey::Row(row) => Some(*row),
        RecordKey::Contact(_) => None,
    })
}

fn given_rows(given: &[RowInput]) -> Rows {
    let record = |(index, row): (usize, &RowInput)| Record {
        first_name: row.first_name.clone(),
        last_name: row.last_name.clone(),
        email: row.email.clone(),
        phone: row.phone.clone(),
        company: row.company.clone(),
        external_id: row.external_id.clone(),
        ..Record::empty(RecordKey::Row(u32::try_from(index).unwrap_or(u32::MAX)))
    };
    Rows { records: given.iter().enumerate().map(record).collect(), ..Rows::default() }
}

fn of_profile(key: RecordKey, profile: ContactProfile) -> Record {
    Record {
        first_name: profile.first_name,
        last_name: profile.last_name,
        email: profile.email,
        phone: profile.phone,
        company: profile.company,
        city: profile.city,
        external_id: profile.external_id,
        ..Record::empty(key)
    }
}

/// The rows of a folder, as they were staged; rows whose contact was erased say nothing any more and are left out.
async fn folder_rows(ctx: &ToolContext, given: &Given<ImportId>) -> ToolResult<Rows> {
    let organization = ctx.organization();
    let mut rows = Rows::default();
    {
        let mut view = ctx.view().await?;
        let Some(folder) = imports::get(&mut view, organization, given.id).await? else {
            return Err(Refusal::not_found(Kind::ImportFolder, &given.text));
        };
        if folder.rows > ROWS_MAX {
            return Err(Refusal::TooManyRows { rows: folder.rows, max: ROWS_MAX });
        }
        rows.invalid = folder.invalid;
        let shown = INVALID_SHOWN as i64;
        for row in import_invalid_rows::page(&mut view, organization, given.id, 0, shown).await? {
            let errors = row.errors.into_iter().map(|fault| fault.message).collect();
            rows.invalid_rows.push(RowFaults { row_index: None, line: Some(row.line), errors });
        }
    }
    let ledger = &ctx.app().ledger;
    let stream = Stream::of::<Import>(given.id);
    let mut after = 0;
    loop {
        let mut page = read::stream_page(ledger.pool(), organization, stream, after, STAGED_CHUNKS).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = last.sequence.max(0).cast_unsigned();
        page.retain(|stored| stored.event_type == "RowsStaged");
        read::open(ledger.keys(), organization, &mut page).await?;
        for stored in page {
            let event: ImportEvent = serde_json::from_value(stored.payload)
                .map_err(|_| Refusal::Defect(format!("position {} does not decode", stored.position)))?;
            let ImportEvent::RowsStaged { rows: staged, .. } = event else { continue };
            for row in staged {
                let Some(contact) = row.contact.into_value() else { continue };
                let key = RecordKey::Row(u32::try_from(rows.records.len()).unwrap_or(u32::MAX));
                let suppressed = contact.opted_out;
                rows.records.push(Record { suppressed, ..of_profile(key, contact.profile) });
                rows.lines.push(row.line);
            }
        }
    }
}

/// Marks the rows one of whose addresses asked not to be contacted.
async fn suppress(ctx: &ToolContext, records: &mut [Record]) -> ToolResult<()> {
    let organization = ctx.organization();
    let ledger = &ctx.app().ledger;
    let keys = ledger.keys().organization(organization).await?;
    let claims = |record: &Record| -> Vec<Vec<u8>> {
        [&record.email, &record.phone]
            .into_iter()
            .flatten()
            .filter(|address| !address.trim().is_empty())
            .map(|address| {
                ClaimKey::new(Scope::SuppressedAddress, &address_hash(&keys, address)).hash.to_vec()
            })
            .collect()
    };
    let wanted: Vec<Vec<u8>> = records.iter().flat_map(claims).collect();
    let found: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT key_hash FROM ledger.claims WHERE organization_id = $1 AND scope = $2 AND key_hash = ANY($3)",
    )
    .bind(organization.uuid())
    .bind(Scope::SuppressedAddress.name())
    .bind(wanted)
    .fetch_all(ledger.pool())
    .await?;
    if found.is_empty() {
        return Ok(());
    }
    let found: HashSet<Vec<u8>> = found.into_iter().collect();
    for record in records {
        record.suppressed |= claims(record).iter().any(|claim| found.contains(claim));
    }
    Ok(())
}

/// The contacts that share a key with any of the rows.
async fn known_contacts(ctx: &ToolContext, rows: &[Record], options: &Options) -> ToolResult<Vec<Record>> {
    let organization = ctx.organization();
    let mut view = ctx.view().await?;
    let mut found: HashMap<ContactId, ContactRow> = HashMap::new();
    let names = options.match_on.contains(&MatchOn::NameCompany);
    for chunk in rows.chunks(CHUNK) {
        let keys: Vec<MatchKeys> = chunk.iter().flat_map(|row| match_keys(row, options)).collect();
        let mut rows = contacts::by_keys(&mut view, organization, &keys, CONTACTS_MAX).await?;
        if names {
            let names: Vec<String> = chunk.iter().flat_map(names_of).collect();
            rows.extend(contacts::by_names(&mut view, organization, &names, CONTACTS_MAX).await?);
        }
        found.extend(rows.into_iter().map(|row| (row.contact_id, row)));
    }
    let in_campaigns = in_campaigns(&mut view, ctx, &found).await?;
    let mut records: Vec<Record> = found
        .into_values()
        .filter_map(|row| {
            let key = RecordKey::Contact(row.contact_id.uuid());
            Some(Record {
                suppressed: row.do_not_contact,
                in_campaign: in_campaigns.contains(&row.contact_id),
                ..of_profile(key, row.profile?)
            })
        })
        .collect();
    records.sort_by_key(|record| record.key);
    Ok(records)
}

async fn in_campaigns(
    view: &mut View,
    ctx: &ToolContext,
    found: &HashMap<ContactId, ContactRow>,
) -> ToolResult<HashSet<ContactId>> {
    let ids: Vec<ContactId> = found.keys().copied().collect();
    Ok(contact_sets::of_contacts(view, ctx.organization(), &ids).await?.into_keys().collect())
}

/// Under what contacts are stored that may be the row's: the address with and without its tag, the number with and
/// without its extension.
fn match_keys(row: &Record, options: &Options) -> Vec<MatchKeys> {
    let wants = |kind| options.match_on.contains(&kind);
    let mut profiles = Vec::new();
    if let (Some(email), true) = (&row.email, wants(MatchOn::Email)) {
        for plus_tags in [false, true] {
            if let Ok(email) = normalise_email(email, plus_tags) {
                profiles.push(ContactProfile {
                    email: Some(email.key().to_owned()),
                    ..ContactProfile::default()
                });
            }
        }
    }
    if let (Some(phone), true) = (&row.phone, wants(MatchOn::Phone))
        && let Ok(phone) = normalise_phone(phone, options.default_country)
    {
        let number = phone.e164().to_owned();
        let extended = phone.extension().map(|extension| format!("{number};ext={extension}"));
        let with = |phone: String| ContactProfile { phone: Some(phone), ..ContactProfile::default() };
        profiles.extend(extended.map(with));
        profiles.push(with(number));
    }
    if let (Some(external_id), true) = (&row.external_id, wants(MatchOn::ExternalId)) {
        profiles.push(ContactProfile { external_id: Some(external_id.clone()), ..ContactProfile::default() });
    }
    profiles.iter().map(MatchKeys::of).collect()
}

/// The names under which a contact may be stored that is the row's, whichever column holds which name.
fn names_of(row: &Record) -> Vec<String> {
    let (first, last) =
        (row.first_name.as_deref().unwrap_or_default(), row.last_name.as_deref().unwrap_or_default());
    let mut names = vec![format!("{last} {first}"), format!("{first} {last}")];
    names.extend(row.company.clone());
    names
}

/// Turns keys back into what they stand for.
struct Shown<'a> {
    rows: &'a Rows,
    contacts: HashMap<RecordKey, &'a Record>,
}

impl Shown<'_> {
    fn line(&self, row: u32) -> Option<u64> {
        self.rows.lines.get(row as usize).copied()
    }

    fn group(&self, group: &Group) -> GroupShown {
        let members = |keys: &[RecordKey]| keys.iter().map(|key| self.member(*key)).collect();
        GroupShown {
            group_id: group.group_id.to_string(),
            confidence: (group.confidence * 1_000.0).round() / 1_000.0,
            matched_on: group.matched_on.iter().map(|kind| kind.as_str()).collect(),
            members: members(&group.members),
            near: members(&group.near),
            suggested_action: match group.suggested_action {
                Action::Create => "create",
                Action::Update => "update",
                Action::Skip => "skip",
                Action::Merge => "merge",
                Action::Review => "review",
            },
        }
    }

    fn member(&self, key: RecordKey) -> Member {
        let (row_index, line, contact_id, record) = match key {
            RecordKey::Row(row) => (Some(row), self.line(row), None, self.rows.records.get(row as usize)),
            RecordKey::Contact(id) => (None, None, Some(id), self.contacts.get(&key).copied()),
        };
        let text = |field: fn(&Record) -> &Option<String>| record.and_then(|record| field(record).clone());
        Member {
            row_index,
            line,
            contact_id,
            first_name: text(|record| &record.first_name),
            last_name: text(|record| &record.last_name),
            email: text(|record| &record.email),
            phone: text(|record| &record.phone),
            company: text(|record| &record.company),
            external_id: text(|record| &record.external_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(match_on: &[MatchOn]) -> Options {
        let mut options = Options::new("FR".parse().unwrap());
        options.match_on = match_on.iter().copied().collect();
        options
    }

    #[test]
    fn a_row_is_looked_up_under_every_form_of_its_addresses() {
        let row = Record {
            email: Some("A+x@Example.com ".into()),
            phone: Some("06 12 34 56 78".into()),
            external_id: Some("7".into()),
            ..Record::empty(RecordKey::Row(0))
        };
        let keys = match_keys(&row, &options(&MatchOn::ALL));
        let email = |text| docket_projections::searchable::email_key(text);
        assert!(keys.iter().any(|keys| keys.email == email("a+x@example.com")));
        assert!(keys.iter().any(|keys| keys.email == email("a@example.com")));
        let phone = docket_projections::searchable::phone_key("+33612345678");
        assert!(keys.iter().any(|keys| keys.phone == phone));
        assert!(keys.iter().any(|keys| keys.external.is_some()));
        assert!(match_keys(&row, &options(&[MatchOn::NameCompany])).is_empty());
    }

    #[test]
    fn names_are_looked_up_in_either_order() {
        let row = Record {
            first_name: Some("Ada".into()),
            last_name: Some("Martin".into()),
            company: Some("Le Bistrot".into()),
            ..Record::empty(RecordKey::Row(0))
        };
        assert_eq!(names_of(&row), ["Martin Ada", "Ada Martin", "Le Bistrot"]);
    }
}
