//! Whether a contact answered in words that name none of a sequence's messages, or one that they had answered before.
//!
//! On WhatsApp, Instagram and LinkedIn people write without quoting anything, and what they write is put down to the last
//! message that they got. Every sequence that waits for them ends with it, also one whose own message was an earlier one, or
//! went by another channel. Each word is recorded on its address's own stream: it is read here for every address of the
//! contact, and the append of the next step rests on what was read.

use std::collections::BTreeSet;

use docket_aggregates::Timestamp;
use docket_aggregates::contact::Contact;
use docket_aggregates::correspondence::Correspondence;
use docket_aggregates::ids::OrganizationId;

use crate::app::App;
use crate::contacts::{address_hashes, mailbox_hash};
use crate::hearing::CLOCKS_APART_MILLIS;
use crate::ledger::Guard;
use crate::ledger::read::ReadError;

/// What a contact wrote since an enrollment's first message.
#[derive(Default)]
pub struct Answers {
    /// Whether they wrote.
    pub answered: bool,
    /// That they wrote no more than that.
    pub guards: Vec<Guard>,
}

impl Answers {
    /// Reads it, for a contact who has got messages `since` then, at the addresses of these keyed hashes.
    pub async fn read(
        app: &App,
        organization: OrganizationId,
        contact: &Contact,
        (since, written_to): (Timestamp, BTreeSet<String>),
    ) -> Result<Self, ReadError> {
        let keys = app.ledger.keys().organization(organization).await?;
        let mut hashes = written_to;
        if let Some(profile) = contact.profile() {
            hashes.extend(address_hashes(&keys, profile));
            hashes.extend(mailbox_hash(&keys, profile));
        }
        let streams: Vec<_> = hashes.iter().map(|hash| organization.correspondence(hash)).collect();
        let heard = app.ledger.load_many::<Correspondence>(organization, &streams).await?;
        Ok(Self {
            answered: heard.iter().any(|words| words.state.heard_since(since, CLOCKS_APART_MILLIS)),
            guards: heard.iter().map(|words| words.guard()).collect(),
        })
    }
}
