//! May this be used now? What stands on several read models at once (RFC 7662 §2.2, RFC 6750 §3.1).
//!
//! Ending an application, an authorization or a user touches one row; what hangs on it dies here, where
//! it is asked for.

#[cfg(test)]
mod tests;

use aggregates::AnyEvent;
use aggregates::application::ApplicationEvent;
use aggregates::authorization::AuthorizationEvent;
use aggregates::client_token::ClientTokenEvent;
use aggregates::consent::ConsentEvent;
use aggregates::session::SessionEvent;
use aggregates::stored::in_order;
use aggregates::user::UserEvent;
use chrono::{DateTime, TimeDelta, Utc};

use crate::applications::{Application, find_application};
use crate::authorizations::{Authorization, find_authorization};
use crate::read::{Read, ReadError};
use crate::sessions::{Session, find_session};
use crate::tokens::{Token, find_token};
use crate::users::{User, find_user};

/// An access token that may be used now, with whom it concerns.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveToken {
    /// The token.
    pub token: Token,
    /// The client it was issued to.
    pub application: Application,
    /// The resource owner; `None` for a client's own token.
    pub user: Option<User>,
}

/// The token with this id if it may be used at this instant: it stands, its authorization was not taken
/// back, and neither its application nor its user has been shut out since. Of its scopes there are those that
/// its application may still ask for.
pub async fn find_live_token(
    read: &dyn Read,
    token_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<LiveToken>, ReadError> {
    let Some(token) = find_token(read, token_id).await?.filter(|token| token.stands(now)) else {
        return Ok(None);
    };
    let Some(granted_at) = granted_at(read, &token).await? else { return Ok(None) };
    let application = find_application(read, &token.client_id).await?;
    let Some(application) = application.filter(|application| application.admits_grant_of(granted_at)) else {
        return Ok(None);
    };
    let Some(token) = narrowed(token, &application) else { return Ok(None) };
    let user = match &token.subject {
        None => None,
        Some(subject) => {
            let user = find_user(read, subject).await?;
            match user.filter(|user| user.admits_grant_of(granted_at)) {
                Some(user) => Some(user),
                None => return Ok(None),
            }
        }
    };
    Ok(Some(LiveToken { token, application, user }))
}

/// What is left of a token when its application may no longer ask for some of its scopes; nothing, when none
/// is left.
fn narrowed(token: Token, application: &Application) -> Option<Token> {
    let Some(allowed) = &application.settings.scope else { return Some(token) };
    if token.scope.iter().all(|name| allowed.contains(name)) {
        return Some(token);
    }
    let scope = token.scope.intersect(allowed);
    if scope.is_empty() { None } else { Some(Token { scope, ..token }) }
}

/// When somebody said that this token may be: with its authorization, if that still stands, or, for a
/// client's own, when it was issued.
async fn granted_at(read: &dyn Read, token: &Token) -> Result<Option<DateTime<Utc>>, ReadError> {
    let Some(id) = &token.authorization_id else { return Ok(Some(token.issued_at)) };
    let authorization = find_authorization(read, id).await?.filter(Authorization::is_granted);
    Ok(authorization.map(|authorization| authorization.granted_at))
}

/// Whether something that this authorization gave may still be used at this instant: the same conditions
/// as of its tokens, without theirs.
pub async fn authorization_stands(
    read: &dyn Read,
    authorization: &Authorization,
    now: DateTime<Utc>,
) -> Result<bool, ReadError> {
    let granted_at = authorization.granted_at;
    let application = find_application(read, &authorization.client_id).await?;
    let user = find_user(read, &authorization.subject).await?;
    Ok(authorization.stands(now)
        && application.is_some_and(|application| application.admits_grant_of(granted_at))
        && user.is_some_and(|user| user.admits_grant_of(granted_at)))
}

/// The session with this id and its user if it may be used at this instant: it stands, its user is not
/// locked, was not locked since, and has not changed the password since, unless in this session.
pub async fn find_live_session(
    read: &dyn Read,
    session_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<(Session, User)>, ReadError> {
    let Some(session) = find_session(read, session_id).await?.filter(|session| session.stands(now)) else {
        return Ok(None);
    };
    let user = find_user(read, &session.subject).await?;
    Ok(user.filter(|user| admits(user, &session)).map(|user| (session, user)))
}

/// Whether the user's row lets the session be. A login that checked the old password before the change
/// and began after it is as old as its check.
#[must_use]
pub fn admits(user: &User, session: &Session) -> bool {
    let is_kept = user.kept_session.as_deref() == Some(session.session_id.as_str());
    let is_recent = user.sessions_valid_from.is_none_or(|from| session.auth_time > from);
    !user.locked && (is_kept || is_recent)
}

/// When something is given that counts as given after these (`sessions_valid_from`, `grants_valid_from`): of two
/// clocks that are both right the one that took away may have been ahead.
#[must_use]
pub fn given_at(now: DateTime<Utc>, valid_from: &[Option<DateTime<Utc>>]) -> DateTime<Utc> {
    // Rows count in milliseconds.
    let after = |from: DateTime<Utc>| from + TimeDelta::milliseconds(1);
    valid_from.iter().flatten().fold(now, |at, from| in_order(at, after(*from)))
}

/// Whether something that could be used before this event cannot be after it: then no process may answer
/// from before. Rotation is not among it: a client that refreshes lets go of its former token itself.
#[must_use]
pub fn ends_something(event: &AnyEvent) -> bool {
    match event {
        AnyEvent::Application(event) => match event {
            ApplicationEvent::ApplicationUpdated { .. }
            | ApplicationEvent::SecretRotated { .. }
            | ApplicationEvent::ApplicationDisabled { .. }
            | ApplicationEvent::ApplicationDeleted { .. } => true,
            ApplicationEvent::ApplicationRegistered { .. } | ApplicationEvent::ApplicationEnabled { .. } => {
                false
            }
        },
        AnyEvent::Authorization(event) => match event {
            AuthorizationEvent::ReuseDetected { .. }
            | AuthorizationEvent::TokenRevoked { .. }
            | AuthorizationEvent::AuthorizationRevoked { .. } => true,
            AuthorizationEvent::AuthorizationGranted { .. }
            | AuthorizationEvent::AuthorizationDenied { .. }
            | AuthorizationEvent::CodeRedeemed { .. }
            | AuthorizationEvent::TokenIssued { .. }
            | AuthorizationEvent::TokenRefreshed { .. } => false,
        },
        AnyEvent::ClientToken(event) => match event {
            ClientTokenEvent::TokenRevoked { .. } => true,
            ClientTokenEvent::TokenIssued { .. } => false,
        },
        AnyEvent::Consent(event) => match event {
            ConsentEvent::ConsentForgotten { .. } => true,
            ConsentEvent::ConsentRemembered { .. } => false,
        },
        AnyEvent::Session(event) => match event {
            SessionEvent::SessionEnded { .. } => true,
            SessionEvent::SessionStarted { .. } | SessionEvent::SessionRenewed { .. } => false,
        },
        AnyEvent::User(event) => match event {
            UserEvent::PasswordChanged { .. }
            | UserEvent::UserLocked { .. }
            | UserEvent::RoleRevoked { .. } => true,
            UserEvent::UserRegistered { .. }
            | UserEvent::UserUnlocked { .. }
            | UserEvent::RoleGranted { .. } => false,
        },
        AnyEvent::Installation(_) | AnyEvent::LoginAttempts(_) | AnyEvent::Refusal(_) => false,
    }
}
