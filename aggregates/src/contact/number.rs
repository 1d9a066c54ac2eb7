//! Telephone numbers as they are compared: what the forms of one number have in common.
//!
//! By this an opt-out, the suppression list, the look-up of a contact, imports and the search for duplicates all know a
//! number. What is kept and written to stays as it was given.

use std::borrow::Cow;

/// What the forms of one number in E.164 have in common, where a country has two that reach the same telephone. WhatsApp
/// knows people by the older one, whichever was dialled.
///
/// In Mexico a `1` went before mobile numbers until 2019; in Argentina a `9` stands before them from abroad; in Brazil they
/// got a ninth digit, a `9` after the area code, and WhatsApp leaves it out for those who were there before. A Brazilian fixed
/// line is thereby the same as a mobile number of the same area that has the same eight digits after its 9.
#[must_use]
pub fn one_form(e164: &str) -> Cow<'_, str> {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = e164.strip_prefix("+521").filter(|rest| digits(rest, 10)) {
        return format!("+52{rest}").into();
    }
    if let Some(rest) = e164.strip_prefix("+549").filter(|rest| digits(rest, 10)) {
        return format!("+54{rest}").into();
    }
    let brazilian = e164.strip_prefix("+55").filter(|rest| digits(rest, 11));
    match brazilian.and_then(|rest| rest.split_at_checked(2)) {
        Some((area, number)) if number.starts_with('9') => format!("+55{area}{}", &number[1..]).into(),
        _ => e164.into(),
    }
}

/// A number without the digits that are dialled once connected: nobody is written to at an extension.
#[must_use]
pub fn without_extension(phone: &str) -> &str {
    phone.split_once(';').map_or(phone, |(number, _)| number)
}
