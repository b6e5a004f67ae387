//! Who is sitting at this browser? The cookie names a session, the read models say whether it stands
//! (OWASP ASVS 7.2.1: sessions are checked by the server, every time).

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use chrono::TimeDelta;
use projections::sessions;
use projections::users::User;
use projections::validity::find_live_session;

use super::cookies::Cookie;
use super::request_context::RequestContext;
use crate::commands::{Actor, Origin, Stream};
use crate::pages::page_error::PageError;
use crate::personal::PersonalError;
use crate::state::AppState;
use crate::token::parse_session;

use aggregates::session::{Session as SessionAggregate, SessionCommand};

/// Reading pages writes at most this often.
const RENEWED_AT_MOST: TimeDelta = TimeDelta::hours(1);

/// A person in a browser.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The session.
    pub session: sessions::Session,
    /// Whose it is.
    pub user: User,
    /// Their name, opened.
    pub username: String,
}

impl LoggedIn {
    /// The identifier of the person that never changes.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.user.subject
    }

    /// Whether they see and manage what belongs to others.
    #[must_use]
    pub fn is_superuser(&self) -> bool {
        self.user.superuser
    }

    /// Where a command of this person comes from.
    #[must_use]
    pub fn origin(&self, context: &RequestContext) -> Origin {
        context.origin(Actor::User(self.user.subject.clone()))
    }
}

/// Whoever is logged in, or nobody.
#[derive(Clone, Debug)]
pub struct MaybeSession(pub Option<LoggedIn>);

/// Somebody who is logged in. Everybody else is sent to the login page and comes back from there.
#[derive(Clone, Debug)]
pub struct Session(pub LoggedIn);

impl FromRequestParts<AppState> for MaybeSession {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, PageError> {
        let context = context_of(parts, state).await;
        find_logged_in(state, &context, &parts.headers).await.map(Self)
    }
}

impl FromRequestParts<AppState> for Session {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, PageError> {
        let context = context_of(parts, state).await;
        let found = find_logged_in(state, &context, &parts.headers).await?;
        found.map(Self).ok_or_else(|| PageError::login_required(&context, &parts.method))
    }
}

/// The request's context; reading it cannot fail.
pub async fn context_of(parts: &mut Parts, state: &AppState) -> RequestContext {
    match RequestContext::from_request_parts(parts, state).await {
        Ok(context) => context,
        Err(never) => match never {},
    }
}

/// The person whose session the cookie names, if it stands. A forged cookie costs no look-up.
pub async fn find_logged_in(
    state: &AppState,
    context: &RequestContext,
    headers: &HeaderMap,
) -> Result<Option<LoggedIn>, PageError> {
    let cookie = Cookie::Session.find(&state.config.issuer, headers);
    let Some(session_id) = cookie.and_then(|text| parse_session(&state.keys, text)) else {
        return Ok(None);
    };
    let Some((session, user)) = find_live_session(&state.journal, &session_id, context.now).await? else {
        return Ok(None);
    };
    let username = match state.personal.open(&user.subject, &user.username).await {
        Ok(username) => username,
        // Nobody is left whose session this could be.
        Err(PersonalError::Erased) => return Ok(None),
        Err(error @ (PersonalError::Engine(_) | PersonalError::Seal(_))) => return Err(error.into()),
    };
    let logged_in = LoggedIn { session, user, username };
    renew(state, context, &logged_in).await;
    Ok(Some(logged_in))
}

/// A renewal that fails costs the person nothing today: the next page tries again.
async fn renew(state: &AppState, context: &RequestContext, logged_in: &LoggedIn) {
    let Ok(idle) = TimeDelta::from_std(state.config.lifetimes.session_idle) else { return };
    let Some(idle_expires_at) = context.now.checked_add_signed(idle) else { return };
    let idle_expires_at = idle_expires_at.min(logged_in.session.expires_at);
    let gained = idle_expires_at - logged_in.session.idle_expires_at;
    if gained < RENEWED_AT_MOST.min(idle / 2) {
        return;
    }
    let stream = Stream::Existing(logged_in.session.session_id.clone());
    let command = SessionCommand::RenewSession { idle_expires_at, at: context.now };
    let origin = logged_in.origin(context);
    if let Err(error) = state.commands.execute::<SessionAggregate>(stream, command, &origin).await {
        tracing::warn!(
            session.id = %logged_in.session.session_id, %error,
            what_to_do = "Nothing: the next page tries again. If it goes on, see to the database.",
            "the session was not renewed"
        );
    }
}
