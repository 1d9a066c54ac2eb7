//! What comes in after a send: by signed webhooks, by LMTP, and by a button in a mail.

mod fixtures;
mod linking;
mod mail;
mod marking;
mod replies;
mod stopping;
mod suppressing;
mod unsubscribing;
mod webhooks;

use docket::app::App;
use docket::channels::Reference;
use docket::hearing::provider_hash;
use docket::http::Settings;
use docket::ledger::Origin;
use docket::sending::Recipient;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{BucketId, CampaignId, ContactId, MessageId, OrganizationId, OutboxId};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{
    Delivery, DispatchState, Draft, Grounds, Message, MessageCommand, MessageContent, MessageStatus, Outcome,
    Ruling,
};
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Client, TestApp};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A company whose messages went out, with a server that knows its own address.
struct Story {
    app: TestApp,
    client: Client,
}

/// How far a message got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Got {
    Queued,
    InFlight,
    Unknown,
    Sent,
}

impl Story {
    async fn begin() -> Self {
        Self::with(Settings { rate: None, ..Settings::default() }).await
    }

    async fn with(settings: Settings) -> Self {
        let app = TestApp::with(settings).await;
        let client = app.agent().await;
        Self { app, client }
    }

    fn app(&self) -> &App {
        &self.app.app
    }

    fn organization(&self) -> OrganizationId {
        self.client.organization
    }

    async fn secret(&self, id: &str, value: &str) {
        let path = format!("/api/companies/{}/secrets/{id}", self.organization());
        let body = json!({ "value": value }).to_string().into_bytes();
        let (status, answer) = self.client.send(Method::PUT, &path, &[JSON], body).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }

    async fn outbox(&self, channel: Channel, config: Value) -> OutboxId {
        let body =
            json!({ "channel": channel.name(), "secretRef": "secret://sender:latest", "config": config });
        let (status, answer) = self.client.post(&self.client.crm("outboxes"), body).await;
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().unwrap().parse().unwrap()
    }

    /// A message that got so far, by the orders that the dispatcher gives.
    async fn message(
        &self,
        outbox: (Channel, OutboxId),
        to: &str,
        contact_id: Option<ContactId>,
        provider_id: Option<&str>,
        got: Got,
    ) -> MessageId {
        // Ids are made of the time: what is sent later has a larger one.
        self.app.clock.advance(1);
        let message_id = self.app().clock.mint();
        self.message_of(message_id, outbox, to, contact_id, provider_id, got).await;
        message_id
    }

    /// The same, under an id of its own: those of steps say nothing of the time.
    async fn message_of(
        &self,
        message_id: MessageId,
        (channel, outbox_id): (Channel, OutboxId),
        to: &str,
        contact_id: Option<ContactId>,
        provider_id: Option<&str>,
        got: Got,
    ) {
        let app = self.app();
        let organization = self.organization();
        let keys = app.ledger.keys().organization(organization).await.unwrap();
        let recipient = Recipient::read(channel, to).unwrap();
        let recipient_hash = recipient.keys(&keys).address;
        let subject = contact_id
            .map_or_else(|| organization.correspondent(&recipient_hash), |contact| contact.uuid().into());
        self.order(
            message_id,
            MessageCommand::Draft(Box::new(Draft {
                message_id,
                channel,
                outbox_id,
                subject,
                recipient_hash,
                content: MessageContent { to: recipient.to, payload: "{}".into() },
                content_hash: message_id.to_string(),
                labels: Labels::default(),
                content_piece_id: None,
                dedup: None,
                drafter: app.clock.mint(),
                agent_id: None,
                contact_id,
                campaign_id: None::<CampaignId>,
                sequence_id: None,
                step: None,
                co_authors: vec![],
            })),
        )
        .await;
        let ruling = Ruling::AutoApprove;
        self.order(
            message_id,
            MessageCommand::Decide { ruling, grounds: Grounds::default(), not_before: None },
        )
        .await;
        if got == Got::Queued {
            return;
        }
        let send = MessageCommand::Send {
            bucket_id: app.clock.mint::<BucketId>(),
            provider_key: message_id.to_string(),
            keyed: None,
            at: app.clock.now(),
        };
        self.order(message_id, send).await;
        match got {
            Got::Queued | Got::InFlight => (),
            Got::Unknown => {
                self.record(message_id, Outcome::Unknown { code: "no_answer".into(), answer: None }).await
            }
            Got::Sent => self.accept(message_id, channel, provider_id).await,
        }
    }

    async fn accept(&self, message_id: MessageId, channel: Channel, provider_id: Option<&str>) {
        let keys = self.app().ledger.keys().organization(self.organization()).await.unwrap();
        let provider_hash = provider_id.map(|id| provider_hash(&keys, channel, id));
        self.record(message_id, Outcome::Accepted { provider_hash, answer: None }).await;
    }

    async fn record(&self, message_id: MessageId, outcome: Outcome) {
        let at = self.app.clock.now();
        self.order(message_id, MessageCommand::Record { attempt: 1, outcome, at, jitter: 0 }).await;
    }

    async fn order(&self, message_id: MessageId, command: MessageCommand) {
        let app = self.app();
        let (id, at) = (app.clock.mint(), app.clock.now());
        app.ledger
            .order::<Message>(self.organization(), message_id, id, at, &Origin::system("test"), None, command)
            .await
            .unwrap();
    }

    /// What is known of a message.
    async fn standing(&self, message: MessageId) -> (MessageStatus, DispatchState, Delivery) {
        let message = self.app().ledger.load::<Message>(self.organization(), message).await.unwrap().state;
        (message.status(), message.dispatch_state(), message.delivery())
    }

    fn reference(&self, message: MessageId) -> Reference {
        Reference { organization: self.organization(), message: message.uuid() }
    }

    /// The suppression list: addresses and reasons.
    async fn suppressed(&self) -> Vec<(String, String)> {
        let (status, listed) = self.client.get(&self.client.crm("suppressions")).await;
        assert_eq!(status, 200, "{listed}");
        let text = |value: &Value| value.as_str().unwrap_or("erased").to_owned();
        listed.as_array().unwrap().iter().map(|row| (text(&row["address"]), text(&row["reason"]))).collect()
    }

    async fn events(&self) -> usize {
        self.client.get(&self.client.crm("events?limit=1000")).await.1.as_array().unwrap().len()
    }

    /// Contacts with these addresses, in a campaign; ids in the order of the addresses.
    async fn campaign(&self, addresses: &[&str]) -> (String, Vec<ContactId>) {
        let rows: String = addresses.iter().map(|address| format!("N,{address}\n")).collect();
        let path = self.client.crm("imports?name=Fair");
        let file = format!("Name,Email\n{rows}").into_bytes();
        let (_, folder) =
            self.client.send(Method::POST, &path, &[("content-type", "text/csv")], file).await.unwrap();
        let commit =
            self.client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
        assert_eq!(self.client.post(&commit, json!({})).await.0, 200);
        let campaign = self
            .client
            .done("create_outbound_campaign", json!({ "name": "Spring", "status": "active" }))
            .await["campaign"]["campaignId"]
            .as_str()
            .unwrap()
            .to_owned();
        let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 100 });
        self.client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
        let contacts = self.contacts(&campaign).await;
        let of = |address: &&str| contacts.iter().find(|row| row["email"] == json!(address)).unwrap();
        let id = |row: &Value| row["contactId"].as_str().unwrap().parse().unwrap();
        (campaign, addresses.iter().map(|address| id(of(address))).collect())
    }

    async fn contacts(&self, campaign: &str) -> Vec<Value> {
        let listed = self.client.done("list_outbound_contacts", json!({ "campaignId": campaign })).await;
        listed["contacts"].as_array().unwrap().clone()
    }

    /// Where a contact stands in the campaign, and whether it is not to be contacted at all.
    async fn stands(&self, campaign: &str, contact: ContactId) -> (String, bool) {
        let contacts = self.contacts(campaign).await;
        let row = contacts.iter().find(|row| row["contactId"] == json!(contact)).unwrap();
        let status = row["campaigns"][0]["status"].as_str().unwrap().to_owned();
        (status, row["doNotContact"].as_bool().unwrap())
    }

    /// A request without a token.
    async fn outside(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> (u16, hyper::HeaderMap, String) {
        let (status, headers, body) = self.client.exchange(method, path, headers, body.into()).await;
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn board(&self) -> Client {
        self.app.client(Role::Board, self.organization()).await
    }
}

fn sent(delivery: Delivery) -> (MessageStatus, DispatchState, Delivery) {
    (MessageStatus::Sent, DispatchState::Done, delivery)
}
