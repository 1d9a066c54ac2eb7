//! The ledger as a `cqrs_es::EventStore`: the framework's own `CqrsFramework` runs on it unchanged.

use std::collections::HashMap;

use cqrs_es::{Aggregate, AggregateContext, AggregateError, EventEnvelope, EventStore};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::{AnyEvent, Decides};
use uuid::Uuid;

use super::command::{AppendError, Command, Lane, Origin, Stream, Write};
use super::read::{self, ReadError};
use super::{Ledger, Versioned};

/// One organization's ledger, as cqrs-es sees an event store.
#[derive(Clone)]
pub struct LedgerStore {
    ledger: Ledger,
    organization: OrganizationId,
    origin: Origin,
}

impl LedgerStore {
    /// The store of `organization`; every commit is recorded as coming about by `origin`.
    pub fn new(ledger: Ledger, organization: OrganizationId, origin: Origin) -> Self {
        Self { ledger, organization, origin }
    }
}

/// An aggregate's state between load and commit.
#[derive(Debug)]
pub struct LedgerContext<A> {
    id: Uuid,
    aggregate: A,
    version: u64,
}

impl<A: Aggregate> AggregateContext<A> for LedgerContext<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

impl<A> EventStore<A> for LedgerStore
where
    A: Decides + Clone + 'static,
    A::Event: Into<AnyEvent>,
{
    type AC = LedgerContext<A>;

    async fn load_events(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let id = parse(aggregate_id)?;
        let mut stored = read::stream(self.ledger.pool(), self.organization, Stream::of::<A>(id), 0)
            .await
            .map_err(unexpected)?;
        read::open(self.ledger.keys(), self.organization, &mut stored).await.map_err(unexpected)?;
        stored
            .into_iter()
            .map(|event| {
                Ok(EventEnvelope {
                    aggregate_id: event.aggregate_id,
                    sequence: usize::try_from(event.sequence).map_err(unexpected)?,
                    payload: serde_json::from_value(event.payload).map_err(unexpected)?,
                    metadata: serde_json::from_value(event.metadata).map_err(unexpected)?,
                })
            })
            .collect()
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<LedgerContext<A>, AggregateError<A::Error>> {
        let id = parse(aggregate_id)?;
        let Versioned { state, version, .. } =
            self.ledger.load::<A>(self.organization, id).await.map_err(unexpected::<ReadError, _>)?;
        Ok(LedgerContext { id, aggregate: (*state).clone(), version })
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: LedgerContext<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        if events.is_empty() {
            return Ok(vec![]);
        }
        let command = Command {
            id: self.ledger.clock().mint(),
            organization: self.organization,
            at: self.ledger.clock().now(),
            origin: self.origin.clone(),
            writes: vec![Write {
                stream: Stream::of::<A>(context.id),
                expected: context.version,
                events: events.iter().cloned().map(Into::into).collect(),
            }],
            guards: vec![],
            absent: vec![],
            counted_at: None,
            request: None,
            lane: Lane::Normal,
        };
        match self.ledger.append(command).await {
            Ok(_) => (),
            Err(AppendError::Conflict) => return Err(AggregateError::AggregateConflict),
            Err(error) => return Err(unexpected(error)),
        }
        Ok(events
            .into_iter()
            .zip(context.version + 1..)
            .map(|(payload, sequence)| EventEnvelope {
                aggregate_id: context.id.to_string(),
                sequence: usize::try_from(sequence).unwrap_or(usize::MAX),
                payload,
                metadata: metadata.clone(),
            })
            .collect())
    }
}

fn parse<E: std::error::Error>(aggregate_id: &str) -> Result<Uuid, AggregateError<E>> {
    aggregate_id.parse().map_err(unexpected)
}

fn unexpected<S, E>(error: S) -> AggregateError<E>
where
    S: std::error::Error + Send + Sync + 'static,
    E: std::error::Error,
{
    AggregateError::UnexpectedError(Box::new(error))
}
