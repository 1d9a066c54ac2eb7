//! One-click unsubscribing (RFC 8058): the token in the address, and the body that presses the button.
//!
//! A token names an organization and a message, whose recipient the ledger knows; it says nothing about a person to
//! whoever reads it. It is signed with a key of the organization, so that nobody unsubscribes people who never got a
//! message. It never expires: a mail may be found years later.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use docket_aggregates::ids::{MessageId, OrganizationId};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::app::App;
use crate::channels::Reference;
use crate::ledger::KeyError;
use crate::ledger::keys::OrganizationKeys;

/// What the organization's key is used for here. Stands in mail that was sent: it never changes.
const PURPOSE: &str = "unsubscribe";
/// Bytes of the signature that a token carries.
const MAC: usize = 16;
/// The media types that RFC 8058 allows.
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// Why a message gets no address for unsubscribing. An e-mail without one is not sent.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The server does not know under which address it is reached.
    #[error("an e-mail needs an unsubscribe link, and DOCKET_PUBLIC_URL is not set")]
    NoPublicUrl,
    /// The key is not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The address by which the recipient of a message unsubscribes: what stands in `List-Unsubscribe`.
pub async fn link(app: &App, organization: OrganizationId, message: MessageId) -> Result<String, LinkError> {
    let keys = app.ledger.keys().organization(organization).await?;
    link_from(app.public_url.as_deref(), &keys, &Reference { organization, message: message.uuid() })
}

/// The same for whoever has the keys at hand.
pub fn link_from(
    public_url: Option<&str>,
    keys: &OrganizationKeys,
    reference: &Reference,
) -> Result<String, LinkError> {
    let public_url = public_url.ok_or(LinkError::NoPublicUrl)?;
    Ok(address(public_url, &token(keys, reference)))
}

/// A token as it came in: what it claims, not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The message whose recipient wants no more.
    pub reference: Reference,
    mac: [u8; MAC],
}

/// The token of a message: 64 characters that can stand in an address.
pub fn token(keys: &OrganizationKeys, reference: &Reference) -> String {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(reference.organization.uuid().as_bytes());
    bytes.extend_from_slice(reference.message.as_bytes());
    bytes.extend_from_slice(&mac(keys, reference));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The address that unsubscribes, below the one under which the outside reaches this server.
pub fn address(public_url: &str, token: &str) -> String {
    format!("{}/u/{token}", public_url.trim_end_matches('/'))
}

impl Claimed {
    /// Reads a token. Whose key it must be checked with follows from what it claims.
    pub fn read(token: &str) -> Option<Self> {
        let bytes: [u8; 48] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (ids, mac) = bytes.split_at(32);
        let (organization, message) = ids.split_at(16);
        Some(Self {
            reference: Reference {
                organization: OrganizationId(Uuid::from_slice(organization).ok()?),
                message: Uuid::from_slice(message).ok()?,
            },
            mac: mac.try_into().ok()?,
        })
    }

    /// Whether we made it.
    pub fn is_ours(&self, keys: &OrganizationKeys) -> bool {
        mac(keys, &self.reference).ct_eq(&self.mac).into()
    }
}

fn mac(keys: &OrganizationKeys, reference: &Reference) -> [u8; MAC] {
    let organization = reference.organization.to_string();
    let hash = keys.hash(PURPOSE, &[&organization, &reference.message.to_string()]);
    let mut mac = [0; MAC];
    mac.copy_from_slice(&hash[..MAC]);
    mac
}

/// Whether a request's body is the one that mailbox providers send when somebody presses the button.
pub fn is_one_click(media_type: &str, body: &[u8]) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let Ok(body) = std::str::from_utf8(body) else { return false };
    if essence.eq_ignore_ascii_case(FORM) {
        return body.split('&').any(|pair| pair.trim() == "List-Unsubscribe=One-Click");
    }
    if essence.eq_ignore_ascii_case(MULTIPART) {
        let mut lines = body.lines().map(str::trim);
        let named = lines.any(|line| {
            line.to_ascii_lowercase().starts_with("content-disposition:")
                && line.contains("name=\"List-Unsubscribe\"")
        });
        return named && lines.skip_while(|line| !line.is_empty()).nth(1) == Some("One-Click");
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::seal::Key;

    fn keys(organization: u128) -> OrganizationKeys {
        OrganizationKeys::new(OrganizationId(Uuid::from_u128(organization)), &Key::from_bytes([1; 32]))
    }

    fn reference(organization: u128) -> Reference {
        Reference { organization: OrganizationId(Uuid::from_u128(organization)), message: Uuid::from_u128(2) }
    }

    #[test]
    fn a_token_is_read_and_believed_as_it_was_made() {
        let token = token(&keys(1), &reference(1));
        // It stands in mail that was sent: a change here breaks every button.
        assert_eq!(token, "AAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAALA2pS8tQG5-UflLjmt6WBq");
        let claimed = Claimed::read(&token).unwrap();
        assert_eq!(claimed.reference, reference(1));
        assert!(claimed.is_ours(&keys(1)));
        assert_eq!(address("https://d.example.com/", &token), format!("https://d.example.com/u/{token}"));
    }

    #[test]
    fn a_token_cannot_be_made_up() {
        let token = token(&keys(1), &reference(1));
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            let claimed = Claimed::read(&URL_SAFE_NO_PAD.encode(&bytes)).unwrap();
            assert!(!claimed.is_ours(&keys(1)), "byte {index}");
            bytes[index] ^= 1;
        }
        let other = OrganizationKeys::new(OrganizationId(Uuid::from_u128(1)), &Key::from_bytes([2; 32]));
        assert!(!Claimed::read(&token).unwrap().is_ours(&other));
        for text in
            ["", "u", &token[..63], &format!("{token}A"), &token.replace('A', "="), "../../etc/passwd"]
        {
            assert_eq!(Claimed::read(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_button_unsubscribes() {
        let multipart =
            "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
        for (media_type, body, expected) in [
            (FORM, "List-Unsubscribe=One-Click", true),
            ("application/x-www-form-urlencoded; charset=utf-8", "a=b&List-Unsubscribe=One-Click", true),
            ("multipart/form-data; boundary=b", multipart, true),
            (FORM, "", false),
            (FORM, "List-Unsubscribe=one-click", false),
            (FORM, "List-Unsubscribe=One-Clicks", false),
            ("application/json", "List-Unsubscribe=One-Click", false),
            ("", "List-Unsubscribe=One-Click", false),
            ("multipart/form-data; boundary=b", "--b\r\n\r\nOne-Click\r\n--b--\r\n", false),
        ] {
            assert_eq!(is_one_click(media_type, body.as_bytes()), expected, "{media_type} {body}");
        }
        assert!(!is_one_click(FORM, b"\xff"));
    }
}
