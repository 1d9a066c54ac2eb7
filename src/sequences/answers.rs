//! Whether a contact answered in words that name none of a sequence's messages, or one that they had answered before.
//!
//! On WhatsApp, Instagram and LinkedIn people write without quoting anything, and what they write is put down to the last
//! message that they got. Every sequence that waits for them ends with it, also one whose own message was an earlier one, or
//! went by another channel; so it does with a mail, which answers some message, whoever that was for. Each word is recorded
//! on its address's own stream: it is read here for every address of the contact, and the append of the next step, and of its
//! hand-over, rests on what was read.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::Timestamp;
use docket_aggregates::channel::Channel;
use docket_aggregates::contact::Contact;
use docket_aggregates::correspondence::Correspondence;
use docket_aggregates::ids::OrganizationId;
use uuid::Uuid;

use crate::app::App;
use crate::contacts::{address_hashes, mailbox_hash};
use crate::hearing::CLOCKS_APART_MILLIS;
use crate::ledger::Guard;
use crate::ledger::read::ReadError;

/// From when on a contact's words answer an enrollment.
#[derive(Clone, Debug)]
pub struct Awaited {
    /// When it began: mail that comes in from then on answers a message, whichever.
    pub enrolled_at: Timestamp,
    /// Since when the contact has a message of it; none if there is none that it may have.
    pub written_since: Option<Timestamp>,
    /// Keyed hashes of where its messages went.
    pub written_to: BTreeSet<String>,
}

impl Awaited {
    fn is_answered_by(&self, words: &Correspondence) -> bool {
        words.heard(Channel::Email).is_some_and(|heard| heard >= self.enrolled_at)
            || self.written_since.is_some_and(|since| words.heard_since(since, CLOCKS_APART_MILLIS))
    }
}

/// What a contact wrote that an enrollment waits for.
#[derive(Default)]
pub struct Answers {
    /// Whether they wrote.
    pub answered: bool,
    /// That they wrote no more than that.
    pub guards: Vec<Guard>,
}

impl Answers {
    /// Reads it for one contact.
    pub async fn read(
        app: &App,
        organization: OrganizationId,
        contact: &Contact,
        awaited: Awaited,
    ) -> Result<Self, ReadError> {
        let mut read = Self::read_each(app, organization, vec![((), contact, awaited)]).await?;
        Ok(read.remove(&()).unwrap_or_default())
    }

    /// Reads it for each of these contacts.
    pub async fn read_each<K: Ord>(
        app: &App,
        organization: OrganizationId,
        asked: Vec<(K, &Contact, Awaited)>,
    ) -> Result<BTreeMap<K, Self>, ReadError> {
        if asked.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys = app.ledger.keys().organization(organization).await?;
        let streams_of = |contact: &Contact, awaited: &Awaited| -> BTreeSet<Uuid> {
            let mut hashes = awaited.written_to.clone();
            if let Some(profile) = contact.profile() {
                hashes.extend(address_hashes(&keys, profile));
                hashes.extend(mailbox_hash(&keys, profile));
            }
            hashes.iter().map(|hash| organization.correspondence(hash)).collect()
        };
        let asked: Vec<(K, Awaited, BTreeSet<Uuid>)> = asked
            .into_iter()
            .map(|(key, contact, awaited)| {
                let streams = streams_of(contact, &awaited);
                (key, awaited, streams)
            })
            .collect();
        let streams = asked.iter().flat_map(|(.., streams)| streams).copied().collect();
        let words =
            app.ledger.load_each::<Correspondence, _>(organization, streams, |stream| *stream).await?;
        let answers = asked.into_iter().map(|(key, awaited, streams)| {
            let words: Vec<_> = streams.iter().filter_map(|stream| words.get(stream)).collect();
            let answered = words.iter().any(|words| awaited.is_answered_by(&words.state));
            (key, Self { answered, guards: words.iter().map(|words| words.guard()).collect() })
        });
        Ok(answers.collect())
    }
}
