//! What is this application, what is alive of it, what can be done, and what happened to it?

use axum::extract::{Path, State};
use axum::response::Response;

use super::{Done, find_visible, query, show_noticing, shown};
use crate::extract::request_context::RequestContext;
use crate::extract::session::Session;
use crate::pages::before;
use crate::pages::page_error::PageError;
use crate::pages::roll::{Reader, Wanted, read_roll};
use crate::state::AppState;
use crate::templates::paths;

/// The page of an application.
pub async fn get(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    let application = find_visible(&state, &me, &client_id).await?;
    let query = query(&context)?;
    let before = before(&context)?;
    let about = format!("application:{client_id}");
    let path = paths::application(&client_id);
    let reader = Reader { subject: me.subject(), is_superuser: me.is_superuser() };
    let roll = read_roll(&state, Wanted { about: &about, before, path: &path }, reader).await?;
    let page = shown::detail(&state, &application, context.now, roll).await?;
    show_noticing(&state, &context, &me, Done::noticed(&query)?, &page)
}
