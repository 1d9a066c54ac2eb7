//! Where this server may connect to when a company names the target (a mail server, a webhook).
//!
//! Whoever may name a target could otherwise reach what only this machine can reach: the database, a cloud's
//! metadata, a neighbour. So a name is resolved first, its addresses are judged, and the connection goes to the judged
//! address and never to the name again; a name that changes its mind in between gains nothing. Addresses that are not
//! reachable from everywhere are refused, unless the operator has named their network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What may be connected to: the public network and some private ones, or some networks and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    allowed: Arc<[IpNet]>,
    confined: bool,
    /// The one port that there is, where it is said.
    port: Option<u16>,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no network; write it as 10.0.0.0/8 or fd00::/8")]
pub struct NotACidr(String);

/// Why a target is not connected to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing but private addresses.
    #[error("the target is on a private network, which DOCKET_ALLOW_PRIVATE_TARGETS does not name")]
    Private,
    /// What sends is confined to some targets, and this is none of them.
    #[error("this server connects to nothing outside this machine, and sends mail to its test mailbox alone")]
    Confined,
    /// The name has no address.
    #[error("the target's name has no address")]
    NoAddress,
    /// Resolving took too long.
    #[error("the target's name was not resolved in time")]
    Slow,
    /// The address is no URL that may be called.
    #[error("the target must be an http or https address with a host, without user and password")]
    NotAUrl,
}

impl Targets {
    /// Networks, separated by commas; a bare address is a network of one.
    pub fn parse(list: &str) -> Result<Self, NotACidr> {
        let networks = list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(|text| {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| NotACidr(text.to_owned()))
        });
        Ok(Self { allowed: networks.collect::<Result<_, _>>()?, ..Self::default() })
    }

    /// This address with this port, and nothing else.
    pub fn only(address: SocketAddr) -> Self {
        let allowed = Arc::new([IpNet::from(address.ip().to_canonical())]);
        Self { allowed, confined: true, port: Some(address.port()) }
    }

    /// The loopback network, and nothing else.
    pub fn this_machine() -> Self {
        let v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        let allowed = Arc::new([IpNet::V4(v4), IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST))]);
        Self { allowed, confined: true, port: None }
    }

    /// Whether this address may be connected to.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !self.confined && is_public(address) || self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Whether this port may be connected to, where the address may.
    fn permits_port(&self, port: u16) -> bool {
        self.port.is_none_or(|only| only == port)
    }

    /// Why an address that may not be connected to may not be.
    fn refusal(&self) -> TargetError {
        if self.confined { TargetError::Confined } else { TargetError::Private }
    }

    /// The addresses of a host that may be connected to.
    pub async fn resolve(
        &self,
        host: &str,
        port: u16,
        within: Duration,
    ) -> Result<Vec<SocketAddr>, TargetError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => match tokio::time::timeout(within, tokio::net::lookup_host((host, port))).await {
                Ok(Ok(found)) => found.collect(),
                Ok(Err(_)) => return Err(TargetError::NoAddress),
                Err(_) => return Err(TargetError::Slow),
            },
        };
        if found.is_empty() {
            return Err(TargetError::NoAddress);
        }
        let permitted =
            |address: &SocketAddr| self.permits(address.ip()) && self.permits_port(address.port());
        let permitted: Vec<SocketAddr> = found.into_iter().filter(permitted).collect();
        if permitted.is_empty() { Err(self.refusal()) } else { Ok(permitted) }
    }

    /// Whether an HTTP client that resolves by this guard may call the address. The guard itself never sees a host
    /// that is written as an address, so that it is judged here.
    pub fn check_url(&self, url: &Url) -> Result<(), TargetError> {
        let plain =
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        let host = url.host_str().filter(|_| plain).ok_or(TargetError::NotAUrl)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) if !self.permits(address) => Err(self.refusal()),
            _ if !url.port_or_known_default().is_some_and(|port| self.permits_port(port)) => {
                Err(self.refusal())
            }
            _ => Ok(()),
        }
    }
}

/// Resolves for an HTTP client. Its connect time-out bounds the wait.
impl Resolve for Targets {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.clone();
        Box::pin(async move {
            let found = Self::resolve(&targets, name.as_str(), 0, Duration::from_secs(10)).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is reachable from everywhere (IANA's registries of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match a {
        0 | 10 | 127 | 224.. => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => matches!((b, c), (168, _) | (0, 0) | (0, 2) | (88, 99)),
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // Addresses of the old kind, reached through a translator.
        (0x64, 0xff9b) => (c, d, e, f) == (0, 0, 0, 0) && embedded(g, h),
        (0x2002, _) => embedded(b, c),
        // Tunnels and other assignments of a protocol's own, and what documentation uses.
        (0x2001, 0..0x200 | 0xdb8) => false,
        (0x3fff, 0..0x1000) => false,
        (0x2000..0x4000, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_or_its_neighbours_reach_is_private() {
        let none = Targets::default();
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!none.permits(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "9.9.9.9",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "203.0.112.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
        ] {
            assert!(none.permits(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn an_operator_may_name_private_networks() {
        let targets = Targets::parse("10.0.0.0/8, 127.0.0.1,fd00::/8").unwrap();
        for permitted in ["10.9.9.9", "127.0.0.1", "::ffff:10.0.0.1", "fd00::5"] {
            assert!(targets.permits(permitted.parse().unwrap()), "{permitted}");
        }
        for refused in ["127.0.0.2", "192.168.0.1", "fc00::1"] {
            assert!(!targets.permits(refused.parse().unwrap()), "{refused}");
        }
        assert_eq!(Targets::parse(""), Ok(Targets::default()));
        assert_eq!(Targets::parse("10.0.0.0/8,intranet"), Err(NotACidr("intranet".into())));
    }

    #[tokio::test]
    async fn who_is_confined_reaches_nothing_else() {
        let within = Duration::from_secs(5);
        let mailbox = Targets::only("127.0.0.1:2525".parse().unwrap());
        let machine = Targets::this_machine();
        for (host, port, to_mailbox, to_machine) in [
            ("127.0.0.1", 2525, true, true),
            ("127.0.0.1", 25, false, true),
            ("127.0.0.2", 2525, false, true),
            ("[::1]", 2525, false, true),
            ("[::ffff:127.0.0.1]", 2525, true, true),
            ("1.1.1.1", 2525, false, false),
            ("10.0.0.1", 2525, false, false),
            ("[2606:4700::1111]", 2525, false, false),
        ] {
            for (targets, permitted) in [(&mailbox, to_mailbox), (&machine, to_machine)] {
                let resolved = targets.resolve(host, port, within).await;
                assert_eq!(resolved.is_ok(), permitted, "{host} {port}");
                let url = format!("http://{host}:{port}/").parse().unwrap();
                assert_eq!(targets.check_url(&url).is_ok(), permitted, "{url}");
                assert!(resolved.is_ok() || resolved == Err(TargetError::Confined));
            }
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let within = Duration::from_secs(5);
        let none = Targets::default();
        for host in ["localhost", "127.0.0.1", "[::1]", "::1"] {
            assert_eq!(none.resolve(host, 25, within).await, Err(TargetError::Private), "{host}");
        }
        let own = Targets::parse("127.0.0.0/8").unwrap();
        let found = own.resolve("localhost", 25, within).await.unwrap();
        assert_eq!(found, ["127.0.0.1:25".parse().unwrap()]);
        assert_eq!(none.resolve("no-such-host.invalid", 25, within).await, Err(TargetError::NoAddress));
    }

    #[test]
    fn a_url_may_not_hide_where_it_leads() {
        let none = Targets::default();
        for (url, expected) in [
            ("https://example.com/hook", Ok(())),
            ("http://1.1.1.1/", Ok(())),
            ("http://127.0.0.1/", Err(TargetError::Private)),
            ("http://2130706433/", Err(TargetError::Private)),
            ("http://0x7f.1/", Err(TargetError::Private)),
            ("http://[::ffff:127.0.0.1]/", Err(TargetError::Private)),
            ("http://user:pw@example.com/", Err(TargetError::NotAUrl)),
            ("file:///etc/passwd", Err(TargetError::NotAUrl)),
            ("ftp://example.com/", Err(TargetError::NotAUrl)),
        ] {
            assert_eq!(none.check_url(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
