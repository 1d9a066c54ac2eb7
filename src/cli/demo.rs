//! `docket demo`: the product with a sample organization in it, on a machine that has neither.
//!
//! The demo lives in a folder of its own, `demo` below the data folder, with a private PostgreSQL and a master key of
//! its own, and it never touches another database, whatever `DATABASE_URL` says. Each start begins with an empty
//! database, unless `--keep` is given.
//!
//! It does everything that `docket serve` does, and sends: into a test mailbox of its own, and nowhere else. Where
//! providers are, whom a language model is asked at and which private targets are allowed is not taken from the settings.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;
use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_aggregates::token::Role;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::open::{self, Opened};
use super::serve::{Alongside, load_hooks, mail_listener, told_to_stop};
use super::token::{self, Order};
use crate::app::App;
use crate::channels::post::Poster;
use crate::channels::{Limits, Targets};
use crate::config::{Config, ServeConfig};
use crate::demo::data::{DemoData, demo_data};
use crate::demo::mailbox::Mailbox;
use crate::demo::{self, Loaded};
use crate::hooks::Hooks;
use crate::language_model::LanguageModel;
use crate::outgoing_webhooks::Webhooks;
use crate::postgres::Postgres;

/// The demo's folder below the data folder.
const FOLDER: &str = "demo";
/// What a shell can source, in the demo's folder.
const ENV_FILE: &str = "demo.env";
/// What is said of the sample, in the demo's folder; `--keep` reads it again.
const TOLD_FILE: &str = "demo.json";
/// Campaigns that the environment names, by their keys within the sample.
const SHOWN: [(&str, &str); 2] =
    [("DOCKET_CAMPAIGN", "isolation"), ("DOCKET_OTHER_CAMPAIGN", "coproprietes")];
/// Of whose work the agent's token is.
const CALLER: &str = "yasmine";

/// Serves a sample organization from a private database, with 20 000 rows of contacts, 12 campaigns, calls and
/// follow-ups, and mails that end in a test mailbox; prints where it is and a token per role.
#[derive(Debug, Args)]
pub struct Demo {
    #[command(flatten)]
    config: ServeConfig,
    /// Go on with the sample of the last start, with all that was done to it, instead of starting afresh.
    #[arg(long)]
    keep: bool,
}

/// What is printed, and kept for `--keep`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// Where it is served.
    url: String,
    /// Where its mails are shown.
    mailbox_url: String,
    organization_id: OrganizationId,
    organization: String,
    /// By role.
    tokens: BTreeMap<String, String>,
    /// By the name of the variable.
    campaigns: BTreeMap<String, CampaignId>,
    /// What sends: by the name of the variable.
    senders: BTreeMap<String, Uuid>,
    contacts: u64,
    calls: u64,
    follow_ups: u64,
    /// Mails that arrived in the mailbox.
    mails: u64,
    /// Mails that wait for a person.
    waiting: u64,
    load_seconds: f64,
    /// For `--data-dir` of other commands.
    data_dir: String,
    env_file: String,
}

impl Demo {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        // First: an address that is none is told before anything is loaded.
        let model = LanguageModel::open(&self.config.language_model)?;
        let folder = config.data_dir()?.join(FOLDER);
        let own = Config {
            database_url: None,
            data_dir: Some(folder.clone()),
            master_key: None,
            // Of interest here is what is printed at the end.
            log: if config.log == "info" { "warn".to_owned() } else { config.log.clone() },
            json: config.json,
        };
        if config.database_url.is_some() {
            eprintln!("docket: the demo uses a private database; the one of DATABASE_URL is not touched");
        }
        let listen = self.config.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("{listen} cannot be listened on; --listen 127.0.0.1:0 takes any free port")
        })?;
        let url = format!("http://{}", listener.local_addr()?);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mail_in = mail_listener(self.config.channels.lmtp_listen.unwrap_or(any_port)).await?;
        let mailbox =
            Mailbox::open(mail_in.local_addr()?).await.context("the test mailbox cannot be opened")?;

        let postgres = open::start(&own).await?;
        if !postgres.is_owner() {
            bail!("a demo is running in {} already: stop it, or give another --data-dir", folder.display());
        }
        let kept = if self.keep { read(&folder)? } else { None };
        if kept.is_none() {
            // First, so that nothing is told of a sample that is gone, or that did not get in whole.
            forget(&folder)?;
            emptied(&postgres).await.context("the demo's database cannot be made anew")?;
        }
        let opened = Opened::on(postgres, &own).await?;
        let served = async {
            let mut settings = self.config.settings();
            if settings.public_url.is_none() {
                // The links in its mails lead here.
                settings = settings.reached_at(&url);
            }
            let app = App {
                hooks: Hooks::new(own.hooks_file(self.config.hooks_file.as_ref())),
                webhooks: Webhooks::new(Poster::open(&Limits::default(), Targets::this_machine(), &[])?),
                model,
                public_url: settings.public_url.as_deref().map(Into::into),
                ..opened.app.clone()
            };
            load_hooks(&app).await?;
            let channels = mailbox.channels()?;
            let begin = || Alongside::start(&app, channels, Some(mail_in));
            let (told, alongside) = match kept {
                Some(kept) => {
                    demo::sending::connect(&app, kept.organization_id, &mailbox).await?;
                    (Told { url, mailbox_url: mailbox.url(), ..kept }, begin())
                }
                None => load(&app, &folder, url, &mailbox, begin).await?,
            };
            write(&folder, &told)?;
            super::print(&own, &told, text)?;
            let end = told_to_stop()?;
            let mut database_ended = false;
            let stopping = async {
                tokio::select! {
                    () = end.cancelled() => (),
                    () = opened.database_ended() => database_ended = true,
                }
            };
            alongside.serve(app, settings, listener, stopping).await.context("the server ended")?;
            if database_ended {
                bail!("the demo's PostgreSQL ended; --keep starts it again with all that was done");
            }
            Ok(())
        };
        let served = served.await;
        opened.close().await;
        served
    }
}

/// What the last start told, if there was one that told anything.
fn read(folder: &Path) -> anyhow::Result<Option<Told>> {
    let path = folder.join(TOLD_FILE);
    match std::fs::read(&path) {
        Ok(told) => {
            let told = serde_json::from_slice(&told);
            told.map(Some).with_context(|| format!("{} cannot be read; start without --keep", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn forget(folder: &Path) -> anyhow::Result<()> {
    for name in [ENV_FILE, TOLD_FILE] {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
            }
            _ => (),
        }
    }
    Ok(())
}

/// Makes the private database anew. The server is a child of this process, and nobody else is on it.
async fn emptied(postgres: &Postgres) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect_with(&postgres.options().database("postgres")).await?;
    connection.execute("DROP DATABASE IF EXISTS docket WITH (FORCE)").await?;
    connection.execute("CREATE DATABASE docket").await?;
    connection.close().await
}

/// Loads the sample in the name of its operator, begins what works alongside once there is something to send, and issues
/// a token per role.
async fn load(
    app: &App,
    folder: &Path,
    url: String,
    mailbox: &Mailbox,
    begin: impl FnOnce() -> Alongside,
) -> anyhow::Result<(Told, Alongside)> {
    let started = Instant::now();
    let data = demo_data(app.clock.now().jiff());
    let holder = |name: &str, mailbox: &str| {
        let domain = data.organization.owner_email.rsplit('@').next().unwrap_or_default();
        format!("{name} <{mailbox}@{domain}>")
    };
    let operator = issue(app, Role::SuperAdmin, holder("Demo Operator", "operator"), None).await?;
    let caller = app.credentials.check(&operator).await?;

    let bar = ProgressBar::new(100);
    bar.set_style(ProgressStyle::with_template("{bar:30} {msg}")?);
    let watch = |step: &str, share| {
        bar.set_position(share);
        bar.set_message(step.to_owned());
    };
    let loaded = async {
        let loaded = demo::load(app, &caller, &data, &watch).await?;
        let alongside = begin();
        let loaded = demo::send(app, &caller, &data, loaded, mailbox, &watch).await?;
        anyhow::Ok((loaded, alongside))
    };
    let loaded = loaded.await;
    bar.finish_and_clear();
    let (loaded, alongside) = loaded?;
    let load_seconds = started.elapsed().as_secs_f64();

    let mut tokens = BTreeMap::from([(Role::SuperAdmin.name().to_owned(), operator)]);
    for (role, name, mailbox) in [
        (Role::InstanceAdmin, "Demo Administrator", "administrator"),
        (Role::Board, "Camille Ferrand", "camille"),
        (Role::Agent, "Yasmine Benali", CALLER),
        (Role::Auditor, "Demo Auditor", "auditor"),
        (Role::Viewer, "Demo Viewer", "viewer"),
    ] {
        let token = issue(app, role, holder(name, mailbox), Some(&loaded)).await?;
        tokens.insert(role.name().to_owned(), token);
    }
    let told = told(&data, &loaded, tokens, folder, (url, mailbox.url()), load_seconds)?;
    Ok((told, alongside))
}

async fn issue(app: &App, role: Role, holder: String, loaded: Option<&Loaded>) -> anyhow::Result<String> {
    let organization = loaded.map(|loaded| loaded.organization).filter(|_| role.needs_organization());
    let agent = loaded.and_then(|loaded| loaded.agents.get(CALLER).copied()).filter(|_| role == Role::Agent);
    let order =
        Order { role, holder, organization, agent, tools: vec![], max_affected: None, expires_at: None };
    Ok(token::issue(app, order).await?.token().to_owned())
}

fn told(
    data: &DemoData,
    loaded: &Loaded,
    tokens: BTreeMap<String, String>,
    folder: &Path,
    (url, mailbox_url): (String, String),
    load_seconds: f64,
) -> anyhow::Result<Told> {
    let folder = std::path::absolute(folder)?;
    let senders = [
        ("DOCKET_OUTBOX", loaded.outboxes.get("reseau").map(|id| id.uuid())),
        ("DOCKET_CONTENT_PIECE", loaded.pieces.get("place-libre").map(|id| id.uuid())),
        ("DOCKET_SEQUENCE", loaded.sequence.map(|id| id.uuid())),
    ];
    Ok(Told {
        url,
        mailbox_url,
        organization_id: loaded.organization,
        organization: data.organization.name.to_owned(),
        tokens,
        campaigns: SHOWN
            .into_iter()
            .filter_map(|(variable, key)| Some((variable.to_owned(), *loaded.campaigns.get(key)?)))
            .collect(),
        senders: senders.into_iter().filter_map(|(variable, id)| Some((variable.to_owned(), id?))).collect(),
        contacts: loaded.contacts,
        calls: loaded.calls,
        follow_ups: loaded.follow_ups,
        mails: loaded.mails,
        waiting: loaded.waiting,
        load_seconds,
        data_dir: folder.display().to_string(),
        env_file: folder.join(ENV_FILE).display().to_string(),
    })
}

/// Writes what was told, for a shell and for `--keep`. It holds tokens, so that only its owner may read it.
fn write(folder: &Path, told: &Told) -> anyhow::Result<()> {
    for (name, content) in [(ENV_FILE, environment(told)), (TOLD_FILE, serde_json::to_string_pretty(told)?)] {
        let path = folder.join(name);
        let written = || {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(content.as_bytes())?;
            file.persist(&path).map_err(|error| error.error)
        };
        written().with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// Lines that a shell can source: where it is, the organization, and the tokens; `DOCKET_TOKEN` is the super-admin's.
fn environment(told: &Told) -> String {
    let mut lines = vec![
        ("DOCKET_URL".to_owned(), told.url.clone()),
        ("DOCKET_ORG".to_owned(), told.organization_id.to_string()),
        ("DOCKET_DEMO_DIR".to_owned(), told.data_dir.clone()),
        ("DOCKET_MAILBOX_URL".to_owned(), told.mailbox_url.clone()),
    ];
    lines.extend(told.campaigns.iter().map(|(variable, id)| (variable.clone(), id.to_string())));
    lines.extend(told.senders.iter().map(|(variable, id)| (variable.clone(), id.to_string())));
    for (role, token) in &told.tokens {
        if role == Role::SuperAdmin.name() {
            lines.push(("DOCKET_TOKEN".to_owned(), token.clone()));
        } else {
            let role = role.replace('-', "_").to_uppercase();
            lines.push((format!("DOCKET_{role}_TOKEN"), token.clone()));
        }
    }
    let mut text = String::new();
    for (variable, value) in lines {
        // Within single quotes a shell reads everything as it stands, but for the single quote.
        let _ = writeln!(text, "export {variable}='{}'", value.replace('\'', r"'\''"));
    }
    text
}

fn text(told: &Told) -> String {
    let Told {
        url,
        mailbox_url,
        organization,
        organization_id,
        contacts,
        calls,
        follow_ups,
        mails,
        waiting,
        load_seconds,
        env_file,
        ..
    } = told;
    let mut text = format!(
        "Docket serves the sample organization {organization} on {url}\n\n  \
         organization  {organization_id}\n  \
         loaded        {contacts} contacts, {calls} calls and {follow_ups} follow-ups in {load_seconds:.1} s\n  \
         mailbox       {mailbox_url}, where all of its mail ends: {mails} sent, {waiting} more wait for a person\n\n\
         A token per role:\n\n"
    );
    for role in Role::ALL {
        if let Some(token) = told.tokens.get(role.name()) {
            let _ = writeln!(text, "  {:14}  {token}", role.name());
        }
    }
    let _ = write!(text, "\nPaste this into another terminal; the README goes on from there:\n\n");
    for line in environment(told).lines().filter(|line| {
        ["DOCKET_URL=", "DOCKET_ORG=", "DOCKET_TOKEN="].iter().any(|variable| line.contains(variable))
    }) {
        let _ = writeln!(text, "  {line}");
    }
    let _ = write!(
        text,
        "\nor, with all of them:\n\n  source '{}'\n\nCtrl-C stops it. The next start begins afresh, with --keep it goes on with this sample.",
        env_file.replace('\'', r"'\''")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Told {
        Told {
            url: "http://127.0.0.1:8080".to_owned(),
            mailbox_url: "http://127.0.0.1:8025".to_owned(),
            organization_id: OrganizationId::INSTANCE,
            organization: "Sample".to_owned(),
            tokens: BTreeMap::from([
                ("super-admin".to_owned(), "dkt_a".to_owned()),
                ("instance-admin".to_owned(), "dkt_b".to_owned()),
            ]),
            campaigns: BTreeMap::new(),
            senders: BTreeMap::new(),
            contacts: 1,
            calls: 2,
            follow_ups: 3,
            mails: 5,
            waiting: 6,
            load_seconds: 4.0,
            data_dir: "/data of o'brien/demo".to_owned(),
            env_file: "/data of o'brien/demo/demo.env".to_owned(),
        }
    }

    #[test]
    fn the_environment_can_be_sourced_whatever_the_folder_is_called() {
        let lines = environment(&sample());
        assert!(lines.contains("export DOCKET_TOKEN='dkt_a'\n"));
        assert!(lines.contains("export DOCKET_INSTANCE_ADMIN_TOKEN='dkt_b'\n"));
        assert!(lines.contains(r"export DOCKET_DEMO_DIR='/data of o'\''brien/demo'"), "{lines}");
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        demo: Demo,
    }

    #[tokio::test]
    async fn the_model_that_is_named_is_the_one_that_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            database_url: None,
            data_dir: Some(folder.path().to_owned()),
            master_key: None,
            log: "warn".to_owned(),
            json: false,
        };
        let line = ["demo", "--listen", "127.0.0.1:0", "--llm-url", "ftp://model", "--llm-model", "m"];
        let demo = <Line as clap::Parser>::parse_from(line).demo;
        let refused = demo.run(&config).await.unwrap_err();
        assert_eq!(refused.to_string(), "DOCKET_LLM_URL is not an http or https address");
    }

    #[test]
    fn what_was_told_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        write(folder.path(), &sample()).unwrap();
        assert_eq!(read(folder.path()).unwrap().unwrap().tokens, sample().tokens);
        std::fs::write(folder.path().join(TOLD_FILE), "{").unwrap();
        assert!(read(folder.path()).is_err());
        forget(folder.path()).unwrap();
        assert!(read(folder.path()).unwrap().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_the_tokens() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &sample()).unwrap();
        for name in [ENV_FILE, TOLD_FILE] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }
}
