//! How is an application shut out for a while? First it is said what stops working.

use aggregates::application::ApplicationCommand;
use axum::extract::{Path, State};
use axum::response::Response;

use super::{Done, called, execute, find_changeable, show, shown};
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
    let radius = shown::radius(&state, &application, context.now).await?;
    show(&state, &context, &me, &Confirm::disable_application(&client_id, called(&application), radius))
}

/// Shuts it out.
pub async fn post(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    form: SessionForm,
) -> Result<Response, PageError> {
    let command = ApplicationCommand::DisableApplication { at: form.context.now };
    execute(&state, &form, &client_id, command).await?;
    Done::Disabled.at(&client_id)
}
