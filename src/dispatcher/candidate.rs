//! A message that is to be decided on, whom it is for, and what it rests on beside its lane.

use std::collections::BTreeSet;

use docket_aggregates::allowlist::RecipientKeys;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::content_piece::ContentPiece;
use docket_aggregates::ids::{ContactId, ContentPieceId, MessageId};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::Message;
use uuid::Uuid;

use super::Shared;
use super::ground::{Ground, LookError};
use super::work::Lane;
use crate::ledger::{Guard, Versioned};
use crate::sending::addressee::contacts_beside;
use crate::sending::recipient::{counted_in, known_as};
use crate::sending::vouching::labels_now;
use crate::sequences::leading::{self, Led, StepOf};

/// One message.
pub struct Candidate {
    pub id: MessageId,
    pub message: Versioned<Message>,
    pub keys: RecipientKeys,
    /// The contacts that it reaches beside the one that it is for: see [`contacts_beside`].
    beside: BTreeSet<ContactId>,
    /// The streams that count what its recipient gets.
    pub counted_in: Vec<Uuid>,
    /// Where its contact is in the sequence that it is a step of.
    pub led: Led,
    /// What the board says of its words now, if a rule and no person let it go.
    pub labels: Option<Labels>,
    /// The piece that they are from, if a rule and no person let it go.
    pub piece: Option<Guard>,
}

impl Candidate {
    /// The claims of which each stands against it: on its address, in every spelling, and on the contacts that it reaches,
    /// who may have spoken of another address. The append of the hand-over rests on none of them being there.
    pub fn against(&self) -> impl Iterator<Item = ClaimKey> {
        self.suppressing().chain(self.left_alone())
    }

    /// The claims on its address.
    pub fn suppressing(&self) -> impl Iterator<Item = ClaimKey> {
        self.keys.suppressed_as.iter().flat_map(|hash| ClaimKey::against(hash))
    }

    /// The claims that the contact that it is for, or one that it reaches beside, is left alone.
    pub fn left_alone(&self) -> impl Iterator<Item = ClaimKey> {
        let reached = self.message.state.contact_id().into_iter().chain(self.beside.iter().copied());
        reached.map(ClaimKey::left_alone)
    }
}

/// Looks at each of these messages.
pub async fn look(
    shared: &Shared,
    lane: Lane,
    ground: &Ground,
    found: Vec<(MessageId, Versioned<Message>)>,
) -> Result<Vec<Candidate>, LookError> {
    let organization = lane.organization;
    let steps: Vec<StepOf> = found
        .iter()
        .filter_map(|(id, message)| {
            message.state.step_of().map(|(sequence, contact)| (*id, sequence, contact))
        })
        .collect();
    let mut led = leading::look(&shared.app, organization, &steps).await?;
    let named = found.iter().filter(|(_, message)| message.state.auto_approved());
    let named: BTreeSet<ContentPieceId> =
        named.filter_map(|(_, message)| message.state.content_piece_id()).collect();
    let pieces = shared.app.ledger.load_each::<ContentPiece, _>(organization, named, |id| id.uuid()).await?;
    let messages: Vec<&Message> = found.iter().map(|(_, message)| &*message.state).collect();
    let beside = contacts_beside(&shared.app, organization, &ground.keys, &messages).await?;
    let mut candidates = Vec::with_capacity(found.len());
    for ((id, message), beside) in found.into_iter().zip(beside) {
        let keys = known_as(&ground.keys, &message.state);
        let piece = message.state.content_piece_id().and_then(|id| pieces.get(&id));
        let labels = if message.state.auto_approved() {
            labels_now(&message.state, &ground.outbox.state, piece.map(|piece| &*piece.state))
        } else {
            None
        };
        let piece = piece.map(Versioned::guard);
        let led = led.remove(&id).unwrap_or_default();
        let counted_in = counted_in(organization, &keys, message.state.contact_id());
        candidates.push(Candidate { id, message, keys, beside, counted_in, led, labels, piece });
    }
    Ok(candidates)
}
