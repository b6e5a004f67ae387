//! Is what this process remembers still true? Before a handler decides and before its answer goes out:
//! another process may have ended what this one still holds to be alive (`src/journal/lease.rs`).
//!
//! Introspection and the protected resource are not behind this: they vouch for what they say alive
//! themselves, so that what is known to be dead stays dead even without a database.

use std::fmt::Display;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::OAuthError;
use crate::introduction::introduce;
use crate::pages::page_error::PageError;
use crate::router::is_api;
use crate::state::AppState;

/// Answers 503 when memory cannot be trusted.
pub async fn require(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let is_api = is_api(request.uri().path());
    if let Err(why) = state.journal.freshen().await {
        return unavailable(&why, is_api);
    }
    if let Err(error) = introduce(&state).await {
        return unavailable(&error, is_api);
    }
    let response = next.run(request).await;
    let says_yes = response.status().is_success() || response.status().is_redirection();
    // What was done is whole, whether or not it is told. What was refused may be told at any time, unless by a clock that
    // has jumped: what lives has expired by it, and clients throw that away.
    let judged = if says_yes { state.journal.vouch() } else { state.journal.check_clock() };
    judged.map_or_else(|why| unavailable(&why, is_api), |()| response)
}

fn unavailable(why: &impl Display, is_api: bool) -> Response {
    if is_api {
        OAuthError::unavailable(why).into_response()
    } else {
        PageError::Unavailable(why.to_string()).into_response()
    }
}
