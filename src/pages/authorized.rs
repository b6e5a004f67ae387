//! What has the person allowed, to whom, what came of it, and how is it taken back? (RFC 6749 §1.3,
//! OWASP ASVS 7.6.2)
//!
//! Everybody sees their own, superusers see all; what is somebody else's is answered like what does not
//! exist.

use aggregates::authorization::{
    Authorization as AuthorizationAggregate, AuthorizationCommand, RevocationReason,
};
use aggregates::consent::{Consent, ConsentCommand};
use aggregates::values::Scope;
use axum::extract::{Path, State};
use axum::response::Response;
use projections::applications::find_application;
use projections::authorizations::{
    Authorization, Status, find_authorization, list_authorizations, list_ended_authorizations,
};
use projections::consents::consent_id;
use projections::tokens::{Token, count_live_tokens_of_authorization, list_tokens_of_authorization};
use projections::validity::authorization_stands;

use super::page_error::PageError;
use super::roll::{Reader, Wanted, read_roll};
use super::{before, chrome, cursor, render, see_other};
use crate::accounts::{ERASED, name_of};
use crate::commands::Stream;
use crate::extract::form_pairs::Pairs;
use crate::extract::page_form::SessionForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::{LoggedIn, Session};
use crate::state::AppState;
use crate::templates::authorizations::{AuthorizationDetail, AuthorizationList, AuthorizationRow};
use crate::templates::components::{Paging, ScopeLine, Seal, TokenLine};
use crate::templates::confirm::Confirm;
use crate::templates::paths;

const PAGE: u32 = 20;
const ENDED: u32 = 10;
const TOKENS: u32 = 20;

/// `GET /o/authorized_tokens/`: what stands, newest first.
pub async fn list(
    State(state): State<AppState>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    let pairs = Pairs::parse_query(context.query.as_deref().unwrap_or_default())?;
    let after = cursor::after(&state, &context, &me, paths::AUTHORIZATIONS, &pairs)?;
    let mut found =
        list_authorizations(&state.journal, me.subject(), context.now, after.as_deref(), PAGE + 1).await?;
    let has_older = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let last = found.last().filter(|_| has_older);
    let older = last
        .map(|last| cursor::next_page(&state, &context, &me, paths::AUTHORIZATIONS, &last.authorization_id))
        .transpose()?;
    let mut rows = Vec::with_capacity(found.len());
    for one in &found {
        rows.push(row(&state, &context, one).await?);
    }
    let mut ended = Vec::new();
    if after.is_none() {
        for one in &list_ended_authorizations(&state.journal, me.subject(), context.now, ENDED).await? {
            ended.push(row(&state, &context, one).await?);
        }
    }
    let newer = after.map(|_| paths::AUTHORIZATIONS.to_owned());
    let mut chrome = chrome(&state, &context, Some(&me));
    if pairs.get("done")? == Some("revoked") {
        chrome.notice = Some("Revoked. What it gave does not work any more.".to_owned());
    }
    render(&state, &chrome, &AuthorizationList { rows, ended, paging: Paging { newer, older } })
}

/// `GET /o/authorized_tokens/<id>/`: one of them with its roll.
pub async fn detail(
    State(state): State<AppState>,
    context: RequestContext,
    Session(me): Session,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let own = find_visible(&state, &me, &id).await?;
    let application = find_application(&state.journal, &own.client_id).await?;
    let owner = application.as_ref().and_then(|one| one.owner.as_deref());
    let name = name_of(&state, &own.subject).await?;
    let about = format!("authorization:{id}");
    let path = paths::authorization(&id);
    let wanted = Wanted { about: &about, before: before(&context)?, path: &path };
    let reader = Reader { subject: me.subject(), is_superuser: me.is_superuser() };
    let row = row(&state, &context, &own).await?;
    let page = AuthorizationDetail {
        tokens: tokens(&state, &context, &own, row.seal).await?,
        row,
        resource_owner: (name != ERASED).then_some(name),
        redirect_uri: own.redirect_uri.clone(),
        resources: own.resource.iter().map(|one| one.as_str().to_owned()).collect(),
        may_open_application: application.is_some() && (me.is_superuser() || owner == Some(me.subject())),
        roll: read_roll(&state, wanted, reader).await?,
    };
    render(&state, &chrome(&state, &context, Some(&me)), &page)
}

/// `GET /o/authorized_tokens/<id>/delete/`: asks, and says how many tokens die.
pub async fn ask(
    State(state): State<AppState>,
    context: RequestContext,
    Session(me): Session,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let own = find_visible(&state, &me, &id).await?;
    let shown = row(&state, &context, &own).await?;
    let page = Confirm::revoke_authorization(&id, &shown.application, shown.live_tokens);
    render(&state, &chrome(&state, &context, Some(&me)), &page)
}

/// `POST /o/authorized_tokens/<id>/delete/`: the code and every token die, and the consent is
/// forgotten. Forgotten first: if the second command fails, the person repeats both.
pub async fn revoke(
    State(state): State<AppState>,
    Path(id): Path<String>,
    form: SessionForm,
) -> Result<Response, PageError> {
    let me = &form.session;
    let own = find_visible(&state, me, &id).await?;
    let (origin, at) = (me.origin(&form.context), form.context.now);
    let consent = Stream::Existing(consent_id(&own.subject, &own.client_id));
    let forgotten = state.commands.execute::<Consent>(consent, ConsentCommand::ForgetConsent { at }, &origin);
    forgotten.await.map_err(PageError::of_command)?;
    if own.status != Status::Denied {
        let is_mine = own.subject == me.subject();
        let reason = if is_mine { RevocationReason::ResourceOwner } else { RevocationReason::Superuser };
        let command = AuthorizationCommand::RevokeAuthorization { reason, at };
        let stream = Stream::Existing(id);
        let revoked = state.commands.execute_ending::<AuthorizationAggregate>(stream, command, &origin);
        revoked.await.map_err(PageError::of_command)?;
    }
    see_other(&format!("{}?done=revoked", paths::AUTHORIZATIONS))
}

async fn find_visible(state: &AppState, me: &LoggedIn, id: &str) -> Result<Authorization, PageError> {
    let found = find_authorization(&state.journal, id).await?;
    let may_see = |found: &Authorization| me.is_superuser() || found.subject == me.subject();
    found.filter(may_see).ok_or(PageError::NotFound)
}

async fn row(
    state: &AppState,
    context: &RequestContext,
    own: &Authorization,
) -> Result<AuthorizationRow, PageError> {
    let application = find_application(&state.journal, &own.client_id).await?;
    let name = application.map(|one| one.settings.name).filter(|name| !name.is_empty());
    let live = count_live_tokens_of_authorization(&state.journal, &own.authorization_id, context.now).await?;
    Ok(AuthorizationRow {
        id: own.authorization_id.clone(),
        application: name.unwrap_or_else(|| own.client_id.clone()),
        client_id: own.client_id.clone(),
        seal: seal(state, context, own).await?,
        scopes: scope_lines(state, &own.scope),
        granted_at: own.granted_at,
        live_tokens: u64::try_from(live).unwrap_or_default(),
    })
}

async fn seal(state: &AppState, context: &RequestContext, own: &Authorization) -> Result<Seal, PageError> {
    Ok(match own.status {
        Status::Granted if authorization_stands(&state.journal, own, context.now).await? => Seal::Live,
        // Its application or its user was shut out.
        Status::Granted if own.stands(context.now) => Seal::Revoked,
        Status::Granted => Seal::Expired,
        Status::Denied => Seal::Refused,
        Status::Revoked => Seal::Revoked,
    })
}

/// Scopes as the catalogue describes them.
#[must_use]
pub fn scope_lines(state: &AppState, scope: &Scope) -> Vec<ScopeLine> {
    let describe = |name: &str| {
        let known = state.config.scopes.iter().find(|one| one.name == name);
        known.map(|one| one.description.clone()).unwrap_or_default()
    };
    scope.iter().map(|name| ScopeLine::new(name, describe(name))).collect()
}

/// The refresh token first, which has no id but a number, then access tokens.
async fn tokens(
    state: &AppState,
    context: &RequestContext,
    own: &Authorization,
    of: Seal,
) -> Result<Vec<TokenLine>, PageError> {
    let id = &own.authorization_id;
    let mut lines = Vec::new();
    if let Some(generation) = own.generation {
        lines.push(TokenLine {
            id: id.clone(),
            kind: format!("Refresh token {generation} of"),
            seal: of,
            issued_at: own.refreshed_at.or(own.redeemed_at).unwrap_or(own.granted_at),
            expires_at: None,
        });
    }
    let issued = list_tokens_of_authorization(&state.journal, id, TOKENS).await?;
    lines.extend(issued.iter().map(|token| line(context, of, token)));
    Ok(lines)
}

fn line(context: &RequestContext, of: Seal, token: &Token) -> TokenLine {
    let seal = if token.revoked_at.is_some() || of == Seal::Revoked {
        Seal::Revoked
    } else if token.stands(context.now) {
        Seal::Live
    } else {
        Seal::Expired
    };
    TokenLine {
        id: token.token_id.clone(),
        kind: "Access token".to_owned(),
        seal,
        issued_at: token.issued_at,
        expires_at: Some(token.expires_at),
    }
}
