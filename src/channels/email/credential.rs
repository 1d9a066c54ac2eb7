//! The credential of an e-mail outbox: `smtp://user:password@host:port`, `smtps://…` or `resend://API_KEY`.
//!
//! `smtps` speaks TLS from the first byte. `smtp` upgrades by STARTTLS: it must where a password is sent, and does
//! where the server offers it otherwise. `?tls=required` insists, `?tls=none` goes without, for a relay on this
//! machine; never together with a password.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::channels::Secret;

const PREFIX_RESEND: &str = "resend://";

/// What the credential of an e-mail outbox is for.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A mail server.
    Smtp(Server),
    /// Resend, with its key.
    Resend(Secret),
}

/// A mail server, and how to log in.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When TLS begins.
    pub tls: Tls,
    /// User and password.
    pub login: Option<(Secret, Secret)>,
    /// Equal for equal credentials, and tells nothing else: connections are shared by it.
    pub identity: [u8; 32],
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// With the connection.
    Implicit,
    /// By STARTTLS, or the mail stays here.
    Required,
    /// By STARTTLS, if the server offers it.
    Offered,
    /// Never.
    Never,
}

/// Why a credential cannot be used. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It is none of the known forms.
    #[error("the credential of an e-mail outbox must be smtp://, smtps:// or resend://")]
    Form,
    /// There is no host.
    #[error("the credential names no mail server")]
    NoHost,
    /// One without the other.
    #[error("the credential must have both a user and a password, or neither")]
    HalfLogin,
    /// An escape that does not decode.
    #[error("user and password must be percent-encoded UTF-8")]
    Escape,
    /// An unknown query.
    #[error("the credential's query may only be tls=required or tls=none")]
    Query,
    /// A password without TLS.
    #[error("a password is never sent without TLS")]
    OpenPassword,
}

impl Credential {
    /// Reads it.
    pub fn parse(secret: &Secret) -> Result<Self, CredentialError> {
        let text = secret.expose().trim();
        if let Some(key) = text.strip_prefix(PREFIX_RESEND) {
            let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
            return if plain {
                Ok(Self::Resend(Secret::new(key.to_owned())))
            } else {
                Err(CredentialError::Form)
            };
        }
        let url = Url::parse(text).map_err(|_| CredentialError::Form)?;
        let implicit = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(CredentialError::Form),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(CredentialError::NoHost)?;
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(CredentialError::HalfLogin),
            (user, Some(password)) => Some((decoded(user)?, decoded(password)?)),
        };
        let tls = match (implicit, url.query()) {
            (true, None) => Tls::Implicit,
            (false, Some("tls=required")) => Tls::Required,
            (false, Some("tls=none")) if login.is_some() => return Err(CredentialError::OpenPassword),
            (false, Some("tls=none")) => Tls::Never,
            (false, None) if login.is_some() => Tls::Required,
            (false, None) => Tls::Offered,
            _ => return Err(CredentialError::Query),
        };
        Ok(Self::Smtp(Server {
            host: host.to_ascii_lowercase(),
            port: url.port().unwrap_or(if implicit { 465 } else { 587 }),
            tls,
            login,
            identity: Sha256::digest(text.as_bytes()).into(),
        }))
    }
}

fn decoded(text: &str) -> Result<Secret, CredentialError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| CredentialError::Escape)?;
    if decoded.contains(['\r', '\n', '\0']) {
        Err(CredentialError::Escape)
    } else {
        Ok(Secret::new(decoded.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(text: &str) -> Server {
        match Credential::parse(&Secret::new(text.into())) {
            Ok(Credential::Smtp(server)) => server,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_server_is_named_with_its_port_and_its_way_into_tls() {
        for (text, host, port, tls, login) in [
            ("smtp://mail.example.com", "mail.example.com", 587, Tls::Offered, false),
            ("smtp://127.0.0.1:2525?tls=none", "127.0.0.1", 2525, Tls::Never, false),
            ("smtp://mail.example.com?tls=required", "mail.example.com", 587, Tls::Required, false),
            ("smtp://u:p@mail.example.com:25", "mail.example.com", 25, Tls::Required, true),
            ("smtps://u:p@Mail.Example.com", "mail.example.com", 465, Tls::Implicit, true),
            ("smtps://[2001:db8::1]:465", "[2001:db8::1]", 465, Tls::Implicit, false),
        ] {
            let server = smtp(text);
            assert_eq!(
                (server.host.as_str(), server.port, server.tls, server.login.is_some()),
                (host, port, tls, login)
            );
        }
        let (user, password) = smtp("smtp://ops%40example.com:p%3A%2Fw@m.example.com").login.unwrap();
        assert_eq!((user.expose(), password.expose()), ("ops@example.com", "p:/w"));
        assert_ne!(smtp("smtp://a:b@m.example.com").identity, smtp("smtp://a:c@m.example.com").identity);
    }

    #[test]
    fn a_credential_that_cannot_be_used_says_why_without_quoting_it() {
        for (text, expected) in [
            ("re_canary", CredentialError::Form),
            ("https://u:p@example.com", CredentialError::Form),
            ("resend://", CredentialError::Form),
            ("resend://re canary", CredentialError::Form),
            ("smtp:///x", CredentialError::NoHost),
            ("smtp://u@example.com", CredentialError::HalfLogin),
            ("smtp://u:p%ff@example.com", CredentialError::Escape),
            ("smtp://u:p%0d%0aQUIT@example.com", CredentialError::Escape),
            ("smtp://u:p@example.com?tls=none", CredentialError::OpenPassword),
            ("smtp://example.com?tls=maybe", CredentialError::Query),
            ("smtps://example.com?tls=none", CredentialError::Query),
        ] {
            let error = Credential::parse(&Secret::new(text.into())).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("canary"));
        }
        let resend = Credential::parse(&Secret::new("resend://re_123_abc".into()));
        assert!(matches!(resend, Ok(Credential::Resend(key)) if key.expose() == "re_123_abc"));
    }
}
