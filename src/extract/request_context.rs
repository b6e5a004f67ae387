//! Who asks from where, when, and under which id do we remember it?
//!
//! Forwarded headers count only from configured proxies (RFC 7239 §8.1): anybody can send them. The
//! host is never taken from the request at all; the issuer is configuration.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
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

/// Whether this peer's forwarded headers are believed.
#[must_use]
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|network| network.contains(&peer))
}

/// The nearest address that is not one of our proxies. Whatever stands further left in the headers was
/// written by strangers.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let hops = match (hops(headers, "forwarded", forwarded_for), hops(headers, "x-forwarded-for", address)) {
        (Some(hops), None) | (None, Some(hops)) => hops,
        // A proxy that writes one of them may hand the other through from a stranger.
        (Some(one), Some(other)) if one == other => one,
        (Some(_), Some(_)) | (None, None) => return peer,
    };
    let mut nearest = peer;
    for hop in hops.into_iter().rev() {
        let Some(hop) = hop else { break };
        nearest = hop;
        if !is_trusted(hop, trusted) {
            break;
        }
    }
    nearest
}

type Hops = Vec<Option<IpAddr>>;

fn hops(headers: &HeaderMap, name: &str, read: fn(&str) -> Option<IpAddr>) -> Option<Hops> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.is_empty() {
        return None;
    }
    Some(values.iter().flat_map(|value| value.split(',')).map(|hop| read(hop.trim())).collect())
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
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "::1/128"].iter().map(|net| net.parse().unwrap()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        client_address(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2::1"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
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
    fn what_cannot_be_read_or_contradicts_itself_is_not_believed() {
        assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", "unknown")]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, garbage")]), "10.0.0.1");
        let both = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")];
        assert_eq!(seen("10.0.0.1", &both), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }
}
