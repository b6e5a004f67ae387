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
use crate::journal::lease::Stale;
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
struct Readiness {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<&'static str>,
}

/// Why a server is not ready, and what whoever looks after it does first.
struct NotReady {
    reason: String,
    what_to_do: &'static str,
}

impl From<Stale> for NotReady {
    fn from(why: Stale) -> Self {
        Self { what_to_do: why.what_to_do(), reason: why.to_string() }
    }
}

/// `GET /healthz`.
pub async fn alive() -> Response {
    never_cached(json::answer(StatusCode::OK, &Alive { alive: true }))
}

/// `GET /readyz`. Asks the database only if nobody has for too long.
pub async fn ready(State(state): State<AppState>) -> Response {
    let (status, answer) = match check_ready(&state).await {
        Ok(()) => (StatusCode::OK, Readiness { ready: true, reason: None, what_to_do: None }),
        Err(NotReady { reason, what_to_do }) => {
            let answer = Readiness { ready: false, reason: Some(reason), what_to_do: Some(what_to_do) };
            (StatusCode::SERVICE_UNAVAILABLE, answer)
        }
    };
    never_cached(json::answer(status, &answer))
}

/// Whether requests are answered: what `/readyz` says, metrics show.
pub(crate) async fn is_ready(state: &AppState) -> bool {
    check_ready(state).await.is_ok()
}

async fn check_ready(state: &AppState) -> Result<(), NotReady> {
    state.journal.freshen().await?;
    introduce(state).await.map_err(|error| NotReady {
        reason: error.to_string(),
        what_to_do: "See to the database: its disk may be full. The server goes on by itself.",
    })?;
    if state.is_draining() {
        return Err(Stale::Stopping.into());
    }
    Ok(state.journal.vouch()?)
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
