//! `POST /o/introspect/`: is this access token alive, and for what? (RFC 7662)
//!
//! A confidential client may ask about its own tokens and about those meant for a resource it serves;
//! about all others only with an explicit right. To everybody else a token is as dead as a forged one.
//! So are refresh tokens, to everybody: only this server accepts them, and a resource server that was
//! told `active` would take one for an access token.

use aggregates::refusal::Rule;
use aggregates::values::Confirmation;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use projections::tokens::Token;
use projections::validity::{LiveToken, find_live_token};
use serde::Serialize;

use super::exchange::{Exchange, admit};
use crate::error::OAuthError;
use crate::extract::client_auth::Caller;
use crate::extract::oauth_form::OAuthForm;
use crate::extract::request_context::RequestContext;
use crate::journal::Held;
use crate::json;
use crate::personal::PersonalError;
use crate::refusals::Refused;
use crate::state::AppState;
use crate::token::parse_access_token;

/// Answers an introspection request.
pub async fn post(
    State(state): State<AppState>,
    context: RequestContext,
    headers: HeaderMap,
    form: Result<OAuthForm, OAuthError>,
) -> Response {
    let exchange = match admit("introspect", state, context, headers, form).await {
        Ok(exchange) => exchange,
        Err(response) => return *response,
    };
    let outcome = introspect(&exchange).await;
    exchange.respond(outcome).await
}

async fn introspect(exchange: &Exchange) -> Result<Response, Refused> {
    let Exchange { state, context, caller, form, .. } = exchange;
    if !caller.is_proved() {
        return Err(Refused::by(Rule::NotPermitted, OAuthError::invalid_client()));
    }
    let text = form.require("token", "Missing token parameter.")?;
    let Some(token_id) = parse_access_token(&state.keys, text) else { return Ok(inactive()) };
    let found = look_up(state, &token_id, context.now).await?;
    let Some((live, held)) = found.filter(|(live, _)| may_see(caller, &live.token)) else {
        return Ok(inactive());
    };
    let username = username(state, &live).await?;
    state.journal.vouch_for(held).map_err(OAuthError::unavailable)?;
    Ok(json::answer(StatusCode::OK, &describe(state, &live.token, username)))
}

/// The token if it lives, and the lease under which that was decided. Whatever is known to be dead is dead,
/// whether or not there is a database; only what lives needs its word. Who tells that it lives still vouches
/// for it right before.
pub(crate) async fn look_up(
    state: &AppState,
    token_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<(LiveToken, Held)>, OAuthError> {
    let journal = &state.journal;
    let mut held = journal.hold();
    let mut live = find_live_token(journal, token_id, now).await?;
    if live.is_some() && !journal.is_fresh() {
        journal.freshen().await.map_err(OAuthError::unavailable)?;
        held = journal.hold();
        live = find_live_token(journal, token_id, now).await?;
    }
    if live.is_none() {
        // By a wrong clock what lives has expired.
        journal.check_clock().map_err(OAuthError::unavailable)?;
    }
    Ok(live.map(|live| (live, held)))
}

fn may_see(caller: &Caller, token: &Token) -> bool {
    let settings = &caller.application.settings;
    let serves = |one| settings.resources.iter().any(|served| served.same_as(one));
    settings.introspect_any || token.client_id == caller.client_id() || token.resource.iter().any(serves)
}

/// The user's name, opened; none for a client's own token and for a person whose data was erased.
pub(crate) async fn username(state: &AppState, live: &LiveToken) -> Result<Option<String>, OAuthError> {
    let Some(user) = &live.user else { return Ok(None) };
    match state.personal.open(&user.subject, &user.username).await {
        Ok(name) => Ok(Some(name)),
        Err(PersonalError::Erased) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn inactive() -> Response {
    json::answer(StatusCode::OK, &Dead { active: false })
}

/// The only member (RFC 7662 §2.2): why it is not active would be an oracle.
#[derive(Serialize)]
struct Dead {
    active: bool,
}

/// RFC 7662 §2.2.
#[derive(Serialize)]
struct Alive<'a> {
    active: bool,
    scope: String,
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    sub: &'a str,
    aud: Audience<'a>,
    iss: &'a str,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<&'a Confirmation>,
}

/// RFC 7519 §4.1.3: one as a string, several as an array.
#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

fn describe<'a>(state: &'a AppState, token: &'a Token, username: Option<String>) -> Alive<'a> {
    let issuer = state.config.issuer.as_str();
    Alive {
        active: true,
        scope: token.scope.to_string(),
        client_id: &token.client_id,
        username,
        token_type: "Bearer",
        exp: token.expires_at.timestamp(),
        iat: token.issued_at.timestamp(),
        sub: token.subject.as_deref().unwrap_or(&token.client_id),
        aud: audience(token, issuer),
        iss: issuer,
        jti: &token.token_id,
        cnf: token.confirmation.as_ref(),
    }
}

/// The resources as they were asked for, to the byte; a token without any is for this server's own.
fn audience<'a>(token: &'a Token, issuer: &'a str) -> Audience<'a> {
    match token.resource.as_slice() {
        [] => Audience::One(issuer),
        [one] => Audience::One(one.as_str()),
        many => Audience::Many(many.iter().map(aggregates::values::Resource::as_str).collect()),
    }
}
