//! Shall the application have this? The page that asks (RFC 6749 §4.1.1, RFC 9700 §4.16, OWASP ASVS
//! 10.7.2). The request goes along as one sealed field, so that nothing of it can be changed on the
//! way, and any node can go on with it.

use aggregates::authorization::AuthorizationRequest;
use aggregates::values::CodeChallenge;
use axum::response::Response;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::again::here;
use super::request::{Asked, Target};
use crate::accounts::{ERASED, name_of};
use crate::extract::request_context::RequestContext;
use crate::extract::session::LoggedIn;
use crate::pages::authorized::scope_lines;
use crate::pages::next::login_path;
use crate::pages::page_error::PageError;
use crate::pages::{chrome, render};
use crate::state::AppState;
use crate::templates::consent::{Consent, ConsentWarning, RedirectTarget};

/// The form's field with the sealed request.
pub const FIELD: &str = "request";
/// What the seal is for.
pub const PURPOSE: &str = "authorize";

/// A checked request that waits for the person. Its id is that of the authorization to be: the same
/// request cannot be granted twice, as the second finds the first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// The authorization to be.
    pub authorization_id: String,
    /// Who asks for what.
    pub request: AuthorizationRequest,
    /// Sent back unchanged.
    pub state: Option<String>,
    /// S256 challenge.
    pub code_challenge: Option<CodeChallenge>,
    /// For the id token.
    pub nonce: Option<String>,
}

impl Pending {
    /// A request of this target in this session.
    #[must_use]
    pub fn new(authorization_id: String, session: &LoggedIn, target: &Target, asked: Asked) -> Self {
        Self {
            authorization_id,
            request: AuthorizationRequest {
                client_id: target.application.client_id.clone(),
                subject: session.subject().to_owned(),
                session_id: session.session.session_id.clone(),
                scope: asked.scope,
                resource: asked.resource,
                redirect_uri: target.redirect_uri.clone(),
                redirect_uri_sent: target.redirect_uri_sent,
            },
            state: asked.state,
            code_challenge: asked.code_challenge,
            nonce: asked.nonce,
        }
    }
}

/// The page. Nothing of the request is in it but the sealed field.
pub async fn show(
    state: &AppState,
    context: &RequestContext,
    session: &LoggedIn,
    target: &Target,
    pending: &Pending,
) -> Result<Response, PageError> {
    let application = &target.application;
    let (settings, client_id) = (&application.settings, &application.client_id);
    let lifetime = TimeDelta::from_std(state.config.lifetimes.consent_form).unwrap_or(TimeDelta::hours(1));
    let registered_by = match &application.owner {
        Some(owner) => Some(name_of(state, owner).await?).filter(|name| name != ERASED),
        None => None,
    };
    let is_native = target.is_unproven_native();
    let name = if settings.name.is_empty() { client_id } else { &settings.name };
    let page = Consent {
        application: name.clone(),
        client_id: client_id.clone(),
        registered_by,
        username: session.username.clone(),
        scopes: scope_lines(state, &pending.request.scope),
        resources: pending.request.resource.iter().map(|one| one.as_str().to_owned()).collect(),
        redirect: RedirectTarget::of(&target.redirect_uri),
        warnings: is_native.then_some(ConsentWarning::NativeApplication).into_iter().collect(),
        remembered: target.may_remember(),
        switch_account: login_path(&here(context), true),
        request: state.sealed.seal(PURPOSE, "", context.now + lifetime, pending)?,
    };
    render(state, &chrome(state, context, Some(session)), &page)
}
