//! Getting the records of an analysis together, batch by batch.
//!
//! Rows come from the call or from the chunks of a folder, in their order. Beside each batch of rows the contacts that
//! share a key with it are looked up, and those that have an address, a number or an id of it, each contact once. Where names are compared and the rows are many, nearly every
//! contact shares a coarse key with one of them: then the contacts are read once through instead.

use std::collections::HashSet;
use std::sync::Arc;

use docket_aggregates::contact::ContactProfile;
use docket_aggregates::ids::{ContactId, OrganizationId};
use docket_aggregates::import::{Import, ImportEvent, StagedRow};
use docket_projections::contacts::{self, ContactRow};
use docket_projections::imports::ImportRow;
use docket_projections::searchable::{MatchKeys, mailbox_key, stored_key, stored_keys};
use docket_projections::{contact_sets, import_invalid_rows};
use serde_json::json;
use uuid::Uuid;

use super::super::{Refusal, ToolResult};
use super::{FAULTS_SHOWN, RowInput};
use crate::analyses::{Fault, Header, Progress, Stopped, Wanted, Work};
use crate::app::App;
use crate::deduplication::{MatchOn, Options, Outline, Record, RecordKey, match_keys};
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::{Stream, read};
use crate::normalise::{normalise_email, normalise_phone};
use crate::readside::{Consistency, View};
use crate::suppressions::{Against, Standing};

/// Rows whose contacts are looked up at once, and contacts that are looked at for them, at most.
const CHUNK: usize = 1_000;
const CONTACTS_MAX: i64 = 10_000;
/// Contacts that are looked at for one coarse key of a name, beside those of exactly the name.
const OF_ONE_NAME: i64 = 64;
/// From so many rows on the contacts are read through, where names are compared.
const READ_THROUGH_FROM: u64 = 5_000;
/// Contacts read at once.
const PAGE: i64 = 5_000;
/// Staged chunks that are read at once.
const STAGED_CHUNKS: i64 = 4;

/// What is analysed.
#[derive(Clone)]
pub(super) enum Source {
    /// The rows of the call.
    Rows(Vec<RowInput>),
    /// A folder.
    Folder(ImportRow),
}

impl Source {
    /// Rows to look at.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Rows(rows) => rows.len() as u64,
            Self::Folder(folder) => folder.rows,
        }
    }

    /// A folder's analysis serves whoever asks next; the rows of a call are their caller's.
    pub(super) fn wanted(&self) -> Wanted {
        match self {
            Self::Rows(_) => Wanted::WhileAsked,
            Self::Folder(_) => Wanted::Always,
        }
    }

    /// By what the same analysis is known again. A keyed hash: the rows of a call are personal.
    pub(super) async fn fingerprint(
        &self,
        app: &App,
        organization: OrganizationId,
        options: &Options,
    ) -> ToolResult<[u8; 32]> {
        let source = match self {
            Self::Rows(rows) => json!(rows),
            // A folder that is still being staged grows.
            Self::Folder(folder) => json!([folder.import_id, folder.chunks]),
        };
        let how = json!([options.match_on, options.default_country.to_string(), options.normalize_plus_tags]);
        let keys = app.ledger.keys().organization(organization).await?;
        Ok(keys.hash("analysis", &[&source.to_string(), &how.to_string()]))
    }
}

/// One row of the call as a record.
pub(super) fn of_input(row: &RowInput, key: RecordKey) -> Record {
    Record {
        first_name: row.first_name.clone(),
        last_name: row.last_name.clone(),
        email: row.email.clone(),
        phone: row.phone.clone(),
        company: row.company.clone(),
        external_id: row.external_id.clone(),
        ..Record::empty(key)
    }
}

/// What is known of somebody as a record.
pub(super) fn of_profile(key: RecordKey, profile: ContactProfile) -> Record {
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

/// An analysis to be made.
pub(super) struct Gathering {
    app: App,
    organization: OrganizationId,
    source: Source,
    options: Options,
    fingerprint: [u8; 32],
}

impl Gathering {
    pub(super) fn new(
        app: App,
        organization: OrganizationId,
        source: Source,
        options: Options,
        fingerprint: [u8; 32],
    ) -> Self {
        Self { app, organization, source, options, fingerprint }
    }

    /// Makes the analysis and stores it.
    pub(super) async fn run(self, progress: Arc<Progress>) -> Result<Uuid, Stopped> {
        self.make(&progress).await.map_err(|error| match error {
            Error::Stopped(stopped) => stopped,
            Error::Refused(refusal) => {
                let passes = refusal.told().retry_after.is_some();
                tracing::warn!(error = %refusal.for_the_log(), passes, "an analysis stopped");
                if passes { Stopped::Interrupted } else { Stopped::Failed }
            }
        })
    }

    async fn make(self, progress: &Progress) -> Result<Uuid, Error> {
        let work = Work::begin(self.options.clone())?;
        let keys = self.app.ledger.keys().organization(self.organization).await.map_err(Refusal::from)?;
        let mut read = Read { position: self.view(Consistency::STRONG).await?.position, ..Read::default() };
        match &self.source {
            Source::Rows(rows) => {
                let record = |(index, row)| of_input(row, RecordKey::Row(index));
                let records: Vec<Record> = (0..).zip(rows).map(record).collect();
                self.batch(&work, &keys, records, &mut read).await?;
                progress.add(rows.len() as u64);
            }
            Source::Folder(folder) => self.staged(&work, &keys, folder, progress, &mut read).await?,
        }
        if self.reads_through() {
            self.read_through(&work, &mut read).await?;
        }
        let (app, organization, fingerprint) = (&self.app, self.organization, self.fingerprint);
        let head = |outline, groups| read.header(outline, groups);
        Ok(work.finish(&app.ledger, &app.clock, organization, fingerprint, head).await?)
    }

    /// The rows of a folder, as they were staged. A row whose contact was erased says nothing any more.
    async fn staged(
        &self,
        work: &Work,
        keys: &OrganizationKeys,
        folder: &ImportRow,
        progress: &Progress,
        read: &mut Read,
    ) -> Result<(), Error> {
        read.never_valid = folder.invalid;
        let shown = FAULTS_SHOWN as i64;
        let mut view = self.view(Consistency::Eventual).await?;
        let invalid =
            import_invalid_rows::page(&mut view, self.organization, folder.import_id, 0, shown).await;
        drop(view);
        for row in invalid.map_err(Refusal::from)? {
            let errors = row.errors.into_iter().map(|fault| fault.message).collect();
            read.faults.push(Fault { row: None, line: Some(row.line), errors });
        }
        let ledger = &self.app.ledger;
        let stream = Stream::of::<Import>(folder.import_id);
        let mut after = 0;
        loop {
            let page =
                read::stream_page(ledger.pool(), self.organization, stream, after, STAGED_CHUNKS).await;
            let mut page = page.map_err(Refusal::from)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.sequence.max(0).cast_unsigned();
            page.retain(|stored| stored.event_type == "RowsStaged");
            read::open(ledger.keys(), self.organization, &mut page).await.map_err(Refusal::from)?;
            let mut records = Vec::new();
            for stored in page {
                let sequence = stored.sequence.max(0).cast_unsigned();
                read.chunks.push((sequence, count(read.lines.len())));
                for row in rows_of(stored)? {
                    let key = RecordKey::Row(count(read.lines.len()));
                    read.lines.push(row.line);
                    records.push(match row.contact.into_value() {
                        Some(contact) => {
                            Record { suppressed: contact.opted_out, ..of_profile(key, contact.profile) }
                        }
                        None => Record::empty(key),
                    });
                }
            }
            let rows = records.len() as u64;
            for batch in in_batches(records) {
                self.batch(work, keys, batch, read).await?;
            }
            progress.add(rows);
        }
    }

    /// Hands in some rows, and the contacts that share a key with any of them.
    async fn batch(
        &self,
        work: &Work,
        keys: &OrganizationKeys,
        mut rows: Vec<Record>,
        read: &mut Read,
    ) -> Result<(), Error> {
        self.suppress(keys, &mut rows).await?;
        let mut view = self.view(Consistency::Eventual).await?;
        let mut found = Vec::new();
        let exact: Vec<MatchKeys> = rows.iter().flat_map(|row| exact_keys(row, &self.options)).collect();
        let organization = self.organization;
        let look_up = async {
            view.by_key().await?;
            found.extend(
                contacts::by_keys(&mut view, organization, &exact, CONTACTS_MAX, CONTACTS_MAX).await?,
            );
            view.by_any_plan().await?;
            let mut coarse: Vec<i64> =
                rows.iter().filter_map(|row| mailbox_of(row, organization, &self.options)).collect();
            if self.reads_through() {
                read.names.extend(rows.iter().flat_map(|row| name_keys(row, organization, &self.options)));
            } else if self.options.match_on.contains(&MatchOn::NameCompany) {
                let names: Vec<String> = rows.iter().flat_map(names_of).collect();
                found.extend(contacts::by_names(&mut view, organization, &names, CONTACTS_MAX).await?);
                coarse.extend(rows.iter().flat_map(|row| name_keys(row, organization, &self.options)));
            }
            let sharing =
                contacts::by_match_keys(&mut view, organization, &coarse, OF_ONE_NAME, CONTACTS_MAX);
            found.extend(sharing.await?);
            Ok::<_, sqlx::Error>(())
        };
        look_up.await.map_err(Refusal::from)?;
        work.feed().rows(rows).await?;
        self.hand_in(work, &mut view, found, read).await
    }

    /// Every contact that shares a name's key with a row, from the first to the last.
    async fn read_through(&self, work: &Work, read: &mut Read) -> Result<(), Error> {
        let mut after = None;
        loop {
            // A view of its own for each page: a minute's transaction would keep the server from tidying up.
            let mut view = self.view(Consistency::Eventual).await?;
            let page = contacts::after(&mut view, self.organization, after, PAGE).await;
            let mut page = page.map_err(Refusal::from)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.contact_id);
            page.retain(|row| {
                let keys = row.profile.as_ref().map(|profile| stored_keys(self.organization, profile));
                keys.is_some_and(|keys| keys.iter().any(|key| read.names.contains(key)))
            });
            self.hand_in(work, &mut view, page, read).await?;
        }
    }

    /// Hands in the contacts that were not handed in before.
    async fn hand_in(
        &self,
        work: &Work,
        view: &mut View,
        mut found: Vec<ContactRow>,
        read: &mut Read,
    ) -> Result<(), Error> {
        found.sort_by_key(|row| row.contact_id);
        found.retain(|row| read.contacts.insert(row.contact_id.uuid()));
        let ids: Vec<ContactId> = found.iter().map(|row| row.contact_id).collect();
        let in_campaigns =
            contact_sets::of_contacts(view, self.organization, &ids).await.map_err(Refusal::from)?;
        let record = |row: ContactRow| {
            let key = RecordKey::Contact(row.contact_id.uuid());
            Some(Record {
                suppressed: row.do_not_contact,
                in_campaign: in_campaigns.contains_key(&row.contact_id),
                ..of_profile(key, row.profile?)
            })
        };
        Ok(work.feed().contacts(found.into_iter().filter_map(record).collect()).await?)
    }

    /// Marks the rows that would make contacts who are not to be contacted, as a commit would.
    async fn suppress(&self, keys: &OrganizationKeys, rows: &mut [Record]) -> Result<(), Error> {
        let standing = |row: &Record| Standing::of(keys, &addresses_of(row, &self.options));
        let standings: Vec<Standing> = rows.iter().map(standing).collect();
        let addresses = standings.iter().flat_map(Standing::all);
        let against = Against::read(&self.app, self.organization, addresses).await.map_err(Refusal::from)?;
        for (row, standing) in rows.iter_mut().zip(&standings) {
            row.suppressed |= against.stands_against(standing);
        }
        Ok(())
    }

    fn reads_through(&self) -> bool {
        self.source.rows() >= READ_THROUGH_FROM && self.options.match_on.contains(&MatchOn::NameCompany)
    }

    async fn view(&self, consistency: Consistency) -> Result<View, Error> {
        Ok(self.app.readside.view(self.organization, consistency).await.map_err(Refusal::from)?)
    }
}

/// What was read so far, but for the records.
#[derive(Default)]
struct Read {
    position: i64,
    /// Of a folder: the line of each row, and where its chunks begin.
    lines: Vec<u64>,
    chunks: Vec<(u64, u32)>,
    /// Of a folder: how many rows were no contacts from the beginning, and some of them.
    never_valid: u64,
    faults: Vec<Fault>,
    /// The contacts that were handed in.
    contacts: HashSet<Uuid>,
    /// The keys of the rows' names.
    names: HashSet<i64>,
}

impl Read {
    fn header(self, outline: Outline, groups: u32) -> Header {
        let line = |row: u32| self.lines.get(row as usize).copied();
        let mut summary = outline.summary;
        summary.rows += self.never_valid;
        summary.invalid += self.never_valid;
        let mut invalid = Fault::first(&outline.invalid_rows, FAULTS_SHOWN, line);
        let warnings = Fault::first(&outline.warnings, FAULTS_SHOWN, line);
        invalid.extend(self.faults);
        invalid.truncate(FAULTS_SHOWN);
        Header { summary, groups, position: self.position, chunks: self.chunks, invalid, warnings }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

fn count(records: usize) -> u32 {
    u32::try_from(records).unwrap_or(u32::MAX)
}

/// The rows of a staged chunk.
pub(super) fn rows_of(stored: read::Stored) -> ToolResult<Vec<StagedRow>> {
    let position = stored.position;
    match serde_json::from_value(stored.payload) {
        Ok(ImportEvent::RowsStaged { rows, .. }) => Ok(rows),
        _ => Err(Refusal::Defect(format!("position {position} is no staged chunk"))),
    }
}

fn in_batches(mut records: Vec<Record>) -> impl Iterator<Item = Vec<Record>> {
    std::iter::from_fn(move || {
        let rest = records.split_off(records.len().min(CHUNK));
        let batch = std::mem::replace(&mut records, rest);
        (!batch.is_empty()).then_some(batch)
    })
}

/// A row's addresses as a contact that is made of it has them.
fn addresses_of(row: &Record, options: &Options) -> ContactProfile {
    let email = row.email.as_deref().and_then(|email| normalise_email(email, false).ok());
    let phone = row.phone.as_deref().and_then(|phone| normalise_phone(phone, options.default_country).ok());
    ContactProfile {
        email: email.map(|email| email.address().to_owned()),
        phone: phone.map(|phone| phone.to_string()),
        ..ContactProfile::default()
    }
}

/// Under what contacts are stored that may be the row's: the address with and without its tag, the number with and
/// without its extension, the id. Whatever was asked for, since a commit asks for all of it.
fn exact_keys(row: &Record, options: &Options) -> Vec<MatchKeys> {
    let mut profiles = Vec::new();
    if let Some(email) = &row.email {
        for plus_tags in [false, true] {
            if let Ok(email) = normalise_email(email, plus_tags) {
                let email = Some(email.key().to_owned());
                profiles.push(ContactProfile { email, ..ContactProfile::default() });
            }
        }
    }
    if let Some(phone) = &row.phone
        && let Ok(phone) = normalise_phone(phone, options.default_country)
    {
        let number = phone.e164().to_owned();
        let extended = phone.extension().map(|extension| format!("{number};ext={extension}"));
        let with = |phone: String| ContactProfile { phone: Some(phone), ..ContactProfile::default() };
        profiles.extend(extended.map(with));
        profiles.push(with(number));
    }
    if let Some(external_id) = &row.external_id {
        profiles.push(ContactProfile { external_id: Some(external_id.clone()), ..ContactProfile::default() });
    }
    profiles.iter().map(MatchKeys::of).collect()
}

/// The key of contacts whose address is the row's with another tag.
fn mailbox_of(row: &Record, organization: OrganizationId, options: &Options) -> Option<i64> {
    let wanted = options.normalize_plus_tags && options.match_on.contains(&MatchOn::Email);
    let email = row.email.as_deref().filter(|_| wanted)?;
    let email = normalise_email(email, true).ok()?;
    Some(mailbox_key(organization, email.key()))
}

/// The stored keys of the row's name.
fn name_keys(row: &Record, organization: OrganizationId, options: &Options) -> Vec<i64> {
    let keys = match_keys(row, options).into_iter().filter(|key| key.match_on() == MatchOn::NameCompany);
    keys.map(|key| stored_key(organization, key.as_str())).collect()
}

/// The names under which a contact may be stored that is the row's, whichever column holds which name.
fn names_of(row: &Record) -> Vec<String> {
    let (first, last) =
        (row.first_name.as_deref().unwrap_or_default(), row.last_name.as_deref().unwrap_or_default());
    let mut names = vec![format!("{last} {first}"), format!("{first} {last}")];
    names.extend(row.company.clone());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(match_on: &[MatchOn]) -> Options {
        let mut options = Options::new("FR".parse().unwrap());
        options.match_on = match_on.iter().copied().collect();
        options
    }

    const OWN: OrganizationId = OrganizationId(Uuid::from_u128(1));

    #[test]
    fn a_row_is_looked_up_under_every_form_of_its_addresses() {
        let row = Record {
            email: Some("A+x@Example.com ".into()),
            phone: Some("06 12 34 56 78".into()),
            external_id: Some("7".into()),
            ..Record::empty(RecordKey::Row(0))
        };
        let keys = exact_keys(&row, &options(&MatchOn::ALL));
        let email = |text| docket_projections::searchable::email_key(text);
        assert!(keys.iter().any(|keys| keys.email == email("a+x@example.com")));
        assert!(keys.iter().any(|keys| keys.email == email("a@example.com")));
        let phone = docket_projections::searchable::phone_key("+33612345678");
        assert!(keys.iter().any(|keys| keys.phone == phone));
        assert!(keys.iter().any(|keys| keys.external.is_some()));
        assert_eq!(exact_keys(&row, &options(&[MatchOn::NameCompany])), keys, "a commit asks for all of it");
    }

    #[test]
    fn a_contact_with_another_tag_is_found_unless_tags_count() {
        let contact = ContactProfile { email: Some("ann+tag@x.com".into()), ..ContactProfile::default() };
        let stored = stored_keys(OWN, &contact);
        for email in ["ann@x.com", " ANN@X.com", "ann+other@x.com"] {
            let row = Record { email: Some(email.into()), ..Record::empty(RecordKey::Row(0)) };
            let mut options = options(&[MatchOn::Email]);
            assert!(stored.contains(&mailbox_of(&row, OWN, &options).unwrap()), "{email}");
            options.normalize_plus_tags = false;
            assert_eq!(mailbox_of(&row, OWN, &options), None);
        }
    }

    #[test]
    fn names_are_looked_up_in_either_order_and_by_their_sound() {
        let row = Record {
            first_name: Some("Ada".into()),
            last_name: Some("Martin".into()),
            company: Some("Le Bistrot".into()),
            ..Record::empty(RecordKey::Row(0))
        };
        assert_eq!(names_of(&row), ["Martin Ada", "Ada Martin", "Le Bistrot"]);
        let contact = ContactProfile {
            first_name: Some("MARTYN".into()),
            last_name: Some("Ada".into()),
            ..ContactProfile::default()
        };
        let stored = stored_keys(OWN, &contact);
        assert!(name_keys(&row, OWN, &options(&[])).iter().any(|key| stored.contains(key)));
    }

    #[test]
    fn records_are_cut_into_batches_without_losing_one() {
        let records = |count| vec![Record::empty(RecordKey::Row(0)); count];
        for (count, expected) in
            [(0, vec![]), (1, vec![1]), (CHUNK, vec![CHUNK]), (CHUNK + 1, vec![CHUNK, 1])]
        {
            assert_eq!(in_batches(records(count)).map(|batch| batch.len()).collect::<Vec<_>>(), expected);
        }
    }
}
