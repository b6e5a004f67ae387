//! `GET /resource`: the tutorial's protected resource, which says who you are to it. (RFC 6750, RFC 9728)
//!
//! Needs the scope `read`, and a token that is meant for this resource or for none in particular.

use aggregates::values::Resource;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use projections::validity::LiveToken;
use serde::Serialize;

use crate::config::Config;
use crate::error::{ErrorCode, Failure, OAuthError, never_stored};
use crate::extract::bearer::{self, BearerError};
use crate::extract::form_pairs::Pairs;
use crate::extract::request_context::RequestContext;
use crate::journal::Held;
use crate::json;
use crate::oauth::introspect::{look_up, username};
use crate::oauth::metadata::PROTECTED_RESOURCE;
use crate::state::AppState;
use crate::token::parse_access_token;

/// Where it is.
pub const PATH: &str = "/resource";
const NEEDED_SCOPE: &str = "read";

/// What this resource is called (RFC 8707 §2).
#[must_use]
pub fn identifier(config: &Config) -> String {
    format!("{}{PATH}", config.issuer.origin())
}

/// The names a token may be meant for to be taken here: this resource, the origin it lives on, the
/// issuer.
#[must_use]
pub fn identifiers(config: &Config) -> Vec<Resource> {
    let names = [identifier(config), config.issuer.origin(), config.issuer.to_string()];
    names.iter().filter_map(|name| Resource::parse(name).ok()).collect()
}

/// Who you are to this resource.
#[derive(Serialize)]
struct Identity<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    client_id: &'a str,
    application: &'a str,
    scope: String,
    expires_at: String,
}

/// Answers whoever has a good token.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = Pairs::parse_body(content_type, &body).ok();
    match admit(&state, context.now, &headers, form.as_ref()).await {
        Ok((live, held)) => {
            match username(&state, &live).await.and_then(|name| vouched(&state, held, name)) {
                Ok(username) => welcome(&live, username),
                Err(error) => error.into_response(),
            }
        }
        Err(refusal) => refusal.answer(&state.config),
    }
}

/// Right before the answer: is what was decided still known to be so?
fn vouched<T>(state: &AppState, held: Held, answer: T) -> Result<T, OAuthError> {
    state.journal.vouch_for(held).map(|()| answer).map_err(OAuthError::unavailable)
}

fn welcome(live: &LiveToken, username: Option<String>) -> Response {
    let token = &live.token;
    let identity = Identity {
        sub: token.subject.as_deref().unwrap_or(&token.client_id),
        username,
        client_id: &token.client_id,
        application: &live.application.settings.name,
        scope: token.scope.to_string(),
        expires_at: token.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    let mut response = json::answer(StatusCode::OK, &identity);
    never_stored(response.headers_mut());
    response
}

/// Why a request does not get in (RFC 6750 §3.1).
#[derive(Debug)]
enum Refusal {
    NoToken,
    Malformed(BearerError),
    InvalidToken,
    InsufficientScope,
    Fault(OAuthError),
}

async fn admit(
    state: &AppState,
    now: DateTime<Utc>,
    headers: &HeaderMap,
    body: Option<&Pairs>,
) -> Result<(LiveToken, Held), Refusal> {
    let text = bearer::presented(headers, body).map_err(Refusal::Malformed)?.ok_or(Refusal::NoToken)?;
    let token_id = parse_access_token(&state.keys, text).ok_or(Refusal::InvalidToken)?;
    let live = look_up(state, &token_id, now).await;
    let (live, held) = live.map_err(Refusal::Fault)?.ok_or(Refusal::InvalidToken)?;
    if !is_meant_for_us(&state.config, &live.token.resource) {
        return Err(Refusal::InvalidToken);
    }
    if !live.token.scope.contains(NEEDED_SCOPE) {
        return Err(Refusal::InsufficientScope);
    }
    Ok((live, held))
}

/// RFC 8707 §2.2: a token for somebody else is no token here.
fn is_meant_for_us(config: &Config, meant_for: &[Resource]) -> bool {
    let ours = identifiers(config);
    meant_for.is_empty() || meant_for.iter().any(|one| ours.iter().any(|own| own.same_as(one)))
}

impl Refusal {
    fn answer(self, config: &Config) -> Response {
        let (status, code, description) = match self {
            Refusal::Fault(error) => return error.into_response(),
            Refusal::NoToken => return no_token(config),
            Refusal::Malformed(BearerError::MoreThanOne) => (
                StatusCode::BAD_REQUEST,
                ErrorCode::InvalidRequest,
                "The access token was sent more than once.",
            ),
            Refusal::InvalidToken => (
                StatusCode::UNAUTHORIZED,
                ErrorCode::InvalidToken,
                "The access token is invalid, expired, revoked or not meant for this resource.",
            ),
            Refusal::InsufficientScope => {
                (StatusCode::FORBIDDEN, ErrorCode::InsufficientScope, "The access token lacks a scope.")
            }
        };
        let body = ErrorBody { error: Some(code.as_str()), error_description: description };
        let mut response = challenged(config, status, Some((code, description)), &body);
        response.extensions_mut().insert(Failure { code, cause: None });
        response
    }
}

/// RFC 6750 §3.1: a request without authentication is told how, not what went wrong.
fn no_token(config: &Config) -> Response {
    let hint = "Send an access token: Authorization: Bearer ...";
    let body = ErrorBody { error: None, error_description: hint };
    challenged(config, StatusCode::UNAUTHORIZED, None, &body)
}

#[derive(Serialize)]
struct ErrorBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    error_description: &'static str,
}

fn challenged(
    config: &Config,
    status: StatusCode,
    error: Option<(ErrorCode, &str)>,
    body: &ErrorBody,
) -> Response {
    let mut response = json::answer(status, body);
    never_stored(response.headers_mut());
    if let Ok(value) = HeaderValue::from_str(&challenge(config, error)) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

/// One header, `Bearer` first, quoted values, each name once: clients take it apart with regular
/// expressions. Every value is ours and has no quote in it.
fn challenge(config: &Config, error: Option<(ErrorCode, &str)>) -> String {
    let metadata = format!("{}{PROTECTED_RESOURCE}{PATH}", config.issuer.origin());
    let metadata = format!("resource_metadata=\"{metadata}\"");
    match error {
        None => format!("Bearer {metadata}"),
        Some((code, description)) => {
            let scope = if code == ErrorCode::InsufficientScope {
                format!("scope=\"{NEEDED_SCOPE}\", ")
            } else {
                String::new()
            };
            let code = code.as_str();
            format!("Bearer error=\"{code}\", error_description=\"{description}\", {scope}{metadata}")
        }
    }
}
