//! `POST /o/token/`: a code, a refresh token or the client's own credentials become tokens.
//! (RFC 6749 §3.2, §5)
//!
//! 1. form and binding: [`admit`] reads the form and settles who asks;
//! 2. which grant is asked for;
//! 3. may this client use it;
//! 4. redeem: one command, in the grant's own file;
//! 5. respond, keeping what was refused.

use aggregates::authorization::AuthorizationError;
use aggregates::refusal::Rule;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::exchange::{Exchange, admit};
use super::grants;
use crate::error::{ErrorCode, OAuthError};
use crate::extract::oauth_form::OAuthForm;
use crate::extract::request_context::RequestContext;
use crate::refusals::Refused;
use crate::state::AppState;

/// Answers a token request.
pub async fn post(
    State(state): State<AppState>,
    context: RequestContext,
    headers: HeaderMap,
    form: Result<OAuthForm, OAuthError>,
) -> Response {
    let exchange = match admit("token", state, context, headers, form).await {
        Ok(exchange) => exchange,
        Err(response) => return *response,
    };
    let outcome = exchange_tokens(&exchange).await;
    exchange.respond(outcome).await
}

async fn exchange_tokens(exchange: &Exchange) -> Result<Response, Refused> {
    let grant_type = grants::requested(&exchange.form)?;
    grants::check_allowed(&exchange.caller, grant_type)?;
    let answer = grants::redeem(grant_type, exchange).await?;
    Ok(answer.into_response())
}

/// What each reason of an authorization to refuse means here. One sentence for all that concern the
/// code or token itself: a client that holds a stranger's learns nothing of its state.
pub(super) fn refusal_of(reason: AuthorizationError) -> Refused {
    use AuthorizationError as Reason;
    let grant = || OAuthError::invalid_grant("The code or refresh token is invalid, expired, revoked or used.");
    let uri = || OAuthError::invalid_grant("The redirect_uri is not that of the authorization request.");
    let verifier = || OAuthError::invalid_grant("The code_verifier does not match.");
    let request = OAuthError::invalid_request;
    let scope = |description| OAuthError::new(ErrorCode::InvalidScope, description);
    match reason {
        Reason::WrongClient => Refused::by(Rule::WrongClient, grant()),
        Reason::RedirectUriMissing => {
            Refused::by(Rule::RedirectUriMismatch, request("Missing redirect_uri parameter."))
        }
        Reason::RedirectUriMismatch => Refused::by(Rule::RedirectUriMismatch, uri()),
        Reason::VerifierMissing => Refused::by(Rule::VerifierMissing, request("Code verifier required.")),
        Reason::VerifierWrong => Refused::by(Rule::VerifierWrong, verifier()),
        Reason::VerifierUnexpected => {
            let error = request("A code_verifier was sent, but the authorization request had no challenge.");
            Refused::by(Rule::VerifierUnexpected, error)
        }
        Reason::Revoked => Refused::by(Rule::AuthorizationRevoked, grant()),
        Reason::AlreadyRedeemed => Refused::by(Rule::CodeReplayed, grant()),
        Reason::CodeExpired => Refused::by(Rule::CodeExpired, grant()),
        Reason::RefreshTokenExpired => Refused::by(Rule::RefreshTokenExpired, grant()),
        Reason::RefreshTokenReused => Refused::by(Rule::RefreshTokenReused, grant()),
        Reason::InvalidTarget => {
            let error = OAuthError::new(ErrorCode::InvalidTarget, "A resource was not granted.");
            Refused::by(Rule::ResourceNotAllowed, error)
        }
        Reason::ScopeExceeded => {
            Refused::by(Rule::ScopeNotAllowed, scope("The scope exceeds what was granted."))
        }
        Reason::NothingLeft => {
            Refused::by(Rule::ScopeNotAllowed, scope("The application may no longer have any of this scope."))
        }
        // Genuine texts that name nothing: their authorization was settled otherwise, or another
        // installation with the same root secret made them.
        Reason::AlreadyDecided | Reason::NotGranted | Reason::NoRefreshToken | Reason::UnknownGeneration => {
            Refused::by(Rule::RequestForged, grant())
        }
    }
}
