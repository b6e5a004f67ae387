//! The token family: rotation, reuse, revocation (RFC 6749 §6, RFC 7009, RFC 9700 §4.14.2).

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::command::{Reused, RevocationReason};
use super::event::{AuthorizationEvent, IssuedToken, RefreshGeneration};
use super::{Authorization, AuthorizationError, Decision, Granted};
use crate::application::MAX_RETRY_WINDOW;
use crate::values::{GrantType, NewToken, RefreshTerms, Resource, Scope};

/// The fields of `RefreshToken`.
pub(super) struct RefreshTokenUse {
    pub client_id: String,
    pub generation: u32,
    pub scope: Option<Scope>,
    pub allowed_scope: Scope,
    pub resource: Vec<Resource>,
    pub access: NewToken,
    pub idle_expires_at: DateTime<Utc>,
    pub retry_window: u32,
    pub at: DateTime<Utc>,
}

impl Authorization {
    /// Rotation. Within the retry window the former generation is answered without an event: the
    /// caller derives the same successor from the unchanged state.
    pub(super) fn refresh(&self, token_use: RefreshTokenUse) -> Decision {
        let granted = self.granted_to(&token_use.client_id)?;
        if self.is_revoked() {
            return Err(AuthorizationError::Revoked);
        }
        let (current, refresh) = self.current_refresh().ok_or(AuthorizationError::NoRefreshToken)?;
        let is_retry = self.is_retry(refresh, &token_use)?;
        if token_use.at >= refresh.terms.idle_expires_at || token_use.at >= refresh.terms.absolute_expires_at
        {
            return Err(AuthorizationError::RefreshTokenExpired);
        }
        let scope = granted.narrowed_scope(token_use.scope, &token_use.allowed_scope)?;
        let resource = granted.resources_for(token_use.resource)?;
        if is_retry {
            return Ok(Vec::new());
        }
        let issued = IssuedToken {
            client_id: granted.request.client_id.clone(),
            subject: granted.request.subject.clone(),
            token: token_use.access,
            grant_type: GrantType::RefreshToken,
            scope,
            resource,
            auth_time: granted.auth_time,
            refresh: Some(next_generation(refresh, token_use.idle_expires_at)),
        };
        let replaced_token_id = current.token.id.clone();
        Ok(vec![AuthorizationEvent::TokenRefreshed { issued, replaced_token_id, at: token_use.at }])
    }

    fn current_refresh(&self) -> Option<(&IssuedToken, &RefreshGeneration)> {
        let current = self.current.as_ref()?;
        current.refresh.as_ref().map(|refresh| (current, refresh))
    }

    /// Which generation was presented: the live one (`false`), the one before it within the window
    /// (`true`), or one that must not be presented.
    fn is_retry(
        &self,
        live: &RefreshGeneration,
        token_use: &RefreshTokenUse,
    ) -> Result<bool, AuthorizationError> {
        if token_use.generation == 0 {
            return Err(AuthorizationError::UnknownGeneration);
        }
        match token_use.generation.cmp(&live.generation) {
            Ordering::Greater => Err(AuthorizationError::UnknownGeneration),
            Ordering::Equal => Ok(false),
            Ordering::Less if self.is_within_window(live, token_use) => Ok(true),
            Ordering::Less => Err(AuthorizationError::RefreshTokenReused),
        }
    }

    /// The window is closed by the use of the successor (the live generation is two ahead then) and
    /// by the end of the access token that would have to be given again.
    fn is_within_window(&self, live: &RefreshGeneration, token_use: &RefreshTokenUse) -> bool {
        let window = TimeDelta::seconds(i64::from(token_use.retry_window.min(MAX_RETRY_WINDOW)));
        let is_former = token_use.generation.checked_add(1) == Some(live.generation);
        let is_soon = self.refreshed_at.is_some_and(|refreshed_at| token_use.at - refreshed_at <= window);
        token_use.retry_window > 0 && is_former && is_soon && self.is_access_token_alive(token_use.at)
    }

    /// Everything this authorization gave dies, once. A report that the state does not bear out
    /// changes nothing.
    pub(super) fn report_reuse(&self, reused: Reused, at: DateTime<Utc>) -> Decision {
        self.granted()?;
        let (is_true, reason) = match reused {
            Reused::Code => (self.redeemed, RevocationReason::CodeReplayed),
            Reused::RefreshToken { generation } => (
                self.generation().is_some_and(|live| generation < live),
                RevocationReason::RefreshTokenReused,
            ),
        };
        if self.is_revoked() || !is_true {
            return Ok(Vec::new());
        }
        Ok(vec![
            AuthorizationEvent::ReuseDetected { reused, at },
            AuthorizationEvent::AuthorizationRevoked { reason, at },
        ])
    }

    /// That token only: the refresh token goes on (RFC 7009 §2.1 leaves it open).
    pub(super) fn revoke_access_token(
        &self,
        token_id: String,
        reason: RevocationReason,
        at: DateTime<Utc>,
    ) -> Decision {
        self.granted()?;
        let is_dead = self.access_token_revoked || self.is_revoked() || !self.is_current(&token_id);
        Ok(if is_dead { Vec::new() } else { vec![AuthorizationEvent::TokenRevoked { token_id, reason, at }] })
    }

    /// Code, access token and refresh tokens, redeemed or not.
    pub(super) fn revoke(&self, reason: RevocationReason, at: DateTime<Utc>) -> Decision {
        self.granted()?;
        Ok(if self.is_revoked() {
            Vec::new()
        } else {
            vec![AuthorizationEvent::AuthorizationRevoked { reason, at }]
        })
    }
}

impl Granted {
    /// What was asked for, or else everything granted, without what the application may no longer
    /// have. The refresh token keeps what was granted (RFC 6749 §6).
    fn narrowed_scope(&self, asked: Option<Scope>, allowed: &Scope) -> Result<Scope, AuthorizationError> {
        let granted = &self.request.scope;
        let wanted = asked.filter(|scope| !scope.is_empty()).unwrap_or_else(|| granted.clone());
        if !granted.contains_all(&wanted) {
            return Err(AuthorizationError::ScopeExceeded);
        }
        let scope = wanted.intersect(allowed);
        if scope.is_empty() && !wanted.is_empty() { Err(AuthorizationError::NothingLeft) } else { Ok(scope) }
    }
}

/// Idle time starts again; the end of the family stays (RFC 9700 §4.14.2).
fn next_generation(used: &RefreshGeneration, idle_expires_at: DateTime<Utc>) -> RefreshGeneration {
    let absolute_expires_at = used.terms.absolute_expires_at;
    let idle_expires_at = idle_expires_at.min(absolute_expires_at);
    RefreshGeneration {
        generation: used.generation.saturating_add(1),
        terms: RefreshTerms { idle_expires_at, absolute_expires_at },
    }
}
