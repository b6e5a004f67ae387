//! A client gets a token for itself: one append to a stream that did not exist. (RFC 6749 §4.4)
//! No refresh token (§4.4.3): the credentials are one already.

use aggregates::client_token::{ClientToken, ClientTokenCommand};
use aggregates::refusal::Rule;
use projections::validity::given_at;

use crate::commands::Stream;
use crate::error::OAuthError;
use crate::oauth::exchange::Exchange;
use crate::oauth::issue::{TokenAnswer, new_access_token, requested_resources, requested_scope};
use crate::refusals::Refused;

/// Issues the token.
pub async fn redeem(exchange: &Exchange) -> Result<TokenAnswer, Refused> {
    let Exchange { state, context, caller, form, .. } = exchange;
    let settings = &caller.application.settings;
    let scope = requested_scope(&state.config, settings, form.get("scope"))
        .map_err(|error| Refused::by(Rule::ScopeNotAllowed, error))?;
    let resource = requested_resources(&state.config, form.get_all("resource"))
        .map_err(|error| Refused::by(Rule::ResourceNotAllowed, error))?;
    let token = new_access_token(&state.config, settings, context.now);
    let command = ClientTokenCommand::IssueToken {
        client_id: caller.client_id().to_owned(),
        token: token.clone(),
        scope: scope.clone(),
        resource,
        at: given_at(context.now, &[caller.application.grants_valid_from]),
    };
    let stream = Stream::Fresh(token.id.clone());
    match state.commands.execute::<ClientToken>(stream, command, &exchange.origin()).await {
        Ok(_) => Ok(TokenAnswer::for_client(&state.keys, &token, scope, context.now)?),
        // A fresh id was taken, or a new stream is missing: neither is the client's doing.
        Err(error) => Err(OAuthError::fault(OAuthError::reason_of(error)?).into()),
    }
}
