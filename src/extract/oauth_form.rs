//! Is this a form an OAuth endpoint reads? (RFC 6749 §3.2, RFC 7662 §2.1, RFC 7009 §2.1)

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;

use super::form_pairs::{FormError, Pairs};
use crate::error::{ErrorCode, OAuthError};
use crate::state::AppState;

/// The parameters of a client's request, each there once.
#[derive(Clone, Debug)]
pub struct OAuthForm(Pairs);

impl OAuthForm {
    /// Reads a body; anything but a form with each parameter once is `invalid_request`.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, OAuthError> {
        let pairs = Pairs::parse_body(content_type, body)?;
        pairs.each_once()?;
        Ok(Self(pairs))
    }

    /// The value of a parameter; `None` when it is absent or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.raw(name).filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be there.
    pub fn require(&self, name: &str, missing: &'static str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::invalid_request(missing))
    }

    /// Every value of a parameter that may repeat.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.get_all(name)
    }
}

impl From<FormError> for OAuthError {
    fn from(error: FormError) -> Self {
        OAuthError::described(ErrorCode::InvalidRequest, &error.to_string())
    }
}

impl FromRequest<AppState> for OAuthForm {
    type Rejection = OAuthError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, OAuthError> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let unreadable = |_| OAuthError::invalid_request("The body could not be read.");
        let body = Bytes::from_request(request, state).await.map_err(unreadable)?;
        Self::parse(content_type.as_deref(), &body)
    }
}
