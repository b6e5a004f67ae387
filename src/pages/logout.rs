//! How does a person leave? A page asks, a form of ours ends the session (OWASP ASVS 7.4.1).

use aggregates::session::{EndReason, Session as SessionAggregate, SessionCommand};
use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use projections::authorizations::count_authorizations_of_user;

use super::next::local_path;
use super::page_error::PageError;
use super::{chrome, found, render, see_other};
use crate::commands::Stream;
use crate::extract::cookies::Cookie;
use crate::extract::form_pairs::Pairs;
use crate::extract::page_form::PageForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::MaybeSession;
use crate::state::AppState;
use crate::templates::account::Logout;
use crate::templates::paths;

/// `GET /admin/logout/`: asks.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    MaybeSession(session): MaybeSession,
) -> Result<Response, PageError> {
    let Some(session) = session else { return found(paths::HOME) };
    let pairs = Pairs::parse_query(context.query.as_deref().unwrap_or_default())?;
    let standing = count_authorizations_of_user(&state.journal, session.subject(), context.now).await?;
    let page = Logout {
        next: pairs.get("next")?.and_then(local_path).unwrap_or_default().to_owned(),
        live_authorizations: u64::try_from(standing).unwrap_or_default(),
    };
    render(&state, &chrome(&state, &context, Some(&session)), &page)
}

/// `POST /admin/logout/`: ends the session. 200 or 303 only when it has ended.
pub async fn post(State(state): State<AppState>, form: PageForm) -> Result<Response, PageError> {
    if let Some(session) = &form.session {
        let command = SessionCommand::EndSession { reason: EndReason::LoggedOut, at: form.context.now };
        let stream = Stream::Existing(session.session.session_id.clone());
        let origin = session.origin(&form.context);
        state
            .commands
            .execute_ending::<SessionAggregate>(stream, command, &origin)
            .await
            .map_err(PageError::of_command)?;
    }
    let next = form.pairs.get("next")?.and_then(local_path).unwrap_or(paths::HOME);
    let mut response = see_other(next)?;
    if let Some(cookie) = Cookie::Session.forget(&state.config.issuer) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
