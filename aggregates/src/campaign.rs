//! A campaign: its words, days, settings, templates and status.
//!
//! Who is in it stands in its roster, and the work on one contact in that contact's membership, so that a
//! thousand calls never contend with a change of the description. The number of its events is the `version`
//! that the API shows.

mod event;

use serde::{Deserialize, Serialize};

pub use event::{CampaignEvent, CampaignText};

use crate::ids::{AgentId, CampaignId, QualificationTemplateId, ScriptTemplateId};
use crate::personal::Personal;
use crate::stored::aggregate;

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignStatus {
    /// Being prepared.
    #[default]
    Draft,
    /// Being worked on.
    Active,
    /// Resting.
    Paused,
    /// Done.
    Completed,
    /// Put away, for good.
    Archived,
}

impl CampaignStatus {
    /// Every status, in the order of a campaign's life.
    pub const ALL: [Self; 5] = [Self::Draft, Self::Active, Self::Paused, Self::Completed, Self::Archived];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Archived => "archived",
        }
    }

    /// Whether contacts may be added and assigned.
    pub const fn takes_contacts(self) -> bool {
        matches!(self, Self::Draft | Self::Active | Self::Paused)
    }

    /// draft → active or archived; active ↔ paused; active or paused → completed; any → archived.
    const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Draft | Self::Paused, Self::Active)
                | (Self::Active, Self::Paused)
                | (Self::Active | Self::Paused, Self::Completed)
                | (Self::Draft | Self::Active | Self::Paused | Self::Completed, Self::Archived)
        )
    }
}

impl std::str::FromStr for CampaignStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("status must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The hours in which calls are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallWindow {
    /// Local time `HH:MM`, inclusive.
    pub start: String,
    /// Local time `HH:MM`, exclusive; before `start` means over midnight.
    pub end: String,
    /// IANA time zone.
    pub tz: String,
}

/// How a campaign is worked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignSettings {
    /// Calls without an answer after which a contact counts as unreachable, 1 to 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u8>,
    /// The hours in which calls are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_window: Option<CallWindow>,
}

/// What a change may say; absent keeps, `Some(None)` clears.
#[derive(Clone, Debug, Default)]
pub struct CampaignPatch {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<Option<String>>,
    /// New goal.
    pub goal: Option<Option<String>>,
    /// New status.
    pub status: Option<CampaignStatus>,
    /// New call script.
    pub script_template_id: Option<Option<ScriptTemplateId>>,
    /// New qualification form.
    pub qualification_template_id: Option<Option<QualificationTemplateId>>,
    /// New callers.
    pub agent_ids: Option<Vec<AgentId>>,
    /// New first day.
    pub start_date: Option<Option<String>>,
    /// New last day.
    pub end_date: Option<Option<String>>,
    /// New settings.
    pub settings: Option<CampaignSettings>,
}

/// Orders to a campaign.
#[derive(Clone, Debug)]
pub enum CampaignCommand {
    /// Set it up.
    Create {
        /// A fresh id.
        campaign_id: CampaignId,
        /// Name, description, goal.
        text: CampaignText,
        /// `draft` or `active`.
        status: CampaignStatus,
        /// The call script.
        script_template_id: Option<ScriptTemplateId>,
        /// The qualification form.
        qualification_template_id: Option<QualificationTemplateId>,
        /// The callers who work on it.
        agent_ids: Vec<AgentId>,
        /// First day, `YYYY-MM-DD`.
        start_date: Option<String>,
        /// Last day, `YYYY-MM-DD`.
        end_date: Option<String>,
        /// Attempts and call window.
        settings: CampaignSettings,
    },
    /// Change what the patch says.
    Change(Box<CampaignPatch>),
}

/// Why a campaign refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CampaignError {
    /// The stream is empty.
    #[error("campaign does not exist")]
    Unknown,
    /// The id is taken.
    #[error("campaign already exists")]
    AlreadyCreated,
    /// Its text was erased, so that it cannot be reworded.
    #[error("campaign was erased")]
    Erased,
    /// A campaign starts as a draft or active.
    #[error("a campaign cannot be created {}", .0.name())]
    CannotStartAs(CampaignStatus),
    /// The status does not lead there.
    #[error("a campaign that is {} cannot become {}", .from.name(), .to.name())]
    IllegalTransition {
        /// Where it stands.
        from: CampaignStatus,
        /// Where it was to go.
        to: CampaignStatus,
    },
    /// An archived campaign stays as it is.
    #[error("campaign is archived")]
    Archived,
    /// The last day is before the first.
    #[error("campaign ends before it starts")]
    EndsBeforeStart,
}

/// The state that decisions need, and that `get_campaign` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Name, description and goal; none while the campaign does not exist.
    pub text: Option<Personal<CampaignText>>,
    /// Where it stands.
    pub status: CampaignStatus,
    /// The call script.
    pub script_template_id: Option<ScriptTemplateId>,
    /// The qualification form.
    pub qualification_template_id: Option<QualificationTemplateId>,
    /// The callers who work on it.
    pub agent_ids: Vec<AgentId>,
    /// First day.
    pub start_date: Option<String>,
    /// Last day.
    pub end_date: Option<String>,
    /// Attempts and call window.
    pub settings: CampaignSettings,
}

aggregate!(Campaign, "Campaign", CampaignCommand, CampaignEvent, CampaignError);

impl Campaign {
    /// The whole business of a campaign.
    fn decide(&self, command: CampaignCommand) -> Result<Vec<CampaignEvent>, CampaignError> {
        match (command, &self.text) {
            (CampaignCommand::Create { .. }, Some(_)) => Err(CampaignError::AlreadyCreated),
            (CampaignCommand::Create { status, .. }, None)
                if !matches!(status, CampaignStatus::Draft | CampaignStatus::Active) =>
            {
                Err(CampaignError::CannotStartAs(status))
            }
            (CampaignCommand::Create { start_date, end_date, .. }, None)
                if ends_before_start(start_date.as_deref(), end_date.as_deref()) =>
            {
                Err(CampaignError::EndsBeforeStart)
            }
            (
                CampaignCommand::Create {
                    campaign_id,
                    text,
                    status,
                    script_template_id,
                    qualification_template_id,
                    agent_ids,
                    start_date,
                    end_date,
                    settings,
                },
                None,
            ) => Ok(vec![CampaignEvent::CampaignCreated {
                campaign_id,
                text: Personal::known(campaign_id.uuid(), text),
                status,
                script_template_id,
                qualification_template_id,
                agent_ids,
                start_date,
                end_date,
                settings,
            }]),

            (CampaignCommand::Change(_), None) => Err(CampaignError::Unknown),
            (CampaignCommand::Change(patch), Some(text)) => self.change(text, *patch),
        }
    }

    /// One event for each kind of thing that really differs; none if nothing does.
    fn change(
        &self,
        text: &Personal<CampaignText>,
        patch: CampaignPatch,
    ) -> Result<Vec<CampaignEvent>, CampaignError> {
        let mut events = Vec::new();

        if patch.name.is_some() || patch.description.is_some() || patch.goal.is_some() {
            let known = text.value().ok_or(CampaignError::Erased)?;
            let wanted = CampaignText {
                name: patch.name.unwrap_or_else(|| known.name.clone()),
                description: patch.description.unwrap_or_else(|| known.description.clone()),
                goal: patch.goal.unwrap_or_else(|| known.goal.clone()),
            };
            if wanted != *known {
                let text = Personal::known(text.subject(), wanted);
                events.push(CampaignEvent::CampaignReworded { text });
            }
        }

        let start_date = patch.start_date.unwrap_or_else(|| self.start_date.clone());
        let end_date = patch.end_date.unwrap_or_else(|| self.end_date.clone());
        if (&start_date, &end_date) != (&self.start_date, &self.end_date) {
            if ends_before_start(start_date.as_deref(), end_date.as_deref()) {
                return Err(CampaignError::EndsBeforeStart);
            }
            events.push(CampaignEvent::CampaignScheduled { start_date, end_date });
        }

        if let Some(agent_ids) = patch.agent_ids.filter(|ids| *ids != self.agent_ids) {
            events.push(CampaignEvent::CampaignStaffed { agent_ids });
        }
        if let Some(settings) = patch.settings.filter(|settings| *settings != self.settings) {
            events.push(CampaignEvent::CampaignConfigured { settings });
        }

        let script_template_id = patch.script_template_id.unwrap_or(self.script_template_id);
        let qualification_template_id =
            patch.qualification_template_id.unwrap_or(self.qualification_template_id);
        if (script_template_id, qualification_template_id)
            != (self.script_template_id, self.qualification_template_id)
        {
            events.push(CampaignEvent::TemplatesAttached { script_template_id, qualification_template_id });
        }

        if let Some(to) = patch.status.filter(|status| *status != self.status) {
            if !self.status.may_become(to) {
                return Err(CampaignError::IllegalTransition { from: self.status, to });
            }
            events.push(match to {
                CampaignStatus::Active => CampaignEvent::CampaignActivated {},
                CampaignStatus::Paused => CampaignEvent::CampaignPaused {},
                CampaignStatus::Completed => CampaignEvent::CampaignCompleted {},
                CampaignStatus::Archived => CampaignEvent::CampaignArchived {},
                CampaignStatus::Draft => {
                    return Err(CampaignError::IllegalTransition { from: self.status, to });
                }
            });
        }

        if self.status == CampaignStatus::Archived && !events.is_empty() {
            return Err(CampaignError::Archived);
        }
        Ok(events)
    }

    fn evolve(&mut self, event: CampaignEvent) {
        match event {
            CampaignEvent::CampaignCreated {
                campaign_id: _,
                text,
                status,
                script_template_id,
                qualification_template_id,
                agent_ids,
                start_date,
                end_date,
                settings,
            } => {
                *self = Self {
                    text: Some(text),
                    status,
                    script_template_id,
                    qualification_template_id,
                    agent_ids,
                    start_date,
                    end_date,
                    settings,
                };
            }
            CampaignEvent::CampaignReworded { text } => self.text = Some(text),
            CampaignEvent::CampaignScheduled { start_date, end_date } => {
                self.start_date = start_date;
                self.end_date = end_date;
            }
            CampaignEvent::CampaignStaffed { agent_ids } => self.agent_ids = agent_ids,
            CampaignEvent::CampaignConfigured { settings } => self.settings = settings,
            CampaignEvent::TemplatesAttached { script_template_id, qualification_template_id } => {
                self.script_template_id = script_template_id;
                self.qualification_template_id = qualification_template_id;
            }
            CampaignEvent::CampaignActivated {} => self.status = CampaignStatus::Active,
            CampaignEvent::CampaignPaused {} => self.status = CampaignStatus::Paused,
            CampaignEvent::CampaignCompleted {} => self.status = CampaignStatus::Completed,
            CampaignEvent::CampaignArchived {} => self.status = CampaignStatus::Archived,
        }
    }

    /// Whether it was created.
    pub fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// Where it stands.
    pub fn status(&self) -> CampaignStatus {
        self.status
    }

    /// Attempts and call window.
    pub fn settings(&self) -> &CampaignSettings {
        &self.settings
    }
}

/// Days as `YYYY-MM-DD` compare as text.
fn ends_before_start(start: Option<&str>, end: Option<&str>) -> bool {
    matches!((start, end), (Some(start), Some(end)) if end < start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Campaign>;
    const ID: CampaignId = CampaignId(Uuid::from_u128(1));

    fn text(name: &str) -> CampaignText {
        CampaignText { name: name.into(), description: Some("Spring".into()), goal: None }
    }

    fn create(status: CampaignStatus) -> CampaignCommand {
        CampaignCommand::Create {
            campaign_id: ID,
            text: text("Spring"),
            status,
            script_template_id: None,
            qualification_template_id: None,
            agent_ids: vec![],
            start_date: Some("2026-03-01".into()),
            end_date: None,
            settings: CampaignSettings::default(),
        }
    }

    fn created() -> CampaignEvent {
        CampaignEvent::CampaignCreated {
            campaign_id: ID,
            text: Personal::known(ID.uuid(), text("Spring")),
            status: CampaignStatus::Draft,
            script_template_id: None,
            qualification_template_id: None,
            agent_ids: vec![],
            start_date: Some("2026-03-01".into()),
            end_date: None,
            settings: CampaignSettings::default(),
        }
    }

    fn change(patch: CampaignPatch) -> CampaignCommand {
        CampaignCommand::Change(Box::new(patch))
    }

    fn become_(status: CampaignStatus) -> CampaignCommand {
        change(CampaignPatch { status: Some(status), ..CampaignPatch::default() })
    }

    fn in_status(status: CampaignStatus) -> Vec<CampaignEvent> {
        let mut events = vec![created()];
        match status {
            CampaignStatus::Draft => (),
            CampaignStatus::Active => events.push(CampaignEvent::CampaignActivated {}),
            CampaignStatus::Paused => {
                events.extend([CampaignEvent::CampaignActivated {}, CampaignEvent::CampaignPaused {}]);
            }
            CampaignStatus::Completed => {
                events.extend([CampaignEvent::CampaignActivated {}, CampaignEvent::CampaignCompleted {}]);
            }
            CampaignStatus::Archived => events.push(CampaignEvent::CampaignArchived {}),
        }
        events
    }

    #[test]
    fn a_campaign_is_created_once() {
        Given::with(())
            .given_no_previous_events()
            .when(create(CampaignStatus::Draft))
            .then_expect_events(vec![created()]);
        Given::with(())
            .given(vec![created()])
            .when(create(CampaignStatus::Draft))
            .then_expect_error(CampaignError::AlreadyCreated);
    }

    #[test]
    fn a_campaign_starts_as_draft_or_active_only() {
        for status in [CampaignStatus::Paused, CampaignStatus::Completed, CampaignStatus::Archived] {
            Given::with(())
                .given_no_previous_events()
                .when(create(status))
                .then_expect_error(CampaignError::CannotStartAs(status));
        }
    }

    #[test]
    fn every_transition_is_legal_or_refused() {
        use CampaignStatus::{Active, Archived, Completed, Draft, Paused};
        let legal = [
            (Draft, Active),
            (Draft, Archived),
            (Active, Paused),
            (Paused, Active),
            (Active, Completed),
            (Paused, Completed),
            (Active, Archived),
            (Paused, Archived),
            (Completed, Archived),
        ];
        for from in CampaignStatus::ALL {
            for to in CampaignStatus::ALL {
                let given = Given::with(()).given(in_status(from)).when(become_(to));
                if from == to {
                    given.then_expect_events(vec![]);
                } else if legal.contains(&(from, to)) {
                    assert_eq!(given.inspect_result().unwrap().len(), 1, "{from:?} to {to:?}");
                } else {
                    given.then_expect_error(CampaignError::IllegalTransition { from, to });
                }
            }
        }
    }

    #[test]
    fn a_patch_that_changes_nothing_is_no_event() {
        let patch = CampaignPatch {
            name: Some("Spring".into()),
            description: Some(Some("Spring".into())),
            start_date: Some(Some("2026-03-01".into())),
            agent_ids: Some(vec![]),
            script_template_id: Some(None),
            ..CampaignPatch::default()
        };
        Given::with(()).given(vec![created()]).when(change(patch)).then_expect_events(vec![]);
    }

    #[test]
    fn null_clears_and_absent_keeps() {
        let patch = CampaignPatch { description: Some(None), ..CampaignPatch::default() };
        let reworded = CampaignText { description: None, ..text("Spring") };
        Given::with(()).given(vec![created()]).when(change(patch)).then_expect_events(vec![
            CampaignEvent::CampaignReworded { text: Personal::known(ID.uuid(), reworded) },
        ]);
    }

    #[test]
    fn a_campaign_does_not_end_before_it_starts() {
        let patch = CampaignPatch { end_date: Some(Some("2026-02-28".into())), ..CampaignPatch::default() };
        Given::with(())
            .given(vec![created()])
            .when(change(patch))
            .then_expect_error(CampaignError::EndsBeforeStart);
    }

    #[test]
    fn an_archived_campaign_stays_as_it_is() {
        let patch = CampaignPatch { name: Some("Summer".into()), ..CampaignPatch::default() };
        Given::with(())
            .given(in_status(CampaignStatus::Archived))
            .when(change(patch))
            .then_expect_error(CampaignError::Archived);
    }

    #[test]
    fn attaching_the_same_template_is_no_event() {
        let script = ScriptTemplateId(Uuid::from_u128(5));
        let attach =
            || change(CampaignPatch { script_template_id: Some(Some(script)), ..CampaignPatch::default() });
        let attached = CampaignEvent::TemplatesAttached {
            script_template_id: Some(script),
            qualification_template_id: None,
        };
        Given::with(()).given(vec![created()]).when(attach()).then_expect_events(vec![attached.clone()]);
        Given::with(()).given(vec![created(), attached]).when(attach()).then_expect_events(vec![]);
    }
}
