//! Where does the server listen?

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::error::Problem;

/// One address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Whether the server must not start without it. `::1` of `localhost` is not required:
    /// many machines and containers have no IPv6.
    pub required: bool,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)
    }
}

/// Reads the addresses; `localhost:PORT` is both loopback addresses.
pub(super) fn parse_listen(written: &[String]) -> Result<Vec<ListenAddress>, Problem> {
    if written.is_empty() {
        return Err(Problem::Empty);
    }
    let mut addresses: Vec<ListenAddress> = Vec::new();
    for text in written {
        for address in parse_one(text)? {
            // Binding twice would fail as "address in use" by ourselves.
            if !addresses.iter().any(|known| known.address == address.address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

fn parse_one(text: &str) -> Result<Vec<ListenAddress>, Problem> {
    let refused = || Problem::NotAnAddress(text.to_owned());
    let Some(port) = text.strip_prefix("localhost:") else {
        let address = text.parse().map_err(|_| refused())?;
        return Ok(vec![ListenAddress { address, required: true }]);
    };
    let port: u16 = port.parse().map_err(|_| refused())?;
    let loopback = |ip: IpAddr, required| ListenAddress { address: SocketAddr::new(ip, port), required };
    let first = loopback(Ipv4Addr::LOCALHOST.into(), true);
    // With port 0 the two would get different ports and the issuer could name only one.
    if port == 0 { Ok(vec![first]) } else { Ok(vec![first, loopback(Ipv6Addr::LOCALHOST.into(), false)]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &[&str]) -> Result<Vec<String>, Problem> {
        let owned: Vec<String> = written.iter().map(|text| (*text).to_owned()).collect();
        Ok(parse_listen(&owned)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn localhost_is_both_loopback_addresses_and_only_the_first_is_required() {
        let addresses = parse_listen(&["localhost:8000".to_owned()]).unwrap();
        let seen: Vec<_> = addresses.iter().map(|one| (one.to_string(), one.required)).collect();
        assert_eq!(seen, [("127.0.0.1:8000".to_owned(), true), ("[::1]:8000".to_owned(), false)]);
    }

    #[test]
    fn an_address_named_twice_is_bound_once() {
        assert_eq!(parse(&["localhost:8000", "127.0.0.1:8000"]).unwrap().len(), 2);
    }

    #[test]
    fn a_chosen_port_is_one_address() {
        assert_eq!(parse(&["127.0.0.1:0"]).unwrap(), ["127.0.0.1:0"]);
        assert_eq!(parse(&["localhost:0"]).unwrap(), ["127.0.0.1:0"]);
    }

    #[test]
    fn a_host_name_or_a_missing_port_is_refused() {
        for written in ["example.com:80", "127.0.0.1", "localhost", ":8000", "localhost:99999", "::1:8000:"] {
            assert_eq!(parse(&[written]), Err(Problem::NotAnAddress(written.to_owned())));
        }
    }
}
