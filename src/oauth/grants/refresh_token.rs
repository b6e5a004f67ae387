//! A refresh token becomes a new access token and its own successor. (RFC 6749 §6, RFC 9700 §4.14.2)
//!
//! The former access token dies. A second use ends the family, except within the application's retry
//! window, where the same answer is derived again from the unchanged state.

use aggregates::authorization::{AuthorizationCommand, Reused};

use super::{forged, redeem_at};
use crate::oauth::exchange::Exchange;
use crate::oauth::issue::{
    TokenAnswer, allowed_scope, new_access_token, parse_scope, refresh_terms, requested_resources,
};
use crate::refusals::Refused;
use crate::token::parse_refresh_token;

/// Uses the refresh token.
pub async fn redeem(exchange: &Exchange) -> Result<TokenAnswer, Refused> {
    let Exchange { state, context, caller, form, .. } = exchange;
    let text = form.require("refresh_token", "Missing refresh_token parameter.")?;
    let presented = parse_refresh_token(&state.keys, text)
        .ok_or_else(|| forged("The code or refresh token is invalid, expired, revoked or used."))?;
    let settings = &caller.application.settings;
    let command = AuthorizationCommand::RefreshToken {
        client_id: caller.client_id().to_owned(),
        generation: presented.generation,
        scope: parse_scope(form.get("scope"))?,
        allowed_scope: allowed_scope(&state.config, settings),
        resource: requested_resources(&state.config, form.get_all("resource"))?,
        access: new_access_token(&state.config, settings, context.now),
        idle_expires_at: refresh_terms(&state.config, context.now).idle_expires_at,
        retry_window: settings.refresh_retry_window,
        at: context.now,
    };
    let reused = Reused::RefreshToken { generation: presented.generation };
    redeem_at(exchange, &presented.authorization_id, command, reused).await
}
