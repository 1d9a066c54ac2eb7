//! E-mails in a second: from the work table to a mail server on this machine, with the quota, the ledger and the read
//! models at work. The mail server takes everything and keeps nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cqrs_es::Aggregate as _;
use docket_aggregates::channel::Channel;
use docket_aggregates::credential::{Credential, CredentialCommand, SecretRef};
use docket_aggregates::ids::{ApprovalId, MessageId, OrganizationId, OutboxId};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{
    Draft, Grounds, Message, MessageCommand, MessageContent, MessageStatus, Ruling,
};
use docket_aggregates::outbox::{Outbox, OutboxCommand, OutboxSettings};
use docket_aggregates::{AnyEvent, Decides};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use super::Plan;
use super::report::{Figure, Report};
use super::throughput::organization;
use crate::app::App;
use crate::channels::{Channels, Endpoints, Limits, Secret, Targets};
use crate::ledger::{Command, Lane, Origin, Stream, Write};
use crate::sending::Recipient;
use crate::service::Call;
use crate::{allowlist, dispatcher, secrets};

const NAME: &str = "sends";
const SECRET: &str = "bench";
/// Messages for each second of the plan.
const MESSAGES_A_SECOND: f64 = 4_000.0;
/// Messages that are drafted in one append.
const CHUNK: usize = 200;
/// Characters of a body.
const BODY: usize = 1_500;
/// How long all of it may take.
const WITHIN: Duration = Duration::from_secs(600);

/// Runs the scenario, if the plan wants it.
pub async fn run(app: &App, plan: &Plan, report: &mut Report, say: &impl Fn(&str)) -> anyhow::Result<()> {
    if !plan.wants(NAME) {
        return Ok(());
    }
    let sink = Sink::start().await?;
    // No e-mail leaves without an unsubscribe link.
    let app = &App { public_url: Some("https://docket.example".into()), ..app.clone() };
    let organization = organization(app, "bench-sends").await?;
    let outbox = outbox(app, organization, sink.address).await?;
    let count = (plan.seconds.as_secs_f64() * MESSAGES_A_SECOND) as usize;
    say(&format!("{NAME}, {count} drafts"));
    let messages = draft(app, organization, outbox, count).await?;
    dispatcher::refill(app.ledger.pool()).await?;

    say(&format!("{NAME}, {count} messages"));
    let started = Instant::now();
    let dispatching = dispatcher::start(app.clone(), channels()?, dispatcher::Settings::default());
    let left = "SELECT count(*) FROM dispatch.work WHERE organization_id = $1";
    loop {
        let left: i64 =
            sqlx::query_scalar(left).bind(organization.uuid()).fetch_one(app.ledger.pool()).await?;
        if left == 0 {
            break;
        }
        ensure!(started.elapsed() < WITHIN, "{left} messages were not sent in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let elapsed = started.elapsed();
    dispatching.stop(WITHIN).await;
    let mut sent = 0;
    for chunk in messages.chunks(CHUNK) {
        let ids: Vec<Uuid> = chunk.iter().map(|id| id.uuid()).collect();
        let found = app.ledger.load_many::<Message>(organization, &ids).await?;
        sent += found.iter().filter(|found| found.state.status() == MessageStatus::Sent).count();
    }
    let micros = sink.took();
    ensure!(micros.len() == sent, "{} mails arrived, and {sent} were recorded as sent", micros.len());
    let failed = u64::try_from(count - sent)?;
    let connections = Limits::default().connections_max;
    report.scenarios.push(Figure::of(NAME, connections, elapsed, micros, failed));
    Ok(())
}

fn channels() -> anyhow::Result<Channels> {
    let nowhere: reqwest::Url = "http://127.0.0.1:9".parse()?;
    let endpoints = Endpoints {
        resend: nowhere.clone(),
        cal_com: nowhere.clone(),
        unipile: None,
        whatsapp: nowhere.clone(),
        instagram: nowhere,
    };
    let here = Targets::parse("127.0.0.0/8").context("this machine is no target")?;
    Ok(Channels::open(endpoints, Limits::default(), here, &[])?)
}

async fn outbox(app: &App, organization: OrganizationId, server: SocketAddr) -> anyhow::Result<OutboxId> {
    let call = || Call::of_system(app, organization, "bench");
    let value = Secret::new(format!("smtp://{server}?tls=none"));
    secrets::store(app, &call(), SECRET, &value).await?;
    let credential_id = organization.credential(SECRET);
    let limit = CredentialCommand::Limit {
        credential_id,
        secret_id: SECRET.into(),
        daily_cap: Some(1_000_000),
        time_zone: "Europe/Paris".into(),
    };
    order::<Credential>(app, organization, credential_id.uuid(), limit).await?;
    let outbox_id: OutboxId = app.clock.mint();
    let settings = OutboxSettings {
        niche: None,
        secret: SecretRef { secret_id: SECRET.into(), version: None },
        config: json!({ "fromAddress": "ops@example.com" }).to_string(),
    };
    let open = OutboxCommand::Open { outbox_id, channel: Channel::Email, settings };
    order::<Outbox>(app, organization, outbox_id.uuid(), open).await?;
    allowlist::allow(app, &call(), &["@example.com".to_owned()], false).await?;
    Ok(outbox_id)
}

async fn order<A>(
    app: &App,
    organization: OrganizationId,
    id: Uuid,
    command: A::Command,
) -> anyhow::Result<()>
where
    A: Decides + Clone + 'static,
    A::Command: Clone,
{
    let (command_id, now, origin) = (app.clock.mint(), app.clock.now(), Origin::system("bench"));
    let ordered = app.ledger.order::<A>(organization, id, command_id, now, &origin, None, command).await;
    ordered.map(drop).map_err(|error| anyhow::anyhow!("{error}"))
}

async fn draft(
    app: &App,
    organization: OrganizationId,
    outbox: OutboxId,
    count: usize,
) -> anyhow::Result<Vec<MessageId>> {
    let keys = app.ledger.keys().organization(organization).await?;
    let mut ids = Vec::with_capacity(count);
    let numbers: Vec<usize> = (0..count).collect();
    for chunk in numbers.chunks(CHUNK) {
        let mut writes = Vec::with_capacity(chunk.len());
        for number in chunk {
            let recipient = Recipient::read(Channel::Email, &format!("p{number}@example.com"))?;
            let recipient_hash = recipient.keys(&keys).address;
            let message_id: MessageId = app.clock.mint();
            let approval_id: ApprovalId = app.clock.mint();
            let payload =
                json!({ "subject": format!("Hello {number}"), "text": "All is well. ".repeat(BODY / 13) });
            let orders = [
                MessageCommand::Draft(Box::new(Draft {
                    message_id,
                    channel: Channel::Email,
                    outbox_id: outbox,
                    subject: organization.correspondent(&recipient_hash),
                    recipient_hash,
                    content: MessageContent { to: recipient.to, payload: payload.to_string() },
                    content_hash: message_id.to_string(),
                    labels: Labels::default(),
                    content_piece_id: None,
                    dedup: None,
                    drafter: app.clock.mint(),
                    agent_id: None,
                    contact_id: None,
                    campaign_id: None,
                    sequence_id: None,
                    step: None,
                    co_authors: vec![],
                })),
                MessageCommand::Decide {
                    ruling: Ruling::AskAPerson(approval_id),
                    grounds: Grounds::default(),
                    not_before: None,
                },
                MessageCommand::Approve {
                    approval_id,
                    by: app.clock.mint(),
                    content_hash: message_id.to_string(),
                },
            ];
            let mut state = Message::default();
            let mut events: Vec<AnyEvent> = Vec::new();
            for order in orders {
                for event in state.decide(order)? {
                    state.apply(event.clone());
                    events.push(event.into());
                }
            }
            writes.push(Write { stream: Stream::of::<Message>(message_id), expected: 0, events });
            ids.push(message_id);
        }
        let command = Command {
            id: app.clock.mint(),
            organization,
            at: app.clock.now(),
            origin: Origin::system("bench"),
            writes,
            guards: vec![],
            absent: vec![],
            counted_at: None,
            request: None,
            lane: Lane::Bulk,
        };
        app.ledger.append(command).await?;
    }
    Ok(ids)
}

/// A mail server that takes everything. What is kept is how long each mail took on its connection.
struct Sink {
    address: SocketAddr,
    micros: Arc<Mutex<Vec<u32>>>,
    task: JoinHandle<()>,
}

impl Sink {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let micros = Arc::new(Mutex::new(Vec::new()));
        let shared = micros.clone();
        let task = tokio::spawn(async move {
            let mut talking = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let micros = shared.clone();
                talking.spawn(async move { drop(talk(stream, &micros).await) });
            }
        });
        Ok(Self { address, micros, task })
    }

    fn took(&self) -> Vec<u32> {
        self.micros.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn talk(stream: TcpStream, micros: &Mutex<Vec<u32>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink ESMTP\r\n").await?;
    let mut line = Vec::new();
    let mut began = Instant::now();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match line.get(..4) {
            Some(b"EHLO") => b"250-sink\r\n250 8BITMIME\r\n",
            Some(b"MAIL") => {
                began = Instant::now();
                b"250 2.1.0 ok\r\n"
            }
            Some(b"DATA") => {
                stream.write_all(b"354 go on\r\n").await?;
                loop {
                    line.clear();
                    if stream.read_until(b'\n', &mut line).await? == 0 {
                        return Ok(());
                    }
                    if line == b".\r\n" {
                        break;
                    }
                }
                let took = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
                micros.lock().unwrap_or_else(PoisonError::into_inner).push(took);
                b"250 2.0.0 taken\r\n"
            }
            Some(b"QUIT") => b"221 2.0.0 bye\r\n",
            _ => b"250 2.0.0 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}
