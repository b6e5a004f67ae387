//! How does an application go for good? First it is said what dies with it.

use aggregates::application::ApplicationCommand;
use axum::extract::{Path, State};
use axum::response::Response;

use super::{Done, called, execute, find_changeable, show, shown};
use crate::extract::page_form::SessionForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::Session;
use crate::pages::page_error::PageError;
use crate::pages::see_other;
use crate::state::AppState;
use crate::templates::confirm::Confirm;
use crate::templates::paths;

/// Asks first.
pub async fn get(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    let application = find_changeable(&state, &me, &client_id).await?;
    let radius = shown::radius(&state, &application, context.now).await?;
    show(&state, &context, &me, &Confirm::delete_application(&client_id, called(&application), radius))
}

/// Deletes it. Its roll stays, at the address it always had.
pub async fn post(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    form: SessionForm,
) -> Result<Response, PageError> {
    let command = ApplicationCommand::DeleteApplication { at: form.context.now };
    execute(&state, &form, &client_id, command).await?;
    see_other(&format!("{}?done={}", paths::APPLICATIONS, Done::Deleted.name()))
}
