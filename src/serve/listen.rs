//! Where does the server listen? All addresses or none, but for those that not every machine has.

use std::io;

use tokio::net::TcpListener;

use super::StartError;
use crate::config::ListenAddress;

/// Binds every address that an option names. One that is not required (`::1` of `localhost`) may be missing.
pub(super) async fn bind(
    option: &'static str,
    addresses: &[ListenAddress],
) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for one in addresses {
        match TcpListener::bind(one.address).await {
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

fn refused(option: &'static str, one: &ListenAddress, source: io::Error) -> StartError {
    let address = one.address;
    if source.kind() == io::ErrorKind::AddrInUse {
        StartError::PortInUse { option, address }
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        StartError::NotAllowed { address }
    } else {
        StartError::Listen { address, source }
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
        let bound = bind("listen", &[address("127.0.0.1:0", true), address(NOWHERE, false)]).await.unwrap();
        assert_eq!(bound.len(), 1);
        let error =
            bind("listen", &[address("127.0.0.1:0", true), address(NOWHERE, true)]).await.unwrap_err();
        assert!(matches!(error, StartError::Listen { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_port_taken_on_either_address_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let other = TcpListener::bind(taken).await.unwrap();
        let error = bind("listen", &[address(&taken.to_string(), false)]).await.unwrap_err();
        assert!(matches!(error, StartError::PortInUse { .. }), "{error}");
        drop(other);
    }
}
