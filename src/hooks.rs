//! Post-issue hooks: what Docket does by itself after a message was issued.
//!
//! The operator's file names them (`registry`, `file`), and replaces those in force as a whole: a file that cannot be
//! accepted changes nothing, and what runs goes on with the hook that it began with. Which text was in force from when
//! on is in the instance ledger, and only an order changes it. Every process reads its own copy of the file, at its
//! start and when another one reloaded, and takes it over once it is the text in force. Until then it stands aside: the
//! cursor and the runs are shared, and a process that does not know the hooks in force would pass over what they are to
//! see.
//!
//! `work` follows the ledgers and runs what is due, off the ledger and after it: a hook can neither delay nor prevent a
//! send. A run happens at least once and its result is written once.

pub mod coverage;
pub mod file;
pub mod registry;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use docket_aggregates::Decides;
use docket_aggregates::Timestamp;
use docket_aggregates::hook_registry::{HookRegistry, HookRegistryCommand, HookRegistryError};
use docket_aggregates::ids::OrganizationId;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use self::registry::Registry;
use crate::app::App;
use crate::following;
use crate::ledger::{AppendError, Stream, TRIES};
use crate::service::{Call, Done, ServiceError};
use crate::shapes::Instant;

/// How often a process looks whether another one reloaded.
const LOOK: Duration = Duration::from_secs(2);

/// Why the hooks stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookRefusal {
    /// The file is too large.
    #[error("the hooks' file is larger than {} bytes", file::BYTES_MAX)]
    TooLarge,
    /// The file is no text.
    #[error("the hooks' file is not UTF-8")]
    NotUtf8,
    /// The file is a link that leads elsewhere.
    #[error("the hooks' file is a link that leads out of its folder")]
    OutsideFolder,
    /// The path names something else.
    #[error("the hooks' file is not a plain file")]
    NotAFile,
    /// The file is there and cannot be read.
    #[error("the hooks' file cannot be read")]
    Unreadable,
    /// Reading took too long.
    #[error("the hooks' file was not read in time")]
    TooSlow,
    /// It is indented with tabs.
    #[error("the hooks' file has a tab in line {line}; indent with spaces")]
    Tab {
        /// Where, from 1.
        line: usize,
    },
    /// It is not YAML, or not of this shape.
    #[error("the hooks' file is not accepted: {message}")]
    Yaml {
        /// Where, from 1; 0 where it is the whole.
        line: u64,
        /// Where, from 1; 0 where it is the whole.
        column: u64,
        /// What is wrong there.
        message: String,
    },
    /// Two hooks have one id.
    #[error("two hooks have the id {0}")]
    Duplicate(String),
    /// An id is none.
    #[error("{0:?} is no id of a hook: it must have 1 to 64 of the characters a-z, 0-9, - and _")]
    Id(String),
    /// A hook cannot be as it is written.
    #[error("hook {id}: {what}")]
    Hook {
        /// Which one.
        id: String,
        /// What is wrong.
        what: &'static str,
    },
    /// There are too many.
    #[error("the hooks' file has more than {} hooks", registry::HOOKS_MAX)]
    TooMany,
}

impl From<HookRegistryError> for HookRefusal {
    fn from(error: HookRegistryError) -> Self {
        match error {}
    }
}

/// The hooks in force.
#[derive(Clone, Debug)]
struct InForce {
    sha256: String,
    loaded_at: Timestamp,
    registry: Arc<Registry>,
}

/// The hooks of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hooks {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    path: Option<PathBuf>,
    in_force: RwLock<Option<InForce>>,
    /// One reload at a time: whoever comes second reads what the first one left.
    reloading: tokio::sync::Mutex<()>,
}

/// A hook as the answer to a reload names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HookView {
    /// Its id.
    pub id: String,
    /// Whether it runs.
    pub enabled: bool,
}

/// The hooks in force, as answers show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReloadView {
    /// How often the hooks in force changed.
    pub version: u64,
    /// How many there are.
    pub hook_count: usize,
    /// Each of them, in the order of the file.
    pub hooks: Vec<HookView>,
    /// SHA-256 of the file's bytes; of nothing, where there is no file.
    pub sha256: String,
    /// When this process took them over.
    #[schemars(with = "Instant")]
    pub loaded_at: Timestamp,
    /// Whether they are others than before.
    pub changed: bool,
}

impl Hooks {
    /// Hooks of this file, none of which is in force before the first load.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { inner: Arc::new(Inner { path, ..Inner::default() }) }
    }

    /// What is in force.
    pub fn registry(&self) -> Arc<Registry> {
        self.in_force().map(|in_force| in_force.registry).unwrap_or_default()
    }

    fn in_force(&self) -> Option<InForce> {
        self.inner.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this process has the hooks that the ledger says are in force.
    async fn are_recorded(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let stream = Stream::of::<HookRegistry>(OrganizationId::INSTANCE.hook_registry());
        let recorded: Option<String> = sqlx::query_scalar(
            "SELECT payload ->> 'sha256' FROM ledger.events WHERE organization_id = $1 AND aggregate_type = $2 \
             AND aggregate_id = $3 ORDER BY sequence DESC LIMIT 1",
        )
        .bind(OrganizationId::INSTANCE.uuid())
        .bind(stream.aggregate_type)
        .bind(stream.id.to_string())
        .fetch_optional(connection)
        .await?;
        let own = self.in_force();
        Ok(match recorded {
            Some(recorded) => own.is_some_and(|own| own.sha256 == recorded),
            // As long as no file with a hook was loaded, there are none.
            None => own.is_none_or(|own| own.registry.hooks.is_empty()),
        })
    }

    /// Reads the file; what cannot be accepted is told.
    async fn read(&self) -> Result<(String, Arc<Registry>), HookRefusal> {
        let text = file::read(self.inner.path.clone()).await?;
        Ok((text.sha256, Arc::new(Registry::parse(&text.text)?)))
    }

    fn put_in_force(&self, in_force: InForce) {
        *self.inner.in_force.write().unwrap_or_else(PoisonError::into_inner) = Some(in_force);
    }
}

/// Reads the file at the start of a process, and takes it over if it is the one in force, or a new one. A process that was
/// left with an earlier file, or with none, changes the hooks of nobody: it stands aside, as `keep_up` says.
pub async fn begin(app: &App, call: &Call) -> Result<(), ServiceError<HookRefusal>> {
    let hooks = &app.hooks;
    let _turn = hooks.inner.reloading.lock().await;
    let (sha256, registry) = hooks.read().await.map_err(ServiceError::Refused)?;
    let stream = OrganizationId::INSTANCE.hook_registry();
    for _ in 0..TRIES {
        let known = app.ledger.load::<HookRegistry>(OrganizationId::INSTANCE, stream).await?;
        let order = HookRegistryCommand::Begin { sha256: sha256.clone(), hooks: registry.entries() };
        let events = known.state.decide(order).map_err(|error| ServiceError::Refused(error.into()))?;
        if events.is_empty() {
            if known.state.sha256().is_some_and(|recorded| recorded != sha256) {
                return Ok(());
            }
        } else {
            match app.ledger.append(call.command(vec![known.write(events)], vec![], None)).await {
                Ok(_) => (),
                Err(AppendError::Conflict) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        tracing::info!(hooks = registry.hooks.len(), "the post-issue hooks were loaded");
        hooks.put_in_force(InForce { sha256, loaded_at: call.at, registry });
        return Ok(());
    }
    Err(AppendError::Conflict.into())
}

/// Reads the file and puts it in force, whole; what cannot be accepted changes nothing.
pub async fn reload(app: &App, call: &Call) -> Result<Done<ReloadView>, ServiceError<HookRefusal>> {
    let hooks = &app.hooks;
    let _turn = hooks.inner.reloading.lock().await;
    let (sha256, registry) = hooks.read().await.map_err(ServiceError::Refused)?;
    let before = hooks.in_force();
    let others_here = before.as_ref().is_some_and(|before| before.sha256 != sha256);
    let stream = OrganizationId::INSTANCE.hook_registry();
    for _ in 0..TRIES {
        let known = app.ledger.load::<HookRegistry>(OrganizationId::INSTANCE, stream).await?;
        let order = HookRegistryCommand::Reload { sha256: sha256.clone(), hooks: registry.entries() };
        let events = known.state.decide(order).map_err(|error| ServiceError::Refused(error.into()))?;
        let version = known.state.version() + events.len() as u64;
        let changed = others_here || !events.is_empty();
        let kept = before.as_ref().filter(|before| before.sha256 == sha256);
        let in_force = InForce {
            sha256: sha256.clone(),
            loaded_at: kept.map_or(call.at, |before| before.loaded_at),
            registry: registry.clone(),
        };
        let view = ReloadView {
            version,
            hook_count: registry.hooks.len(),
            hooks: registry
                .entries()
                .into_iter()
                .map(|entry| HookView { id: entry.id, enabled: entry.enabled })
                .collect(),
            sha256: sha256.clone(),
            loaded_at: in_force.loaded_at,
            changed,
        };
        let appended = if events.is_empty() {
            None
        } else {
            let command = call.command(vec![known.write(events)], vec![], call.request(&view)?);
            match app.ledger.append(command).await {
                Ok(appended) => Some(appended),
                Err(AppendError::Conflict) => continue,
                Err(error) => return Err(error.into()),
            }
        };
        hooks.put_in_force(in_force);
        tracing::info!(version, hooks = registry.hooks.len(), changed, "the post-issue hooks were loaded");
        return Ok(Done { entity: view, appended });
    }
    Err(AppendError::Conflict.into())
}

/// Follows the ledgers and runs what is due, until it is told to end; then lets what runs come to its end for a while.
pub async fn run(app: App, ending: CancellationToken) {
    let issued = work::Issued { hooks: app.hooks.clone() };
    tokio::join!(
        following::follow(&app.ledger, &issued, &ending),
        work::run(&app, &ending),
        keep_up(&app, &ending),
    );
}

/// Takes over what is in force, once this process's file is the same; says so where it is another.
async fn keep_up(app: &App, ending: &CancellationToken) {
    let mut told: Option<String> = None;
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            () = tokio::time::sleep(LOOK) => (),
        }
        let stream = OrganizationId::INSTANCE.hook_registry();
        let Ok(recorded) = app.ledger.load::<HookRegistry>(OrganizationId::INSTANCE, stream).await else {
            continue;
        };
        let Some(wanted) = recorded.state.sha256() else { continue };
        let _turn = app.hooks.inner.reloading.lock().await;
        if app.hooks.in_force().is_some_and(|own| own.sha256 == wanted) {
            continue;
        }
        match app.hooks.read().await {
            Ok((sha256, registry)) if sha256 == wanted => {
                let version = recorded.state.version();
                tracing::info!(version, "the post-issue hooks in force are taken over");
                app.hooks.put_in_force(InForce { sha256, loaded_at: app.clock.now(), registry });
            }
            _ if told.as_deref() == Some(wanted) => (),
            _ => {
                tracing::warn!(
                    "the post-issue hooks in force are not those of this process's file: it runs none until the file is \
                     the same, or is reloaded"
                );
                told = Some(wanted.to_owned());
            }
        }
    }
}
