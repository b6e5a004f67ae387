//! Is the process alive, and should it be given requests? For load balancers and orchestrators.
//!
//! `/healthz` only says that the process answers: restarting it helps against nothing else. `/readyz`
//! says whether it can do its work, and why not.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use crate::introduction::introduce;
use crate::json;
use crate::metrics;
use crate::middleware::limits;
use crate::state::AppState;

/// Where it is asked whether the process is alive.
pub const HEALTHZ: &str = "/healthz";
/// Where it is asked whether it should be given requests.
pub const READYZ: &str = "/readyz";

#[derive(Serialize)]
struct Alive {
    alive: bool,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// `GET /healthz`.
pub async fn alive() -> Response {
    never_cached(json::answer(StatusCode::OK, &Alive { alive: true }))
}

/// `GET /readyz`. Asks the database only if nobody has for too long.
pub async fn ready(State(state): State<AppState>) -> Response {
    let reason = check_ready(&state).await.err();
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    never_cached(json::answer(status, &Ready { ready: reason.is_none(), reason }))
}

async fn check_ready(state: &AppState) -> Result<(), String> {
    state.journal.freshen().await.map_err(|why| why.to_string())?;
    introduce(state).await.map_err(|error| error.to_string())?;
    if state.is_draining() {
        return Err("the server is stopping".to_owned());
    }
    state.journal.vouch().map_err(|why| why.to_string())
}

fn never_cached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the listener for operators serves: no clients, no people.
pub fn operators_router(state: AppState) -> Router {
    Router::new()
        .route("/metrics", get(metrics::get))
        .route(HEALTHZ, get(alive))
        .route(READYZ, get(ready))
        .layer(from_fn(limits::close_unread))
        .with_state(state)
}
