//! How the large operations grow: import, bulk add, overlap and rebuild, each at three sizes ten times apart.
//!
//! A growth of 10 between two sizes is linear. Every scenario goes through the product's own doors; only the
//! memberships of the overlap are appended to the ledger directly, because ten million of them are not what is
//! measured there.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use docket_aggregates::campaign::{Campaign, CampaignStatus, CampaignText};
use docket_aggregates::contact::{Contact, ContactCommand, ContactProfile, LegalBasis};
use docket_aggregates::ids::{CampaignId, ContactId, ImportId, OrganizationId};
use docket_aggregates::import::OnDuplicate;
use docket_aggregates::roster::{CHUNK, Roster, RosterEvent};
use docket_aggregates::{AnyEvent, Decides as _};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Row as _;

use super::Plan;
use super::http::Connection;
use super::report::Report;
use super::throughput::{Server, organization};
use super::workload;
use crate::app::App;
use crate::imports;
use crate::ledger::{Command, Lane, Origin, Stream, Write};
use crate::readside::Consistency;
use crate::service::Call;

/// One operation at one size.
#[derive(Clone, Debug, Serialize)]
pub struct Sized {
    /// Which operation.
    pub name: String,
    /// How many rows, contacts, memberships or events.
    pub size: u64,
    /// How long it took.
    pub seconds: f64,
    /// Rows in a second.
    pub per_second: f64,
    /// How many times as long as at the size before, which was ten times smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<f64>,
    /// What else was seen.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub notes: Value,
}

/// How long the read models may take to catch up with a bulk operation.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(1_800);

/// Runs the scenarios that the plan wants.
pub async fn run(
    app: &App,
    plan: &Plan,
    server: &Server,
    report: &mut Report,
    say: &impl Fn(&str),
) -> anyhow::Result<()> {
    // The rebuild comes first: it folds every organization, and then the events are those of its own scenario.
    for scenario in ["rebuild", "import", "bulk_add", "overlap"] {
        if !plan.wants(scenario) {
            continue;
        }
        let mut before: Option<f64> = None;
        for size in plan.sizes() {
            say(&format!("{scenario}, {size}"));
            let (seconds, notes) = match scenario {
                "import" => import(app, server, size).await?,
                "bulk_add" => bulk_add(app, server, size).await?,
                "overlap" => overlap(app, server, size).await?,
                _ => rebuild(app, size).await?,
            };
            report.sizes.push(Sized {
                name: scenario.to_owned(),
                size,
                seconds,
                per_second: size as f64 / seconds,
                growth: before.map(|before| seconds / before),
                notes,
            });
            before = Some(seconds);
        }
    }
    Ok(())
}

/// A CSV file of people that do not repeat.
fn csv(rows: u64) -> anyhow::Result<std::fs::File> {
    let mut out = std::io::BufWriter::new(tempfile::tempfile()?);
    writeln!(out, "first name,last name,email,phone,company,city,tags")?;
    for n in 0..rows {
        writeln!(
            out,
            "Camille,Durand{n},camille.durand{n}@example.com,+336{n:08},Atelier {} SARL,Lyon,b2b;renovation",
            n / 7
        )?;
    }
    let mut file = out.into_inner().context("the file cannot be written")?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

async fn imported(app: &App, organization: OrganizationId, rows: u64) -> anyhow::Result<ImportId> {
    let label =
        imports::Label { name: format!("{rows} rows"), source: None, legal_basis: LegalBasis::Consent };
    let call = Call::of_system(app, organization, "bench import");
    let staged = imports::stage_file(app, &call, csv(rows)?, label, &[], |_| ()).await?;
    let import_id = staged.entity.import_folder_id;
    let call = Call::of_system(app, organization, "bench commit");
    let mut ordered = imports::commit(app, &call, import_id, OnDuplicate::Skip, |_| ()).await?;
    if ordered.ended(CATCH_UP_WITHIN).await.is_none() {
        bail!("the commit did not end in time");
    }
    Ok(import_id)
}

/// Stages and commits a file, and meanwhile asks another organization for a command every few milliseconds.
async fn import(app: &App, server: &Server, rows: u64) -> anyhow::Result<(f64, Value)> {
    let mine = organization(app, &format!("import-{rows}")).await?;
    let other = organization(app, &format!("bystander-{rows}")).await?;
    let idle =
        bystander(server, other, Arc::new(AtomicBool::new(false)), Some(Duration::from_secs(3))).await?;
    let over = Arc::new(AtomicBool::new(false));
    let watching = {
        let (over, connection) = (over.clone(), server.connect().await?);
        tokio::spawn(async move { watch(connection, other, over, None).await })
    };
    let started = Instant::now();
    imported(app, mine, rows).await?;
    let appended = started.elapsed().as_secs_f64();
    settle(app, mine).await?;
    let readable = started.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let busy = watching.await?;
    let notes = json!({
        "readableSeconds": readable, "peakResidentMiB": peak_resident_mib(),
        "bystanderIdleP99Ms": idle, "bystanderBusyP99Ms": busy, "bystanderRatio": busy / idle,
    });
    Ok((appended, notes))
}

async fn bystander(
    server: &Server,
    organization: OrganizationId,
    over: Arc<AtomicBool>,
    time: Option<Duration>,
) -> anyhow::Result<f64> {
    Ok(watch(server.connect().await?, organization, over, time).await)
}

/// 99th percentile in milliseconds of one command at a time, with a short pause between.
async fn watch(
    mut connection: Connection,
    organization: OrganizationId,
    over: Arc<AtomicBool>,
    time: Option<Duration>,
) -> f64 {
    let began = Instant::now();
    let mut waits = Vec::new();
    while !over.load(Ordering::Relaxed) && time.is_none_or(|time| began.elapsed() < time) {
        let (tool, input) = workload::tool("", 0);
        let body = json!({"organizationId": organization, "input": input});
        let started = Instant::now();
        if matches!(connection.post(&format!("/crm/agent/tools/{tool}"), &body).await, Ok((200, _))) {
            waits.push(started.elapsed().as_secs_f64() * 1_000.0);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    waits.sort_by(f64::total_cmp);
    waits.get((waits.len() as f64 * 0.99) as usize).or(waits.last()).copied().unwrap_or(f64::NAN)
}

/// Adds contacts by filter and waits until the campaign's count shows them.
async fn bulk_add(app: &App, server: &Server, size: u64) -> anyhow::Result<(f64, Value)> {
    let organization = organization(app, &format!("bulk-add-{size}")).await?;
    imported(app, organization, size).await?;
    settle(app, organization).await?;
    let campaign = campaign(app, organization).await?;
    let mut connection = server.connect().await?;
    let started = Instant::now();
    let input = json!({"campaignId": campaign, "filter": {"source": "crm"}, "maxContacts": 1_000_000});
    let answer = connection.call(organization, "bulk_add_contacts_to_campaign_by_filter", input).await?;
    let appended = started.elapsed().as_secs_f64();
    settle(app, organization).await?;
    let input = json!({"campaignIds": [campaign]});
    let counts = connection.call(organization, "bulk_get_campaign_contact_counts", input).await?;
    let seconds = started.elapsed().as_secs_f64();
    if counts["counts"][0]["total"] != json!(size) {
        bail!("{} contacts are readable after adding {}", counts["counts"][0]["total"], answer["applied"]);
    }
    Ok((seconds, json!({"answeredSeconds": appended})))
}

/// The whole answer of the overlap tool against computing the same by self-join, ten campaigns each.
async fn overlap(app: &App, server: &Server, memberships: u64) -> anyhow::Result<(f64, Value)> {
    let organization = organization(app, &format!("overlap-{memberships}")).await?;
    let contacts: Vec<ContactId> = people(app, organization, (memberships / 4).max(10)).await?;
    let mut campaigns = Vec::new();
    let each = usize::try_from(memberships / 10)?;
    for n in 0..10_usize {
        let campaign = campaign(app, organization).await?;
        let chosen: Vec<ContactId> =
            (0..each).map(|i| contacts[(n * contacts.len() / 14 + i) % contacts.len()]).collect();
        roster(app, organization, campaign, chosen).await?;
        campaigns.push(campaign);
    }
    settle(app, organization).await?;

    let mut connection = server.connect().await?;
    let mut times = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        connection
            .call(
                organization,
                "get_campaign_contact_overlap",
                json!({"campaignIds": campaigns, "limit": 100}),
            )
            .await?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];

    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let started = Instant::now();
    sqlx::query(
        "SELECT a.campaign_id, b.campaign_id, count(*) FROM memberships a JOIN memberships b \
         ON a.organization_id = b.organization_id AND a.contact_id = b.contact_id AND a.campaign_id < b.campaign_id \
         WHERE a.organization_id = $1 GROUP BY 1, 2",
    )
    .bind(organization.uuid())
    .fetch_all(&mut *view)
    .await?;
    let self_join = started.elapsed().as_secs_f64();
    Ok((seconds, json!({"selfJoinSeconds": self_join, "timesFaster": self_join / seconds})))
}

/// Folds one-contact events anew.
async fn rebuild(app: &App, events: u64) -> anyhow::Result<(f64, Value)> {
    let organization = organization(app, &format!("rebuild-{events}")).await?;
    let contacts = people(app, organization, events / 2).await?;
    let campaign = campaign(app, organization).await?;
    let stream =
        Stream { aggregate_type: <Roster as cqrs_es::Aggregate>::TYPE, id: organization.roster(campaign) };
    let mut version = 0;
    for chunk in contacts.chunks(1_000) {
        let events: Vec<AnyEvent> = chunk
            .iter()
            .map(|contact| {
                RosterEvent::ContactsAdded { campaign_id: campaign, contact_ids: vec![*contact] }.into()
            })
            .collect();
        let count = events.len() as u64;
        append(app, organization, vec![Write { stream, expected: version, events }]).await?;
        version += count;
    }
    settle(app, organization).await?;
    let before: i64 = folded_of_others(app, organization).await?;
    let rebuilt = app.readside.rebuild(true, |_| ()).await?;
    let notes = json!({
        "events": rebuilt.events, "ofOthers": before, "foldSeconds": rebuilt.fold_seconds,
        "indexSeconds": rebuilt.index_seconds, "eventsPerSecond": rebuilt.events as f64 / rebuilt.fold_seconds,
        "tablesEqual": rebuilt.compared,
    });
    Ok((rebuilt.fold_seconds * events as f64 / rebuilt.events as f64, notes))
}

async fn folded_of_others(app: &App, organization: OrganizationId) -> anyhow::Result<i64> {
    let row = sqlx::query(
        "SELECT coalesce(sum(position), 0)::bigint FROM ledger.heads WHERE organization_id <> $1",
    )
    .bind(organization.uuid())
    .fetch_one(app.ledger.pool())
    .await?;
    Ok(row.try_get(0)?)
}

/// Contacts, each by an event of its own.
async fn people(app: &App, organization: OrganizationId, count: u64) -> anyhow::Result<Vec<ContactId>> {
    let mut all = Vec::with_capacity(usize::try_from(count)?);
    let mut left = count;
    while left > 0 {
        let chunk = left.min(1_000);
        left -= chunk;
        let mut writes = Vec::new();
        for _ in 0..chunk {
            let contact_id: ContactId = app.clock.mint();
            let n = all.len();
            let profile = ContactProfile {
                first_name: Some("Camille".into()),
                last_name: Some(format!("Durand{n}")),
                email: Some(format!("camille.durand{n}@example.com")),
                city: Some("Lyon".into()),
                ..ContactProfile::default()
            };
            let create = ContactCommand::Create {
                contact_id,
                profile,
                legal_basis: LegalBasis::Consent,
                import_id: None,
                opted_out: None,
            };
            let events = Contact::default().decide(create)?.into_iter().map(Into::into).collect();
            writes.push(Write { stream: Stream::of::<Contact>(contact_id), expected: 0, events });
            all.push(contact_id);
        }
        append(app, organization, writes).await?;
    }
    Ok(all)
}

async fn roster(
    app: &App,
    organization: OrganizationId,
    campaign: CampaignId,
    mut contacts: Vec<ContactId>,
) -> anyhow::Result<()> {
    contacts.sort_unstable();
    contacts.dedup();
    let stream = Stream::of::<Roster>(organization.roster(campaign));
    for (version, chunk) in (0..).zip(contacts.chunks(CHUNK)) {
        let event = RosterEvent::ContactsAdded { campaign_id: campaign, contact_ids: chunk.to_vec() };
        append(app, organization, vec![Write { stream, expected: version, events: vec![event.into()] }])
            .await?;
    }
    Ok(())
}

async fn campaign(app: &App, organization: OrganizationId) -> anyhow::Result<CampaignId> {
    let campaign_id: CampaignId = app.clock.mint();
    let create = docket_aggregates::campaign::CampaignCommand::Create {
        campaign_id,
        text: CampaignText { name: "Bench".into(), description: None, goal: None },
        status: CampaignStatus::Active,
        script_template_id: None,
        qualification_template_id: None,
        agent_ids: vec![],
        start_date: None,
        end_date: None,
        settings: Default::default(),
    };
    let events = Campaign::default().decide(create)?.into_iter().map(Into::into).collect();
    append(
        app,
        organization,
        vec![Write { stream: Stream::of::<Campaign>(campaign_id), expected: 0, events }],
    )
    .await?;
    Ok(campaign_id)
}

async fn append(app: &App, organization: OrganizationId, writes: Vec<Write>) -> anyhow::Result<()> {
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
    Ok(())
}

/// Waits until everything that was appended can be read.
async fn settle(app: &App, organization: OrganizationId) -> anyhow::Result<()> {
    let started = Instant::now();
    while app.readside.settle(organization).await.is_err() {
        if started.elapsed() > CATCH_UP_WITHIN {
            bail!("the read models did not catch up in time");
        }
    }
    Ok(())
}

/// The most memory that this process ever held, where the system tells.
fn peak_resident_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024)
}
