//! Addresses of the web that somebody configured.

use reqwest::Url;

/// The address, if it is one of http or https and names a host. `crm.example.com:8080` is an address, too, of a scheme of
/// that name.
pub fn parse(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_web_has_its_scheme_and_a_host() {
        for (text, fits) in [
            ("https://crm.example.com", true),
            ("http://127.0.0.1:8080/docket", true),
            ("crm.example.com", false),
            ("crm.example.com:8080", false),
            ("mailto:crm@example.com", false),
            ("https://", false),
            ("", false),
        ] {
            assert_eq!(parse(text).is_some(), fits, "{text}");
        }
    }
}
