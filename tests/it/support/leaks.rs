//! Looking for what must not be somewhere, in every form that it might have taken on the way there.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use docket::app::App;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What most programs escape in the user or password of an address.
const USERINFO: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'/').add(b':').add(b'?').add(b'#').add(b'@');

/// What is looked for, and how it may look.
pub struct Needle {
    text: String,
    forms: Vec<String>,
}

impl Needle {
    /// A text as it is, in Base64 at every alignment, percent-encoded, as a string in JSON, and each of them as the
    /// bytes of a column. Letters are compared in any case.
    pub fn new(text: &str) -> Self {
        let mut forms = vec![text.to_owned()];
        for alphabet in [STANDARD, URL_SAFE] {
            forms.extend((0..3).map(|before| inner_base64(&alphabet, text, before)));
        }
        for set in [NON_ALPHANUMERIC, USERINFO] {
            forms.push(utf8_percent_encode(text, set).to_string());
        }
        forms.push(text.bytes().map(|byte| format!("%{byte:02x}")).collect());
        let quoted = serde_json::to_string(text).unwrap();
        forms.push(quoted[1..quoted.len() - 1].to_owned());
        forms.push(text.escape_default().to_string());
        forms.sort();
        forms.dedup();
        assert!(forms.iter().all(|form| form.len() >= 8), "{text} is too short to be looked for");
        let bytes: Vec<String> = forms.iter().map(hex::encode).collect();
        forms.extend(bytes);
        Self { text: text.to_owned(), forms: forms.into_iter().map(|form| form.to_lowercase()).collect() }
    }

    /// Whether it is there, in one form or another. `haystack` is in lower case.
    fn occurs_in_lower(&self, haystack: &str) -> bool {
        self.forms.iter().any(|form| haystack.contains(form))
    }
}

/// What of the Base64 of a text does not depend on its neighbours, with so many bytes before it.
fn inner_base64(alphabet: &impl base64::Engine, text: &str, before: usize) -> String {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(text.as_bytes());
    let whole = bytes.len() / 3 * 3;
    let first = if before == 0 { 0 } else { 4 };
    alphabet.encode(&bytes[..whole])[first..].to_owned()
}

/// Where needles are, as sentences; nowhere is as it should be.
pub fn found(needles: &[Needle], places: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, text) in places {
        let text = text.to_lowercase();
        let there = needles.iter().filter(|needle| needle.occurs_in_lower(&text));
        found.extend(there.map(|needle| format!("{} is in {place}", needle.text)));
    }
    found
}

/// Every row of every table of the schemas that match the pattern, as text, by the name of the table. Bytes are in
/// hexadecimal, as in a dump.
pub async fn tables(app: &App, schemas: &str) -> Vec<(String, String)> {
    let pool = app.ledger.pool();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables \
         WHERE schemaname LIKE $1 AND schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    )
    .bind(schemas)
    .fetch_all(pool)
    .await
    .unwrap();
    let mut dumped = Vec::new();
    for table in tables {
        let statement = format!("SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM {table} t");
        dumped.push((table, sqlx::query_scalar(&statement).fetch_one(pool).await.unwrap()));
    }
    dumped
}

#[test]
fn a_needle_is_found_however_it_is_written() {
    let text = "p:/w\"rd+c4n4ry%\\ü";
    let needles = [Needle::new(text)];
    for (written, expected) in [
        (text.to_owned(), true),
        (text.to_uppercase(), true),
        (STANDARD.encode(text), true),
        (STANDARD.encode(format!("\0ops@example.com\0{text}")), true),
        (URL_SAFE.encode(format!("u:{text}")), true),
        (utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(), true),
        (serde_json::json!({ "said": text }).to_string(), true),
        (format!("\\x{}", hex::encode(text)), true),
        (format!("\\x{}", hex::encode_upper(STANDARD.encode(text))), true),
        (text[..10].to_owned(), false),
        (STANDARD.encode("p:/w0rd+c4n4ry"), false),
    ] {
        let places = [("here".to_owned(), format!("before {written} after"))];
        assert_eq!(!found(&needles, &places).is_empty(), expected, "{written}");
    }
}
