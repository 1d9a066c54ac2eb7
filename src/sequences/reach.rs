//! Where a contact is written to on a channel.

use docket_aggregates::channel::Channel;
use docket_aggregates::contact::ContactProfile;

/// A contact's address on a channel: the e-mail address, the telephone number, or for LinkedIn and Instagram the value of a
/// column of the organization's own that is called so, in any case. A rehearsal takes whatever there is.
pub fn address(profile: &ContactProfile, channel: Channel) -> Option<&str> {
    let column = |name: &str| {
        let called = |(column, _): &(&String, &String)| column.eq_ignore_ascii_case(name);
        profile.custom.iter().find(called).map(|(_, value)| value.as_str())
    };
    let found = match channel {
        Channel::Email | Channel::CalCom => profile.email.as_deref(),
        Channel::Whatsapp => profile.phone.as_deref().map(without_extension),
        Channel::Linkedin => column("linkedin"),
        Channel::Instagram => column("instagram"),
        Channel::DryRun => profile.email.as_deref().or(profile.phone.as_deref().map(without_extension)),
    };
    found.map(str::trim).filter(|address| !address.is_empty())
}

/// Nobody is written to at an extension.
fn without_extension(phone: &str) -> &str {
    phone.split_once(';').map_or(phone, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_address() {
        let ann = ContactProfile {
            email: Some("ann@example.com".into()),
            phone: Some("+33123456789;ext=12".into()),
            custom: [("LinkedIn".to_owned(), "ACoAAA".to_owned()), ("instagram".to_owned(), " ".to_owned())]
                .into(),
            ..ContactProfile::default()
        };
        let nobody = ContactProfile::default();
        for (channel, expected) in [
            (Channel::Email, Some("ann@example.com")),
            (Channel::CalCom, Some("ann@example.com")),
            (Channel::Whatsapp, Some("+33123456789")),
            (Channel::Linkedin, Some("ACoAAA")),
            (Channel::Instagram, None),
            (Channel::DryRun, Some("ann@example.com")),
        ] {
            assert_eq!(address(&ann, channel), expected, "{channel:?}");
            assert_eq!(address(&nobody, channel), None, "{channel:?}");
        }
    }
}
