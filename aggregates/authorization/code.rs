//! Redeeming an authorization code: who may, with which proof, once (RFC 6749 §4.1.3, RFC 7636 §4.6).

use chrono::{DateTime, Utc};

use super::event::{AuthorizationEvent, IssuedToken, RefreshGeneration};
use super::{Authorization, AuthorizationError, Decision, Granted};
use crate::values::{CodeChallenge, GrantType, NewToken, RefreshTerms, Resource};

/// The fields of `RedeemCode`.
pub(super) struct CodeUse {
    pub client_id: String,
    pub redirect_uri: Option<String>,
    pub verifier: Option<CodeChallenge>,
    pub resource: Vec<Resource>,
    pub access: NewToken,
    pub refresh: Option<RefreshTerms>,
    pub at: DateTime<Utc>,
}

impl Authorization {
    /// Who asks is settled before whether the code is still good: a wrong try must neither consume
    /// the code nor revoke what it gave (OAuth 2.1 §7.5.2), and learns nothing of its state.
    pub(super) fn redeem(&self, code_use: CodeUse) -> Decision {
        let granted = self.granted_to(&code_use.client_id)?;
        granted.check_redirect_uri(code_use.redirect_uri.as_deref())?;
        granted.check_verifier(code_use.verifier.as_ref())?;
        self.check_unused(granted, code_use.at)?;
        let resource = granted.resources_for(code_use.resource)?;
        let issued = IssuedToken {
            client_id: granted.request.client_id.clone(),
            subject: granted.request.subject.clone(),
            token: code_use.access,
            grant_type: GrantType::AuthorizationCode,
            scope: granted.request.scope.clone(),
            resource,
            auth_time: granted.auth_time,
            refresh: code_use.refresh.map(first_generation),
        };
        let at = code_use.at;
        Ok(vec![AuthorizationEvent::CodeRedeemed { at }, AuthorizationEvent::TokenIssued { issued, at }])
    }

    /// A replay is one however late it comes, so it is looked for before expiry.
    fn check_unused(&self, granted: &Granted, at: DateTime<Utc>) -> Result<(), AuthorizationError> {
        if self.is_revoked() {
            Err(AuthorizationError::Revoked)
        } else if self.redeemed {
            Err(AuthorizationError::AlreadyRedeemed)
        } else if at >= granted.code_expires_at {
            Err(AuthorizationError::CodeExpired)
        } else {
            Ok(())
        }
    }
}

impl Granted {
    /// RFC 6749 §4.1.3: "ensure that the `redirect_uri` parameter is present if \[it\] was included in
    /// the initial authorization request", and identical.
    fn check_redirect_uri(&self, sent: Option<&str>) -> Result<(), AuthorizationError> {
        match sent {
            Some(uri) if uri == self.request.redirect_uri => Ok(()),
            Some(_) => Err(AuthorizationError::RedirectUriMismatch),
            None if self.request.redirect_uri_sent => Err(AuthorizationError::RedirectUriMissing),
            None => Ok(()),
        }
    }

    /// A verifier if and only if there was a challenge (RFC 9700 §4.8.2).
    fn check_verifier(&self, sent: Option<&CodeChallenge>) -> Result<(), AuthorizationError> {
        match (&self.code_challenge, sent) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(AuthorizationError::VerifierMissing),
            (None, Some(_)) => Err(AuthorizationError::VerifierUnexpected),
            (Some(challenge), Some(transformed)) if challenge == transformed => Ok(()),
            (Some(_), Some(_)) => Err(AuthorizationError::VerifierWrong),
        }
    }
}

fn first_generation(terms: RefreshTerms) -> RefreshGeneration {
    let RefreshTerms { idle_expires_at, absolute_expires_at } = terms;
    let idle_expires_at = idle_expires_at.min(absolute_expires_at);
    RefreshGeneration { generation: 1, terms: RefreshTerms { idle_expires_at, absolute_expires_at } }
}
