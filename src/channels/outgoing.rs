//! What a channel is given.
//!
//! One message for one recipient: its content as the channel takes it, the settings of the outbox it leaves by, the
//! credential, and the time it may take. Settings and payload are read once, at the border, by the rules that stand
//! beside each channel; what exists as a [`Content`] can be sent.

use std::time::Duration;

use docket_aggregates::Timestamp;
use serde_json::Value;

use super::{Problem, Reference, Secret, cal_com, email, instagram, linkedin, whatsapp};

/// How long after the recipient's last word WhatsApp and Instagram let a business answer freely.
const WINDOW_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// A channel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelName {
    /// E-mail, by SMTP or through Resend.
    Email,
    /// A booking at Cal.com.
    CalCom,
    /// LinkedIn, through Unipile.
    LinkedIn,
    /// WhatsApp's Cloud API.
    WhatsApp,
    /// Instagram's messaging API.
    Instagram,
    /// Nothing leaves the house.
    DryRun,
}

impl ChannelName {
    /// Every channel.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::CalCom, Self::LinkedIn, Self::WhatsApp, Self::Instagram, Self::DryRun];

    /// The name as the API writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::CalCom => "cal-com",
            Self::LinkedIn => "linkedin",
            Self::WhatsApp => "whatsapp",
            Self::Instagram => "instagram",
            Self::DryRun => "dry-run",
        }
    }

    /// What is wrong with an outbox's configuration; nothing, if it can be used.
    pub fn check_config(self, config: &Value) -> Result<(), Vec<Problem>> {
        match self {
            Self::Email => email::Settings::read(config).map(drop),
            Self::CalCom => cal_com::Settings::read(config).map(drop),
            Self::LinkedIn => linkedin::Settings::read(config).map(drop),
            Self::WhatsApp => whatsapp::Settings::read(config).map(drop),
            Self::Instagram => instagram::Settings::read(config).map(drop),
            Self::DryRun => Ok(()),
        }
    }

    /// What is wrong with a message's payload at the instant `at`; nothing, if it can be sent.
    pub fn check_payload(self, payload: &Value, at: Timestamp) -> Result<(), Vec<Problem>> {
        match self {
            Self::Email => email::Payload::read(payload).map(drop),
            Self::CalCom => cal_com::Payload::read(payload, at).map(drop),
            Self::LinkedIn => linkedin::Payload::read(payload).map(drop),
            Self::WhatsApp => whatsapp::Payload::read(payload).map(drop),
            Self::Instagram => instagram::Payload::read(payload).map(drop),
            Self::DryRun => Ok(()),
        }
    }
}

impl std::str::FromStr for ChannelName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|channel| channel.name() == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            format!("must be one of {}", known.join(", "))
        })
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
        channel: ChannelName,
        config: &Value,
        payload: &Value,
        at: Timestamp,
    ) -> Result<Self, Vec<Problem>> {
        Ok(match channel {
            ChannelName::Email => {
                let (settings, payload) = both(email::Settings::read(config), email::Payload::read(payload))?;
                Self::Email(Box::new(email::Letter { settings, payload, unsubscribe: None, dkim_key: None }))
            }
            ChannelName::CalCom => {
                let (settings, payload) =
                    both(cal_com::Settings::read(config), cal_com::Payload::read(payload, at))?;
                Self::CalCom(Box::new(cal_com::Booking { settings, payload }))
            }
            ChannelName::LinkedIn => {
                let (settings, payload) =
                    both(linkedin::Settings::read(config), linkedin::Payload::read(payload))?;
                Self::LinkedIn(linkedin::Post { settings, payload })
            }
            ChannelName::WhatsApp => {
                let (settings, payload) =
                    both(whatsapp::Settings::read(config), whatsapp::Payload::read(payload))?;
                Self::WhatsApp(whatsapp::Message { settings, payload })
            }
            ChannelName::Instagram => {
                let (settings, payload) =
                    both(instagram::Settings::read(config), instagram::Payload::read(payload))?;
                Self::Instagram(instagram::Message { settings, payload })
            }
            ChannelName::DryRun => Self::DryRun,
        })
    }

    /// The channel it is for.
    pub const fn channel(&self) -> ChannelName {
        match self {
            Self::Email(_) => ChannelName::Email,
            Self::CalCom(_) => ChannelName::CalCom,
            Self::LinkedIn(_) => ChannelName::LinkedIn,
            Self::WhatsApp(_) => ChannelName::WhatsApp,
            Self::Instagram(_) => ChannelName::Instagram,
            Self::DryRun => ChannelName::DryRun,
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
    fn a_channel_is_found_by_its_name() {
        for channel in ChannelName::ALL {
            assert_eq!(channel.name().parse(), Ok(channel));
        }
        assert!("sms".parse::<ChannelName>().is_err());
    }

    #[test]
    fn the_problems_of_settings_and_payload_are_told_together() {
        let at = Timestamp::from_millis(0);
        for channel in ChannelName::ALL {
            let wrong = serde_json::json!({ "surplus": 1 });
            match Content::read(channel, &wrong, &wrong, at) {
                Ok(content) => assert_eq!(content.channel(), ChannelName::DryRun),
                Err(problems) => {
                    let of = |prefix: &str| problems.iter().any(|problem| problem.path.starts_with(prefix));
                    assert!(of("config.") && of("payload."), "{problems:?}");
                }
            }
        }
    }
}
