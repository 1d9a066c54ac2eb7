//! From a command to the rows that the append writes.
//!
//! All the work that needs no lock is done here, in the caller's own task: personal values are sealed, the
//! canonical bytes are written and the leaves are hashed. What is left for the append is to compare versions,
//! number the events and link the chain.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docket_aggregates::claims::{self, ClaimChange, ClaimKey};
use docket_aggregates::ids::{CommandId, EventId, OrganizationId, SubjectId};
use docket_aggregates::organization::OrganizationEvent;
use docket_aggregates::token::TokenEvent;
use docket_aggregates::{AnyEvent, Timestamp, personal};
use docket_projections::Recorded;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::canonical;
use super::chain::{self, Hash, LeafParts};
use super::command::{AppendError, Appended, Command, Guard, Lane, Request, Stream};
use super::keys::{KeyError, Keys, OrganizationKeys, SubjectKey};
use super::seal::Key;
use crate::clock;

/// The most that one command may hold: the events of a million assigned contacts are about 80 MB.
pub const COMMAND_BYTES_MAX: usize = 128 << 20;
/// A command that is larger is folded as it is read back.
const OPENED_BYTES_MAX: usize = 1 << 20;

/// One event, ready but for its position.
#[derive(Debug)]
pub struct PreparedEvent {
    pub event_id: EventId,
    pub stream: Stream,
    pub sequence: u64,
    pub event_type: &'static str,
    pub event_version: &'static str,
    pub payload: String,
    pub metadata: Arc<str>,
    pub leaf: Hash,
}

/// The row that answers a repeated request.
#[derive(Debug)]
pub struct PreparedRequest {
    pub key_hash: [u8; 32],
    pub fingerprint: [u8; 32],
    pub answer: Vec<u8>,
}

/// A command, ready but for its positions.
#[derive(Debug)]
pub struct Prepared {
    pub id: CommandId,
    pub organization: OrganizationId,
    pub at: Timestamp,
    pub expected: Vec<(Stream, u64)>,
    pub versions: Vec<u64>,
    pub guards: Vec<Guard>,
    pub absent: Vec<ClaimKey>,
    pub counted_at: Option<i64>,
    pub events: Vec<PreparedEvent>,
    pub claims: Vec<ClaimChange>,
    pub request: Option<PreparedRequest>,
    /// The same under its other name.
    pub alias: Option<PreparedRequest>,
    pub new_subjects: Vec<(SubjectId, Key, Vec<u8>)>,
    pub new_organizations: Vec<(OrganizationId, Vec<u8>)>,
    pub tokens: Vec<(Uuid, TokenEvent)>,
    pub bytes: usize,
    /// Its events as they were before they were sealed, for whoever folds them here: each but for its position. None of
    /// them where they are more than is kept for that.
    pub opened: Vec<Recorded>,
}

impl From<KeyError> for AppendError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownOrganization => Self::UnknownOrganization,
            KeyError::Erased => Self::SubjectErased,
            KeyError::Database(_) => Self::Unavailable,
            KeyError::OtherMasterKey | KeyError::Damaged(_) => Self::Unstorable(error.to_string()),
        }
    }
}

/// Seals, hashes and measures a command. With `trust_new`, subjects that are streams which this command begins
/// are taken to have no key yet; a race that proves this wrong is told by the append, and the command is prepared
/// again without that trust.
pub async fn prepare(keys: &Keys, command: &Command, trust_new: bool) -> Result<Prepared, AppendError> {
    let organization = command.organization;
    let organization_keys = keys.organization(organization).await?;
    let unstorable = |error: &dyn std::fmt::Display| AppendError::Unstorable(error.to_string());

    let mut payloads = Vec::new();
    for write in &command.writes {
        for event in &write.events {
            payloads.push(event.payload().map_err(|error| unstorable(&error))?);
        }
    }
    let mut subjects = BTreeSet::new();
    for payload in &payloads {
        subjects_in(payload, personal::OPEN, &mut subjects);
    }
    if command.origin.reason.is_some() {
        subjects.insert(SubjectId(command.origin.actor.principal.uuid()));
    }
    let (subject_keys, new_subjects) =
        subject_keys(keys, &organization_keys, command, subjects, trust_new).await?;

    let named = |request: &Request, name: &str| {
        let principal = command.origin.actor.principal.uuid();
        let key_hash = request_key(&organization_keys, principal, &command.origin.tool, name);
        let answer = organization_keys.answers().seal(request.answer.as_bytes(), &key_hash);
        PreparedRequest { key_hash, fingerprint: fingerprint(&organization_keys, &request.input), answer }
    };
    let given = command.request.as_ref();
    let request = given.map(|request| named(request, &request.request_id));
    let alias = given.and_then(|request| Some(named(request, request.alias.as_deref()?)));

    let base = base_metadata(command, &organization_keys);
    let plain: Arc<str> =
        canonical::to_string(&Value::Object(base.clone())).map_err(|error| unstorable(&error))?.into();

    let mut prepared = Prepared {
        id: command.id,
        organization,
        at: command.at,
        expected: Vec::with_capacity(command.writes.len()),
        versions: Vec::with_capacity(command.writes.len()),
        guards: command.guards.clone(),
        absent: command.absent.clone(),
        counted_at: command.counted_at,
        events: Vec::with_capacity(payloads.len()),
        claims: Vec::new(),
        request,
        alias,
        new_subjects,
        new_organizations: Vec::new(),
        tokens: Vec::new(),
        bytes: 0,
        opened: Vec::with_capacity(payloads.len()),
    };
    let mut payloads = payloads.into_iter();
    let actor_id = command.origin.actor.principal.to_string();
    for write in &command.writes {
        let aggregate_id = write.stream.id.to_string();
        for (offset, event) in write.events.iter().enumerate() {
            let Some(mut payload) = payloads.next() else { break };
            let event_id = EventId(clock::mint_at(command.at));
            let place = Place { organization, event_id };
            let mut sealed = BTreeSet::new();
            place.seal(&mut payload, event.event_type(), &subject_keys, &mut sealed)?;
            let payload = canonical::to_string(&payload).map_err(|error| unstorable(&error))?;
            let metadata = match &command.origin.reason {
                None => plain.clone(),
                Some(reason) => {
                    let author = SubjectId(command.origin.actor.principal.uuid());
                    let boxed = place.seal_text(reason, author, "reason", &subject_keys)?;
                    let mut with_reason = base.clone();
                    with_reason.insert("reason".into(), boxed.into());
                    canonical::to_string(&Value::Object(with_reason))
                        .map_err(|error| unstorable(&error))?
                        .into()
                }
            };
            let sequence = write.expected + offset as u64 + 1;
            let leaf = chain::leaf(&LeafParts {
                organization,
                event_id,
                command_id: command.id,
                aggregate_type: write.stream.aggregate_type,
                aggregate_id: &aggregate_id,
                sequence,
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: &payload,
                metadata: &metadata,
                occurred_at: command.at,
            })
            .map_err(|error| unstorable(&error))?;
            prepared.bytes += payload.len() + metadata.len() + 300;
            prepared.claims.extend(claims::changes_of(event, write.stream.id));
            prepared.side_effects(keys, write.stream.id, event);
            if prepared.bytes <= OPENED_BYTES_MAX {
                prepared.opened.push(Recorded {
                    organization_id: organization,
                    position: 0,
                    event_id,
                    command_id: command.id,
                    aggregate_id: write.stream.id,
                    sequence: sequence.cast_signed(),
                    actor_type: command.origin.actor.kind.to_owned(),
                    actor_id: actor_id.clone(),
                    tool: command.origin.tool.clone(),
                    occurred_at: command.at,
                    event: event.clone(),
                });
            }
            prepared.events.push(PreparedEvent {
                event_id,
                stream: write.stream,
                sequence,
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload,
                metadata,
                leaf,
            });
        }
        prepared.expected.push((write.stream, write.expected));
        prepared.versions.push(write.expected + write.events.len() as u64);
    }
    if prepared.bytes > OPENED_BYTES_MAX {
        prepared.opened = Vec::new();
    }
    if prepared.bytes > COMMAND_BYTES_MAX {
        return Err(AppendError::TooLarge { bytes: prepared.bytes, max: COMMAND_BYTES_MAX });
    }
    Ok(prepared)
}

impl Prepared {
    /// The answer to a command that was recorded before, up to a position.
    pub fn recorded_at(&self, position: i64) -> Appended {
        Appended { command_id: self.id, position, versions: self.versions.clone(), duplicate: true }
    }

    /// Whether all that it writes belongs to its organization's ledger.
    pub fn stays_in_ledger(&self) -> bool {
        self.new_organizations.is_empty() && self.tokens.is_empty()
    }

    /// What stands outside the organization's ledger and must be written with the event.
    fn side_effects(&mut self, keys: &Keys, stream: Uuid, event: &AnyEvent) {
        match event {
            AnyEvent::Organization(OrganizationEvent::OrganizationCreated { organization_id, .. }) => {
                self.new_organizations.push((*organization_id, keys.new_organization(*organization_id)));
            }
            AnyEvent::Token(token) => self.tokens.push((stream, token.clone())),
            _ => (),
        }
    }
}

/// The hash under which an idempotent request is stored; the first half of it also stands in the metadata.
pub fn request_key(keys: &OrganizationKeys, principal: Uuid, tool: &str, request_id: &str) -> [u8; 32] {
    keys.hash("request", &[&principal.to_string(), tool, request_id])
}

/// The keyed hash by which two inputs of one request id are compared.
pub fn fingerprint(keys: &OrganizationKeys, input: &str) -> [u8; 32] {
    keys.hash("input", &[input])
}

fn base_metadata(command: &Command, keys: &OrganizationKeys) -> Map<String, Value> {
    let origin = &command.origin;
    let mut metadata = Map::new();
    let mut put = |key: &str, value: String| metadata.insert(key.to_owned(), Value::String(value));
    put("actor_type", origin.actor.kind.to_owned());
    put("actor_id", origin.actor.principal.to_string());
    put("tool", origin.tool.clone());
    if let Some(token) = origin.actor.token {
        put("token_id", token.to_string());
    }
    if let Some(request_id) = &origin.request_id {
        let hash = request_key(keys, origin.actor.principal.uuid(), &origin.tool, request_id);
        put("request", hex::encode(&hash[..16]));
    }
    if let Some(run_id) = origin.run_id {
        put("run_id", run_id.to_string());
    }
    if let Some(causation) = origin.causation {
        put("causation_id", causation.to_string());
    }
    metadata
}

type SubjectKeys = HashMap<SubjectId, Key>;

async fn subject_keys(
    keys: &Keys,
    organization_keys: &OrganizationKeys,
    command: &Command,
    subjects: BTreeSet<SubjectId>,
    trust_new: bool,
) -> Result<(SubjectKeys, Vec<(SubjectId, Key, Vec<u8>)>), AppendError> {
    let mut known = SubjectKeys::with_capacity(subjects.len());
    let mut fresh = Vec::new();
    let mut unsure = BTreeSet::new();
    let begun: BTreeSet<Uuid> =
        command.writes.iter().filter(|write| write.expected == 0).map(|write| write.stream.id).collect();
    for subject in subjects {
        if let Some(key) = keys.remembered(command.organization, subject) {
            known.insert(subject, key);
        } else if trust_new && command.lane == Lane::Normal && begun.contains(&subject.uuid()) {
            let (key, wrapped) = organization_keys.new_subject(subject);
            known.insert(subject, key.clone());
            fresh.push((subject, key, wrapped));
        } else {
            unsure.insert(subject);
        }
    }
    if !unsure.is_empty() {
        for (subject, key) in keys.subjects(command.organization, &unsure).await? {
            match key {
                SubjectKey::Known(key) => {
                    known.insert(subject, key);
                }
                SubjectKey::Erased => return Err(AppendError::SubjectErased),
                SubjectKey::Absent => {
                    let (key, wrapped) = organization_keys.new_subject(subject);
                    known.insert(subject, key.clone());
                    fresh.push((subject, key, wrapped));
                }
            }
        }
    }
    // Inserted in the order of the key, so that two appends never wait for each other in a circle.
    fresh.sort_by_key(|(subject, ..)| *subject);
    Ok((known, fresh))
}

/// The subjects of all personal values under `marker` in a payload.
pub fn subjects_in(value: &Value, marker: &str, subjects: &mut BTreeSet<SubjectId>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| subjects_in(item, marker, subjects)),
        Value::Object(fields) => match fields.get(marker) {
            Some(inner) if fields.len() == 1 => {
                let subject: Option<SubjectId> =
                    inner.get("subject").and_then(Value::as_str).and_then(|id| id.parse().ok());
                subjects.extend(subject);
            }
            _ => fields.values().for_each(|field| subjects_in(field, marker, subjects)),
        },
        _ => (),
    }
}

/// Where a box belongs: it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The ledger.
    pub organization: OrganizationId,
    /// The event.
    pub event_id: EventId,
}

impl Place {
    /// `docket/1 box`, organization, event, subject, and the event type (or `reason`).
    pub fn associated(&self, subject: SubjectId, label: &str) -> Vec<u8> {
        [
            b"docket/1 box".as_slice(),
            self.organization.uuid().as_bytes(),
            self.event_id.uuid().as_bytes(),
            subject.uuid().as_bytes(),
            label.as_bytes(),
        ]
        .concat()
    }

    fn seal(
        &self,
        value: &mut Value,
        label: &str,
        keys: &SubjectKeys,
        sealed: &mut BTreeSet<SubjectId>,
    ) -> Result<(), AppendError> {
        match value {
            Value::Array(items) => {
                for item in items {
                    self.seal(item, label, keys, sealed)?;
                }
            }
            Value::Object(fields) => match fields.remove(personal::OPEN) {
                Some(mut open) => {
                    let subject: SubjectId = open
                        .get("subject")
                        .and_then(Value::as_str)
                        .and_then(|id| id.parse().ok())
                        .ok_or_else(|| AppendError::Unstorable("a personal value names no subject".into()))?;
                    if !sealed.insert(subject) {
                        return Err(AppendError::Unstorable(
                            "an event has two personal values of one subject".into(),
                        ));
                    }
                    let plaintext = open.get_mut("value").map(Value::take).unwrap_or_default();
                    if plaintext.is_null() {
                        return Err(AppendError::SubjectErased);
                    }
                    let text = canonical::to_string(&plaintext)
                        .map_err(|error| AppendError::Unstorable(error.to_string()))?;
                    let boxed = self.seal_text(&text, subject, label, keys)?;
                    let mut inner = Map::new();
                    inner.insert("subject".into(), subject.to_string().into());
                    inner.insert("box".into(), boxed.into());
                    fields.insert(personal::SEALED.into(), Value::Object(inner));
                }
                None => {
                    for field in fields.values_mut() {
                        self.seal(field, label, keys, sealed)?;
                    }
                }
            },
            _ => (),
        }
        Ok(())
    }

    fn seal_text(
        &self,
        text: &str,
        subject: SubjectId,
        label: &str,
        keys: &SubjectKeys,
    ) -> Result<String, AppendError> {
        let key = keys
            .get(&subject)
            .ok_or_else(|| AppendError::Unstorable("a personal value has no key".into()))?;
        Ok(STANDARD.encode(key.seal(text.as_bytes(), &self.associated(subject, label))))
    }

    /// Opens every box of a payload in place: a known value becomes open, a forgotten one erased.
    pub fn open(
        &self,
        value: &mut Value,
        label: &str,
        keys: &HashMap<SubjectId, SubjectKey>,
    ) -> Result<(), KeyError> {
        match value {
            Value::Array(items) => {
                for item in items {
                    self.open(item, label, keys)?;
                }
            }
            Value::Object(fields) => match fields.remove(personal::SEALED) {
                Some(sealed) => {
                    let damaged = || KeyError::Damaged(self.event_id.uuid());
                    let subject: SubjectId = sealed
                        .get("subject")
                        .and_then(Value::as_str)
                        .and_then(|id| id.parse().ok())
                        .ok_or_else(damaged)?;
                    let plaintext = match keys.get(&subject) {
                        Some(SubjectKey::Known(key)) => {
                            let boxed = sealed.get("box").and_then(Value::as_str).ok_or_else(damaged)?;
                            self.open_text(boxed, subject, label, key)?
                        }
                        _ => Value::Null,
                    };
                    let mut inner = Map::new();
                    inner.insert("subject".into(), subject.to_string().into());
                    inner.insert("value".into(), plaintext);
                    fields.insert(personal::OPEN.into(), Value::Object(inner));
                }
                None => {
                    for field in fields.values_mut() {
                        self.open(field, label, keys)?;
                    }
                }
            },
            _ => (),
        }
        Ok(())
    }

    fn open_text(&self, boxed: &str, subject: SubjectId, label: &str, key: &Key) -> Result<Value, KeyError> {
        let damaged = || KeyError::Damaged(self.event_id.uuid());
        let bytes = STANDARD.decode(boxed).map_err(|_| damaged())?;
        let text = key.open(&bytes, &self.associated(subject, label)).map_err(|_| damaged())?;
        serde_json::from_slice(&text).map_err(|_| damaged())
    }

    /// Opens a sealed reason.
    pub fn open_reason(&self, boxed: &str, author: SubjectId, key: &Key) -> Result<String, KeyError> {
        let damaged = || KeyError::Damaged(self.event_id.uuid());
        let bytes = STANDARD.decode(boxed).map_err(|_| damaged())?;
        let text = key.open(&bytes, &self.associated(author, "reason")).map_err(|_| damaged())?;
        String::from_utf8(text).map_err(|_| damaged())
    }
}
