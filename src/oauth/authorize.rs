//! May this client act for this person? The authorization endpoint (RFC 6749 §3.1, §4.1.1; RFC 9700
//! §2.1, §4.11; RFC 9207).
//!
//! In this order, because each step decides what the next may reveal to whom:
//! 1. the client and where the answer goes ([`request::find_target`]): an error here is a page, never a
//!    redirect;
//! 2. who sits at the browser: strangers log in before anything is sent to the client, except under
//!    `prompt=none` (RFC 9700 §4.11.2);
//! 3. what is asked for ([`request::read`]): an error here goes to the client;
//! 4. whether the person must log in again ([`again`]);
//! 5. whether they must be asked ([`consent`]); the answer comes back in a sealed request ([`decision`]).

pub mod again;
pub mod consent;
pub mod decision;
pub mod request;
pub mod respond;

use aggregates::authorization::ConsentBasis;
use aggregates::refusal::Rule;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use projections::consents::find_consent;
use url::form_urlencoded;

use self::again::Demand;
use self::consent::Pending;
use self::request::{Asked, Target, Unanswerable};
use self::respond::Answer;
use crate::commands::Actor;
use crate::error::{ErrorCode, OAuthError};
use crate::extract::form_pairs::Pairs;
use crate::extract::page_form::Received;
use crate::extract::request_context::RequestContext;
use crate::extract::session::{LoggedIn, MaybeSession};
use crate::pages::next::login_path;
use crate::pages::page_error::PageError;
use crate::pages::{found, see_other, trace};
use crate::refusals::{self, Refused, Trace};
use crate::state::AppState;
use crate::templates::paths;

/// Longer requests do not fit into a request line, which is how they come back from the login page.
const LONGEST_QUERY: usize = 12 * 1024;

/// A request on its way through the steps.
struct Step<'a> {
    state: &'a AppState,
    context: &'a RequestContext,
    pairs: &'a Pairs,
}

/// `GET /o/authorize/`.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    MaybeSession(session): MaybeSession,
) -> Result<Response, PageError> {
    let pairs = Pairs::parse_query(context.query.as_deref().unwrap_or_default())
        .map_err(|_| request::UNREADABLE.page())?;
    let step = Step { state: &state, context: &context, pairs: &pairs };
    let target = step.find_target(session.as_ref()).await?;
    let Some(session) = session else { return step.send_to_login(&target).await };
    let answer = Answer::to_get(&state, &target.redirect_uri, request::state(&pairs));
    match step.decide(&target, &session).await {
        Ok(Next::Grant(id, asked, basis)) => {
            let pending = Pending::new(id, &session, &target, asked);
            decision::grant(&state, &context, &session, &answer, pending, basis).await
        }
        Ok(Next::Ask(id, asked)) => {
            let pending = Pending::new(id, &session, &target, asked);
            consent::show(&state, &context, &session, &target, &pending).await
        }
        Ok(Next::LogInAgain) => again::send(&context),
        Err(Stopped::Refused(refused)) => step.refuse(&target, Some(&session), &answer, refused).await,
        Err(Stopped::Failed(error)) => Err(error),
    }
}

/// `POST /o/authorize/`: the person's decision, or a request of a client that prefers POST (OIDC Core
/// §3.1.2.1). The latter only starts one, so it needs no proof of where it came from.
pub async fn post(State(state): State<AppState>, request: Request) -> Result<Response, PageError> {
    let form = Received::read(request, &state).await?;
    if form.pairs.raw(consent::FIELD).is_some() {
        return decision::post(&state, form).await;
    }
    let step = Step { state: &state, context: &form.context, pairs: &form.pairs };
    step.find_target(form.session.as_ref()).await?;
    let query = reencode(form.body());
    if query.len() > LONGEST_QUERY {
        return Err(request::TOO_LONG.page());
    }
    see_other(&format!("{}?{query}", paths::AUTHORIZE))
}

/// The body as a query. It was read strictly before, so nothing is lost; encoded again, nothing in it
/// can end the query.
fn reencode(body: &Bytes) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form_urlencoded::parse(body)).finish()
}

/// What follows from a request that is in order; with the id of the authorization to be.
enum Next {
    Grant(String, Asked, ConsentBasis),
    Ask(String, Asked),
    LogInAgain,
}

/// Why a request goes no further.
enum Stopped {
    /// The client is told.
    Refused(Refused),
    /// The person is told that it was our fault.
    Failed(PageError),
}

impl<E: Into<PageError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Stopped::Failed(error.into())
    }
}

impl Step<'_> {
    /// Where the answer may go; errors are pages.
    async fn find_target(&self, session: Option<&LoggedIn>) -> Result<Target, PageError> {
        match request::find_target(&self.state.journal, self.pairs).await? {
            Ok(target) => Ok(target),
            Err(unanswerable) => {
                self.keep_unanswerable(session, &unanswerable).await;
                Err(unanswerable.page())
            }
        }
    }

    /// Nobody is logged in. A client that asked not to bother the person is told so, everybody else
    /// waits for the login.
    async fn send_to_login(&self, target: &Target) -> Result<Response, PageError> {
        if !request::wants_no_page(self.pairs) {
            return found(&login_path(&self.here(), false));
        }
        let answer = Answer::to_get(self.state, &target.redirect_uri, request::state(self.pairs));
        let refused = match request::read(self.pairs, &target.application.settings, &self.state.config) {
            Ok(_) => login_required(target),
            Err(refused) => refused,
        };
        self.refuse(target, None, &answer, refused).await
    }

    async fn decide(&self, target: &Target, session: &LoggedIn) -> Result<Next, Stopped> {
        let settings = &target.application.settings;
        let asked = request::read(self.pairs, settings, &self.state.config).map_err(Stopped::Refused)?;
        let authorization_id = match again::demand(self.state, self.context, self.pairs, &asked, session) {
            Demand::Nothing { authorization_id } => authorization_id,
            Demand::Login if asked.prompt.none => return Err(Stopped::Refused(login_required(target))),
            Demand::Login => return Ok(Next::LogInAgain),
        };
        if let Some(basis) = self.find_basis(target, &asked, session).await? {
            return Ok(Next::Grant(authorization_id, asked, basis));
        }
        if asked.prompt.none {
            let error = OAuthError::new(ErrorCode::ConsentRequired, "The person must be asked.");
            let refused = Refused::by(Rule::ConsentRequired, error);
            return Err(Stopped::Refused(refused.of_client(&target.application.client_id)));
        }
        Ok(Next::Ask(authorization_id, asked))
    }

    /// Why the person need not be asked, if so.
    async fn find_basis(
        &self,
        target: &Target,
        asked: &Asked,
        session: &LoggedIn,
    ) -> Result<Option<ConsentBasis>, PageError> {
        let application = &target.application;
        if asked.prompt.consent {
            return Ok(None);
        }
        if application.settings.skip_authorization {
            return Ok(Some(ConsentBasis::Skipped));
        }
        if !target.may_remember() {
            return Ok(None);
        }
        let consent = find_consent(&self.state.journal, session.subject(), &application.client_id).await?;
        Ok(consent.filter(|consent| consent.covers(&asked.scope)).map(|_| ConsentBasis::Remembered))
    }

    /// The client is told, and what matters of it is kept.
    async fn refuse(
        &self,
        target: &Target,
        session: Option<&LoggedIn>,
        answer: &Answer<'_>,
        refused: Refused,
    ) -> Result<Response, PageError> {
        if let Some(trace) = refused.trace {
            let client_id = Some(target.application.client_id.clone());
            self.keep(session, Trace { client_id, ..*trace }, refused.error.code.as_str()).await;
        }
        answer.error(&refused.error)
    }

    async fn keep_unanswerable(&self, session: Option<&LoggedIn>, unanswerable: &Unanswerable) {
        if let Some(rule) = unanswerable.rule {
            let client_id = unanswerable.client_id.clone();
            self.keep(session, Trace { client_id, ..trace(rule) }, unanswerable.code).await;
        }
    }

    async fn keep(&self, session: Option<&LoggedIn>, trace: Trace, code: &str) {
        let subject = session.map(|own| own.subject().to_owned());
        let refusal = Trace { subject, ..trace };
        let refusal = refusal.request("authorize", Some(code), &self.context.correlation_id);
        let origin = match session {
            Some(own) => own.origin(self.context),
            None => self.context.origin(Actor::Anonymous),
        };
        refusals::record(self.state, &origin, refusal).await;
    }

    fn here(&self) -> String {
        again::here(self.context)
    }
}

fn login_required(target: &Target) -> Refused {
    let error = OAuthError::new(ErrorCode::LoginRequired, "The person must log in.");
    Refused::by(Rule::LoginRequired, error).of_client(&target.application.client_id)
}
