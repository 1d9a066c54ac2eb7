//! Logging calls: what a caller did with one contact of a campaign, and what follows from it.
//!
//! One call is one command: the call itself, the follow-up that was agreed on, and the opt-out if that is how it
//! went are recorded together or not at all. Whether the contact is in the campaign is asked of the read models and
//! fenced by the version of the campaign's roster, so that a contact that is being taken out is not called.

use std::collections::BTreeMap;

use docket_aggregates::agent::Agent;
use docket_aggregates::campaign::{Campaign, CampaignStatus};
use docket_aggregates::contact::{Contact, ContactCommand, ContactError};
use docket_aggregates::follow_up::{FollowUp, FollowUpCommand, FollowUpError};
use docket_aggregates::ids::{AgentId, CallId, CampaignId, ContactId, FollowUpId, OrganizationId};
use docket_aggregates::membership::{
    CallOutcome, Membership, MembershipCommand, MembershipError, MembershipEvent, MembershipStatus, Stay,
};
use docket_aggregates::roster::Roster;
use docket_aggregates::{Decides, Timestamp};
use docket_projections::{follow_ups, memberships, rosters};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::contacts::address_hashes;
use crate::follow_ups::unchanged;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, Guard, Stream, Versioned, Write};
use crate::readside::Consistency;
use crate::service::{Call, Done, ServiceError};
use crate::shapes::{Instant, OneOf};
use crate::suppressions;

/// How often a call is decided anew because something that it rests on changed.
const TRIES: usize = 5;

/// Why work on a contact is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkRefusal {
    /// There is no such campaign.
    #[error("campaign does not exist")]
    UnknownCampaign,
    /// There is no such contact.
    #[error("contact does not exist")]
    UnknownContact,
    /// There is no such caller.
    #[error("agent does not exist")]
    UnknownAgent,
    /// There is no such follow-up.
    #[error("follow-up does not exist")]
    UnknownFollowUp,
    /// The campaign is over.
    #[error("a campaign that is {} takes no calls", .0.name())]
    CampaignOver(CampaignStatus),
    /// The caller takes no work.
    #[error("agent is not active")]
    InactiveAgent,
    /// The contact is not in the campaign.
    #[error("contact is not in the campaign")]
    NotInCampaign,
    /// The contact asked not to be contacted.
    #[error("contact asked not to be contacted")]
    DoNotContact,
    /// The contact asked not to be contacted, and yet a follow-up is wanted.
    #[error("a contact that asked not to be contacted gets no follow-up")]
    FollowUpAgainstWill,
    /// The contact's data was erased.
    #[error("contact was erased")]
    Erased,
    /// The follow-up refuses.
    #[error(transparent)]
    FollowUp(#[from] FollowUpError),
}

impl From<MembershipError> for WorkRefusal {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::DoNotContact => Self::DoNotContact,
            MembershipError::StayIsOver => Self::NotInCampaign,
        }
    }
}

impl From<ContactError> for WorkRefusal {
    fn from(error: ContactError) -> Self {
        match error {
            ContactError::Unknown | ContactError::AlreadyCreated => Self::UnknownContact,
            ContactError::Erased => Self::Erased,
        }
    }
}

/// A call that was made.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// In which campaign.
    pub campaign_id: CampaignId,
    /// To whom.
    pub contact_id: ContactId,
    /// By whom.
    pub agent_id: AgentId,
    /// How it went.
    pub outcome: CallOutcome,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it lasted, in seconds.
    pub duration_seconds: Option<u32>,
    /// What the caller wrote down.
    pub note: Option<String>,
    /// When the contact is to be called again.
    pub follow_up_at: Option<Timestamp>,
}

/// A call as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub call_id: CallId,
    /// In which campaign.
    #[schemars(with = "Uuid")]
    pub campaign_id: CampaignId,
    /// To whom.
    #[schemars(with = "Uuid")]
    pub contact_id: ContactId,
    /// By whom.
    #[schemars(with = "Uuid")]
    pub agent_id: AgentId,
    /// How it went.
    #[schemars(with = "OneOf<CallOutcome>")]
    pub outcome: CallOutcome,
    /// When it began.
    #[schemars(with = "Instant")]
    pub started_at: Timestamp,
    /// How long it lasted, in seconds.
    pub duration_seconds: Option<u32>,
    /// What the caller wrote down.
    pub note: Option<String>,
    /// Which attempt it was since the contact was put in, from 1.
    pub attempt: u32,
    /// Where the contact stands after it.
    #[schemars(with = "OneOf<MembershipStatus>")]
    pub status: MembershipStatus,
    /// The follow-up that was agreed on.
    #[schemars(with = "Option<Uuid>")]
    pub follow_up_id: Option<FollowUpId>,
    /// When it is due.
    #[schemars(with = "Option<Instant>")]
    pub follow_up_at: Option<Timestamp>,
}

/// What a decision about one contact of a campaign rests on.
pub(crate) struct Ground {
    pub stay: Stay,
    pub agent_id: Option<AgentId>,
    pub membership: Versioned<Membership>,
    pub contact: Versioned<Contact>,
    pub campaign: Versioned<Campaign>,
    pub guards: Vec<Guard>,
}

impl Ground {
    /// Reads it: as it was last seen, or as it is. What was last seen is fenced by the append.
    pub(crate) async fn read(
        app: &App,
        organization: OrganizationId,
        consistency: Consistency,
        campaign_id: CampaignId,
        contact_id: ContactId,
    ) -> Result<Self, ServiceError<WorkRefusal>> {
        let campaign = state::<Campaign>(app, organization, consistency, campaign_id).await?;
        if !campaign.exists() {
            return Err(ServiceError::Refused(WorkRefusal::UnknownCampaign));
        }
        let contact = state::<Contact>(app, organization, consistency, contact_id).await?;
        if !contact.exists() {
            return Err(ServiceError::Refused(WorkRefusal::UnknownContact));
        }
        let status = campaign.state.status();
        if matches!(status, CampaignStatus::Completed | CampaignStatus::Archived) {
            return Err(ServiceError::Refused(WorkRefusal::CampaignOver(status)));
        }
        let mut view = app.readside.view(organization, consistency).await?;
        let version = rosters::version(&mut view, organization, campaign_id).await?;
        let row = memberships::get(&mut view, organization, campaign_id, contact_id).await?;
        drop(view);
        let row = row.ok_or(ServiceError::Refused(WorkRefusal::NotInCampaign))?;
        let roster = Stream::of::<Roster>(organization.roster(campaign_id));
        let membership_id = organization.membership(campaign_id, contact_id);
        let membership = state::<Membership>(app, organization, consistency, membership_id).await?;
        let guards = vec![Guard { stream: roster, version }, campaign.guard()];
        let stay = Stay { campaign_id, contact_id, epoch: row.epoch };
        Ok(Self { stay, agent_id: row.agent_id, membership, contact, campaign, guards })
    }
}

/// The caller, who must exist and be active.
pub(crate) async fn active_agent(
    app: &App,
    call: &Call,
    consistency: Consistency,
    agent_id: AgentId,
) -> Result<Versioned<Agent>, ServiceError<WorkRefusal>> {
    let agent = state::<Agent>(app, call.organization, consistency, agent_id).await?;
    match (agent.state.exists(), agent.state.active()) {
        (false, _) => Err(ServiceError::Refused(WorkRefusal::UnknownAgent)),
        (true, false) => Err(ServiceError::Refused(WorkRefusal::InactiveAgent)),
        (true, true) => Ok(agent),
    }
}

/// An aggregate as it was last seen, or as it is.
async fn state<A: Decides + Clone + 'static>(
    app: &App,
    organization: OrganizationId,
    consistency: Consistency,
    id: impl Into<Uuid>,
) -> Result<Versioned<A>, ReadError> {
    match consistency {
        Consistency::Eventual => app.ledger.glance(organization, id).await,
        Consistency::Strong { .. } => app.ledger.load(organization, id).await,
    }
}

/// A decision is made first on what was last seen, and then, if that was refused by the append or by itself, on what
/// is there, until that did not change meanwhile.
pub(crate) struct Tries {
    /// On what the next decision is made.
    pub consistency: Consistency,
    left: usize,
}

impl Tries {
    pub(crate) fn begin() -> Self {
        Self { consistency: Consistency::Eventual, left: TRIES }
    }

    /// Whether the decision is to be made again.
    pub(crate) fn again<T, R>(&mut self, result: &Result<T, ServiceError<R>>) -> bool {
        let again = match result {
            Err(ServiceError::Append(AppendError::Conflict)) => true,
            Err(ServiceError::Refused(_)) => self.consistency == Consistency::Eventual,
            _ => false,
        };
        self.consistency = Consistency::STRONG;
        self.left = self.left.saturating_sub(1);
        again && self.left > 0
    }
}

/// Logs a call.
pub async fn log(app: &App, call: &Call, new: NewCall) -> Result<Done<CallView>, ServiceError<WorkRefusal>> {
    let call_id: CallId = app.clock.mint();
    if new.outcome == CallOutcome::DoNotContact && new.follow_up_at.is_some() {
        return Err(ServiceError::Refused(WorkRefusal::FollowUpAgainstWill));
    }
    let follow_up_id: Option<FollowUpId> = new.follow_up_at.map(|_| app.clock.mint());
    let mut tries = Tries::begin();
    loop {
        let result = log_once(app, call, &new, call_id, follow_up_id, tries.consistency).await;
        if !tries.again(&result) {
            return result;
        }
    }
}

async fn log_once(
    app: &App,
    call: &Call,
    new: &NewCall,
    call_id: CallId,
    follow_up_id: Option<FollowUpId>,
    consistency: Consistency,
) -> Result<Done<CallView>, ServiceError<WorkRefusal>> {
    let ground = Ground::read(app, call.organization, consistency, new.campaign_id, new.contact_id).await?;
    let agent = active_agent(app, call, consistency, new.agent_id).await?;
    let Ground { stay, membership, contact, campaign, mut guards, .. } = ground;
    if contact.state.opted_out() {
        return Err(ServiceError::Refused(WorkRefusal::DoNotContact));
    }
    guards.push(agent.guard());
    // Where somebody concluded, the status does not tell whether what was promised before is still pending.
    let mut promised = None;
    if membership.state.status(stay).is_some_and(|status| !status.open()) {
        // Known for certain from a strong view only: a follow-up that is not seen leaves nothing to guard.
        let mut view = app.readside.view(call.organization, Consistency::STRONG).await?;
        let contact = [new.contact_id];
        let pending = follow_ups::pending(&mut view, call.organization, new.campaign_id, &contact).await?;
        promised = pending.into_iter().next();
    }
    // It may be closed in this very moment, and would leave the status behind.
    guards.extend(promised.iter().map(unchanged));

    let events = membership
        .state
        .decide(MembershipCommand::LogCall {
            stay,
            call_id,
            agent_id: new.agent_id,
            outcome: new.outcome,
            started_at: new.started_at,
            duration_seconds: new.duration_seconds,
            note: new.note.clone(),
            max_attempts: campaign.state.settings().max_attempts,
            follow_up: follow_up_id,
            promised: promised.is_some(),
        })
        .map_err(|error| ServiceError::Refused(error.into()))?;
    let Some(MembershipEvent::CallLogged { attempt, status, .. }) = events.first() else {
        return Err(AppendError::Conflict.into());
    };
    let entity = CallView {
        call_id,
        campaign_id: new.campaign_id,
        contact_id: new.contact_id,
        agent_id: new.agent_id,
        outcome: new.outcome,
        started_at: new.started_at,
        duration_seconds: new.duration_seconds,
        note: new.note.clone(),
        attempt: *attempt,
        status: *status,
        follow_up_id,
        follow_up_at: new.follow_up_at,
    };

    let mut writes = vec![membership.write(events.clone())];
    if let (Some(follow_up_id), Some(due_at)) = (follow_up_id, new.follow_up_at) {
        let follow_up = app.ledger.glance::<FollowUp>(call.organization, follow_up_id).await?;
        let scheduled = follow_up
            .state
            .decide(FollowUpCommand::Schedule {
                follow_up_id,
                campaign_id: new.campaign_id,
                contact_id: new.contact_id,
                agent_id: new.agent_id,
                due_at,
                note: new.note.clone(),
            })
            .map_err(|error| ServiceError::Refused(error.into()))?;
        writes.push(follow_up.write(scheduled));
    }
    let mut opted_out = vec![];
    if new.outcome == CallOutcome::DoNotContact {
        let keys = app.ledger.keys().organization(call.organization).await?;
        let addresses = contact.state.profile().map(|known| address_hashes(&keys, known)).unwrap_or_default();
        opted_out = contact
            .state
            .decide(ContactCommand::OptOut { via: "call", addresses })
            .map_err(|error| ServiceError::Refused(error.into()))?;
        writes.extend(cancelled_follow_ups(app, call.organization, &[new.contact_id]).await?);
        // What was said on the telephone stands on the same list as what was said in a mail.
        if let Some(profile) = contact.state.profile() {
            writes.extend(suppressions::of_contact(app, call.organization, new.contact_id, profile).await?);
        }
    }
    // Either the contact is written to, or it must still be one that may be called.
    if opted_out.is_empty() {
        guards.push(contact.guard());
    } else {
        writes.push(contact.write(opted_out.clone()));
    }
    let request = call.request(&entity)?;
    let appended = app.ledger.append(call.command(writes, guards, request)).await?;
    Ok(Done { entity, appended: Some(appended) })
}

/// Nobody calls a contact again that is not to be contacted: what was promised is taken back in every campaign. These are
/// the follow-ups that are known; one that is scheduled before the opt-out is recorded and after this look is cancelled
/// by the opt-out's own event (see the read model), and none is scheduled after it.
pub(crate) async fn cancelled_follow_ups<R>(
    app: &App,
    organization: OrganizationId,
    contacts: &[ContactId],
) -> Result<Vec<Write>, ServiceError<R>> {
    if contacts.is_empty() {
        return Ok(vec![]);
    }
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let mut by_campaign: BTreeMap<CampaignId, Vec<ContactId>> = BTreeMap::new();
    for stay in memberships::of_contacts(&mut view, organization, contacts, None).await? {
        by_campaign.entry(stay.campaign_id).or_default().push(stay.contact_id);
    }
    let mut pending = Vec::new();
    for (campaign, contacts) in by_campaign {
        pending.extend(follow_ups::pending(&mut view, organization, campaign, &contacts).await?);
    }
    drop(view);
    let mut writes = Vec::new();
    for promised in pending {
        let follow_up = app.ledger.load::<FollowUp>(organization, promised.follow_up_id).await?;
        let cancel = FollowUpCommand::Cancel { because: "do_not_contact" };
        // One that was closed meanwhile needs nothing.
        writes.push(follow_up.write(follow_up.state.decide(cancel).unwrap_or_default()));
    }
    Ok(writes)
}
