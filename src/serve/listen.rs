//! Where does the server listen? All addresses or none, but for those that not every machine has.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::StartError;
use crate::config::ListenAddress;

/// Connections that may wait to be accepted, as far as the system allows (`net.core.somaxconn`). One more
/// would be dropped unseen: to its client it looks open, and nobody would ever close it.
pub(super) const BACKLOG: u32 = 4096;

/// Binds every address that an option names. One that is not required (`::1` of `localhost`) may be missing.
pub(super) fn bind(
    option: &'static str,
    addresses: &[ListenAddress],
) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for one in addresses {
        match listen(one.address) {
            Ok(listener) => listeners.push(listener),
            // A port taken there is no missing address: half the clients would reach another program.
            Err(error) if !one.required && error.kind() != io::ErrorKind::AddrInUse => {
                tracing::info!(address = %one.address, reason = %error, "this machine does not have the address");
            }
            Err(error) => return Err(refused(option, one, error)),
        }
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of a server that has just ended keep nobody from taking its place.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn refused(option: &'static str, one: &ListenAddress, source: io::Error) -> StartError {
    let address = one.address;
    if source.kind() == io::ErrorKind::AddrInUse {
        StartError::PortInUse { option, address }
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        StartError::NotAllowed { address }
    } else {
        StartError::Listen { option, address, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TEST-NET-1 (RFC 5737): no machine has it.
    const NOWHERE: &str = "192.0.2.1:0";

    fn address(text: &str, required: bool) -> ListenAddress {
        ListenAddress { address: text.parse().unwrap(), required }
    }

    #[tokio::test]
    async fn an_address_the_machine_lacks_only_gets_a_remark_unless_it_was_asked_for() {
        let bound = bind("listen", &[address("127.0.0.1:0", true), address(NOWHERE, false)]).unwrap();
        assert_eq!(bound.len(), 1);
        let error = bind("listen", &[address("127.0.0.1:0", true), address(NOWHERE, true)]).unwrap_err();
        assert!(matches!(error, StartError::Listen { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_address_the_machine_lacks_is_blamed_on_the_option_that_names_it() {
        let error = bind("metrics-listen", &[address(NOWHERE, true)]).unwrap_err();
        assert_eq!(error.advice(), "Choose an address of this machine with --metrics-listen.");
    }

    #[tokio::test]
    async fn a_port_taken_on_either_address_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let other = TcpListener::bind(taken).await.unwrap();
        let error = bind("listen", &[address(&taken.to_string(), false)]).unwrap_err();
        assert!(matches!(error, StartError::PortInUse { .. }), "{error}");
        drop(other);
    }
}
