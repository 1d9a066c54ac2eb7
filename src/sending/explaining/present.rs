//! What would become of a message now: the checks of the moment of dispatch, without an append.

use docket_aggregates::Decides;
use docket_aggregates::Timestamp;
use docket_aggregates::allowlist::Allowlist;
use docket_aggregates::approval_rules::ApprovalRules;
use docket_aggregates::bucket::Bucket;
use docket_aggregates::channel::Channel;
use docket_aggregates::content_piece::ContentPiece;
use docket_aggregates::correspondence::{Correspondence, CorrespondenceCommand};
use docket_aggregates::credential::Credential;
use docket_aggregates::ids::{ApprovalId, MessageId, OrganizationId};
use docket_aggregates::judgement::{self, At, AtDispatch, Ground, HeldBack, Leading, Seen};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{DispatchState, Message, MessageStatus, Reason, Ruling};
use docket_aggregates::outbox::Outbox;
use docket_aggregates::sending_control::{PauseScope, SendingControl};
use docket_projections::messages::MessageRow;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::words;
use crate::app::App;
use crate::hearing;
use crate::sending::addressee::Addressee;
use crate::sending::content;
use crate::sending::drafting::Result;
use crate::sending::recipient::{Recipient, counted_in};
use crate::sending::vouching::labels_now;
use crate::sequences::leading;

/// What would become of a message now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prospect {
    /// `over`, `under_way`, `handed_over`, `held_back`, `blocked`, `failed` or `asked`; of what was blocked or failed already,
    /// what a new send would meet.
    pub would_be: &'static str,
    /// Why, where something stands against it: a name of a closed set.
    pub reason: Option<&'static str>,
    /// The same in a sentence.
    pub sentence: String,
}

impl Prospect {
    fn new(would_be: &'static str, reason: Option<&'static str>, sentence: impl Into<String>) -> Self {
        Self { would_be, reason, sentence: sentence.into() }
    }
}

/// What is spoken of: the message itself, or another one like it. Beginnings of sentences.
#[derive(Clone, Copy)]
struct Meant {
    blocked: &'static str,
    failed: &'static str,
    held_back: &'static str,
    /// Whether a charge or a count that it has already is its own.
    counted: bool,
}

const ITSELF: Meant = Meant {
    blocked: "It would be blocked now",
    failed: "It would fail now",
    held_back: "It is held back now",
    counted: true,
};
const A_NEW_SEND: Meant = Meant {
    blocked: "A new send would be blocked now",
    failed: "A new send would fail now",
    held_back: "A new send would be held back now",
    counted: false,
};

impl Meant {
    fn against(self, would_be: &'static str, reason: Reason) -> Prospect {
        let what = if would_be == "failed" { self.failed } else { self.blocked };
        Prospect::new(would_be, Some(reason.name()), format!("{what}, because {}.", reason.sentence()))
    }
}

/// Everything that the moment of dispatch looks at.
struct Present {
    outbox: Outbox,
    credential: Credential,
    allowlist: (Allowlist, u64),
    rules: (ApprovalRules, u64),
    control: SendingControl,
    module_on: bool,
    leading: Leading,
    /// What the board says of its words now.
    labels: Option<Labels>,
    /// The content piece that it names.
    piece: Option<ContentPiece>,
    addressee: Option<(Addressee, bool)>,
}

/// What would become of a message now.
pub async fn prospect(
    app: &App,
    organization: OrganizationId,
    message: &Message,
    row: &MessageRow,
    at: Timestamp,
) -> Result<Prospect> {
    match (row.dispatch_state, row.status) {
        (DispatchState::InFlight | DispatchState::Unknown, _) => {
            return Ok(Prospect::new("under_way", None, "Nothing is decided while it is with its channel."));
        }
        (DispatchState::Done, MessageStatus::Sent | MessageStatus::SentDryrun) => {
            return Ok(Prospect::new("over", None, "Nothing more becomes of it."));
        }
        _ => (),
    }
    let present = Present::load(app, organization, message, row).await?;
    if row.dispatch_state == DispatchState::Done {
        return present.of_a_new_send(app, organization, message, row, at).await;
    }
    match present.judged(message, at) {
        AtDispatch::HeldBack(by) => Ok(present.held_back(ITSELF, by)),
        AtDispatch::Rule(ruling, _) => Ok(of_ruling(ruling)),
        AtDispatch::HandOver => {
            let met = present.quota(app, organization, message, row, ITSELF, at).await?;
            let approved = row.approved_at.is_some();
            Ok(met.unwrap_or_else(|| {
                let sentence = if approved { PASSES } else { "Nothing else stands against it now." };
                Prospect::new(if approved { "handed_over" } else { "asked" }, None, sentence)
            }))
        }
    }
}

fn of_ruling(ruling: Ruling) -> Prospect {
    match ruling {
        Ruling::BlockedByAllowlist(reason) | Ruling::BlockedByQuota(reason) => {
            ITSELF.against("blocked", reason)
        }
        Ruling::Fail(reason) => ITSELF.against("failed", reason),
        Ruling::AskAPerson(_) => Prospect::new(
            "asked",
            None,
            "The rules of now do not let it go, so that a person would be asked before it is handed over.",
        ),
        Ruling::AskWithoutRules(_) => {
            let because = Reason::PieceGone.sentence();
            let sentence = format!("A person would be asked before it is handed over, because {because}.");
            Prospect::new("asked", Some(Reason::PieceGone.name()), sentence)
        }
        Ruling::AutoApprove | Ruling::DryRun => Prospect::new("handed_over", None, PASSES),
    }
}

fn read(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

const PASSES: &str = "Nothing stands against it now.";

impl Present {
    async fn load(
        app: &App,
        organization: OrganizationId,
        message: &Message,
        row: &MessageRow,
    ) -> Result<Self> {
        let ledger = &app.ledger;
        let outbox = ledger.load::<Outbox>(organization, row.outbox_id).await?;
        let credential = match outbox.state.settings() {
            None => Credential::default(),
            Some(settings) => {
                let id = organization.credential(&settings.secret.secret_id);
                (*ledger.load::<Credential>(organization, id).await?.state).clone()
            }
        };
        let allowlist = ledger.load::<Allowlist>(organization, organization.allowlist()).await?;
        let rules = ledger.load::<ApprovalRules>(organization, organization.approval_rules()).await?;
        let control = ledger.load::<SendingControl>(organization, organization.sending_control()).await?;
        let of_outbox = outbox.state.channel().unwrap_or(row.channel);
        let recipient = row.recipient.as_deref().and_then(|to| {
            Recipient::of_content(row.channel, of_outbox, to, row.payload.as_deref().unwrap_or_default())
        });
        let addressee = match recipient {
            None => None,
            Some(recipient) => {
                let keys = ledger.keys().organization(organization).await?;
                let meant = message.contact_id();
                let found = Addressee::find(app, organization, &keys, recipient, meant).await?;
                let suppressed = found.suppressed(app, organization).await?;
                Some((found, suppressed))
            }
        };
        let step = message.step_of().map(|(sequence, contact)| (row.message_id, sequence, contact));
        let mut led = leading::look(app, organization, step.as_slice()).await?;
        let piece = match message.content_piece_id() {
            Some(piece) => Some(ledger.load::<ContentPiece>(organization, piece).await?),
            None => None,
        };
        Ok(Self {
            credential,
            allowlist: ((*allowlist.state).clone(), allowlist.version),
            rules: ((*rules.state).clone(), rules.version),
            control: (*control.state).clone(),
            module_on: app.workspaces.is_on(ledger, organization).await?,
            leading: led.remove(&row.message_id).unwrap_or_default().leading,
            labels: labels_now(message, &outbox.state, piece.as_ref().map(|piece| &*piece.state)),
            piece: piece.map(|piece| (*piece.state).clone()),
            outbox: (*outbox.state).clone(),
            addressee,
        })
    }

    /// What the moment of dispatch would decide, but for the quota.
    fn judged(&self, message: &Message, at: Timestamp) -> AtDispatch {
        let Some((addressee, suppressed)) = &self.addressee else {
            return AtDispatch::Rule(Ruling::Fail(Reason::RecipientErased), Default::default());
        };
        let ground = Ground {
            outbox: &self.outbox,
            credential: &self.credential,
            allowlist: At { state: &self.allowlist.0, version: self.allowlist.1 },
            rules: At { state: &self.rules.0, version: self.rules.1 },
            control: &self.control,
            module_on: self.module_on,
        };
        let recipient = addressee.judged(*suppressed);
        let seen = Seen { recipient, leading: self.leading, labels: self.labels.as_ref() };
        judgement::at_dispatch(message, seen, ground, ApprovalId::default(), at)
    }

    /// What a new send of the same to the same would meet: first as a draft, then when it is handed over.
    async fn of_a_new_send(
        &self,
        app: &App,
        organization: OrganizationId,
        message: &Message,
        row: &MessageRow,
        at: Timestamp,
    ) -> Result<Prospect> {
        let Some((addressee, suppressed)) = &self.addressee else {
            return Ok(Prospect::new(
                "over",
                None,
                "Its recipient was erased, so that nothing more becomes of it.",
            ));
        };
        if self.piece.as_ref().is_some_and(|piece| !piece.is_live()) {
            return Ok(A_NEW_SEND.against("failed", Reason::PieceGone));
        }
        let recipient = addressee.judged(*suppressed);
        let niche = self.outbox.settings().and_then(|settings| settings.niche.as_deref());
        let labels = match row.payload.as_deref().and_then(read) {
            Some(payload) => content::labels(row.channel, &payload, self.piece.as_ref(), niche),
            // Of words that are not known any more, what was said of them.
            None => Labels { niche: row.niche.clone(), tags: row.tags.clone() },
        };
        let allowlist = At { state: &self.allowlist.0, version: self.allowlist.1 };
        let rules = At { state: &self.rules.0, version: self.rules.1 };
        let fresh = ApprovalId::default();
        let (ruling, _) =
            judgement::of_draft(row.channel, Some(&labels), recipient, allowlist, rules, fresh, at);
        if let Ruling::BlockedByAllowlist(reason) = ruling {
            return Ok(A_NEW_SEND.against("blocked", reason));
        }
        if self.outbox.deleted() {
            let sentence = "A new send would need another outbox, because its own was deleted.";
            return Ok(Prospect::new("failed", Some(Reason::OutboxDeleted.name()), sentence));
        }
        if !self.module_on {
            return Ok(self.held_back(A_NEW_SEND, HeldBack::ModuleOff));
        }
        if row.channel != Channel::DryRun {
            let outbox_id = row.outbox_id;
            if let Some(scope) = self.control.holds_back(outbox_id, message.campaign_id(), message.agent_id())
            {
                return Ok(self.held_back(A_NEW_SEND, HeldBack::Paused(scope)));
            }
            if self.secret_version().is_none() {
                return Ok(A_NEW_SEND.against("failed", Reason::SecretMissing));
            }
            let met = self.quota(app, organization, message, row, A_NEW_SEND, at).await?;
            if let Some(prospect) = met {
                return Ok(prospect);
            }
        }
        let next = match ruling {
            Ruling::AskAPerson(_) | Ruling::AskWithoutRules(_) => {
                ("asked", "Nothing stands against a new send now, but a person would be asked.")
            }
            _ => ("handed_over", "Nothing stands against a new send now."),
        };
        Ok(Prospect::new(next.0, None, next.1))
    }

    fn held_back(&self, what: Meant, by: HeldBack) -> Prospect {
        let paused = |scope: PauseScope| HeldBack::Paused(scope) == by;
        let why = self.control.pauses().find(|(scope, _)| paused(*scope)).and_then(|(_, why)| why);
        let (reason, because) = words::held_back(by, why);
        let sentence = format!("{}, because {because}.", what.held_back);
        Prospect::new("held_back", Some(reason), sentence)
    }

    fn secret_version(&self) -> Option<u32> {
        self.credential.version(self.outbox.settings()?.secret.version)
    }

    /// Whether its channel lets nobody write freely to its recipient now.
    async fn window_closed(
        &self,
        app: &App,
        organization: OrganizationId,
        message: &Message,
        row: &MessageRow,
        at: Timestamp,
    ) -> Result<bool> {
        let payload: Value = row.payload.as_deref().and_then(read).unwrap_or_default();
        let config = self.outbox.settings().and_then(|settings| read(&settings.config));
        let (Some(config), Some(recipient)) = (config, message.recipient_hash()) else { return Ok(false) };
        if payload.get("text").is_none_or(Value::is_null) {
            return Ok(false);
        }
        let words =
            app.ledger.load::<Correspondence>(organization, organization.correspondence(recipient)).await?;
        let heard = hearing::last_heard(row.channel, &config, Some(&words.state));
        Ok(heard.closed(at))
    }

    /// What stands against it beside lists and rules: no address for its unsubscribe link, no room today, a recipient who
    /// has got enough, or a window that is closed.
    async fn quota(
        &self,
        app: &App,
        organization: OrganizationId,
        message: &Message,
        row: &MessageRow,
        what: Meant,
        at: Timestamp,
    ) -> Result<Option<Prospect>> {
        if row.channel == Channel::Email && app.public_url.is_none() {
            return Ok(Some(what.against("failed", Reason::NoPublicUrl)));
        }
        let message_id = if what.counted { row.message_id } else { app.clock.mint::<MessageId>() };
        let settings = self.outbox.settings().filter(|_| row.channel != Channel::DryRun);
        if let (Some(settings), Ok(day)) = (settings, self.credential.day_at(at)) {
            let credential = organization.credential(&settings.secret.secret_id);
            let bucket = organization.bucket(credential, row.channel, day.number);
            let bucket = app.ledger.load::<Bucket>(organization, bucket).await?.state;
            let cap = self.credential.daily_cap();
            if let Some(cap) = cap.filter(|_| !bucket.lets_go(message_id, cap)) {
                let sentence = format!(
                    "{}, because {} of {cap} sends of the day are used; the day ends at {}.",
                    what.blocked,
                    bucket.used(),
                    day.ends_at
                );
                return Ok(Some(Prospect::new("blocked", Some(Reason::DailyCap.name()), sentence)));
            }
        }
        if let (Some(cap), Some((addressee, _))) = (self.control.frequency(), &self.addressee) {
            // A message that waits is counted to the contact that it was drafted for; a new send would look for one.
            let contact = message.contact_id().or(addressee.contact_id().filter(|_| !what.counted));
            let counted = counted_in(organization, &addressee.keys, contact);
            let counted = app.ledger.load_many::<Correspondence>(organization, &counted).await?;
            let count = CorrespondenceCommand::Count { message_id, cap: Some(cap), at };
            if counted.iter().any(|counted| counted.state.decide(count.clone()).is_err()) {
                return Ok(Some(what.against("blocked", Reason::FrequencyCap)));
            }
        }
        if self.window_closed(app, organization, message, row, at).await? {
            return Ok(Some(what.against("blocked", Reason::WindowClosed)));
        }
        Ok(None)
    }
}
