//! Who asks from where, when, and under which id do we remember it?
//!
//! Forwarded headers count only from configured proxies (RFC 7239 §8.1): anybody can send them. The
//! host is never taken from the request at all; the issuer is configuration.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, Utc};
use ipnet::IpNet;

use crate::commands::{Actor, Origin};
use crate::middleware::request_id::RequestId;
use crate::state::AppState;

/// Whoever is at the other end of the connection; set by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What every handler knows of its request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// When it came; one time for the whole request.
    pub now: DateTime<Utc>,
    /// The client's address, behind trusted proxies the real one.
    pub address: Option<IpAddr>,
    /// What the browser or library calls itself.
    pub user_agent: Option<String>,
    /// This request.
    pub request_id: String,
    /// Shown to people and kept with refusals.
    pub correlation_id: String,
    /// Path, without query.
    pub path: String,
    /// Query, without `?`.
    pub query: Option<String>,
    /// Whether cookies are `Secure` and `__Host-`: the issuer is https.
    pub is_secure: bool,
}

impl RequestContext {
    /// Where a command of this request comes from.
    #[must_use]
    pub fn origin(&self, actor: Actor) -> Origin {
        Origin {
            actor,
            address: self.address,
            user_agent: self.user_agent.clone(),
            request_id: self.request_id.clone(),
            correlation_id: self.correlation_id.clone(),
            causation_id: None,
        }
    }
}

impl FromRequestParts<AppState> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let now = state.clock.now();
        let ids = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::new(now));
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self {
            now,
            address: parts
                .extensions
                .get::<Peer>()
                .map(|peer| client_address(peer.0, &parts.headers, &state.config.trusted_proxies)),
            user_agent: user_agent.map(str::to_owned),
            request_id: ids.request_id,
            correlation_id: ids.correlation_id,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            is_secure: state.config.issuer.is_https(),
        })
    }
}

/// What counts as one: whoever has one address of IPv6 has 2⁶⁴ of them.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(own) => Ipv6Addr::from_bits(own.to_bits() >> 64 << 64).into(),
    }
}

/// How many shares of one network a wide one has.
pub const WIDE: usize = 3;

/// What an address is charged under, each with its number of shares. One line at home has 256 networks of IPv6 and
/// more, and 65,536 are to be had for nothing: together they have a few shares, and not one each.
pub fn networks(address: IpAddr) -> impl Iterator<Item = (IpNet, usize)> {
    let lengths: &[(u8, usize)] = match address {
        IpAddr::V4(_) => &[(32, 1)],
        IpAddr::V6(_) => &[(64, 1), (48, WIDE)],
    };
    let network = move |length| IpNet::new(address, length).ok().map(|network| network.trunc());
    lengths.iter().filter_map(move |(length, shares)| Some((network(*length)?, *shares)))
}

/// Whether this peer's forwarded headers are believed.
#[must_use]
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|network| network.contains(&peer))
}

/// The headers in which proxies say where a request came from. The first one that is there counts: nearly
/// every proxy adds to it, and hands the other through as a stranger wrote it.
const FORWARDED: [(&str, ReadHop); 2] = [("x-forwarded-for", address), ("forwarded", forwarded_for)];

type ReadHop = fn(&str) -> Option<IpAddr>;

/// The nearest address that is not one of our proxies. Whatever stands further left in the headers was
/// written by strangers.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let Some((name, read)) = FORWARDED.into_iter().find(|(name, _)| headers.contains_key(*name)) else {
        return peer;
    };
    // As bytes: what a stranger wrote further left need not be text, and must not hide what a proxy added.
    let lines = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    let hops = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
    let mut nearest = peer;
    for hop in hops.map_while(|hop| read(std::str::from_utf8(hop).ok()?.trim())) {
        nearest = hop;
        if !is_trusted(hop, trusted) {
            break;
        }
    }
    nearest
}

/// The network whose share a request takes; `None` for programs of this machine that speak for themselves.
/// Never what a header says is this machine: whoever comes through a proxy is somebody.
#[must_use]
pub fn limited_network(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_forwarded = FORWARDED.iter().any(|(name, _)| headers.contains_key(*name));
    let is_own = peer.to_canonical().is_loopback() && !is_trusted(peer, trusted) && !is_forwarded;
    (!is_own).then(|| network(client_address(peer, headers, trusted)))
}

/// `for=192.0.2.43;proto=https`, `for="[2001:db8::1]:4711"` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(node.trim_matches('"'))
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().ok();
    parsed.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip())).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "::1/128"].iter().map(|net| net.parse().unwrap()).collect()
    }

    fn map(headers: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    fn seen(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        client_address(peer.parse().unwrap(), &map(&headers), &trusted()).to_string()
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2::1"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn networks_of_one_line_are_charged_together_as_well() {
        let charged = |text: &str| {
            let networks = networks(text.parse().unwrap());
            networks.map(|(network, shares)| format!("{network} {shares}")).collect::<Vec<_>>()
        };
        assert_eq!(charged("2001:db8:1:2:3:4:5:6"), ["2001:db8:1:2::/64 1", "2001:db8:1::/48 3"]);
        // The first network of a wide one is not the wide one.
        assert_eq!(charged("2001:db8:1::7"), ["2001:db8:1::/64 1", "2001:db8:1::/48 3"]);
        assert_eq!(charged("192.0.2.7"), ["192.0.2.7/32 1"]);
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        let claim = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
        assert_eq!(seen("203.0.113.9", &claim), "203.0.113.9");
        let through = [("x-forwarded-for", "192.0.2.1, 203.0.113.9")];
        assert_eq!(seen("10.0.0.1", &through), "203.0.113.9");
    }

    #[test]
    fn chains_of_our_proxies_are_walked_from_the_right() {
        let chain =
            [("x-forwarded-for", "192.0.2.1, 203.0.113.9, 10.0.0.2"), ("x-forwarded-for", "10.0.0.3")];
        assert_eq!(seen("10.0.0.1", &chain), "203.0.113.9");
        assert_eq!(
            seen("::ffff:10.0.0.1", &[("forwarded", "for=\"[2001:db8::7]:4711\";proto=https")]),
            "2001:db8::7"
        );
        assert_eq!(seen("10.0.0.1", &[("forwarded", "For=192.0.2.60:4711;by=10.0.0.1")]), "192.0.2.60");
    }

    #[test]
    fn what_cannot_be_read_is_not_believed() {
        assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", "unknown")]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, garbage")]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, garbage, 10.0.0.2")]), "10.0.0.2");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }

    /// Each of these was sent to be counted under the address of the proxy, which nobody limited.
    #[test]
    fn what_a_stranger_writes_does_not_hide_what_a_proxy_added() {
        for line in [&b"\xff, 203.0.113.9"[..], b"\xff,203.0.113.9", b", 203.0.113.9", b"\"x, 203.0.113.9"] {
            let headers = map(&[("x-forwarded-for", line)]);
            assert_eq!(
                client_address("10.0.0.1".parse().unwrap(), &headers, &trusted()).to_string(),
                "203.0.113.9"
            );
        }
        let lines = map(&[("x-forwarded-for", b"\xff"), ("x-forwarded-for", b"203.0.113.9")]);
        assert_eq!(
            client_address("10.0.0.1".parse().unwrap(), &lines, &trusted()).to_string(),
            "203.0.113.9"
        );
        for forwarded in ["for=192.0.2.2", "for=127.0.0.1", "for=10.0.0.1", "for=_hidden", "cheese", ""] {
            let both = [("forwarded", forwarded), ("x-forwarded-for", "192.0.2.1, 203.0.113.9")];
            assert_eq!(seen("10.0.0.1", &both), "203.0.113.9", "{forwarded}");
        }
        assert_eq!(seen("10.0.0.1", &[("forwarded", "for=\"x, for=203.0.113.9")]), "203.0.113.9");
    }

    #[test]
    fn only_programs_of_this_machine_that_speak_for_themselves_have_no_limit() {
        let limited = |peer: &str, headers: &[(&'static str, &'static [u8])]| {
            let network = limited_network(peer.parse().unwrap(), &map(headers), &trusted());
            network.map(|network| network.to_string())
        };
        assert_eq!(limited("127.0.0.1", &[]), None);
        assert_eq!(limited("::ffff:127.0.0.1", &[]), None);
        // A proxy, declared (`::1`) or not, whatever it hands through.
        assert_eq!(limited("::1", &[]).as_deref(), Some("::"));
        for header in ["forwarded", "x-forwarded-for"] {
            for line in [&b""[..], b"\xff", b"127.0.0.1", b"for=127.0.0.1"] {
                assert!(limited("::1", &[(header, line)]).is_some(), "{header}: {line:?}");
                assert_eq!(limited("127.0.0.1", &[(header, line)]).as_deref(), Some("127.0.0.1"));
            }
        }
        assert_eq!(limited("10.0.0.1", &[("x-forwarded-for", b"127.0.0.1")]).as_deref(), Some("127.0.0.1"));
        assert_eq!(limited("192.0.2.7", &[]).as_deref(), Some("192.0.2.7"));
    }
}
