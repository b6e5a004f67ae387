//! How does an application get a new secret? It is shown once, on the page that answers.

use aggregates::values::ClientType;
use axum::extract::{Path, State};
use axum::response::Response;

use super::{called, find_changeable, show, unshown};
use crate::extract::page_form::SessionForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::{LoggedIn, Session};
use crate::pages::page_error::PageError;
use crate::registration::rotate_secret;
use crate::state::AppState;
use crate::templates::applications::RotatedSecret;
use crate::templates::confirm::Confirm;

/// Asks first: the present secret stops working at once.
pub async fn get(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    let application = find_confidential(&state, &me, &client_id).await?;
    show(&state, &context, &me, &Confirm::rotate_secret(&client_id, called(&application)))
}

/// Replaces it. The answer is a page and no redirect, so that the secret is in no address and no cache.
pub async fn post(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    form: SessionForm,
) -> Result<Response, PageError> {
    let me = &form.session;
    let application = find_confidential(&state, me, &client_id).await?;
    let secret = rotate_secret(&state, &client_id, &me.origin(&form.context)).await.map_err(unshown)?;
    let name = application.settings.name;
    let page = RotatedSecret { name, client_id, client_secret: secret.expose().to_owned() };
    show(&state, &form.context, me, &page)
}

/// A public application has no secret to be replaced (RFC 6749 §2.1).
async fn find_confidential(
    state: &AppState,
    me: &LoggedIn,
    client_id: &str,
) -> Result<projections::applications::Application, PageError> {
    let application = find_changeable(state, me, client_id).await?;
    match application.settings.client_type {
        ClientType::Confidential => Ok(application),
        ClientType::Public => Err(PageError::NotFound),
    }
}
