//! What every surface needs of contacts: the hashes by which their addresses are known without being told, and
//! their opt-out.

use std::borrow::Cow;

use docket_aggregates::contact::{Contact, ContactCommand, ContactError, ContactProfile, account, one_form};
use docket_aggregates::ids::ContactId;
use docket_projections::searchable::without_tag;

use crate::app::App;
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::{AppendError, Decided};
use crate::normalise::{Country, normalise_email, normalise_phone};
use crate::service::{Call, ServiceError};

/// For numbers that are written without a country code. Stored numbers never are.
const COUNTRY: &str = "FR";

/// The keyed hash, in hexadecimal, under which an address is suppressed; equal for all spellings of one mailbox or
/// number of one organization, and telling nothing else.
pub fn address_hash(keys: &OrganizationKeys, address: &str) -> String {
    hex::encode(keys.hash("address", &[&comparable(address)]))
}

/// The hashes of every address of a contact, its accounts among them.
pub fn address_hashes(keys: &OrganizationKeys, profile: &ContactProfile) -> Vec<String> {
    let mut hashes: Vec<String> = profile.addresses().map(|address| address_hash(keys, address)).collect();
    hashes.sort();
    hashes.dedup();
    hashes
}

/// The hash of the mailbox that a contact's e-mail address is delivered to, whatever its tag.
pub fn mailbox_hash(keys: &OrganizationKeys, profile: &ContactProfile) -> Option<String> {
    profile.email.as_deref().map(|email| address_hash(keys, &without_tag(email)))
}

/// What the spellings of one address have in common. A tag after a plus is another address: whoever unsubscribes
/// with it means that one.
fn comparable(address: &str) -> String {
    if let Ok(email) = normalise_email(address, false) {
        return email.key().to_owned();
    }
    let phone = COUNTRY.parse::<Country>().ok().and_then(|home| normalise_phone(address, home).ok());
    match phone {
        // A suppressed number is suppressed at every extension, and in each form that it has.
        Some(phone) => one_form(phone.e164()).into_owned(),
        // What no plan holds may be the form that WhatsApp has of a number.
        None => {
            let text = account(address).unwrap_or(address).trim().to_lowercase();
            let dialled: String =
                text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
            match one_form(&dialled) {
                Cow::Owned(form) => form,
                Cow::Borrowed(_) => text,
            }
        }
    }
}

/// Records that a contact asked not to be contacted. `via` says where: `call`, `api`, `unsubscribe`.
pub async fn opt_out(
    app: &App,
    call: &Call,
    contact_id: ContactId,
    via: &'static str,
) -> Result<Decided<Contact>, ServiceError<ContactError>> {
    let keys = app.ledger.keys().organization(call.organization).await.map_err(AppendError::from)?;
    let contact = app.ledger.load::<Contact>(call.organization, contact_id).await?;
    let addresses = contact.state.profile().map(|known| address_hashes(&keys, known)).unwrap_or_default();
    let decided = app
        .ledger
        .order::<Contact>(
            call.organization,
            contact_id,
            call.command_id,
            call.at,
            &call.origin,
            None,
            ContactCommand::OptOut { via, addresses },
        )
        .await?;
    Ok(decided)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spellings_of_one_address_are_one() {
        for (one, other) in [
            ("Ada@Example.com", " ada@example.COM "),
            ("Ada <ada@example.com>", "ada@example.com"),
            ("+33612345678", "+33 6 12 34 56 78"),
            ("+33123456789;ext=12", "+33123456789"),
            ("@Handle", "@handle"),
            ("https://www.linkedin.com/in/ACoAAA/?trk=x", "acoaaa"),
            ("\u{ff53}am@example.com", "sam@example.com"),
            ("+52 1 55 1234 5678", "+52 55 1234 5678"),
            ("+54 9 11 1234 5678", "+54 11 1234 5678"),
            ("+55 11 91234 5678", "+551112345678"),
            ("+55 11 98765 4321", "+55 11 8765 4321"),
        ] {
            assert_eq!(comparable(one), comparable(other), "{one}");
        }
    }

    #[test]
    fn different_addresses_stay_different() {
        for (one, other) in [
            ("ada+news@example.com", "ada@example.com"),
            ("ada@example.com", "ada@example.org"),
            ("+33612345678", "+33612345679"),
            ("+5215512345678", "+5215512345679"),
            ("+14155551234", "+4155551234"),
        ] {
            assert_ne!(comparable(one), comparable(other), "{one}");
        }
    }
}
