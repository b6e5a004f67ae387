//! How is a disabled application let in again?

use aggregates::application::ApplicationCommand;
use axum::extract::{Path, State};
use axum::response::Response;

use super::{Done, called, execute, find_changeable, show};
use crate::extract::page_form::SessionForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::Session;
use crate::pages::page_error::PageError;
use crate::state::AppState;
use crate::templates::confirm::Confirm;

/// Asks first.
pub async fn get(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    let application = find_changeable(&state, &me, &client_id).await?;
    show(&state, &context, &me, &Confirm::enable_application(&client_id, called(&application)))
}

/// Lets it in.
pub async fn post(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    form: SessionForm,
) -> Result<Response, PageError> {
    let command = ApplicationCommand::EnableApplication { at: form.context.now };
    execute(&state, &form, &client_id, command).await?;
    Done::Enabled.at(&client_id)
}
