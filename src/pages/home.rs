//! What should somebody who opens `/` do next? (and `/admin/`, where people of other servers look)

use axum::extract::State;
use axum::response::Response;
use projections::applications::{count_applications, count_of_owner};
use projections::authorizations::count_authorizations_of_user;
use projections::tokens::count_live_tokens_of_user;
use projections::users::has_superuser;

use super::page_error::PageError;
use super::roll::{Reader, Wanted, read_roll};
use super::{before, chrome, found, render};
use crate::extract::request_context::RequestContext;
use crate::extract::session::{LoggedIn, MaybeSession, Session};
use crate::state::AppState;
use crate::templates::home::{Figures, Home, NextStep};
use crate::templates::paths;

/// `GET /`.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    MaybeSession(session): MaybeSession,
) -> Result<Response, PageError> {
    let chrome = chrome(&state, &context, session.as_ref());
    let page = match &session {
        Some(session) => inside(&state, &context, session).await?,
        None => outside(&state).await?,
    };
    render(&state, &chrome, &page)
}

/// `GET /admin/`: to the pages that the person may see.
pub async fn admin(Session(_): Session) -> Result<Response, PageError> {
    found(paths::APPLICATIONS)
}

async fn outside(state: &AppState) -> Result<Home, PageError> {
    let step = if has_superuser(&state.journal).await? {
        NextStep::LogIn
    } else {
        NextStep::CreateSuperuser { command: "chancery createsuperuser".to_owned() }
    };
    Ok(Home::outside(step, state.config.issuer.as_str()))
}

async fn inside(state: &AppState, context: &RequestContext, me: &LoggedIn) -> Result<Home, PageError> {
    let figures = figures(state, context, me).await?;
    let issuer = state.config.issuer.as_str();
    if figures.applications == 0 {
        let outside = Home::outside(NextStep::RegisterApplication, issuer);
        return Ok(Home { figures: Some(figures), ..outside });
    }
    let about = format!("user:{}", me.subject());
    let wanted = Wanted { about: &about, before: before(context)?, path: paths::HOME };
    let reader = Reader { subject: me.subject(), is_superuser: me.is_superuser() };
    let roll = read_roll(state, wanted, reader).await?;
    let outside = Home::outside(NextStep::ReadHistory, issuer);
    Ok(Home { figures: Some(figures), roll: Some(roll), ..outside })
}

async fn figures(state: &AppState, context: &RequestContext, me: &LoggedIn) -> Result<Figures, PageError> {
    let journal = &state.journal;
    let applications = if me.is_superuser() {
        unsigned(count_applications(journal).await?)
    } else {
        unsigned(count_of_owner(journal, me.subject()).await?)
    };
    let standing = count_authorizations_of_user(journal, me.subject(), context.now).await?;
    let tokens = count_live_tokens_of_user(journal, me.subject(), context.now).await?;
    Ok(Figures {
        applications,
        authorizations: unsigned(standing),
        live_tokens: unsigned(tokens),
        events: unsigned(journal.applied()),
    })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
