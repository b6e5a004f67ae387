//! The key a token is bound to, if any: the `cnf` member (RFC 7800 §3.1).

use serde::{Deserialize, Serialize};

/// A confirmation method. None is offered yet; events carry the member from version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// SHA-256 JWK thumbprint of a `DPoP` key (RFC 9449 §6.1).
    #[serde(rename = "jkt")]
    JwkThumbprint(String),
    /// SHA-256 thumbprint of a client certificate (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256")]
    CertificateThumbprint(String),
}
