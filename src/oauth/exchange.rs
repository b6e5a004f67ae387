//! What do the token, introspection and revocation endpoints have in common? A form, a client that
//! proves who it is, and an answer whose refusal is kept. (RFC 6749 §2.3, RFC 7009 §2.1, RFC 7662 §2.1)

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::commands::{Actor, Origin};
use crate::error::{OAuthError, never_stored};
use crate::extract::client_auth::{Caller, authenticate};
use crate::extract::oauth_form::OAuthForm;
use crate::extract::request_context::RequestContext;
use crate::introduction::introduce;
use crate::middleware::cors;
use crate::refusals::{self, Refused, Trace};
use crate::state::AppState;

/// A client's request after its client was settled.
pub struct Exchange {
    /// What handlers share.
    pub state: AppState,
    /// Who, from where, when.
    pub context: RequestContext,
    /// The client.
    pub caller: Caller,
    /// What it sent.
    pub form: OAuthForm,
    endpoint: &'static str,
    headers: HeaderMap,
}

/// Reads the form and settles who asks, or answers at once.
pub async fn admit(
    endpoint: &'static str,
    state: AppState,
    context: RequestContext,
    headers: HeaderMap,
    form: Result<OAuthForm, OAuthError>,
) -> Result<Exchange, Box<Response>> {
    let form = form.map_err(|error| Box::new(error.into_response()))?;
    // Whoever is refused may leave an event.
    let introduced = introduce(&state).await;
    introduced.map_err(|error| Box::new(OAuthError::unavailable(error).into_response()))?;
    match authenticate(&state, &context, &headers, &form).await {
        Ok(caller) => {
            if let Err(error) = state.rate_limits.admit_client(caller.client_id()) {
                state.metrics.shed("client");
                return Err(Box::new(error.into_response()));
            }
            Ok(Exchange { state, context, caller, form, endpoint, headers })
        }
        Err(refused) => {
            let origin = context.origin(Actor::Anonymous);
            Err(Box::new(refuse(&state, &origin, endpoint, refused).await.into_response()))
        }
    }
}

/// Keeps a refusal and says what the client is told.
async fn refuse(state: &AppState, origin: &Origin, endpoint: &'static str, refused: Refused) -> OAuthError {
    if let Some(trace) = refused.trace {
        let code = refused.error.code.as_str();
        refusals::record(state, origin, trace.request(endpoint, Some(code), &origin.correlation_id)).await;
    }
    refused.error
}

impl Exchange {
    /// Where this client's commands come from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.context.origin(self.caller.actor())
    }

    /// Keeps a refusal of which the client is told nothing.
    pub async fn keep(&self, refused: Trace) {
        let origin = self.context.origin(self.caller.proved_actor());
        let request = refused.request(self.endpoint, None, &origin.correlation_id);
        refusals::record(&self.state, &origin, request).await;
    }

    /// The answer, as it goes out.
    pub async fn respond(&self, outcome: Result<Response, Refused>) -> Response {
        let mut response = match outcome {
            Ok(mut response) => {
                never_stored(response.headers_mut());
                response
            }
            Err(refused) => {
                let origin = self.context.origin(self.caller.proved_actor());
                let refused = refused.of_client(self.caller.client_id());
                refuse(&self.state, &origin, self.endpoint, refused).await.into_response()
            }
        };
        cors::allow_application(&self.headers, &self.caller.application.settings, &mut response);
        response
    }
}
