//! `POST /o/revoke_token/`: a client gives a token back. (RFC 7009)
//!
//! An access token dies alone; a refresh token takes everything its authorization gave with it. A
//! token that is unknown, dead, or somebody else's is answered 200 like a revoked one: the answer is
//! no oracle. Of somebody else's nothing happens but that it is kept who tried.

use aggregates::authorization::{Authorization, AuthorizationCommand, RevocationReason};
use aggregates::client_token::{ClientToken, ClientTokenCommand};
use aggregates::refusal::Rule;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use projections::authorizations::find_authorization;
use projections::tokens::find_token;

use super::exchange::{Exchange, admit};
use crate::commands::{CommandError, Stream};
use crate::error::OAuthError;
use crate::extract::oauth_form::OAuthForm;
use crate::extract::request_context::RequestContext;
use crate::json;
use crate::refusals::{Refused, Trace};
use crate::state::AppState;
use crate::token::{parse_access_token, parse_refresh_token};

/// Answers a revocation request.
pub async fn post(
    State(state): State<AppState>,
    context: RequestContext,
    headers: HeaderMap,
    form: Result<OAuthForm, OAuthError>,
) -> Response {
    let exchange = match admit("revoke", state, context, headers, form).await {
        Ok(exchange) => exchange,
        Err(response) => return *response,
    };
    let outcome = revoke(&exchange).await;
    exchange.respond(outcome).await
}

/// A token says itself which kind it is, so `token_type_hint` is not needed (RFC 7009 §2.1).
async fn revoke(exchange: &Exchange) -> Result<Response, Refused> {
    let text = exchange.form.require("token", "Missing token parameter.")?;
    let keys = &exchange.state.keys;
    if let Some(token_id) = parse_access_token(keys, text) {
        revoke_access_token(exchange, token_id).await?;
    } else if let Some(refresh) = parse_refresh_token(keys, text) {
        revoke_authorization(exchange, refresh.authorization_id).await?;
    }
    Ok(json::empty(StatusCode::OK))
}

async fn revoke_access_token(exchange: &Exchange, token_id: String) -> Result<(), OAuthError> {
    let Some(token) = find_token(&exchange.state.journal, &token_id).await? else { return Ok(()) };
    if token.client_id != exchange.caller.client_id() {
        exchange.keep(foreign(exchange, token.authorization_id, Some(token_id))).await;
        return Ok(());
    }
    let Exchange { state, context, .. } = exchange;
    let (reason, at) = (RevocationReason::Client, context.now);
    let origin = exchange.origin();
    if let Some(authorization_id) = token.authorization_id {
        let command = AuthorizationCommand::RevokeAccessToken { token_id, reason, at };
        let stream = Stream::Existing(authorization_id);
        return settled(state.commands.execute_ending::<Authorization>(stream, command, &origin).await);
    }
    let command = ClientTokenCommand::RevokeToken { reason, at };
    settled(state.commands.execute_ending::<ClientToken>(Stream::Existing(token_id), command, &origin).await)
}

async fn revoke_authorization(exchange: &Exchange, authorization_id: String) -> Result<(), OAuthError> {
    let Exchange { state, context, .. } = exchange;
    let found = find_authorization(&state.journal, &authorization_id).await?;
    let Some(authorization) = found else { return Ok(()) };
    if authorization.client_id != exchange.caller.client_id() {
        exchange.keep(foreign(exchange, Some(authorization_id), None)).await;
        return Ok(());
    }
    let command =
        AuthorizationCommand::RevokeAuthorization { reason: RevocationReason::Client, at: context.now };
    let stream = Stream::Existing(authorization_id);
    settled(state.commands.execute_ending::<Authorization>(stream, command, &exchange.origin()).await)
}

/// What is not there cannot be revoked and need not be; what may not have been written is 503, never
/// 200 (a client that was told 200 forgets the token).
fn settled<T, E: std::error::Error>(executed: Result<T, CommandError<E>>) -> Result<(), OAuthError> {
    match executed {
        Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
        Err(error) => OAuthError::reason_of(error).map(drop),
    }
}

fn foreign(exchange: &Exchange, authorization_id: Option<String>, token_id: Option<String>) -> Trace {
    Trace {
        rule: Rule::WrongClient,
        client_id: Some(exchange.caller.client_id().to_owned()),
        subject: None,
        authorization_id,
        token_id,
    }
}
