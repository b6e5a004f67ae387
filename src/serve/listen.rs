//! Where does the server listen? All addresses or none, but for those that not every machine has.

use std::io;

use tokio::net::TcpListener;

use super::StartError;
use crate::config::ListenAddress;

/// Binds every address. One that is not required (`::1` of `localhost`) may be missing.
pub(super) async fn bind(addresses: &[ListenAddress]) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for one in addresses {
        match TcpListener::bind(one.address).await {
            Ok(listener) => listeners.push(listener),
            // A port taken there is no missing address: half the clients would reach another program.
            Err(error) if !one.required && error.kind() != io::ErrorKind::AddrInUse => {
                tracing::info!(address = %one.address, reason = %error, "this machine does not have the address");
            }
            Err(error) => return Err(refused(one, error)),
        }
    }
    Ok(listeners)
}

fn refused(one: &ListenAddress, source: io::Error) -> StartError {
    let address = one.address;
    if source.kind() == io::ErrorKind::AddrInUse {
        StartError::PortInUse { address }
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        StartError::NotAllowed { address }
    } else {
        StartError::Listen { address, source }
    }
}
