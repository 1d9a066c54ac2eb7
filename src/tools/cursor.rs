//! Cursors: where a list goes on, signed.
//!
//! A cursor continues the list that it came from and no other: its signature covers the organization (by its key), the
//! tool and every filter. It holds the key of the last row and the log position of the first page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::refusal::{Refusal, ToolResult};
use crate::ledger::keys::OrganizationKeys;

const SIGNATURE: usize = 16;
/// Longer texts are no cursors of ours.
pub const LENGTH_MAX: usize = 2_048;

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The key of the last row, in the words of the list.
    #[serde(rename = "k")]
    pub after: Value,
    /// The log position of the first page.
    #[serde(rename = "p")]
    pub position: i64,
}

/// Which list it is: a cursor of one never continues another.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// The tool.
    pub tool: &'a str,
    /// Every filter and order, in canonical JSON.
    pub filters: &'a str,
}

impl Cursor {
    /// The text that an agent sends back.
    pub fn sign(&self, keys: &OrganizationKeys, list: List<'_>) -> ToolResult<String> {
        let payload = serde_json::to_string(self).map_err(|error| Refusal::Defect(error.to_string()))?;
        let mut bytes = signature(keys, list, &payload).to_vec();
        bytes.extend(payload.as_bytes());
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads the text back, if we signed it for this list.
    pub fn verify(text: &str, keys: &OrganizationKeys, list: List<'_>) -> ToolResult<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::InvalidCursor)?;
        let (given, payload) = bytes.split_first_chunk::<SIGNATURE>().ok_or(Refusal::InvalidCursor)?;
        let payload = std::str::from_utf8(payload).map_err(|_| Refusal::InvalidCursor)?;
        if !bool::from(given.ct_eq(&signature(keys, list, payload))) {
            return Err(Refusal::InvalidCursor);
        }
        serde_json::from_str(payload).map_err(|_| Refusal::InvalidCursor)
    }
}

fn signature(keys: &OrganizationKeys, list: List<'_>, payload: &str) -> [u8; SIGNATURE] {
    let mut short = [0; SIGNATURE];
    short.copy_from_slice(&keys.hash("cursor", &[list.tool, list.filters, payload])[..SIGNATURE]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::seal::Key;
    use docket_aggregates::ids::OrganizationId;
    use serde_json::json;
    use uuid::Uuid;

    const LIST: List<'static> = List { tool: "list_campaigns", filters: r#"{"status":["active"]}"# };

    fn keys() -> OrganizationKeys {
        OrganizationKeys::new(OrganizationId(Uuid::from_u128(1)), &Key::random())
    }

    #[test]
    fn a_cursor_continues_its_own_list_and_no_other() {
        let (keys, cursor) = (keys(), Cursor { after: json!({"id": 1}), position: 7 });
        let text = cursor.sign(&keys, LIST).unwrap();
        assert_eq!(Cursor::verify(&text, &keys, LIST).unwrap(), cursor);
        for (keys, list) in [
            (&super::tests::keys(), LIST),
            (&keys, List { tool: "list_outbound_contacts", ..LIST }),
            (&keys, List { filters: "{}", ..LIST }),
        ] {
            assert!(matches!(Cursor::verify(&text, keys, list), Err(Refusal::InvalidCursor)), "{list:?}");
        }
    }

    #[test]
    fn no_byte_of_a_cursor_may_change() {
        let (keys, cursor) = (keys(), Cursor { after: json!(null), position: 7 });
        let text = cursor.sign(&keys, LIST).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            let damaged = URL_SAFE_NO_PAD.encode(damaged);
            assert!(Cursor::verify(&damaged, &keys, LIST).is_err(), "byte {index}");
        }
        for text in ["", "AA", "not base64!", &text[..text.len() / 2]] {
            assert!(Cursor::verify(text, &keys, LIST).is_err(), "{text}");
        }
    }
}
