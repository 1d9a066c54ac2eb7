//! From the numbers of an analysis back to rows and contacts, for one page.
//!
//! What is shown is read anew: a row of a folder from the chunk that it was staged in, of which nothing else is opened, and a
//! contact from the read models. Who was erased since is not shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use docket_aggregates::contact::ContactProfile;
use docket_aggregates::ids::ContactId;
use docket_aggregates::import::Import;
use docket_projections::contacts;
use docket_projections::imports::ImportRow;
use serde_json::Value;

use super::super::{Refusal, ToolContext, ToolResult};
use super::gathering::{Source, of_input, of_profile, rows_of};
use super::{
    Analyzed, FAULTS_CONCISE, FAULTS_SHOWN, GroupShown, MEMBERS_CONCISE, MEMBERS_SHOWN, Member, RowFaults,
    Summary,
};
use crate::analyses::{Fault, Header, StoredGroup};
use crate::deduplication::{Action, MatchOn, Record, RecordKey};
use crate::ledger::{Stream, read};
use crate::readside::View;

/// The answer for these groups.
pub(super) async fn shown(
    ctx: &ToolContext,
    view: &mut View,
    source: &Source,
    header: Header,
    mut groups: Vec<StoredGroup>,
) -> ToolResult<Analyzed> {
    let (members, faults) = match ctx.detailed() {
        true => (MEMBERS_SHOWN, FAULTS_SHOWN),
        false => (MEMBERS_CONCISE, FAULTS_CONCISE),
    };
    for group in &mut groups {
        shorten(&mut group.members, members);
        if group.members.len() < group.count as usize {
            ctx.truncated();
        }
    }
    let wanted: BTreeSet<RecordKey> =
        groups.iter().flat_map(|group| group.members.iter().chain(&group.near)).copied().collect();
    let known = Known::read(ctx, view, source, &header, &wanted).await?;
    let summary = header.summary;
    if (header.invalid.len().min(faults) as u64) < summary.invalid || header.warnings.len() > faults {
        ctx.truncated();
    }
    Ok(Analyzed {
        summary: Summary {
            rows: summary.rows,
            unique: summary.unique,
            duplicates_in_import: summary.duplicates_in_import,
            existing_in_crm: summary.existing_in_crm,
            in_campaigns: summary.in_campaigns,
            invalid: summary.invalid,
            suppressed: summary.suppressed,
        },
        groups: groups.into_iter().map(|group| known.group(group)).collect(),
        invalid_rows: header.invalid.into_iter().take(faults).map(fault).collect(),
        row_warnings: header.warnings.into_iter().take(faults).map(fault).collect(),
    })
}

fn fault(fault: Fault) -> RowFaults {
    RowFaults { row_index: fault.row, line: fault.line, errors: fault.errors }
}

/// Leaves `most` members, a contact among them if there is one.
fn shorten(members: &mut Vec<RecordKey>, most: usize) {
    if members.len() > most {
        let contacts = members.partition_point(|member| matches!(member, RecordKey::Row(_)));
        let mut found: Vec<RecordKey> = members[contacts..].to_vec();
        found.truncate(most - 1);
        members.truncate(contacts.min(most - found.len()));
        members.extend(found);
    }
}

/// The records of a page.
#[derive(Default)]
struct Known {
    records: HashMap<RecordKey, Record>,
    lines: HashMap<u32, u64>,
}

impl Known {
    async fn read(
        ctx: &ToolContext,
        view: &mut View,
        source: &Source,
        header: &Header,
        wanted: &BTreeSet<RecordKey>,
    ) -> ToolResult<Self> {
        let mut known = Self::default();
        let mut rows = BTreeSet::new();
        let mut ids = Vec::new();
        for key in wanted {
            match key {
                RecordKey::Row(row) => drop(rows.insert(*row)),
                RecordKey::Contact(id) => ids.push(ContactId(*id)),
            }
        }
        match source {
            Source::Rows(given) => {
                for row in rows {
                    if let Some(given) = given.get(row as usize) {
                        let key = RecordKey::Row(row);
                        known.records.insert(key, of_input(given, key));
                    }
                }
            }
            Source::Folder(folder) => known.staged(ctx, folder, header, &rows).await?,
        }
        for row in contacts::by_ids(view, ctx.organization(), &ids).await? {
            let key = RecordKey::Contact(row.contact_id.uuid());
            known.records.insert(key, of_profile(key, row.profile.unwrap_or_default()));
        }
        Ok(known)
    }

    /// The rows of a folder, chunk by chunk.
    async fn staged(
        &mut self,
        ctx: &ToolContext,
        folder: &ImportRow,
        header: &Header,
        rows: &BTreeSet<u32>,
    ) -> ToolResult<()> {
        let mut by_chunk: BTreeMap<(u64, u32), Vec<u32>> = BTreeMap::new();
        for row in rows {
            let next = header.chunks.partition_point(|(_, first)| first <= row);
            if let Some(chunk) = next.checked_sub(1).and_then(|chunk| header.chunks.get(chunk)) {
                by_chunk.entry(*chunk).or_default().push(*row);
            }
        }
        let (ledger, organization) = (&ctx.app().ledger, ctx.organization());
        let stream = Stream::of::<Import>(folder.import_id);
        for ((sequence, first), rows) in by_chunk {
            let before = sequence.saturating_sub(1);
            let mut page = read::stream_page(ledger.pool(), organization, stream, before, 1).await?;
            for stored in &mut page {
                keep_rows(&mut stored.payload, first, &rows);
            }
            read::open(ledger.keys(), organization, &mut page).await?;
            let Some(stored) = page.pop() else {
                return Err(Refusal::Defect(format!("chunk {sequence} of a folder is not there")));
            };
            for (row, staged) in rows.into_iter().zip(rows_of(stored)?) {
                let key = RecordKey::Row(row);
                self.lines.insert(row, staged.line);
                let profile: ContactProfile =
                    staged.contact.into_value().map(|contact| contact.profile).unwrap_or_default();
                self.records.insert(key, of_profile(key, profile));
            }
        }
        Ok(())
    }

    fn group(&self, group: StoredGroup) -> GroupShown {
        let members = |keys: &[RecordKey]| keys.iter().map(|key| self.member(*key)).collect();
        GroupShown {
            group_id: group.id,
            confidence: (group.confidence * 1_000.0).round() / 1_000.0,
            matched_on: group.matched_on.iter().map(|kind: &MatchOn| kind.as_str()).collect(),
            member_count: group.count,
            members: members(&group.members),
            near: members(&group.near),
            suggested_action: match group.action {
                Action::Create => "create",
                Action::Update => "update",
                Action::Skip => "skip",
                Action::Merge => "merge",
                Action::Review => "review",
            },
        }
    }

    fn member(&self, key: RecordKey) -> Member {
        let (row_index, line, contact_id) = match key {
            RecordKey::Row(row) => (Some(row), self.lines.get(&row).copied(), None),
            RecordKey::Contact(id) => (None, None, Some(id)),
        };
        let record = self.records.get(&key);
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

/// Leaves these rows of a sealed chunk, so that nothing else of it is opened.
fn keep_rows(payload: &mut Value, first: u32, rows: &[u32]) {
    if let Some(staged) = payload.get_mut("rows").and_then(Value::as_array_mut) {
        let mut number = first..;
        staged.retain(|_| number.next().is_some_and(|number| rows.binary_search(&number).is_ok()));
    }
    if let Some(invalid) = payload.get_mut("invalid").and_then(Value::as_array_mut) {
        invalid.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn a_group_that_is_shortened_keeps_a_contact() {
        let contact = |id| RecordKey::Contact(Uuid::from_u128(id));
        let rows = |count: u32| (0..count).map(RecordKey::Row);
        let shortened = |rows: &mut dyn Iterator<Item = RecordKey>, contacts: u128| {
            let mut members: Vec<RecordKey> = rows.chain((0..contacts).map(contact)).collect();
            shorten(&mut members, 3);
            members
        };
        assert_eq!(shortened(&mut rows(3), 0), rows(3).collect::<Vec<_>>());
        assert_eq!(shortened(&mut rows(9), 1), [RecordKey::Row(0), RecordKey::Row(1), contact(0)]);
        assert_eq!(shortened(&mut rows(9), 9), [RecordKey::Row(0), contact(0), contact(1)]);
        assert_eq!(shortened(&mut rows(1), 9), [RecordKey::Row(0), contact(0), contact(1)]);
    }

    #[test]
    fn only_the_rows_of_a_page_are_opened() {
        let mut payload = json!({ "rows": ["a", "b", "c", "d"], "invalid": ["x"] });
        keep_rows(&mut payload, 10, &[11, 13]);
        assert_eq!(payload, json!({ "rows": ["b", "d"], "invalid": [] }));
    }
}
