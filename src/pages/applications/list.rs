//! Which applications may the reader see? Their own; superusers all. Newest first, a page at a time.

use axum::extract::State;
use axum::response::Response;
use projections::applications::list_applications;
use projections::tokens::count_live_tokens_of_client;

use super::{Done, query, show_noticing, shown};
use crate::extract::request_context::RequestContext;
use crate::extract::session::Session;
use crate::pages::cursor;
use crate::pages::page_error::PageError;
use crate::state::AppState;
use crate::templates::applications::ApplicationList;
use crate::templates::components::Paging;
use crate::templates::paths;

const PAGE: u32 = 50;

/// The list.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    let query = query(&context)?;
    let after = cursor::after(&state, &context, &me, paths::APPLICATIONS, &query)?;
    let owner = (!me.is_superuser()).then(|| me.subject());
    let mut found = list_applications(&state.journal, owner, after.as_deref(), PAGE + 1).await?;
    let has_more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let mut rows = Vec::with_capacity(found.len());
    for application in &found {
        let live = if application.is_usable() {
            count_live_tokens_of_client(&state.journal, &application.client_id, context.now).await?
        } else {
            0
        };
        rows.push(shown::row(&state, application, u64::try_from(live).unwrap_or_default()).await?);
    }
    let last = found.last().filter(|_| has_more);
    let paging = Paging {
        newer: after.is_some().then(|| paths::APPLICATIONS.to_owned()),
        older: last
            .map(|last| cursor::next_page(&state, &context, &me, paths::APPLICATIONS, &last.client_id))
            .transpose()?,
    };
    let notice = Done::noticed(&query)?;
    show_noticing(&state, &context, &me, notice, &ApplicationList { rows, paging })
}
