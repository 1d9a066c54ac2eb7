//! The sample's mails: sent into the test mailbox, waiting for a person, refused, answered.
//!
//! The dispatcher runs meanwhile, and does what it always does. Replies come in by LMTP, from the mailbox.

use std::time::Duration;

use docket_aggregates::approval_rules::{Action, NicheIs, Predicate};
use docket_aggregates::calendar::{HoursOfDay, WeeklyHours};
use docket_aggregates::channel::Channel;
use docket_aggregates::content_piece::PieceText;
use docket_aggregates::credential::{CredentialError, SecretRef};
use docket_aggregates::enrollment::EnrollmentStatus;
use docket_aggregates::ids::{MessageId, OrganizationId, OutboxId};
use docket_aggregates::membership::MembershipStatus;
use docket_aggregates::message::MessageStatus;
use docket_aggregates::outbox::OutboxSettings;
use docket_projections::contacts;
use docket_projections::memberships::{self, MembershipFilter};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::data::{
    DOMAIN, DemoLetter, DemoOutbox, DemoPiece, DemoRecipient, DemoRule, DemoSends, DemoSequence, LetterThen,
};
use super::mailbox::Mailbox;
use super::{DOOR, DemoError, Loading, PATIENCE};
use crate::app::App;
use crate::content_pieces::NewContentPiece;
use crate::sending::{Activity, SendRequest, activity, draft, outcome};
use crate::sequences::enrolling::Selection;
use crate::sequences::enrollments::EnrollmentView;
use crate::sequences::{NewStep, enrolling, enrollments, runner};
use crate::service::{Call, ServiceError};
use crate::{allowlist, approval_rules, approvals, content_pieces, hearing, outboxes, secrets, sequences};

/// The secret that holds where the mailbox is.
const SECRET: &str = "test-mailbox";
/// Between two looks at what others do.
const PAUSE: Duration = Duration::from_millis(200);
/// Rules are numbered in steps of this, so that there is room between them.
const PRIORITY_STEP: u32 = 10;
/// Enrollments that are looked at; the sample has fewer.
const ENROLLMENTS_MAX: u32 = 500;

/// Where the outboxes of the sample send: the mailbox, which has another port at each start.
pub async fn connect(
    app: &App,
    organization: OrganizationId,
    mailbox: &Mailbox,
) -> Result<(), ServiceError<CredentialError>> {
    let call = Call::of_system(app, organization, DOOR);
    secrets::store(app, &call, SECRET, &mailbox.credential()).await.map(drop)
}

impl Loading<'_> {
    pub(super) async fn sends(&mut self, sends: &DemoSends, mailbox: &Mailbox) -> Result<(), DemoError> {
        connect(self.app, self.organization, mailbox)
            .await
            .map_err(could_not_have("the mailbox's secret stored"))?;
        for outbox in sends.outboxes {
            self.outbox(sends, outbox).await?;
        }
        for piece in sends.pieces {
            self.piece(piece).await?;
        }
        for (priority, rule) in (1..).zip(sends.rules) {
            self.rule(priority * PRIORITY_STEP, rule).await?;
        }
        self.allowed(sends.allowed.iter().map(|entry| (*entry).to_owned()).collect()).await?;
        for letter in sends.letters {
            self.letter(sends, letter).await?;
        }
        self.sequence(&sends.sequence, mailbox).await
    }

    async fn outbox(&mut self, sends: &DemoSends, outbox: &DemoOutbox) -> Result<(), DemoError> {
        let config = json!({
            "fromAddress": format!("{}@{DOMAIN}", outbox.mailbox),
            "fromName": outbox.from_name,
        });
        let settings = OutboxSettings {
            niche: Some(outbox.niche.to_owned()),
            secret: SecretRef { secret_id: SECRET.to_owned(), version: None },
            config: config.to_string(),
        };
        let limits = outboxes::Limits {
            daily_cap: Some(Some(sends.daily_cap)),
            time_zone: Some(sends.time_zone.to_owned()),
        };
        let call = self.call(self.operator.actor());
        let opened = outboxes::open(self.app, &call, Channel::Email, settings, limits).await;
        let opened = opened.map_err(could_not_have("a sender opened"))?;
        self.loaded.outboxes.insert(outbox.key, opened.entity.id);
        Ok(())
    }

    async fn piece(&mut self, piece: &DemoPiece) -> Result<(), DemoError> {
        let sha256 = hex::encode(Sha256::digest(piece.text));
        let new = NewContentPiece {
            text: PieceText {
                title: piece.title.to_owned(),
                summary: None,
                source_path: piece.path.to_owned(),
                tags: piece.tags.iter().map(|tag| (*tag).to_owned()).collect(),
                channel_intent: Some(Channel::Email),
                niche: Some(piece.niche.to_owned()),
                frontmatter: None,
            },
            source_sha256: sha256.clone(),
            text_sha256: Some(sha256),
        };
        let added = content_pieces::add(self.app, &self.call(self.operator.actor()), new).await;
        let added = added.map_err(could_not_have("a content piece added"))?;
        self.loaded.pieces.insert(piece.key, added.entity.id);
        Ok(())
    }

    async fn rule(&self, priority: u32, rule: &DemoRule) -> Result<(), DemoError> {
        let predicate = Predicate {
            channel: Some(Channel::Email),
            niche: rule.niche.map(|niche| NicheIs::Slug(niche.to_owned())),
            tags: rule.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            time_of_day: None,
        };
        let action = if rule.goes { Action::AutoApprove } else { Action::QueueForManual };
        let call = self.call(self.operator.actor());
        let added = approval_rules::add(self.app, &call, predicate, action, priority, false).await;
        added.map(drop).map_err(could_not_have("an approval rule added"))
    }

    async fn allowed(&self, entries: Vec<String>) -> Result<(), DemoError> {
        self.caught_up().await?;
        let allowed = allowlist::allow(self.app, &self.call(self.operator.actor()), &entries, false).await;
        allowed.map(drop).map_err(could_not_have("the allowlist filled"))
    }

    /// The addresses of the members of a campaign that may be written to, by contact id.
    async fn addresses(
        &self,
        campaign: &'static str,
        status_in: Vec<MembershipStatus>,
    ) -> Result<Vec<String>, DemoError> {
        let id = *self.loaded.campaigns.get(campaign).ok_or(DemoError::Unknown(campaign))?;
        let mut view = self.view().await?;
        let filter = MembershipFilter { status_in, ..MembershipFilter::default() };
        let members = memberships::select(&mut view, self.organization, id, &filter, i64::MAX).await?;
        let ids: Vec<_> = members.iter().map(|member| member.contact_id).collect();
        let rows = contacts::by_ids(&mut view, self.organization, &ids).await?;
        Ok(rows.into_iter().filter(|row| !row.do_not_contact).filter_map(|row| row.profile?.email).collect())
    }

    async fn letter(&mut self, sends: &DemoSends, letter: &DemoLetter) -> Result<(), DemoError> {
        self.caught_up().await?;
        let to = match letter.to {
            DemoRecipient::Address(address) => address.to_owned(),
            DemoRecipient::Member(nth) => {
                let mut found = self.addresses(letter.campaign, vec![]).await?;
                if nth >= found.len() {
                    return Err(DemoError::Unknown(letter.campaign));
                }
                let address = found.swap_remove(nth);
                self.allowed(vec![address.clone()]).await?;
                address
            }
        };
        let piece = letter.piece.map(|key| {
            let text = sends.pieces.iter().find(|piece| piece.key == key).map(|piece| piece.text);
            self.loaded.pieces.get(key).copied().zip(text).ok_or(DemoError::Unknown(key))
        });
        let piece = piece.transpose()?;
        let text = piece.map_or(letter.text, |(_, text)| text);
        let agent = self.agent_id(letter.agent)?;
        let payload = json!({ "subject": letter.subject, "text": text });
        let request = SendRequest {
            content_piece_id: piece.map(|(id, _)| id),
            campaign_id: self.loaded.campaigns.get(letter.campaign).copied(),
            agent_id: Some(agent),
            ..SendRequest::new(Channel::Email, self.outbox_id(letter.outbox)?, to, payload)
        };
        let drafted = draft(self.app, &self.call_of(agent), request).await;
        let drafted = drafted.map_err(could_not_have("a mail drafted"))?.entity;
        let expected = match letter.then {
            LetterThen::Goes => {
                self.sent(drafted.id).await?;
                MessageStatus::Sent
            }
            LetterThen::Waits => {
                self.loaded.waiting += 1;
                MessageStatus::DraftPendingApproval
            }
            LetterThen::Approved => {
                self.answered(&drafted, None).await?;
                self.sent(drafted.id).await?;
                MessageStatus::Sent
            }
            LetterThen::Rejected(note) => {
                self.answered(&drafted, Some(note)).await?;
                MessageStatus::Failed
            }
            LetterThen::Blocked => MessageStatus::BlockedByAllowlist,
        };
        self.became(drafted.id, expected).await.map(drop)
    }

    /// The head of the team says yes, or no with a note.
    async fn answered(&self, drafted: &Activity, no: Option<&str>) -> Result<(), DemoError> {
        let call = self.call_of(self.agent_id("camille")?);
        let approval = drafted.approval_id.ok_or(DemoError::NotSent)?;
        let answered = match no {
            None => approvals::approve(self.app, &call, approval, drafted.content_hash.clone(), None).await,
            Some(note) => approvals::reject(self.app, &call, approval, note.to_owned()).await,
        };
        answered.map(drop).map_err(could_not_have("an approval answered"))
    }

    /// Waits until a mail is in the mailbox, also where its first try did not get through.
    async fn sent(&mut self, message: MessageId) -> Result<String, DemoError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let within = until.saturating_duration_since(Instant::now());
            let waited = outcome::wait(self.app, self.organization, message, within).await;
            waited.map_err(could_not_have("a mail sent"))?;
            match self.became(message, MessageStatus::Sent).await {
                Err(DemoError::NotSent) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
                Ok(recipient) => {
                    self.loaded.mails += 1;
                    return Ok(recipient);
                }
            }
        }
    }

    /// The recipient of a mail that must have come to this.
    async fn became(&self, message: MessageId, expected: MessageStatus) -> Result<String, DemoError> {
        let row = activity::read(self.app, self.organization, message)
            .await
            .map_err(could_not_have("a mail found"))?;
        let row = row.filter(|row| row.status == expected).ok_or(DemoError::NotSent)?;
        row.recipient.ok_or(DemoError::NotSent)
    }

    /// Leads those who were won through the sequence, up to its first mail. One of them answers, another one unsubscribes.
    async fn sequence(&mut self, sequence: &DemoSequence, mailbox: &Mailbox) -> Result<(), DemoError> {
        const WON: MembershipStatus = MembershipStatus::Qualified;
        let outbox_id = self.outbox_id(sequence.outbox)?;
        let steps = sequence.steps.iter().map(|(wait_minutes, subject, text)| NewStep {
            outbox_id,
            channel: None,
            wait_minutes: *wait_minutes,
            window: (*wait_minutes > 0).then(office_hours),
            payload: json!({ "subject": subject, "text": text }),
        });
        let call = self.call_of(self.agent_id(sequence.author)?);
        let made = sequences::create(self.app, &call, sequence.name.to_owned(), steps.collect()).await;
        let id = made.map_err(could_not_have("a sequence made"))?.entity.id;
        self.loaded.sequence = Some(id);

        self.allowed(self.addresses(sequence.campaign, vec![WON]).await?).await?;
        let campaign_id = *self.loaded.campaigns.get(sequence.campaign).ok_or(DemoError::NotSent)?;
        let selection = Selection { campaign_id, status_in: vec![WON] };
        let call = self.call(self.operator.actor());
        self.caught_up().await?;
        let enrolled = enrolling::enroll(self.app, &call, id, &selection, false).await;
        enrolled.map_err(could_not_have("a contact enrolled"))?;
        let drafted = self.turned(|all| all.iter().all(|one| one.activity_id.is_some())).await?;
        let messages: Vec<MessageId> = drafted.into_iter().filter_map(|one| one.activity_id).collect();
        let mut recipients = Vec::with_capacity(messages.len());
        for message in &messages {
            recipients.push(self.sent(*message).await?);
        }
        let ([_, leaving, ..], [answering, ..]) = (&messages[..], &recipients[..]) else {
            return Err(DemoError::NotSent);
        };
        let mail = mailbox.letters().list(Some(answering)).into_iter().next().ok_or(DemoError::NotSent)?;
        let answered = mailbox.letters().answer(mail.number, sequence.reply).await;
        answered.map_err(could_not_have("a mail answered"))?;
        let left = hearing::unsubscribe(self.app, self.organization, *leaving).await;
        left.map_err(could_not_have("an address unsubscribed"))?;
        let stopped = |one: &&EnrollmentView| one.state == EnrollmentStatus::Stopped;
        self.turned(|all| all.iter().filter(stopped).count() == 2).await.map(drop)
    }

    /// Does once and again what the server does all the time, until the enrollments are so.
    async fn turned(
        &self,
        wanted: impl Fn(&[EnrollmentView]) -> bool,
    ) -> Result<Vec<EnrollmentView>, DemoError> {
        let id = self.loaded.sequence.ok_or(DemoError::NotTurned)?;
        let until = Instant::now() + PATIENCE;
        loop {
            runner::turn(self.app).await.map_err(could_not_have("a step of the sequence taken"))?;
            self.caught_up().await?;
            let page =
                enrollments::list(self.app, self.organization, id, None, None, ENROLLMENTS_MAX).await?;
            let enrolled = page.map(|page| page.rows).unwrap_or_default();
            if wanted(&enrolled) {
                return Ok(enrolled);
            }
            if Instant::now() >= until {
                return Err(DemoError::NotTurned);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn outbox_id(&self, key: &'static str) -> Result<OutboxId, DemoError> {
        self.loaded.outboxes.get(key).copied().ok_or(DemoError::Unknown(key))
    }
}

/// When people read what is not urgent.
fn office_hours() -> WeeklyHours {
    let hours = HoursOfDay { start: "09:00".into(), end: "17:00".into(), tz: "Europe/Paris".into() };
    WeeklyHours { hours, weekdays: vec![1, 2, 3, 4, 5] }
}

/// The error of a step that did not come to `what`.
fn could_not_have<E>(what: &'static str) -> impl FnOnce(E) -> DemoError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| DemoError::Sending { what, source: source.into() }
}
