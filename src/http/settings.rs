//! What an operator may set about who reaches the server, and how often.

use crate::limits::Rate;

/// How requests are let in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address under which the outside reaches this server, without a slash at its end.
    pub public_url: Option<String>,
    /// Hosts that a request to `/mcp` may name, with or without a port.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call `/mcp`; pages of all others are turned away.
    pub allowed_origins: Vec<String>,
    /// How many calls a token may make; none means any number.
    pub rate: Option<Rate>,
}

impl Default for Settings {
    /// Reached from this machine alone, by programs and by pages that this machine serves.
    fn default() -> Self {
        Self {
            public_url: None,
            allowed_hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into(),
            allowed_origins: ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"]
                .map(str::to_owned)
                .into(),
            rate: Some(Rate::default()),
        }
    }
}

impl Settings {
    /// These settings with the address that the outside uses: its host is allowed, and so are pages that it serves.
    #[must_use]
    pub fn reached_at(mut self, public_url: &str) -> Self {
        let public_url = public_url.trim_end_matches('/');
        if let Ok(uri) = public_url.parse::<axum::http::Uri>()
            && let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority())
        {
            self.allowed_hosts.push(authority.host().to_owned());
            let port = authority.port_u16().or(match scheme {
                "https" => Some(443),
                "http" => Some(80),
                _ => None,
            });
            if let Some(port) = port {
                self.allowed_origins.push(format!("{scheme}://{}:{port}", authority.host()));
            }
        }
        self.public_url = Some(public_url.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_address_is_let_in() {
        let settings = Settings::default().reached_at("https://crm.example.com/");
        assert_eq!(settings.public_url.as_deref(), Some("https://crm.example.com"));
        assert!(settings.allowed_hosts.contains(&"crm.example.com".to_owned()));
        assert_eq!(settings.allowed_origins.last().unwrap(), "https://crm.example.com:443");
    }

    #[test]
    fn nobody_is_let_in_by_an_empty_list() {
        assert!(!Settings::default().allowed_hosts.is_empty());
    }
}
