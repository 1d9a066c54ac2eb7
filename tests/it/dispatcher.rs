//! Sending: every send recorded once and charged once, a channel called at most once unless it takes an idempotency key,
//! and what cannot be known is unknown.

mod approved;
mod kills;
mod outcomes;
mod quota;
mod rechecks;
mod work_table;

use std::collections::BTreeMap;

use docket::channels::Reference;

use crate::channels::mail_server::MailServer;

/// The credential of a mail server on this machine.
fn smtp(server: &MailServer) -> String {
    format!("smtp://{}?tls=none", server.address)
}

/// No provider is asked.
const NOWHERE: &str = "http://127.0.0.1:9";

/// How often each message reached the mail server, by its `Message-ID`.
fn arrived(server: &MailServer) -> BTreeMap<uuid::Uuid, usize> {
    let mut arrived = BTreeMap::new();
    for mail in server.mails() {
        let line = mail.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
        *arrived.entry(Reference::of_address(line).unwrap().message).or_default() += 1;
    }
    arrived
}
