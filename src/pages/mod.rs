//! What do people see? One page family a file; forms come in through [`crate::extract::page_form`],
//! errors go out through [`page_error`].
//!
//! | page | file |
//! |---|---|
//! | `/`, `/admin/` | [`home`] |
//! | `/admin/login/` and its aliases | [`login`] |
//! | `/admin/logout/` | [`logout`] |
//! | `/admin/password_change/` | [`password_change`] |
//! | `/o/authorized_tokens/…` | [`authorized`] |
//! | `/admin/read-models/` | [`read_models`] |
//! | `/static/style.css` | [`assets`] |
//! | everything that does not exist | [`not_found`] |

pub mod applications;
pub mod assets;
pub mod authorized;
pub mod credentials;
pub mod cursor;
pub mod home;
pub mod login;
pub mod logout;
pub mod next;
pub mod not_found;
pub mod page_error;
pub mod password_change;
pub mod read_models;
pub mod roll;

use aggregates::refusal::Rule;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::extract::csrf;
use crate::extract::form_pairs::Pairs;
use crate::extract::request_context::RequestContext;
use crate::extract::session::LoggedIn;
use crate::refusals::Trace;
use crate::state::AppState;
use crate::templates::{Chrome, Page};

use self::page_error::PageError;

/// What surrounds a page for this reader. Without a session the form token is empty: only the login
/// form is for people who are not logged in, and it brings its own.
#[must_use]
pub fn chrome(state: &AppState, context: &RequestContext, session: Option<&LoggedIn>) -> Chrome {
    let token = session.map(|own| csrf::mint(&state.keys, &own.session.session_id, context.now));
    Chrome {
        username: session.map(|own| own.username.clone()),
        is_superuser: session.is_some_and(LoggedIn::is_superuser),
        csrf_token: token.unwrap_or_default(),
        path: context.path.clone(),
        now: context.now,
        notice: None,
    }
}

/// What is kept of a refusal by this rule, with nothing else known about it yet.
#[must_use]
pub fn trace(rule: Rule) -> Trace {
    Trace { rule, client_id: None, subject: None, authorization_id: None, token_id: None }
}

/// A page as an answer: 200, HTML.
pub fn render<C: Page>(state: &AppState, chrome: &Chrome, page: &C) -> Result<Response, PageError> {
    render_as(StatusCode::OK, state, chrome, page)
}

/// A page as an answer with a status.
pub fn render_as<C: Page>(
    status: StatusCode,
    state: &AppState,
    chrome: &Chrome,
    page: &C,
) -> Result<Response, PageError> {
    let html = state.templates.render(chrome, page)?;
    let content_type = HeaderValue::from_static("text/html; charset=utf-8");
    Ok((status, [(header::CONTENT_TYPE, content_type)], html).into_response())
}

/// The answer to a GET: somewhere else (302).
pub fn found(location: &str) -> Result<Response, PageError> {
    redirect(StatusCode::FOUND, location)
}

/// The answer to a POST: somewhere else, to be got (303; RFC 9700 §4.12 forbids to repeat the POST).
pub fn see_other(location: &str) -> Result<Response, PageError> {
    redirect(StatusCode::SEE_OTHER, location)
}

/// A redirect to an address that has been checked.
pub fn redirect(status: StatusCode, location: &str) -> Result<Response, PageError> {
    let location = HeaderValue::try_from(location)
        .map_err(|_| PageError::Internal("an address does not fit into a header".to_owned()))?;
    Ok((status, [(header::LOCATION, location)]).into_response())
}

/// The position before which a roll begins, from the page's `before` parameter.
pub fn before(context: &RequestContext) -> Result<Option<i64>, PageError> {
    position_before(context.query.as_deref().unwrap_or_default())
}

/// The parameter `before` of a query.
pub fn position_before(query: &str) -> Result<Option<i64>, PageError> {
    let pairs = Pairs::parse_query(query)?;
    let Some(text) = pairs.get("before")? else { return Ok(None) };
    let position = text.parse().ok().filter(|position| *position > 0);
    position.map(Some).ok_or_else(|| PageError::BadRequest("There is no such place on the roll.".to_owned()))
}

#[cfg(test)]
mod tests;
