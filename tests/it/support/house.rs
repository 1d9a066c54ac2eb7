//! An organization that sends: an outbox, a credential with its cap, an allowlist, and messages that wait for their
//! channel. Drafts are made with the smallest commands, because how they come about is another story.

use std::collections::HashMap;
use std::time::Duration;

use docket::allowlist;
use docket::app::App;
use docket::channels::{Channels, Endpoints, Limits, Secret, Targets};
use docket::clock::Clock;
use docket::dispatcher::{self, Probe, Running, Settings};
use docket::ledger::{Origin, Stream, Write};
use docket::secrets;
use docket::sending::Recipient;
use docket::service::Call;
use docket_aggregates::bucket::Bucket;
use docket_aggregates::campaign::{
    Campaign, CampaignCommand, CampaignSettings, CampaignStatus, CampaignText,
};
use docket_aggregates::channel::Channel;
use docket_aggregates::credential::{Credential, CredentialCommand, SecretRef};
use docket_aggregates::ids::{
    ApprovalId, BucketId, CampaignId, ContactId, MessageId, OrganizationId, OutboxId,
};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{
    DispatchState, Draft, Grounds, Message, MessageCommand, MessageContent, MessageStatus, Ruling,
};
use docket_aggregates::outbox::{Outbox, OutboxCommand, OutboxSettings};
use docket_aggregates::{AnyEvent, Decides};
use serde_json::json;
use uuid::Uuid;

use super::app::{held_clock, open, organization};
use super::commands::command;
use super::{Database, eventually};

/// The secret that the outbox names.
pub const SECRET: &str = "smtp";
/// Messages that are drafted in one append.
const CHUNK: usize = 250;

/// How messages stand: by status and place.
pub type Standing = HashMap<(MessageStatus, DispatchState), usize>;

pub struct House {
    pub database: Database,
    pub clock: Clock,
    /// The product of one process, without a dispatcher.
    pub app: App,
    pub organization: OrganizationId,
    pub outbox: OutboxId,
}

impl House {
    /// An organization that sends e-mail with this credential, to everybody at example.com.
    pub async fn new(credential: &str) -> Self {
        Self::at(credential, held_clock()).await
    }

    /// The same at another time.
    pub async fn at(credential: &str, clock: Clock) -> Self {
        let database = Database::create().await;
        let app = open(database.options.clone(), clock.clone()).await;
        let organization = organization(&app).await;
        let outbox = clock.mint();
        let house = Self { database, clock, app, organization, outbox };
        let value = Secret::new(credential.to_owned());
        secrets::store(&house.app, &house.call(), SECRET, &value).await.unwrap();
        let settings = OutboxSettings {
            niche: None,
            secret: SecretRef { secret_id: SECRET.into(), version: None },
            config: json!({ "fromAddress": "ops@example.com" }).to_string(),
        };
        let open = OutboxCommand::Open { outbox_id: outbox, channel: Channel::Email, settings };
        house.order::<Outbox>(outbox.uuid(), open).await;
        allowlist::allow(&house.app, &house.call(), &["@example.com".into()], false).await.unwrap();
        house
    }

    /// A campaign of the organization.
    pub async fn campaign(&self) -> CampaignId {
        let campaign_id: CampaignId = self.clock.mint();
        let create = CampaignCommand::Create {
            campaign_id,
            text: CampaignText { name: "Spring".into(), description: None, goal: None },
            status: CampaignStatus::Draft,
            script_template_id: None,
            qualification_template_id: None,
            agent_ids: vec![],
            start_date: None,
            end_date: None,
            settings: CampaignSettings::default(),
        };
        self.order::<Campaign>(campaign_id.uuid(), create).await;
        campaign_id
    }

    /// A call that Docket makes by itself.
    pub fn call(&self) -> Call {
        Call::of_system(&self.app, self.organization, "test")
    }

    /// One command to one aggregate.
    pub async fn order<A>(&self, id: Uuid, command: A::Command)
    where
        A: Decides + Clone + 'static,
        A::Command: Clone,
        A::Error: std::fmt::Debug,
    {
        let (ledger, clock) = (&self.app.ledger, &self.clock);
        let origin = Origin::system("test");
        ledger
            .order::<A>(self.organization, id, clock.mint(), clock.now(), &origin, None, command)
            .await
            .unwrap();
    }

    /// Gives the credential another secret.
    pub async fn credential(&self, value: &str) {
        let value = Secret::new(value.to_owned());
        secrets::store(&self.app, &self.call(), SECRET, &value).await.unwrap();
    }

    /// Sets the cap and the zone of the credential.
    pub async fn limit(&self, daily_cap: Option<u64>, time_zone: &str) {
        let credential_id = self.organization.credential(SECRET);
        let limit = CredentialCommand::Limit {
            credential_id,
            secret_id: SECRET.into(),
            daily_cap,
            time_zone: time_zone.into(),
        };
        self.order::<Credential>(credential_id.uuid(), limit).await;
    }

    /// The product of another process on the same database.
    pub async fn another(&self) -> App {
        open(self.database.options.clone(), self.clock.clone()).await
    }

    /// Messages to different people, approved by a person and waiting for their channel.
    pub async fn queue(&self, count: usize) -> Vec<MessageId> {
        self.queue_for(&(0..count).map(|n| format!("p{n}@example.com")).collect::<Vec<_>>(), None, false)
            .await
    }

    /// Messages to these people, of this campaign, approved by a person or by a rule.
    pub async fn queue_for(
        &self,
        to: &[String],
        campaign_id: Option<CampaignId>,
        by_rule: bool,
    ) -> Vec<MessageId> {
        self.queue_of(to, None, campaign_id, by_rule).await
    }

    /// Messages to these addresses of one contact, approved by a person.
    pub async fn queue_to(&self, contact_id: ContactId, to: &[String]) -> Vec<MessageId> {
        self.queue_of(to, Some(contact_id), None, false).await
    }

    async fn queue_of(
        &self,
        to: &[String],
        contact_id: Option<ContactId>,
        campaign_id: Option<CampaignId>,
        by_rule: bool,
    ) -> Vec<MessageId> {
        let keys = self.app.ledger.keys().organization(self.organization).await.unwrap();
        let mut ids = Vec::with_capacity(to.len());
        for chunk in to.chunks(CHUNK) {
            let mut writes = Vec::with_capacity(chunk.len());
            for to in chunk {
                let recipient = Recipient::read(Channel::Email, to).unwrap();
                let recipient_hash = recipient.keys(&keys).address;
                let message_id: MessageId = self.clock.mint();
                let payload = json!({ "subject": "Hello", "text": format!("Hello {message_id}") });
                let draft = Draft {
                    message_id,
                    channel: Channel::Email,
                    outbox_id: self.outbox,
                    subject: contact_id.map_or_else(
                        || self.organization.correspondent(&recipient_hash),
                        |contact| contact.uuid().into(),
                    ),
                    recipient_hash,
                    content: MessageContent { to: recipient.to, payload: payload.to_string() },
                    content_hash: message_id.to_string(),
                    labels: Labels::default(),
                    content_piece_id: None,
                    dedup: None,
                    drafter: self.clock.mint(),
                    agent_id: None,
                    contact_id,
                    campaign_id,
                    sequence_id: None,
                    step: None,
                    co_authors: vec![],
                };
                let content_hash = draft.content_hash.clone();
                let mut orders = vec![MessageCommand::Draft(Box::new(draft))];
                let approval_id: ApprovalId = self.clock.mint();
                let ruling = if by_rule { Ruling::AutoApprove } else { Ruling::AskAPerson(approval_id) };
                orders.push(MessageCommand::Decide { ruling, grounds: Grounds::default(), not_before: None });
                if !by_rule {
                    orders.push(MessageCommand::Approve { approval_id, by: self.clock.mint(), content_hash });
                }
                writes.push(first_write::<Message>(message_id.uuid(), orders));
                ids.push(message_id);
            }
            self.app.ledger.append(command(&self.app, self.organization, writes)).await.unwrap();
        }
        ids
    }

    /// The messages as they are now.
    pub async fn messages(&self, ids: &[MessageId]) -> Vec<std::sync::Arc<Message>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let found = self.app.ledger.load_many::<Message>(self.organization, &ids).await.unwrap();
        found.into_iter().map(|found| found.state).collect()
    }

    /// How many messages stand where.
    pub async fn standing(&self, ids: &[MessageId]) -> Standing {
        let mut standing = Standing::new();
        for message in self.messages(ids).await {
            *standing.entry((message.status(), message.dispatch_state())).or_default() += 1;
        }
        standing
    }

    /// Waits until nothing is on its way any more: every message is final, or nobody knows.
    pub async fn settled(&self, ids: &[MessageId]) -> Standing {
        eventually("the messages to be settled", || async {
            let standing = self.standing(ids).await;
            let still = standing
                .keys()
                .any(|(_, place)| !matches!(place, DispatchState::Done | DispatchState::Unknown));
            (!still).then_some(standing)
        })
        .await
    }

    /// The same; where the channel does nothing twice, what nobody knows is still on its way.
    pub async fn settled_or(&self, ids: &[MessageId], repeatable: bool) -> Standing {
        eventually("the messages to be settled", || async {
            let standing = self.settled(ids).await;
            let asked_again =
                repeatable && standing.keys().any(|(_, place)| *place == DispatchState::Unknown);
            (!asked_again).then_some(standing)
        })
        .await
    }

    /// The bucket of the credential's day of that number.
    pub fn bucket_id(&self, day: u64) -> BucketId {
        self.organization.bucket(self.organization.credential(SECRET), Channel::Email, day)
    }

    /// How many messages are charged to a day.
    pub async fn charged(&self, day: u64) -> u64 {
        let id = self.bucket_id(day);
        self.app.ledger.load::<Bucket>(self.organization, id.uuid()).await.unwrap().state.used()
    }

    /// Open charges by the claims, over all days.
    pub async fn open_charges(&self) -> i64 {
        let scope =
            "SELECT count(*) FROM ledger.claims WHERE organization_id = $1 AND scope = 'quota_charge'";
        let pool = self.app.ledger.pool();
        sqlx::query_scalar(scope).bind(self.organization.uuid()).fetch_one(pool).await.unwrap()
    }

    /// Begins to dispatch in that process, with providers at `base`.
    pub fn dispatch(&self, app: &App, base: &str) -> Running {
        self.dispatch_probed(app, base, Probe::default())
    }

    /// The same, looked into.
    pub fn dispatch_probed(&self, app: &App, base: &str, probe: Probe) -> Running {
        let settings = Settings { probe, call_within: Duration::from_secs(10), ..Settings::default() };
        dispatcher::start(app.clone(), channels(base), settings)
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(i64::try_from(time.as_millis()).unwrap());
    }
}

/// All channels, with every provider at `base`, and mail servers on this machine.
pub fn channels(base: &str) -> Channels {
    let url: reqwest::Url = base.parse().unwrap();
    let endpoints = Endpoints {
        resend: url.clone(),
        cal_com: url.clone(),
        unipile: Some(url.clone()),
        whatsapp: url.clone(),
        instagram: url,
    };
    Channels::open(endpoints, Limits::default(), Targets::parse("127.0.0.0/8").unwrap(), &[]).unwrap()
}

/// The first events of an aggregate: what these commands decide, one after the other.
fn first_write<A: Decides>(id: Uuid, orders: Vec<A::Command>) -> Write
where
    A::Event: Clone,
{
    let mut state = A::default();
    let mut events: Vec<AnyEvent> = Vec::new();
    for order in orders {
        for event in state.decide(order).unwrap_or_else(|refusal| panic!("{refusal}")) {
            state.apply(event.clone());
            events.push(event.into());
        }
    }
    Write { stream: Stream::of::<A>(id), expected: 0, events }
}
