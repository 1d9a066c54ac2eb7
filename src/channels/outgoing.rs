//! What a channel is given.
//!
//! One message for one recipient: its content as the channel takes it, the settings of the outbox it leaves by, the
//! credential, and the time it may take. Settings and payload are read once, at the border, by the rules that stand
//! beside each channel; what exists as a [`Content`] can be sent.

use std::time::Duration;

use docket_aggregates::Timestamp;
use docket_aggregates::channel::Channel;
use serde_json::Value;

use super::{Problem, Reference, Secret, cal_com, email, instagram, linkedin, whatsapp};

/// How long after the recipient's last word WhatsApp and Instagram let a business answer freely.
const WINDOW_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// What is wrong with an outbox's configuration; nothing, if it can be used.
pub fn check_config(channel: Channel, config: &Value) -> Result<(), Vec<Problem>> {
    match channel {
        Channel::Email => email::Settings::read(config).map(drop),
        Channel::CalCom => cal_com::Settings::read(config).map(drop),
        Channel::Linkedin => linkedin::Settings::read(config).map(drop),
        Channel::Whatsapp => whatsapp::Settings::read(config).map(drop),
        Channel::Instagram => instagram::Settings::read(config).map(drop),
        Channel::DryRun => Ok(()),
    }
}

/// What is wrong with a message's payload at the instant `at`; nothing, if it can be sent.
pub fn check_payload(channel: Channel, payload: &Value, at: Timestamp) -> Result<(), Vec<Problem>> {
    match channel {
        Channel::Email => email::Payload::read(payload).map(drop),
        Channel::CalCom => cal_com::Payload::read(payload, at).map(drop),
        Channel::Linkedin => linkedin::Payload::read(payload).map(drop),
        Channel::Whatsapp => whatsapp::Payload::read(payload).map(drop),
        Channel::Instagram => instagram::Payload::read(payload).map(drop),
        Channel::DryRun => Ok(()),
    }
}

/// Who a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Where: an e-mail address, a telephone number, or the provider's id of a person.
    pub address: String,
    /// The person's name, where it is known.
    pub name: Option<String>,
}

/// When the recipient last wrote to the sender on this channel. WhatsApp and Instagram allow free text only within
/// 24 hours of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastHeard {
    /// Nobody here would know; the provider decides.
    NotTracked,
    /// What comes in is read here, and nothing came.
    Never,
    /// Then.
    At(Timestamp),
}

impl LastHeard {
    /// Whether free text is certainly too late at `at`.
    pub fn closed(self, at: Timestamp) -> bool {
        match self {
            Self::NotTracked => false,
            Self::Never => true,
            Self::At(heard) => at > heard.plus_millis(WINDOW_MILLIS),
        }
    }
}

/// One message to be handed over, once.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Which message of which organization: the idempotency key where the provider takes one.
    pub reference: Reference,
    /// When it was decided to hand it over.
    pub at: Timestamp,
    /// Who it is for.
    pub to: Recipient,
    /// What it says, and by which settings it leaves.
    pub content: Content,
    /// What the provider knows the sender by.
    pub credential: Secret,
    /// When the recipient last wrote.
    pub last_heard: LastHeard,
    /// How long handing it over may take, at most.
    pub within: Duration,
}

impl Outgoing {
    /// Whether the provider takes an idempotency key, so that handing the message over again after an unknown
    /// outcome sends nothing twice. The key holds for 24 hours.
    pub fn repeatable(&self) -> bool {
        match &self.content {
            Content::Email(_) => {
                matches!(email::Credential::parse(&self.credential), Ok(email::Credential::Resend(_)))
            }
            Content::DryRun => true,
            Content::CalCom(_) | Content::LinkedIn(_) | Content::WhatsApp(_) | Content::Instagram(_) => false,
        }
    }
}

/// What a message says, by channel, with the settings of its outbox.
#[derive(Clone, Debug)]
pub enum Content {
    /// An e-mail.
    Email(Box<email::Letter>),
    /// A booking.
    CalCom(Box<cal_com::Booking>),
    /// A message or an invitation.
    LinkedIn(linkedin::Post),
    /// A template or free text.
    WhatsApp(whatsapp::Message),
    /// Free text.
    Instagram(instagram::Message),
    /// Nothing.
    DryRun,
}

impl Content {
    /// Reads an outbox's configuration and a payload at the instant `at`. What an e-mail needs beside them (the
    /// unsubscribe address, the DKIM key) is added to the letter by whoever has it.
    pub fn read(
        channel: Channel,
        config: &Value,
        payload: &Value,
        at: Timestamp,
    ) -> Result<Self, Vec<Problem>> {
        Ok(match channel {
            Channel::Email => {
                let (settings, payload) = both(email::Settings::read(config), email::Payload::read(payload))?;
                Self::Email(Box::new(email::Letter { settings, payload, unsubscribe: None, dkim_key: None }))
            }
            Channel::CalCom => {
                let (settings, payload) =
                    both(cal_com::Settings::read(config), cal_com::Payload::read(payload, at))?;
                Self::CalCom(Box::new(cal_com::Booking { settings, payload }))
            }
            Channel::Linkedin => {
                let (settings, payload) =
                    both(linkedin::Settings::read(config), linkedin::Payload::read(payload))?;
                Self::LinkedIn(linkedin::Post { settings, payload })
            }
            Channel::Whatsapp => {
                let (settings, payload) =
                    both(whatsapp::Settings::read(config), whatsapp::Payload::read(payload))?;
                Self::WhatsApp(whatsapp::Message { settings, payload })
            }
            Channel::Instagram => {
                let (settings, payload) =
                    both(instagram::Settings::read(config), instagram::Payload::read(payload))?;
                Self::Instagram(instagram::Message { settings, payload })
            }
            Channel::DryRun => Self::DryRun,
        })
    }

    /// The channel it is for.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
            Self::CalCom(_) => Channel::CalCom,
            Self::LinkedIn(_) => Channel::Linkedin,
            Self::WhatsApp(_) => Channel::Whatsapp,
            Self::Instagram(_) => Channel::Instagram,
            Self::DryRun => Channel::DryRun,
        }
    }
}

fn both<A, B>(a: Result<A, Vec<Problem>>, b: Result<B, Vec<Problem>>) -> Result<(A, B), Vec<Problem>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err([a.err(), b.err()].into_iter().flatten().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_closes_a_day_after_the_last_word() {
        let heard = Timestamp::from_millis(1_000);
        let day = heard.plus_millis(WINDOW_MILLIS);
        assert!(!LastHeard::At(heard).closed(day));
        assert!(LastHeard::At(heard).closed(day.plus_millis(1)));
        assert!(LastHeard::Never.closed(heard));
        assert!(!LastHeard::NotTracked.closed(day.plus_millis(1)));
    }

    #[test]
    fn the_problems_of_settings_and_payload_are_told_together() {
        let at = Timestamp::from_millis(0);
        for channel in Channel::ALL {
            let wrong = serde_json::json!({ "surplus": 1 });
            match Content::read(channel, &wrong, &wrong, at) {
                Ok(content) => assert_eq!(content.channel(), Channel::DryRun),
                Err(problems) => {
                    let of = |prefix: &str| problems.iter().any(|problem| problem.path.starts_with(prefix));
                    assert!(of("config.") && of("payload."), "{problems:?}");
                }
            }
        }
    }
}
