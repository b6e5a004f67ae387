//! A code becomes an access token and, for applications that may refresh, a refresh token.
//! (RFC 6749 §4.1.3, RFC 7636 §4.5, RFC 8707 §2.2)

use aggregates::authorization::{AuthorizationCommand, Reused};
use aggregates::values::{CodeVerifier, GrantType};

use super::{forged, redeem_at};
use crate::oauth::exchange::Exchange;
use crate::oauth::issue::{TokenAnswer, new_access_token, refresh_terms, requested_resources};
use crate::oauth::token::refusal_of;
use crate::refusals::Refused;
use crate::token::parse_authorization_code;

/// Redeems the code.
pub async fn redeem(exchange: &Exchange) -> Result<TokenAnswer, Refused> {
    let Exchange { state, context, caller, form, .. } = exchange;
    let code = form.require("code", "Missing code parameter.")?;
    let authorization_id = parse_authorization_code(&state.keys, code)
        .ok_or_else(|| forged("The code or refresh token is invalid, expired, revoked or used."))?;
    let resource = requested_resources(&state.config, form.get_all("resource"))?;
    // A malformed verifier is wrong even if its hash would match (RFC 7636 §4.1).
    let verifier = match form.get("code_verifier") {
        None => None,
        Some(text) => Some(CodeVerifier::parse(text).ok_or_else(|| {
            let reason = aggregates::authorization::AuthorizationError::VerifierWrong;
            refusal_of(reason).of_authorization(&authorization_id)
        })?),
    };
    let settings = &caller.application.settings;
    let may_refresh = settings.may_use(GrantType::RefreshToken);
    let command = AuthorizationCommand::RedeemCode {
        client_id: caller.client_id().to_owned(),
        redirect_uri: form.get("redirect_uri").map(str::to_owned),
        verifier: verifier.map(|verifier| verifier.challenge()),
        resource,
        access: new_access_token(&state.config, settings, context.now),
        refresh: may_refresh.then(|| refresh_terms(&state.config, context.now)),
        at: context.now,
    };
    redeem_at(exchange, &authorization_id, command, Reused::Code).await
}
