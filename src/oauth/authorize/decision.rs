//! What did the person decide, and may it still be done? (RFC 6749 §4.1.2, §4.1.2.1)
//!
//! Only the sealed request counts; whatever else is in the form is not looked at. What may have changed
//! while the page was open is checked again: the session, its user, the application, its redirect URIs.

use aggregates::authorization::{Authorization, AuthorizationCommand, AuthorizationError, ConsentBasis};
use aggregates::consent::{Consent as ConsentAggregate, ConsentCommand};
use aggregates::refusal::Rule;
use aggregates::values::GrantType;
use axum::response::Response;
use chrono::TimeDelta;
use projections::applications::{Application, find_application};
use projections::consents::consent_id;
use projections::validity::given_at;

use super::consent::{FIELD, PURPOSE, Pending};
use super::request::{Target, is_registered};
use super::respond::Answer;
use crate::commands::{CommandError, Stream};
use crate::error::{ErrorCode, OAuthError};
use crate::extract::page_form::Received;
use crate::extract::request_context::RequestContext;
use crate::extract::session::LoggedIn;
use crate::oauth::issue::allowed_scope;
use crate::pages::page_error::PageError;
use crate::pages::trace;
use crate::refusals::{self, Refused, Trace};
use crate::sealing::SealError;
use crate::state::AppState;
use crate::token::mint_authorization_code;

/// The decision: `allow` or not.
pub async fn post(state: &AppState, form: Received) -> Result<Response, PageError> {
    form.verify(state).await?;
    let Some(session) = &form.session else {
        return Err(refused("Your session has ended. Go back to the application and start again."));
    };
    let pending = match open(state, &form, session) {
        Ok(pending) => pending,
        Err((rule, description)) => {
            keep(state, &form, session, rule, None).await;
            return Err(refused(description));
        }
    };
    let target = find_target(state, &form, session, &pending).await?;
    let answer = Answer::to_post(state, &target.redirect_uri, pending.state.clone());
    if let Err(refused) = check(state, &target.application, &pending) {
        let code = refused.error.code;
        if let Some(trace) = refused.trace {
            keep(state, &form, session, trace.rule, Some((&pending, code))).await;
        }
        return answer.error(&refused.error);
    }
    if form.pairs.raw("allow").is_none() {
        return deny(state, &form.context, session, &answer, pending).await;
    }
    let remembered = target.may_remember().then(|| pending.request.clone());
    let response = grant(state, &form.context, session, &answer, pending, ConsentBasis::Asked).await?;
    if let Some(request) = remembered {
        remember(state, &form.context, session, &request).await;
    }
    Ok(response)
}

/// The request as we sealed it, in this session.
fn open(state: &AppState, form: &Received, session: &LoggedIn) -> Result<Pending, (Rule, &'static str)> {
    let forged = (Rule::RequestForged, "The request was changed on its way. Start again at the application.");
    let sealed = form.pairs.get(FIELD).map_err(|_| forged)?.ok_or(forged)?;
    let pending: Pending =
        state.sealed.open(PURPOSE, "", form.context.now, sealed).map_err(|error| match error {
            SealError::Expired => {
                (Rule::RequestExpired, "The page was open for too long. Start again at the application.")
            }
            SealError::Malformed | SealError::Forged | SealError::Unsealable => forged,
        })?;
    if pending.request.session_id == session.session.session_id {
        Ok(pending)
    } else {
        Err((Rule::WrongSession, "The request belongs to another session. Start again at the application."))
    }
}

/// The application and where the answer goes, as they are now.
async fn find_target(
    state: &AppState,
    form: &Received,
    session: &LoggedIn,
    pending: &Pending,
) -> Result<Target, PageError> {
    let request = &pending.request;
    let application = find_application(&state.journal, &request.client_id).await?;
    let (rule, description) = match application {
        Some(application) if !application.is_usable() => {
            (Rule::ApplicationDisabled, "The application is disabled.")
        }
        Some(application) if is_registered(&application, &request.redirect_uri) => {
            let redirect_uri = request.redirect_uri.clone();
            return Ok(Target { application, redirect_uri, redirect_uri_sent: request.redirect_uri_sent });
        }
        Some(_) => (Rule::RedirectUriNotRegistered, "Mismatching redirect URI."),
        None => (Rule::UnknownClient, "Invalid client_id parameter value."),
    };
    keep(state, form, session, rule, Some((pending, ErrorCode::InvalidRequest))).await;
    Err(refused(description))
}

/// What may have been taken away from the application while the page was open.
fn check(state: &AppState, application: &Application, pending: &Pending) -> Result<(), Refused> {
    let settings = &application.settings;
    let by = |rule, code, description| Err(Refused::by(rule, OAuthError::new(code, description)));
    if !settings.may_use(GrantType::AuthorizationCode) {
        let description = "The application may not use the authorization code grant.";
        return by(Rule::GrantNotAllowed, ErrorCode::UnauthorizedClient, description);
    }
    if settings.requires_pkce() && pending.code_challenge.is_none() {
        return by(Rule::PkceRequired, ErrorCode::InvalidRequest, "Code challenge required.");
    }
    if !allowed_scope(&state.config, settings).contains_all(&pending.request.scope) {
        let description = "A requested scope is unknown, or the application may not ask for it.";
        return by(Rule::ScopeNotAllowed, ErrorCode::InvalidScope, description);
    }
    Ok(())
}

/// Grants the request and sends the code.
pub async fn grant(
    state: &AppState,
    context: &RequestContext,
    session: &LoggedIn,
    answer: &Answer<'_>,
    pending: Pending,
    basis: ConsentBasis,
) -> Result<Response, PageError> {
    let lifetime = TimeDelta::from_std(state.config.lifetimes.code).unwrap_or(TimeDelta::minutes(1));
    let id = pending.authorization_id;
    let application = find_application(&state.journal, &pending.request.client_id).await?;
    let application_from = application.and_then(|application| application.grants_valid_from);
    let command = AuthorizationCommand::GrantAuthorization {
        authorization_id: id.clone(),
        request: pending.request,
        code_challenge: pending.code_challenge,
        nonce: pending.nonce,
        auth_time: session.session.auth_time,
        methods: session.session.methods.clone(),
        basis,
        code_expires_at: context.now + lifetime,
        at: given_at(context.now, &[application_from, session.user.grants_valid_from]),
    };
    settle(state, context, session, &id, command).await?;
    answer.code(&mint_authorization_code(&state.keys, &id)?)
}

async fn deny(
    state: &AppState,
    context: &RequestContext,
    session: &LoggedIn,
    answer: &Answer<'_>,
    pending: Pending,
) -> Result<Response, PageError> {
    let id = pending.authorization_id;
    let command = AuthorizationCommand::DenyAuthorization {
        authorization_id: id.clone(),
        request: pending.request,
        at: context.now,
    };
    settle(state, context, session, &id, command).await?;
    answer.error(&OAuthError::new(ErrorCode::AccessDenied, "The person said no."))
}

/// One answer a request: a second one finds the first.
async fn settle(
    state: &AppState,
    context: &RequestContext,
    session: &LoggedIn,
    id: &str,
    command: AuthorizationCommand,
) -> Result<(), PageError> {
    let origin = session.origin(context);
    let settled = state.commands.execute::<Authorization>(Stream::Fresh(id.to_owned()), command, &origin);
    match settled.await {
        Ok(_) => Ok(()),
        Err(CommandError::Refused(AuthorizationError::AlreadyDecided)) => {
            let subject = Some(session.subject().to_owned());
            let trace = Trace { subject, authorization_id: Some(id.to_owned()), ..trace(Rule::AlreadyUsed) };
            let refusal = trace.request("authorize", Some("invalid_request"), &context.correlation_id);
            refusals::record(state, &origin, refusal).await;
            Err(refused("This request was answered already. Start again at the application."))
        }
        Err(error) => Err(PageError::of_command(error)),
    }
}

/// A comfort: the code is on its way, and if this fails the person is asked again next time.
async fn remember(
    state: &AppState,
    context: &RequestContext,
    session: &LoggedIn,
    request: &aggregates::authorization::AuthorizationRequest,
) {
    let command = ConsentCommand::RememberConsent {
        subject: request.subject.clone(),
        client_id: request.client_id.clone(),
        scope: request.scope.clone(),
        at: context.now,
    };
    let stream = Stream::Existing(consent_id(&request.subject, &request.client_id));
    let origin = session.origin(context);
    if let Err(error) = state.commands.execute::<ConsentAggregate>(stream, command, &origin).await {
        tracing::warn!(
            correlation.id = %context.correlation_id, %error,
            what_to_do = "Nothing: the person is asked once more. If it goes on, see to the database.",
            "a consent was not remembered"
        );
    }
}

async fn keep(
    state: &AppState,
    form: &Received,
    session: &LoggedIn,
    rule: Rule,
    of: Option<(&Pending, ErrorCode)>,
) {
    let client_id = of.map(|(pending, _)| pending.request.client_id.clone());
    let code = of.map_or(ErrorCode::InvalidRequest, |(_, code)| code);
    let trace = Trace { subject: Some(session.subject().to_owned()), client_id, ..trace(rule) };
    let refusal = trace.request("authorize", Some(code.as_str()), &form.context.correlation_id);
    refusals::record(state, &session.origin(&form.context), refusal).await;
}

fn refused(description: &'static str) -> PageError {
    PageError::Refused { code: "invalid_request", description }
}
