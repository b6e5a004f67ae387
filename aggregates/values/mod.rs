//! Values parsed once at the edge, so that an aggregate never sees a malformed one.

pub mod confirmation;
pub mod grant_type;
pub mod pkce;
pub mod redirect_uri;
pub mod resource;
pub mod scope;
pub mod sealed;
pub mod secret_ref;
pub mod token;
mod uri;

#[cfg(test)]
mod tests;

pub use confirmation::Confirmation;
pub use grant_type::{ClientType, GrantType};
pub use pkce::{CodeChallenge, CodeVerifier};
pub use redirect_uri::{RedirectUri, RedirectUriError};
pub use resource::{Resource, ResourceError};
pub use scope::{Scope, ScopeError};
pub use sealed::Sealed;
pub use secret_ref::{SecretKind, SecretRef};
pub use token::{NewToken, RefreshTerms};
