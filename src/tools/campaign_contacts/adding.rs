//! Contacts into a campaign.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use docket_aggregates::ids::{AgentId, ContactId, ImportId};
use docket_aggregates::roster::{RosterCommand, Spread, distribute};
use docket_projections::agents::AgentRow;
use docket_projections::campaign_counters;
use docket_projections::selection::{self, Against, Candidate, ContactFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    BulkResult, GivenContacts, Skips, agent_of, assignable, every_campaign, left_out, roster_writes, shown,
    takes_contacts, to_agent, unchanged, unchanged_campaign,
};
use crate::readside::View;
use crate::tools::campaigns::found;
use crate::tools::contacts::folder_found;
use crate::tools::example::CAMPAIGN_ID;
use crate::tools::input::{Given, GivenAgent, GivenCampaign, GivenContact, Moment, Source};
use crate::tools::{Confirm, Draft, Effects, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(in crate::tools) fn tools() -> Vec<Draft> {
    vec![
        tool!(BulkWrite bulk_add_contacts_to_campaign_by_filter)
            .adding()
            .confirmed(Confirm::With("assignToAgentIds"))
            .example(
                "Everybody in Lyon with a phone number, tried out first",
                json!({
                    "campaignId": CAMPAIGN_ID,
                    "filter": { "source": "crm", "city": "Lyon", "hasPhone": true },
                    "dryRun": true,
                }),
            )
            .example(
                "The first hundred who are in no active campaign",
                json!({
                    "campaignId": CAMPAIGN_ID,
                    "filter": { "source": "crm" },
                    "maxContacts": 100,
                    "skipIfInAnyActiveCampaign": true,
                }),
            ),
    ]
}

/// Put contacts into a campaign: those that a filter means, in a stable order, up to maxContacts. Whoever is in it
/// already, asked not to be contacted or cannot be reached is skipped, with the reason. Calling again adds nobody twice;
/// it adds the next ones where maxContacts left some. With assignToAgentIds the contacts are assigned as well, which needs
/// confirm true.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AddContacts {
    /// The campaign: draft, active or paused.
    campaign_id: GivenCampaign,
    /// Which contacts.
    filter: FilterInput,
    /// Contacts to add at most, 10 000 if not said. Required when the filter means everybody.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_contacts: Option<u64>,
    /// Skip whoever is in one of these campaigns.
    #[serde(default)]
    #[schemars(length(max = 50))]
    skip_if_in_campaign_ids: Vec<GivenCampaign>,
    /// Skip whoever is in another active campaign.
    #[serde(default)]
    skip_if_in_any_active_campaign: bool,
    /// Assign the added contacts to these agents.
    #[schemars(length(min = 1, max = 50))]
    assign_to_agent_ids: Option<Vec<GivenAgent>>,
    /// How they are spread over the agents; `round_robin` if not said.
    distribution: Option<Distribution>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Distribution {
    /// They belong to nobody.
    None,
    /// In turn.
    RoundRobin,
    /// Each to whoever has the fewest open contacts.
    LeastLoaded,
}

/// Which contacts; everything that is named must hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FilterInput {
    /// crm: all contacts; `import_folder`: those of one import folder.
    source: Source,
    /// The import folder, if source is `import_folder`.
    import_folder_id: Option<Given<ImportId>>,
    /// Part of the name, company, address, phone number, external id or city; case and accents do not matter.
    #[schemars(length(max = 200))]
    search: Option<String>,
    /// With at least one of these tags.
    #[serde(default)]
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 200)))]
    tags_any: Vec<String>,
    /// With all of these tags.
    #[serde(default)]
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 200)))]
    tags_all: Vec<String>,
    /// With an e-mail address, or without.
    has_email: Option<bool>,
    /// With a phone number, or without.
    has_phone: Option<bool>,
    /// Of this city; case and accents do not matter.
    #[schemars(length(min = 1, max = 200))]
    city: Option<String>,
    /// Taken in then or later.
    created_after: Option<Moment>,
    /// Taken in before then.
    created_before: Option<Moment>,
    /// Only these contacts.
    #[schemars(length(min = 1, max = 500))]
    contact_ids: Option<Vec<GivenContact>>,
    /// With these values in their custom fields.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 20))]
    custom_fields: BTreeMap<String, String>,
}

impl FilterInput {
    /// Whether it means every contact there is.
    fn everybody(&self) -> bool {
        let nothing = Self {
            source: Source::Crm,
            import_folder_id: None,
            search: None,
            tags_any: vec![],
            tags_all: vec![],
            has_email: None,
            has_phone: None,
            city: None,
            created_after: None,
            created_before: None,
            contact_ids: None,
            custom_fields: BTreeMap::new(),
        };
        Self { search: self.search.clone().filter(|text| !text.is_empty()), ..self.clone() } == nothing
    }

    fn checked(&self) -> ToolResult<()> {
        match (self.source, &self.import_folder_id) {
            (Source::ImportFolder, None) => {
                let message = "is required when source is import_folder";
                Err(Refusal::field("filter.importFolderId", "REQUIRED", message))
            }
            (Source::Crm, Some(_)) => {
                let message = "is only for source import_folder";
                Err(Refusal::field("filter.importFolderId", "CONTRADICTION", message))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContactsAdded {
    #[serde(flatten)]
    result: BulkResult,
    /// If contacts are assigned: who gets how many.
    per_agent: Option<Vec<AgentAdded>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AgentAdded {
    agent_id: Uuid,
    added: u64,
}

/// Contacts that are read at once while a selection is resolved.
const CHUNK: i64 = 100_000;
/// Contacts added if nobody says.
const ADDED: u64 = 10_000;

async fn bulk_add_contacts_to_campaign_by_filter(
    ctx: ToolContext,
    input: AddContacts,
    _: Mint,
) -> ToolResult<Plan<ContactsAdded>> {
    input.filter.checked()?;
    if input.max_contacts.is_none() && input.filter.everybody() {
        let message = "is required when the filter means everybody";
        return Err(Refusal::field("maxContacts", "REQUIRED", message));
    }
    let spread = match (&input.assign_to_agent_ids, input.distribution) {
        (None, None | Some(Distribution::None)) => None,
        (Some(_), None | Some(Distribution::RoundRobin)) => Some(Spread::RoundRobin),
        (Some(_), Some(Distribution::LeastLoaded)) => Some(Spread::LeastLoaded),
        (Some(_), Some(Distribution::None)) | (None, Some(_)) => {
            let message = "a distribution needs assignToAgentIds, and none forbids it";
            return Err(Refusal::field("distribution", "CONTRADICTION", message));
        }
    };

    let mut view = ctx.view().await?;
    let listed = found(&mut view, &ctx, &input.campaign_id).await?;
    takes_contacts(&listed)?;
    let campaign_id = listed.campaign.campaign_id;
    if let Some(folder) = &input.filter.import_folder_id {
        folder_found(&mut view, &ctx, folder).await?;
    }
    let others = every_campaign(&mut view, &ctx, &input.skip_if_in_campaign_ids).await?;
    let staff = match &input.assign_to_agent_ids {
        Some(given) => assignable(&mut view, &ctx, given, "assignToAgentIds").await?,
        None => Vec::new(),
    };
    let given = match &input.filter.contact_ids {
        Some(given) => Some(GivenContacts::look_up(&mut view, &ctx, given, "filter.contactIds").await?),
        None => None,
    };
    let filter = resolved(input.filter, given.as_ref());
    let against = Against {
        campaign_id,
        other_campaign_ids: &others,
        any_active_campaign: input.skip_if_in_any_active_campaign,
    };
    let most = usize::try_from(input.max_contacts.unwrap_or(ADDED)).unwrap_or(usize::MAX);
    let mut skips = Skips::default();
    let (added, truncated) = select(&mut view, &ctx, &filter, &against, most, &mut skips).await?;
    let not_found = match given {
        Some(given) => {
            given.repeated.iter().for_each(|contact| skips.skip("DUPLICATE_IN_SELECTION", *contact));
            given.not_found
        }
        None => Vec::new(),
    };

    let assigned = match spread {
        Some(spread) => spread_over(&mut view, &ctx, spread, &staff, &added).await?,
        None => Vec::new(),
    };
    let words: HashMap<AgentId, String> =
        staff.iter().map(|row| (row.agent_id, to_agent("ADDED", row.agent_id))).collect();
    let effects = Effects::new(added.iter().enumerate().map(|(index, contact)| {
        let outcome = assigned.get(index).and_then(|agent| words.get(agent));
        (contact.uuid(), Cow::Borrowed(outcome.map_or("ADDED", String::as_str)))
    }));
    let per_agent = spread.is_some().then(|| {
        let mut counts: HashMap<AgentId, u64> = HashMap::new();
        assigned.iter().for_each(|agent| *counts.entry(*agent).or_default() += 1);
        staff
            .iter()
            .map(|row| AgentAdded {
                agent_id: row.agent_id.uuid(),
                added: counts.get(&row.agent_id).copied().unwrap_or(0),
            })
            .collect()
    });
    let result = skips.result(&mut view, &ctx, &added, not_found, truncated).await?;
    let command = RosterCommand::Add { campaign_id, contact_ids: added, assign: assigned };
    let writes = roster_writes(&mut view, &ctx, campaign_id, command).await?;
    let mut guards = unchanged(&staff);
    guards.push(unchanged_campaign(&listed));
    Ok(Plan { writes, guards, absent: vec![], effects, answer: ContactsAdded { result, per_agent } })
}

fn resolved(input: FilterInput, given: Option<&GivenContacts>) -> ContactFilter {
    ContactFilter {
        import_id: input.import_folder_id.map(|given| given.id),
        search: input.search,
        tags_any: input.tags_any,
        tags_all: input.tags_all,
        has_email: input.has_email,
        has_phone: input.has_phone,
        city: input.city,
        created_after: input.created_after.map(|moment| moment.0),
        created_before: input.created_before.map(|moment| moment.0),
        contact_ids: given.map(|given| given.known.clone()),
        custom_fields: input.custom_fields.into_iter().collect(),
    }
}

/// The contacts to add, by id, and whether there were more than may be added. Contacts behind the limit are counted and
/// not looked at.
async fn select(
    view: &mut View,
    ctx: &ToolContext,
    filter: &ContactFilter,
    against: &Against<'_>,
    most: usize,
    skips: &mut Skips,
) -> ToolResult<(Vec<ContactId>, bool)> {
    let organization = ctx.organization();
    let mut added = Vec::new();
    let mut looked_at = 0_u64;
    let mut after = None;
    loop {
        let chunk = selection::candidates(view, organization, filter, against, after, CHUNK).await?;
        let last = (chunk.len() as i64) < CHUNK;
        after = chunk.last().map(|candidate| candidate.contact_id);
        for candidate in &chunk {
            let contact = candidate.contact_id;
            match in_the_way(candidate) {
                Some(reason) => skips.skip(reason, contact),
                None if left_out(ctx, contact) => skips.skip("NOT_IN_PREVIEW", contact),
                None if added.len() == most => skips.skip("LIMIT_REACHED", contact),
                None => added.push(contact),
            }
        }
        looked_at += chunk.len() as u64;
        if last {
            break;
        }
        if added.len() == most {
            let all = selection::count(view, organization, filter, i64::MAX).await?;
            skips.unseen("LIMIT_REACHED", all.saturating_sub(looked_at));
            break;
        }
    }
    let truncated = skips.by_reason.contains_key("LIMIT_REACHED");
    Ok((added, truncated))
}

/// Why a contact cannot be added.
fn in_the_way(candidate: &Candidate) -> Option<&'static str> {
    if candidate.erased {
        Some("ERASED")
    } else if candidate.in_campaign {
        Some("ALREADY_IN_CAMPAIGN")
    } else if candidate.do_not_contact {
        Some("DO_NOT_CONTACT")
    } else if !candidate.reachable() {
        Some("NO_CHANNEL")
    } else if candidate.in_other_campaign {
        Some("IN_OTHER_CAMPAIGN")
    } else {
        None
    }
}

/// Who gets whom, in the order of the contacts; what a preview showed holds.
async fn spread_over(
    view: &mut View,
    ctx: &ToolContext,
    spread: Spread,
    staff: &[AgentRow],
    contacts: &[ContactId],
) -> ToolResult<Vec<AgentId>> {
    let staff: Vec<AgentId> = staff.iter().map(|row| row.agent_id).collect();
    let loads = campaign_counters::open_loads(view, ctx.organization(), &staff).await?;
    let agents: Vec<(AgentId, u64, u64)> =
        staff.iter().zip(loads).map(|(agent, load)| (*agent, load, u64::MAX)).collect();
    let spread = distribute(spread, &agents, contacts.len());
    Ok(contacts
        .iter()
        .zip(spread)
        .filter_map(|(contact, agent)| shown(ctx, *contact).and_then(agent_of).or(agent))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(n: u128) -> ContactId {
        ContactId(Uuid::from_u128(n))
    }

    fn candidate() -> Candidate {
        Candidate {
            contact_id: contact(1),
            in_campaign: false,
            in_other_campaign: false,
            do_not_contact: false,
            erased: false,
            email_key: Some(Uuid::from_u128(1)),
            phone_key: None,
            source: Default::default(),
        }
    }

    #[test]
    fn a_contact_is_skipped_for_the_gravest_reason() {
        let all = Candidate {
            in_campaign: true,
            in_other_campaign: true,
            do_not_contact: true,
            erased: true,
            email_key: None,
            ..candidate()
        };
        for (candidate, reason) in [
            (candidate(), None),
            (all, Some("ERASED")),
            (Candidate { erased: false, ..all }, Some("ALREADY_IN_CAMPAIGN")),
            (Candidate { erased: false, in_campaign: false, ..all }, Some("DO_NOT_CONTACT")),
            (Candidate { email_key: None, ..candidate() }, Some("NO_CHANNEL")),
            (Candidate { email_key: None, phone_key: Some(Uuid::nil()), ..candidate() }, None),
            (Candidate { in_other_campaign: true, ..candidate() }, Some("IN_OTHER_CAMPAIGN")),
        ] {
            assert_eq!(in_the_way(&candidate), reason, "{candidate:?}");
        }
    }

    #[test]
    fn everybody_is_a_filter_that_names_nothing() {
        let filter = |value| serde_json::from_value::<FilterInput>(value).unwrap();
        for (value, everybody) in [
            (json!({ "source": "crm" }), true),
            (json!({ "source": "crm", "search": "" }), true),
            (json!({ "source": "crm", "city": "Lyon" }), false),
            (json!({ "source": "crm", "hasEmail": false }), false),
            (json!({ "source": "import_folder" }), false),
        ] {
            assert_eq!(filter(value.clone()).everybody(), everybody, "{value}");
        }
    }

    #[test]
    fn a_folder_is_named_if_and_only_if_it_is_the_source() {
        let code = |value| {
            let checked = serde_json::from_value::<FilterInput>(value).unwrap().checked();
            checked.err().map(|refusal| refusal.field_errors()[0].code)
        };
        assert_eq!(code(json!({ "source": "import_folder" })), Some("REQUIRED"));
        assert_eq!(code(json!({ "source": "crm", "importFolderId": "x" })), Some("CONTRADICTION"));
        assert_eq!(code(json!({ "source": "import_folder", "importFolderId": "x" })), None);
    }
}
