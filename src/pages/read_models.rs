//! How far is each read model, and does one stand still? For superusers.

use axum::extract::State;
use axum::response::Response;

use super::page_error::PageError;
use super::{chrome, render};
use crate::extract::request_context::RequestContext;
use crate::extract::session::Session;
use crate::journal::read_models::list_read_models;
use crate::state::AppState;
use crate::templates::read_models::ReadModels;

/// `GET /admin/read-models/`.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    if !me.is_superuser() {
        return Err(PageError::NotPermitted);
    }
    let rows = list_read_models(state.journal.engine()).await;
    let rows = rows.map_err(|error| PageError::Unavailable(error.to_string()))?;
    render(&state, &chrome(&state, &context, Some(&me)), &ReadModels { rows })
}
