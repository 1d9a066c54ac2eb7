//! How a message is found again when a provider talks about it.
//!
//! A message is known everywhere by its organization and its id. Both are written into what leaves the house and
//! comes back: the `Message-ID` (back as `In-Reply-To` and `References`), the return path (back as the recipient of
//! a bounce, "VERP"), and the metadata that providers repeat in their webhooks. The id of a message has 74 random
//! bits, so that nobody who did not get the message can name it.

use docket_aggregates::ids::OrganizationId;
use uuid::Uuid;

/// What a local part with a reference in it begins with.
const PREFIX: &str = "dkt-";
/// RFC 4648's base32 in lower case: mail servers do not agree on whether case matters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Characters of 16 bytes in it.
const ID_CHARACTERS: usize = 26;

/// A message of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Whose it is.
    pub organization: OrganizationId,
    /// Its id.
    pub message: Uuid,
}

impl Reference {
    /// A local part that names the message: 57 of the 64 octets that one may have.
    pub fn local_part(&self) -> String {
        format!("{PREFIX}{}-{}", base32(self.organization.uuid()), base32(self.message))
    }

    /// The message that a local part names, if it names one.
    pub fn of_local_part(local: &str) -> Option<Self> {
        let local = local.to_ascii_lowercase();
        let (organization, message) = local.strip_prefix(PREFIX)?.split_once('-')?;
        Some(Self {
            organization: OrganizationId(from_base32(organization)?),
            message: from_base32(message)?,
        })
    }

    /// The `Message-ID`, the same for every try.
    pub fn message_id(&self, domain: &str) -> String {
        format!("<{}@{domain}>", self.local_part())
    }

    /// The return path, so that a bounce says what bounced.
    pub fn return_path(&self, domain: &str) -> String {
        format!("{}@{domain}", self.local_part())
    }

    /// The message that an address or a `Message-ID` names, if it names one.
    pub fn of_address(address: &str) -> Option<Self> {
        let address = address.trim().trim_start_matches('<').trim_end_matches('>');
        Self::of_local_part(address.rsplit_once('@')?.0)
    }
}

/// For metadata and idempotency keys.
impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.local_part())
    }
}

impl std::str::FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of_local_part(text).ok_or_else(|| "is no reference to a message".to_owned())
    }
}

fn base32(id: Uuid) -> String {
    let bits = id.as_u128();
    (0..ID_CHARACTERS)
        .map(|index| {
            // 26 characters hold 130 bits: the first one holds only 3.
            let shift = 5 * (ID_CHARACTERS - 1 - index);
            char::from(ALPHABET[usize::try_from((bits >> shift) & 31).unwrap_or_default()])
        })
        .collect()
}

fn from_base32(text: &str) -> Option<Uuid> {
    if text.len() != ID_CHARACTERS {
        return None;
    }
    let mut bits: u128 = 0;
    for (index, character) in text.bytes().enumerate() {
        let value = ALPHABET.iter().position(|known| *known == character)?;
        if index == 0 && value > 7 {
            return None;
        }
        bits = (bits << 5) | u128::try_from(value).ok()?;
    }
    Some(Uuid::from_u128(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(organization: u128, message: u128) -> Reference {
        Reference {
            organization: OrganizationId(Uuid::from_u128(organization)),
            message: Uuid::from_u128(message),
        }
    }

    #[test]
    fn a_reference_survives_its_way_through_mail() {
        for (organization, message) in
            [(0, 0), (u128::MAX, u128::MAX), (1, 0x0190_a0f0_0000_7000_8000_0000_0000_0001)]
        {
            let reference = reference(organization, message);
            let local = reference.local_part();
            assert!(local.len() <= 64, "{local}");
            assert_eq!(Reference::of_local_part(&local), Some(reference));
            assert_eq!(Reference::of_local_part(&local.to_uppercase()), Some(reference));
            assert_eq!(Reference::of_address(&reference.message_id("example.com")), Some(reference));
            assert_eq!(Reference::of_address(&reference.return_path("b.example.com")), Some(reference));
        }
    }

    #[test]
    fn the_text_of_a_reference_never_changes() {
        // It stands in mail that was sent: a change here loses every reply to it.
        assert_eq!(reference(1, 2).to_string(), "dkt-aaaaaaaaaaaaaaaaaaaaaaaaab-aaaaaaaaaaaaaaaaaaaaaaaaac");
    }

    #[test]
    fn what_names_no_message_names_none() {
        let good = reference(1, 2).local_part();
        for text in [
            "",
            "dkt-",
            "ada",
            "dkt-a-b",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}a"),
            &good.replace('-', "+"),
            &good.replacen("dkt-a", "dkt-z", 1),
            &good.replacen("dkt-aa", "dkt-a1", 1),
        ] {
            assert_eq!(Reference::of_local_part(text), None, "{text}");
        }
        assert_eq!(Reference::of_address(&good), None, "no domain");
    }
}
