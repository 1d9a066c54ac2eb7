//! The channels that a message can take.

use serde::{Deserialize, Serialize};

/// A channel. Its names are those of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// E-mail, by SMTP or a provider's API.
    Email,
    /// A booking in a calendar.
    CalCom,
    /// A message or an invitation.
    Linkedin,
    /// A text or a template.
    Whatsapp,
    /// A text to somebody who wrote first.
    Instagram,
    /// Nothing leaves: the rehearsal ends after the allowlist.
    DryRun,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::CalCom, Self::Linkedin, Self::Whatsapp, Self::Instagram, Self::DryRun];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::CalCom => "cal-com",
            Self::Linkedin => "linkedin",
            Self::Whatsapp => "whatsapp",
            Self::Instagram => "instagram",
            Self::DryRun => "dry-run",
        }
    }
}

impl std::str::FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.name() == text)
            .ok_or_else(|| format!("channel must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_name_is_the_name() {
        for channel in Channel::ALL {
            assert_eq!(serde_json::to_value(channel).unwrap(), channel.name());
            assert_eq!(channel.name().parse::<Channel>(), Ok(channel));
        }
    }
}
