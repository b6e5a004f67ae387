//! What was typed into a form of ours? Every page POST comes through here: a form of at most 64 KiB
//! that proves where it came from, or 403 (RFC 9700 §4.7).

use aggregates::refusal::Rule;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, header};
use chrono::TimeDelta;

use super::csrf::{self, CsrfError};
use super::form_pairs::Pairs;
use super::request_context::RequestContext;
use super::session::{LoggedIn, context_of, find_logged_in};
use crate::commands::{Actor, Origin};
use crate::pages::page_error::PageError;
use crate::pages::trace;
use crate::refusals::{self, Trace};
use crate::state::AppState;

/// A form that has been read; what it proves has not been looked at yet.
pub struct Received {
    /// When, from where, under which id.
    pub context: RequestContext,
    /// Who is logged in.
    pub session: Option<LoggedIn>,
    /// The fields.
    pub pairs: Pairs,
    method: Method,
    headers: HeaderMap,
}

/// A form of ours, whoever sent it.
pub struct PageForm {
    /// When, from where, under which id.
    pub context: RequestContext,
    /// Who is logged in.
    pub session: Option<LoggedIn>,
    /// The fields.
    pub pairs: Pairs,
}

/// A form of ours from somebody who is logged in.
pub struct SessionForm {
    /// When, from where, under which id.
    pub context: RequestContext,
    /// Who is logged in.
    pub session: LoggedIn,
    /// The fields.
    pub pairs: Pairs,
}

impl Received {
    /// Reads the body and who sent it.
    pub async fn read(request: Request, state: &AppState) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let context = context_of(&mut parts, state).await;
        let session = find_logged_in(state, &context, &parts.headers).await?;
        let bytes = to_bytes(body, state.config.limits.body).await.map_err(|_| PageError::TooLarge)?;
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let pairs = Pairs::parse_body(content_type, &bytes)?;
        Ok(Self { context, session, pairs, method: parts.method, headers: parts.headers })
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether our own page sent it, which `bound_to` one of these ids; with `longest`, how long ago.
    pub fn check(
        &self,
        state: &AppState,
        bound_to: &[&str],
        longest: Option<TimeDelta>,
    ) -> Result<(), CsrfError> {
        csrf::check_site(&self.headers, &state.config.issuer, self.context.is_secure)?;
        let field = self.pairs.get(csrf::FIELD).map_err(|_| CsrfError::TokenWrong)?;
        csrf::check_token(&state.keys, bound_to, self.context.now, longest, field)
    }

    /// Where a command of this form comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match &self.session {
            Some(own) => own.origin(&self.context),
            None => self.context.origin(Actor::Anonymous),
        }
    }

    /// Refuses a form that does not prove where it came from.
    pub async fn verify(&self, state: &AppState) -> Result<(), PageError> {
        let bound_to = self.session.as_ref().map(|own| own.session.session_id.as_str());
        match self.check(state, bound_to.as_slice(), None) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refuse(state, error).await),
        }
    }

    /// The refusal of a form. One of a session that has ended meanwhile leads to the login page: its
    /// sender need not know why.
    async fn refuse(&self, state: &AppState, error: CsrfError) -> PageError {
        if self.session.is_none() && matches!(error, CsrfError::TokenWrong | CsrfError::TokenExpired) {
            return PageError::login_required(&self.context, &self.method);
        }
        self.keep_refusal(state).await;
        PageError::Forged(error)
    }

    /// Puts the refusal of a forged form on the roll.
    pub async fn keep_refusal(&self, state: &AppState) {
        let subject = self.session.as_ref().map(|own| own.subject().to_owned());
        let trace = Trace { subject, ..trace(Rule::CrossSiteRequest) };
        let refusal = trace.request("pages", None, &self.context.correlation_id);
        refusals::record(state, &self.origin(), refusal).await;
    }
}

impl FromRequest<AppState> for PageForm {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, PageError> {
        let received = Received::read(request, state).await?;
        received.verify(state).await?;
        let Received { context, session, pairs, .. } = received;
        Ok(Self { context, session, pairs })
    }
}

impl FromRequest<AppState> for SessionForm {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, PageError> {
        let received = Received::read(request, state).await?;
        received.verify(state).await?;
        let Received { context, session, pairs, method, .. } = received;
        match session {
            Some(session) => Ok(Self { context, session, pairs }),
            None => Err(PageError::login_required(&context, &method)),
        }
    }
}
