//! Grant types and client types by their registered names (RFC 6749 §2.1, RFC 7591 §2).

use serde::{Deserialize, Serialize};

/// A grant type this server implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §6.
    RefreshToken,
}

impl GrantType {
    /// Every grant type, in the order metadata lists them.
    pub const ALL: &'static [GrantType] =
        &[GrantType::AuthorizationCode, GrantType::ClientCredentials, GrantType::RefreshToken];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GrantType::AuthorizationCode => "authorization_code",
            GrantType::ClientCredentials => "client_credentials",
            GrantType::RefreshToken => "refresh_token",
        }
    }

    /// Reads a name from the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|grant| grant.as_str() == name)
    }
}

/// Whether a client can keep a secret (RFC 6749 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientType {
    /// Authenticates with a secret.
    Confidential,
    /// Cannot: identified by its redirect URI and PKCE.
    Public,
}

impl ClientType {
    /// The name used in forms and rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ClientType::Confidential => "confidential",
            ClientType::Public => "public",
        }
    }

    /// Reads the name used in forms and rows.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [ClientType::Confidential, ClientType::Public].into_iter().find(|kind| kind.as_str() == name)
    }
}
